//! The commands that tell something.

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, Experiment, RolloutPhase};
use verdict::cli::Program;
use verdict::cluster::Namespaced;

use super::desk::{Desk, a_world};
use crate::world::{World, seconds};

const LOOKS: [&str; 4] = [
    "get rollout web",
    "list rollouts",
    "list ar",
    "status web --watch=false",
];

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

pub(super) async fn set_status<K: Namespaced>(world: &World, name: &str, status: Value) {
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

/// Experiments that are new, done and lost.
async fn create_others(world: &World) {
    let ended = [
        ("new", json!({})),
        ("done", json!({ "phase": "Successful" })),
        (
            "lost",
            json!({ "phase": "Failed", "message": "Timed out: template 'next' has no pods" }),
        ),
    ];
    for (name, status) in ended {
        let spec = json!({ "templates": [], "duration": "5m" });
        let experiment = json!({ "metadata": { "name": name }, "spec": spec });
        world.create::<Experiment>(experiment).await;
        set_status::<Experiment>(world, name, status).await;
    }
}

/// An Experiment that compares two versions, and was judged.
pub(super) async fn an_experiment(world: &World) {
    let experiment = json!({
        "metadata": { "name": "compare" },
        "spec": { "templates": [], "duration": "1h" },
    });
    let experiment: Experiment = world.create(experiment).await;
    let status = json!({ "phase": "Running", "availableAt": "2026-01-01T00:00:00Z" });
    set_status::<Experiment>(world, "compare", status).await;
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
    set_status::<AnalysisRun>(world, "compare-smoke", status).await;
}

#[tokio::test(start_paused = true)]
async fn experiments_are_told_with_their_versions_and_verdicts() {
    let world = World::without_sources().await;
    an_experiment(&world).await;
    create_others(&world).await;
    seconds(300).await;
    let mut desk = Desk::new(&world);
    desk.run_all(&[
        "list experiments",
        "list experiments -A -o wide",
        "list exp -o name",
    ])
    .await;
    for name in ["compare", "new", "done", "lost"] {
        desk.run(&format!("get exp {name}")).await;
        desk.try_out(&format!("terminate exp {name}")).await;
        desk.try_out(&format!("retry exp {name}")).await;
    }
    desk.run("get exp compare -o wide").await;
    desk.run("get exp lost -o yaml").await;
    let mut ours = Desk::with(&world, Program::Verdict);
    ours.try_out("terminate experiment lost").await;
    insta::assert_snapshot!(desk.transcript() + &ours.transcript());
}
