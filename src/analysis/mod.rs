//! AnalysisRuns: from templates and arguments to measurements that are due, to a verdict. Pure.
//!
//! ```text
//! Templates ─ merge ─► AnalysisRunSpec ─ Prepared::new ─► Prepared ─┐
//!                                                                   ├─ decide ─► Decision
//! Task ─ Prepared::resolve ─► Resolved ─ measured ─► Measured ──────┘      (tasks, status, …)
//! ```
//!
//! The shell does a decision's tasks: it reads the Secrets that [`Prepared::secrets`] names, asks
//! the source of the metric that [`Prepared::resolve`] gives, turns its answer into a measurement
//! with [`Resolved::measured`] and decides again.
#![deny(clippy::wildcard_enum_match_arm)]

mod args;
mod assemble;
mod assess;
mod by_hand;
mod conditions;
mod decide;
mod event;
mod examine;
mod expire;
mod field_ref;
#[cfg(test)]
mod laws;
mod measure;
mod merge;
mod only;
mod placeholder;
mod plan;
mod prepare;
mod problem;
mod schedule;
#[cfg(test)]
mod scripted;
mod secrets;
mod stopped;
mod templates;
#[cfg(test)]
mod timelines;
mod validate;
mod verdict;

pub use assemble::{Assembled, Written, assemble};
pub use assess::phase_after;
pub use by_hand::{ByHand, ByHandError, run_from_template};
pub use decide::{Decision, JobRef, Observed, Task, decide};
pub use event::RunEvent;
pub use examine::{Examined, Unset, examine};
pub use field_ref::field;
pub use measure::{Measured, Span};
pub use merge::{Merged, Wanted, merge};
pub use only::only;
pub use plan::{ErrorWait, Limits, MetricPlan};
pub use prepare::{Prepared, Resolved};
pub use problem::Invalid;
pub use secrets::{Redacted, Redactor, SecretKey, Secrets};
pub use stopped::stopped;
pub use templates::{TemplateKey, Templates};
pub use validate::endless;
