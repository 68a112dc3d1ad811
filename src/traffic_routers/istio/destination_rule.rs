//! The subsets of a `DestinationRule`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::object::{Notice, Place, Write, member};
use super::super::split::{Split, Subject, Version};
use super::experiments::{self, annotate};
use crate::api::IstioDestinationRule;
use crate::api::labels::{MANAGED_BY, POD_TEMPLATE_HASH};

pub(super) struct Rule<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) place: &'a Place,
    pub(super) settings: &'a IstioDestinationRule,
}

impl Rule<'_> {
    /// Lets each subset select the pods of its version. While requests leave the new version's
    /// subset (`leaves`), that one stays with the version that it has.
    ///
    /// # Errors
    /// A subset would get a version that has fewer available pods than the one it has now.
    pub(super) fn label(
        &self,
        before: &Arc<Value>,
        split: &Split,
        leaves: bool,
    ) -> Result<Option<Write>, String> {
        let settings = self.settings;
        let stable = &split.weights.stable.pod_template_hash;
        let mut canary = &split.weights.canary.pod_template_hash;
        let has = subset(before, &settings.canary_subset_name).map(label_of);
        let has = has.filter(|hash| !hash.is_empty()).map(str::to_owned);
        if let Some(has) = has.as_ref().filter(|_| leaves) {
            canary = has;
        }
        check(before, &settings.stable_subset_name, stable, split)?;
        if split.canary() > 0 || !split.routes.is_empty() {
            check(before, &settings.canary_subset_name, canary, split)?;
        }
        let mut after = Value::clone(before);
        if before["metadata"]["annotations"][MANAGED_BY].is_null() {
            annotate(&mut after, MANAGED_BY, Some(self.subject.name.to_owned()));
        }
        self.set(&mut after, split, canary, stable);
        experiments::note(&mut after, self.subject, split);
        let notice = Notice {
            reason: "UpdatedDestinationRule",
            message: format!(
                "DestinationRule {} subset updated ({}: {canary}, {}: {stable})",
                self.place.name, settings.canary_subset_name, settings.stable_subset_name
            ),
        };
        Ok(Write::update(self.place.clone(), before, after, notice))
    }

    fn set(&self, object: &mut Value, split: &Split, canary: &str, stable: &str) {
        let parts = split.additional().iter();
        let named: Vec<_> = parts.filter(|part| !part.service_name.is_empty()).collect();
        let former = experiments::noted(object, self.subject);
        let settings = self.settings;
        let subsets = member(member(object, "spec"), "subsets");
        if !subsets.is_array() {
            *subsets = json!([]);
        }
        let Some(subsets) = subsets.as_array_mut() else {
            return;
        };
        let is_named = |name: &str| named.iter().any(|part| part.service_name == name);
        subsets.retain(|subset| {
            let name = subset["name"].as_str().unwrap_or_default();
            is_named(name) || !former.iter().any(|was| was == name)
        });
        for part in &named {
            if !subsets
                .iter()
                .any(|subset| subset["name"] == part.service_name)
            {
                subsets.push(json!({"name": part.service_name}));
            }
        }
        for subset in subsets.iter_mut() {
            let name = subset["name"].as_str().unwrap_or_default();
            let part = named.iter().find(|part| part.service_name == name);
            if name == settings.canary_subset_name {
                set_label(subset, canary);
            } else if name == settings.stable_subset_name {
                set_label(subset, stable);
            } else if let Some(part) = part {
                set_label(subset, &part.pod_template_hash);
            }
        }
    }

    /// Lets the subsets of both versions select pods of any again, and takes those of experiments
    /// away.
    pub(super) fn release(&self, before: &Arc<Value>) -> Option<Write> {
        let mut after = Value::clone(before);
        if before["metadata"]["annotations"][MANAGED_BY] == self.subject.name {
            annotate(&mut after, MANAGED_BY, None);
        }
        if before["spec"]["subsets"].is_array() {
            self.set(&mut after, &Split::undivided(), "", "");
        }
        experiments::note(&mut after, self.subject, &Split::undivided());
        Write::update(self.place.clone(), before, after, None)
    }
}

/// A subset is not led to a version with fewer available pods than the one it has: requests
/// would be lost. Where it has none that serves, waiting would save nothing.
fn check(before: &Value, name: &str, hash: &str, split: &Split) -> Result<(), String> {
    let has = subset(before, name).map_or("", label_of);
    let version = |hash: &str| split.versions.iter().find(|version| version.hash == hash);
    let Some(next) = version(hash).filter(|next| next.available < next.wanted) else {
        return Ok(());
    };
    let serving = version(has).map_or(0, |version: &Version| version.available);
    if has == hash || next.available >= serving {
        return Ok(());
    }
    let name = &next.replica_set;
    Err(format!(
        "delaying destination rule switch: ReplicaSet {name} not fully available"
    ))
}

fn subset<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let mut subsets = object["spec"]["subsets"].as_array()?.iter();
    subsets.find(|subset| subset["name"] == name)
}

/// The version that a subset selects; empty if any.
fn label_of(subset: &Value) -> &str {
    subset["labels"][POD_TEMPLATE_HASH]
        .as_str()
        .unwrap_or_default()
}

/// Lets a subset select one version, or any.
fn set_label(subset: &mut Value, hash: &str) {
    if !hash.is_empty() {
        *member(member(subset, "labels"), POD_TEMPLATE_HASH) = hash.into();
        return;
    }
    let labels = subset.get_mut("labels");
    let Some(labels) = labels.and_then(Value::as_object_mut) else {
        return;
    };
    if labels.remove(POD_TEMPLATE_HASH).is_some()
        && labels.is_empty()
        && let Some(subset) = subset.as_object_mut()
    {
        subset.remove("labels");
    }
}
