//! What the scheduler and the kubelet do to a pod: it gets a node, starts, becomes ready, ends,
//! starts again, stops. As its script says, from its status and the time alone.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::json;

use super::Options;
use super::change::{Change, Decision, earliest};
use super::pods::{self, time, whole_seconds};
use super::script::Script;

/// The one node.
const NODE: &str = "simulated";
const NODE_IP: &str = "192.168.0.1";

/// The waits before a container is started again, as the kubelet's: none, then 10 s doubling up to
/// five minutes.
const FIRST_BACK_OFF_SECONDS: i64 = 10;
const LAST_BACK_OFF_SECONDS: i64 = 300;
const BACK_OFF_MESSAGE: &str = "back-off restarting failed container";

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

/// What all containers of a pod are in; they share one script.
enum Stage {
    Waiting {
        reason: &'static str,
        message: Option<String>,
    },
    Running {
        since: Timestamp,
    },
    Ended {
        started: Timestamp,
        finished: Timestamp,
    },
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

/// Where a container stands, and when it will stand elsewhere.
fn stage(
    before: Option<&ContainerStatus>,
    script: &Script,
    image: &str,
    start: Timestamp,
    now: Timestamp,
) -> (Stage, Option<Timestamp>) {
    let state = before.and_then(|status| status.state.as_ref());
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        let moment = |time: &Option<Time>| time.as_ref().map_or(now, |time: &Time| time.0);
        let (started, finished) = (moment(&ended.started_at), moment(&ended.finished_at));
        return (Stage::Ended { started, finished }, None);
    }
    let running = state.and_then(|state| state.running.as_ref());
    let Some(since) = running.and_then(|running| running.started_at.as_ref()) else {
        return starting(before, script, image, start, now);
    };
    let end = script.runs_for.map(|runs_for| later(since.0, runs_for));
    match end {
        Some(end) if end <= now => (
            Stage::Ended {
                started: since.0,
                finished: whole_seconds(now),
            },
            None,
        ),
        _ => (Stage::Running { since: since.0 }, end),
    }
}

/// A container that does not run yet, or not again.
fn starting(
    before: Option<&ContainerStatus>,
    script: &Script,
    image: &str,
    start: Timestamp,
    now: Timestamp,
) -> (Stage, Option<Timestamp>) {
    if script.image_pull_error {
        let message = Some(format!("Back-off pulling image \"{image}\""));
        return (
            Stage::Waiting {
                reason: "ImagePullBackOff",
                message,
            },
            None,
        );
    }
    let last = before.and_then(|status| status.last_state.as_ref()?.terminated.as_ref());
    let (reason, starts) = match (last.and_then(|last| last.finished_at.as_ref()), before) {
        (Some(finished), Some(before)) => (
            "CrashLoopBackOff",
            pods::after(finished.0, back_off(before.restart_count)),
        ),
        _ => ("ContainerCreating", later(start, script.ready_after)),
    };
    if starts > now {
        let message = last.map(|_| BACK_OFF_MESSAGE.to_owned());
        return (Stage::Waiting { reason, message }, Some(starts));
    }
    let since = whole_seconds(now);
    (
        Stage::Running { since },
        script.runs_for.map(|runs_for| later(since, runs_for)),
    )
}

fn back_off(restarts: i32) -> i64 {
    match u32::try_from(restarts) {
        Ok(restarts @ 1..) => {
            let doubled = FIRST_BACK_OFF_SECONDS.saturating_mul(2_i64.saturating_pow(restarts - 1));
            doubled.min(LAST_BACK_OFF_SECONDS)
        }
        _ => 0,
    }
}

