//! Istio: the weights of the routes of `VirtualServices`, routes by header and mirrors before them,
//! and the labels by which the subsets of a `DestinationRule` select pods.
//!
//! ```text
//! selection        which routes of a VirtualService lead to the Rollout
//! destinations     the weights of one of them
//! managed          the routes before them
//! virtual_service  all of that together
//! destination_rule the subsets
//! experiments      what of it was put there for experiments
//! ```
//!
//! Several Rollouts may share an object: destinations, routes and subsets of others stay as they
//! are, and where they stand.
//!
//! # Source
//! `rollout/trafficrouting/istio` of Argo Rollouts.

mod destination_rule;
mod destinations;
mod experiments;
mod managed;
mod selection;
#[cfg(test)]
mod tests;
mod virtual_service;

use std::collections::BTreeSet;

use serde_json::Value;

use super::object::{Known, Place, Query, Resource, Write};
use super::ports::PortUse;
use super::split::{Pair, Split, Subject};
use super::{Abilities, FIELD, Router, Versions};
use crate::api::{IstioDestinationRule, IstioTrafficRouting, IstioVirtualService, Problem};
use destination_rule::Rule;
use destinations::Sides;
use virtual_service::VirtualService;

pub(super) struct Istio<'a> {
    subject: Subject<'a>,
    settings: &'a IstioTrafficRouting,
    services: Vec<Named<'a>>,
    rule: Option<(Place, &'a IstioDestinationRule)>,
}

/// A `VirtualService`, and where the Rollout names it.
struct Named<'a> {
    field: String,
    place: Place,
    settings: &'a IstioVirtualService,
}

impl<'a> Istio<'a> {
    pub(super) fn new(
        subject: &Subject<'a>,
        settings: &'a IstioTrafficRouting,
        versions: &Versions,
    ) -> Self {
        let place = |kind, plural, namespace: &str, name: &str| Place {
            resource: Resource {
                group: "networking.istio.io".to_owned(),
                version: versions.istio.clone(),
                kind,
                plural,
            },
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let named = |field: String, settings: &'a IstioVirtualService| {
            let (name, namespace) = reference(&settings.name);
            let namespace = namespace.unwrap_or(subject.namespace);
            Named {
                field: format!("{FIELD}.istio.{field}.name"),
                place: place("VirtualService", "virtualservices", namespace, name),
                settings,
            }
        };
        let one = settings.virtual_service.iter();
        let one = one.map(|service| named("virtualService".to_owned(), service));
        let several = settings.virtual_services.iter().enumerate();
        let several =
            several.map(|(index, service)| named(format!("virtualServices[{index}]"), service));
        let rule = settings.destination_rule.as_ref().map(|rule| {
            let (namespace, name) = (subject.namespace, &rule.name);
            let place = place("DestinationRule", "destinationrules", namespace, name);
            (place, rule)
        });
        Self {
            subject: subject.clone(),
            settings,
            services: one.chain(several).collect(),
            rule,
        }
    }

    /// Whether exactly one of the two fields names `VirtualServices`.
    fn names_services(&self) -> bool {
        self.settings.virtual_service.is_some() == self.settings.virtual_services.is_empty()
    }

    fn sides(&self) -> Sides<'a> {
        Sides {
            services: self.subject.services_or_turns(),
            rule: self.rule.as_ref().map(|(_, rule)| *rule),
        }
    }

    /// The host of the subsets, if there are any.
    fn host<'k>(&self, known: &'k Known) -> Option<&'k str> {
        let (place, _) = self.rule.as_ref()?;
        let host = known.get(place)?.pointer("/spec/host")?.as_str()?;
        Some(host).filter(|host| !host.is_empty())
    }

    fn service<'s>(&'s self, named: &'s Named<'a>, known: &'s Known) -> VirtualService<'s> {
        VirtualService {
            subject: &self.subject,
            place: &named.place,
            settings: named.settings,
            sides: self.sides(),
            host: self.host(known),
        }
    }

    fn rule(&self) -> Option<Rule<'_>> {
        let (place, settings) = self.rule.as_ref()?;
        Some(Rule {
            subject: &self.subject,
            place,
            settings,
        })
    }

    fn problems_of_rule(&self, known: &Known) -> Vec<Problem> {
        let Some((place, rule)) = &self.rule else {
            return vec![];
        };
        let field = |name: &str| format!("{FIELD}.istio.destinationRule.{name}");
        let Some(object) = known.get(place) else {
            let name = &place.name;
            return vec![Problem::invalid(field("name"), name, place.missing())];
        };
        let subsets = object.pointer("/spec/subsets").and_then(Value::as_array);
        let is_there = |name: &str| {
            let mut subsets = subsets.into_iter().flatten();
            subsets.any(|subset| subset["name"] == name)
        };
        let named = [
            ("canarySubsetName", &rule.canary_subset_name),
            ("stableSubsetName", &rule.stable_subset_name),
        ];
        named
            .into_iter()
            .filter(|(_, name)| !is_there(name))
            .map(|(member, name)| {
                let why = format!("not a subset of DestinationRule `{}`", place.name);
                Problem::invalid(field(member), name, why)
            })
            .collect()
    }
}

