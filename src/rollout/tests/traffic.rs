//! Canaries whose traffic a router divides: that does at once what decisions say.

use super::*;
use crate::api::{RolloutStatus, WeightDestination};

fn weights(status: &RolloutStatus) -> (i32, i32) {
    let weights = status.canary.weights.as_ref();
    weights.map_or((-1, -1), |weights| {
        (weights.canary.weight, weights.stable.weight)
    })
}

impl World {
    fn wanted(&self, version: &str) -> i32 {
        let all = self.pods();
        all.iter()
            .find(|(image, _)| image == version)
            .map_or(0, |(_, pods)| *pods)
    }

    /// Where it stands: pods of both versions, then the canary's weight.
    fn stand(&self, stable: &str, canary: &str) -> String {
        let (weight, _) = weights(&self.status());
        format!("{}/{} {weight}", self.wanted(canary), self.wanted(stable))
    }

    /// Every stand on the way until nothing changes; pods become available between passes.
    fn way(&mut self, stable: &str, canary: &str) -> Vec<String> {
        let mut seen = vec![self.stand(stable, canary)];
        for _ in 0..100 {
            let before = (self.status(), self.replica_sets.clone());
            let changed = self.pass();
            let stand = self.stand(stable, canary);
            if seen.last() != Some(&stand) {
                seen.push(stand);
            }
            self.kubelet(i32::MAX / 2);
            if !changed && before == (self.status(), self.replica_sets.clone()) {
                return seen;
            }
        }
        panic!("never settles: {seen:?}");
    }

    fn way_of_release(&mut self) -> Vec<String> {
        self.release("web:2");
        self.way("web:1", "web:2")
    }
}

fn canary(more: Value) -> Value {
    let mut canary = steps(json!([{"setWeight": 20}, {"pause": {}}, {"setWeight": 50}]));
    json_patch::merge(&mut canary, &more);
    canary
}

fn routed(more: Value) -> World {
    World::routed(canary(more)).started()
}

#[test]
fn weights_follow_pods_that_come_and_lead_pods_that_go() {
    let mut world = routed(json!({}));
    assert_eq!(weights(&world.status()), (0, 100));
    assert_eq!(world.way_of_release(), ["0/10 0", "2/10 0", "2/10 20"]);
    assert_eq!(world.summary(), "Paused CanaryPauseStep");
    assert_eq!(world.behind("canary"), "web:2");
    let status = world.status();
    let recorded = status.canary.weights.clone().unwrap();
    let part = |weight, service: &str, hash: &str| WeightDestination {
        weight,
        service_name: service.into(),
        pod_template_hash: hash.into(),
        ..WeightDestination::default()
    };
    assert_eq!(
        recorded.canary,
        part(20, "canary", &status.current_pod_hash)
    );
    assert_eq!(recorded.stable, part(80, "stable", &status.stable_rs));
    world.promote();
    // The old version stays its half minute.
    assert_eq!(
        world.way("web:1", "web:2"),
        [
            "2/10 20",
            "5/10 20",
            "5/10 50",
            "10/10 50",
            "10/10 100",
            "10/10 0"
        ]
    );
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(
        (world.behind("stable"), world.behind("canary")),
        ("web:2".into(), "web:2".into())
    );
    let left = world.wake_at.unwrap().duration_since(world.now);
    assert_eq!(left, SignedDuration::from_secs(30));
    world.wait(29);
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    world.wait(1);
    assert_eq!(world.pods(), pods(&[("web:2", 10)]));
    let told = world.told("TrafficWeightUpdated");
    assert_eq!(
        told,
        [
            "Traffic weight updated from 0 to 20",
            "Traffic weight updated from 20 to 50",
            "Traffic weight updated from 50 to 100",
            "Traffic weight updated from 100 to 0",
        ]
    );
}

#[test]
fn a_dynamic_stable_version_gives_pods_away_after_its_traffic() {
    let mut world = routed(json!({"dynamicStableScale": true}));
    assert_eq!(
        world.way_of_release(),
        ["0/10 0", "2/10 0", "2/10 20", "2/8 20"]
    );
    world.promote();
    let way = world.way("web:1", "web:2");
    assert_eq!(
        way,
        [
            "2/8 20", "5/8 20", "5/8 50", "5/5 50", "10/5 50", "10/5 100", "10/5 0", "10/0 0"
        ]
    );
}

