//! What the simulation knows of the cluster: what its watches brought and what its own writes
//! answered, whichever is newer. Says which work a change gives.

mod concerns;
mod shelf;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, Pod, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::{ApiResource, DynamicObject};
use tracing::warn;

use super::graph::{Graph, Node as GraphNode};
use super::namespaces;
use super::nodes::Occupancy;
use super::queue::Work;
use shelf::Acted;
pub(super) use shelf::{Key, Shelf};

/// Calls a method of the view for the kind of a resource; nothing for kinds that are not acted on.
macro_rules! for_kind {
    ($view:ident, $resource:ident, $method:ident ( $($argument:expr),* )) => {
        match ($resource.group.as_str(), $resource.kind.as_str()) {
            ("", "Namespace") => $view.$method::<Namespace>($($argument),*),
            ("", "Node") => $view.$method::<Node>($($argument),*),
            ("", "Pod") => $view.$method::<Pod>($($argument),*),
            ("", "Service") => $view.$method::<Service>($($argument),*),
            ("", "Endpoints") => $view.$method::<Endpoints>($($argument),*),
            ("", "ServiceAccount") => $view.$method::<ServiceAccount>($($argument),*),
            ("", "ConfigMap") => $view.$method::<ConfigMap>($($argument),*),
            ("apps", "ReplicaSet") => $view.$method::<ReplicaSet>($($argument),*),
            ("apps", "Deployment") => $view.$method::<Deployment>($($argument),*),
            ("discovery.k8s.io", "EndpointSlice") => {
                $view.$method::<EndpointSlice>($($argument),*)
            }
            ("batch", "Job") => $view.$method::<Job>($($argument),*),
            _ => Vec::new(),
        }
    };
}

/// Whether objects of a kind are acted on, so that nothing may be decided before they are known.
pub(super) fn is_acted_on(api_version: &str, kind: &str) -> bool {
    matches!(
        (api_version, kind),
        (
            "v1",
            "Namespace" | "Node" | "Pod" | "Service" | "Endpoints" | "ServiceAccount" | "ConfigMap"
        ) | ("apps/v1", "ReplicaSet" | "Deployment")
            | ("batch/v1", "Job")
            | ("discovery.k8s.io/v1", "EndpointSlice")
    )
}

/// The cluster as it is known.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) namespaces: Shelf<Namespace>,
    pub(super) nodes: Shelf<Node>,
    pub(super) pods: Shelf<Pod>,
    pub(super) replica_sets: Shelf<ReplicaSet>,
    pub(super) deployments: Shelf<Deployment>,
    pub(super) jobs: Shelf<Job>,
    pub(super) services: Shelf<Service>,
    pub(super) endpoints: Shelf<Endpoints>,
    pub(super) endpoint_slices: Shelf<EndpointSlice>,
    pub(super) service_accounts: Shelf<ServiceAccount>,
    /// Only those that every namespace has.
    pub(super) config_maps: Shelf<ConfigMap>,
    pub(super) occupancy: Occupancy,
    pub(super) graph: Graph,
    /// Uids that were deleted and whose end no watch has told yet. An older event must not make
    /// them look alive, or too many pods would be deleted.
    doomed: BTreeSet<String>,
}

impl View {
    /// The pods that wait for a node.
    pub(super) fn waiting_pods(&self) -> impl Iterator<Item = Work> {
        self.occupancy.waiting().cloned().map(Work::Pod)
    }

    /// Takes in an object as it is now; one that is older than what is known is left out.
    pub(super) fn absorb(
        &mut self,
        resource: &Arc<ApiResource>,
        mut object: DynamicObject,
        now: Timestamp,
    ) -> Vec<Work> {
        let uid = object.uid().unwrap_or_default();
        if self
            .graph
            .get(&uid)
            .is_some_and(|known| !is_newer(&object, known))
        {
            return Vec::new();
        }
        if self.doomed.contains(&uid) && object.metadata.deletion_timestamp.is_none() {
            object.metadata.deletion_timestamp = Some(Time(now));
        }
        object.metadata.managed_fields = None;
        let before = self.graph.get(&uid).cloned();
        let after = GraphNode::new(Arc::clone(resource), &object.metadata);
        self.graph.put(after.clone());
        let mut work = self.garbage(before.as_ref(), &after);
        work.extend(self.shelve(resource, object));
        work
    }

    /// Marks an object as deleted although no watch has told so yet.
    pub(super) fn doom(&mut self, resource: &ApiResource, uid: &str, now: Timestamp) -> Vec<Work> {
        let Some(mut node) = self.graph.get(uid).cloned() else {
            return Vec::new();
        };
        self.doomed.insert(uid.to_owned());
        let key = node.key.clone();
        node.deleting = true;
        self.graph.put(node);
        for_kind!(self, resource, mark(&key, uid, now))
    }

