//! The simulated nodes: what they have, and what the pods take of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, Node, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo, Pod,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::affinity;
use super::change::Change;
use super::pods;
use super::view::Key;
use crate::rollout::quantity;

/// What a node has if nothing else is said: more than any story needs.
const PLENTY: [(&str, &str); 3] = [("cpu", "10k"), ("memory", "100Ti"), ("pods", "1M")];

/// The version that nodes say they run.
const VERSION: &str = "v1.33.0";

/// A node with these amounts, e.g. `[("pods", "10"), ("cpu", "4")]`; plenty of all others.
///
/// Other things about a node, such as labels and taints, may be set on what this returns, or be
/// changed in the cluster at any time.
#[must_use]
pub fn node(name: &str, amounts: &[(&str, &str)]) -> Node {
    let amounts = PLENTY.iter().chain(amounts);
    let capacity: BTreeMap<_, _> = amounts
        .map(|(resource, amount)| ((*resource).to_owned(), Quantity((*amount).to_owned())))
        .collect();
    let labels = [
        ("kubernetes.io/arch", "amd64"),
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
    ];
    let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned()));
    let address = |kind: &str, address: String| NodeAddress {
        type_: kind.to_owned(),
        address,
    };
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(NodeStatus {
            addresses: Some(vec![
                address("InternalIP", pods::address(192, name)),
                address("Hostname", name.to_owned()),
            ]),
            allocatable: Some(capacity.clone()),
            capacity: Some(capacity),
            node_info: Some(system()),
            ..NodeStatus::default()
        }),
    }
}

fn system() -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: "amd64".to_owned(),
        container_runtime_version: "simulated://1".to_owned(),
        kubelet_version: VERSION.to_owned(),
        kube_proxy_version: VERSION.to_owned(),
        operating_system: "linux".to_owned(),
        os_image: "simulated".to_owned(),
        ..NodeSystemInfo::default()
    }
}

/// The conditions of a node that has all it needs: type, status, reason, message.
const CONDITIONS: [[&str; 4]; 4] = [
    [
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ],
    [
        "DiskPressure",
        "False",
        "KubeletHasNoDiskPressure",
        "kubelet has no disk pressure",
    ],
    [
        "PIDPressure",
        "False",
        "KubeletHasSufficientPID",
        "kubelet has sufficient PID available",
    ],
    [
        "Ready",
        "True",
        "KubeletReady",
        "kubelet is posting ready status",
    ],
];

/// Registers a node of our own, and once says how it is.
pub(super) fn decide(wanted: &Node, found: Option<&Node>, now: Timestamp) -> Option<Change> {
    let Some(found) = found else {
        return Some(Change::create(wanted));
    };
    let old = found.status.clone().unwrap_or_default();
    if old.conditions.is_some() {
        return None;
    }
    let now = Some(pods::time(now));
    let conditions = CONDITIONS.map(|[kind, status, reason, message]| NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: now.clone(),
        last_transition_time: now.clone(),
    });
    let new = NodeStatus {
        conditions: Some(conditions.into()),
        ..wanted.status.clone().unwrap_or_default()
    };
    Change::status(found, &old, &new)
}

/// Amounts of resources, in billionths.
pub(super) type Amounts = BTreeMap<String, i128>;

fn amount(quantity: &Quantity) -> i128 {
    quantity::nanos(&quantity.0).unwrap_or_default()
}

/// What a node gives to pods.
pub(super) fn allocatable(node: &Node) -> Amounts {
    let allocatable = node
        .status
        .as_ref()
        .and_then(|status| status.allocatable.as_ref());
    let amounts = allocatable.into_iter().flatten();
    amounts
        .map(|(resource, quantity)| (resource.clone(), amount(quantity)))
        .collect()
}

/// What a pod asks for: the sum over its containers, or what one of its init containers asks for
/// if that is more; and a place.
pub(super) fn requests(pod: &Pod) -> Amounts {
    let mut total = Amounts::new();
    let Some(spec) = &pod.spec else {
        return total;
    };
    for container in &spec.containers {
        for (resource, amount) in requested(container) {
            *total.entry(resource).or_default() += amount;
        }
    }
    for container in spec.init_containers.iter().flatten() {
        for (resource, amount) in requested(container) {
            let sum = total.entry(resource).or_default();
            *sum = amount.max(*sum);
        }
    }
    total.insert("pods".to_owned(), amount(&Quantity("1".to_owned())));
    total
}

/// A limit without a request is a request, too.
fn requested(container: &Container) -> Amounts {
    let resources = container.resources.clone().unwrap_or_default();
    let mut requested = resources.limits.unwrap_or_default();
    requested.extend(resources.requests.unwrap_or_default());
    requested
        .into_iter()
        .map(|(resource, quantity)| (resource, amount(&quantity)))
        .collect()
}

/// What the pods have taken, and which pods wait for a node.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    taken: BTreeMap<String, Amounts>,
    waiting: BTreeSet<Key>,
    keeping_away: BTreeSet<Key>,
}

