//! The garbage collector: dependents go when their owners are gone, before them, or not at all.
//!
//! # Source
//! `attemptToDeleteItem`, `processDeletingDependentsItem` and `orphanDependents` of the Kubernetes
//! garbage collector.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use super::change::Change;
use super::graph::{FOREGROUND, Graph, Node, ORPHAN};

/// Owners that no watch has shown where they could own the object; whether they exist must be asked
/// before anything is deleted.
pub(super) fn unseen_owners(graph: &Graph, uid: &str) -> Vec<OwnerReference> {
    let Some(node) = graph.get(uid) else {
        return Vec::new();
    };
    let is_unseen = |owner: &&OwnerReference| owner_of(graph, node, owner).is_none();
    node.owners.iter().filter(is_unseen).cloned().collect()
}

/// The owner that a reference of `node` means. One of another name, or from another namespace, is
/// not meant even if it has the uid.
fn owner_of<'a>(graph: &'a Graph, node: &Node, owner: &OwnerReference) -> Option<&'a Node> {
    let found = graph.get(&owner.uid)?;
    let is_near = found.key.namespace.is_empty() || found.key.namespace == node.key.namespace;
    (is_near && found.key.name == owner.name).then_some(found)
}

/// Decides what becomes of an object because of those that it owns and that own it.
///
/// `absent` are the uids of those owners that are known not to exist.
pub(super) fn decide(graph: &Graph, uid: &str, absent: &BTreeSet<String>) -> Vec<Change> {
    let Some(node) = graph.get(uid) else {
        return Vec::new();
    };
    if node.deleting && node.has_finalizer(ORPHAN) {
        return orphan(graph, node);
    }
    if node.waits_for_dependents() {
        return await_dependents(graph, node);
    }
    if node.deleting || node.owners.is_empty() {
        return Vec::new();
    }
    let is_absent = |owner: &&OwnerReference| absent.contains(&owner.uid);
    let waits = |owner: &&OwnerReference| {
        owner_of(graph, node, owner).is_some_and(Node::waits_for_dependents)
    };
    let lost = node
        .owners
        .iter()
        .filter(|owner| is_absent(owner) || waits(owner))
        .count();
    if lost == 0 {
        return Vec::new();
    }
    if lost < node.owners.len() {
        let kept: Vec<_> = node
            .owners
            .iter()
            .filter(|owner| !is_absent(owner) && !waits(owner))
            .collect();
        return vec![set_owners(node, &json!(kept))];
    }
    let waited_for = node.owners.iter().any(|owner| waits(&owner));
    let policy = if node.has_finalizer(ORPHAN) {
        PropagationPolicy::Orphan
    } else if node.has_finalizer(FOREGROUND)
        || (waited_for && graph.dependents(uid).next().is_some())
    {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    };
    vec![delete(node, Some(policy))]
}

fn delete(node: &Node, propagation: Option<PropagationPolicy>) -> Change {
    Change::Delete {
        target: node.target(),
        grace_seconds: None,
        propagation,
    }
}

/// Takes an owner out of all its dependents, then lets it go.
fn orphan(graph: &Graph, node: &Node) -> Vec<Change> {
    let mut changes: Vec<_> = graph
        .dependents(&node.uid)
        .map(|dependent| {
            let kept: Vec<_> = dependent
                .owners
                .iter()
                .filter(|owner| owner.uid != node.uid)
                .collect();
            let kept = if kept.is_empty() {
                Value::Null
            } else {
                json!(kept)
            };
            set_owners(dependent, &kept)
        })
        .collect();
    changes.push(remove_finalizer(node, ORPHAN));
    changes
}

/// Lets an owner go when no dependent blocks it any more.
fn await_dependents(graph: &Graph, node: &Node) -> Vec<Change> {
    let blocks = |dependent: &Node| {
        let mut owners = dependent.owners.iter();
        owners.any(|owner| owner.uid == node.uid && owner.block_owner_deletion == Some(true))
    };
    if graph.dependents(&node.uid).any(blocks) {
        return Vec::new();
    }
    vec![remove_finalizer(node, FOREGROUND)]
}

fn set_owners(node: &Node, owners: &Value) -> Change {
    Change::Patch {
        target: node.target(),
        patch: json!({"metadata": {"ownerReferences": owners}}),
    }
}

