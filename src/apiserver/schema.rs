//! Structural schemas, as CustomResourceDefinitions write them and as the built-in types have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};

use super::cel;
use super::go_regex;
use super::validation::identity;

/// What a value may look like.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent marks, as in the text"
)]
pub(super) struct Schema {
    pub(super) shape: Shape,
    pub(super) nullable: bool,
    /// Fields that are not known stay (`x-kubernetes-preserve-unknown-fields`).
    pub(super) preserve: bool,
    /// Holds `apiVersion`, `kind` and `metadata` without saying so.
    pub(super) embedded: bool,
    /// A Go type: nulls and empty lists, maps and strings are left out.
    pub(super) typed: bool,
    pub(super) properties: BTreeMap<String, Arc<Schema>>,
    pub(super) additional: Option<Arc<Schema>>,
    pub(super) items: Option<Arc<Schema>>,
    pub(super) required: Vec<String>,
    pub(super) default: Option<Value>,
    pub(super) list: ListKind,
    /// Owned and replaced as a whole (`x-kubernetes-map-type: atomic`).
    pub(super) atomic: bool,
    pub(super) checks: Option<Box<Checks>>,
    /// CEL rules (`x-kubernetes-validations`) here or further down.
    pub(super) has_rules: bool,
    /// Those that stand here, once they are compiled.
    pub(super) rules: cel::Rules,
}

/// The JSON type that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Shape {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
    /// An amount such as `100m`; a number is taken and kept as text.
    Quantity,
}

/// How lists are merged and owned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum ListKind {
    /// As a whole.
    #[default]
    Atomic,
    /// By value.
    Set,
    /// By these fields of each item.
    Map(Vec<String>),
}

/// Restrictions of a value beyond its type.
#[derive(Debug, Clone, Default)]
pub(super) struct Checks {
    pub(super) one_of_values: Option<Vec<Value>>,
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) exclusive_minimum: bool,
    pub(super) exclusive_maximum: bool,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) pattern: Option<Pattern>,
    pub(super) format: Option<String>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) unique_items: bool,
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) all_of: Vec<Schema>,
    pub(super) any_of: Vec<Schema>,
    pub(super) one_of: Vec<Schema>,
    pub(super) not: Option<Schema>,
}

/// A regular expression with its text.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) written: String,
    pub(super) regex: Regex,
}

/// Finds the schema that a `$ref` names.
pub(super) type Resolve<'a> = &'a mut dyn FnMut(&str) -> Arc<Schema>;

impl Schema {
    /// Anything goes and stays.
    pub(super) fn open() -> Self {
        Self {
            preserve: true,
            ..Self::default()
        }
    }

    /// Reads a schema of a CustomResourceDefinition.
    ///
    /// # Errors
    /// The path and text of a pattern that is no regular expression.
    pub(super) fn parse(written: &Value) -> Result<Self, String> {
        Self::read(written, &mut |_| Arc::new(Self::open()))
    }

    /// Reads a schema in which `$ref` stands for others.
    pub(super) fn read(written: &Value, resolve: Resolve<'_>) -> Result<Self, String> {
        let Some(fields) = written.as_object() else {
            return Ok(Self::open());
        };
        let mut schema = Self {
            shape: shape(fields),
            nullable: flag(fields, "nullable"),
            preserve: flag(fields, "x-kubernetes-preserve-unknown-fields"),
            embedded: flag(fields, "x-kubernetes-embedded-resource"),
            default: fields.get("default").filter(|d| !d.is_null()).cloned(),
            required: strings(fields.get("required")),
            list: list_kind(fields),
            atomic: text(fields, "x-kubernetes-map-type") == Some("atomic"),
            has_rules: fields
                .get("x-kubernetes-validations")
                .and_then(Value::as_array)
                .is_some_and(|rules| !rules.is_empty()),
            ..Self::default()
        };
        if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let property = Self::child(property, resolve)?;
                schema.has_rules |= property.has_rules;
                schema.properties.insert(name.clone(), property);
            }
        }
        match fields.get("additionalProperties") {
            Some(Value::Bool(true)) => schema.preserve = true,
            Some(child @ Value::Object(_)) => {
                let child = Self::child(child, resolve)?;
                schema.has_rules |= child.has_rules;
                schema.additional = Some(child);
            }
            _ => {}
        }
        if let Some(items @ Value::Object(_)) = fields.get("items") {
            let items = Self::child(items, resolve)?;
            schema.has_rules |= items.has_rules;
            schema.items = Some(items);
        }
        schema.checks = Checks::read(fields, resolve)?.map(Box::new);
        Ok(schema)
    }

    fn child(written: &Value, resolve: Resolve<'_>) -> Result<Arc<Self>, String> {
        match written.get("$ref").and_then(Value::as_str) {
            Some(reference) => Ok(resolve(reference)),
            None => Self::read(written, resolve).map(Arc::new),
        }
    }

    /// The schema of a field of this object.
    pub(super) fn field(&self, name: &str) -> Option<&Schema> {
        self.properties
            .get(name)
            .or(self.additional.as_ref())
            .map(Arc::as_ref)
    }

    /// What is said about the form of a text, empty for nothing.
    #[cfg(feature = "cel")]
    pub(super) fn format(&self) -> &str {
        let format = self.checks.as_ref().and_then(|c| c.format.as_deref());
        format.unwrap_or_default()
    }

    /// The item of an older list that this item was: only lists that are keyed tell.
    pub(super) fn correlated<'a>(&self, old: Option<&'a Value>, item: &Value) -> Option<&'a Value> {
        let ListKind::Map(keys) = &self.list else {
            return None;
        };
        let wanted = identity(item, keys, None);
        if wanted
            .as_object()
            .is_none_or(|found| found.len() != keys.len())
        {
            return None;
        }
        old?.as_array()?
            .iter()
            .find(|old| identity(old, keys, None) == wanted)
    }

    /// Whether this describes a map with keys of the user's choice.
    pub(super) fn is_map(&self) -> bool {
        self.additional.is_some() && self.properties.is_empty()
    }
}

