//! What limit or threshold would have kept false alarms below a wanted rate.
//!
//! The measurements of healthy runs are judged once more by the rules of a run: with another limit,
//! or as another threshold would have it. Each of these is the more lenient the further it is moved,
//! so the least change is found by halving.

use serde::Serialize;

use crate::analysis::{Limits, MetricPlan, phase_after};
use crate::api::Phase;
use crate::expression::{Limit, Side};

/// All measurements that a metric would have taken in one run, had no limit of its own ended it
/// early: the phase, and the number that its threshold is about, NaN if there is none.
pub(super) type Sequence = Vec<(Phase, f64)>;

/// A change that would have kept the wanted rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    /// The share of healthy runs that fails by this metric now.
    pub rate: f64,
    /// The least `failureLimit` that keeps the wanted rate, if that of the metric does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_limit: Option<i32>,
    /// The greatest `consecutiveSuccessLimit` that keeps the wanted rate, if that of the metric does
    /// not. For a metric that no `failureLimit` decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_success_limit: Option<i32>,
    /// The strictest threshold that keeps the wanted rate with the metric's own limits, as it would
    /// be written: `>= 0.97`. Of four digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<String>,
}

/// What would have kept the rate of failures at `wanted` or below. `threshold` is the metric's, if a
/// single one decides.
pub(super) fn suggest(
    plan: &MetricPlan,
    runs: &[Sequence],
    threshold: Option<&Limit>,
    wanted: f64,
) -> Option<Suggestion> {
    if runs.is_empty() {
        return None;
    }
    let rate = rate(plan, runs);
    let is_kept = |limits: Limits| self::rate(&with(plan, limits), runs) <= wanted;
    let limits = plan.limits;
    let changes = (rate > wanted).then(|| match limits.failure {
        Some(failure) => (more_failures(plan, failure, runs, is_kept), None),
        None => (None, fewer_successes(limits, is_kept)),
    });
    let (failure_limit, consecutive_success_limit) = changes.unwrap_or_default();
    Some(Suggestion {
        rate,
        failure_limit,
        consecutive_success_limit,
        threshold: threshold.and_then(|limit| self::threshold(plan, runs, limit.side, wanted)),
    })
}

fn with(plan: &MetricPlan, limits: Limits) -> MetricPlan {
    MetricPlan {
        limits,
        ..plan.clone()
    }
}

fn fails(plan: &MetricPlan, phases: impl Iterator<Item = Phase>) -> bool {
    phase_after(plan, phases) == Some(Phase::Failed)
}

/// The share of runs that fails.
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn rate(plan: &MetricPlan, runs: &[Sequence]) -> f64 {
    let phases = |run: &Sequence| run.clone().into_iter().map(|(phase, _)| phase);
    let failing = runs.iter().filter(|run| fails(plan, phases(run)));
    failing.count() as f64 / runs.len() as f64
}

/// The least higher `failureLimit` that does, and that validation allows beside `count`.
fn more_failures(
    plan: &MetricPlan,
    failure: i32,
    runs: &[Sequence],
    is_kept: impl Fn(Limits) -> bool,
) -> Option<i32> {
    let failed = |run: &Sequence| {
        run.iter()
            .filter(|(phase, _)| *phase == Phase::Failed)
            .count()
    };
    let most = runs.iter().map(failed).max().unwrap_or_default();
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let allowed = plan.count.map_or(most, |count| {
        most.min(count - plan.limits.consecutive_success)
    });
    let tried: Vec<i32> = (failure + 1..=allowed).collect();
    let failure = |limit: i32| Limits {
        failure: Some(limit),
        ..plan.limits
    };
    let found = tried.partition_point(|limit| !is_kept(failure(*limit)));
    tried.get(found).copied()
}

/// The greatest lower `consecutiveSuccessLimit` that does.
fn fewer_successes(limits: Limits, is_kept: impl Fn(Limits) -> bool) -> Option<i32> {
    let tried: Vec<i32> = (1..limits.consecutive_success).collect();
    let found = tried.partition_point(|limit| {
        is_kept(Limits {
            consecutive_success: *limit,
            ..limits
        })
    });
    tried.get(found.checked_sub(1)?).copied()
}

/// As strict as can be: the runs that fail are those whose deciding number is beyond it, so it is the
/// deciding number of the first run that must not fail.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list"
)]
fn threshold(plan: &MetricPlan, runs: &[Sequence], side: Side, wanted: f64) -> Option<String> {
    let mut deciding: Vec<f64> = (runs.iter())
        .filter_map(|run| self::deciding(plan, run, side))
        .collect();
    lenient_first(&mut deciding, side);
    let may_fail = (wanted * runs.len() as f64).floor() as usize;
    let first_to_hold = deciding.get(may_fail).filter(|number| number.is_finite())?;
    let symbol = if side.is_floor() { ">=" } else { "<=" };
    Some(format!("{symbol} {}", rounded(*first_to_hold, side)))
}

