//! Who holds an object: noted on it as long as it is not as it would be without the Rollout.
//!
//! The note says all that it takes to give the object back: whoever finds it, and no Rollout that
//! names the object any more, can do so, also after a restart, and although the Rollout is gone. It is
//! written with the first change of an update and goes with the last one; an object that was made for
//! a Rollout bears it as long as it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::split::controller;
use super::{Known, Notice, Place, Query, Subject, Versions, Write, routers};
use crate::api::{API_VERSION, CanaryStrategy, PingPongSide};

/// Annotation of an object that routers have changed or made: JSON, by `namespace/name` of the
/// Rollout.
pub const HELD_BY: &str = "rollouts.verdict.dev/held-by";

/// How a Rollout holds an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hold {
    uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stable_ping_pong: Option<PingPongSide>,
    /// Its Services and routers.
    canary: CanaryStrategy,
}

type Holds = BTreeMap<String, Hold>;

/// A Rollout that holds objects.
#[derive(Debug)]
pub struct Holder {
    /// `namespace/name`
    key: String,
    hold: Hold,
}

impl Hold {
    fn subject<'a>(&'a self, key: &'a str) -> Subject<'a> {
        let (namespace, name) = key.split_once('/').unwrap_or_default();
        Subject {
            namespace,
            name,
            owner: OwnerReference {
                api_version: API_VERSION.to_owned(),
                kind: "Rollout".to_owned(),
                name: name.to_owned(),
                uid: self.uid.clone(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            },
            canary: &self.canary,
            stable_ping_pong: self.stable_ping_pong.as_ref(),
        }
    }

    /// The object as it would be without the Rollout; none if that is as it is.
    fn given_back(
        &self,
        key: &str,
        place: &Place,
        known: &Known,
        versions: &Versions,
    ) -> Option<Write> {
        let routers = routers(&self.subject(key), versions);
        let mut writes = routers.iter().flat_map(|router| router.release(known));
        writes.find(|write| write.place() == Some(place))
    }
}

/// What an object's note says. One that cannot be read says nothing.
fn holds(object: &Value) -> Holds {
    let note = object["metadata"]["annotations"][HELD_BY].as_str();
    let holds = note.map(serde_json::from_str::<Holds>);
    holds.and_then(Result::ok).unwrap_or_default()
}

/// The Rollouts that hold an object: namespace and name.
#[must_use]
pub fn holders(object: &Value) -> Vec<(String, String)> {
    let keys = holds(object).into_keys();
    keys.filter_map(|key| {
        let (namespace, name) = key.split_once('/')?;
        Some((namespace.to_owned(), name.to_owned()))
    })
    .collect()
}

/// Notes on an object that it is held, or no longer.
fn note(object: &mut Value, key: &str, hold: Option<&Hold>) {
    let mut holds = holds(object);
    match hold {
        Some(hold) => holds.insert(key.to_owned(), hold.clone()),
        None => holds.remove(key),
    };
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    let annotations = metadata.entry("annotations");
    let annotations = annotations.or_insert_with(|| Map::new().into());
    let Some(annotations) = annotations.as_object_mut() else {
        return;
    };
    if holds.is_empty() {
        annotations.remove(HELD_BY);
    } else {
        let holds = serde_json::to_string(&holds).unwrap_or_default();
        annotations.insert(HELD_BY.to_owned(), holds.into());
    }
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

impl Holder {
    /// A Rollout with what it takes to give back what it holds.
    #[must_use]
    pub fn of(subject: &Subject<'_>) -> Self {
        let written = subject.canary;
        Self {
            key: format!("{}/{}", subject.namespace, subject.name),
            hold: Hold {
                uid: subject.owner.uid.clone(),
                stable_ping_pong: subject.stable_ping_pong.cloned(),
                canary: CanaryStrategy {
                    canary_service: written.canary_service.clone(),
                    stable_service: written.stable_service.clone(),
                    ping_pong: written.ping_pong.clone(),
                    traffic_routing: written.traffic_routing.clone(),
                    ..CanaryStrategy::default()
                },
            },
        }
    }

    /// What is known, but with what other settings of the same Rollout have changed given back:
    /// what it no longer names in an object that it still does must not stay as it is.
    #[must_use]
    pub fn without_former(&self, known: &Known, versions: &Versions) -> Known {
        let mut given_back = known.clone();
        for (place, object) in known.objects() {
            let former = holds(object).remove(&self.key);
            let Some(former) = former.filter(|former| *former != self.hold) else {
                continue;
            };
            let write = former.given_back(&self.key, place, known, versions);
            if let Some(Write::Update { after, .. }) = write {
                given_back.note(place.clone(), Some(Arc::new(after)));
            }
        }
        given_back
    }

    /// The writes of routers, made to what is really `known` and with the note. `given_back` is what
    /// they were told instead; `idle` is set when no update is under way.
    #[must_use]
    pub fn noted(
        &self,
        known: &Known,
        given_back: &Known,
        writes: Vec<Write>,
        idle: Option<&Versions>,
    ) -> Vec<Write> {
        let mut noted = Vec::new();
        let mut written = BTreeSet::new();
        for write in writes {
            written.extend(write.place().cloned());
            match write {
                Write::Create {
                    place,
                    mut object,
                    notice,
                } => {
                    note(&mut object, &self.key, Some(&self.hold));
                    noted.push(Write::Create {
                        place,
                        object,
                        notice,
                    });
                }
                Write::Update {
                    place,
                    before,
                    after,
                    notice,
                } => {
                    let before = known.get(&place).cloned().unwrap_or(before);
                    noted.extend(self.update((place, before, after, notice), known, idle));
                }
                other @ (Write::Delete { .. } | Write::Call(_)) => noted.push(other),
            }
        }
        for (place, before) in known.objects() {
            let is_held = holds(before).contains_key(&self.key) && !written.contains(place);
            if let Some(after) = given_back.get(place).filter(|_| is_held) {
                let change = (place.clone(), Arc::clone(before), Value::clone(after), None);
                noted.extend(self.update(change, known, idle));
            }
        }
        noted
    }

    fn update(
        &self,
        (place, before, mut after, notice): (Place, Arc<Value>, Value, Option<Notice>),
        known: &Known,
        idle: Option<&Versions>,
    ) -> Option<Write> {
        // Some routers leave their mark on objects at rest, too.
        let is_marked = |versions: &Versions| {
            let mut known = known.clone();
            known.note(place.clone(), Some(Arc::new(after.clone())));
            let given_back = self.hold.given_back(&self.key, &place, &known, versions);
            given_back.is_some() || controller(&before) == Some(self.hold.uid.as_str())
        };
        let is_held = idle.is_none_or(is_marked);
        note(&mut after, &self.key, is_held.then_some(&self.hold));
        (*before != after).then_some(Write::Update {
            place,
            before,
            after,
            notice,
        })
    }
}

/// Of the queries those that have not been answered.
fn unanswered(
    routers: &[Box<dyn super::Router + '_>],
    known: &Known,
) -> Result<(), BTreeSet<Query>> {
    let queries = routers.iter().flat_map(|router| router.queries(known));
    let open: BTreeSet<Query> = queries.filter(|query| !known.answers(query)).collect();
    if open.is_empty() { Ok(()) } else { Err(open) }
}

/// Whether the routers of a Rollout look at an object.
///
/// # Errors
/// What has to be looked up before that can be told.
pub fn names(
    subject: &Subject<'_>,
    place: &Place,
    known: &Known,
    versions: &Versions,
) -> Result<bool, BTreeSet<Query>> {
    let routers = routers(subject, versions);
    unanswered(&routers, known)?;
    let mut queries = routers.iter().flat_map(|router| router.queries(known));
    Ok(queries.any(|query| match &query {
        Query::One(named) => named == place,
        Query::Selected { .. } => known.picked(&query).contains(place),
        Query::Call(_) => false,
    }))
}

/// What is known, but with an object among those that are selected by label: it may have lost the label
/// since.
fn as_selected(routers: &[Box<dyn super::Router + '_>], place: &Place, known: &Known) -> Known {
    let mut selected = known.clone();
    for query in routers.iter().flat_map(|router| router.queries(known)) {
        selected.pick(query, place);
    }
    selected
}

/// What frees an object from a Rollout (`namespace/name`) that is gone or names it no longer.
///
/// # Errors
/// What has to be looked up before that can be told.
pub fn release(
    rollout: &str,
    place: &Place,
    known: &Known,
    versions: &Versions,
) -> Result<Option<Write>, BTreeSet<Query>> {
    let Some(before) = known.get(place) else {
        return Ok(None);
    };
    let Some(hold) = holds(before).remove(rollout) else {
        return Ok(None);
    };
    let routers = routers(&hold.subject(rollout), versions);
    unanswered(&routers, known)?;
    let known = as_selected(&routers, place, known);
    let mut after = Value::clone(before);
    match hold.given_back(rollout, place, &known, versions) {
        Some(Write::Update {
            after: restored, ..
        }) => after = restored,
        Some(other) => return Ok(Some(other)),
        None => {}
    }
    note(&mut after, rollout, None);
    Ok(Some(Write::Update {
        place: place.clone(),
        before: Arc::clone(before),
        after,
        notice: None,
    }))
}
