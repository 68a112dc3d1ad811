//! Events are kept as `v1` has them and told as `events.k8s.io/v1` has them, too.

use serde_json::{Map, Value, json};

/// The fields with another name: in `v1`, in `events.k8s.io/v1`.
const RENAMED: &[(&str, &str)] = &[
    ("message", "note"),
    ("involvedObject", "regarding"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// An Event of `v1` as `events.k8s.io/v1` has it.
pub(super) fn to_new(core: &Value) -> Value {
    renamed(core, "events.k8s.io/v1", |name| {
        RENAMED
            .iter()
            .find(|(old, _)| *old == name)
            .map(|(_, new)| *new)
    })
}

/// The reverse of [`to_new`].
pub(super) fn to_core(new: &Value) -> Value {
    renamed(new, "v1", |name| {
        RENAMED
            .iter()
            .find(|(_, new)| *new == name)
            .map(|(old, _)| *old)
    })
}

fn renamed(
    event: &Value,
    api_version: &str,
    rename: impl Fn(&str) -> Option<&'static str>,
) -> Value {
    let mut fields = Map::new();
    for (name, value) in event.as_object().into_iter().flatten() {
        let name = rename(name).map_or_else(|| name.clone(), str::to_owned);
        fields.insert(name, value.clone());
    }
    fields.insert("apiVersion".to_owned(), json!(api_version));
    Value::Object(fields)
}

/// Fills in what Go writes of an Event of `v1` even when it is empty.
pub(super) fn fill(event: &mut Value) {
    let Some(fields) = event.as_object_mut() else {
        return;
    };
    for name in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        fields.entry(name).or_insert(Value::Null);
    }
    for name in ["reportingComponent", "reportingInstance"] {
        fields.entry(name).or_insert_with(|| json!(""));
    }
    for name in ["source", "involvedObject"] {
        fields.entry(name).or_insert_with(|| json!({}));
    }
}
