//! What a kubelet does to a pod that has a node: it starts, becomes ready, ends, starts again,
//! stops. As its script says, from its status and the time alone.

mod back_off;
mod conditions;
mod containers;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, HostIP, Node, Pod, PodIP, PodStatus};
use kube::ResourceExt as _;

use super::change::{Change, Decision, Target, earliest};
use super::pods::{self, time};
use super::script::Script;
pub(super) use conditions::set_condition;
use conditions::{phase_of, remove_condition, set_conditions};
pub(super) use containers::is_running;
use containers::{Surroundings, initialized, killed, next};

/// The condition that a pod has as long as its annotations make no sense.
const SCRIPT: &str = "simulation.verdict.dev/Script";

/// Decides what happens to a pod next.
pub(super) fn decide(
    pod: &Pod,
    script: &Result<Script, String>,
    node: Option<&Node>,
    now: Timestamp,
) -> Decision {
    if pods::is_deleting(pod) {
        let stops_after = script.as_ref().map(|script| script.stops_after);
        return stop(pod, stops_after.unwrap_or_default(), now);
    }
    if pods::is_finished(pod) {
        return Decision::default();
    }
    let old = pod.status.clone().unwrap_or_default();
    let (new, wake_at) = match script {
        Ok(script) => run(pod, &old, script, node, now),
        Err(problems) => (held(&old, problems, now), None),
    };
    Decision {
        changes: written(pod, &old, &new).into_iter().collect(),
        wake_at,
    }
}

/// Others may write conditions, too: theirs are not to be lost.
fn written(pod: &Pod, old: &PodStatus, new: &PodStatus) -> Option<Change> {
    let mut change = Change::status(pod, old, new)?;
    if let Change::Status { target, .. } = &mut change {
        *target = Target::as_seen(pod);
    }
    Some(change)
}

fn later(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// A pod whose script makes no sense stays as it is, and says so.
fn held(old: &PodStatus, problems: &str, now: Timestamp) -> PodStatus {
    let mut held = old.clone();
    set_condition(&mut held, SCRIPT, "False", "InvalidScript", problems, now);
    held
}

/// Ends a pod that was deleted, no later than its grace period allows.
fn stop(pod: &Pod, stops_after: Duration, now: Timestamp) -> Decision {
    let metadata = &pod.metadata;
    let grace = metadata.deletion_grace_period_seconds.unwrap_or_default();
    // One without a grace period only waits for its finalizers.
    let removed = (grace > 0).then(|| Change::remove(pod));
    if pods::is_finished(pod) {
        return Decision::now(removed.into_iter().collect());
    }
    let old = pod.status.clone().unwrap_or_default();
    let deadline = metadata.deletion_timestamp.as_ref();
    let deadline = deadline.map_or(now, |time| time.0);
    let stopped = later(pods::after(deadline, -grace), stops_after);
    let due = stopped.min(deadline);
    if due > now && grace > 0 && old.start_time.is_some() {
        return Decision {
            changes: Vec::new(),
            wake_at: Some(due),
        };
    }
    // One that is not done in time is killed.
    let is_done = grace > 0 && stopped <= deadline;
    let exit_code = if is_done { 0 } else { KILLED };
    let ended = ended(pod, &old, exit_code, due.min(now), now);
    let status = written(pod, &old, &ended);
    Decision::now(status.into_iter().chain(removed).collect())
}

/// The exit code of a process that was killed.
const KILLED: i32 = 137;

/// The status of a pod whose containers were all made to end.
fn ended(
    pod: &Pod,
    old: &PodStatus,
    exit_code: i32,
    finished: Timestamp,
    now: Timestamp,
) -> PodStatus {
    let known = old.container_statuses.iter().flatten();
    let statuses: Vec<_> = known
        .map(|status| killed(status, exit_code, finished))
        .collect();
    let mut status = old.clone();
    let is_well = statuses.iter().all(|status| {
        let state = status.state.as_ref();
        let ended = state.and_then(|state| state.terminated.as_ref());
        ended.is_some_and(|ended| ended.exit_code == 0)
    });
    let is_well = is_well && !statuses.is_empty();
    status.phase = Some(if is_well { "Succeeded" } else { "Failed" }.to_owned());
    set_conditions(pod, &mut status, &statuses, now);
    status.container_statuses = Some(statuses);
    status
}

/// When a pod has been active for as long as it may.
fn deadline(pod: &Pod, start: Timestamp) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    Some(pods::after(start, seconds))
}

fn run(
    pod: &Pod,
    old: &PodStatus,
    script: &Script,
    node: Option<&Node>,
    now: Timestamp,
) -> (PodStatus, Option<Timestamp>) {
    let mut status = old.clone();
    remove_condition(&mut status, SCRIPT);
    let start = status.start_time.get_or_insert_with(|| time(now)).0;
    let deadline = deadline(pod, start);
    if deadline.is_some_and(|deadline| deadline <= now) {
        let mut failed = ended(pod, &status, KILLED, now, now);
        failed.phase = Some("Failed".to_owned());
        failed.reason = Some("DeadlineExceeded".to_owned());
        failed.message =
            Some("Pod was active on the node longer than the specified deadline".to_owned());
        return (failed, None);
    }
    let (statuses, wake_at) = containers(pod, old, script, start, now);
    status.phase = Some(phase_of(pod, &statuses).to_owned());
    let host = node.and_then(host_ip);
    status.host_ips = host.clone().map(|ip| vec![HostIP { ip }]);
    status.host_ip = host;
    if status.pod_ip.is_none() && status.phase.as_deref() != Some("Pending") {
        let ip = pods::address(10, &pod.uid().unwrap_or_default());
        status.pod_ips = Some(vec![PodIP { ip: ip.clone() }]);
        status.pod_ip = Some(ip);
    }
    set_conditions(pod, &mut status, &statuses, now);
    status.init_container_statuses = initialized(pod, old, start);
    status.container_statuses = Some(statuses);
    (status, earliest(wake_at, deadline))
}

/// Where all containers stand, and when one of them will stand elsewhere.
fn containers(
    pod: &Pod,
    old: &PodStatus,
    script: &Script,
    start: Timestamp,
    now: Timestamp,
) -> (Vec<ContainerStatus>, Option<Timestamp>) {
    let surroundings = Surroundings {
        pod,
        script,
        start,
        now,
    };
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice());
    let known = old.container_statuses.as_deref().unwrap_or_default();
    let mut wake_at = None;
    let step = |container: &Container| {
        let before = known.iter().find(|status| status.name == container.name);
        let (after, wake) = next(container, before, &surroundings);
        wake_at = earliest(wake_at, wake);
        after
    };
    let statuses = containers.unwrap_or_default().iter().map(step).collect();
    (statuses, wake_at)
}

fn host_ip(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_deref()?;
    let internal = addresses
        .iter()
        .find(|address| address.type_ == "InternalIP")?;
    Some(internal.address.clone())
}
