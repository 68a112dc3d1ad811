//! Routers under test: objects are YAML, and what is written is shown as the lines that differ.

use std::fmt::Write as _;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    FIELD, Known, Notice, Place, PortUse, Query, Route, Router, Split, Subject, Version, Versions,
    Write,
};
use crate::api::{CanaryStrategy, PingPongSide, TrafficWeights, WeightDestination};

/// A Rollout with one router, and the objects of the cluster.
pub(super) struct World {
    /// Name and `uid` of the Rollout.
    pub(super) name: &'static str,
    canary: CanaryStrategy,
    pub(super) objects: Vec<Value>,
    pub(super) stable_ping_pong: Option<PingPongSide>,
    pub(super) versions: Versions,
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn is_at(object: &Value, place: &Place) -> bool {
    let metadata = &object["metadata"];
    object["apiVersion"] == place.resource.api_version()
        && object["kind"] == place.resource.kind
        && metadata["namespace"] == place.namespace
        && metadata["name"] == place.name
}

impl World {
    /// The strategy of the Rollout `shop` in the namespace `shop`, and objects, which are there too
    /// if they name no other.
    pub(super) fn new(canary: &str, objects: &str) -> Self {
        let documents = objects
            .split("---\n")
            .filter(|text| !text.trim().is_empty());
        let objects = documents.map(yaml).map(|mut object| {
            let namespace = object["metadata"].get("namespace").is_none();
            if namespace {
                object["metadata"]["namespace"] = "shop".into();
            }
            object
        });
        Self {
            name: "shop",
            canary: serde_json::from_value(yaml(canary)).unwrap(),
            objects: objects.collect(),
            stable_ping_pong: None,
            versions: Versions::default(),
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            namespace: "shop",
            name: self.name,
            owner: OwnerReference {
                api_version: "argoproj.io/v1alpha1".to_owned(),
                block_owner_deletion: Some(true),
                controller: Some(true),
                kind: "Rollout".to_owned(),
                name: self.name.to_owned(),
                uid: self.name.to_owned(),
            },
            canary: &self.canary,
            stable_ping_pong: self.stable_ping_pong.as_ref(),
        }
    }

    fn known(&self, router: &dyn Router) -> Known {
        let mut known = Known::default();
        loop {
            let queries = router.queries(&known);
            let Some(query) = queries.iter().find(|query| !known.answers(query)) else {
                return known;
            };
            match query {
                Query::One(place) => {
                    let found = self.objects.iter().find(|object| is_at(object, place));
                    known.note(place.clone(), found.cloned().map(Arc::new));
                }
                Query::Selected { .. } | Query::Call(_) => panic!("not here: {query:?}"),
            }
        }
    }

    /// The one router that there is, and what it knows.
    fn router(&self) -> (Box<dyn Router + '_>, Known) {
        let mut routers = super::routers(&self.subject(), &self.versions);
        assert_eq!(routers.len(), 1);
        let router = routers.remove(0);
        let known = self.known(&*router);
        (router, known)
    }

    /// What is wrong with the objects, a line each.
    pub(super) fn problems(&self) -> String {
        let (router, known) = self.router();
        let problems = router.problems(&known);
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        if lines.is_empty() {
            return "none".to_owned();
        }
        lines.join("\n")
    }

    /// At which ports its objects lead to the Services.
    pub(super) fn ports(&self) -> String {
        let (router, known) = self.router();
        let ports = router.ports(&known);
        let field = |port: &PortUse| {
            let field = port.field.strip_prefix(&format!("{FIELD}."));
            format!("{}={}", field.unwrap_or_default(), port.value)
        };
        let first = ports.first().map(field);
        assert!(ports.iter().all(|port| Some(field(port)) == first));
        let ports = ports.iter();
        let ports: Vec<_> = ports
            .map(|it| format!("{} {}", it.service, it.port))
            .collect();
        first.map_or_else(String::new, |first| {
            format!("{first}: {}", ports.join(", "))
        })
    }

