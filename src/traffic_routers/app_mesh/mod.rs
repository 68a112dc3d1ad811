//! AWS App Mesh: the weights of the virtual router behind a virtual service, and the labels by which
//! the virtual nodes of both versions select pods. What those selected before is noted on them, and is
//! what they select again when the Rollout lets them go.
//!
//! # Source
//! `rollout/trafficrouting/appmesh` of Argo Rollouts.

mod problems;
mod selectors;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;

use super::object::{Known, Place, Query, Resource, Write, member, set_weight};
use super::split::{Split, Subject};
use super::{Router, Versions};
use crate::api::labels::POD_TEMPLATE_HASH;
use crate::api::{AppMeshTrafficRouting, AppMeshVirtualService, Problem};

/// Kinds of routes that divide traffic.
const ROUTES: [&str; 4] = ["httpRoute", "tcpRoute", "http2Route", "grpcRoute"];

/// What the nodes select while there is no pod for them. Two nodes must not select the same pods.
const NO_CANARY: &str = "canary-hash";
const NO_STABLE: &str = "stable-hash";

pub(super) struct AppMesh<'a> {
    namespace: &'a str,
    version: String,
    service: Option<(Place, &'a AppMeshVirtualService)>,
    nodes: Option<Nodes>,
}

struct Nodes {
    canary: Place,
    stable: Place,
}

impl<'a> AppMesh<'a> {
    pub(super) fn new(
        subject: &Subject<'a>,
        settings: &'a AppMeshTrafficRouting,
        versions: &Versions,
    ) -> Self {
        let mut router = Self {
            namespace: subject.namespace,
            version: versions.app_mesh.clone(),
            service: None,
            nodes: None,
        };
        let service = settings.virtual_service.as_ref().map(|service| {
            let place = router.place("VirtualService", "virtualservices", &service.name);
            (place, service)
        });
        let nodes = settings.virtual_node_group.as_ref().map(|nodes| {
            let place = |name| router.place("VirtualNode", "virtualnodes", name);
            Nodes {
                canary: place(&nodes.canary_virtual_node_ref.name),
                stable: place(&nodes.stable_virtual_node_ref.name),
            }
        });
        (router.service, router.nodes) = (service, nodes);
        router
    }

