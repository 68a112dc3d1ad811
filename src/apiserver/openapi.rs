//! OpenAPI version 3 documents, as far as `kubectl` reads them: for `explain`, and to see that the
//! server validates fields itself.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::built_in::Definitions;
use super::core::Core;
use super::resources::{Origin, Registry, Resource};

const ROOT: &str = "/openapi/v3";

/// The schema of the metadata of every object.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The document for a path, if it is one.
pub(super) fn document(core: &Core, registry: &Registry, path: &str) -> Option<Value> {
    let rest = path.strip_prefix(ROOT)?.trim_matches('/');
    if rest.is_empty() {
        return Some(root(registry));
    }
    let (group, version) = match rest.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return None,
    };
    let resources: Vec<_> = registry.in_version(&group, &version).collect();
    if resources.is_empty() {
        return None;
    }
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for resource in resources {
        schemas.add_kind(core, resource);
        add_paths(resource, &mut paths);
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.33.0"},
        "paths": paths,
        "components": {"schemas": schemas.told},
    }))
}

fn root(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for resource in registry.all() {
        let path = match resource.group.as_str() {
            "" => format!("api/{}", resource.version),
            group => format!("apis/{group}/{}", resource.version),
        };
        let url = format!("{ROOT}/{path}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

fn kind_of(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn add_paths(resource: &Resource, paths: &mut Map<String, Value>) {
    let base = match resource.group.as_str() {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let place = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{base}{place}/{}", resource.plural);
    let operation = |action: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
            .collect();
        json!({
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind_of(resource),
        })
    };
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    let apply = ["dryRun", "fieldManager", "fieldValidation", "force"];
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": operation("get", &[]),
            "put": operation("put", &write),
            "patch": operation("patch", &apply),
            "delete": operation("delete", &["dryRun", "propagationPolicy"]),
        }),
    );
    paths.insert(
        collection,
        json!({
            "get": operation("list", &["labelSelector", "fieldSelector", "limit", "continue"]),
            "post": operation("post", &write),
        }),
    );
}

/// The schemas of a document: kinds and all that they refer to.
#[derive(Default)]
struct Schemas {
    told: Map<String, Value>,
}

impl Schemas {
    fn add_kind(&mut self, core: &Core, resource: &Resource) {
        let (name, mut schema) = match resource.origin {
            Origin::Custom => (custom_name(resource), custom_schema(core, resource)),
            Origin::BuiltIn => {
                let Some((name, schema)) = built_in(resource) else {
                    return;
                };
                (name, schema)
            }
        };
        schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource)]);
        self.add(&name, schema);
    }

    /// Adds a schema and those that it refers to.
    fn add(&mut self, name: &str, mut schema: Value) {
        let mut referred = BTreeSet::new();
        rewrite(&mut schema, &mut referred);
        self.told.insert(name.to_owned(), schema);
        for name in referred {
            if !self.told.contains_key(&name)
                && let Some(schema) = Definitions::shared().get(&name)
            {
                self.add(&name, schema.clone());
            }
        }
    }
}

/// The name and the schema of a built-in kind.
fn built_in(resource: &Resource) -> Option<(String, Value)> {
    let definitions = Definitions::shared();
    let name = definitions.name(&resource.api_version(), &resource.kind)?;
    Some((name.to_owned(), definitions.get(name)?.clone()))
}

/// `dev.example.v1.Widget`.
fn custom_name(resource: &Resource) -> String {
    let mut parts: Vec<&str> = resource.group.split('.').rev().collect();
    parts.push(&resource.version);
    parts.push(&resource.kind);
    parts.join(".")
}

fn custom_schema(core: &Core, resource: &Resource) -> Value {
    let key = (String::new(), resource.qualified());
    let definitions = "customresourcedefinitions.apiextensions.k8s.io";
    let mut schema = core
        .store
        .get(definitions, &key)
        .and_then(|definition| {
            let versions = definition.value["spec"]["versions"].as_array()?.clone();
            let version = versions
                .into_iter()
                .find(|v| v["name"] == *resource.version)?;
            Some(version["schema"]["openAPIV3Schema"].clone())
        })
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({"type": "object"}));
    let properties = &mut schema["properties"];
    if !properties.is_object() {
        *properties = json!({});
    }
    for (name, description) in [
        (
            "apiVersion",
            "The version of the schema that this object is written in.",
        ),
        ("kind", "The kind of object that this is."),
    ] {
        properties[name] = json!({"type": "string", "description": description});
    }
    properties["metadata"] = json!({
        "allOf": [{"$ref": format!("#/components/schemas/{OBJECT_META}")}],
        "description": "Name, labels and the like.",
        "default": {},
    });
    schema
}

/// Lets references point to where the document has them; notes their names.
fn rewrite(schema: &mut Value, referred: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let name = reference.rsplit('/').next().unwrap_or(reference).to_owned();
                let target = json!({"$ref": format!("#/components/schemas/{name}")});
                referred.insert(name);
                fields.remove("$ref");
                // OpenAPI 3.0 takes nothing beside a reference.
                fields.insert("allOf".to_owned(), json!([target]));
                return;
            }
            fields
                .values_mut()
                .for_each(|value| rewrite(value, referred));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, referred)),
        _ => {}
    }
}
