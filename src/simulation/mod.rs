//! The rest of a cluster in memory: what the controller manager, the scheduler and the kubelets of a
//! real cluster do, against any API server.
//!
//! ```text
//! watches ──▶ view ──▶ queue ──▶ decide (pure, one file per kind) ──▶ change ──▶ API server
//!               ▲                                                        │
//!               └───────────────────── answers ──────────────────────────┘
//! ```
//!
//! There is one watch per kind and one loop. Own writes are taken into the view as they are
//! answered, so that a decision never rests on less than what the last one did. Nothing polls:
//! when nothing changes and no timer is due, no request is made.
//!
//! Served: ReplicaSets, Deployments, Jobs, pods, Endpoints of Services, owner references in all
//! three ways of deletion for all kinds (custom ones too), and the end of namespaces.
//!
//! # What a pod does
//!
//! By default a pod gets a node at once and is running and ready after [`Options::ready_after`]; one
//! whose restart policy lets it end (a Job's) ends well after [`Options::runs_for`]. Annotations on
//! the pod, so usually in a template, script another course; they may be changed at any time.
//! Durations are written `5s`, `1m30s`, `500ms`.
//!
//! | annotation | meaning |
//! | --- | --- |
//! | `simulation.verdict.dev/ready-after: 5s` | time from its start until it is running and ready |
//! | `simulation.verdict.dev/never-ready: "true"` | runs, but is not ready |
//! | `simulation.verdict.dev/image-pull-error: "true"` | waits with `ImagePullBackOff` |
//! | `simulation.verdict.dev/unschedulable: "true"` | gets no node |
//! | `simulation.verdict.dev/runs-for: 30s` | its containers end after that time; with the restart policy `Always` they crash and start again with the kubelet's back-off |
//! | `simulation.verdict.dev/exit-code: "1"` | with which they end; 0 without it |
//! | `simulation.verdict.dev/stops-after: 2s` | time from its deletion until it is gone, at most its grace period; none without it |
//!
//! Annotations that make no sense hold the pod in `Pending` and are named in its `PodScheduled`
//! condition.

mod change;
pub mod demo;
mod deployment;
mod endpoints;
mod garbage;
mod graph;
mod hash;
mod job;
mod kubelet;
mod loopback;
mod pods;
pub mod prometheus;
mod queue;
mod replica_set;
mod run;
mod script;
mod view;
mod watches;
pub mod workload;

use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// What pods do that no annotation scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Time from a pod's start until it is running and ready. Default: one second.
    pub ready_after: Duration,
    /// Time that a pod runs whose restart policy lets it end. Default: one second.
    pub runs_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ready_after: Duration::from_secs(1),
            runs_for: Duration::from_secs(1),
        }
    }
}

/// Plays the rest of a cluster until `shutdown`.
pub async fn run(client: Client, clock: Clock, options: Options, shutdown: CancellationToken) {
    run::Simulation::new(client, clock, options)
        .run(shutdown)
        .await;
}
