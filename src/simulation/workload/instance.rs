//! One instance: a real HTTP server that stands for the process in a pod.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::behaviour::{Behaviour, Script};
use super::{Error, Statistics, held};

/// A leaving instance answers for this long after it is no longer an endpoint: a request may
/// already be on its way. Kubernetes' pods have their grace period for the same reason.
const DRAIN: Duration = Duration::from_secs(1);
const CODES: [StatusCode; 3] = [
    StatusCode::OK,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// What an instance's metrics are labelled with, from the labels of its pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricLabels {
    /// `app.kubernetes.io/name` or `app`.
    pub service: String,
    /// `app.kubernetes.io/version` or `version`, else the pod template's hash.
    pub version: String,
    /// `rollouts-pod-template-hash` or `pod-template-hash`.
    pub pod_template_hash: String,
}

impl MetricLabels {
    /// Reads the labels of a pod; what it lacks is empty.
    #[must_use]
    pub fn of_pod(labels: &BTreeMap<String, String>) -> Self {
        let first = |names: [&str; 2]| names.iter().find_map(|name| labels.get(*name)).cloned();
        let hash = first(["rollouts-pod-template-hash", "pod-template-hash"]).unwrap_or_default();
        Self {
            service: first(["app.kubernetes.io/name", "app"]).unwrap_or_default(),
            version: first(["app.kubernetes.io/version", "version"])
                .unwrap_or_else(|| hash.clone()),
            pod_template_hash: hash,
        }
    }
}

/// What the handlers of an instance share.
#[derive(Debug)]
struct Served {
    labels: MetricLabels,
    script: Mutex<(Behaviour, Script)>,
    metrics: Metrics,
    statistics: Arc<Statistics>,
}

/// A running instance; it drains and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) address: SocketAddr,
    served: Arc<Served>,
    stop: CancellationToken,
}

impl Instance {
    pub(super) async fn start(
        name: &str,
        labels: MetricLabels,
        behaviour: Behaviour,
        statistics: Arc<Statistics>,
    ) -> Result<Self, Error> {
        let listen = |source| Error::Listen {
            what: format!("instance `{name}`"),
            source,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let served = Arc::new(Served {
            metrics: Metrics::new(&labels).map_err(Error::Metrics)?,
            labels,
            script: Mutex::new((behaviour, Script::new(seed(name)))),
            statistics,
        });
        let stop = CancellationToken::new();
        let router = Router::new()
            .route("/", get(answer))
            .route("/metrics", get(metrics))
            .with_state(served.clone());
        tokio::spawn(serve(listener, router, stop.clone()));
        Ok(Self {
            address,
            served,
            stop,
        })
    }

    pub(super) fn labels(&self) -> &MetricLabels {
        &self.served.labels
    }

    /// From the next answer on; counters and the sequence of errors go on.
    pub(super) fn set_behaviour(&self, behaviour: Behaviour) {
        held(&self.served.script).0 = behaviour;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let drained = {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        }
    };
    let cut_off = async move {
        stop.cancelled().await;
        tokio::time::sleep(2 * DRAIN).await;
    };
    tokio::select! {
        // Accepting goes on after any failure of a connection: it ends with the drain only.
        _ = axum::serve(listener, router).with_graceful_shutdown(drained).into_future() => {}
        () = cut_off => {}
    }
}

fn seed(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

async fn answer(State(served): State<Arc<Served>>) -> (StatusCode, String) {
    let begun = Instant::now();
    let answer = {
        let mut script = held(&served.script);
        let (behaviour, script) = &mut *script;
        script.next(behaviour, begun)
    };
    tokio::time::sleep(answer.after).await;
    let latency = begun.elapsed();
    let code = answer.code;
    served.metrics.observe(code, latency);
    served.statistics.record(
        &served.labels.pod_template_hash,
        latency,
        code.is_server_error(),
    );
    (code, format!("{} {}\n", served.labels.version, code))
}

async fn metrics(State(served): State<Arc<Served>>) -> Result<String, (StatusCode, String)> {
    served
        .metrics
        .text()
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// The metrics that instrumented services usually have.
#[derive(Debug)]
struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
}

impl Metrics {
    fn new(labels: &MetricLabels) -> Result<Self, prometheus::Error> {
        let version = [
            ("service", &labels.service),
            ("version", &labels.version),
            ("pod_template_hash", &labels.pod_template_hash),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()));
        let opts = |name, help| Opts::new(name, help).const_labels(version.clone().into());
        let requests = opts("http_requests_total", "Requests answered, by status code.");
        let duration = opts(
            "http_request_duration_seconds",
            "Time until a request was answered, by status code.",
        );
        let metrics = Self {
            registry: Registry::new(),
            requests: IntCounterVec::new(requests, &["code"])?,
            duration: HistogramVec::new(HistogramOpts::from(duration), &["code"])?,
        };
        metrics
            .registry
            .register(Box::new(metrics.requests.clone()))?;
        metrics
            .registry
            .register(Box::new(metrics.duration.clone()))?;
        // Counters begin at 0, not at their first increment, which `rate` could not see.
        for code in CODES {
            metrics.requests.with_label_values(&[code.as_str()]);
            metrics.duration.with_label_values(&[code.as_str()]);
        }
        Ok(metrics)
    }

    fn observe(&self, code: StatusCode, latency: Duration) {
        self.requests.with_label_values(&[code.as_str()]).inc();
        self.duration
            .with_label_values(&[code.as_str()])
            .observe(latency.as_secs_f64());
    }

    fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod_labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn metric_labels_come_from_the_pod() {
        let labels = |service: &str, version: &str, hash: &str| MetricLabels {
            service: service.to_owned(),
            version: version.to_owned(),
            pod_template_hash: hash.to_owned(),
        };
        let cases = [
            (
                pod_labels(&[("app", "web"), ("rollouts-pod-template-hash", "7d4")]),
                labels("web", "7d4", "7d4"),
            ),
            (
                pod_labels(&[
                    ("app.kubernetes.io/name", "shop"),
                    ("app", "web"),
                    ("version", "v2"),
                    ("pod-template-hash", "5c9"),
                ]),
                labels("shop", "v2", "5c9"),
            ),
            (pod_labels(&[]), labels("", "", "")),
        ];
        for (pod, expected) in cases {
            assert_eq!(MetricLabels::of_pod(&pod), expected);
        }
    }

    #[test]
    fn metrics_have_the_usual_names_and_begin_at_zero() {
        let pod = pod_labels(&[
            ("app", "web"),
            ("version", "v2"),
            ("rollouts-pod-template-hash", "7d4"),
        ]);
        let metrics = Metrics::new(&MetricLabels::of_pod(&pod)).unwrap();
        metrics.observe(StatusCode::OK, Duration::from_millis(30));
        metrics.observe(StatusCode::OK, Duration::from_millis(30));
        let text = metrics.text().unwrap();
        let labels = |code: &str| {
            format!(r#"code="{code}",pod_template_hash="7d4",service="web",version="v2""#)
        };
        for line in [
            "# TYPE http_requests_total counter".to_owned(),
            "# TYPE http_request_duration_seconds histogram".to_owned(),
            format!("http_requests_total{{{}}} 2", labels("200")),
            format!("http_requests_total{{{}}} 0", labels("500")),
            format!("http_request_duration_seconds_count{{{}}} 2", labels("200")),
            format!(
                "http_request_duration_seconds_bucket{{{},le=\"0.025\"}} 0",
                labels("200")
            ),
            format!(
                "http_request_duration_seconds_bucket{{{},le=\"0.05\"}} 2",
                labels("200")
            ),
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
        }
    }
}
