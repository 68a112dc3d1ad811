//! What the scheduler and the kubelet do to a pod: it gets a node, starts, becomes ready, ends,
//! starts again, stops. As its script says, from its status and the time alone.

mod conditions;
mod containers;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, Pod, PodIP, PodStatus};
use kube::ResourceExt as _;
use serde_json::json;

use super::Options;
use super::change::{Change, Decision, earliest};
use super::pods::{self, time};
use super::script::Script;
use conditions::{phase_of, set_condition, set_conditions};
use containers::{container_status, restarted};

/// The one node.
const NODE: &str = "simulated";
const NODE_IP: &str = "192.168.0.1";

/// Decides what happens to a pod next.
pub(super) fn decide(pod: &Pod, options: &Options, now: Timestamp) -> Decision {
    let script = Script::of(pod, options);
    if pods::is_deleting(pod) {
        let stops_after = script.map(|script| script.stops_after).unwrap_or_default();
        return stop(pod, stops_after, now);
    }
    if pods::is_finished(pod) {
        return Decision::default();
    }
    let script = match script {
        Ok(script) => script,
        Err(problems) => return hold(pod, &problems, now),
    };
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if node.is_none() {
        return schedule(pod, &script, now);
    }
    let old = pod.status.clone().unwrap_or_default();
    let (new, wake_at) = run(pod, &old, &script, now);
    Decision {
        changes: Change::status(pod, &old, &new).into_iter().collect(),
        wake_at,
    }
}

fn later(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Ends a pod that was deleted, no later than its grace period allows.
fn stop(pod: &Pod, stops_after: Duration, now: Timestamp) -> Decision {
    let grace = pod
        .metadata
        .deletion_grace_period_seconds
        .unwrap_or_default();
    if grace <= 0 {
        // Whoever deleted it has done so for good; finalizers may still hold it.
        return Decision::default();
    }
    let deadline = pod
        .metadata
        .deletion_timestamp
        .as_ref()
        .map_or(now, |time| time.0);
    let asked = pods::after(deadline, -grace);
    let stopped = later(asked, stops_after).min(deadline);
    if stopped > now && !pods::is_finished(pod) {
        return Decision {
            changes: Vec::new(),
            wake_at: Some(stopped),
        };
    }
    let Change::Delete { target, .. } = Change::delete(pod) else {
        return Decision::default();
    };
    let change = Change::Delete {
        target,
        grace_seconds: Some(0),
        propagation: None,
    };
    Decision::now(vec![change])
}

/// Gives a pod its node.
fn schedule(pod: &Pod, script: &Script, now: Timestamp) -> Decision {
    if !script.unschedulable {
        let patch = json!({"spec": {"nodeName": NODE}});
        return Decision::now(vec![Change::patch(pod, patch)]);
    }
    let message = "0/1 nodes are available: 1 node(s) were unschedulable.";
    pending(pod, "Unschedulable", message, now)
}

/// Leaves a pod alone whose script makes no sense, and says so.
fn hold(pod: &Pod, problems: &str, now: Timestamp) -> Decision {
    pending(pod, "InvalidScript", problems, now)
}

fn pending(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Decision {
    let old = pod.status.clone().unwrap_or_default();
    let mut new = old.clone();
    new.phase = Some("Pending".to_owned());
    set_condition(&mut new, "PodScheduled", false, reason, message, now);
    Decision::now(Change::status(pod, &old, &new).into_iter().collect())
}

fn run(
    pod: &Pod,
    old: &PodStatus,
    script: &Script,
    now: Timestamp,
) -> (PodStatus, Option<Timestamp>) {
    let mut status = old.clone();
    let start = status.start_time.get_or_insert_with(|| time(now)).0;
    let restart_policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    let containers = pod
        .spec
        .as_ref()
        .map(|spec| spec.containers.as_slice())
        .unwrap_or_default();
    let known = old.container_statuses.as_deref().unwrap_or_default();
    let mut wake_at = None;
    let statuses: Vec<ContainerStatus> = containers
        .iter()
        .map(|container| {
            let before = known.iter().find(|status| status.name == container.name);
            let (after, wake) = container_status(container, before, script, start, now);
            let (after, restart) = restarted(after, restart_policy.unwrap_or("Always"), now);
            wake_at = earliest(wake_at, earliest(wake, restart));
            after
        })
        .collect();
    status.phase = Some(phase_of(&statuses).to_owned());
    status.host_ip = Some(NODE_IP.to_owned());
    status.host_ips = Some(vec![HostIP {
        ip: NODE_IP.to_owned(),
    }]);
    if status.pod_ip.is_none() && status.phase.as_deref() != Some("Pending") {
        let ip = fake_ip(&pod.uid().unwrap_or_default());
        status.pod_ips = Some(vec![PodIP { ip: ip.clone() }]);
        status.pod_ip = Some(ip);
    }
    set_conditions(&mut status, &statuses, now);
    status.container_statuses = Some(statuses);
    (status, wake_at)
}

/// An address in `10.0.0.0/8` that is the same for the same uid.
fn fake_ip(uid: &str) -> String {
    let [_, b, c, d] = super::hash::fnv1a(uid.as_bytes()).to_be_bytes();
    format!("10.{b}.{c}.{d}")
}
