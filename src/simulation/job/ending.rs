//! How a Job comes to its end, and the conditions that tell of it.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus};

use super::super::pods::{after, count, time};
use super::indexes;
use super::success_policy;
use super::tally::Tally;

const COMING: [&str; 2] = ["SuccessCriteriaMet", "FailureTarget"];
const THERE: [&str; 2] = ["Complete", "Failed"];

/// How a Job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// The condition that tells of it before all pods have stopped, and the one after.
    conditions: [&'static str; 2],
    reason: String,
    message: String,
}

impl End {
    fn well(reason: &str, message: &str) -> Self {
        Self {
            conditions: [COMING[0], THERE[0]],
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    pub(super) fn is_well(&self) -> bool {
        self.conditions[0] == COMING[0]
    }

    fn badly(reason: &str, message: &str) -> Self {
        Self {
            conditions: [COMING[1], THERE[1]],
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// Whether a Job has come to its end.
pub(super) enum Ending {
    There(End),
    /// Not yet; at this time at the latest, if there is one.
    Due(Option<Timestamp>),
}

fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")
}

/// When a Job finished, if it has.
pub(super) fn finished(status: &JobStatus) -> Option<Timestamp> {
    let end = THERE.iter().find_map(|kind| condition(status, kind))?;
    let since = end.last_transition_time.as_ref();
    Some(since.map_or(Timestamp::MIN, |time| time.0))
}

/// Whether the end of a Job has been told.
pub(super) fn is_told(status: &JobStatus) -> bool {
    COMING.iter().any(|kind| condition(status, kind).is_some())
}

/// Whether a Job has been told to fail.
pub(super) fn has_failed(status: &JobStatus) -> bool {
    condition(status, COMING[1]).is_some()
}

/// Whether a Job has come to its end, and to which.
pub(super) fn of(spec: &JobSpec, status: &JobStatus, tally: &Tally, now: Timestamp) -> Ending {
    // An end that was told stays the end.
    for (coming, end) in COMING.iter().zip([End::well, End::badly]) {
        if let Some(told) = condition(status, coming) {
            let [reason, message] = [&told.reason, &told.message].map(Option::as_deref);
            return Ending::There(end(reason.unwrap_or_default(), message.unwrap_or_default()));
        }
    }
    if let Some(why) = &tally.verdict {
        return Ending::There(End::badly("PodFailurePolicy", why));
    }
    if has_too_many_failures(spec, tally) {
        let message = "Job has reached the specified backoff limit";
        return Ending::There(End::badly("BackoffLimitExceeded", message));
    }
    let deadline = deadline(spec, status);
    if deadline.is_some_and(|deadline| deadline <= now) {
        let message = "Job was active longer than specified deadline";
        return Ending::There(End::badly("DeadlineExceeded", message));
    }
    if let Some(end) = of_indexes(spec, tally) {
        return Ending::There(end);
    }
    let is_complete = match spec.completions {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0,
    };
    if is_complete && tally.active.is_empty() {
        let message = "Reached expected number of succeeded pods";
        return Ending::There(End::well("CompletionsReached", message));
    }
    Ending::Due(deadline)
}

/// The end to which the places of an indexed Job have come.
fn of_indexes(spec: &JobSpec, tally: &Tally) -> Option<End> {
    let completed = tally.completed.as_ref()?;
    let places = indexes::places(spec)?;
    let failed = tally.index_failures.as_ref();
    let failed = failed.map_or(0, |failures| count(failures.failed.len()));
    if spec.max_failed_indexes.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(End::badly("MaxFailedIndexesExceeded", message));
    }
    if failed > 0 && failed + count(completed.len()) >= places {
        return Some(End::badly("FailedIndexes", "Job has failed indexes"));
    }
    let why = success_policy::fulfilled(spec, completed)?;
    Some(End::well("SuccessPolicy", &why))
}

fn has_too_many_failures(spec: &JobSpec, tally: &Tally) -> bool {
    let limit = spec.backoff_limit.unwrap_or(6);
    let pod = spec.template.spec.as_ref();
    let policy = pod.and_then(|pod| pod.restart_policy.as_deref());
    let in_place = policy == Some("OnFailure") && tally.restarts > 0 && tally.restarts >= limit;
    tally.failed > limit || in_place
}

fn deadline(spec: &JobSpec, status: &JobStatus) -> Option<Timestamp> {
    let seconds = spec.active_deadline_seconds?;
    let start = status.start_time.as_ref()?;
    (spec.suspend != Some(true)).then(|| after(start.0, seconds))
}

/// Tells that the end comes.
pub(super) fn announce(status: &mut JobStatus, end: &End, now: Timestamp) {
    let [coming, _] = end.conditions;
    set(status, coming, "True", &end.reason, &end.message, now);
}

/// Tells that the end is there.
pub(super) fn conclude(status: &mut JobStatus, end: &End, now: Timestamp) {
    let [_, there] = end.conditions;
    set(status, there, "True", &end.reason, &end.message, now);
    if there == THERE[0] {
        status.completion_time = Some(time(now));
    }
}

/// Tells that the Job is held; its time will start anew.
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

/// Tells that the Job goes on, if it was held.
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
