//! The ReplicaSet controller: as many pods as wanted, and a status that counts them.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::change::{Change, Decision};
use super::claim::claim;
use super::pods::{self, count, some};
use super::ranking;

/// The condition of a ReplicaSet whose pods cannot be made or deleted.
const FAILURE: &str = "ReplicaFailure";

/// All that a decision about a ReplicaSet depends on.
pub(super) struct Observed<'a> {
    pub(super) replica_set: &'a ReplicaSet,
    /// Those that it manages and those that it may adopt.
    pub(super) pods: &'a [Arc<Pod>],
    /// The pods of all ReplicaSets with the same owner.
    pub(super) related: &'a dyn Fn() -> Vec<Arc<Pod>>,
    /// Why a pod could not be made or deleted just now.
    pub(super) refusal: Option<String>,
    pub(super) now: Timestamp,
}

/// Decides which pods to create and delete, and what the status says.
pub(super) fn decide(observed: &Observed) -> Decision {
    let replica_set = observed.replica_set;
    let Some(spec) = &replica_set.spec else {
        return Decision::default();
    };
    let active = observed.pods.iter().filter(|pod| pods::is_active(pod));
    let claim = claim(replica_set, &spec.selector, active);
    let mut changes = claim.changes;
    if replica_set.metadata.deletion_timestamp.is_none() {
        changes.extend(scale(observed, &claim.pods));
    }
    let old = replica_set.status.clone().unwrap_or_default();
    let (new, wake_at) = status(observed, &old, &claim.pods);
    changes.extend(Change::status(replica_set, &old, &new));
    Decision { changes, wake_at }
}

fn wanted(replica_set: &ReplicaSet) -> usize {
    let wanted = replica_set.spec.as_ref().and_then(|spec| spec.replicas);
    usize::try_from(wanted.unwrap_or(1)).unwrap_or_default()
}

fn scale(observed: &Observed, active: &[&Pod]) -> Vec<Change> {
    let replica_set = observed.replica_set;
    let wanted = wanted(replica_set);
    if let Some(missing) = wanted.checked_sub(active.len()) {
        let template = replica_set
            .spec
            .as_ref()
            .and_then(|spec| spec.template.as_ref());
        let pod = template.map(|template| pods::from_template(replica_set, template));
        return pod.map_or_else(Vec::new, |pod| vec![Change::create(&pod); missing]);
    }
    let mut order = active.to_vec();
    if wanted > 0 {
        ranking::sort(&mut order, &(observed.related)(), observed.now);
    }
    let surplus = order.iter().take(active.len() - wanted);
    surplus.map(|pod| Change::delete(*pod)).collect()
}

fn status(
    observed: &Observed,
    old: &ReplicaSetStatus,
    active: &[&Pod],
) -> (ReplicaSetStatus, Option<Timestamp>) {
    let now = observed.now;
    let spec = observed.replica_set.spec.clone().unwrap_or_default();
    let labels = spec
        .template
        .and_then(|template| template.metadata?.labels)
        .unwrap_or_default();
    let is_labelled = |pod: &&&Pod| {
        let mut labels = labels.iter();
        labels.all(|(key, value)| pod.labels().get(key) == Some(value))
    };
    let min_ready = i64::from(spec.min_ready_seconds.unwrap_or_default());
    let available_at = |since: Timestamp| match min_ready {
        0 => Timestamp::MIN,
        seconds => pods::after(since, seconds),
    };
    let ready = active.iter().filter_map(|pod| pods::ready_since(pod));
    let available_at: Vec<_> = ready.map(available_at).collect();
    let new = ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: some(active.iter().filter(is_labelled).count()),
        ready_replicas: some(available_at.len()),
        available_replicas: some(available_at.iter().filter(|at| **at <= now).count()),
        observed_generation: observed.replica_set.metadata.generation,
        conditions: conditions(observed, old, active.len()),
        ..old.clone()
    };
    (new, available_at.into_iter().filter(|at| *at > now).min())
}

/// A refusal is told until there is none any more.
fn conditions(
    observed: &Observed,
    old: &ReplicaSetStatus,
    active: usize,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let is_told = conditions
        .iter()
        .any(|condition| condition.type_ == FAILURE);
    match &observed.refusal {
        None => conditions.retain(|condition| condition.type_ != FAILURE),
        Some(_) if is_told => {}
        Some(refusal) => {
            let reason = if active < wanted(observed.replica_set) {
                "FailedCreate"
            } else {
                "FailedDelete"
            };
            conditions.push(ReplicaSetCondition {
                type_: FAILURE.to_owned(),
                status: "True".to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(refusal.clone()),
                last_transition_time: Some(pods::time(observed.now)),
            });
        }
    }
    (!conditions.is_empty()).then_some(conditions)
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

    fn decided(replica_set: &ReplicaSet, pods: &[Arc<Pod>], refusal: Option<&str>) -> Decision {
        decide(&Observed {
            replica_set,
            pods,
            related: &Vec::new,
            refusal: refusal.map(str::to_owned),
            now: now(),
        })
    }

    fn told(replica_set: &ReplicaSet, pods: Vec<Pod>) -> Vec<String> {
        let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
        let decision = decided(replica_set, &pods, None);
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
    fn surplus_pods_go_and_those_that_serve_nobody_first() {
        let pods = vec![pod("a", Some(9)), pod("b", None), pod("c", Some(9))];
        assert_eq!(told(&replica_set(2), pods.clone()), ["delete Pod `b`"]);
        let all = ["a", "b", "c"].map(|name| format!("delete Pod `{name}`"));
        assert_eq!(told(&replica_set(0), pods), all);
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
        let decision = decided(&replica_set, &pods, None);
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

    #[test]
    fn a_refusal_is_told_until_it_is_over() {
        let mut replica_set = replica_set(2);
        let pods = [Arc::new(pod("a", None))];
        let mut conditions = |refusal: Option<&str>| {
            let decision = decided(&replica_set, &pods, refusal);
            let mut value = json!(replica_set);
            for change in &decision.changes {
                if let Change::Status { patch, .. } = change {
                    json_patch::merge(&mut value, patch);
                }
            }
            replica_set = serde_json::from_value(value).unwrap();
            let conditions = replica_set.status.clone().unwrap().conditions;
            let told = conditions.into_iter().flatten().map(|condition| {
                let [reason, message] = [condition.reason, condition.message].map(Option::unwrap);
                format!("{} {reason}: {message}", condition.type_)
            });
            told.collect::<Vec<_>>()
        };
        let first = ["ReplicaFailure FailedCreate: no room"];
        assert_eq!(conditions(Some("no room")), first);
        assert_eq!(conditions(Some("still no room")), first);
        assert_eq!(conditions(None), [""; 0]);
    }
}
