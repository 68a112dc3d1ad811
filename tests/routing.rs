//! Stories of traffic: each router divides it as the steps say, and gives everything back.

mod alb;
mod aws;
mod gateway_api;
mod managed_routes;
mod missing;
pub(crate) mod registration;
mod sharing;
mod weights;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use verdict::api::{Rollout, RolloutPhase, RolloutStatus};
use verdict::apiserver::Fault;
use verdict::controllers::Setup;
use verdict::rollout::{labels, operations};

use crate::world::release::{a_rollout, pods};
use crate::world::routers::{self, INGRESS, Router, TRAEFIK, nginx, traefik};
use crate::world::trouble::{BEFORE_AND_AFTER, REFUSALS, Trouble, ends_alike, outcome};
use crate::world::{PROGRAM, Running, World, seconds};

fn a_canary(router: &Router) -> Value {
    router.canary(&json!([
        { "setWeight": 20 }, { "pause": {} }, { "setWeight": 50 }, { "pause": {} },
    ]))
}

/// What a router needs beside its own objects.
const SERVICES: [&str; 6] = ["canary", "stable", "ping", "pong", "root", "web"];

/// A cluster in which version 1 of the Rollout `web` runs behind a router.
async fn running(router: &Router) -> (World, Running) {
    let world = installed(router).await;
    let running = world.start_rollouts();
    start(&world, router).await;
    (world, running)
}

/// A cluster with a router and Services.
async fn installed(router: &Router) -> World {
    let world = World::without_sources().await;
    router.install(&world).await;
    world.create_services(&SERVICES).await;
    world
}

/// Version 1 of the Rollout `web` begins to run.
async fn start(world: &World, router: &Router) {
    let rollout = a_rollout(a_canary(router));
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(1).await;
}

fn weight(status: &RolloutStatus) -> Option<i32> {
    let weights = status.canary.weights.as_ref();
    weights.map(|weights| weights.canary.weight)
}

/// Waits until the pause after this weight.
async fn until_paused_at(world: &World, wanted: i32) {
    let is_there = |status: &RolloutStatus| {
        status.phase == Some(RolloutPhase::Paused) && weight(status) == Some(wanted)
    };
    world.until_status(is_there).await;
    seconds(1).await;
}

async fn promote(world: &World) {
    world.merge_status(json!({ "pauseConditions": null })).await;
}

async fn is_at_rest(world: &World) {
    seconds(120).await;
    world.server.forget_accesses();
    seconds(3600).await;
    assert_eq!(world.requests(), 0, "{:?}", world.server.accesses());
}

