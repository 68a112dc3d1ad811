//! Gateway API: the weights of backends in HTTP, GRPC, TCP and TLS routes, and rules by header and
//! mirror. Whatever implements it divides the traffic, Linkerd and other meshes included: there a
//! route's parent is a Service.
//!
//! It is configured as the plugin that Argo Rollouts needs for it. Differently from there
//!
//! - weights are parts of `maxTrafficWeight`, and experiments get theirs in each rule and of each
//!   kind of route;
//! - only rules that lead to both Services are divided: a rule for one version was made on purpose;
//! - steps can mirror, by a `RequestMirror` filter (`percent` needs Gateway API 1.3);
//! - rules by header or mirror go first, and a rule that a person made for the new version stays.
//!
//! ```text
//! Settings ──▶ routes that are named or selected ── Division ──▶ the routes as they should be
//!                                                   ├ Backends   weights, experiments
//!                                                   ├ managed    rules by header or mirror
//!                                                   └ marks      labels and annotations
//! ```
//!
//! # Source
//! `argoproj-labs/rollouts-plugin-trafficrouter-gatewayapi`, 0.15.

mod backends;
mod checks;
mod conditions;
mod division;
mod managed;
mod marks;
mod route_kind;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use self::backends::{Backends, port_of};
use self::checks::{is_refused, routes_of_steps};
use self::division::Division;
use self::route_kind::{Api, RouteKind, service};
use self::settings::{Named, Settings};
use super::object::{Known, Notice, Place, Query, Verification, Verified, Write};
use super::ports::PortUse;
use super::split::{Route, Split, Subject};
use super::{Abilities, FIELD, Router};
use crate::api::Problem;

pub(super) use self::route_kind::resources;

/// The name under which it is configured.
pub(super) const PLUGIN: &str = "argoproj-labs/gatewayAPI";

pub(super) struct GatewayApi<'a> {
    field: String,
    namespace: &'a str,
    /// `namespace/name` of the Rollout.
    rollout: String,
    backends: Backends<'a>,
    settings: Result<Settings, Vec<Problem>>,
    steps: Vec<Route>,
    managed: BTreeSet<String>,
    whole: i32,
    /// What is wrong with the steps.
    refused: Vec<Problem>,
}

/// A route that was found.
struct Found<'k> {
    place: Place,
    object: &'k Arc<Value>,
    /// As it is named, or could be.
    route: Named,
}

impl Found<'_> {
    /// Whether it is what is named.
    fn is(&self, named: &Named) -> bool {
        self.route.kind == named.kind && self.place.name == named.name
    }
}

impl<'a> GatewayApi<'a> {
    pub(super) fn new(subject: &Subject<'a>, settings: &Value) -> Self {
        let field = format!("{FIELD}.plugins[{PLUGIN}]");
        let routing = subject.canary.traffic_routing.as_deref();
        let (steps, refused) = routes_of_steps(subject);
        Self {
            namespace: subject.namespace,
            rollout: format!("{}/{}", subject.namespace, subject.name),
            backends: Backends {
                services: subject.services_or_turns(),
                namespace: subject.namespace,
                rule: None,
            },
            settings: Settings::read(&field, settings),
            managed: subject.managed_routes().map(str::to_owned).collect(),
            whole: routing
                .and_then(|routing| routing.max_traffic_weight)
                .unwrap_or(100),
            field,
            steps,
            refused,
        }
    }

