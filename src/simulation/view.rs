//! What the simulation knows of the cluster: what its watches brought and what its own writes
//! answered, whichever is newer. Says which work a change gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{ApiResource, DynamicObject};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::graph::{Graph, Node};
use super::pods;
use super::queue::Work;

/// The place of an object within its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Empty for kinds that have no namespace.
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

/// The objects of one kind.
#[derive(Debug)]
pub(super) struct Shelf<K>(BTreeMap<Key, Arc<K>>);

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K> Shelf<K> {
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.0.get(key)
    }

    pub(super) fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<K>> {
        let from_here = self.0.range(Key::new(namespace, "")..);
        from_here
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, object)| object)
    }
}

/// A kind whose objects the simulation acts on; of all others it knows only the metadata.
trait Acted: Resource<DynamicType = ()> + DeserializeOwned {
    fn shelf(view: &mut View) -> &mut Shelf<Self>;

    /// The work that a change of this object gives.
    fn concerns(&self, view: &View) -> Vec<Work>;
}

/// The cluster as it is known.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) namespaces: Shelf<Namespace>,
    pub(super) pods: Shelf<Pod>,
    pub(super) replica_sets: Shelf<ReplicaSet>,
    pub(super) deployments: Shelf<Deployment>,
    pub(super) jobs: Shelf<Job>,
    pub(super) services: Shelf<Service>,
    pub(super) endpoints: Shelf<Endpoints>,
    pub(super) graph: Graph,
    /// Uids that were deleted and whose end no watch has told yet. An older event must not make
    /// them look alive, or too many pods would be deleted.
    doomed: BTreeSet<String>,
}

