//! Objects that Rollouts name without owning them, and whose turn it is when one changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::Rollout;
use crate::cluster::Namespaced;

/// Namespace and name.
type Key = (String, String);

/// A cache of the objects of one kind, and which Rollouts name them.
pub(super) struct Referenced<K: Namespaced> {
    objects: Store<K>,
    writer: Mutex<Option<Writer<K>>>,
    references: Mutex<References>,
    turn: mpsc::UnboundedSender<ObjectRef<Rollout>>,
}

#[derive(Default)]
struct References {
    /// Object → the Rollouts that name it.
    named_by: HashMap<Key, BTreeSet<String>>,
    /// Rollout → the objects that it names.
    names: HashMap<Key, Vec<String>>,
}

impl References {
    fn forget(&mut self, namespace: &str, rollout: &str) {
        let key = (namespace.to_owned(), rollout.to_owned());
        for name in self.names.remove(&key).unwrap_or_default() {
            let place = (namespace.to_owned(), name);
            if let Some(rollouts) = self.named_by.get_mut(&place) {
                rollouts.remove(rollout);
                if rollouts.is_empty() {
                    self.named_by.remove(&place);
                }
            }
        }
    }

    fn set(&mut self, namespace: &str, rollout: &str, names: Vec<String>) {
        self.forget(namespace, rollout);
        for name in &names {
            let rollouts = self.named_by.entry((namespace.to_owned(), name.clone()));
            rollouts.or_default().insert(rollout.to_owned());
        }
        if !names.is_empty() {
            self.names
                .insert((namespace.to_owned(), rollout.to_owned()), names);
        }
    }

    fn rollouts(&self, key: &Key) -> impl Iterator<Item = ObjectRef<Rollout>> {
        let rollouts = self.named_by.get(key).into_iter().flatten();
        rollouts.map(|rollout| ObjectRef::new(rollout).within(&key.0))
    }
}

impl<K: Namespaced> Referenced<K> {
    /// An empty cache.
    pub(super) fn new(turn: mpsc::UnboundedSender<ObjectRef<Rollout>>) -> Self {
        let (objects, writer) = reflector::store();
        Self {
            objects,
            writer: Mutex::new(Some(writer)),
            references: Mutex::default(),
            turn,
        }
    }

    /// The object of this name.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.objects.get(&ObjectRef::new(name).within(namespace))
    }

    /// Notes which objects a Rollout names now.
    pub(super) fn refer(&self, rollout: &Rollout, names: Vec<String>) {
        let namespace = rollout.namespace().unwrap_or_default();
        self.lock().set(&namespace, &rollout.name_any(), names);
    }

    /// A Rollout is gone.
    pub(super) fn forget(&self, namespace: &str, rollout: &str) {
        self.lock().forget(namespace, rollout);
    }

    /// Waits until the cache has been filled once.
    pub(super) async fn ready(&self) {
        // The writer lives as long as the task that keeps this.
        let _ = self.objects.wait_until_ready().await;
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
                Ok(Event::Apply(object) | Event::Delete(object)) => self.wake(&object),
                // What changed while nobody watched cannot be told.
                Ok(Event::InitDone) => self.wake_all(),
                Ok(Event::Init | Event::InitApply(_)) | Err(_) => {}
            }
        }
    }

    fn wake(&self, object: &K) {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        for rollout in self.lock().rollouts(&key) {
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
        references.set("shop", "web", names(&["preview"]));
        assert_eq!(named_by(&references, "active"), ["api"]);
        references.forget("shop", "api");
        assert!(named_by(&references, "active").is_empty());
        assert_eq!(named_by(&references, "preview"), ["web"]);
        assert_eq!(references.named_by.len(), 2);
    }
}
