//! What every namespace has, and how one goes: its content first, with conditions that tell what is
//! left.
//!
//! # Source
//! The namespace controller's `namespacedResourcesDeleter`, and the controllers that publish a
//! service account and the root certificate in every namespace.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, NamespaceCondition, NamespaceStatus, ServiceAccount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PropagationPolicy;

use super::change::{Change, Decision, Target};
use super::graph::{Graph, Node};
use super::pods::time;
use super::view::{Key, View};

/// The ConfigMap with the certificate of the API server.
pub(super) const ROOT_CA: &str = "kube-root-ca.crt";

/// The service account of pods that name none.
const SERVICE_ACCOUNT: &str = "default";

/// Decides what a namespace lacks, or what goes with it.
pub(super) fn decide(view: &View, name: &str, now: Timestamp) -> Decision {
    let found = view.namespaces.get(&Key::new("", name));
    let changes = match found {
        Some(found) if found.metadata.deletion_timestamp.is_none() => furnish(view, name),
        Some(going) => empty(&view.graph, going, now),
        None => remove_content(&view.graph, name),
    };
    Decision::now(changes)
}

/// Makes what every namespace has. The embedded API server has no certificate, so its ConfigMap is
/// empty.
fn furnish(view: &View, namespace: &str) -> Vec<Change> {
    let metadata = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    let mut changes = Vec::new();
    let account = Key::new(namespace, SERVICE_ACCOUNT);
    if view.service_accounts.get(&account).is_none() {
        changes.push(Change::create(&ServiceAccount {
            metadata: metadata(SERVICE_ACCOUNT),
            ..ServiceAccount::default()
        }));
    }
    if view
        .config_maps
        .get(&Key::new(namespace, ROOT_CA))
        .is_none()
    {
        let data = BTreeMap::from([("ca.crt".to_owned(), String::new())]);
        changes.push(Change::create(&ConfigMap {
            metadata: metadata(ROOT_CA),
            data: Some(data),
            ..ConfigMap::default()
        }));
    }
    changes
}

/// Deletes what is in a namespace and tells what is left; lets it go once there is nothing.
fn empty(graph: &Graph, namespace: &Namespace, now: Timestamp) -> Vec<Change> {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let mut changes = remove_content(graph, name);
    let left: Vec<_> = graph.in_namespace(name).collect();
    let old = namespace.status.clone().unwrap_or_default();
    let new = NamespaceStatus {
        conditions: Some(conditions(&old, &left, now)),
        ..old.clone()
    };
    changes.extend(Change::status(namespace, &old, &new));
    let is_held = namespace.spec.as_ref().is_some_and(|spec| {
        let finalizers = spec.finalizers.as_deref().unwrap_or_default();
        !finalizers.is_empty()
    });
    if left.is_empty() && is_held {
        changes.push(Change::Finalize {
            namespace: name.to_owned(),
        });
    }
    changes
}

fn remove_content(graph: &Graph, namespace: &str) -> Vec<Change> {
    let left = graph.in_namespace(namespace).filter(|node| !node.deleting);
    left.map(|node| Change::Delete {
        // Whatever it has become, it goes.
        target: Target {
            version: None,
            ..node.target()
        },
        grace_seconds: None,
        propagation: Some(PropagationPolicy::Background),
    })
    .collect()
}

/// A condition that tells of something that stands in the way: its type, and the reason and the
/// message if nothing does.
const CONDITIONS: [[&str; 3]; 5] = [
    [
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ],
    [
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ],
    [
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ],
    [
        "NamespaceContentRemaining",
        "ContentRemoved",
        "All content successfully removed",
    ],
    [
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ],
];

fn conditions(old: &NamespaceStatus, left: &[&Node], now: Timestamp) -> Vec<NamespaceCondition> {
    let known = old.conditions.as_deref().unwrap_or_default();
    CONDITIONS
        .map(|[kind, reason, message]| {
            let problem = match kind {
                "NamespaceContentRemaining" => remaining(left),
                "NamespaceFinalizersRemaining" => finalizers(left),
                _ => None,
            };
            let status = if problem.is_some() { "True" } else { "False" };
            let (reason, message) =
                problem.unwrap_or_else(|| (reason.to_owned(), message.to_owned()));
            let before = known
                .iter()
                .find(|known| known.type_ == kind && known.status == status);
            let since = before.and_then(|before| before.last_transition_time.clone());
            NamespaceCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason),
                message: Some(message),
                last_transition_time: since.or_else(|| Some(time(now))),
            }
        })
        .into()
}