    pub(super) fn writes(&self, split: &Split) -> Result<Vec<Write>, String> {
        let (router, known) = self.router();
        router.route(&known, split)
    }

    fn position(&self, write: &Write) -> Option<usize> {
        let (Write::Create { place, .. }
        | Write::Update { place, .. }
        | Write::Delete { place, .. }) = write
        else {
            return None;
        };
        self.objects.iter().position(|object| is_at(object, place))
    }

    fn apply(&mut self, writes: Vec<Write>) {
        for write in writes {
            let found = self.position(&write);
            match write {
                Write::Create { place, object, .. } => {
                    assert!(found.is_none() && is_at(&object, &place), "{place:?}");
                    self.objects.push(object);
                }
                Write::Update { before, after, .. } => {
                    let found = found.unwrap();
                    assert_eq!(self.objects[found], *before);
                    assert_ne!(after, *before);
                    self.objects[found] = after;
                }
                Write::Delete { before, .. } => {
                    assert_eq!(self.objects.remove(found.unwrap()), *before);
                }
                Write::Call(call) => panic!("not here: {call:?}"),
            }
        }
    }

    /// Writes what a split needs, until nothing is left to write, in so many passes at most.
    pub(super) fn settle(&mut self, split: &Split, passes: usize) {
        for _ in 0..passes {
            let writes = self.writes(split).unwrap();
            self.apply(writes);
        }
        assert_eq!(self.writes(split), Ok(vec![]), "for {split:?}");
    }

    /// Writes what a split needs, once, and tells what that was.
    pub(super) fn route(&mut self, split: &Split) -> String {
        match self.writes(split) {
            Ok(writes) => self.tell(writes),
            Err(why) => format!("error: {why}\n"),
        }
    }

    /// Gives back what is not the Rollout's any more, and tells what was written.
    pub(super) fn release(&mut self) -> String {
        let released = |world: &Self| {
            let (router, known) = world.router();
            router.release(&known)
        };
        let told = self.tell(released(self));
        assert_eq!(released(self), vec![]);
        told
    }

    fn tell(&mut self, writes: Vec<Write>) -> String {
        if writes.is_empty() {
            return "nothing\n".to_owned();
        }
        let told = writes.iter().map(told).collect();
        self.apply(writes);
        told
    }

