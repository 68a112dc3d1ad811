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

use super::change::{Change, Target};
use super::hash;

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

/// Whether a selector of a workload picks labels. An empty or a broken one picks nothing.
pub(super) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let is_empty = selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty);
    !is_empty && matches(selector, labels)
}

/// Whether labels are as a selector says. An empty one says nothing; a broken one fits nothing.
pub(super) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
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

/// The node of a pod.
pub(super) fn node(pod: &Pod) -> Option<&str> {
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    (!node.is_empty()).then_some(node)
}

/// An address that is the same for the same text.
pub(super) fn address(network: u8, text: &str) -> String {
    let [_, b, c, d] = hash::fnv1a(text.as_bytes()).to_be_bytes();
    format!("{network}.{b}.{c}.{d}")
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

/// When a pod ended; otherwise when it was seen not to be ready, or was deleted, or was made.
///
/// # Source
/// `getFinishedTime` of the Kubernetes Job controller.
pub(super) fn finished_at(pod: &Pod) -> Timestamp {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let ended = containers.iter().map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        ended.finished_at.as_ref().map(|time| time.0)
    });
    let ended: Option<Vec<_>> = ended.collect();
    let unready = status.conditions.into_iter().flatten();
    let mut unready = unready.filter(|found| found.type_ == "Ready" && found.status == "False");
    let metadata = &pod.metadata;
    let deleted = metadata.deletion_timestamp.as_ref().map(|time| {
        let grace = metadata.deletion_grace_period_seconds.unwrap_or_default();
        after(time.0, -grace)
    });
    ended
        .and_then(|ended| ended.into_iter().max())
        .or_else(|| unready.find_map(|found| Some(found.last_transition_time?.0)))
        .or(deleted)
        .unwrap_or_else(|| created(metadata))
}

fn container_restarts(pod: &Pod) -> impl Iterator<Item = i32> {
    let status = pod.status.iter();
    let statuses = status.flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    statuses.map(|status| status.restart_count)
}

/// Restarts of all containers of a pod.
pub(super) fn restarts(pod: &Pod) -> i32 {
    container_restarts(pod).sum()
}

/// Restarts of the container of a pod that was restarted most often.
pub(super) fn most_restarts(pod: &Pod) -> i32 {
    container_restarts(pod).max().unwrap_or_default()
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
    set_owners(object, &owners)
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
    set_owners(object, &owners)
}

fn set_owners<K: Resource<DynamicType = ()>>(object: &K, owners: &[OwnerReference]) -> Change {
    let owners = if owners.is_empty() {
        Value::Null
    } else {
        json!(owners)
    };
    Change::Patch {
        target: Target::as_seen(object),
        patch: json!({"metadata": {"ownerReferences": owners}}),
    }
}

/// The time as Kubernetes writes it.
pub(super) fn time(now: Timestamp) -> Time {
    Time(whole_seconds(now))
}

/// A count as Kubernetes has it.
pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A count that is left out when it is 0.
pub(super) fn some(number: usize) -> Option<i32> {
    (number > 0).then(|| count(number))
}
