//! From types to the structural schemas that Kubernetes accepts.

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// The structural schema of a type: everything inline, nothing nullable, no defaults but those
/// that a field asks for with `x-default`.
pub(crate) fn structural<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::default();
    settings.inline_subschemas = true;
    // What is always written is required; see `written!`.
    settings.contract = Contract::Serialize;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("$schema");
    schema.remove("title");
    let mut schema = Value::from(schema);
    make_structural(&mut schema);
    schema
}

fn make_structural(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        return;
    };
    take_null_away(fields);
    fields.remove("default");
    if let Some(default) = fields.remove("x-default") {
        fields.insert("default".to_owned(), default);
    }
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = unwrapped(text);
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(make_structural);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = fields.get_mut(inner) {
            make_structural(schema);
        }
    }
}

/// Turns `T or null` into `T`: the API server drops such nulls itself.
fn take_null_away(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(branches)) = fields.remove("anyOf") {
        let inner = branches
            .into_iter()
            .filter(|branch| branch.get("type") != Some(&json!("null")));
        for (key, value) in inner.flat_map(object) {
            fields.entry(key).or_insert(value);
        }
    }
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = fields.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Lines of a doc comment as one line; empty lines stay.
fn unwrapped(text: &str) -> String {
    let paragraphs = text.split("\n\n");
    let lines = paragraphs.map(|paragraph| paragraph.split('\n').collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n\n")
}

/// The rule that a metric has one source.
///
/// The API server cannot look into `plugin`, whose content has no schema, so this refuses only what
/// is certainly wrong: an empty `plugin` beside another source is fine, as with Argo, and a plugin
/// beside another source is left to the controller. Named sources weigh 2 and `plugin` 1: a sum of
/// 1 is a plugin alone, 2 one source, 3 one source and perhaps an empty `plugin`.
///
/// The rule stands at the metric, not at its provider: the API server estimates what a rule costs
/// from how many such values a request can hold, and of providers, which need no field, it could
/// hold so many that the rule would be refused.
pub(crate) fn exactly_one_provider(schema: &mut Schema) {
    let metric = schema.get_mut("properties").and_then(Value::as_object_mut);
    let provider = metric.and_then(|metric| metric.get_mut("provider"));
    let properties = provider.and_then(|provider| provider.get_mut("properties"));
    let Some(Value::Object(properties)) = properties else {
        return;
    };
    if let Some(Value::Object(plugin)) = properties.get_mut("plugin") {
        plugin.insert("maxProperties".to_owned(), json!(1));
    }
    let weigh = |name: &String| {
        let weight = if name == "plugin" { 1 } else { 2 };
        format!("(has(self.provider.{name}) ? {weight} : 0)")
    };
    let terms: Vec<String> = properties.keys().map(weigh).collect();
    let rule = format!("{} in [1, 2, 3]", terms.join(" + "));
    let message = "exactly one source of the metric must be set";
    let rules = json!([{"rule": rule, "message": message, "fieldPath": ".provider"}]);
    schema.insert("x-kubernetes-validations".to_owned(), rules);
}

/// Takes out what only a background analysis has.
pub(crate) fn foreground(schema: &mut Schema) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.remove("startingStep");
    }
}

/// The rule that a Rollout has one strategy.
pub(crate) fn exactly_one_strategy(schema: &mut Schema) {
    validate(
        schema,
        "has(self.canary) != has(self.blueGreen)",
        "exactly one of canary and blueGreen must be set",
    );
}

/// The rule that a selector stays as it is; Argo's CRD has it, too.
pub(crate) fn immutable_selector(schema: &mut Schema) {
    validate(schema, "self == oldSelf", ".spec.selector is immutable");
}

fn validate(schema: &mut Schema, rule: &str, message: &str) {
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([{"rule": rule, "message": message}]),
    );
}

/// The schema of a label selector.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "description": "Labels and their values, all of which must match.",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
            "matchExpressions": {
                "description": "Requirements, all of which must be met.",
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"description": "The label.", "type": "string"},
                        "operator": {
                            "description": "In, NotIn, Exists or DoesNotExist.",
                            "type": "string",
                        },
                        "values": {
                            "description": "Values for In and NotIn.",
                            "type": "array",
                            "x-kubernetes-list-type": "atomic",
                            "items": {"type": "string"},
                        },
                    },
                },
            },
        },
    })
}
