//! Objects that Rollouts refer to without owning them, of kinds that are only known when one does:
//! what has the pod template, and what divides the traffic. Whose turn it is when one changes.
//!
//! A kind is watched from the first reference to it on. Of all that the watch tells, only what
//! Rollouts refer to is kept; an object that is referred to newly is read once. A kind that cannot be
//! watched, because it is not installed for example, is tried again and again, and what refers to it
//! is told when that succeeds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll};
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use crate::api::Rollout;
use crate::cluster::{self, Cluster, api_resource, whole};
use crate::controllers::{Setup, scope};
use crate::telemetry::Readiness;
use crate::traffic_routers::{Known, Place, Query, Resource, holders};

/// Namespace and name of a Rollout.
pub(super) type Key = (String, String);

/// A cache of what Rollouts refer to.
pub(super) struct Objects {
    state: Mutex<State>,
    /// Told of the first reference to a kind.
    wanted: UnboundedSender<Resource>,
    turn: UnboundedSender<ObjectRef<Rollout>>,
    /// Told of objects that a Rollout refers to no longer.
    let_go: UnboundedSender<(Place, Key)>,
    /// Objects in other namespaces are not looked at.
    namespace: Option<String>,
}

#[derive(Default)]
struct State {
    kinds: BTreeMap<Resource, Kind>,
    /// Rollout → what it refers to.
    refers: HashMap<Key, BTreeSet<Query>>,
}

/// What is known of a kind.
#[derive(Default)]
struct Kind {
    /// Reference → the Rollouts that make it.
    referred: BTreeMap<Query, BTreeSet<Key>>,
    /// Objects that somebody refers to; `None` if there is no such object.
    objects: HashMap<Place, Option<Arc<Value>>>,
    /// What label selectors pick.
    picked: HashMap<Query, BTreeSet<Place>>,
    /// The labels of all objects in namespaces where somebody selects by them.
    labels: HashMap<Place, Value>,
    /// Why its objects cannot be looked up.
    unavailable: Option<String>,
    /// Another number when what was read before may be wrong.
    epoch: u64,
    /// What a watch that begins anew has listed so far.
    listed: HashSet<Place>,
}

/// The kind that a query is about; none if it is about no object.
fn kind_of(query: &Query) -> Option<&Resource> {
    match query {
        Query::One(place) => Some(&place.resource),
        Query::Selected { resource, .. } => Some(resource),
        Query::Call(_) => None,
    }
}

fn is_selection_in(query: &Query, namespace: &str) -> bool {
    matches!(query, Query::Selected { namespace: within, .. } if within == namespace)
}

impl Kind {
    /// Takes note of an object that is there, or is not, as far as somebody refers to it. What
    /// selectors pick is asked again when labels have changed.
    fn note(&mut self, place: &Place, object: Option<&Arc<Value>>) {
        let labels = object.map(|object| object["metadata"]["labels"].clone());
        if self.labels.get(place) != labels.as_ref() {
            let namespace = &place.namespace;
            self.picked
                .retain(|query, _| !is_selection_in(query, namespace));
            self.epoch += 1;
        }
        let mut referred = self.referred.keys();
        let labels = labels.filter(|_| referred.any(|it| is_selection_in(it, &place.namespace)));
        match labels {
            Some(labels) => self.labels.insert(place.clone(), labels),
            None => self.labels.remove(place),
        };
        let is_picked = self.picked.values().any(|picked| picked.contains(place));
        if is_picked || self.referred.contains_key(&Query::One(place.clone())) {
            self.objects.insert(place.clone(), object.cloned());
        } else {
            self.objects.remove(place);
        }
    }

    /// All of the kind has been listed. What was not may have come while the list was under way: it
    /// is read when it is asked for.
    fn all_listed(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        self.objects.retain(|place, _| listed.contains(place));
        self.labels.retain(|place, _| listed.contains(place));
        self.picked.clear();
        self.unavailable = None;
        self.epoch += 1;
    }

