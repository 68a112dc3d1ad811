//! Owners and what they own; namespaces and what is in them.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams,
    PropagationPolicy,
};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::{ROOT_CA, condition, template, workload};
use crate::world::{World, seconds};

fn config_map(name: &str, owner: Option<&ConfigMap>) -> Value {
    let owners: Vec<_> = owner
        .map(|owner| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(),
                "uid": owner.uid(), "blockOwnerDeletion": true})
        })
        .into_iter()
        .collect();
    json!({"metadata": {"name": name, "ownerReferences": owners}})
}

#[tokio::test(start_paused = true)]
async fn dependents_go_as_the_deletion_says() {
    let cases = [
        (PropagationPolicy::Background, &[][..]),
        (PropagationPolicy::Foreground, &[]),
        (PropagationPolicy::Orphan, &["child", "grandchild"]),
    ];
    for (policy, left) in cases {
        let world = World::without_sources().await;
        let owner = world.create::<ConfigMap>(config_map("owner", None)).await;
        let child = world
            .create::<ConfigMap>(config_map("child", Some(&owner)))
            .await;
        world
            .create::<ConfigMap>(config_map("grandchild", Some(&child)))
            .await;
        seconds(1).await;
        assert_eq!(world.config_maps().await.len(), 3, "{policy:?}");
        world.delete::<ConfigMap>("owner", policy.clone()).await;
        seconds(1).await;
        assert_eq!(world.config_maps().await, left, "{policy:?}");
        if let Ok(child) = world.api::<ConfigMap>().get("child").await {
            assert_eq!(child.owner_references().len(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_never_was_leaves_nothing_behind() {
    let world = World::without_sources().await;
    seconds(1).await;
    let mut gone = world.create::<ConfigMap>(config_map("real", None)).await;
    world
        .create::<ConfigMap>(config_map("owned", Some(&gone)))
        .await;
    gone.metadata.uid = Some("22222222-2222-2222-2222-222222222222".to_owned());
    world
        .create::<ConfigMap>(config_map("orphan", Some(&gone)))
        .await;
    seconds(1).await;
    assert_eq!(world.config_maps().await, ["owned", "real"]);
}

fn widgets() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": {"name": "widgets.example.dev"},
        "spec": {
            "group": "example.dev",
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object"},
            }}],
        },
    }))
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn custom_resources_own_and_are_owned() {
    let world = World::without_sources().await;
    seconds(1).await;
    let crds = Api::<CustomResourceDefinition>::all(world.client.clone());
    crds.create(&PostParams::default(), &widgets())
        .await
        .unwrap();
    seconds(1).await;
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("example.dev", "v1", "Widget"),
        "widgets",
    );
    let api = Api::<DynamicObject>::default_namespaced_with(world.client.clone(), &kind);
    let widget = DynamicObject::new("w", &kind).within("default");
    let widget = api.create(&PostParams::default(), &widget).await.unwrap();
    let mut set = workload("ReplicaSet", 2, &template("web:1", &[]));
    set["metadata"]["ownerReferences"] = json!([widget.controller_owner_ref(&kind).unwrap()]);
    world.create::<ReplicaSet>(set).await;
    seconds(5).await;
    assert_eq!(world.list::<Pod>().await.len(), 2);
    api.delete("w", &DeleteParams::default()).await.unwrap();
    seconds(1).await;
    assert_eq!(world.names::<ReplicaSet>().await, [""; 0]);
    assert_eq!(world.names::<Pod>().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_its_content() {
    let world = World::without_sources().await;
    let namespaces = Api::<Namespace>::all(world.client.clone());
    let made = json!({"metadata": {"name": "shop"}});
    let made = serde_json::from_value(made).unwrap();
    namespaces
        .create(&PostParams::default(), &made)
        .await
        .unwrap();
    let sets = Api::<Deployment>::namespaced(world.client.clone(), "shop");
    let deployment = workload(
        "Deployment",
        3,
        &template("web:1", &[("stops-after", "5s")]),
    );
    let deployment = serde_json::from_value(deployment).unwrap();
    sets.create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    world
        .create::<ConfigMap>(config_map("elsewhere", None))
        .await;
    seconds(10).await;
    namespaces
        .delete("shop", &DeleteParams::default())
        .await
        .unwrap();
    seconds(2).await;
    assert!(namespaces.get_opt("shop").await.unwrap().is_some());
    seconds(10).await;
    assert!(namespaces.get_opt("shop").await.unwrap().is_none());
    let pods = Api::<Pod>::all(world.client.clone());
    assert_eq!(
        pods.list(&ListParams::default()).await.unwrap().items.len(),
        0
    );
    assert_eq!(world.config_maps().await, ["elsewhere"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_waits_for_its_pods_to_stop_if_it_is_told_to() {
    let world = World::without_sources().await;
    let slow = template("web:1", &[("stops-after", "10s")]);
    world
        .create::<Deployment>(workload("Deployment", 2, &slow))
        .await;
    seconds(10).await;
    world
        .delete::<Deployment>("web", PropagationPolicy::Foreground)
        .await;
    seconds(5).await;
    let going = world.get::<Deployment>("web").await;
    assert_eq!(going.finalizers(), ["foregroundDeletion"]);
    assert_eq!(world.list::<ReplicaSet>().await.len(), 1);
    assert_eq!(world.list::<Pod>().await.len(), 2);
    seconds(10).await;
    assert_eq!(world.names::<Deployment>().await, [""; 0]);
    assert_eq!(world.names::<Pod>().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_object_goes_with_the_last_of_its_owners() {
    let world = World::without_sources().await;
    let first = world.create::<ConfigMap>(config_map("first", None)).await;
    let second = world.create::<ConfigMap>(config_map("second", None)).await;
    let mut shared = config_map("shared", Some(&first));
    let owner = config_map("", Some(&second))["metadata"]["ownerReferences"][0].clone();
    shared["metadata"]["ownerReferences"]
        .as_array_mut()
        .unwrap()
        .push(owner);
    world.create::<ConfigMap>(shared).await;
    world
        .delete::<ConfigMap>("first", PropagationPolicy::Background)
        .await;
    seconds(1).await;
    let left = world.get::<ConfigMap>("shared").await;
    assert_eq!(left.owner_references()[0].name, "second");
    world
        .delete::<ConfigMap>("second", PropagationPolicy::Background)
        .await;
    seconds(1).await;
    assert_eq!(world.config_maps().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_tells_what_holds_it() {
    let world = World::without_sources().await;
    let namespaces = Api::<Namespace>::all(world.client.clone());
    let made = json!({"metadata": {"name": "shop"}});
    let made = serde_json::from_value(made).unwrap();
    let params = PostParams::default();
    namespaces.create(&params, &made).await.unwrap();
    let config_maps = Api::<ConfigMap>::namespaced(world.client.clone(), "shop");
    let mut held = config_map("held", None);
    held["metadata"]["finalizers"] = json!(["example.dev/hold"]);
    let held = serde_json::from_value(held).unwrap();
    config_maps.create(&params, &held).await.unwrap();
    seconds(1).await;
    let params = DeleteParams::default();
    namespaces.delete("shop", &params).await.unwrap();
    seconds(1).await;
    let status = json!(namespaces.get("shop").await.unwrap().status);
    assert_eq!(status["phase"], "Terminating");
    assert_eq!(
        condition(&status, "NamespaceContentRemaining")["message"],
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    assert_eq!(
        condition(&status, "NamespaceFinalizersRemaining")["message"],
        "Some content in the namespace has finalizers remaining: example.dev/hold in 1 resource \
         instances"
    );
    let mut held = config_maps.get("held").await.unwrap();
    held.metadata.finalizers = None;
    let params = PostParams::default();
    config_maps.replace("held", &params, &held).await.unwrap();
    seconds(1).await;
    assert!(namespaces.get_opt("shop").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn every_namespace_has_an_account_and_a_certificate() {
    let world = World::without_sources().await;
    seconds(1).await;
    assert_eq!(world.names::<ServiceAccount>().await, ["default"]);
    assert_eq!(world.names::<ConfigMap>().await, [ROOT_CA]);
    let policy = PropagationPolicy::Background;
    world
        .delete::<ServiceAccount>("default", policy.clone())
        .await;
    world.delete::<ConfigMap>(ROOT_CA, policy).await;
    seconds(1).await;
    assert_eq!(world.names::<ServiceAccount>().await, ["default"]);
    assert_eq!(world.names::<ConfigMap>().await, [ROOT_CA]);
}
