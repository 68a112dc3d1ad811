//! Stories of restarts: pods that are older than `spec.restartAt` are made again.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt as _;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use verdict::api::{Rollout, RolloutPhase, RolloutStatus};
use verdict::rollout::operations;

use crate::world::release::{a_rollout, pods};
use crate::world::trouble::{BEFORE_AND_AFTER, Trouble, ends_alike};
use crate::world::{PROGRAM, Running, World, seconds};

async fn running(rollout: Value) -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    (world, running)
}

/// As `kubectl argo rollouts restart`.
async fn restart(world: &World, at: Timestamp) {
    world.merge::<Rollout>("web", operations::restart(at)).await;
}

async fn until_restarted(world: &World) -> RolloutStatus {
    let is_restarted = |rollout: &Rollout| {
        let at = rollout
            .status
            .as_ref()
            .and_then(|status| status.restarted_at.clone());
        at.is_some() && at == rollout.spec.restart_at
    };
    world.until("web", is_restarted).await.status.unwrap()
}

async fn names(world: &World) -> BTreeSet<String> {
    world.names::<Pod>().await.into_iter().collect()
}

fn evictions(world: &World) -> u64 {
    let accesses = world.server.accesses();
    let evictions = accesses
        .iter()
        .filter(|(access, _)| access.program == PROGRAM && access.resource == "pods/eviction");
    evictions.map(|(_, count)| count).sum()
}

async fn is_at_rest(world: &World) {
    seconds(60).await;
    world.server.forget_accesses();
    seconds(3600).await;
    assert_eq!(world.requests(), 0, "{:?}", world.server.accesses());
}

