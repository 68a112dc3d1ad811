//! What is wrong with the objects of App Mesh.
//!
//! # Source
//! `ValidateAppMeshVirtualRouter` in `pkg/apis/rollouts/validation` of Argo Rollouts.

use serde_json::Value;

use super::super::FIELD;
use super::super::object::{Known, Place};
use super::{AppMesh, is_named, kind};
use crate::api::{AppMeshVirtualService, Problem};

impl AppMesh<'_> {
    fn problems_of_router(
        &self,
        object: &Value,
        name: &str,
        named: &AppMeshVirtualService,
    ) -> Vec<Problem> {
        let routes = object.pointer("/spec/routes").and_then(Value::as_array);
        let routes = routes.map_or(&[][..], Vec::as_slice);
        if routes.is_empty() {
            let why = format!("No routes defined for AppMesh virtual-router {name}");
            return vec![Problem::invalid("spec.routes", name, why)];
        }
        let mut problems = Vec::new();
        for (index, wanted) in named.routes.iter().enumerate() {
            if !routes.iter().any(|route| route["name"] == *wanted) {
                let field = format!("{FIELD}.appMesh.virtualService.routes[{index}]");
                let why = format!("not a route of AppMesh virtual-router {name}");
                problems.push(Problem::invalid(field, wanted, why));
            }
        }
        let divided = routes.iter().enumerate();
        for (index, route) in divided.filter(|(_, route)| is_named(route, named)) {
            let field = format!("spec.routes[{index}]");
            problems.extend(self.problem_of_route(route, name, field));
        }
        problems
    }

    fn problem_of_route(&self, route: &Value, router: &str, field: String) -> Option<Problem> {
        let name = route["name"].as_str().unwrap_or_default();
        let of = format!("for AppMesh virtual-router {router} and route {name}");
        let Some(kind) = kind(route) else {
            let why = format!(
                "Error getting route details {of}. Error: Route has unsupported route type"
            );
            return Some(Problem::invalid(field, router, why));
        };
        let field = format!("{field}.{kind}.action.weightedTargets");
        let targets = route[kind].pointer("/action/weightedTargets");
        let Some(targets) = targets.and_then(Value::as_array) else {
            let why = format!("Invalid route action found {of}");
            return Some(Problem::invalid(field, router, why));
        };
        if targets.len() != 2 {
            let count = targets.len();
            let why = format!("Invalid number of weightedTargets ({count}) {of}, expected 2");
            return Some(Problem::invalid(field, router, why));
        }
        let nodes = self
            .nodes
            .iter()
            .flat_map(|nodes| [&nodes.canary, &nodes.stable]);
        let is_missing = |node: &&Place| !targets.iter().any(|target| self.is_target(target, node));
        let missing = nodes.into_iter().find(is_missing)?;
        let why = format!("virtual node `{}` is not a target {of}", missing.name);
        Some(Problem::invalid(field, router, why))
    }

    pub(super) fn problems_of_service(&self, known: &Known) -> Vec<Problem> {
        let field = format!("{FIELD}.appMesh.virtualService");
        let Some((place, named)) = &self.service else {
            return vec![Problem::required(field, "must provide virtual-service")];
        };
        let invalid = |why| vec![Problem::invalid(format!("{field}.name"), &place.name, why)];
        let Some(service) = known.get(place) else {
            return invalid(place.missing());
        };
        let Some(router) = self.router(service) else {
            return invalid("Virtual-service is not associated with virtual-router".to_owned());
        };
        match known.get(&router) {
            None => invalid(router.missing()),
            Some(object) => self.problems_of_router(object, &router.name, named),
        }
    }

    pub(super) fn problems_of_nodes(&self, known: &Known) -> Vec<Problem> {
        let field = format!("{FIELD}.appMesh.virtualNodeGroup");
        let Some(nodes) = &self.nodes else {
            return vec![Problem::required(field, "must provide virtual-node-group")];
        };
        let nodes = [
            ("canaryVirtualNodeRef", &nodes.canary),
            ("stableVirtualNodeRef", &nodes.stable),
        ];
        let missing = |(_, node): &(_, &Place)| known.get(node).is_none();
        let missing = nodes.into_iter().filter(missing);
        missing
            .map(|(member, node)| {
                let field = format!("{field}.{member}.name");
                Problem::invalid(field, &node.name, node.missing())
            })
            .collect()
    }
}
