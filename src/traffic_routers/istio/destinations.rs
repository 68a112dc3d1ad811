//! The weights of one route of a `VirtualService`.

use serde_json::{Value, json};

use super::super::object::set_weight;
use super::super::split::{Pair, Split};
use crate::api::IstioDestinationRule;

/// How the two versions are told apart: by Services, by subsets, or by either.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) services: Pair<'a>,
    pub(super) rule: Option<&'a IstioDestinationRule>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Canary,
    Stable,
    Other,
}

/// The Service that a destination leads to: the first label of its host.
///
/// # Source
/// `getHost` in `istio.go`
pub(super) fn service(destination: &Value) -> Option<&str> {
    let host = destination["destination"]["host"].as_str()?;
    let service = host.split('.').next()?;
    Some(service).filter(|service| !service.is_empty())
}

fn weight(destination: &Value) -> i32 {
    let weight = destination["weight"].as_i64().unwrap_or(0);
    i32::try_from(weight).unwrap_or(0)
}

impl Sides<'_> {
    /// Whom a destination leads to.
    pub(super) fn role(&self, destination: &Value) -> Role {
        let Some(service) = service(destination) else {
            return Role::Other;
        };
        let subset = destination["destination"]["subset"].as_str().unwrap_or("");
        let is_subset = |name: fn(&IstioDestinationRule) -> &String| {
            let name = self.rule.map(name);
            name.is_some_and(|name| !name.is_empty() && subset == name)
        };
        if service == self.services.canary || is_subset(|rule| &rule.canary_subset_name) {
            Role::Canary
        } else if service == self.services.stable || is_subset(|rule| &rule.stable_subset_name) {
            Role::Stable
        } else {
            Role::Other
        }
    }

    /// What a route lacks to lead to both versions, as Argo Rollouts says it.
    pub(super) fn missing(&self, route: &Value) -> Vec<String> {
        let has = |by: &dyn Fn(&Value) -> bool| {
            let mut destinations = route["route"].as_array().into_iter().flatten();
            destinations.any(by)
        };
        let by_subset = |name: &str| has(&|entry| entry["destination"]["subset"] == name);
        let by_service = |name: &str| has(&|entry| service(entry) == Some(name));
        let Pair { canary, stable } = self.services;
        let (what, names, has): (_, _, &dyn Fn(&str) -> bool) = match self.rule {
            Some(rule) => (
                "DestinationRule subset",
                [&*rule.canary_subset_name, &*rule.stable_subset_name],
                &by_subset,
            ),
            None => ("Service", [canary, stable], &by_service),
        };
        let sides = ["Canary", "Stable"].into_iter().zip(names);
        sides
            .filter(|(_, name)| !has(name))
            .map(|(side, name)| format!("{side} {what} '{name}' not found in route"))
            .collect()
    }

    /// Sets the weights of a route, of which `former` were put there for experiments. Destinations
    /// of others keep theirs, and the stable version gets what they leave. Whether anything differs.
    pub(super) fn divide(&self, route: &mut Value, split: &Split, former: &[String]) -> bool {
        let destinations = route.get_mut("route");
        let Some(destinations) = destinations.and_then(Value::as_array_mut) else {
            return false;
        };
        let before = destinations.clone();
        let experiment = |entry: &Value| {
            let service = service(entry).filter(|_| self.role(entry) == Role::Other)?;
            let mut parts = split.additional().iter();
            parts.find(|part| part.service_name == service)
        };
        destinations.retain(|entry| {
            let was = |name: &String| service(entry) == Some(name);
            let is_over = former.iter().any(was) && self.role(entry) == Role::Other;
            experiment(entry).is_some() || !is_over
        });
        let others = destinations.iter();
        let others = others.filter(|entry| self.role(entry) == Role::Other);
        let others = others.filter(|entry| experiment(entry).is_none());
        let stable = split.stable() - others.map(weight).sum::<i32>();
        for entry in &mut *destinations {
            let part = match self.role(entry) {
                Role::Canary => Some(split.canary()),
                Role::Stable => Some(stable.max(0)),
                Role::Other => experiment(entry).map(|part| part.weight),
            };
            if let Some(part) = part {
                set_weight(entry, part, Some(0));
            }
        }
        let mut parts: Vec<_> = split.additional().iter().collect();
        parts.sort_by_key(|part| &part.service_name);
        for part in parts {
            let name = part.service_name.as_str();
            if !name.is_empty()
                && !destinations
                    .iter()
                    .any(|entry| service(entry) == Some(name))
            {
                let destination = json!({"host": name});
                destinations.push(json!({"weight": part.weight, "destination": destination}));
            }
        }
        before != *destinations
    }
}
