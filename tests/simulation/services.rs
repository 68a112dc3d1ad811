//! Services: their Endpoints and EndpointSlices.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use super::{template, workload};
use crate::world::{World, seconds};

fn service(spec: &Value) -> Value {
    let mut service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    });
    service["spec"]
        .as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    service
}

impl World {
    /// How many addresses of a Service are ready, and how many are not, as its Endpoints say; its
    /// slices must say the same.
    async fn addresses(&self, name: &str) -> (usize, usize) {
        let endpoints = json!(self.get::<Endpoints>(name).await);
        let subsets = endpoints["subsets"].as_array().cloned().unwrap_or_default();
        let count = |list: &str| {
            let lists = subsets.iter().filter_map(|subset| subset[list].as_array());
            lists.map(Vec::len).sum()
        };
        let found = (count("addresses"), count("notReadyAddresses"));
        let slices = self.list::<EndpointSlice>().await;
        let ready = slices
            .iter()
            .flat_map(|slice| &slice.endpoints)
            .map(|endpoint| {
                let conditions = endpoint.conditions.clone().unwrap();
                (conditions.ready.unwrap(), conditions.terminating.unwrap())
            });
        let stay = ready.filter(|(_, stops)| !stops);
        let (ready, others): (Vec<_>, Vec<_>) = stay.partition(|(ready, _)| *ready);
        assert_eq!((ready.len(), others.len()), found);
        found
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_not_ready_is_not_available_and_not_in_endpoints() {
    let world = World::without_sources().await;
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    });
    world.create::<Service>(service).await;
    let template = template("web:1", &[("never-ready", "true")]);
    world
        .create::<ReplicaSet>(workload("ReplicaSet", 2, &template))
        .await;
    seconds(60).await;
    let status = world.get::<ReplicaSet>("web").await.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (2, None));
    let subsets = world.get::<Endpoints>("web").await.subsets.unwrap();
    assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap().len(), 2);

    let name = world.names::<Pod>().await.remove(0);
    let ready = json!({"metadata": {"annotations": {"simulation.verdict.dev/never-ready": null}}});
    world.merge::<Pod>(&name, ready).await;
    seconds(1).await;
    let subsets = world.get::<Endpoints>("web").await.subsets.unwrap();
    assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap().len(), 1);
    let address = &subsets[0].addresses.as_ref().unwrap()[0];
    assert_eq!(
        address.target_ref.as_ref().unwrap().name.as_deref(),
        Some(name.as_str())
    );
    assert_eq!(subsets[0].ports.as_ref().unwrap()[0].port, 8080);

    world
        .delete::<Service>("web", PropagationPolicy::Background)
        .await;
    seconds(1).await;
    assert_eq!(world.names::<Endpoints>().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_service_without_pods_has_an_empty_slice() {
    let world = World::without_sources().await;
    world.create::<Service>(service(&json!({}))).await;
    seconds(1).await;
    let slices = world.list::<EndpointSlice>().await;
    assert_eq!((slices.len(), slices[0].endpoints.len()), (1, 0));
    assert_eq!(world.addresses("web").await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_selects_another_version_gets_its_addresses() {
    let world = World::without_sources().await;
    for (name, replicas) in [("blue", 2), ("green", 3)] {
        let mut deployment = workload("Deployment", replicas, &template("web:1", &[]));
        deployment["metadata"]["name"] = json!(name);
        let labels = json!({"app": "web", "colour": name});
        deployment["spec"]["selector"]["matchLabels"] = labels.clone();
        deployment["spec"]["template"]["metadata"]["labels"] = labels;
        world.create::<Deployment>(deployment).await;
    }
    let selector = |colour: &str| json!({"selector": {"app": "web", "colour": colour}});
    world.create::<Service>(service(&selector("blue"))).await;
    seconds(10).await;
    assert_eq!(world.addresses("web").await, (2, 0));
    world
        .merge::<Service>("web", json!({"spec": selector("green")}))
        .await;
    seconds(1).await;
    assert_eq!(world.addresses("web").await, (3, 0));
}

#[tokio::test(start_paused = true)]
async fn addresses_follow_readiness_and_labels_of_pods() {
    let world = World::without_sources().await;
    world.create::<Service>(service(&json!({}))).await;
    let script = [("ready-after", "5s"), ("stops-after", "10s")];
    world
        .create::<ReplicaSet>(workload("ReplicaSet", 3, &template("web:1", &script)))
        .await;
    seconds(3).await;
    assert_eq!(world.addresses("web").await, (0, 3));
    seconds(3).await;
    assert_eq!(world.addresses("web").await, (3, 0));
    let names = world.names::<Pod>().await;
    world.script(&names[0], "never-ready", Some("true")).await;
    seconds(1).await;
    assert_eq!(world.addresses("web").await, (2, 1));
    // A pod that is about to stop gets no requests any more, but is still told of.
    world
        .delete::<Pod>(&names[1], PropagationPolicy::Background)
        .await;
    seconds(1).await;
    assert_eq!(world.addresses("web").await.0, 1);
    let slices = json!(world.list::<EndpointSlice>().await);
    let stopping = slices[0]["endpoints"].as_array().unwrap().iter();
    let stopping = stopping.filter(|endpoint| endpoint["conditions"]["terminating"] == true);
    assert_eq!(stopping.count(), 1);
    let elsewhere = json!({"metadata": {"labels": {"app": "other"}}});
    world.merge::<Pod>(&names[2], elsewhere).await;
    seconds(30).await;
    assert_eq!(world.addresses("web").await, (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_service_may_publish_what_is_not_ready() {
    let world = World::without_sources().await;
    let spec = json!({"publishNotReadyAddresses": true, "clusterIP": "None"});
    world.create::<Service>(service(&spec)).await;
    let script = [("never-ready", "true")];
    world
        .create::<ReplicaSet>(workload("ReplicaSet", 2, &template("web:1", &script)))
        .await;
    seconds(10).await;
    assert_eq!(world.addresses("web").await, (2, 0));
    let labels = world.get::<Endpoints>("web").await.metadata.labels.unwrap();
    assert!(
        labels.contains_key("service.kubernetes.io/headless"),
        "{labels:?}"
    );
    world
        .delete::<Service>("web", PropagationPolicy::Background)
        .await;
    seconds(1).await;
    assert_eq!(world.names::<Endpoints>().await, [""; 0]);
    assert_eq!(world.names::<EndpointSlice>().await, [""; 0]);
}
