//! Sets of fields, as `managedFields` writes them.
//!
//! # Source
//! The rules of `sigs.k8s.io/structured-merge-diff`: which fields a value has (`toFieldSet`), which
//! of them differ between two values (`Compare`), and the text form (`FieldsV1`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schema::{ListKind, Schema};
use super::validation::identity;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A field of an object.
    Field(String),
    /// An item of a list map, by its key fields as JSON.
    Key(String),
    /// An item of a set, as JSON.
    Item(String),
}

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// Whether the path that ends here is in the set.
    pub(super) member: bool,
    pub(super) children: BTreeMap<Step, Fields>,
}

/// What no manager owns, because the server or the path says it.
const NOT_OWNED: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
];

impl Fields {
    /// The fields that an object sets, without those that no manager owns.
    pub(super) fn of(schema: &Schema, object: &Value) -> Self {
        let mut fields = Self::default();
        fields.add(schema, object);
        fields
            .children
            .remove(&Step::Field("apiVersion".to_owned()));
        fields.children.remove(&Step::Field("kind".to_owned()));
        let metadata = Step::Field("metadata".to_owned());
        if let Some(owned) = fields.children.get_mut(&metadata) {
            for name in NOT_OWNED {
                owned.children.remove(&Step::Field((*name).to_owned()));
            }
            owned.member = false;
            if owned.is_empty() {
                fields.children.remove(&metadata);
            }
        }
        fields
    }

    fn add(&mut self, schema: &Schema, value: &Value) {
        match parts(schema, value) {
            None => self.member = true,
            Some(parts) => {
                for part in parts {
                    let child = self.children.entry(part.step).or_default();
                    child.add(part.schema, part.value);
                    child.member |= part.owned_itself;
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    /// The paths that are in both sets.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(step, child)| {
            let both = child.intersection(other.children.get(step)?);
            (!both.is_empty()).then(|| (step.clone(), both))
        });
        Self {
            member: self.member && other.member,
            children: children.collect(),
        }
    }

    /// The paths that are in this set and not in the other.
    pub(super) fn difference(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(step, child)| {
            let left = match other.children.get(step) {
                Some(other) => child.difference(other),
                None => child.clone(),
            };
            (!left.is_empty()).then(|| (step.clone(), left))
        });
        Self {
            member: self.member && !other.member,
            children: children.collect(),
        }
    }

    /// Adds the paths of another set.
    pub(super) fn extend(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, child) in &other.children {
            self.children.entry(step.clone()).or_default().extend(child);
        }
    }

    /// Keeps or drops one field of the whole object.
    pub(super) fn retain_top(&mut self, keep: impl Fn(&str) -> bool) {
        self.children
            .retain(|step, _| matches!(step, Step::Field(name) if keep(name)));
    }

    /// The paths as people read them: `.spec.ports[name="x"].port`.
    pub(super) fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        self.tell("", &mut told);
        told
    }

    fn tell(&self, at: &str, told: &mut Vec<String>) {
        if self.member {
            told.push(at.to_owned());
        }
        for (step, child) in &self.children {
            let step = match step {
                Step::Field(name) => format!(".{name}"),
                Step::Item(value) => format!("[={value}]"),
                Step::Key(keys) => {
                    let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                    let pairs: Vec<String> = keys
                        .iter()
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect();
                    format!("[{}]", pairs.join(","))
                }
            };
            child.tell(&format!("{at}{step}"), told);
        }
    }

    /// The set as `fieldsV1` has it.
    pub(super) fn to_json(&self) -> Value {
        let mut text = Map::new();
        if self.member && !self.children.is_empty() {
            text.insert(".".to_owned(), json!({}));
        }
        for (step, child) in &self.children {
            let name = match step {
                Step::Field(name) => format!("f:{name}"),
                Step::Key(keys) => format!("k:{keys}"),
                Step::Item(value) => format!("v:{value}"),
            };
            text.insert(name, child.to_json());
        }
        Value::Object(text)
    }

    /// Reads `fieldsV1`; what is not understood is left out.
    pub(super) fn from_json(text: &Value) -> Self {
        let mut fields = Self::default();
        let Some(entries) = text.as_object() else {
            return fields;
        };
        for (name, child) in entries {
            let step = match name.split_once(':') {
                Some(("f", name)) => Step::Field(name.to_owned()),
                Some(("k", keys)) => Step::Key(keys.to_owned()),
                Some(("v", value)) => Step::Item(value.to_owned()),
                _ => {
                    fields.member |= name == ".";
                    continue;
                }
            };
            let mut child = Self::from_json(child);
            child.member |= child.children.is_empty();
            fields.children.insert(step, child);
        }
        fields
    }
}

