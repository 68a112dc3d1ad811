//! Who owns whom, for every kind: what the garbage collector needs to know of an object.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::ApiResource;

use super::change::Target;
use super::view::Key;

/// The finalizer of an object that goes after its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object that leaves its dependents behind.
pub(super) const ORPHAN: &str = "orphan";

/// One object.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) resource: Arc<ApiResource>,
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) finalizers: Vec<String>,
    pub(super) deleting: bool,
}

impl Node {
    pub(super) fn new(resource: Arc<ApiResource>, metadata: &ObjectMeta) -> Self {
        Self {
            resource,
            key: Key::of(metadata),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            owners: metadata.owner_references.clone().unwrap_or_default(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }

    pub(super) fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    /// Goes as soon as its dependents are gone.
    pub(super) fn waits_for_dependents(&self) -> bool {
        self.deleting && self.has_finalizer(FOREGROUND)
    }

    /// The object as it is known: if it has changed since, a change is refused.
    pub(super) fn target(&self) -> Target {
        Target {
            resource: (*self.resource).clone(),
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            uid: self.uid.clone(),
            version: Some(self.resource_version.clone()),
        }
    }
}

/// All objects, by uid.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, Node>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    namespaces: BTreeMap<String, BTreeSet<String>>,
    gone: Gone,
}

/// The last objects that went: their dependents need not ask whether they exist.
#[derive(Debug, Default)]
struct Gone {
    uids: BTreeSet<String>,
    order: VecDeque<String>,
}

/// How many of those that went are remembered.
const REMEMBERED: usize = 10_000;

impl Gone {
    fn note(&mut self, uid: &str) {
        if self.uids.insert(uid.to_owned()) {
            self.order.push_back(uid.to_owned());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Puts a node in, in place of the one it had for this object.
    pub(super) fn put(&mut self, node: Node) {
        self.take(&node.uid);
        for owner in &node.owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(node.uid.clone());
        }
        let namespace = self
            .namespaces
            .entry(node.key.namespace.clone())
            .or_default();
        namespace.insert(node.uid.clone());
        self.nodes.insert(node.uid.clone(), node);
    }

    /// Forgets an object that is gone.
    pub(super) fn remove(&mut self, uid: &str) -> Option<Node> {
        self.gone.note(uid);
        self.take(uid)
    }

    /// Whether the object was there and is gone; one of long ago may not be remembered.
    pub(super) fn is_gone(&self, uid: &str) -> bool {
        self.gone.uids.contains(uid)
    }

    fn take(&mut self, uid: &str) -> Option<Node> {
        let node = self.nodes.remove(uid)?;
        for owner in &node.owners {
            take_from(&mut self.dependents, &owner.uid, uid);
        }
        take_from(&mut self.namespaces, &node.key.namespace, uid);
        Some(node)
    }

    /// The objects that name `uid` as an owner.
    pub(super) fn dependents(&self, uid: &str) -> impl Iterator<Item = &Node> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|uid| self.nodes.get(uid))
    }

    /// The objects in a namespace.
    pub(super) fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Node> {
        self.namespaces
            .get(namespace)
            .into_iter()
            .flatten()
            .filter_map(|uid| self.nodes.get(uid))
    }

    /// The objects of one kind.
    pub(super) fn of_kind(&self, resource: &ApiResource) -> impl Iterator<Item = &Node> {
        self.nodes
            .values()
            .filter(move |node| *node.resource == *resource)
    }
}

fn take_from(index: &mut BTreeMap<String, BTreeSet<String>>, key: &str, uid: &str) {
    if let Some(uids) = index.get_mut(key) {
        uids.remove(uid);
        if uids.is_empty() {
            index.remove(key);
        }
    }
}