    /// The Services as the rules of a route refer to them that are to be divided.
    fn backends_of<'s>(&'s self, found: &'s Found<'_>) -> Backends<'s> {
        Backends {
            rule: found.route.rule.as_deref(),
            ..self.backends
        }
    }

    fn namespace_of_routes<'s>(&'s self, settings: &'s Settings) -> &'s str {
        settings.namespace.as_deref().unwrap_or(self.namespace)
    }

    /// Asks in one API after the other, until there is something. An API in which there is nothing may
    /// be one that the cluster does not serve: it is no longer asked.
    fn queries_of_routes(&self, settings: &Settings, known: &Known) -> Vec<Query> {
        let namespace = self.namespace_of_routes(settings);
        let first = |apis: &[Api], query: &dyn Fn(Api) -> Query| {
            let is_open = |query: &Query| {
                let is_empty = match query {
                    Query::One(place) => known.get(place).is_none(),
                    selected => known.picked(selected).is_empty(),
                };
                !(known.answers(query) && is_empty)
            };
            let mut queries: Vec<Query> = apis.iter().map(|api| query(*api)).collect();
            // What is nowhere is missing in an API that the cluster serves, if there is one.
            let is_served = |query: &Query| known.why_unavailable(query).is_none();
            let place = queries.iter().position(is_open);
            let place = place.or_else(|| queries.iter().position(is_served));
            queries.swap_remove(place.unwrap_or(queries.len() - 1))
        };
        let named = settings.named.iter().map(|route| {
            let one = |api| Query::One(route.kind.place(api, namespace, &route.name));
            first(route.kind.apis(), &one)
        });
        let selected = settings.selected.iter().map(|routes| {
            let some = |api| selection(routes, api, namespace);
            first(routes.kind.apis(), &some)
        });
        named.chain(selected).collect()
    }

    /// The routes that there are, each once. One that is named goes before one that is selected.
    fn found<'k>(&self, settings: &Settings, known: &'k Known) -> Vec<Found<'k>> {
        let namespace = self.namespace_of_routes(settings);
        let mut all: Vec<Found<'k>> = Vec::new();
        let mut add = |place: Place, route: Named| {
            let is_new = !all.iter().any(|found| found.place == place);
            if let Some(object) = known.get(&place).filter(|_| is_new) {
                all.push(Found {
                    place,
                    object,
                    route,
                });
            }
        };
        for route in &settings.named {
            let apis = route.kind.apis().iter();
            let mut places = apis.map(|api| route.kind.place(*api, namespace, &route.name));
            if let Some(place) = places.find(|place| known.get(place).is_some()) {
                add(place, route.clone());
            }
        }
        for routes in &settings.selected {
            for api in routes.kind.apis() {
                for place in known.picked(&selection(routes, *api, namespace)) {
                    let route = Named {
                        kind: routes.kind,
                        name: place.name.clone(),
                        takes_routes: false,
                        rule: None,
                        field: self.field.clone(),
                    };
                    add(place.clone(), route);
                }
            }
        }
        all
    }

    /// That a route is not there: in the first API that the cluster serves.
    fn missing(&self, route: &Named, settings: &Settings, known: &Known) -> String {
        let namespace = self.namespace_of_routes(settings);
        let place = |api: &Api| route.kind.place(*api, namespace, &route.name);
        let is_served = |place: &Place| {
            let query = Query::One(place.clone());
            known.why_unavailable(&query).is_none()
        };
        let mut places = route.kind.apis().iter().map(place);
        let place = places.find(is_served);
        place.map_or_else(String::new, |place| place.missing())
    }

    fn divided(
        &self,
        found: &Found<'_>,
        settings: &Settings,
        known: &Known,
        split: &Split,
    ) -> Result<Option<Write>, String> {
        let named = split
            .additional()
            .iter()
            .map(|part| part.service_name.as_str());
        let ports: BTreeMap<String, i64> = named
            .filter_map(|name| {
                let port = known
                    .get(&service(self.namespace, name))
                    .and_then(|it| port_of(it));
                Some((name.to_owned(), port?))
            })
            .collect();
        let division = Division {
            kind: found.route.kind,
            takes_routes: found.route.takes_routes,
            backends: self.backends_of(found),
            rollout: &self.rollout,
            settings,
            steps: &self.steps,
            managed: &self.managed,
            ports: &ports,
        };
        let (kind, name) = (found.route.kind.name(), &found.place.name);
        let after = division
            .of(found.object, split)
            .map_err(|why| format!("cannot divide the traffic of {kind} `{name}`: {why}"))?;
        let notice = Notice {
            reason: found.route.kind.updated(),
            message: format!("{kind} `{name}` set to desiredWeight '{}'", split.canary()),
        };
        Ok(Write::update(
            found.place.clone(),
            found.object,
            after,
            notice,
        ))
    }
}

