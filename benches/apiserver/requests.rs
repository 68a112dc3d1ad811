//! The requests: about pods, as a ReplicaSet makes them and a kubelet reports them.

use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// One request.
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) media: &'static str,
    pub(crate) body: String,
}

fn ask(method: &'static str, path: String, media: &'static str, body: &Value) -> Ask {
    let body = body.to_string();
    Ask {
        method,
        path,
        media,
        body,
    }
}

fn name(index: usize) -> String {
    format!("web-7d4b9c6f5-{index}")
}

fn path(index: usize) -> String {
    format!("{PODS}/{}", name(index))
}

fn a_pod(index: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name(index),
            "labels": {
                "app": "web", "pod-template-hash": "7d4b9c6f5",
                "hundred": (index / 100).to_string(),
            },
            "annotations": {"example.dev/release": "2026-01-01"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c6f5",
                "uid": "7d9c9c2e-1c1f-4c36-8b1e-2d0a2c5b9a11",
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "containers": [{
                "name": "main", "image": "registry.example/web:1.2.3",
                "ports": [{"containerPort": 8080, "name": "http"}],
                "env": [
                    {"name": "LOG_LEVEL", "value": "info"},
                    {"name": "REGION", "value": "north"},
                ],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "128Mi"},
                    "limits": {"memory": "256Mi"},
                },
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
            }],
        },
    })
}

pub(crate) fn create(index: usize) -> Ask {
    ask("POST", PODS.to_owned(), "application/json", &a_pod(index))
}

pub(crate) fn get(index: usize) -> Ask {
    ask("GET", path(index), "application/json", &Value::Null)
}

/// What a kubelet reports; another value each time.
pub(crate) fn merge(index: usize) -> Ask {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let status = json!({"status": {
        "phase": "Running", "hostIP": "10.0.0.1", "podIP": format!("10.1.{}.1", count % 250),
        "conditions": [
            {"type": "Ready", "status": "True", "message": count.to_string()},
            {"type": "ContainersReady", "status": "True"},
        ],
        "containerStatuses": [{
            "name": "main", "ready": true, "restartCount": count,
            "image": "registry.example/web:1.2.3", "imageID": "sha256:0123",
        }],
    }});
    let path = format!("{}/status", path(index));
    ask("PATCH", path, "application/merge-patch+json", &status)
}

pub(crate) fn strategic(index: usize) -> Ask {
    let patch = json!({
        "metadata": {"annotations": {"example.dev/reviewed": index.to_string()}},
        "spec": {"containers": [{"name": "main", "image": format!("registry.example/web:2.{index}")}]},
    });
    let media = "application/strategic-merge-patch+json";
    ask("PATCH", path(index), media, &patch)
}

pub(crate) fn apply(index: usize) -> Ask {
    let wanted = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"labels": {"example.dev/applied": index.to_string()}},
    });
    let path = format!("{}?fieldManager=bench", path(index));
    ask("PATCH", path, "application/apply-patch+yaml", &wanted)
}

pub(crate) fn list(query: &str) -> Ask {
    let path = format!("{PODS}{query}");
    ask("GET", path, "application/json", &Value::Null)
}

/// A watch of what changes from now on.
pub(crate) fn watch() -> Ask {
    list("?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan")
}
