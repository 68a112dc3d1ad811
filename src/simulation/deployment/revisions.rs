//! Which ReplicaSet is the new one, which are old, and which revision each of them is.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::super::change::Change;
use super::super::hash;
use super::super::pods;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
const HASH_LABEL: &str = "pod-template-hash";

/// Annotations of a Deployment that its ReplicaSets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// The ReplicaSets of a Deployment, oldest first.
pub(super) struct Family {
    /// Has the Deployment's template; `None` before it was made.
    pub(super) new: Option<Arc<ReplicaSet>>,
    pub(super) old: Vec<Arc<ReplicaSet>>,
}

impl Family {
    /// Sorts the ReplicaSets that a Deployment manages.
    pub(super) fn of(spec: &DeploymentSpec, hash: &str, mut members: Vec<Arc<ReplicaSet>>) -> Self {
        members.sort_by_cached_key(|set| {
            (pods::created(&set.metadata), revision(set), set.name_any())
        });
        let wanted = comparable(&spec.template);
        let is_new = |set: &Arc<ReplicaSet>| {
            let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            set.labels()
                .get(HASH_LABEL)
                .is_some_and(|label| label == hash)
                || template.is_some_and(|template| comparable(template) == wanted)
        };
        let new = members
            .iter()
            .position(is_new)
            .map(|index| members.remove(index));
        Self { new, old: members }
    }

    /// All of them, the new one last.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }

    /// The revision that the new ReplicaSet must have.
    pub(super) fn next_revision(&self) -> i64 {
        self.old
            .iter()
            .map(|set| revision(set))
            .max()
            .unwrap_or_default()
            + 1
    }
}

/// Pods that a ReplicaSet is told to have.
pub(super) fn wanted(replica_set: &ReplicaSet) -> i32 {
    replica_set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// Pods that a Deployment is told to have.
pub(super) fn replicas(spec: &DeploymentSpec) -> i32 {
    spec.replicas.unwrap_or(1)
}

pub(super) fn revision(replica_set: &ReplicaSet) -> i64 {
    annotation(replica_set, REVISION).unwrap_or_default()
}

/// A number in an annotation of a ReplicaSet.
pub(super) fn annotation(replica_set: &ReplicaSet, name: &str) -> Option<i64> {
    replica_set.annotations().get(name)?.parse().ok()
}

/// A template without what the controller itself put into it.
fn comparable(template: &PodTemplateSpec) -> Value {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    let mut labels = metadata.labels.take().unwrap_or_default();
    labels.remove(HASH_LABEL);
    let kept = ObjectMeta {
        labels: Some(labels),
        annotations: metadata
            .annotations
            .take()
            .filter(|annotations| !annotations.is_empty()),
        ..ObjectMeta::default()
    };
    template.metadata = Some(kept);
    json!(template)
}

/// The hash that names the ReplicaSet of a template.
pub(super) fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    let mut text = comparable(template).to_string();
    if collisions > 0 {
        text.push_str(&collisions.to_string());
    }
    hash::word(hash::fnv1a(text.as_bytes()))
}

/// The ReplicaSet for a Deployment's template.
pub(super) fn make(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    hash: &str,
    replicas: i32,
    annotations: BTreeMap<String, String>,
) -> ReplicaSet {
    let mut template = spec.template.clone();
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    let match_labels = selector.match_labels.get_or_insert_default();
    match_labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![pods::owner_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// The annotations that a new ReplicaSet begins with.
pub(super) fn first_annotations(
    deployment: &Deployment,
    revision: i64,
    sizes: [(&str, i32); 2],
) -> BTreeMap<String, String> {
    let mut annotations = copied(deployment);
    annotations.insert(REVISION.to_owned(), revision.to_string());
    annotations.extend(sizes.map(|(name, size)| (name.to_owned(), size.to_string())));
    annotations
}

fn copied(deployment: &Deployment) -> BTreeMap<String, String> {
    let annotations = deployment.annotations().iter();
    let kept = annotations.filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Brings the annotations and the minimum ready time of the new ReplicaSet up to date, and the
/// Deployment's own revision.
pub(super) fn sync(deployment: &Deployment, spec: &DeploymentSpec, family: &Family) -> Vec<Change> {
    let Some(new) = &family.new else {
        return Vec::new();
    };
    let mut annotations = copied(deployment);
    annotations.retain(|name, value| new.annotations().get(name) != Some(value));
    let next = family.next_revision();
    let current = revision(new).max(next);
    if revision(new) < next {
        annotations.insert(REVISION.to_owned(), next.to_string());
        if let Some(before) = new.annotations().get(REVISION) {
            annotations.insert(REVISION_HISTORY.to_owned(), history(new, before));
        }
    }
    let min_ready = new
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or_default();
    let mut changes = Vec::new();
    let wanted_min_ready = spec.min_ready_seconds.unwrap_or_default();
    if !annotations.is_empty() || min_ready != wanted_min_ready {
        let patch = json!({
            "metadata": {"annotations": annotations},
            "spec": {"minReadySeconds": wanted_min_ready},
        });
        changes.push(Change::patch(&**new, patch));
    }
    changes.extend(number(deployment, current));
    changes
}

/// Revisions that a ReplicaSet had before the one it has, with that one.
fn history(replica_set: &ReplicaSet, current: &str) -> String {
    match replica_set.annotations().get(REVISION_HISTORY) {
        Some(history) if !history.is_empty() => format!("{history},{current}"),
        _ => current.to_owned(),
    }
}

/// Writes the revision onto the Deployment.
pub(super) fn number(deployment: &Deployment, revision: i64) -> Option<Change> {
    let revision = revision.to_string();
    let is_there = deployment.annotations().get(REVISION) == Some(&revision);
    let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
    (!is_there).then(|| Change::patch(deployment, patch))
}

/// Old ReplicaSets beyond the history's limit that nothing needs any more.
pub(super) fn surplus(spec: &DeploymentSpec, family: &Family) -> Vec<Change> {
    let limit = usize::try_from(spec.revision_history_limit.unwrap_or(10)).unwrap_or_default();
    let mut old: Vec<_> = family.old.iter().collect();
    old.retain(|set| set.metadata.deletion_timestamp.is_none());
    old.sort_by_key(|set| revision(set));
    let surplus = old.len().saturating_sub(limit);
    let is_idle = |set: &&&Arc<ReplicaSet>| {
        let status = set.status.clone().unwrap_or_default();
        status.replicas == 0
            && wanted(set) == 0
            && status.observed_generation >= set.metadata.generation
    };
    old.iter()
        .take(surplus)
        .filter(is_idle)
        .map(|set| Change::delete(&***set))
        .collect()
}
