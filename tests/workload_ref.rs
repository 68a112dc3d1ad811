//! Stories of Rollouts whose pod template is another object's.

use std::sync::atomic::Ordering;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplate};
use kube::ResourceExt as _;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use verdict::api::{Rollout, RolloutPhase};
use verdict::rollout::labels;

use crate::world::release::{a_rollout, pods};
use crate::world::trouble::{BEFORE_AND_AFTER, REFUSALS, Trouble, ends_alike};
use crate::world::{PROGRAM, Running, World, seconds};

fn a_template(image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": image }] },
    })
}

/// The workload `shop` of a kind, with ten pods if it has any.
fn a_workload(kind: &str, image: &str) -> Value {
    let template = a_template(image);
    let spec = json!({
        "replicas": 10, "selector": { "matchLabels": { "app": "web" } }, "template": template,
    });
    match kind {
        "PodTemplate" => json!({ "metadata": { "name": "shop" }, "template": template }),
        _ => json!({ "metadata": { "name": "shop" }, "spec": spec }),
    }
}

/// The Rollout `web` that refers to it.
fn a_reference(api_version: &str, kind: &str, scale_down: &str) -> Value {
    let mut rollout = a_rollout(json!({ "steps": [{ "setWeight": 20 }, { "pause": {} }] }));
    let spec = rollout["spec"].as_object_mut().unwrap();
    spec.remove("template");
    spec.remove("selector");
    rollout["spec"]["workloadRef"] = json!({
        "apiVersion": api_version, "kind": kind, "name": "shop", "scaleDown": scale_down,
    });
    rollout
}

async fn release(world: &World, image: &str) {
    let containers = json!([{ "name": "web", "image": image }]);
    let spec = json!({ "template": { "spec": { "containers": containers } } });
    world
        .merge::<Deployment>("shop", json!({ "spec": spec }))
        .await;
}

/// A Deployment that runs, and a Rollout that takes its place.
async fn migrated(scale_down: &str) -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    world
        .create::<Deployment>(a_workload("Deployment", "web:1"))
        .await;
    let all = |deployment: &Deployment| {
        deployment
            .status
            .as_ref()
            .and_then(|status| status.available_replicas)
            == Some(10)
    };
    world.until("shop", all).await;
    let rollout = a_reference("apps/v1", "Deployment", scale_down);
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    (world, running)
}

async fn replicas(world: &World) -> i32 {
    let deployment: Deployment = world.get("shop").await;
    deployment.spec.unwrap().replicas.unwrap()
}

async fn resize(world: &World, replicas: i32) {
    let spec = json!({ "spec": { "replicas": replicas } });
    world.merge::<Deployment>("shop", spec).await;
}

async fn is_at_rest(world: &World) {
    seconds(60).await;
    world.server.forget_accesses();
    seconds(3600).await;
    assert_eq!(world.requests(), 0, "{:?}", world.server.accesses());
}

/// Requests of the controller about Deployments and pod templates.
fn about_workloads(world: &World) -> u64 {
    let accesses = world.server.accesses();
    let kinds = ["deployments", "podtemplates"];
    let ours = accesses.iter().filter(|(access, _)| {
        access.program == PROGRAM && kinds.contains(&access.resource.as_str())
    });
    ours.map(|(_, count)| count).sum()
}

