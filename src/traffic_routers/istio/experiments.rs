//! What was put into an object for experiments, noted in an annotation of the object: a destination
//! or subset of somebody else looks the same, and a note elsewhere may not be written any more.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::object::member;
use super::super::split::{Split, Subject};
use crate::api::labels::EXPERIMENTS;

/// By namespace and name of the Rollout.
type Notes = BTreeMap<String, Vec<String>>;

fn notes(object: &Value) -> Notes {
    let text = object["metadata"]["annotations"][EXPERIMENTS].as_str();
    let notes = text.and_then(|text| serde_json::from_str(text).ok());
    notes.unwrap_or_default()
}

fn key(subject: &Subject) -> String {
    format!("{}/{}", subject.namespace, subject.name)
}

/// The Services that this Rollout has put there.
pub(super) fn noted(object: &Value, subject: &Subject) -> Vec<String> {
    notes(object).remove(&key(subject)).unwrap_or_default()
}

/// Notes those of a split instead. What other Rollouts have noted stays.
pub(super) fn note(object: &mut Value, subject: &Subject, split: &Split) {
    let parts = split.additional().iter();
    let named = parts.filter(|part| !part.service_name.is_empty());
    let mut services: Vec<_> = named.map(|part| part.service_name.clone()).collect();
    services.sort();
    services.dedup();
    let mut notes = notes(object);
    let before = notes.remove(&key(subject)).unwrap_or_default();
    if before == services {
        return;
    }
    if !services.is_empty() {
        notes.insert(key(subject), services);
    }
    let text = serde_json::to_string(&notes).expect("texts by texts are JSON");
    annotate(object, EXPERIMENTS, (!notes.is_empty()).then_some(text));
}

/// Sets an annotation, or removes it.
pub(super) fn annotate(object: &mut Value, key: &str, text: Option<String>) {
    let metadata = member(object, "metadata");
    let annotations = member(metadata, "annotations");
    match (text, annotations.as_object_mut()) {
        (Some(text), _) => *member(annotations, key) = text.into(),
        (None, Some(all)) => {
            all.remove(key);
        }
        (None, None) => {}
    }
    let is_empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
    if is_empty(&metadata["annotations"])
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata.remove("annotations");
    }
}
