//! One run as it would have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::history::{History, Miss, Question};
use crate::analysis::{Measured, MetricPlan, Observed, Prepared, Resolved, Span, Task, decide};
use crate::api::{AnalysisRun, AnalysisRunStatus, Phase};
use crate::expression::{Limit, Of, Value};
use crate::metric_providers::{
    Context, Outcome, Provider, Reading, Reply, Request, RunIdentity, Settings, Step,
};

/// Passes of one run; a schedule that needs more is of a run that never ends.
const MOST_PASSES: usize = 1_000_000;

/// What a run is replayed with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage<'a> {
    pub(super) run: &'a AnalysisRun,
    pub(super) prepared: &'a Prepared,
    pub(super) resolved: &'a [Arc<Resolved>],
    /// The plain limits of each metric.
    pub(super) limits: &'a [Vec<Limit>],
    pub(super) settings: &'a Settings,
    /// A run is ended after this time.
    pub(super) run_for: Option<SignedDuration>,
    /// Nothing is known after this time.
    pub(super) now: Timestamp,
    /// Seconds between starts.
    pub(super) every: i64,
}

/// One measurement of a replayed run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taken {
    /// The metric's position in the spec.
    pub(super) metric: usize,
    /// Unix seconds.
    pub(super) at: i64,
    pub(super) phase: Phase,
    /// The number that is nearest to breaking a limit, or the first; NaN if there is none.
    pub(super) number: f64,
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) status: AnalysisRunStatus,
    pub(super) taken: Vec<Taken>,
}

/// How far a replay came.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Replayed {
    Ended(Box<Ended>),
    /// It lacks answers.
    Missing(Vec<Miss>),
    /// It would go on after the present.
    Unfinished,
    /// It would never end.
    Endless,
}

/// Replays the run that begins at `start`.
pub(super) fn replay(stage: &Stage<'_>, history: &History, start: Timestamp) -> Replayed {
    let mut replay = Replay {
        stage,
        history,
        run: AnalysisRun {
            status: None,
            ..stage.run.clone()
        },
        now: start,
        taken: Vec::new(),
    };
    let end = stage.run_for.map(|time| start + time);
    let mut measured = Vec::new();
    for _ in 0..MOST_PASSES {
        if end.is_some_and(|end| replay.now >= end) {
            replay.run.spec.terminate = true;
        }
        let decision = decide(&Observed {
            run: &replay.run,
            prepared: Ok(stage.prepared),
            measured: &measured,
            in_flight: &BTreeSet::new(),
            woken: &BTreeSet::new(),
            now: replay.now,
        });
        let is_ended = decision.status.phase.is_some_and(Phase::is_completed);
        replay.run.status = Some(decision.status);
        if is_ended {
            return replay.end();
        }
        match replay.measure(&decision.tasks) {
            Err(misses) => return Replayed::Missing(misses),
            Ok(answers) => measured = answers,
        }
        if measured.is_empty() {
            let Some(next) = decision.wake_at.into_iter().chain(end).min() else {
                return Replayed::Endless;
            };
            replay.now = next.max(replay.now);
        }
        if replay.now > stage.now {
            return Replayed::Unfinished;
        }
    }
    Replayed::Endless
}

struct Replay<'a> {
    stage: &'a Stage<'a>,
    history: &'a History,
    run: AnalysisRun,
    now: Timestamp,
    taken: Vec<Taken>,
}

