//! The simulated rest of a cluster against the embedded API server, under a paused clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Pod, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams, PropagationPolicy,
};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::sleep;
use verdict::apiserver::Fault;

use crate::world::{World, seconds};

/// The `ConfigMap` that every namespace has.
const ROOT_CA: &str = "kube-root-ca.crt";

impl World {
    /// `ConfigMap`s but the one that every namespace has.
    async fn config_maps(&self) -> Vec<String> {
        let mut names = self.names::<ConfigMap>().await;
        names.retain(|name| name != ROOT_CA);
        names
    }

    /// Images of the pods that run, each with how many.
    async fn images(&self) -> BTreeMap<String, usize> {
        let mut images = BTreeMap::new();
        for pod in self.list::<Pod>().await {
            let image = pod.spec.unwrap().containers[0].image.clone().unwrap();
            *images.entry(image).or_default() += 1;
        }
        images
    }
}

fn template(image: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations: BTreeMap<_, _> = annotations
        .iter()
        .map(|(name, value)| (format!("simulation.verdict.dev/{name}"), *value))
        .collect();
    json!({
        "metadata": {"labels": {"app": "web"}, "annotations": annotations},
        "spec": {"containers": [{"name": "web", "image": image, "ports": [
            {"name": "http", "containerPort": 8080},
        ]}]},
    })
}

fn workload(kind: &str, replicas: i32, template: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
        },
    })
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}

