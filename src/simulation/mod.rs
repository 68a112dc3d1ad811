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
//! Served: ReplicaSets, Deployments, Jobs, nodes and pods, Endpoints and EndpointSlices of
//! Services, what every namespace has, owner references in all three ways of deletion for all kinds
//! (custom ones too), and the end of namespaces. Events tell of it. HorizontalPodAutoscalers are
//! stored and not acted on.
//!
//! What a pod does is scripted: [`script`] tells how.

mod act;
mod affinity;
mod change;
mod claim;
mod decide;
pub mod demo;
mod deployment;
mod endpoint_slices;
mod endpoints;
mod garbage;
mod graph;
mod hash;
mod job;
mod kubelet;
mod loopback;
mod names;
mod namespaces;
mod narration;
mod nodes;
mod patience;
mod pods;
pub mod prometheus;
mod queue;
mod ranking;
mod recorder;
mod replica_set;
mod run;
mod scheduler;
pub mod script;
mod view;
mod watches;
pub mod workload;

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
pub use nodes::node;
pub use script::{Script, Scripting};

/// What the cluster has, and what pods do that no annotation scripts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time from a pod's start until its containers run, unless it is ready sooner. Default: one
    /// second.
    pub starts_after: Duration,
    /// Time from a pod's start until it is ready. Default: one second.
    pub ready_after: Duration,
    /// Time that a pod runs whose restart policy lets it end. Default: one second.
    pub runs_for: Duration,
    /// Nodes that are registered at the start unless there are nodes of these names. Default:
    /// three that have plenty of everything.
    pub nodes: Vec<Node>,
    /// Whether Events tell what happens, as `kubectl describe` shows it. Default: yes.
    pub events: bool,
    /// What a story says of pods, beyond their annotations. Default: nothing.
    pub scripting: Option<Scripting>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            starts_after: Duration::from_secs(1),
            ready_after: Duration::from_secs(1),
            runs_for: Duration::from_secs(1),
            nodes: ["node-1", "node-2", "node-3"]
                .map(|name| node(name, &[]))
                .into(),
            events: true,
            scripting: None,
        }
    }
}

/// Plays the rest of a cluster until `shutdown`.
pub async fn run(client: Client, clock: Clock, options: Options, shutdown: CancellationToken) {
    run::Simulation::new(client, clock, options)
        .run(shutdown)
        .await;
}
