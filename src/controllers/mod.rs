//! Observe, decide, act: one file per kind.

pub mod analysis;
pub mod leader;
mod local;
mod measure;
mod passes;
mod processes;
mod roll;
pub mod rollout;
mod scope;

pub use local::{Local, LocalJobs, Progress};
pub use measure::{Doors, Jobs, measure, remove_orphans};
pub use processes::Processes;
pub use scope::{INSTANCE_ID_LABEL, Scope, watch};

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::aws::Aws;
use crate::cluster::Cluster;
use crate::plugins::Plugins;
use crate::telemetry::{Metrics, Readiness};
use crate::traffic_routers::Versions;

use leader::Leadership;

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
    /// Whether passes may be made.
    pub leadership: Leadership,
    /// Of which versions the objects of traffic routers are.
    pub versions: Arc<Versions>,
    /// Whom steps and the traffic may be left to.
    pub plugins: Plugins,
    /// The API of AWS' load balancers, where weights are verified.
    pub aws: Option<Aws>,
}

impl Setup {
    /// Controllers of all of a cluster, and the only ones there.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            scope: Scope::default(),
            metrics: Metrics::new(),
            readiness: Readiness::default(),
            leadership: Leadership::undisputed(),
            versions: Arc::default(),
            plugins: Plugins::default(),
            aws: None,
        }
    }

    /// Whether a pass may be made now. One that is left out is made when this process leads.
    fn may_act(&self) -> bool {
        self.leadership.is_held(self.cluster.clock().now())
    }
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
