//! Observe, decide, act: one file per kind.

mod scope;

pub use scope::{INSTANCE_ID_LABEL, Scope, watch};