/// The nearest number of four digits that is as lenient.
fn rounded(number: f64, side: Side) -> f64 {
    let text = format!("{number:.3e}");
    let nearest: f64 = text.parse().unwrap_or(number);
    let is_lenient = if side.is_floor() {
        nearest <= number
    } else {
        nearest >= number
    };
    if is_lenient {
        return nearest;
    }
    let exponent = text.split_once('e').map_or("0", |(_, exponent)| exponent);
    let one: f64 = format!("1e{exponent}").parse().unwrap_or(1.0);
    let last_digit = one / 1000.0;
    let next = if side.is_floor() {
        nearest - last_digit
    } else {
        nearest + last_digit
    };
    // Of the digits that a sum leaves, only those that are meant.
    format!("{next:.3e}").parse().unwrap_or(number)
}

fn lenient_first(numbers: &mut [f64], side: Side) {
    numbers.sort_by(f64::total_cmp);
    if !side.is_floor() {
        numbers.reverse();
    }
}

/// The strictest threshold with which a run does not fail; infinite if there is none, and `None` if
/// it fails with no threshold.
fn deciding(plan: &MetricPlan, run: &Sequence, side: Side) -> Option<f64> {
    let fails_if = |is_good: &dyn Fn(f64) -> bool| {
        let judged = run.iter().map(|(phase, number)| match phase {
            Phase::Successful | Phase::Failed if number.is_finite() => {
                if is_good(*number) {
                    Phase::Successful
                } else {
                    Phase::Failed
                }
            }
            Phase::Successful
            | Phase::Failed
            | Phase::Inconclusive
            | Phase::Error
            | Phase::Pending
            | Phase::Running => *phase,
        });
        fails(plan, judged)
    };
    if !fails_if(&|_| false) {
        return None;
    }
    let numbers = run.iter().map(|(_, number)| *number);
    let mut numbers: Vec<f64> = numbers.filter(|number| number.is_finite()).collect();
    lenient_first(&mut numbers, side);
    let holds = |number: f64, threshold: f64| {
        if side.is_floor() {
            number >= threshold
        } else {
            number <= threshold
        }
    };
    let held = numbers.partition_point(|threshold| !fails_if(&|number| holds(number, *threshold)));
    let none = if side.is_floor() {
        f64::NEG_INFINITY
    } else {
        f64::INFINITY
    };
    Some(held.checked_sub(1).map_or(none, |last| numbers[last]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::analysis::Prepared;
    use crate::expression::Of;

    fn plan(changes: &Value) -> MetricPlan {
        let mut metric = json!({
            "name": "m", "interval": "1m", "count": 3, "successCondition": "result[0] >= 0.95",
            "provider": {"prometheus": {"address": "http://a", "query": "m"}},
        });
        for (field, value) in changes.as_object().unwrap() {
            metric[field] = value.clone();
        }
        let run = json!({"metadata": {"name": "run"}, "spec": {"metrics": [metric]}});
        let prepared = Prepared::new(&serde_json::from_value(run).unwrap());
        prepared.unwrap().plans()[0].clone()
    }

    fn judged(runs: &[Vec<f64>], least: f64) -> Vec<Sequence> {
        let phase = |number: f64| {
            if number >= least {
                Phase::Successful
            } else {
                Phase::Failed
            }
        };
        let one = |numbers: &Vec<f64>| numbers.iter().map(|it| (phase(*it), *it)).collect();
        runs.iter().map(one).collect()
    }

    fn at_least(value: f64) -> Limit {
        Limit {
            of: Of::At(0),
            side: Side::AtLeast,
            value,
        }
    }

    fn suggested(changes: &Value, runs: &[Vec<f64>], wanted: f64) -> Suggestion {
        let runs = judged(runs, 0.95);
        suggest(&plan(changes), &runs, Some(&at_least(0.95)), wanted).unwrap()
    }

    #[test]
    fn a_suggestion_is_the_least_change() {
        let runs = [
            vec![0.9, 0.99, 0.99],
            vec![0.99, 0.99, 0.99],
            vec![0.8, 0.8, 0.99],
            vec![0.97, 0.99, 0.99],
        ];
        let got = suggested(&json!({"failureLimit": 0}), &runs, 0.25);
        assert!((got.rate - 0.5).abs() < 1e-12);
        assert_eq!(got.failure_limit, Some(1));
        assert_eq!(got.threshold.as_deref(), Some(">= 0.9"));
        let kept = suggested(&json!({"failureLimit": 2}), &runs, 0.25);
        assert_eq!(
            (kept.failure_limit, kept.threshold.as_deref()),
            (None, Some(">= 0.99"))
        );
    }

    #[test]
    fn a_metric_that_needs_successes_in_a_row_may_need_fewer() {
        let runs = [
            vec![0.9, 0.99, 0.98],
            vec![0.99, 0.99, 0.99],
            vec![0.96, 0.8, 0.99],
            vec![0.97, 0.99, 0.99],
        ];
        let in_a_row = |limit: i32| json!({"failureLimit": -1, "consecutiveSuccessLimit": limit});
        let got = suggested(&in_a_row(3), &runs, 0.25);
        assert!((got.rate - 0.5).abs() < 1e-12);
        assert_eq!(
            (got.failure_limit, got.consecutive_success_limit),
            (None, Some(2))
        );
        assert_eq!(got.threshold.as_deref(), Some(">= 0.9"));
        let none = suggested(&in_a_row(2), &[vec![0.9, 0.9, 0.9]], 0.0);
        assert_eq!(none.consecutive_success_limit, None);
    }

    #[test]
    fn a_threshold_has_four_digits_and_is_no_stricter() {
        for (number, floor, ceiling) in [
            (0.97, 0.97, 0.97),
            (0.993_061_6, 0.993, 0.9931),
            (0.993_081_6, 0.993, 0.9931),
            (-0.000_123_456, -0.000_123_5, -0.000_123_4),
            (99_996.0, 99_900.0, 100_000.0),
            (0.0, 0.0, 0.0),
            (123_456.0, 123_400.0, 123_500.0),
        ] {
            let both = [Side::AtLeast, Side::AtMost].map(|side| rounded(number, side).to_string());
            assert_eq!(
                both,
                [floor, ceiling].map(|it: f64| it.to_string()),
                "{number}"
            );
        }
    }

    /// Errors, and numbers that are none, fail or hold by no threshold.
    #[test]
    fn what_no_threshold_changes_is_not_changed() {
        let error = (Phase::Error, f64::NAN);
        let nan = (Phase::Failed, f64::NAN);
        let good = (Phase::Successful, 0.99);
        let plan = plan(&json!({"failureLimit": 0}));
        let suggest = |run: Sequence| suggest(&plan, &[run], Some(&at_least(0.95)), 0.0).unwrap();
        assert_eq!(suggest(vec![error, error]).threshold, None);
        assert_eq!(suggest(vec![good, nan]).threshold, None);
        assert_eq!(
            suggest(vec![error, good]).threshold.as_deref(),
            Some(">= 0.99")
        );
    }

    proptest! {
        #[test]
        fn a_suggestion_keeps_the_wanted_rate(
            runs in prop::collection::vec(prop::collection::vec(0.0..1.0_f64, 6), 1..40),
            failure in -1..3_i32,
            in_a_row in 0..4_i32,
            wanted in 0.0..0.5_f64,
        ) {
            prop_assume!(failure >= 0 || in_a_row > 0);
            let plan = plan(&json!({
                "count": 6, "failureLimit": failure, "consecutiveSuccessLimit": in_a_row,
            }));
            let all = judged(&runs, 0.5);
            let got = suggest(&plan, &all, Some(&at_least(0.5)), wanted).unwrap();
            let rate_with = |failure: Option<i32>, consecutive_success: i32| {
                let limits = Limits { failure, consecutive_success, ..plan.limits };
                rate(&with(&plan, limits), &all)
            };
            if let Some(limit) = got.failure_limit {
                prop_assert!(rate_with(Some(limit), in_a_row) <= wanted);
                prop_assert!(rate_with(Some(limit - 1), in_a_row) > wanted);
            }
            if let Some(limit) = got.consecutive_success_limit {
                prop_assert!(rate_with(None, limit) <= wanted);
                prop_assert!(rate_with(None, limit + 1) > wanted);
            }
            if let Some(threshold) = got.threshold {
                let threshold: f64 = threshold.trim_start_matches(">= ").parse().unwrap();
                prop_assert!(rate(&plan, &judged(&runs, threshold)) <= wanted);
                // What rounding has left out is no stricter.
                let stricter = runs.iter().flatten().copied().filter(|it| *it > threshold + 1e-3);
                if let Some(next) = stricter.min_by(f64::total_cmp) {
                    prop_assert!(rate(&plan, &judged(&runs, next)) > wanted);
                }
            }
        }
    }
}
