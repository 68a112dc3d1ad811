//! What people ask of a Rollout, as the patches that the kubectl plugin sends.
//!
//! # Source
//! `kubectl argo rollouts` promote, abort, retry, pause, restart and undo (argo-rollouts v1.10).

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::WorkloadKind;
use super::decide::whole_seconds;
use super::defaults::comparable;
use super::replica_set::ReplicaSet;
use super::revisions::{own_template, revision_in};
use crate::api::{Phase, Rollout, RolloutStatus};

/// Status: end the current pause, or, where there is none, the current step; empty where there is
/// neither.
#[must_use]
pub fn promote(rollout: &Rollout) -> Value {
    let promotion = promotion(rollout, Promote::Next).ok();
    let status = promotion.and_then(|promotion| promotion.status);
    status.unwrap_or_else(|| json!({}))
}

/// Status: skip all that is left and make the current revision the stable one.
#[must_use]
pub fn promote_full() -> Value {
    json!({ "status": { "promoteFull": true } })
}

/// How far a promotion goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promote {
    /// Ends the current pause, or, where there is none, the current step.
    Next,
    /// Ends the current step.
    SkipCurrentStep,
    /// Ends all steps.
    SkipAllSteps,
    /// Ends all that is left: steps, pauses and analyses.
    Full,
}

/// What a promotion sends, the status first.
#[derive(Debug, Clone, PartialEq)]
pub struct Promotion {
    /// To the status; none if there is nothing to change in it.
    pub status: Option<Value>,
    /// To the object; none if there is nothing to change in it.
    pub object: Option<Value>,
    /// To the object in place of both, where the status is no resource of its own.
    pub unified: Value,
}

/// What a promotion sends.
///
/// # Errors
/// Steps cannot be skipped where there are none; the text is Argo's.
pub fn promotion(rollout: &Rollout, how: Promote) -> Result<Promotion, &'static str> {
    let status = rollout.status.clone().unwrap_or_default();
    let canary = rollout.spec.strategy.canary.as_ref();
    let steps = canary.map_or(0, |canary| canary.steps.len());
    if matches!(how, Promote::SkipCurrentStep | Promote::SkipAllSteps) {
        if rollout.spec.strategy.blue_green.is_some() {
            return Err("Cannot skip steps of a bluegreen rollout. Run without a flags");
        }
        if steps == 0 {
            return Err("Cannot skip steps of a rollout without steps");
        }
    }
    let next = next_step(status.current_step_index.unwrap_or_default(), steps);
    let steps_are_done = i32::try_from(steps).unwrap_or(i32::MAX);
    let under_way = status.current_pod_hash != status.stable_rs;
    let changes = match how {
        Promote::SkipCurrentStep => Some(json!({ "currentStepIndex": next })),
        Promote::SkipAllSteps => Some(json!({ "currentStepIndex": steps_are_done })),
        Promote::Full => under_way.then(|| promote_full()["status"].take()),
        Promote::Next => next_changes(&status, canary.is_some(), steps, next),
    };
    let skips = matches!(how, Promote::SkipCurrentStep | Promote::SkipAllSteps);
    let object = (rollout.spec.paused && !skips).then(unpause);
    let mut unified = object.clone().unwrap_or_else(|| json!({}));
    if let Some(changes) = &changes {
        unified["status"] = changes.clone();
    }
    Ok(Promotion {
        status: changes.map(|changes| json!({ "status": changes })),
        object,
        unified,
    })
}

fn next_changes(status: &RolloutStatus, is_canary: bool, steps: usize, next: i32) -> Option<Value> {
    let judged = status.canary.current_step_analysis_run_status.as_ref();
    let inconclusive = judged.is_some_and(|run| run.status == Some(Phase::Inconclusive));
    let paused = !status.pause_conditions.is_empty();
    if is_canary && inconclusive && paused && status.controller_pause {
        return (steps > 0).then(|| {
            json!({ "pauseConditions": null, "controllerPause": false, "currentStepIndex": next })
        });
    }
    match (paused, steps) {
        (true, _) => Some(json!({ "pauseConditions": null })),
        (false, 1..) => Some(json!({ "pauseConditions": null, "currentStepIndex": next })),
        (false, 0) => None,
    }
}

