//! How a Job comes to its end, and the conditions that tell of it.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus};

use super::super::pods::{after, time};
use super::tally::Tally;

/// How a Job ends.
pub(super) struct End {
    /// The condition that tells of it before all pods have stopped, and the one after.
    conditions: [&'static str; 2],
    reason: &'static str,
    message: &'static str,
}

const COMPLETE: End = End {
    conditions: ["SuccessCriteriaMet", "Complete"],
    reason: "CompletionsReached",
    message: "Reached expected number of succeeded pods",
};
const BACK_OFF_LIMIT: End = End {
    conditions: ["FailureTarget", "Failed"],
    reason: "BackoffLimitExceeded",
    message: "Job has reached the specified backoff limit",
};
const DEADLINE: End = End {
    conditions: ["FailureTarget", "Failed"],
    reason: "DeadlineExceeded",
    message: "Job was active longer than specified deadline",
};

fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")
}

/// When a Job finished, if it has.
pub(super) fn finished(status: &JobStatus) -> Option<Timestamp> {
    let end = condition(status, "Complete").or_else(|| condition(status, "Failed"))?;
    Some(
        end.last_transition_time
            .as_ref()
            .map_or(Timestamp::MIN, |time| time.0),
    )
}

/// Whether a Job has come to its end, and to which.
pub(super) fn ending(
    spec: &JobSpec,
    old: &JobStatus,
    tally: &Tally,
    now: Timestamp,
) -> Option<End> {
    // An end that was told stays the end.
    if let Some(target) = condition(old, "FailureTarget") {
        let is_deadline = target.reason.as_deref() == Some(DEADLINE.reason);
        return Some(if is_deadline {
            DEADLINE
        } else {
            BACK_OFF_LIMIT
        });
    }
    if condition(old, "SuccessCriteriaMet").is_some() {
        return Some(COMPLETE);
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    let in_place = tally.restarts > 0 && tally.restarts >= limit;
    if tally.failed > limit || (restarts_in_place(spec) && in_place) {
        return Some(BACK_OFF_LIMIT);
    }
    let start = old
        .start_time
        .as_ref()
        .filter(|_| spec.suspend != Some(true));
    let deadline = spec.active_deadline_seconds.zip(start);
    if deadline.is_some_and(|(seconds, start)| after(start.0, seconds) <= now) {
        return Some(DEADLINE);
    }
    let is_complete = match spec.completions {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0 && tally.active.is_empty(),
    };
    is_complete.then_some(COMPLETE)
}

fn restarts_in_place(spec: &JobSpec) -> bool {
    let policy = spec
        .template
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    policy == Some("OnFailure")
}

/// Tells the end: first that it comes, and once no pod runs any more, that it is there.
pub(super) fn finish(status: &mut JobStatus, end: &End, tally: &Tally, now: Timestamp) {
    let [coming, there] = end.conditions;
    set(status, coming, "True", end.reason, end.message, now);
    if tally.active.is_empty() && tally.stopping == 0 {
        set(status, there, "True", end.reason, end.message, now);
        if there == "Complete" {
            status.completion_time = Some(time(now));
        }
    }
}

pub(super) fn suspend(status: &mut JobStatus, now: Timestamp) {
    status.start_time = None;
    set(
        status,
        "Suspended",
        "True",
        "JobSuspended",
        "Job suspended",
        now,
    );
}

pub(super) fn resume(status: &mut JobStatus, now: Timestamp) {
    if condition(status, "Suspended").is_some() {
        set(
            status,
            "Suspended",
            "False",
            "JobResumed",
            "Job resumed",
            now,
        );
    }
}

pub(super) fn set(
    status: &mut JobStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let before = conditions
        .iter_mut()
        .find(|condition| condition.type_ == kind);
    if before.as_ref().is_some_and(|before| before.status == value) {
        return;
    }
    let condition = JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    };
    match before {
        Some(before) => *before = condition,
        None => conditions.push(condition),
    }
}