/// A part of a value that is owned by itself.
struct Part<'a> {
    step: Step,
    schema: &'a Schema,
    value: &'a Value,
    /// Whether the place is owned beside what stands below it.
    owned_itself: bool,
}

/// The parts of a value; `None` for one that is owned as a whole.
fn parts<'a>(schema: &'a Schema, value: &'a Value) -> Option<Vec<Part<'a>>> {
    match value {
        Value::Object(fields) if !schema.atomic => Some(
            fields
                .iter()
                .map(|(name, value)| Part {
                    step: Step::Field(name.clone()),
                    schema: schema.field(name).unwrap_or(open()),
                    value,
                    owned_itself: !schema.properties.contains_key(name)
                        || value.as_object().is_some_and(Map::is_empty),
                })
                .collect(),
        ),
        Value::Array(items) => {
            let item_schema = schema.items.as_deref().unwrap_or(open());
            let step: &dyn Fn(&Value) -> Step = match &schema.list {
                ListKind::Atomic => return None,
                ListKind::Set => &|item| Step::Item(item.to_string()),
                ListKind::Map(keys) => {
                    &move |item| Step::Key(identity(item, keys, Some(item_schema)).to_string())
                }
            };
            Some(
                items
                    .iter()
                    .map(|value| Part {
                        step: step(value),
                        schema: item_schema,
                        value,
                        owned_itself: true,
                    })
                    .collect(),
            )
        }
        _ => None,
    }
}

/// The schema of what no schema describes.
fn open() -> &'static Schema {
    static OPEN: std::sync::OnceLock<Schema> = std::sync::OnceLock::new();
    OPEN.get_or_init(Schema::open)
}

/// The fields that are new in `after` or have another value there.
pub(super) fn changed(schema: &Schema, before: &Value, after: &Value) -> Fields {
    let mut fields = Fields::default();
    if before == after {
        return fields;
    }
    let (Some(old), Some(new)) = (parts(schema, before), parts(schema, after)) else {
        fields.add(schema, after);
        return fields;
    };
    for part in new {
        let child = if let Some(old) = old.iter().find(|old| old.step == part.step) {
            changed(part.schema, old.value, part.value)
        } else {
            let mut added = Fields::default();
            added.add(part.schema, part.value);
            added.member |= part.owned_itself;
            added
        };
        if !child.is_empty() {
            fields.children.insert(part.step, child);
        }
    }
    fields
}

