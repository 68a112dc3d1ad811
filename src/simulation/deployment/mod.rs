//! The Deployment controller: a ReplicaSet for each template, and the pods moved from the old ones
//! to the new one within the bounds that the strategy gives.

mod conditions;
mod revisions;
mod scaling;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

use super::change::{Change, Decision};
use super::pods;
use conditions::Found;
use revisions::Family;
use scaling::Sizes;

/// All that a decision about a Deployment depends on.
pub(super) struct Observed<'a> {
    pub(super) deployment: &'a Deployment,
    /// The ReplicaSets of its namespace.
    pub(super) replica_sets: &'a [Arc<ReplicaSet>],
    /// The pods of its namespace.
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) now: Timestamp,
}

/// Decides the next move of a Deployment.
pub(super) fn decide(observed: &Observed) -> Decision {
    let deployment = observed.deployment;
    let Some(spec) = &deployment.spec else {
        return Decision::default();
    };
    if deployment.metadata.deletion_timestamp.is_some() {
        return Decision::default();
    }
    let (members, mut changes) = claim(deployment, spec, observed.replica_sets);
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = revisions::template_hash(&spec.template, collisions.unwrap_or_default());
    let family = Family::of(spec, &hash, members);
    let (moves, found) = advance(observed, spec, &family, &hash);
    changes.extend(moves);
    let old = deployment.status.clone().unwrap_or_default();
    let (mut new, wake_at) = conditions::status(deployment, spec, &family, &found, observed.now);
    if is_taken(observed, &family, &hash) {
        new.collision_count = Some(collisions.unwrap_or_default() + 1);
    } else if conditions::is_complete(spec, &new) {
        changes.extend(revisions::surplus(spec, &family));
    }
    changes.extend(Change::status(deployment, &old, &new));
    Decision { changes, wake_at }
}

/// The ReplicaSets that a Deployment manages, with adoptions and releases.
fn claim(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    replica_sets: &[Arc<ReplicaSet>],
) -> (Vec<Arc<ReplicaSet>>, Vec<Change>) {
    let (mut members, mut changes) = (Vec::new(), Vec::new());
    for set in replica_sets {
        if set.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let matches = pods::selects(&spec.selector, set.labels());
        if pods::is_controlled_by(&set.metadata, &deployment.metadata) {
            if matches {
                members.push(Arc::clone(set));
            } else {
                changes.push(pods::release(&**set, deployment));
            }
        } else if matches && pods::controller(&set.metadata).is_none() {
            changes.push(pods::adopt(&**set, deployment));
            members.push(Arc::clone(set));
        }
    }
    (members, changes)
}

/// Whether the name of the ReplicaSet to be made belongs to another one.
fn is_taken(observed: &Observed, family: &Family, hash: &str) -> bool {
    let name = format!("{}-{hash}", observed.deployment.name_any());
    family.new.is_none()
        && observed
            .replica_sets
            .iter()
            .any(|set| set.name_any() == name)
}

/// One move: a new ReplicaSet, or new sizes of those that are there.
fn advance(
    observed: &Observed,
    spec: &DeploymentSpec,
    family: &Family,
    hash: &str,
) -> (Vec<Change>, Found) {
    let status = observed.deployment.status.clone().unwrap_or_default();
    let mut changes = revisions::sync(observed.deployment, spec, family);
    let paused = spec.paused == Some(true);
    let resizes = paused && scaling::is_single(family);
    let sizes = if resizes || scaling::is_resized(spec, family) {
        scaling::resize(spec, family, status.replicas.unwrap_or_default())
    } else if paused {
        Sizes::new()
    } else if scaling::is_recreate(spec) {
        recreate(observed, spec, family)
    } else {
        scaling::roll(spec, family)
    };
    let waits = paused
        || is_taken(observed, family, hash)
        || (scaling::is_recreate(spec) && old_pods_run(observed, family));
    let found = match &family.new {
        Some(_) => Found::There,
        None if waits => Found::NotYet,
        None => {
            let replica_set = first(observed.deployment, spec, family, hash);
            changes.push(Change::create(&replica_set));
            changes.extend(revisions::number(
                observed.deployment,
                family.next_revision(),
            ));
            Found::Made(replica_set.name_any())
        }
    };
    if !matches!(found, Found::Made(_)) {
        changes.extend(resized(spec, family, &sizes));
    }
    (changes, found)
}