#[test]
fn an_abort_takes_the_traffic_back_and_the_pods_half_a_minute_later() {
    let mut world = routed(json!({}));
    world.way_of_release();
    world.abort();
    assert_eq!(world.way("web:1", "web:2"), ["2/10 20", "2/10 0"]);
    assert_eq!(world.behind("canary"), "web:1");
    world.wait(29);
    assert_eq!(world.wanted("web:2"), 2);
    world.wait(1);
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
}

#[test]
fn after_an_abort_the_canary_stays_as_long_as_asked() {
    for (delay, left) in [(0, None), (5, Some(5)), (86_400, Some(86_400))] {
        let mut world = routed(json!({"abortScaleDownDelaySeconds": delay}));
        world.way_of_release();
        world.abort();
        world.settle();
        let wake = world
            .wake_at
            .map(|at| at.duration_since(world.now).as_secs());
        assert_eq!((wake, world.wanted("web:2")), (left, 2), "{delay}");
        world.wait(86_399);
        let gone = delay == 5;
        assert_eq!(world.wanted("web:2") == 0, gone, "{delay}");
        // A retry takes it up again.
        world.retry();
        world.settle();
        assert_eq!(world.stand("web:1", "web:2"), "2/10 20");
        let set = world
            .replica_sets
            .iter()
            .find(|set| image(set) == "web:2")
            .unwrap();
        assert!(!set.annotations().contains_key(labels::SCALE_DOWN_DEADLINE));
    }
}

#[test]
fn a_dynamic_abort_unwinds_as_the_stable_version_grows() {
    let quarters = json!([{"setWeight": 25}, {"setWeight": 50}, {"setWeight": 75}, {"pause": {}},
        {"setWeight": 100}]);
    let canary = |more: Value| {
        let mut canary = json!({"steps": quarters, "dynamicStableScale": true});
        json_patch::merge(&mut canary, &more);
        let mut world = World::routed(canary);
        world.change_spec(|spec| spec.replicas = Some(4));
        let mut world = world.started();
        world.release("web:2");
        world.settle();
        assert_eq!(world.stand("web:1", "web:2"), "3/1 75");
        world.abort();
        world
    };
    let mut world = canary(json!({}));
    assert_eq!(
        world.way("web:1", "web:2"),
        [
            "3/1 75", "3/2 75", "2/2 50", "2/3 50", "1/3 25", "1/4 25", "0/4 0"
        ]
    );
    let mut world = canary(json!({"abortScaleDownDelaySeconds": 60}));
    let way = world.way("web:1", "web:2");
    assert_eq!(way, ["3/1 75", "3/2 75", "3/3 75", "3/4 25", "3/4 0"]);
    world.wait(60);
    assert_eq!(world.pods(), pods(&[("web:1", 4)]));
}

#[test]
fn the_stable_template_comes_back_as_fast_as_its_pods_do() {
    let mut world = routed(json!({"dynamicStableScale": true}));
    world.way_of_release();
    world.promote();
    for _ in 0..3 {
        world.pass();
        world.kubelet(100);
    }
    let (before, _) = weights(&world.status());
    assert_eq!(world.wanted("web:1"), 8);
    world.release("web:1");
    for _ in 0..50 {
        world.pass();
        let (weight, _) = weights(&world.status());
        assert!(
            weight == before || world.wanted("web:1") == 10,
            "{}",
            world.stand("web:1", "web:2")
        );
        world.kubelet(1);
    }
    assert_eq!(world.stand("web:1", "web:2"), "0/10 0");
    assert_eq!(world.summary(), "Healthy");
}

