//! Whether a schema is structural: says of every value what it is, so that objects can be pruned,
//! defaulted and merged without guessing.
//!
//! # Source
//! `apiextensions-apiserver/pkg/apiserver/schema/validation.go` and `complete.go`.

use serde_json::{Map, Value, json};

use super::failure::Cause;
use super::go_regex;

/// Where in a schema a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Items,
    Field,
}

/// All places in which a schema is not structural.
pub(super) fn problems(written: &Value, at: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(written, Level::Root, at, &mut causes);
    check_completeness(written, written, at, at, &mut causes);
    causes
}

pub(super) fn flag(written: &Value, name: &str) -> bool {
    written[name] == true
}

pub(super) fn text<'a>(written: &'a Value, name: &str) -> &'a str {
    written[name].as_str().unwrap_or_default()
}

pub(super) fn fields<'a>(
    written: &'a Value,
    name: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    written[name].as_object().into_iter().flatten()
}

fn check(written: &Value, level: Level, at: &str, causes: &mut Vec<Cause>) {
    if written["items"].is_object() {
        check(
            &written["items"],
            Level::Items,
            &format!("{at}.items"),
            causes,
        );
    } else if text(written, "type") == "array" {
        let problem = "must be specified";
        causes.push(Cause::required(format!("{at}.items"), problem));
    }
    for (name, property) in fields(written, "properties") {
        let at = format!("{at}.properties[{name}]");
        check(property, Level::Field, &at, causes);
    }
    if !written["additionalProperties"].is_null() {
        let at = format!("{at}.additionalProperties");
        if level == Level::Root {
            causes.push(Cause::forbidden(
                at.as_str(),
                "must not be used at the root",
            ));
        }
        if written["additionalProperties"].is_object() {
            check(&written["additionalProperties"], Level::Field, &at, causes);
        }
    }
    check_extensions(written, at, causes);
    check_values(
        written,
        has_either(written),
        first_has_either(written),
        at,
        causes,
    );
    check_type(written, level, at, causes);
    check_object_fields(written, level, at, causes);
}

fn check_extensions(written: &Value, at: &str, causes: &mut Vec<Cause>) {
    for name in [
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
    ] {
        if flag(written, "x-kubernetes-int-or-string") && flag(written, name) {
            let problem = "must be false if x-kubernetes-int-or-string is true";
            causes.push(Cause::invalid(
                format!("{at}.{name}"),
                &json!(true),
                problem,
            ));
        }
    }
}

