//! From measurements to a metric's phase.

use crate::api::{Measurement, MetricResult, Phase};

use super::plan::{Limits, MetricPlan};
use super::schedule::{is_completed, is_in_flight};

/// Counts a finished measurement. A skipped one (finished and still Pending) counts nowhere: it
/// neither ends a streak nor brings the metric nearer to its count.
///
/// # Source
/// `runMeasurements` in `analysis/analysis.go`.
pub(crate) fn count(result: &mut MetricResult, phase: Phase) {
    let counter = match phase {
        Phase::Pending | Phase::Running => return,
        Phase::Successful => &mut result.successful,
        Phase::Failed => &mut result.failed,
        Phase::Inconclusive => &mut result.inconclusive,
        Phase::Error => &mut result.error,
    };
    *counter = counter.saturating_add(1);
    if phase == Phase::Error {
        result.consecutive_error = result.consecutive_error.saturating_add(1);
    } else {
        result.consecutive_error = 0;
        result.count = result.count.saturating_add(1);
    }
    result.consecutive_success = if phase == Phase::Successful {
        result.consecutive_success.saturating_add(1)
    } else {
        0
    };
}

/// The phase of a metric, decided or not.
///
/// # Source
/// `assessMetricStatus` in `analysis/analysis.go`.
pub(crate) fn metric_phase(plan: &MetricPlan, result: &MetricResult, terminating: bool) -> Phase {
    if is_completed(result) {
        return result.phase.unwrap_or(Phase::Running);
    }
    let Some(last) = result.measurements.last() else {
        return if terminating {
            Phase::Successful
        } else {
            Phase::Pending
        };
    };
    if is_in_flight(last) {
        return Phase::Running;
    }
    if let Some((phase, _)) = decided(plan, result) {
        return phase;
    }
    if terminating {
        Phase::Successful
    } else {
        Phase::Running
    }
}

/// The phase that a metric's counters come to, and the reason unless it is a plain success.
/// `None` as long as they come to none.
pub(crate) fn decided(plan: &MetricPlan, result: &MetricResult) -> Option<(Phase, String)> {
    if let Some(exceeded) = limit_exceeded(plan.limits, result) {
        return Some(exceeded);
    }
    let Limits {
        failure,
        consecutive_success: wanted,
        ..
    } = plan.limits;
    let streak = result.consecutive_success;
    if wanted > 0 && streak >= wanted {
        return Some((Phase::Successful, String::new()));
    }
    let count = plan.count.filter(|count| result.count >= *count)?;
    if wanted == 0 {
        return Some((Phase::Successful, String::new()));
    }
    let phase = if failure.is_some() {
        Phase::Inconclusive
    } else {
        Phase::Failed
    };
    let reason = format!(
        "consecutiveSuccesses ({streak}) < consecutiveSuccessLimit ({wanted}) \
         when count ({count}) was reached"
    );
    Some((phase, reason))
}

/// The phase that a metric comes to by measurements of these phases, one after another; `None` as
/// long as they come to none.
#[must_use]
pub fn phase_after(plan: &MetricPlan, phases: impl IntoIterator<Item = Phase>) -> Option<Phase> {
    let mut result = MetricResult::default();
    let mut phases = phases.into_iter();
    phases.find_map(|phase| {
        count(&mut result, phase);
        decided(plan, &result).map(|(phase, _)| phase)
    })
}

/// Of several limits that are exceeded the last one counts, as in Argo.
fn limit_exceeded(limits: Limits, result: &MetricResult) -> Option<(Phase, String)> {
    let Limits {
        failure,
        inconclusive,
        consecutive_error,
        ..
    } = limits;
    if result.consecutive_error > consecutive_error {
        let reason = format!(
            "consecutiveErrors ({}) > consecutiveErrorLimit ({consecutive_error})",
            result.consecutive_error
        );
        return Some((Phase::Error, reason));
    }
    if result.inconclusive > inconclusive {
        let reason = format!(
            "inconclusive ({}) > inconclusiveLimit ({inconclusive})",
            result.inconclusive
        );
        return Some((Phase::Inconclusive, reason));
    }
    let failure = failure.filter(|limit| result.failed > *limit)?;
    Some((
        Phase::Failed,
        format!("failed ({}) > failureLimit ({failure})", result.failed),
    ))
}

