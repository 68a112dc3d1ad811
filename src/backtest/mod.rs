//! A template over history: the runs that would have been started, what each would have measured,
//! and what that says of the template. Pure.
//!
//! ```text
//! Subject ─► replay ─ misses ─► Plan ─ Fetch ─► (the shell asks) ─► History ─┐
//!              ▲                                                             │
//!              └──────────────── answers as of an instant query ◄────────────┘
//!              └► Outcomes ─► Report ─► text, JSON, HTML
//! ```
//!
//! A run is replayed by the controller's own decisions and read by the provider's own reader: the
//! history stands in for the network only. What a range query brings is cut into the answers that
//! instant queries would have got; what cannot be had that way is asked at each time.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod chart;
mod cut;
mod history;
mod html;
mod incidents;
mod promql;
mod replay;
mod report;
mod run;
mod statistics;
mod suggest;
#[cfg(test)]
mod tests;
mod text;

pub use history::{Fetch, Unanswered};
pub use incidents::{Incident, Unreadable};
pub use report::Report;
pub use run::{Backtest, Refused, Step, Subject, Wanted};
