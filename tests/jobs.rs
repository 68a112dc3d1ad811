//! Measurements by Jobs, in a cluster in memory.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use verdict::api::{Measurement, MetricProvider, Phase};
use verdict::apiserver::Server;
use verdict::clock::Clock;
use verdict::cluster::Cluster;
use verdict::controllers::{Doors, Jobs, measure, remove_orphans};
use verdict::http::Http;
use verdict::metric_providers::{
    Action, Context, JobPlacement, Outcome, Provider, Reading, RunIdentity, Settings, run_selector,
};
use verdict::simulation;

const RUN: RunIdentity<'static> = RunIdentity {
    namespace: "shop",
    name: "web-1",
    uid: "0c9e2b1c-8a6f-4a3c-9d55-3f0b8f1c7a5e",
};

/// A cluster whose Jobs run, and a metric.
struct World {
    doors: Doors,
    clock: Clock,
    settings: Settings,
    written: MetricProvider,
}

impl World {
    /// Jobs are made in another namespace, as nothing plays the AnalysisRun that would own them.
    fn with(script: &[(&str, &str)]) -> Self {
        let clock = Clock::starting_at("2026-08-01T10:00:00Z".parse().unwrap());
        let server = Server::new(clock.clone());
        let played = simulation::run(
            server.client(),
            clock.clone(),
            simulation::Options::default(),
            CancellationToken::new(),
        );
        tokio::spawn(played);
        let annotations: serde_json::Map<_, _> = script
            .iter()
            .map(|(key, value)| (format!("simulation.verdict.dev/{key}"), json!(value)))
            .collect();
        let written = json!({"job": {"spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": annotations},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "test", "image": "test:1"}],
                },
            },
        }}});
        let namespace = Some("default".to_owned());
        Self {
            doors: Doors {
                http: Http::in_process(axum::Router::new()),
                jobs: Cluster::new(server.client(), clock.clone()),
            },
            clock,
            settings: Settings {
                jobs: JobPlacement {
                    namespace,
                    other_cluster: false,
                },
                ..Settings::default()
            },
            written: serde_json::from_value(written).unwrap(),
        }
    }

    async fn measure(&self, action: Action, attempt: u64, earlier: Option<&Reading>) -> Reading {
        let in_flight = earlier.map(|reading| Measurement {
            phase: Some(Phase::Running),
            started_at: Some(Time(self.clock.now())),
            metadata: reading.metadata.clone(),
            ..Measurement::default()
        });
        let context = Context {
            run: RUN,
            metric: "smoke",
            attempt,
            now: self.clock.now(),
            in_flight: in_flight.as_ref(),
            settings: &self.settings,
        };
        let provider = Provider::new(&self.written, &context).unwrap();
        let Doors { http, jobs } = &self.doors;
        measure(provider, action, http, Jobs::Cluster(jobs)).await
    }

    async fn names(&self) -> Vec<String> {
        let jobs = self
            .doors
            .jobs
            .list::<Job>("default", &run_selector(RUN.uid))
            .await
            .unwrap();
        jobs.into_iter()
            .filter_map(|job| job.metadata.name)
            .collect()
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_decides_by_its_end() {
    for (script, expected, said) in [
        (&[("runs-for", "20s")][..], Phase::Successful, ""),
        (
            &[("exit-code", "3")],
            Phase::Failed,
            "failed: BackoffLimitExceeded",
        ),
        (
            &[("image-pull-error", "true")],
            Phase::Inconclusive,
            "waits: ",
        ),
        (
            &[("unschedulable", "true")],
            Phase::Inconclusive,
            "unschedulable since",
        ),
    ] {
        let world = World::with(script);
        let first = world.measure(Action::Run, 1, None).await;
        assert!(
            matches!(first.outcome, Outcome::InFlight { .. }),
            "{first:?}"
        );
        seconds(15 * 60).await;
        let last = world.measure(Action::Resume, 1, Some(&first)).await;
        let Outcome::Settled { phase, message } = last.outcome else {
            panic!("{last:?}")
        };
        assert_eq!(phase, expected);
        assert!(message.contains(said), "{message}");
        assert_eq!(last.metadata, first.metadata);
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_after_making_a_job_finds_it() {
    let world = World::with(&[("runs-for", "20s")]);
    let first = world.measure(Action::Run, 1, None).await;
    seconds(5).await;
    let again = world.measure(Action::Run, 1, None).await;
    assert_eq!(again.metadata, first.metadata);
    let resumed = world.measure(Action::Resume, 1, Some(&again)).await;
    assert!(
        matches!(resumed.outcome, Outcome::InFlight { .. }),
        "{resumed:?}"
    );
    assert_eq!(world.names().await, [format!("{}.smoke.1", RUN.uid)]);
}

#[tokio::test(start_paused = true)]
async fn a_terminated_job_is_gone() {
    let world = World::with(&[("runs-for", "1h")]);
    let first = world.measure(Action::Run, 1, None).await;
    seconds(5).await;
    for _ in 0..2 {
        let stopped = world.measure(Action::Terminate, 1, Some(&first)).await;
        let Outcome::Settled { phase, message } = stopped.outcome else {
            panic!("{stopped:?}")
        };
        assert_eq!(
            (phase, message.as_str()),
            (Phase::Inconclusive, "Metric Terminated")
        );
        seconds(60).await;
        assert!(world.names().await.is_empty());
    }
    let late = world.measure(Action::Resume, 1, Some(&first)).await;
    assert!(matches!(late.outcome, Outcome::Failed { .. }), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn orphans_are_removed() {
    let world = World::with(&[]);
    for attempt in 1..=2 {
        world.measure(Action::Run, attempt, None).await;
        seconds(30).await;
    }
    assert_eq!(world.names().await.len(), 2);
    remove_orphans(RUN, &world.settings, &world.doors)
        .await
        .unwrap();
    seconds(60).await;
    assert!(world.names().await.is_empty());
}