impl Occupancy {
    /// What is taken of a node.
    pub(super) fn taken(&self, node: &str, resource: &str) -> i128 {
        let taken = self.taken.get(node).and_then(|taken| taken.get(resource));
        taken.copied().unwrap_or_default()
    }

    /// The pods that have no node.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Key> {
        self.waiting.iter()
    }

    /// The pods that keep others away from where they are.
    pub(super) fn keeping_away(&self) -> impl Iterator<Item = &Key> {
        self.keeping_away.iter()
    }

    /// A pod was `before` and is `after`.
    ///
    /// # Returns
    /// Whether a node has got more room.
    pub(super) fn change(&mut self, before: Option<&Pod>, after: Option<&Pod>) -> bool {
        if let Some(pod) = after.or(before) {
            let key = Key::of(&pod.metadata);
            let keeps_away = |pod: &Pod| seat(pod).is_some() && affinity::keeps_away(pod);
            list(&mut self.waiting, &key, after.is_some_and(waits));
            list(&mut self.keeping_away, &key, after.is_some_and(keeps_away));
        }
        let (old, new) = (before.and_then(seat), after.and_then(seat));
        if old == new {
            return false;
        }
        if let (Some(pod), Some(node)) = (before, old) {
            self.add(node, pod, -1);
        }
        if let (Some(pod), Some(node)) = (after, new) {
            self.add(node, pod, 1);
        }
        old.is_some()
    }

    fn add(&mut self, node: &str, pod: &Pod, times: i128) {
        let taken = self.taken.entry(node.to_owned()).or_default();
        for (resource, amount) in requests(pod) {
            *taken.entry(resource).or_default() += times * amount;
        }
        taken.retain(|_, amount| *amount != 0);
        if taken.is_empty() {
            self.taken.remove(node);
        }
    }
}

fn list(keys: &mut BTreeSet<Key>, key: &Key, belongs: bool) {
    if !belongs {
        keys.remove(key);
    } else if !keys.contains(key) {
        keys.insert(key.clone());
    }
}

/// Whether a pod has no node and may get one.
pub(super) fn waits(pod: &Pod) -> bool {
    pods::node(pod).is_none() && pods::is_active(pod)
}

/// The node on which a pod takes room.
fn seat(pod: &Pod) -> Option<&str> {
    pods::node(pod).filter(|_| !pods::is_finished(pod))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: Option<&str>, phase: &str, cpu: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node, "containers": [
                {"name": "a", "resources": {"requests": {"cpu": cpu}}},
                {"name": "b", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}},
            ], "initContainers": [
                {"name": "i", "resources": {"requests": {"memory": "2Gi", "cpu": "1m"}}},
            ]},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    const NANO: i128 = 1_000_000_000;

    #[test]
    fn a_pod_asks_for_what_its_containers_ask_for() {
        let requests = requests(&pod("p", None, "Pending", "250m"));
        let expected = [
            ("cpu", 3 * NANO / 4),
            ("memory", (2 << 30) * NANO),
            ("pods", NANO),
        ];
        let expected: Amounts = expected
            .map(|(resource, amount)| (resource.to_owned(), amount))
            .into();
        assert_eq!(requests, expected);
    }

    #[test]
    fn nodes_fill_and_empty() {
        let mut occupancy = Occupancy::default();
        let waiting = pod("p", None, "Pending", "1");
        let running = pod("p", Some("n"), "Running", "1");
        let ended = pod("p", Some("n"), "Succeeded", "1");
        assert!(!occupancy.change(None, Some(&waiting)));
        assert_eq!(occupancy.waiting().count(), 1);
        assert!(!occupancy.change(Some(&waiting), Some(&running)));
        assert_eq!(occupancy.waiting().count(), 0);
        assert_eq!(occupancy.taken("n", "cpu"), 3 * NANO / 2);
        assert!(!occupancy.change(Some(&running), Some(&running)));
        assert!(occupancy.change(Some(&running), Some(&ended)));
        assert_eq!(occupancy.taken("n", "pods"), 0);
        assert!(!occupancy.change(Some(&ended), None));
        assert!(occupancy.taken.is_empty());
    }

    #[test]
    fn a_node_has_plenty_but_of_what_is_said() {
        let node = node("n", &[("pods", "3")]);
        let allocatable = allocatable(&node);
        assert_eq!(allocatable["pods"], 3 * NANO);
        assert_eq!(allocatable["cpu"], 10_000 * NANO);
        let found = Node {
            status: None,
            ..node.clone()
        };
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(matches!(
            decide(&node, None, now),
            Some(Change::Create { .. })
        ));
        let Some(Change::Status { patch, .. }) = decide(&node, Some(&found), now) else {
            panic!("no status")
        };
        assert_eq!(patch["status"]["capacity"]["pods"], "3");
        let conditions = patch["status"]["conditions"].as_array().unwrap();
        let ready = conditions.last().map(|ready| &ready["status"]);
        assert_eq!(ready, Some(&Value::from("True")));
    }
}