#[test]
fn what_goes_back_goes_as_far_as_pods_can_take_it() {
    let mut world = routed(json!({}));
    world.way_of_release();
    world.promote();
    world.settle();
    world.release("web:3");
    world.settle();
    world.promote();
    for _ in 0..4 {
        world.pass();
        world.kubelet(100);
    }
    assert_eq!(weights(&world.status()), (50, 50));
    // The stable version has lost three pods.
    let stable = world
        .replica_sets
        .iter_mut()
        .find(|set| image(set) == "web:2")
        .unwrap();
    stable.status.as_mut().unwrap().available_replicas = Some(7);
    world.abort();
    world.pass();
    assert_eq!(
        weights(&world.status()),
        (30, 70),
        "not to pods that are not there"
    );
    assert_eq!(world.behind("canary"), "web:3", "it still has traffic");
    world.kubelet(3);
    world.pass();
    assert_eq!(weights(&world.status()), (0, 100));
    assert_eq!(world.behind("canary"), "web:2");
}

#[test]
fn a_canary_without_pods_gets_no_traffic() {
    let mut world = routed(json!({}));
    world.way_of_release();
    world.broken.insert("web:2".into());
    world.settle();
    assert_eq!(world.stand("web:1", "web:2"), "2/10 0");
    world.broken.clear();
    world.settle();
    assert_eq!(world.stand("web:1", "web:2"), "2/10 20");
}

#[test]
fn a_stable_version_that_lacks_pods_lets_a_canary_relieve_it() {
    let mut world = routed(json!({}));
    world.broken.insert("web:1".into());
    world.kubelet(100);
    world.release("web:2");
    world.settle();
    assert_eq!(world.stand("web:1", "web:2"), "2/10 20");
    world.promote();
    world.settle();
    assert_eq!(
        (world.summary().as_str(), world.wanted("web:2")),
        ("Healthy", 10)
    );
}

#[test]
fn a_set_scale_goes_before_the_weight() {
    let scaled = |scale: Value| {
        steps(
            json!([{"setCanaryScale": scale}, {"setWeight": 50}, {"pause": {}},
            {"setCanaryScale": {"matchTrafficWeight": true}}, {"pause": {}}]),
        )
    };
    for (scale, expected) in [
        (json!({"replicas": 3}), "3/10 50"),
        (json!({"weight": 10}), "1/10 50"),
        (json!({"replicas": 0, "weight": 10}), "0/10 0"),
        (json!({}), "5/10 50"),
    ] {
        let mut world = World::routed(scaled(scale.clone())).started();
        world.release("web:2");
        world.settle();
        assert_eq!(world.stand("web:1", "web:2"), expected, "{scale}");
        if expected.ends_with(" 0") {
            continue;
        }
        assert_eq!(world.status().current_step_index, Some(2));
        world.promote();
        world.settle();
        assert_eq!(world.stand("web:1", "web:2"), "5/10 50", "{scale}");
    }
}

#[test]
fn a_version_has_few_or_no_pods_but_never_fewer_than_asked() {
    let mut world = routed(json!({"minPodsPerReplicaSet": 3}));
    assert_eq!(world.way_of_release(), ["0/10 0", "3/10 0", "3/10 20"]);
}

#[test]
fn weights_of_another_whole_divide_alike() {
    let backend = json!({"service": {"name": "stable", "port": {"number": 80}}});
    let rules = json!([{"http": {"paths": [{"path": "/", "backend": backend}]}}]);
    let world = World::routed_by(
        json!({"nginx": {"stableIngress": "web"}, "maxTrafficWeight": 1000}),
        steps(json!([{"setWeight": 200}, {"pause": {}}])),
    );
    let world = world.with_router(
        ("networking.k8s.io/v1", "Ingress", "web"),
        &json!({ "rules": rules }),
    );
    let mut world = world.started();
    world.release("web:2");
    world.settle();
    assert_eq!(world.stand("web:1", "web:2"), "2/10 200");
    assert_eq!(weights(&world.status()), (200, 800));
    world.promote();
    world.settle();
    assert_eq!(weights(&world.status()), (0, 1000));
}

#[test]
fn a_third_version_meets_nobody_before_it_has_pods() {
    let mut world = routed(json!({}));
    world.way_of_release();
    world.release("web:3");
    world.pass();
    world.pass();
    assert_eq!(weights(&world.status()), (0, 100));
    assert_eq!(world.wanted("web:2"), 2, "its Service still leads there");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:3", 2)]));
    assert_eq!(weights(&world.status()), (20, 80));
}

