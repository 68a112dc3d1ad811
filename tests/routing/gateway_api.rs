//! Stories of routes of the Gateway API: what their parents say, whose rules they are, and which of
//! them belong to a Rollout.

use kube::api::{Patch, PatchParams};

use super::*;
use crate::world::routers::{HTTP_ROUTE, http_route, tcp_route_before_v1};

/// What the parents `public` and `inner` say of the route: whether they accept it.
async fn say(world: &World, accepted: [bool; 2]) {
    let parents = ["public", "inner"].into_iter().zip(accepted);
    let parents: Vec<Value> = parents
        .map(|(name, accepted)| {
            let status = if accepted { "True" } else { "False" };
            let condition =
                json!({ "type": "Accepted", "status": status, "observedGeneration": 1 });
            json!({ "parentRef": { "name": name }, "conditions": [condition] })
        })
        .collect();
    let patch = Patch::Merge(json!({ "status": { "parents": parents } }));
    let routes = world.api_of(HTTP_ROUTE);
    let params = PatchParams::default();
    routes.patch_status("web", &params, &patch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_while_all_parents_refuse_the_route() {
    let router = http_route();
    let (world, _running) = running(&router).await;
    say(&world, [false, false]).await;
    world.release("web:2").await;
    let is_unverified = |status: &RolloutStatus| {
        let weights = status.canary.weights.as_ref();
        weights.is_some_and(|it| it.canary.weight == 20 && it.verified == Some(false))
    };
    world.until_status(is_unverified).await;
    seconds(600).await;
    assert_eq!(router.weights(&world).await, (20, 80));
    let status = world.status().await;
    assert_eq!(status.current_step_index, Some(0));
    let mut waits = status.conditions.iter();
    let waits = waits.any(|it| {
        it.message
            .contains("the router has not confirmed weight 20")
    });
    assert!(waits, "{:?}", status.conditions);
    say(&world, [false, true]).await;
    until_paused_at(&world, 20).await;
}

#[tokio::test(start_paused = true)]
async fn rules_that_are_not_divided_and_fields_that_nobody_knows_stay() {
    let mut router = http_route();
    let rules = &mut router.objects[0].1["spec"]["rules"];
    let mut divided = rules[0].clone();
    divided["timeouts"] = json!({ "request": "5s", "unknown": { "field": [1, 2] } });
    let backend = |name: &str| json!({ "name": name, "port": 80, "weight": 7 });
    let path = |value: &str| json!([{ "path": { "type": "PathPrefix", "value": value } }]);
    let theirs =
        json!({ "name": "testers", "matches": path("/theirs"), "backendRefs": [backend("other")] });
    let direct = json!({ "matches": path("/next"), "backendRefs": [backend("canary")] });
    *rules = json!([theirs, direct, divided]);
    let (world, _running) = running(&router).await;
    let rules = async || router.objects(&world).await[0]["spec"]["rules"].clone();
    let before = rules().await;
    let parents = router.objects(&world).await[0]["spec"]["parentRefs"].clone();
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    let at_20 = rules().await;
    assert_eq!((&at_20[0], &at_20[1]), (&theirs, &direct));
    assert_eq!(at_20[2]["timeouts"], divided["timeouts"]);
    promote(&world).await;
    until_paused_at(&world, 50).await;
    promote(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    is_at_rest(&world).await;
    assert_eq!(rules().await, before);
    assert_eq!(
        router.objects(&world).await[0]["spec"]["parentRefs"],
        parents
    );
}

#[tokio::test(start_paused = true)]
async fn a_route_that_gets_the_label_is_divided_and_one_that_loses_it_given_back() {
    let mut router = http_route();
    let labels = json!({ "app": "web" });
    let setting = json!({ "httpRouteSelector": { "matchLabels": labels } });
    router.routing = json!({ "plugins": { "argoproj-labs/gatewayAPI": setting } });
    router.objects[0].1["metadata"]["labels"] = labels.clone();
    let (world, _running) = running(&router).await;
    let mut other = router.objects[0].1.clone();
    other["metadata"] = json!({ "name": "other" });
    world.put(HTTP_ROUTE, other).await;
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    let part = |route: &Value| route["spec"]["rules"][0]["backendRefs"][1]["weight"].clone();
    let parts = async || -> Vec<Value> { world.all(HTTP_ROUTE).await.iter().map(part).collect() };
    assert_eq!(parts().await, [0, 20]);
    world
        .patch(
            HTTP_ROUTE,
            "other",
            json!({ "metadata": { "labels": labels } }),
        )
        .await;
    seconds(5).await;
    assert_eq!(parts().await, [20, 20]);
    let none = json!({ "metadata": { "labels": { "app": null } } });
    world.patch(HTTP_ROUTE, "web", none).await;
    seconds(5).await;
    assert_eq!(parts().await, [20, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_route_of_a_version_before_is_found_and_the_one_that_is_not_served_hardly_asked_for() {
    let router = tcp_route_before_v1();
    let (world, _running) = running(&router).await;
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    assert_eq!(router.weights(&world).await, (20, 80));
    seconds(600).await;
    world.server.forget_accesses();
    seconds(3600).await;
    let asked = world.requests();
    assert!((1..200).contains(&asked), "{:?}", world.server.accesses());
    world.operate(&operations::abort()).await;
    world.until_taken_back().await;
    assert_eq!(router.weights(&world).await, (0, 100));
}
