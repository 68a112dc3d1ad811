//! Which nodes a pod wants and which it must not have, by labels of nodes and by the pods on them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodAffinityTerm,
    PreferredSchedulingTerm, WeightedPodAffinityTerm,
};
use kube::ResourceExt as _;

use super::pods;
use super::view::{Key, View};

fn affinity(pod: &Pod) -> Option<&Affinity> {
    pod.spec.as_ref()?.affinity.as_ref()
}

/// Whether a node has the labels that a pod asks for.
pub(super) fn selects_node(pod: &Pod, node: &Node) -> bool {
    let selector = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_selector.as_ref());
    let mut wanted = selector.into_iter().flatten();
    if !wanted.all(|(name, value)| node.labels().get(name) == Some(value)) {
        return false;
    }
    let required = affinity(pod).and_then(|affinity| {
        let required = affinity.node_affinity.as_ref()?;
        required
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    required.is_none_or(|required| {
        let terms = &required.node_selector_terms;
        terms.iter().any(|term| meets(term, node))
    })
}

fn meets(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = BTreeMap::from([("metadata.name".to_owned(), node.name_any())]);
    // A term that asks for nothing picks nothing.
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(|wanted| is_met(wanted, node.labels()))
        && fields.iter().all(|wanted| is_met(wanted, &name))
}

fn is_met(wanted: &NodeSelectorRequirement, found: &BTreeMap<String, String>) -> bool {
    let value = found.get(&wanted.key);
    let values = wanted.values.as_deref().unwrap_or_default();
    let compared = || {
        let found: i64 = value?.parse().ok()?;
        let limit: i64 = values.first()?.parse().ok()?;
        Some(found.cmp(&limit))
    };
    match wanted.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}

/// A part of the cluster: the name of a node label, and its value.
type Domain = (String, String);

/// What the labels of nodes and the pods that run already mean for a new pod.
pub(super) struct Rules {
    /// Where pods are that it must be near to, for each term that asks for some.
    near: Vec<BTreeSet<Domain>>,
    /// Where pods are that it must not be near to.
    far: BTreeSet<Domain>,
    /// Where pods are that must not be near to it.
    forbidden: BTreeSet<Domain>,
    /// Where it would rather be, or rather not be (below zero).
    preferred: Vec<(i32, BTreeSet<Domain>)>,
    preferred_nodes: Vec<PreferredSchedulingTerm>,
}

impl Rules {
    pub(super) fn of(pod: &Pod, view: &View) -> Self {
        let neighbours = Neighbours { pod, view };
        let affinity = affinity(pod).cloned().unwrap_or_default();
        let near = affinity.pod_affinity.unwrap_or_default();
        let far = affinity.pod_anti_affinity.unwrap_or_default();
        let nodes = affinity.node_affinity.unwrap_or_default();
        let weighted = |terms: Option<Vec<WeightedPodAffinityTerm>>, sign: i32| {
            let terms = terms.unwrap_or_default().into_iter();
            terms.map(move |term| {
                let domains = neighbours.domains(&term.pod_affinity_term);
                (sign * term.weight, domains)
            })
        };
        let liked = weighted(near.preferred_during_scheduling_ignored_during_execution, 1);
        let disliked = weighted(far.preferred_during_scheduling_ignored_during_execution, -1);
        let near = near.required_during_scheduling_ignored_during_execution;
        let far = far.required_during_scheduling_ignored_during_execution;
        Self {
            near: near
                .iter()
                .flatten()
                .map(|term| (term, neighbours.domains(term)))
                // The first of a group that wants to be together must be somewhere.
                .filter(|(term, domains)| !domains.is_empty() || !picks(view, term, pod, pod))
                .map(|(_, domains)| domains)
                .collect(),
            far: far
                .iter()
                .flatten()
                .flat_map(|term| neighbours.domains(term))
                .collect(),
            forbidden: neighbours.forbidden(),
            preferred: liked.chain(disliked).collect(),
            preferred_nodes: nodes
                .preferred_during_scheduling_ignored_during_execution
                .unwrap_or_default(),
        }
    }

    /// Why the pod must not have a node, in the scheduler's words.
    pub(super) fn refusal(&self, node: &Node) -> Option<String> {
        let refusal = if !self.near.iter().all(|near| is_in(node, near)) {
            "node(s) didn't match pod affinity rules"
        } else if is_in(node, &self.far) {
            "node(s) didn't match pod anti-affinity rules"
        } else if is_in(node, &self.forbidden) {
            "node(s) didn't satisfy existing pods anti-affinity rules"
        } else {
            return None;
        };
        Some(refusal.to_owned())
    }

    /// How much the pod would like to have a node.
    pub(super) fn preference(&self, node: &Node) -> i32 {
        let by_pods = self.preferred.iter();
        let by_pods = by_pods.filter(|(_, domains)| is_in(node, domains));
        let by_node = self.preferred_nodes.iter();
        let by_node = by_node.filter(|term| meets(&term.preference, node));
        by_pods.map(|(weight, _)| weight).sum::<i32>()
            + by_node.map(|term| term.weight).sum::<i32>()
    }
}

fn is_in(node: &Node, domains: &BTreeSet<Domain>) -> bool {
    let mut domains = domains.iter();
    domains.any(|(label, value)| node.labels().get(label) == Some(value))
}

fn far_terms(pod: &Pod) -> &[PodAffinityTerm] {
    affinity(pod)
        .and_then(|affinity| affinity.pod_anti_affinity.as_ref())
        .and_then(|far| {
            far.required_during_scheduling_ignored_during_execution
                .as_deref()
        })
        .unwrap_or_default()
}

/// Whether a term of a pod is about another one.
fn picks(view: &View, term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
    let listed = term.namespaces.as_deref().unwrap_or_default();
    let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
    let is_here = match &term.namespace_selector {
        None if listed.is_empty() => owner.metadata.namespace == other.metadata.namespace,
        selector => {
            let found = view.namespaces.get(&Key::new("", namespace));
            let selected = selector.as_ref().zip(found);
            listed.iter().any(|listed| listed == namespace)
                || selected.is_some_and(|(by, found)| pods::matches(by, found.labels()))
        }
    };
    let selector = term.label_selector.as_ref();
    is_here && selector.is_some_and(|selector| pods::matches(selector, other.labels()))
}

/// A pod that looks for a node, and those that have one.
#[derive(Clone, Copy)]
struct Neighbours<'a> {
    pod: &'a Pod,
    view: &'a View,
}