    /// What is known in answer to a query. False if nothing is.
    fn answer(&self, query: &Query, known: &mut Known) -> bool {
        match query {
            Query::One(place) => {
                let Some(object) = self.objects.get(place) else {
                    return false;
                };
                known.note(place.clone(), object.clone());
            }
            Query::Selected { .. } => {
                let Some(picked) = self.picked.get(query) else {
                    return false;
                };
                let found = picked.iter();
                let found = found
                    .filter_map(|place| Some((place.clone(), self.objects.get(place)?.clone()?)));
                known.note_selected(query.clone(), found.collect());
            }
            Query::Call(_) => return false,
        }
        true
    }

    /// Takes note of what was read in answer to a query.
    fn learn(&mut self, query: &Query, found: Vec<(Place, Value)>) {
        if !self.referred.contains_key(query) {
            return;
        }
        match query {
            Query::One(place) => {
                let object = found.into_iter().next().map(|(_, object)| Arc::new(object));
                // What a watch has told meanwhile is newer.
                self.objects.entry(place.clone()).or_insert(object);
            }
            Query::Selected { .. } => {
                let places = found.iter().map(|(place, _)| place.clone()).collect();
                self.picked.entry(query.clone()).or_insert(places);
                for (place, object) in found {
                    let labels = object["metadata"]["labels"].clone();
                    self.labels.entry(place.clone()).or_insert(labels);
                    self.objects
                        .entry(place)
                        .or_insert_with(|| Some(Arc::new(object)));
                }
            }
            Query::Call(_) => {}
        }
    }

    /// The Rollouts whose turn it is when an object has changed.
    fn rollouts(&self, place: &Place) -> BTreeSet<Key> {
        let concerns = |query: &Query| match query {
            Query::One(named) => named == place,
            Query::Selected { .. } => {
                let picked = self.picked.get(query);
                is_selection_in(query, &place.namespace)
                    && picked.is_none_or(|picked| picked.contains(place))
            }
            Query::Call(_) => false,
        };
        let concerned = self.referred.iter().filter(|(query, _)| concerns(query));
        concerned.flat_map(|(_, keys)| keys.clone()).collect()
    }

    /// A Rollout makes a reference no longer. Returns the objects that it was to.
    fn forget(&mut self, rollout: &Key, query: &Query) -> Vec<Place> {
        let Some(rollouts) = self.referred.get_mut(query) else {
            return vec![];
        };
        rollouts.remove(rollout);
        let is_nobodys = rollouts.is_empty();
        if is_nobodys {
            self.referred.remove(query);
        }
        let places: Vec<Place> = match query {
            Query::One(place) => vec![place.clone()],
            Query::Selected { .. } => self
                .picked
                .get(query)
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            Query::Call(_) => vec![],
        };
        if is_nobodys {
            self.picked.remove(query);
            for place in &places {
                let is_picked = self.picked.values().any(|picked| picked.contains(place));
                if !is_picked && !self.referred.contains_key(&Query::One(place.clone())) {
                    self.objects.remove(place);
                }
            }
        }
        places
    }
}

impl State {
    /// Returns whether a kind is referred to for the first time.
    fn refer(&mut self, rollout: &Key, query: &Query) -> bool {
        let Some(resource) = kind_of(query) else {
            return false;
        };
        let is_first = !self.kinds.contains_key(resource);
        let kind = self.kinds.entry(resource.clone()).or_default();
        let rollouts = kind.referred.entry(query.clone()).or_default();
        rollouts.insert(rollout.clone());
        let refers = self.refers.entry(rollout.clone()).or_default();
        refers.insert(query.clone());
        is_first
    }

    /// A Rollout refers to nothing else than `kept`. Returns the objects that it did refer to.
    fn keep_only(&mut self, rollout: &Key, kept: &BTreeSet<Query>) -> Vec<Place> {
        let Some(refers) = self.refers.get_mut(rollout) else {
            return vec![];
        };
        let dropped: Vec<Query> = refers.difference(kept).cloned().collect();
        refers.retain(|query| kept.contains(query));
        if refers.is_empty() {
            self.refers.remove(rollout);
        }
        let mut places = Vec::new();
        for query in &dropped {
            let kind = kind_of(query).and_then(|resource| self.kinds.get_mut(resource));
            places.extend(kind.map_or_else(Vec::new, |kind| kind.forget(rollout, query)));
        }
        places
    }
}

