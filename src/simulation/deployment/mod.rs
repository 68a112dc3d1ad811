//! The Deployment controller: a ReplicaSet for each template, and the pods moved from the old ones
//! to the new one within the bounds that the strategy gives.

mod bounds;
mod conditions;
mod revisions;
mod scaling;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
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
    /// Those that it manages and those that it may adopt.
    pub(super) replica_sets: &'a [Arc<ReplicaSet>],
    /// Whether a ReplicaSet has a pod that may still run, even one that is about to stop.
    pub(super) runs_pods: &'a dyn Fn(&ReplicaSet) -> bool,
    /// Whether there is a ReplicaSet of this name.
    pub(super) is_taken: &'a dyn Fn(&str) -> bool,
    /// Why a ReplicaSet could not be made or deleted just now.
    pub(super) refusal: Option<String>,
    pub(super) now: Timestamp,
}

/// Decides the next move of a Deployment.
pub(super) fn decide(observed: &Observed) -> Decision {
    let deployment = observed.deployment;
    let Some(spec) = &deployment.spec else {
        return Decision::default();
    };
    let (members, mut changes) = claim(deployment, spec, observed.replica_sets);
    let old = deployment.status.clone().unwrap_or_default();
    let collisions = old.collision_count.unwrap_or_default();
    let hash = revisions::template_hash(&spec.template, collisions);
    let family = Family::of(spec, &hash, members);
    if deployment.metadata.deletion_timestamp.is_some() {
        let new = conditions::counts(deployment, &old, &family);
        return Decision::now(Change::status(deployment, &old, &new).into_iter().collect());
    }
    let (moves, found) = advance(observed, spec, &family, &hash);
    changes.extend(moves);
    let found = found.unless(observed.refusal.as_ref());
    let (mut new, wake_at) = conditions::status(deployment, spec, &family, &found, observed.now);
    if is_taken(observed, &family, &hash) {
        new.collision_count = Some(collisions + 1);
    } else if conditions::is_complete(spec, &new) || spec.paused == Some(true) {
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
    family.new.is_none() && (observed.is_taken)(&name)
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
    } else if bounds::is_recreate(spec) {
        recreate(observed, spec, family)
    } else {
        scaling::roll(spec, family)
    };
    let waits = paused
        || is_taken(observed, family, hash)
        || (bounds::is_recreate(spec) && old_pods_run(observed, family));
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

/// Whether a pod of an old ReplicaSet may still run.
fn old_pods_run(observed: &Observed, family: &Family) -> bool {
    let mut old = family.old.iter();
    old.any(|set| revisions::wanted(set) > 0 || (observed.runs_pods)(set))
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
