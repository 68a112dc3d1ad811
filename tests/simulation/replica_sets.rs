//! ReplicaSets.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::PropagationPolicy;
use serde_json::json;
use verdict::apiserver::Fault;

use super::{condition, ready, sorted_names, template, workload};
use crate::world::{World, seconds};

#[tokio::test(start_paused = true)]
async fn a_replica_set_brings_its_pods_and_takes_them_away() {
    let world = World::without_sources().await;
    let template = template("web:1", &[("ready-after", "5s")]);
    world
        .create::<ReplicaSet>(workload("ReplicaSet", 3, &template))
        .await;
    seconds(4).await;
    let status = world.get::<ReplicaSet>("web").await.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (3, None));
    seconds(2).await;
    let status = world.get::<ReplicaSet>("web").await.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (3, Some(3)));
    assert_eq!(
        (status.available_replicas, status.observed_generation),
        (Some(3), Some(1))
    );

    world
        .merge::<ReplicaSet>("web", json!({"spec": {"replicas": 1}}))
        .await;
    seconds(1).await;
    assert_eq!(world.list::<Pod>().await.len(), 1);
    let status = world.get::<ReplicaSet>("web").await.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (1, Some(1)));

    let lost = world.names::<Pod>().await;
    world
        .delete::<Pod>(&lost[0], PropagationPolicy::Background)
        .await;
    seconds(10).await;
    let pods = world.names::<Pod>().await;
    assert_eq!(pods.len(), 1);
    assert_ne!(pods, lost);
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_left_behind_are_adopted_and_not_made_again() {
    let world = World::without_sources().await;
    let set = workload("ReplicaSet", 3, &template("web:1", &[]));
    let first = world.create::<ReplicaSet>(set.clone()).await;
    seconds(5).await;
    let before = sorted_names(&world.list::<Pod>().await);
    world
        .delete::<ReplicaSet>("web", PropagationPolicy::Orphan)
        .await;
    seconds(5).await;
    assert_eq!(world.names::<ReplicaSet>().await, [""; 0]);
    let left = world.list::<Pod>().await;
    assert!(left.iter().all(|pod| pod.owner_references().is_empty()));
    let second = world.create::<ReplicaSet>(set).await;
    assert_ne!(first.uid(), second.uid());
    seconds(5).await;
    let pods = world.list::<Pod>().await;
    assert_eq!(sorted_names(&pods), before);
    let owner = |pod: &Pod| Some(pod.owner_references()[0].uid.clone());
    assert!(pods.iter().all(|pod| owner(pod) == second.uid()));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_gets_another_label_is_released_and_replaced() {
    let world = World::without_sources().await;
    let set = workload("ReplicaSet", 2, &template("web:1", &[]));
    world.create::<ReplicaSet>(set).await;
    seconds(5).await;
    let name = world.names::<Pod>().await.remove(0);
    let debugged = json!({"metadata": {"labels": {"app": "debugged"}}});
    world.merge::<Pod>(&name, debugged).await;
    seconds(5).await;
    assert_eq!(world.list::<Pod>().await.len(), 3);
    let released = world.get::<Pod>(&name).await;
    assert_eq!(released.owner_references().len(), 0);
    let status = world.get::<ReplicaSet>("web").await.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (2, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn pods_that_serve_nobody_go_first_then_those_among_many_on_a_node() {
    let world = World::without_sources().await;
    let deployment = workload("Deployment", 6, &template("web:1", &[]));
    world.create::<Deployment>(deployment).await;
    seconds(60).await;
    let names = world.names::<Pod>().await;
    world.script(&names[3], "never-ready", Some("true")).await;
    seconds(1).await;
    world
        .merge::<Deployment>("web", json!({"spec": {"replicas": 4}}))
        .await;
    seconds(5).await;
    let left = world.list::<Pod>().await;
    assert!(left.iter().all(ready));
    // Two pods were on each of three nodes; the second to go was none of the node with one.
    let mut nodes: Vec<_> = left.iter().map(|pod| super::node(pod).unwrap()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!((left.len(), nodes.len()), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_available_after_the_minimum_time() {
    let world = World::without_sources().await;
    let mut set = workload("ReplicaSet", 2, &template("web:1", &[]));
    set["spec"]["minReadySeconds"] = json!(30);
    world.create::<ReplicaSet>(set).await;
    for (after, available) in [(29, None), (4, Some(2))] {
        seconds(after).await;
        let status = world.get::<ReplicaSet>("web").await.status.unwrap();
        assert_eq!(status.ready_replicas, Some(2));
        assert_eq!(status.available_replicas, available);
    }
}

#[tokio::test(start_paused = true)]
async fn pods_that_cannot_be_made_are_reported_until_they_can() {
    let world = World::without_sources().await;
    let deployment = workload(
        "Deployment",
        2,
        &template("web:1", &[("ready-after", "20s")]),
    );
    world.create::<Deployment>(deployment).await;
    seconds(5).await;
    world.server.set_faults(|request| {
        let is_new_pod = request.verb == "create" && request.resource == "pods";
        if is_new_pod {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    world
        .merge::<Deployment>("web", json!({"spec": {"replicas": 3}}))
        .await;
    seconds(60).await;
    let set = world.list::<ReplicaSet>().await.remove(0);
    let status = json!(set.status);
    let failure = condition(&status, "ReplicaFailure");
    assert_eq!(failure["reason"], "FailedCreate");
    assert_eq!(failure["message"], "a fault made on purpose: status 403");
    // The pods that are there go on being counted.
    assert_eq!(
        (&status["replicas"], &status["readyReplicas"]),
        (&json!(2), &json!(2))
    );
    let deployment = json!(world.get::<Deployment>("web").await.status);
    assert_eq!(
        condition(&deployment, "ReplicaFailure")["reason"],
        "FailedCreate"
    );

    world.server.clear_faults();
    seconds(120).await;
    let deployment = json!(world.get::<Deployment>("web").await.status);
    assert!(condition(&deployment, "ReplicaFailure").is_null());
    assert_eq!(deployment["readyReplicas"], 3);
}