    /// Passes with their headings.
    pub(super) fn story<T: AsRef<str>>(passes: &[(T, String)]) -> String {
        let mut story = String::new();
        for (heading, told) in passes {
            let _ = writeln!(story, "## {}\n\n{told}", heading.as_ref());
        }
        story
    }
}

fn told(write: &Write) -> String {
    let nothing = Value::Null;
    let (verb, place, before, after, notice) = match write {
        Write::Create {
            place,
            object,
            notice,
        } => ("create", place, &nothing, object, notice),
        Write::Update {
            place,
            before,
            after,
            notice,
        } => ("update", place, &**before, after, notice),
        Write::Delete {
            place,
            before,
            notice,
        } => ("delete", place, &**before, &nothing, notice),
        Write::Call(call) => return format!("call {call:?}\n"),
    };
    let Place {
        namespace, name, ..
    } = place;
    let mut told = format!("{verb} {} {namespace}/{name}\n", place.resource.kind);
    if let Some(Notice { reason, message }) = notice {
        let _ = writeln!(told, "event {reason}: {message}");
    }
    if !after.is_null() {
        told += &difference(&lines(before), &lines(after));
    }
    told
}

fn lines(object: &Value) -> Vec<String> {
    match object {
        Value::Null => Vec::new(),
        object => {
            let text = serde_saphyr::to_string(object).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }
}

/// All lines, and which were added or are gone, by the longest common subsequence.
fn difference(before: &[String], after: &[String]) -> String {
    let mut common = vec![vec![0; after.len() + 1]; before.len() + 1];
    for old in (0..before.len()).rev() {
        for new in (0..after.len()).rev() {
            common[old][new] = if before[old] == after[new] {
                common[old + 1][new + 1] + 1
            } else {
                common[old + 1][new].max(common[old][new + 1])
            };
        }
    }
    let (mut old, mut new, mut text) = (0, 0, String::new());
    while old < before.len() || new < after.len() {
        let ends = old == before.len() || new == after.len();
        let (sign, line) = if !ends && before[old] == after[new] {
            (old, new) = (old + 1, new + 1);
            (' ', &before[old - 1])
        } else if new == after.len()
            || old < before.len() && common[old + 1][new] >= common[old][new + 1]
        {
            old += 1;
            ('-', &before[old - 1])
        } else {
            new += 1;
            ('+', &after[new - 1])
        };
        let _ = writeln!(text, "{sign} {line}");
    }
    text
}

fn part(weight: i32, service: &str, hash: &str) -> WeightDestination {
    WeightDestination {
        weight,
        service_name: service.to_owned(),
        pod_template_hash: hash.to_owned(),
        ..WeightDestination::default()
    }
}

/// So many percent to the new version, 844b76f7fc, the rest to 7dc666b946.
pub(super) fn a_split(canary: i32) -> Split {
    let version = |hash: &str| Version {
        hash: hash.to_owned(),
        replica_set: format!("shop-{hash}"),
        wanted: 5,
        available: 5,
    };
    Split {
        weights: TrafficWeights {
            canary: part(canary, "shop-canary", "844b76f7fc"),
            stable: part(100 - canary, "shop-stable", "7dc666b946"),
            ..TrafficWeights::default()
        },
        whole: 100,
        routes: Vec::new(),
        is_idle: false,
        versions: vec![version("844b76f7fc"), version("7dc666b946")],
    }
}

impl Split {
    /// And so many to an experiment.
    pub(super) fn and(mut self, service: &str, weight: i32) -> Self {
        let hash = format!("hash-of-{service}");
        self.weights.additional.push(part(weight, service, &hash));
        self
    }

    /// And a route by header.
    pub(super) fn and_header(mut self, name: &str, matches: &Value) -> Self {
        let route = json!({"name": name, "match": matches});
        let route = serde_json::from_value(route).unwrap();
        self.routes.push(Route::Header(route));
        self
    }

    /// And a mirror.
    pub(super) fn and_mirror(mut self, name: &str, percentage: Option<i32>, of: &Value) -> Self {
        let route = json!({"name": name, "percentage": percentage, "match": of});
        let route = serde_json::from_value(route).unwrap();
        self.routes.push(Route::Mirror(route));
        self
    }
}

/// Any split between a new and the stable version, with up to two experiments and the managed
/// routes `first` and `second`.
pub(super) fn any_split() -> impl Strategy<Value = Split> {
    let experiments = prop::sample::subsequence(vec!["shop-a", "shop-b"], 0..=2);
    let routes = prop::sample::subsequence(vec!["first", "second"], 0..=2);
    let kinds = prop::array::uniform2(any::<bool>());
    let parts = (
        0..=90i32,
        experiments,
        routes,
        kinds,
        "[a-c]{2}",
        "[a-c]{2}",
    );
    parts.prop_map(|(canary, experiments, routes, headers, new, stable)| {
        let mut split = a_split(canary);
        split.weights.canary.pod_template_hash = new;
        split.weights.stable.pod_template_hash = stable;
        for service in experiments {
            split = split.and(service, 5);
        }
        for (name, is_header) in routes.into_iter().zip(headers) {
            let header = json!([{"headerName": "X-Side", "headerValue": {"exact": name}}]);
            let path = json!([{"path": {"prefix": format!("/{name}")}}]);
            split = if is_header {
                split.and_header(name, &header)
            } else {
                split.and_mirror(name, None, &path)
            };
        }
        split
    })
}
