//! What a schema of a CustomResourceDefinition may say, beyond being structural.
//!
//! # Source
//! `ValidateCustomResourceDefinitionOpenAPISchema` of `apiextensions-apiserver`.

use serde_json::{Map, Value, json};

use super::failure::Cause;
use super::field_paths;
use super::schema::{Schema, strings};
use super::structural::{fields, flag, text};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// Keywords that are not supported, with their names in the message.
const UNSUPPORTED: &[&str] = &[
    "$ref",
    "additionalItems",
    "definitions",
    "dependencies",
    "id",
    "patternProperties",
];

const REASONS: &[&str] = &[
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// All that a schema says and may not.
pub(super) fn problems(written: &Value, at: &str) -> Vec<Cause> {
    let mut walk = Walk { causes: Vec::new() };
    let scope = Scope {
        root: true,
        in_metadata: false,
        no_defaults: None,
    };
    walk.node(written, at, &scope);
    walk.causes
}

#[derive(Clone)]
struct Scope {
    root: bool,
    in_metadata: bool,
    /// Why there may be no defaults.
    no_defaults: Option<String>,
}

struct Walk {
    causes: Vec<Cause>,
}

impl Walk {
    fn forbid(&mut self, at: String, problem: &str) {
        self.causes.push(Cause::forbidden(at, problem));
    }

    fn require(&mut self, at: String, problem: &str) {
        self.causes.push(Cause::required(at, problem));
    }

    fn refuse(&mut self, at: String, value: &Value, problem: &str) {
        self.causes.push(Cause::invalid(at, value, problem));
    }

    fn node(&mut self, written: &Value, at: &str, scope: &Scope) {
        self.keywords(written, at, scope);
        self.children(written, at, scope);
        self.extensions(written, at);
        if text(written, "x-kubernetes-list-type") == "map" {
            self.list_map(written, at);
        }
        self.list_items(written, at);
        let rules = written["x-kubernetes-validations"].as_array();
        for (index, rule) in rules.into_iter().flatten().enumerate() {
            let at = format!("{at}.x-kubernetes-validations[{index}]");
            self.rule(written, rule, &at);
        }
    }

    fn keywords(&mut self, written: &Value, at: &str, scope: &Scope) {
        let kind = text(written, "type");
        if kind == "null" {
            let problem = "type cannot be set to null, use nullable as an alternative";
            self.forbid(format!("{at}.type"), problem);
        } else if !kind.is_empty() && !TYPES.contains(&kind) {
            let known: Vec<Value> = TYPES.iter().map(|name| json!(name)).collect();
            let at = format!("{at}.type");
            self.causes
                .push(Cause::unsupported(at, &json!(kind), &known));
        }
        if let (false, Some(reason)) = (written["default"].is_null(), &scope.no_defaults) {
            self.forbid(
                format!("{at}.default"),
                &format!("must not be set {reason}"),
            );
        }
        for name in UNSUPPORTED {
            let said = &written[*name];
            let empty = said.as_object().is_some_and(Map::is_empty) || *said == "";
            if !said.is_null() && !empty {
                self.forbid(format!("{at}.{name}"), &format!("{name} is not supported"));
            }
        }
        if written["items"].is_array() {
            let problem = "items must be a schema object and not an array";
            self.forbid(format!("{at}.items"), problem);
        }
        if scope.in_metadata && flag(written, "x-kubernetes-embedded-resource") {
            let at = format!("{at}.x-kubernetes-embedded-resource");
            self.forbid(at, "must not be used inside of resource meta");
        }
        if flag(written, "uniqueItems") {
            let problem = "uniqueItems cannot be set to true since the runtime complexity becomes \
                           quadratic";
            self.forbid(format!("{at}.uniqueItems"), problem);
        }
    }

    fn children(&mut self, written: &Value, at: &str, scope: &Scope) {
        let inner = Scope {
            root: false,
            ..scope.clone()
        };
        let additional = &written["additionalProperties"];
        let has_properties = fields(written, "properties").next().is_some();
        if has_properties && (additional.is_object() || *additional == false) {
            let problem = "additionalProperties and properties are mutual exclusive";
            self.forbid(format!("{at}.additionalProperties"), problem);
        }
        if additional.is_object() {
            let mut scope = inner.clone();
            if scope.in_metadata {
                let reason = "inside additionalProperties applying to object metadata";
                scope.no_defaults = Some(reason.to_owned());
            }
            self.node(additional, &format!("{at}.additionalProperties"), &scope);
        }
        let is_resource = scope.root || flag(written, "x-kubernetes-embedded-resource");
        for (name, property) in fields(written, "properties") {
            let mut inner = inner.clone();
            if is_resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
                inner.in_metadata = true;
                if scope.root {
                    inner.no_defaults = Some(format!("in top-level {name}"));
                }
            }
            self.node(property, &format!("{at}.properties[{name}]"), &inner);
        }
        for name in ["allOf", "oneOf", "anyOf"] {
            for (index, part) in written[name].as_array().into_iter().flatten().enumerate() {
                self.node(part, &format!("{at}.{name}[{index}]"), &inner);
            }
        }
        for name in ["not", "items"] {
            if written[name].is_object() {
                self.node(&written[name], &format!("{at}.{name}"), &inner);
            }
        }
    }

    fn extensions(&mut self, written: &Value, at: &str) {
        if written["x-kubernetes-preserve-unknown-fields"] == false {
            let at = format!("{at}.x-kubernetes-preserve-unknown-fields");
            self.refuse(at, &json!(false), "must be true or undefined");
        }
        for (name, wanted, known) in [
            (
                "x-kubernetes-map-type",
                "object",
                &["atomic", "granular"][..],
            ),
            ("x-kubernetes-list-type", "array", &["atomic", "set", "map"]),
        ] {
            let Some(said) = written[name].as_str() else {
                continue;
            };
            let kind = text(written, "type");
            if kind != wanted {
                let problem = format!("must be {wanted} if {name} is specified");
                let at = format!("{at}.type");
                match kind {
                    "" => self.require(at, &problem),
                    kind => self.refuse(at, &json!(kind), &problem),
                }
            }
            if !known.contains(&said) {
                let known: Vec<Value> = known.iter().map(|name| json!(name)).collect();
                let at = format!("{at}.{name}");
                self.causes
                    .push(Cause::unsupported(at, &json!(said), &known));
            }
        }
        let keys = strings(written.get("x-kubernetes-list-map-keys"));
        if !keys.is_empty() && text(written, "x-kubernetes-list-type") != "map" {
            let at = format!("{at}.x-kubernetes-list-type");
            let problem = "must be map if x-kubernetes-list-map-keys is non-empty";
            match text(written, "x-kubernetes-list-type") {
                "" => self.require(at, problem),
                other => self.refuse(at, &json!(other), problem),
            }
        }
    }

    fn list_map(&mut self, written: &Value, at: &str) {
        let keys_at = format!("{at}.x-kubernetes-list-map-keys");
        let keys = strings(written.get("x-kubernetes-list-map-keys"));
        if keys.is_empty() {
            let problem = "must not be empty if x-kubernetes-list-type is map";
            self.require(keys_at.clone(), problem);
        }
        let items = &written["items"];
        if !items.is_object() {
            let problem = "must have a schema if x-kubernetes-list-type is map";
            self.require(format!("{at}.items"), problem);
            return;
        }
        if text(items, "type") != "object" {
            let problem = "must be object if parent array's x-kubernetes-list-type is map";
            let kind = json!(text(items, "type"));
            self.refuse(format!("{at}.items.type"), &kind, problem);
            return;
        }
        for (index, key) in keys.iter().enumerate() {
            let property = &items["properties"][key];
            if !property.is_object() {
                let problem = "entries must all be names of item properties";
                self.refuse(keys_at.clone(), &json!(keys), problem);
            } else if matches!(text(property, "type"), "array" | "object") {
                let at = format!("{at}.items.properties[{key}].type");
                let problem =
                    "must be a scalar type if parent array's x-kubernetes-list-type is map";
                self.refuse(at, &json!(text(items, "type")), problem);
            }
            if keys[..index].contains(key) {
                self.refuse(
                    keys_at.clone(),
                    &json!(keys),
                    "must not contain duplicate entries",
                );
            }
        }
        self.list_map_keys(items, &keys, at);
    }

    /// Keys must be there in every item.
    fn list_map_keys(&mut self, items: &Value, keys: &[String], at: &str) {
        let required = strings(items.get("required"));
        for key in keys {
            let property = &items["properties"][key];
            let at = format!("{at}.items.properties[{key}]");
            if property.is_object() && !required.contains(key) && property["default"].is_null() {
                let problem = "this property is in x-kubernetes-list-map-keys, so it must have a \
                               default or be a required property";
                self.require(format!("{at}.default"), problem);
            }
            if flag(property, "nullable") {
                let problem = "this property is in x-kubernetes-list-map-keys, so it cannot be \
                               nullable";
                self.forbid(format!("{at}.nullable"), problem);
            }
        }
    }

    fn list_items(&mut self, written: &Value, at: &str) {
        let (list, items) = (text(written, "x-kubernetes-list-type"), &written["items"]);
        if matches!(list, "set" | "map") && flag(items, "nullable") {
            let problem = format!("cannot be nullable when x-kubernetes-list-type is {list}");
            self.forbid(format!("{at}.items.nullable"), &problem);
        }
        let name = match text(items, "type") {
            "array" => "x-kubernetes-list-type",
            "object" => "x-kubernetes-map-type",
            _ => return,
        };
        let said = text(items, name);
        let atomic = said == "atomic" || said.is_empty() && text(items, "type") == "array";
        if list == "set" && !atomic {
            let problem = "must be atomic as item of a list with x-kubernetes-list-type=set";
            self.refuse(
                format!("{at}.items.{name}"),
                &items["x-kubernetes-list-type"],
                problem,
            );
        }
    }

    /// What is wrong with a rule, its expressions apart.
    fn rule(&mut self, schema: &Value, rule: &Value, at: &str) {
        let (expression, message) = (text(rule, "rule").trim(), text(rule, "message"));
        if expression.is_empty() {
            self.require(format!("{at}.rule"), "rule is not specified");
        } else if !message.is_empty() && message.trim().is_empty() {
            let at = format!("{at}.message");
            self.refuse(at, &json!(message), "must be non-empty if specified");
        } else if has_line_break(message.trim()) {
            let at = format!("{at}.message");
            self.refuse(at, &json!(message), "must not contain line breaks");
        } else if has_line_break(expression) && message.is_empty() {
            let problem = "message must be specified if rule contains line breaks";
            self.require(format!("{at}.message"), problem);
        }
        let computed = text(rule, "messageExpression");
        if !computed.is_empty() && computed.trim().is_empty() {
            let problem = "messageExpression must be non-empty if specified";
            self.require(format!("{at}.messageExpression"), problem);
        }
        if let Some(reason) = rule["reason"].as_str().filter(|r| !REASONS.contains(r)) {
            let known: Vec<Value> = REASONS.iter().map(|name| json!(name)).collect();
            let at = format!("{at}.reason");
            self.causes
                .push(Cause::unsupported(at, &json!(reason), &known));
        }
        let path = text(rule, "fieldPath");
        let problem = match path {
            "" => return,
            path if path.trim().is_empty() => "must be non-empty if specified",
            path if has_line_break(path) => "must not contain line breaks",
            path => {
                let schema = Schema::parse(schema);
                if schema.is_ok_and(|schema| field_paths::normalized(&schema, path).is_some()) {
                    return;
                }
                "must be a valid path"
            }
        };
        self.refuse(format!("{at}.fieldPath"), &json!(path), problem);
    }
}

