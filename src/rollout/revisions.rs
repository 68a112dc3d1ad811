//! Which ReplicaSet is the wanted version, which is stable, and which are old.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::core::{Selector, SelectorExt as _};
use kube::{Resource, ResourceExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::annotations;
use super::anti_affinity;
use super::defaults::comparable;
use super::ephemeral::{self, Role};
use super::hash::{mark, older_pod_template_hash, pod_template_hash};
use super::labels;
use super::replica_set::ReplicaSet;
use super::replicas::Pods;
use crate::api::{ConditionType, Rollout, RolloutStatus};

/// A ReplicaSet as it is created. Its pod template is the Rollout's as written: fields that only
/// newer clusters know reach them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewReplicaSet {
    /// `apps/v1`
    pub api_version: String,
    /// `ReplicaSet`
    pub kind: String,
    /// Name, labels, annotations, owner.
    pub metadata: ObjectMeta,
    /// Its spec, with no pods yet.
    pub spec: Map<String, Value>,
}

impl Resource for NewReplicaSet {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        "ReplicaSet".into()
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        "apps".into()
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        "replicasets".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What decisions need of a ReplicaSet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) hash: String,
    pub(super) revision: i64,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) created: Option<Timestamp>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) min_ready_seconds: i32,
    /// Wanted and available pods.
    pub(super) pods: Pods,
    /// Pods that there are.
    pub(super) replicas: i32,
    /// Pods that are ready.
    pub(super) ready: i32,
    /// Whether it is being deleted.
    pub(super) leaving: bool,
    /// Whether its status is about its present spec.
    pub(super) up_to_date: bool,
    /// Why pods cannot be made.
    pub(super) failure: Option<(String, String)>,
    /// As it is; `None` if it is about to be created.
    pub(super) object: Option<Arc<ReplicaSet>>,
}

impl Member {
    fn of(replica_set: &Arc<ReplicaSet>) -> Self {
        let meta = &replica_set.metadata;
        let spec = &replica_set.spec;
        let status = replica_set.status.as_ref();
        let annotations = meta.annotations.clone().unwrap_or_default();
        let failure = status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
            .map(|condition| {
                let text = |part: &Option<String>| part.clone().unwrap_or_default();
                (text(&condition.reason), text(&condition.message))
            });
        Self {
            name: replica_set.name_any(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            hash: hash_of(replica_set).unwrap_or_default().to_owned(),
            revision: revision_in(&annotations),
            owners: meta.owner_references.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            pods: Pods {
                wanted: spec.replicas.unwrap_or(1),
                available: status
                    .and_then(|status| status.available_replicas)
                    .unwrap_or_default(),
            },
            replicas: status.map(|status| status.replicas).unwrap_or_default(),
            ready: status
                .and_then(|status| status.ready_replicas)
                .unwrap_or_default(),
            leaving: meta.deletion_timestamp.is_some(),
            up_to_date: status.and_then(|status| status.observed_generation) >= meta.generation,
            annotations,
            failure,
            object: Some(Arc::clone(replica_set)),
        }
    }

    /// Whether a pod is one of its own.
    pub(super) fn owns(&self, pod: &Pod) -> bool {
        let mut owners = pod.owner_references().iter();
        self.uid.is_some() && owners.any(|owner| Some(&owner.uid) == self.uid.as_ref())
    }

    /// `spec.replicas` of the Rollout when this was last scaled.
    pub(super) fn desired(&self) -> Option<i32> {
        self.annotations.get(labels::DESIRED_REPLICAS)?.parse().ok()
    }

    /// When it may be scaled down, as it is written.
    pub(super) fn deadline(&self) -> Option<&String> {
        self.annotations.get(labels::SCALE_DOWN_DEADLINE)
    }
}

fn hash_of(replica_set: &ReplicaSet) -> Option<&str> {
    replica_set
        .labels()
        .get(labels::POD_TEMPLATE_HASH)
        .map(String::as_str)
}

fn controller_of(replica_set: &ReplicaSet) -> Option<&String> {
    let owners = replica_set.owner_references();
    owners
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| &owner.uid)
}

