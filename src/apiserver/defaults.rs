//! What a real API server fills into objects of built-in kinds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::events;
use super::pods;
use super::resources::Resource;
use super::services;

/// Sets a field that is absent.
pub(super) fn or(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(name).or_insert(value);
    }
}

/// Fills in the defaults of a kind.
pub(super) fn fill(resource: &Resource, object: &mut Value) {
    match resource.kind.as_str() {
        "Secret" => return fill_secret(object),
        "Event" => return events::fill(object),
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            if name.is_string() {
                object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            }
            return;
        }
        "RoleBinding" | "ClusterRoleBinding" => return fill_binding(object),
        "PodTemplate" => return pods::fill_template(object),
        _ => {}
    }
    let Some(spec @ Value::Object(_)) = object.get_mut("spec") else {
        return;
    };
    match resource.kind.as_str() {
        "Pod" => pods::fill(spec),
        "ReplicaSet" | "ReplicationController" => or(spec, "replicas", json!(1)),
        "Deployment" => fill_deployment(spec),
        "StatefulSet" => fill_stateful_set(spec),
        "DaemonSet" => fill_daemon_set(spec),
        "Job" => fill_job(spec),
        "CronJob" => fill_cron_job(spec),
        "Service" => services::fill(spec),
        "HorizontalPodAutoscaler" => or(spec, "minReplicas", json!(1)),
        "PersistentVolumeClaim" => or(spec, "volumeMode", json!("Filesystem")),
        "PersistentVolume" => {
            or(spec, "volumeMode", json!("Filesystem"));
            or(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
        }
        "CustomResourceDefinition" => or(spec, "conversion", json!({"strategy": "None"})),
        _ => {}
    }
    if resource.kind != "Job" {
        pods::fill_template(spec);
    }
}

fn fill_deployment(spec: &mut Value) {
    or(spec, "replicas", json!(1));
    or(spec, "revisionHistoryLimit", json!(10));
    or(spec, "progressDeadlineSeconds", json!(600));
    or(spec, "strategy", json!({}));
    let limits = json!({"maxSurge": "25%", "maxUnavailable": "25%"});
    fill_strategy(&mut spec["strategy"], limits);
}

fn fill_stateful_set(spec: &mut Value) {
    or(spec, "replicas", json!(1));
    or(spec, "revisionHistoryLimit", json!(10));
    or(spec, "podManagementPolicy", json!("OrderedReady"));
    let retain = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    or(spec, "persistentVolumeClaimRetentionPolicy", retain);
    or(spec, "updateStrategy", json!({}));
    fill_strategy(&mut spec["updateStrategy"], json!({"partition": 0}));
}

fn fill_daemon_set(spec: &mut Value) {
    or(spec, "revisionHistoryLimit", json!(10));
    or(spec, "updateStrategy", json!({}));
    let limits = json!({"maxSurge": 0, "maxUnavailable": 1});
    fill_strategy(&mut spec["updateStrategy"], limits);
}

/// Fills in how pods are replaced: step by step, within limits.
fn fill_strategy(strategy: &mut Value, limits: Value) {
    or(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] != "RollingUpdate" {
        return;
    }
    or(strategy, "rollingUpdate", json!({}));
    if let Value::Object(limits) = limits {
        for (name, limit) in limits {
            or(&mut strategy["rollingUpdate"], &name, limit);
        }
    }
}

fn fill_job(spec: &mut Value) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        or(spec, "completions", json!(1));
    }
    or(spec, "parallelism", json!(1));
    let fails_by_index = spec["backoffLimitPerIndex"].is_number();
    let limit = if fails_by_index { i32::MAX } else { 6 };
    or(spec, "backoffLimit", json!(limit));
    or(spec, "manualSelector", json!(false));
    or(spec, "completionMode", json!("NonIndexed"));
    or(spec, "suspend", json!(false));
    or(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    fill_job_template(spec);
}

fn fill_cron_job(spec: &mut Value) {
    or(spec, "concurrencyPolicy", json!("Allow"));
    or(spec, "suspend", json!(false));
    or(spec, "successfulJobsHistoryLimit", json!(3));
    or(spec, "failedJobsHistoryLimit", json!(1));
    if let Some(template) = spec.get_mut("jobTemplate") {
        or(template, "metadata", json!({}));
        if let Some(job) = template.get_mut("spec") {
            fill_job_template(job);
        }
    }
}

