//! The JSON that Go's encoder makes of a typed object: what the hashes are computed from.
//!
//! Keys stand in the order of Go's declarations, empty values vanish where Go leaves them out, and
//! quantities are brought to one form. `shapes.txt` holds the types.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::quantity;

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Quantity,
    Json,
    List(Box<Kind>),
    Map(Box<Kind>),
    Struct(&'static str),
}

/// When a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    NotEmpty,
    Always,
    Set,
    AlwaysOrNull,
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    presence: Presence,
    kind: Kind,
}

static SHAPES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    include_str!("shapes.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .map(|(name, fields)| (name, fields.split(' ').map(field).collect()))
        .collect()
});

fn field(text: &'static str) -> Field {
    let (marked, kind) = text.split_once(':').unwrap_or((text, "text"));
    let name = marked.trim_end_matches(['!', '?']);
    let presence = match &marked[name.len()..] {
        "!" => Presence::Always,
        "?" => Presence::Set,
        "!?" => Presence::AlwaysOrNull,
        _ => Presence::NotEmpty,
    };
    Field {
        name,
        presence,
        kind: kind_of(kind),
    }
}

fn kind_of(text: &'static str) -> Kind {
    let inner = |open, close| {
        text.strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
    };
    if let Some(item) = inner('[', ']') {
        return Kind::List(Box::new(kind_of(item)));
    }
    if let Some(item) = inner('{', '}') {
        return Kind::Map(Box::new(kind_of(item)));
    }
    match text {
        "text" => Kind::Text,
        "int" => Kind::Int,
        "quantity" => Kind::Quantity,
        "json" => Kind::Json,
        name => Kind::Struct(name),
    }
}

/// The canonical JSON of a pod template. Fields that the type does not know do not contribute.
pub(super) fn pod_template(template: &Value) -> String {
    written(&Kind::Struct("PodTemplateSpec"), template)
}

/// The canonical JSON of a canary's steps; `null` when there are none.
pub(super) fn steps(steps: &Value) -> String {
    if is_empty(steps) {
        return "null".to_owned();
    }
    written(&Kind::List(Box::new(Kind::Struct("CanaryStep"))), steps)
}

fn written(kind: &Kind, value: &Value) -> String {
    let mut out = String::new();
    write_value(kind, value, &mut out);
    out
}

fn write_value(kind: &Kind, value: &Value, out: &mut String) {
    match (kind, value) {
        (Kind::Struct(name), value) => write_struct(name, value.as_object(), out),
        (Kind::List(item), Value::Array(items)) => {
            write_all('[', items.iter(), ']', out, |value, out| {
                write_value(item, value, out);
            });
        }
        (Kind::Map(item), Value::Object(entries)) => {
            let sorted: BTreeMap<_, _> = entries.iter().collect();
            write_all('{', sorted.into_iter(), '}', out, |(key, value), out| {
                write_text(key, out);
                out.push(':');
                write_value(item, value, out);
            });
        }
        (Kind::Quantity, value) => write_text(&quantity_text(value), out),
        (Kind::Text, Value::Null) => out.push_str("\"\""),
        (Kind::Int, Value::Null) => out.push('0'),
        (Kind::Text | Kind::Int | Kind::Json, value) => write_json(value, out),
        (Kind::List(_) | Kind::Map(_), _) => out.push_str("null"),
    }
}

fn write_struct(name: &str, object: Option<&Map<String, Value>>, out: &mut String) {
    let fields = SHAPES.get(name).map(Vec::as_slice).unwrap_or_default();
    let present = fields.iter().filter_map(|field| {
        let value = object
            .and_then(|object| object.get(field.name))
            .unwrap_or(&Value::Null);
        is_written(field, value).then_some((field, value))
    });
    write_all('{', present, '}', out, |(field, value), out| {
        write_text(field.name, out);
        out.push(':');
        if field.presence == Presence::AlwaysOrNull && value.is_null() {
            out.push_str("null");
        } else {
            write_value(&field.kind, value, out);
        }
    });
}

