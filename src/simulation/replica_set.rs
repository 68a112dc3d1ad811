//! The ReplicaSet controller: as many pods as wanted, and a status that counts them.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Resource, ResourceExt as _};

use super::change::{Change, Decision};
use super::pods;

/// The pods that a controller manages, and what makes it so.
pub(super) struct Claim<'a> {
    pub(super) pods: Vec<&'a Pod>,
    /// Adoptions and releases.
    pub(super) changes: Vec<Change>,
}

/// Sorts out which pods of a namespace `owner` manages: it adopts matching ones that nobody
/// manages and releases its own that match no longer.
pub(super) fn claim<'a, K: Resource<DynamicType = ()>>(
    owner: &K,
    selector: &LabelSelector,
    pods: &'a [Arc<Pod>],
) -> Claim<'a> {
    let mut claim = Claim {
        pods: Vec::new(),
        changes: Vec::new(),
    };
    let owner_goes = owner.meta().deletion_timestamp.is_some();
    for pod in pods {
        let matches = pods::selects(selector, pod.labels());
        match pods::controller(&pod.metadata) {
            Some(_) if !pods::is_controlled_by(&pod.metadata, owner.meta()) => {}
            Some(_) if matches || owner_goes => claim.pods.push(pod),
            Some(_) if !pods::is_deleting(pod) => {
                claim.changes.push(pods::release(&**pod, owner));
            }
            None if matches && !owner_goes && pods::is_active(pod) => {
                claim.changes.push(pods::adopt(&**pod, owner));
                claim.pods.push(pod);
            }
            Some(_) | None => {}
        }
    }
    claim
}

/// Decides which pods to create and delete, and what the status says.
pub(super) fn decide(replica_set: &ReplicaSet, pods: &[Arc<Pod>], now: Timestamp) -> Decision {
    let Some(spec) = &replica_set.spec else {
        return Decision::default();
    };
    let claim = claim(replica_set, &spec.selector, pods);
    let mut active = claim.pods;
    active.retain(|pod| pods::is_active(pod));
    let mut changes = claim.changes;
    if replica_set.metadata.deletion_timestamp.is_none() {
        changes.extend(scale(replica_set, &active));
    }
    let old = replica_set.status.clone().unwrap_or_default();
    let (new, wake_at) = status(replica_set, &old, &active, now);
    changes.extend(Change::status(replica_set, &old, &new));
    Decision { changes, wake_at }
}

fn scale(replica_set: &ReplicaSet, active: &[&Pod]) -> Vec<Change> {
    let Some(spec) = &replica_set.spec else {
        return Vec::new();
    };
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
    if let Some(missing) = wanted.checked_sub(active.len()) {
        let Some(template) = &spec.template else {
            return Vec::new();
        };
        let pod = pods::from_template(replica_set, template);
        return vec![Change::create(&pod); missing];
    }
    let mut order = active.to_vec();
    order.sort_by_cached_key(|pod| pods::deletion_order(pod));
    order
        .iter()
        .take(active.len() - wanted)
        .map(|pod| Change::delete(*pod))
        .collect()
}

fn status(
    replica_set: &ReplicaSet,
    old: &ReplicaSetStatus,
    active: &[&Pod],
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Timestamp>) {
    let spec = replica_set.spec.clone().unwrap_or_default();
    let labels = spec
        .template
        .and_then(|template| template.metadata?.labels)
        .unwrap_or_default();
    let is_labelled = |pod: &&&Pod| {
        labels
            .iter()
            .all(|(key, value)| pod.labels().get(key) == Some(value))
    };
    let min_ready = i64::from(spec.min_ready_seconds.unwrap_or_default());
    let available_at: Vec<Timestamp> = active
        .iter()
        .filter_map(|pod| pods::ready_since(pod))
        .map(|since| {
            if min_ready == 0 {
                Timestamp::MIN
            } else {
                pods::after(since, min_ready)
            }
        })
        .collect();
    let new = ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: some(active.iter().filter(is_labelled).count()),
        ready_replicas: some(available_at.len()),
        available_replicas: some(available_at.iter().filter(|at| **at <= now).count()),
        observed_generation: replica_set.metadata.generation,
        ..old.clone()
    };
    (new, available_at.into_iter().filter(|at| *at > now).min())
}

