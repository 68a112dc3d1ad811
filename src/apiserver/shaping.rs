//! Brings an object into the form that its schema gives: prunes what is not known, fills in
//! defaults, and leaves out what a Go type would not write.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::schema::{Schema, Shape};

/// Prunes and defaults `value` in place; answers the paths of the fields that were not known.
pub(super) fn shape(schema: &Schema, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(schema, value, &mut Path::root(), &mut unknown);
    unknown
}

/// The place of a value, written as Kubernetes does: `spec.ports[0].name`.
#[derive(Debug)]
pub(super) struct Path(String);

impl Path {
    pub(super) fn root() -> Self {
        Self(String::new())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Runs `act` one field further down.
    pub(super) fn field<T>(&mut self, name: &str, act: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        self.0.push_str(name);
        let result = act(self);
        self.0.truncate(length);
        result
    }

    /// Runs `act` on an item of a list.
    pub(super) fn index<T>(&mut self, index: usize, act: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        let _ = write!(self.0, "[{index}]");
        let result = act(self);
        self.0.truncate(length);
        result
    }
}

fn walk(schema: &Schema, value: &mut Value, path: &mut Path, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => walk_object(schema, fields, path, unknown),
        Value::Array(items) => {
            if let Some(item_schema) = &schema.items {
                for (index, item) in items.iter_mut().enumerate() {
                    path.index(index, |path| walk(item_schema, item, path, unknown));
                }
            }
        }
        Value::Number(number) if schema.shape == Shape::Quantity => {
            *value = Value::String(number.to_string());
        }
        _ => {}
    }
}

fn walk_object(
    schema: &Schema,
    fields: &mut Map<String, Value>,
    path: &mut Path,
    unknown: &mut Vec<String>,
) {
    fields.retain(|name, value| match schema.field(name) {
        Some(property) => {
            if value.is_null() && !property.nullable {
                return !(property.typed || property.default.is_some());
            }
            path.field(name, |path| walk(property, value, path, unknown));
            !(property.typed && is_left_out(property, value))
        }
        None if schema.preserve => true,
        None if schema.embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => {
            true
        }
        None => {
            path.field(name, |path| unknown.push(path.as_str().to_owned()));
            false
        }
    });
    for (name, property) in &schema.properties {
        if let Some(default) = &property.default
            && !fields.contains_key(name)
        {
            let mut filled = default.clone();
            path.field(name, |path| walk(property, &mut filled, path, unknown));
            fields.insert(name.clone(), filled);
        }
    }
}

/// Whether Go's `omitempty` drops this value. A struct stays even when it is empty.
fn is_left_out(schema: &Schema, value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && schema.is_map(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_go_and_defaults_come() {
        let schema = Schema::parse(&json!({
            "type": "object",
            "properties": {
                "a": {"type": "object", "default": {}, "properties": {
                    "b": {"type": "integer", "default": 3}
                }},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "list": {"type": "array", "items": {"type": "object", "properties": {
                    "n": {"type": "string", "default": "x"}
                }}}
            }
        }))
        .unwrap();
        let mut value = json!({"free": {"any": 1}, "list": [{"m": 1}], "gone": true});
        let unknown = shape(&schema, &mut value);
        assert_eq!(
            value,
            json!({"a": {"b": 3}, "free": {"any": 1}, "list": [{"n": "x"}]})
        );
        assert_eq!(unknown, ["gone", "list[0].m"]);
    }
}
