//! What the scheduler does to a pod: it gives it a node, or says why there is none.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodStatus, Taint, Toleration};
use kube::ResourceExt as _;
use serde_json::json;

use super::affinity;
use super::change::{Change, Decision, Target};
use super::kubelet::set_condition;
use super::nodes::{self, Amounts};
use super::pods;
use super::script::Script;
use super::view::View;

/// Gives a waiting pod its node.
pub(super) fn decide(
    pod: &Pod,
    script: &Result<Script, String>,
    view: &View,
    now: Timestamp,
) -> Decision {
    let script = match script {
        Ok(script) => script,
        // A script that makes no sense holds its pod, and says why.
        Err(problems) => return pending(pod, "InvalidScript", problems, now),
    };
    match place(pod, script, view) {
        Ok(node) => {
            let patch = json!({"spec": {"nodeName": node}});
            Decision::now(vec![Change::Patch {
                target: Target::as_seen(pod),
                patch,
            }])
        }
        Err(message) => pending(pod, "Unschedulable", &message, now),
    }
}

fn pending(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Decision {
    let old = pod.status.clone().unwrap_or_default();
    let mut new = PodStatus {
        phase: Some("Pending".to_owned()),
        ..old.clone()
    };
    set_condition(&mut new, "PodScheduled", "False", reason, message, now);
    Decision::now(Change::status(pod, &old, &new).into_iter().collect())
}

/// The best of the nodes that a pod can have; otherwise why it can have none of them.
///
/// The pods of one owner are spread; then the emptiest node is taken, then the first by name.
fn place(pod: &Pod, script: &Script, view: &View) -> Result<String, String> {
    let requests = nodes::requests(pod);
    let rules = affinity::Rules::of(pod, view);
    let (mut refused, mut best) = (BTreeMap::<String, usize>::new(), None);
    for node in view.nodes.all() {
        let name = node.name_any();
        let refusal = if script.unschedulable {
            Some("node(s) were unschedulable".to_owned())
        } else {
            unfit(pod, node, &requests, view).or_else(|| rules.refusal(node))
        };
        if let Some(refusal) = refusal {
            *refused.entry(refusal).or_default() += 1;
            continue;
        }
        let score = (
            std::cmp::Reverse(rules.preference(node)),
            siblings(pod, &name, view),
            view.occupancy.taken(&name, "pods"),
            name,
        );
        best = best.into_iter().chain([score]).min();
    }
    best.map(|(_, _, _, name)| name).ok_or_else(|| {
        let all = view.nodes.all().count();
        if all == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let refused = refused.iter().map(|(why, count)| format!("{count} {why}"));
        let mut refused: Vec<_> = refused.collect();
        refused.sort_unstable();
        format!("0/{all} nodes are available: {}.", refused.join(", "))
    })
}

/// Pods of the same owner on a node.
fn siblings(pod: &Pod, node: &str, view: &View) -> usize {
    let Some(owner) = pods::controller(&pod.metadata) else {
        return 0;
    };
    let siblings = view.pods.managed_by(&owner.uid);
    siblings
        .filter(|sibling| pods::is_active(sibling) && pods::node(sibling) == Some(node))
        .count()
}

/// Why a pod cannot run on a node, in the scheduler's words.
fn unfit(pod: &Pod, node: &Node, requests: &Amounts, view: &View) -> Option<String> {
    let spec = node.spec.clone().unwrap_or_default();
    if spec.unschedulable == Some(true) {
        return Some("node(s) were unschedulable".to_owned());
    }
    let taints = spec.taints.unwrap_or_default();
    if let Some(taint) = taints.iter().find(|taint| !is_tolerated(pod, taint)) {
        let value = taint.value.as_deref().unwrap_or_default();
        return Some(format!(
            "node(s) had untolerated taint {{{}: {value}}}",
            taint.key
        ));
    }
    if !affinity::selects_node(pod, node) {
        return Some("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    let allocatable = nodes::allocatable(node);
    let lacks = |resource: &str, requested: i128| {
        let free = allocatable.get(resource).copied().unwrap_or_default()
            - view.occupancy.taken(&node.name_any(), resource);
        requested > 0 && requested > free
    };
    let lacking = requests
        .iter()
        .find(|(resource, requested)| lacks(resource, **requested));
    lacking.map(|(resource, _)| match resource.as_str() {
        "pods" => "Too many pods".to_owned(),
        resource => format!("Insufficient {resource}"),
    })
}

fn is_tolerated(pod: &Pod, taint: &Taint) -> bool {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref());
    let tolerates = |toleration: &Toleration| {
        let same = |wanted: &Option<String>, found: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted.is_empty() || wanted == found)
        };
        let value = taint.value.as_deref().unwrap_or_default();
        let exists = toleration.operator.as_deref() == Some("Exists");
        same(&toleration.effect, &taint.effect)
            && (toleration.key.as_deref() == Some(&taint.key)
                || (exists && toleration.key.as_deref().is_none_or(str::is_empty)))
            && (exists || toleration.value.as_deref().unwrap_or_default() == value)
    };
    !matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
        || tolerations.is_some_and(|tolerations| tolerations.iter().any(tolerates))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Namespace;
    use kube::Resource;
    use kube::api::ApiResource;
    use serde::Serialize;
    use serde_json::Value;

    use super::super::Options;
    use super::*;

    /// A cluster with these nodes, of two places and two CPUs each, in which `change` is made to
    /// each node.
    fn cluster(nodes: &[&str], change: impl Fn(&mut Value)) -> View {
        let mut view = View::default();
        put(&mut view, &Namespace::default());
        for name in nodes {
            let node = super::super::node(name, &[("pods", "2"), ("cpu", "2")]);
            let mut node = json!(node);
            change(&mut node);
            let node: Node = serde_json::from_value(node).unwrap();
            put(&mut view, &node);
        }
        view
    }

    fn put<K: Resource<DynamicType = ()> + Serialize>(view: &mut View, object: &K) {
        let resource = Arc::new(ApiResource::erase::<K>(&()));
        let mut object = json!(object);
        let metadata = &mut object["metadata"];
        let name = metadata["name"].as_str().unwrap_or("default").to_owned();
        metadata["name"] = json!(name);
        metadata["uid"] = json!(name);
        let object = serde_json::from_value(object).unwrap();
        view.absorb(&resource, object, Timestamp::UNIX_EPOCH);
    }

    fn pod(name: &str, node: Option<&str>, spec: &Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {"nodeName": node, "containers": [{"name": "c"}]},
            "status": {"phase": "Running"},
        });
        json_patch::merge(&mut pod, &json!({ "spec": spec }));
        serde_json::from_value(pod).unwrap()
    }

    fn asking(cpu: &str) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]})
    }

    fn placed(view: &View, spec: &Value) -> String {
        let pod = pod("new", None, spec);
        let script = Options::default().script_of(&pod).unwrap();
        place(&pod, &script, view).unwrap_or_else(|why| why)
    }

    #[test]
    fn the_emptiest_node_is_taken_then_the_first() {
        let mut view = cluster(&["b", "a"], |_| {});
        assert_eq!(placed(&view, &json!({})), "a");
        put(&mut view, &pod("p", Some("a"), &json!({})));
        assert_eq!(placed(&view, &json!({})), "b");
    }

    #[test]
    fn a_node_must_have_what_a_pod_asks_for() {
        let mut view = cluster(&["a", "b"], |_| {});
        put(&mut view, &pod("p", Some("a"), &asking("1500m")));
        assert_eq!(placed(&view, &asking("600m")), "b");
        assert_eq!(
            placed(&view, &asking("3")),
            "0/2 nodes are available: 2 Insufficient cpu."
        );
        for name in ["q", "r", "s"] {
            put(&mut view, &pod(name, Some("b"), &json!({})));
        }
        assert_eq!(
            placed(&view, &asking("1")),
            "0/2 nodes are available: 1 Insufficient cpu, 1 Too many pods."
        );
    }

    #[test]
    fn a_cluster_without_nodes_runs_nothing() {
        let view = cluster(&[], |_| {});
        assert_eq!(
            placed(&view, &json!({})),
            "no nodes available to schedule pods"
        );
    }

    #[test]
    fn a_cordoned_node_gets_no_pods() {
        let view = cluster(&["a", "b"], |node| {
            node["spec"]["unschedulable"] = json!(node["metadata"]["name"] == "a");
        });
        assert_eq!(placed(&view, &json!({})), "b");
    }

    #[test]
    fn a_taint_must_be_tolerated() {
        let view = cluster(&["a"], |node| {
            node["spec"]["taints"] = json!([
                {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
                {"key": "old", "effect": "PreferNoSchedule"},
            ]);
        });
        let tolerated = |toleration: Value| json!({"tolerations": [toleration]});
        let refusal = "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}.";
        let cases = [
            (json!({"key": "gpu", "value": "yes"}), "a"),
            (
                json!({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}),
                "a",
            ),
            (json!({"operator": "Exists"}), "a"),
            (json!({"key": "gpu", "value": "no"}), refusal),
            (
                json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}),
                refusal,
            ),
            (json!({"key": "other", "operator": "Exists"}), refusal),
        ];
        for (toleration, expected) in cases {
            assert_eq!(
                placed(&view, &tolerated(toleration.clone())),
                expected,
                "{toleration}"
            );
        }
    }

    #[test]
    fn a_node_must_have_the_labels_that_a_pod_asks_for() {
        let view = cluster(&["a", "b"], |node| {
            node["metadata"]["labels"]["size"] = match node["metadata"]["name"].as_str() {
                Some("a") => json!("3"),
                _ => json!("7"),
            };
        });
        let required = |operator: &str, values: &[&str]| {
            let wanted = json!({"key": "size", "operator": operator, "values": values});
            json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [wanted]}],
                },
            }}})
        };
        let refusal =
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.";
        let cases = [
            (json!({"nodeSelector": {"size": "7"}}), "b"),
            (json!({"nodeSelector": {"size": "8"}}), refusal),
            (required("In", &["7", "8"]), "b"),
            (required("NotIn", &["3"]), "b"),
            (required("Exists", &[]), "a"),
            (required("DoesNotExist", &[]), refusal),
            (required("Gt", &["5"]), "b"),
            (required("Lt", &["5"]), "a"),
            (required("Near", &["5"]), refusal),
        ];
        for (spec, expected) in cases {
            assert_eq!(placed(&view, &spec), expected, "{spec}");
        }
        let preferred = json!({"affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {
                "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}],
            }}],
        }}});
        assert_eq!(placed(&view, &preferred), "b");
    }

    /// A term about the pods labelled `app: p`, on the same node.
    fn near(namespaces: &Value) -> Value {
        let mut term = json!({
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "p"}},
        });
        json_patch::merge(&mut term, namespaces);
        term
    }

    fn affinity(kind: &str, term: &Value) -> Value {
        json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    }

    fn preferred(kind: &str) -> Value {
        let term = json!({"weight": 5, "podAffinityTerm": near(&json!({}))});
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}})
    }

    #[test]
    fn pods_keep_near_to_some_and_away_from_others() {
        let mut view = cluster(&["a", "b"], |_| {});
        put(&mut view, &pod("p", Some("a"), &json!({})));
        put(&mut view, &pod("q", Some("b"), &json!({})));
        let elsewhere = near(&json!({"namespaces": ["other"]}));
        let everywhere = near(&json!({"namespaceSelector": {}}));
        let cases = [
            (affinity("podAffinity", &near(&json!({}))), "a"),
            (affinity("podAntiAffinity", &near(&json!({}))), "b"),
            (affinity("podAntiAffinity", &everywhere), "b"),
            (affinity("podAntiAffinity", &elsewhere), "a"),
            (
                affinity("podAffinity", &elsewhere),
                "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.",
            ),
            (preferred("podAffinity"), "a"),
            (preferred("podAntiAffinity"), "b"),
        ];
        for (spec, expected) in cases {
            assert_eq!(placed(&view, &spec), expected, "{spec}");
        }
    }

    #[test]
    fn pods_that_are_there_may_keep_a_new_one_away() {
        let mut view = cluster(&["a", "b"], |_| {});
        let mut term = near(&json!({}));
        term["labelSelector"]["matchLabels"]["app"] = json!("new");
        let keeps_away = affinity("podAntiAffinity", &term);
        put(&mut view, &pod("p", Some("a"), &keeps_away));
        assert_eq!(placed(&view, &json!({})), "b");
        put(&mut view, &pod("q", Some("b"), &keeps_away));
        assert_eq!(
            placed(&view, &json!({})),
            "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules."
        );
    }

    #[test]
    fn the_first_of_a_group_that_keeps_together_is_somewhere() {
        let view = cluster(&["a"], |_| {});
        let mut term = near(&json!({}));
        term["labelSelector"]["matchLabels"]["app"] = json!("new");
        assert_eq!(placed(&view, &affinity("podAffinity", &term)), "a");
    }

    #[test]
    fn a_pod_that_gets_no_node_says_why() {
        let view = cluster(&["a"], |_| {});
        let mut pod = pod("new", None, &json!({}));
        pod.status = None;
        let annotation = format!("{}unschedulable", super::super::script::PREFIX);
        pod.annotations_mut().insert(annotation, "true".to_owned());
        let script = Options::default().script_of(&pod);
        let decision = decide(&pod, &script, &view, Timestamp::UNIX_EPOCH);
        let [Change::Status { patch, .. }] = decision.changes.as_slice() else {
            panic!("{:?}", decision.changes)
        };
        let condition = &patch["status"]["conditions"][0];
        assert_eq!(condition["reason"], "Unschedulable");
        assert_eq!(
            condition["message"],
            "0/1 nodes are available: 1 node(s) were unschedulable."
        );
    }
}
