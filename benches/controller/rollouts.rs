//! Rollouts of three ReplicaSets each: what a controller takes to start with many of them and to
//! have them, and what it asks for in a release.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use verdict::api::{Rollout, RolloutPhase, crds};
use verdict::apiserver::Server;
use verdict::clock::Clock;
use verdict::cluster::Cluster;
use verdict::controllers::{Setup, rollout};
use verdict::simulation::{self, Options};

use super::process::Served;

/// The Rollout that is copied. Its labels are not after its name: they are in the hash of its pods.
const FIRST: &str = "web-0";

/// How long a quiet controller is looked at.
const REST: Duration = Duration::from_mins(1);

/// A Rollout that has been through two releases, and its ReplicaSets.
pub(crate) struct Settled {
    rollout: Value,
    replica_sets: Vec<Value>,
}

/// Starts a controller process with so many Rollouts at rest, and tells what that takes.
pub(crate) async fn at_rest(settled: &Settled, rollouts: u32) {
    let served = Served::start().await;
    let idle = served.controller(&[]);
    served.until_quiet(&idle).await;
    let without = idle.resident_kib();
    idle.end().await;
    for number in 0..rollouts {
        settled.copy(number, &served.client).await;
    }
    served.server.forget_accesses();
    let controller = served.controller(&[]);
    let quiet_after = served.until_quiet(&controller).await;
    let with = controller.resident_kib();
    let each = f64::from(with.saturating_sub(without)) / f64::from(rollouts);
    let used = controller.processor_time();
    println!(
        "{rollouts:>6} Rollouts at rest: quiet {:.1} s after the start, {:.1} s of processor time",
        quiet_after.as_secs_f64(),
        used.as_secs_f64(),
    );
    println!(
        "       memory {} MiB, {} MiB without any = {each:.1} KiB a Rollout with 3 ReplicaSets",
        with / 1024,
        without / 1024,
    );
    println!("       asked at the start: {}", told(served.asked(), 1));
    served.server.forget_accesses();
    sleep(REST).await;
    let spent = controller.processor_time().saturating_sub(used);
    println!(
        "       in {} s of rest: {} ms of processor time, asked but for the Lease: {}",
        REST.as_secs(),
        spent.as_millis(),
        told(served.asked(), 1),
    );
}

impl Settled {
    /// Makes one like it.
    async fn copy(&self, number: u32, client: &Client) {
        let name = format!("web-{number}");
        let renamed = |object: &Value| -> Value {
            let text = object.to_string().replace(FIRST, &name);
            serde_json::from_str(&text).expect("a name has no quotes")
        };
        let mut rollout = renamed(&self.rollout);
        rollout["status"]["observedGeneration"] = "1".into();
        let made: Rollout = create(client, &rollout).await;
        for replica_set in &self.replica_sets {
            let mut replica_set = renamed(replica_set);
            replica_set["metadata"]["ownerReferences"][0]["uid"] = made.uid().into();
            replica_set["status"]["observedGeneration"] = 1.into();
            create::<ReplicaSet>(client, &replica_set).await;
        }
    }
}

/// Creates an object, and then writes its status.
async fn create<K: verdict::cluster::Namespaced>(client: &Client, object: &Value) -> K {
    let api = Api::<K>::namespaced(client.clone(), "default");
    let typed: K = serde_json::from_value(object.clone()).expect("it is of this kind");
    api.create(&PostParams::default(), &typed)
        .await
        .expect("it is valid");
    let status = Patch::Merge(json!({ "status": object["status"] }));
    api.patch_status(&typed.name_any(), &PatchParams::default(), &status)
        .await
        .expect("it is there")
}

/// A cluster whose own controllers run beside ours.
fn stage(stop: CancellationToken) -> Server {
    let clock = Clock::system();
    let server = Server::new(clock.clone());
    for definition in crds::all() {
        let definition = serde_json::to_value(definition).expect("it has only string keys");
        server.create(definition).expect("it is valid");
    }
    let simulated = server.client_as("simulation");
    let options = Options::default();
    tokio::spawn(simulation::run(
        simulated,
        clock.clone(),
        options,
        stop.clone(),
    ));
    let setup = Setup::new(Cluster::new(server.client_as("verdict"), clock));
    tokio::spawn(rollout::run(setup, rollout::DEFAULT_CONCURRENCY, stop));
    server
}

