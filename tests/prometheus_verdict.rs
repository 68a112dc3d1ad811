//! AnalysisRuns that ask a real Prometheus about the simulated workload. Real sockets, real clock:
//! everything here waits for conditions, with a deadline, and never for a time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use verdict::api::{AnalysisRun, Phase, crds};
use verdict::apiserver::Server;
use verdict::clock::Clock;
use verdict::cluster::Cluster;
use verdict::controllers::analysis::{DEFAULT_CONCURRENCY, Sources};
use verdict::controllers::{self, Doors, Setup};
use verdict::http::{Http, LinkLocal};
use verdict::metric_providers::Settings;
use verdict::simulation::prometheus::Prometheus;
use verdict::simulation::workload::{Behaviour, Load, MetricLabels, Workload};

use crate::tools::tool;

const DEADLINE: Duration = Duration::from_mins(1);

/// As in Argo Rollouts' documentation: a share of two sums, which is a vector of one sample.
fn success_rate(hash: &str) -> String {
    success_rate_at(hash, "")
}

/// The share as it was two seconds ago: measurements ask about the latest whole second, so that
/// what held two seconds ago is sure to hold for them.
fn settled_success_rate(hash: &str) -> String {
    success_rate_at(hash, " offset 2s")
}

fn success_rate_at(hash: &str, offset: &str) -> String {
    let of = |codes: &str| {
        let selector = format!("http_requests_total{{pod_template_hash=\"{hash}\"{codes}}}[10s]");
        format!("sum(irate({selector}{offset}))")
    };
    format!("{} / {}", of(",code!~\"5.*\""), of(""))
}

struct World {
    client: Client,
    workload: Workload,
    prometheus: Prometheus,
    load: CancellationToken,
    _stop: DropGuard,
}

/// A workload with a good and a bad version under load, a Prometheus and a controller.
async fn world(program: &std::path::Path) -> World {
    let workload = Workload::start().await.unwrap();
    for (hash, error_rate) in [("good", 0.0), ("bad", 0.3)] {
        let labels = MetricLabels {
            service: "web".to_owned(),
            version: hash.to_owned(),
            pod_template_hash: hash.to_owned(),
        };
        let latency = Duration::from_millis(5);
        let behaviour = Behaviour {
            latency,
            error_rate,
            ..Behaviour::default()
        };
        workload
            .start_instance(hash, labels, behaviour)
            .await
            .unwrap();
    }
    let load = Arc::new(Load::new(&workload, NonZeroU32::new(200).unwrap()).unwrap());
    let (stop, loading) = (CancellationToken::new(), CancellationToken::new());
    let until = loading.clone();
    tokio::spawn(async move { load.run(until).await });
    let prometheus = Prometheus::start(program, &workload.targets_url())
        .await
        .unwrap();
    let client = controller(stop.clone()).await;
    World {
        client,
        workload,
        prometheus,
        load: loading,
        _stop: stop.drop_guard(),
    }
}

async fn controller(stop: CancellationToken) -> Client {
    let clock = Clock::system();
    let server = Server::new(clock.clone());
    let client = server.client();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in crds::all() {
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
    }
    let cluster = Cluster::new(client.clone(), clock);
    let setup = Setup::new(cluster.clone());
    let sources = Sources {
        doors: Doors {
            http: Http::new(LinkLocal::Refused).unwrap(),
            jobs: cluster,
        },
        settings: Settings::default(),
        concurrency: DEFAULT_CONCURRENCY,
    };
    tokio::spawn(controllers::analysis::run(setup, sources, stop));
    client
}

