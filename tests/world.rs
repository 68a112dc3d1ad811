//! A cluster in memory with our kinds in it, and scripted metric sources: where stories take place.
//!
//! Under a paused clock nothing here waits on a socket, so an hour passes in a millisecond.

pub(crate) mod release;
pub(crate) mod routers;
pub(crate) mod trouble;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use verdict::apiserver::Server;
use verdict::clock::Clock;
use verdict::cluster::{Cluster, Namespaced};
use verdict::controllers::Doors;
use verdict::controllers::analysis::Sources;
use verdict::controllers::{self, Scope, Setup};
use verdict::http::Http;
use verdict::metric_providers::Settings;
use verdict::plugins::Plugins;
use verdict::simulation::{self, Options};
use verdict::telemetry::Readiness;

/// The namespace of all stories.
pub(crate) const NAMESPACE: &str = "default";

/// How the controllers' requests are known to the server.
pub(crate) const PROGRAM: &str = "verdict";

/// What a metric source answers: given the request's path, query and body.
pub(crate) type Answer = dyn Fn(&str) -> (StatusCode, Value) + Send + Sync;

/// A cluster with its workload controllers.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    /// Path, query and body of each question that metric sources were asked.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    sources: Router,
    options: Options,
    /// The simulation stops when it is dropped.
    simulation: DropGuard,
}

/// Controllers that run until they are killed or stopped.
pub(crate) struct Running {
    /// What the controllers still wait for.
    pub(crate) readiness: Readiness,
    task: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Running {
    fn begin<F: Future<Output = ()> + Send + 'static>(
        readiness: Readiness,
        controllers: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(controllers(shutdown.clone()));
        Self {
            readiness,
            task,
            shutdown,
        }
    }

    /// Ends at once, as when the machine loses power.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Ends orderly.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

impl World {
    /// A new cluster whose metric sources answer as `answer` says.
    pub(crate) async fn new(
        answer: impl Fn(&str) -> (StatusCode, Value) + Send + Sync + 'static,
    ) -> Self {
        Self::defined_by(verdict::api::crds::all(), answer).await
    }

    /// A new cluster in which nothing is measured.
    pub(crate) async fn without_sources() -> Self {
        Self::new(|_| (StatusCode::NOT_FOUND, Value::Null)).await
    }

    /// A new cluster in which nothing is measured, with these nodes and pods that do this.
    pub(crate) async fn simulated_with(options: Options) -> Self {
        let kinds = verdict::api::crds::all();
        Self::built(kinds, options, |_| (StatusCode::NOT_FOUND, Value::Null)).await
    }

    /// A new cluster whose custom kinds are not as we define them.
    pub(crate) async fn defined_by(
        kinds: Vec<CustomResourceDefinition>,
        answer: impl Fn(&str) -> (StatusCode, Value) + Send + Sync + 'static,
    ) -> Self {
        // Most stories do not ask what is told of workloads.
        let options = Options {
            events: false,
            ..Options::default()
        };
        Self::built(kinds, options, answer).await
    }

    async fn built(
        kinds: Vec<CustomResourceDefinition>,
        options: Options,
        answer: impl Fn(&str) -> (StatusCode, Value) + Send + Sync + 'static,
    ) -> Self {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(start);
        let server = Server::new(clock.clone());
        let client = server.client();
        let definitions = Api::<CustomResourceDefinition>::all(client.clone());
        for definition in kinds {
            definitions
                .create(&PostParams::default(), &definition)
                .await
                .unwrap();
        }
        let asked = Arc::new(Mutex::new(Vec::new()));
        Self {
            simulation: simulate(&server, &clock, &options),
            options,
            sources: scripted(Arc::new(answer), Arc::clone(&asked)),
            server,
            client,
            clock,
            asked,
        }
    }

    /// Stops the simulation and starts another that knows nothing.
    pub(crate) fn restart_simulation(&mut self) {
        self.simulation = simulate(&self.server, &self.clock, &self.options);
    }

    /// Starts the controllers.
    pub(crate) fn start(&self) -> Running {
        self.start_in(Scope::default())
    }

    /// Starts controllers that are responsible for `scope`.
    pub(crate) fn start_in(&self, scope: Scope) -> Running {
        let setup = self.setup(scope);
        let sources = self.sources(&setup);
        let readiness = setup.readiness.clone();
        Running::begin(readiness, |stop| controllers::run(setup, sources, stop))
    }

    /// Starts the controller of Rollouts alone: the story gives the verdicts.
    pub(crate) fn start_rollouts(&self) -> Running {
        Self::start_rollouts_with(self.setup(Scope::default()))
    }

    /// Starts the controller of Rollouts alone, set up otherwise.
    pub(crate) fn start_rollouts_with(setup: Setup) -> Running {
        let concurrency = controllers::rollout::DEFAULT_CONCURRENCY;
        Running::begin(setup.readiness.clone(), |stop| {
            controllers::rollout::run(setup, concurrency, stop)
        })
    }