#[test]
fn the_next_version_takes_the_traffic_over_when_it_can() {
    let mut world = routed(json!({"dynamicStableScale": true}));
    world.way_of_release();
    world.release("web:3");
    for pods in 0..2 {
        for _ in 0..3 {
            world.pass();
        }
        assert_eq!(weights(&world.status()), (20, 80), "{pods}");
        assert_eq!(world.behind("canary"), "web:2", "{pods}");
        assert_eq!(world.wanted("web:2"), 2);
        world.kubelet(1);
    }
    world.settle();
    assert_eq!(world.behind("canary"), "web:3");
    assert_eq!(weights(&world.status()), (20, 80));
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:3", 2)]));
}

#[test]
fn weights_that_fall_do_so_before_the_pods() {
    let falling = json!([{"setWeight": 50}, {"pause": {}}, {"setWeight": 10}, {"pause": {}}]);
    let mut world = World::routed(steps(falling)).started();
    assert_eq!(world.way_of_release(), ["0/10 0", "5/10 0", "5/10 50"]);
    world.promote();
    let way = world.way("web:1", "web:2");
    assert_eq!(way, ["5/10 50", "1/10 10"]);
}

#[test]
fn skipped_steps_give_no_traffic_to_pods_that_are_not_there() {
    let mut world = routed(json!({}));
    world.change_spec(|spec| {
        let window = json!({"revisions": 3});
        spec.rollback_window = serde_json::from_value(window).unwrap();
    });
    world.wait(1);
    world.way_of_release();
    world.promote();
    world.settle();
    world.wait(60);
    assert_eq!(world.pods(), pods(&[("web:2", 10)]));
    world.release("web:1");
    let mut most = Vec::new();
    for _ in 0..30 {
        world.pass();
        let (weight, _) = weights(&world.status());
        let up = world
            .replica_sets
            .iter()
            .find(|set| image(set) == "web:1")
            .unwrap();
        let up = up
            .status
            .as_ref()
            .and_then(|status| status.available_replicas)
            .unwrap_or(0);
        most.push((weight, up));
        assert!(weight <= up * 10, "{most:?}");
        world.kubelet(1);
    }
    assert_eq!(
        (world.summary(), world.wanted("web:1")),
        ("Healthy".into(), 10)
    );
}

#[test]
fn a_full_promotion_keeps_the_weight_until_all_pods_are_there() {
    for (dynamic, expected) in [
        (false, ["2/10 20", "10/10 20", "10/10 0"].as_slice()),
        (
            true,
            ["2/8 20", "10/8 20", "10/8 100", "10/8 0", "10/0 0"].as_slice(),
        ),
    ] {
        let mut world = routed(json!({"dynamicStableScale": dynamic}));
        world.way_of_release();
        world.change_status(|status| status.promote_full = true);
        assert_eq!(world.way("web:1", "web:2"), expected, "{dynamic}");
        assert_eq!(world.summary(), "Healthy");
    }
}

#[test]
fn without_steps_the_promotion_moves_all_traffic() {
    let mut world = World::routed(json!({})).started();
    assert_eq!(world.way_of_release(), ["0/10 0", "10/10 0"]);
    assert_eq!(
        (world.summary(), world.behind("stable")),
        ("Healthy".into(), "web:2".into())
    );
}

#[test]
fn as_many_old_versions_stay_as_asked() {
    let mut world = routed(
        json!({"scaleDownDelaySeconds": 100, "scaleDownDelayRevisionLimit": 1,
        "steps": []}),
    );
    for version in 2..5 {
        world.release(&format!("web:{version}"));
        world.wait(1);
    }
    assert_eq!(world.pods(), pods(&[("web:3", 10), ("web:4", 10)]));
    world.wait(100);
    assert_eq!(world.pods(), pods(&[("web:4", 10)]));
}

#[test]
fn a_delay_of_nothing_is_none() {
    let mut world = routed(json!({"scaleDownDelaySeconds": 0, "steps": []}));
    world.release("web:2");
    world.settle();
    assert_eq!(
        (world.pods(), world.wake_at),
        (pods(&[("web:2", 10)]), None)
    );
}

