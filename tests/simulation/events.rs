//! The Events that tell of all this, as `kubectl describe` shows them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::PropagationPolicy;
use serde_json::json;
use verdict::apiserver::Fault;
use verdict::simulation::Options;

use super::{job, template, workload};
use crate::world::{World, seconds};

async fn world() -> World {
    World::simulated_with(Options::default()).await
}

impl World {
    /// What Events say about an object: who says what and why, and how often.
    async fn said_of(&self, name: &str) -> Vec<(String, i32)> {
        let mut events = self.list::<Event>().await;
        events.retain(|event| event.involved_object.name.as_deref() == Some(name));
        events.sort_by_key(ResourceExt::name_any);
        let said = events.into_iter().map(|event| {
            let source = event.source.unwrap();
            let by = [source.component, source.host].into_iter().flatten();
            let by: Vec<_> = by.collect();
            let (reason, message) = (event.reason.unwrap(), event.message.unwrap());
            let kind = event.type_.unwrap();
            let said = format!("{} {kind} {reason}: {message}", by.join(" on "));
            (said, event.count.unwrap())
        });
        said.collect()
    }

    /// The sentences about an object, in the order in which they were first said.
    async fn sentences(&self, name: &str) -> Vec<String> {
        let said = self.said_of(name).await;
        said.into_iter().map(|(sentence, _)| sentence).collect()
    }
}

