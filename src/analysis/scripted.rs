//! A run with scripted sources: decide, let them answer, decide again, jump to the wake-up.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use super::*;
use crate::api::{AnalysisRun, MetricResult, Phase};
use crate::expression::Value;
use crate::metric_providers::{Action, Outcome, Reading};

/// What a scripted source answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answer {
    /// A value above the limit.
    S,
    /// A value below it.
    F,
    /// Neither.
    I,
    /// Nothing that can be measured.
    E,
    /// A Job that is under way.
    J,
    /// A value that is skipped.
    N,
}

impl Answer {
    fn reading(self, now: Timestamp) -> Reading {
        let settled = |phase| Outcome::Settled {
            phase,
            message: String::new(),
        };
        let outcome = match self {
            Self::S => settled(Phase::Successful),
            Self::F => settled(Phase::Failed),
            Self::I => settled(Phase::Inconclusive),
            Self::E => Outcome::Failed {
                message: "no route to host".into(),
                retry_after: None,
            },
            Self::J => Outcome::InFlight {
                resume_at: Some(now + SignedDuration::from_secs(3600)),
            },
            Self::N => Outcome::Value {
                value: Value::Nil,
                text: String::new(),
            },
        };
        let entry = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let metadata = match self {
            Self::J => BTreeMap::from([entry("job-name", "7.m.1"), entry("job-namespace", "shop")]),
            Self::S | Self::F | Self::I | Self::E | Self::N => BTreeMap::new(),
        };
        Reading { outcome, metadata }
    }
}

/// A run with its sources and a clock.
pub(super) struct World {
    pub(super) run: AnalysisRun,
    pub(super) now: Timestamp,
    /// Answers yet to come, by metric. The last one stays.
    script: BTreeMap<String, Vec<Answer>>,
    /// How long each source takes to answer.
    pub(super) slow: BTreeMap<String, SignedDuration>,
    pub(super) under_way: Vec<(Timestamp, Measured)>,
    pub(super) events: Vec<String>,
    pub(super) deleted_jobs: Vec<JobRef>,
    /// Second and action of everything that was begun.
    pub(super) begun: Vec<(i64, String, Action)>,
    pub(super) last: Decision,
}

pub(super) fn start() -> Timestamp {
    "2026-08-01T10:00:00Z".parse().unwrap()
}

impl World {
    #[expect(clippy::needless_pass_by_value, reason = "tests hand in literals")]
    pub(super) fn new(spec: Json, script: &[(&str, &[Answer])]) -> Self {
        let object =
            json!({"metadata": {"name": "run", "namespace": "shop", "uid": "7"}, "spec": spec});
        Self {
            run: serde_json::from_value(object).unwrap(),
            now: start(),
            script: (script.iter())
                .map(|(name, answers)| ((*name).to_owned(), answers.to_vec()))
                .collect(),
            slow: BTreeMap::new(),
            under_way: Vec::new(),
            events: Vec::new(),
            deleted_jobs: Vec::new(),
            begun: Vec::new(),
            last: Decision::default(),
        }
    }

    /// One pass: takes in what has finished, writes the status, begins what is due.
    pub(super) fn pass(&mut self) {
        let (finished, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition(|(at, _)| *at <= self.now);
        self.under_way = open;
        let measured: Vec<Measured> = finished.into_iter().map(|(_, measured)| measured).collect();
        let prepared = Prepared::new(&self.run);
        let in_flight: BTreeSet<String> = self
            .under_way
            .iter()
            .map(|(_, measured)| measured.metric.clone())
            .collect();
        let decision = decide(&Observed {
            run: &self.run,
            prepared: prepared.as_ref(),
            measured: &measured,
            in_flight: &in_flight,
            woken: &BTreeSet::new(),
            now: self.now,
        });
        self.run.status = Some(decision.status.clone());
        self.events
            .extend(decision.events.iter().map(RunEvent::reason));
        self.deleted_jobs
            .extend(decision.jobs_to_delete.iter().cloned());
        for task in &decision.tasks {
            self.begin(prepared.as_ref().unwrap(), task);
        }
        self.settles(prepared.as_ref());
        self.last = decision;
    }

    fn begin(&mut self, prepared: &Prepared, task: &Task) {
        let second = self.now.as_second() - start().as_second();
        self.begun.push((second, task.metric.clone(), task.action));
        let slow = self.slow.get(&task.metric).copied().unwrap_or_default();
        let ended = self.now + slow;
        let reading = match task.action {
            Action::Terminate => Answer::J.reading(ended),
            Action::Run | Action::Resume => self.answer(&task.metric).reading(ended),
        };
        let span = Span {
            began: self.now,
            ended,
        };
        let measured = match prepared.resolve(task, &Secrets::default()) {
            Ok(resolved) => resolved.measured(task, reading, BTreeMap::new(), span),
            Err(message) => task.failed(message, self.now),
        };
        self.under_way.push((ended, measured));
    }

    fn answer(&mut self, metric: &str) -> Answer {
        match self.script.get_mut(metric) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers.first().copied().unwrap_or(Answer::S),
            None => Answer::S,
        }
    }