/// Decides every metric that can be decided, and returns the names of those that were now.
pub(crate) fn assess_metrics(
    plans: &[MetricPlan],
    results: &mut [Option<MetricResult>],
    terminating: bool,
) -> Vec<(String, Phase)> {
    let mut decided_now = Vec::new();
    for (plan, result) in plans.iter().zip(results) {
        let Some(result) = result else { continue };
        if is_completed(result) {
            continue;
        }
        let phase = metric_phase(plan, result, terminating);
        if phase.is_completed() {
            result.message = message(plan, result, phase);
            decided_now.push((result.name.clone(), phase));
            result.phase = Some(phase);
        } else {
            result.phase = Some(Phase::Running);
        }
    }
    decided_now
}

/// What a metric says about its end.
fn message(plan: &MetricPlan, result: &MetricResult, phase: Phase) -> String {
    let last = result
        .measurements
        .last()
        .map(|last: &Measurement| last.message.clone());
    match decided(plan, result) {
        Some((_, reason)) if plan.dry_run && !reason.is_empty() => {
            format!("Metric assessed {phase} due to {reason}")
        }
        Some(_) => last.unwrap_or_default(),
        None => {
            let of = plan
                .count
                .map(|count| format!(" of {count}"))
                .unwrap_or_default();
            format!(
                "cut short after {}{of} measurements: the run was ended",
                result.count
            )
        }
    }
}

