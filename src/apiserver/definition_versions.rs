//! What is wrong with the versions of a CustomResourceDefinition: their schemas, defaults, scale and
//! columns.
//!
//! # Source
//! `apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go`.

use serde_json::{Value, json};

use super::cel;
use super::failure::Cause;
use super::names;
use super::openapi_schema;
use super::schema::Schema;
use super::shaping;
use super::structural::{self, fields, text};
use super::validation::validate;

/// Where a part of a version is told to be: what is the same in all versions, the API server keeps
/// outside of them.
fn place(versions: &[Value], index: usize, field: &str, outside: &str) -> String {
    let first = &versions[0][field];
    if versions.iter().all(|version| version[field] == *first) {
        return format!("spec.{outside}");
    }
    format!("spec.versions[{index}].{field}")
}

/// Adds what is wrong with the versions of a definition.
pub(super) fn check(versions: &[Value], spec: &Value, causes: &mut Vec<Cause>) {
    let name = |version: &Value| text(version, "name").to_owned();
    for (index, version) in versions.iter().enumerate() {
        let problems = names::old_label_problems(&name(version));
        if !problems.is_empty() {
            let at = format!("spec.versions[{index}].name");
            causes.push(Cause::invalid(at, &version["name"], &problems.join(",")));
        }
        check_version(versions, index, causes);
    }
    let stored = versions.iter().filter(|v| v["storage"] == true).count();
    let unique = |index: usize| {
        !versions[..index]
            .iter()
            .any(|v| name(v) == name(&versions[index]))
    };
    if !(0..versions.len()).all(unique) {
        let problem = "must contain unique version names";
        causes.push(Cause::invalid("spec.versions", &spec["versions"], problem));
    }
    if stored != 1 {
        let problem = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &spec["versions"], problem));
    }
}

fn check_version(versions: &[Value], index: usize, causes: &mut Vec<Cause>) {
    let version = &versions[index];
    let is_shared = |place: &str| !place.starts_with("spec.versions");
    let subresources = &version["subresources"];
    let at = place(versions, index, "schema", "validation");
    // What all versions share is told once.
    if index == 0 || !is_shared(&at) {
        let written = &version["schema"]["openAPIV3Schema"];
        let at = format!("{at}.openAPIV3Schema");
        if written.is_object() {
            check_schema(written, &at, subresources["status"].is_object(), causes);
        } else {
            let at = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(at, "schemas are required"));
        }
    }
    let at = place(versions, index, "subresources", "subresources");
    if index == 0 || !is_shared(&at) {
        check_scale(&subresources["scale"], &at, causes);
    }
    let at = place(
        versions,
        index,
        "additionalPrinterColumns",
        "additionalPrinterColumns",
    );
    let columns = version["additionalPrinterColumns"].as_array();
    for (number, column) in columns.into_iter().flatten().enumerate() {
        if index == 0 || !is_shared(&at) {
            check_column(column, &format!("{at}[{number}]"), causes);
        }
    }
    let deprecation = &version["deprecationWarning"];
    let problem = match deprecation.as_str() {
        Some(_) if version["deprecated"] != true => "can only be set for deprecated versions",
        Some("") => "must not be an empty string",
        Some(text) if text.len() > 256 => "must be <= 256 characters long",
        _ => return,
    };
    let at = format!("spec.versions[{index}].deprecationWarning");
    causes.push(Cause::invalid(at, deprecation, problem));
}

