//! Observe, decide, act: one file per kind.

mod scope;

pub use scope::Scope;
