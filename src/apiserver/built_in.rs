//! The built-in kinds that are served, with the schemas of their Go types.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use super::kinds::{Feature, KINDS, Kind};
use super::messages;
use super::resources::{Origin, Resource, Scale};
use super::schema::{ListKind, Schema, Shape};

/// The built-in resources; built once.
pub(super) fn resources() -> Vec<Arc<Resource>> {
    static RESOURCES: OnceLock<Vec<Arc<Resource>>> = OnceLock::new();
    RESOURCES
        .get_or_init(|| {
            let definitions = Definitions::shared();
            let mut schemas = definitions.reader();
            KINDS
                .iter()
                .map(|kind| {
                    let name = definitions.name(&kind.api_version(), kind.name);
                    let schema = schemas.schema(name.unwrap_or_default());
                    Arc::new(resource(kind, schema))
                })
                .collect()
        })
        .clone()
}

fn resource(kind: &Kind, schema: Arc<Schema>) -> Resource {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let is_event = kind.name == "Event";
    let collection = match kind.group {
        "" => kind.plural.to_owned(),
        _ if is_event => kind.plural.to_owned(),
        group => format!("{}.{group}", kind.plural),
    };
    Resource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        plural: kind.plural.to_owned(),
        singular: kind.name.to_lowercase(),
        kind: kind.name.to_owned(),
        list_kind: format!("{}List", kind.name),
        namespaced: !kind.has(Feature::ClusterScoped),
        short_names: texts(kind.short_names),
        categories: texts(kind.categories),
        origin: Origin::BuiltIn,
        status: kind.has(Feature::Status),
        scale: kind.has(Feature::Scale).then(|| Scale {
            spec_replicas: vec!["spec".to_owned(), "replicas".to_owned()],
            status_replicas: vec!["status".to_owned(), "replicas".to_owned()],
            selector: None,
        }),
        generation: kind.has(Feature::Generation),
        unconditional: !kind.has(Feature::Conditional),
        schema,
        columns: Vec::new(),
        collection: collection.into(),
        stored_as: if is_event {
            "v1".to_owned()
        } else {
            kind.api_version()
        },
    }
}

/// The schema that the metadata of every object has.
pub(super) fn object_meta() -> Arc<Schema> {
    static META: OnceLock<Arc<Schema>> = OnceLock::new();
    META.get_or_init(|| {
        let mut reader = Definitions::shared().reader();
        reader.schema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    })
    .clone()
}

/// The OpenAPI definitions of the built-in types.
pub(super) struct Definitions {
    /// By full name.
    types: Map<String, Value>,
    /// The full names of kinds, by apiVersion and kind: `apps/v1/Deployment`.
    names: BTreeMap<String, String>,
}

impl Definitions {
    pub(super) fn shared() -> &'static Self {
        static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
        DEFINITIONS.get_or_init(|| {
            let mut generator = SchemaGenerator::default();
            let names = KINDS.iter().map(|kind| {
                let name = (kind.define)(&mut generator).into_owned();
                (format!("{}/{}", kind.api_version(), kind.name), name)
            });
            let names = names.collect();
            let mut types = generator.take_definitions(true);
            messages::add_enums(&mut types);
            Self { types, names }
        })
    }

    /// The full name of the type of a kind.
    pub(super) fn name(&self, api_version: &str, kind: &str) -> Option<&str> {
        let found = self.names.get(&format!("{api_version}/{kind}"));
        found.map(String::as_str)
    }

    /// The definition of a type, as OpenAPI writes it.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.types.get(name)
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            definitions: self,
            read: HashMap::new(),
        }
    }
}

/// Turns definitions into schemas, each once.
struct Reader<'a> {
    definitions: &'a Definitions,
    read: HashMap<String, Arc<Schema>>,
}

impl Reader<'_> {
    fn schema(&mut self, name: &str) -> Arc<Schema> {
        if let Some(schema) = self.read.get(name) {
            return schema.clone();
        }
        let schema = Arc::new(self.built(name));
        self.read.insert(name.to_owned(), schema.clone());
        schema
    }

    fn built(&mut self, name: &str) -> Schema {
        // The schema of schemas refers to itself; what stands there is kept as it is.
        if name.ends_with(".JSONSchemaProps") {
            return Schema::open();
        }
        if name.ends_with(".Quantity") {
            return Schema {
                shape: Shape::Quantity,
                ..Schema::default()
            };
        }
        let Some(written) = self.definitions.get(name) else {
            return Schema::open();
        };
        let mut resolve = |reference: &str| {
            let name = reference.rsplit('/').next().unwrap_or(reference);
            self.schema(name)
        };
        let mut schema = Schema::read(written, &mut resolve).unwrap_or_else(|_| Schema::open());
        as_go_type(&mut schema);
        schema
    }
}

/// What Go's types know beyond their OpenAPI text.
fn as_go_type(schema: &mut Schema) {
    schema.typed = true;
    // A type without fields holds free content: RawExtension, FieldsV1.
    if schema.shape == Shape::Object && schema.properties.is_empty() && schema.additional.is_none()
    {
        schema.preserve = true;
    }
    for (name, property) in &mut schema.properties {
        let mut changed = Schema::clone(property);
        if !changed.typed {
            as_go_type(&mut changed);
        }
        if changed.shape == Shape::Array {
            changed.list = list_kind(name, changed.items.as_deref());
        }
        // The one default that identifies items: `ports` are keyed by number and protocol.
        if name == "protocol" {
            changed.default = Some(Value::from("TCP"));
        }
        *property = Arc::new(changed);
    }
    for child in [&mut schema.items, &mut schema.additional]
        .into_iter()
        .flatten()
    {
        if !child.typed {
            let mut changed = Schema::clone(child);
            as_go_type(&mut changed);
            *child = Arc::new(changed);
        }
    }
}

/// How the lists of built-in types merge: `listType` and `listMapKeys` of the Go types.
fn list_kind(name: &str, items: Option<&Schema>) -> ListKind {
    let has = |field: &str| items.is_some_and(|items| items.properties.contains_key(field));
    let keys: &[&str] = match name {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "resourceClaims"
        | "secrets"
            if has("name") =>
        {
            &["name"]
        }
        "ports" if has("containerPort") => &["containerPort", "protocol"],
        "ports" if has("targetPort") => &["port", "protocol"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "hostAliases" | "podIPs" | "hostIPs" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "ownerReferences" => &["uid"],
        "conditions" if has("type") => &["type"],
        "finalizers" | "clusterIPs" => return ListKind::Set,
        _ => return ListKind::Atomic,
    };
    ListKind::Map(keys.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_schema_of_its_type() {
        for resource in resources() {
            assert!(
                resource.schema.properties.contains_key("metadata"),
                "{} has no schema",
                resource.kind
            );
        }
    }

    #[test]
    fn containers_are_keyed_by_name_wherever_they_stand() {
        let deployment = resources()
            .into_iter()
            .find(|r| r.kind == "Deployment")
            .unwrap();
        let containers = ["spec", "template", "spec", "containers"]
            .iter()
            .try_fold(&*deployment.schema, |schema, name| schema.field(name))
            .unwrap();
        assert_eq!(containers.list, ListKind::Map(vec!["name".to_owned()]));
        assert!(containers.items.as_ref().unwrap().typed);
    }
}
