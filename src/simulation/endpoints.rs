//! The Endpoints of a Service: the addresses of the pods that it selects, ready ones apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
    ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use serde_json::json;

use super::change::Change;
use super::pods;
use crate::cluster::merge_patch;

/// Marks the Endpoints that this controller made, and may delete.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

/// Marks the Endpoints of a Service without an address of its own.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Decides how the Endpoints of a Service change.
pub(super) fn decide(
    service: Option<&Service>,
    endpoints: Option<&Endpoints>,
    pods: &[Arc<Pod>],
) -> Option<Change> {
    let Some(service) = service else {
        return endpoints.filter(|found| is_ours(found)).map(Change::delete);
    };
    let spec = spec(service)?;
    let wanted = Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            labels: Some(labels(service, spec)),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets(spec, pods)).filter(|subsets| !subsets.is_empty()),
    };
    let Some(found) = endpoints else {
        return Some(Change::create(&wanted));
    };
    let old = json!({"metadata": {"labels": found.metadata.labels}, "subsets": found.subsets});
    let new = json!({"metadata": {"labels": wanted.metadata.labels}, "subsets": wanted.subsets});
    merge_patch(&old, &new).map(|patch| Change::patch(found, patch))
}

/// What a Service says, if it has addresses of pods.
pub(super) fn spec(service: &Service) -> Option<&ServiceSpec> {
    let spec = service.spec.as_ref()?;
    let selects = spec
        .selector
        .as_ref()
        .is_some_and(|selector| !selector.is_empty());
    let is_name = spec.type_.as_deref() == Some("ExternalName");
    (selects && !is_name && service.metadata.deletion_timestamp.is_none()).then_some(spec)
}

/// Whether a Service has no address of its own.
pub(super) fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some("None")
}

fn is_ours(endpoints: &Endpoints) -> bool {
    let manager = endpoints.labels().get(MANAGED_BY.0);
    manager.is_some_and(|manager| manager == MANAGED_BY.1)
}

/// Those of the Service, and what kind of Endpoints these are.
fn labels(service: &Service, spec: &ServiceSpec) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    if is_headless(spec) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

