//! What a Rollout's status says: counts, conditions, phase and message.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::core::Selector;

use super::change::Notice;
use super::decide::{Pass, Turn, whole_seconds};
use super::duration;
use super::labels::{POD_TEMPLATE_HASH, WORKLOAD_GENERATION};
use super::phase::phase;
use super::plan::{Step, Strategy};
use super::waiting::{self, Reason, Waiting};
use crate::api::{Condition, ConditionStatus, ConditionType, Problem, Rollout, RolloutStatus};

pub(super) const ABORTED: &str = "RolloutAborted";
const PAUSED: &str = "RolloutPaused";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// The status of a Rollout whose spec cannot be followed, and an Event when that is news.
pub(super) fn invalid(
    rollout: &Rollout,
    old: &RolloutStatus,
    problems: &[Problem],
    now: Timestamp,
) -> (RolloutStatus, Option<Notice>) {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let message = format!(
        "The Rollout \"{}\" is invalid: {}",
        rollout.name_any(),
        problems.join("; ")
    );
    let news = condition(old, &ConditionType::InvalidSpec)
        .is_none_or(|condition| condition.message != message);
    let mut next = old.clone();
    next.observed_generation = generation(rollout);
    set(
        &mut next,
        whole_seconds(now),
        Fresh::No,
        invalid_spec(&message),
    );
    wait(&mut next, now, Reason::Invalid, &message);
    (next.phase, next.message) = phase(rollout, &next);
    let notice = Notice {
        warning: true,
        reason: "InvalidSpec".into(),
        message,
    };
    (next, news.then_some(notice))
}

/// The status of a Rollout of which nothing is known but itself, and an Event when that is news.
pub(super) fn hindered(
    old: &RolloutStatus,
    reason: Reason,
    why: &str,
    now: Timestamp,
) -> (RolloutStatus, Option<Notice>) {
    let mut next = old.clone();
    let waiting = Waiting::new(reason, why);
    let notice = waiting::record(&mut next, &whole_seconds(now), Some(waiting));
    (next, notice)
}

/// Says in a status that nothing moves. That is told as what it is.
fn wait(status: &mut RolloutStatus, now: Timestamp, reason: Reason, what: &str) {
    waiting::record(
        status,
        &whole_seconds(now),
        Some(Waiting::new(reason, what)),
    );
}

fn invalid_spec(message: &str) -> Said<'_> {
    Said {
        condition_type: ConditionType::InvalidSpec,
        status: ConditionStatus::True,
        reason: "InvalidSpec",
        message: message.to_owned(),
    }
}

fn generation(rollout: &Rollout) -> String {
    rollout
        .metadata
        .generation
        .map(|generation| generation.to_string())
        .unwrap_or_default()
}

/// A condition as it should be.
pub(super) struct Said<'a> {
    pub(super) condition_type: ConditionType,
    pub(super) status: ConditionStatus,
    pub(super) reason: &'a str,
    pub(super) message: String,
}

/// Whether a condition is dated anew although it says the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    Yes,
    No,
}

pub(super) fn condition<'s>(
    status: &'s RolloutStatus,
    wanted: &ConditionType,
) -> Option<&'s Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.condition_type == *wanted)
}

fn reason<'s>(status: &'s RolloutStatus, wanted: &ConditionType) -> &'s str {
    condition(status, wanted).map_or("", |condition| condition.reason.as_str())
}

/// Sets a condition. The one that changes moves to the end, as Argo has it.
pub(super) fn set(status: &mut RolloutStatus, now: Time, fresh: Fresh, said: Said<'_>) {
    let old = condition(status, &said.condition_type).cloned();
    let same = old.as_ref().is_some_and(|old| {
        old.status == said.status && old.reason == said.reason && old.message == said.message
    });
    if same && fresh == Fresh::No {
        return;
    }
    let since = old.as_ref().filter(|old| old.status == said.status);
    let since = since.and_then(|old| old.last_transition_time.clone());
    status
        .conditions
        .retain(|condition| condition.condition_type != said.condition_type);
    status.conditions.push(Condition {
        condition_type: said.condition_type,
        status: said.status,
        reason: said.reason.to_owned(),
        message: said.message,
        last_update_time: Some(now.clone()),
        last_transition_time: Some(since.unwrap_or(now)),
        ..Condition::default()
    });
}

