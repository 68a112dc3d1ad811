//! Strategic merge patches: merge patches that know which lists are keyed.
//!
//! # Source
//! Kubernetes' `strategicpatch` package: `$patch`, `$deleteFromPrimitiveList`,
//! `$setElementOrder`, `$retainKeys`.

use serde_json::{Map, Value};

use super::schema::{ListKind, Schema, strings};

const DIRECTIVE: &str = "$patch";
const DELETE_ITEMS: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";
const RETAIN: &str = "$retainKeys";

/// Changes `object` as `patch` says.
pub(super) fn merge(schema: &Schema, object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if let Some(fields) = object.as_object_mut() {
        merge_fields(schema, fields, patch);
    }
}

fn merge_fields(schema: &Schema, fields: &mut Map<String, Value>, patch: &Map<String, Value>) {
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            *fields = without_directives(patch);
            return;
        }
        Some("delete") => {
            fields.clear();
            return;
        }
        _ => {}
    }
    if let Some(kept) = patch.get(RETAIN) {
        let kept = strings(Some(kept));
        fields.retain(|name, _| kept.contains(name));
    }
    for (name, change) in patch {
        if let Some(list) = name.strip_prefix(DELETE_ITEMS) {
            let gone = change.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(items) = fields.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
        } else if !name.starts_with('$') {
            merge_field(schema.field(name), fields, name, change);
        }
    }
    for (name, order) in patch {
        if let Some(list) = name.strip_prefix(ORDER)
            && let Some(items) = fields.get_mut(list).and_then(Value::as_array_mut)
        {
            sort(schema.field(list), items, order);
        }
    }
}

fn merge_field(
    schema: Option<&Schema>,
    fields: &mut Map<String, Value>,
    name: &str,
    change: &Value,
) {
    let open = Schema::default();
    let schema = schema.unwrap_or(&open);
    match change {
        Value::Null => {
            fields.remove(name);
        }
        Value::Object(_) if !schema.atomic => {
            merge(schema, fields.entry(name).or_insert(Value::Null), change);
        }
        Value::Array(items) if schema.list != ListKind::Atomic => {
            let place = fields
                .entry(name)
                .or_insert_with(|| Value::Array(Vec::new()));
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            if let Some(list) = place.as_array_mut() {
                merge_list(schema, list, items);
            }
        }
        other => {
            fields.insert(name.to_owned(), other.clone());
        }
    }
}

/// The one field by which a strategic merge tells items apart.
fn merge_key(schema: &Schema) -> Option<&str> {
    match &schema.list {
        ListKind::Map(keys) => keys.first().map(String::as_str),
        ListKind::Set | ListKind::Atomic => None,
    }
}

fn merge_list(schema: &Schema, list: &mut Vec<Value>, patch: &[Value]) {
    let replaces = patch.iter().any(|item| {
        item.get(DIRECTIVE).and_then(Value::as_str) == Some("replace")
            && item.as_object().is_some_and(|fields| fields.len() == 1)
    });
    if replaces {
        *list = patch
            .iter()
            .filter(|item| item.get(DIRECTIVE).is_none())
            .cloned()
            .collect();
        return;
    }
    let Some(key) = merge_key(schema) else {
        for item in patch {
            if !list.contains(item) {
                list.push(item.clone());
            }
        }
        return;
    };
    let open = Schema::default();
    let item_schema = schema.items.as_deref().unwrap_or(&open);
    let mut added = Vec::new();
    for item in patch {
        let place = list.iter().position(|old| old.get(key) == item.get(key));
        match (item.get(DIRECTIVE).and_then(Value::as_str), place) {
            (Some("delete"), Some(place)) => {
                list.remove(place);
            }
            (Some("delete"), None) => {}
            (_, Some(place)) => merge(item_schema, &mut list[place], item),
            (_, None) => added.push(item.clone()),
        }
    }
    // New items come first, as upstream puts them: patch order before what was there.
    added.append(list);
    *list = added;
}

/// Puts items in the order that a patch asks for; those that it does not name stay behind.
fn sort(schema: Option<&Schema>, items: &mut [Value], order: &Value) {
    let key = schema.and_then(merge_key);
    let order = order.as_array().map(Vec::as_slice).unwrap_or_default();
    let rank = |item: &Value| {
        let place = order.iter().position(|wanted| match key {
            Some(key) => wanted.get(key) == item.get(key),
            None => wanted == item,
        });
        place.unwrap_or(order.len())
    };
    items.sort_by_key(rank);
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    let kept = patch.iter().filter(|(name, _)| !name.starts_with('$'));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::built_in;
    use super::*;

    fn patched(object: &Value, patch: &Value) -> Value {
        let resources = built_in::resources();
        let pod = resources.iter().find(|r| r.kind == "Pod").unwrap();
        let mut object = object.clone();
        merge(&pod.schema, &mut object, patch);
        object
    }

    #[test]
    fn lists_merge_by_key_in_the_order_that_is_asked_for() {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}});
        let patch = json!({"spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
            "containers": [{"name": "a", "image": "2"}, {"name": "c"}],
        }});
        assert_eq!(
            patched(&pod, &patch),
            json!({"spec": {"containers": [
                {"name": "b"}, {"name": "c"}, {"name": "a", "image": "2"}
            ]}})
        );
    }

    #[test]
    fn directives_delete_replace_and_retain() {
        let pod = json!({
            "metadata": {"finalizers": ["x", "y"], "labels": {"a": "1"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "securityContext": {"a": 1}},
        });
        let patch = json!({
            "metadata": {
                "$deleteFromPrimitiveList/finalizers": ["x"],
                "labels": {"$patch": "replace", "b": "2"},
            },
            "spec": {
                "containers": [{"name": "b", "$patch": "delete"}],
                "securityContext": {"$retainKeys": ["b"], "b": 2},
            },
        });
        assert_eq!(
            patched(&pod, &patch),
            json!({
                "metadata": {"finalizers": ["y"], "labels": {"b": "2"}},
                "spec": {"containers": [{"name": "a"}], "securityContext": {"b": 2}},
            })
        );
    }
}