/// A count as Kubernetes has it.
pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A count that is left out when it is 0.
pub(super) fn some(number: usize) -> Option<i32> {
    (number > 0).then(|| count(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    fn replica_set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u", "generation": 2},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            },
        }))
        .unwrap()
    }

    /// A pod that runs; `ready` minutes ago it became ready, if it did.
    fn pod(name: &str, ready: Option<i64>) -> Pod {
        let condition = ready.map(|minutes| {
            json!({"type": "Ready", "status": "True",
                "lastTransitionTime": pods::after(now(), -60 * minutes).to_string()})
        });
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "default", "labels": {"app": "web"},
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [pods::owner_reference(&replica_set(0))],
            },
            "spec": {"nodeName": "node", "containers": []},
            "status": {"phase": "Running", "conditions": condition.into_iter().collect::<Vec<_>>()},
        }))
        .unwrap()
    }

    fn told(replica_set: &ReplicaSet, pods: Vec<Pod>) -> Vec<String> {
        let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
        let decision = decide(replica_set, &pods, now());
        let changes = decision
            .changes
            .iter()
            .filter(|change| !matches!(change, Change::Status { .. }));
        changes.map(ToString::to_string).collect()
    }

    #[test]
    fn missing_pods_are_made() {
        let created = told(&replica_set(3), vec![pod("a", None)]);
        assert_eq!(created, ["create Pod `web-`"; 2]);
    }

    #[test]
    fn finished_and_deleted_pods_do_not_count() {
        let mut failed = pod("failed", None);
        failed.status.as_mut().unwrap().phase = Some("Failed".to_owned());
        let mut deleted = pod("deleted", Some(1));
        deleted.metadata.deletion_timestamp = Some(pods::time(now()));
        assert_eq!(
            told(&replica_set(1), vec![failed, deleted]),
            ["create Pod `web-`"]
        );
    }

    #[test]
    fn surplus_pods_go_in_kubernetes_order() {
        let mut unscheduled = pod("unscheduled", Some(9));
        unscheduled.spec.as_mut().unwrap().node_name = None;
        let mut pending = pod("pending", None);
        pending.status.as_mut().unwrap().phase = Some("Pending".to_owned());
        let mut cheap = pod("cheap", Some(9));
        let cost = "controller.kubernetes.io/pod-deletion-cost".to_owned();
        cheap.annotations_mut().insert(cost, "-1".to_owned());
        let mut young = pod("young", Some(9));
        young.metadata.creation_timestamp = Some(pods::time(now()));
        let mut pods = vec![
            pod("old", Some(9)),
            young,
            pod("just-ready", Some(1)),
            cheap,
            pod("not-ready", None),
            pending,
            unscheduled,
        ];
        let order = [
            "unscheduled",
            "pending",
            "not-ready",
            "cheap",
            "just-ready",
            "young",
            "old",
        ];
        let expected = order.map(|name| format!("delete Pod `{name}`"));
        assert_eq!(told(&replica_set(0), pods.clone()), expected);
        pods.reverse();
        assert_eq!(told(&replica_set(0), pods), expected);
    }

    #[test]
    fn matching_orphans_are_adopted_and_strangers_released() {
        let mut orphan = pod("orphan", None);
        orphan.metadata.owner_references = None;
        let mut stranger = pod("stranger", None);
        stranger
            .labels_mut()
            .insert("app".to_owned(), "other".to_owned());
        let mut foreign = pod("foreign", None);
        foreign.owner_references_mut()[0].uid = "another".to_owned();
        let changes = told(&replica_set(1), vec![orphan, stranger, foreign]);
        assert_eq!(changes, ["patch Pod `orphan`", "patch Pod `stranger`"]);
    }

    #[test]
    fn a_ready_pod_is_available_after_the_minimum_time() {
        let mut replica_set = replica_set(3);
        replica_set.spec.as_mut().unwrap().min_ready_seconds = Some(120);
        let pods = [pod("a", Some(2)), pod("b", Some(1)), pod("c", None)].map(Arc::new);
        let decision = decide(&replica_set, &pods, now());
        assert_eq!(decision.wake_at, Some(pods::after(now(), 60)));
        let [Change::Status { patch, .. }] = decision.changes.as_slice() else {
            panic!("{:?}", decision.changes)
        };
        assert_eq!(
            patch["status"],
            json!({"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 2,
                "availableReplicas": 1, "observedGeneration": 2})
        );
    }
}
