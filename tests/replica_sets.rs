//! Stories of a Rollout's ReplicaSets: those that are refused, those whose name is taken, and those
//! that come and go by their labels.

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use verdict::api::{ConditionType, Rollout, RolloutPhase};
use verdict::apiserver::Fault;
use verdict::rollout::{labels, pod_template_hash};

use crate::world::release::{a_rollout, pods};
use crate::world::{PROGRAM, Running, World, seconds};

/// A cluster in which version 1 of a Rollout runs.
async fn running() -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    world.create::<Rollout>(a_rollout(json!({}))).await;
    world.until_phase(RolloutPhase::Healthy).await;
    (world, running)
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_cluster_refuses_is_told_and_tried_again() {
    let (world, _running) = running().await;
    world.server.set_faults(|request| {
        let creates = request.verb == "create" && request.resource == "replicasets";
        if creates && request.user_agent == PROGRAM {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    world.release("web:2").await;
    seconds(300).await;
    let status = world.status().await;
    let mut conditions = status.conditions.iter();
    let progressing = conditions.find(|it| it.condition_type == ConditionType::Progressing);
    let progressing = progressing.unwrap();
    assert_eq!(progressing.reason, "ReplicaSetCreateError");
    let expected = "Failed to create new replica set \"web-";
    assert!(progressing.message.starts_with(expected), "{progressing:?}");
    let waiting = world.waits_for().await;
    assert!(waiting.starts_with("CannotAct: "), "{waiting}");
    assert!(waiting.contains(expected), "{waiting}");
    let told = world.messages("ReplicaSetCreateError").await;
    assert!(told.iter().all(|it| it.starts_with(expected)), "{told:?}");
    assert!(!told.is_empty());
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    world.server.clear_faults();
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_others_have_is_left_to_them() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    let rollout = a_rollout(json!({}));
    let template = &rollout["spec"]["template"];
    let taken = format!("web-{}", pod_template_hash(template, None));
    let labels = json!({ "app": "shop" });
    let spec = json!({ "containers": [{ "name": "shop", "image": "shop:1" }] });
    let other = json!({ "metadata": { "name": taken, "labels": labels }, "spec": {
        "replicas": 1, "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": spec },
    } });
    world.create::<ReplicaSet>(other).await;
    world.create::<Rollout>(rollout.clone()).await;
    let status = world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(status.collision_count, Some(1));
    let hash = pod_template_hash(template, Some(1));
    assert_eq!(status.current_pod_hash, hash);
    let mut expected = vec![taken, format!("web-{hash}")];
    expected.sort();
    assert_eq!(world.names::<ReplicaSet>().await, expected);
    assert_eq!(
        world.ready_pods().await,
        pods(&[("shop:1", 1), ("web:1", 10)])
    );
}

#[tokio::test(start_paused = true)]
async fn old_versions_come_and_go_by_their_labels() {
    let (world, _running) = running().await;
    let old = world.names::<ReplicaSet>().await.remove(0);
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Healthy).await;
    let owners = |set: &ReplicaSet| set.owner_references().len();
    let without_owner = json!({ "metadata": { "ownerReferences": null } });
    world.merge::<ReplicaSet>(&old, without_owner.clone()).await;
    world
        .until::<ReplicaSet>(&old, |set| owners(set) == 1)
        .await;
    let label = |key: &str, value: Value| json!({ "metadata": { "labels": { key: value } } });
    world
        .merge::<ReplicaSet>(&old, label("app", json!("shop")))
        .await;
    world
        .until::<ReplicaSet>(&old, |set| owners(set) == 0)
        .await;
    // One without the hash is none of a Rollout's, whatever else it is.
    let hash = label(labels::POD_TEMPLATE_HASH, Value::Null);
    world.merge::<ReplicaSet>(&old, hash).await;
    world
        .merge::<ReplicaSet>(&old, label("app", json!("web")))
        .await;
    seconds(60).await;
    assert_eq!(owners(&world.get::<ReplicaSet>(&old).await), 0);
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
}
