//! Stories of AWS Load Balancer Controller's `TargetGroupBindings`: the version before stays as long as
//! AWS does not know all pods of the one after it.

use k8s_openapi::api::core::v1::Endpoints;
use verdict::api::{AnalysisRun, AnalysisTemplate};

use super::alb::{until_unverified_at, verified_by};
use super::aws::{BINDING, Balancer};
use super::*;
use crate::world::release::{a_rollout_with, addresses};

const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/web/1";

/// Binds a target group to port 80 of a Service, by the addresses of pods, and another one otherwise.
async fn bind(world: &World, service: &str) {
    world.define(BINDING).await;
    for (name, kind) in [("web", "ip"), ("nodes", "instance")] {
        let port = json!({ "name": service, "port": 80 });
        let spec = json!({ "serviceRef": port, "targetType": kind, "targetGroupARN": ARN });
        let binding = json!({ "metadata": { "name": name }, "spec": spec });
        world.put(BINDING, binding).await;
    }
}

/// Address and port of the pods that a Service sends requests to.
async fn targets(world: &World, service: &str) -> Vec<(String, i32)> {
    let endpoints: Endpoints = world.get(service).await;
    let found = addresses(&endpoints).map(|address| (address.ip.clone(), 8080));
    found.collect()
}

fn not_verified(service: &str, registered: usize) -> String {
    format!(
        "Service {service} (TargetGroup {ARN}) not verified: {registered}/10 endpoints registered"
    )
}

/// Version 1 runs behind the Service `active`; AWS knows none of its pods, and needs not.
async fn blue_green(balancer: &Balancer, change: &Value) -> (World, Running) {
    let world = World::without_sources().await;
    world.create_services(&["active"]).await;
    let running = World::start_rollouts_with(balancer.setup(&world));
    let mut strategy = json!({ "activeService": "active", "scaleDownDelaySeconds": 30 });
    json_patch::merge(&mut strategy, change);
    let rollout = a_rollout_with(json!({ "blueGreen": strategy }));
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    (world, running)
}

/// Version 2 comes, users are led to it, and nobody registers it for five minutes.
async fn switch(world: &World) {
    world.release("web:2").await;
    let is_switched = |status: &RolloutStatus| {
        status.blue_green.active_selector == status.current_pod_hash
            && status.stable_rs != status.current_pod_hash
    };
    world.until_status(is_switched).await;
    seconds(300).await;
    assert_eq!(world.behind("active").await, pods(&[("web:2", 10)]));
    let both = pods(&[("web:1", 10), ("web:2", 10)]);
    assert_eq!(world.ready_pods().await, both);
}

/// A blue-green release whose pods are registered late.
pub(crate) async fn a_late_registration() -> World {
    let balancer = Balancer::default();
    let (world, running) = blue_green(&balancer, &json!({})).await;
    bind(&world, "active").await;
    balancer.register(&targets(&world, "active").await);
    switch(&world).await;
    assert!(is_switched_but_not_promoted(&world).await);
    let told = world.messages("TargetGroupUnverified").await;
    assert_eq!(told, [not_verified("active", 0)]);
    let waits = world.waits_for().await;
    let expected = format!("Router: {}; since ", not_verified("active", 0));
    assert!(waits.starts_with(&expected), "{waits}");
    let all = targets(&world, "active").await;
    balancer.register(&all[..4]);
    seconds(30).await;
    assert!(is_switched_but_not_promoted(&world).await);
    let mut told = world.messages("TargetGroupUnverified").await;
    told.sort();
    assert_eq!(told, [not_verified("active", 0), not_verified("active", 4)]);
    balancer.register(&all);
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    let verified = format!("Service active (TargetGroup {ARN}) verified: 10 endpoints registered");
    assert_eq!(world.messages("TargetGroupVerified").await, [verified]);
    assert_eq!(world.waits_for().await, "");
    running.stop().await;
    world
}