fn images(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs
        .iter()
        .map(|(image, count)| ((*image).to_owned(), *count))
        .collect()
}

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
async fn a_deployment_rolls_forward_and_back() {
    let world = World::without_sources().await;
    world
        .create::<Deployment>(workload("Deployment", 4, &template("web:1", &[])))
        .await;
    seconds(10).await;
    let first = world.get::<Deployment>("web").await;
    let status = json!(first.status);
    assert_eq!(status["availableReplicas"], 4);
    assert_eq!(
        condition(&status, "Progressing")["reason"],
        "NewReplicaSetAvailable"
    );
    assert_eq!(condition(&status, "Available")["status"], "True");
    let revision = "deployment.kubernetes.io/revision";
    assert_eq!(first.annotations()[revision], "1");

    let second = json!({"spec": {"template": template("web:2", &[])}});
    world.merge::<Deployment>("web", second).await;
    seconds(30).await;
    assert_eq!(world.images().await, images(&[("web:2", 4)]));
    assert_eq!(world.list::<ReplicaSet>().await.len(), 2);
    assert_eq!(
        world.get::<Deployment>("web").await.annotations()[revision],
        "2"
    );

    // As `kubectl rollout undo` does: the template of the ReplicaSet becomes the Deployment's.
    let sets = world.list::<ReplicaSet>().await;
    let old = sets
        .into_iter()
        .find(|set| set.annotations()[revision] == "1")
        .unwrap();
    let mut back = json!(old.spec.unwrap().template);
    back["metadata"]["labels"]
        .as_object_mut()
        .unwrap()
        .remove("pod-template-hash");
    let undone = json!([{"op": "replace", "path": "/spec/template", "value": back}]);
    let undone = Patch::Json::<()>(serde_json::from_value(undone).unwrap());
    world
        .api::<Deployment>()
        .patch("web", &PatchParams::default(), &undone)
        .await
        .unwrap();
    seconds(30).await;
    assert_eq!(world.images().await, images(&[("web:1", 4)]));
    assert_eq!(world.list::<ReplicaSet>().await.len(), 2);
    let undone = world.get::<Deployment>("web").await;
    assert_eq!(undone.annotations()[revision], "3");
    let status = json!(undone.status);
    assert_eq!(
        condition(&status, "Progressing")["reason"],
        "NewReplicaSetAvailable"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_stops_a_deployment_and_is_reported_in_time() {
    let world = World::without_sources().await;
    let mut deployment = workload("Deployment", 4, &template("web:1", &[]));
    deployment["spec"]["progressDeadlineSeconds"] = json!(60);
    world.create::<Deployment>(deployment).await;
    seconds(10).await;
    let bad = template("web:2", &[("image-pull-error", "true")]);
    world
        .merge::<Deployment>("web", json!({"spec": {"template": bad}}))
        .await;
    seconds(58).await;
    let status = json!(world.get::<Deployment>("web").await.status);
    assert_eq!(condition(&status, "Progressing")["status"], "True");
    // A quarter may be missing and a quarter may be there beyond what is wanted.
    assert_eq!(world.images().await, images(&[("web:1", 3), ("web:2", 2)]));
    seconds(5).await;
    let status = json!(world.get::<Deployment>("web").await.status);
    assert_eq!(
        condition(&status, "Progressing")["reason"],
        "ProgressDeadlineExceeded"
    );
    assert_eq!(condition(&status, "Available")["status"], "True");
    assert_eq!(status["unavailableReplicas"], 2);
}

#[tokio::test(start_paused = true)]
async fn recreate_never_runs_two_versions_at_once() {
    let world = World::without_sources().await;
    let slow = [("stops-after", "5s")];
    let mut deployment = workload("Deployment", 3, &template("web:1", &slow));
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    world.create::<Deployment>(deployment).await;
    seconds(10).await;
    let second = json!({"spec": {"template": template("web:2", &slow)}});
    world.merge::<Deployment>("web", second).await;
    for _ in 0..20 {
        sleep(Duration::from_millis(500)).await;
        assert!(world.images().await.len() <= 1);
    }
    assert_eq!(world.images().await, images(&[("web:2", 3)]));
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_waits_and_goes_on() {
    let world = World::without_sources().await;
    world
        .create::<Deployment>(workload("Deployment", 2, &template("web:1", &[])))
        .await;
    seconds(10).await;
    let paused = json!({"spec": {"paused": true, "template": template("web:2", &[])}});
    world.merge::<Deployment>("web", paused).await;
    seconds(3600).await;
    assert_eq!(world.images().await, images(&[("web:1", 2)]));
    let status = json!(world.get::<Deployment>("web").await.status);
    assert_eq!(
        condition(&status, "Progressing")["reason"],
        "DeploymentPaused"
    );
    world
        .merge::<Deployment>("web", json!({"spec": {"paused": false}}))
        .await;
    seconds(30).await;
    assert_eq!(world.images().await, images(&[("web:2", 2)]));
}

fn job(name: &str, spec: &Value, annotations: &[(&str, &str)]) -> Value {
    let mut template = template("job:1", annotations);
    template["spec"]["restartPolicy"] = json!("Never");
    let mut job = json!({"metadata": {"name": name}, "spec": spec});
    job["spec"]["template"] = template;
    job
}

#[tokio::test(start_paused = true)]
async fn a_job_succeeds() {
    let world = World::without_sources().await;
    let spec = json!({"completions": 3, "parallelism": 2});
    world
        .create::<Job>(job("j", &spec, &[("runs-for", "10s")]))
        .await;
    seconds(5).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(
        (&status["active"], &status["ready"]),
        (&json!(2), &json!(2))
    );
    let pods = world.list::<Pod>().await;
    assert_eq!(pods[0].labels()["batch.kubernetes.io/job-name"], "j");
    seconds(30).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(
        (&status["active"], &status["succeeded"]),
        (&Value::Null, &json!(3))
    );
    assert_eq!(condition(&status, "Complete")["status"], "True");
    assert!(status["completionTime"].is_string());
    assert_eq!(world.list::<Pod>().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failing_job_tries_again_up_to_its_limit() {
    let world = World::without_sources().await;
    let failing = [
        ("exit-code", "1"),
        ("ready-after", "0s"),
        ("runs-for", "0s"),
    ];
    world
        .create::<Job>(job("j", &json!({"backoffLimit": 2}), &failing))
        .await;
    seconds(25).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(
        (&status["failed"], &status["conditions"]),
        (&json!(2), &Value::Null)
    );
    seconds(20).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(status["failed"], 3);
    assert_eq!(
        condition(&status, "Failed")["reason"],
        "BackoffLimitExceeded"
    );
    assert_eq!(world.list::<Pod>().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_stopped_at_its_deadline_and_removed_after_its_time() {
    let world = World::without_sources().await;
    let spec = json!({"activeDeadlineSeconds": 30, "ttlSecondsAfterFinished": 60});
    world
        .create::<Job>(job("j", &spec, &[("runs-for", "1h")]))
        .await;
    seconds(29).await;
    assert_eq!(json!(world.get::<Job>("j").await.status)["active"], 1);
    seconds(3).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(condition(&status, "Failed")["reason"], "DeadlineExceeded");
    assert_eq!(world.names::<Pod>().await, [""; 0]);
    seconds(55).await;
    assert_eq!(world.names::<Job>().await, ["j"]);
    seconds(10).await;
    assert_eq!(world.names::<Job>().await, [""; 0]);
}

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
async fn at_rest_nothing_is_asked() {
    let world = World::without_sources().await;
    world
        .create::<Deployment>(workload("Deployment", 5, &template("web:1", &[])))
        .await;
    world.create::<Job>(job("j", &json!({}), &[])).await;
    seconds(60).await;
    world.server.forget_accesses();
    seconds(2 * 3600).await;
    let mut asked = world.server.accesses();
    assert!(!asked.is_empty());
    // A watch has an end, and is opened again; that is all.
    asked.retain(|access, _| access.verb != "watch");
    assert!(asked.is_empty(), "{asked:#?}");
}

#[tokio::test(start_paused = true)]
async fn cut_watches_and_lost_history_are_caught_up() {
    let world = World::without_sources().await;
    world
        .create::<Deployment>(workload("Deployment", 3, &template("web:1", &[])))
        .await;
    seconds(10).await;
    world.server.end_watches();
    world.server.forget_history();
    world
        .merge::<Deployment>("web", json!({"spec": {"replicas": 5}}))
        .await;
    seconds(30).await;
    assert_eq!(world.images().await, images(&[("web:1", 5)]));
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_middle_of_an_update_goes_on() {
    let mut world = World::without_sources().await;
    world
        .create::<Deployment>(workload("Deployment", 6, &template("web:1", &[])))
        .await;
    seconds(10).await;
    let second = json!({"spec": {"template": template("web:2", &[("ready-after", "5s")])}});
    world.merge::<Deployment>("web", second).await;
    seconds(7).await;
    assert_eq!(world.images().await.len(), 2);
    world.restart_simulation();
    seconds(60).await;
    assert_eq!(world.images().await, images(&[("web:2", 6)]));
    assert_eq!(world.list::<ReplicaSet>().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_and_lost_answers_change_nothing_in_the_end() {
    let world = World::without_sources().await;
    let count = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&count);
    world.server.set_faults(move |request| {
        if request.user_agent != "simulation" {
            return Fault::None;
        }
        match asked.fetch_add(1, Ordering::Relaxed) % 7 {
            2 => Fault::Status(500),
            4 => Fault::AppliedThenStatus(503),
            6 => Fault::Status(409),
            _ => Fault::None,
        }
    });
    world
        .create::<Deployment>(workload("Deployment", 4, &template("web:1", &[])))
        .await;
    world
        .create::<Job>(job("j", &json!({"completions": 3}), &[]))
        .await;
    seconds(300).await;
    let second = json!({"spec": {"template": template("web:2", &[])}});
    world.merge::<Deployment>("web", second).await;
    seconds(300).await;
    assert_eq!(world.images().await, images(&[("job:1", 3), ("web:2", 4)]));
    assert_eq!(world.list::<ReplicaSet>().await.len(), 2);
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(condition(&status, "Complete")["status"], "True");
    world
        .delete::<Deployment>("web", PropagationPolicy::Foreground)
        .await;
    seconds(300).await;
    assert_eq!(world.names::<Deployment>().await, [""; 0]);
    assert_eq!(world.images().await, images(&[("job:1", 3)]));
    assert!(count.load(Ordering::Relaxed) > 100);
}