pub(super) fn revision_in(annotations: &BTreeMap<String, String>) -> i64 {
    annotations
        .get(labels::REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// A Rollout's ReplicaSets, sorted out.
#[derive(Debug)]
pub(super) struct Revisions {
    /// The hash of the wanted version.
    pub(super) hash: String,
    /// The wanted version, if it is there.
    pub(super) new: Option<Member>,
    /// The stable version, if it is there and another one.
    pub(super) stable: Option<Member>,
    /// All others, oldest first.
    pub(super) others: Vec<Member>,
    /// ReplicaSets without an owner that match the selector.
    pub(super) orphans: Vec<Member>,
    /// Owned ReplicaSets that no longer match the selector.
    pub(super) strangers: Vec<Member>,
}

impl Revisions {
    /// Sorts out the ReplicaSets of a namespace.
    pub(super) fn of(
        rollout: &Rollout,
        selector: &Selector,
        replica_sets: &[Arc<ReplicaSet>],
        status: &RolloutStatus,
    ) -> Self {
        let mut owned: Vec<&Arc<ReplicaSet>> = Vec::new();
        let (mut orphans, mut strangers) = (Vec::new(), Vec::new());
        for replica_set in replica_sets {
            let matches = selector.matches(replica_set.labels());
            let leaving = replica_set.metadata.deletion_timestamp.is_some();
            match controller_of(replica_set) {
                Some(controller) if Some(controller) != rollout.metadata.uid.as_ref() => {}
                Some(_) if matches => owned.push(replica_set),
                Some(_) => strangers.push(Member::of(replica_set)),
                None if matches && !leaving && hash_of(replica_set).is_some() => {
                    orphans.push(Member::of(replica_set));
                    owned.push(replica_set);
                }
                None => {}
            }
        }
        let age = |replica_set: &ReplicaSet| replica_set.metadata.creation_timestamp.clone();
        owned.sort_by_key(|replica_set| (age(replica_set), replica_set.name_any()));
        let (hash, new) = find_new(rollout, status, &owned);
        let mut revisions = Self {
            hash,
            new: None,
            stable: None,
            others: vec![],
            orphans,
            strangers,
        };
        for replica_set in owned {
            let member = Member::of(replica_set);
            if new == Some(replica_set.name_any()) {
                revisions.new = Some(member);
            } else if !status.stable_rs.is_empty() && member.hash == status.stable_rs {
                revisions.stable = Some(member);
            } else {
                revisions.others.push(member);
            }
        }
        revisions
    }

    /// All that there are.
    pub(super) fn all(&self) -> impl Iterator<Item = &Member> {
        self.new.iter().chain(&self.stable).chain(&self.others)
    }

    /// Takes note of a number of pods that is about to be written.
    pub(super) fn resized(&mut self, name: &str, replicas: i32) {
        let all = self
            .new
            .iter_mut()
            .chain(&mut self.stable)
            .chain(&mut self.others);
        for member in all.filter(|member| member.name == name) {
            member.pods.wanted = replicas;
        }
    }

    /// The number that the wanted version must have.
    pub(super) fn new_revision(&self) -> i64 {
        let others = self
            .stable
            .iter()
            .chain(&self.others)
            .map(|member| member.revision);
        let next = others.max().unwrap_or(0).saturating_add(1);
        next.max(self.new.as_ref().map_or(0, |new| new.revision))
    }
}

/// Whether a Rollout, and the workload that it refers to, is as it was when its status was written.
/// Then what is stored counts more than what is computed again, maybe by another version of this
/// program or by Argo's.
pub(super) fn is_unchanged(rollout: &Rollout, status: &RolloutStatus) -> bool {
    let generation = rollout.metadata.generation.map(|number| number.to_string());
    // While the spec counts as invalid, its generation was seen but never followed.
    let invalid = (status.conditions.iter())
        .any(|condition| condition.condition_type == ConditionType::InvalidSpec);
    let workload = rollout.annotations().get(labels::WORKLOAD_GENERATION);
    !invalid
        && generation.as_ref() == Some(&status.observed_generation)
        && workload.map_or("", String::as_str) == status.workload_observed_generation
}

/// The hash of the wanted version and the name of its ReplicaSet. See [`super::hash`] for the order.
fn find_new(
    rollout: &Rollout,
    status: &RolloutStatus,
    owned: &[&Arc<ReplicaSet>],
) -> (String, Option<String>) {
    let by_hash = |hash: &str| {
        let mut owned = owned.iter();
        let found = owned.find(|replica_set| hash_of(replica_set) == Some(hash));
        found.map(|replica_set| (hash.to_owned(), Some(replica_set.name_any())))
    };
    if is_unchanged(rollout, status)
        && let Some(found) = by_hash(&status.current_pod_hash)
    {
        return found;
    }
    let template = rollout.spec.template.json();
    let hash = pod_template_hash(&template, status.collision_count);
    let older = older_pod_template_hash(&template, status.collision_count);
    if let Some(found) = by_hash(&hash).or_else(|| by_hash(&older)) {
        return found;
    }
    let wanted = Meaning::of(&template);
    let is_current =
        |replica_set: &ReplicaSet| hash_of(replica_set) == Some(status.current_pod_hash.as_str());
    let current = owned.iter().filter(|replica_set| is_current(replica_set));
    let mut candidates = current.chain(owned);
    let same = candidates.find(|replica_set| wanted.is_of(replica_set, &template));
    let same = same.and_then(|found| Some((hash_of(found)?.to_owned(), found.name_any())));
    match same {
        Some((hash, name)) => (hash, Some(name)),
        None => (hash, None),
    }
}

/// What a template means, however it is spelled.
struct Meaning(String);

impl Meaning {
    fn of(template: &Value) -> Self {
        Self(comparable(template))
    }

    /// What is written on a ReplicaSet that is made for it.
    fn mark(&self) -> String {
        // To be counted up when `comparable` changes.
        format!("1-{}", mark(&self.0))
    }

    /// Whether a ReplicaSet was made for it. Where no mark tells, its template does.
    fn is_of(&self, replica_set: &ReplicaSet, written: &Value) -> bool {
        let mark = replica_set.annotations().get(labels::TEMPLATE_MARK);
        match mark.filter(|mark| mark.starts_with("1-")) {
            Some(mark) => *mark == self.mark(),
            None => comparable(&own_template(replica_set, written)) == self.0,
        }
    }
}

/// A ReplicaSet's template without what was put into it. `written` is the Rollout's.
pub(super) fn own_template(replica_set: &ReplicaSet, written: &Value) -> Value {
    let mut template = replica_set.spec.template.json();
    strip(&mut template, &replica_set.metadata, written);
    template
}

fn strip(template: &mut Value, metadata: &ObjectMeta, written: &Value) {
    let own = template.pointer_mut("/metadata/labels");
    if let Some(own) = own.and_then(Value::as_object_mut) {
        own.remove(labels::POD_TEMPLATE_HASH);
    }
    let note = metadata.annotations.as_ref();
    let note = note.and_then(|annotations| annotations.get(labels::EPHEMERAL_METADATA));
    ephemeral::strip(template, note);
    anti_affinity::strip(template, written);
}

/// Whether a ReplicaSet that is to be created is the one that has its name already.
#[must_use]
pub fn is_same_version(wanted: &NewReplicaSet, taken: &ReplicaSet) -> bool {
    let mut template = wanted.spec.get("template").cloned().unwrap_or_default();
    strip(&mut template, &wanted.metadata, &Value::Null);
    Meaning::of(&template).is_of(taken, &template)
}

/// The ReplicaSet of a new version, without pods.
pub(super) fn created(
    rollout: &Rollout,
    status: &RolloutStatus,
    hash: &str,
    revision: i64,
) -> NewReplicaSet {
    let spec = &rollout.spec;
    let mut template = spec.template.json();
    set_label(&mut template, hash);
    let template_labels = template.pointer("/metadata/labels").cloned();
    let labels = template_labels.and_then(|labels| serde_json::from_value(labels).ok());
    anti_affinity::inject(&mut template, rollout, hash, &status.stable_rs);
    let role = Role::of_wanted(hash, &status.stable_rs);
    let note = ephemeral::inject(&mut template, &role.metadata(spec));
    let mut annotations = annotations::of_new(rollout);
    let mark = Meaning::of(&spec.template.json()).mark();
    annotations.insert(labels::TEMPLATE_MARK.into(), mark);
    annotations.extend(note.map(|note| (labels::EPHEMERAL_METADATA.to_owned(), note)));
    annotations.insert(labels::REVISION.into(), revision.to_string());
    annotations.insert(labels::DESIRED_REPLICAS.into(), spec.replicas().to_string());
    let mut selector: LabelSelector = spec.selector.clone().unwrap_or_default();
    let hash_label = (labels::POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
    selector
        .match_labels
        .get_or_insert_default()
        .extend([hash_label]);
    let mut fields = Map::new();
    fields.insert("replicas".into(), 0.into());
    fields.insert(
        "selector".into(),
        serde_json::to_value(selector).unwrap_or_default(),
    );
    fields.insert("template".into(), template);
    if spec.min_ready_seconds() > 0 {
        fields.insert("minReadySeconds".into(), spec.min_ready_seconds().into());
    }
    NewReplicaSet {
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", rollout.name_any())),
            namespace: rollout.namespace(),
            labels,
            annotations: Some(annotations),
            owner_references: rollout.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: fields,
    }
}

fn set_label(template: &mut Value, hash: &str) {
    let object = |value: &mut Value| {
        if !value.is_object() {
            *value = json!({});
        }
    };
    object(&mut template["metadata"]);
    object(&mut template["metadata"]["labels"]);
    template["metadata"]["labels"][labels::POD_TEMPLATE_HASH] = hash.into();
}

/// The ReplicaSet that is about to be created, as if it were there.
pub(super) fn planned(created: &NewReplicaSet, hash: &str, revision: i64) -> Member {
    Member {
        name: created.name_any(),
        uid: None,
        resource_version: None,
        hash: hash.to_owned(),
        revision,
        owners: vec![],
        created: None,
        annotations: created.metadata.annotations.clone().unwrap_or_default(),
        min_ready_seconds: 0,
        pods: Pods::default(),
        replicas: 0,
        ready: 0,
        leaving: false,
        up_to_date: true,
        failure: None,
        object: None,
    }
}

/// What the ReplicaSet of the wanted version lacks, as a merge patch; `None` if nothing.
pub(super) fn overdue(
    rollout: &Rollout,
    status: &RolloutStatus,
    new: &Member,
    revision: i64,
) -> Option<Value> {
    let mut annotations = annotations::changed(rollout, &new.annotations);
    if new.revision != revision {
        annotations.insert(labels::REVISION.into(), Some(revision.to_string()));
        if new.revision > 0 {
            let earlier = new.annotations.get(labels::REVISION_HISTORY);
            let history = earlier.map_or_else(
                || new.revision.to_string(),
                |earlier| format!("{earlier},{}", new.revision),
            );
            annotations.insert(labels::REVISION_HISTORY.into(), Some(history));
        }
    }
    let mut patch = json!({});
    if !annotations.is_empty() {
        patch["metadata"] = json!({ "annotations": annotations });
    }
    if new.min_ready_seconds != rollout.spec.min_ready_seconds() {
        patch["spec"] = json!({ "minReadySeconds": rollout.spec.min_ready_seconds() });
    }
    if let Some(affinity) = anti_affinity::overdue(rollout, new, status) {
        json_patch::merge(&mut patch, &affinity);
    }
    patch
        .as_object()
        .is_some_and(|patch| !patch.is_empty())
        .then_some(patch)
}
