//! A workload to analyse: versions that answer real HTTP on loopback as scripted, with metrics.
//!
//! ```text
//! pods ── follow_pods ──▶ Workload ──▶ instances  /  /metrics ◀── Prometheus
//!                            │             ▲
//!            /stats /targets ┘             └──── Load, round robin over the endpoints, or over
//!                                                 those behind a Service or an Ingress
//! ```

mod behaviour;
mod behind;
mod instance;
mod load;
mod pods;
mod service;
mod window;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use behaviour::{Behaviour, CAPACITY, ERROR_RATE, InvalidBehaviour, LATENCY};
pub use behind::{Behind, Entrance, follow_entrance};
pub use instance::MetricLabels;
pub use load::{Load, Seen};
pub use pods::{PodSelection, follow_pods};
pub use window::{LONGEST_WINDOW, Summary};

use instance::Instance;
use window::Window;

/// Why the workload cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No loopback port for a server.
    #[error("cannot listen for {what}: {source}")]
    Listen {
        /// Who wanted to listen.
        what: String,
        /// Why it cannot.
        source: io::Error,
    },
    /// No client to send the load with.
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
    /// Labels that metrics cannot carry.
    #[error("cannot make metrics: {0}")]
    Metrics(prometheus::Error),
}

/// An instance that takes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name of the instance, which is its pod's.
    pub name: String,
    /// Where it answers.
    pub address: SocketAddr,
    /// What its metrics are labelled with.
    pub labels: MetricLabels,
}

/// The running instances, and one endpoint that tells about all of them. All ends when it is
/// dropped.
#[derive(Debug)]
pub struct Workload {
    instances: Mutex<BTreeMap<String, Instance>>,
    endpoints: watch::Sender<Arc<[Endpoint]>>,
    statistics: Arc<Statistics>,
    address: SocketAddr,
    _server: DropGuard,
}

impl Workload {
    /// Starts without instances; `/stats` and `/targets` answer from now on.
    pub async fn start() -> Result<Self, Error> {
        let listen = |source| Error::Listen {
            what: "the workload".to_owned(),
            source,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (endpoints, current) = watch::channel(Arc::from([]));
        let statistics = Arc::new(Statistics::default());
        let stop = CancellationToken::new();
        let router = service::router(statistics.clone(), current);
        tokio::spawn({
            let stop = stop.clone();
            async move {
                // Answers at once or never: nothing is worth waiting for at the end.
                stop.run_until_cancelled(axum::serve(listener, router).into_future())
                    .await
            }
        });
        Ok(Self {
            instances: Mutex::default(),
            endpoints,
            statistics,
            address,
            _server: stop.drop_guard(),
        })
    }

    /// Sees to it that an instance of this name runs with these labels and this behaviour.
    ///
    /// A running one keeps its address and counters and only changes its behaviour, unless its
    /// labels are others.
    pub async fn start_instance(
        &self,
        name: &str,
        labels: MetricLabels,
        behaviour: Behaviour,
    ) -> Result<SocketAddr, Error> {
        if let Some(running) = held(&self.instances).get(name)
            && *running.labels() == labels
        {
            running.set_behaviour(behaviour);
            return Ok(running.address);
        }
        let instance = Instance::start(name, labels, behaviour, self.statistics.clone()).await?;
        let address = instance.address;
        let mut instances = held(&self.instances);
        instances.insert(name.to_owned(), instance);
        self.publish(&instances);
        Ok(address)
    }

    /// Takes an instance out of the endpoints; it finishes what it is answering. False if there
    /// is none of this name.
    pub fn stop_instance(&self, name: &str) -> bool {
        let mut instances = held(&self.instances);
        let stopped = instances.remove(name).is_some();
        if stopped {
            self.publish(&instances);
        }
        stopped
    }

    fn publish(&self, instances: &BTreeMap<String, Instance>) {
        let endpoints = instances.iter().map(|(name, instance)| Endpoint {
            name: name.clone(),
            address: instance.address,
            labels: instance.labels().clone(),
        });
        self.endpoints.send_replace(endpoints.collect());
    }

    /// The instances that take requests, by name.
    #[must_use]
    pub fn endpoints(&self) -> Arc<[Endpoint]> {
        self.endpoints.borrow().clone()
    }

    /// Tells of every change of the endpoints.
    #[must_use]
    pub fn watch_endpoints(&self) -> watch::Receiver<Arc<[Endpoint]>> {
        self.endpoints.subscribe()
    }

    /// What a version answered during the last `window`, at most [`LONGEST_WINDOW`].
    #[must_use]
    pub fn summary(&self, pod_template_hash: &str, window: Duration) -> Summary {
        self.statistics.summary(pod_template_hash, window)
    }

    /// `GET /stats?version=<pod-template-hash>&window=10s`: what a version answered lately.
    #[must_use]
    pub fn stats_url(&self) -> String {
        format!("http://{}/stats", self.address)
    }

    /// `GET /targets`: the instances, in the format of Prometheus' `http_sd_configs`.
    #[must_use]
    pub fn targets_url(&self) -> String {
        format!("http://{}/targets", self.address)
    }
}

/// What all versions answered lately, by pod template hash.
#[derive(Debug, Default)]
struct Statistics {
    windows: Mutex<BTreeMap<String, Window>>,
}

impl Statistics {
    fn record(&self, pod_template_hash: &str, latency: Duration, failed: bool) {
        let mut windows = held(&self.windows);
        let now = Instant::now();
        if let Some(window) = windows.get_mut(pod_template_hash) {
            window.record(now, latency, failed);
        } else {
            let mut window = Window::default();
            window.record(now, latency, failed);
            windows.insert(pod_template_hash.to_owned(), window);
        }
    }

    fn summary(&self, pod_template_hash: &str, width: Duration) -> Summary {
        held(&self.windows)
            .get(pod_template_hash)
            .map(|window| window.summary(Instant::now(), width))
            .unwrap_or_default()
    }
}

/// What a mutex guards. Guards here are held for single assignments, so that a holder's panic
/// leaves nothing half done.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
