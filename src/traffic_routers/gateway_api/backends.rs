//! The backends of a rule, and their weights.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::split::{Pair, Split};

/// The Services of a Rollout, as rules refer to them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backends<'a> {
    pub(super) services: Pair<'a>,
    /// The namespace of the Rollout.
    pub(super) namespace: &'a str,
    /// The only rule that is divided, if it is named.
    pub(super) rule: Option<&'a str>,
}

impl Backends<'_> {
    /// Whether a reference leads to a Service of the Rollout. A route may refer to what stands for
    /// the Service in another cluster, such as a `ServiceImport`: only the name counts.
    pub(super) fn leads_to(&self, reference: &Value, service: &str) -> bool {
        let namespace = reference.get("namespace");
        reference["name"] == service && namespace.is_none_or(|found| found == self.namespace)
    }

    pub(super) fn canary<'v>(&self, rule: &'v Value) -> Option<&'v Value> {
        self.find(rule, self.services.canary)
    }

    pub(super) fn find<'v>(&self, rule: &'v Value, service: &str) -> Option<&'v Value> {
        let mut references = references(rule).iter();
        references.find(|reference| self.leads_to(reference, service))
    }

    /// Whether a rule leads to both versions, so that its traffic is to be divided. One that leads
    /// to a single version was made so on purpose.
    pub(super) fn are_both_in(&self, rule: &Value) -> bool {
        let is_meant = self.rule.is_none_or(|name| rule["name"] == name);
        is_meant && self.canary(rule).is_some() && self.find(rule, self.services.stable).is_some()
    }

    /// Divides the traffic of a rule. `former` are the Services of experiments that were added
    /// before.
    pub(super) fn divide(
        &self,
        rule: &mut Value,
        split: &Split,
        former: &BTreeSet<String>,
        ports: &BTreeMap<String, i64>,
    ) {
        let references = rule.get_mut("backendRefs").and_then(Value::as_array_mut);
        let Some(references) = references else {
            return;
        };
        let additional = split.additional();
        let is_wanted = |name: &str| additional.iter().any(|part| part.service_name == name);
        references.retain(|reference| {
            let name = reference["name"].as_str().unwrap_or_default();
            !former.contains(name) || is_wanted(name)
        });
        for reference in &mut *references {
            if self.leads_to(reference, self.services.canary) {
                reference["weight"] = split.canary().into();
            } else if self.leads_to(reference, self.services.stable) {
                reference["weight"] = split.stable().into();
            }
        }
        for part in additional {
            let service = part.service_name.as_str();
            let found = references
                .iter_mut()
                .find(|reference| self.leads_to(reference, service));
            if let Some(reference) = found {
                reference["weight"] = part.weight.into();
            } else {
                references.push(json!({
                    "group": "",
                    "kind": "Service",
                    "name": service,
                    "namespace": self.namespace,
                    "port": ports.get(service).copied().unwrap_or(DEFAULT_PORT),
                    "weight": part.weight,
                }));
            }
        }
    }
}

/// The port of an Experiment's Service that names none.
///
/// # Source
/// `HandleExperiment` of the plugin.
const DEFAULT_PORT: i64 = 8080;

/// The port of an Experiment's Service: the one named `http`, or else the first.
pub(super) fn port_of(service: &Value) -> Option<i64> {
    let ports = service.pointer("/spec/ports")?.as_array()?;
    let http = ports.iter().find(|port| port["name"] == "http");
    http.or(ports.first())?["port"].as_i64()
}

/// The backends of a rule.
pub(super) fn references(rule: &Value) -> &[Value] {
    rule["backendRefs"].as_array().map_or(&[], Vec::as_slice)
}

/// A reference without weight and filters, with all that a server would add.
pub(super) fn bare(reference: &Value) -> Map<String, Value> {
    let mut bare = Map::new();
    bare.insert("group".to_owned(), json!(""));
    bare.insert("kind".to_owned(), json!("Service"));
    for key in ["group", "kind", "name", "namespace", "port"] {
        if let Some(value) = reference.get(key) {
            bare.insert(key.to_owned(), value.clone());
        }
    }
    bare
}
