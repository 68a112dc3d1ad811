//! What a real API server fills into pods and their templates.

use serde_json::{Map, Value, json};

use super::defaults::or;

/// How long a pod stays on a node that is lost, in seconds.
const LOST_NODE_SECONDS: i64 = 300;

/// Fills the defaults of a pod's `spec` in, wherever it stands.
pub(super) fn fill(spec: &mut Value) {
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
        for container in items(spec, list) {
            fill_container(container);
        }
    }
    for volume in items(spec, "volumes") {
        fill_volume(volume);
    }
}

/// The items of a list, if it is there.
fn items<'a>(object: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    let items = object.get_mut(list).and_then(Value::as_array_mut);
    items.into_iter().flatten()
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
    for port in items(container, "ports") {
        or(port, "protocol", json!("TCP"));
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            fill_probe(probe);
        }
    }
    for variable in items(container, "env") {
        if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
            or(field, "apiVersion", json!("v1"));
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

fn fill_volume(volume: &mut Value) {
    // 420 is 0644.
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source) {
            or(source, "defaultMode", json!(420));
        }
    }
    if let Some(path) = volume.get_mut("hostPath") {
        or(path, "type", json!(""));
    }
}

/// No tag, or the tag `latest`. A digest is neither.
fn is_latest(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// What is filled into pods but not into templates, by admission plugins among others: the account,
/// the priority, tolerations of lost nodes, requests that follow from limits.
pub(super) fn admit(pod: &mut Value) {
    let spec = &mut pod["spec"];
    if !spec.is_object() {
        return;
    }
    or(spec, "enableServiceLinks", json!(true));
    or(spec, "serviceAccountName", json!("default"));
    let account = spec["serviceAccountName"].clone();
    or(spec, "serviceAccount", account);
    or(spec, "priority", json!(0));
    or(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    or(spec, "tolerations", json!([]));
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        tolerate(&mut spec["tolerations"], key);
    }
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            request_limits(&mut container["resources"]);
        }
    }
}

fn tolerate(tolerations: &mut Value, key: &str) {
    let Some(list) = tolerations.as_array_mut() else {
        return;
    };
    let covers = |toleration: &Value| {
        let about = |field: &str, wanted: &str| {
            toleration[field]
                .as_str()
                .is_none_or(|found| found == wanted)
        };
        about("key", key) && about("effect", "NoExecute")
    };
    if !list.iter().any(covers) {
        list.push(json!({
            "key": key,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": LOST_NODE_SECONDS,
        }));
    }
}

/// Requests what is limited and not requested.
fn request_limits(resources: &mut Value) {
    let Some(limits) = resources["limits"].as_object().cloned() else {
        // Looking for them made them null.
        if let Some(fields) = resources.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        return;
    };
    or(resources, "requests", json!({}));
    for (name, amount) in limits {
        or(&mut resources["requests"], &name, amount);
    }
}

/// The quality of service that a pod gets.
pub(super) fn quality(spec: &Value) -> &'static str {
    let lists = ["containers", "initContainers"];
    let containers = lists.iter().filter_map(|list| spec[*list].as_array());
    let resources: Vec<&Value> = containers.flatten().map(|c| &c["resources"]).collect();
    let is_set = |kind: &Value| {
        let named = ["cpu", "memory"].map(|name| kind[name].as_str());
        named.iter().flatten().any(|amount| *amount != "0")
    };
    let is_guaranteed = |resources: &&Value| {
        let whole = |name: &str| {
            let limit = &resources["limits"][name];
            limit.is_string() && *limit == resources["requests"][name]
        };
        whole("cpu") && whole("memory")
    };
    let limited = |r: &&Value| is_set(&r["limits"]) || is_set(&r["requests"]);
    if !resources.iter().any(limited) {
        "BestEffort"
    } else if resources.iter().all(is_guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Fills the defaults of a template of pods in.
pub(super) fn fill_template(spec: &mut Value) {
    if let Some(template @ Value::Object(_)) = spec.get_mut("template") {
        or(template, "metadata", Value::Object(Map::new()));
        if let Some(spec) = template.get_mut("spec") {
            fill(spec);
        }
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

    #[test]
    fn a_pod_gets_what_admission_gives_it() {
        let own = json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]);
        let container = json!({"name": "c", "resources": {"limits": {"cpu": "1"}}});
        let mut pod = json!({"spec": {"containers": [container], "tolerations": own}});
        admit(&mut pod);
        let spec = &pod["spec"];
        assert_eq!(spec["serviceAccount"], "default");
        assert_eq!(spec["priority"], 0);
        assert_eq!(spec["containers"][0]["resources"]["requests"]["cpu"], "1");
        let keys: Vec<_> = spec["tolerations"].as_array().unwrap().iter().collect();
        assert_eq!(keys.len(), 2, "{keys:?}");
        assert_eq!(keys[1]["key"], "node.kubernetes.io/unreachable");
        let again = pod.clone();
        admit(&mut pod);
        assert_eq!(pod, again);
    }

    #[test]
    fn the_quality_of_service_follows_from_requests_and_limits() {
        let all = json!({"cpu": "1", "memory": "1Gi"});
        for (resources, quality_of_service) in [
            (json!({}), "BestEffort"),
            (json!({"limits": {"cpu": "0"}}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": all, "requests": all}), "Guaranteed"),
            (
                json!({"limits": all, "requests": {"cpu": "1", "memory": "1Mi"}}),
                "Burstable",
            ),
        ] {
            let spec = json!({"containers": [{"resources": resources}]});
            assert_eq!(quality(&spec), quality_of_service, "{resources}");
        }
    }
}