#[tokio::test(start_paused = true)]
async fn all_pods_are_made_again_and_few_are_missing() {
    let (world, _running) = running(a_rollout(json!({}))).await;
    let before = names(&world).await;
    let fewest = world.fewest_ready_pods();
    world.server.forget_accesses();
    restart(&world, world.clock.now()).await;
    let status = world.until_phase(RolloutPhase::Progressing).await;
    assert_eq!(status.message, "rollout is restarting");
    until_restarted(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    assert_eq!(evictions(&world), 10);
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    assert!(names(&world).await.is_disjoint(&before));
    assert!(fewest.load(Ordering::Relaxed) >= 8, "{fewest:?}");
    assert_eq!(world.messages("RolloutRestarted").await.len(), 1);
    assert_eq!(
        world.status().await.current_step_index,
        status.current_step_index
    );
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn one_pod_is_made_again_with_a_gap() {
    let mut rollout = a_rollout(json!({ "maxUnavailable": 0, "maxSurge": 1 }));
    rollout["spec"]["replicas"] = json!(1);
    let (world, _running) = running(rollout).await;
    let before = names(&world).await;
    restart(&world, world.clock.now()).await;
    until_restarted(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert!(names(&world).await.is_disjoint(&before));
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_an_update_the_stable_version_comes_first() {
    let steps = json!({ "steps": [{ "setWeight": 50 }, { "pause": {} }] });
    let (world, _running) = running(a_rollout(steps)).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(60).await;
    let before = names(&world).await;
    let fewest = world.fewest_ready_pods();
    restart(&world, world.clock.now()).await;
    // Until the last has gone, no pod of the other version has.
    let olds = |pods: Vec<Pod>| {
        let olds = pods
            .into_iter()
            .filter(|pod| before.contains(&pod.name_any()));
        olds.map(|pod| pod.spec.unwrap().containers[0].image.clone().unwrap())
            .collect::<Vec<_>>()
    };
    let mut left = olds(world.list::<Pod>().await);
    while left.contains(&"web:1".to_owned()) {
        assert!(world.status().await.restarted_at.is_none());
        assert_eq!(
            left.iter().filter(|image| *image == "web:2").count(),
            5,
            "{left:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        left = olds(world.list::<Pod>().await);
    }
    let status = until_restarted(&world).await;
    assert_eq!(status.phase, Some(RolloutPhase::Paused));
    assert_eq!(status.current_step_index, Some(1));
    seconds(60).await;
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 5), ("web:2", 5)])
    );
    assert!(names(&world).await.is_disjoint(&before));
    assert!(fewest.load(Ordering::Relaxed) >= 8, "{fewest:?}");
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_future_waits_for_its_time() {
    let (world, _running) = running(a_rollout(json!({}))).await;
    let before = names(&world).await;
    let at = world.clock.now() + SignedDuration::from_hours(2);
    restart(&world, at).await;
    seconds(60).await;
    assert_eq!(world.status().await.message, "rollout is restarting");
    world.server.forget_accesses();
    seconds(7000).await;
    assert_eq!(world.requests(), 0, "{:?}", world.server.accesses());
    assert_eq!(names(&world).await, before);
    seconds(600).await;
    assert!(names(&world).await.is_disjoint(&before));
    world.until_phase(RolloutPhase::Healthy).await;
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn another_template_cancels_a_restart() {
    let (world, _running) = running(a_rollout(json!({ "steps": [{ "pause": {} }] }))).await;
    let before = names(&world).await;
    let budget = json!({ "metadata": { "name": "web" }, "spec": {
        "maxUnavailable": 0, "selector": { "matchLabels": { "app": "web" } } } });
    world.create::<PodDisruptionBudget>(budget).await;
    seconds(60).await;
    restart(&world, world.clock.now()).await;
    seconds(60).await;
    world.release("web:2").await;
    let status = until_restarted(&world).await;
    assert_eq!(status.current_step_index, Some(0));
    assert_eq!(world.messages("RestartCanceled").await.len(), 1);
    world
        .delete::<PodDisruptionBudget>("web", PropagationPolicy::Background)
        .await;
    seconds(600).await;
    assert!(
        names(&world).await.is_superset(&before),
        "no pod was evicted"
    );
}

#[tokio::test(start_paused = true)]
async fn a_disruption_budget_holds_a_restart_back() {
    let (world, _running) = running(a_rollout(json!({}))).await;
    let before = names(&world).await;
    let budget = json!({ "metadata": { "name": "web" }, "spec": {
        "maxUnavailable": 0, "selector": { "matchLabels": { "app": "web" } } } });
    world.create::<PodDisruptionBudget>(budget).await;
    seconds(60).await;
    restart(&world, world.clock.now()).await;
    seconds(600).await;
    assert_eq!(names(&world).await, before);
    let told = world.messages("RestartDelayed").await;
    assert!(!told.is_empty(), "why nothing moves");
    assert!(told[0].contains("Cannot evict pod"), "{told:?}");
    // An update goes on all the same.
    let more = json!({ "spec": { "maxUnavailable": 1 } });
    let fewest = world.fewest_ready_pods();
    world.merge::<PodDisruptionBudget>("web", more).await;
    until_restarted(&world).await;
    assert!(names(&world).await.is_disjoint(&before));
    assert!(fewest.load(Ordering::Relaxed) >= 9, "{fewest:?}");
}

#[tokio::test(start_paused = true)]
async fn pods_that_do_not_work_are_made_again_at_once() {
    let (world, _running) = running(a_rollout(json!({ "maxUnavailable": 1 }))).await;
    let before = names(&world).await;
    for name in &before {
        let broken = json!({ "simulation.verdict.dev/never-ready": "true" });
        let patch = json!({ "metadata": { "annotations": broken } });
        world.merge::<Pod>(name, patch).await;
    }
    seconds(60).await;
    assert!(world.ready_pods().await.is_empty());
    restart(&world, world.clock.now()).await;
    until_restarted(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert!(names(&world).await.is_disjoint(&before));
}

async fn a_restart(trouble: Option<Trouble>) -> (Value, usize) {
    let world = World::without_sources().await;
    let story = Box::pin(async {
        let mut rollout = a_rollout(json!({}));
        rollout["spec"]["replicas"] = json!(5);
        world.create::<Rollout>(rollout).await;
        world.until_phase(RolloutPhase::Healthy).await;
        seconds(60).await;
        restart(&world, world.clock.now()).await;
        let _ = until_restarted(&world).await;
        seconds(120).await;
    });
    let writes = world.tell(trouble, story).await;
    let status = world.status().await;
    let at = status.restarted_at.unwrap().0;
    let young = world.list::<Pod>().await.into_iter();
    let young = young
        .filter(|pod| pod.creation_timestamp().unwrap().0 >= at)
        .count();
    (json!({ "phase": status.phase, "young": young }), writes)
}

#[tokio::test(start_paused = true)]
async fn killed_at_some_writes_a_restart_ends_alike() {
    ends_alike((3, true, &BEFORE_AND_AFTER), 10..100, a_restart).await;
}