fn container_status(
    container: &Container,
    before: Option<&ContainerStatus>,
    script: &Script,
    start: Timestamp,
    now: Timestamp,
) -> (ContainerStatus, Option<Timestamp>) {
    let image = container.image.clone().unwrap_or_default();
    let (stage, wake_at) = stage(before, script, &image, start, now);
    let mut status = before.cloned().unwrap_or_else(|| ContainerStatus {
        name: container.name.clone(),
        image,
        ..ContainerStatus::default()
    });
    let was_waiting = !is_running(&status) && status.last_state.is_some();
    let mut current = ContainerState::default();
    match stage {
        Stage::Waiting { reason, message } => {
            current.waiting = Some(ContainerStateWaiting {
                reason: Some(reason.to_owned()),
                message,
            });
        }
        Stage::Running { since } => {
            current.running = Some(ContainerStateRunning {
                started_at: Some(time(since)),
            });
            status.restart_count += i32::from(was_waiting);
            status.container_id = Some(format!("simulated://{}", container.name));
            status.image_id.clone_from(&status.image);
        }
        Stage::Ended { started, finished } => {
            current.terminated = Some(ended(script.exit_code, started, finished));
        }
    }
    status.started = Some(current.running.is_some());
    status.ready = current.running.is_some() && !script.never_ready;
    // What has ended keeps the exit code that it ended with.
    let has_ended = |status: &ContainerStatus| {
        status
            .state
            .as_ref()
            .is_some_and(|state| state.terminated.is_some())
    };
    if !has_ended(&status) {
        status.state = Some(current);
    }
    (status, wake_at)
}

fn is_running(status: &ContainerStatus) -> bool {
    status
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some())
}

fn ended(exit_code: i32, started: Timestamp, finished: Timestamp) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code,
        reason: Some(if exit_code == 0 { "Completed" } else { "Error" }.to_owned()),
        started_at: Some(time(started)),
        finished_at: Some(time(finished)),
        ..ContainerStateTerminated::default()
    }
}

/// Lets a container that has ended wait for its next start, if its pod's policy gives it one.
fn restarted(
    mut status: ContainerStatus,
    policy: &str,
    now: Timestamp,
) -> (ContainerStatus, Option<Timestamp>) {
    let Some(ended) = status
        .state
        .as_ref()
        .and_then(|state| state.terminated.clone())
    else {
        return (status, None);
    };
    let stays = match policy {
        "Never" => true,
        "OnFailure" => ended.exit_code == 0,
        _ => false,
    };
    if stays {
        return (status, None);
    }
    let finished = ended.finished_at.as_ref().map_or(now, |time| time.0);
    let again = pods::after(finished, back_off(status.restart_count));
    status.last_state = Some(ContainerState {
        terminated: Some(ended),
        ..ContainerState::default()
    });
    let waiting = ContainerStateWaiting {
        reason: Some("CrashLoopBackOff".to_owned()),
        message: Some(BACK_OFF_MESSAGE.to_owned()),
    };
    status.state = Some(ContainerState {
        waiting: Some(waiting),
        ..ContainerState::default()
    });
    (status, Some(again))
}

fn phase_of(statuses: &[ContainerStatus]) -> &'static str {
    let state = |status: &ContainerStatus| status.state.clone().unwrap_or_default();
    let exit_codes: Vec<_> = statuses
        .iter()
        .filter_map(|status| state(status).terminated.map(|ended| ended.exit_code))
        .collect();
    if !statuses.is_empty() && exit_codes.len() == statuses.len() {
        return if exit_codes.iter().all(|code| *code == 0) {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    let has_run = |status: &ContainerStatus| is_running(status) || status.last_state.is_some();
    if statuses.iter().any(has_run) {
        "Running"
    } else {
        "Pending"
    }
}

fn set_conditions(status: &mut PodStatus, statuses: &[ContainerStatus], now: Timestamp) {
    let not_ready: Vec<_> = statuses
        .iter()
        .filter(|status| !status.ready)
        .map(|status| status.name.as_str())
        .collect();
    let (reason, message) = if status.phase.as_deref() == Some("Succeeded") {
        ("PodCompleted", String::new())
    } else if status.phase.as_deref() == Some("Failed") {
        ("PodFailed", String::new())
    } else if not_ready.is_empty() {
        ("", String::new())
    } else {
        let names = not_ready.join(" ");
        (
            "ContainersNotReady",
            format!("containers with unready status: [{names}]"),
        )
    };
    set_condition(status, "PodScheduled", true, "", "", now);
    set_condition(status, "Initialized", true, "", "", now);
    set_condition(
        status,
        "ContainersReady",
        not_ready.is_empty(),
        reason,
        &message,
        now,
    );
    set_condition(status, "Ready", not_ready.is_empty(), reason, &message, now);
}

fn set_condition(
    status: &mut PodStatus,
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let conditions = status.conditions.get_or_insert_default();
    let value = if holds { "True" } else { "False" };
    let before = conditions
        .iter_mut()
        .find(|condition| condition.type_ == kind);
    let since = before
        .as_ref()
        .filter(|condition| condition.status == value);
    let since = since.and_then(|condition| condition.last_transition_time.clone());
    let condition = PodCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: text(reason),
        message: text(message),
        last_transition_time: Some(since.unwrap_or_else(|| time(now))),
        ..PodCondition::default()
    };
    match before {
        Some(before) => *before = condition,
        None => conditions.push(condition),
    }
}

