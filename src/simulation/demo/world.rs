//! All that runs in the demo.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::objects::{NAME, NAMESPACE, PREVIEW};
use super::{Error, Strategy};
use crate::api::crds;
use crate::apiserver::Server;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::controllers::analysis::{DEFAULT_CONCURRENCY, Sources};
use crate::controllers::{self, Doors, Setup};
use crate::http::{Http, LinkLocal};
use crate::metric_providers::Settings;
use crate::simulation::prometheus::Prometheus;
use crate::simulation::workload::{
    Behind, Entrance, Load, PodSelection, Workload, follow_entrance, follow_pods,
};
use crate::simulation::{self, Options};

/// Requests a second that testers send to what is only tried: enough for a rate over some seconds.
const TESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(15).expect("15 is not 0");

/// How long all that runs may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where the analyses get their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricSource {
    /// A Prometheus that is started for the demo: its program.
    Program(PathBuf),
    /// A Prometheus that runs already: its URL.
    At(String),
    /// What the workload tells about itself.
    Workload,
}

/// A cluster with controllers, a workload under load and what measures it.
#[derive(Debug)]
pub struct World {
    pub(super) strategy: Strategy,
    pub(super) source: MetricSource,
    pub(super) cluster: Cluster,
    pub(super) workload: Arc<Workload>,
    /// What users send.
    pub(super) load: Arc<Load>,
    /// The pods that users reach.
    pub(super) behind: watch::Receiver<Behind>,
    pub(super) began: Instant,
    server: Server,
    prometheus: Option<Prometheus>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl World {
    /// Starts everything; nothing is released yet.
    pub async fn start(strategy: Strategy, source: MetricSource) -> Result<Self, Error> {
        let clock = Clock::system();
        let server = Server::new(clock.clone());
        register(server.client()).await?;
        let workload = Arc::new(Workload::start().await?);
        let (users, behind) = watch::channel(Behind::default());
        let load = Load::new(&workload, Load::DEFAULT_PER_SECOND)?.through(behind.clone());
        let prometheus = match &source {
            MetricSource::Program(program) => {
                Some(Prometheus::start(program, &workload.targets_url()).await?)
            }
            MetricSource::At(_) | MetricSource::Workload => None,
        };
        let world = Self {
            cluster: Cluster::new(server.client_as("verdict"), clock),
            strategy,
            source,
            workload,
            load: Arc::new(load),
            behind,
            began: Instant::now(),
            server,
            prometheus,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        world.run(users)?;
        Ok(world)
    }

    fn run(&self, users: watch::Sender<Behind>) -> Result<(), Error> {
        let stop = || self.stop.clone();
        let clock = self.cluster.clock().clone();
        let client = self.server.client_as("simulation");
        self.tasks.spawn(simulation::run(
            client.clone(),
            clock,
            Options::default(),
            stop(),
        ));
        let (workload, stopped) = (self.workload.clone(), stop());
        self.tasks.spawn(async move {
            let selection = PodSelection {
                namespace: NAMESPACE.to_owned(),
                label_selector: format!("app={NAME}"),
            };
            follow_pods(client, &selection, &workload, stopped).await;
        });
        self.send(Arc::clone(&self.load), self.strategy.entrance(), users);
        if self.strategy == Strategy::BlueGreen {
            let (testers, behind) = watch::channel(Behind::default());
            let tests = Load::new(&self.workload, TESTS_PER_SECOND)?.through(behind);
            self.send(Arc::new(tests), Entrance::Service(PREVIEW), testers);
        }
        let setup = Setup::new(self.cluster.clone());
        let sources = Sources {
            doors: Doors {
                http: Http::new(LinkLocal::Refused)?,
                jobs: self.cluster.clone(),
            },
            settings: Settings::default(),
            concurrency: DEFAULT_CONCURRENCY,
        };
        self.tasks.spawn(controllers::run(setup, sources, stop()));
        Ok(())
    }

    /// Sends a load in by an entrance.
    fn send(&self, load: Arc<Load>, entrance: Entrance, behind: watch::Sender<Behind>) {
        let (client, stopped) = (self.server.client_as("simulation"), self.stop.clone());
        self.tasks.spawn(async move {
            follow_entrance(client, NAMESPACE, entrance, behind, stopped).await;
        });
        let stopped = self.stop.clone();
        self.tasks.spawn(async move { load.run(stopped).await });
    }

    /// The API server of this world, to be served on a port.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Where the analyses get their values.
    #[must_use]
    pub fn source(&self) -> &MetricSource {
        &self.source
    }

    /// Where a Prometheus finds the pods, in the format of `http_sd_configs`.
    #[must_use]
    pub fn targets_url(&self) -> String {
        self.workload.targets_url()
    }

    /// Where Prometheus answers; empty without one.
    #[must_use]
    pub fn prometheus_url(&self) -> &str {
        match (&self.source, &self.prometheus) {
            (MetricSource::At(url), _) => url,
            (MetricSource::Program(_) | MetricSource::Workload, Some(prometheus)) => {
                prometheus.url()
            }
            (MetricSource::Program(_) | MetricSource::Workload, None) => "",
        }
    }

    /// Ends everything in good order.
    pub async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(FAREWELL, self.tasks.wait()).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn register(client: Client) -> Result<(), Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    for crd in crds::all() {
        let created = api.create(&PostParams::default(), &crd).await;
        created.map_err(|error| Error::Object {
            what: "a CustomResourceDefinition",
            why: error.to_string(),
        })?;
    }
    Ok(())
}
