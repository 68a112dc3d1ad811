//! The Endpoints of a Service: the addresses of the pods that it selects, ready ones apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
    ServicePort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use serde_json::json;

use super::change::Change;
use super::pods;

/// Marks the Endpoints that this controller made, and may delete.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

/// Decides how the Endpoints of a Service change.
pub(super) fn decide(
    service: Option<&Service>,
    endpoints: Option<&Endpoints>,
    pods: &[Arc<Pod>],
) -> Option<Change> {
    let Some(service) = service else {
        let ours = |found: &&Endpoints| {
            found
                .labels()
                .get(MANAGED_BY.0)
                .is_some_and(|value| value == MANAGED_BY.1)
        };
        return endpoints.filter(ours).map(Change::delete);
    };
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    if selector.is_none_or(BTreeMap::is_empty) || service.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let subsets = subsets(service, pods);
    match endpoints {
        Some(found) if found.subsets.clone().unwrap_or_default() == subsets => None,
        Some(found) => Some(Change::patch(found, json!({"subsets": subsets}))),
        None => Some(Change::create(&made(service, subsets))),
    }
}

fn made(service: &Service, subsets: Vec<EndpointSubset>) -> Endpoints {
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

/// The addresses, grouped by the ports that they have.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let mut subsets: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    for pod in pods {
        if !pods::serves(service, pod.labels()) || !pods::is_active(pod) {
            continue;
        }
        let Some(address) = address(pod) else {
            continue;
        };
        let ports = ports(service, pod);
        let subset = subsets.entry(json!(ports).to_string()).or_default();
        subset.ports = (!ports.is_empty()).then_some(ports);
        let list = if pods::ready_since(pod).is_some() {
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

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    let port = |port: &ServicePort| {
        Some(EndpointPort {
            app_protocol: port.app_protocol.clone(),
            name: port.name.clone(),
            port: target_port(port, pod)?,
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        })
    };
    ports.iter().filter_map(port).collect()
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
