//! A backtest as a machine: it says what to ask, takes the answers, and reports at the end.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::history::{Fetch, History, Unanswered};
use super::incidents::Incident;
use super::replay::{Ended, Replayed, Stage, replay};
use super::report::Report;
use crate::analysis::{Prepared, Resolved, Secrets, only};
use crate::api::AnalysisRun;
use crate::expression::Limit;
use crate::metric_providers::{HttpReply, Settings};

/// Starts of one backtest: an hour's for eleven years, a minute's for ten weeks.
const MOST_STARTS: usize = 100_000;

/// What is tried on history.
#[derive(Debug)]
pub struct Subject {
    /// A run that was not started.
    pub run: AnalysisRun,
    /// The Secrets that its metrics use, all of them.
    pub secrets: Secrets,
    /// What the environment says about sources.
    pub settings: Settings,
}

/// On which history, and what is wanted of it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The first start.
    pub from: Timestamp,
    /// No start is later.
    pub to: Timestamp,
    /// Time between starts, whole seconds.
    pub every: SignedDuration,
    /// A run is ended after this time, as that of a Rollout that is done.
    pub run_for: Option<SignedDuration>,
    /// Times when something was wrong.
    pub incidents: Vec<Incident>,
    /// The share of healthy runs that may fail.
    pub false_alarms: f64,
    /// The present: history ends here.
    pub now: Timestamp,
}

/// Why nothing can be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No metric has a past.
    #[error("no metric asks Prometheus; other sources cannot tell of the past: {0}")]
    NoPast(String),
    /// Runs would not end.
    #[error(
        "runs would never end, for want of `count`: {0}\nhint: say with --run-for how long a run lasts"
    )]
    Endless(String),
    /// No start lies in the time.
    #[error("no start lies between {from} and {to}")]
    NoStarts {
        /// The beginning.
        from: Timestamp,
        /// The end.
        to: Timestamp,
    },
    /// More starts than can be told of.
    #[error("more than {MOST_STARTS} starts; let them be further apart")]
    TooMany,
    /// The spec, without the metrics that have no past.
    #[error("{0}")]
    Invalid(String),
}

/// What a backtest does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It wants these answered, in any order.
    Ask(Vec<Fetch>),
    /// It is done.
    Done,
}

/// A backtest under way.
#[derive(Debug)]
pub struct Backtest {
    pub(super) wanted: Wanted,
    pub(super) run: AnalysisRun,
    /// As it is written.
    pub(super) prepared: Prepared,
    /// The same, with nothing that ends a metric before its count.
    pub(super) patient: Prepared,
    pub(super) resolved: Vec<Arc<Resolved>>,
    pub(super) limits: Vec<Vec<Limit>>,
    settings: Settings,
    pub(super) history: History,
    pub(super) starts: Vec<Start>,
    /// Names of the metrics that have no past.
    pub(super) left_out: Vec<String>,
    pub(super) instants_asked: usize,
    pub(super) ranges_asked: usize,
}

/// The run of one start, as far as it is known.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) at: Timestamp,
    pub(super) outcome: Known,
    /// Without an early end.
    pub(super) patient: Known,
}

#[derive(Debug)]
pub(super) enum Known {
    NotYet,
    Ended(Box<Ended>),
    /// It would go on after the present.
    Unfinished,
}

impl Backtest {
    /// Prepares a backtest.
    ///
    /// # Errors
    /// What makes it impossible.
    pub fn new(subject: Subject, wanted: Wanted) -> Result<Self, Refused> {
        let starts = starts(&wanted)?;
        let (run, left_out) = with_past(subject.run)?;
        let mut prepared = understood(&run)?;
        let mut patient = understood(&run)?;
        if wanted.run_for.is_none() {
            refuse_endless(&prepared)?;
        }
        for plan in prepared.plans_mut().iter_mut().chain(patient.plans_mut()) {
            // What is measured is noted down here.
            plan.retention = 1;
        }
        for plan in patient.plans_mut() {
            plan.limits.failure = None;
            plan.limits.inconclusive = i32::MAX;
            plan.limits.consecutive_success = 0;
        }
        let resolved = prepared
            .resolve_all(&subject.secrets)
            .map_err(Refused::Invalid)?;
        let limits = resolved.iter().map(|metric| metric.limits()).collect();
        let until = wanted
            .to
            .saturating_add(reach(&prepared, &wanted))
            .unwrap_or(wanted.now);
        let until = until.min(wanted.now).as_second();
        Ok(Self {
            history: History::new(wanted.from.as_second(), until),
            settings: subject.settings,
            wanted,
            run,
            prepared,
            patient,
            resolved,
            limits,
            starts,
            left_out,
            instants_asked: 0,
            ranges_asked: 0,
        })
    }

