//! What a pod's status says of all its containers together.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};

use super::super::pods::time;
use super::containers::is_running;

pub(super) fn phase_of(statuses: &[ContainerStatus]) -> &'static str {
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

pub(super) fn set_conditions(status: &mut PodStatus, statuses: &[ContainerStatus], now: Timestamp) {
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

pub(super) fn set_condition(
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
