//! Stories of AnalysisRuns: from the object that somebody creates to the verdict and what follows.
#![expect(
    clippy::needless_pass_by_value,
    reason = "JSON literals read better without `&`"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use tokio::sync::Notify;
use verdict::api::{AnalysisRun, GateOutcome, MetricResult, Phase, Rollout};
use verdict::apiserver::Fault;
use verdict::controllers::{INSTANCE_ID_LABEL, Scope};

use crate::world::{PROGRAM, RETRY_AFTER, World, seconds};

fn a_run(name: &str, metrics: Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": { "name": name },
        "spec": { "metrics": metrics },
    })
}

/// A metric over a web source that must answer at least 0.95.
fn a_metric(change: Value) -> Value {
    let mut metric = json!({
        "name": "success-rate",
        "successCondition": "result >= 0.95",
        "provider": { "web": { "url": "http://stats.shop/rate" } },
    });
    json_patch::merge(&mut metric, &change);
    metric
}

fn prometheus(query: &str) -> Value {
    json!({ "prometheus": { "address": "http://prometheus:9090", "query": query } })
}

fn vector(values: &[&str]) -> Value {
    let samples = values
        .iter()
        .map(|value| json!({ "metric": {}, "value": [0, value] }));
    let result: Vec<Value> = samples.collect();
    json!({ "status": "success", "data": { "resultType": "vector", "result": result } })
}

fn ok(value: impl Into<Value>) -> (StatusCode, Value) {
    (StatusCode::OK, value.into())
}

fn is_ended(run: &AnalysisRun) -> bool {
    run.status
        .as_ref()
        .and_then(|status| status.phase)
        .is_some_and(Phase::is_completed)
}

fn phase(run: &AnalysisRun) -> Phase {
    run.status.as_ref().and_then(|status| status.phase).unwrap()
}

fn message(run: &AnalysisRun) -> &str {
    &run.status.as_ref().unwrap().message
}

fn result<'r>(run: &'r AnalysisRun, metric: &str) -> &'r MetricResult {
    let results = &run.status.as_ref().unwrap().metric_results;
    results.iter().find(|result| result.name == metric).unwrap()
}

async fn ended(world: &World, name: &str) -> AnalysisRun {
    world.until(name, is_ended).await
}

