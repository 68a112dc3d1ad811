//! What Rollouts own, by owner: a pass looks at its own objects, however many there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::owner_of;
use crate::api::{AnalysisRun, Rollout};
use crate::cluster::Namespaced;

/// A cache of the objects of one kind, and whose turn it is when they change.
pub(super) struct Children<K> {
    objects: Mutex<Objects<K>>,
    filled: watch::Sender<bool>,
    turn: mpsc::UnboundedSender<ObjectRef<Rollout>>,
    matters: fn(Option<&K>, &K) -> bool,
}

struct Objects<K> {
    /// Namespace and uid of the controlling owner (empty without one) → name → object.
    by_owner: HashMap<(String, String), BTreeMap<String, Arc<K>>>,
    /// Namespace and name → uid of the owner.
    owners: HashMap<(String, String), String>,
    /// What a watch that begins anew has listed so far.
    listed: Vec<K>,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self {
            by_owner: HashMap::new(),
            owners: HashMap::new(),
            listed: Vec::new(),
        }
    }
}

/// Every change is one that a Rollout must look at.
pub(super) fn any_change<K>(_: Option<&K>, _: &K) -> bool {
    true
}

/// Of an AnalysisRun only its phase matters, and whether it is about to go.
pub(super) fn another_phase(before: Option<&AnalysisRun>, now: &AnalysisRun) -> bool {
    let seen = |run: &AnalysisRun| {
        (
            run.status.as_ref().and_then(|s| s.phase),
            run.metadata.deletion_timestamp.is_some(),
        )
    };
    before.is_none_or(|before| seen(before) != seen(now))
}

impl<K: Namespaced> Objects<K> {
    fn insert(&mut self, object: K) -> Option<Arc<K>> {
        let before = self.remove(&object);
        let key = key_of(&object);
        let owner = controller_uid(&object);
        let siblings = self
            .by_owner
            .entry((key.0.clone(), owner.clone()))
            .or_default();
        siblings.insert(key.1.clone(), Arc::new(object));
        self.owners.insert(key, owner);
        before
    }

    fn remove(&mut self, object: &K) -> Option<Arc<K>> {
        let (namespace, name) = key_of(object);
        let owner = self.owners.remove(&(namespace.clone(), name.clone()))?;
        let place = (namespace, owner);
        let siblings = self.by_owner.get_mut(&place)?;
        let removed = siblings.remove(&name);
        if siblings.is_empty() {
            self.by_owner.remove(&place);
        }
        removed
    }

    fn everyone(&self) -> Vec<ObjectRef<Rollout>> {
        let owners = self
            .by_owner
            .values()
            .filter_map(|objects| objects.values().next());
        owners.filter_map(|object| owner_of(&**object)).collect()
    }
}

fn key_of<K: Namespaced>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn controller_uid<K: Namespaced>(object: &K) -> String {
    let mut owners = object.owner_references().iter();
    let controller = owners.find(|owner| owner.controller == Some(true));
    controller
        .map(|owner| owner.uid.clone())
        .unwrap_or_default()
}

impl<K: Namespaced> Children<K> {
    /// An empty cache. `matters` compares an object with what it was before.
    pub(super) fn new(
        turn: mpsc::UnboundedSender<ObjectRef<Rollout>>,
        matters: fn(Option<&K>, &K) -> bool,
    ) -> Self {
        Self {
            objects: Mutex::default(),
            filled: watch::Sender::new(false),
            turn,
            matters,
        }
    }

    /// The objects of one owner in a namespace; those without an owner for an empty uid.
    pub(super) fn of(&self, namespace: &str, owner: &str) -> Vec<Arc<K>> {
        let objects = self.lock();
        let found = objects
            .by_owner
            .get(&(namespace.to_owned(), owner.to_owned()));
        found
            .into_iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// Waits until the cache has been filled once.
    pub(super) async fn ready(&self) {
        // The sender lives as long as this does.
        let _ = self.filled.subscribe().wait_for(|filled| *filled).await;
    }

    /// Follows a watch until `shutdown`.
    pub(super) async fn keep(
        &self,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        shutdown: CancellationToken,
    ) {
        let mut events = std::pin::pin!(events.take_until(shutdown.cancelled_owned()));
        while let Some(event) = events.next().await {
            if let Ok(event) = event {
                self.take(event);
            }
        }
    }

    fn take(&self, event: Event<K>) {
        let mut objects = self.lock();
        let mut turns = Vec::new();
        match event {
            Event::Init => objects.listed.clear(),
            Event::InitApply(object) => objects.listed.push(object),
            Event::InitDone => {
                turns.extend(objects.everyone());
                let listed = std::mem::take(&mut objects.listed);
                *objects = Objects::default();
                for object in listed {
                    objects.insert(object);
                }
                turns.extend(objects.everyone());
                self.filled.send_replace(true);
            }
            Event::Apply(object) => {
                let owner = owner_of(&object);
                let before = objects.insert(object.clone());
                if (self.matters)(before.as_deref(), &object) {
                    turns.extend(before.and_then(|before| owner_of(&*before)));
                    turns.extend(owner);
                }
            }
            Event::Delete(object) => {
                objects.remove(&object);
                turns.extend(owner_of(&object));
            }
        }
        drop(objects);
        turns.dedup();
        for turn in turns {
            // Nobody listens any more when the controller stops.
            let _ = self.turn.send(turn);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Objects<K>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    fn set(name: &str, owner: Option<&str>) -> ReplicaSet {
        let mut set = ReplicaSet::default();
        set.metadata.name = Some(name.into());
        set.metadata.namespace = Some("shop".into());
        set.metadata.owner_references = owner.map(|uid| {
            vec![OwnerReference {
                api_version: crate::api::API_VERSION.into(),
                kind: "Rollout".into(),
                name: format!("rollout-{uid}"),
                uid: uid.into(),
                controller: Some(true),
                ..OwnerReference::default()
            }]
        });
        set
    }

    fn names(children: &Children<ReplicaSet>, owner: &str) -> Vec<String> {
        children
            .of("shop", owner)
            .iter()
            .map(|set| set.name_any())
            .collect()
    }

    #[tokio::test]
    async fn objects_are_found_by_their_present_owner() {
        let (turn, mut turns) = mpsc::unbounded_channel();
        let children = Children::<ReplicaSet>::new(turn, any_change);
        let list = [
            Event::Init,
            Event::InitApply(set("a", None)),
            Event::InitDone,
        ];
        for event in list {
            children.take(event);
        }
        children.ready().await;
        assert_eq!(names(&children, ""), ["a"]);
        children.take(Event::Apply(set("a", Some("1"))));
        assert_eq!(
            (names(&children, ""), names(&children, "1")),
            (vec![], vec!["a".to_owned()])
        );
        assert_eq!(turns.recv().await.unwrap().name, "rollout-1");
        children.take(Event::Delete(set("a", Some("1"))));
        assert!(names(&children, "1").is_empty());
        assert_eq!(turns.recv().await.unwrap().name, "rollout-1");
        // What is gone while nobody watched is noticed when the watch begins anew.
        children.take(Event::Apply(set("b", Some("2"))));
        turns.recv().await.unwrap();
        for event in [Event::Init, Event::InitDone] {
            children.take(event);
        }
        assert!(names(&children, "2").is_empty());
        assert_eq!(turns.recv().await.unwrap().name, "rollout-2");
    }
}
