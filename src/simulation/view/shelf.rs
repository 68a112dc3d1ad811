//! The objects of one kind, found by place, by manager and by label.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;

use super::super::pods;
use super::super::queue::Work;
use super::View;

/// The place of an object within its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::simulation) struct Key {
    /// Empty for kinds that have no namespace.
    pub(in crate::simulation) namespace: String,
    pub(in crate::simulation) name: String,
}

impl Key {
    pub(in crate::simulation) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(in crate::simulation) fn of(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

/// A kind whose objects the simulation acts on; of all others it knows only the metadata.
pub(in crate::simulation) trait Acted:
    Resource<DynamicType = ()> + DeserializeOwned + Clone
{
    fn shelf(view: &mut View) -> &mut Shelf<Self>;

    /// The work that a change of this object gives.
    fn concerns(&self, view: &View) -> Vec<Work>;

    /// The pairs of a name and a value by which it is looked for.
    fn tags(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    /// Notes what the object takes of the cluster, before a change and after it.
    ///
    /// # Returns
    /// The work that there is because something has become free.
    fn weigh(_view: &mut View, _before: Option<&Self>, _after: Option<&Self>) -> Vec<Work> {
        Vec::new()
    }
}

/// Who manages objects: an owner's uid, or nobody, in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Manager {
    Owner(String),
    Nobody(String),
}

impl Manager {
    fn of(metadata: &ObjectMeta) -> Self {
        match pods::controller(metadata) {
            Some(owner) => Self::Owner(owner.uid.clone()),
            None => Self::Nobody(metadata.namespace.clone().unwrap_or_default()),
        }
    }
}

/// A namespace, a name and a value.
type Tag = (String, String, String);

/// The objects of one kind.
#[derive(Debug)]
pub(in crate::simulation) struct Shelf<K> {
    objects: BTreeMap<Key, Arc<K>>,
    managed: BTreeMap<Manager, BTreeSet<Key>>,
    tagged: BTreeMap<Tag, BTreeSet<Key>>,
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            managed: BTreeMap::new(),
            tagged: BTreeMap::new(),
        }
    }
}

impl<K> Shelf<K> {
    pub(in crate::simulation) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    pub(in crate::simulation) fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    pub(in crate::simulation) fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<K>> {
        let from_here = self.objects.range(Key::new(namespace, "")..);
        from_here
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// The objects that the object with this uid manages.
    pub(in crate::simulation) fn managed_by(&self, uid: &str) -> impl Iterator<Item = &Arc<K>> {
        self.listed(self.managed.get(&Manager::Owner(uid.to_owned())))
    }

    /// The objects of a namespace that nothing manages.
    pub(in crate::simulation) fn unmanaged(
        &self,
        namespace: &str,
    ) -> impl Iterator<Item = &Arc<K>> {
        self.listed(self.managed.get(&Manager::Nobody(namespace.to_owned())))
    }

    /// The objects of a namespace with this tag.
    pub(in crate::simulation) fn tagged(
        &self,
        namespace: &str,
        (name, value): (&str, &str),
    ) -> impl Iterator<Item = &Arc<K>> {
        let tag = (namespace.to_owned(), name.to_owned(), value.to_owned());
        self.listed(self.tagged.get(&tag))
    }

    fn listed(&self, keys: Option<&BTreeSet<Key>>) -> impl Iterator<Item = &Arc<K>> {
        let keys = keys.into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key))
    }
}

impl<K: Acted> Shelf<K> {
    /// Puts an object in.
    ///
    /// # Returns
    /// The one that stood in its place.
    pub(super) fn put(&mut self, key: Key, object: Arc<K>) -> Option<Arc<K>> {
        let before = self.take(&key);
        let manager = Manager::of(object.meta());
        self.managed.entry(manager).or_default().insert(key.clone());
        for tag in tags(&key, &*object) {
            self.tagged.entry(tag).or_default().insert(key.clone());
        }
        self.objects.insert(key, object);
        before
    }

    /// Takes an object out.
    pub(super) fn take(&mut self, key: &Key) -> Option<Arc<K>> {
        let before = self.objects.remove(key)?;
        take_from(&mut self.managed, &Manager::of(before.meta()), key);
        for tag in tags(key, &*before) {
            take_from(&mut self.tagged, &tag, key);
        }
        Some(before)
    }
}

fn tags<K: Acted>(key: &Key, object: &K) -> Vec<Tag> {
    let tags = object.tags().into_iter();
    tags.map(|(name, value)| (key.namespace.clone(), name.to_owned(), value.to_owned()))
        .collect()
}

fn take_from<I: Ord>(index: &mut BTreeMap<I, BTreeSet<Key>>, entry: &I, key: &Key) {
    if let Some(keys) = index.get_mut(entry) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(entry);
        }
    }
}