async fn is_switched_but_not_promoted(world: &World) -> bool {
    let status = world.status().await;
    status.stable_rs != status.current_pod_hash
        && status.blue_green.active_selector == status.current_pod_hash
}

#[tokio::test(start_paused = true)]
async fn a_version_that_serves_is_promoted_when_aws_knows_all_of_its_pods() {
    a_late_registration().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_is_judged_after_the_switch_when_aws_knows_all_of_its_pods() {
    let balancer = Balancer::default();
    let judged = json!({ "postPromotionAnalysis": { "templates": [{ "templateName": "up" }] } });
    let metrics = json!([{ "name": "up", "provider": { "web": { "url": "http://x" } } }]);
    let template = json!({ "metadata": { "name": "up" }, "spec": { "metrics": metrics } });
    let (world, _running) = {
        let (world, running) = blue_green(&balancer, &json!({})).await;
        world.create::<AnalysisTemplate>(template).await;
        let spec = json!({ "spec": { "strategy": { "blueGreen": judged } } });
        world.merge::<Rollout>("web", spec).await;
        (world, running)
    };
    bind(&world, "active").await;
    switch(&world).await;
    assert_eq!(world.names::<AnalysisRun>().await, Vec::<String>::new());
    balancer.register(&targets(&world, "active").await);
    let has_begun = |status: &RolloutStatus| {
        let slot = &status.blue_green.post_promotion_analysis_run_status;
        slot.is_some()
    };
    let status = world.until_status(has_begun).await;
    let slot = status.blue_green.post_promotion_analysis_run_status;
    // Pods may come and go while it is judged.
    balancer.register(&[]);
    world.judge(&slot.unwrap().name, "Successful", "").await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
}

#[tokio::test(start_paused = true)]
async fn pods_of_the_version_before_a_canary_stay_until_aws_knows_all_of_its_pods() {
    let balancer = Balancer::default();
    let (world, _running) = verified_by(&balancer).await;
    bind(&world, "stable").await;
    balancer.register(&targets(&world, "stable").await);
    world.release("web:2").await;
    until_unverified_at(&world, 20).await;
    balancer.set(20);
    until_paused_at(&world, 20).await;
    world.operate(&operations::promote_full()).await;
    let is_promoted = |status: &RolloutStatus| status.stable_rs == status.current_pod_hash;
    world.until_status(is_promoted).await;
    seconds(300).await;
    assert_eq!(world.behind("stable").await, pods(&[("web:2", 10)]));
    let both = pods(&[("web:1", 10), ("web:2", 10)]);
    assert_eq!(world.ready_pods().await, both);
    let told = world.messages("TargetGroupUnverified").await;
    assert_eq!(told.last(), Some(&not_verified("stable", 0)), "{told:?}");
    balancer.register(&targets(&world, "stable").await);
    seconds(120).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn what_hinders_the_question_is_told_once_and_asked_again() {
    let balancer = Balancer::default();
    let (world, _running) = blue_green(&balancer, &json!({})).await;
    switch(&world).await;
    let absent =
        "the cluster has no targetgroupbindings of elbv2.k8s.aws/v1beta1: is it installed?";
    assert_eq!(world.messages("TargetGroupVerifyError").await, [absent]);
    balancer.refuse(Some("AccessDenied"));
    bind(&world, "active").await;
    seconds(300).await;
    let mut told = world.messages("TargetGroupVerifyError").await;
    told.sort();
    let refused = "cannot DescribeTargetHealth in eu-west-1: answered 403: AccessDenied: not you";
    assert_eq!(told, [refused, absent]);
    assert!(is_switched_but_not_promoted(&world).await);
    // Without a binding there is nothing to ask.
    let bindings = world.api_of(BINDING);
    bindings.delete("web", &<_>::default()).await.unwrap();
    world.until_phase(RolloutPhase::Healthy).await;
}
