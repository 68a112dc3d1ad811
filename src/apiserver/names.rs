//! Names and labels, as Kubernetes allows them.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

use super::failure::Cause;
use super::resources::Resource;

const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SERVICE: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// What is wrong with the metadata that a client may choose.
pub(super) fn check(resource: &Resource, object: &Value) -> Vec<Cause> {
    let metadata = &object["metadata"];
    let mut causes = Vec::new();
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        let problem = "name or generateName is required";
        causes.push(Cause::required("metadata.name", problem));
    } else if let Some(problem) = name_problem(resource, name) {
        causes.push(Cause::invalid("metadata.name", &metadata["name"], &problem));
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        check_label(key, value, &mut causes);
    }
    for key in metadata["annotations"]
        .as_object()
        .into_iter()
        .flat_map(|a| a.keys())
    {
        if !is_qualified(key) {
            causes.push(bad_key("metadata.annotations", key));
        }
    }
    for (index, owner) in metadata["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let at = format!("metadata.ownerReferences[{index}].{field}");
                causes.push(Cause::invalid(at, &Value::from(""), "must not be empty"));
            }
        }
    }
    causes
}

fn check_label(key: &str, value: &Value, causes: &mut Vec<Cause>) {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    if !is_qualified(key) {
        causes.push(bad_key("metadata.labels", key));
    }
    let text = value.as_str().unwrap_or_default();
    if text.len() > 63 {
        let problem = "must be no more than 63 bytes";
        causes.push(Cause::invalid("metadata.labels", value, problem));
    }
    if !matches(&PATTERN, LABEL_VALUE, text) {
        let problem = format!(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', \
             '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  \
             or 'my_value',  or '12345', regex used for validation is '{LABEL_VALUE}')"
        );
        causes.push(Cause::invalid("metadata.labels", value, &problem));
    }
}

fn bad_key(field: &str, key: &str) -> Cause {
    let problem = format!(
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and \
         end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex \
         used for validation is '{QUALIFIED}')"
    );
    Cause::invalid(field, &Value::from(key), &problem)
}

/// `name` or `prefix.example.com/name`.
fn is_qualified(key: &str) -> bool {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    // Prefixes of annotations may have upper-case letters; those of labels may not, which is
    // not told apart here.
    prefix.is_none_or(|prefix| is_subdomain(&prefix.to_lowercase()))
        && name.len() <= 63
        && matches(&PATTERN, QUALIFIED, name)
}

fn name_problem(resource: &Resource, name: &str) -> Option<String> {
    if resource.group == "rbac.authorization.k8s.io" {
        return path_segment_problem(name);
    }
    if resource.is("", "Service") && !is_service_name(name) {
        return Some(format!(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
             with an alphabetic character, and end with an alphanumeric character (e.g. \
             'my-name',  or 'abc-123', regex used for validation is '{SERVICE}')"
        ));
    }
    let short = resource.is("", "Namespace") || resource.is("", "Service");
    let limit = if short { 63 } else { 253 };
    if name.len() > limit {
        return Some(format!("must be no more than {limit} bytes"));
    }
    if short {
        return (!is_label(name)).then(|| {
            format!(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
                 or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  \
                 or '123-abc', regex used for validation is '{LABEL}')"
            )
        });
    }
    (!is_subdomain(name)).then(|| {
        format!(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '-' or '.', and must start and end with an alphanumeric character (e.g. \
             'example.com', regex used for validation is '{SUBDOMAIN}')"
        )
    })
}

/// Roles are named as people like, as long as the name can stand in a path.
fn path_segment_problem(name: &str) -> Option<String> {
    if matches!(name, "." | "..") {
        return Some(format!("may not be '{name}'"));
    }
    let held = ["/", "%"].into_iter().find(|part| name.contains(part));
    held.map(|part| format!("may not contain '{part}'"))
}

fn is_service_name(text: &str) -> bool {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    matches(&PATTERN, SERVICE, text)
}

/// Whether a text is a DNS name.
pub(super) fn is_subdomain(text: &str) -> bool {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    matches(&PATTERN, SUBDOMAIN, text)
}

/// Whether a text is one part of a DNS name.
pub(super) fn is_label(text: &str) -> bool {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    text.len() <= 63 && matches(&PATTERN, LABEL, text)
}

fn matches(pattern: &OnceLock<Option<Regex>>, written: &str, text: &str) -> bool {
    pattern
        .get_or_init(|| Regex::new(&format!("^(?:{written})$")).ok())
        .as_ref()
        .is_some_and(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_rules_of_their_own_for_names() {
        let resources = super::super::built_in::resources();
        for (kind, name, good) in [
            ("Role", "system:a B", true),
            ("ClusterRole", "a/b", false),
            ("ClusterRole", "..", false),
            ("Service", "1a", false),
            ("Service", "a1", true),
            ("Namespace", "1a", true),
            ("Namespace", "a.b", false),
            ("ConfigMap", "a.b", true),
        ] {
            let resource = resources.iter().find(|r| r.kind == kind).unwrap();
            assert_eq!(
                name_problem(resource, name).is_none(),
                good,
                "{kind} {name}"
            );
        }
    }

    #[test]
    fn names_and_keys_are_told_apart() {
        for (name, good) in [
            ("a", true),
            ("a.b-c", true),
            ("A", false),
            ("-a", false),
            ("", false),
        ] {
            assert_eq!(is_subdomain(name), good, "{name}");
        }
        for (key, good) in [
            ("app", true),
            ("example.com/App_1", true),
            ("a/b/c", false),
            ("/a", false),
            ("a b", false),
        ] {
            assert_eq!(is_qualified(key), good, "{key}");
        }
    }
}
