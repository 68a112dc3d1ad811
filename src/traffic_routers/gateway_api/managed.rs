//! Rules that steps set by header or mirror: which are to be there, and which are ours.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::split::Route;
use super::backends::{Backends, bare, references};
use super::conditions::Conditions;
use super::route_kind::RouteKind;

/// The rule that goes before `source`; none if no request of it is meant.
///
/// All else that the rule says (filters, timeouts, retries) holds for these requests, too.
///
/// # Errors
/// Why there can be no such rule.
pub(super) fn rule_before(
    source: &Value,
    route: &Route,
    kind: RouteKind,
    backends: &Backends<'_>,
) -> Result<Option<Value>, String> {
    let conditions = match route {
        Route::Header(route) => vec![Conditions::of_headers(route)?],
        Route::Mirror(route) => {
            let each = route.matches.iter().map(Conditions::of_requests);
            each.collect::<Result<_, _>>()?
        }
    };
    let all = [json!({})];
    let found = source["matches"].as_array().map(Vec::as_slice);
    let found = found.filter(|found| !found.is_empty()).unwrap_or(&all);
    let mut matches: Vec<Value> = Vec::new();
    for one in found {
        for condition in &conditions {
            let narrowed = condition.narrow(kind, one)?;
            matches.extend(narrowed.filter(|narrowed| !matches.contains(narrowed)));
        }
    }
    let Some(canary) = backends.canary(source) else {
        return Ok(None);
    };
    if matches.is_empty() {
        return Ok(None);
    }
    let mut rule = source.clone();
    rule["matches"] = matches.into();
    match route {
        Route::Header(_) => {
            let mut only = canary.clone();
            for (key, value) in bare(canary) {
                only[key] = value;
            }
            only["weight"] = json!(1);
            rule["backendRefs"] = json!([only]);
        }
        Route::Mirror(route) => {
            let mut mirror = json!({"backendRef": bare(canary)});
            if let Some(percent) = route.percentage {
                mirror["percent"] = percent.into();
            }
            let filter = json!({"type": "RequestMirror", "requestMirror": mirror});
            match rule["filters"].as_array_mut() {
                Some(filters) => filters.push(filter),
                None => rule["filters"] = json!([filter]),
            }
        }
    }
    Ok(Some(rule))
}

/// Which rules of a route were set by the steps of one Rollout.
pub(super) struct Ours<'a> {
    pub(super) backends: Backends<'a>,
    /// Names of routes that the steps set, or have set.
    pub(super) names: BTreeSet<String>,
    /// Rules as the steps make them, for a Gateway API that drops the names of rules: those of an
    /// older release than 1.2, or than 1.4 in the standard channel.
    pub(super) shapes: Vec<Value>,
}

impl Ours<'_> {
    /// A rule is not ours for its name alone, nor for leading to the new version alone: another
    /// Rollout may use the same name, and a person may have made a rule for the new version.
    pub(super) fn include(&self, rule: &Value) -> bool {
        let Some(name) = rule["name"].as_str() else {
            return self.shapes.contains(&shape(rule));
        };
        let is_named = self.names.iter().any(|route| is_number_of(name, route));
        is_named && (self.is_only_canary(rule) || self.is_mirrored(rule))
    }

    fn is_only_canary(&self, rule: &Value) -> bool {
        references(rule).len() == 1 && self.backends.canary(rule).is_some()
    }

    fn is_mirrored(&self, rule: &Value) -> bool {
        let filters = rule["filters"].as_array().into_iter().flatten();
        let mut mirrors = filters.filter_map(|filter| filter.pointer("/requestMirror/backendRef"));
        let canary = self.backends.services.canary;
        mirrors.any(|reference| self.backends.leads_to(reference, canary))
    }
}

/// Whether a rule is one of those of a route: `name`, `name-1`, `name-2`, …
fn is_number_of(rule: &str, route: &str) -> bool {
    rule.strip_prefix(route).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('-').is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            })
    })
}

/// A rule without its name and what changes as weights do.
pub(super) fn shape(rule: &Value) -> Value {
    let mut shape = rule.clone();
    if let Some(fields) = shape.as_object_mut() {
        fields.remove("name");
    }
    for (list, part, key) in [
        ("/backendRefs", "", "weight"),
        ("/filters", "/requestMirror", "percent"),
    ] {
        let items = shape.pointer_mut(list).and_then(Value::as_array_mut);
        let parts = items.into_iter().flatten();
        for part in parts.filter_map(|item| item.pointer_mut(part)) {
            if let Some(fields) = part.as_object_mut() {
                fields.remove(key);
            }
        }
    }
    shape
}

/// The first of `name`, `name-1`, … that no rule has.
pub(super) fn free_name(route: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (1..).map(|number| format!("{route}-{number}"));
    let mut names = std::iter::once(route.to_owned()).chain(numbered);
    names
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| route.to_owned())
}