#[tokio::test(start_paused = true)]
async fn a_good_source_makes_a_run_successful_over_two_hours() {
    let world = World::new(|_| ok(0.99)).await;
    let _running = world.start();
    let metric = a_metric(json!({ "interval": "1m", "count": 120 }));
    world
        .create::<AnalysisRun>(a_run("long", json!([metric])))
        .await;
    let run = ended(&world, "long").await;
    assert_eq!(phase(&run), Phase::Successful);
    let result = result(&run, "success-rate");
    assert_eq!(
        (result.count, result.successful, result.measurements.len()),
        (120, 120, 10)
    );
    assert_eq!(world.questions(), 120);
    let status = run.status.unwrap();
    let (from, to) = (status.started_at.unwrap().0, status.completed_at.unwrap().0);
    let took = to.duration_since(from);
    assert!(
        (119 * 60..=121 * 60).contains(&took.as_secs()),
        "took {took}"
    );
    assert_eq!(
        world.events("long").await,
        ["MetricSuccessful", "AnalysisRunSuccessful"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_controllers_are_ready_when_their_caches_are_filled() {
    let world = World::new(|_| ok(1.0)).await;
    let running = world.start();
    seconds(1).await;
    assert_eq!(running.readiness.missing(), Vec::<String>::new());
    running.stop().await;
    world.server.set_faults(|request| {
        let is_ours = request.user_agent == PROGRAM && request.resource == "replicasets";
        if is_ours {
            Fault::Status(503)
        } else {
            Fault::None
        }
    });
    let running = world.start();
    seconds(1).await;
    assert_eq!(running.readiness.missing(), ["ReplicaSet"]);
}

#[tokio::test(start_paused = true)]
async fn a_bad_source_fails_a_run_with_the_number_and_the_limit() {
    let world = World::new(|_| ok(vector(&["0.5"]))).await;
    let _running = world.start();
    let metric = json!({
        "name": "success-rate", "interval": "30s", "count": 10, "failureLimit": 2,
        "successCondition": "result[0] >= 0.95", "provider": prometheus("up"),
    });
    world
        .create::<AnalysisRun>(a_run("bad", json!([metric])))
        .await;
    let run = ended(&world, "bad").await;
    assert_eq!(phase(&run), Phase::Failed);
    assert_eq!(
        message(&run),
        "Metric \"success-rate\" assessed Failed due to failed (3) > failureLimit (2)"
    );
    assert_eq!(result(&run, "success-rate").measurements[0].value, "[0.5]");
    assert_eq!(
        world.events("bad").await,
        ["MetricFailed", "AnalysisRunFailed"]
    );
    assert_eq!(world.questions(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_one_measurement_leaves_neither_its_run_nor_another_waiting() {
    let world = World::new(|question| {
        assert!(question.contains("/rate"), "a bug");
        ok(0.99)
    })
    .await;
    let _running = world.start();
    let bad = a_metric(json!({ "provider": { "web": { "url": "http://stats.shop/bug" } } }));
    world
        .create::<AnalysisRun>(a_run("bad", json!([bad])))
        .await;
    world
        .create::<AnalysisRun>(a_run("good", json!([a_metric(json!({}))])))
        .await;
    assert_eq!(phase(&ended(&world, "good").await), Phase::Successful);
    let run = ended(&world, "bad").await;
    assert_eq!(phase(&run), Phase::Error);
    let measurement = &result(&run, "success-rate").measurements[0];
    assert_eq!(measurement.message, "the work panicked; this is a bug");
}

#[tokio::test(start_paused = true)]
async fn no_data_and_nan_mean_what_the_metric_says() {
    let cases = [
        (vector(&[]), json!({}), Phase::Error),
        (
            vector(&[]),
            json!({ "onNoData": "Inconclusive" }),
            Phase::Inconclusive,
        ),
        (
            vector(&[]),
            json!({ "onNoData": "Success" }),
            Phase::Successful,
        ),
        (vector(&[]), json!({ "onNoData": "Failure" }), Phase::Failed),
        // As in Argo Rollouts, NaN is not at least 0.95.
        (vector(&["NaN"]), json!({}), Phase::Failed),
        (vector(&["NaN"]), json!({ "onNaN": "Error" }), Phase::Error),
        (
            vector(&["NaN"]),
            json!({ "onNaN": "Inconclusive" }),
            Phase::Inconclusive,
        ),
        (
            vector(&["NaN"]),
            json!({ "onNaN": "Success" }),
            Phase::Successful,
        ),
    ];
    for (answer, policy, expected) in cases {
        let said = answer.clone();
        let world = World::new(move |_| ok(said.clone())).await;
        let _running = world.start();
        let mut metric = json!({
            "name": "m", "successCondition": "result[0] >= 0.95", "provider": prometheus("up"),
        });
        json_patch::merge(&mut metric, &policy);
        world
            .create::<AnalysisRun>(a_run("policy", json!([metric])))
            .await;
        let run = ended(&world, "policy").await;
        assert_eq!(
            phase(&run),
            expected,
            "{policy} on {answer}: {}",
            message(&run)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn skipped_measurements_neither_count_nor_fail() {
    let asked = AtomicUsize::new(0);
    let answer = move |_: &str| {
        let empty = asked.fetch_add(1, Ordering::Relaxed) < 5;
        ok(if empty { vector(&[]) } else { vector(&["1"]) })
    };
    let world = World::new(answer).await;
    let _running = world.start();
    let metric = json!({
        "name": "m", "successCondition": "result[0] >= 0.95", "provider": prometheus("up"),
        "interval": "10s", "count": 2, "onNoData": "Skip",
    });
    world
        .create::<AnalysisRun>(a_run("skip", json!([metric])))
        .await;
    let run = ended(&world, "skip").await;
    let result = result(&run, "m");
    assert_eq!(
        (phase(&run), result.count, result.error),
        (Phase::Successful, 2, 0)
    );
    assert_eq!(world.questions(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_delays_no_other_metric_and_a_hanging_one_no_other_run() {
    let world = World::new(|_| ok(1.0)).await;
    let _running = world.start();
    // A Job of a minute stands for the slow source.
    let job = json!({ "template": {
        "metadata": { "annotations": { "simulation.verdict.dev/runs-for": "60s" } },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] },
    } });
    let slow = json!({ "name": "slow", "provider": { "job": { "spec": job } } });
    let quick = a_metric(json!({ "name": "quick", "interval": "5s", "count": 10 }));
    world
        .create::<AnalysisRun>(a_run("both", json!([slow, quick])))
        .await;
    world
        .create::<AnalysisRun>(a_run("other", json!([a_metric(json!({}))])))
        .await;
    let run = world
        .until("both", |run: &AnalysisRun| {
            let results = run.status.iter().flat_map(|status| &status.metric_results);
            results
                .into_iter()
                .any(|r| r.name == "quick" && r.phase == Some(Phase::Successful))
        })
        .await;
    assert_eq!(result(&run, "slow").phase, Some(Phase::Running));
    assert_eq!(phase(&ended(&world, "other").await), Phase::Successful);
    assert_eq!(phase(&ended(&world, "both").await), Phase::Successful);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_carried_out_says_all_that_is_wrong_and_stops_no_other_run() {
    let world = World::new(|_| ok(1.0)).await;
    let _running = world.start();
    let two = a_metric(json!({ "provider": { "plugin": { "owner/name": {} } } }));
    let bad = json!([
        a_metric(json!({ "name": "a", "successCondition": "result >=" })),
        a_metric(json!({ "name": "b", "count": "abc" })),
        a_metric(json!({ "name": "c", "interval": "-5s", "count": 2 })),
    ]);
    let unresolved = json!([a_metric(
        json!({ "successCondition": "result > {{args.limit}}" })
    )]);
    world
        .create::<AnalysisRun>(a_run("two", json!([two])))
        .await;
    world.create::<AnalysisRun>(a_run("bad", bad)).await;
    world
        .create::<AnalysisRun>(a_run("unresolved", unresolved))
        .await;
    world
        .create::<AnalysisRun>(a_run("good", json!([a_metric(json!({}))])))
        .await;
    let run = ended(&world, "bad").await;
    assert_eq!(phase(&run), Phase::Error);
    let said = message(&run);
    for part in [
        "metrics[0].successCondition",
        "metrics[1].count",
        "metrics[2].interval",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(run.status.as_ref().unwrap().completed_at.is_some());
    let run = ended(&world, "unresolved").await;
    assert!(message(&run).contains("args.limit"), "{}", message(&run));
    let run = ended(&world, "two").await;
    assert!(
        message(&run).contains("multiple providers"),
        "{}",
        message(&run)
    );
    assert_eq!(phase(&ended(&world, "good").await), Phase::Successful);
}

#[tokio::test(start_paused = true)]
async fn what_is_hardly_meant_is_told_when_a_run_starts() {
    let world = World::new(|_| ok(0.5)).await;
    let _running = world.start();
    let harmless = a_metric(json!({ "interval": "10s", "count": 2, "failureLimit": 2 }));
    world
        .create::<AnalysisRun>(a_run("odd", json!([harmless])))
        .await;
    // It can never fail, which is Argo's way and surely a mistake.
    assert_eq!(phase(&ended(&world, "odd").await), Phase::Successful);
    let told = world.events("odd").await;
    let warnings = told
        .iter()
        .filter(|reason| *reason == "AnalysisSpecWarning");
    assert_eq!(warnings.count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_secret_reaches_the_source_and_nothing_else() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let world = World::new(move |question| {
        count.fetch_add(usize::from(question.contains("hunter2")), Ordering::Relaxed);
        (
            StatusCode::FORBIDDEN,
            json!({ "error": "hunter2 is not welcome" }),
        )
    })
    .await;
    let _running = world.start();
    let metric =
        a_metric(json!({ "provider": { "web": { "url": "http://s/?t={{args.token}}" } } }));
    let mut run = a_run("secret", json!([metric]));
    run["spec"]["args"] =
        json!([{ "name": "token", "valueFrom": { "secretKeyRef": { "name": "s", "key": "t" } } }]);
    world.create::<AnalysisRun>(run).await;
    // Missing at first: an Error measurement that is repeated, not the end.
    let waiting = world
        .until("secret", |run: &AnalysisRun| {
            run.status
                .iter()
                .any(|status| !status.metric_results.is_empty())
        })
        .await;
    let first = result(&waiting, "success-rate").measurements[0]
        .message
        .clone();
    assert!(first.contains("key `t` of Secret `s`"), "{first}");
    let secret = json!({ "metadata": { "name": "s" }, "stringData": { "t": "hunter2" } });
    world.create::<Secret>(secret).await;
    let run = ended(&world, "secret").await;
    assert!(
        seen.load(Ordering::Relaxed) > 0,
        "the source never saw the Secret"
    );
    let told = serde_json::to_string(&run.status).unwrap();
    assert!(
        !told.contains("hunter2") && told.contains("*****"),
        "{told}"
    );
    for event in world.list::<k8s_openapi::api::core::v1::Event>().await {
        assert!(!event.message.unwrap_or_default().contains("hunter2"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_wants_to_be_left_alone_is() {
    let world = World::new(|_| (StatusCode::TOO_MANY_REQUESTS, json!("slow down"))).await;
    let _running = world.start();
    world
        .create::<AnalysisRun>(a_run("busy", json!([a_metric(json!({}))])))
        .await;
    let run = ended(&world, "busy").await;
    let measured = &result(&run, "success-rate").measurements;
    assert_eq!((phase(&run), measured.len()), (Phase::Error, 5));
    for pair in measured.windows(2) {
        let (before, after) = (pair[0].finished_at.clone(), pair[1].started_at.clone());
        let waited = after.unwrap().0.duration_since(before.unwrap().0);
        assert!(
            waited.as_secs() >= RETRY_AFTER,
            "asked again after {waited}"
        );
    }
    assert!(
        measured[0].message.contains("429"),
        "{}",
        measured[0].message
    );
    assert!(
        measured[0].message.contains("slow down"),
        "{}",
        measured[0].message
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_anyone_after_the_end() {
    let world = World::new(|_| ok(1.0)).await;
    let _running = world.start();
    for n in 0..20 {
        let metric = a_metric(json!({ "interval": "10s", "count": 3 }));
        world
            .create::<AnalysisRun>(a_run(&format!("run-{n}"), json!([metric])))
            .await;
    }
    for n in 0..20 {
        ended(&world, &format!("run-{n}")).await;
    }
    seconds(60).await;
    let (requests, questions) = (world.requests(), world.questions());
    seconds(4 * 60 * 60).await;
    assert_eq!((world.requests(), world.questions()), (requests, questions));
    assert_eq!(questions, 60);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_deleted_when_its_time_is_over() {
    let world = World::new(|_| ok(1.0)).await;
    let _running = world.start();
    let mut run = a_run("short", json!([a_metric(json!({}))]));
    run["spec"]["ttlStrategy"] = json!({ "secondsAfterCompletion": 600 });
    world.create::<AnalysisRun>(run).await;
    ended(&world, "short").await;
    seconds(590).await;
    assert!(
        world
            .api::<AnalysisRun>()
            .get_opt("short")
            .await
            .unwrap()
            .is_some()
    );
    seconds(20).await;
    assert!(
        world
            .api::<AnalysisRun>()
            .get_opt("short")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_controller_leaves_alone_what_belongs_to_another() {
    let world = World::new(|_| ok(1.0)).await;
    let scope = Scope {
        namespace: None,
        instance_id: Some("blue".into()),
    };
    let _running = world.start_in(scope);
    let mut mine = a_run("mine", json!([a_metric(json!({}))]));
    mine["metadata"]["labels"] = json!({ INSTANCE_ID_LABEL: "blue" });
    world
        .create::<AnalysisRun>(a_run("theirs", json!([a_metric(json!({}))])))
        .await;
    world.create::<AnalysisRun>(mine).await;
    ended(&world, "mine").await;
    seconds(60).await;
    assert!(world.get::<AnalysisRun>("theirs").await.status.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_controller_goes_on_where_it_was() {
    let world = World::new(|_| ok(1.0)).await;
    let metric = a_metric(json!({ "interval": "1m", "count": 5 }));
    world
        .create::<AnalysisRun>(a_run("split", json!([metric])))
        .await;
    for _ in 0..5 {
        let running = world.start();
        seconds(61).await;
        running.stop().await;
        seconds(300).await;
    }
    let _running = world.start();
    let run = ended(&world, "split").await;
    assert_eq!(
        (phase(&run), result(&run, "success-rate").count),
        (Phase::Successful, 5)
    );
    assert_eq!(world.questions(), 5);
}

/// A paused canary whose revision `new` is judged; nobody's controller moves it.
async fn a_paused_rollout(world: &World) {
    let rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": "web", "labels": { INSTANCE_ID_LABEL: "argo" } },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } } },
            "strategy": { "canary": { "steps": [{ "setWeight": 20 }, { "pause": {} }] } },
        },
    });
    let made: Rollout = world.create(rollout).await;
    let status = json!({ "status": {
        "observedGeneration": made.metadata.generation.unwrap().to_string(),
        "currentPodHash": "new", "stableRS": "old", "currentStepIndex": 1, "controllerPause": true,
        "pauseConditions": [{ "reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z" }],
    } });
    let patch = kube::api::Patch::Merge(status);
    let api = world.api::<Rollout>();
    api.patch_status("web", &kube::api::PatchParams::default(), &patch)
        .await
        .unwrap();
}

fn a_gated_run(kind: &str, metrics: Value) -> Value {
    let mut run = a_run("gated", metrics);
    run["spec"]["gate"] = json!({ "target": { "kind": kind, "name": "web" } });
    run
}

fn outcome(run: &AnalysisRun) -> Option<GateOutcome> {
    run.status.as_ref()?.gate.as_ref()?.outcome
}

fn is_concluded(run: &AnalysisRun) -> bool {
    outcome(run).is_some_and(|outcome| outcome != GateOutcome::Pending)
}

#[tokio::test(start_paused = true)]
async fn a_gate_promotes_what_is_good_and_aborts_what_is_bad() {
    for (value, abort, paused) in [(0.99, false, false), (0.5, true, true)] {
        let world = World::new(move |_| ok(value)).await;
        let _running = world.start();
        a_paused_rollout(&world).await;
        let metric = a_metric(json!({ "interval": "10s", "count": 3 }));
        world
            .create::<AnalysisRun>(a_gated_run("Rollout", json!([metric])))
            .await;
        let run = world.until("gated", is_concluded).await;
        assert_eq!(
            outcome(&run),
            Some(GateOutcome::Applied),
            "{:?}",
            run.status
        );
        let status = world.get::<Rollout>("web").await.status.unwrap();
        assert_eq!(
            (status.abort, !status.pause_conditions.is_empty()),
            (abort, paused)
        );
        assert!(
            world
                .events("gated")
                .await
                .contains(&"GateApplied".to_owned())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_about_an_old_revision_never_touches_a_new_one() {
    let world = World::new(|_| ok(0.5)).await;
    let _running = world.start();
    a_paused_rollout(&world).await;
    let metric = a_metric(json!({ "interval": "10s", "count": 3, "failureLimit": 1 }));
    world
        .create::<AnalysisRun>(a_gated_run("Rollout", json!([metric])))
        .await;
    seconds(5).await;
    let patch = kube::api::Patch::Merge(json!({ "status": { "currentPodHash": "newer" } }));
    let api = world.api::<Rollout>();
    api.patch_status("web", &kube::api::PatchParams::default(), &patch)
        .await
        .unwrap();
    let run = world.until("gated", is_concluded).await;
    assert_eq!(outcome(&run), Some(GateOutcome::Refused));
    assert!(!world.get::<Rollout>("web").await.status.unwrap().abort);
    assert!(
        world
            .events("gated")
            .await
            .contains(&"GateRefused".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_gate_takes_a_deployment_back_to_its_previous_revision() {
    let world = World::new(|_| ok(0.5)).await;
    let _running = world.start();
    let deployment = |image: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": {
                "replicas": 2, "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "c", "image": image }] },
                },
            },
        })
    };
    let image = |deployment: &Deployment| {
        let pods = deployment.spec.as_ref().unwrap().template.spec.clone();
        pods.unwrap().containers[0].image.clone().unwrap()
    };
    let is_available = |deployment: &Deployment| {
        let generation = deployment.metadata.generation;
        deployment.status.as_ref().is_some_and(|status| {
            status.observed_generation == generation && status.updated_replicas == Some(2)
        })
    };
    world.create::<Deployment>(deployment("web:1")).await;
    world.until("web", is_available).await;
    let change = json!({ "spec": { "template": { "spec": {
        "containers": [{ "name": "c", "image": "web:2" }],
    } } } });
    world.merge::<Deployment>("web", change).await;
    world.until("web", is_available).await;
    world
        .create::<AnalysisRun>(a_gated_run("Deployment", json!([a_metric(json!({}))])))
        .await;
    let run = world.until("gated", is_concluded).await;
    assert_eq!(
        outcome(&run),
        Some(GateOutcome::Applied),
        "{:?}",
        run.status
    );
    assert_eq!(image(&world.get::<Deployment>("web").await), "web:1");
}

/// Metrics of all kinds: a series of measurements, and a Job.
fn all_sorts() -> Value {
    let job = json!({ "template": {
        "metadata": { "annotations": { "simulation.verdict.dev/runs-for": "5s" } },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] },
    } });
    json!([
        a_metric(json!({ "interval": "10s", "count": 3, "failureLimit": 3 })),
        { "name": "smoke", "provider": { "job": { "spec": job } } },
    ])
}

/// Lets a gated run end while the controller is killed at its request number `fatal`, before or
/// after the server has carried it out, and started again. Returns false if it made fewer requests.
async fn killed_at(fatal: usize, fault: Fault) -> bool {
    let world = World::new(|_| ok(0.99)).await;
    a_paused_rollout(&world).await;
    world
        .create::<AnalysisRun>(a_gated_run("Rollout", all_sorts()))
        .await;
    let (made, killed) = (AtomicUsize::new(0), Arc::new(Notify::new()));
    let kill = Arc::clone(&killed);
    world.server.set_faults(move |request| {
        if request.user_agent != PROGRAM || made.fetch_add(1, Ordering::Relaxed) != fatal {
            return Fault::None;
        }
        kill.notify_one();
        fault
    });
    let running = world.start();
    let reached = tokio::select! {
        () = killed.notified() => true,
        _ = world.until("gated", is_concluded) => false,
    };
    running.kill().await;
    world.server.clear_faults();
    let _running = world.start();
    let run = world.until("gated", is_concluded).await;
    let name = format!("killed at request {fatal} with {fault:?}");
    assert_eq!(phase(&run), Phase::Successful, "{name}: {:?}", run.status);
    assert_eq!(
        outcome(&run),
        Some(GateOutcome::Applied),
        "{name}: {:?}",
        run.status
    );
    assert_eq!(result(&run, "success-rate").count, 3, "{name}");
    assert_eq!(result(&run, "smoke").count, 1, "{name}");
    assert_eq!(
        world.list::<Job>().await.len(),
        1,
        "{name}: {:?}",
        world.list::<Job>().await
    );
    let status = world.get::<Rollout>("web").await.status.unwrap();
    assert_eq!(
        status.current_step_index,
        Some(1),
        "{name}: a step was skipped"
    );
    assert!(status.pause_conditions.is_empty(), "{name}");
    reached
}

const NEVER_CARRIED_OUT: Fault = Fault::Delay(std::time::Duration::from_hours(24));

/// Kills the controller at each request in turn, with one fault after the other.
async fn killed_anywhere(faults: &[Fault]) {
    let mut fatal = 0;
    while killed_at(fatal, faults[fatal % faults.len()]).await {
        fatal += 1;
    }
    assert!(
        fatal > 15,
        "only {fatal} requests: the story does not reach far"
    );
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_request_it_loses_and_doubles_nothing() {
    killed_anywhere(&[NEVER_CARRIED_OUT, Fault::AppliedThenSilence]).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes half a minute: run with --ignored after a change of the controller"]
async fn killed_before_and_after_any_request_it_loses_and_doubles_nothing() {
    for fault in [NEVER_CARRIED_OUT, Fault::AppliedThenSilence] {
        killed_anywhere(&[fault]).await;
    }
}