fn check_type(written: &Value, level: Level, at: &str, causes: &mut Vec<Cause>) {
    let kind = text(written, "type");
    let at_type = || format!("{at}.type");
    let embedded = flag(written, "x-kubernetes-embedded-resource");
    let untyped = flag(written, "x-kubernetes-int-or-string")
        || flag(written, "x-kubernetes-preserve-unknown-fields");
    if embedded && kind != "object" {
        let problem = "must be object if x-kubernetes-embedded-resource is true";
        causes.push(match kind {
            "" => Cause::required(at_type(), problem),
            kind => Cause::invalid(at_type(), &json!(kind), problem),
        });
    } else if kind.is_empty() && !untyped {
        let problem = match level {
            Level::Root => "must not be empty at the root",
            Level::Items => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        causes.push(Cause::required(at_type(), problem));
    }
    if level == Level::Root && !matches!(kind, "" | "object") {
        let problem = "must be object at the root";
        causes.push(Cause::invalid(at_type(), &json!(kind), problem));
    }
}

/// What may be said about the fields that every object has.
fn check_object_fields(written: &Value, level: Level, at: &str, causes: &mut Vec<Cause>) {
    let embedded = flag(written, "x-kubernetes-embedded-resource");
    if embedded && !written["additionalProperties"].is_null() {
        let at = format!("{at}.additionalProperties");
        let problem = "must not be used if x-kubernetes-embedded-resource is set";
        causes.push(Cause::forbidden(at, problem));
    }
    let properties = &written["properties"];
    if embedded
        && !flag(written, "x-kubernetes-preserve-unknown-fields")
        && properties.as_object().is_none_or(Map::is_empty)
    {
        let problem = "must not be empty if x-kubernetes-embedded-resource is true without \
                       x-kubernetes-preserve-unknown-fields";
        causes.push(Cause::required(format!("{at}.properties"), problem));
    }
    if level != Level::Root && !embedded {
        return;
    }
    for (name, wanted) in [
        ("kind", "string"),
        ("apiVersion", "string"),
        ("metadata", "object"),
    ] {
        let property = &properties[name];
        if property.is_object() && text(property, "type") != wanted {
            let at = format!("{at}.properties[{name}].type");
            let problem = format!("must be {wanted}");
            causes.push(Cause::invalid(at, &json!(text(property, "type")), &problem));
        }
    }
    if level == Level::Root && !restricts_names_only(&properties["metadata"]) {
        let problem = "must not specify anything other than name and generateName, but metadata \
                       is implicitly specified";
        causes.push(Cause::forbidden(
            format!("{at}.properties[metadata]"),
            problem,
        ));
    }
}

fn restricts_names_only(metadata: &Value) -> bool {
    let known = |name: &String| matches!(name.as_str(), "name" | "generateName");
    fields(metadata, "properties").all(|(name, _)| known(name))
        && metadata.as_object().into_iter().flatten().all(|(name, _)| {
            // A default is refused elsewhere.
            matches!(name.as_str(), "type" | "properties" | "default")
        })
}

/// The one way to say in `anyOf` that a value is an integer or text.
fn either() -> Value {
    json!([{"type": "integer"}, {"type": "string"}])
}

fn has_either(written: &Value) -> bool {
    written["anyOf"] == either()
}

fn first_has_either(written: &Value) -> bool {
    written["allOf"][0]["anyOf"] == either()
}

/// Checks that the parts of `allOf` and the like only restrict values.
fn check_values(written: &Value, skip: bool, skip_first: bool, at: &str, causes: &mut Vec<Cause>) {
    for name in ["anyOf", "allOf", "oneOf"] {
        if name == "anyOf" && skip {
            continue;
        }
        for (index, part) in written[name].as_array().into_iter().flatten().enumerate() {
            let skip = name == "allOf" && index == 0 && skip_first;
            check_nested(part, skip, &format!("{at}.{name}[{index}]"), causes);
        }
    }
    if written["not"].is_object() {
        check_nested(&written["not"], false, &format!("{at}.not"), causes);
    }
    let pattern = text(written, "pattern");
    if let Err(problem) = go_regex::compile(pattern) {
        let problem = format!("must be a valid regular expression, but isn't: {problem}");
        causes.push(Cause::invalid(
            format!("{at}.pattern"),
            &json!(pattern),
            &problem,
        ));
    }
}

/// What may not stand in the parts of `allOf` and the like, and how it is told.
const NOT_NESTED: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    ),
    (
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    ),
    (
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    ),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

fn check_nested(written: &Value, skip: bool, at: &str, causes: &mut Vec<Cause>) {
    check_values(written, skip, false, at, causes);
    if written["items"].is_object() {
        check_nested(&written["items"], false, &format!("{at}.items"), causes);
    }
    for (name, property) in fields(written, "properties") {
        let at = format!("{at}.properties[{name}]");
        if name == "metadata" {
            let problem = "must not be specified in a nested context";
            causes.push(Cause::forbidden(at.as_str(), problem));
        }
        check_nested(property, false, &at, causes);
    }
    for (name, problem) in NOT_NESTED {
        let said = match &written[*name] {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        };
        if said {
            causes.push(Cause::forbidden(format!("{at}.{name}"), problem));
        }
    }
}

/// Checks that what `restriction` restricts is said to be there by the schema around it.
fn check_completeness(
    restriction: &Value,
    schema: &Value,
    at: &str,
    restriction_at: &str,
    causes: &mut Vec<Cause>,
) {
    let parts = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|name| {
        let list = restriction[name].as_array().into_iter().flatten();
        list.enumerate()
            .map(move |(index, part)| (part, format!("{restriction_at}.{name}[{index}]")))
    });
    let not = [(&restriction["not"], format!("{restriction_at}.not"))];
    for (part, part_at) in parts.chain(not.into_iter().filter(|(not, _)| not.is_object())) {
        check_completeness(part, schema, at, &part_at, causes);
        if part["items"].is_object() {
            let (at, part_at) = (format!("{at}.items"), format!("{part_at}.items"));
            check_part(&part["items"], &schema["items"], &at, &part_at, causes);
        }
        for (name, property) in fields(part, "properties") {
            let at = format!("{at}.properties[{name}]");
            let part_at = format!("{part_at}.properties[{name}]");
            check_part(property, &schema["properties"][name], &at, &part_at, causes);
        }
    }
}

