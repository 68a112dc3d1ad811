//! The gate: what an AnalysisRun's verdict does to the Rollout or Deployment that it names.
//!
//! A run without a gate leaves the consequence to its owner. One with a gate goes through these
//! states, each written to `status.gate` before the next is entered, so that the controller may
//! stop between any two:
//!
//! ```text
//! run begins → targetRevision noted → verdict → Pending, what was seen noted → patch → Applied
//!                                             ↘ Refused: the action does not fit
//! ```
//!
//! After a restart in Pending, the target tells whether the patch had arrived: the facts that the
//! patch changes are compared with those that were noted.

mod deployment;
mod rollout;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::api::{AnalysisRun, Gate, GateAction, GateOutcome, GateStatus, Phase, Rollout};

/// What a gate moves, as it is now.
#[derive(Debug, Clone)]
pub enum Target {
    /// A Rollout, whichever controller runs it.
    Rollout(Box<Rollout>),
    /// A Deployment and the ReplicaSets that it controls.
    Deployment(Box<Deployment>, Vec<ReplicaSet>),
}

/// A change to the target, sent with the target's resourceVersion: it holds only for what was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// A merge patch to the object.
    Object(Value),
    /// A merge patch to the status subresource, or the other to the object where there is none.
    Status {
        /// For the subresource.
        patch: Value,
        /// For the object.
        otherwise: Value,
    },
    /// Another pod template in the place of the present one.
    Template(Value),
}

/// The next move of a gate.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// Nothing, until something changes.
    Rest,
    /// The target's controller has not seen the target's latest spec: look again soon.
    Wait,
    /// Write this to `status.gate`.
    Record(GateStatus),
    /// Send these in order, then write this to `status.gate`.
    Send {
        /// The patches.
        patches: Vec<Patch>,
        /// What is true once they are accepted.
        then: GateStatus,
    },
}

/// What an action would do to a target as it is.
pub(crate) struct Plan {
    /// The patches, in order.
    pub(crate) patches: Vec<Patch>,
    /// The facts that the last patch changes: as long as they are so, it has not arrived.
    pub(crate) facts: String,
}

/// Decides the next move.
///
/// # Guarantees
/// - No patch before `Pending` is recorded, none after an outcome is.
/// - No patch for a revision other than the one that the run began with.
#[must_use]
pub fn next(run: &AnalysisRun, target: Option<&Target>, now: Timestamp) -> Move {
    let Some(gate) = &run.spec.gate else {
        return Move::Rest;
    };
    let status = run.status.as_ref();
    let recorded = status
        .and_then(|status| status.gate.clone())
        .unwrap_or_default();
    if recorded
        .outcome
        .is_some_and(|outcome| outcome != GateOutcome::Pending)
    {
        return Move::Rest;
    }
    let verdict = status
        .and_then(|status| status.phase)
        .filter(|phase| phase.is_completed());
    match verdict {
        None => begin(recorded, target),
        Some(phase) => act(gate, phase, recorded, target, now),
    }
}

/// Whether a gate has nothing more to do, whatever happens.
#[must_use]
pub fn is_concluded(run: &AnalysisRun) -> bool {
    let outcome = run
        .status
        .as_ref()
        .and_then(|status| status.gate.as_ref())
        .and_then(|gate| gate.outcome);
    run.spec.gate.is_none() || outcome.is_some_and(|outcome| outcome != GateOutcome::Pending)
}

fn begin(recorded: GateStatus, target: Option<&Target>) -> Move {
    match target {
        _ if recorded.target_revision.is_some() => Move::Rest,
        None => Move::Rest,
        Some(target) if !is_observed(target) => Move::Wait,
        Some(target) => match revision(target) {
            None => Move::Wait,
            target_revision => Move::Record(GateStatus {
                target_revision,
                ..recorded
            }),
        },
    }
}