impl View {
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
        let after = Node::new(Arc::clone(resource), &object.metadata);
        self.graph.put(after.clone());
        let mut work = self.garbage(before.as_ref(), &after);
        work.extend(self.shelve(resource, object));
        work
    }

    /// Marks an object as deleted although no watch has told so yet.
    pub(super) fn doom(
        &mut self,
        resource: &Arc<ApiResource>,
        uid: &str,
        now: Timestamp,
    ) -> Vec<Work> {
        let Some(mut node) = self.graph.get(uid).cloned() else {
            return Vec::new();
        };
        self.doomed.insert(uid.to_owned());
        let key = node.key.clone();
        node.deleting = true;
        self.graph.put(node);
        match (resource.group.as_str(), resource.kind.as_str()) {
            ("", "Pod") => self.mark::<Pod>(&key, uid, now),
            ("apps", "ReplicaSet") => self.mark::<ReplicaSet>(&key, uid, now),
            ("apps", "Deployment") => self.mark::<Deployment>(&key, uid, now),
            ("batch", "Job") => self.mark::<Job>(&key, uid, now),
            _ => Vec::new(),
        }
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
        work.extend(match (resource.group.as_str(), resource.kind.as_str()) {
            ("", "Namespace") => self.unshelve::<Namespace>(&node),
            ("", "Pod") => self.unshelve::<Pod>(&node),
            ("", "Service") => self.unshelve::<Service>(&node),
            ("", "Endpoints") => self.unshelve::<Endpoints>(&node),
            ("apps", "ReplicaSet") => self.unshelve::<ReplicaSet>(&node),
            ("apps", "Deployment") => self.unshelve::<Deployment>(&node),
            ("batch", "Job") => self.unshelve::<Job>(&node),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => vec![Work::Discover],
            _ => Vec::new(),
        });
        work
    }

    /// Whether a namespace has been deleted but still has content.
    fn is_terminating(&self, namespace: &str) -> bool {
        let namespace = self.namespaces.get(&Key::new("", namespace));
        namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }

    /// What the garbage collector has to look at when an object becomes `after`.
    fn garbage(&self, before: Option<&Node>, after: &Node) -> Vec<Work> {
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
    fn waiting_owners(&self, node: &Node) -> Vec<Work> {
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
        match (resource.group.as_str(), resource.kind.as_str()) {
            ("", "Namespace") => self.put::<Namespace>(object),
            ("", "Pod") => self.put::<Pod>(object),
            ("", "Service") => self.put::<Service>(object),
            ("", "Endpoints") => self.put::<Endpoints>(object),
            ("apps", "ReplicaSet") => self.put::<ReplicaSet>(object),
            ("apps", "Deployment") => self.put::<Deployment>(object),
            ("batch", "Job") => self.put::<Job>(object),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => vec![Work::Discover],
            _ => Vec::new(),
        }
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
        let before = K::shelf(self).0.insert(key, Arc::clone(&object));
        let mut work = before
            .map(|before| before.concerns(self))
            .unwrap_or_default();
        work.extend(object.concerns(self));
        work
    }

    fn mark<K: Acted + Clone>(&mut self, key: &Key, uid: &str, now: Timestamp) -> Vec<Work> {
        let Some(object) = K::shelf(self).0.get(key) else {
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

    fn unshelve<K: Acted>(&mut self, node: &Node) -> Vec<Work> {
        let objects = &mut K::shelf(self).0;
        let is_same = |object: &Arc<K>| object.meta().uid.as_deref() == Some(&node.uid);
        if !objects.get(&node.key).is_some_and(is_same) {
            return Vec::new();
        }
        let gone = objects.remove(&node.key);
        gone.map(|gone| gone.concerns(self)).unwrap_or_default()
    }
}

/// Resource versions of one object grow; what does not look like a number counts as newer.
fn is_newer(object: &DynamicObject, known: &Node) -> bool {
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

impl Acted for Namespace {
    fn shelf(view: &mut View) -> &mut Shelf<Self> {
        &mut view.namespaces
    }

    fn concerns(&self, view: &View) -> Vec<Work> {
        // Gone or going: either way its content goes.
        if view.namespaces.get(&Key::of(&self.metadata)).is_some()
            && self.metadata.deletion_timestamp.is_none()
        {
            return Vec::new();
        }
        vec![Work::Namespace(self.name_any())]
    }
}

impl Acted for Pod {
    fn shelf(view: &mut View) -> &mut Shelf<Self> {
        &mut view.pods
    }

    fn concerns(&self, view: &View) -> Vec<Work> {
        let key = Key::of(&self.metadata);
        let mut work = vec![Work::Pod(key.clone())];
        if let Some(owner) = pods::controller(&self.metadata) {
            let owner_key = Key::new(&key.namespace, &owner.name);
            match owner.kind.as_str() {
                "ReplicaSet" => {
                    let replica_set = view.replica_sets.get(&owner_key);
                    work.extend(replica_set.and_then(|set| deployment_of(&set.metadata)));
                    work.push(Work::ReplicaSet(owner_key));
                }
                "Job" => work.push(Work::Job(owner_key)),
                _ => {}
            }
        } else {
            let in_namespace = view.replica_sets.in_namespace(&key.namespace);
            let matching = in_namespace.filter(|set| {
                set.spec
                    .as_ref()
                    .is_some_and(|spec| pods::selects(&spec.selector, self.labels()))
            });
            work.extend(matching.map(|set| Work::ReplicaSet(Key::of(&set.metadata))));
        }
        let services = view.services.in_namespace(&key.namespace);
        let serving = services.filter(|service| pods::serves(service, self.labels()));
        work.extend(serving.map(|service| Work::Endpoints(Key::of(&service.metadata))));
        work
    }
}

impl Acted for ReplicaSet {
    fn shelf(view: &mut View) -> &mut Shelf<Self> {
        &mut view.replica_sets
    }

    fn concerns(&self, view: &View) -> Vec<Work> {
        let key = Key::of(&self.metadata);
        let mut work = vec![Work::ReplicaSet(key.clone())];
        if pods::controller(&self.metadata).is_some() {
            work.extend(deployment_of(&self.metadata));
        } else {
            let in_namespace = view.deployments.in_namespace(&key.namespace);
            let matching = in_namespace.filter(|deployment| {
                let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
                selector.is_some_and(|selector| pods::selects(selector, self.labels()))
            });
            work.extend(matching.map(|found| Work::Deployment(Key::of(&found.metadata))));
        }
        work
    }
}

fn deployment_of(metadata: &ObjectMeta) -> Option<Work> {
    let owner = pods::controller(metadata).filter(|owner| owner.kind == "Deployment")?;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    Some(Work::Deployment(Key::new(namespace, &owner.name)))
}

macro_rules! acted {
    ($kind:ty, $shelf:ident, $work:ident) => {
        impl Acted for $kind {
            fn shelf(view: &mut View) -> &mut Shelf<Self> {
                &mut view.$shelf
            }

            fn concerns(&self, _view: &View) -> Vec<Work> {
                vec![Work::$work(Key::of(&self.metadata))]
            }
        }
    };
}

acted!(Deployment, deployments, Deployment);
acted!(Job, jobs, Job);
acted!(Service, services, Endpoints);
acted!(Endpoints, endpoints, Endpoints);
