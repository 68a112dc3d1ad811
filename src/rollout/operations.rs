//! What people ask of a Rollout, as the patches that the kubectl plugin sends.
//!
//! # Source
//! `kubectl argo rollouts` promote, abort, retry and pause (argo-rollouts v1.10).

use serde_json::{Value, json};

use crate::api::{Phase, Rollout};

/// Status: end the current pause, or, where there is none, the current step.
#[must_use]
pub fn promote(rollout: &Rollout) -> Value {
    let status = rollout.status.clone().unwrap_or_default();
    let steps = rollout
        .spec
        .strategy
        .canary
        .as_ref()
        .map_or(0, |canary| canary.steps.len());
    let next = next_step(status.current_step_index.unwrap_or_default(), steps);
    let judged = status.canary.current_step_analysis_run_status.as_ref();
    let inconclusive = judged.is_some_and(|run| run.status == Some(Phase::Inconclusive));
    let paused = !status.pause_conditions.is_empty();
    let status = match (paused, steps) {
        (true, 1..) if inconclusive && status.controller_pause => {
            json!({ "pauseConditions": null, "controllerPause": false, "currentStepIndex": next })
        }
        (false, 1..) => json!({ "pauseConditions": null, "currentStepIndex": next }),
        (_, _) => json!({ "pauseConditions": null }),
    };
    json!({ "status": status })
}

/// The index after `current`, at most the number of steps.
fn next_step(current: i32, steps: usize) -> i32 {
    current
        .saturating_add(1)
        .min(i32::try_from(steps).unwrap_or(i32::MAX))
}

/// Status: skip all that is left and make the current revision the stable one.
#[must_use]
pub fn promote_full() -> Value {
    json!({ "status": { "promoteFull": true } })
}

/// Status: go back to the stable revision.
#[must_use]
pub fn abort() -> Value {
    json!({ "status": { "abort": true } })
}

/// Object: stop where it stands.
#[must_use]
pub fn pause() -> Value {
    json!({ "spec": { "paused": true } })
}

/// Object: take up again what [`pause`] stopped.
#[must_use]
pub fn unpause() -> Value {
    json!({ "spec": { "paused": false } })
}
