//! Objects of routers: where they are, what is known of them, and what is to be written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::api::AlbStatus;

/// A kind of object, as the API server serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version, e.g. `v1`.
    pub version: String,
    /// Kind, e.g. `TraefikService`.
    pub kind: &'static str,
    /// Its name in paths, e.g. `traefikservices`.
    pub plural: &'static str,
}

impl Resource {
    /// Group and version, as objects write them.
    #[must_use]
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Place {
    /// That it is not there, as the API server says it.
    #[must_use]
    pub fn missing(&self) -> String {
        let Resource { group, plural, .. } = &self.resource;
        match group.as_str() {
            "" => format!("{plural} \"{}\" not found", self.name),
            group => format!("{plural}.{group} \"{}\" not found", self.name),
        }
    }
}

/// Something that is asked or told outside of the cluster. Asking twice is the same as asking once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// A plugin of the controller's configuration. Whoever calls adds the Rollout.
    Plugin {
        /// Its name, `owner/repository`.
        plugin: String,
        /// What it is to do.
        method: &'static str,
        /// What it is told beside the Rollout: an object, as JSON.
        body: String,
    },
    /// The API of AWS' load balancers, version 2015-12-01. It is only ever asked.
    Elb {
        /// Region, e.g. `eu-west-1`.
        region: String,
        /// Action, e.g. `DescribeLoadBalancers`.
        action: &'static str,
        /// Its parameters, as the API numbers them: `Names.member.1`.
        parameters: Vec<(String, String)>,
    },
}

/// Something that a router has to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Query {
    /// One object, or that there is none.
    One(Place),
    /// All objects of a kind in a namespace that a label selector picks.
    Selected {
        /// Their kind.
        resource: Resource,
        /// Their namespace.
        namespace: String,
        /// As in a list request, e.g. `app=web,tier in (front)`.
        selector: String,
    },
    /// The answer to a call.
    Call(Call),
}

/// What has been looked up. An object is its whole JSON, `managedFields` excepted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    objects: BTreeMap<Place, Option<Arc<Value>>>,
    selected: BTreeMap<Query, Vec<Place>>,
    answers: BTreeMap<Call, Result<Value, String>>,
    unavailable: BTreeMap<Resource, String>,
}

impl Known {
    /// Whether the answer to a query is among what is known.
    #[must_use]
    pub fn answers(&self, query: &Query) -> bool {
        match query {
            Query::One(place) => {
                self.objects.contains_key(place) || self.unavailable.contains_key(&place.resource)
            }
            Query::Selected { resource, .. } => {
                self.selected.contains_key(query) || self.unavailable.contains_key(resource)
            }
            Query::Call(call) => self.answers.contains_key(call),
        }
    }

    /// Notes that objects of a kind cannot be looked up, and why.
    pub fn note_unavailable(&mut self, resource: Resource, why: String) {
        self.unavailable.insert(resource, why);
    }

    /// Why what a query asks for cannot be looked up; none if it can.
    #[must_use]
    pub fn why_unavailable(&self, query: &Query) -> Option<&str> {
        let resource = match query {
            Query::One(place) => &place.resource,
            Query::Selected { resource, .. } => resource,
            Query::Call(_) => return None,
        };
        self.unavailable.get(resource).map(String::as_str)
    }

    /// Notes an object, or that there is none.
    pub fn note(&mut self, place: Place, object: Option<Arc<Value>>) {
        self.objects.insert(place, object);
    }

    /// Notes the objects that were picked.
    pub fn note_selected(&mut self, query: Query, found: Vec<(Place, Arc<Value>)>) {
        let places = found.iter().map(|(place, _)| place.clone()).collect();
        for (place, object) in found {
            self.note(place, Some(object));
        }
        self.selected.insert(query, places);
    }

    /// Notes that a selection of an object's kind and namespace picks it, too.
    pub(super) fn pick(&mut self, query: Query, place: &Place) {
        if let Query::Selected {
            resource,
            namespace,
            ..
        } = &query
            && (resource, namespace) == (&place.resource, &place.namespace)
        {
            let picked = self.selected.entry(query).or_default();
            if !picked.contains(place) {
                picked.push(place.clone());
            }
        }
    }

    /// Notes what was answered to a call, or why nothing was.
    pub fn note_answer(&mut self, call: Call, answer: Result<Value, String>) {
        self.answers.insert(call, answer);
    }

    /// What was answered to a call, or why nothing was; none if nobody has asked.
    #[must_use]
    pub fn answer(&self, call: &Call) -> Option<Result<&Value, &str>> {
        let answer = self.answers.get(call)?;
        Some(answer.as_ref().map_err(String::as_str))
    }

