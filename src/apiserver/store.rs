//! Objects, their versions and what changed: the part that etcd plays.
//!
//! Every resource has a collection: its objects in order of namespace and name, and the latest changes.
//! A change carries the object before and after it, so that a watch can tell what entered and left
//! its selection, and a list can be told as it was at an earlier version.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use super::snapshot::{Counters, Snapshot};

/// The version of a fresh store: that which the recorded server had when its watch cache filled.
/// What came before is gone, so that old versions are answered 410 as on a cluster in use.
pub(super) const FIRST_REVISION: u64 = 704;

/// Changes kept for each resource. A watch further behind is answered 410.
const HISTORY: usize = 4096;

/// An object at one version; never changed.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) value: Value,
    pub(super) revision: u64,
    json: OnceLock<Bytes>,
}

impl Object {
    pub(super) fn new(value: Value, revision: u64) -> Self {
        Self {
            value,
            revision,
            json: OnceLock::new(),
        }
    }

    /// The object as JSON text, written once however many read it.
    pub(super) fn json(&self) -> &Bytes {
        self.json
            .get_or_init(|| Bytes::from(self.value.to_string()))
    }
}

/// One change on a collection. `before` is absent for a creation, `after` for a removal.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) before: Option<Arc<Object>>,
    pub(super) after: Option<Arc<Object>>,
}

/// Namespace (empty for cluster-scoped resources) and name.
pub(super) type Key = (String, String);

#[derive(Debug)]
struct Collection {
    objects: BTreeMap<Key, Arc<Object>>,
    history: VecDeque<Change>,
    /// Changes up to this version are gone.
    forgotten: u64,
    latest: watch::Sender<u64>,
}

impl Collection {
    /// One whose changes up to a version are gone.
    fn new(forgotten: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten,
            latest: watch::Sender::new(forgotten),
        }
    }

    fn record(&mut self, change: Change) {
        let revision = change.revision;
        self.history.push_back(change);
        if self.history.len() > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.revision;
        }
        self.latest.send_replace(revision);
    }
}

#[derive(Debug)]
struct State {
    counters: Counters,
    /// Changes up to this version are gone in collections that had none since.
    forgotten: u64,
    collections: HashMap<Arc<str>, Collection>,
    latest: watch::Sender<u64>,
}

/// All objects of a cluster.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
}

/// Why a write did not take place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Exists,
    /// The object is not, or no longer, the one that the write was made from.
    Raced,
}

/// The objects of a collection at one moment.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) revision: u64,
    pub(super) objects: Vec<Arc<Object>>,
}

/// The version that was asked for is not available.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unavailable {
    /// Older than the changes that are kept, which begin after this one.
    Gone { forgotten: u64 },
    /// Not reached yet; this is the latest.
    Future { current: u64 },
}

impl Store {
    pub(super) fn new() -> Self {
        Self::restored(&Snapshot {
            counters: Counters {
                resource_version: FIRST_REVISION,
                identities: 0,
            },
            objects: Vec::new(),
        })
    }

    /// As it was, without the changes that led there.
    pub(super) fn restored(snapshot: &Snapshot) -> Self {
        let revision = snapshot.counters.resource_version;
        let mut state = State {
            counters: snapshot.counters,
            forgotten: revision,
            collections: HashMap::new(),
            latest: watch::Sender::new(revision),
        };
        for (collection, object) in &snapshot.objects {
            let objects = &mut state.collection(collection).objects;
            objects.insert(key_of(&object.value), object.clone());
        }
        Self {
            state: Mutex::new(state),
        }
    }