    fn setup(&self, scope: Scope) -> Setup {
        Setup {
            scope,
            ..self.setup_as(PROGRAM)
        }
    }

    /// The scripted metric sources, and Jobs in this cluster.
    pub(crate) fn sources(&self, setup: &Setup) -> Sources {
        Sources {
            doors: Doors {
                http: Http::in_process(self.sources.clone()),
                jobs: setup.cluster.clone(),
            },
            settings: Settings::default(),
            concurrency: controllers::analysis::DEFAULT_CONCURRENCY,
        }
    }

    /// Controllers that the server knows by this name.
    pub(crate) fn setup_as(&self, program: &str) -> Setup {
        let cluster = Cluster::new(self.server.client_as(program), self.clock.clone());
        let http = Http::in_process(self.sources.clone());
        Setup {
            plugins: Plugins::new(cluster.clone(), NAMESPACE, http),
            ..Setup::new(cluster)
        }
    }

    pub(crate) fn api<K: Namespaced>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) async fn create<K: Namespaced>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).unwrap();
        self.api()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    pub(crate) async fn get<K: Namespaced>(&self, name: &str) -> K {
        self.api().get(name).await.unwrap()
    }

    pub(crate) async fn list<K: Namespaced>(&self) -> Vec<K> {
        self.api().list(&ListParams::default()).await.unwrap().items
    }

    pub(crate) async fn merge<K: Namespaced>(&self, name: &str, patch: Value) -> K {
        let patch = Patch::Merge(patch);
        self.api()
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap()
    }

    pub(crate) async fn delete<K: Namespaced>(&self, name: &str, policy: PropagationPolicy) {
        let params = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        self.api::<K>().delete(name, &params).await.unwrap();
    }

    pub(crate) async fn names<K: Namespaced>(&self) -> Vec<String> {
        self.list::<K>().await.iter().map(K::name_any).collect()
    }

    /// Waits, at most six virtual hours, until an object is as it should be.
    pub(crate) async fn until<K: Namespaced>(
        &self,
        name: &str,
        is_so: impl Fn(&K) -> bool + Send,
    ) -> K {
        let is_so = |object: Option<&K>| object.is_some_and(&is_so);
        let wait = await_condition(self.api::<K>(), name, is_so);
        match tokio::time::timeout(Duration::from_hours(6), wait).await {
            Ok(object) => object.unwrap().unwrap(),
            Err(late) => panic!(
                "{late}: `{name}` never came to be so: {:#?}",
                self.get::<K>(name).await
            ),
        }
    }

    /// Reasons of the Events about an object, in the order of their first times.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let mut events: Vec<Event> = self.list().await;
        events.retain(|event| event.involved_object.name.as_deref() == Some(name));
        events.sort_by_key(|event| {
            (
                event.first_timestamp.as_ref().map(|time| time.0),
                event
                    .resource_version()
                    .and_then(|version| version.parse::<u64>().ok()),
            )
        });
        events
            .into_iter()
            .filter_map(|event| event.reason)
            .collect()
    }

    /// Questions so far.
    pub(crate) fn questions(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Requests of the controllers so far, reads and writes. Watches do not count: each is opened
    /// anew every few minutes.
    pub(crate) fn requests(&self) -> u64 {
        let accesses = self.server.accesses();
        let ours = accesses
            .iter()
            .filter(|(access, _)| access.program == PROGRAM);
        ours.filter(|(access, _)| access.verb != "watch")
            .map(|(_, count)| count)
            .sum()
    }
}

fn simulate(server: &Server, clock: &Clock, options: &Options) -> DropGuard {
    let stop = CancellationToken::new();
    tokio::spawn(simulation::run(
        server.client_as("simulation"),
        clock.clone(),
        options.clone(),
        stop.clone(),
    ));
    stop.drop_guard()
}

pub(crate) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// A router that answers whatever is asked as `answer` says, and remembers the question. A string
/// is sent as it is, everything else as JSON.
fn scripted(answer: Arc<Answer>, asked: Arc<Mutex<Vec<String>>>) -> Router {
    Router::new().fallback(move |request: Request| {
        let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
        async move {
            let uri = request.uri().to_string();
            let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
            let question = format!("{uri} {}", String::from_utf8_lossy(&body));
            asked.lock().unwrap().push(question.clone());
            let (status, answer) = answer(&question);
            respond(status, answer)
        }
    })
}

/// A rate limit tells for how long, in seconds.
pub(crate) const RETRY_AFTER: i64 = 120;

fn respond(status: StatusCode, answer: Value) -> Response {
    let mut response = match answer {
        Value::String(text) => (status, text).into_response(),
        json => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (status, kind, json.to_string()).into_response()
        }
    };
    if status == StatusCode::TOO_MANY_REQUESTS {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, RETRY_AFTER.into());
    }
    response
}
