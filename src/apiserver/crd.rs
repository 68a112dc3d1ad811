//! CustomResourceDefinitions: what they register, and what becomes of their objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::accepted_names;
use super::admission;
use super::cel;
use super::core::Core;
use super::definition;
use super::deleting;
use super::request::Target;
use super::resources::{Column, Origin, Resource, Scale};
use super::schema::{Schema, strings};
use super::writing::Part;

/// Holds a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

fn is_definition(resource: &Resource) -> bool {
    resource.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

/// Fills in names and status of a definition, as the server and its controllers do. Of a status that
/// was written, what they do not see to stays: stored versions, and conditions of others.
pub(super) fn complete(
    core: &Core,
    resource: &Resource,
    part: Part,
    object: &mut Value,
    before: Option<&Value>,
) {
    if !is_definition(resource) || !object["spec"]["names"].is_object() {
        return;
    }
    if part == Part::Status {
        if !object["status"].is_object() {
            object["status"] = json!({});
        }
        accepted_names::settle(core, object);
        return;
    }
    let names = &mut object["spec"]["names"];
    let kind = names["kind"].as_str().unwrap_or_default().to_owned();
    if names["listKind"].as_str().unwrap_or_default().is_empty() {
        names["listKind"] = json!(format!("{kind}List"));
    }
    if names["singular"].as_str().unwrap_or_default().is_empty() {
        names["singular"] = json!(kind.to_lowercase());
    }
    let stored: Vec<Value> = object["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    object["status"] = match before {
        Some(before) => before["status"].clone(),
        None => json!({"storedVersions": []}),
    };
    let versions = &mut object["status"]["storedVersions"];
    if !versions.is_array() {
        *versions = json!([]);
    }
    for version in stored {
        if let Some(versions) = versions.as_array_mut().filter(|v| !v.contains(&version)) {
            versions.push(version);
        }
    }
    accepted_names::settle(core, object);
}

/// What the client is warned of when it writes a definition.
pub(super) fn warnings(resource: &Resource, object: &Value, before: Option<&Value>) -> Vec<String> {
    if is_definition(resource) {
        definition::warnings(object, before)
    } else {
        Vec::new()
    }
}

/// Serves what a definition that was stored describes.
pub(super) fn stored(core: &Core, resource: &Resource, object: &Value) {
    if is_definition(resource) {
        register(core, object);
    }
}

/// Serves what all definitions of a server that was restored describe.
pub(super) fn restored(core: &Core) {
    let registry = core.registry();
    let definitions = registry.all().find(|resource| is_definition(resource));
    let collection = definitions.map(|resource| resource.collection.clone());
    let listed = collection.map(|collection| core.store.list(&collection, None));
    for object in listed.iter().flat_map(|listed| &listed.objects) {
        register(core, &object.value);
    }
}

fn register(core: &Core, definition: &Value) {
    if !accepted_names::is_established(definition) {
        return;
    }
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let generation = definition["metadata"]["generation"].as_i64().unwrap_or(0);
    if core.registry().generation(name) == Some(generation) {
        return;
    }
    let resources = described(definition);
    core.change_registry(|registry| registry.register(name, generation, resources));
}

/// Follows the removal of an object: a definition is served no more; the last object of a
/// definition that is being deleted lets it go.
pub(super) fn removed(core: &Core, resource: &Resource, object: &Value) {
    if is_definition(resource) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        core.change_registry(|registry| registry.unregister(name));
        accepted_names::settle_others(core);
    } else if resource.origin == Origin::Custom && core.store.count(&resource.collection) == 0 {
        release(core, &resource.qualified());
    }
}

/// Takes the cleanup finalizer from a definition that is being deleted.
fn release(core: &Core, name: &str) {
    let registry = core.registry();
    let group = "apiextensions.k8s.io";
    let Some(definitions) = registry.find(group, "v1", "customresourcedefinitions") else {
        return;
    };
    let key = (String::new(), name.to_owned());
    while let Some(before) = core.object(definitions, &key) {
        if before.value["metadata"]["deletionTimestamp"].is_null() {
            return;
        }
        let mut after = before.value.clone();
        let finalizers = after["metadata"]["finalizers"].as_array_mut();
        if let Some(finalizers) = finalizers {
            finalizers.retain(|finalizer| finalizer != CLEANUP);
        }
        if super::writing::commit(core, definitions, &key, &before, after).is_ok() {
            return;
        }
    }
}

