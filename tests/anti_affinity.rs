//! Stories of anti-affinity: a new version keeps off the nodes of the stable one.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::WeightedPodAffinityTerm;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use verdict::api::{Rollout, RolloutPhase, RolloutStatus};
use verdict::rollout::labels;

use crate::world::release::a_rollout;
use crate::world::{Running, World, seconds};

async fn running() -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    // Preferred only: the nodes are few, and the stable version is on all of them.
    let canary = json!({
        "antiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": { "weight": 7 } },
        "canaryMetadata": { "labels": { "role": "canary" } },
        "steps": [{ "setWeight": 20 }, { "pause": {} }],
    });
    world.create::<Rollout>(a_rollout(canary)).await;
    world.until_phase(RolloutPhase::Healthy).await;
    (world, running)
}

/// The hashes that the pods of a version keep off.
async fn avoided(world: &World, hash: &str) -> Vec<String> {
    let set: ReplicaSet = world.get(&format!("web-{hash}")).await;
    let template = set.spec.unwrap().template.unwrap();
    let affinity = template.spec.unwrap().affinity.unwrap_or_default();
    let terms = affinity.pod_anti_affinity.unwrap_or_default();
    let terms = terms.preferred_during_scheduling_ignored_during_execution;
    let values = |term: WeightedPodAffinityTerm| {
        assert_eq!(term.weight, 7);
        let selector = term.pod_affinity_term.label_selector.unwrap();
        let expressions = selector.match_expressions.unwrap();
        expressions.into_iter().flat_map(|one| one.values.unwrap())
    };
    terms.into_iter().flatten().flat_map(values).collect()
}

async fn promote(world: &World) -> RolloutStatus {
    world.merge_status(json!({ "pauseConditions": null })).await;
    world.until_phase(RolloutPhase::Healthy).await
}

async fn change(world: &World, spec: Value) {
    world.merge::<Rollout>("web", json!({ "spec": spec })).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_version_keeps_off_the_stable_one() {
    let (world, _running) = running().await;
    let first = world.status().await.stable_rs;
    assert!(avoided(&world, &first).await.is_empty());
    world.release("web:2").await;
    let second = world
        .until_phase(RolloutPhase::Paused)
        .await
        .current_pod_hash;
    assert_eq!(avoided(&world, &second).await, [first.as_str()]);
    // Until it is stable itself, the version before it is what it keeps off.
    world.release("web:3").await;
    let third = world
        .until_phase(RolloutPhase::Paused)
        .await
        .current_pod_hash;
    assert_eq!(avoided(&world, &third).await, [first.as_str()]);
    promote(&world).await;
    // Used again, the second version keeps off the third.
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(status.current_pod_hash, second);
    assert_eq!(avoided(&world, &second).await, [third.as_str()]);
    promote(&world).await;
    assert_eq!(avoided(&world, &second).await, [third.as_str()]);
    assert_eq!(world.list::<ReplicaSet>().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_injected_is_no_part_of_a_version() {
    let (world, _running) = running().await;
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Paused).await;
    // Stating what the API server fills in anyway.
    let template = json!({ "spec": { "dnsPolicy": "ClusterFirst" } });
    change(&world, json!({ "template": template })).await;
    let same = world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(same.current_pod_hash, status.current_pod_hash);
    assert_eq!(same.current_step_index, Some(1));
    let none = json!({ "antiAffinity": null, "canaryMetadata": null });
    change(&world, json!({ "strategy": { "canary": none } })).await;
    seconds(60).await;
    let set: ReplicaSet = world.get(&format!("web-{}", same.current_pod_hash)).await;
    assert_eq!(set.annotations()[labels::REVISION], "2");
    assert_eq!(world.status().await.current_step_index, Some(1));
    assert_eq!(world.list::<ReplicaSet>().await.len(), 2);
}