impl Objects {
    /// An empty cache; `wanted` goes to [`Self::keep`]. Objects that a Rollout refers to no longer
    /// are handed to `let_go`.
    pub(super) fn new(
        namespace: Option<String>,
        wanted: UnboundedSender<Resource>,
        turn: UnboundedSender<ObjectRef<Rollout>>,
        let_go: UnboundedSender<(Place, Key)>,
    ) -> Self {
        Self {
            state: Mutex::default(),
            wanted,
            turn,
            let_go,
            namespace,
        }
    }

    /// Notes that a Rollout refers to something.
    pub(super) fn refer(&self, rollout: &Key, query: &Query) {
        if self.lock().refer(rollout, query)
            && let Some(resource) = kind_of(query)
        {
            // Nobody listens any more when the controller stops.
            let _ = self.wanted.send(resource.clone());
        }
    }

    /// Notes that a Rollout refers to nothing else.
    pub(super) fn keep_only(&self, rollout: &Key, kept: &BTreeSet<Query>) {
        let places = self.lock().keep_only(rollout, kept);
        for place in places {
            self.let_go_of(&place, rollout.clone());
        }
    }

    /// An object may not be the Rollout's any more.
    fn let_go_of(&self, place: &Place, rollout: Key) {
        // Nobody listens any more when the controller stops.
        let _ = self.let_go.send((place.clone(), rollout));
    }

    /// A Rollout is gone.
    pub(super) fn forget(&self, rollout: &Key) {
        self.keep_only(rollout, &BTreeSet::new());
    }