impl Checks {
    fn read(fields: &Map<String, Value>, resolve: Resolve<'_>) -> Result<Option<Self>, String> {
        let number = |name: &str| fields.get(name).and_then(Value::as_f64);
        let count = |name: &str| fields.get(name).and_then(Value::as_u64);
        let mut several = |name: &str| -> Result<Vec<Schema>, String> {
            let Some(list) = fields.get(name).and_then(Value::as_array) else {
                return Ok(Vec::new());
            };
            list.iter().map(|s| Schema::read(s, resolve)).collect()
        };
        let checks = Self {
            one_of_values: fields.get("enum").and_then(Value::as_array).cloned(),
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: flag(fields, "exclusiveMinimum"),
            exclusive_maximum: flag(fields, "exclusiveMaximum"),
            multiple_of: number("multipleOf").filter(|n| *n > 0.0),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            pattern: pattern(fields)?,
            format: text(fields, "format").map(str::to_owned),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique_items: flag(fields, "uniqueItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            all_of: several("allOf")?,
            any_of: several("anyOf")?,
            one_of: several("oneOf")?,
            not: match fields.get("not") {
                Some(not @ Value::Object(_)) => Some(Schema::read(not, resolve)?),
                _ => None,
            },
        };
        Ok(checks.restricts().then_some(checks))
    }

    fn restricts(&self) -> bool {
        self.one_of_values.is_some()
            || self.minimum.or(self.maximum).or(self.multiple_of).is_some()
            || self.min_length.or(self.max_length).is_some()
            || self.min_items.or(self.max_items).is_some()
            || self.min_properties.or(self.max_properties).is_some()
            || self.pattern.is_some()
            || self.format.is_some()
            || self.unique_items
            || self.not.is_some()
            || !(self.all_of.is_empty() && self.any_of.is_empty() && self.one_of.is_empty())
    }
}

fn shape(fields: &Map<String, Value>) -> Shape {
    if flag(fields, "x-kubernetes-int-or-string") {
        return Shape::IntOrString;
    }
    match text(fields, "type") {
        Some("object") => Shape::Object,
        Some("array") => Shape::Array,
        Some("string") => Shape::String,
        Some("integer") => Shape::Integer,
        Some("number") => Shape::Number,
        Some("boolean") => Shape::Boolean,
        _ => Shape::Any,
    }
}

fn list_kind(fields: &Map<String, Value>) -> ListKind {
    match text(fields, "x-kubernetes-list-type") {
        Some("set") => ListKind::Set,
        Some("map") => ListKind::Map(strings(fields.get("x-kubernetes-list-map-keys"))),
        _ => ListKind::Atomic,
    }
}

fn pattern(fields: &Map<String, Value>) -> Result<Option<Pattern>, String> {
    let Some(written) = text(fields, "pattern") else {
        return Ok(None);
    };
    let compiled = go_regex::compile(written).map(|regex| Pattern {
        written: written.to_owned(),
        regex,
    });
    compiled
        .map(Some)
        .map_err(|problem| format!("must be a valid regular expression, but isn't: {problem}"))
}

fn flag(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// A list of texts; what is no text is left out.
pub(super) fn strings(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
