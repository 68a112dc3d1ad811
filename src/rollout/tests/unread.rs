//! What cannot be read holds what needs it, and nothing else.

use std::sync::Arc;

use super::*;
use crate::rollout::Want;
use crate::traffic_routers::Versions;

const WHY: &str = "CannotObserve: forbidden; since ";

#[test]
fn pods_that_cannot_be_listed_hold_the_restart_only() {
    let mut world = World::running(steps(json!([{"setWeight": 20}, {"pause": {}}])));
    world.release("web:2");
    world.settle();
    world.is_unread = Some(|want| matches!(want, Want::Pods(_)));
    let now = world.now;
    world.change_spec(|spec| spec.restart_at = Some(Time(now)));
    world.settle();
    assert!(world.waiting().starts_with(WHY), "{}", world.waiting());
    assert_eq!(world.told("ReconciliationError").len(), 1);
    world.change_spec(|spec| spec.replicas = Some(20));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 16), ("web:2", 4)]));
    world.promote();
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:2", 20)]));
    assert_eq!(world.status().restarted_at, None);
    world.is_unread = None;
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.waiting(), "");
}

#[test]
fn pods_that_cannot_be_listed_hold_no_abort_up() {
    let mut world = World::running(steps(json!([{"setWeight": 50}, {"pause": {}}])));
    world.release("web:2");
    world.settle();
    world.is_unread = Some(|want| matches!(want, Want::Pods(_)));
    let now = world.now;
    world.change_spec(|spec| spec.restart_at = Some(Time(now)));
    world.abort();
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    assert!(world.summary().starts_with("Degraded RolloutAborted"));
}

#[test]
fn a_template_that_cannot_be_read_holds_its_analysis_only() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::new(analysed(&analysis))
        .with_template("up")
        .started();
    world.release("web:2");
    world.pass();
    world.is_unread = Some(|want| matches!(want, Want::Template(_)));
    world.settle();
    assert_eq!(world.status().current_step_index, Some(1));
    assert!(world.runs.is_empty());
    assert!(world.waiting().starts_with(WHY), "{}", world.waiting());
    world.change_spec(|spec| spec.replicas = Some(20));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 16), ("web:2", 4)]));
    world.is_unread = None;
    world.settle();
    assert_eq!(world.runs.len(), 1);
    assert!(world.waiting().starts_with("Analysis: "));
}

#[test]
fn a_version_does_not_begin_before_its_templates_can_be_read() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::new(analysed(&analysis))
        .with_template("up")
        .started();
    world.is_unread = Some(|want| matches!(want, Want::Template(_)));
    world.release("web:2");
    world.settle();
    assert!(world.waiting().starts_with(WHY), "{}", world.waiting());
    assert_eq!(world.replica_sets.len(), 1);
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    world.is_unread = None;
    world.settle();
    assert_eq!(world.runs.len(), 1);
}

#[test]
fn an_object_that_cannot_be_read_holds_the_traffic_and_not_the_pods() {
    let mut world = World::routed(steps(json!([{"setWeight": 20}, {"pause": {}}]))).started();
    world.is_unread = Some(|want| matches!(want, Want::Router(_)));
    world.release("web:2");
    world.settle();
    assert_eq!(world.status().current_step_index, Some(0));
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 2)]));
    let expected = "TrafficRoutingError: Traefik: forbidden; since ";
    assert!(world.waiting().starts_with(expected), "{}", world.waiting());
    world.change_spec(|spec| spec.replicas = Some(20));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 20), ("web:2", 4)]));
    world.is_unread = None;
    world.settle();
    assert_eq!(world.summary(), "Paused CanaryPauseStep");
    let weights = world.status().canary.weights.unwrap();
    assert_eq!(weights.canary.weight, 20);
}

#[test]
fn registrations_that_cannot_be_read_hold_the_promotion_only() {
    let mut world = blue_green::new(json!({}));
    world.versions = Arc::new(Versions {
        target_group_bindings: Some(("elbv2.k8s.aws".to_owned(), "v1beta1".to_owned())),
        ..Versions::default()
    });
    let mut world = world.started();
    world.is_unread = Some(|want| matches!(want, Want::Router(_)));
    world.release("web:2");
    world.settle();
    assert_eq!(world.served(), blue_green::both("web:2", "web:2"));
    assert_ne!(world.status().stable_rs, world.status().current_pod_hash);
    assert!(world.waiting().starts_with(WHY), "{}", world.waiting());
    let all = pods(&[("web:1", 10), ("web:2", 10)]);
    assert_eq!(world.pods(), all);
    world.change_spec(|spec| spec.replicas = Some(20));
    world.settle();
    let more = pods(&[("web:1", 20), ("web:2", 20)]);
    assert_eq!(world.pods(), more);
}