    /// Deciding on its own result changes nothing.
    fn settles(&self, prepared: Result<&Prepared, &Invalid>) {
        let in_flight: BTreeSet<String> = self
            .under_way
            .iter()
            .map(|(_, measured)| measured.metric.clone())
            .collect();
        let again = decide(&Observed {
            run: &self.run,
            prepared,
            measured: &[],
            in_flight: &in_flight,
            woken: &BTreeSet::new(),
            now: self.now,
        });
        assert_eq!(Some(&again.status), self.run.status.as_ref());
        assert_eq!(again.tasks, []);
        assert_eq!(again.events, []);
        assert_eq!(again.jobs_to_delete, []);
    }

    /// Goes on until the run has ended or `seconds` have passed since its start.
    pub(super) fn run_for(&mut self, seconds: i64) -> &mut Self {
        let end = start() + SignedDuration::from_secs(seconds);
        for _ in 0..10_000 {
            self.pass();
            if self.phase().is_some_and(Phase::is_completed) {
                return self;
            }
            let finished = self.under_way.iter().map(|(at, _)| *at).min();
            let Some(next) = finished.into_iter().chain(self.last.wake_at).min() else {
                panic!("nothing will ever happen: {:?}", self.run.status);
            };
            if next > end {
                self.now = end;
                return self;
            }
            assert!(next >= self.now, "woken in the past");
            let hot = next == self.now && self.under_way.is_empty();
            assert!(
                !hot,
                "woken at once, with nothing to do: {:?}",
                self.run.status
            );
            self.now = next;
        }
        panic!("no end in sight: {:?}", self.run.status);
    }

    /// The first answer of every metric.
    pub(super) fn all_measured(&self, prepared: &Prepared) -> Vec<Measured> {
        let observed = Observed {
            run: &self.run,
            prepared: Ok(prepared),
            measured: &[],
            in_flight: &BTreeSet::new(),
            woken: &BTreeSet::new(),
            now: self.now,
        };
        let span = Span {
            began: self.now,
            ended: self.now,
        };
        (decide(&observed).tasks.iter())
            .map(|task| {
                let answer = self
                    .script
                    .get(&task.metric)
                    .map_or(Answer::S, |script| script[0]);
                let resolved = prepared.resolve(task, &Secrets::default()).unwrap();
                resolved.measured(task, answer.reading(self.now), BTreeMap::new(), span)
            })
            .collect()
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        self.run.status.as_ref()?.phase
    }

    pub(super) fn message(&self) -> &str {
        self.run
            .status
            .as_ref()
            .map_or("", |status| &status.message)
    }

    pub(super) fn result(&self, name: &str) -> Option<&MetricResult> {
        self.run
            .status
            .as_ref()?
            .metric_results
            .iter()
            .find(|result| result.name == name)
    }

    /// Seconds at which measurements were begun.
    pub(super) fn runs(&self) -> Vec<i64> {
        (self.begun.iter())
            .filter(|(_, _, action)| *action == Action::Run)
            .map(|(second, _, _)| *second)
            .collect()
    }

    pub(super) fn status_field(&self, field: &str) -> Json {
        serde_json::to_value(self.run.status.clone().unwrap()).unwrap()[field].clone()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "tests hand in literals")]
pub(super) fn metric(name: &str, changes: Json) -> Json {
    let mut metric = json!({
        "name": name, "provider": {"web": {"url": "http://a"}}, "successCondition": "true",
    });
    for (field, value) in changes.as_object().unwrap() {
        metric[field] = value.clone();
    }
    metric
}