/// What may stand at the root of a schema whose objects have a status of their own.
const AT_ROOT: &[&str] = &[
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

fn check_schema(written: &Value, at: &str, has_status: bool, causes: &mut Vec<Cause>) {
    let before = causes.len();
    if has_status {
        let root = written.as_object().into_iter().flatten();
        let is_set = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
        let strange = root
            .filter(|(_, value)| is_set(value))
            .map(|(name, _)| name)
            .find(|name| !AT_ROOT.contains(&name.as_str()));
        if let Some(name) = strange {
            let problem = format!(
                "{name} is not allowed at the root of the schema if the status subresource is \
                 enabled"
            );
            causes.push(Cause::invalid(at, &json!(name), &problem));
        }
    }
    if written["nullable"] == true {
        let problem = "nullable cannot be true at the root";
        causes.push(Cause::forbidden(format!("{at}.nullable"), problem));
    }
    let structural = structural::problems(written, at);
    if structural.is_empty() {
        check_defaults(written, at, causes);
    }
    causes.extend(structural);
    causes.extend(openapi_schema::problems(written, at));
    if causes.len() > before {
        return;
    }
    match Schema::parse(written) {
        Ok(mut schema) => match cel::compile(&mut schema, written, at) {
            Ok(()) => check_rules_of_defaults(&schema, at, causes),
            Err(found) => causes.extend(found),
        },
        Err(problem) => causes.push(Cause::invalid(at, &json!(""), &problem)),
    }
}

/// Defaults must fit their schema and have no fields that it does not know.
fn check_defaults(written: &Value, at: &str, causes: &mut Vec<Cause>) {
    let default = &written["default"];
    if let (false, Ok(schema)) = (default.is_null(), Schema::parse(written)) {
        let at = format!("{at}.default");
        let mut pruned = default.clone();
        shaping::prune(&schema, &mut pruned);
        if pruned != *default {
            causes.push(Cause::invalid(
                at.as_str(),
                default,
                "must not have unknown fields",
            ));
        }
        causes.extend(validate(&schema, default).into_iter().map(|mut cause| {
            cause.field = match cause.field.as_str() {
                "" => at.clone(),
                inner if inner.starts_with('[') => format!("{at}{inner}"),
                inner => format!("{at}.{inner}"),
            };
            cause
        }));
    }
    if written["items"].is_object() {
        check_defaults(&written["items"], &format!("{at}.items"), causes);
    }
    for (name, property) in fields(written, "properties") {
        check_defaults(property, &format!("{at}.properties[{name}]"), causes);
    }
}

/// Defaults must keep the rules that stand where they do, as new values and as old ones.
fn check_rules_of_defaults(schema: &Schema, at: &str, causes: &mut Vec<Cause>) {
    if !schema.has_rules {
        return;
    }
    if let Some(default) = &schema.default {
        for before in [Some(default), None] {
            let found = cel::check(schema, default, before).causes;
            if !found.is_empty() {
                causes.extend(found.into_iter().map(|mut cause| {
                    cause.field = match cause.field.as_str() {
                        "" => format!("{at}.default"),
                        inner => format!("{at}.default.{inner}"),
                    };
                    cause
                }));
                break;
            }
        }
    }
    if let Some(items) = &schema.items {
        check_rules_of_defaults(items, &format!("{at}.items"), causes);
    }
    for (name, property) in &schema.properties {
        check_rules_of_defaults(property, &format!("{at}.properties[{name}]"), causes);
    }
}

fn check_scale(scale: &Value, at: &str, causes: &mut Vec<Cause>) {
    if !scale.is_object() {
        return;
    }
    for (field, roots, told) in [
        (
            "specReplicasPath",
            &[".spec."][..],
            "should be a json path under .spec",
        ),
        (
            "statusReplicasPath",
            &[".status."],
            "should be a json path under .status",
        ),
        (
            "labelSelectorPath",
            &[".spec.", ".status."],
            "should be a json path under either .spec or .status",
        ),
    ] {
        let path = text(scale, field);
        let at = format!("{at}.scale.{field}");
        if path.is_empty() {
            if field != "labelSelectorPath" {
                causes.push(Cause::required(at, ""));
            }
        } else if !path.starts_with('.') {
            let problem = "must be a simple json path starting with .";
            causes.push(Cause::invalid(at, &json!(path), problem));
        } else if !roots.iter().any(|root| path.starts_with(root)) {
            causes.push(Cause::invalid(at, &json!(path), told));
        }
    }
}

fn check_column(column: &Value, at: &str, causes: &mut Vec<Cause>) {
    const TYPES: &str = "boolean,date,integer,number,string";
    const FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";
    if text(column, "name").is_empty() {
        causes.push(Cause::required(format!("{at}.name"), ""));
    }
    let kind = text(column, "type");
    let problem = format!("must be one of {TYPES}");
    if kind.is_empty() {
        causes.push(Cause::required(format!("{at}.type"), &problem));
    } else if !TYPES.split(',').any(|known| known == kind) {
        causes.push(Cause::invalid(format!("{at}.type"), &json!(kind), &problem));
    }
    let format = text(column, "format");
    if !format.is_empty() && !FORMATS.split(',').any(|known| known == format) {
        let problem = format!("must be one of {FORMATS}");
        causes.push(Cause::invalid(
            format!("{at}.format"),
            &json!(format),
            &problem,
        ));
    }
    let path = text(column, "jsonPath");
    let at = format!("{at}.JSONPath");
    if path.is_empty() {
        causes.push(Cause::required(at, ""));
    } else if !path.starts_with('.') {
        let problem = "must be a simple json path starting with .";
        causes.push(Cause::invalid(at, &json!(path), problem));
    }
}
