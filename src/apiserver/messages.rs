//! The Go types of built-in kinds, as far as their schemas do not tell them.
//!
//! `protobuf.txt` lists them as messages: a line with a name, then a line for each field with its
//! number, name, `one`, `list` or `map`, and type. `omitempty` ends the line of a number or a flag
//! that Go's JSON leaves out when it is zero; words with commas between them are all that a text may
//! be. The fields are those of the `generated.proto` and `types.go` files of Kubernetes 1.36.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

/// Fields that Go's JSON writes as fields of the object around them.
const INLINE: &[&str] = &[
    "volumeSource",
    "persistentVolumeSource",
    "handler",
    "localObjectReference",
    "ephemeralContainerCommon",
    "ingressRuleValue",
];

#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: Label,
    pub(super) kind: &'static str,
    /// Go leaves it out when it is zero.
    omit_zero: bool,
    /// All that the text may be; empty for texts that are free.
    words: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    One,
    List,
    Map,
}

impl Field {
    /// Whether Go's JSON writes the fields of this one as fields of the object around it.
    pub(super) fn is_inline(&self) -> bool {
        INLINE.contains(&self.name)
    }
}

/// The fields of a type, by number.
pub(super) type Message = HashMap<u64, Field>;

/// All types, by name: `apps.v1.Deployment`.
pub(super) fn all() -> &'static HashMap<&'static str, Message> {
    static MESSAGES: OnceLock<HashMap<&'static str, Message>> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let mut messages: HashMap<&str, Message> = HashMap::new();
        let mut current = "";
        for line in include_str!("protobuf.txt").lines() {
            let parts: Vec<&str> = line.split(' ').collect();
            let [number, name, label, kind, marks @ ..] = parts.as_slice() else {
                current = line;
                messages.entry(line).or_default();
                continue;
            };
            let Ok(number) = number.parse() else { continue };
            let mark = marks.first().copied().unwrap_or_default();
            let field = Field {
                name,
                label: match *label {
                    "list" => Label::List,
                    "map" => Label::Map,
                    _ => Label::One,
                },
                kind,
                omit_zero: mark == "omitempty",
                words: if mark == "omitempty" { "" } else { mark },
            };
            messages.entry(current).or_default().insert(number, field);
        }
        messages
    })
}

/// The type of a kind.
pub(super) fn name(api_version: &str, kind: &str) -> String {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    format!("{group}.{version}.{kind}")
}

/// What Go's decoder says of a value of the wrong type at a path in an object of a type; `None` where
/// the type decodes itself.
pub(super) fn type_problem(name: &str, object: &Value, path: &str) -> Option<String> {
    let mut current = name;
    let mut value = object;
    let mut steps = path.split('.').peekable();
    let mut names = Vec::new();
    while let Some(step) = steps.next() {
        let (step, index) = step.split_once('[').unwrap_or((step, ""));
        let field = field(all().get(current)?, step)?;
        let index = index.trim_end_matches(']').parse::<usize>().ok();
        names.push(step);
        value = &value[step];
        value = index.map_or(value, |index| &value[index]);
        let next = steps.peek().copied();
        let key = next.filter(|_| field.label == Label::Map);
        value = key.map_or(value, |key| &value[key]);
        if key.is_some() || next.is_none() {
            let is_element = index.is_some() || key.is_some();
            return Some(format!(
                "json: cannot unmarshal {} into Go struct field {}.{} of type {}",
                json_kind(value)?,
                current.rsplit('.').next()?,
                names.join("."),
                go_type(field, is_element)?,
            ));
        }
        current = field.kind;
    }
    None
}

fn field<'a>(message: &'a Message, name: &str) -> Option<&'a Field> {
    let inner = |field: &&Field| {
        let message = all().get(field.kind).filter(|_| field.is_inline());
        message.is_some_and(|message| self::field(message, name).is_some())
    };
    if let Some(found) = message.values().find(|field| field.name == name) {
        return Some(found);
    }
    let inline = message.values().find(inner)?;
    self::field(all().get(inline.kind)?, name)
}

fn json_kind(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null => None,
        Value::Bool(_) => Some("bool"),
        Value::Number(_) => Some("number"),
        Value::String(_) => Some("string"),
        Value::Array(_) => Some("array"),
        Value::Object(_) => Some("object"),
    }
}

fn go_type(field: &Field, is_element: bool) -> Option<String> {
    let element = match field.kind {
        "Quantity" | "IntOrString" | "RawExtension" => return None,
        "bytes" => "[]uint8".to_owned(),
        "double" => "float64".to_owned(),
        kind => match kind.rsplit_once('.') {
            Some((package, name)) => format!("{}.{name}", package.rsplit('.').next()?),
            None => kind.to_owned(),
        },
    };
    Some(match field.label {
        Label::List if !is_element => format!("[]{element}"),
        Label::Map if !is_element => format!("map[string]{element}"),
        _ => element,
    })
}

/// Adds to the definitions of types what their texts may be.
pub(super) fn add_enums(types: &mut Map<String, Value>) {
    for (name, message) in all() {
        let package =
            ["io.k8s.api", "io.k8s.apimachinery.pkg.apis"][usize::from(name.starts_with("meta."))];
        let definition = types.get_mut(&format!("{package}.{name}"));
        if let Some(properties) = definition.and_then(|d| d.get_mut("properties")) {
            add_enums_in(message, properties);
        }
    }
}

