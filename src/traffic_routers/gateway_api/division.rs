//! One route, divided.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::split::{Route, Split};
use super::backends::Backends;
use super::managed::{Ours, free_name, rule_before, shape};
use super::marks::{self, Added};
use super::route_kind::RouteKind;
use super::settings::Settings;

/// How a route is to be changed.
pub(super) struct Division<'a> {
    pub(super) kind: RouteKind,
    /// Whether steps may set routes by header or mirror on it.
    pub(super) takes_routes: bool,
    pub(super) backends: Backends<'a>,
    /// The Rollout, `namespace/name`.
    pub(super) rollout: &'a str,
    pub(super) settings: &'a Settings,
    /// All that the steps set by header or mirror, at any time.
    pub(super) steps: &'a [Route],
    /// Names of routes that the steps may set.
    pub(super) managed: &'a BTreeSet<String>,
    /// Ports of the Services of experiments, by name.
    pub(super) ports: &'a BTreeMap<String, i64>,
}

impl Division<'_> {
    /// The route as it should be.
    ///
    /// # Errors
    /// Why there is no such route.
    pub(super) fn of(&self, found: &Value, split: &Split) -> Result<Value, String> {
        let before = marks::added(found, self.rollout);
        let rules = found.pointer("/spec/rules").and_then(Value::as_array);
        let rules = rules.map_or(&[][..], Vec::as_slice);
        let ours = self.ours(rules, &before);
        let first = rules.iter().position(|rule| ours.include(rule));
        let (ours, mut others): (Vec<Value>, Vec<Value>) =
            rules.iter().cloned().partition(|rule| ours.include(rule));
        let mut shared = others
            .iter_mut()
            .filter(|rule| self.backends.are_both_in(rule))
            .peekable();
        if shared.peek().is_none() {
            return Err("none of its rules has both Services".to_owned());
        }
        for rule in shared {
            self.backends
                .divide(rule, split, &before.services, self.ports);
        }
        let mut after = found.clone();
        let set = self.rules_before(&others, &ours, &split.routes)?;
        let added = Added {
            routes: names_of(&set, split),
            services: split
                .additional()
                .iter()
                .map(|part| part.service_name.clone())
                .collect(),
        };
        others.splice(self.place_of_ours(first, &others), set);
        after["spec"]["rules"] = others.into();
        marks::set_added(&mut after, self.rollout, added);
        marks::set_in_progress(&mut after, self.rollout, self.settings, split.canary() > 0);
        Ok(after)
    }

    fn ours(&self, rules: &[Value], before: &Added) -> Ours<'_> {
        let steps = self.steps.iter().map(|route| route.name().to_owned());
        let shapes = rules.iter().filter(|rule| self.backends.are_both_in(rule));
        let shapes = shapes.flat_map(|source| {
            let rule = |route| rule_before(source, route, self.kind, &self.backends);
            self.steps
                .iter()
                .filter_map(move |route| rule(route).ok().flatten())
        });
        Ours {
            backends: self.backends,
            names: steps
                .chain(self.managed.iter().cloned())
                .chain(before.routes.iter().cloned())
                .collect(),
            shapes: if before.routes.is_empty() {
                vec![]
            } else {
                shapes.map(|rule| shape(&rule)).collect()
            },
        }
    }

    /// Where the rules by header or mirror go: first, for of rules that match a request equally well
    /// the first one counts. Where they are before all others that lead to the same Services they
    /// stay, for another Rollout may have put its own before them.
    fn place_of_ours(&self, found: Option<usize>, others: &[Value]) -> std::ops::Range<usize> {
        let source = others
            .iter()
            .position(|rule| self.backends.are_both_in(rule));
        let place = found.filter(|found| source.is_some_and(|source| *found <= source));
        let place = place.unwrap_or(0);
        place..place
    }

    /// The rules by header or mirror.
    fn rules_before(
        &self,
        sources: &[Value],
        found: &[Value],
        routes: &[Route],
    ) -> Result<Vec<Value>, String> {
        let mut set = Vec::new();
        if !self.takes_routes || !self.kind.knows_requests() {
            return Ok(set);
        }
        let names = sources.iter().filter_map(|rule| rule["name"].as_str());
        let mut taken: BTreeSet<String> = names.map(str::to_owned).collect();
        let found = found.iter().filter(|rule| rule.get("name").is_none());
        let nameless: Vec<Value> = found.map(shape).collect();
        for route in routes {
            for source in sources
                .iter()
                .filter(|rule| self.backends.are_both_in(rule))
            {
                let rule = rule_before(source, route, self.kind, &self.backends)
                    .map_err(|why| format!("cannot set route `{}`: {why}", route.name()))?;
                let Some(mut rule) = rule else { continue };
                let name = free_name(route.name(), &taken);
                if nameless.contains(&shape(&rule)) {
                    // This Gateway API drops names; to send one again and again changes nothing.
                    rule.as_object_mut().map(|fields| fields.remove("name"));
                } else {
                    rule["name"] = name.clone().into();
                    taken.insert(name);
                }
                set.push(rule);
            }
        }
        Ok(set)
    }
}

fn names_of(set: &[Value], split: &Split) -> BTreeSet<String> {
    if set.is_empty() {
        return BTreeSet::new();
    }
    split
        .routes
        .iter()
        .map(|route| route.name().to_owned())
        .collect()
}
