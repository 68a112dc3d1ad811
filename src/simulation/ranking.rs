//! Which pods of a workload go first when it has too many.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::pods;

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Sorts pods so that those which should go first stand first: without a node, not running, not
/// ready, cheap to delete, among many of their kind on a node, ready for a short time, often
/// restarted, young. `related` are all pods of the same kind.
///
/// # Source
/// `ActivePodsWithRanks` of `k8s.io/kubernetes/pkg/controller`. Ages count by their power of two,
/// and the uid decides between equals. Of two pods whose ready ages are of the same power, upstream
/// compares uids at once; here restarts and age come in between, which makes it an order.
pub(super) fn sort(active: &mut [&Pod], related: &[Arc<Pod>], now: Timestamp) {
    let mut neighbours = BTreeMap::<Option<&str>, usize>::new();
    for pod in related.iter().filter(|pod| pods::is_active(pod)) {
        *neighbours.entry(pods::node(pod)).or_default() += 1;
    }
    active.sort_by_cached_key(|pod| {
        let rank = neighbours.get(&pods::node(pod)).copied();
        (
            standing(pod),
            Reverse(rank.unwrap_or_default()),
            age(pod, now),
        )
    });
}

fn standing(pod: &Pod) -> impl Ord + use<> {
    let phase = match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = pod.annotations().get(COST);
    let cost: i32 = cost.and_then(|cost| cost.parse().ok()).unwrap_or_default();
    let is_ready = pods::ready_since(pod).is_some();
    (pods::node(pod).is_some(), phase, is_ready, cost)
}

fn age(pod: &Pod, now: Timestamp) -> impl Ord + use<> {
    let ready = pods::ready_since(pod).map(|since| magnitude(since, now));
    let created = magnitude(pods::created(&pod.metadata), now);
    let restarts = Reverse(pods::most_restarts(pod));
    (ready, restarts, created, pod.uid(), pod.name_any())
}

/// How old something is, as the power of two of its nanoseconds; below zero if it is not.
fn magnitude(since: Timestamp, now: Timestamp) -> i64 {
    let age = now.duration_since(since).as_nanos();
    age.checked_ilog2().map_or(-1, i64::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    /// A pod on `node` that runs since an hour; `ready` minutes ago it became ready, if it did.
    fn pod(name: &str, node: &str, ready: Option<i64>) -> Pod {
        let condition = ready.map(|minutes| {
            json!({"type": "Ready", "status": "True",
                "lastTransitionTime": pods::after(now(), -60 * minutes).to_string()})
        });
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": condition.into_iter().collect::<Vec<_>>()},
        }))
        .unwrap()
    }

    fn changed(mut pod: Pod, change: impl FnOnce(&mut Pod)) -> Pod {
        change(&mut pod);
        pod
    }

    fn with_phase(pod: Pod, phase: &str) -> Pod {
        changed(pod, |pod| {
            pod.status.as_mut().unwrap().phase = Some(phase.to_owned());
        })
    }

    fn with_restarts(pod: Pod, restarts: i32) -> Pod {
        let status = json!({"name": "c", "image": "", "imageID": "", "ready": true,
            "restartCount": restarts});
        changed(pod, |pod| {
            let status = serde_json::from_value(status).unwrap();
            pod.status.as_mut().unwrap().container_statuses = Some(vec![status]);
        })
    }

    /// Pods in the order in which they go.
    fn ordered() -> Vec<Pod> {
        let cost = |pod: Pod, cost: &str| {
            changed(pod, |pod| {
                pod.annotations_mut()
                    .insert(COST.to_owned(), cost.to_owned());
            })
        };
        let aged = |pod: Pod, minutes: i64| {
            changed(pod, |pod| {
                let created = pods::time(pods::after(now(), -60 * minutes));
                pod.metadata.creation_timestamp = Some(created);
            })
        };
        vec![
            pod("no-node", "", Some(50)),
            with_phase(pod("pending", "a", None), "Pending"),
            with_phase(pod("unknown", "a", None), "Unknown"),
            pod("not-ready", "a", None),
            cost(pod("cheap", "a", Some(50)), "-1"),
            pod("crowded-1", "full", Some(50)),
            pod("crowded-2", "full", Some(50)),
            pod("just-ready", "a", Some(1)),
            with_restarts(pod("restarted-often", "a", Some(50)), 7),
            with_restarts(pod("restarted", "a", Some(50)), 1),
            aged(pod("young", "a", Some(50)), 1),
            pod("old-1", "a", Some(50)),
            pod("old-2", "a", Some(50)),
            cost(pod("dear", "full", Some(50)), "5"),
        ]
    }

    #[test]
    fn pods_go_in_kubernetes_order_however_they_are_listed() {
        let pods = ordered();
        let expected: Vec<_> = pods.iter().map(Pod::name_any).collect();
        // Three more on the node that is full, which do not go.
        let others = ["x", "y", "z", "w", "v", "u", "t", "s", "r", "q"];
        let others = others.map(|name| pod(name, "full", Some(50)));
        let related: Vec<_> = pods.iter().chain(&others).cloned().map(Arc::new).collect();
        for turn in 0..pods.len() {
            let mut active: Vec<_> = pods.iter().rev().collect();
            active.rotate_left(turn);
            sort(&mut active, &related, now());
            let order: Vec<_> = active.iter().map(|pod| pod.name_any()).collect();
            assert_eq!(order, expected);
        }
    }

    #[test]
    fn ages_of_the_same_power_are_the_same() {
        let age = |seconds: i64| magnitude(pods::after(now(), -seconds), now());
        assert_eq!(age(600), age(1000));
        assert!(age(60) < age(600));
        assert_eq!(age(-5), -1);
        assert_eq!(age(0), -1);
    }
}
