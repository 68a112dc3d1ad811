//! Brings an object into the form that its schema gives: prunes what is not known, fills in
//! defaults, and leaves out what a Go type would not write.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::schema::{Schema, Shape};

/// Prunes and defaults `value` in place; answers the paths of the fields that were not known.
pub(super) fn shape(schema: &Schema, value: &mut Value) -> Vec<String> {
    Walk::run(schema, value, true)
}

/// As [`shape`], without defaults.
pub(super) fn prune(schema: &Schema, value: &mut Value) -> Vec<String> {
    Walk::run(schema, value, false)
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

    /// Goes to a field; answers what [`Path::leave`] takes to come back.
    pub(super) fn enter_field(&mut self, name: &str) -> usize {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        self.0.push_str(name);
        length
    }

    /// Goes to an item of a list; as [`Path::enter_field`].
    pub(super) fn enter_index(&mut self, index: usize) -> usize {
        let length = self.0.len();
        let _ = write!(self.0, "[{index}]");
        length
    }

    /// Goes to an entry of a map; as [`Path::enter_field`].
    #[cfg(feature = "cel")]
    pub(super) fn enter_key(&mut self, key: &str) -> usize {
        let length = self.0.len();
        let _ = write!(self.0, "[{key}]");
        length
    }

    /// Goes back to where the path was that long.
    pub(super) fn leave(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Runs `act` one field further down.
    pub(super) fn field<T>(&mut self, name: &str, act: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.enter_field(name);
        let result = act(self);
        self.leave(length);
        result
    }

    /// Runs `act` on an item of a list.
    pub(super) fn index<T>(&mut self, index: usize, act: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.enter_index(index);
        let result = act(self);
        self.leave(length);
        result
    }
}

/// One walk over a value.
struct Walk {
    path: Path,
    unknown: Vec<String>,
    defaults: bool,
}

impl Walk {
    fn run(schema: &Schema, value: &mut Value, defaults: bool) -> Vec<String> {
        let mut walk = Self {
            path: Path::root(),
            unknown: Vec::new(),
            defaults,
        };
        walk.value(schema, value);
        walk.unknown
    }

    fn value(&mut self, schema: &Schema, value: &mut Value) {
        match value {
            Value::Object(fields) => self.object(schema, fields),
            Value::Array(items) => {
                if let Some(item_schema) = &schema.items {
                    for (index, item) in items.iter_mut().enumerate() {
                        let length = self.path.enter_index(index);
                        self.value(item_schema, item);
                        self.path.leave(length);
                    }
                }
            }
            Value::Number(number) if schema.shape == Shape::Quantity => {
                *value = Value::String(number.to_string());
            }
            _ => {}
        }
    }

    fn field(&mut self, schema: &Schema, name: &str, value: &mut Value) {
        let length = self.path.enter_field(name);
        self.value(schema, value);
        self.path.leave(length);
    }

    fn object(&mut self, schema: &Schema, fields: &mut Map<String, Value>) {
        fields.retain(|name, value| match schema.field(name) {
            Some(property) => {
                // Go writes a list that must be there even when it is empty.
                let is_kept = property.items.is_some() && schema.required.contains(name);
                if is_kept && property.typed && value.is_null() {
                    *value = Value::Array(Vec::new());
                }
                if value.is_null() && !property.nullable {
                    return !(property.typed || property.default.is_some());
                }
                self.field(property, name, value);
                // An entry of a map is no field, and stays.
                let is_field = schema.properties.contains_key(name);
                !(is_field && property.typed && !is_kept && is_left_out(property, value))
            }
            None if schema.preserve => true,
            None if schema.embedded && is_object_field(name) => true,
            None => {
                let length = self.path.enter_field(name);
                self.unknown.push(self.path.as_str().to_owned());
                self.path.leave(length);
                false
            }
        });
        if !self.defaults {
            return;
        }
        for (name, property) in &schema.properties {
            if let Some(default) = &property.default
                && !fields.contains_key(name)
            {
                let mut filled = default.clone();
                self.field(property, name, &mut filled);
                fields.insert(name.clone(), filled);
            }
        }
    }
}

/// What every object has, without its schema saying so.
fn is_object_field(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
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

    #[test]
    fn empty_fields_of_a_go_type_go_and_empty_entries_of_a_map_stay() {
        let text = Schema {
            shape: Shape::String,
            typed: true,
            ..Schema::default()
        };
        let labels = Schema {
            typed: true,
            additional: Some(text.clone().into()),
            ..Schema::default()
        };
        let fields = [("labels", labels), ("name", text)];
        let metadata = Schema {
            typed: true,
            properties: fields
                .map(|(name, schema)| (name.to_owned(), schema.into()))
                .into(),
            ..Schema::default()
        };
        let mut value = json!({"name": "", "labels": {"headless": ""}});
        shape(&metadata, &mut value);
        assert_eq!(value, json!({"labels": {"headless": ""}}));
    }

    #[test]
    fn an_empty_list_that_must_be_there_stays() {
        let list = Schema {
            typed: true,
            items: Some(Schema::default().into()),
            ..Schema::default()
        };
        let fields = ["endpoints", "ports"].map(|name| (name.to_owned(), list.clone().into()));
        let slice = Schema {
            typed: true,
            properties: fields.into(),
            required: vec!["endpoints".to_owned()],
            ..Schema::default()
        };
        for nothing in [json!([]), json!(null)] {
            let mut value = json!({"endpoints": nothing, "ports": nothing});
            shape(&slice, &mut value);
            assert_eq!(value, json!({"endpoints": []}));
        }
    }
}
