//! The built-in kinds that are served, with the schemas of their Go types.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use super::resources::{Origin, Resource, Scale};
use super::schema::{ListKind, Schema, Shape};

/// A built-in kind in short; see [`Resource`] for what the fields mean.
struct Kind {
    group: &'static str,
    version: &'static str,
    name: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    in_all: bool,
    features: &'static [Feature],
    schema: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Feature {
    ClusterScoped,
    Status,
    Scale,
    Generation,
    /// A replace needs a resourceVersion.
    Conditional,
}

use Feature::{ClusterScoped, Conditional, Generation, Scale as Scaled, Status};

const fn kind(
    (group, version): (&'static str, &'static str),
    (name, plural): (&'static str, &'static str),
    short_names: &'static [&'static str],
    features: &'static [Feature],
    schema: &'static str,
) -> Kind {
    Kind {
        group,
        version,
        name,
        plural,
        short_names,
        in_all: false,
        features,
        schema,
    }
}

const fn in_all(mut kind: Kind) -> Kind {
    kind.in_all = true;
    kind
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");

/// In the order of discovery.
#[rustfmt::skip]
const KINDS: &[Kind] = &[
    kind(CORE, ("ConfigMap", "configmaps"), &["cm"], &[], "io.k8s.api.core.v1.ConfigMap"),
    kind(CORE, ("Endpoints", "endpoints"), &["ep"], &[], "io.k8s.api.core.v1.Endpoints"),
    kind(CORE, ("Event", "events"), &["ev"], &[], "io.k8s.api.core.v1.Event"),
    kind(CORE, ("Namespace", "namespaces"), &["ns"], &[ClusterScoped, Status], "io.k8s.api.core.v1.Namespace"),
    kind(CORE, ("Node", "nodes"), &["no"], &[ClusterScoped, Status], "io.k8s.api.core.v1.Node"),
    in_all(kind(CORE, ("Pod", "pods"), &["po"], &[Status], "io.k8s.api.core.v1.Pod")),
    kind(CORE, ("Secret", "secrets"), &[], &[], "io.k8s.api.core.v1.Secret"),
    kind(CORE, ("ServiceAccount", "serviceaccounts"), &["sa"], &[], "io.k8s.api.core.v1.ServiceAccount"),
    in_all(kind(CORE, ("Service", "services"), &["svc"], &[Status], "io.k8s.api.core.v1.Service")),
    kind(("apiextensions.k8s.io", "v1"), ("CustomResourceDefinition", "customresourcedefinitions"), &["crd", "crds"], &[ClusterScoped, Status, Generation, Conditional], "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"),
    in_all(kind(APPS, ("Deployment", "deployments"), &["deploy"], &[Status, Scaled, Generation], "io.k8s.api.apps.v1.Deployment")),
    in_all(kind(APPS, ("ReplicaSet", "replicasets"), &["rs"], &[Status, Scaled, Generation], "io.k8s.api.apps.v1.ReplicaSet")),
    kind(("events.k8s.io", "v1"), ("Event", "events"), &["ev"], &[], "io.k8s.api.events.v1.Event"),
    in_all(kind(("autoscaling", "v2"), ("HorizontalPodAutoscaler", "horizontalpodautoscalers"), &["hpa"], &[Status], "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler")),
    in_all(kind(("batch", "v1"), ("Job", "jobs"), &[], &[Status, Generation], "io.k8s.api.batch.v1.Job")),
    kind(("networking.k8s.io", "v1"), ("Ingress", "ingresses"), &["ing"], &[Status, Generation], "io.k8s.api.networking.v1.Ingress"),
    kind(("coordination.k8s.io", "v1"), ("Lease", "leases"), &[], &[Conditional], "io.k8s.api.coordination.v1.Lease"),
];

/// The built-in resources; built once.
pub(super) fn resources() -> Vec<Arc<Resource>> {
    static RESOURCES: OnceLock<Vec<Arc<Resource>>> = OnceLock::new();
    RESOURCES
        .get_or_init(|| {
            let mut schemas = Definitions::shared().reader();
            KINDS
                .iter()
                .map(|kind| Arc::new(resource(kind, schemas.schema(kind.schema))))
                .collect()
        })
        .clone()
}

fn resource(kind: &Kind, schema: Arc<Schema>) -> Resource {
    let has = |feature: Feature| kind.features.contains(&feature);
    let api_version = match kind.group {
        "" => kind.version.to_owned(),
        group => format!("{group}/{}", kind.version),
    };
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
        namespaced: !has(ClusterScoped),
        short_names: kind.short_names.iter().map(ToString::to_string).collect(),
        categories: if kind.in_all {
            vec!["all".to_owned()]
        } else {
            Vec::new()
        },
        origin: Origin::BuiltIn,
        status: has(Status),
        scale: has(Scaled).then(|| Scale {
            spec_replicas: vec!["spec".to_owned(), "replicas".to_owned()],
            status_replicas: vec!["status".to_owned(), "replicas".to_owned()],
            selector: None,
        }),
        generation: has(Generation),
        unconditional: !has(Conditional),
        schema,
        columns: Vec::new(),
        collection: collection.into(),
        stored_as: if is_event {
            "v1".to_owned()
        } else {
            api_version
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

/// The OpenAPI definitions of the built-in types, by their full names.
pub(super) struct Definitions(Map<String, Value>);

impl Definitions {
    pub(super) fn shared() -> &'static Self {
        static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
        DEFINITIONS.get_or_init(|| {
            let mut generator = SchemaGenerator::default();
            define::<ConfigMap>(&mut generator);
            define::<Endpoints>(&mut generator);
            define::<Event>(&mut generator);
            define::<Namespace>(&mut generator);
            define::<Node>(&mut generator);
            define::<Pod>(&mut generator);
            define::<Secret>(&mut generator);
            define::<ServiceAccount>(&mut generator);
            define::<Service>(&mut generator);
            define::<CustomResourceDefinition>(&mut generator);
            define::<Deployment>(&mut generator);
            define::<ReplicaSet>(&mut generator);
            define::<k8s_openapi::api::events::v1::Event>(&mut generator);
            define::<HorizontalPodAutoscaler>(&mut generator);
            define::<Job>(&mut generator);
            define::<Ingress>(&mut generator);
            define::<Lease>(&mut generator);
            Self(generator.take_definitions(true))
        })
    }

    /// The definition of a type, as OpenAPI writes it.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The full names of all types.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            definitions: self,
            read: HashMap::new(),
        }
    }
}

fn define<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _ = generator.subschema_for::<T>();
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