impl Replay<'_> {
    fn end(self) -> Replayed {
        Replayed::Ended(Box::new(Ended {
            status: self.run.status.unwrap_or_default(),
            taken: self.taken,
        }))
    }

    /// Carries tasks out at once: a source of the past answers without delay.
    fn measure(&mut self, tasks: &[Task]) -> Result<Vec<Measured>, Vec<Miss>> {
        let (mut measured, mut misses) = (Vec::new(), Vec::new());
        let mut taken = Vec::new();
        for task in tasks {
            match self.read(task) {
                Err(miss) => misses.push(*miss),
                Ok(reading) => {
                    let number = self.number(task.index, &reading);
                    let span = Span {
                        began: self.now,
                        ended: self.now,
                    };
                    let resolved = &self.stage.resolved[task.index];
                    let one = resolved.measured(task, reading, BTreeMap::new(), span);
                    taken.push(Taken {
                        metric: task.index,
                        at: self.now.as_second(),
                        phase: one.measurement.phase.unwrap_or(Phase::Running),
                        number,
                    });
                    measured.push(one);
                }
            }
        }
        if misses.is_empty() {
            self.taken.extend(taken);
            Ok(measured)
        } else {
            Err(misses)
        }
    }

    /// What the provider reads, with history in the place of the network.
    fn read(&self, task: &Task) -> Result<Reading, Box<Miss>> {
        let resolved = &self.stage.resolved[task.index];
        let about = Context {
            run: RunIdentity {
                namespace: "",
                name: "",
                uid: "",
            },
            metric: &task.metric,
            attempt: task.attempt,
            now: self.now,
            in_flight: task.measurement.as_ref(),
            settings: self.stage.settings,
        };
        let mut provider = match Provider::new(&resolved.metric.provider, &about) {
            Ok(provider) => provider,
            Err(why) => return Ok(Reading::failed(why)),
        };
        let mut step = provider.start(task.action);
        loop {
            let request = match step {
                Step::Done(reading) => return Ok(reading),
                Step::Ask(Request::Prometheus(request)) => request,
                Step::Ask(Request::Http(_) | Request::Job(_)) => {
                    return Ok(Reading::failed("only Prometheus can tell of the past"));
                }
            };
            let at = self.now.as_second();
            let question = Question::new(&request, at);
            let Some(reply) = self.history.answer(&question, at) else {
                let plan = &self.stage.prepared.plans()[task.index];
                return Err(Box::new(Miss {
                    question,
                    at,
                    grids: grids(plan, self.stage.every),
                    minds_order: resolved.minds_order(),
                }));
            };
            step = provider.next(Reply::Http(Ok(reply)));
        }
    }

    fn number(&self, index: usize, reading: &Reading) -> f64 {
        let Outcome::Value { value, .. } = &reading.outcome else {
            return f64::NAN;
        };
        number(value, self.stage.limits[index].first())
    }
}

/// Seconds between the times that a metric's schedule can come to: as long as all goes well, and
/// with Errors.
pub(super) fn grids(plan: &MetricPlan, every: i64) -> [i64; 2] {
    let seconds = |time: Option<SignedDuration>| time.map_or(0, whole);
    let coarse = [plan.interval, plan.initial_delay].map(seconds);
    let coarse = coarse
        .into_iter()
        .fold(every, greatest_common_divisor)
        .max(1);
    // The wait after the first Errors, and of a metric without an interval.
    let fine = greatest_common_divisor(coarse, whole(plan.error_wait.after(1))).max(1);
    [coarse, greatest_common_divisor(fine, 10).max(1)]
}

/// A schedule of fractions of a second comes to any second.
fn whole(time: SignedDuration) -> i64 {
    if time.subsec_nanos() == 0 {
        time.as_secs()
    } else {
        1
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// The number of a value that a limit is about; of several the one that is nearest to breaking it.
pub(super) fn number(value: &Value, limit: Option<&Limit>) -> f64 {
    let numbers: &[f64] = match value {
        Value::Float(number) => std::slice::from_ref(number),
        Value::Floats(numbers) => numbers,
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_) => &[],
    };
    let one = match limit.map(|limit| (limit.of, limit.side.is_floor())) {
        Some((Of::At(index), _)) => numbers.get(index).copied(),
        Some((Of::Each, true)) => numbers.iter().copied().reduce(f64::min),
        Some((Of::Each, false)) => numbers.iter().copied().reduce(f64::max),
        Some((Of::Whole, _)) | None => numbers.first().copied(),
    };
    one.unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Condition;

    #[test]
    fn a_limit_is_about_certain_numbers() {
        let values = Value::from(vec![0.5, 0.9, 0.1]);
        for (condition, expected) in [
            ("result[1] > 0", 0.9),
            ("all(result, # > 0)", 0.1),
            ("all(result, # < 1)", 0.9),
            ("len(result) > 2", 0.5),
        ] {
            let limits = Condition::parse(condition).unwrap().limits();
            let got = number(&values, limits.first());
            assert!((got - expected).abs() < f64::EPSILON, "{condition}: {got}");
        }
        assert!(number(&Value::from(vec![]), None).is_nan());
        assert!(number(&Value::Nil, None).is_nan());
    }
}
