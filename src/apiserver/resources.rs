//! What the server serves: built-in kinds and those that CustomResourceDefinitions register.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::schema::Schema;

/// The order in which discovery lists the verbs of built-in kinds.
const BUILT_IN_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The order in which discovery lists the verbs of custom resources.
const CUSTOM_VERBS: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// One resource in one version.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "four independent properties")]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) kind: String,
    pub(super) list_kind: String,
    pub(super) namespaced: bool,
    pub(super) short_names: Vec<String>,
    pub(super) categories: Vec<String>,
    pub(super) origin: Origin,
    /// Whether `/status` exists and the main resource leaves `status` alone.
    pub(super) status: bool,
    pub(super) scale: Option<Scale>,
    /// Whether `metadata.generation` counts the changes of what is wanted.
    pub(super) generation: bool,
    /// Whether a replace without a resourceVersion is taken.
    pub(super) unconditional: bool,
    pub(super) schema: Arc<Schema>,
    /// The columns that `kubectl get` shows.
    pub(super) columns: Vec<Column>,
    /// The name of the collection in the store: `plural.group`.
    pub(super) collection: Arc<str>,
    /// The apiVersion in which objects are stored.
    pub(super) stored_as: String,
}

/// Where a resource comes from; the API server treats the two a little differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    BuiltIn,
    Custom,
}

/// Where the scale subresource finds its numbers, as dotted paths.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    pub(super) spec_replicas: Vec<String>,
    pub(super) status_replicas: Vec<String>,
    /// Absent for built-in kinds, whose `spec.selector` is a label selector.
    pub(super) selector: Option<Vec<String>>,
}

/// One column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) format: String,
    pub(super) description: String,
    pub(super) priority: i64,
    /// A JSONPath without braces, as in `additionalPrinterColumns`.
    pub(super) path: String,
}

impl Resource {
    /// `apps/v1`, or `v1` for the core group.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `deployments.apps`, or `pods`.
    pub(super) fn qualified(&self) -> String {
        qualify(&self.plural, &self.group)
    }

    /// `Deployment.apps`, or `Pod`.
    pub(super) fn qualified_kind(&self) -> String {
        qualify(&self.kind, &self.group)
    }

    /// The `details` of a `Status` about an object of this resource.
    pub(super) fn details(&self, name: &str) -> Value {
        details(name, &self.group, &self.plural)
    }

    /// As [`Resource::details`], with the kind in place of the resource.
    pub(super) fn kind_details(&self, name: &str) -> Value {
        details(name, &self.group, &self.kind)
    }

    pub(super) fn verbs(&self) -> Vec<&'static str> {
        match self.origin {
            Origin::Custom => CUSTOM_VERBS.to_vec(),
            Origin::BuiltIn => BUILT_IN_VERBS
                .iter()
                .copied()
                .filter(|verb| self.kind != "Namespace" || *verb != "deletecollection")
                .collect(),
        }
    }

    pub(super) fn is(&self, group: &str, kind: &str) -> bool {
        self.origin == Origin::BuiltIn && self.group == group && self.kind == kind
    }

    /// What discovery uses to tell one storage version from another.
    pub(super) fn storage_version_hash(&self) -> String {
        let (group, version) = self
            .stored_as
            .split_once('/')
            .unwrap_or(("", &self.stored_as));
        let text = format!("{group}/{version}/{}", self.kind);
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        STANDARD.encode(&digest.as_ref()[..8])
    }
}

/// `deployments.apps`, or `pods`.
pub(super) fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

/// The `details` of a `Status`.
pub(super) fn details(name: &str, group: &str, kind: &str) -> Value {
    let mut details = json!({"kind": kind});
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !group.is_empty() {
        details["group"] = json!(group);
    }
    details
}

/// All resources that are served now.
#[derive(Debug, Clone, Default)]
pub(super) struct Registry {
    /// In the order of discovery.
    built_in: Vec<Arc<Resource>>,
    /// By the name of their CustomResourceDefinition, with its generation.
    custom: BTreeMap<String, (i64, Vec<Arc<Resource>>)>,
}

impl Registry {
    pub(super) fn new(built_in: Vec<Arc<Resource>>) -> Self {
        Self {
            built_in,
            custom: BTreeMap::new(),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let custom = self.custom.values().flat_map(|(_, resources)| resources);
        self.built_in.iter().chain(custom)
    }

    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.all()
            .find(|r| r.group == group && r.version == version && r.plural == plural)
    }

    /// The resources of one group and version.
    pub(super) fn in_version<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.all()
            .filter(move |r| r.group == group && r.version == version)
    }

    /// Serves what a CustomResourceDefinition describes, in place of what it described before.
    pub(super) fn register(
        &mut self,
        definition: &str,
        generation: i64,
        resources: Vec<Arc<Resource>>,
    ) {
        self.custom
            .insert(definition.to_owned(), (generation, resources));
    }

    /// Which generation of a definition is served.
    pub(super) fn generation(&self, definition: &str) -> Option<i64> {
        self.custom
            .get(definition)
            .map(|(generation, _)| *generation)
    }

    pub(super) fn unregister(&mut self, definition: &str) {
        self.custom.remove(definition);
    }
}
