//! Rollouts: which ReplicaSet gets how many pods, and which step is next.
#![deny(clippy::wildcard_enum_match_arm)]

mod canonical;
mod defaults;
mod hash;
pub mod labels;
pub mod operations;
mod quantity;
mod replicas;

pub use defaults::same_template;
pub use hash::{pod_template_hash, steps_hash};
pub use replicas::{Limits, Pods, Sizes, Split, ideal_split};
