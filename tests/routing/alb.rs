//! Stories of AWS Load Balancer Controller: Services that take turns, and load balancers that are asked
//! whether they have the weights.

use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};

use super::aws::{BINDING, Balancer, HOST, INGRESSES};
use super::*;
use crate::world::routers::{alb, alb_in_turns};

#[tokio::test(start_paused = true)]
async fn services_take_turns_and_none_is_led_elsewhere_while_it_has_traffic() {
    let router = alb_in_turns();
    let (world, _running) = running(&router).await;
    let parts = async || router.weights(&world).await;
    // The first version is behind `ping`: parts are those of `pong` and of `ping`.
    assert_eq!(parts().await, (0, 100));
    let first = world.fewest_pods_behind("ping");
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    assert_eq!(parts().await, (20, 80));
    assert_eq!(world.behind("pong").await, pods(&[("web:2", 2)]));
    world.operate(&operations::abort()).await;
    world.until_taken_back().await;
    assert_eq!(parts().await, (0, 100));
    assert_eq!(world.behind("ping").await, pods(&[("web:1", 10)]));
    world.merge_status(json!({ "abort": false })).await;
    until_paused_at(&world, 20).await;
    assert_eq!(first.load(Ordering::Relaxed), 10);
    promote(&world).await;
    until_paused_at(&world, 50).await;
    promote(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    is_at_rest(&world).await;
    assert_eq!(parts().await, (100, 0));
    assert_eq!(world.behind("pong").await, pods(&[("web:2", 10)]));
    // Back to the other side.
    let second = world.fewest_pods_behind("pong");
    world.release("web:3").await;
    until_paused_at(&world, 20).await;
    assert_eq!(parts().await, (80, 20));
    assert_eq!(world.behind("ping").await, pods(&[("web:3", 2)]));
    world.operate(&operations::abort()).await;
    world.until_taken_back().await;
    is_at_rest(&world).await;
    assert_eq!(parts().await, (100, 0));
    assert_eq!(second.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn the_side_that_serves_keeps_all_traffic_when_its_rollout_is_deleted() {
    let router = alb_in_turns();
    let (world, _running) = running(&router).await;
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    world.operate(&operations::promote_full()).await;
    world.until_phase(RolloutPhase::Healthy).await;
    // Now `pong` serves, and the next version comes behind `ping`.
    world.release("web:3").await;
    until_paused_at(&world, 20).await;
    assert_eq!(router.weights(&world).await, (80, 20));
    let least = world.fewest_pods_behind("pong");
    // The pods go on without it.
    let policy = PropagationPolicy::Orphan;
    world.delete::<Rollout>("web", policy).await;
    seconds(60).await;
    assert_eq!(router.weights(&world).await, (100, 0));
    for ingress in router.objects(&world).await {
        let annotations = ingress["metadata"]["annotations"].as_object().unwrap();
        assert_eq!(annotations.len(), 1, "its action alone: {annotations:?}");
    }
    assert!(least.load(Ordering::Relaxed) >= 10);
    for service in ["ping", "pong"] {
        let service: Service = world.get(service).await;
        let selector = service.spec.unwrap().selector.unwrap();
        assert_eq!(selector.keys().collect::<Vec<_>>(), ["app"]);
    }
}

/// Version 1 of `web` runs behind a load balancer that is asked for its weights.
pub(super) async fn verified_by(balancer: &Balancer) -> (World, Running) {
    let router = alb();
    let world = installed(&router).await;
    world.define(BINDING).await;
    for ingress in INGRESSES {
        let hosts = json!({ "loadBalancer": { "ingress": [{ "hostname": HOST }] } });
        let patch = Patch::Merge(json!({ "status": hosts }));
        let params = PatchParams::default();
        let ingresses = world.api_of(INGRESS);
        ingresses
            .patch_status(ingress, &params, &patch)
            .await
            .unwrap();
    }
    let running = World::start_rollouts_with(balancer.setup(&world));
    start(&world, &router).await;
    (world, running)
}

pub(super) async fn until_unverified_at(world: &World, weight: i32) -> RolloutStatus {
    let is_so = |status: &RolloutStatus| {
        let weights = status.canary.weights.as_ref();
        weights.is_some_and(|it| it.canary.weight == weight && it.verified == Some(false))
    };
    world.until_status(is_so).await
}

#[tokio::test(start_paused = true)]
async fn a_weight_holds_its_step_until_the_load_balancer_has_it() {
    let balancer = Balancer::default();
    let (world, _running) = verified_by(&balancer).await;
    world.release("web:2").await;
    until_unverified_at(&world, 20).await;
    seconds(300).await;
    assert_eq!(world.status().await.current_step_index, Some(0));
    let told = world.messages("TargetGroupUnverified").await;
    let expected = "not verified: canary weight 20 not yet set (current: 0)";
    assert_eq!(told.len(), 2, "one for each Ingress: {told:?}");
    assert!(told.iter().all(|told| told.ends_with(expected)), "{told:?}");
    balancer.set(20);
    until_paused_at(&world, 20).await;
    let status = world.status().await;
    assert_eq!(status.canary.weights.unwrap().verified, Some(true));
    let albs: Vec<&str> = status.albs.iter().map(|alb| alb.ingress.as_str()).collect();
    assert_eq!(albs, INGRESSES);
    let group = status.alb.unwrap().canary_target_group.unwrap();
    assert_eq!(group.name, "alb-inner-canary");
    // To the end: nothing goes and nobody is promoted before it is confirmed.
    promote(&world).await;
    until_unverified_at(&world, 50).await;
    balancer.set(50);
    until_paused_at(&world, 50).await;
    promote(&world).await;
    until_unverified_at(&world, 100).await;
    seconds(300).await;
    let all = pods(&[("web:1", 10), ("web:2", 10)]);
    assert_eq!(world.ready_pods().await, all);
    balancer.set(100);
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(120).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_an_aborted_version_stay_while_the_load_balancer_leads_to_them() {
    let balancer = Balancer::default();
    let (world, _running) = verified_by(&balancer).await;
    world.release("web:2").await;
    until_unverified_at(&world, 20).await;
    balancer.set(20);
    until_paused_at(&world, 20).await;
    world.operate(&operations::abort()).await;
    seconds(300).await;
    assert_eq!(alb().weights(&world).await, (0, 100));
    let both = pods(&[("web:1", 10), ("web:2", 2)]);
    assert_eq!(world.ready_pods().await, both);
    balancer.set(0);
    seconds(120).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_that_refuses_to_tell_is_told_once_and_asked_again() {
    let balancer = Balancer::default();
    let (world, _running) = verified_by(&balancer).await;
    balancer.refuse(Some("AccessDenied"));
    world.release("web:2").await;
    until_unverified_at(&world, 20).await;
    seconds(300).await;
    let why = "ALB: cannot DescribeLoadBalancers in eu-west-1: answered 403: AccessDenied: not you";
    assert_eq!(world.messages("WeightVerifyError").await, [why]);
    let status = world.status().await;
    assert_eq!(status.current_step_index, Some(0));
    let mut waits = status.conditions.iter();
    assert!(
        waits.any(|it| it.message.contains(why)),
        "{:?}",
        status.conditions
    );
    balancer.refuse(None);
    balancer.set(20);
    until_paused_at(&world, 20).await;
}
