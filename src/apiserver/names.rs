//! Names and labels, as Kubernetes allows them.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

use super::failure::Cause;
use super::resources::Resource;

const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const OLD_LABEL: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";

/// The most that all annotations of an object may have in bytes (upstream's
/// `TotalAnnotationSizeLimitB`). A client-side `kubectl apply` of a large definition exceeds it.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// What is wrong with the metadata that a client may choose.
pub(super) fn check(resource: &Resource, object: &Value) -> Vec<Cause> {
    let metadata = &object["metadata"];
    let mut causes = Vec::new();
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        let problem = "name or generateName is required";
        causes.push(Cause::required("metadata.name", problem));
    }
    for problem in name_problems(resource, name) {
        causes.push(Cause::invalid("metadata.name", &metadata["name"], &problem));
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        check_label(key, value, &mut causes);
    }
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let size = annotations.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len));
    if size.sum::<usize>() > ANNOTATIONS_LIMIT {
        let limit = ANNOTATIONS_LIMIT as u64;
        causes.push(Cause::too_long("metadata.annotations", limit));
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
    if !is_qualified(key) {
        causes.push(bad_key("metadata.labels", key));
    }
    for problem in label_value_problems(value.as_str().unwrap_or_default()) {
        causes.push(Cause::invalid("metadata.labels", value, &problem));
    }
}

fn bad_key(field: &str, key: &str) -> Cause {
    Cause::invalid(field, &Value::from(key), &bad_name_part())
}

fn bad_name_part() -> String {
    format!(
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and \
         end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex \
         used for validation is '{QUALIFIED}')"
    )
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

fn name_problems(resource: &Resource, name: &str) -> Vec<String> {
    match name {
        // Told as required already.
        "" => Vec::new(),
        name if resource.group == "rbac.authorization.k8s.io" => {
            path_segment_problem(name).into_iter().collect()
        }
        name if resource.is("", "Service") => old_label_problems(name),
        name if resource.is("", "Namespace") => label_problems(name),
        name => subdomain_problems(name),
    }
}

/// What is wrong with a text that is to be one part of a DNS name.
pub(super) fn label_problems(text: &str) -> Vec<String> {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    problems(text, 63, matches(&PATTERN, LABEL, text), || {
        format!(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
             '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
             '123-abc', regex used for validation is '{LABEL}')"
        )
    })
}

/// What is wrong with a text that is to be one part of a DNS name of the older kind, which starts
/// with a letter.
pub(super) fn old_label_problems(text: &str) -> Vec<String> {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    problems(text, 63, matches(&PATTERN, OLD_LABEL, text), || {
        format!(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
             with an alphabetic character, and end with an alphanumeric character (e.g. \
             'my-name',  or 'abc-123', regex used for validation is '{OLD_LABEL}')"
        )
    })
}

/// What is wrong with a text that is to be a DNS name.
pub(super) fn subdomain_problems(text: &str) -> Vec<String> {
    problems(text, 253, is_subdomain(text), || {
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

/// What is wrong with the value of a label.
pub(super) fn label_value_problems(text: &str) -> Vec<String> {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    problems(text, 63, matches(&PATTERN, LABEL_VALUE, text), || {
        format!(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', \
             '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  \
             or 'my_value',  or '12345', regex used for validation is '{LABEL_VALUE}')"
        )
    })
}

/// What is wrong with a text that is to be the key of a label.
#[cfg(feature = "cel")]
pub(super) fn key_problems(text: &str) -> Vec<String> {
    problems(text, usize::MAX, is_qualified(text), bad_name_part)
}

fn problems(text: &str, limit: usize, fits: bool, told: impl Fn() -> String) -> Vec<String> {
    let too_long = (text.len() > limit).then(|| format!("must be no more than {limit} bytes"));
    let misfit = (!fits).then(told);
    too_long.into_iter().chain(misfit).collect()
}

/// Whether a text is a DNS name.
pub(super) fn is_subdomain(text: &str) -> bool {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    matches(&PATTERN, SUBDOMAIN, text)
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
                name_problems(resource, name).is_empty(),
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
