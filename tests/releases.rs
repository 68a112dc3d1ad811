//! Stories of releases that are judged by their metrics: both controllers, scripted sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::http::StatusCode;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use verdict::api::{
    AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, PauseReason, Phase, Rollout,
    RolloutPhase, crds,
};
use verdict::rollout::operations;

use crate::world::release::{a_rollout, pods};
use crate::world::{Running, World, seconds};

/// A template whose metric asks about one version; `change` is merged into the metric.
fn a_template(kind: &str, name: &str, change: &Value) -> Value {
    let mut metric = json!({
        "name": "success-rate", "successCondition": "result >= 0.95",
        "provider": { "web": { "url": "http://stats.shop/{{args.version}}" } },
    });
    json_patch::merge(&mut metric, change);
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": { "name": name },
        "spec": { "args": [{ "name": "version" }], "metrics": [metric] },
    })
}

/// Asks a template about the version that is released.
fn asks(template: &str) -> Value {
    json!({
        "templates": [{ "templateName": template }],
        "args": [{ "name": "version", "valueFrom": { "podTemplateHashValue": "Latest" } }],
    })
}

fn ok(value: f64) -> (StatusCode, Value) {
    (StatusCode::OK, json!(value))
}

/// Version 1 of the Rollout runs, with the template `rate` that its steps ask.
async fn running(world: &World, metric: &Value, canary: Value) -> Running {
    let running = world.start();
    let template = a_template("AnalysisTemplate", "rate", metric);
    world.create::<AnalysisTemplate>(template).await;
    world.create::<Rollout>(a_rollout(canary)).await;
    world.until_phase(RolloutPhase::Healthy).await;
    running
}

fn phase(run: &AnalysisRun) -> Option<Phase> {
    run.status.as_ref().and_then(|status| status.phase)
}

/// How many measurements of its only metric have counted.
fn count(run: &AnalysisRun) -> i32 {
    run.status.as_ref().unwrap().metric_results[0].count
}

/// An hour in which nobody is asked anything.
async fn is_at_rest(world: &World) {
    seconds(60).await;
    world.server.forget_accesses();
    let questions = world.questions();
    seconds(3600).await;
    assert_eq!(world.requests(), 0, "{:?}", world.server.accesses());
    assert_eq!(world.questions(), questions);
}

