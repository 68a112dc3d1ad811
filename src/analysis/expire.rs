//! When a finished run deletes itself.

use jiff::{SignedDuration, Timestamp};

use super::decide::Decision;
use super::schedule::later;
use crate::api::{AnalysisRun, AnalysisRunSpec, AnalysisRunStatus, Phase};

/// Decides about a run that has ended: nothing but its deletion can follow.
pub(crate) fn decide(run: &AnalysisRun, status: AnalysisRunStatus, now: Timestamp) -> Decision {
    let expires_at = expires_at(&run.spec, &status);
    let delete = expires_at.is_some_and(|at| at <= now);
    Decision {
        status,
        delete,
        wake_at: expires_at.filter(|_| !delete),
        ..Decision::default()
    }
}

/// When a run has outlived its `ttlStrategy`; `None` if it has none or has not ended.
///
/// A run is kept for all of the seconds that are written, so it goes with the one after.
///
/// # Source
/// `maybeGarbageCollectAnalysisRun` in `analysis/controller.go`.
pub(crate) fn expires_at(spec: &AnalysisRunSpec, status: &AnalysisRunStatus) -> Option<Timestamp> {
    let strategy = spec.ttl_strategy.as_ref()?;
    let seconds = match status.phase? {
        Phase::Successful => strategy
            .seconds_after_success
            .or(strategy.seconds_after_completion),
        Phase::Failed => strategy
            .seconds_after_failure
            .or(strategy.seconds_after_completion),
        Phase::Error | Phase::Inconclusive => strategy.seconds_after_completion,
        Phase::Pending | Phase::Running => None,
    }?;
    let completed_at = status.completed_at.as_ref()?.0;
    Some(later(
        completed_at,
        SignedDuration::from_secs(i64::from(seconds) + 1),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn expiry(strategy: &Value, phase: &str, seconds: i64) -> (bool, Option<i64>) {
        let run: AnalysisRun = serde_json::from_value(json!({
            "metadata": {"name": "run"},
            "spec": {"metrics": [], "ttlStrategy": strategy},
            "status": {"phase": phase, "completedAt": "2026-08-01T10:00:00Z"},
        }))
        .unwrap();
        let status = run.status.clone().unwrap();
        let completed_at = status.completed_at.clone().unwrap().0;
        let decision = decide(
            &run,
            status,
            completed_at + SignedDuration::from_secs(seconds),
        );
        let wake_at = decision
            .wake_at
            .map(|at| at.as_second() - completed_at.as_second());
        (decision.delete, wake_at)
    }

    #[test]
    fn a_finished_run_is_kept_for_its_time() {
        let all = json!({
            "secondsAfterCompletion": 10, "secondsAfterSuccess": 0, "secondsAfterFailure": 100,
        });
        let cases = [
            (&all, "Successful", 0, (false, Some(1))),
            (&all, "Successful", 1, (true, None)),
            (&all, "Failed", 100, (false, Some(101))),
            (&all, "Failed", 101, (true, None)),
            (&all, "Error", 10, (false, Some(11))),
            (&all, "Error", 11, (true, None)),
            (&all, "Inconclusive", 11, (true, None)),
            (
                &json!({"secondsAfterCompletion": 5}),
                "Successful",
                6,
                (true, None),
            ),
            (
                &json!({"secondsAfterCompletion": 5}),
                "Failed",
                5,
                (false, Some(6)),
            ),
            (
                &json!({"secondsAfterSuccess": 5}),
                "Error",
                1000,
                (false, None),
            ),
            (
                &json!({"secondsAfterSuccess": 5}),
                "Failed",
                1000,
                (false, None),
            ),
            (
                &json!({"secondsAfterCompletion": -5}),
                "Failed",
                0,
                (true, None),
            ),
            (
                &json!({"secondsAfterCompletion": i32::MAX}),
                "Failed",
                0,
                (false, Some(1 << 31)),
            ),
            (&json!({}), "Failed", 1000, (false, None)),
            (&json!(null), "Failed", 1000, (false, None)),
        ];
        for (strategy, phase, seconds, expected) in cases {
            assert_eq!(
                expiry(strategy, phase, seconds),
                expected,
                "{strategy} {phase} {seconds}"
            );
        }
    }

    #[test]
    fn a_run_of_which_nobody_knows_when_it_ended_is_kept() {
        let spec: AnalysisRunSpec =
            serde_json::from_value(json!({"ttlStrategy": {"secondsAfterCompletion": 0}})).unwrap();
        let status = AnalysisRunStatus {
            phase: Some(Phase::Error),
            ..<_>::default()
        };
        assert_eq!(expires_at(&spec, &status), None);
    }
}
