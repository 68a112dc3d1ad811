//! What Rollouts and Experiments own, of all that there is in a namespace.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt as _};

use super::RolloutView;
use crate::api::{AnalysisRun, Experiment, Rollout};
use crate::rollout::labels;

/// All objects of a namespace that a Rollout may own, directly or not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Belongings {
    /// All ReplicaSets.
    pub replica_sets: Vec<Arc<ReplicaSet>>,
    /// All pods.
    pub pods: Vec<Arc<Pod>>,
    /// All Experiments.
    pub experiments: Vec<Arc<Experiment>>,
    /// All AnalysisRuns.
    pub analysis_runs: Vec<Arc<AnalysisRun>>,
}

impl Belongings {
    /// The Rollout with these, summed up.
    #[must_use]
    pub fn view_of(&self, rollout: &Rollout) -> RolloutView {
        RolloutView::of(rollout, &self.replica_sets, &self.analysis_runs)
    }

    /// The ReplicaSets of an owner: the latest revision first, then by name.
    pub(super) fn replica_sets_of(&self, owner: &impl Resource) -> Vec<&ReplicaSet> {
        let mut sets: Vec<_> = owned(owner, &self.replica_sets).collect();
        sets.sort_by_key(|set| (std::cmp::Reverse(revision(*set)), set.name_any()));
        sets
    }

    /// The pods of a ReplicaSet, the oldest first.
    pub(super) fn pods_of(&self, set: &ReplicaSet) -> Vec<&Pod> {
        let mut pods: Vec<_> = owned(set, &self.pods).collect();
        pods.sort_by_key(|pod| (created(*pod), pod.name_any()));
        pods
    }

    /// The Experiments of a Rollout: the latest revision first, then by age.
    pub(super) fn experiments_of(&self, owner: &impl Resource) -> Vec<&Experiment> {
        let mut all: Vec<_> = owned(owner, &self.experiments).collect();
        all.sort_by_key(|it| (std::cmp::Reverse(revision(*it)), created(*it)));
        all
    }

    /// The AnalysisRuns of an owner: the latest revision first, then by age, then the last name
    /// first, as Argo's plugin has them.
    pub(super) fn runs_of(&self, owner: &impl Resource) -> Vec<&AnalysisRun> {
        let mut all: Vec<_> = owned(owner, &self.analysis_runs).collect();
        all.sort_by_key(|it| {
            let name = std::cmp::Reverse(it.name_any());
            (std::cmp::Reverse(revision(*it)), created(*it), name)
        });
        all
    }
}

fn owned<'a, K: Resource>(owner: &impl Resource, all: &'a [Arc<K>]) -> impl Iterator<Item = &'a K> {
    let uid = owner.meta().uid.clone().unwrap_or_default();
    let is_owned = move |object: &&K| {
        let mut owners = object.owner_references().iter();
        owners.any(|it| it.uid == uid)
    };
    all.iter().map(|object| &**object).filter(is_owned)
}

/// The revision that an object is of; 0 without one.
pub(super) fn revision(object: &impl Resource) -> i64 {
    let annotation = object.annotations().get(labels::REVISION);
    annotation.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn created(object: &impl Resource) -> Option<Time> {
    object.meta().creation_timestamp.clone()
}
