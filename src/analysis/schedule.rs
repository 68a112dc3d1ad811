//! Which measurement of a metric is due, and when to look again: one function says both, so that
//! what is due at the time of the wake-up is always done then.

use jiff::{SignedDuration, Timestamp};

use super::plan::{DEFAULT_WAIT, MetricPlan, SHORTEST_WAIT};
use crate::api::{Measurement, MetricResult, Phase};
use crate::metric_providers::Action;

/// What a metric needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// This, now.
    Start(Action),
    /// Nothing before this time.
    At(Timestamp),
    /// Nothing, unless something else happens.
    Nothing,
}

/// What the schedule depends on beside the metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    /// When the run began.
    pub(crate) started_at: Timestamp,
    /// Whether the run is being brought to its end.
    pub(crate) terminating: bool,
    /// Whether the source has given notice that the measurement in flight has moved.
    pub(crate) woken: bool,
}

/// What a metric needs next that is not being measured at this moment.
///
/// Due means at that time or later. Argo asks for *later than* the stored time, which has whole
/// seconds and is therefore mostly a fraction of a second early; within that second both agree.
///
/// # Source
/// `generateMeasurementTasks` and `calculateNextReconcileTime` in `analysis/analysis.go`.
pub(crate) fn next(plan: &MetricPlan, result: Option<&MetricResult>, moment: &Moment) -> Next {
    if result.is_some_and(is_completed) {
        return Next::Nothing;
    }
    match result.and_then(|result| Some((result, result.measurements.last()?))) {
        Some((_, last)) if is_in_flight(last) => in_flight(last, moment),
        _ if moment.terminating => Next::Nothing,
        Some((result, _)) if plan.count.is_some_and(|count| result.count >= count) => Next::Nothing,
        Some((result, last)) => run_at(after(plan, result, last), moment.now),
        None => {
            let delay = plan.initial_delay.unwrap_or(SignedDuration::ZERO);
            run_at(later(moment.started_at, delay), moment.now)
        }
    }
}

/// Whether a metric is decided.
pub(crate) fn is_completed(result: &MetricResult) -> bool {
    result.phase.is_some_and(Phase::is_completed)
}

/// Whether a measurement has begun and not ended.
pub(crate) fn is_in_flight(measurement: &Measurement) -> bool {
    measurement.finished_at.is_none()
}

fn in_flight(last: &Measurement, moment: &Moment) -> Next {
    match &last.resume_at {
        _ if moment.terminating => Next::Start(Action::Terminate),
        Some(at) if at.0 > moment.now && !moment.woken => Next::At(at.0),
        Some(_) | None => Next::Start(Action::Resume),
    }
}

/// When the measurement after `last` is due.
fn after(plan: &MetricPlan, result: &MetricResult, last: &Measurement) -> Timestamp {
    let wait = match last.phase {
        Some(Phase::Error) => plan.error_wait.after(result.consecutive_error),
        _ => plan.interval.unwrap_or(DEFAULT_WAIT),
    };
    let finished = last.finished_at.as_ref().map_or(Timestamp::MIN, |at| at.0);
    let due = later(finished, wait.max(SHORTEST_WAIT));
    // A source that wants to be left alone for a while has said until when.
    last.resume_at.as_ref().map_or(due, |at| due.max(at.0))
}

fn run_at(due: Timestamp, now: Timestamp) -> Next {
    if due <= now {
        Next::Start(Action::Run)
    } else {
        Next::At(due)
    }
}

