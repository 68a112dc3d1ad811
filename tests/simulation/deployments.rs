//! Deployments.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{condition, images, template, workload};
use crate::world::{World, seconds};

const REVISION: &str = "deployment.kubernetes.io/revision";

impl World {
    /// The sizes of the ReplicaSets by their images.
    async fn sizes(&self) -> Vec<(String, i32)> {
        let sets = self.list::<ReplicaSet>().await.into_iter();
        let sizes = sets.map(|set| {
            let spec = json!(set.spec);
            let image = &spec["template"]["spec"]["containers"][0]["image"];
            let size = spec["replicas"].as_i64().unwrap();
            (
                image.as_str().unwrap().to_owned(),
                i32::try_from(size).unwrap(),
            )
        });
        let mut sizes: Vec<_> = sizes.collect();
        sizes.sort();
        sizes
    }

    async fn progress(&self) -> Value {
        let status = json!(self.get::<Deployment>("web").await.status);
        condition(&status, "Progressing")["reason"].clone()
    }
}

fn sizes(pairs: &[(&str, i32)]) -> Vec<(String, i32)> {
    let pairs = pairs.iter();
    pairs
        .map(|(image, size)| ((*image).to_owned(), *size))
        .collect()
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

#[tokio::test(start_paused = true)]
async fn a_new_size_in_the_middle_of_an_update_is_shared_out() {
    let world = World::without_sources().await;
    let first = workload("Deployment", 10, &template("web:1", &[]));
    world.create::<Deployment>(first).await;
    seconds(10).await;
    let stuck = template("web:2", &[("never-ready", "true")]);
    world
        .merge::<Deployment>("web", json!({"spec": {"template": stuck}}))
        .await;
    seconds(20).await;
    assert_eq!(world.sizes().await, sizes(&[("web:1", 8), ("web:2", 5)]));
    world
        .merge::<Deployment>("web", json!({"spec": {"replicas": 20}}))
        .await;
    seconds(20).await;
    assert_eq!(world.sizes().await, sizes(&[("web:1", 15), ("web:2", 10)]));
    assert_eq!(world.list::<Pod>().await.len(), 25);
}

#[tokio::test(start_paused = true)]
async fn each_revision_is_numbered_and_old_ones_are_forgotten() {
    let world = World::without_sources().await;
    let mut deployment = workload("Deployment", 1, &template("web:1", &[]));
    deployment["spec"]["revisionHistoryLimit"] = json!(2);
    world.create::<Deployment>(deployment).await;
    for version in 2..=5 {
        seconds(20).await;
        let next = template(&format!("web:{version}"), &[]);
        world
            .merge::<Deployment>("web", json!({"spec": {"template": next}}))
            .await;
    }
    seconds(20).await;
    let sets = world.list::<ReplicaSet>().await;
    let mut revisions: Vec<_> = sets
        .iter()
        .map(|set| &set.annotations()[REVISION])
        .collect();
    revisions.sort();
    assert_eq!(revisions, ["3", "4", "5"]);
    assert_eq!(
        world.get::<Deployment>("web").await.annotations()[REVISION],
        "5"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_a_revision_of_its_own() {
    let world = World::without_sources().await;
    let deployment = workload("Deployment", 3, &template("web:1", &[]));
    world.create::<Deployment>(deployment).await;
    seconds(10).await;
    let before = world.names::<Pod>().await;
    // As `kubectl rollout restart` does.
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:10Z"});
    let restart = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    world.merge::<Deployment>("web", restart).await;
    seconds(30).await;
    let after = world.names::<Pod>().await;
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|name| !before.contains(name)));
    assert_eq!(
        world.get::<Deployment>("web").await.annotations()[REVISION],
        "2"
    );
    assert_eq!(world.progress().await, "NewReplicaSetAvailable");
}

#[tokio::test(start_paused = true)]
async fn replica_sets_that_are_left_behind_are_adopted() {
    let world = World::without_sources().await;
    let deployment = workload("Deployment", 3, &template("web:1", &[]));
    world.create::<Deployment>(deployment.clone()).await;
    seconds(10).await;
    let before = (
        world.names::<ReplicaSet>().await,
        world.names::<Pod>().await,
    );
    world
        .delete::<Deployment>("web", PropagationPolicy::Orphan)
        .await;
    seconds(10).await;
    assert_eq!(world.names::<Deployment>().await, [""; 0]);
    world.create::<Deployment>(deployment).await;
    seconds(10).await;
    let after = (
        world.names::<ReplicaSet>().await,
        world.names::<Pod>().await,
    );
    assert_eq!(after, before);
    assert_eq!(world.progress().await, "NewReplicaSetAvailable");
}

#[tokio::test(start_paused = true)]
async fn an_update_waits_for_the_minimum_ready_time_of_each_pod() {
    let world = World::without_sources().await;
    let mut deployment = workload("Deployment", 2, &template("web:1", &[]));
    deployment["spec"]["minReadySeconds"] = json!(60);
    deployment["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    world.create::<Deployment>(deployment).await;
    seconds(90).await;
    let second = json!({"spec": {"template": template("web:2", &[])}});
    world.merge::<Deployment>("web", second).await;
    seconds(55).await;
    assert_eq!(world.images().await, images(&[("web:1", 2), ("web:2", 1)]));
    seconds(20).await;
    assert_eq!(world.images().await, images(&[("web:1", 1), ("web:2", 2)]));
    seconds(120).await;
    assert_eq!(world.images().await, images(&[("web:2", 2)]));
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_is_stored_and_does_nothing() {
    let world = World::without_sources().await;
    let deployment = workload("Deployment", 2, &template("web:1", &[]));
    world.create::<Deployment>(deployment).await;
    let autoscaler = json!({
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 5,
            "maxReplicas": 9,
        },
    });
    world.create::<HorizontalPodAutoscaler>(autoscaler).await;
    seconds(3600).await;
    assert_eq!(world.sizes().await, sizes(&[("web:1", 2)]));
    let stored = world.get::<HorizontalPodAutoscaler>("web").await;
    assert_eq!(stored.spec.unwrap().max_replicas, 9);
}
