//! Objects that Rollouts name without owning them, and whose turn it is when one changes.
//!
//! An object that bears our marks and that no Rollout names (any more) is let go: handed on to who
//! looks after it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::Rollout;
use crate::cluster::Namespaced;

/// Namespace and name.
type Key = (String, String);

/// A cache of the objects of one kind, and which Rollouts name them.
pub(super) struct Referenced<K: Namespaced> {
    objects: Store<K>,
    writer: Mutex<Option<Writer<K>>>,
    filled: watch::Sender<bool>,
    references: Mutex<References>,
    turn: mpsc::UnboundedSender<ObjectRef<Rollout>>,
    let_go: mpsc::UnboundedSender<ObjectRef<K>>,
    is_marked: fn(&K) -> bool,
}

#[derive(Default)]
struct References {
    /// Object → the Rollouts that name it.
    named_by: HashMap<Key, BTreeSet<String>>,
    /// Rollout → the objects that it names.
    names: HashMap<Key, Vec<String>>,
    /// Whether every Rollout that there is has been noted once: until then, that no Rollout names
    /// an object means nothing.
    complete: bool,
}

impl References {
    /// Returns the objects that nobody names any more.
    fn forget(&mut self, namespace: &str, rollout: &str) -> Vec<Key> {
        let key = (namespace.to_owned(), rollout.to_owned());
        let mut nobodys = Vec::new();
        for name in self.names.remove(&key).unwrap_or_default() {
            let place = (namespace.to_owned(), name);
            if let Some(rollouts) = self.named_by.get_mut(&place) {
                rollouts.remove(rollout);
                if rollouts.is_empty() {
                    self.named_by.remove(&place);
                    nobodys.push(place);
                }
            }
        }
        nobodys
    }

    /// Returns the objects that nobody names any more.
    fn set(&mut self, namespace: &str, rollout: &str, names: Vec<String>) -> Vec<Key> {
        let mut nobodys = self.forget(namespace, rollout);
        nobodys.retain(|(_, name)| !names.contains(name));
        for name in &names {
            let rollouts = self.named_by.entry((namespace.to_owned(), name.clone()));
            rollouts.or_default().insert(rollout.to_owned());
        }
        if !names.is_empty() {
            self.names
                .insert((namespace.to_owned(), rollout.to_owned()), names);
        }
        nobodys
    }

    fn is_nobodys(&self, key: &Key) -> bool {
        self.complete && !self.named_by.contains_key(key)
    }

    fn rollouts(&self, key: &Key) -> impl Iterator<Item = ObjectRef<Rollout>> {
        let rollouts = self.named_by.get(key).into_iter().flatten();
        rollouts.map(|rollout| ObjectRef::new(rollout).within(&key.0))
    }
}

impl<K: Namespaced> Referenced<K> {
    /// An empty cache. `is_marked` picks the objects that are handed to `let_go` when no Rollout
    /// names them.
    pub(super) fn new(
        turn: mpsc::UnboundedSender<ObjectRef<Rollout>>,
        let_go: mpsc::UnboundedSender<ObjectRef<K>>,
        is_marked: fn(&K) -> bool,
    ) -> Self {
        let (objects, writer) = reflector::store();
        Self {
            objects,
            writer: Mutex::new(Some(writer)),
            filled: watch::Sender::new(false),
            references: Mutex::default(),
            turn,
            let_go,
            is_marked,
        }
    }

    /// The cache, to be read.
    pub(super) fn objects(&self) -> Store<K> {
        self.objects.clone()
    }

    /// The object of this name.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.objects.get(&ObjectRef::new(name).within(namespace))
    }

    /// Notes which objects a Rollout names now.
    pub(super) fn refer(&self, rollout: &Rollout, names: Vec<String>) {
        let namespace = rollout.namespace().unwrap_or_default();
        let nobodys = self.lock().set(&namespace, &rollout.name_any(), names);
        self.let_go_of(nobodys);
    }

    /// A Rollout is gone.
    pub(super) fn forget(&self, namespace: &str, rollout: &str) {
        let nobodys = self.lock().forget(namespace, rollout);
        self.let_go_of(nobodys);
    }

    /// All Rollouts that there are have been noted.
    pub(super) fn all_referred(&self) {
        self.lock().complete = true;
        self.let_go_of_all();
    }

    fn let_go_of(&self, nobodys: Vec<Key>) {
        let found = nobodys.into_iter();
        for object in found.filter_map(|(namespace, name)| self.get(&namespace, &name)) {
            self.let_go_if_marked(&object);
        }
    }

    fn let_go_of_all(&self) {
        for object in self.objects.state() {
            if self.lock().is_nobodys(&key_of(&*object)) {
                self.let_go_if_marked(&object);
            }
        }
    }

    fn let_go_if_marked(&self, object: &K) {
        if (self.is_marked)(object) {
            // Nobody listens any more when the controller stops.
            let _ = self.let_go.send(ObjectRef::from_obj(object));
        }
    }

    /// Waits until the cache has been filled once. (The store could be asked, too, but wakes only
    /// one of those who wait for it.)
    pub(super) async fn ready(&self) {
        // The sender lives as long as this does.
        let _ = self.filled.subscribe().wait_for(|filled| *filled).await;
    }

    /// Follows a watch until `shutdown`. Once in a lifetime.
    pub(super) async fn keep(
        &self,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        shutdown: CancellationToken,
    ) {
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(writer) = writer else { return };
        let events = events.take_until(shutdown.cancelled_owned());
        let mut events = std::pin::pin!(events.reflect(writer));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object)) => {
                    self.wake(&object);
                    if self.lock().is_nobodys(&key_of(&object)) {
                        self.let_go_if_marked(&object);
                    }
                }
                Ok(Event::Delete(object)) => self.wake(&object),
                // What changed while nobody watched cannot be told.
                Ok(Event::InitDone) => {
                    self.filled.send_replace(true);
                    self.wake_all();
                    self.let_go_of_all();
                }
                Ok(Event::Init | Event::InitApply(_)) | Err(_) => {}
            }
        }
    }

    fn wake(&self, object: &K) {
        for rollout in self.lock().rollouts(&key_of(object)) {
            // Nobody listens any more when the controller stops.
            let _ = self.turn.send(rollout);
        }
    }

    fn wake_all(&self) {
        for (namespace, rollout) in self.lock().names.keys() {
            let _ = self.turn.send(ObjectRef::new(rollout).within(namespace));
        }
    }

    fn lock(&self) -> MutexGuard<'_, References> {
        self.references
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of<K: Namespaced>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named_by(references: &References, name: &str) -> Vec<String> {
        let key = ("shop".to_owned(), name.to_owned());
        references.rollouts(&key).map(|found| found.name).collect()
    }

    #[test]
    fn those_that_name_an_object_now_are_told() {
        let mut references = References::default();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        references.set("shop", "web", names(&["active", "preview"]));
        references.set("shop", "api", names(&["active"]));
        references.set("other", "web", names(&["active"]));
        assert_eq!(named_by(&references, "active"), ["api", "web"]);
        let nobodys = references.set("shop", "web", names(&["preview"]));
        assert_eq!(named_by(&references, "active"), ["api"]);
        assert!(nobodys.is_empty(), "one still names it");
        let nobodys = references.forget("shop", "api");
        assert_eq!(nobodys, [("shop".to_owned(), "active".to_owned())]);
        assert!(named_by(&references, "active").is_empty());
        assert_eq!(named_by(&references, "preview"), ["web"]);
        assert_eq!(references.named_by.len(), 2);
    }
}