fn check_part(
    restriction: &Value,
    schema: &Value,
    at: &str,
    restriction_at: &str,
    causes: &mut Vec<Cause>,
) {
    if schema.is_null() {
        let problem = format!("because it is defined in {restriction_at}");
        causes.push(Cause::required(at, &problem));
        return;
    }
    // As one part of an `allOf` around it.
    let around = json!({"allOf": [restriction]});
    let mut found = Vec::new();
    check_completeness(&around, schema, at, "", &mut found);
    causes.extend(found.into_iter().map(|mut cause| {
        cause.message = cause.message.replace(".allOf[0]", restriction_at);
        cause
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(written: &Value) -> Vec<String> {
        let causes = problems(written, "at");
        let told = causes.iter().map(|c| format!("{}: {}", c.field, c.message));
        told.collect()
    }

    fn with(name: &str, property: &Value) -> Value {
        json!({"type": "object", "properties": {name: property}})
    }

    #[test]
    fn structural_schemas_are_taken() {
        for property in [
            json!({"x-kubernetes-int-or-string": true}),
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!({"x-kubernetes-int-or-string": true, "allOf": [
                {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                {"pattern": "^[0-9]+%?$"},
            ]}),
            json!({"x-kubernetes-preserve-unknown-fields": true}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": "object", "additionalProperties": true}),
            json!({
                "type": "object",
                "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true,
            }),
            json!({"type": "object", "properties": {"a": {"type": "integer"}}, "oneOf": [
                {"required": ["a"]},
                {"not": {"properties": {"a": {"minimum": 3}}}},
            ]}),
        ] {
            assert_eq!(told(&with("a", &property)), [""; 0], "{property}");
        }
        let names =
            json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}}});
        assert_eq!(told(&with("metadata", &names)), [""; 0]);
    }

    #[test]
    fn each_place_that_is_not_structural_is_told() {
        for (property, wanted) in [
            (
                json!({}),
                "type: Required value: must not be empty for specified object fields",
            ),
            (
                json!({"type": "array"}),
                "items: Required value: must be specified",
            ),
            (
                json!({"type": "array", "items": {}}),
                "items.type: Required value: must not be empty for specified array items",
            ),
            (
                json!({"type": "object", "allOf": [{"type": "object"}]}),
                "allOf[0].type: Forbidden: must be empty to be structural",
            ),
            (
                json!({"type": "string", "not": {"description": "no"}}),
                "not.description: Forbidden: must be empty to be structural",
            ),
            (
                json!({"type": "string", "anyOf": [{"default": 1}]}),
                "anyOf[0].default: Forbidden: must be undefined to be structural",
            ),
            (
                json!({"x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
                "type: Required value: must be object if x-kubernetes-embedded-resource is true",
            ),
            (
                json!({"type": "object", "x-kubernetes-embedded-resource": true}),
                "properties: Required value: must not be empty if x-kubernetes-embedded-resource is \
                 true without x-kubernetes-preserve-unknown-fields",
            ),
            (
                json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true}),
                "x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if \
                 x-kubernetes-int-or-string is true",
            ),
            (
                json!({"type": "string", "pattern": "("}),
                "pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: \
                 error parsing regexp: unclosed group: `(`",
            ),
        ] {
            assert_eq!(
                told(&with("a", &property)),
                [format!("at.properties[a].{wanted}")]
            );
        }
    }

    #[test]
    fn the_root_is_an_object_with_its_own_metadata() {
        let wanted = "at.type: Required value: must not be empty at the root";
        assert_eq!(told(&json!({})), [wanted]);
        let wanted = "at.type: Invalid value: \"string\": must be object at the root";
        assert_eq!(told(&json!({"type": "string"})), [wanted]);
        let labels = json!({"type": "object", "properties": {"labels": {"type": "object"}}});
        assert_eq!(
            told(&with("metadata", &labels)),
            [
                "at.properties[metadata]: Forbidden: must not specify anything other than name and \
              generateName, but metadata is implicitly specified"
            ]
        );
        let open = json!({"type": "object", "additionalProperties": {"type": "string"}});
        let wanted = "at.additionalProperties: Forbidden: must not be used at the root";
        assert_eq!(told(&open), [wanted]);
    }

    #[test]
    fn what_is_restricted_must_be_there() {
        let schema = json!({
            "type": "object",
            "properties": {"spec": {"type": "object"}},
            "oneOf": [{"properties": {"spec": {"properties": {"a": {"minimum": 1}}}}}],
        });
        assert_eq!(
            told(&schema),
            [
                "at.properties[spec].properties[a]: Required value: because it is defined in \
              at.oneOf[0].properties[spec].properties[a]"
            ]
        );
    }
}