#[tokio::test(start_paused = true)]
async fn a_release_is_a_change_of_the_deployment() {
    let (world, _running) = migrated("").await;
    let rollout: Rollout = world.get("web").await;
    let status = rollout.status.clone().unwrap();
    assert!(rollout.spec.template.fields().is_empty() && rollout.spec.selector.is_none());
    assert_eq!(rollout.annotations()[labels::WORKLOAD_GENERATION], "1");
    assert_eq!(status.workload_observed_generation, "1");
    assert_eq!(status.selector, "app=web");
    let set: ReplicaSet = world.get(&format!("web-{}", status.stable_rs)).await;
    assert_eq!(set.annotations()[labels::WORKLOAD_GENERATION], "1");
    assert_eq!(replicas(&world).await, 10, "never scaled down");
    is_at_rest(&world).await;

    resize(&world, 0).await;
    world
        .until_status(|status| status.workload_observed_generation == "2")
        .await;
    assert_eq!(world.status().await.current_pod_hash, status.stable_rs);
    release(&world, "web:2").await;
    let paused = world
        .until_status(|status| status.phase == Some(RolloutPhase::Paused))
        .await;
    assert_eq!(paused.workload_observed_generation, "3");
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 8), ("web:2", 2)])
    );
    let annotations = world.get::<Rollout>("web").await;
    assert_eq!(annotations.annotations()[labels::WORKLOAD_GENERATION], "3");
    world.merge_status(json!({ "pauseConditions": null })).await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_template_and_a_replica_set_will_do_as_well() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    let template = a_workload("PodTemplate", "web:1");
    world.create::<PodTemplate>(template).await;
    let mut rollout = a_reference("v1", "PodTemplate", "onsuccess");
    world.create::<Rollout>(rollout.clone()).await;
    let message = world.until_phase(RolloutPhase::Degraded).await.message;
    assert!(
        message.contains("Rollout has missing field '.spec.selector'"),
        "{message}"
    );
    let selector = json!({ "spec": { "selector": { "matchLabels": { "app": "web" } } } });
    world.merge::<Rollout>("web", selector).await;
    world.until_phase(RolloutPhase::Healthy).await;
    let containers = json!([{ "name": "web", "image": "web:2" }]);
    let change = json!({ "template": { "spec": { "containers": containers } } });
    world.merge::<PodTemplate>("shop", change).await;
    world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 8), ("web:2", 2)])
    );

    let mut set = a_workload("ReplicaSet", "api:1");
    set["spec"]["replicas"] = json!(0);
    world.create::<ReplicaSet>(set).await;
    rollout = a_reference("apps/v1", "ReplicaSet", "onsuccess");
    rollout["metadata"]["name"] = json!("api");
    rollout["spec"]["selector"] = json!({ "matchLabels": { "app": "web" } });
    world.create::<Rollout>(rollout).await;
    let is_healthy = |rollout: &Rollout| {
        let status = rollout.status.as_ref();
        status.is_some_and(|status| status.phase == Some(RolloutPhase::Healthy))
    };
    world.until("api", is_healthy).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_referred_to_may_come_later_and_go() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    let rollout = a_reference("apps/v1", "Deployment", "");
    world.create::<Rollout>(rollout).await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    assert_eq!(
        status.message,
        "InvalidSpec: The Rollout \"web\" is invalid: spec.workloadRef.name: Invalid value: \
         \"shop\": Deployment 'shop' not found"
    );
    is_at_rest(&world).await;
    world
        .create::<Deployment>(a_workload("Deployment", "web:1"))
        .await;
    world.until_phase(RolloutPhase::Healthy).await;
    let foreground = PropagationPolicy::Foreground;
    world.delete::<Deployment>("shop", foreground).await;
    world.until_phase(RolloutPhase::Degraded).await;
    is_at_rest(&world).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    world
        .create::<Deployment>(a_workload("Deployment", "web:1"))
        .await;
    world.until_phase(RolloutPhase::Healthy).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_referred_to_is_named() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    let both = |mut rollout: Value| {
        rollout["spec"]["template"] = json!({ "spec": a_template("web:2")["spec"] });
        rollout
    };
    let cases = [
        (
            a_reference("batch/v1", "Job", ""),
            "spec.workloadRef: Invalid value: \"batch/Job\": workload of type batch/Job is not \
             supported: supported are apps/Deployment, apps/ReplicaSet and PodTemplate",
        ),
        (
            both(a_reference("apps/v1", "Deployment", "")),
            "spec.template: Invalid value: template must be empty for workload reference rollout",
        ),
    ];
    for (number, (mut rollout, expected)) in cases.into_iter().enumerate() {
        let name = format!("web-{number}");
        rollout["metadata"]["name"] = json!(name);
        world.create::<Rollout>(rollout).await;
        let is_refused = |rollout: &Rollout| {
            let status = rollout.status.as_ref();
            status.is_some_and(|status| status.message.contains(expected))
        };
        world.until(&name, is_refused).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_watches_what_no_rollout_refers_to() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    world
        .create::<Deployment>(a_workload("Deployment", "web:1"))
        .await;
    let mut other = a_rollout(json!({}));
    other["metadata"]["name"] = json!("other");
    world.create::<Rollout>(other).await;
    seconds(60).await;
    assert_eq!(about_workloads(&world), 0);
    let rollout = a_reference("apps/v1", "Deployment", "");
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert!(
        (2..=3).contains(&about_workloads(&world)),
        "{:?}",
        world.server.accesses()
    );
}