fn has_line_break(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(property: &Value) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"a": property}});
        let causes = problems(&schema, "at");
        let told = causes.iter().map(|c| format!("{}: {}", c.field, c.message));
        told.collect()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn what_a_schema_may_not_say_is_told() {
        for (property, wanted) in [
            (
                json!({"type": "text"}),
                "type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \
                 \"integer\", \"number\", \"object\", \"string\"",
            ),
            (
                json!({"$ref": "#/x"}),
                "$ref: Forbidden: $ref is not supported",
            ),
            (
                json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}}),
                "uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime \
                 complexity becomes quadratic",
            ),
            (
                json!({"type": "object", "properties": {"b": {"type": "string"}},
                    "additionalProperties": {"type": "string"}}),
                "additionalProperties: Forbidden: additionalProperties and properties are mutual \
                 exclusive",
            ),
            (
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false}),
                "x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or \
                 undefined",
            ),
            (
                json!({"type": "object", "x-kubernetes-list-type": "set"}),
                "type: Invalid value: \"object\": must be array if x-kubernetes-list-type is \
                 specified",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "set",
                    "items": {"type": "object"}}),
                "items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list \
                 with x-kubernetes-list-type=set",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["n"],
                    "items": {"type": "object", "properties": {"n": {"type": "string"}}}}),
                "items.properties[n].default: Required value: this property is in \
                 x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "map",
                    "items": {"type": "object", "properties": {"n": {"type": "string"}}}}),
                "x-kubernetes-list-map-keys: Required value: must not be empty if \
                 x-kubernetes-list-type is map",
            ),
            (
                json!({"type": "string", "x-kubernetes-validations": [{"rule": " "}]}),
                "x-kubernetes-validations[0].rule: Required value: rule is not specified",
            ),
            (
                json!({"type": "string", "x-kubernetes-validations": [{"rule": "a\nb"}]}),
                "x-kubernetes-validations[0].message: Required value: message must be specified if \
                 rule contains line breaks",
            ),
            (
                json!({"type": "object", "properties": {"b": {"type": "string"}},
                    "x-kubernetes-validations": [{"rule": "true", "fieldPath": ".c"}]}),
                "x-kubernetes-validations[0].fieldPath: Invalid value: \".c\": must be a valid path",
            ),
        ] {
            let told = told(&property);
            assert_eq!(told, [format!("at.properties[a].{wanted}")], "{property}");
        }
    }

    #[test]
    fn the_root_has_no_defaults_of_its_own() {
        let schema = json!({"type": "object", "properties": {
            "kind": {"type": "string", "default": "Widget"},
        }});
        let causes = problems(&schema, "at");
        assert_eq!(causes[0].field, "at.properties[kind].default");
        assert_eq!(
            causes[0].message,
            "Forbidden: must not be set in top-level kind"
        );
    }
}
