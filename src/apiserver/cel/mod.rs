//! CEL rules of CustomResourceDefinitions: `x-kubernetes-validations`.
//!
//! ```text
//! compile ─→ program ─→ checker ─→ signatures     when a definition is registered
//!    │          │  └──→ cost, sizes └→ unify, types
//! rules ────────┴─→ values, functions, budget     when an object is written
//! ```
//!
//! The `cel` crate parses and evaluates; what Kubernetes adds is here: types from schemas, its
//! libraries, transitions, and limits.

mod budget;
mod checker;
mod compile;
mod cost;
mod former;
mod functions;
mod macros;
mod names;
mod program;
mod rules;
mod signatures;
mod sizes;
mod types;
mod unify;
mod values;

pub(super) use compile::compile;
pub(super) use rules::{Rules, check};

/// What to say about a definition whose rules are not evaluated: nothing, they are.
pub(super) fn shortfalls(_definition: &serde_json::Value) -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests;
