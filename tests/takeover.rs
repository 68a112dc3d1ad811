//! Stories of Rollouts that Argo's own controller has moved so far: objects as it leaves them are
//! taken over as they are. No pod is restarted, and no ReplicaSet made.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use verdict::api::{Rollout, RolloutPhase};
use verdict::rollout::{labels, steps_hash};

use crate::world::release::{a_rollout, pods};
use crate::world::{PROGRAM, World, seconds};

/// The hash that controllers with older libraries gave to [`a_template`] of `nginx:1.25`.
const OLDER: &str = "7c4bd8fbf8";
/// A hash that nobody can compute any more.
const UNKNOWN: &str = "5d9cfb7d8";

fn a_template(image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": image }] },
    })
}

fn a_canary() -> Value {
    json!({ "steps": [{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 60 }] })
}

/// A Rollout in its second revision.
async fn a_taken_over_rollout(world: &World, canary: Value, template: Value) -> Rollout {
    let mut rollout = a_rollout(canary);
    rollout["metadata"]["annotations"] = json!({
        labels::REVISION: "2", "kubectl.kubernetes.io/last-applied-configuration": "{}",
    });
    rollout["spec"]["template"] = template;
    world.create(rollout).await
}

/// A ReplicaSet as Argo's controller makes it; `change` is merged into it.
async fn a_replica_set(
    world: &World,
    rollout: &Rollout,
    (hash, revision, replicas): (&str, &str, i32),
    mut template: Value,
    change: &Value,
) {
    let hashed = json!({ "app": "web", labels::POD_TEMPLATE_HASH: hash });
    template["metadata"]["labels"] = hashed.clone();
    template["metadata"]["creationTimestamp"] = Value::Null;
    let mut set = json!({
        "metadata": {
            "name": format!("web-{hash}"), "labels": hashed,
            "annotations": {
                labels::REVISION: revision, labels::DESIRED_REPLICAS: "10",
            },
            "ownerReferences": [{
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web",
                "uid": rollout.uid().unwrap(), "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": hashed }, "template": template,
        },
    });
    json_patch::merge(&mut set, change);
    world.create::<ReplicaSet>(set).await;
}

/// The condition of a type as Argo's controller writes it.
fn a_condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

/// A status as Argo's controller writes it; `change` is merged into it.
async fn a_status(world: &World, current: &str, stable: &str, canary: &Value, change: &Value) {
    let mut status = json!({
        "HPAReplicas": 10, "replicas": 10, "readyReplicas": 10, "availableReplicas": 10,
        "updatedReplicas": 10, "selector": "app=web", "observedGeneration": "1",
        "currentPodHash": current, "stableRS": stable, "canary": {}, "blueGreen": {},
        "currentStepHash": steps_hash(&canary["steps"]), "currentStepIndex": 3,
        "phase": "Healthy",
        "conditions": [
            a_condition("Available", "True", "AvailableReason", "Rollout has minimum availability"),
            a_condition("Paused", "False", "RolloutPaused", "Rollout is paused"),
            a_condition("Healthy", "True", "RolloutHealthy", "Rollout is healthy"),
            a_condition("Progressing", "True", "NewReplicaSetAvailable",
                &format!("ReplicaSet \"web-{current}\" has successfully progressed.")),
            a_condition("Completed", "True", "RolloutCompleted", "RolloutCompleted"),
        ],
    });
    json_patch::merge(&mut status, change);
    let patch = Patch::Merge(json!({ "status": status }));
    let rollouts = world.api::<Rollout>();
    rollouts
        .patch_status("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
    // Pods start.
    seconds(60).await;
}

/// What must not change: pods and ReplicaSets, each by its name.
async fn bodies(world: &World) -> BTreeSet<String> {
    let sets = world.names::<ReplicaSet>().await;
    let pods = world.names::<Pod>().await;
    sets.into_iter().chain(pods).collect()
}

fn writes(world: &World) -> Vec<String> {
    let accesses = world.server.accesses();
    let ours = accesses.keys().filter(|access| {
        access.program == PROGRAM && !["get", "list", "watch"].contains(&access.verb)
    });
    ours.map(|access| format!("{} {}", access.verb, access.resource))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_idle_canary_is_taken_over_without_a_write() {
    let world = World::without_sources().await;
    let (one, two) = (a_template("nginx:1.24"), a_template("nginx:1.25"));
    let rollout = a_taken_over_rollout(&world, a_canary(), two.clone()).await;
    let none = json!({});
    a_replica_set(&world, &rollout, (UNKNOWN, "1", 0), one, &none).await;
    a_replica_set(&world, &rollout, (OLDER, "2", 10), two, &none).await;
    a_status(&world, OLDER, OLDER, &a_canary(), &none).await;
    let before = bodies(&world).await;
    let _running = world.start_rollouts();
    seconds(60).await;
    assert_eq!(writes(&world), Vec::<String>::new());

    // The Rollout changes, and its hash is not what is computed now: the older one is.
    let spec = json!({ "spec": { "progressDeadlineSeconds": 900 } });
    world.merge::<Rollout>("web", spec).await;
    world
        .until_status(|status| status.observed_generation == "2")
        .await;
    let status = world.status().await;
    assert_eq!(
        (status.current_pod_hash.as_str(), status.phase),
        (OLDER, Some(RolloutPhase::Healthy))
    );
    assert_eq!(bodies(&world).await, before);
    // Back to a version whose hash nobody knows: its template tells.
    world.release("nginx:1.24").await;
    let status = world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(
        (status.current_pod_hash.as_str(), status.stable_rs.as_str()),
        (UNKNOWN, OLDER)
    );
    assert_eq!(world.list::<ReplicaSet>().await.len(), 2);
}

/// What Argo's controller leaves at the pause of a canary with metadata and anti-affinity of its own.
async fn a_paused_canary(world: &World) {
    let mut canary = a_canary();
    canary["canaryMetadata"] = json!({ "labels": { "role": "canary" } });
    canary["antiAffinity"] = json!({ "preferredDuringSchedulingIgnoredDuringExecution":
        { "weight": 1 } });
    let (one, two) = (a_template("nginx:1.25"), a_template("nginx:1.26"));
    let rollout = a_taken_over_rollout(world, canary.clone(), two.clone()).await;
    a_replica_set(world, &rollout, (OLDER, "1", 8), one, &json!({})).await;
    let term = json!({
        "labelSelector": { "matchExpressions": [{
            "key": labels::POD_TEMPLATE_HASH, "operator": "In", "values": [OLDER] }] },
        "namespaces": ["default"], "topologyKey": "kubernetes.io/hostname",
    });
    let terms = json!([{ "weight": 1, "podAffinityTerm": term }]);
    let affinity = json!({ "podAntiAffinity":
        { "preferredDuringSchedulingIgnoredDuringExecution": terms } });
    let injected = json!({
        "metadata": { "annotations": {
            labels::EPHEMERAL_METADATA: r#"{"labels":{"role":"canary"}}"# } },
        "spec": { "template": {
            "metadata": { "labels": { "role": "canary" } }, "spec": { "affinity": affinity },
        } },
    });
    a_replica_set(world, &rollout, (UNKNOWN, "2", 2), two, &injected).await;
    let paused = json!([{ "reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z" }]);
    let changed = json!({
        "updatedReplicas": 2, "currentStepIndex": 1, "controllerPause": true, "phase": "Paused",
        "message": "CanaryPauseStep", "pauseConditions": paused,
        "conditions": [
            a_condition("Available", "True", "AvailableReason", "Rollout has minimum availability"),
            a_condition("Completed", "False", "RolloutCompleted", "RolloutCompleted"),
            a_condition("Healthy", "False", "RolloutHealthy", "Rollout is not healthy"),
            a_condition("Progressing", "Unknown", "RolloutPaused", "Rollout is paused"),
            a_condition("Paused", "True", "RolloutPaused", "Rollout is paused"),
        ],
    });
    a_status(world, UNKNOWN, OLDER, &canary, &changed).await;
}

#[tokio::test(start_paused = true)]
async fn a_canary_in_the_middle_of_an_update_goes_on() {
    let world = World::without_sources().await;
    a_paused_canary(&world).await;
    let before = bodies(&world).await;
    let _running = world.start_rollouts();
    seconds(60).await;
    let told = ["create events", "patch rollouts/status"];
    assert_eq!(writes(&world), told, "what it waits for");
    // A change that leaves template and steps alone.
    let spec = json!({ "spec": { "revisionHistoryLimit": 3,
        "template": { "spec": { "dnsPolicy": "ClusterFirst" } } } });
    world.merge::<Rollout>("web", spec).await;
    let status = world
        .until_status(|status| status.observed_generation == "2")
        .await;
    assert_eq!(status.current_step_index, Some(1));
    assert_eq!(
        (status.current_pod_hash.as_str(), status.stable_rs.as_str()),
        (UNKNOWN, OLDER)
    );
    assert_eq!(bodies(&world).await, before);

    world.merge_status(json!({ "pauseConditions": null })).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    assert_eq!(world.status().await.stable_rs, UNKNOWN);
    assert_eq!(world.ready_pods().await, pods(&[("nginx:1.26", 10)]));
    let sets = world.names::<ReplicaSet>().await;
    assert_eq!(sets.len(), 2, "{sets:?}");
    let canaries = before
        .iter()
        .filter(|name| name.starts_with(&format!("web-{UNKNOWN}")));
    let now = bodies(&world).await;
    assert!(canaries.clone().count() == 3 && canaries.into_iter().all(|name| now.contains(name)));
    let roles: Vec<Pod> = world.list().await;
    assert!(
        roles.iter().all(|pod| !pod.labels().contains_key("role")),
        "no canary any more"
    );
}

#[tokio::test(start_paused = true)]
async fn steps_whose_hash_is_computed_otherwise_do_not_begin_anew() {
    let world = World::without_sources().await;
    let (one, two) = (a_template("nginx:1.24"), a_template("nginx:1.25"));
    let rollout = a_taken_over_rollout(&world, a_canary(), two.clone()).await;
    let none = json!({});
    a_replica_set(&world, &rollout, (UNKNOWN, "1", 8), one, &none).await;
    a_replica_set(&world, &rollout, (OLDER, "2", 2), two, &none).await;
    let paused = json!([{ "reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z" }]);
    let changed = json!({
        "updatedReplicas": 2, "currentStepIndex": 1, "controllerPause": true,
        "pauseConditions": paused, "currentStepHash": "96bc8d5f7",
    });
    a_status(&world, OLDER, UNKNOWN, &a_canary(), &changed).await;
    let before = bodies(&world).await;
    let _running = world.start_rollouts();
    let expected = steps_hash(&a_canary()["steps"]);
    let status = world
        .until_status(|status| status.current_step_hash == expected)
        .await;
    assert_eq!(status.current_step_index, Some(1));
    seconds(60).await;
    assert_eq!(bodies(&world).await, before);
}

/// # Source
/// argoproj/argo-rollouts#4976: the ReplicaSet of the old version was changed to what the new one
/// is, and the update never began.
#[tokio::test(start_paused = true)]
async fn a_replica_set_that_was_tampered_with_is_no_other_version() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    world.create::<Rollout>(a_rollout(json!({}))).await;
    let hash = world.until_phase(RolloutPhase::Healthy).await.stable_rs;
    let containers = json!([{ "name": "web", "image": "web:2" }]);
    let changed = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    world
        .merge::<ReplicaSet>(&format!("web-{hash}"), changed)
        .await;
    seconds(60).await;
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Healthy).await;
    assert_ne!(status.stable_rs, hash);
    // And it is still found when only defaults are stated.
    let changed = json!({ "spec": { "template": { "spec": { "nodeName": "" } } } });
    world
        .merge::<ReplicaSet>(&format!("web-{}", status.stable_rs), changed)
        .await;
    let stated = json!({ "spec": { "template": { "spec": { "restartPolicy": "Always" } } } });
    world.merge::<Rollout>("web", stated).await;
    let same = world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(same.stable_rs, status.stable_rs);
    assert_eq!(world.list::<ReplicaSet>().await.len(), 2);
}