#[tokio::test(start_paused = true)]
async fn a_deployment_goes_when_the_rollout_is_healthy() {
    let (world, _running) = migrated("onsuccess").await;
    assert_eq!(replicas(&world).await, 0);
    let deployment: Deployment = world.get("shop").await;
    assert_eq!(deployment.annotations()[labels::SCALED_DOWN_FROM], "10");
    let told = world.messages("ScalingDeployment").await;
    assert_eq!(told, ["Scaled down Deployment shop from 10 to 0"]);
    is_at_rest(&world).await;
    // As a GitOps tool that applies its manifest again, in the middle of an update.
    release(&world, "web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    resize(&world, 10).await;
    seconds(60).await;
    assert_eq!(replicas(&world).await, 10, "not before the update is over");
    world.merge_status(json!({ "pauseConditions": null })).await;
    world
        .until_status(|status| status.phase == Some(RolloutPhase::Healthy))
        .await;
    seconds(60).await;
    assert_eq!(replicas(&world).await, 0);
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_makes_room_as_pods_become_available() {
    let (world, _running) = migrated("progressively").await;
    assert_eq!(replicas(&world).await, 0);
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    resize(&world, 10).await;
    seconds(60).await;
    assert_eq!(replicas(&world).await, 0);
    // That pods are missing later is not the Deployment's business any more.
    let larger = json!({ "spec": { "replicas": 12 } });
    world.merge::<Rollout>("web", larger).await;
    world.until_phase(RolloutPhase::Healthy).await;
    let told = world.messages("ScalingDeployment").await;
    assert!(
        told.iter().all(|message| message.contains("Scaled down")),
        "{told:?}"
    );
    is_at_rest(&world).await;
}

/// Scripts four pods of the Rollout.
async fn script(world: &World, annotation: &str, value: &str) {
    let pods = world.list::<Pod>().await;
    let ours = pods
        .iter()
        .filter(|pod| pod.labels().contains_key(labels::POD_TEMPLATE_HASH));
    let mut names: Vec<String> = ours.map(Pod::name_any).collect();
    names.sort();
    for name in names.iter().take(4) {
        let annotations = json!({ format!("simulation.verdict.dev/{annotation}"): value });
        let patch = json!({ "metadata": { "annotations": annotations } });
        world.merge::<Pod>(name, patch).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_grows_again_when_pods_are_lost_on_the_way() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    world
        .create::<Deployment>(a_workload("Deployment", "web:1"))
        .await;
    seconds(60).await;
    let mut rollout = a_reference("apps/v1", "Deployment", "progressively");
    let slow = json!({ "simulation.verdict.dev/ready-after": "1h" });
    rollout["spec"]["strategy"]["canary"]["stableMetadata"] = json!({ "annotations": slow });
    world.create::<Rollout>(rollout).await;
    let fewest = world.fewest_ready_pods();
    seconds(60).await;
    assert_eq!(replicas(&world).await, 10, "nothing has come of it yet");
    script(&world, "ready-after", "1s").await;
    seconds(60).await;
    assert_eq!(replicas(&world).await, 6);
    assert!(fewest.load(Ordering::Relaxed) >= 10, "{fewest:?}");
    script(&world, "never-ready", "true").await;
    seconds(60).await;
    assert_eq!(replicas(&world).await, 10, "as many as before, and no more");
    script(&world, "never-ready", "false").await;
    seconds(7200).await;
    assert_eq!(replicas(&world).await, 0);
    is_at_rest(&world).await;
}

/// A Deployment is replaced by a Rollout, whose next version is released.
async fn a_migration(trouble: Option<Trouble>) -> (Value, usize) {
    let world = World::without_sources().await;
    let story = Box::pin(async {
        let mut deployment = a_workload("Deployment", "web:1");
        deployment["spec"]["replicas"] = json!(3);
        world.create::<Deployment>(deployment).await;
        seconds(60).await;
        let mut rollout = a_reference("apps/v1", "Deployment", "progressively");
        rollout["spec"]["replicas"] = json!(3);
        world.create::<Rollout>(rollout).await;
        seconds(200).await;
        release(&world, "web:2").await;
        seconds(200).await;
        world.merge_status(json!({ "pauseConditions": null })).await;
        seconds(200).await;
    });
    let writes = world.tell(trouble, story).await;
    let status = world.status().await;
    let outcome = json!({
        "pods": world.ready_pods().await, "phase": status.phase, "message": status.message,
        "generation": status.workload_observed_generation == world.get::<Rollout>("web").await
            .annotations()[labels::WORKLOAD_GENERATION],
        "sets": world.list::<ReplicaSet>().await.len(), "replicas": replicas(&world).await,
    });
    (outcome, writes)
}

#[tokio::test(start_paused = true)]
async fn killed_at_some_writes_a_migration_ends_alike() {
    ends_alike((5, true, &BEFORE_AND_AFTER), 20..200, a_migration).await;
    ends_alike((7, false, &REFUSALS), 20..200, a_migration).await;
}
