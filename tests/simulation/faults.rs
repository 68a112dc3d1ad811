//! Rest, restarts and faults.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Pod, Service};
use kube::api::{DeleteParams, ListParams, PostParams, PropagationPolicy};
use kube::runtime::{reflector, watcher};
use kube::{Api, ResourceExt as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use verdict::apiserver::{Chaos, Fault, Rates};

use super::{condition, images, job, template, workload};
use crate::laws::cases;
use crate::world::{World, seconds};

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

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_not_waited_for() {
    let world = World::without_sources().await;
    let silent = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&silent);
    world.server.set_faults(move |request| {
        let is_new_pod = request.verb == "create" && request.resource == "pods";
        if is_new_pod && asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            Fault::AppliedThenSilence
        } else {
            Fault::None
        }
    });
    world
        .create::<ReplicaSet>(workload("ReplicaSet", 4, &template("web:1", &[])))
        .await;
    seconds(120).await;
    assert_eq!(world.images().await, images(&[("web:1", 4)]));
    // Each was made once. Three names were asked for again, and found to be in use.
    assert_eq!(silent.load(Ordering::Relaxed), 4 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_made_once_even_if_neither_answer_nor_event_tells_of_it() {
    let world = World::without_sources().await;
    seconds(1).await;
    let lost = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&lost);
    world.server.set_faults(move |request| {
        match (request.verb, request.resource.as_str()) {
            // Nothing is seen of pods but what answers show.
            ("list" | "watch", "pods") => Fault::Status(500),
            ("create", "pods") if asked.fetch_add(1, Ordering::Relaxed) < 3 => {
                Fault::AppliedThenStatus(503)
            }
            _ => Fault::None,
        }
    });
    world.server.end_watches();
    seconds(1).await;
    world
        .create::<ReplicaSet>(workload("ReplicaSet", 3, &template("web:1", &[])))
        .await;
    seconds(30).await;
    world.server.clear_faults();
    assert_eq!(world.images().await, images(&[("web:1", 3)]));
    assert!(lost.load(Ordering::Relaxed) > 3);
    seconds(60).await;
    let status = world.get::<ReplicaSet>("web").await.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (3, Some(3)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_before_the_pods_are_known() {
    let mut world = World::without_sources().await;
    world
        .create::<ReplicaSet>(workload("ReplicaSet", 3, &template("web:1", &[])))
        .await;
    seconds(10).await;
    let before = world.names::<Pod>().await;
    world.server.set_faults(|request| {
        let lists_pods = request.verb == "list" && request.resource == "pods";
        if lists_pods {
            Fault::Status(500)
        } else {
            Fault::None
        }
    });
    world.restart_simulation();
    seconds(60).await;
    world.server.clear_faults();
    seconds(60).await;
    assert_eq!(world.names::<Pod>().await, before);
}

/// What a world amounts to, without the names that are chosen for pods and without times.
async fn told(world: &World) -> BTreeMap<String, Value> {
    let mut told = BTreeMap::new();
    let conditions = |status: &Value| {
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let told = conditions
            .iter()
            .map(|found| json!([found["type"], found["status"], found["reason"]]));
        told.collect::<Vec<_>>()
    };
    let mut note = |kind: &str, name: String, mut status: Value| {
        let listed = conditions(&status);
        if let Some(fields) = status.as_object_mut() {
            let counts = ["startTime", "completionTime", "observedGeneration"];
            fields.retain(|field, _| !counts.contains(&field.as_str()));
            fields.insert("conditions".to_owned(), json!(listed));
        }
        told.insert(format!("{kind} {name}"), status);
    };
    for deployment in world.list::<Deployment>().await {
        note(
            "Deployment",
            deployment.name_any(),
            json!(deployment.status),
        );
    }
    for set in world.list::<ReplicaSet>().await {
        note("ReplicaSet", set.name_any(), json!(set.status));
    }
    for job in world.list::<Job>().await {
        note("Job", job.name_any(), json!(job.status));
    }
    for (image, count) in world.images().await {
        note("image", image, json!(count));
    }
    for endpoints in world.list::<Endpoints>().await {
        let endpoints_value = json!(endpoints.subsets);
        let addresses = endpoints_value[0]["addresses"].as_array().map(Vec::len);
        note("Endpoints", endpoints.name_any(), json!(addresses));
    }
    for map in world.list::<ConfigMap>().await {
        note(
            "ConfigMap",
            map.name_any(),
            json!(map.owner_references().len()),
        );
    }
    let namespaces = Api::<Namespace>::all(world.client.clone());
    for namespace in namespaces.list(&ListParams::default()).await.unwrap() {
        note("Namespace", namespace.name_any(), json!(namespace.status));
    }
    told
}

/// Lives through a busy quarter of an hour, with `faults` in the first half of it; answers what is
/// left, and fails if there was ever one pod too many.
async fn live(faults: Option<(u64, bool)>) -> BTreeMap<String, Value> {
    let mut world = World::without_sources().await;
    if let Some((seed, _)) = faults {
        let chaos = Chaos::new(seed, harsh()).unwrap();
        world.server.set_faults(move |request| {
            if request.program() == "simulation" {
                chaos.fault(request)
            } else {
                Fault::None
            }
        });
    }
    let bounds = watch_bounds(world.api());
    let restarts = faults.is_some_and(|(_, restarts)| restarts);
    tokio::select! {
        () = bounds => panic!("the watch of pods has ended"),
        () = busy(&mut world, restarts) => {}
    }
    told(&world).await
}

async fn busy(world: &mut World, restarts: bool) {
    begin(world).await;
    seconds(60).await;
    let second = json!({"spec": {"template": template("web:2", &SCRIPT)}});
    world.merge::<Deployment>("web", second).await;
    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces
        .delete("shop", &DeleteParams::default())
        .await
        .unwrap();
    seconds(20).await;
    if restarts {
        world.restart_simulation();
    }
    world
        .delete::<ReplicaSet>("single", PropagationPolicy::Foreground)
        .await;
    seconds(100).await;
    world
        .merge::<Deployment>("web", json!({"spec": {"replicas": 2}}))
        .await;
    seconds(300).await;
    world.server.clear_faults();
    seconds(400).await;
}

const SCRIPT: [(&str, &str); 2] = [("ready-after", "3s"), ("stops-after", "2s")];

/// Makes one of each kind that is acted on.
async fn begin(world: &World) {
    world
        .create::<Service>(json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}))
        .await;
    let mut first = workload("Deployment", 4, &template("web:1", &SCRIPT));
    first["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
    world.create::<Deployment>(first).await;
    let spec = json!({"completions": 5, "parallelism": 2});
    world
        .create::<Job>(job("good", &spec, &[("runs-for", "3s")]))
        .await;
    let spec = json!({"backoffLimit": 1});
    world
        .create::<Job>(job("bad", &spec, &[("exit-code", "1")]))
        .await;
    let mut single = workload("ReplicaSet", 2, &template("single:1", &SCRIPT));
    single["metadata"]["name"] = json!("single");
    single["spec"]["selector"]["matchLabels"] = json!({"app": "single"});
    single["spec"]["template"]["metadata"]["labels"] = json!({"app": "single"});
    world.create::<ReplicaSet>(single).await;
    let namespaces = Api::<Namespace>::all(world.client.clone());
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &shop)
        .await
        .unwrap();
}