fn act(
    gate: &Gate,
    verdict: Phase,
    recorded: GateStatus,
    target: Option<&Target>,
    now: Timestamp,
) -> Move {
    let action = gate.action(verdict);
    let decided = GateStatus {
        phase: Some(verdict),
        action: Some(action),
        ..recorded
    };
    if action == GateAction::None {
        let message = format!("nothing is to be done when the run is {}", verdict.as_str());
        return conclude(decided, GateOutcome::Applied, message, now);
    }
    let name = &gate.target.name;
    let Some(target) = target else {
        let kind = gate.target.kind.as_str();
        return conclude(
            decided,
            GateOutcome::Refused,
            format!("{kind} `{name}` is gone"),
            now,
        );
    };
    let pending = decided.outcome == Some(GateOutcome::Pending);
    if !pending {
        if !is_observed(target) {
            return Move::Wait;
        }
        if let Some(why) = another_revision(name, &decided, target) {
            return conclude(decided, GateOutcome::Refused, why, now);
        }
    }
    match plan(action, target) {
        Ok(plan) if pending && plan.facts == decided.observed => Move::Send {
            patches: plan.patches,
            then: concluded(decided, GateOutcome::Applied, String::new(), now),
        },
        Ok(_) | Err(_) if pending => {
            let message = format!(
                "`{name}` has changed since the action was announced: it counts as applied"
            );
            conclude(decided, GateOutcome::Applied, message, now)
        }
        Ok(plan) => Move::Record(GateStatus {
            outcome: Some(GateOutcome::Pending),
            observed: plan.facts,
            ..decided
        }),
        Err(why) => conclude(
            decided,
            GateOutcome::Refused,
            format!("`{name}` {why}"),
            now,
        ),
    }
}

fn another_revision(name: &str, decided: &GateStatus, target: &Target) -> Option<String> {
    let Some(judged) = &decided.target_revision else {
        return Some(format!(
            "the revision of `{name}` at the start of the run is not known"
        ));
    };
    let current = revision(target).unwrap_or_default();
    (current != *judged)
        .then(|| format!("`{name}` is at revision {current} now; the run judged revision {judged}"))
}

fn conclude(decided: GateStatus, outcome: GateOutcome, message: String, now: Timestamp) -> Move {
    Move::Record(concluded(decided, outcome, message, now))
}

/// The status of a gate that has come to its end.
#[must_use]
pub fn concluded(
    decided: GateStatus,
    outcome: GateOutcome,
    message: String,
    now: Timestamp,
) -> GateStatus {
    let at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    GateStatus {
        outcome: Some(outcome),
        message,
        at: Some(Time(at)),
        ..decided
    }
}

fn is_observed(target: &Target) -> bool {
    match target {
        Target::Rollout(rollout) => rollout::is_observed(rollout),
        Target::Deployment(deployment, _) => deployment::is_observed(deployment),
    }
}

fn revision(target: &Target) -> Option<String> {
    match target {
        Target::Rollout(rollout) => rollout::revision(rollout),
        Target::Deployment(deployment, _) => deployment::revision(deployment),
    }
}

/// What `action` would do, or why it does not fit the target.
fn plan(action: GateAction, target: &Target) -> Result<Plan, String> {
    match target {
        Target::Rollout(rollout) => rollout::plan(action, rollout),
        Target::Deployment(deployment, replica_sets) => {
            deployment::plan(action, deployment, replica_sets)
        }
    }
}

