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

/// Object: make all pods again that are older than this.
#[must_use]
pub fn restart(at: Timestamp) -> Value {
    json!({ "spec": { "restartAt": whole_seconds(at) } })
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
