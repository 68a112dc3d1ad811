//! What a real API server fills into objects of built-in kinds.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::events;
use super::resources::Resource;

/// Sets a field that is absent.
fn or(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(name).or_insert(value);
    }
}

/// Fills in the defaults of a kind.
pub(super) fn fill(resource: &Resource, object: &mut Value) {
    let has_spec = object["spec"].is_object();
    match resource.kind.as_str() {
        "Pod"
        | "ReplicaSet"
        | "Deployment"
        | "Job"
        | "Service"
        | "HorizontalPodAutoscaler"
        | "CustomResourceDefinition"
            if !has_spec => {}
        "Pod" => fill_pod(&mut object["spec"]),
        "ReplicaSet" => {
            or(&mut object["spec"], "replicas", json!(1));
            fill_template(&mut object["spec"]);
        }
        "Deployment" => fill_deployment(&mut object["spec"]),
        "Job" => {
            let spec = &mut object["spec"];
            if spec["completions"].is_null() && spec["parallelism"].is_null() {
                or(spec, "completions", json!(1));
            }
            or(spec, "parallelism", json!(1));
            or(spec, "backoffLimit", json!(6));
            or(spec, "manualSelector", json!(false));
            or(spec, "completionMode", json!("NonIndexed"));
            or(spec, "suspend", json!(false));
            or(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
            fill_job_template(spec);
        }
        "Service" => fill_service(&mut object["spec"]),
        "Secret" => fill_secret(object),
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            if name.is_string() {
                object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            }
        }
        "Event" => events::fill(object),
        "HorizontalPodAutoscaler" => or(&mut object["spec"], "minReplicas", json!(1)),
        "CustomResourceDefinition" => {
            or(
                &mut object["spec"],
                "conversion",
                json!({"strategy": "None"}),
            );
        }
        _ => {}
    }
}

fn fill_deployment(spec: &mut Value) {
    or(spec, "replicas", json!(1));
    or(spec, "revisionHistoryLimit", json!(10));
    or(spec, "progressDeadlineSeconds", json!(600));
    or(spec, "strategy", json!({}));
    let strategy = &mut spec["strategy"];
    or(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        or(strategy, "rollingUpdate", json!({}));
        or(&mut strategy["rollingUpdate"], "maxSurge", json!("25%"));
        or(
            &mut strategy["rollingUpdate"],
            "maxUnavailable",
            json!("25%"),
        );
    }
    fill_template(spec);
}

fn fill_template(spec: &mut Value) {
    if spec["template"].is_object() {
        or(&mut spec["template"], "metadata", json!({}));
        fill_pod(&mut spec["template"]["spec"]);
    }
}

/// As [`fill_template`]; a Job's restart policy has to be said.
fn fill_job_template(spec: &mut Value) {
    let unset = spec["template"]["spec"]["restartPolicy"].is_null();
    fill_template(spec);
    if unset && let Some(fields) = spec["template"]["spec"].as_object_mut() {
        fields.remove("restartPolicy");
    }
}

fn fill_pod(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    or(spec, "restartPolicy", json!("Always"));
    or(spec, "terminationGracePeriodSeconds", json!(30));
    or(spec, "dnsPolicy", json!("ClusterFirst"));
    or(spec, "securityContext", json!({}));
    or(spec, "schedulerName", json!("default-scheduler"));
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        or(spec, "serviceAccount", account);
    }
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            fill_container(container);
        }
    }
    // Indexing a list that is not there made it null.
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}

fn fill_container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    or(container, "resources", json!({}));
    or(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    or(container, "terminationMessagePolicy", json!("File"));
    let image = container["image"].as_str().unwrap_or_default();
    let policy = if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    or(container, "imagePullPolicy", json!(policy));
    if let Some(ports) = container.get_mut("ports").and_then(Value::as_array_mut) {
        for port in ports {
            or(port, "protocol", json!("TCP"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            fill_probe(probe);
        }
    }
    if let Some(env) = container.get_mut("env").and_then(Value::as_array_mut) {
        for variable in env {
            if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
                or(field, "apiVersion", json!("v1"));
            }
        }
    }
}

fn fill_probe(probe: &mut Value) {
    or(probe, "timeoutSeconds", json!(1));
    or(probe, "periodSeconds", json!(10));
    or(probe, "successThreshold", json!(1));
    or(probe, "failureThreshold", json!(3));
    if let Some(get) = probe.get_mut("httpGet") {
        or(get, "path", json!("/"));
        or(get, "scheme", json!("HTTP"));
    }
}

/// No tag, or the tag `latest`. A digest is neither.
fn is_latest(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn fill_service(spec: &mut Value) {
    or(spec, "type", json!("ClusterIP"));
    or(spec, "sessionAffinity", json!("None"));
    if spec["type"] == "ExternalName" {
        return;
    }
    or(spec, "internalTrafficPolicy", json!("Cluster"));
    or(spec, "ipFamilies", json!(["IPv4"]));
    or(spec, "ipFamilyPolicy", json!("SingleStack"));
    if let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) {
        for port in ports {
            or(port, "protocol", json!("TCP"));
            let target = port["port"].clone();
            or(port, "targetPort", target);
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
pub(super) fn start_status(resource: &Resource, object: &mut Value) {
    match resource.kind.as_str() {
        "Namespace" => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        "Pod" => object["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"}),
        "ReplicaSet" => object["status"] = json!({"replicas": 0}),
        "Deployment" | "Job" => object["status"] = json!({}),
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
        "Service" if object["spec"]["type"] != "ExternalName" => {
            let spec = &mut object["spec"];
            let mut hasher = DefaultHasher::new();
            uid.to_string().hash(&mut hasher);
            let hash = hasher.finish().to_be_bytes();
            // 10.96.0.0/12 is where kubeadm puts services.
            let address = format!("10.{}.{}.{}", 96 + hash[0] % 16, hash[1], hash[2].max(2));
            or(spec, "clusterIP", json!(address));
            let address = spec["clusterIP"].clone();
            or(spec, "clusterIPs", json!([address]));
        }
        "Namespace" => fill(resource, object),
        _ => {}
    }
}

/// What an update that leaves it out keeps.
pub(super) fn carry_over(resource: &Resource, before: &Value, object: &mut Value) {
    match resource.kind.as_str() {
        "Service" => {
            for name in ["clusterIP", "clusterIPs"] {
                if let Some(value) = before["spec"].get(name) {
                    or(&mut object["spec"], name, value.clone());
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_tag_is_always_pulled() {
        for (image, latest) in [
            ("busybox", true),
            ("busybox:latest", true),
            ("registry:5000/a/b", true),
            ("busybox:1", false),
            ("registry:5000/a/b:2", false),
            ("busybox@sha256:00", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }
}
