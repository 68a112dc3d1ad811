//! What `failureLimit` or threshold would have kept false alarms below a wanted rate.
//!
//! A metric fails when more of its measurements fail than its limit tolerates. So a run's number of
//! failed measurements says which limits it would have failed with, and its (limit + 1)-th worst
//! value says which thresholds.

use serde::Serialize;

use crate::expression::{Limit, Side};

/// All measurements that a metric would have taken in one run, had nothing ended it early.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sequence {
    pub(super) failed: usize,
    /// The numbers that its limit is about.
    pub(super) numbers: Vec<f64>,
}

/// A change that would have kept the wanted rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    /// The share of healthy runs that fails by this metric now.
    pub rate: f64,
    /// The least `failureLimit` that keeps the wanted rate, if that of the metric does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_limit: Option<usize>,
    /// The strictest threshold that keeps the wanted rate with the metric's own `failureLimit`, as
    /// it would be written: `>= 0.97`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<String>,
}

/// What would have kept the rate of failures at `wanted` or below.
pub(super) fn suggest(
    sequences: &[Sequence],
    tolerated: usize,
    limit: Option<&Limit>,
    wanted: f64,
) -> Option<Suggestion> {
    if sequences.is_empty() {
        return None;
    }
    let rate = rate(sequences, tolerated);
    let most = sequences
        .iter()
        .map(|it| it.failed)
        .max()
        .unwrap_or_default();
    let failure_limit =
        (tolerated + 1..=most).find(|limit| self::rate(sequences, *limit) <= wanted);
    Some(Suggestion {
        rate,
        failure_limit: failure_limit.filter(|_| rate > wanted),
        threshold: limit.and_then(|limit| threshold(sequences, tolerated, limit.side, wanted)),
    })
}

/// The share of runs with more failed measurements than are tolerated.
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn rate(sequences: &[Sequence], tolerated: usize) -> f64 {
    let failing = sequences.iter().filter(|it| it.failed > tolerated);
    failing.count() as f64 / sequences.len() as f64
}

/// As strict as can be: the runs that fail are those whose deciding value is beyond it, so it is the
/// deciding value of the first run that must not fail.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list"
)]
fn threshold(sequences: &[Sequence], tolerated: usize, side: Side, wanted: f64) -> Option<String> {
    let worst_first = |numbers: &mut Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        if !side.is_floor() {
            numbers.reverse();
        }
    };
    // A run with fewer numbers than are tolerated cannot fail by any threshold.
    let mut deciding: Vec<f64> = (sequences.iter())
        .filter_map(|sequence| {
            let mut numbers = sequence.numbers.clone();
            numbers.retain(|number| number.is_finite());
            worst_first(&mut numbers);
            numbers.get(tolerated).copied()
        })
        .collect();
    worst_first(&mut deciding);
    let may_fail = (wanted * sequences.len() as f64).floor() as usize;
    let first_to_hold = deciding.get(may_fail)?;
    let symbol = if side.is_floor() { ">=" } else { "<=" };
    Some(format!("{symbol} {first_to_hold}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::expression::Of;

    fn sequences(runs: &[Vec<f64>], least: f64) -> Vec<Sequence> {
        let one = |numbers: &Vec<f64>| Sequence {
            failed: numbers.iter().filter(|number| **number < least).count(),
            numbers: numbers.clone(),
        };
        runs.iter().map(one).collect()
    }

    fn at_least(value: f64) -> Limit {
        Limit {
            of: Of::At(0),
            side: Side::AtLeast,
            value,
        }
    }

    #[test]
    fn a_suggestion_is_the_least_change() {
        let runs = [
            vec![0.9, 0.99],
            vec![0.99, 0.99],
            vec![0.8, 0.8],
            vec![0.97, 0.99],
        ];
        let all = sequences(&runs, 0.95);
        let suggested = suggest(&all, 0, Some(&at_least(0.95)), 0.25).unwrap();
        assert!((suggested.rate - 0.5).abs() < 1e-12);
        assert_eq!(suggested.failure_limit, Some(1));
        assert_eq!(suggested.threshold.as_deref(), Some(">= 0.9"));
        let kept = suggest(&all, 2, Some(&at_least(0.95)), 0.25).unwrap();
        assert_eq!((kept.failure_limit, kept.threshold), (None, None));
    }

    proptest! {
        #[test]
        fn a_suggestion_keeps_the_wanted_rate(
            runs in prop::collection::vec(prop::collection::vec(0.0..1.0_f64, 3), 1..40),
            tolerated in 0..3_usize,
            wanted in 0.0..0.5_f64,
        ) {
            let all = sequences(&runs, 0.5);
            let suggested = suggest(&all, tolerated, Some(&at_least(0.5)), wanted).unwrap();
            if let Some(limit) = suggested.failure_limit {
                prop_assert!(rate(&all, limit) <= wanted);
                prop_assert!(limit == tolerated + 1 || rate(&all, limit - 1) > wanted);
            }
            if let Some(threshold) = suggested.threshold {
                let threshold: f64 = threshold.trim_start_matches(">= ").parse().unwrap();
                prop_assert!(rate(&sequences(&runs, threshold), tolerated) <= wanted);
            }
        }
    }
}
