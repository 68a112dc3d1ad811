//! How a Rollout is, in one word and one sentence.

use super::status::{ABORTED, TIMED_OUT};
use crate::api::{BlueGreenStrategy, ConditionType, Phase, Rollout, RolloutPhase, RolloutStatus};

/// Phase and message as a reader of the object should take them: what the status says, unless the
/// controller has yet to see what was changed.
///
/// # Source
/// `GetRolloutPhase` in `utils/rollout/rolloututil.go` of Argo Rollouts.
#[must_use]
pub fn seen(rollout: &Rollout) -> (RolloutPhase, String) {
    let status = rollout.status.clone().unwrap_or_default();
    let generation = rollout.metadata.generation.unwrap_or_default();
    let observed = status.observed_generation.parse::<i64>();
    if observed.is_ok_and(|observed| observed < generation) {
        let message = "waiting for rollout spec update to be observed";
        return (RolloutPhase::Progressing, message.into());
    }
    if status.controller_pause && status.pause_conditions.is_empty() {
        let message = "waiting for rollout to unpause";
        return (RolloutPhase::Progressing, message.into());
    }
    match status.phase {
        Some(phase) => (phase, status.message),
        None => phase_of(rollout, &status),
    }
}

/// Phase and message: the first that fits.
///
/// # Source
/// `CalculateRolloutPhase` in `utils/rollout/rolloututil.go` of Argo Rollouts.
pub(super) fn phase(rollout: &Rollout, status: &RolloutStatus) -> (Option<RolloutPhase>, String) {
    let (phase, message) = phase_of(rollout, status);
    (Some(phase), message)
}

fn phase_of(rollout: &Rollout, status: &RolloutStatus) -> (RolloutPhase, String) {
    use RolloutPhase::{Degraded, Healthy, Paused, Progressing};
    for condition in &status.conditions {
        if condition.condition_type == ConditionType::InvalidSpec {
            return (Degraded, format!("InvalidSpec: {}", condition.message));
        }
        if [ABORTED, TIMED_OUT].contains(&condition.reason.as_str()) {
            return (
                Degraded,
                format!("{}: {}", condition.reason, condition.message),
            );
        }
    }
    if rollout.spec.paused {
        return (Paused, "manually paused".into());
    }
    if let Some(condition) = status.pause_conditions.first() {
        return (Paused, condition.reason.to_string());
    }
    if rollout.spec.restart_at.is_some() && rollout.spec.restart_at != status.restarted_at {
        return (Progressing, "rollout is restarting".into());
    }
    let is_promoted = !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash;
    let strategy = &rollout.spec.strategy;
    // Under a router old versions stay for a while and serve nobody.
    let is_routed = (strategy.canary.as_ref()).is_some_and(|it| it.traffic_routing.is_some());
    let message = if status.updated_replicas < rollout.spec.replicas() {
        "more replicas need to be updated"
    } else if status.available_replicas < status.updated_replicas {
        "updated replicas are still becoming available"
    } else if let Some(plan) = &strategy.blue_green {
        match unfinished(plan, status, is_promoted) {
            Some(message) => message,
            None => return (Healthy, String::new()),
        }
    } else if status.replicas > status.updated_replicas && !is_routed {
        "old replicas are pending termination"
    } else if !is_promoted {
        "waiting for all steps to complete"
    } else {
        return (Healthy, String::new());
    };
    (Progressing, message.into())
}