impl Router for GatewayApi<'_> {
    fn name(&self) -> &'static str {
        "GatewayAPI"
    }

    fn abilities(&self) -> Abilities {
        let kinds = self.settings.iter().flat_map(|settings| {
            let named = settings.named.iter().map(|route| route.kind);
            named.chain(settings.selected.iter().map(|routes| routes.kind))
        });
        let knows_requests = { kinds }.any(RouteKind::knows_requests);
        Abilities {
            headers: knows_requests,
            mirrors: knows_requests,
            experiments: true,
        }
    }

    fn queries(&self, known: &Known) -> Vec<Query> {
        let Ok(settings) = &self.settings else {
            return vec![];
        };
        self.queries_of_routes(settings, known)
    }

    fn queries_for(&self, _: &Known, split: &Split) -> Vec<Query> {
        let services = split.additional().iter();
        services
            .map(|part| Query::One(service(self.namespace, &part.service_name)))
            .collect()
    }

    fn problems(&self, known: &Known) -> Vec<Problem> {
        let mut problems = self.refused.clone();
        let settings = match &self.settings {
            Ok(settings) => settings,
            Err(wrong) => {
                problems.extend_from_slice(wrong);
                return problems;
            }
        };
        let canary = "spec.strategy.canary";
        for (role, service) in [
            ("canaryService", self.backends.services.canary),
            ("stableService", self.backends.services.stable),
        ] {
            if service.is_empty() {
                let why = "the Gateway API divides traffic between two Services";
                problems.push(Problem::required(format!("{canary}.{role}"), why));
            }
        }
        let found = self.found(settings, known);
        for route in &settings.named {
            if !found.iter().any(|found| found.is(route)) {
                let why = self.missing(route, settings, known);
                problems.push(Problem::invalid(&route.field, &route.name, why));
            }
        }
        if settings.named.is_empty() && found.is_empty() {
            let selectors = settings.selected.iter();
            let selectors = selectors
                .map(|routes| format!("{}s with `{}`", routes.kind.name(), routes.selector));
            let why = format!(
                "there are no {}",
                selectors.collect::<Vec<_>>().join(", no ")
            );
            problems.push(Problem::invalid(&self.field, "", why));
        }
        if problems.is_empty() {
            problems.extend(found.iter().flat_map(|found| self.problems_of(found)));
        }
        problems
    }

    fn ports(&self, known: &Known) -> BTreeSet<PortUse> {
        let settings = self.settings.as_ref().ok();
        let found = settings.map_or_else(Vec::new, |settings| self.found(settings, known));
        found
            .iter()
            .flat_map(|found| self.ports_of(found))
            .collect()
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        let settings = self
            .settings
            .as_ref()
            .map_err(|wrong| crate::api::joined(wrong))?;
        let found = self.found(settings, known);
        let is_missing = |route: &&Named| !found.iter().any(|found| found.is(route));
        let mut named = settings.named.iter();
        if let Some(gone) = named.find(is_missing) {
            return Err(format!("{} `{}` not found", gone.kind.name(), gone.name));
        }
        if found.is_empty() {
            return Err("no route is selected".to_owned());
        }
        let writes = found
            .iter()
            .map(|found| self.divided(found, settings, known, split));
        Ok(writes
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// A route that each of its parents refuses, or whose backends none of them finds, divides
    /// nothing. What no parent tells, as with some meshes, counts as done.
    fn verify(&self, known: &Known, _: &Split) -> Verification {
        let Ok(settings) = &self.settings else {
            return Verification::NotApplicable;
        };
        let found = self.found(settings, known);
        Verification::Told(Verified {
            is_verified: !found.iter().any(|found| is_refused(found.object)),
            ..Verified::default()
        })
    }

    /// All traffic goes to the stable version, and what was added is gone.
    fn release(&self, known: &Known) -> Vec<Write> {
        let Ok(settings) = &self.settings else {
            return vec![];
        };
        let idle = Split {
            whole: self.whole,
            ..Split::undivided()
        };
        let found = self.found(settings, known);
        let writes = found
            .iter()
            .filter_map(|found| self.divided(found, settings, known, &idle).ok());
        writes.flatten().collect()
    }
}

fn selection(routes: &settings::Selected, api: Api, namespace: &str) -> Query {
    Query::Selected {
        resource: routes.kind.resource(api),
        namespace: namespace.to_owned(),
        selector: routes.selector.clone(),
    }
}