/// Fills in the template of a Job, whose restart policy has to be said.
fn fill_job_template(spec: &mut Value) {
    let unset = spec["template"]["spec"]["restartPolicy"].is_null();
    pods::fill_template(spec);
    if unset && let Some(fields) = spec["template"]["spec"].as_object_mut() {
        fields.remove("restartPolicy");
    }
}

fn fill_binding(binding: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = binding.get_mut("roleRef") {
        or(role, "apiGroup", json!(GROUP));
    }
    let subjects = binding.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        if subject["kind"] != "ServiceAccount" {
            or(subject, "apiGroup", json!(GROUP));
        }
    }
}

fn fill_secret(secret: &mut Value) {
    or(secret, "type", json!("Opaque"));
    let Some(fields) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(texts)) = fields.remove("stringData") else {
        return;
    };
    let data = fields
        .entry("data")
        .or_insert_with(|| Value::Object(Map::new()));
    for (name, text) in texts {
        data[name] = json!(STANDARD.encode(text.as_str().unwrap_or_default()));
    }
}

/// The status that a new object begins with, and what is given once.
pub(super) fn start(resource: &Resource, object: &mut Value) {
    match resource.kind.as_str() {
        "Namespace" => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        "Pod" => {
            pods::admit(object);
            let quality = pods::quality(&object["spec"]);
            object["status"] = json!({"phase": "Pending", "qosClass": quality});
        }
        "ReplicaSet" | "ReplicationController" => object["status"] = json!({"replicas": 0}),
        "StatefulSet" => {
            object["status"] = json!({"replicas": 0, "availableReplicas": 0});
        }
        "DaemonSet" => {
            object["status"] = json!({
                "currentNumberScheduled": 0,
                "desiredNumberScheduled": 0,
                "numberMisscheduled": 0,
                "numberReady": 0,
            });
        }
        "PodDisruptionBudget" => {
            object["status"] = json!({
                "currentHealthy": 0,
                "desiredHealthy": 0,
                "disruptionsAllowed": 0,
                "expectedPods": 0,
            });
        }
        "PersistentVolume" | "PersistentVolumeClaim" => {
            object["status"] = json!({"phase": "Pending"});
        }
        "Deployment" | "Job" | "CronJob" => object["status"] = json!({}),
        "Service" | "Ingress" => object["status"] = json!({"loadBalancer": {}}),
        "HorizontalPodAutoscaler" => {
            object["status"] = json!({"desiredReplicas": 0, "currentMetrics": null});
        }
        _ => {}
    }
}

/// What follows from name and uid, which are known last.
pub(super) fn fill_from_identity(resource: &Resource, object: &mut Value) {
    let uid = object["metadata"]["uid"].clone();
    let name = object["metadata"]["name"].clone();
    match resource.kind.as_str() {
        "Job" if object["spec"]["manualSelector"] != true => {
            for labels in ["/metadata", "/spec/template/metadata"] {
                let Some(metadata) = object.pointer_mut(labels) else {
                    continue;
                };
                let labels = &mut metadata["labels"];
                for (key, value) in [
                    ("batch.kubernetes.io/controller-uid", &uid),
                    ("batch.kubernetes.io/job-name", &name),
                    ("controller-uid", &uid),
                    ("job-name", &name),
                ] {
                    labels[key] = value.clone();
                }
            }
            object["spec"]["selector"] =
                json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
        }
        "Service" => services::allocate(object),
        "Namespace" => fill(resource, object),
        _ => {}
    }
}

/// What an update that leaves it out keeps.
pub(super) fn carry_over(resource: &Resource, before: &Value, object: &mut Value) {
    match resource.kind.as_str() {
        "Service" => services::carry_over(before, object),
        "Job" => {
            if let Some(selector) = before["spec"].get("selector") {
                or(&mut object["spec"], "selector", selector.clone());
            }
        }
        "Namespace" => {
            if let Some(finalizers) = before["spec"].get("finalizers")
                && object["spec"].is_null()
            {
                object["spec"] = json!({"finalizers": finalizers});
            }
        }
        _ => {}
    }
}