    /// Notes in `known` what answers a query of a Rollout about objects.
    pub(super) async fn look_up(
        &self,
        rollout: &Key,
        query: &Query,
        known: &mut Known,
        cluster: &Cluster,
    ) -> Result<(), cluster::Error> {
        let Some(resource) = kind_of(query) else {
            return Ok(());
        };
        let foreign =
            |namespace: &String| self.namespace.as_ref().is_some_and(|it| it != namespace);
        match query {
            // A controller of one namespace may not read beyond it.
            Query::One(place) if foreign(&place.namespace) => {
                known.note(place.clone(), None);
                return Ok(());
            }
            Query::Selected { namespace, .. } if foreign(namespace) => {
                known.note_selected(query.clone(), vec![]);
                return Ok(());
            }
            Query::One(_) | Query::Selected { .. } | Query::Call(_) => {}
        }
        self.refer(rollout, query);
        loop {
            let epoch = {
                let state = self.lock();
                let Some(kind) = state.kinds.get(resource) else {
                    return Ok(());
                };
                if let Some(why) = &kind.unavailable {
                    known.note_unavailable(resource.clone(), why.clone());
                    return Ok(());
                }
                if kind.answer(query, known) {
                    return Ok(());
                }
                kind.epoch
            };
            let read = read(query, cluster).await;
            let mut state = self.lock();
            let kind = state.kinds.entry(resource.clone()).or_default();
            match read {
                // What the watch tells meanwhile it does not tell again.
                _ if kind.epoch != epoch => {}
                Ok(found) => {
                    kind.learn(query, found.clone());
                    if !kind.answer(query, known) {
                        // Nobody refers to it any more: the Rollout is gone.
                        note(query, found, known);
                    }
                    return Ok(());
                }
                Err(error) if error.is_unknown_kind() => {
                    let why = format!(
                        "the cluster has no {} of {}: is it installed?",
                        resource.plural,
                        resource.api_version()
                    );
                    kind.unavailable = Some(why);
                }
                Err(error) if error.is_forbidden() => kind.unavailable = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes note of what an object has become by a change of this process.
    pub(super) fn note(&self, place: &Place, object: Option<Value>) {
        let mut state = self.lock();
        if let Some(kind) = state.kinds.get_mut(&place.resource) {
            kind.note(place, object.map(Arc::new).as_ref());
        }
    }

    /// Watches each kind that is wanted, until `shutdown`.
    pub(super) async fn keep(
        &self,
        mut wanted: UnboundedReceiver<Resource>,
        setup: &Setup,
        shutdown: CancellationToken,
    ) {
        let mut watches = SelectAll::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(resource) = wanted.recv() => watches.push(watch(resource, setup)),
                Some((resource, event)) = watches.next() => self.take(&resource, event),
            }
        }
    }

    fn take(&self, resource: &Resource, event: Event<DynamicObject>) {
        let mut state = self.lock();
        let Some(kind) = state.kinds.get_mut(resource) else {
            return;
        };
        let turns = match event {
            Event::Init => {
                kind.listed.clear();
                BTreeSet::new()
            }
            Event::InitApply(object) => {
                let (place, object) = read_event(resource, object);
                kind.note(&place, Some(&object));
                kind.listed.insert(place);
                BTreeSet::new()
            }
            Event::InitDone => {
                kind.all_listed();
                kind.referred.values().flatten().cloned().collect()
            }
            Event::Apply(object) => {
                let (place, object) = read_event(resource, object);
                // A selector may pick it no longer.
                let labels = kind.labels.get(&place);
                if labels.is_some_and(|labels| *labels != object["metadata"]["labels"]) {
                    for rollout in holders(&object) {
                        self.let_go_of(&place, rollout);
                    }
                }
                kind.note(&place, Some(&object));
                kind.rollouts(&place)
            }
            Event::Delete(object) => {
                let (place, _) = read_event(resource, object);
                kind.note(&place, None);
                kind.rollouts(&place)
            }
        };
        drop(state);
        for (namespace, name) in turns {
            // Nobody listens any more when the controller stops.
            let _ = self.turn.send(ObjectRef::new(&name).within(&namespace));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch(
    resource: Resource,
    setup: &Setup,
) -> BoxStream<'static, (Resource, Event<DynamicObject>)> {
    let client = setup.cluster.client_of(&resource);
    let api_resource = api_resource(&resource);
    let api = match &setup.scope.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &api_resource),
        None => Api::all_with(client, &api_resource),
    };
    // Nobody waits for it: whoever needs an object before reads it.
    let events = scope::watch_kind(api, api_resource.kind, "", &Readiness::default());
    let events = events.filter_map(move |event| {
        let event = event.ok().map(|event| (resource.clone(), event));
        std::future::ready(event)
    });
    events.boxed()
}

fn place_of(resource: &Resource, object: &Value) -> Place {
    let text = |field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    Place {
        resource: resource.clone(),
        namespace: text("namespace"),
        name: text("name"),
    }
}

fn read_event(resource: &Resource, object: DynamicObject) -> (Place, Arc<Value>) {
    let object = whole(resource, object);
    (place_of(resource, &object), Arc::new(object))
}

/// Reads from the cluster what answers a query.
async fn read(query: &Query, cluster: &Cluster) -> Result<Vec<(Place, Value)>, cluster::Error> {
    let found = match query {
        Query::One(place) => cluster.read_at(place).await?.into_iter().collect(),
        Query::Selected {
            resource,
            namespace,
            selector,
        } => cluster.read_selected(resource, namespace, selector).await?,
        Query::Call(_) => vec![],
    };
    let resource = kind_of(query).into_iter().cycle();
    let found = resource.zip(found);
    Ok(found
        .map(|(resource, object)| (place_of(resource, &object), object))
        .collect())
}

/// Notes what answers a query.
fn note(query: &Query, found: Vec<(Place, Value)>, known: &mut Known) {
    let mut found = found
        .into_iter()
        .map(|(place, object)| (place, Arc::new(object)));
    match query {
        Query::One(place) => known.note(place.clone(), found.next().map(|(_, object)| object)),
        Query::Selected { .. } => known.note_selected(query.clone(), found.collect()),
        Query::Call(_) => {}
    }
}

/// Notes what answers a query about objects, read from the cluster whatever is known.
pub(super) async fn read_into(
    known: &mut Known,
    query: &Query,
    cluster: &Cluster,
) -> Result<(), cluster::Error> {
    note(query, read(query, cluster).await?, known);
    Ok(())
}
