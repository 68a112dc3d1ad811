//! Objects of routers: where they are, what is known of them, and what is to be written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

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
}

/// What has been looked up. An object is its whole JSON, `managedFields` excepted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    objects: BTreeMap<Place, Option<Arc<Value>>>,
    selected: BTreeMap<Query, Vec<Place>>,
}

impl Known {
    /// Whether the answer to a query is among what is known.
    #[must_use]
    pub fn answers(&self, query: &Query) -> bool {
        match query {
            Query::One(place) => self.objects.contains_key(place),
            Query::Selected { .. } => self.selected.contains_key(query),
        }
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
}

impl Write {
    /// A change to an object; none if nothing differs.
    #[must_use]
    pub fn update(place: Place, before: &Arc<Value>, after: Value, notice: Notice) -> Option<Self> {
        (**before != after).then(|| Self::Update {
            place,
            before: Arc::clone(before),
            after,
            notice: Some(notice),
        })
    }
}
