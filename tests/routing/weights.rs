//! Stories of weights that are parts of another whole than 100, and of those that are more than there
//! is.

use kube::api::{Patch, PatchParams};
use verdict::api::Experiment;

use super::*;
use crate::world::routers::istio;

/// An update to these steps is refused like this, and nothing is divided meanwhile.
async fn is_refused(router: &Router, steps: Value, expected: &str) {
    let (world, _running) = running(router).await;
    let before = router.written(&world).await;
    let canary = json!({ "canary": { "steps": steps } });
    let patch = json!({ "spec": { "strategy": canary } });
    world.merge::<Rollout>("web", patch).await;
    world.release("web:2").await;
    let message = world.until_phase(RolloutPhase::Degraded).await.message;
    assert!(message.ends_with(expected), "{message}");
    seconds(60).await;
    assert_eq!(router.written(&world).await, before);
    // Once it is put right, it goes on.
    let canary = json!({ "canary": { "steps": [{ "setWeight": 20 }, { "pause": {} }] } });
    let patch = json!({ "spec": { "strategy": canary } });
    world.merge::<Rollout>("web", patch).await;
    until_paused_at(&world, 20).await;
}

fn of_a_thousand(mut router: Router) -> Router {
    router.routing["maxTrafficWeight"] = json!(1000);
    router
}

#[tokio::test(start_paused = true)]
async fn a_weight_is_no_more_than_all_of_the_traffic() {
    let step = |weight: i32| json!([{ "setWeight": weight }, { "pause": {} }]);
    let field = "spec.strategy.canary.steps[0].setWeight: Invalid value: ";
    let whole = format!("{field}101: SetWeight needs to be between 0 and 100");
    is_refused(&istio(), step(101), &whole).await;
    let whole = format!("{field}1001: SetWeight needs to be between 0 and 1000");
    is_refused(&of_a_thousand(nginx()), step(1001), &whole).await;
    let negative = format!("{field}-1: SetWeight needs to be between 0 and 1000");
    is_refused(&of_a_thousand(nginx()), step(-1), &negative).await;
}

#[tokio::test(start_paused = true)]
async fn only_some_routers_divide_another_whole_than_100() {
    let router = of_a_thousand(istio());
    let world = installed(&router).await;
    let _running = world.start_rollouts();
    world.create::<Rollout>(a_rollout(a_canary(&router))).await;
    let message = world.until_phase(RolloutPhase::Degraded).await.message;
    let expected = "spec.strategy.canary.trafficRouting.maxTrafficWeight: Invalid value: Canary \
        maxTrafficWeight in traffic routing only supported in Nginx and Plugins";
    assert!(message.ends_with(expected), "{message}");
    let patch = json!({ "spec": { "strategy": { "canary": { "trafficRouting": {
        "maxTrafficWeight": null } } } } });
    world.merge::<Rollout>("web", patch).await;
    world.until_phase(RolloutPhase::Healthy).await;
}

#[tokio::test(start_paused = true)]
async fn pods_and_weights_are_parts_of_the_same_whole() {
    for router in [of_a_thousand(nginx()), of_a_thousand(routers::http_route())] {
        let world = installed(&router).await;
        let _running = world.start_rollouts();
        let canary = router.canary(&json!([{ "setWeight": 250 }, { "pause": {} }]));
        world.create::<Rollout>(a_rollout(canary)).await;
        world.until_phase(RolloutPhase::Healthy).await;
        world.release("web:2").await;
        until_paused_at(&world, 250).await;
        let status = world.status().await;
        assert_eq!(status.canary.weights.unwrap().stable.weight, 750);
        let expected = pods(&[("web:1", 10), ("web:2", 3)]);
        assert_eq!(world.ready_pods().await, expected, "{}", router.name);
        let objects = router.objects(&world).await;
        if router.name == "nginx" {
            let mut annotations = objects.iter().map(|it| &it["metadata"]["annotations"]);
            let annotation = |name: &str| format!("nginx.ingress.kubernetes.io/canary-{name}");
            let is_second = |it: &&Value| it.get(annotation("weight")).is_some();
            let annotations = annotations.find(is_second).unwrap();
            assert_eq!(annotations[annotation("weight")], "250");
            assert_eq!(annotations[annotation("weight-total")], "1000");
        } else {
            assert_eq!(router.weights(&world).await, (250, 750));
        }
        promote(&world).await;
        world.until_phase(RolloutPhase::Healthy).await;
        is_at_rest(&world).await;
        let status = world.status().await;
        let weights = status.canary.weights.unwrap();
        assert_eq!((weights.canary.weight, weights.stable.weight), (0, 1000));
    }
}

/// The parts of an experiment and of the new version may come to more than all.
#[tokio::test(start_paused = true)]
async fn parts_that_leave_nothing_for_the_stable_version_are_told() {
    let router = istio();
    let template = json!({ "name": "trial", "specRef": "canary", "weight": 30 });
    let steps = json!([
        { "setWeight": 80 }, { "experiment": { "templates": [template] } }, { "pause": {} },
    ]);
    let world = installed(&router).await;
    let _running = world.start_rollouts();
    let canary = router.canary(&steps);
    world.create::<Rollout>(a_rollout(canary)).await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:2").await;
    let has_one = |status: &RolloutStatus| !status.canary.current_experiment.is_empty();
    let name = world.until_status(has_one).await.canary.current_experiment;
    world.until(&name, |_: &Experiment| true).await;
    let experiment = async |phase: &str| {
        let trial = json!({ "name": "trial", "serviceName": "trial", "podTemplateHash": "abc",
            "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1 });
        let status = json!({ "phase": phase, "templateStatuses": [trial] });
        let patch = Patch::Merge(json!({ "status": status }));
        let experiments = world.api::<Experiment>();
        let params = PatchParams::default();
        experiments.patch(&name, &params, &patch).await.unwrap();
    };
    let parts = async || -> Vec<(String, i64)> {
        let objects = router.objects(&world).await;
        let route = objects[0]["spec"]["http"][0]["route"].as_array().unwrap();
        let part = |part: &Value| {
            let host = part["destination"]["host"].as_str().unwrap();
            (host.to_owned(), part["weight"].as_i64().unwrap())
        };
        let mut parts: Vec<_> = route.iter().map(part).collect();
        parts.sort();
        parts
    };
    let expect = |parts: &[(&str, i64)]| -> Vec<(String, i64)> {
        let owned = parts
            .iter()
            .map(|(host, weight)| ((*host).to_owned(), *weight));
        owned.collect()
    };
    experiment("Running").await;
    seconds(10).await;
    let all = expect(&[("canary", 80), ("stable", 0), ("trial", 30)]);
    assert_eq!(parts().await, all);
    let weights = world.status().await.canary.weights.unwrap();
    assert_eq!((weights.canary.weight, weights.stable.weight), (80, 0));
    seconds(600).await;
    let told = world.messages("TrafficWeightExceeded").await;
    let expected =
        "The new version and experiments get 110 of 100: nothing is left for the stable version";
    assert_eq!(told, [expected]);
    // When it has ended, its part is the stable version's.
    experiment("Successful").await;
    until_paused_at(&world, 80).await;
    assert_eq!(parts().await, expect(&[("canary", 80), ("stable", 20)]));
    is_at_rest(&world).await;
    assert_eq!(world.messages("TrafficWeightExceeded").await.len(), 1);
}