    /// Names of the metrics that are left out, because their sources cannot tell of the past.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Starts whose runs are known, and all.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        let known = |known: &Known| !matches!(known, Known::NotYet);
        let done = self
            .starts
            .iter()
            .filter(|start| known(&start.outcome) && known(&start.patient));
        (done.count(), self.starts.len())
    }

    /// Replays what can be replayed, and says what must be asked for the rest.
    pub fn step(&mut self) -> Step {
        let stage = |prepared| Stage {
            run: &self.run,
            prepared,
            resolved: &self.resolved,
            limits: &self.limits,
            settings: &self.settings,
            run_for: self.wanted.run_for,
            now: self.wanted.now,
            every: self.wanted.every.as_secs(),
        };
        let (written, patient) = (stage(&self.prepared), stage(&self.patient));
        let mut misses = Vec::new();
        for start in &mut self.starts {
            for (known, stage) in [
                (&mut start.outcome, &written),
                (&mut start.patient, &patient),
            ] {
                if !matches!(known, Known::NotYet) {
                    continue;
                }
                *known = match replay(stage, &self.history, start.at) {
                    Replayed::Ended(ended) => Known::Ended(ended),
                    Replayed::Unfinished | Replayed::Endless => Known::Unfinished,
                    Replayed::Missing(more) => {
                        misses.extend(more);
                        Known::NotYet
                    }
                };
            }
        }
        self.history.note(&misses);
        let fetches = if misses.is_empty() {
            self.history.checks()
        } else {
            self.history.fetches(&misses)
        };
        if fetches.is_empty() {
            Step::Done
        } else {
            Step::Ask(fetches)
        }
    }

    /// Takes an answer in.
    ///
    /// # Errors
    /// Prometheus does not answer, or not us.
    pub fn take(
        &mut self,
        fetch: &Fetch,
        reply: Result<HttpReply, String>,
    ) -> Result<(), Unanswered> {
        if fetch.is_range() {
            self.ranges_asked += 1;
        } else {
            self.instants_asked += 1;
        }
        let before = self.history.retractions();
        self.history.take(fetch, reply)?;
        if self.history.retractions() > before {
            for start in &mut self.starts {
                (start.outcome, start.patient) = (Known::NotYet, Known::NotYet);
            }
        }
        Ok(())
    }

    /// What it came to.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::of(self)
    }
}

fn starts(wanted: &Wanted) -> Result<Vec<Start>, Refused> {
    let (from, to, every) = (
        wanted.from.as_second(),
        wanted.to.as_second(),
        wanted.every.as_secs().max(1),
    );
    let mut starts = Vec::new();
    let mut at = from;
    while at <= to.min(wanted.now.as_second()) {
        if starts.len() >= MOST_STARTS {
            return Err(Refused::TooMany);
        }
        starts.push(Start {
            at: Timestamp::from_second(at).unwrap_or(wanted.from),
            outcome: Known::NotYet,
            patient: Known::NotYet,
        });
        at += every;
    }
    if starts.is_empty() {
        let (from, to) = (wanted.from, wanted.to);
        return Err(Refused::NoStarts { from, to });
    }
    Ok(starts)
}

fn understood(run: &AnalysisRun) -> Result<Prepared, Refused> {
    Prepared::new(run).map_err(|invalid| Refused::Invalid(invalid.to_string()))
}

/// The run with the metrics of Prometheus, and the names of the others.
fn with_past(run: AnalysisRun) -> Result<(AnalysisRun, Vec<String>), Refused> {
    let prepared = understood(&run)?;
    let (past, others): (Vec<_>, Vec<_>) = prepared
        .metrics()
        .partition(|metric| metric.provider.prometheus.is_some());
    let names = |metrics: &[&crate::api::Metric]| -> Vec<String> {
        metrics.iter().map(|metric| metric.name.clone()).collect()
    };
    let (past, others) = (names(&past), names(&others));
    if past.is_empty() {
        return Err(Refused::NoPast(others.join(", ")));
    }
    let run = only(run, &prepared, |name| {
        past.iter().any(|known| known == name)
    });
    Ok((run, others))
}

fn refuse_endless(prepared: &Prepared) -> Result<(), Refused> {
    let plans = prepared.plans().iter();
    let endless = plans.filter(|plan| plan.count.is_none());
    let names: Vec<&str> = endless.map(|plan| plan.name.as_str()).collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(Refused::Endless(names.join(", ")))
    }
}

/// How long a run lasts if all goes well.
fn reach(prepared: &Prepared, wanted: &Wanted) -> SignedDuration {
    let lasts = prepared.plans().iter().map(|plan| {
        let interval = plan.interval.unwrap_or_default();
        let all = interval.saturating_mul(plan.count.unwrap_or(0));
        plan.initial_delay.unwrap_or_default().saturating_add(all)
    });
    let longest = lasts.max().unwrap_or_default();
    wanted.run_for.unwrap_or(longest)
}
