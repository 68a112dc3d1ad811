//! What requests must look like: from a step's words to the matches of a rule.

use serde_json::{Map, Value, json};

use super::route_kind::RouteKind;
use crate::api::{RouteMatch, SetHeaderRoute, StringMatch};

/// Conditions that a match gets in addition to its own. All must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Conditions {
    headers: Vec<Value>,
    path: Option<Value>,
    method: Option<Value>,
}

impl Conditions {
    /// The conditions of a route by headers.
    ///
    /// # Errors
    /// Why no rule can have them.
    pub(super) fn of_headers(route: &SetHeaderRoute) -> Result<Self, String> {
        let headers = route.matches.iter();
        let headers = headers.map(|header| (header.header_name.as_str(), &header.header_value));
        Ok(Self {
            headers: conditions_of_headers(headers)?,
            ..Self::default()
        })
    }

    /// The conditions of one match of a mirror route.
    ///
    /// # Errors
    /// Why no rule can have them.
    pub(super) fn of_requests(wanted: &RouteMatch) -> Result<Self, String> {
        let headers = wanted.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value));
        let method = match &wanted.method {
            None => None,
            Some(method) if !method.exact.is_empty() => Some(method.exact.clone().into()),
            Some(_) => return Err("a method can only be matched exactly".to_owned()),
        };
        Ok(Self {
            headers: conditions_of_headers(headers)?,
            path: wanted.path.as_ref().map(condition_of_path).transpose()?,
            method,
        })
    }

    /// What requests must look like to meet a match and these conditions; none if none can.
    ///
    /// # Errors
    /// Why that cannot be written.
    pub(super) fn narrow(&self, kind: RouteKind, found: &Value) -> Result<Option<Value>, String> {
        let mut narrowed = found.as_object().cloned().unwrap_or_default();
        if kind == RouteKind::Grpc && (self.path.is_some() || self.method.is_some()) {
            return Err("a GRPCRoute matches neither paths nor HTTP methods".to_owned());
        }
        if kind == RouteKind::Http {
            let all = json!({"type": "PathPrefix", "value": "/"});
            let path = narrowed.get("path").cloned().unwrap_or(all);
            let path = match &self.path {
                None => Some(path),
                Some(wanted) => both_paths(&path, wanted)?,
            };
            let Some(path) = path else { return Ok(None) };
            narrowed.insert("path".to_owned(), path);
        }
        if let Some(method) = &self.method {
            if narrowed.get("method").is_some_and(|found| found != method) {
                return Ok(None);
            }
            narrowed.insert("method".to_owned(), method.clone());
        }
        Ok(self.add_headers(&mut narrowed).then(|| narrowed.into()))
    }

    /// Tells whether requests can meet both.
    fn add_headers(&self, narrowed: &mut Map<String, Value>) -> bool {
        if self.headers.is_empty() {
            return true;
        }
        let headers = narrowed.entry("headers").or_insert_with(|| json!([]));
        let Some(headers) = headers.as_array_mut() else {
            return false;
        };
        for wanted in &self.headers {
            // A match names a header once.
            let Some(found) = headers.iter_mut().find(|found| same_name(found, wanted)) else {
                headers.push(wanted.clone());
                continue;
            };
            if is_exact(found) && is_exact(wanted) && found["value"] != wanted["value"] {
                return false;
            }
            if !is_exact(found) {
                *found = wanted.clone();
            }
        }
        true
    }
}

fn same_name(one: &Value, other: &Value) -> bool {
    let name = |header: &Value| header["name"].as_str().map(str::to_ascii_lowercase);
    name(one) == name(other)
}

fn is_exact(condition: &Value) -> bool {
    condition.get("type").is_none_or(|kind| kind == "Exact")
}

fn conditions_of_headers<'a>(
    headers: impl Iterator<Item = (&'a str, &'a StringMatch)>,
) -> Result<Vec<Value>, String> {
    let mut conditions: Vec<Value> = Vec::new();
    for (name, value) in headers {
        let (kind, value) = words(value, "RegularExpression", |prefix| {
            format!("{}.*", literally(prefix))
        })
        .ok_or_else(|| format!("header `{name}`: one of exact, prefix and regex must be set"))?;
        let condition = json!({"name": name, "type": kind, "value": value});
        if conditions.iter().any(|other| same_name(other, &condition)) {
            return Err(format!("header `{name}` is matched twice"));
        }
        conditions.push(condition);
    }
    Ok(conditions)
}