/// The new ReplicaSet as it is made.
fn first(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    family: &Family,
    hash: &str,
) -> ReplicaSet {
    let annotations =
        revisions::first_annotations(deployment, family.next_revision(), scaling::marks(spec));
    let size = scaling::new_size(spec, family);
    revisions::make(deployment, spec, hash, size, annotations)
}

/// All old pods go before the first new one comes.
fn recreate(observed: &Observed, spec: &DeploymentSpec, family: &Family) -> Sizes {
    let emptied = scaling::empty_old(family);
    if !emptied.is_empty() || old_pods_run(observed, family) {
        return emptied;
    }
    let new = family.new.as_ref();
    let new = new.filter(|new| revisions::wanted(new) != revisions::replicas(spec));
    new.map(|new| (new.name_any(), revisions::replicas(spec)))
        .into_iter()
        .collect()
}

/// Whether a pod of an old ReplicaSet may still run, even one that is about to stop.
fn old_pods_run(observed: &Observed, family: &Family) -> bool {
    family.old.iter().any(|set| {
        revisions::wanted(set) > 0
            || observed.pods.iter().any(|pod| {
                !pods::is_finished(pod) && pods::is_controlled_by(&pod.metadata, &set.metadata)
            })
    })
}

/// Patches for the ReplicaSets whose size or marks differ from what they should be.
fn resized(spec: &DeploymentSpec, family: &Family, sizes: &Sizes) -> Vec<Change> {
    let marks = scaling::marks(spec);
    let mut changes = Vec::new();
    for set in family.all() {
        let size = sizes.get(&set.name_any()).copied();
        let is_active = revisions::wanted(set) > 0;
        let is_marked = marks
            .iter()
            .all(|(name, mark)| revisions::annotation(set, name) == Some(i64::from(*mark)));
        if size.is_none_or(|size| size == revisions::wanted(set)) && (is_marked || !is_active) {
            continue;
        }
        let annotations: Map<String, Value> = marks
            .iter()
            .map(|(name, mark)| ((*name).to_owned(), json!(mark.to_string())))
            .collect();
        let mut patch = json!({"metadata": {"annotations": annotations}});
        if let Some(size) = size {
            patch["spec"] = json!({"replicas": size});
        }
        changes.push(Change::patch(&**set, patch));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn deployment(image: &str, spec: &Value) -> Deployment {
        let mut deployment = json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": image}]},
                },
            },
        });
        json_patch::merge(&mut deployment, &json!({ "spec": spec }));
        serde_json::from_value(deployment).unwrap()
    }

    /// The ReplicaSet that was made for an image, with all its pods available.
    fn replica_set(image: &str, revision: i64, replicas: i32) -> Arc<ReplicaSet> {
        let deployment = deployment(image, &json!({}));
        let spec = deployment.spec.clone().unwrap();
        let hash = revisions::template_hash(&spec.template, 0);
        let annotations =
            revisions::first_annotations(&deployment, revision, scaling::marks(&spec));
        let mut set = revisions::make(&deployment, &spec, &hash, replicas, annotations);
        set.metadata.uid = Some(format!("uid-{image}"));
        let status = json!({"replicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas});
        set.status = serde_json::from_value(status).unwrap();
        Arc::new(set)
    }

    fn told(
        deployment: &Deployment,
        replica_sets: &[Arc<ReplicaSet>],
        pods: &[Arc<Pod>],
    ) -> Vec<String> {
        let decision = decide(&Observed {
            deployment,
            replica_sets,
            pods,
            now: now(),
        });
        let tell = |change: &Change| match change {
            Change::Patch { target, patch } => {
                let image = replica_sets
                    .iter()
                    .find(|set| set.name_any() == target.name);
                let image = image.map_or("web", |set| set.metadata.uid.as_deref().unwrap());
                let replicas = &patch["spec"]["replicas"];
                let revision = &patch["metadata"]["annotations"][revisions::REVISION];
                let history = &patch["metadata"]["annotations"][revisions::REVISION_HISTORY];
                format!("{image} replicas={replicas} revision={revision} history={history}")
            }
            Change::Create { object, .. } => {
                let annotations = &object["metadata"]["annotations"];
                let revision = &annotations[revisions::REVISION];
                format!(
                    "create replicas={} revision={revision}",
                    object["spec"]["replicas"]
                )
            }
            Change::Status { patch, .. } => {
                let conditions = patch["status"]["conditions"].as_array().cloned();
                let conditions = conditions.unwrap_or_default();
                let reasons = conditions
                    .iter()
                    .filter_map(|condition| condition["reason"].as_str());
                format!("status {}", reasons.collect::<Vec<_>>().join(" "))
            }
            Change::Delete { target, .. } => format!("delete {}", target.uid),
            Change::Finalize { namespace } => format!("finalize {namespace}"),
        };
        decision.changes.iter().map(tell).collect()
    }

    #[test]
    fn a_new_deployment_makes_its_replica_set() {
        let told = told(&deployment("a", &json!({})), &[], &[]);
        assert_eq!(
            told,
            [
                "create replicas=2 revision=\"1\"",
                "web replicas=null revision=\"1\" history=null",
                "status MinimumReplicasUnavailable NewReplicaSetCreated",
            ]
        );
    }

    #[test]
    fn a_new_template_makes_the_next_revision_within_the_surge() {
        let told = told(&deployment("b", &json!({})), &[replica_set("a", 1, 2)], &[]);
        assert_eq!(
            told,
            [
                "create replicas=1 revision=\"2\"",
                "web replicas=null revision=\"2\" history=null",
                "status MinimumReplicasAvailable NewReplicaSetCreated",
            ]
        );
    }

    #[test]
    fn a_template_that_was_there_before_becomes_the_newest_revision_again() {
        let sets = [replica_set("a", 1, 0), replica_set("b", 2, 2)];
        let mut deployment = deployment("a", &json!({}));
        // Where the template was completed by the API server, it is still the same.
        deployment.metadata.annotations = None;
        assert_eq!(
            told(&deployment, &sets, &[])[..3],
            [
                "uid-a replicas=null revision=\"3\" history=\"1\"",
                "web replicas=null revision=\"3\" history=null",
                "uid-a replicas=1 revision=null history=null",
            ]
        );
    }

    #[test]
    fn recreate_waits_for_the_last_old_pod() {
        let recreate = deployment("b", &json!({"strategy": {"type": "Recreate"}}));
        let old = replica_set("a", 1, 2);
        let made_for_a = Arc::clone(&old);
        assert_eq!(
            told(&recreate, &[old], &[])[0],
            "uid-a replicas=0 revision=null history=null"
        );
        let mut empty = ReplicaSet::clone(&made_for_a);
        empty.spec.as_mut().unwrap().replicas = Some(0);
        let template = empty.spec.as_ref().unwrap().template.clone().unwrap();
        let mut stopping = pods::from_template(&empty, &template);
        stopping.metadata.deletion_timestamp = Some(pods::time(now()));
        let empty = [Arc::new(empty)];
        let waiting = told(&recreate, &empty, &[Arc::new(stopping)]);
        assert!(
            waiting.iter().all(|told| told.starts_with("status")),
            "{waiting:?}"
        );
        assert_eq!(
            told(&recreate, &empty, &[])[0],
            "create replicas=2 revision=\"2\""
        );
    }

    #[test]
    fn a_paused_deployment_only_changes_its_size() {
        let sets = [replica_set("a", 1, 2)];
        let paused = deployment("b", &json!({"paused": true}));
        assert_eq!(
            told(&paused, &sets, &[]),
            ["status MinimumReplicasAvailable DeploymentPaused"]
        );
        let larger = deployment("b", &json!({"paused": true, "replicas": 5}));
        assert_eq!(
            told(&larger, &sets, &[])[0],
            "uid-a replicas=5 revision=null history=null"
        );
    }

    #[test]
    fn old_replica_sets_beyond_the_limit_go() {
        let limited = deployment("c", &json!({"revisionHistoryLimit": 1}));
        let sets = [
            replica_set("a", 1, 0),
            replica_set("b", 2, 0),
            replica_set("c", 3, 2),
        ];
        let told = told(&limited, &sets, &[]);
        assert_eq!(told[1], "delete uid-a", "{told:?}");
        assert_eq!(
            told.iter()
                .filter(|told| told.starts_with("delete"))
                .count(),
            1
        );
    }

    #[test]
    fn a_name_that_is_taken_gives_another_hash() {
        let deployment = deployment("a", &json!({}));
        let mut foreign = ReplicaSet::clone(&replica_set("a", 1, 1));
        foreign.owner_references_mut()[0].uid = "another".to_owned();
        let observed = Observed {
            deployment: &deployment,
            replica_sets: &[Arc::new(foreign)],
            pods: &[],
            now: now(),
        };
        let changes = decide(&observed).changes;
        let [Change::Status { patch, .. }] = changes.as_slice() else {
            panic!("{changes:?}")
        };
        assert_eq!(patch["status"]["collisionCount"], json!(1));
    }
}
