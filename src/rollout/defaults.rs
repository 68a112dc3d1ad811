//! What a pod template means, given what the API server fills in.

use serde_json::{Value, json};

use super::canonical;
use super::labels::POD_TEMPLATE_HASH;

/// A text that is the same for templates that mean the same: a difference only in stated defaults,
/// spelling of quantities or empty values is none.
pub(super) fn comparable(template: &Value) -> String {
    let mut template = template.clone();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(POD_TEMPLATE_HASH);
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
    }
    if let Some(spec) = template.get_mut("spec") {
        default_pod_spec(spec);
    }
    canonical::pod_template(&template)
}

fn set(object: &mut Value, field: &str, default: Value) {
    if let Some(object) = object.as_object_mut() {
        let current = object.entry(field).or_insert(Value::Null);
        let empty =
            current.is_null() || current.as_str() == Some("") || current.as_i64() == Some(0);
        if empty {
            *current = default;
        }
    }
}

/// Sets an optional number or object: what is written stays, even if it is zero.
fn set_absent(object: &mut Value, field: &str, default: Value) {
    if let Some(object) = object.as_object_mut() {
        let current = object.entry(field).or_insert(Value::Null);
        if current.is_null() {
            *current = default;
        }
    }
}

fn each(object: &mut Value, list: &str, change: impl FnMut(&mut Value)) {
    object
        .get_mut(list)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .for_each(change);
}

fn within(object: &mut Value, field: &str, change: impl FnOnce(&mut Value)) {
    if let Some(inner) = object.get_mut(field).filter(|inner| inner.is_object()) {
        change(inner);
    }
}

/// # Source
/// `SetDefaults_PodSpec` and its neighbours in `k8s.io/kubernetes/pkg/apis/core/v1`.
fn default_pod_spec(spec: &mut Value) {
    if let Some(fields) = spec.as_object_mut() {
        // The API server copies the newer field into this one.
        fields.remove("serviceAccount");
    }
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set_absent(spec, "terminationGracePeriodSeconds", json!(30));
    set_absent(spec, "securityContext", json!({}));
    each(spec, "volumes", default_volume);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list, |container| {
            default_container(container, host_network);
        });
    }
}

fn default_container(container: &mut Value, host_network: bool) {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    set(container, "imagePullPolicy", json!(pull_policy(image)));
    set(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    set(container, "terminationMessagePolicy", json!("File"));
    each(container, "ports", |port| {
        set(port, "protocol", json!("TCP"));
        if host_network && let Some(number) = port.get("containerPort").cloned() {
            set(port, "hostPort", number);
        }
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        within(container, probe, |probe| {
            set(probe, "timeoutSeconds", json!(1));
            set(probe, "periodSeconds", json!(10));
            set(probe, "successThreshold", json!(1));
            set(probe, "failureThreshold", json!(3));
            default_handler(probe);
        });
    }
    within(container, "lifecycle", |lifecycle| {
        within(lifecycle, "postStart", default_handler);
        within(lifecycle, "preStop", default_handler);
    });
    each(container, "env", |variable| {
        within(variable, "valueFrom", |source| {
            within(source, "fieldRef", |field| {
                set(field, "apiVersion", json!("v1"));
            });
        });
    });
}

/// Without a tag, or with the tag `latest`, an image is pulled each time.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    match name
        .split_once('@')
        .map_or_else(|| name.split_once(':'), |_| Some(("", "digest")))
    {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn default_handler(handler: &mut Value) {
    within(handler, "httpGet", |get| {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    });
    within(handler, "grpc", |grpc| {
        set_absent(grpc, "service", json!(""));
    });
}

fn default_volume(volume: &mut Value) {
    let has_source = volume.as_object().is_some_and(|fields| {
        fields
            .iter()
            .any(|(key, value)| key != "name" && !value.is_null())
    });
    if !has_source {
        set_absent(volume, "emptyDir", json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        within(volume, source, |source| {
            set_absent(source, "defaultMode", json!(420));
        });
    }
    within(volume, "downwardAPI", default_field_paths);
    within(volume, "projected", |projected| {
        each(projected, "sources", |source| {
            within(source, "serviceAccountToken", |token| {
                set_absent(token, "expirationSeconds", json!(3600));
            });
            within(source, "downwardAPI", default_field_paths);
        });
    });
    within(volume, "hostPath", |path| {
        set_absent(path, "type", json!(""));
    });
    within(volume, "iscsi", |iscsi| {
        set(iscsi, "iscsiInterface", json!("default"));
    });
    within(volume, "rbd", |rbd| {
        set(rbd, "pool", json!("rbd"));
        set(rbd, "user", json!("admin"));
        set(rbd, "keyring", json!("/etc/ceph/keyring"));
    });
    within(volume, "azureDisk", |disk| {
        set_absent(disk, "cachingMode", json!("ReadWrite"));
        set_absent(disk, "fsType", json!("ext4"));
        set_absent(disk, "readOnly", json!(false));
        set_absent(disk, "kind", json!("Shared"));
    });
    within(volume, "scaleIO", |disk| {
        set(disk, "storageMode", json!("ThinProvisioned"));
        set(disk, "fsType", json!("xfs"));
    });
    within(volume, "ephemeral", |ephemeral| {
        within(ephemeral, "volumeClaimTemplate", |template| {
            within(template, "spec", |spec| {
                set_absent(spec, "volumeMode", json!("Filesystem"));
            });
        });
    });
}

fn default_field_paths(source: &mut Value) {
    each(source, "items", |item| {
        within(item, "fieldRef", |field| {
            set(field, "apiVersion", json!("v1"));
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_template(one: &Value, other: &Value) -> bool {
        comparable(one) == comparable(other)
    }

    fn written() -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {
            "serviceAccountName": "shop",
            "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
            "containers": [{"name": "web", "image": "nginx:1.25",
                "ports": [{"containerPort": 80}],
                "resources": {"requests": {"cpu": "0.5"}},
                "readinessProbe": {"httpGet": {"port": 80}}}]}})
    }

    fn stored() -> Value {
        json!({"metadata": {"creationTimestamp": null,
            "labels": {"app": "web", "rollouts-pod-template-hash": "abc"}}, "spec": {
            "serviceAccountName": "shop", "serviceAccount": "shop",
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
            "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30,
            "volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 420}}],
            "containers": [{"name": "web", "image": "nginx:1.25",
                "imagePullPolicy": "IfNotPresent",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "500m"}},
                "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1,
                    "failureThreshold": 3}}]}})
    }

    #[test]
    fn what_the_api_server_fills_in_makes_no_difference() {
        assert!(same_template(&written(), &stored()));
    }

    #[test]
    fn a_real_difference_is_seen() {
        let changes = [
            ("/spec/containers/0/image", json!("nginx:1.26")),
            ("/spec/containers/0/resources/requests/cpu", json!("501m")),
            ("/metadata/labels/app", json!("shop")),
            ("/spec/serviceAccountName", json!("other")),
        ];
        for (path, value) in changes {
            let mut other = written();
            *other.pointer_mut(path).unwrap() = value;
            assert!(!same_template(&other, &stored()), "{path}");
        }
    }

    #[test]
    fn the_tag_decides_when_an_image_is_pulled() {
        let cases = [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.25", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("localhost:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:0123", "IfNotPresent"),
            ("nginx:latest@sha256:0123", "IfNotPresent"),
        ];
        for (image, policy) in cases {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
