//! Small questions about pods and what selects them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, ObjectMeta, OwnerReference, Time,
};
use kube::core::{Selector, SelectorExt as _};
use kube::{Resource, ResourceExt as _};
use serde_json::{Value, json};

use super::change::Change;

/// Kubernetes writes whole seconds.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A moment some seconds after another; the end of time if there is none.
pub(super) fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// The owner that manages an object.
pub(super) fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true))
}

/// Whether `owner` manages an object.
pub(super) fn is_controlled_by(metadata: &ObjectMeta, owner: &ObjectMeta) -> bool {
    owner.uid.is_some() && controller(metadata).map(|found| &found.uid) == owner.uid.as_ref()
}

/// Whether a selector picks labels. An empty or a broken one picks nothing.
pub(super) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let is_empty = selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty);
    !is_empty && Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

/// Whether a Service sends traffic to pods with these labels.
pub(super) fn serves(service: &Service, labels: &BTreeMap<String, String>) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty()
            && selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    })
}

/// `Pending`, `Running`, `Succeeded` or `Failed`.
pub(super) fn phase(pod: &Pod) -> &str {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase.unwrap_or("Pending")
}

pub(super) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(super) fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Runs or will run.
pub(super) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_deleting(pod)
}

/// Since when a pod has been ready, `None` if it is not.
pub(super) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")?;
    let since = ready
        .last_transition_time
        .as_ref()
        .map_or(Timestamp::MIN, |time| time.0);
    (ready.status == "True").then_some(since)
}

/// When an object was made.
pub(super) fn created(metadata: &ObjectMeta) -> Timestamp {
    metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::MAX, |time| time.0)
}

/// Restarts of all containers of a pod.
pub(super) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_deref());
    statuses
        .unwrap_or_default()
        .iter()
        .map(|status| status.restart_count)
        .sum()
}

/// Orders pods so that those which should go first stand first: not scheduled, not running, not
/// ready, cheap to delete, ready for a short time, often restarted, young.
///
/// # Source
/// `ActivePodsWithRanks` of `k8s.io/kubernetes/pkg/controller`, without its logarithmic rounding of
/// ages and with the name as the last word, so that the order is always the same.
pub(super) fn deletion_order(pod: &Pod) -> impl Ord + use<> {
    let scheduled = pod
        .spec
        .as_ref()
        .is_some_and(|spec| spec.node_name.is_some());
    let phase = match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = pod
        .annotations()
        .get("controller.kubernetes.io/pod-deletion-cost");
    let cost: i32 = cost.and_then(|cost| cost.parse().ok()).unwrap_or_default();
    let ready = ready_since(pod);
    (
        (scheduled, phase, ready.is_some(), cost),
        (
            ready.map(std::cmp::Reverse),
            std::cmp::Reverse(restarts(pod)),
        ),
        (std::cmp::Reverse(created(&pod.metadata)), pod.name_any()),
    )
}

/// A reference to a managing owner.
pub(super) fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// A pod of `owner`, made from its template.
pub(super) fn from_template<K: Resource<DynamicType = ()>>(
    owner: &K,
    template: &PodTemplateSpec,
) -> Pod {
    let metadata = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", owner.name_any())),
            namespace: owner.namespace(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![owner_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Makes `owner` the manager of `object`.
pub(super) fn adopt<K, O>(object: &K, owner: &O) -> Change
where
    K: Resource<DynamicType = ()>,
    O: Resource<DynamicType = ()>,
{
    let mut owners = object.owner_references().to_vec();
    owners.push(owner_reference(owner));
    Change::patch(object, owners_patch(object, &owners))
}

/// Takes `owner` out of the owners of `object`.
pub(super) fn release<K, O>(object: &K, owner: &O) -> Change
where
    K: Resource<DynamicType = ()>,
    O: Resource<DynamicType = ()>,
{
    let uid = owner.uid().unwrap_or_default();
    let mut owners = object.owner_references().to_vec();
    owners.retain(|owner| owner.uid != uid);
    Change::patch(object, owners_patch(object, &owners))
}

/// The version makes sure that nobody else's change of the list is lost.
fn owners_patch<K: Resource>(object: &K, owners: &[OwnerReference]) -> Value {
    json!({"metadata": {
        "resourceVersion": object.resource_version(),
        "ownerReferences": if owners.is_empty() { Value::Null } else { json!(owners) },
    }})
}

/// The time as Kubernetes writes it.
pub(super) fn time(now: Timestamp) -> Time {
    Time(whole_seconds(now))
}
