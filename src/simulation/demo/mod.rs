//! The demo: a whole world in one process, in which good and bad versions are released.
//!
//! ```text
//! Play ── releases ──▶ API server ◀── controllers, simulation
//!   ▲                     │ pods            │ queries
//!   └── watches ──────────┤                 ▼
//!                         ▼          Prometheus or /stats
//!        Load ──HTTP──▶ Workload ◀──────────┘
//!          └─ the pods behind the Service or the Ingress that users reach
//! ```

mod acts;
mod objects;
mod play;
mod traffic;
mod watched;
mod world;

pub use acts::play;
pub use play::{Ending, Tell, watch_on};
pub use world::{MetricSource, World};

use crate::cluster;
use crate::simulation::{prometheus, workload};

/// How the demo's Rollout replaces one version by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Step by step; both versions share the users as they share the pods.
    Canary,
    /// Step by step; an Ingress gives both versions their shares of the users.
    WeightedCanary,
    /// At once; the new version is tried before and after.
    BlueGreen,
}

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The workload or its load could not be started.
    #[error(transparent)]
    Workload(#[from] workload::Error),
    /// Prometheus could not be started.
    #[error(transparent)]
    Prometheus(#[from] prometheus::Error),
    /// No way out to metric sources.
    #[error(transparent)]
    Http(#[from] crate::http::Error),
    /// No client for the Prometheus that was named.
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
    /// The embedded cluster did not do what was asked.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// An object of the demo could not be made: a mistake in the program.
    #[error("cannot make {what}: {why}")]
    Object {
        /// What was to be made.
        what: &'static str,
        /// Why it cannot.
        why: String,
    },
    /// Something did not come about.
    #[error("gave up after {seconds} s, waiting for {what}; the last that was seen: {last}")]
    TimedOut {
        /// How long the demo had run.
        seconds: u64,
        /// What did not come about.
        what: String,
        /// What the Rollout said last.
        last: String,
    },
}