/// An address in `10.0.0.0/8` that is the same for the same uid.
fn fake_ip(uid: &str) -> String {
    let [_, b, c, d] = super::hash::fnv1a(uid.as_bytes()).to_be_bytes();
    format!("10.{b}.{c}.{d}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const START: &str = "2026-01-01T00:00:00Z";

    fn at(seconds: i64) -> Timestamp {
        pods::after(START.parse().unwrap(), seconds)
    }

    fn pod(restart_policy: &str, annotations: &[(&str, &str)]) -> Pod {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "default", "uid": "u"},
            "spec": {
                "nodeName": NODE,
                "restartPolicy": restart_policy,
                "containers": [{"name": "c", "image": "i:1"}],
            },
        }))
        .unwrap();
        for (name, value) in annotations {
            let name = format!("simulation.verdict.dev/{name}");
            pod.annotations_mut().insert(name, (*value).to_owned());
        }
        pod
    }

    /// Applies what the kubelet decides to the pod, and says it in a word.
    fn step(pod: &mut Pod, seconds: i64) -> (String, Option<Timestamp>) {
        let decision = decide(pod, &Options::default(), at(seconds));
        for change in decision.changes {
            let Change::Status { patch, .. } = change else {
                panic!("{change}")
            };
            let mut value = json!(pod);
            json_patch::merge(&mut value, &patch);
            *pod = serde_json::from_value(value).unwrap();
        }
        let status = json!(pod.status);
        let container = &status["containerStatuses"][0];
        let reason = |state: &str| {
            container["state"][state]["reason"]
                .as_str()
                .map(str::to_owned)
        };
        let state = reason("waiting").or_else(|| reason("terminated"));
        let ready = if container["ready"] == json!(true) {
            " ready"
        } else {
            ""
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let state = state.map(|state| format!(" {state}")).unwrap_or_default();
        let restarts = container["restartCount"].as_i64().unwrap_or_default();
        let told = format!("{}{state}{ready} {restarts}", text(&status["phase"]));
        (told, decision.wake_at)
    }

    /// Restart policy and annotations; then `second: state restarts @ when to look again`.
    const LIVES: &[&str] = &[
        "Always ready-after=5s
         0: Pending ContainerCreating 0 @ 5
         4: Pending ContainerCreating 0 @ 5
         5: Running ready 0
         900: Running ready 0",
        "Always never-ready=true
         0: Pending ContainerCreating 0 @ 1
         1: Running 0",
        "Always image-pull-error=true
         0: Pending ImagePullBackOff 0
         60: Pending ImagePullBackOff 0",
        "Never ready-after=0s runs-for=30s
         0: Running ready 0 @ 30
         30: Succeeded Completed 0
         31: Succeeded Completed 0",
        "Never exit-code=1
         0: Pending ContainerCreating 0 @ 1
         1: Running ready 0 @ 2
         2: Failed Error 0",
        "Always ready-after=0s runs-for=10s exit-code=2
         0: Running ready 0 @ 10
         10: Running CrashLoopBackOff 0 @ 10
         10: Running ready 1 @ 20
         20: Running CrashLoopBackOff 1 @ 30
         25: Running CrashLoopBackOff 1 @ 30
         30: Running ready 2 @ 40
         40: Running CrashLoopBackOff 2 @ 60",
        "OnFailure ready-after=0s runs-for=1s
         0: Running ready 0 @ 1
         1: Succeeded Completed 0",
        "Always ready-after=soon
         0: Pending 0",
    ];

    #[test]
    fn pods_live_as_their_scripts_say() {
        for life in LIVES {
            let mut lines = life.lines();
            let mut words = lines.next().unwrap().split(' ');
            let policy = words.next().unwrap();
            let annotations: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
            let mut pod = pod(policy, &annotations);
            for line in lines {
                let (seconds, expected) = line.trim().split_once(": ").unwrap();
                let now = seconds.parse().unwrap();
                let (told, wake_at) = step(&mut pod, now);
                let wake = wake_at.map(|wake| wake.duration_since(at(0)).as_secs());
                let told = wake.map_or(told.clone(), |wake| format!("{told} @ {wake}"));
                assert_eq!(told, expected, "{policy} {annotations:?} at {seconds} s");
                let again = decide(&pod, &Options::default(), at(now));
                assert!(again.changes.is_empty() || wake == Some(now), "{again:?}");
            }
        }
    }

    #[test]
    fn a_changed_script_takes_effect() {
        let mut pod = pod("Always", &[("ready-after", "0s")]);
        assert_eq!(step(&mut pod, 0).0, "Running ready 0");
        let never_ready = "simulation.verdict.dev/never-ready";
        pod.annotations_mut()
            .insert(never_ready.to_owned(), "true".to_owned());
        assert_eq!(step(&mut pod, 1).0, "Running 0");
        pod.annotations_mut().remove(never_ready);
        assert_eq!(step(&mut pod, 2).0, "Running ready 0");
        assert_eq!(pods::ready_since(&pod), Some(at(2)));
    }

    #[test]
    fn a_deleted_pod_stops_within_its_grace_period() {
        for (stops_after, due) in [("0s", 0), ("10s", 10), ("90s", 30)] {
            let mut pod = pod("Always", &[("stops-after", stops_after)]);
            pod.metadata.deletion_timestamp = Some(time(at(30)));
            pod.metadata.deletion_grace_period_seconds = Some(30);
            let before = decide(&pod, &Options::default(), at(due - 1));
            assert_eq!((before.changes.len(), before.wake_at), (0, Some(at(due))));
            let then = decide(&pod, &Options::default(), at(due));
            let grace = then.changes.iter().map(|change| match change {
                Change::Delete { grace_seconds, .. } => *grace_seconds,
                other => panic!("{other}"),
            });
            assert_eq!(grace.collect::<Vec<_>>(), [Some(0)]);
        }
        let mut held = pod("Always", &[]);
        held.metadata.deletion_timestamp = Some(time(at(0)));
        held.metadata.deletion_grace_period_seconds = Some(0);
        assert!(decide(&held, &Options::default(), at(5)).changes.is_empty());
    }

    #[test]
    fn a_pod_gets_a_node_unless_it_must_not() {
        let mut pod = pod("Always", &[]);
        pod.spec.as_mut().unwrap().node_name = None;
        let changes = decide(&pod, &Options::default(), at(0)).changes;
        assert!(
            matches!(changes.as_slice(), [Change::Patch { .. }]),
            "{changes:?}"
        );
        let unschedulable = "simulation.verdict.dev/unschedulable".to_owned();
        pod.annotations_mut()
            .insert(unschedulable, "true".to_owned());
        let (told, wake_at) = step(&mut pod, 0);
        assert_eq!((told.as_str(), wake_at), ("Pending 0", None));
    }
}