/// Takes so many Rollouts through three versions; tells what the second one asked for, and returns
/// one of them as it is in the end. Time is Tokio's, and paused.
pub(crate) async fn released(rollouts: u32) -> Settled {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let server = stage(stop);
    let client = server.client_as("bench");
    let api = Api::<Rollout>::namespaced(client.clone(), "default");
    for number in 0..rollouts {
        let rollout = serde_json::from_value(manifest(number)).expect("it is a Rollout");
        api.create(&PostParams::default(), &rollout)
            .await
            .expect("it is valid");
    }
    for version in 1..=3 {
        server.forget_accesses();
        for number in 0..rollouts {
            let name = format!("web-{number}");
            release(&api, &name, version).await;
        }
        for number in 0..rollouts {
            until_healthy(&api, &format!("web-{number}")).await;
        }
        sleep(REST).await;
        if version == 2 {
            let asked = server.accesses().into_iter();
            let asked =
                asked.filter(|(access, _)| access.program == "verdict" && access.verb != "watch");
            println!(
                "A release of five steps asks for, each Rollout: {}",
                told(asked.collect(), rollouts),
            );
        }
    }
    let rollout = api.get(FIRST).await.expect("it is there");
    let sets = Api::<ReplicaSet>::namespaced(client, "default");
    let sets = sets
        .list(&ListParams::default())
        .await
        .expect("they can be listed");
    let own = sets
        .items
        .iter()
        .filter(|set| set.name_any().starts_with(&format!("{FIRST}-")));
    Settled {
        rollout: written(&rollout),
        replica_sets: own.map(written).collect(),
    }
}

async fn release(api: &Api<Rollout>, name: &str, version: u32) {
    let image = "/spec/template/spec/containers/0/image";
    let change =
        json!([{ "op": "replace", "path": image, "value": format!("shop/web:{version}") }]);
    let change = serde_json::from_value(change).expect("it is a patch");
    api.patch(name, &PatchParams::default(), &Patch::Json::<()>(change))
        .await
        .expect("it fits");
}

async fn until_healthy(api: &Api<Rollout>, name: &str) {
    let is_healthy = |rollout: Option<&Rollout>| {
        rollout.is_some_and(|rollout| {
            let status = rollout.status.as_ref();
            let generation = rollout.metadata.generation.unwrap_or_default().to_string();
            status.is_some_and(|status| {
                status.phase == Some(RolloutPhase::Healthy)
                    && status.observed_generation == generation
            })
        })
    };
    await_condition(api.clone(), name, is_healthy)
        .await
        .expect("it can be watched");
}

/// An object without what the API server writes into its metadata.
fn written(object: &impl serde::Serialize) -> Value {
    let mut object = serde_json::to_value(object).expect("it has only string keys");
    let metadata = object["metadata"].as_object_mut().expect("it has a name");
    metadata.retain(|field, _| {
        [
            "name",
            "namespace",
            "labels",
            "annotations",
            "ownerReferences",
        ]
        .contains(&field.as_str())
    });
    object
}

/// Verbs and resources with their numbers, each divided by `share`.
fn told(asked: Vec<(verdict::apiserver::Access, u64)>, share: u32) -> String {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for (access, times) in asked {
        *kinds
            .entry(format!("{} {}", access.verb, access.resource))
            .or_default() += times;
    }
    let all: u64 = kinds.values().sum();
    let one = |times: u64| f64::from(u32::try_from(times).unwrap_or(u32::MAX)) / f64::from(share);
    let mut parts: Vec<String> = vec![format!("{} in all", one(all))];
    parts.extend(
        kinds
            .iter()
            .map(|(kind, times)| format!("{} {kind}", one(*times))),
    );
    parts.join(", ")
}

/// A Rollout of a usual size, as `kubectl apply` leaves it.
fn manifest(number: u32) -> Value {
    let variables = |count| -> Vec<Value> {
        (0..count)
            .map(|n| json!({ "name": format!("SETTING_{n}"), "value": format!("value of {n}") }))
            .collect()
    };
    let probe = |path| json!({ "httpGet": { "path": path, "port": 8080 }, "periodSeconds": 10 });
    let resources = json!({
        "requests": { "cpu": "100m", "memory": "256Mi" }, "limits": { "memory": "512Mi" },
    });
    let labels = json!({ "app": format!("app-{number}"), "team": "shop" });
    let container = json!({
        "name": "web", "image": "shop/web:0", "ports": [{ "containerPort": 8080 }],
        "env": variables(20), "resources": resources,
        "readinessProbe": probe("/ready"), "livenessProbe": probe("/alive"),
        "volumeMounts": [{ "name": "settings", "mountPath": "/etc/web" }],
    });
    let sidecar = json!({
        "name": "proxy", "image": "shop/proxy:1", "env": variables(10), "resources": resources,
    });
    let mut manifest = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": { "name": format!("web-{number}"), "labels": labels },
        "spec": {
            "replicas": 5,
            "selector": { "matchLabels": { "app": format!("app-{number}") } },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "containers": [container, sidecar],
                    "volumes": [{ "name": "settings", "configMap": { "name": "web" } }],
                },
            },
            "strategy": { "canary": { "steps": [
                { "setWeight": 20 }, { "pause": { "duration": "30s" } },
                { "setWeight": 60 }, { "pause": { "duration": "30s" } }, { "setWeight": 80 },
            ] } },
        },
    });
    let applied = manifest.to_string();
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    manifest["metadata"]["annotations"] = json!({ annotation: applied });
    manifest
}