/// `time + wait`, within what a timestamp holds.
pub(crate) fn later(time: Timestamp, wait: SignedDuration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Metric;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn plan(changes: &Value) -> MetricPlan {
        let mut metric = json!({"name": "m", "provider": {"web": {"url": "http://a"}}});
        for (field, value) in changes.as_object().unwrap() {
            metric[field] = value.clone();
        }
        let metric: Metric = serde_json::from_value(metric).unwrap();
        super::super::plan::plan(&metric, "m", &mut Vec::new())
    }

    fn measurement(phase: Phase, finished: Option<i64>, resume: Option<i64>) -> Measurement {
        Measurement {
            phase: Some(phase),
            started_at: Some(Time(time(0))),
            finished_at: finished.map(|at| Time(time(at))),
            resume_at: resume.map(|at| Time(time(at))),
            ..Measurement::default()
        }
    }

    fn result(count: i32, last: Measurement) -> MetricResult {
        MetricResult {
            phase: Some(Phase::Running),
            count,
            consecutive_error: i32::from(last.phase == Some(Phase::Error)),
            measurements: vec![last],
            ..MetricResult::default()
        }
    }

    fn at(now: i64) -> Moment {
        Moment {
            now: time(now),
            started_at: time(0),
            terminating: false,
            woken: false,
        }
    }

    #[test]
    fn a_first_measurement_waits_for_its_delay() {
        let cases = [
            (json!({}), 0, Next::Start(Action::Run)),
            (json!({"initialDelay": "30s"}), 0, Next::At(time(30))),
            (json!({"initialDelay": "30s"}), 29, Next::At(time(30))),
            (json!({"initialDelay": "30s"}), 30, Next::Start(Action::Run)),
        ];
        for (changes, now, expected) in cases {
            assert_eq!(
                next(&plan(&changes), None, &at(now)),
                expected,
                "{changes} {now}"
            );
        }
        let terminating = Moment {
            terminating: true,
            ..at(0)
        };
        assert_eq!(next(&plan(&json!({})), None, &terminating), Next::Nothing);
    }

    #[test]
    fn the_next_measurement_follows_the_last_one() {
        use Phase::{Error, Failed, Pending, Successful};
        let minutely = json!({"interval": "1m"});
        let cases = [
            (minutely.clone(), Successful, 60, None, Next::At(time(61))),
            (
                minutely.clone(),
                Successful,
                61,
                None,
                Next::Start(Action::Run),
            ),
            (minutely.clone(), Failed, 61, None, Next::Start(Action::Run)),
            (minutely.clone(), Pending, 60, None, Next::At(time(61))),
            (minutely.clone(), Error, 10, None, Next::At(time(11))),
            (minutely.clone(), Error, 11, None, Next::Start(Action::Run)),
            (minutely.clone(), Error, 11, Some(40), Next::At(time(40))),
            (
                minutely.clone(),
                Error,
                40,
                Some(40),
                Next::Start(Action::Run),
            ),
            (minutely.clone(), Error, 5, Some(7), Next::At(time(11))),
            (json!({}), Pending, 5, None, Next::At(time(11))),
            (json!({}), Error, 5, None, Next::At(time(11))),
            (
                json!({"interval": "0"}),
                Successful,
                1,
                None,
                Next::At(time(2)),
            ),
            (
                json!({"interval": "300ms"}),
                Successful,
                1,
                None,
                Next::At(time(2)),
            ),
        ];
        for (changes, phase, now, resume, expected) in cases {
            let result = result(0, measurement(phase, Some(1), resume));
            let got = next(&plan(&changes), Some(&result), &at(now));
            assert_eq!(got, expected, "{changes} {phase} {now} {resume:?}");
        }
    }

    #[test]
    fn nothing_follows_when_the_count_is_reached_or_the_run_ends() {
        let plan = plan(&json!({"interval": "1m", "count": 2}));
        let done = result(2, measurement(Phase::Successful, Some(1), None));
        assert_eq!(next(&plan, Some(&done), &at(1000)), Next::Nothing);
        let one = result(1, measurement(Phase::Successful, Some(1), None));
        assert_eq!(next(&plan, Some(&one), &at(1000)), Next::Start(Action::Run));
        let terminating = Moment {
            terminating: true,
            ..at(1000)
        };
        assert_eq!(next(&plan, Some(&one), &terminating), Next::Nothing);
        let decided = MetricResult {
            phase: Some(Phase::Failed),
            ..one
        };
        assert_eq!(next(&plan, Some(&decided), &at(1000)), Next::Nothing);
    }

    #[test]
    fn a_measurement_in_flight_is_looked_at_in_time() {
        let plan = plan(&json!({}));
        let waiting = result(0, measurement(Phase::Running, None, Some(10)));
        let unknown = result(0, measurement(Phase::Running, None, None));
        assert_eq!(next(&plan, Some(&waiting), &at(5)), Next::At(time(10)));
        assert_eq!(
            next(&plan, Some(&waiting), &at(10)),
            Next::Start(Action::Resume)
        );
        assert_eq!(
            next(&plan, Some(&unknown), &at(0)),
            Next::Start(Action::Resume)
        );
        let woken = Moment {
            woken: true,
            ..at(5)
        };
        assert_eq!(
            next(&plan, Some(&waiting), &woken),
            Next::Start(Action::Resume)
        );
        let terminating = Moment {
            terminating: true,
            ..at(5)
        };
        assert_eq!(
            next(&plan, Some(&waiting), &terminating),
            Next::Start(Action::Terminate)
        );
    }

    #[test]
    fn times_beyond_all_bounds_are_no_panic() {
        let plan = plan(&json!({"interval": "2562047h", "initialDelay": "2562047h"}));
        let last = result(0, measurement(Phase::Successful, Some(1), None));
        let end = Moment {
            now: Timestamp::MAX,
            started_at: Timestamp::MAX,
            ..at(0)
        };
        next(&plan, None, &end);
        next(&plan, Some(&last), &end);
    }
}