    fn place(&self, kind: &'static str, plural: &'static str, name: &str) -> Place {
        Place {
            resource: Resource {
                group: "appmesh.k8s.aws".to_owned(),
                version: self.version.clone(),
                kind,
                plural,
            },
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The virtual router that a virtual service names.
    fn router(&self, service: &Value) -> Option<Place> {
        let named = service.pointer("/spec/provider/virtualRouter/virtualRouterRef")?;
        let name = named["name"].as_str()?;
        let mut place = self.place("VirtualRouter", "virtualrouters", name);
        if let Some(namespace) = named["namespace"].as_str().filter(|text| !text.is_empty()) {
            namespace.clone_into(&mut place.namespace);
        }
        Some(place)
    }

    /// Whether a target is this node.
    fn is_target(&self, target: &Value, node: &Place) -> bool {
        let named = &target["virtualNodeRef"];
        let namespace = named["namespace"].as_str().filter(|text| !text.is_empty());
        named["name"] == node.name && namespace.unwrap_or(self.namespace) == node.namespace
    }

    fn divide(
        &self,
        known: &Known,
        split: &Split,
        (place, named): &(Place, &AppMeshVirtualService),
        nodes: &Nodes,
    ) -> Result<Option<Write>, String> {
        let service = known.get(place).ok_or("Virtual-service is missing")?;
        let Some(place) = self.router(service) else {
            return Err("Virtual-service is not associated with virtual-router".to_owned());
        };
        let before = known.get(&place).ok_or("Virtual-router is missing")?;
        let split = split.in_percent();
        let mut after = Value::clone(before);
        let routes = after.pointer_mut("/spec/routes");
        for route in routes.and_then(Value::as_array_mut).into_iter().flatten() {
            if !is_named(route, named) {
                continue;
            }
            let Some(kind) = kind(route) else { continue };
            let targets = route[kind].pointer_mut("/action/weightedTargets");
            for target in targets.and_then(Value::as_array_mut).into_iter().flatten() {
                if self.is_target(target, &nodes.stable) {
                    set_weight(target, split.stable(), None);
                } else if self.is_target(target, &nodes.canary) {
                    set_weight(target, split.canary(), None);
                }
            }
        }
        Ok(Write::update(place, before, after, None))
    }
}

/// Whether a route is one that the Rollout names; without names, all are.
fn is_named(route: &Value, named: &AppMeshVirtualService) -> bool {
    named.routes.is_empty() || named.routes.iter().any(|name| route["name"] == *name)
}

fn kind(route: &Value) -> Option<&'static str> {
    ROUTES.into_iter().find(|kind| route[kind].is_object())
}

/// Lets a node select the pods of one version; none if it does already.
fn select(place: &Place, before: &Arc<Value>, hash: &str, former: &[&str]) -> Option<Write> {
    let mut after = Value::clone(before);
    selectors::note(&mut after, former);
    let selector = member(member(&mut after, "spec"), "podSelector");
    *member(member(selector, "matchLabels"), POD_TEMPLATE_HASH) = hash.into();
    Write::update(place.clone(), before, after, None)
}

/// Lets a node select what it did before.
fn restore(place: &Place, before: &Arc<Value>) -> Option<Write> {
    let mut after = Value::clone(before);
    selectors::restore(&mut after);
    Write::update(place.clone(), before, after, None)
}

impl Router for AppMesh<'_> {
    fn name(&self) -> &'static str {
        "AppMesh"
    }

    fn queries(&self, known: &Known) -> Vec<Query> {
        let service = self.service.as_ref().map(|(place, _)| place);
        let router = service.and_then(|place| self.router(known.get(place)?));
        let nodes = self
            .nodes
            .iter()
            .flat_map(|nodes| [&nodes.canary, &nodes.stable]);
        let places = service.into_iter().chain(nodes).cloned().chain(router);
        places.map(Query::One).collect()
    }

    fn problems(&self, known: &Known) -> Vec<Problem> {
        let mut problems = self.problems_of_service(known);
        problems.extend(self.problems_of_nodes(known));
        problems
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        let service = self.service.as_ref().ok_or("Virtual-service is missing")?;
        let nodes = self.nodes.as_ref().ok_or("Virtual-node is missing")?;
        let weights = self.divide(known, split, service, nodes)?;
        let stable = known.get(&nodes.stable).ok_or("Virtual-node is missing")?;
        let canary = known.get(&nodes.canary).ok_or("Virtual-node is missing")?;
        let or = |hash: &'_ str, none| {
            if hash.is_empty() {
                none
            } else {
                hash.to_owned()
            }
        };
        let stable_hash = or(
            &split.weights.stable.pod_template_hash,
            NO_STABLE.to_owned(),
        );
        let mut canary_hash = or(
            &split.weights.canary.pod_template_hash,
            NO_CANARY.to_owned(),
        );
        if canary_hash == stable_hash {
            NO_CANARY.clone_into(&mut canary_hash);
        }
        let versions = split.versions.iter().map(|version| version.hash.as_str());
        let former: Vec<&str> = versions.chain([NO_CANARY, NO_STABLE]).collect();
        let stable = select(&nodes.stable, stable, &stable_hash, &former);
        let canary = select(&nodes.canary, canary, &canary_hash, &former);
        // A node that gets traffic must have pods all the time.
        let writes = if split.canary() > 0 {
            [stable, canary, weights]
        } else {
            [stable, weights, canary]
        };
        Ok(writes.into_iter().flatten().collect())
    }

    fn release(&self, known: &Known) -> Vec<Write> {
        let Some(nodes) = &self.nodes else {
            return vec![];
        };
        let node = |place| known.get(place).and_then(|found| restore(place, found));
        let undivided = |service| self.divide(known, &Split::undivided(), service, nodes);
        let weights = self.service.as_ref().map(undivided);
        let weights = weights.and_then(Result::ok).flatten();
        // No request goes to the node of the new version any more when it selects others.
        let writes = [node(&nodes.stable), weights, node(&nodes.canary)];
        writes.into_iter().flatten().collect()
    }
}