/// The index after `current`, at most the number of steps.
fn next_step(current: i32, steps: usize) -> i32 {
    current
        .saturating_add(1)
        .min(i32::try_from(steps).unwrap_or(i32::MAX))
}

/// Status: go back to the stable revision.
#[must_use]
pub fn abort() -> Value {
    json!({ "status": { "abort": true } })
}

/// Status: take up again what was aborted.
#[must_use]
pub fn retry() -> Value {
    json!({ "status": { "abort": false } })
}

/// Of an Experiment: forget what has happened, and start anew.
#[must_use]
pub fn retry_experiment() -> Value {
    json!({ "status": null })
}

/// Of an AnalysisRun or an Experiment: end.
#[must_use]
pub fn terminate() -> Value {
    json!({ "spec": { "terminate": true } })
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

/// Object: make all pods again that are older than this.
#[must_use]
pub fn restart(at: Timestamp) -> Value {
    json!({ "spec": { "restartAt": whole_seconds(at) } })
}

/// Gives containers of this name, or all for `*`, another image: in a Rollout or in the workload
/// that it refers to, as read. Answers whether there is one.
pub fn set_image(object: &mut Value, container: &str, image: &str) -> bool {
    let mut found = false;
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let list = object.pointer_mut(&format!("/spec/template/spec/{list}"));
        for one in list.and_then(Value::as_array_mut).into_iter().flatten() {
            if container == "*" || one["name"] == container {
                one["image"] = image.into();
                found = true;
            }
        }
    }
    found
}

/// Why there is nothing to go back to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UndoError {
    /// No ReplicaSet has that revision.
    #[error("unable to find specified revision {0} in history")]
    UnknownRevision(i64),
    /// There is no earlier one.
    #[error("no revision found for rollout \"{0}\"")]
    NoRevision(String),
}