fn add_enums_in(message: &Message, properties: &mut Value) {
    for field in message.values() {
        if let Some(inner) = all().get(field.kind).filter(|_| field.is_inline()) {
            add_enums_in(inner, properties);
        }
        if field.words.is_empty() {
            continue;
        }
        let Some(property) = properties.get_mut(field.name) else {
            continue;
        };
        let place = match field.label {
            Label::List => &mut property["items"],
            Label::One | Label::Map => property,
        };
        place["enum"] = field.words.split(',').collect();
    }
}

/// Takes out of an object of a type what Go's JSON would not write: numbers and flags that are zero
/// where nobody can tell whether they were set.
pub(super) fn omit_zeros(name: &str, object: &mut Value) {
    if let (Some(message), Some(fields)) = (all().get(name), object.as_object_mut()) {
        omit_in(message, fields);
    }
}

fn omit_in(message: &Message, fields: &mut Map<String, Value>) {
    for field in message.values() {
        if field.is_inline() {
            if let Some(inner) = all().get(field.kind) {
                omit_in(inner, fields);
            }
            continue;
        }
        let Some(value) = fields.get_mut(field.name) else {
            continue;
        };
        match (field.label, value) {
            (Label::One, value) if field.omit_zero => {
                let is_zero = *value == 0 || *value == false;
                if is_zero {
                    fields.remove(field.name);
                }
            }
            (Label::One, value) => omit_zeros(field.kind, value),
            (Label::List, Value::Array(items)) => {
                for item in items {
                    omit_zeros(field.kind, item);
                }
            }
            (Label::Map, Value::Object(entries)) => {
                for value in entries.values_mut() {
                    omit_zeros(field.kind, value);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zeros_that_go_leaves_out_go() {
        let container =
            json!({"name": "c", "tty": false, "ports": [{"containerPort": 0, "hostPort": 0}]});
        let pod = json!({"hostNetwork": false, "automountServiceAccountToken": false,
            "containers": [container]});
        let mut deployment = json!({
            "spec": {"replicas": 0, "minReadySeconds": 0, "paused": false,
                "template": {"spec": pod}},
            "status": {"replicas": 0, "readyReplicas": 1},
        });
        omit_zeros(&name("apps/v1", "Deployment"), &mut deployment);
        let container = json!({"name": "c", "ports": [{"containerPort": 0}]});
        let pod = json!({"automountServiceAccountToken": false, "containers": [container]});
        assert_eq!(
            deployment,
            json!({
                "spec": {"replicas": 0, "template": {"spec": pod}},
                "status": {"readyReplicas": 1},
            })
        );
    }

    #[test]
    fn a_wrong_type_is_told_as_go_does() {
        let container = json!({"name": 1, "args": "x", "ports": [{"containerPort": "http"}],
            "command": [true]});
        let object = json!({
            "metadata": {"labels": {"a": 1}},
            "spec": {"replicas": "many", "paused": [], "template": {"spec": {
                "containers": [container], "volumes": [{"emptyDir": 1}]}}},
        });
        for (path, told) in [
            (
                "spec.replicas",
                "string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                "spec.paused",
                "array into Go struct field DeploymentSpec.spec.paused of type bool",
            ),
            (
                "metadata.labels.a",
                "number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                "spec.template.spec.containers[0].ports[0].containerPort",
                "string into Go struct field \
                 ContainerPort.spec.template.spec.containers.ports.containerPort of type int32",
            ),
            (
                "spec.template.spec.containers[0].args",
                "string into Go struct field Container.spec.template.spec.containers.args of type \
                 []string",
            ),
            (
                "spec.template.spec.containers[0].command[0]",
                "bool into Go struct field Container.spec.template.spec.containers.command of type \
                 string",
            ),
            (
                "spec.template.spec.volumes[0].emptyDir",
                "number into Go struct field Volume.spec.template.spec.volumes.emptyDir of type \
                 v1.EmptyDirVolumeSource",
            ),
        ] {
            let found = type_problem(&name("apps/v1", "Deployment"), &object, path);
            let wanted = format!("json: cannot unmarshal {told}");
            assert_eq!(found.as_deref(), Some(wanted.as_str()), "{path}");
        }
    }

    #[test]
    fn every_built_in_type_is_listed() {
        for resource in super::super::built_in::resources() {
            // Kubernetes sends CustomResourceDefinitions as JSON.
            let listed = all().contains_key(name(&resource.api_version(), &resource.kind).as_str());
            assert_eq!(
                listed,
                resource.kind != "CustomResourceDefinition",
                "{}",
                resource.kind
            );
        }
    }

    #[test]
    fn every_type_that_a_field_has_is_known() {
        let special = [
            "Quantity",
            "IntOrString",
            "RawExtension",
            "string",
            "bytes",
            "bool",
        ];
        let numbers = ["int32", "int64", "double"];
        for field in all().values().flat_map(HashMap::values) {
            assert!(
                all().contains_key(field.kind)
                    || special.contains(&field.kind)
                    || numbers.contains(&field.kind)
                    || field.kind.starts_with("scheduling.v1alpha3."),
                "{}",
                field.kind
            );
        }
    }
}