#[tokio::test(start_paused = true)]
async fn each_router_follows_the_steps_and_an_abort_takes_the_traffic_back() {
    for router in routers::all() {
        let (world, _running) = running(&router).await;
        let name = router.name;
        let before = router.written(&world).await;
        is_at_rest(&world).await;
        world.release("web:2").await;
        until_paused_at(&world, 20).await;
        assert_eq!(router.weights(&world).await, (20, 80), "{name}");
        assert_eq!(world.behind("canary").await, pods(&[("web:2", 2)]));
        is_at_rest(&world).await;
        promote(&world).await;
        until_paused_at(&world, 50).await;
        assert_eq!(router.weights(&world).await, (50, 50), "{name}");
        world.operate(&operations::abort()).await;
        world.until_taken_back().await;
        is_at_rest(&world).await;
        assert_eq!(router.written(&world).await, before, "{name}");
        assert_eq!(world.behind("canary").await, pods(&[("web:1", 10)]));
        world.merge_status(json!({ "abort": false })).await;
        until_paused_at(&world, 20).await;
        assert_eq!(router.weights(&world).await, (20, 80), "{name}");
        world.operate(&operations::promote_full()).await;
        world.until_phase(RolloutPhase::Healthy).await;
        is_at_rest(&world).await;
        assert_eq!(router.weights(&world).await, (0, 100), "{name}");
        assert_eq!(router.objects(&world).await.len(), before.len(), "{name}");
        assert_eq!(world.behind("stable").await, pods(&[("web:2", 10)]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_update_held_is_given_back_when_its_rollout_is_deleted() {
    for router in routers::all().into_iter().chain([routers::alb_in_turns()]) {
        for is_noticed in [true, false] {
            let world = installed(&router).await;
            let before = router.written(&world).await;
            let running = world.start_rollouts();
            start(&world, &router).await;
            world.release("web:2").await;
            until_paused_at(&world, 20).await;
            assert_ne!(router.written(&world).await, before);
            let running = if is_noticed {
                Some(running)
            } else {
                running.kill().await;
                None
            };
            // Argo CD deletes what is the Rollout's before the Rollout itself.
            let policy = if is_noticed {
                PropagationPolicy::Foreground
            } else {
                PropagationPolicy::Background
            };
            world.delete::<Rollout>("web", policy).await;
            seconds(60).await;
            let _running = running.unwrap_or_else(|| world.start_rollouts());
            seconds(60).await;
            let after = router.written(&world).await;
            assert_eq!(after, before, "{} {is_noticed}", router.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_update_held_is_given_back_when_its_rollout_names_another_router() {
    for router in routers::all() {
        for is_noticed in [true, false] {
            let world = installed(&router).await;
            let before = router.written(&world).await;
            let running = world.start_rollouts();
            start(&world, &router).await;
            world.release("web:2").await;
            until_paused_at(&world, 20).await;
            let running = if is_noticed {
                Some(running)
            } else {
                running.kill().await;
                None
            };
            // The kinds of the former router are not referred to any more.
            let canary = json!({ "canary": { "trafficRouting": null } });
            let spec = json!({ "spec": { "strategy": canary } });
            world.merge::<Rollout>("web", spec).await;
            let _running = running.unwrap_or_else(|| world.start_rollouts());
            seconds(60).await;
            let after = router.written(&world).await;
            assert_eq!(after, before, "{} {is_noticed}", router.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_update_held_is_given_back_when_its_rollout_has_no_canary_any_more() {
    for router in [nginx(), routers::http_route(), routers::alb()] {
        let world = installed(&router).await;
        let before = router.written(&world).await;
        let _running = world.start_rollouts();
        start(&world, &router).await;
        world.release("web:2").await;
        until_paused_at(&world, 20).await;
        let blue_green = json!({ "activeService": "web" });
        let strategy = json!({ "canary": null, "blueGreen": blue_green });
        let spec = json!({ "spec": { "strategy": strategy } });
        world.merge::<Rollout>("web", spec).await;
        world.until_phase(RolloutPhase::Healthy).await;
        seconds(60).await;
        assert_eq!(router.written(&world).await, before, "{}", router.name);
    }
}

#[tokio::test(start_paused = true)]
async fn subsets_select_any_version_again_when_their_rollout_is_deleted() {
    let router = routers::istio_by_subset();
    let rule = router.objects[1].0;
    let world = installed(&router).await;
    let before = world.all(rule).await[0]["spec"].clone();
    let _running = world.start_rollouts();
    start(&world, &router).await;
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    assert_eq!(router.weights(&world).await, (20, 80));
    let label = labels::POD_TEMPLATE_HASH;
    let subsets = world.all(rule).await[0]["spec"]["subsets"].clone();
    assert_ne!(subsets[0]["labels"][label], subsets[1]["labels"][label]);
    let policy = PropagationPolicy::Background;
    world.delete::<Rollout>("web", policy).await;
    seconds(60).await;
    assert_eq!(world.all(rule).await[0]["spec"], before);
    assert_eq!(router.weights(&world).await, (0, 100));
}

#[tokio::test(start_paused = true)]
async fn what_an_object_held_for_other_settings_is_given_back_in_the_same_write() {
    let router = nginx();
    let (world, _running) = running(&router).await;
    let mut other = router.objects[0].1.clone();
    other["metadata"]["name"] = json!("other");
    world.put(INGRESS, other).await;
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    let nginx = json!({ "stableIngress": "other" });
    let canary = json!({ "canary": { "trafficRouting": { "nginx": nginx } } });
    let spec = json!({ "spec": { "strategy": canary } });
    world.merge::<Rollout>("web", spec).await;
    seconds(60).await;
    let names: Vec<Value> = (router.objects(&world).await.iter())
        .map(|object| object["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["other", "web", "web-other-canary"]);
    assert_eq!(router.weights(&world).await, (20, 80));
}

#[tokio::test(start_paused = true)]
async fn objects_of_istio_may_be_in_another_cluster() {
    let router = routers::istio();
    let world = World::without_sources().await;
    let primary = World::without_sources().await;
    router.install(&primary).await;
    let before = router.written(&primary).await;
    world.create_services(&SERVICES).await;
    let setup = world.setup_as(PROGRAM);
    let cluster = setup.cluster.clone();
    let cluster = cluster.with_istio_by(primary.server.client_as(PROGRAM));
    let _running = World::start_rollouts_with(Setup { cluster, ..setup });
    start(&world, &router).await;
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    assert_eq!(router.weights(&primary).await, (20, 80));
    // What changes there is seen.
    let (kind, object) = &router.objects[0];
    primary.patch(*kind, "web", object.clone()).await;
    seconds(1).await;
    assert_eq!(router.weights(&primary).await, (20, 80));
    let policy = PropagationPolicy::Background;
    world.delete::<Rollout>("web", policy).await;
    seconds(60).await;
    assert_eq!(router.written(&primary).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_weight_that_somebody_changes_is_set_again() {
    let router = traefik();
    let (world, _running) = running(&router).await;
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    let services = json!([
        { "name": "stable", "port": 80, "weight": 1 }, { "name": "canary", "port": 80, "weight": 1 },
        { "name": "theirs", "port": 80, "weight": 3 },
    ]);
    let patch = json!({ "spec": { "weighted": { "services": services } } });
    world.patch(TRAEFIK, "web", patch).await;
    seconds(1).await;
    assert_eq!(router.weights(&world).await, (20, 80));
    let services = &router.objects(&world).await[0]["spec"]["weighted"]["services"];
    assert_eq!(services[2]["weight"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_installed_is_waited_for() {
    let world = World::without_sources().await;
    world.create_services(&["canary", "stable"]).await;
    let _running = world.start_rollouts();
    let router = traefik();
    let rollout = a_rollout(a_canary(&router));
    world.create::<Rollout>(rollout).await;
    let message = world.until_phase(RolloutPhase::Degraded).await.message;
    let expected = "spec.strategy.canary.trafficRouting: Invalid value: Traefik: the cluster has no \
        traefikservices of traefik.io/v1alpha1: is it installed?";
    assert!(message.ends_with(expected), "{message}");
    world.define(TRAEFIK).await;
    let is_missing = |status: &RolloutStatus| status.message.ends_with("not found");
    world.until_status(is_missing).await;
    router.install(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    is_at_rest(&world).await;
}

/// Refuses to let the controller write objects of a kind as long as told.
fn refuse_writes(world: &World, resource: &'static str) -> Arc<AtomicBool> {
    let is_refused = Arc::new(AtomicBool::new(true));
    let refused = Arc::clone(&is_refused);
    world.server.set_faults(move |request| {
        let is_write = request.user_agent == PROGRAM && request.resource == resource;
        if is_write && request.verb == "patch" && refused.load(Ordering::Relaxed) {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    is_refused
}

#[tokio::test(start_paused = true)]
async fn a_router_that_cannot_be_changed_holds_only_what_needs_it() {
    let (one, other) = (traefik(), nginx());
    let mut both = traefik();
    both.routing["nginx"] = other.routing["nginx"].clone();
    both.objects.extend(other.objects.clone());
    both.kinds.extend(other.kinds.clone());
    let (world, _running) = running(&both).await;
    let is_refused = refuse_writes(&world, "traefikservices");
    world.release("web:2").await;
    let is_told = |status: &RolloutStatus| {
        let mut told = status.conditions.iter();
        told.any(|it| it.reason == "TrafficRoutingError" && it.message.contains("`default/web`"))
    };
    let status = world.until_status(is_told).await;
    assert_eq!(
        (status.current_step_index, weight(&status)),
        (Some(0), Some(0))
    );
    seconds(300).await;
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 10), ("web:2", 2)])
    );
    assert_eq!(one.weights(&world).await, (0, 100));
    assert_eq!(
        other.weights(&world).await,
        (20, 80),
        "the other one goes on"
    );
    assert_eq!(world.messages("TrafficRoutingError").await.len(), 1);
    // It heals.
    is_refused.store(false, Ordering::Relaxed);
    until_paused_at(&world, 20).await;
    assert_eq!(one.weights(&world).await, (20, 80));
    // An abort is heard, and takes back what can be.
    is_refused.store(true, Ordering::Relaxed);
    world.operate(&operations::abort()).await;
    let is_aborted = |status: &RolloutStatus| status.abort && status.aborted_at.is_some();
    world.until_status(is_aborted).await;
    seconds(300).await;
    assert_eq!(other.weights(&world).await, (0, 100));
    assert_eq!(one.weights(&world).await, (20, 80));
    assert_eq!(world.behind("canary").await, pods(&[("web:2", 2)]));
    is_refused.store(false, Ordering::Relaxed);
    world.until_taken_back().await;
    assert_eq!(one.weights(&world).await, (0, 100));
}

/// A release that is aborted, retried and promoted; what is left of it.
async fn a_release(router: &Router, dynamic: bool, trouble: Option<Trouble>) -> (Value, usize) {
    let world = World::without_sources().await;
    router.install(&world).await;
    world.create_services(&SERVICES).await;
    let mut canary = a_canary(router);
    canary["dynamicStableScale"] = json!(dynamic);
    world.create::<Rollout>(a_rollout(canary)).await;
    let story = async {
        world.until_phase(RolloutPhase::Healthy).await;
        world.release("web:2").await;
        until_paused_at(&world, 20).await;
        world.operate(&operations::abort()).await;
        world.until_taken_back().await;
        world.merge_status(json!({ "abort": false })).await;
        until_paused_at(&world, 20).await;
        promote(&world).await;
        until_paused_at(&world, 50).await;
        promote(&world).await;
        world.until_phase(RolloutPhase::Healthy).await;
        seconds(200).await;
    };
    let writes = world.tell(trouble, Box::pin(story)).await;
    let mut end = outcome(&world).await;
    let mut objects = router.written(&world).await;
    for object in &mut objects {
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, _| ["name", "annotations"].contains(&field.as_str()));
    }
    end["objects"] = objects.into();
    (end, writes)
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_killed_at_any_write_divides_the_traffic_alike() {
    for router in [nginx(), traefik()] {
        let tell = async |trouble| a_release(&router, false, trouble).await;
        ends_alike((23, true, &BEFORE_AND_AFTER), 80..200, tell).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_made_again() {
    let tell = async |trouble| a_release(&traefik(), true, trouble).await;
    ends_alike((17, false, &REFUSALS), 80..200, tell).await;
}