/// A JSON patch that brings back the pod template of a revision, of the one before the latest for 0;
/// `None` if `template` is the same already. It is of the Rollout, or of the workload that this
/// refers to: whichever `template` stands in. `replica_sets` are the Rollout's own.
///
/// Anti-affinity and ephemeral metadata, which the controller puts into ReplicaSets, stay there.
pub fn undo(
    rollout: &Rollout,
    template: &Map<String, Value>,
    replica_sets: &[ReplicaSet],
    to_revision: i64,
) -> Result<Option<Value>, UndoError> {
    let revision = |set: &ReplicaSet| revision_in(set.annotations());
    let found = if to_revision > 0 {
        let mut sets = replica_sets.iter();
        sets.find(|set| revision(set) == to_revision)
            .ok_or(UndoError::UnknownRevision(to_revision))?
    } else {
        let mut sets: Vec<&ReplicaSet> = replica_sets.iter().collect();
        sets.sort_by_key(|set| std::cmp::Reverse(revision(set)));
        let before = sets.get(1).copied().filter(|_| to_revision == 0);
        before.ok_or_else(|| UndoError::NoRevision(rollout.name_any()))?
    };
    let earlier = own_template(found, &Value::Null);
    if comparable(&earlier) == comparable(&Value::Object(template.clone())) {
        return Ok(None);
    }
    let reference = rollout.spec.workload_ref.as_ref();
    let path = match reference.and_then(WorkloadKind::of) {
        Some(WorkloadKind::PodTemplate) => "/template",
        Some(WorkloadKind::Deployment | WorkloadKind::ReplicaSet) | None => "/spec/template",
    };
    Ok(Some(
        json!([{ "op": "replace", "path": path, "value": earlier }]),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::labels;

    fn a_rollout() -> Rollout {
        serde_json::from_value(json!({ "metadata": { "name": "web" }, "spec": {} })).unwrap()
    }

    fn a_template(image: &str) -> Map<String, Value> {
        let template = json!({
            "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "web", "image": image, "resources": {} }] },
        });
        template.as_object().unwrap().clone()
    }

    /// As the controller keeps it: with the label, anti-affinity and ephemeral metadata.
    fn a_replica_set(revision: &str, image: &str) -> ReplicaSet {
        let mut template = Value::Object(a_template(image));
        template["metadata"]["labels"]["role"] = "stable".into();
        template["metadata"]["labels"][labels::POD_TEMPLATE_HASH] = "abc".into();
        let term = json!({
            "labelSelector": { "matchExpressions": [{
                "key": labels::POD_TEMPLATE_HASH, "operator": "In", "values": ["def"] }] },
            "namespaces": ["shop"], "topologyKey": "kubernetes.io/hostname",
        });
        let terms = json!({ "requiredDuringSchedulingIgnoredDuringExecution": [term] });
        template["spec"]["affinity"] = json!({ "podAntiAffinity": terms });
        serde_json::from_value(json!({
            "metadata": { "name": format!("web-{revision}"), "annotations": {
                labels::REVISION: revision,
                labels::EPHEMERAL_METADATA: r#"{"labels":{"role":"stable"}}"#,
            } },
            "spec": { "selector": {}, "template": template },
        }))
        .unwrap()
    }

    fn history() -> [ReplicaSet; 3] {
        [("3", "web:3"), ("1", "web:1"), ("2", "web:2")]
            .map(|(revision, image)| a_replica_set(revision, image))
    }

    fn promoted(changes: &Value, how: Promote) -> Result<(Value, Value), &'static str> {
        let mut rollout = json!({
            "metadata": { "name": "web" },
            "spec": { "strategy": { "canary": { "steps": [{ "setWeight": 20 }, { "pause": {} }] } } },
            "status": { "currentPodHash": "new", "stableRS": "old", "currentStepIndex": 0 },
        });
        json_patch::merge(&mut rollout, changes);
        let rollout: Rollout = serde_json::from_value(rollout).unwrap();
        let promotion = promotion(&rollout, how)?;
        let mut both = promotion.object.clone().unwrap_or_else(|| json!({}));
        if let Some(status) = &promotion.status {
            both["status"] = status["status"].clone();
        }
        assert_eq!(promotion.unified, both);
        let written = |patch: Option<Value>| patch.unwrap_or_default();
        Ok((written(promotion.status), written(promotion.object)))
    }

    #[test]
    fn a_promotion_sends_what_argo_sends() {
        use Promote::{Full, Next, SkipAllSteps, SkipCurrentStep};
        let paused = json!({ "status": {
            "pauseConditions": [{ "reason": "CanaryPauseStep" }], "controllerPause": true } });
        let mut inconclusive = paused.clone();
        inconclusive["status"]["canary"]["currentStepAnalysisRunStatus"] =
            json!({ "name": "a", "status": "Inconclusive" });
        let by_hand = json!({ "spec": { "paused": true } });
        let last = json!({ "status": { "currentStepIndex": 2 } });
        let done = json!({ "status": { "stableRS": "new" } });
        let no_steps = json!({ "spec": { "strategy": { "canary": { "steps": null } } } });
        let blue = json!({ "spec": { "strategy": { "canary": null, "blueGreen": {} } } });
        let mut blue_paused = blue.clone();
        json_patch::merge(&mut blue_paused, &paused);
        let nothing = Value::Null;
        let status = |changes: Value| json!({ "status": changes });
        let unpause = json!({ "spec": { "paused": false } });
        let resumed = status(json!({ "pauseConditions": null }));
        let next =
            |index: i32| status(json!({ "pauseConditions": null, "currentStepIndex": index }));
        let decided = status(json!({
            "pauseConditions": null, "controllerPause": false, "currentStepIndex": 1 }));
        let full = status(json!({ "promoteFull": true }));
        let cases = [
            (json!({}), Next, next(1), nothing.clone()),
            (last, Next, next(2), nothing.clone()),
            (paused.clone(), Next, resumed.clone(), nothing.clone()),
            (inconclusive, Next, decided, nothing.clone()),
            (by_hand.clone(), Next, next(1), unpause.clone()),
            (no_steps.clone(), Next, nothing.clone(), nothing.clone()),
            (blue.clone(), Next, nothing.clone(), nothing.clone()),
            (blue_paused, Next, resumed, nothing.clone()),
            (json!({}), Full, full.clone(), nothing.clone()),
            (by_hand.clone(), Full, full, unpause),
            (done, Full, nothing.clone(), nothing.clone()),
            (
                by_hand,
                SkipCurrentStep,
                status(json!({ "currentStepIndex": 1 })),
                nothing.clone(),
            ),
            (
                json!({}),
                SkipAllSteps,
                status(json!({ "currentStepIndex": 2 })),
                nothing,
            ),
        ];
        for (changes, how, status, object) in cases {
            let told = format!("{how:?} {changes}");
            assert_eq!(promoted(&changes, how), Ok((status, object)), "{told}");
        }
        let refused = promoted(&blue, SkipAllSteps).unwrap_err();
        assert_eq!(
            refused,
            "Cannot skip steps of a bluegreen rollout. Run without a flags"
        );
        let refused = promoted(&no_steps, SkipCurrentStep).unwrap_err();
        assert_eq!(refused, "Cannot skip steps of a rollout without steps");
    }

    #[test]
    fn an_image_is_set_in_all_kinds_of_containers() {
        let containers = |image: &str| json!([{ "name": "a", "image": image }, { "name": "b" }]);
        let object = json!({ "kind": "Rollout", "spec": { "template": { "spec": {
            "initContainers": containers("i:1"), "containers": containers("c:1") } } } });
        let images = |object: &Value| {
            let image = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
            let at = "/spec/template/spec";
            [
                image(&format!("{at}/initContainers/0/image")),
                image(&format!("{at}/containers/0/image")),
                image(&format!("{at}/containers/1/image")),
            ]
        };
        let mut one = object.clone();
        assert!(set_image(&mut one, "a", "x@sha256:1"));
        assert_eq!(
            images(&one),
            [json!("x@sha256:1"), json!("x@sha256:1"), json!(null)]
        );
        let mut all = object.clone();
        assert!(set_image(&mut all, "*", "x:2"));
        assert_eq!(images(&all), ["x:2", "x:2", "x:2"].map(Value::from));
        let mut none = object.clone();
        assert!(!set_image(&mut none, "c", "x:2"));
        assert_eq!(none, object);
    }

    #[test]
    fn an_earlier_template_comes_back_as_it_was_written() {
        let rollout = a_rollout();
        for (revision, image) in [(0, "web:2"), (1, "web:1")] {
            let patch = undo(&rollout, &a_template("web:3"), &history(), revision).unwrap();
            let expected = json!([
                { "op": "replace", "path": "/spec/template", "value": a_template(image) }]);
            assert_eq!(patch, Some(expected));
        }
        let patch = undo(&rollout, &a_template("web:3"), &history(), 3);
        assert_eq!(patch, Ok(None), "it is the present one");
    }

    #[test]
    fn what_is_not_there_cannot_come_back() {
        let rollout = a_rollout();
        let unknown = undo(&rollout, &Map::new(), &history(), 7).unwrap_err();
        let expected = "unable to find specified revision 7 in history";
        assert_eq!(unknown.to_string(), expected);
        for (sets, revision) in [(1, 0), (3, -1)] {
            let none = undo(&rollout, &Map::new(), &history()[..sets], revision).unwrap_err();
            assert_eq!(none.to_string(), "no revision found for rollout \"web\"");
        }
    }

    #[test]
    fn the_template_of_a_pod_template_stands_elsewhere() {
        let mut rollout = a_rollout();
        let reference = json!({ "apiVersion": "v1", "kind": "PodTemplate", "name": "web" });
        rollout.spec.workload_ref = serde_json::from_value(reference).unwrap();
        let patch = undo(&rollout, &a_template("web:3"), &history(), 0)
            .unwrap()
            .unwrap();
        assert_eq!(patch[0]["path"], "/template");
    }

    #[test]
    fn a_restart_is_asked_for_in_whole_seconds() {
        let at = "2026-01-01T10:00:00.7Z".parse().unwrap();
        let expected = json!({ "spec": { "restartAt": "2026-01-01T10:00:00Z" } });
        assert_eq!(restart(at), expected);
    }
}