/// Marks a definition that is to be deleted as waiting for its objects.
pub(super) fn before_delete(core: &Core, resource: &Resource, object: &mut Value) {
    if !is_definition(resource) {
        return;
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let registry = core.registry();
    let has_objects = registry
        .all()
        .find(|r| r.origin == Origin::Custom && r.qualified() == name)
        .is_some_and(|r| core.store.count(&r.collection) > 0);
    let finalizers = &mut object["metadata"]["finalizers"];
    let listed = strings(Some(finalizers)).iter().any(|f| f == CLEANUP);
    if has_objects && !listed {
        match finalizers.as_array_mut() {
            Some(list) => list.push(json!(CLEANUP)),
            None => *finalizers = json!([CLEANUP]),
        }
    }
}

/// Deletes the objects of a definition that is being deleted.
pub(super) fn after_delete(core: &Core, resource: &Resource, object: &Value) {
    if !is_definition(resource) {
        return;
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let registry = core.registry();
    let custom = registry
        .all()
        .find(|r| r.origin == Origin::Custom && r.qualified() == name);
    let Some(custom) = custom else { return };
    for object in core.store.list(&custom.collection, None).objects {
        let (namespace, name) = super::store::key_of(&object.value);
        let target = Target {
            group: custom.group.clone(),
            version: custom.version.clone(),
            namespace: Some(namespace).filter(|n| !n.is_empty()),
            plural: custom.plural.clone(),
            name: Some(name),
            subresource: None,
        };
        // An object that went by itself meanwhile is what was wanted.
        let _ = deleting::delete(core, custom, &target, &deleting::Options::default());
    }
}

/// The resources that a definition describes, one for each version that is served.
fn described(definition: &Value) -> Vec<Arc<Resource>> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&names["plural"]));
    let collection: Arc<str> = format!("{plural}.{group}").into();
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let stored = versions.iter().find(|version| version["storage"] == true);
    let stored_as = stored.map_or_else(String::new, |v| format!("{group}/{}", text(&v["name"])));
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| {
            let written = &version["schema"]["openAPIV3Schema"];
            let mut schema = Schema::parse(written).unwrap_or_else(|_| Schema::open());
            // Rules that do not compile were refused when the definition was written.
            let _ = cel::compile(&mut schema, written, "");
            let subresources = &version["subresources"];
            Arc::new(Resource {
                group: group.clone(),
                version: text(&version["name"]),
                plural: plural.clone(),
                singular: text(&names["singular"]),
                kind: text(&names["kind"]),
                list_kind: text(&names["listKind"]),
                namespaced: spec["scope"] == "Namespaced",
                short_names: strings(names.get("shortNames")),
                categories: strings(names.get("categories")),
                origin: Origin::Custom,
                status: subresources["status"].is_object(),
                scale: scale(&subresources["scale"]),
                generation: true,
                unconditional: false,
                schema: Arc::new(admission::with_object_fields(schema)),
                columns: columns(&version["additionalPrinterColumns"]),
                collection: collection.clone(),
                stored_as: stored_as.clone(),
            })
        })
        .collect()
}

fn scale(written: &Value) -> Option<Scale> {
    let path = |name: &str| -> Option<Vec<String>> {
        let text = written[name].as_str()?;
        Some(
            text.split('.')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    };
    Some(Scale {
        spec_replicas: path("specReplicasPath")?,
        status_replicas: path("statusReplicasPath")?,
        selector: Some(path("labelSelectorPath").unwrap_or_default()),
    })
}

fn columns(written: &Value) -> Vec<Column> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some(written) = written.as_array() else {
        return vec![Column {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            path: ".metadata.creationTimestamp".to_owned(),
        }];
    };
    written
        .iter()
        .map(|column| Column {
            name: text(&column["name"]),
            kind: text(&column["type"]),
            format: text(&column["format"]),
            description: text(&column["description"]),
            priority: column["priority"].as_i64().unwrap_or(0),
            path: text(&column["jsonPath"]),
        })
        .collect()
}
