//! What a pod's status says of all its containers together.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};

use super::super::pods::time;
use super::containers::is_running;

/// The phase that the containers of a pod amount to.
///
/// # Source
/// The kubelet's `getPhase`.
pub(super) fn phase_of(pod: &Pod, statuses: &[ContainerStatus]) -> &'static str {
    let ended = |status: &ContainerStatus| {
        let state = status.state.clone().unwrap_or_default();
        let last = status.last_state.clone().unwrap_or_default();
        let last = last.terminated.filter(|_| state.waiting.is_some());
        state.terminated.or(last).map(|ended| ended.exit_code)
    };
    let exit_codes: Vec<_> = statuses.iter().filter_map(ended).collect();
    let running = statuses.iter().filter(|status| is_running(status)).count();
    if exit_codes.len() + running < statuses.len() || statuses.is_empty() {
        return "Pending";
    }
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    match policy {
        _ if running > 0 => "Running",
        Some("Never" | "OnFailure") if exit_codes.iter().all(|code| *code == 0) => "Succeeded",
        Some("Never") => "Failed",
        _ => "Running",
    }
}

/// Why something does not hold.
struct Reason {
    reason: &'static str,
    message: String,
}

/// Sets the conditions that follow from the phase and from the containers.
pub(super) fn set_conditions(
    pod: &Pod,
    status: &mut PodStatus,
    statuses: &[ContainerStatus],
    now: Timestamp,
) {
    let phase = status.phase.clone().unwrap_or_default();
    let has_started = !statuses.is_empty() && matches!(phase.as_str(), "Running");
    let containers = containers_not_ready(&phase, statuses);
    let ready = match &containers {
        Some(why) => Some(Reason {
            message: why.message.clone(),
            ..*why
        }),
        None => gates_not_ready(pod, status),
    };
    set_condition(
        status,
        "PodReadyToStartContainers",
        truth(has_started),
        "",
        "",
        now,
    );
    let completed = if phase == "Succeeded" {
        "PodCompleted"
    } else {
        ""
    };
    set_condition(status, "Initialized", "True", completed, "", now);
    set_unless(status, "Ready", ready, now);
    set_unless(status, "ContainersReady", containers, now);
    set_condition(status, "PodScheduled", "True", "", "", now);
}

fn truth(holds: bool) -> &'static str {
    if holds { "True" } else { "False" }
}

fn set_unless(status: &mut PodStatus, kind: &str, why: Option<Reason>, now: Timestamp) {
    match why {
        None => set_condition(status, kind, "True", "", "", now),
        Some(why) => set_condition(status, kind, "False", why.reason, &why.message, now),
    }
}

fn containers_not_ready(phase: &str, statuses: &[ContainerStatus]) -> Option<Reason> {
    let ended = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    if let Some(reason) = ended {
        return Some(Reason {
            reason,
            message: String::new(),
        });
    }
    let not_ready = statuses.iter().filter(|status| !status.ready);
    let not_ready: Vec<_> = not_ready.map(|status| status.name.as_str()).collect();
    (!not_ready.is_empty()).then(|| Reason {
        reason: "ContainersNotReady",
        message: format!("containers with unready status: [{}]", not_ready.join(" ")),
    })
}

/// The readiness gates of a pod are conditions that somebody else sets.
fn gates_not_ready(pod: &Pod, status: &PodStatus) -> Option<Reason> {
    let gates = pod.spec.as_ref()?.readiness_gates.as_deref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let problem = |gate: &str| {
        let found = conditions.iter().find(|condition| condition.type_ == gate);
        match found.map(|condition| condition.status.as_str()) {
            Some("True") => None,
            Some(other) => Some(format!(
                "the status of pod readiness gate \"{gate}\" is not \"True\", but {other}"
            )),
            None => Some(format!(
                "corresponding condition of pod readiness gate \"{gate}\" does not exist."
            )),
        }
    };
    let problems: Vec<_> = gates
        .iter()
        .filter_map(|gate| problem(&gate.condition_type))
        .collect();
    (!problems.is_empty()).then(|| Reason {
        reason: "ReadinessGatesNotReady",
        message: problems.join(", "),
    })
}

/// Sets a condition; it tells since when its status is what it is.
pub(in crate::simulation) fn set_condition(
    status: &mut PodStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let conditions = status.conditions.get_or_insert_default();
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

/// Takes a condition away.
pub(super) fn remove_condition(status: &mut PodStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != kind);
    }
}
