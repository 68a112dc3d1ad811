//! The commands that tell something.

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, Experiment, Rollout, RolloutPhase};
use verdict::cli::Program;
use verdict::cluster::Namespaced;

use super::desk::{Desk, a_world};
use crate::world::release::a_rollout_with;
use crate::world::{World, seconds};

const LOOKS: [&str; 4] = [
    "get rollout web",
    "list rollouts",
    "list ar",
    "status web --watch=false",
];

#[tokio::test(start_paused = true)]
async fn a_release_is_told_in_each_of_its_states() {
    let (world, _running) = a_world(1.0).await;
    let mut desk = Desk::new(&world);
    desk.run_all(&LOOKS).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(600).await;
    desk.run_all(&LOOKS).await;
    desk.run("promote web").await;
    seconds(70).await;
    desk.run_all(&LOOKS).await;
    desk.run("get rollout web -o wide").await;
    world.until_phase(RolloutPhase::Healthy).await;
    desk.run_all(&LOOKS).await;
    insta::assert_snapshot!(desk.transcript());
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_told_with_its_reason() {
    let (world, _running) = a_world(0.7).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    let mut desk = Desk::new(&world);
    desk.run("promote web").await;
    world.until_phase(RolloutPhase::Degraded).await;
    seconds(60).await;
    desk.run_all(&LOOKS).await;
    desk.run_all(&[
        "status web",
        "status web -o json",
        "list rollouts -A --timestamps",
        "list rollouts -o wide",
        "list rollouts -o name",
        "list rollouts --name none",
        "list rollouts -l team=none -o json",
        "list experiments",
        "get rollout wbe",
        "get experiment wbe",
    ])
    .await;
    let mut ours = Desk::with(&world, Program::Verdict);
    ours.run_all(&["status web", "get analysisrun wbe"]).await;
    insta::assert_snapshot!(format!("{}{}", desk.transcript(), ours.transcript()));
}

#[tokio::test(start_paused = true)]
async fn a_blue_green_release_is_told_with_who_is_active() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    world.create_services(&["active", "preview"]).await;
    let plan = json!({
        "activeService": "active", "previewService": "preview", "autoPromotionEnabled": false,
    });
    let mut rollout = a_rollout_with(json!({ "blueGreen": plan }));
    rollout["spec"]["replicas"] = json!(2);
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(60).await;
    let mut desk = Desk::new(&world);
    desk.run_all(&["get rollout web", "list rollouts", "why web", "promote web"])
        .await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(10).await;
    desk.run("get rollout web").await;
    insta::assert_snapshot!(desk.transcript());
}

async fn set_status<K: Namespaced>(world: &World, name: &str, status: Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    let patched = world.api::<K>();
    patched
        .patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Something that an Experiment owns.
fn owned(experiment: &Experiment, name: &str, mut object: Value) -> Value {
    let uid = experiment.metadata.uid.as_deref().unwrap();
    object["metadata"]["name"] = json!(name);
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "name": "compare", "uid": uid,
        "controller": true,
    }]);
    object
}

#[tokio::test(start_paused = true)]
async fn an_experiment_is_told_with_its_versions_and_verdicts() {
    let world = World::without_sources().await;
    let experiment = json!({
        "metadata": { "name": "compare" },
        "spec": { "templates": [], "duration": "1h" },
    });
    let experiment: Experiment = world.create(experiment).await;
    let status = json!({ "phase": "Running", "availableAt": "2026-01-01T00:00:00Z" });
    set_status::<Experiment>(&world, "compare", status).await;
    for (name, image) in [("base", "web:1"), ("next", "web:2")] {
        let containers = json!([{ "name": "web", "image": image }]);
        let labels = json!({ "app": name });
        let set = json!({
            "metadata": { "annotations": { "experiment.argoproj.io/template-name": name } },
            "spec": {
                "replicas": 1, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } },
            },
        });
        world
            .create::<ReplicaSet>(owned(&experiment, &format!("compare-{name}"), set))
            .await;
    }
    let job = json!({ "job-name": "compare-smoke.m.1" });
    let measurement = json!({
        "phase": "Successful", "startedAt": "2026-01-01T00:00:10Z", "metadata": job,
    });
    let result = json!({
        "name": "m", "phase": "Successful", "successful": 1, "count": 1,
        "measurements": [measurement],
    });
    let run = json!({ "metadata": {}, "spec": { "metrics": [] } });
    let run = owned(&experiment, "compare-smoke", run);
    world.create::<AnalysisRun>(run).await;
    let status = json!({ "phase": "Successful", "metricResults": [result] });
    set_status::<AnalysisRun>(&world, "compare-smoke", status).await;
    seconds(300).await;
    let mut desk = Desk::new(&world);
    for line in [
        "get exp compare",
        "list experiments",
        "list experiments -A -o wide",
    ] {
        desk.run(line).await;
    }
    insta::assert_snapshot!(desk.transcript());
}
