//! The EndpointSlices of a Service: the same addresses as its Endpoints, in portions, and those of
//! pods that are about to stop.
//!
//! # Source
//! The Kubernetes endpointslice controller, without its care for moving as few addresses as it can.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use serde_json::json;

use super::change::Change;
use super::endpoints;
use super::pods;
use crate::cluster::merge_patch;

/// The label that names the Service of a slice.
pub(super) const SERVICE: &str = "kubernetes.io/service-name";

/// Marks the slices that this controller made.
const MANAGED_BY: (&str, &str) = (
    "endpointslice.kubernetes.io/managed-by",
    "endpointslice-controller.k8s.io",
);

/// Addresses in one slice.
const MOST: usize = 100;

/// Decides how the slices of a Service change.
pub(super) fn decide(
    service: &Service,
    slices: &[Arc<EndpointSlice>],
    pods: &[Arc<Pod>],
) -> Vec<Change> {
    let Some(wanted) = wanted(service, pods) else {
        return Vec::new();
    };
    let mut found = slices.to_vec();
    found.sort_by_key(|slice| slice.name_any());
    let mut found = found.iter();
    let mut changes = Vec::new();
    for wanted in wanted {
        match found.next() {
            Some(found) => changes.extend(changed(found, &wanted)),
            None => changes.push(Change::create(&wanted)),
        }
    }
    changes.extend(found.map(|surplus| Change::delete(&**surplus)));
    changes
}

fn changed(found: &EndpointSlice, wanted: &EndpointSlice) -> Option<Change> {
    let content = |slice: &EndpointSlice| {
        json!({
            "metadata": {"labels": slice.metadata.labels},
            "endpoints": slice.endpoints,
            "ports": slice.ports,
        })
    };
    let patch = merge_patch(&content(found), &content(wanted))?;
    Some(Change::patch(found, patch))
}

/// The slices that a Service should have; at least one. `None` if they are not ours to make.
fn wanted(service: &Service, pods: &[Arc<Pod>]) -> Option<Vec<EndpointSlice>> {
    let spec = endpoints::spec(service)?;
    let publishes_all = spec.publish_not_ready_addresses == Some(true);
    let mut by_ports: BTreeMap<String, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pods::is_finished(pod)) {
        let found = endpoint(pod, publishes_all).zip(endpoints::ports(spec, pod));
        let Some((endpoint, ports)) = found else {
            continue;
        };
        let ports: Vec<_> = ports
            .into_iter()
            .map(|port| EndpointPort {
                app_protocol: port.app_protocol,
                name: Some(port.name.unwrap_or_default()),
                port: Some(port.port),
                protocol: port.protocol,
            })
            .collect();
        let slot = by_ports.entry(json!(ports).to_string()).or_default();
        slot.0 = ports;
        slot.1.push(endpoint);
    }
    let metadata = metadata(service, spec);
    let mut slices = Vec::new();
    for (ports, mut endpoints) in by_ports.into_values() {
        endpoints.sort_by(|one, other| one.addresses.cmp(&other.addresses));
        let portions = endpoints.chunks(MOST);
        slices.extend(portions.map(|portion| slice(&metadata, &ports, portion.to_vec())));
    }
    if slices.is_empty() {
        slices.push(slice(&metadata, &[], Vec::new()));
    }
    Some(slices)
}

fn endpoint(pod: &Pod, publishes_all: bool) -> Option<Endpoint> {
    let address = pod.status.as_ref()?.pod_ip.clone()?;
    let serves = pods::ready_since(pod).is_some();
    let stops = pods::is_deleting(pod);
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_all || (serves && !stops)),
            serving: Some(serves),
            terminating: Some(stops),
        }),
        node_name: pods::node(pod).map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

/// What all slices of a Service have.
fn metadata(service: &Service, spec: &ServiceSpec) -> ObjectMeta {
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    labels.insert(SERVICE.to_owned(), service.name_any());
    if endpoints::is_headless(spec) {
        labels.insert(endpoints::HEADLESS.to_owned(), String::new());
    }
    ObjectMeta {
        generate_name: Some(format!("{}-", service.name_any())),
        namespace: service.namespace(),
        labels: Some(labels),
        owner_references: Some(vec![pods::owner_reference(service)]),
        ..ObjectMeta::default()
    }
}

fn slice(metadata: &ObjectMeta, ports: &[EndpointPort], endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        metadata: metadata.clone(),
        address_type: "IPv4".to_owned(),
        endpoints,
        ports: (!ports.is_empty()).then(|| ports.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }))
        .unwrap()
    }

    fn pod(number: usize, is_ready: bool, is_stopping: bool) -> Arc<Pod> {
        let deleted = is_stopping.then_some("2026-01-01T00:00:00Z");
        let ready = if is_ready { "True" } else { "False" };
        let pod = json!({
            "metadata": {"name": format!("web-{number}"), "deletionTimestamp": deleted},
            "status": {"phase": "Running", "podIP": format!("10.0.0.{number:03}"),
                "conditions": [{"type": "Ready", "status": ready}]},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    /// The number of addresses in each slice that is made.
    fn made(pods: &[Arc<Pod>]) -> Vec<EndpointSlice> {
        let made = decide(&service(), &[], pods).into_iter();
        made.enumerate()
            .map(|(number, change)| {
                let Change::Create { mut object, .. } = change else {
                    panic!("{change}")
                };
                object["metadata"]["name"] = json!(format!("web-{number}"));
                serde_json::from_value(object).unwrap()
            })
            .collect()
    }

    #[test]
    fn an_address_says_whether_its_pod_serves_and_whether_it_stops() {
        let pods = [
            pod(1, true, false),
            pod(2, false, false),
            pod(3, true, true),
        ];
        let slices = made(&pods);
        let conditions = slices[0].endpoints.iter().map(|endpoint| {
            let conditions = endpoint.conditions.clone().unwrap();
            [conditions.ready, conditions.serving, conditions.terminating].map(Option::unwrap)
        });
        assert_eq!(
            conditions.collect::<Vec<_>>(),
            [
                [true, true, false],
                [false, false, false],
                [false, true, true]
            ]
        );
        let port = &slices[0].ports.as_ref().unwrap()[0];
        assert_eq!((port.port, port.name.as_deref()), (Some(8080), Some("")));
        assert_eq!(slices[0].labels()[SERVICE], "web");
    }

    #[test]
    fn many_addresses_come_in_portions_and_surplus_slices_go() {
        let pods: Vec<_> = (0..250).map(|number| pod(number, true, false)).collect();
        let slices = made(&pods);
        let sizes: Vec<_> = slices.iter().map(|slice| slice.endpoints.len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
        let found: Vec<_> = slices.into_iter().map(Arc::new).collect();
        assert!(decide(&service(), &found, &pods).is_empty());
        let told = decide(&service(), &found, &pods[..99]);
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "patch EndpointSlice `web-0`",
                "delete EndpointSlice `web-1`",
                "delete EndpointSlice `web-2`",
            ]
        );
    }

    #[test]
    fn a_service_without_pods_has_an_empty_slice() {
        let slices = made(&[]);
        assert_eq!((slices.len(), slices[0].endpoints.len()), (1, 0));
    }
}
