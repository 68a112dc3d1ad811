//! The Services of a canary.

use super::*;
use crate::api::PingPongSide;

/// A canary with a Service for each version.
fn with_services(steps: Value) -> Value {
    json!({"canaryService": "canary", "stableService": "stable", "steps": steps})
}

fn running(steps: Value) -> World {
    let world = World::new(with_services(steps)).with_services(&["canary", "stable"]);
    world.started()
}

#[test]
fn services_follow_the_versions_and_stay_with_the_promoted_one() {
    let mut world = running(json!([{"setWeight": 20}, {"pause": {}}]));
    for service in ["canary", "stable"] {
        assert_eq!(world.behind(service), "web:1");
        let manager = &world.services[service].annotations()[labels::MANAGED_BY];
        assert_eq!(manager, "web");
    }
    world.release("web:2");
    world.settle();
    assert_eq!(
        (world.behind("canary"), world.behind("stable")),
        ("web:2".into(), "web:1".into())
    );
    let (old, new) = (world.status().stable_rs, world.status().current_pod_hash);
    let expected = format!("Switched selector for service 'canary' from '{old}' to '{new}'");
    assert_eq!(world.told("SwitchService"), [expected]);
    world.promote();
    world.settle();
    for service in ["canary", "stable"] {
        assert_eq!(world.behind(service), "web:2");
    }
}

#[test]
fn a_version_without_available_pods_is_behind_no_service() {
    let mut world = running(json!([{"setWeight": 20}, {"pause": {}}]));
    world.broken.insert("web:2".into());
    world.release("web:2");
    world.settle();
    assert_eq!(world.behind("canary"), "web:1");
    world.broken.clear();
    world.settle();
    assert_eq!(world.behind("canary"), "web:2");
}

#[test]
fn a_service_of_other_pods_is_adopted_when_the_version_has_all_its_pods() {
    let mut world = World::new(with_services(json!([]))).with_services(&["canary", "stable"]);
    for _ in 0..3 {
        world.pass();
        world.kubelet(4);
    }
    assert_eq!(
        (world.available(), world.behind("stable")),
        (8, String::new())
    );
    world.settle();
    assert_eq!(world.behind("stable"), "web:1");
}

#[test]
fn after_an_abort_both_services_select_the_stable_version() {
    let mut world = running(json!([{"setWeight": 50}, {"pause": {}}]));
    world.release("web:2");
    world.settle();
    world.abort();
    world.pass();
    assert_eq!(
        (world.behind("canary"), world.behind("stable")),
        ("web:1".into(), "web:1".into())
    );
}

#[test]
fn the_stable_service_leaves_the_old_version_before_its_last_pods_do() {
    let mut world = running(json!([]));
    world.release("web:2");
    for _ in 0..200 {
        let stable = world.behind("stable");
        let behind = world.replica_sets.iter().find(|set| image(set) == stable);
        let wanted = behind.and_then(|set| set.spec.replicas);
        assert_ne!(wanted, Some(0), "{stable}");
        world.pass();
        world.kubelet(1);
    }
    assert_eq!(
        (world.behind("stable"), world.summary()),
        ("web:2".into(), "Healthy".into())
    );
}

#[test]
fn what_others_take_out_of_a_service_is_put_back() {
    let mut world = running(json!([]));
    let service = world.services.get_mut("stable").unwrap();
    service.metadata.annotations = None;
    world.settle();
    assert_eq!(
        world.services["stable"].annotations()[labels::MANAGED_BY],
        "web"
    );
    assert!(
        world.told("SwitchService").is_empty(),
        "it still selects the same"
    );
    let service = world.services.get_mut("stable").unwrap();
    let selector = service.spec.as_mut().unwrap().selector.as_mut().unwrap();
    selector.remove(labels::POD_TEMPLATE_HASH);
    world.settle();
    assert_eq!(world.behind("stable"), "web:1");
}

#[test]
fn services_that_take_turns_never_change_the_version_they_serve() {
    let turns = json!({"steps": [{"setWeight": 20}, {"pause": {}}],
        "pingPong": {"pingService": "ping", "pongService": "pong"}});
    let mut world = World::new(turns).with_services(&["ping", "pong"]).started();
    let side = |world: &World| world.status().canary.stable_ping_pong;
    assert_eq!(
        (world.behind("ping"), side(&world)),
        ("web:1".into(), Some(PingPongSide::Ping))
    );
    world.release("web:2");
    world.settle();
    assert_eq!(
        (world.behind("ping"), world.behind("pong")),
        ("web:1".into(), "web:2".into())
    );
    world.promote();
    world.settle();
    assert_eq!(
        (world.behind("pong"), side(&world)),
        ("web:2".into(), Some(PingPongSide::Pong))
    );
    world.release("web:3");
    world.settle();
    assert_eq!(
        (world.behind("ping"), world.behind("pong")),
        ("web:3".into(), "web:2".into())
    );
}

#[test]
fn services_that_cannot_be_used_stop_the_rollout_until_they_can() {
    let mut world = World::new(with_services(json!([])));
    let services = World::new(json!({}))
        .with_services(&["canary", "stable"])
        .services;
    world.pass();
    let missing = |field: &str| {
        format!(
            "spec.strategy.canary.{field}Service: Invalid value: \"{field}\": service \"{field}\" \
             not found"
        )
    };
    let expected = format!(
        "Degraded InvalidSpec: The Rollout \"web\" is invalid: {}; {}",
        missing("canary"),
        missing("stable")
    );
    assert_eq!((world.summary(), world.wake_at), (expected, None));
    assert!(world.replica_sets.is_empty());

    world.services = services;
    let stable = world.services.get_mut("stable").unwrap();
    stable
        .annotations_mut()
        .insert(labels::MANAGED_BY.into(), "other".into());
    let selector = stable.spec.as_mut().unwrap().selector.as_mut().unwrap();
    selector.insert("tier".into(), "front".into());
    world.pass();
    for expected in [
        "Service \"stable\" is managed by another Rollout",
        "Service \"stable\" has unmatch label \"tier\" in rollout",
    ] {
        assert!(world.summary().contains(expected), "{}", world.summary());
    }

    let mut world = world.with_services(&["stable"]);
    world.settle();
    assert_eq!(
        (world.summary().as_str(), world.behind("stable").as_str()),
        ("Healthy", "web:1")
    );
    world.services.remove("stable");
    world.settle();
    assert!(
        world.summary().ends_with(&missing("stable")),
        "{}",
        world.summary()
    );
}

#[test]
fn one_service_cannot_serve_two_versions() {
    let twice = |both: &str| {
        format!(
            "This rollout uses the same service for the {both} services, but two different \
             services are required."
        )
    };
    let cases = [
        (
            json!({"canaryService": "a", "stableService": "a"}),
            twice("stable and canary"),
        ),
        (
            json!({"pingPong": {"pingService": "a", "pongService": "a"}}),
            twice("ping and pong"),
        ),
        (
            json!({"pingPong": {"pingService": "a", "pongService": ""}}),
            "Ping service and Pong service must to be set to use Ping-Pong feature".to_owned(),
        ),
    ];
    for (canary, expected) in cases {
        let mut world = World::new(canary).with_services(&["a"]);
        world.pass();
        assert!(world.summary().contains(&expected), "{}", world.summary());
    }
}
