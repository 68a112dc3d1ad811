//! Observe, decide, act: one file per kind.

pub mod analysis;
mod measure;
mod passes;
mod roll;
pub mod rollout;
mod scope;

pub use measure::{Doors, measure, remove_orphans};
pub use scope::{INSTANCE_ID_LABEL, Scope, watch};

use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::telemetry::{Metrics, Readiness};

/// What every controller needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The cluster whose objects are reconciled.
    pub cluster: Cluster,
    /// Which of its objects.
    pub scope: Scope,
    /// Where passes are counted.
    pub metrics: Metrics,
    /// Told when the caches are filled.
    pub readiness: Readiness,
}

/// Runs all controllers until `shutdown`.
pub async fn run(setup: Setup, sources: analysis::Sources, shutdown: CancellationToken) {
    let rollouts = rollout::run(
        setup.clone(),
        rollout::DEFAULT_CONCURRENCY,
        shutdown.clone(),
    );
    tokio::join!(rollouts, analysis::run(setup, sources, shutdown));
}
