//! What `format` may say in the schemas of a definition.
//!
//! # Source
//! `apiextensions-apiserver/pkg/apiserver/validation/formats.go` of Kubernetes 1.36.

use std::collections::BTreeSet;

use serde_json::Value;

use super::structural::{fields, text};

/// Formats of texts, without dashes: upstream ignores these.
const OF_TEXTS: &[&str] = &[
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "quantity",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Formats in the schemas of a definition that a server knows nothing of, and therefore ignores.
pub(super) fn unrecognized(definition: &Value) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let versions = definition["spec"]["versions"].as_array();
    for version in versions.into_iter().flatten() {
        collect(&version["schema"]["openAPIV3Schema"], &mut found);
    }
    found
}

fn collect<'a>(schema: &'a Value, found: &mut BTreeSet<&'a str>) {
    let format = text(schema, "format");
    if !format.is_empty() && !is_known(text(schema, "type"), format) {
        found.insert(format);
    }
    for name in ["items", "additionalProperties", "not"] {
        if schema[name].is_object() {
            collect(&schema[name], found);
        }
    }
    for name in ["properties", "patternProperties", "definitions"] {
        for (_, part) in fields(schema, name) {
            collect(part, found);
        }
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for part in schema[name].as_array().into_iter().flatten() {
            collect(part, found);
        }
    }
}

fn is_known(kind: &str, format: &str) -> bool {
    match kind {
        "" | "string" => OF_TEXTS.contains(&format.replace('-', "").as_str()),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn formats_are_known_by_the_type_that_they_are_of() {
        let schema = json!({
            "type": "object",
            "properties": {
                "at": {"type": "string", "format": "date-time"},
                "count": {"type": "integer", "format": "int32"},
                "share": {"type": "number", "format": "double"},
                "any": {"x-kubernetes-preserve-unknown-fields": true, "format": "uuid"},
                "wrong": {"type": "string", "format": "int64"},
                "odd": {"type": "array", "items": {"type": "integer", "format": "uint8"}},
                "map": {"type": "object", "additionalProperties": {"format": "semver"}},
                "either": {"anyOf": [{"format": "ip"}]},
                "list": {"type": "array", "format": "set"},
            },
        });
        let definition = json!({"spec": {"versions": [
            {"schema": {"openAPIV3Schema": schema}},
            {"schema": {"openAPIV3Schema": {"type": "object", "format": "set"}}},
            {},
        ]}});
        let found: Vec<&str> = unrecognized(&definition).into_iter().collect();
        assert_eq!(found, ["int64", "ip", "semver", "set", "uint8"]);
    }
}
