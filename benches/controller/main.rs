//! What the controllers take and ask for, against the embedded cluster. Prints figures and asserts
//! nothing about them.
//!
//! ```text
//! passes    over active AnalysisRuns, a second
//! runs      memory of active AnalysisRuns
//! release   requests of a Rollout's release
//! rollouts  start, memory and rest with many Rollouts
//! ```
//!
//! `cargo bench --bench controller -- rollouts 1000` plays one of them, with one size.
//!
//! For `passes` and `release` the clock is paused: a minute of a cluster is done as fast as the
//! machine can. The API server is in the same process, so that the passes a second include its work.
//! Memory and processor time are those of a controller process of its own.
#![expect(clippy::print_stdout, reason = "a benchmark tells what it measured")]

mod memory;
mod process;
mod rollouts;

use std::future::Future;
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

/// A name, and what is played with some numbers of objects.
type Scenario = (&'static str, fn(&[u32]));

/// Each scenario's name and how it is played; arguments of the program pick some.
const SCENARIOS: [Scenario; 4] = [
    ("passes", |sizes| {
        for runs in sizes {
            paused(play(*runs));
        }
    }),
    ("runs", |sizes| {
        for runs in sizes {
            real(memory::of(*runs, run));
        }
    }),
    ("release", |_| {
        paused(rollouts::released(100));
    }),
    ("rollouts", |sizes| {
        let settled = paused(rollouts::released(1));
        for rollouts in sizes {
            real(rollouts::at_rest(&settled, *rollouts));
        }
    }),
];

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let sizes: Vec<u32> = asked.iter().filter_map(|word| word.parse().ok()).collect();
    let sizes = if sizes.is_empty() {
        vec![1_000, 10_000]
    } else {
        sizes
    };
    let names = SCENARIOS.map(|(name, _)| name);
    let all = !asked.iter().any(|word| names.contains(&word.as_str()));
    for (name, scenario) in SCENARIOS {
        if all || asked.iter().any(|word| word == name) {
            scenario(&sizes);
        }
    }
}

/// Under a paused clock, which moves when there is nothing to do.
fn paused<T>(scenario: impl Future<Output = T>) -> T {
    let runtime = runtime().start_paused(true).build();
    runtime.expect("a thread").block_on(scenario)
}

fn real<T>(scenario: impl Future<Output = T>) -> T {
    runtime().build().expect("a thread").block_on(scenario)
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
