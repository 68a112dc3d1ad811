//! How many passes over active AnalysisRuns a second, and how much memory a run takes, in the
//! embedded cluster. Prints figures and asserts nothing about them.
//!
//! For the passes the clock is paused: a minute of a cluster is done as fast as the machine can. The
//! API server is in the same process, so the figure includes its work. Memory is that of a
//! controller process of its own.
#![expect(clippy::print_stdout, reason = "a benchmark tells what it measured")]

mod memory;

use std::time::Instant;

use axum::Router;
use axum::routing::get;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use verdict::api::{AnalysisRun, crds};
use verdict::apiserver::Server;
use verdict::clock::Clock;
use verdict::cluster::Cluster;
use verdict::controllers::Doors;
use verdict::controllers::analysis::{DEFAULT_CONCURRENCY, Sources};
use verdict::controllers::{Setup, analysis};
use verdict::http::Http;
use verdict::metric_providers::Settings;

/// Virtual seconds that are played.
const PLAYED: u64 = 60;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for runs in [1_000, 10_000] {
        runtime()
            .start_paused(true)
            .build()
            .expect("a thread")
            .block_on(play(runs));
    }
    for runs in [1_000, 10_000] {
        let of = memory::of(runs, run);
        let (idle, busy) = runtime().build().expect("a thread").block_on(of);
        let each = f64::from(busy.saturating_sub(idle)) / f64::from(runs);
        println!(
            "{runs:>6} active runs: the controller takes {} MiB, {} MiB without any = {each:.1} KiB a run",
            busy / 1024,
            idle / 1024,
        );
    }
}

fn runtime() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    builder
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
        api.create(&PostParams::default(), &run(number, "http://stats.example"))
            .await
            .expect("it is valid");
    }
    let cluster = Cluster::new(server.client_as("verdict"), clock);
    let setup = Setup::new(cluster.clone());
    let metrics = setup.metrics.clone();
    let source = Router::new().fallback(get(|| async { "0.99" }));
    let sources = Sources {
        doors: Doors {
            http: Http::in_process(source),
            jobs: cluster,
        },
        settings: Settings::default(),
        concurrency: DEFAULT_CONCURRENCY,
    };
    let began = now();
    let stop = CancellationToken::new();
    let controller = tokio::spawn(analysis::run(setup, sources, stop.clone()));
    tokio::time::sleep(std::time::Duration::from_secs(PLAYED)).await;
    let took = began.elapsed().as_secs_f64();
    let passes = passes(&metrics.text().expect("metrics have a text"));
    stop.cancel();
    let _ = controller.await;
    println!(
        "{runs:>6} active runs: {passes:.0} passes in {took:.2} s, {PLAYED} s played = {:.0} passes/s",
        passes / took,
    );
}

/// A metric every 10 s that never ends.
fn run(number: u32, source: &str) -> AnalysisRun {
    serde_json::from_value(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": { "name": format!("run-{number}") },
        "spec": { "metrics": [{
            "name": "success-rate", "interval": "10s", "successCondition": "result >= 0.95",
            "provider": { "web": { "url": format!("{source}/{number}") } },
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

fn passes(text: &str) -> f64 {
    let counts = text
        .lines()
        .filter(|line| line.starts_with("analysis_run_reconcile_count"));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
