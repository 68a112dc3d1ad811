//! `fieldRef`: a field of an object as text.

use std::fmt::Write as _;

use serde_json::Value;

/// The paths below `metadata` that Kubernetes' downward API knows.
const SUPPORTED: &str = "metadata.name, metadata.namespace, metadata.uid, metadata.labels, \
     metadata.annotations, metadata.labels['key'] or metadata.annotations['key']";

/// Reads the field at `path` of an object as text.
///
/// Paths below `metadata` follow the downward API: a label or annotation that is not there is
/// empty. Other paths walk the object; keys with dots are written as `labels['app.kubernetes.io/name']`.
///
/// # Errors
/// The path is malformed, leads nowhere, or leads to a map or a list; the text says which.
///
/// # Source
/// `utils/fieldpath` of argo-rollouts and `pkg/fieldpath` of Kubernetes.
pub fn field(object: &Value, path: &str) -> Result<String, String> {
    let sections = sections(path)?;
    match sections.split_first() {
        Some((first, rest)) if first == "metadata" => metadata(&object["metadata"], rest)
            .ok_or_else(|| format!("unsupported fieldPath `{path}`: expected {SUPPORTED}")),
        Some(_) => walk(object, path, &sections),
        None => Err("the fieldPath is empty".to_owned()),
    }
}

/// `a.b['c.d'][0]` → `a`, `b`, `c.d`, `0`.
fn sections(path: &str) -> Result<Vec<String>, String> {
    let mut sections = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quote) = ["['", "[\""]
            .into_iter()
            .find(|quote| rest.starts_with(quote))
        {
            let close = if quote == "['" { "']" } else { "\"]" };
            let after = &rest[quote.len()..];
            let end = after.find(close).ok_or_else(|| {
                format!("malformed fieldPath `{path}`: `{quote}` is never closed by `{close}`")
            })?;
            sections.push(after[..end].to_owned());
            rest = &after[end + close.len()..];
        } else if let Some(after) = rest.strip_prefix(['.', '[', ']']) {
            rest = after;
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
            sections.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    Ok(sections)
}

fn metadata(metadata: &Value, path: &[String]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (first.as_str(), rest) {
        ("name" | "namespace" | "uid", []) => Some(text(&metadata[first])),
        ("labels" | "annotations", []) => Some(lines(&metadata[first])),
        ("labels" | "annotations", [key]) => Some(text(&metadata[first][key])),
        _ => None,
    }
}

/// A map as the downward API writes it: one `key="value"` a line, sorted.
fn lines(map: &Value) -> String {
    let mut lines: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", quoted(value.as_str().unwrap_or_default())))
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Go's `%q`, for texts that Kubernetes accepts.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn walk(object: &Value, path: &str, sections: &[String]) -> Result<String, String> {
    let mut at = object;
    for section in sections {
        let next = match at {
            Value::Object(fields) => fields.get(section),
            Value::Array(items) => {
                let index: usize = section.parse().map_err(|_| {
                    format!("fieldPath `{path}`: `{section}` is no index into a list")
                })?;
                Some(items.get(index).ok_or_else(|| {
                    format!(
                        "fieldPath `{path}`: index {index} is out of range (length {})",
                        items.len()
                    )
                })?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        at = next.ok_or_else(|| format!("fieldPath `{path}`: there is no field `{section}`"))?;
    }
    match at {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(bool) => Ok(bool.to_string()),
        Value::Number(number) => Ok(go_float(number.as_f64().unwrap_or_default())),
        Value::Null => Err(format!("fieldPath `{path}`: the field has no value")),
        Value::Array(_) => Err(format!("fieldPath `{path}`: the field is a list")),
        Value::Object(_) => Err(format!("fieldPath `{path}`: the field is a map")),
    }
}

/// A number as Go's `%v` writes a float64, which is what every JSON number is there: `1e+06`.
fn go_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout() -> Value {
        json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "1",
                "labels": {"b": "2", "app.kubernetes.io/name": "web", "a": "1\n\"x\""},
            },
            "spec": {
                "replicas": 3, "big": 1_000_000, "small": 0.00001, "half": 0.5, "paused": true,
                "none": null,
                "list": [{"name": "first"}],
                "template": {"metadata": {"labels": {"app.kubernetes.io/name": "web"}}},
            },
        })
    }

    #[test]
    fn fields_are_read_as_text() {
        let cases = [
            ("metadata.name", "web"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "1"),
            ("metadata.labels['b']", "2"),
            ("metadata.labels['app.kubernetes.io/name']", "web"),
            ("metadata.labels['missing']", ""),
            ("metadata.annotations['missing']", ""),
            ("metadata.annotations", ""),
            (
                "metadata.labels",
                "a=\"1\\n\\\"x\\\"\"\napp.kubernetes.io/name=\"web\"\nb=\"2\"",
            ),
            ("spec.replicas", "3"),
            ("spec.big", "1e+06"),
            ("spec.small", "1e-05"),
            ("spec.half", "0.5"),
            ("spec.paused", "true"),
            ("spec.list[0].name", "first"),
            ("spec..list.0.name", "first"),
            (
                "spec.template.metadata.labels['app.kubernetes.io/name']",
                "web",
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(field(&rollout(), path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let cases = [
            ("", "empty"),
            ("metadata.generation", "unsupported fieldPath"),
            ("metadata.labels['a'].b", "unsupported fieldPath"),
            ("metadata", "unsupported fieldPath"),
            ("spec.list[-1].name", "`-1` is no index"),
            ("spec.list[1].name", "index 1 is out of range (length 1)"),
            ("spec.list.first", "`first` is no index"),
            ("spec.replicas.x", "no field `x`"),
            ("spec.missing", "no field `missing`"),
            ("spec.none", "no value"),
            ("spec.list", "is a list"),
            ("spec.template", "is a map"),
            ("spec.template['a", "never closed"),
        ];
        for (path, expected) in cases {
            let problem = field(&rollout(), path).unwrap_err();
            assert!(problem.contains(expected), "{path}: {problem}");
        }
    }
}