    /// Forgets an object that is gone.
    pub(super) fn remove(&mut self, resource: &ApiResource, uid: &str) -> Vec<Work> {
        self.doomed.remove(uid);
        let dependents = self
            .graph
            .dependents(uid)
            .map(|node| Work::Garbage(node.uid.clone()));
        let mut work: Vec<Work> = dependents.collect();
        let Some(node) = self.graph.remove(uid) else {
            return work;
        };
        work.extend(self.waiting_owners(&node));
        if self.is_terminating(&node.key.namespace) {
            work.push(Work::Namespace(node.key.namespace.clone()));
        }
        work.extend(for_kind!(self, resource, unshelve(&node)));
        if is_definition(resource) {
            work.push(Work::Discover);
        }
        work
    }

    /// Whether a namespace has been deleted but still has content.
    fn is_terminating(&self, namespace: &str) -> bool {
        let namespace = self.namespaces.get(&Key::new("", namespace));
        namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }

    /// What the garbage collector has to look at when an object becomes `after`.
    fn garbage(&self, before: Option<&GraphNode>, after: &GraphNode) -> Vec<Work> {
        let mut work = Vec::new();
        if self.is_terminating(&after.key.namespace) {
            work.push(Work::Namespace(after.key.namespace.clone()));
        }
        let owners_changed = before.is_none_or(|before| before.owners != after.owners);
        let deleted = after.deleting && before.is_none_or(|before| !before.deleting);
        let finalizers_changed = before.is_none_or(|before| before.finalizers != after.finalizers);
        if (owners_changed && !after.owners.is_empty())
            || (after.deleting && (deleted || finalizers_changed))
        {
            work.push(Work::Garbage(after.uid.clone()));
        }
        if after.waits_for_dependents() && deleted {
            let dependents = self.graph.dependents(&after.uid);
            work.extend(dependents.map(|node| Work::Garbage(node.uid.clone())));
        }
        if let Some(before) = before.filter(|_| owners_changed) {
            work.extend(self.waiting_owners(before));
        }
        work
    }

    /// The owners of `node` that go when their dependents are gone.
    fn waiting_owners(&self, node: &GraphNode) -> Vec<Work> {
        let owners = node
            .owners
            .iter()
            .filter_map(|owner| self.graph.get(&owner.uid));
        let waiting = owners.filter(|owner| owner.deleting && !owner.finalizers.is_empty());
        waiting
            .map(|owner| Work::Garbage(owner.uid.clone()))
            .collect()
    }

    fn shelve(&mut self, resource: &ApiResource, object: DynamicObject) -> Vec<Work> {
        if is_definition(resource) {
            return vec![Work::Discover];
        }
        let name = object.metadata.name.as_deref().unwrap_or_default();
        if resource.kind == "ConfigMap" && name != namespaces::ROOT_CA {
            return Vec::new();
        }
        for_kind!(self, resource, put(object))
    }

    fn put<K: Acted>(&mut self, object: DynamicObject) -> Vec<Work> {
        let key = Key::of(&object.metadata);
        match object.try_parse::<K>() {
            Ok(object) => self.exchange(key, object),
            Err(error) => {
                warn!(kind = %K::kind(&()), namespace = key.namespace, name = key.name, %error,
                    "cannot read an object");
                Vec::new()
            }
        }
    }

    fn exchange<K: Acted>(&mut self, key: Key, object: K) -> Vec<Work> {
        let object = Arc::new(object);
        let before = K::shelf(self).put(key, Arc::clone(&object));
        let mut work = K::weigh(self, before.as_deref(), Some(&object));
        work.extend(before.into_iter().flat_map(|before| before.concerns(self)));
        work.extend(object.concerns(self));
        work
    }

    fn mark<K: Acted>(&mut self, key: &Key, uid: &str, now: Timestamp) -> Vec<Work> {
        let Some(object) = K::shelf(self).get(key) else {
            return Vec::new();
        };
        if object.meta().uid.as_deref() != Some(uid) {
            return Vec::new();
        }
        let mut object = K::clone(object);
        object
            .meta_mut()
            .deletion_timestamp
            .get_or_insert(Time(now));
        self.exchange(key.clone(), object)
    }

    fn unshelve<K: Acted>(&mut self, node: &GraphNode) -> Vec<Work> {
        let objects = K::shelf(self);
        let is_same = |object: &Arc<K>| object.meta().uid.as_deref() == Some(&node.uid);
        if !objects.get(&node.key).is_some_and(is_same) {
            return Vec::new();
        }
        let Some(gone) = objects.take(&node.key) else {
            return Vec::new();
        };
        let mut work = K::weigh(self, Some(&gone), None);
        work.extend(gone.concerns(self));
        work
    }
}

/// Resource versions of one object grow; what does not look like a number counts as newer.
fn is_newer(object: &DynamicObject, known: &GraphNode) -> bool {
    let version = object
        .metadata
        .resource_version
        .as_deref()
        .unwrap_or_default();
    match (
        version.parse::<u64>(),
        known.resource_version.parse::<u64>(),
    ) {
        (Ok(version), Ok(known)) => version > known,
        _ => version != known.resource_version,
    }
}

fn is_definition(resource: &ApiResource) -> bool {
    resource.group == "apiextensions.k8s.io" && resource.kind == "CustomResourceDefinition"
}
