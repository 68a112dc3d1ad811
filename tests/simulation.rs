//! The simulated rest of a cluster against the embedded API server, under a paused clock.

mod deployments;
mod events;
mod faults;
mod garbage;
mod jobs;
mod pods;
mod replica_sets;
mod services;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use verdict::simulation::script::PREFIX;

use crate::world::World;

/// The `ConfigMap` that every namespace has.
const ROOT_CA: &str = "kube-root-ca.crt";

impl World {
    /// `ConfigMap`s but the one that every namespace has.
    async fn config_maps(&self) -> Vec<String> {
        let mut names = self.names::<ConfigMap>().await;
        names.retain(|name| name != ROOT_CA);
        names
    }

    /// Images of the pods that are there, each with how many.
    async fn images(&self) -> BTreeMap<String, usize> {
        let mut images = BTreeMap::new();
        for pod in self.list::<Pod>().await {
            let image = pod.spec.unwrap().containers[0].image.clone().unwrap();
            *images.entry(image).or_default() += 1;
        }
        images
    }

    /// The only pod.
    async fn pod(&self) -> Pod {
        let [pod] = self.list::<Pod>().await.try_into().unwrap();
        pod
    }

    /// Says what a pod does from now on; `None` takes it back.
    async fn script(&self, pod: &str, name: &str, value: Option<&str>) {
        let annotations = json!({format!("{PREFIX}{name}"): value});
        self.merge::<Pod>(pod, json!({"metadata": {"annotations": annotations}}))
            .await;
    }
}

fn template(image: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations: BTreeMap<_, _> = annotations
        .iter()
        .map(|(name, value)| (format!("{PREFIX}{name}"), *value))
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

fn job(name: &str, spec: &Value, annotations: &[(&str, &str)]) -> Value {
    let mut template = template("job:1", annotations);
    template["metadata"]["labels"] = json!({"app": "job"});
    template["spec"]["restartPolicy"] = json!("Never");
    let mut job = json!({"metadata": {"name": name}, "spec": spec});
    job["spec"]["template"] = template;
    job
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}

fn images(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs
        .iter()
        .map(|(image, count)| ((*image).to_owned(), *count))
        .collect()
}

/// A condition of a pod: its status and its reason.
fn pod_condition(pod: &Pod, kind: &str) -> (String, String) {
    let status = json!(pod.status);
    let found = condition(&status, kind);
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

/// What a pod is in, as `kubectl get pods` shows it.
fn state(pod: &Pod) -> String {
    let status = json!(pod.status);
    let state = &status["containerStatuses"][0]["state"];
    let reasons = ["waiting", "terminated"].map(|kind| state[kind]["reason"].as_str());
    let reason = reasons.into_iter().flatten().next();
    reason
        .or(status["phase"].as_str())
        .unwrap_or_default()
        .to_owned()
}

fn ready(pod: &Pod) -> bool {
    pod_condition(pod, "Ready").0 == "True"
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn sorted_names(pods: &[Pod]) -> Vec<String> {
    let mut names: Vec<_> = pods.iter().map(Pod::name_any).collect();
    names.sort_unstable();
    names
}