#[test]
fn while_held_both_sides_follow_the_size() {
    let mut world = routed(json!({}));
    world.way_of_release();
    world.change_spec(|spec| spec.paused = true);
    world.change_spec(|spec| spec.replicas = Some(25));
    world.settle();
    assert_eq!(world.stand("web:1", "web:2"), "5/25 20");
    world.change_spec(|spec| spec.replicas = Some(5));
    world.settle();
    assert_eq!(world.stand("web:1", "web:2"), "1/5 20");
}

#[test]
fn routes_are_there_from_their_step_on_and_go_with_the_update() {
    let header = |name: &str| {
        json!({"setHeaderRoute": {"name": name,
            "match": [{"headerName": "x", "headerValue": {"exact": name}}]}})
    };
    let routing = json!({"istio": {"virtualService": {"name": "web", "routes": ["primary"]}},
        "managedRoutes": [{"name": "b"}, {"name": "a"}, {"name": "gone"}]});
    let canary = json!({"steps": [header("a"), header("b"), header("gone"), {"setWeight": 20},
        {"pause": {}}, {"setHeaderRoute": {"name": "gone"}}, {"pause": {}}]});
    let route = json!([{"destination": {"host": "stable"}, "weight": 100},
        {"destination": {"host": "canary"}, "weight": 0}]);
    let mut world = World::routed_by(routing, canary)
        .with_router(
            ("networking.istio.io/v1alpha3", "VirtualService", "web"),
            &json!({"http": [{"name": "primary", "route": route}]}),
        )
        .started();
    let names = |world: &World| -> Vec<String> {
        let service = world.router("VirtualService", "web").unwrap();
        let routes = service["spec"]["http"].as_array().unwrap().iter();
        routes
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&world), ["primary"]);
    world.release("web:2");
    world.settle();
    assert_eq!(world.stand("web:1", "web:2"), "2/10 20");
    // Their steps came before there were pods.
    assert_eq!(names(&world), ["b", "a", "gone", "primary"]);
    world.promote();
    world.settle();
    assert_eq!(names(&world), ["b", "a", "primary"]);
    world.abort();
    world.settle();
    assert_eq!(names(&world), ["primary"]);
}

#[test]
fn an_experiment_gets_its_part_while_it_runs() {
    let experiment = json!({"experiment": {"templates": [
        {"name": "a", "specRef": "canary", "weight": 5},
        {"name": "b", "specRef": "stable", "weight": 7}, {"name": "c", "specRef": "stable"}]}});
    let canary = steps(json!([{"setWeight": 20}, experiment, {"pause": {}}]));
    let mut world = World::routed_by(json!({"smi": {}}), canary).started();
    world.release("web:2");
    world.settle();
    assert_eq!(weights(&world.status()), (20, 80));
    let name = world.status().canary.current_experiment;
    world.end_experiment(&name, Phase::Running, "");
    let template = |name: &str| {
        json!({"name": name, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
            "availableReplicas": 1, "serviceName": format!("svc-{name}"), "podTemplateHash": "e"})
    };
    let templates = json!([template("a"), template("b"), template("c")]);
    world
        .experiment(&name)
        .status
        .as_mut()
        .unwrap()
        .template_statuses = serde_json::from_value(templates).unwrap();
    world.settle();
    let recorded = world.status().canary.weights.unwrap();
    let parts: Vec<(i32, &str)> = recorded
        .additional
        .iter()
        .map(|part| (part.weight, &*part.service_name))
        .collect();
    assert_eq!(parts, [(5, "svc-a"), (7, "svc-b")]);
    assert_eq!((recorded.canary.weight, recorded.stable.weight), (20, 68));
    assert!(
        world
            .told("TrafficWeightUpdated")
            .contains(&"Traffic weight updated additional: [{5 svc-a e} {7 svc-b e}]")
    );
    let backends = &world.router("TrafficSplit", "web").unwrap()["spec"]["backends"];
    let services = backends
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["service"].as_str());
    let expected = ["canary", "svc-a", "svc-b", "stable"].map(Some);
    assert_eq!(services.collect::<Vec<_>>(), expected);
    world.end_experiment(&name, Phase::Successful, "");
    world.settle();
    assert!(world.status().canary.weights.unwrap().additional.is_empty());
    assert_eq!(world.summary(), "Paused CanaryPauseStep");
}
