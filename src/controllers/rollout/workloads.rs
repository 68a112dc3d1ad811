//! Objects whose pod template Rollouts use, and whose turn it is when one changes.
//!
//! A kind is watched from the first reference to it on. Of all that the watch tells, only what
//! Rollouts refer to is kept; an object that is referred to newly is read once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Api, ResourceExt as _};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::api::Rollout;
use crate::cluster::{self, Cluster};
use crate::controllers::{Setup, scope};
use crate::rollout::{Workload, WorkloadKind};
use crate::telemetry::Readiness;

/// Namespace and name.
type Key = (String, String);
type Object = (WorkloadKind, Key);

/// A cache of what Rollouts refer to.
pub(super) struct Workloads {
    state: Mutex<State>,
    /// Told when the first Rollout refers to a kind.
    wanted: HashMap<WorkloadKind, Notify>,
    turn: mpsc::UnboundedSender<ObjectRef<Rollout>>,
}

#[derive(Default)]
struct State {
    /// Rollout → what it refers to.
    refers: HashMap<Key, Object>,
    /// Object → the names of the Rollouts that refer to it.
    referred: HashMap<Object, BTreeSet<String>>,
    /// What is known: `None` if there is no such object.
    known: HashMap<Object, Option<Arc<Workload>>>,
    /// What watches that begin anew have listed so far.
    listed: HashSet<Object>,
}

impl State {
    fn forget(&mut self, rollout: &Key) {
        let Some(object) = self.refers.remove(rollout) else {
            return;
        };
        if let Some(rollouts) = self.referred.get_mut(&object) {
            rollouts.remove(&rollout.1);
            if rollouts.is_empty() {
                self.referred.remove(&object);
                self.known.remove(&object);
            }
        }
    }

    fn refer(&mut self, rollout: Key, object: Object) {
        if self.refers.get(&rollout) == Some(&object) {
            return;
        }
        self.forget(&rollout);
        let rollouts = self.referred.entry(object.clone()).or_default();
        rollouts.insert(rollout.1.clone());
        self.refers.insert(rollout, object);
    }

    /// Takes note of an object that is there, or is not, if somebody refers to it.
    fn note(&mut self, object: &Object, found: impl FnOnce() -> Option<Workload>) {
        if self.referred.contains_key(object) {
            self.known.insert(object.clone(), found().map(Arc::new));
        }
    }

    /// All of a kind has been listed. What was not may have come while the list was under way: it is
    /// read when it is asked for.
    fn all_listed(&mut self, kind: WorkloadKind) {
        let listed = &self.listed;
        self.known
            .retain(|object, _| object.0 != kind || listed.contains(object));
        self.listed.retain(|object| object.0 != kind);
    }

    fn rollouts(&self, object: &Object) -> Vec<ObjectRef<Rollout>> {
        let names = self.referred.get(object).into_iter().flatten();
        names
            .map(|name| ObjectRef::new(name).within(&object.1.0))
            .collect()
    }
}

impl Workloads {
    /// An empty cache.
    pub(super) fn new(turn: mpsc::UnboundedSender<ObjectRef<Rollout>>) -> Self {
        let wanted = WorkloadKind::ALL.map(|kind| (kind, Notify::new()));
        Self {
            state: Mutex::default(),
            wanted: wanted.into(),
            turn,
        }
    }

    /// Notes what a Rollout refers to now.
    pub(super) fn refer(&self, rollout: &Rollout) {
        let (namespace, name) = (rollout.namespace().unwrap_or_default(), rollout.name_any());
        match referred(rollout) {
            Some(object) => {
                let kind = object.0;
                self.lock().refer((namespace, name), object);
                self.wanted[&kind].notify_one();
            }
            None => self.lock().forget(&(namespace, name)),
        }
    }

    /// A Rollout is gone.
    pub(super) fn forget(&self, namespace: &str, rollout: &str) {
        self.lock()
            .forget(&(namespace.to_owned(), rollout.to_owned()));
    }

    /// The object that a Rollout refers to; `None` if there is none, or no reference.
    pub(super) async fn of(
        &self,
        rollout: &Rollout,
        cluster: &Cluster,
    ) -> Result<Option<Arc<Workload>>, cluster::Error> {
        let Some(object) = referred(rollout) else {
            return Ok(None);
        };
        if let Some(known) = self.lock().known.get(&object) {
            return Ok(known.clone());
        }
        let (kind, (namespace, name)) = &object;
        let read = cluster
            .get_dynamic(&kind.resource(), namespace, name)
            .await?;
        let read = read.map(|read| Arc::new(Workload::read(*kind, &read)));
        let mut state = self.lock();
        if !state.referred.contains_key(&object) {
            return Ok(read);
        }
        // What a watch has told meanwhile is newer.
        Ok(state.known.entry(object).or_insert(read).clone())
    }

    /// Watches a kind until `shutdown`, from the first reference to it on.
    pub(super) async fn keep(&self, kind: WorkloadKind, setup: Setup, shutdown: CancellationToken) {
        let first = self.wanted[&kind].notified();
        if shutdown.run_until_cancelled(first).await.is_none() {
            return;
        }
        let (client, resource) = (setup.cluster.client(), kind.resource());
        let api = match &setup.scope.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        // Nobody waits for it: whoever needs an object before reads it.
        let events = scope::watch_kind(api, resource.kind, "", &Readiness::default());
        let mut events = std::pin::pin!(events.take_until(shutdown.cancelled_owned()));
        while let Some(event) = events.next().await {
            if let Ok(event) = event {
                self.take(kind, event);
            }
        }
    }

    fn take(&self, kind: WorkloadKind, event: Event<kube::core::DynamicObject>) {
        let key = |object: &kube::core::DynamicObject| {
            (
                kind,
                (object.namespace().unwrap_or_default(), object.name_any()),
            )
        };
        let mut state = self.lock();
        let turns = match event {
            Event::Init => {
                state.listed.retain(|object| object.0 != kind);
                vec![]
            }
            Event::InitApply(object) => {
                let key = key(&object);
                state.note(&key, || Some(Workload::read(kind, &object)));
                if state.known.contains_key(&key) {
                    state.listed.insert(key);
                }
                vec![]
            }
            Event::InitDone => {
                state.all_listed(kind);
                let referred = state.referred.keys().filter(|object| object.0 == kind);
                let referred: Vec<Object> = referred.cloned().collect();
                referred
                    .iter()
                    .flat_map(|object| state.rollouts(object))
                    .collect()
            }
            Event::Apply(object) => {
                let key = key(&object);
                state.note(&key, || Some(Workload::read(kind, &object)));
                state.rollouts(&key)
            }
            Event::Delete(object) => {
                let key = key(&object);
                state.note(&key, || None);
                state.rollouts(&key)
            }
        };
        drop(state);
        for turn in turns {
            // Nobody listens any more when the controller stops.
            let _ = self.turn.send(turn);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn referred(rollout: &Rollout) -> Option<Object> {
    let reference = rollout.spec.workload_ref.as_ref()?;
    let kind = WorkloadKind::of(reference)?;
    let key = (
        rollout.namespace().unwrap_or_default(),
        reference.name.clone(),
    );
    (!reference.name.is_empty()).then_some((kind, key))
}