impl World {
    /// Waits until Prometheus answers a query in this way.
    async fn answers(&self, query: &str, fits: impl Fn(&Value) -> bool) {
        let url = format!("{}/api/v1/query", self.prometheus.url());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let response = client
                .get(&url)
                .query(&[("query", query)])
                .send()
                .await
                .unwrap();
            let answer: Value = response.json().await.unwrap();
            if fits(&answer["data"]["result"][0]["value"][1]) {
                return;
            }
            assert!(Instant::now() < deadline, "{query}: still {answer}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The verdict about one measurement, its value and its message.
    async fn verdict(&self, name: &str, query: &str, policy: &Value) -> (Phase, String, String) {
        let mut metric = json!({
            "name": "success-rate",
            "successCondition": "result[0] >= 0.95",
            "consecutiveErrorLimit": 0,
            "provider": {"prometheus": {"address": self.prometheus.url(), "query": query}},
        });
        json_patch::merge(&mut metric, policy);
        let run = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"metrics": [metric]},
        });
        let api: Api<AnalysisRun> = Api::default_namespaced(self.client.clone());
        let run: AnalysisRun = serde_json::from_value(run).unwrap();
        api.create(&PostParams::default(), &run).await.unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = api.get(name).await.unwrap().status.unwrap_or_default();
            if let Some(phase) = status.phase.filter(|phase| phase.is_completed()) {
                let measurement = &status.metric_results[0].measurements[0];
                return (
                    phase,
                    measurement.value.clone(),
                    measurement.message.clone(),
                );
            }
            assert!(Instant::now() < deadline, "{name}: still {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn number(value: &str) -> f64 {
    value.trim_matches(['[', ']']).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_tells_good_versions_from_bad_ones_and_from_silence() {
    let Some(program) = tool("prometheus") else {
        return;
    };
    let world = world(&program).await;
    for hash in ["good", "bad"] {
        let has_number = |value: &Value| value.as_str().is_some_and(|value| value != "NaN");
        world.answers(&settled_success_rate(hash), has_number).await;
    }
    let default = json!({});

    let (phase, value, message) = world.verdict("good", &success_rate("good"), &default).await;
    assert_eq!(
        (phase, value.as_str()),
        (Phase::Successful, "[1]"),
        "{message}"
    );
    let (phase, value, message) = world.verdict("bad", &success_rate("bad"), &default).await;
    assert_eq!(phase, Phase::Failed, "{value} {message}");
    assert!((number(&value) - 0.7).abs() < 0.1, "{value}");

    let nobody = success_rate("nobody");
    let (phase, value, message) = world.verdict("empty", &nobody, &default).await;
    assert_eq!((phase, value.as_str()), (Phase::Error, "[]"), "{message}");
    assert!(
        message.contains("empty") || message.contains("no data"),
        "{message}"
    );
    for (policy, expected) in [
        ("Inconclusive", Phase::Inconclusive),
        ("Success", Phase::Successful),
        ("Failure", Phase::Failed),
        ("Error", Phase::Error),
    ] {
        let name = format!("empty-{}", policy.to_lowercase());
        let (phase, _, message) = world
            .verdict(&name, &nobody, &json!({"onNoData": policy}))
            .await;
        assert_eq!(phase, expected, "{policy}: {message}");
    }

    // Without requests the share is 0 / 0.
    world.load.cancel();
    let silent = success_rate("good");
    let settled = settled_success_rate("good");
    world.answers(&settled, |value| value == "NaN").await;
    for (policy, expected) in [
        // As in Argo Rollouts: NaN is not at least 0.95.
        (json!({}), Phase::Failed),
        (json!({"onNaN": "Error"}), Phase::Error),
        (json!({"onNaN": "Inconclusive"}), Phase::Inconclusive),
        (json!({"onNaN": "Success"}), Phase::Successful),
    ] {
        let name = format!(
            "nan-{}",
            policy["onNaN"].as_str().unwrap_or("default").to_lowercase()
        );
        let (phase, value, message) = world.verdict(&name, &silent, &policy).await;
        assert_eq!(
            (phase, value.as_str()),
            (expected, "[NaN]"),
            "{policy}: {message}"
        );
    }
    assert_eq!(world.workload.endpoints().len(), 2);
}