/// What a blue-green update waits for when all its pods are there.
fn unfinished(
    plan: &BlueGreenStrategy,
    status: &RolloutStatus,
    is_promoted: bool,
) -> Option<&'static str> {
    let active = &status.blue_green.active_selector;
    if active.is_empty() || *active != status.current_pod_hash {
        return Some("active service cutover pending");
    }
    if is_promoted {
        return None;
    }
    let judged = status
        .blue_green
        .post_promotion_analysis_run_status
        .as_ref();
    let is_judged = judged.is_some_and(|slot| slot.status.is_some_and(Phase::is_completed));
    if plan.post_promotion_analysis.is_some() && !is_judged {
        Some("waiting for analysis to complete")
    } else {
        Some("waiting for post-promotion verification to complete")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(changes: &Value) -> String {
        let mut rollout = json!({
            "metadata": { "generation": 3 },
            "spec": { "strategy": { "canary": {} } },
            "status": { "observedGeneration": "3", "phase": "Healthy" },
        });
        json_patch::merge(&mut rollout, changes);
        let (phase, message) = seen(&serde_json::from_value(rollout).unwrap());
        format!("{phase}: {message}")
    }

    #[test]
    fn a_reader_waits_for_what_the_controller_has_yet_to_see() {
        let status = |changes: Value| json!({ "status": changes });
        let unseen = "Progressing: waiting for rollout spec update to be observed";
        let cases = [
            (json!({}), "Healthy: "),
            (status(json!({ "observedGeneration": "2" })), unseen),
            (status(json!({ "observedGeneration": "4" })), "Healthy: "),
            (status(json!({ "observedGeneration": "abc" })), "Healthy: "),
            (
                status(json!({ "controllerPause": true })),
                "Progressing: waiting for rollout to unpause",
            ),
            (
                status(json!({ "phase": null })),
                "Progressing: more replicas need to be updated",
            ),
        ];
        for (changes, expected) in cases {
            assert_eq!(told(&changes), expected, "{changes}");
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "literals read better than references to them"
    )]
    fn status(changes: Value) -> Value {
        json!({ "status": changes })
    }

    fn canary(changes: &Value) -> Value {
        let mut rollout = json!({
            "spec": { "replicas": 2, "strategy": { "canary": {} } },
            "status": {
                "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
                "currentPodHash": "a", "stableRS": "a",
            },
        });
        json_patch::merge(&mut rollout, changes);
        rollout
    }

    fn blue_green(changes: &Value) -> Value {
        let mut rollout = canary(&json!({
            "spec": { "strategy": { "canary": null, "blueGreen": {
                "activeService": "web", "postPromotionAnalysis": { "templates": [] },
            } } },
            "status": { "blueGreen": { "activeSelector": "a" } },
        }));
        json_patch::merge(&mut rollout, changes);
        rollout
    }

    fn assert_phases(cases: Vec<(Value, &str)>) {
        for (rollout, expected) in cases {
            let rollout: Rollout = serde_json::from_value(rollout).unwrap();
            let status = rollout.status.clone().unwrap();
            let (phase, message) = phase(&rollout, &status);
            let told = format!("{}: {message}", phase.unwrap());
            assert_eq!(told, expected, "{rollout:?}");
        }
    }

    #[test]
    fn what_is_wrong_goes_before_pauses_and_those_before_a_restart() {
        let condition = |kind: &str, reason: &str| {
            let one = json!({ "type": kind, "status": "True", "reason": reason, "message": "why" });
            canary(&status(
                json!({ "conditions": [one], "pauseConditions": [{ "reason": "Any" }] }),
            ))
        };
        let at = "2026-01-01T00:00:00Z";
        let restart = json!({ "spec": { "restartAt": at } });
        let restarted = json!({ "spec": { "restartAt": at }, "status": { "restartedAt": at } });
        assert_phases(vec![
            (
                condition("InvalidSpec", "InvalidSpec"),
                "Degraded: InvalidSpec: why",
            ),
            (
                condition("Progressing", "RolloutAborted"),
                "Degraded: RolloutAborted: why",
            ),
            (
                condition("Progressing", "ProgressDeadlineExceeded"),
                "Degraded: ProgressDeadlineExceeded: why",
            ),
            (condition("Available", "Any"), "Paused: Any"),
            (
                canary(&json!({ "spec": { "paused": true } })),
                "Paused: manually paused",
            ),
            (canary(&restart), "Progressing: rollout is restarting"),
            (canary(&restarted), "Healthy: "),
        ]);
    }

    #[test]
    fn a_canary_waits_for_pods_and_then_for_its_steps() {
        let routing = json!({ "canary": { "trafficRouting": { "smi": {} } } });
        let more = json!({ "replicas": 3 });
        let routed = json!({ "spec": { "strategy": routing }, "status": more });
        let first = json!({ "stableRS": null, "currentPodHash": null });
        assert_phases(vec![
            (
                canary(&status(json!({ "updatedReplicas": 1 }))),
                "Progressing: more replicas need to be updated",
            ),
            (
                canary(&status(json!({ "availableReplicas": 1 }))),
                "Progressing: updated replicas are still becoming available",
            ),
            (
                canary(&status(more)),
                "Progressing: old replicas are pending termination",
            ),
            (canary(&routed), "Healthy: "),
            (
                canary(&status(json!({ "stableRS": "b" }))),
                "Progressing: waiting for all steps to complete",
            ),
            (
                canary(&status(first)),
                "Progressing: waiting for all steps to complete",
            ),
            (canary(&json!({})), "Healthy: "),
        ]);
    }

    #[test]
    fn a_blue_green_update_waits_for_the_switch_and_then_for_its_verdict() {
        let judged = |phase: &str| {
            let slot = json!({ "name": "r", "status": phase });
            let slot = json!({ "postPromotionAnalysisRunStatus": slot });
            blue_green(&status(json!({ "stableRS": "b", "blueGreen": slot })))
        };
        assert_phases(vec![
            (
                blue_green(&status(json!({ "blueGreen": null }))),
                "Progressing: active service cutover pending",
            ),
            (
                blue_green(&status(json!({ "currentPodHash": "b" }))),
                "Progressing: active service cutover pending",
            ),
            (
                judged("Running"),
                "Progressing: waiting for analysis to complete",
            ),
            (
                judged("Successful"),
                "Progressing: waiting for post-promotion verification to complete",
            ),
            (blue_green(&status(json!({ "replicas": 4 }))), "Healthy: "),
        ]);
    }
}
