//! OpenAPI documents, as far as `kubectl` reads them: for `explain`, for the validation of what is
//! sent, and to see that the server validates fields itself.

mod gnostic;

use std::collections::BTreeSet;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::built_in::Definitions;
use super::core::Core;
use super::resources::{Origin, Registry, Resource};

/// Where the documents of version 3 are.
const ROOT: &str = "/openapi/v3";

/// The schema of the metadata of every object.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The two versions of OpenAPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One document for all.
    Two,
    /// One document for each group and version.
    Three,
}

/// The document of version 2, in JSON or, where that is asked for, protobuf.
pub(super) fn version_2(core: &Core, registry: &Registry, headers: &HeaderMap) -> Response {
    let told = json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths(registry.all().map(AsRef::as_ref), Form::Two),
        "definitions": schemas(core, registry.all().map(AsRef::as_ref), Form::Two),
    });
    let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
    let (media_type, body) = if accept.is_some_and(gnostic::is_accepted) {
        (gnostic::MEDIA_TYPE, gnostic::encode(&told))
    } else {
        ("application/json", told.to_string().into_bytes())
    };
    (StatusCode::OK, [(header::CONTENT_TYPE, media_type)], body).into_response()
}

/// The document of version 3 at a path, if it is one.
pub(super) fn version_3(core: &Core, registry: &Registry, path: &str) -> Option<Value> {
    let rest = path.strip_prefix(ROOT)?.trim_matches('/');
    if rest.is_empty() {
        return Some(root(registry));
    }
    let (group, version) = match rest.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return None,
    };
    let resources = || registry.in_version(&group, &version).map(AsRef::as_ref);
    resources().next()?;
    Some(json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths(resources(), Form::Three),
        "components": {"schemas": schemas(core, resources(), Form::Three)},
    }))
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.33.0"})
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

fn paths<'a>(resources: impl Iterator<Item = &'a Resource>, form: Form) -> Map<String, Value> {
    let mut paths = Map::new();
    for resource in resources {
        add_paths(resource, form, &mut paths);
    }
    paths
}

fn add_paths(resource: &Resource, form: Form, paths: &mut Map<String, Value>) {
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
            .map(|name| match form {
                Form::Two => json!({"name": name, "in": "query", "type": "string"}),
                Form::Three => {
                    json!({"name": name, "in": "query", "schema": {"type": "string"}})
                }
            })
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

/// The schemas of kinds and of all that they refer to, by name.
fn schemas<'a>(
    core: &Core,
    resources: impl Iterator<Item = &'a Resource>,
    form: Form,
) -> Map<String, Value> {
    let mut told = Map::new();
    for resource in resources {
        let named = match resource.origin {
            Origin::Custom => Some((custom_name(resource), custom_schema(core, resource))),
            Origin::BuiltIn => built_in(resource),
        };
        if let Some((name, mut schema)) = named {
            schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource)]);
            add(&mut told, &name, schema, form);
        }
    }
    told
}

/// Adds a schema and those that it refers to.
fn add(told: &mut Map<String, Value>, name: &str, mut schema: Value, form: Form) {
    let mut referred = BTreeSet::new();
    rewrite(&mut schema, form, &mut referred);
    told.insert(name.to_owned(), schema);
    for name in referred {
        if !told.contains_key(&name)
            && let Some(schema) = Definitions::shared().get(&name)
        {
            add(told, &name, schema.clone(), form);
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
    // What every object has is told as for the kinds that are built in.
    let definitions = Definitions::shared();
    let pod = definitions.name("v1", "Pod");
    let pod = pod.and_then(|pod| definitions.get(pod));
    let description = |name: &str| {
        let description = pod.map(|pod| &pod["properties"][name]["description"]);
        description.cloned().unwrap_or_default()
    };
    for name in ["apiVersion", "kind"] {
        properties[name] = json!({"type": "string", "description": description(name)});
    }
    properties["metadata"] = json!({
        "$ref": OBJECT_META,
        "description": description("metadata"),
        "default": {},
    });
    schema
}

/// Lets references point to where the document has them; notes their names.
fn rewrite(schema: &mut Value, form: Form, referred: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let name = reference.rsplit('/').next().unwrap_or(reference).to_owned();
                match form {
                    Form::Two => {
                        fields.insert("$ref".to_owned(), json!(format!("#/definitions/{name}")));
                    }
                    // OpenAPI 3.0 takes nothing beside a reference.
                    Form::Three => {
                        fields.remove("$ref");
                        let target = format!("#/components/schemas/{name}");
                        fields.insert("allOf".to_owned(), json!([{"$ref": target}]));
                    }
                }
                referred.insert(name);
                return;
            }
            for value in fields.values_mut() {
                rewrite(value, form, referred);
            }
        }
        Value::Array(items) => {
            for item in items {
                rewrite(item, form, referred);
            }
        }
        _ => {}
    }
}
