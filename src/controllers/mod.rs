//! Observe, decide, act: one file per kind.

mod measure;
mod scope;

pub use measure::{Doors, collect_garbage, measure, remove_orphans};
pub use scope::{INSTANCE_ID_LABEL, Scope, watch};