/// Brings the status of a pass to its end: all that follows from what was observed and decided.
pub(super) fn settle(pass: &mut Pass<'_>) {
    pass.next.observed_generation = generation(pass.rollout);
    let workload = pass.rollout.annotations().get(WORKLOAD_GENERATION);
    pass.next.workload_observed_generation = workload.cloned().unwrap_or_default();
    pass.next
        .conditions
        .retain(|c| c.condition_type != ConditionType::InvalidSpec);
    count(pass);
    settle_abort(pass);
    settle_pauses(pass);
    let healthy = settle_health(pass);
    settle_progress(pass, healthy);
    settle_others(pass);
    (pass.next.phase, pass.next.message) = phase(pass.rollout, &pass.next);
    let was_aborted = reason(&pass.old, &ConditionType::Progressing) == ABORTED;
    duration::settle(pass, was_aborted);
    let waiting = waiting::of(pass);
    let now = pass.time();
    let notice = waiting::record(&mut pass.next, &now, waiting);
    pass.notices.extend(notice);
    schedule_deadline(pass);
}

fn count(pass: &mut Pass<'_>) {
    let all = || pass.revisions.all();
    let next = &mut pass.next;
    next.replicas = all().map(|member| member.replicas).sum();
    next.updated_replicas = pass.revisions.new.as_ref().map_or(0, |new| new.replicas);
    next.ready_replicas = all().map(|member| member.ready).sum();
    next.available_replicas = all().map(|member| member.pods.available).sum();
    next.hpa_replicas = next.replicas;
    next.selector = selector_text(pass.rollout, None);
    if let Some(active) = pass.active_version().cloned() {
        let next = &mut pass.next;
        next.ready_replicas = active.ready;
        next.available_replicas = active.pods.available;
        next.hpa_replicas = active.replicas;
        next.selector = selector_text(pass.rollout, Some(active.hash));
    }
}

/// The selector of all pods, or of those of one version.
fn selector_text(rollout: &Rollout, hash: Option<String>) -> String {
    let mut written = rollout.spec.selector.clone();
    if let (Some(written), Some(hash)) = (&mut written, hash) {
        let labels = written.match_labels.get_or_insert_default();
        labels.insert(POD_TEMPLATE_HASH.to_owned(), hash);
    }
    let selector = written.and_then(|written| Selector::try_from(written).ok());
    selector
        .map(|selector| selector.to_string())
        .unwrap_or_default()
}

fn settle_abort(pass: &mut Pass<'_>) {
    if !pass.next.abort {
        pass.next.aborted_at = None;
    } else if pass.next.aborted_at.is_none() {
        pass.next.aborted_at = Some(pass.time());
    }
}

fn settle_pauses(pass: &mut Pass<'_>) {
    let paused = !pass.next.pause_conditions.is_empty();
    if !paused && !pass.old.pause_conditions.is_empty() && !pass.next.abort {
        pass.notify("RolloutResumed", "Rollout is resumed".to_owned());
    }
    pass.next.controller_pause = paused && pass.next.controller_pause;
}

fn is_paused(pass: &Pass<'_>) -> bool {
    pass.rollout.spec.paused || !pass.next.pause_conditions.is_empty()
}

