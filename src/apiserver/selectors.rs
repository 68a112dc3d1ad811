//! Label and field selectors.

use serde_json::Value;

use super::failure::Failure;
use super::resources::{Origin, Resource};

/// What a list or a watch is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Debug, Clone, PartialEq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq)]
enum Operator {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

#[derive(Debug, Clone, PartialEq)]
struct FieldRequirement {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl Selection {
    /// Reads the two selectors of a request; either may be empty.
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Failure> {
        Ok(Self {
            labels: Parser::new(labels).parse().map_err(Failure::bad_request)?,
            fields: parse_fields(resource, fields)?,
        })
    }

    /// Whether this selects everything.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is selected.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels
            .iter()
            .all(|requirement| requirement.holds(labels[requirement.key.as_str()].as_str()))
            && self
                .fields
                .iter()
                .all(|requirement| requirement.holds(object))
    }
}

impl Requirement {
    fn holds(&self, label: Option<&str>) -> bool {
        let number = label.and_then(|label| label.parse::<i64>().ok());
        match &self.operator {
            Operator::Exists => label.is_some(),
            Operator::Absent => label.is_none(),
            Operator::In(values) => label.is_some_and(|l| values.iter().any(|v| v == l)),
            Operator::NotIn(values) => !label.is_some_and(|l| values.iter().any(|v| v == l)),
            Operator::Above(limit) => number.is_some_and(|n| n > *limit),
            Operator::Below(limit) => number.is_some_and(|n| n < *limit),
        }
    }
}

impl FieldRequirement {
    fn holds(&self, object: &Value) -> bool {
        let found = self
            .path
            .iter()
            .fold(object, |value, name| &value[name.as_str()]);
        let text = match found {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (text == self.value) == self.equal
    }
}

/// The fields beyond name and namespace that may be selected by.
fn known_fields(resource: &Resource) -> &'static [&'static str] {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Secret") => &["type"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("", "Namespace") => &["status.phase"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &["status.replicas"],
        ("batch", "Job") => &["status.successful"],
        _ => &[],
    }
}

fn parse_fields(resource: &Resource, text: &str) -> Result<Vec<FieldRequirement>, Failure> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value, equal) = split_field(part).ok_or_else(|| {
                Failure::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                ))
            })?;
            let general = matches!(name, "metadata.name" | "metadata.namespace");
            if !general && !known_fields(resource).contains(&name) {
                return Err(Failure::bad_request(unknown_field(resource, name)));
            }
            let path = if name == "source" {
                "source.component"
            } else {
                name
            };
            Ok(FieldRequirement {
                path: path.split('.').map(str::to_owned).collect(),
                value: value.to_owned(),
                equal,
            })
        })
        .collect()
}

/// Kinds with fields of their own, and custom resources, say it in other words than the rest.
fn unknown_field(resource: &Resource, name: &str) -> String {
    if resource.is("batch", "Job") {
        format!("field label \"{name}\" not supported for Job")
    } else if resource.origin == Origin::Custom || !known_fields(resource).is_empty() {
        format!("field label not supported: {name}")
    } else {
        format!(
            "\"{name}\" is not a known field selector: only \"metadata.name\", \
             \"metadata.namespace\""
        )
    }
}

fn split_field(part: &str) -> Option<(&str, &str, bool)> {
    if let Some((name, value)) = part.split_once("!=") {
        return Some((name, value, false));
    }
    let (name, value) = part.split_once("==").or_else(|| part.split_once('='))?;
    Some((name, value, true))
}

/// Reads `a,!b,c in (x,y),d notin (z),e=f,g!=h,i>1`.
struct Parser<'a> {
    rest: &'a str,
}

const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.trim() }
    }

    fn parse(mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.rest.is_empty() {
            return Ok(requirements);
        }
        loop {
            let requirement = self
                .requirement()
                .map_err(|problem| format!("unable to parse requirement: {problem}"))?;
            requirements.push(requirement);
            match self.token() {
                "" => return Ok(requirements),
                "," => {}
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    /// The next word or symbol; empty at the end.
    fn token(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let symbols = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
        let length = symbols
            .iter()
            .find(|symbol| self.rest.starts_with(**symbol))
            .map_or_else(|| self.word_length(), |symbol| symbol.len());
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        token
    }

    fn word_length(&self) -> usize {
        self.rest
            .find(|c: char| c.is_whitespace() || "=!(),<>".contains(c))
            .unwrap_or(self.rest.len())
    }

    fn peek(&self) -> &'a str {
        Parser { rest: self.rest }.token()
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == "!";
        if absent {
            self.token();
        }
        let key = self.token();
        if key.is_empty() || !key.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(format!(
                "found '{key}', expected: !, identifier, or 'end of string'"
            ));
        }
        let key = key.to_owned();
        if matches!(self.peek(), "" | ",") {
            let operator = if absent {
                Operator::Absent
            } else {
                Operator::Exists
            };
            return Ok(Requirement { key, operator });
        }
        if absent {
            return Err(format!(
                "found '{}', expected: ',' or 'end of string'",
                self.peek()
            ));
        }
        let operator = match self.token() {
            "=" | "==" => Operator::In(vec![self.value()]),
            "!=" => Operator::NotIn(vec![self.value()]),
            ">" | "gt" => Operator::Above(self.number()?),
            "<" | "lt" => Operator::Below(self.number()?),
            "in" => Operator::In(self.values()?),
            "notin" => Operator::NotIn(self.values()?),
            other => return Err(format!("found '{other}', expected: {OPERATORS}")),
        };
        Ok(Requirement { key, operator })
    }

    /// A value, which may be empty.
    fn value(&mut self) -> String {
        match self.peek() {
            "" | "," => String::new(),
            _ => self.token().to_owned(),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let text = self.token();
        text.parse().map_err(|_| {
            format!("values[0]: Invalid value: \"{text}\": for 'Gt', 'Lt' operators, the value must be an integer")
        })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.token() {
            "(" => {}
            other => return Err(format!("found '{other}' expected: '('")),
        }
        let mut values = Vec::new();
        loop {
            match self.token() {
                ")" => return Ok(values),
                "," => {}
                "" => return Err("found '', expected: ',' or ')'".to_owned()),
                word => values.push(word.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str, labels: &Value) -> bool {
        let labels_read = Parser::new(selector).parse().unwrap();
        let selection = Selection {
            labels: labels_read,
            fields: Vec::new(),
        };
        selection.matches(&json!({"metadata": {"labels": labels}}))
    }

    #[test]
    fn labels_are_selected_as_kubernetes_does() {
        let labels = json!({"app": "web", "n": "3"});
        for (selector, selected) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("app=web,n", true),
            ("app == web", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("n>2", true),
            ("n<3", false),
            ("other>1", false),
            ("empty=", false),
        ] {
            assert_eq!(selects(selector, &labels), selected, "{selector}");
        }
    }

    #[test]
    fn a_bad_selector_says_what_was_expected() {
        for (selector, problem) in [
            (
                "bad  selector===",
                "found 'selector', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a in b", "found 'b' expected: '('"),
            ("a in (b", "found '', expected: ',' or ')'"),
        ] {
            let found = Parser::new(selector).parse().unwrap_err();
            assert_eq!(found, format!("unable to parse requirement: {problem}"));
        }
    }
}