/// Whether a metric that counts has ended as anything but Successful: the run is then brought to
/// its end.
pub(crate) fn has_violation(plans: &[MetricPlan], results: &[Option<MetricResult>]) -> bool {
    plans.iter().zip(results).any(|(plan, result)| {
        let phase = result.as_ref().and_then(|result| result.phase);
        !plan.dry_run
            && phase.is_some_and(|phase| phase.is_completed() && phase != Phase::Successful)
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Metric;

    fn plan(changes: &Value) -> MetricPlan {
        let mut metric = json!({"name": "m", "provider": {"web": {"url": "http://a"}}});
        for (field, value) in changes.as_object().unwrap() {
            metric[field] = value.clone();
        }
        let metric: Metric = serde_json::from_value(metric).unwrap();
        super::super::plan::plan(&metric, "m", &mut Vec::new())
    }

    fn finished() -> Measurement {
        Measurement {
            phase: Some(Phase::Successful),
            finished_at: Some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..Measurement::default()
        }
    }

    fn result(count: i32, failed: i32, streak: i32) -> MetricResult {
        MetricResult {
            name: "m".into(),
            phase: Some(Phase::Running),
            count,
            failed,
            successful: count - failed,
            consecutive_success: streak,
            measurements: vec![finished()],
            ..MetricResult::default()
        }
    }

    /// The reference points of the specification, 8.6, and what follows from 3.6 around them.
    #[test]
    fn limits_decide_a_metric() {
        use Phase::{Failed, Inconclusive, Running, Successful};
        // failureLimit, consecutiveSuccessLimit, count, failed, streak, taken
        let cases = [
            (4, 4, 0, 3, 3, 7, Running, Successful),
            (4, 4, 0, 5, 0, 9, Failed, Failed),
            (4, 4, 0, 3, 4, 8, Successful, Successful),
            (4, 4, 0, 5, 4, 10, Failed, Failed),
            (4, 4, 10, 4, 3, 10, Inconclusive, Inconclusive),
            (4, 4, 10, 5, 3, 10, Failed, Failed),
            (4, 4, 10, 4, 4, 10, Successful, Successful),
            (4, 4, 10, 3, 3, 8, Running, Successful),
            (4, 4, 10, 3, 4, 8, Successful, Successful),
            (0, 0, 0, 0, 5, 5, Running, Successful),
            (0, 0, 0, 1, 0, 1, Failed, Failed),
            (0, 0, 10, 0, 9, 9, Running, Successful),
            (0, 0, 10, 0, 10, 10, Successful, Successful),
            (4, 0, 0, 4, 0, 4, Running, Successful),
            (4, 0, 10, 4, 0, 10, Successful, Successful),
            (3, 0, 3, 3, 0, 3, Successful, Successful),
            (0, 4, 0, 0, 3, 3, Running, Successful),
            (0, 4, 0, 0, 4, 4, Successful, Successful),
            (0, 4, 10, 1, 4, 5, Failed, Failed),
            (-1, 4, 0, 100, 3, 103, Running, Successful),
            (-1, 4, 0, 100, 4, 104, Successful, Successful),
            (-1, 4, 10, 7, 3, 10, Failed, Failed),
            (-1, 4, 10, 6, 4, 10, Successful, Successful),
            (-1, 4, 10, 6, 2, 8, Running, Successful),
        ];
        for case in cases {
            let (failure, streak_wanted, count, failed, streak, taken, running, ended) = case;
            let plan = plan(&json!({
                "interval": "1s", "count": count, "failureLimit": failure,
                "consecutiveSuccessLimit": streak_wanted,
            }));
            let result = result(taken, failed, streak);
            assert_eq!(metric_phase(&plan, &result, false), running, "{case:?}");
            assert_eq!(
                metric_phase(&plan, &result, true),
                ended,
                "{case:?} terminating"
            );
        }
    }

    #[test]
    fn of_several_limits_the_last_one_counts() {
        let plan = plan(&json!({"interval": "1s"}));
        let mut result = result(1, 1, 0);
        assert_eq!(metric_phase(&plan, &result, false), Phase::Failed);
        result.inconclusive = 1;
        assert_eq!(metric_phase(&plan, &result, false), Phase::Inconclusive);
        result.consecutive_error = 4;
        assert_eq!(metric_phase(&plan, &result, false), Phase::Inconclusive);
        result.consecutive_error = 5;
        assert_eq!(metric_phase(&plan, &result, false), Phase::Error);
    }

    #[test]
    fn what_is_decided_or_in_flight_stays_so() {
        let plan = plan(&json!({}));
        let decided = MetricResult {
            phase: Some(Phase::Successful),
            ..result(5, 5, 0)
        };
        assert_eq!(metric_phase(&plan, &decided, true), Phase::Successful);
        let mut flying = result(5, 5, 0);
        flying.measurements.push(Measurement::default());
        assert_eq!(metric_phase(&plan, &flying, true), Phase::Running);
        let empty = MetricResult::default();
        assert_eq!(metric_phase(&plan, &empty, true), Phase::Successful);
        assert_eq!(metric_phase(&plan, &empty, false), Phase::Pending);
    }

    #[test]
    fn measurements_are_counted() {
        use Phase::{Error, Failed, Inconclusive, Pending, Successful};
        let mut result = MetricResult::default();
        let mut seen = Vec::new();
        for phase in [
            Successful,
            Successful,
            Pending,
            Error,
            Error,
            Failed,
            Successful,
            Inconclusive,
        ] {
            count(&mut result, phase);
            seen.push((
                result.count,
                result.consecutive_success,
                result.consecutive_error,
            ));
        }
        assert_eq!(
            seen,
            [
                (1, 1, 0),
                (2, 2, 0),
                (2, 2, 0),
                (2, 0, 1),
                (2, 0, 2),
                (3, 0, 0),
                (4, 1, 0),
                (5, 0, 0)
            ]
        );
        let all = (
            result.successful,
            result.failed,
            result.inconclusive,
            result.error,
        );
        assert_eq!(all, (3, 1, 1, 2));
    }
}
