//! What is wrong with routes and with what steps ask of them, and what their parents say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::object::Known;
use super::super::split::{Pair, Route, Subject};
use super::backends::references;
use super::conditions::Conditions;
use super::route_kind::service;
use super::{Found, GatewayApi};
use crate::api::Problem;

impl GatewayApi<'_> {
    /// What is wrong with a route that was found.
    pub(super) fn problems_of(&self, found: &Found<'_>, known: &Known) -> Vec<Problem> {
        let Pair { canary, stable } = self.backends.services;
        let (kind, name) = (found.kind.name(), &found.place.name);
        let rules = found
            .object
            .pointer("/spec/rules")
            .and_then(Value::as_array);
        let rules = rules.map_or(&[][..], Vec::as_slice);
        let mut problems = Vec::new();
        let mut refuse = |why: String| problems.push(Problem::invalid(&found.field, name, why));
        let is_there = |service| {
            rules
                .iter()
                .any(|rule| self.backends.find(rule, service).is_some())
        };
        for (role, service) in [("canary", canary), ("stable", stable)] {
            if !is_there(service) {
                refuse(format!(
                    "{role} Service `{service}` is in no backendRefs of this {kind}"
                ));
            }
        }
        let shared: Vec<&Value> = rules
            .iter()
            .filter(|rule| self.backends.are_both_in(rule))
            .collect();
        if shared.is_empty() && is_there(canary) && is_there(stable) {
            refuse(format!(
                "no rule of this {kind} has backendRefs to both `{stable}` and `{canary}`"
            ));
        }
        let mut unknown: BTreeSet<(&str, i64)> = BTreeSet::new();
        for reference in shared.iter().flat_map(|rule| references(rule)) {
            for service in [canary, stable] {
                if self.backends.leads_to(reference, service) {
                    unknown.extend(
                        self.unknown_port(reference, known)
                            .map(|port| (service, port)),
                    );
                }
            }
        }
        for (service, port) in unknown {
            refuse(format!("Service `{service}` has no port {port}"));
        }
        problems
    }

    /// The port of a reference to a Service that has no such port.
    fn unknown_port(&self, reference: &Value, known: &Known) -> Option<i64> {
        if reference.get("kind").is_some_and(|kind| kind != "Service") {
            return None;
        }
        let port = reference["port"].as_i64()?;
        let place = service(self.namespace, reference["name"].as_str()?);
        let ports = known.get(&place)?.pointer("/spec/ports")?.as_array()?;
        (!ports.iter().any(|one| one["port"] == port)).then_some(port)
    }
}

/// All routes by header or mirror that the steps set, and what is wrong with them.
pub(super) fn routes_of_steps(subject: &Subject<'_>) -> (Vec<Route>, Vec<Problem>) {
    let (mut routes, mut refused) = (Vec::new(), Vec::new());
    for (index, step) in subject.canary.steps.iter().enumerate() {
        let field = |kind| format!("spec.strategy.canary.steps[{index}].{kind}.match");
        let mut refuse = |field, name: &str, why: String| {
            refused.push(Problem::invalid(field, name, why));
        };
        if let Some(route) = step
            .set_header_route
            .as_ref()
            .filter(|it| !it.matches.is_empty())
        {
            if let Err(why) = Conditions::of_headers(route) {
                refuse(field("setHeaderRoute"), &route.name, why);
            }
            routes.push(Route::Header(route.clone()));
        }
        if let Some(route) = step
            .set_mirror_route
            .as_ref()
            .filter(|it| !it.matches.is_empty())
        {
            for wanted in &route.matches {
                if let Err(why) = Conditions::of_requests(wanted) {
                    refuse(field("setMirrorRoute"), &route.name, why);
                }
            }
            routes.push(Route::Mirror(route.clone()));
        }
    }
    (routes, refused)
}

/// Whether each parent of a route refuses it, by its latest word: a weight that is set now does not
/// cure what it has refused before, and it says so when something else does.
pub(super) fn is_refused(route: &Value) -> bool {
    let parents = route.pointer("/status/parents").and_then(Value::as_array);
    let refuses = |parent: &Value| {
        let mut conditions = parent["conditions"].as_array().into_iter().flatten();
        conditions.any(|condition| {
            let is_part = condition["type"] == "Accepted" || condition["type"] == "ResolvedRefs";
            is_part && condition["status"] == "False"
        })
    };
    parents.is_some_and(|parents| !parents.is_empty() && parents.iter().all(refuses))
}