    /// All that there is now.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.with(|state| {
            let mut collections: Vec<_> = state.collections.iter().collect();
            collections.sort_by_key(|(name, _)| *name);
            let objects = collections.into_iter().flat_map(|(name, collection)| {
                let objects = collection.objects.values();
                objects.map(|object| (name.clone(), object.clone()))
            });
            Snapshot {
                counters: state.counters,
                objects: objects.collect(),
            }
        })
    }

    /// Tells the version of the latest change, in whatever collection.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.with(|state| state.latest.subscribe())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // A panic while the lock is held leaves whole objects behind: each write is one insert.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The version of the latest change.
    pub(super) fn revision(&self) -> u64 {
        self.with(|state| state.counters.resource_version)
    }

    /// A number that was not given before, for uids and generated names.
    pub(super) fn next_identity(&self) -> u64 {
        self.with(|state| {
            state.counters.identities += 1;
            state.counters.identities
        })
    }

    pub(super) fn get(&self, collection: &str, key: &Key) -> Option<Arc<Object>> {
        self.with(|state| state.collections.get(collection)?.objects.get(key).cloned())
    }

    /// Stores a new object; `seal` writes the version into it.
    pub(super) fn create(
        &self,
        collection: &Arc<str>,
        key: Key,
        value: Value,
    ) -> Result<Arc<Object>, Refused> {
        self.with(|state| {
            if state
                .collections
                .get(collection)
                .is_some_and(|s| s.objects.contains_key(&key))
            {
                return Err(Refused::Exists);
            }
            let object = state.seal(value);
            state
                .collection(collection)
                .objects
                .insert(key, object.clone());
            let change = Change {
                revision: object.revision,
                before: None,
                after: Some(object.clone()),
            };
            state.record(collection, change);
            Ok(object)
        })
    }

    /// Stores a new state of `before`, if that is still the stored one.
    pub(super) fn replace(
        &self,
        collection: &Arc<str>,
        key: &Key,
        before: &Arc<Object>,
        value: Value,
    ) -> Result<Arc<Object>, Refused> {
        self.with(|state| {
            state.expect(collection, key, before)?;
            let object = state.seal(value);
            let objects = &mut state.collection(collection).objects;
            objects.insert(key.clone(), object.clone());
            let change = Change {
                revision: object.revision,
                before: Some(before.clone()),
                after: Some(object.clone()),
            };
            state.record(collection, change);
            Ok(object)
        })
    }

    /// Removes `before`, if that is still the stored one.
    pub(super) fn remove(
        &self,
        collection: &Arc<str>,
        key: &Key,
        before: &Arc<Object>,
    ) -> Result<(), Refused> {
        self.with(|state| {
            state.expect(collection, key, before)?;
            let revision = state.next_revision();
            state.collection(collection).objects.remove(key);
            let change = Change {
                revision,
                before: Some(before.clone()),
                after: None,
            };
            state.record(collection, change);
            Ok(())
        })
    }

    /// All objects of a collection, or of one namespace on it.
    pub(super) fn list(&self, collection: &str, namespace: Option<&str>) -> Listed {
        self.with(|state| Listed {
            revision: state.counters.resource_version,
            objects: state
                .collections
                .get(collection)
                .map(|collection| objects_in(&collection.objects, namespace))
                .unwrap_or_default(),
        })
    }

    /// As [`Store::list`], at an earlier version.
    pub(super) fn list_at(
        &self,
        collection: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Listed, Unavailable> {
        self.with(|state| {
            let current = state.counters.resource_version;
            if revision > current {
                return Err(Unavailable::Future { current });
            }
            let Some(collection) = state.since(collection, revision)? else {
                let objects = Vec::new();
                return Ok(Listed { revision, objects });
            };
            let mut objects = collection.objects.clone();
            for change in collection
                .history
                .iter()
                .rev()
                .take_while(|c| c.revision > revision)
            {
                undo(&mut objects, change);
            }
            Ok(Listed {
                revision,
                objects: objects_in(&objects, namespace),
            })
        })
    }

    /// The changes of a collection after a version, and the version up to which they reach.
    pub(super) fn changes(
        &self,
        collection: &str,
        after: u64,
    ) -> Result<(u64, Vec<Change>), Unavailable> {
        self.with(|state| {
            let current = state.counters.resource_version;
            let Some(collection) = state.since(collection, after)? else {
                return Ok((current, Vec::new()));
            };
            let start = collection
                .history
                .partition_point(|change| change.revision <= after);
            let changes = collection.history.range(start..).cloned().collect();
            Ok((current, changes))
        })
    }

    /// Tells of every change on a collection.
    pub(super) fn subscribe(&self, collection: &Arc<str>) -> watch::Receiver<u64> {
        self.with(|state| state.collection(collection).latest.subscribe())
    }

    /// Forgets all changes: watches and lists of earlier versions are answered 410.
    pub(super) fn forget_history(&self) {
        self.with(|state| {
            let revision = state.counters.resource_version;
            state.forgotten = revision;
            for collection in state.collections.values_mut() {
                collection.history.clear();
                collection.forgotten = revision;
                // Watches that had not read all of it wake up to see that it is gone.
                collection.latest.send_replace(revision);
            }
        });
    }

    /// How many objects a collection holds.
    pub(super) fn count(&self, collection: &str) -> usize {
        self.with(|state| {
            state
                .collections
                .get(collection)
                .map_or(0, |s| s.objects.len())
        })
    }
}

impl State {
    fn next_revision(&mut self) -> u64 {
        self.counters.resource_version += 1;
        self.counters.resource_version
    }

    /// Gives the next version to a value.
    fn seal(&mut self, mut value: Value) -> Arc<Object> {
        let revision = self.next_revision();
        value["metadata"]["resourceVersion"] = Value::String(revision.to_string());
        Arc::new(Object::new(value, revision))
    }

    fn collection(&mut self, name: &Arc<str>) -> &mut Collection {
        let forgotten = self.forgotten;
        let collection = self.collections.entry(name.clone());
        collection.or_insert_with(|| Collection::new(forgotten))
    }