#[tokio::test(start_paused = true)]
async fn a_good_version_is_promoted_by_its_metrics() {
    let world = World::new(|_| ok(0.99)).await;
    let background = json!({ "interval": "30s" });
    let background = a_template("AnalysisTemplate", "always", &background);
    world.create::<AnalysisTemplate>(background).await;
    let canary = json!({
        "steps": [{ "setWeight": 20 }, { "analysis": asks("rate") },
            { "pause": { "duration": "5m" } }, { "setWeight": 50 }],
        "analysis": asks("always"),
    });
    let _running = running(&world, &json!({ "interval": "10s", "count": 3 }), canary).await;
    assert_eq!(world.questions(), 0, "a first version is not judged");
    let fewest = world.fewest_ready_pods();
    world.release("web:2").await;
    let paused = world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 8), ("web:2", 2)])
    );
    let hash = paused.current_pod_hash;
    let inline: AnalysisRun = world.get(&format!("web-{hash}-2-1")).await;
    assert_eq!(
        (phase(&inline), count(&inline)),
        (Some(Phase::Successful), 3)
    );

    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    assert!(fewest.load(Ordering::Relaxed) >= 8, "{fewest:?}");
    let name = format!("web-{hash}-2");
    let background = world
        .until(&name, |run| phase(run) == Some(Phase::Successful))
        .await;
    assert!(background.spec.terminate, "nobody asks any more");
    assert!((10..=15).contains(&count(&background)), "{background:?}");
    let asked = world.asked.lock().unwrap().clone();
    assert!(
        asked.iter().all(|question| question.contains(&hash)),
        "{asked:?}"
    );
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_is_taken_back_and_judged_afresh_when_retried() {
    let is_good = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&is_good);
    let world = World::new(move |_| {
        ok(if says.load(Ordering::Relaxed) {
            0.99
        } else {
            0.5
        })
    })
    .await;
    let metric = json!({ "interval": "10s", "count": 10, "failureLimit": 1 });
    let canary = json!({ "steps": [{ "setWeight": 20 }, { "analysis": asks("rate") }] });
    let _running = running(&world, &metric, canary).await;
    let fewest = world.fewest_ready_pods();
    world.release("web:2").await;
    let status = world.until_taken_back().await;
    assert_eq!(status.phase, Some(RolloutPhase::Degraded));
    assert_eq!(
        status.message,
        "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase \
         error/failed: Metric \"success-rate\" assessed Failed due to failed (2) > failureLimit (1)"
    );
    let hash = status.current_pod_hash;
    let canary: ReplicaSet = world.get(&format!("web-{hash}")).await;
    assert_eq!(canary.spec.unwrap().replicas, Some(0));
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    assert!(fewest.load(Ordering::Relaxed) >= 8, "{fewest:?}");
    assert_eq!(world.questions(), 2);
    is_at_rest(&world).await;

    is_good.store(true, Ordering::Relaxed);
    world.merge_status(json!({ "abort": false })).await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    let first: AnalysisRun = world.get(&format!("web-{hash}-2-1")).await;
    let second: AnalysisRun = world.get(&format!("web-{hash}-2-1.1")).await;
    assert_eq!((phase(&first), count(&first)), (Some(Phase::Failed), 2));
    assert_eq!(
        (phase(&second), count(&second)),
        (Some(Phase::Successful), 10)
    );
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_turns_bad_during_a_pause_is_taken_back() {
    let asked = AtomicUsize::new(0);
    let good_for = 20;
    let world = World::new(move |_| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        ok(if number < good_for { 0.99 } else { 0.1 })
    })
    .await;
    let canary = json!({
        "steps": [{ "setWeight": 50 }, { "pause": {} }], "analysis": asks("rate"),
    });
    let _running = running(&world, &json!({ "interval": "1m" }), canary).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    let status = world.until_taken_back().await;
    let why = "Background analysis phase error/failed: Metric \"success-rate\" assessed Failed due \
        to failed (1) > failureLimit (0)";
    assert!(status.message.ends_with(why), "{}", status.message);
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    assert_eq!(world.questions(), good_for + 1);
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_undecided_version_waits_for_a_person() {
    let world = World::new(|_| ok(0.7)).await;
    let metric = json!({ "failureCondition": "result < 0.5" });
    let canary = json!({
        "steps": [{ "setWeight": 20 }, { "analysis": asks("rate") }, { "setWeight": 50 }],
    });
    let _running = running(&world, &metric, canary).await;
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Paused).await;
    let reasons = status.pause_conditions.iter().map(|pause| &pause.reason);
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [&PauseReason::InconclusiveAnalysis]
    );
    is_at_rest(&world).await;
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 8), ("web:2", 2)])
    );
    let rollout: Rollout = world.get("web").await;
    world.operate(&operations::promote(&rollout)).await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    assert_eq!(world.questions(), 1, "a person has decided");
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_template_of_the_cluster_is_used_as_soon_as_it_is_there() {
    let world = World::new(|_| ok(0.99)).await;
    let _running = world.start();
    let mut analysis = asks("rate");
    analysis["templates"][0]["clusterScope"] = json!(true);
    let canary = json!({ "steps": [{ "setWeight": 20 }, { "analysis": analysis }] });
    world.create::<Rollout>(a_rollout(canary)).await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    assert_eq!(
        status.message,
        "InvalidSpec: The Rollout \"web\" is invalid: spec.strategy.canary.steps[1].analysis.templates: \
         Invalid value: \"rate\": ClusterAnalysisTemplate 'rate' not found"
    );
    let template = a_template("ClusterAnalysisTemplate", "rate", &json!({}));
    let template = serde_json::from_value(template).unwrap();
    Api::<ClusterAnalysisTemplate>::all(world.client.clone())
        .create(&PostParams::default(), &template)
        .await
        .unwrap();
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    let asked = world.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains(&status.current_pod_hash), "{asked:?}");
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn where_runs_have_a_status_subresource_all_goes_as_well() {
    let mut kinds = crds::all();
    let rollouts = kinds.iter().find(|kind| kind.spec.names.kind == "Rollout");
    let mut subresources = rollouts.unwrap().spec.versions[0].subresources.clone();
    subresources.as_mut().unwrap().scale = None;
    for kind in &mut kinds {
        if kind.spec.names.kind == "AnalysisRun" {
            kind.spec.versions[0].subresources.clone_from(&subresources);
        }
    }
    let world = World::defined_by(kinds, |_| ok(0.99)).await;
    let metric = json!({ "interval": "10s", "count": 5 });
    let canary = json!({ "steps": [{ "setWeight": 20 }, { "analysis": asks("rate") }] });
    let _running = running(&world, &metric, canary).await;
    world.server.forget_accesses();
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Healthy).await;
    let run: AnalysisRun = world
        .get(&format!("web-{}-2-1", status.current_pod_hash))
        .await;
    assert_eq!((phase(&run), count(&run)), (Some(Phase::Successful), 5));
    assert_eq!(world.questions(), 5);
    assert_eq!(run.metadata.generation, Some(1));
    let accesses = world.server.accesses();
    let patches = accesses.iter().filter(|(access, _)| {
        access.resource.starts_with("analysisruns") && access.verb == "patch"
    });
    let patches: u64 = patches.map(|(_, count)| count).sum();
    assert!((5..=12).contains(&patches), "{accesses:?}");

    is_at_rest(&world).await;
}