fn reason(sentence: &str) -> &str {
    let mut words = sentence.split(' ');
    words.find(|word| word.ends_with(':')).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_its_replica_set_and_its_pods_tell_what_happens_to_them() {
    let world = world().await;
    let deployment = workload(
        "Deployment",
        2,
        &template("web:1", &[("stops-after", "9s")]),
    );
    world.create::<Deployment>(deployment).await;
    seconds(10).await;
    let [set] = world.list::<ReplicaSet>().await.try_into().unwrap();
    let set = set.name_any();
    let before = world.names::<Pod>().await;
    world
        .merge::<Deployment>("web", json!({"spec": {"replicas": 1}}))
        .await;
    // It is told of a pod's end when it begins.
    seconds(1).await;
    let scaled = |way: &str| {
        format!("deployment-controller Normal ScalingReplicaSet: Scaled {way}").replace("SET", &set)
    };
    assert_eq!(
        world.sentences("web").await,
        [
            scaled("up replica set SET from 0 to 2"),
            scaled("down replica set SET from 2 to 1"),
        ]
    );
    seconds(30).await;
    let [left] = world.names::<Pod>().await.try_into().unwrap();
    let gone = before.iter().find(|name| **name != left).unwrap();
    let mut told = world.sentences(&set).await;
    told.sort_unstable();
    let mut pods = [&left, gone]
        .map(|pod| format!("replicaset-controller Normal SuccessfulCreate: Created pod: {pod}"));
    pods.sort_unstable();
    let deleted = format!("replicaset-controller Normal SuccessfulDelete: Deleted pod: {gone}");
    let [one, other] = pods;
    assert_eq!(told, [one, other, deleted]);
    let said = world.sentences(gone).await;
    let reasons: Vec<_> = said.iter().map(|sentence| reason(sentence)).collect();
    let expected = ["Scheduled:", "Pulled:", "Created:", "Started:", "Killing:"];
    assert_eq!(reasons, expected);
    let said = world.sentences(&left).await;
    let node = world.pod().await.spec.unwrap().node_name.unwrap();
    assert_eq!(
        said,
        [
            format!(
                "default-scheduler Normal Scheduled: Successfully assigned default/{left} to {node}"
            ),
            format!(
                "kubelet on {node} Normal Pulled: Container image \"web:1\" already present on machine"
            ),
            format!("kubelet on {node} Normal Created: Created container: web"),
            format!("kubelet on {node} Normal Started: Started container web"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_tells_of_its_pods_and_of_its_end() {
    let world = world().await;
    world.create::<Job>(job("good", &json!({}), &[])).await;
    let spec = json!({"backoffLimit": 0});
    world
        .create::<Job>(job("bad", &spec, &[("exit-code", "1")]))
        .await;
    seconds(60).await;
    let expected = [
        ("good", "Normal Completed: Job completed"),
        (
            "bad",
            "Warning BackoffLimitExceeded: Job has reached the specified backoff limit",
        ),
    ];
    for (name, end) in expected {
        let [made, ended] = world.sentences(name).await.try_into().unwrap();
        let pod = format!("job-controller Normal SuccessfulCreate: Created pod: {name}-");
        assert!(made.starts_with(&pod), "{made}");
        assert_eq!(ended, format!("job-controller {end}"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_is_told_in_warnings() {
    let world = world().await;
    for (name, script) in [
        ("nowhere", "unschedulable"),
        ("imageless", "image-pull-error"),
    ] {
        let mut pod = template("web:1", &[(script, "true")]);
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["labels"] = json!({"app": "alone"});
        world.create::<Pod>(pod).await;
    }
    seconds(60).await;
    let warnings = async |name: &str| {
        let mut said = world.sentences(name).await;
        said.retain(|sentence| sentence.contains("Warning"));
        said
    };
    assert_eq!(
        warnings("nowhere").await,
        [
            "default-scheduler Warning FailedScheduling: 0/3 nodes are available: \
             3 node(s) were unschedulable."
        ]
    );
    let node = world
        .get::<Pod>("imageless")
        .await
        .spec
        .unwrap()
        .node_name
        .unwrap();
    let failed = |what: &str| format!("kubelet on {node} Warning Failed: {what}");
    assert_eq!(
        warnings("imageless").await,
        [
            failed("Failed to pull image \"web:1\": failed to pull image \"web:1\": not found"),
            failed("Error: ErrImagePull"),
            failed("Error: ImagePullBackOff"),
        ]
    );
    world.server.set_faults(|request| {
        let is_new_pod = request.verb == "create" && request.resource == "pods";
        if is_new_pod {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    let set = workload("ReplicaSet", 1, &template("web:1", &[]));
    world.create::<ReplicaSet>(set).await;
    seconds(60).await;
    let [(said, count)] = world.said_of("web").await.try_into().unwrap();
    let failed = "replicaset-controller Warning FailedCreate: Error creating: a fault made on \
                  purpose: status 403";
    assert_eq!(said, failed);
    assert!(count > 3, "{count}");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_again_is_counted_and_goes_when_it_is_not_said_any_more() {
    let world = world().await;
    let mut pod = template("web:1", &[("runs-for", "1s"), ("exit-code", "1")]);
    pod["metadata"]["name"] = json!("web");
    world.create::<Pod>(pod).await;
    seconds(25 * 60).await;
    let said = world.said_of("web").await;
    let counts: BTreeMap<_, _> = said
        .iter()
        .map(|(sentence, count)| (reason(sentence), *count))
        .collect();
    // Scheduled once; then a few restarts, until the kubelet has said enough about this pod.
    assert_eq!(counts["Scheduled:"], 1);
    assert!(counts["Started:"] > 3 && counts["BackOff:"] > 3, "{said:?}");
    assert_eq!(said.len(), counts.len(), "each stands once: {said:?}");
    let kubelet = said
        .iter()
        .filter(|(sentence, _)| sentence.contains("kubelet"));
    let most = 25 + 25 / 5;
    assert!(
        kubelet.map(|(_, count)| count).sum::<i32>() <= most,
        "{said:?}"
    );

    world
        .delete::<Pod>("web", PropagationPolicy::Background)
        .await;
    seconds(2 * 3600).await;
    // Old ones go when there is something new to write.
    world.create::<Job>(job("new", &json!({}), &[])).await;
    seconds(10).await;
    assert_eq!(world.said_of("web").await, []);
    assert_eq!(world.said_of("new").await.len(), 2);
}