    fn record(&mut self, collection: &Arc<str>, change: Change) {
        self.latest.send_replace(change.revision);
        self.collection(collection).record(change);
    }

    /// A collection of which all changes after a version are kept; `None` if it never had any.
    fn since(&self, collection: &str, revision: u64) -> Result<Option<&Collection>, Unavailable> {
        let collection = self.collections.get(collection);
        let forgotten = collection.map_or(self.forgotten, |found| found.forgotten);
        if revision < forgotten {
            return Err(Unavailable::Gone { forgotten });
        }
        Ok(collection)
    }

    fn expect(&self, collection: &str, key: &Key, before: &Arc<Object>) -> Result<(), Refused> {
        let stored = self
            .collections
            .get(collection)
            .and_then(|s| s.objects.get(key));
        match stored {
            Some(stored) if Arc::ptr_eq(stored, before) => Ok(()),
            _ => Err(Refused::Raced),
        }
    }
}

fn objects_in(objects: &BTreeMap<Key, Arc<Object>>, namespace: Option<&str>) -> Vec<Arc<Object>> {
    match namespace {
        None => objects.values().cloned().collect(),
        Some(namespace) => objects
            .range((namespace.to_owned(), String::new())..)
            .take_while(|((at, _), _)| at == namespace)
            .map(|(_, object)| object.clone())
            .collect(),
    }
}

fn undo(objects: &mut BTreeMap<Key, Arc<Object>>, change: &Change) {
    if let Some(object) = change.before.as_ref().or(change.after.as_ref()) {
        let key = key_of(&object.value);
        match &change.before {
            Some(before) => objects.insert(key, before.clone()),
            None => objects.remove(&key),
        };
    }
}

/// Where an object stands on its collection.
pub(super) fn key_of(value: &Value) -> Key {
    let text = |field: &str| {
        value["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, data: u8) -> Value {
        json!({"metadata": {"namespace": "n", "name": name}, "data": data})
    }

    fn names(listed: &Listed) -> Vec<String> {
        listed.objects.iter().map(|o| key_of(&o.value).1).collect()
    }

    #[test]
    fn a_list_can_be_told_as_it_was() {
        let store = Store::new();
        let collection: Arc<str> = "things".into();
        let key = |name: &str| ("n".to_owned(), name.to_owned());
        let a = store.create(&collection, key("a"), object("a", 1)).unwrap();
        store.create(&collection, key("b"), object("b", 1)).unwrap();
        let then = store.revision();
        let changed = store
            .replace(&collection, &key("a"), &a, object("a", 2))
            .unwrap();
        store.remove(&collection, &key("a"), &changed).unwrap();
        store.create(&collection, key("c"), object("c", 1)).unwrap();
        let past = store.list_at(&collection, Some("n"), then).unwrap();
        assert_eq!(names(&past), ["a", "b"]);
        assert_eq!(past.objects[0].value["data"], 1);
        assert_eq!(names(&store.list(&collection, Some("n"))), ["b", "c"]);
        assert_eq!(names(&store.list(&collection, Some("m"))), [""; 0]);
    }

    #[test]
    fn what_was_before_a_snapshot_is_forgotten_in_collections_that_are_empty_too() {
        let store = Store::new();
        let collection: Arc<str> = "things".into();
        let key = ("n".to_owned(), "a".to_owned());
        let made = store.create(&collection, key.clone(), object("a", 1));
        let before = store.revision();
        store.remove(&collection, &key, &made.unwrap()).unwrap();
        let restored = Store::restored(&store.snapshot());
        let now = restored.revision();
        assert_eq!(now, store.revision());
        let gone = Unavailable::Gone { forgotten: now };
        assert_eq!(restored.changes("things", before).unwrap_err(), gone);
        assert_eq!(restored.list_at("things", None, before).unwrap_err(), gone);
        assert!(restored.changes("things", now).is_ok());
        restored.subscribe(&collection);
        assert_eq!(restored.changes("things", before).unwrap_err(), gone);
    }

    #[test]
    fn a_write_from_an_old_state_is_refused() {
        let store = Store::new();
        let collection: Arc<str> = "things".into();
        let key = ("n".to_owned(), "a".to_owned());
        let first = store
            .create(&collection, key.clone(), object("a", 1))
            .unwrap();
        let again = store.create(&collection, key.clone(), object("a", 1));
        assert_eq!(again.unwrap_err(), Refused::Exists);
        store
            .replace(&collection, &key, &first, object("a", 2))
            .unwrap();
        let late = store.replace(&collection, &key, &first, object("a", 3));
        assert_eq!(late.unwrap_err(), Refused::Raced);
        assert_eq!(store.remove(&collection, &key, &first), Err(Refused::Raced));
    }
}