/// Why an action does not fit a Rollout as it is; nothing if it does.
#[must_use]
pub fn misfit(action: GateAction, rollout: &Rollout) -> Option<String> {
    rollout::plan(action, rollout).err()
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "JSON literals read better without `&`"
)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn a_run(gate: Value, status: Value) -> AnalysisRun {
        serde_json::from_value(json!({
            "metadata": { "name": "smoke", "namespace": "shop", "uid": "u1" },
            "spec": { "metrics": [], "gate": gate },
            "status": status,
        }))
        .unwrap()
    }

    fn a_gate() -> Value {
        json!({ "target": { "kind": "Rollout", "name": "web" } })
    }

    /// A canary at a pause: step 1 of 3, revision `new`.
    fn a_paused_rollout(change: Value) -> Target {
        let mut rollout = json!({
            "metadata": { "name": "web", "namespace": "shop", "generation": 4, "resourceVersion": "9" },
            "spec": { "strategy": { "canary": { "steps": [{"setWeight": 20}, {"pause": {}}, {"setWeight": 50}] } } },
            "status": {
                "observedGeneration": "4", "currentPodHash": "new", "stableRS": "old",
                "currentStepIndex": 1, "controllerPause": true,
                "pauseConditions": [{ "reason": "CanaryPauseStep", "startTime": "2025-12-31T23:00:00Z" }],
            },
        });
        json_patch::merge(&mut rollout, &change);
        Target::Rollout(Box::new(serde_json::from_value(rollout).unwrap()))
    }

    fn verdict(phase: &str, gate: Value) -> Value {
        json!({ "phase": phase, "gate": gate })
    }

    /// The gate's record after its moves have settled, and the patches sent on the way.
    fn settle(gate: &Value, phase: &str, target: &Target) -> (GateStatus, Vec<Patch>) {
        let mut run = a_run(
            gate.clone(),
            verdict(phase, json!({ "targetRevision": "new" })),
        );
        let mut sent = Vec::new();
        for _ in 0..3 {
            let record = match next(&run, Some(target), now()) {
                Move::Rest | Move::Wait => break,
                Move::Record(record) => record,
                Move::Send { patches, then } => {
                    sent.extend(patches);
                    then
                }
            };
            run.status.as_mut().unwrap().gate = Some(record);
        }
        (run.status.unwrap().gate.unwrap(), sent)
    }

    fn status_patch(patch: Value) -> Patch {
        Patch::Status {
            otherwise: patch.clone(),
            patch,
        }
    }

    #[test]
    fn each_verdict_sends_the_patch_of_its_action() {
        let cases = [
            (
                "Successful",
                status_patch(json!({ "status": { "pauseConditions": null } })),
            ),
            (
                "Failed",
                status_patch(json!({ "status": { "abort": true } })),
            ),
            (
                "Inconclusive",
                Patch::Object(json!({ "spec": { "paused": true } })),
            ),
            (
                "Error",
                Patch::Object(json!({ "spec": { "paused": true } })),
            ),
        ];
        for (phase, patch) in cases {
            let (record, sent) = settle(&a_gate(), phase, &a_paused_rollout(json!({})));
            assert_eq!(sent, [patch], "{phase}");
            assert_eq!(record.outcome, Some(GateOutcome::Applied), "{phase}");
        }
    }

    #[test]
    fn full_promotion_takes_up_a_rollout_that_a_person_paused() {
        let mut gate = a_gate();
        gate["onSuccess"] = "PromoteFull".into();
        let paused = a_paused_rollout(json!({ "spec": { "paused": true } }));
        let (_, sent) = settle(&gate, "Successful", &paused);
        let unpause = Patch::Object(json!({ "spec": { "paused": false } }));
        assert_eq!(
            sent,
            [
                unpause,
                status_patch(json!({ "status": { "promoteFull": true } }))
            ]
        );
    }

    #[test]
    fn an_action_that_does_not_fit_is_refused_with_the_reason() {
        let moving = json!({ "status": { "pauseConditions": null } });
        let done = json!({ "status": { "pauseConditions": null, "stableRS": "new" } });
        let aborted = json!({ "status": { "abort": true } });
        let first = json!({ "status": { "stableRS": null } });
        let newer = json!({ "status": { "currentPodHash": "newer" } });
        let paused = json!({ "spec": { "paused": true } });
        let cases = [
            (
                "Successful",
                moving,
                "`web` waits at no pause: there is nothing to promote",
            ),
            (
                "Successful",
                done.clone(),
                "`web` has no release under way: its current revision is the stable one",
            ),
            (
                "Failed",
                done,
                "`web` has no release under way: its current revision is the stable one",
            ),
            ("Failed", aborted, "`web` is aborted already"),
            (
                "Failed",
                first,
                "`web` has no stable revision to go back to",
            ),
            (
                "Failed",
                newer,
                "`web` is at revision newer now; the run judged revision new",
            ),
            ("Error", paused, "`web` is paused already"),
        ];
        for (phase, change, why) in cases {
            let (record, sent) = settle(&a_gate(), phase, &a_paused_rollout(change));
            assert_eq!(
                (record.outcome, record.message.as_str()),
                (Some(GateOutcome::Refused), why)
            );
            assert!(sent.is_empty(), "{why}");
        }
    }

    #[test]
    fn nothing_is_sent_before_it_is_announced_nor_after_it_is_recorded() {
        let target = a_paused_rollout(json!({}));
        let run = a_run(
            a_gate(),
            verdict("Failed", json!({ "targetRevision": "new" })),
        );
        let Move::Record(announced) = next(&run, Some(&target), now()) else {
            panic!()
        };
        assert_eq!(announced.outcome, Some(GateOutcome::Pending));
        let concluded = json!({ "targetRevision": "new", "outcome": "Applied" });
        let run = a_run(a_gate(), verdict("Failed", concluded));
        assert_eq!(next(&run, Some(&target), now()), Move::Rest);
    }

    #[test]
    fn after_a_restart_a_patch_that_arrived_is_not_sent_again() {
        let announced = json!({
            "targetRevision": "new", "phase": "Failed", "action": "Abort", "outcome": "Pending",
            "observed": "abort=false",
        });
        let run = a_run(a_gate(), verdict("Failed", announced));
        let untouched = a_paused_rollout(json!({}));
        assert!(matches!(
            next(&run, Some(&untouched), now()),
            Move::Send { .. }
        ));
        let arrived = a_paused_rollout(json!({ "status": { "abort": true } }));
        let Move::Record(record) = next(&run, Some(&arrived), now()) else {
            panic!()
        };
        assert_eq!(record.outcome, Some(GateOutcome::Applied));
    }

    #[test]
    fn the_revision_is_noted_once_the_targets_controller_has_seen_its_spec() {
        let run = a_run(a_gate(), json!({ "phase": "Running" }));
        let unseen = a_paused_rollout(json!({ "metadata": { "generation": 5 } }));
        assert_eq!(next(&run, Some(&unseen), now()), Move::Wait);
        let Move::Record(record) = next(&run, Some(&a_paused_rollout(json!({}))), now()) else {
            panic!()
        };
        assert_eq!(record.target_revision.as_deref(), Some("new"));
        assert_eq!(next(&run, None, now()), Move::Rest);
    }

    #[test]
    fn a_verdict_on_a_target_that_is_gone_is_refused() {
        let run = a_run(
            a_gate(),
            verdict("Failed", json!({ "targetRevision": "new" })),
        );
        let Move::Record(record) = next(&run, None, now()) else {
            panic!()
        };
        assert_eq!(record.message, "Rollout `web` is gone");
    }

    fn a_replica_set(revision: &str) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": { "annotations": { "deployment.kubernetes.io/revision": revision } },
            "spec": {
                "selector": {},
                "template": { "metadata": { "labels": { "app": revision, "pod-template-hash": revision } } },
            },
        }))
        .unwrap()
    }

    fn a_deployment(replica_sets: &[&str], paused: bool) -> Target {
        let deployment = json!({
            "metadata": {
                "name": "web", "generation": 2,
                "annotations": { "deployment.kubernetes.io/revision": "new" },
            },
            "spec": { "paused": paused, "selector": {}, "template": {} },
            "status": { "observedGeneration": 2 },
        });
        let sets = replica_sets
            .iter()
            .map(|revision| a_replica_set(revision))
            .collect();
        Target::Deployment(Box::new(serde_json::from_value(deployment).unwrap()), sets)
    }

    #[test]
    fn a_deployment_is_undone_to_the_revision_before_the_latest() {
        let gate = json!({ "target": { "kind": "Deployment", "name": "web" } });
        let (record, sent) = settle(&gate, "Failed", &a_deployment(&["9", "10", "8"], false));
        let [Patch::Template(template)] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        assert_eq!(template["metadata"]["labels"], json!({ "app": "9" }));
        assert_eq!(record.action, Some(GateAction::Undo));
        let (record, _) = settle(&gate, "Failed", &a_deployment(&["1"], false));
        assert_eq!(
            record.message,
            "`web` has no earlier revision to go back to"
        );
        let (record, _) = settle(&gate, "Failed", &a_deployment(&["1", "2"], true));
        assert_eq!(
            record.message,
            "`web` is paused: a paused Deployment cannot be undone"
        );
        let (record, sent) = settle(&gate, "Successful", &a_deployment(&["1", "2"], false));
        assert_eq!(
            (record.outcome, sent.len()),
            (Some(GateOutcome::Applied), 0)
        );
    }
}
