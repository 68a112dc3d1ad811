//! Stories of Services: which pods they lead to while one version replaces another, and after.

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use verdict::api::{Rollout, RolloutPhase};
use verdict::apiserver::Fault;
use verdict::rollout::labels;

use crate::world::release::a_rollout;
use crate::world::{PROGRAM, Running, World, seconds};

fn a_canary(service: &str) -> Value {
    json!({ "stableService": service, "steps": [{ "setWeight": 20 }, { "pause": {} }] })
}

async fn create_service(world: &World, name: &str) {
    let spec = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] });
    let service = json!({ "metadata": { "name": name }, "spec": spec });
    world.create::<Service>(service).await;
}

fn hash(service: &Service) -> Option<&String> {
    let selector = service.spec.as_ref()?.selector.as_ref()?;
    selector.get(labels::POD_TEMPLATE_HASH)
}

fn is_free(service: &Service) -> bool {
    hash(service).is_none() && !service.annotations().contains_key(labels::MANAGED_BY)
}

/// A cluster in which version 1 of a Rollout runs behind a Service.
async fn running() -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    create_service(&world, "stable").await;
    world.create::<Rollout>(a_rollout(a_canary("stable"))).await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.until("stable", |it| hash(it).is_some()).await;
    (world, running)
}

#[tokio::test(start_paused = true)]
async fn the_stable_service_leads_to_the_version_that_is_promoted() {
    let (world, _running) = running().await;
    let before: Service = world.get("stable").await;
    let status = world.status().await;
    assert_eq!(hash(&before), Some(&status.stable_rs));
    assert_eq!(before.annotations()[labels::MANAGED_BY], "web");
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(hash(&world.get("stable").await), Some(&status.stable_rs));
    world.merge_status(json!({ "pauseConditions": null })).await;
    let new = world.until_phase(RolloutPhase::Healthy).await.stable_rs;
    world.until("stable", |it| hash(it) == Some(&new)).await;
    let expected = format!(
        "Switched selector for service 'stable' from '{}' to '{new}'",
        status.stable_rs
    );
    assert!(world.messages("SwitchService").await.contains(&expected));
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_is_wiped_comes_back_at_once() {
    let (world, _running) = running().await;
    let wiped = json!({ "spec": { "selector": { labels::POD_TEMPLATE_HASH: null } } });
    world.merge::<Service>("stable", wiped).await;
    world.until("stable", |it| hash(it).is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_missing_is_waited_for() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    world.create::<Rollout>(a_rollout(a_canary("stable"))).await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    assert!(
        status.message.ends_with(
            "spec.strategy.canary.stableService: Invalid value: \"stable\": service \"stable\" \
             not found"
        ),
        "{}",
        status.message
    );
    create_service(&world, "stable").await;
    world.until_phase(RolloutPhase::Healthy).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_is_freed_when_its_rollout_is_deleted() {
    let (world, _running) = running().await;
    world
        .delete::<Rollout>("web", PropagationPolicy::Background)
        .await;
    world.until("stable", is_free).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_is_freed_when_its_rollout_names_another() {
    let (world, _running) = running().await;
    create_service(&world, "other").await;
    let strategy = json!({ "strategy": { "canary": a_canary("other") } });
    world
        .merge::<Rollout>("web", json!({ "spec": strategy }))
        .await;
    world.until("stable", is_free).await;
    world.until("other", |it| hash(it).is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_is_freed_when_its_rollout_went_while_nobody_looked() {
    let (world, running) = running().await;
    running.stop().await;
    world
        .delete::<Rollout>("web", PropagationPolicy::Background)
        .await;
    let _running = world.start_rollouts();
    world.until("stable", is_free).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_is_kept_while_nobody_can_tell_whether_its_rollout_is_gone() {
    let (world, _running) = running().await;
    world.server.set_faults(|asked| {
        let is_look = asked.user_agent == PROGRAM
            && (asked.verb, asked.resource.as_str()) == ("get", "rollouts");
        if is_look {
            Fault::Status(500)
        } else {
            Fault::None
        }
    });
    world
        .delete::<Rollout>("web", PropagationPolicy::Background)
        .await;
    seconds(50).await;
    let kept: Service = world.get("stable").await;
    assert!(hash(&kept).is_some());
    world.server.set_faults(|_| Fault::None);
    world.until("stable", is_free).await;
}
