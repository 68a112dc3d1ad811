//! What is wrong with routes and with what steps ask of them, and what their parents say.

use serde_json::Value;

use super::super::ports::PortUse;
use super::super::split::{Pair, Route, Subject};
use super::backends::references;
use super::conditions::Conditions;
use super::{Found, GatewayApi};
use crate::api::Problem;

impl GatewayApi<'_> {
    /// What is wrong with a route that was found.
    pub(super) fn problems_of(&self, found: &Found<'_>) -> Vec<Problem> {
        let Pair { canary, stable } = self.backends.services;
        let (kind, name) = (found.route.kind.name(), &found.place.name);
        let rules = rules(found);
        let mut problems = Vec::new();
        let mut refuse =
            |why: String| problems.push(Problem::invalid(&found.route.field, name, why));
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
        let is_shared = |rule| self.backends_of(found).are_both_in(rule);
        if !rules.iter().any(is_shared) && is_there(canary) && is_there(stable) {
            let which = found.route.rule.as_ref();
            let which = which.map_or_else(String::new, |name| format!(" `{name}`"));
            refuse(format!(
                "no rule{which} of this {kind} has backendRefs to both `{stable}` and `{canary}`"
            ));
        }
        problems
    }

    /// The ports at which a route that was found leads to the Services.
    pub(super) fn ports_of(&self, found: &Found<'_>) -> Vec<PortUse> {
        let Pair { canary, stable } = self.backends.services;
        let backends = self.backends_of(found);
        let shared = rules(found)
            .iter()
            .filter(|rule| backends.are_both_in(rule));
        let references = shared.flat_map(references);
        // What stands for a Service in another cluster has ports of its own.
        let to_services =
            references.filter(|it| it.get("kind").is_none_or(|kind| kind == "Service"));
        let ports = to_services.filter_map(|reference| {
            let mut services = [canary, stable].into_iter();
            let service = services.find(|service| backends.leads_to(reference, service))?;
            PortUse::of(
                &found.route.field,
                &found.place.name,
                service,
                &reference["port"],
            )
        });
        ports.collect()
    }
}

fn rules<'k>(found: &Found<'k>) -> &'k [Value] {
    let rules = found.object.pointer("/spec/rules");
    let rules = rules.and_then(Value::as_array);
    rules.map_or(&[], Vec::as_slice)
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