/// `pods. has 2 resource instances`: a resource, its group, and how many are left.
fn remaining(left: &[&Node]) -> Option<(String, String)> {
    let kinds = left.iter().map(|node| {
        let resource = &node.resource;
        format!("{}.{}", resource.plural, resource.group)
    });
    let kinds = listed(kinds, |kind, count| {
        format!("{kind} has {count} resource instances")
    })?;
    let message = format!("Some resources are remaining: {kinds}");
    Some(("SomeResourcesRemain".to_owned(), message))
}

fn finalizers(left: &[&Node]) -> Option<(String, String)> {
    let finalizers = left.iter().flat_map(|node| node.finalizers.clone());
    let finalizers = listed(finalizers, |finalizer, count| {
        format!("{finalizer} in {count} resource instances")
    })?;
    let message = format!("Some content in the namespace has finalizers remaining: {finalizers}");
    Some(("SomeFinalizersRemain".to_owned(), message))
}

/// Each of some things once, with how often it came; `None` if nothing came.
fn listed(
    things: impl Iterator<Item = String>,
    told: impl Fn(&str, usize) -> String,
) -> Option<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    for thing in things {
        *counts.entry(thing).or_default() += 1;
    }
    let told: Vec<_> = counts
        .iter()
        .map(|(thing, count)| told(thing, *count))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::api::ApiResource;
    use serde_json::json;

    use super::*;

    fn namespace() -> Namespace {
        serde_json::from_value(json!({
            "metadata": {"name": "shop", "uid": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Terminating"},
        }))
        .unwrap()
    }

    /// Objects of some kind; `name:finalizer` is deleting.
    fn graph(objects: &[&str]) -> Graph {
        let mut graph = Graph::default();
        for text in objects {
            let (name, finalizer) = text.split_once(':').unwrap_or((text, ""));
            let finalizers = [finalizer].into_iter().filter(|text| !text.is_empty());
            graph.put(Node {
                resource: Arc::new(ApiResource::erase::<ConfigMap>(&())),
                key: Key::new("shop", name),
                uid: name.to_owned(),
                resource_version: "1".to_owned(),
                owners: Vec::new(),
                finalizers: finalizers.map(str::to_owned).collect(),
                deleting: !finalizer.is_empty(),
            });
        }
        graph
    }

    /// The changes, with the messages of the conditions that tell of something.
    fn told(objects: &[&str]) -> Vec<String> {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let tell = |change: &Change| {
            let Change::Status { patch, .. } = change else {
                return vec![change.to_string()];
            };
            let conditions = patch["status"]["conditions"].as_array().unwrap();
            assert_eq!(conditions.len(), CONDITIONS.len());
            let problems = conditions.iter().filter(|found| found["status"] == "True");
            problems
                .map(|found| found["message"].as_str().unwrap().to_owned())
                .collect()
        };
        let changes = empty(&graph(objects), &namespace(), now);
        changes.iter().flat_map(tell).collect()
    }

    #[test]
    fn a_namespace_goes_when_it_is_empty() {
        assert_eq!(
            told(&["a", "b:example.dev/hold"]),
            [
                "delete ConfigMap `a`",
                "Some resources are remaining: configmaps. has 2 resource instances",
                "Some content in the namespace has finalizers remaining: example.dev/hold in 1 \
                 resource instances",
            ]
        );
        assert_eq!(told(&[]), ["finalize Namespace `shop`"]);
    }

    #[test]
    fn the_content_of_a_namespace_that_is_gone_goes() {
        let changes = remove_content(&graph(&["a", "b:example.dev/hold"]), "shop");
        assert_eq!(changes.len(), 1);
    }

    #[test]
    fn a_namespace_gets_what_it_lacks() {
        let mut view = View::default();
        let told = |view: &View| {
            let changes = furnish(view, "shop").into_iter();
            changes.map(|change| change.to_string()).collect::<Vec<_>>()
        };
        let all = [
            "create ServiceAccount `default`",
            "create ConfigMap `kube-root-ca.crt`",
        ];
        assert_eq!(told(&view), all);
        let resource = Arc::new(ApiResource::erase::<ServiceAccount>(&()));
        let account = json!({"metadata": {"name": "default", "namespace": "shop", "uid": "u"}});
        let account = serde_json::from_value(account).unwrap();
        view.absorb(&resource, account, Timestamp::UNIX_EPOCH);
        assert_eq!(told(&view), all[1..]);
    }
}