/// Faults of all kinds, more than a cluster has in its worst hour.
fn harsh() -> Rates {
    Rates {
        conflict: 80,
        too_many_requests: 50,
        internal_error: 80,
        unavailable: 50,
        cut: 80,
        delay: 100,
        expired: 100,
        watch_cut: 400,
        ..Rates::default()
    }
}

/// Fails when an owner has more pods than it has ever been told to have.
async fn watch_bounds(pods: Api<Pod>) {
    let (store, writer) = reflector::store();
    let watch = watcher(pods, watcher::Config::default());
    let mut seen = pin!(reflector::reflector(writer, watch));
    while let Some(event) = seen.next().await {
        event.unwrap();
        let mut active = BTreeMap::<String, usize>::new();
        for pod in store.state() {
            if !has_ended(&pod) && pod.metadata.deletion_timestamp.is_none() {
                let owner = pod.owner_references()[0].name.clone();
                *active.entry(owner).or_default() += 1;
            }
        }
        for (owner, count) in active {
            let most = match owner.as_str() {
                "bad" => 1,
                "good" | "single" => 2,
                _ => 4,
            };
            assert!(count <= most, "{count} pods of {owner}");
        }
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    matches!(phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// Lives under a clock of its own.
fn lived(faults: Option<(u64, bool)>) -> BTreeMap<String, Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(live(faults))
}

static WITHOUT_FAULTS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| lived(None));

proptest! {
    #![proptest_config(cases(4))]

    /// Whatever goes wrong on the way, the world comes to be as it would have been.
    #[test]
    fn faults_change_nothing_in_the_end(seed: u64, restarts: bool) {
        prop_assert_eq!(&lived(Some((seed, restarts))), &*WITHOUT_FAULTS);
    }
}