fn condition_of_path(path: &StringMatch) -> Result<Value, String> {
    let (kind, value) = words(path, "PathPrefix", str::to_owned)
        .ok_or("path: one of exact, prefix and regex must be set")?;
    Ok(json!({"type": kind, "value": value}))
}

/// The type and the value of a condition; none if nothing is set.
fn words(
    wanted: &StringMatch,
    type_of_prefix: &'static str,
    prefix: impl Fn(&str) -> String,
) -> Option<(&'static str, String)> {
    if !wanted.exact.is_empty() {
        Some(("Exact", wanted.exact.clone()))
    } else if !wanted.prefix.is_empty() {
        Some((type_of_prefix, prefix(&wanted.prefix)))
    } else if !wanted.regex.is_empty() {
        Some(("RegularExpression", wanted.regex.clone()))
    } else {
        None
    }
}

/// A text as a regular expression that means just it, in every dialect that gateways have.
fn literally(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// The paths that meet both conditions; none if none can.
fn both_paths(found: &Value, wanted: &Value) -> Result<Option<Value>, String> {
    let parts = |path: &Value| {
        let kind = path["type"].as_str().unwrap_or("PathPrefix").to_owned();
        (kind, path["value"].as_str().unwrap_or("/").to_owned())
    };
    let ((found_type, found_value), (wanted_type, wanted_value)) = (parts(found), parts(wanted));
    if found_type == "PathPrefix" && found_value == "/" || found == wanted {
        return Ok(Some(wanted.clone()));
    }
    if [&found_type, &wanted_type].contains(&&"RegularExpression".to_owned()) {
        let found = format!("{found_type} `{found_value}`");
        let wanted = format!("{wanted_type} `{wanted_value}`");
        return Err(format!(
            "cannot tell which paths meet both {found} and {wanted}"
        ));
    }
    let meets = |kind: &str, condition: &str, value: &str| {
        kind == "PathPrefix" && is_within(condition, value) || condition == value
    };
    Ok(if meets(&found_type, &found_value, &wanted_value) {
        Some(wanted.clone())
    } else if meets(&wanted_type, &wanted_value, &found_value) {
        Some(found.clone())
    } else {
        None
    })
}

/// Whether a path is below another, element by element.
fn is_within(prefix: &str, path: &str) -> bool {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(kind: &str, value: &str) -> Value {
        json!({"type": kind, "value": value})
    }

    #[test]
    fn paths_meet_as_gateways_compare_them() {
        let (prefix, exact) = ("PathPrefix", "Exact");
        let cases = [
            ((prefix, "/"), (prefix, "/cart"), Some((prefix, "/cart"))),
            (
                (prefix, "/"),
                ("RegularExpression", "/c.*"),
                Some(("RegularExpression", "/c.*")),
            ),
            (
                (prefix, "/shop"),
                (prefix, "/shop/cart"),
                Some((prefix, "/shop/cart")),
            ),
            (
                (prefix, "/shop/cart"),
                (prefix, "/shop"),
                Some((prefix, "/shop/cart")),
            ),
            (
                (prefix, "/shop/"),
                (prefix, "/shop/cart"),
                Some((prefix, "/shop/cart")),
            ),
            ((prefix, "/shop"), (prefix, "/shopping"), None),
            (
                (prefix, "/shop"),
                (exact, "/shop/a"),
                Some((exact, "/shop/a")),
            ),
            ((prefix, "/shop/a"), (exact, "/shop"), None),
            ((exact, "/a"), (prefix, "/"), Some((exact, "/a"))),
            ((exact, "/a"), (exact, "/b"), None),
        ];
        for (found, wanted, expected) in cases {
            let both = both_paths(&path(found.0, found.1), &path(wanted.0, wanted.1)).unwrap();
            let expected = expected.map(|(kind, value)| path(kind, value));
            assert_eq!(both, expected, "{found:?} {wanted:?}");
        }
        let unclear = both_paths(&path(prefix, "/a"), &path("RegularExpression", "/.*b"));
        assert!(unclear.unwrap_err().contains("cannot tell which paths"));
    }

    #[test]
    fn a_prefix_of_a_header_is_taken_literally() {
        assert_eq!(literally("a.b(c)-d"), r"a\.b\(c\)-d");
    }
}