fn remove_finalizer(node: &Node, name: &str) -> Change {
    let kept: Vec<_> = node
        .finalizers
        .iter()
        .filter(|finalizer| *finalizer != name)
        .collect();
    let patch = json!({"metadata": {
        "finalizers": if kept.is_empty() { Value::Null } else { json!(kept) },
    }});
    Change::Patch {
        target: node.target(),
        patch,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ApiResource;

    use super::super::view::Key;
    use super::*;

    /// `name < owner!` is owned and blocks, `name < owner` is owned, `name:finalizer` is deleting.
    fn graph(objects: &[&str]) -> Graph {
        let mut graph = Graph::default();
        for text in objects {
            let mut words = text.split(" < ");
            let (name, finalizer) = match words.next().unwrap().split_once(':') {
                Some((name, finalizer)) => (name, Some(finalizer.to_owned())),
                None => (words_first(text), None),
            };
            let owners = words.map(|owner| OwnerReference {
                name: owner.trim_end_matches('!').to_owned(),
                uid: owner.trim_end_matches('!').to_owned(),
                block_owner_deletion: Some(owner.ends_with('!')),
                ..OwnerReference::default()
            });
            graph.put(Node {
                resource: Arc::new(ApiResource::erase::<ConfigMap>(&())),
                key: Key::new("default", name),
                uid: name.to_owned(),
                resource_version: "1".to_owned(),
                owners: owners.collect(),
                deleting: finalizer.is_some(),
                finalizers: finalizer.into_iter().collect(),
            });
        }
        graph
    }

    fn words_first(text: &str) -> &str {
        text.split(" < ").next().unwrap()
    }

    fn told(changes: &[Change]) -> Vec<String> {
        let tell = |change: &Change| match change {
            Change::Delete {
                target,
                propagation: Some(policy),
                ..
            } => {
                format!("delete {} {policy:?}", target.name)
            }
            Change::Patch { target, patch } => {
                let metadata = &patch["metadata"];
                let (field, value) = if metadata.get("finalizers").is_some() {
                    ("finalizers", &metadata["finalizers"])
                } else {
                    ("owners", &metadata["ownerReferences"])
                };
                let left = value.as_array().map_or(0, Vec::len);
                format!("{} keeps {left} {field}", target.name)
            }
            other => other.to_string(),
        };
        changes.iter().map(tell).collect()
    }

    /// Objects, the one looked at, owners known to be absent, what is done.
    type Case = (
        &'static [&'static str],
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    );

    #[test]
    fn owners_decide_over_their_dependents() {
        let cases: &[Case] = &[
            (&["a", "b < a"], "b", &[], &[]),
            (&["b < a"], "b", &[], &[]),
            (&["b < a"], "b", &["a"], &["delete b Background"]),
            (&["c", "b < a < c"], "b", &["a"], &["b keeps 1 owners"]),
            (&["b < a < c"], "b", &["a", "c"], &["delete b Background"]),
            (
                &["a:foregroundDeletion", "b < a!"],
                "b",
                &[],
                &["delete b Background"],
            ),
            (
                &["a:foregroundDeletion", "b < a!", "c < b!"],
                "b",
                &[],
                &["delete b Foreground"],
            ),
            (&["a:foregroundDeletion", "b < a!"], "a", &[], &[]),
            (
                &["a:foregroundDeletion", "b < a"],
                "a",
                &[],
                &["a keeps 0 finalizers"],
            ),
            (
                &["a:foregroundDeletion"],
                "a",
                &[],
                &["a keeps 0 finalizers"],
            ),
            (
                &["a:orphan", "b < a", "c < a < d"],
                "a",
                &[],
                &[
                    "b keeps 0 owners",
                    "c keeps 1 owners",
                    "a keeps 0 finalizers",
                ],
            ),
            (&["a:example.dev/hold", "b < a"], "a", &[], &[]),
        ];
        for (objects, uid, absent, expected) in cases {
            let absent = absent.iter().map(|uid| (*uid).to_owned()).collect();
            let changes = decide(&graph(objects), uid, &absent);
            assert_eq!(told(&changes), *expected, "{uid} of {objects:?}");
        }
    }

    #[test]
    fn only_owners_that_no_watch_has_shown_are_asked_for() {
        let unseen = unseen_owners(&graph(&["a", "b < a < c"]), "b");
        let unseen: Vec<_> = unseen.iter().map(|owner| owner.uid.as_str()).collect();
        assert_eq!(unseen, ["c"]);
    }

    #[test]
    fn an_owner_elsewhere_is_none() {
        let mut graph = graph(&["b < a"]);
        let mut elsewhere = graph.get("b").unwrap().clone();
        elsewhere.key = Key::new("other", "a");
        elsewhere.uid = "a".to_owned();
        graph.put(elsewhere);
        assert_eq!(unseen_owners(&graph, "b").len(), 1);
        let mut anywhere = graph.get("a").unwrap().clone();
        anywhere.key = Key::new("", "a");
        graph.put(anywhere);
        assert_eq!(unseen_owners(&graph, "b").len(), 0);
    }
}
