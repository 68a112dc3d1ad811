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
use self::route_kind::{RouteKind, service};
use self::settings::Settings;
use super::object::{Known, Notice, Place, Query, Verification, Verified, Write};
use super::split::{Pair, Route, Split, Subject};
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
    kind: RouteKind,
    place: Place,
    object: &'k Arc<Value>,
    takes_routes: bool,
    field: String,
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

    fn namespace_of_routes<'s>(&'s self, settings: &'s Settings) -> &'s str {
        settings.namespace.as_deref().unwrap_or(self.namespace)
    }

    /// Asks in one version after the other, until there is something. A version in which there is
    /// nothing may be one that the cluster does not serve: it is no longer asked.
    fn queries_of_routes(&self, settings: &Settings, known: &Known) -> Vec<Query> {
        let namespace = self.namespace_of_routes(settings);
        let first = |versions: &[&str], query: &dyn Fn(&str) -> Query| {
            let is_open = |query: &Query| {
                let is_empty = match query {
                    Query::One(place) => known.get(place).is_none(),
                    selected => known.picked(selected).is_empty(),
                };
                !(known.answers(query) && is_empty)
            };
            let mut queries: Vec<Query> = versions.iter().map(|version| query(version)).collect();
            // What is nowhere is missing in a version that the cluster serves, if there is one.
            let is_served = |query: &Query| known.why_unavailable(query).is_none();
            let place = queries.iter().position(is_open);
            let place = place.or_else(|| queries.iter().position(is_served));
            queries.swap_remove(place.unwrap_or(queries.len() - 1))
        };
        let named = settings.named.iter().map(|route| {
            let one = |version: &str| Query::One(route.kind.place(version, namespace, &route.name));
            first(route.kind.versions(), &one)
        });
        let selected = settings.selected.iter().map(|routes| {
            first(routes.kind.versions(), &|version| {
                selection(routes, version, namespace)
            })
        });
        named.chain(selected).collect()
    }

    /// The routes that there are, each once. One that is named goes before one that is selected.
    fn found<'k>(&self, settings: &Settings, known: &'k Known) -> Vec<Found<'k>> {
        let namespace = self.namespace_of_routes(settings);
        let mut all: Vec<Found<'k>> = Vec::new();
        let mut add = |kind, place: Place, takes_routes, field: &str| {
            let is_new = !all.iter().any(|found| found.place == place);
            if let Some(object) = known.get(&place).filter(|_| is_new) {
                let field = field.to_owned();
                all.push(Found {
                    kind,
                    place,
                    object,
                    takes_routes,
                    field,
                });
            }
        };
        for route in &settings.named {
            let places = route.kind.versions().iter();
            let mut places =
                places.map(|version| route.kind.place(version, namespace, &route.name));
            if let Some(place) = places.find(|place| known.get(place).is_some()) {
                add(route.kind, place, route.takes_routes, &route.field);
            }
        }
        for routes in &settings.selected {
            for version in routes.kind.versions() {
                for place in known.picked(&selection(routes, version, namespace)) {
                    add(routes.kind, place.clone(), false, &self.field);
                }
            }
        }
        all
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
            kind: found.kind,
            takes_routes: found.takes_routes,
            backends: self.backends,
            rollout: &self.rollout,
            settings,
            steps: &self.steps,
            managed: &self.managed,
            ports: &ports,
        };
        let (kind, name) = (found.kind.name(), &found.place.name);
        let after = division
            .of(found.object, split)
            .map_err(|why| format!("cannot divide the traffic of {kind} `{name}`: {why}"))?;
        let notice = Notice {
            reason: found.kind.updated(),
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
        let Pair { canary, stable } = self.backends.services;
        let named = [canary, stable].into_iter().filter(|name| !name.is_empty());
        let services = named.map(|name| Query::One(service(self.namespace, name)));
        let mut queries = self.queries_of_routes(settings, known);
        queries.extend(services);
        queries
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
            let is_there =
                |found: &Found<'_>| found.kind == route.kind && found.place.name == route.name;
            if !found.iter().any(is_there) {
                let namespace = self.namespace_of_routes(settings);
                let place = route.kind.place("", namespace, &route.name);
                problems.push(Problem::invalid(&route.field, &route.name, place.missing()));
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
            problems.extend(
                found
                    .iter()
                    .flat_map(|found| self.problems_of(found, known)),
            );
        }
        problems
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        let settings = self
            .settings
            .as_ref()
            .map_err(|wrong| crate::api::joined(wrong))?;
        let found = self.found(settings, known);
        let is_missing = |kind, name: &str| {
            !found
                .iter()
                .any(|found| found.kind == kind && found.place.name == name)
        };
        let mut named = settings.named.iter();
        if let Some(gone) = named.find(|route| is_missing(route.kind, &route.name)) {
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

fn selection(routes: &settings::Selected, version: &str, namespace: &str) -> Query {
    Query::Selected {
        resource: routes.kind.resource(version),
        namespace: namespace.to_owned(),
        selector: routes.selector.clone(),
    }
}
