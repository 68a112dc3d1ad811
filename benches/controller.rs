//! How many passes over active AnalysisRuns a second, and how much memory a run takes, in the
//! embedded cluster. Prints figures and asserts nothing about them.
//!
//! The clock is paused: a minute of a cluster is done as fast as the machine can. The API server is
//! in the same process, so the passes' figure includes its work; the memory figures do not: they
//! are what the process grew by when the controller started.
#![expect(clippy::print_stdout, reason = "a benchmark tells what it measured")]

use std::fs;
use std::time::Instant;

use axum::Router;
use axum::routing::get;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use verdict::api::{AnalysisRun, crds};
use verdict::apiserver::Server;
use verdict::clock::Clock;
use verdict::cluster::Cluster;
use verdict::controllers::Doors;
use verdict::controllers::analysis::{DEFAULT_CONCURRENCY, Sources};
use verdict::controllers::{Scope, Setup, analysis};
use verdict::http::Http;
use verdict::metric_providers::Settings;
use verdict::telemetry::{Metrics, Readiness};

/// Virtual seconds that are played.
const PLAYED: u64 = 60;

fn main() {
    for runs in [1_000, 10_000] {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("the operating system grants a thread")
            .block_on(play(runs));
    }
}

async fn play(runs: u32) {
    let clock = Clock::system();
    let server = Server::new(clock.clone());
    let client = server.client();
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in crds::all() {
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .expect("it is new");
    }
    let api = Api::<AnalysisRun>::namespaced(client.clone(), "default");
    for number in 0..runs {
        api.create(&PostParams::default(), &run(number))
            .await
            .expect("it is valid");
    }
    let metrics = Metrics::new();
    let cluster = Cluster::new(server.client_as("verdict"), clock);
    let setup = Setup {
        cluster: cluster.clone(),
        scope: Scope::default(),
        metrics: metrics.clone(),
        readiness: Readiness::default(),
    };
    let source = Router::new().fallback(get(|| async { "0.99" }));
    let sources = Sources {
        doors: Doors {
            http: Http::in_process(source),
            jobs: cluster,
        },
        settings: Settings::default(),
        concurrency: DEFAULT_CONCURRENCY,
    };
    let before = resident_kib();
    let began = now();
    let stop = CancellationToken::new();
    let controller = tokio::spawn(analysis::run(setup, sources, stop.clone()));
    tokio::time::sleep(std::time::Duration::from_secs(PLAYED)).await;
    let took = began.elapsed().as_secs_f64();
    let grown = resident_kib().saturating_sub(before);
    let passes = passes(&metrics.text().expect("metrics have a text"));
    stop.cancel();
    let _ = controller.await;
    report(runs, passes, took, grown);
}

/// A metric every 10 s that never ends.
fn run(number: u32) -> AnalysisRun {
    serde_json::from_value(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": { "name": format!("run-{number}") },
        "spec": { "metrics": [{
            "name": "success-rate", "interval": "10s", "successCondition": "result >= 0.95",
            "provider": { "web": { "url": format!("http://stats.example/{number}") } },
        }] },
    }))
    .expect("it is an AnalysisRun")
}

#[expect(
    clippy::disallowed_methods,
    reason = "Tokio's clock is paused; this measures real time"
)]
fn now() -> Instant {
    Instant::now()
}

/// Memory of this process that is in RAM, in KiB (Linux; 0 elsewhere).
fn resident_kib() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default()
}

fn passes(text: &str) -> f64 {
    let counts = text
        .lines()
        .filter(|line| line.starts_with("analysis_run_reconcile_count"));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn report(runs: u32, passes: f64, took: f64, grown: u32) {
    println!(
        "{runs:>6} active runs: {passes:>8.0} passes in {took:>6.2} s real time ({PLAYED} s played) \
         = {:>7.0} passes/s; process grew by {:>7.1} MiB = {} KiB a run",
        passes / took,
        f64::from(grown) / 1024.0,
        grown / runs,
    );
}