fn is_written(field: &Field, value: &Value) -> bool {
    match field.presence {
        Presence::Always | Presence::AlwaysOrNull => true,
        Presence::Set => !value.is_null(),
        Presence::NotEmpty => match field.kind {
            // Behind a pointer: an empty object is not the same as none.
            Kind::Struct(_) => value.is_object(),
            Kind::Quantity | Kind::Json => !value.is_null(),
            Kind::Text | Kind::Int | Kind::List(_) | Kind::Map(_) => !is_empty(value),
        },
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

fn quantity_text(value: &Value) -> String {
    let text = match value {
        Value::Null => "0".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    quantity::canonical(&text).unwrap_or(text)
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => write_text(text, out),
        Value::Array(items) => write_all('[', items.iter(), ']', out, write_json),
        Value::Object(entries) => {
            let sorted: BTreeMap<_, _> = entries.iter().collect();
            write_all('{', sorted.into_iter(), '}', out, |(key, value), out| {
                write_text(key, out);
                out.push(':');
                write_json(value, out);
            });
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}

fn write_all<T>(
    open: char,
    items: impl Iterator<Item = T>,
    close: char,
    out: &mut String,
    mut write_one: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_one(item, out);
    }
    out.push(close);
}

/// A JSON string as Go writes it by default: safe to stand in HTML.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{0}'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_that_a_field_names_is_there() {
        fn named(kind: &Kind) -> Option<&'static str> {
            match kind {
                Kind::Struct(name) => Some(name),
                Kind::List(item) | Kind::Map(item) => named(item),
                Kind::Text | Kind::Int | Kind::Quantity | Kind::Json => None,
            }
        }
        for (name, fields) in SHAPES.iter() {
            for field in fields {
                if let Some(used) = named(&field.kind) {
                    assert!(
                        SHAPES.contains_key(used),
                        "{name}.{} holds {used}",
                        field.name
                    );
                }
            }
        }
        assert!(SHAPES.len() > 120, "{} types", SHAPES.len());
    }

    #[test]
    fn empty_values_vanish_only_where_go_leaves_them_out() {
        let cases = [
            (json!({}), r#"{"metadata":{},"spec":{"containers":null}}"#),
            (json!(null), r#"{"metadata":{},"spec":{"containers":null}}"#),
            (
                json!({"spec": {"containers": [], "hostNetwork": false, "nodeSelector": {},
                    "terminationGracePeriodSeconds": 0, "securityContext": {}, "unknown": 1}}),
                r#"{"metadata":{},"spec":{"containers":[],"terminationGracePeriodSeconds":0,"securityContext":{}}}"#,
            ),
            (
                json!({"spec": {"containers": [{"livenessProbe": {"grpc": {"port": 9}},
                    "env": [{"value": ""}], "ports": [{}]}]}}),
                r#"{"metadata":{},"spec":{"containers":[{"name":"","ports":[{"containerPort":0}],"env":[{"name":""}],"resources":{},"livenessProbe":{"grpc":{"port":9,"service":null}}}]}}"#,
            ),
            (
                json!({"spec": {"volumes": [{"name": "t", "emptyDir": {}},
                    {"name": "p", "projected": {}}, {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}}]}}),
                r#"{"metadata":{},"spec":{"volumes":[{"name":"t","emptyDir":{}},{"name":"p","projected":{"sources":null}},{"name":"e","ephemeral":{"volumeClaimTemplate":{"metadata":{},"spec":{"resources":{}}}}}],"containers":null}}"#,
            ),
        ];
        for (template, expected) in cases {
            assert_eq!(pod_template(&template), expected);
        }
    }

    #[test]
    fn text_is_escaped_as_go_does() {
        let text = "a<b>&\u{2028}\"\\\n\t\u{1}\u{7f}é";
        let mut out = String::new();
        write_text(text, &mut out);
        assert_eq!(
            out,
            "\"a\\u003cb\\u003e\\u0026\\u2028\\\"\\\\\\n\\t\\u0001\u{7f}é\""
        );
    }
}