    /// All objects that are there.
    pub fn objects(&self) -> impl Iterator<Item = (&Place, &Arc<Value>)> {
        let objects = self.objects.iter();
        objects.filter_map(|(place, object)| Some((place, object.as_ref()?)))
    }

    /// The object at a place; none if there is none.
    #[must_use]
    pub fn get(&self, place: &Place) -> Option<&Arc<Value>> {
        self.objects.get(place)?.as_ref()
    }

    /// The objects that a query has picked, in the order of their names.
    #[must_use]
    pub fn picked(&self, query: &Query) -> &[Place] {
        self.selected.get(query).map_or(&[], Vec::as_slice)
    }
}

/// What is told as an Event of the Rollout once something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// One word from a closed set.
    pub reason: &'static str,
    /// The sentence.
    pub message: String,
}

/// One change to an object of a router.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Make an object that is not there.
    Create {
        /// Where.
        place: Place,
        /// The whole object.
        object: Value,
        /// What is told then.
        notice: Option<Notice>,
    },
    /// Change an object: exactly what differs is written, and only to the version that was found.
    Update {
        /// Where.
        place: Place,
        /// As it was found.
        before: Arc<Value>,
        /// As it should be.
        after: Value,
        /// What is told then.
        notice: Option<Notice>,
    },
    /// Delete an object that is the Rollout's own.
    Delete {
        /// Where.
        place: Place,
        /// As it was found.
        before: Arc<Value>,
        /// What is told then.
        notice: Option<Notice>,
    },
    /// Tell something outside of the cluster, of which nobody knows whether it has been told.
    Call(Call),
}

/// What is known of how the traffic is divided by now.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Verification {
    /// The router cannot tell.
    #[default]
    NotApplicable,
    /// It can tell more when these have been looked up.
    Ask(Vec<Query>),
    /// It cannot tell now, and why.
    Failed(String),
    /// It can.
    Told(Verified),
}

/// What a router tells of how the traffic is divided by now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verified {
    /// Whether it is divided as it should be: `status.canary.weights.verified`.
    pub is_verified: bool,
    /// The load balancers, one for each Ingress: `status.albs`, the last of them `status.alb`.
    pub albs: Vec<AlbStatus>,
    /// Told as Events.
    pub notices: Vec<Notice>,
    /// Told as Events of type Warning.
    pub warnings: Vec<Notice>,
}

/// What is found out on the way to a [`Verification`].
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What is told if nothing is open and nothing has failed.
    pub(super) told: Verified,
    /// What has to be looked up first.
    pub(super) open: Vec<Query>,
    /// Why something cannot be told.
    pub(super) failures: Vec<String>,
    /// Whether something is not as it should be.
    pub(super) differs: bool,
}

impl Findings {
    pub(super) fn concluded(mut self) -> Verification {
        if !self.open.is_empty() {
            return Verification::Ask(self.open);
        }
        // The same may have been asked for several objects.
        self.failures.dedup();
        if !self.failures.is_empty() {
            return Verification::Failed(self.failures.join("; "));
        }
        self.told.is_verified = !self.differs;
        Verification::Told(self.told)
    }
}

impl Write {
    /// Where it is made; none outside of the cluster.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Create { place, .. }
            | Self::Update { place, .. }
            | Self::Delete { place, .. } => Some(place),
            Self::Call(_) => None,
        }
    }

    /// A change to an object; none if nothing differs.
    #[must_use]
    pub fn update(
        place: Place,
        before: &Arc<Value>,
        after: Value,
        notice: impl Into<Option<Notice>>,
    ) -> Option<Self> {
        (**before != after).then(|| Self::Update {
            place,
            before: Arc::clone(before),
            after,
            notice: notice.into(),
        })
    }

    /// The end of an object of the Rollout's own.
    #[must_use]
    pub fn delete(place: Place, before: &Arc<Value>, notice: impl Into<Option<Notice>>) -> Self {
        Self::Delete {
            place,
            before: Arc::clone(before),
            notice: notice.into(),
        }
    }
}

/// A member of an object, which becomes one if it is none.
pub(super) fn member<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    &mut value[key]
}

/// Sets the weight of an entry of a list; leaves it as it is written where it is that already. Whether
/// it had to be set. `absent` is the weight of an entry that has none; where that is not known, one
/// is written.
pub(super) fn set_weight(entry: &mut Value, weight: i32, absent: Option<i32>) -> bool {
    let found = entry["weight"].as_f64().or(absent.map(f64::from));
    let differs = found != Some(f64::from(weight));
    if differs {
        entry["weight"] = weight.into();
    }
    differs
}
