//! The scale subresource: a small object in front of a large one.

use serde_json::{Map, Value, json};

use super::failure::Cause;
use super::resources::{Resource, Scale};

fn at<'a>(object: &'a Value, path: &[String]) -> &'a Value {
    path.iter()
        .fold(object, |value, name| &value[name.as_str()])
}

/// The Scale of an object.
pub(super) fn of(scale: &Scale, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut kept = Map::new();
    for name in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = metadata.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    let mut spec = json!({});
    let wanted = at(object, &scale.spec_replicas).as_i64().unwrap_or(0);
    if wanted != 0 {
        spec["replicas"] = json!(wanted);
    }
    let found = at(object, &scale.status_replicas).as_i64().unwrap_or(0);
    let mut status = json!({"replicas": found});
    let selector = match &scale.selector {
        Some(path) => at(object, path).as_str().unwrap_or_default().to_owned(),
        None => selector_text(&object["spec"]["selector"]),
    };
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": kept,
        "spec": spec,
        "status": status,
    })
}

/// Writes the replicas of a Scale into the object that it belongs to.
pub(super) fn apply(scale: &Scale, wanted: &Value, object: &mut Value) {
    let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
    let mut place = object;
    for name in &scale.spec_replicas {
        if !place.is_object() {
            return;
        }
        place = &mut place[name.as_str()];
        if place.is_null() {
            *place = json!({});
        }
    }
    *place = json!(replicas);
}

/// A label selector as the text that a list takes.
pub(super) fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (name, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        parts.push(format!("{name}={}", value.as_str().unwrap_or_default()));
    }
    for expression in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = super::schema::strings(expression.get("values")).join(",");
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

/// A number of replicas that is none, in the words of upstream's accessor.
pub(super) fn check(resource: &Resource, object: &Value) -> Option<Cause> {
    let scale = resource.scale.as_ref()?;
    let found = at(object, &scale.spec_replicas);
    let path = format!(".{}", scale.spec_replicas.join("."));
    let kind = match found {
        Value::Null => return None,
        Value::Number(number) => {
            return number.as_i64().filter(|n| *n < 0).map(|_| {
                let problem = "should be a non-negative integer";
                Cause::invalid(path, found, problem)
            });
        }
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    let shown = found
        .as_str()
        .map_or_else(|| found.to_string(), str::to_owned);
    let problem = format!("{path} accessor error: {shown} is of the type {kind}, expected int64");
    Some(Cause::invalid(path, &json!(0), &problem))
}