fn settle_health(pass: &mut Pass<'_>) -> Health {
    let (next, replicas) = (&pass.next, pass.plan.replicas);
    let has_arrived = match &pass.plan.strategy {
        Strategy::Canary(_) => {
            pass.is_promoted() && next.replicas == replicas && next.current_step_index == pass.end()
        }
        Strategy::BlueGreen(plan) => {
            let (hash, selected) = (&next.current_pod_hash, &next.blue_green);
            selected.active_selector == *hash
                && (plan.preview.is_none() || selected.preview_selector == *hash)
        }
    };
    let healthy = !is_paused(pass)
        && has_arrived
        && next.updated_replicas == replicas
        && next.available_replicas == replicas;
    let before = condition(&pass.old, &ConditionType::Healthy).map(|condition| condition.status);
    if healthy || before.is_some() {
        let (status, message) = if healthy {
            (ConditionStatus::True, "Rollout is healthy")
        } else {
            (ConditionStatus::False, "Rollout is not healthy")
        };
        let condition_type = ConditionType::Healthy;
        say(
            pass,
            Fresh::No,
            condition_type,
            status,
            "RolloutHealthy",
            message,
        );
    }
    match (before, healthy) {
        (_, true) => Health::Healthy,
        (Some(ConditionStatus::True), false) => Health::Lost,
        (_, false) => Health::NotYet,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Healthy,
    Lost,
    NotYet,
}

fn say(
    pass: &mut Pass<'_>,
    fresh: Fresh,
    condition_type: ConditionType,
    status: ConditionStatus,
    reason: &str,
    message: &str,
) {
    let now = pass.time();
    let said = Said {
        condition_type,
        status,
        reason,
        message: message.to_owned(),
    };
    set(&mut pass.next, now, fresh, said);
}

fn progressing(
    pass: &mut Pass<'_>,
    fresh: Fresh,
    status: ConditionStatus,
    reason: &str,
    message: &str,
) {
    say(
        pass,
        fresh,
        ConditionType::Progressing,
        status,
        reason,
        message,
    );
}

/// The condition Progressing: the first that fits.
fn settle_progress(pass: &mut Pass<'_>, health: Health) {
    use ConditionStatus::{False, True, Unknown};
    let name = pass
        .revisions
        .new
        .as_ref()
        .map(|new| new.name.clone())
        .unwrap_or_default();
    let before = reason(&pass.old, &ConditionType::Progressing).to_owned();
    let moved = format!("ReplicaSet \"{name}\" is progressing.");
    if pass.next.abort {
        settle_aborted(pass, &before);
    } else if pass.turn == Turn::ResetWithNewReplicaSet {
        let message = format!("Created new replica set \"{name}\"");
        progressing(pass, Fresh::Yes, True, "NewReplicaSetCreated", &message);
    } else if pass.turn == Turn::Reset {
        progressing(pass, Fresh::Yes, True, "ReplicaSetUpdated", &moved);
    } else if is_paused(pass) && !pass.is_promoted() {
        progressing(pass, Fresh::No, Unknown, PAUSED, "Rollout is paused");
    } else if health == Health::Healthy {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        progressing(pass, Fresh::No, True, "NewReplicaSetAvailable", &message);
    } else if before == ABORTED {
        progressing(
            pass,
            Fresh::No,
            Unknown,
            "RolloutRetry",
            "Retrying Rollout after abort",
        );
    } else if health == Health::Lost && pass.is_promoted() {
        let message = "Rollout does not have minimum availability";
        progressing(pass, Fresh::Yes, True, "ReplicaSetNotAvailable", message);
    } else if has_progressed(pass) || health == Health::Lost {
        progressing(pass, Fresh::Yes, True, "ReplicaSetUpdated", &moved);
    } else if before == PAUSED {
        progressing(
            pass,
            Fresh::No,
            Unknown,
            "RolloutResumed",
            "Rollout is resumed",
        );
    } else if has_timed_out(pass) {
        let message = timeout_message(&name);
        progressing(pass, Fresh::No, False, TIMED_OUT, &message);
    } else if before.is_empty() {
        let message = format!("Found new replica set \"{name}\"");
        progressing(pass, Fresh::No, True, "FoundNewReplicaSet", &message);
    }
}

fn settle_aborted(pass: &mut Pass<'_>, before: &str) {
    if before == ABORTED && pass.abort_cause.is_none() {
        return;
    }
    let mut message = format!("Rollout aborted update to revision {}", pass.revision);
    if let Some(cause) = &pass.abort_cause {
        message = format!("{message}: {cause}");
    }
    progressing(pass, Fresh::No, ConditionStatus::False, ABORTED, &message);
    pass.warn(ABORTED, message);
}

fn timeout_message(name: &str) -> String {
    format!("ReplicaSet \"{name}\" has timed out progressing.")
}

/// Whether this pass sees or makes progress.
fn has_progressed(pass: &Pass<'_>) -> bool {
    let (old, next) = (&pass.old, &pass.next);
    let others = |status: &RolloutStatus| status.replicas - status.updated_replicas;
    next.updated_replicas != old.updated_replicas
        || others(next) < others(old)
        || next.ready_replicas > old.ready_replicas
        || next.available_replicas > old.available_replicas
        || next.stable_rs != old.stable_rs
        || next.current_step_index != old.current_step_index
        || next.current_step_hash != old.current_step_hash
        || next.blue_green.active_selector != old.blue_green.active_selector
        || next.blue_green.preview_selector != old.blue_green.preview_selector
}

/// When the update counts as stuck; `None` while nothing says that it should move.
pub(super) fn deadline(pass: &Pass<'_>) -> Option<Timestamp> {
    let before = condition(&pass.next, &ConditionType::Progressing)?;
    if [ABORTED, PAUSED].contains(&before.reason.as_str()) || is_paused(pass) {
        return None;
    }
    if matches!(
        pass.plan.step(pass.next.current_step_index),
        Some(Step::Analysis(_) | Step::Experiment(_) | Step::Pause(_))
    ) || pass.is_being_judged()
        || (pass.is_promoted()
            && pass
                .revisions
                .others
                .iter()
                .any(|old| old.deadline().is_some()))
    {
        return None;
    }
    let seconds = i64::from(pass.rollout.spec.progress_deadline_seconds());
    let last = before.last_update_time.as_ref()?.0;
    last.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn has_timed_out(pass: &Pass<'_>) -> bool {
    let already = reason(&pass.old, &ConditionType::Progressing) == TIMED_OUT;
    deadline(pass).is_some_and(|deadline| already || deadline < pass.observed.now)
}

fn schedule_deadline(pass: &mut Pass<'_>) {
    let reason = reason(&pass.next, &ConditionType::Progressing);
    if pass.next.abort || [TIMED_OUT, "NewReplicaSetAvailable"].contains(&reason) {
        return;
    }
    if let Some(deadline) = deadline(pass)
        && let Ok(after) = deadline.checked_add(SignedDuration::from_secs(1))
    {
        pass.wake_at(after.max(pass.observed.now));
    }
}

impl Pass<'_> {
    /// Aborts an update that has missed its deadline, if the spec asks for that.
    pub(super) fn check_deadline(&mut self) {
        if !self.rollout.spec.progress_deadline_abort || self.next.abort || self.is_promoted() {
            return;
        }
        let mut seen = self.next.clone();
        std::mem::swap(&mut self.next, &mut seen);
        count(self);
        let stuck = !has_progressed(self) && has_timed_out(self);
        std::mem::swap(&mut self.next, &mut seen);
        if stuck {
            let name = self
                .revisions
                .new
                .as_ref()
                .map(|new| new.name.clone())
                .unwrap_or_default();
            self.abort(timeout_message(&name));
        }
    }
}

fn settle_others(pass: &mut Pass<'_>) {
    use ConditionStatus::{False, True};
    let paused = is_paused(pass);
    let was_paused = condition(&pass.old, &ConditionType::Paused).is_some();
    if !pass.next.abort && (paused || was_paused) {
        let status = if paused { True } else { False };
        say(
            pass,
            Fresh::No,
            ConditionType::Paused,
            status,
            PAUSED,
            "Rollout is paused",
        );
    }
    let is_served = match &pass.plan.strategy {
        Strategy::Canary(_) => true,
        Strategy::BlueGreen(_) => pass.active_version().is_some(),
    };
    let is_available = is_served && pass.next.available_replicas >= pass.plan.replicas;
    let (status, message) = if is_available {
        (True, "Rollout has minimum availability")
    } else {
        (False, "Rollout does not have minimum availability")
    };
    say(
        pass,
        Fresh::No,
        ConditionType::Available,
        status,
        "AvailableReason",
        message,
    );
    settle_failure(pass);
    settle_completion(pass);
}

fn settle_failure(pass: &mut Pass<'_>) {
    let mut failing = pass.revisions.new.iter().chain(&pass.revisions.others);
    match failing.find_map(|member| member.failure.clone()) {
        Some((reason, message)) => {
            say(
                pass,
                Fresh::No,
                ConditionType::ReplicaFailure,
                ConditionStatus::True,
                &reason,
                &message,
            );
        }
        None => {
            pass.next
                .conditions
                .retain(|c| c.condition_type != ConditionType::ReplicaFailure);
        }
    }
}

fn settle_completion(pass: &mut Pass<'_>) {
    use ConditionStatus::{False, True};
    let completed = pass.is_promoted();
    let before = condition(&pass.old, &ConditionType::Completed).map(|condition| condition.status);
    let status = if completed { True } else { False };
    say(
        pass,
        Fresh::No,
        ConditionType::Completed,
        status,
        "RolloutCompleted",
        "RolloutCompleted",
    );
    if before == Some(True) && !completed {
        let (revision, hash) = (pass.revision, &pass.revisions.hash);
        let message =
            format!("Rollout not completed, started update to revision {revision} ({hash})");
        pass.notify("RolloutNotCompleted", message);
    }
}

/// The status of a Rollout whose new ReplicaSet could not be created, and an Event about it.
pub(super) fn creation_failed(
    rollout: &Rollout,
    name: &str,
    why: &str,
    now: Timestamp,
) -> (RolloutStatus, Notice) {
    let mut next = rollout.status.clone().unwrap_or_default();
    let message = format!("Failed to create new replica set \"{name}\": {why}");
    let said = Said {
        condition_type: ConditionType::Progressing,
        status: ConditionStatus::False,
        reason: "ReplicaSetCreateError",
        message: message.clone(),
    };
    set(&mut next, whole_seconds(now), Fresh::No, said);
    wait(&mut next, now, Reason::CannotAct, &message);
    (next.phase, next.message) = phase(rollout, &next);
    (
        next,
        Notice {
            warning: true,
            reason: "ReplicaSetCreateError".into(),
            message,
        },
    )
}