/// The addresses, grouped by the ports that they have.
fn subsets(spec: &ServiceSpec, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let publishes_all = spec.publish_not_ready_addresses == Some(true);
    let mut subsets: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    for pod in pods {
        if pods::is_finished(pod) || (pods::is_deleting(pod) && !publishes_all) {
            continue;
        }
        let (Some(address), Some(ports)) = (address(pod), ports(spec, pod)) else {
            continue;
        };
        let subset = subsets.entry(json!(ports).to_string()).or_default();
        subset.ports = (!ports.is_empty()).then_some(ports);
        let list = if publishes_all || pods::ready_since(pod).is_some() {
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        list.get_or_insert_default().push(address);
    }
    let mut subsets: Vec<_> = subsets.into_values().collect();
    for subset in &mut subsets {
        let lists = [&mut subset.addresses, &mut subset.not_ready_addresses];
        for list in lists.into_iter().flatten() {
            list.sort_by(|one, other| one.ip.cmp(&other.ip));
        }
    }
    subsets
}

fn address(pod: &Pod) -> Option<EndpointAddress> {
    Some(EndpointAddress {
        ip: pod.status.as_ref()?.pod_ip.clone()?,
        hostname: None,
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
    })
}

/// The ports of the Service that a pod has; `None` if it has none of them. Only a Service without an
/// address may have no ports at all.
pub(super) fn ports(spec: &ServiceSpec, pod: &Pod) -> Option<Vec<EndpointPort>> {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let port = |port: &ServicePort| {
        Some(EndpointPort {
            app_protocol: port.app_protocol.clone(),
            name: port.name.clone(),
            port: target_port(port, pod)?,
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        })
    };
    let found: Vec<_> = ports.iter().filter_map(port).collect();
    (!found.is_empty() || (ports.is_empty() && is_headless(spec))).then_some(found)
}

/// The number of the port on the pod; `None` if the pod has no port of that name.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice());
            let mut ports = containers
                .unwrap_or_default()
                .iter()
                .flat_map(|container| &container.ports);
            ports.find_map(|ports| {
                let found = ports.iter().find(|port| port.name.as_ref() == Some(name))?;
                Some(found.container_port)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn service(spec: &Value) -> Service {
        let mut service = json!({
            "metadata": {"name": "web", "namespace": "default", "labels": {"team": "a"}},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
        });
        json_patch::merge(&mut service, &json!({ "spec": spec }));
        serde_json::from_value(service).unwrap()
    }

    /// A pod; `state` is `ready`, `running`, `stopping`, `ended` or `waiting`.
    fn pod(number: usize, port: &str, state: &str) -> Arc<Pod> {
        let phase = match state {
            "ended" => "Succeeded",
            "waiting" => "Pending",
            _ => "Running",
        };
        let ready = matches!(state, "ready" | "stopping");
        let deleted = (state == "stopping").then_some("2026-01-01T00:00:00Z");
        let ip = (state != "waiting").then(|| format!("10.0.0.{number}"));
        let pod = json!({
            "metadata": {"name": format!("web-{number}"), "deletionTimestamp": deleted},
            "spec": {"containers": [{"name": "c",
                "ports": [{"name": port, "containerPort": 8000 + number / 10}]}]},
            "status": {"phase": phase, "podIP": ip, "conditions": [
                {"type": "Ready", "status": if ready { "True" } else { "False" }},
            ]},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn made(spec: &Value, pods: &[Arc<Pod>]) -> Value {
        match decide(Some(&service(spec)), None, pods) {
            Some(Change::Create { object, .. }) => object,
            other => panic!("{other:?}"),
        }
    }

    /// `port: ready addresses | others`, the last number of each address.
    fn told(spec: &Value, pods: &[Arc<Pod>]) -> Vec<String> {
        let made = made(spec, pods);
        let numbers = |list: &Value| {
            let list = list.as_array().cloned().unwrap_or_default();
            let ips = list
                .iter()
                .map(|address| address["ip"].as_str().unwrap().to_owned());
            let numbers: Vec<_> = ips.map(|ip| ip.replace("10.0.0.", "")).collect();
            numbers.join(",")
        };
        let subsets = made["subsets"].as_array().cloned().unwrap_or_default();
        let tell = |subset: &Value| {
            let port = &subset["ports"][0]["port"];
            let [ready, others] =
                ["addresses", "notReadyAddresses"].map(|list| numbers(&subset[list]));
            format!("{port}: {ready} | {others}")
        };
        subsets.iter().map(tell).collect()
    }

    #[test]
    fn ready_pods_stand_apart_and_those_that_go_do_not_stand_at_all() {
        let pods = [
            pod(2, "http", "ready"),
            pod(1, "http", "ready"),
            pod(3, "http", "running"),
            pod(4, "http", "stopping"),
            pod(5, "http", "ended"),
            pod(6, "http", "waiting"),
            pod(7, "other", "ready"),
            pod(11, "http", "ready"),
        ];
        assert_eq!(told(&json!({}), &pods), ["8000: 1,2 | 3", "8001: 11 | "]);
        let all = json!({"publishNotReadyAddresses": true});
        assert_eq!(told(&all, &pods), ["8000: 1,2,3,4 | ", "8001: 11 | "]);
        assert_eq!(told(&json!({}), &[]), [""; 0]);
    }

    #[test]
    fn a_service_without_an_address_needs_no_ports() {
        let headless = json!({"clusterIP": "None", "ports": null});
        let pods = [pod(1, "http", "ready")];
        assert_eq!(told(&headless, &pods), ["null: 1 | "]);
        let labels = &made(&headless, &pods)["metadata"]["labels"];
        assert_eq!(
            (&labels[HEADLESS], &labels["team"]),
            (&json!(""), &json!("a"))
        );
        assert_eq!(told(&json!({"ports": null}), &pods), [""; 0]);
    }

    #[test]
    fn some_services_have_no_endpoints_of_ours() {
        for spec in [json!({"selector": null}), json!({"type": "ExternalName"})] {
            assert!(decide(Some(&service(&spec)), None, &[]).is_none(), "{spec}");
        }
    }

    #[test]
    fn endpoints_change_with_their_service_and_go_with_it() {
        let pods = [pod(1, "http", "ready")];
        let made: Endpoints = serde_json::from_value(made(&json!({}), &pods)).unwrap();
        assert!(decide(Some(&service(&json!({}))), Some(&made), &pods).is_none());
        let mut renamed = service(&json!({}));
        renamed
            .labels_mut()
            .insert("team".to_owned(), "b".to_owned());
        let Some(Change::Patch { patch, .. }) = decide(Some(&renamed), Some(&made), &[]) else {
            panic!("no patch")
        };
        assert_eq!(
            patch,
            json!({"metadata": {"labels": {"team": "b"}}, "subsets": null})
        );
        assert!(matches!(
            decide(None, Some(&made), &[]),
            Some(Change::Delete { .. })
        ));
        assert!(decide(None, Some(&Endpoints::default()), &[]).is_none());
    }
}