/// `live` with the values of `applied` in it.
pub(super) fn merge(schema: &Schema, live: &mut Value, applied: &Value) {
    match (&mut *live, applied) {
        (Value::Object(fields), Value::Object(wanted)) if !schema.atomic => {
            for (name, value) in wanted {
                let child = schema.field(name).unwrap_or(open());
                merge(child, fields.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(_), Value::Array(_)) if schema.list != ListKind::Atomic => {
            *live = merged_list(schema, live, applied);
        }
        _ => *live = applied.clone(),
    }
}

/// Items of both lists: in the order of `applied` if it names all, else new ones come last.
fn merged_list(schema: &Schema, live: &Value, applied: &Value) -> Value {
    let old = parts(schema, live).unwrap_or_default();
    let new = parts(schema, applied).unwrap_or_default();
    let find = |list: &[Part<'_>], step: &Step| list.iter().position(|part| part.step == *step);
    let merged = |old: Option<&Part<'_>>, new: Option<&Part<'_>>| match (old, new) {
        (Some(old), Some(new)) => {
            let mut value = old.value.clone();
            merge(new.schema, &mut value, new.value);
            value
        }
        (Some(only), None) | (None, Some(only)) => only.value.clone(),
        (None, None) => Value::Null,
    };
    let in_new = |part: &Part<'_>| find(&new, &part.step).map(|place| &new[place]);
    let in_old = |part: &Part<'_>| find(&old, &part.step).map(|place| &old[place]);
    if old.iter().all(|part| in_new(part).is_some()) {
        return new
            .iter()
            .map(|part| merged(in_old(part), Some(part)))
            .collect();
    }
    let kept = old.iter().map(|part| merged(Some(part), in_new(part)));
    let added = new.iter().filter(|part| in_old(part).is_none());
    kept.chain(added.map(|part| part.value.clone())).collect()
}

/// Removes the fields of `gone` from a value, but nothing below which `kept` has something.
pub(super) fn remove(schema: &Schema, value: &mut Value, gone: &Fields, kept: &Fields) {
    let nothing = Fields::default();
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            let step = Step::Field(name.clone());
            let child = schema.field(name).unwrap_or(open());
            stays(
                child,
                value,
                gone.children.get(&step),
                kept.children.get(&step),
            )
        }),
        Value::Array(items) => {
            let item_schema = schema.items.as_deref().unwrap_or(open());
            items.retain_mut(|item| {
                let step = match &schema.list {
                    ListKind::Atomic => return true,
                    ListKind::Set => Step::Item(item.to_string()),
                    ListKind::Map(keys) => {
                        Step::Key(identity(item, keys, Some(item_schema)).to_string())
                    }
                };
                let kept = kept.children.get(&step).unwrap_or(&nothing);
                stays(item_schema, item, gone.children.get(&step), Some(kept))
            });
        }
        _ => {}
    }
}

fn stays(schema: &Schema, value: &mut Value, gone: Option<&Fields>, kept: Option<&Fields>) -> bool {
    let Some(gone) = gone else { return true };
    if gone.member && kept.is_none_or(Fields::is_empty) {
        return false;
    }
    remove(schema, value, gone, kept.unwrap_or(&Fields::default()));
    let emptied = match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    !emptied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::parse(&json!({
            "type": "object",
            "properties": {
                "a": {"type": "object", "properties": {"b": {"type": "integer"}}},
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {}},
                "map": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {
                        "name": {"type": "string"}, "n": {"type": "integer"}
                    }},
                },
                "atomic": {"type": "array", "items": {"type": "string"}},
            }
        }))
        .unwrap()
    }

    #[test]
    fn fields_are_written_and_read_as_kubernetes_does() {
        let object = json!({
            "a": {"b": 1}, "set": ["x"], "map": [{"name": "m", "n": 1}], "atomic": ["y"],
        });
        let fields = Fields::of(&schema(), &object);
        let text = json!({
            "f:a": {"f:b": {}},
            "f:atomic": {},
            "f:map": {"k:{\"name\":\"m\"}": {".": {}, "f:n": {}, "f:name": {}}},
            "f:set": {"v:\"x\"": {}},
        });
        assert_eq!(fields.to_json(), text);
        assert_eq!(Fields::from_json(&text), fields);
        assert_eq!(
            fields.told(),
            [
                ".a.b",
                ".atomic",
                ".map[name=\"m\"]",
                ".map[name=\"m\"].n",
                ".map[name=\"m\"].name",
                ".set[=\"x\"]"
            ]
        );
    }

    #[test]
    fn only_what_differs_is_changed() {
        let before = json!({"a": {"b": 1}, "map": [{"name": "m", "n": 1}, {"name": "o"}]});
        let after = json!({"a": {"b": 1}, "map": [{"name": "m", "n": 2}, {"name": "p"}]});
        let changed = changed(&schema(), &before, &after);
        assert_eq!(
            changed.told(),
            [
                ".map[name=\"m\"].n",
                ".map[name=\"p\"]",
                ".map[name=\"p\"].name"
            ]
        );
    }
}