/// Name and, if it is named, namespace of a `VirtualService`. Only the name may have dots.
///
/// # Source
/// `GetVirtualServiceNamespaceName` in `utils/istio/istio.go` of Argo Rollouts.
fn reference(text: &str) -> (&str, Option<&str>) {
    let text = text.strip_suffix(".cluster.local").unwrap_or(text);
    match text.rsplit_once('.') {
        Some((name, namespace)) => (name, Some(namespace)),
        None => (text, None),
    }
}

impl Router for Istio<'_> {
    fn name(&self) -> &'static str {
        "Istio"
    }

    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn queries(&self, _: &Known) -> Vec<Query> {
        let services = self.services.iter().map(|named| &named.place);
        let rule = self.rule.iter().map(|(place, _)| place);
        services.chain(rule).cloned().map(Query::One).collect()
    }

    fn problems(&self, known: &Known) -> Vec<Problem> {
        if !self.names_services() {
            let why = "Internal error: either VirtualService or VirtualServices must be configured";
            return vec![Problem::new(format!("{FIELD}.istio"), why)];
        }
        let mut problems = Vec::new();
        for named in &self.services {
            let Named { field, place, .. } = named;
            let whys = match known.get(place) {
                None => vec![place.missing()],
                Some(object) => self.service(named, known).select(object).problems,
            };
            let problem = |why| Problem::invalid(field, &place.name, why);
            problems.extend(whys.into_iter().map(problem));
        }
        problems.extend(self.problems_of_rule(known));
        problems
    }

    fn ports(&self, known: &Known) -> BTreeSet<PortUse> {
        let Pair { canary, stable } = self.sides().services;
        let mut ports = BTreeSet::new();
        for named in &self.services {
            let Some(object) = known.get(&named.place) else {
                continue;
            };
            for (protocol, index) in self.service(named, known).select(object).routes {
                let routes = protocol.routes(object).get(index);
                let destinations = routes.and_then(|route| route["route"].as_array());
                for entry in destinations.into_iter().flatten() {
                    let name = destinations::service(entry).unwrap_or_default();
                    let port = &entry["destination"]["port"]["number"];
                    if [canary, stable].contains(&name) {
                        ports.extend(PortUse::of(&named.field, &named.place.name, name, port));
                    }
                }
            }
        }
        ports
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        let split = split.in_percent();
        let mut services = Vec::new();
        for named in &self.services {
            let name = &named.place.name;
            let Some(before) = known.get(&named.place) else {
                return Err(format!("VirtualService `{name}` not found"));
            };
            services.extend(self.service(named, known).route(before, &split)?);
        }
        let Some(rule) = self.rule() else {
            return Ok(services);
        };
        let Some(before) = known.get(rule.place) else {
            return Err(format!("DestinationRule `{}` not found", rule.place.name));
        };
        // While requests still go to the subset of the new version, it stays with the version that
        // it has: a newer one may have no pods yet.
        let leaves = split.canary() == 0 && !services.is_empty();
        let mut writes = Vec::from_iter(rule.label(before, &split, leaves)?);
        writes.extend(services);
        Ok(writes)
    }

    fn release(&self, known: &Known) -> Vec<Write> {
        let services = self.services.iter().filter_map(|named| {
            let before = known.get(&named.place)?;
            self.service(named, known).release(before)
        });
        let rule = self.rule().and_then(|rule| {
            let before = known.get(rule.place)?;
            rule.release(before)
        });
        services.chain(rule).collect()
    }
}
