//! Pods, and the nodes that they run on.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use verdict::simulation::{self, Options, Script};

use super::{node, pod_condition, ready, state, template, workload};
use crate::world::{World, seconds};

/// A world of these nodes, each with what it has.
async fn world_of(nodes: &[(&str, &[(&str, &str)])]) -> World {
    let nodes = nodes.iter();
    let nodes = nodes.map(|(name, amounts)| simulation::node(name, amounts));
    World::simulated_with(Options {
        nodes: nodes.collect(),
        ..Options::default()
    })
    .await
}

impl World {
    async fn run(&self, replicas: i32, script: &[(&str, &str)]) {
        let set = workload("ReplicaSet", replicas, &template("web:1", script));
        self.create::<ReplicaSet>(set).await;
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn change_node(&self, name: &str, patch: Value) {
        let (nodes, params) = (self.nodes(), PatchParams::default());
        nodes
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// How many pods are on each node; those that have none come first.
    async fn places(&self) -> Vec<(String, usize)> {
        let mut places = std::collections::BTreeMap::new();
        for pod in self.list::<Pod>().await {
            let node = node(&pod).unwrap_or_default().to_owned();
            *places.entry(node).or_default() += 1;
        }
        places.into_iter().collect()
    }
}

fn places(pairs: &[(&str, usize)]) -> Vec<(String, usize)> {
    let pairs = pairs.iter();
    pairs
        .map(|(node, count)| ((*node).to_owned(), *count))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_crashes_is_started_again_with_longer_waits() {
    let world = World::without_sources().await;
    let script = [
        ("ready-after", "0s"),
        ("runs-for", "5s"),
        ("exit-code", "1"),
    ];
    world.run(1, &script).await;
    // It runs for 5 s, at once again, then after 10 s and 20 s.
    for (after, expected, restarts) in [
        (3, "Running", 0),
        (4, "Running", 1),
        (6, "CrashLoopBackOff", 1),
        (9, "Running", 2),
        (6, "CrashLoopBackOff", 2),
    ] {
        seconds(after).await;
        let pod = world.pod().await;
        let status = json!(pod.status);
        assert_eq!(state(&pod), expected, "{status:#}");
        assert_eq!(status["containerStatuses"][0]["restartCount"], restarts);
        assert_eq!(status["phase"], "Running");
    }
    let status = json!(world.pod().await.status);
    let last = &status["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["reason"]),
        (&json!(1), &json!("Error"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_may_lose_its_readiness() {
    let world = World::without_sources().await;
    world
        .run(2, &[("ready-after", "2s"), ("ready-for", "1m")])
        .await;
    for (after, expected) in [(1, None), (3, Some(2)), (50, Some(2)), (10, None)] {
        seconds(after).await;
        let status = world.get::<ReplicaSet>("web").await.status.unwrap();
        assert_eq!(status.ready_replicas, expected);
    }
    let pod = world.list::<Pod>().await.remove(0);
    let not_ready = ("False".to_owned(), "ContainersNotReady".to_owned());
    assert_eq!(pod_condition(&pod, "Ready"), not_ready);
}

#[tokio::test(start_paused = true)]
async fn pods_are_spread_and_wait_for_room() {
    let two: &[(&str, &str)] = &[("pods", "2")];
    let world = world_of(&[("a", two), ("b", two)]).await;
    world.run(5, &[]).await;
    seconds(5).await;
    assert_eq!(world.places().await, places(&[("", 1), ("a", 2), ("b", 2)]));
    let pods = world.list::<Pod>().await;
    let waiting = pods.iter().find(|pod| node(pod).is_none()).unwrap();
    let unschedulable = ("False".to_owned(), "Unschedulable".to_owned());
    assert_eq!(pod_condition(waiting, "PodScheduled"), unschedulable);
    let message = json!(waiting.status)["conditions"][0]["message"].clone();
    assert_eq!(message, "0/2 nodes are available: 2 Too many pods.");
    // One more place, and the pod gets it.
    let more = json!({"status": {"allocatable": {"pods": "3"}}});
    let patch = Patch::Merge(more);
    let params = PatchParams::default();
    world
        .nodes()
        .patch_status("b", &params, &patch)
        .await
        .unwrap();
    seconds(5).await;
    assert_eq!(world.places().await, places(&[("a", 2), ("b", 3)]));
    assert!(world.list::<Pod>().await.iter().all(ready));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_goes_makes_room_for_another() {
    let world = world_of(&[("a", &[("cpu", "2")])]).await;
    let mut template = template("web:1", &[("stops-after", "5s")]);
    template["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1500m"}});
    world
        .create::<ReplicaSet>(workload("ReplicaSet", 2, &template))
        .await;
    seconds(5).await;
    assert_eq!(world.places().await, places(&[("", 1), ("a", 1)]));
    let pods = world.list::<Pod>().await;
    let running = pods.iter().find(|pod| node(pod).is_some()).unwrap();
    world
        .delete::<Pod>(&running.name_any(), PropagationPolicy::Background)
        .await;
    seconds(3).await;
    assert_eq!(world.places().await, places(&[("", 2), ("a", 1)]));
    seconds(10).await;
    assert_eq!(world.places().await, places(&[("", 1), ("a", 1)]));
    assert!(world.list::<Pod>().await.iter().any(ready));
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_node_gets_no_pods_until_it_is_free_again() {
    let world = world_of(&[("a", &[]), ("b", &[])]).await;
    seconds(1).await;
    world
        .change_node("a", json!({"spec": {"unschedulable": true}}))
        .await;
    world.run(2, &[]).await;
    seconds(5).await;
    assert_eq!(world.places().await, places(&[("b", 2)]));
    world
        .change_node("a", json!({"spec": {"unschedulable": null}}))
        .await;
    world
        .merge::<ReplicaSet>("web", json!({"spec": {"replicas": 4}}))
        .await;
    seconds(5).await;
    assert_eq!(world.places().await, places(&[("a", 2), ("b", 2)]));
}

#[tokio::test(start_paused = true)]
async fn nodes_may_be_taken_away_and_added() {
    let world = world_of(&[("a", &[])]).await;
    seconds(1).await;
    let registered = world.nodes().get("a").await.unwrap();
    let status = json!(registered.status);
    assert_eq!(super::condition(&status, "Ready")["status"], "True");
    world
        .nodes()
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    world.run(1, &[]).await;
    seconds(60).await;
    assert!(world.nodes().get_opt("a").await.unwrap().is_none());
    assert_eq!(state(&world.pod().await), "Pending");
    let mut another = simulation::node("b", &[]);
    let status = another.status.take();
    let params = PostParams::default();
    world.nodes().create(&params, &another).await.unwrap();
    let patch = Patch::Merge(json!({ "status": status }));
    let params = PatchParams::default();
    world
        .nodes()
        .patch_status("b", &params, &patch)
        .await
        .unwrap();
    seconds(5).await;
    assert_eq!(world.places().await, places(&[("b", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_pod_ends_before_it_is_gone() {
    let world = World::without_sources().await;
    world.run(1, &[("stops-after", "10s")]).await;
    seconds(5).await;
    let name = world.pod().await.name_any();
    // A finalizer lets us see how it ended.
    let held = json!({"metadata": {"finalizers": ["example.dev/hold"]}});
    world.merge::<Pod>(&name, held).await;
    world
        .delete::<Pod>(&name, PropagationPolicy::Background)
        .await;
    seconds(5).await;
    let stopping = world.get::<Pod>(&name).await;
    assert!(ready(&stopping));
    assert_eq!(state(&stopping), "Running");
    seconds(10).await;
    let ended = world.get::<Pod>(&name).await;
    assert_eq!(state(&ended), "Completed");
    let completed = ("False".to_owned(), "PodCompleted".to_owned());
    assert_eq!(pod_condition(&ended, "Ready"), completed);
    let released = json!({"metadata": {"finalizers": null}});
    world.merge::<Pod>(&name, released).await;
    seconds(1).await;
    assert_ne!(world.pod().await.name_any(), name);
}

#[tokio::test(start_paused = true)]
async fn a_gate_holds_a_pod_back_until_somebody_opens_it() {
    let world = World::without_sources().await;
    let mut template = template("web:1", &[]);
    template["spec"]["readinessGates"] = json!([{"conditionType": "example.dev/gate"}]);
    world
        .create::<ReplicaSet>(workload("ReplicaSet", 1, &template))
        .await;
    seconds(10).await;
    let pod = world.pod().await;
    let closed = ("False".to_owned(), "ReadinessGatesNotReady".to_owned());
    assert_eq!(pod_condition(&pod, "Ready"), closed);
    assert_eq!(pod_condition(&pod, "ContainersReady").0, "True");
    let open = json!({"status": {"conditions": [
        {"type": "example.dev/gate", "status": "True"},
    ]}});
    let params = PatchParams::default();
    let patch = Patch::Strategic(open);
    let pods = world.api::<Pod>();
    pods.patch_status(&pod.name_any(), &params, &patch)
        .await
        .unwrap();
    seconds(1).await;
    assert!(ready(&world.pod().await));
}

#[tokio::test(start_paused = true)]
async fn a_story_says_what_each_pod_does() {
    let options = Options::default().scripted(|pod, script| {
        let image = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.containers[0].image.clone());
        Script {
            never_ready: image.as_deref() == Some("web:bad"),
            ..script
        }
    });
    let world = World::simulated_with(options).await;
    for (name, image) in [("good", "web:good"), ("bad", "web:bad")] {
        let mut set = workload("ReplicaSet", 1, &template(image, &[]));
        set["metadata"]["name"] = json!(name);
        set["spec"]["selector"]["matchLabels"] = json!({"app": name});
        set["spec"]["template"]["metadata"]["labels"] = json!({"app": name});
        world.create::<ReplicaSet>(set).await;
    }
    seconds(10).await;
    for (name, ready) in [("good", Some(1)), ("bad", None)] {
        let status = world.get::<ReplicaSet>(name).await.status.unwrap();
        assert_eq!(status.ready_replicas, ready, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn annotations_that_make_no_sense_are_named_in_the_pod() {
    let world = World::without_sources().await;
    world
        .run(1, &[("ready-after", "soon"), ("dance", "yes")])
        .await;
    seconds(5).await;
    let pod = world.pod().await;
    let invalid = ("False".to_owned(), "InvalidScript".to_owned());
    assert_eq!(pod_condition(&pod, "PodScheduled"), invalid);
    let message = json!(pod.status)["conditions"][0]["message"].to_string();
    assert!(
        message.contains("ready-after") && message.contains("dance"),
        "{message}"
    );
    let name = pod.name_any();
    world.script(&name, "ready-after", Some("1s")).await;
    world.script(&name, "dance", None).await;
    seconds(5).await;
    assert!(ready(&world.pod().await));
}
