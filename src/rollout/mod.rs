//! Rollouts: which ReplicaSet gets how many pods, and which step is next.
//!
//! ```text
//! Observed → plan (the spec, understood) → revisions (who is who)
//!          → canary or blue_green (pods, steps, Services) ↔ analyses (their runs)
//!          → status → Decision
//! ```
#![deny(clippy::wildcard_enum_match_arm)]

mod analyses;
mod annotations;
mod anti_affinity;
mod blue_green;
mod canary;
mod canonical;
mod change;
mod course;
mod decide;
mod defaults;
mod duration;
mod ephemeral;
mod hash;
mod history;
pub mod operations;
mod phase;
mod plan;
mod problems;
pub(crate) mod quantity;
mod registration;
mod replica_set;
mod replicas;
mod restart;
mod revisions;
mod routed;
mod scale_down;
mod scaling;
mod services;
mod status;
#[cfg(test)]
mod tests;
mod waiting;
mod workload;

pub use crate::api::labels;
pub use analyses::awaited_runs;
pub use canary::{PluginAnswer, PluginCall};
pub use change::{Change, Decision, Notice, Target, Want};
pub use decide::{Observed, Obstacle, creation_failed, decide, hindered};
pub use duration::Ended;
pub use hash::{pod_template_hash, steps_hash};
pub use phase::seen;
pub use problems::problems;
pub use replica_set::{ReplicaSet, ReplicaSetSpec};
pub use replicas::{Limits, Pods, Sizes, Split, ideal_split};
pub use revisions::{NewReplicaSet, is_same_version};
pub use routed::{CanarySize, Routed, Weights};
pub use services::{managed_by, named_objects, named_services, release};
pub use workload::{Workload, WorkloadKind};