impl Neighbours<'_> {
    fn node_of(&self, pod: &Pod) -> Option<&Node> {
        let node = self.view.nodes.get(&Key::new("", pods::node(pod)?))?;
        (!pods::is_finished(pod)).then_some(node)
    }

    /// Where the pods are that a term of the pod is about.
    fn domains(&self, term: &PodAffinityTerm) -> BTreeSet<Domain> {
        let others = self.view.pods.all();
        let picked = others.filter(|other| picks(self.view, term, self.pod, other));
        let nodes = picked.filter_map(|other| self.node_of(other));
        nodes.filter_map(|node| domain(term, node)).collect()
    }

    /// Where the pods are whose own terms keep the pod away.
    fn forbidden(&self) -> BTreeSet<Domain> {
        let keeping = self.view.occupancy.keeping_away();
        let keeping = keeping.filter_map(|key| self.view.pods.get(key));
        let mut forbidden = BTreeSet::new();
        for other in keeping {
            let Some(node) = self.node_of(other) else {
                continue;
            };
            let terms = far_terms(other).iter();
            let terms = terms.filter(|term| picks(self.view, term, other, self.pod));
            forbidden.extend(terms.filter_map(|term| domain(term, node)));
        }
        forbidden
    }
}

fn domain(term: &PodAffinityTerm, node: &Node) -> Option<Domain> {
    let value = node.labels().get(&term.topology_key)?;
    Some((term.topology_key.clone(), value.clone()))
}

/// Whether a pod keeps others away.
pub(super) fn keeps_away(pod: &Pod) -> bool {
    !far_terms(pod).is_empty()
}
