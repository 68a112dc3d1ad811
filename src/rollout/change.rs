//! What a decision asks for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use super::canary::PluginCall;
use super::duration::Ended;
use super::revisions::{Member, NewReplicaSet};
use crate::analysis::TemplateKey;
use crate::api::{AnalysisRun, Experiment, RolloutStatus};
use crate::traffic_routers::{Query, Write};

/// One change to the cluster. Making it twice is the same as making it once.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Write `spec.replicas: 1`, which is what its absence means: autoscalers need it.
    DefaultReplicas,
    /// Write these annotations of the Rollout.
    Annotate(BTreeMap<String, String>),
    /// Make the ReplicaSet of a new version, without pods.
    CreateReplicaSet(Box<NewReplicaSet>),
    /// Bring owner, annotations or settings of a ReplicaSet up to date, by this merge patch.
    PatchReplicaSet(Target, Value),
    /// Set the number of pods of a ReplicaSet, by this merge patch.
    Scale(Target, Value),
    /// Delete an old ReplicaSet.
    DeleteReplicaSet(Target),
    /// Let a Service select a version, by this merge patch.
    SwitchService(Target, Value),
    /// Change what divides the traffic. What follows waits for it.
    Route(Box<Write>),
    /// Change labels and annotations of pods, each by its merge patch; in any order.
    PatchPods(Vec<(Target, Value)>),
    /// Evict pods, in this order, as far as disruption budgets allow.
    EvictPods(Vec<Target>),
    /// Set the number of pods of the Deployment that the Rollout refers to, by this merge patch.
    ScaleDeployment(Target, Value),
    /// Start an AnalysisRun.
    StartAnalysis(Box<AnalysisRun>),
    /// Stop an AnalysisRun whose outcome is no longer asked for.
    StopAnalysis(Target),
    /// Delete an AnalysisRun that history need not keep.
    DeleteAnalysis(Target),
    /// Start an Experiment.
    StartExperiment(Box<Experiment>),
    /// Stop an Experiment whose outcome is no longer asked for.
    StopExperiment(Target),
    /// Delete an Experiment that history need not keep.
    DeleteExperiment(Target),
}

/// An object as it was observed: a change to a newer one is a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: Option<String>,
    /// The version that was observed.
    pub resource_version: Option<String>,
}

impl Target {
    /// An object, whatever becomes of it meanwhile.
    pub(super) fn any_version(object: &impl ResourceExt) -> Self {
        Self {
            name: object.name_any(),
            uid: object.uid(),
            resource_version: None,
        }
    }
}

impl From<&Member> for Target {
    fn from(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            uid: member.uid.clone(),
            resource_version: member.resource_version.clone(),
        }
    }
}

/// Something that people may want to know, told as an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether somebody should look.
    pub warning: bool,
    /// One word from a closed set.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

/// What is to be done about a Rollout now.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Made in this order. The first failure ends the pass; the next pass decides afresh.
    pub changes: Vec<Change>,
    /// Written last, so that it never claims a change which was not made.
    pub status: RolloutStatus,
    /// Told after the status was written.
    pub notices: Vec<Notice>,
    /// An update that ends with this status: counted after it was written.
    pub ended: Option<Ended>,
    /// When time alone may change this decision; `None` if only an event can.
    pub wake_at: Option<Timestamp>,
    /// What must be looked up first: without it the rest is not decided yet, and nothing of it may
    /// be done.
    pub wants: BTreeSet<Want>,
}

impl Decision {
    /// Nothing but a status.
    pub(super) fn only(status: RolloutStatus) -> Self {
        Self {
            changes: vec![],
            status,
            notices: vec![],
            ended: None,
            wake_at: None,
            wants: BTreeSet::new(),
        }
    }
}

/// Something that is read only when a decision depends on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// A template of an analysis.
    Template(TemplateKey),
    /// The pods that this label selector picks.
    Pods(String),
    /// What a plugin says.
    Plugin(PluginCall),
    /// Something that a traffic router has to know.
    Router(Query),
}
