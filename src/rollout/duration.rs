//! How long an update takes, and how much of that it has waited for people.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::decide::{Pass, Turn};
use super::plan::Step;
use crate::api::{CompletionStatus, DurationStatus, PauseReason};

/// Brings the clock of the update up to date. Everything else of the status is settled.
///
/// # Source
/// `calculateStatusDuration` in `rollout/sync.go` of Argo Rollouts.
pub(super) fn settle(pass: &mut Pass<'_>, was_aborted: bool) {
    let now = pass.time();
    let is_new = pass.old.current_pod_hash.is_empty() || pass.turn != Turn::Ordinary;
    let mut clock = pass.old.duration.clone();
    if let Some(clock) = clock.as_mut().filter(|clock| is_running(clock)) {
        let outcome = outcome(pass, is_new, clock);
        if outcome.is_some() {
            clock.completion_status = outcome;
        }
        if is_over(pass, is_new, clock) {
            stop(clock, &now);
            pass.ended = Ended::of(clock);
        }
    }
    let is_stopped = clock
        .as_ref()
        .is_none_or(|clock| clock.finished_at.is_some());
    let begins = is_new || (was_aborted && !pass.next.abort);
    if is_stopped && begins && !is_complete(pass) {
        clock = Some(DurationStatus {
            rollout_started_at: Some(now.clone()),
            ..DurationStatus::default()
        });
    }
    if let Some(clock) = clock.as_mut().filter(|clock| clock.finished_at.is_none()) {
        count_waiting(clock, waits_for_a_person(pass), &now);
    }
    pass.next.duration = clock;
}

fn is_running(clock: &DurationStatus) -> bool {
    clock.rollout_started_at.is_some() && clock.finished_at.is_none()
}

/// Whether the wanted version is stable, with all of its pods.
fn is_complete(pass: &Pass<'_>) -> bool {
    let new = pass.revisions.new.as_ref();
    pass.is_promoted() && new.is_some_and(|new| new.pods.available >= pass.plan.replicas)
}

/// How the update ends, or will end; `None` if this pass says nothing about it.
fn outcome(pass: &Pass<'_>, is_new: bool, clock: &DurationStatus) -> Option<CompletionStatus> {
    if is_new && !pass.is_rollback() {
        return Some(CompletionStatus::Superseded);
    }
    if is_new {
        let at_once = pass.is_rollback_to_stable() || pass.is_rollback_within_window();
        return Some(if at_once {
            CompletionStatus::FastRolledBack
        } else {
            CompletionStatus::RolledBack
        });
    }
    if clock.completion_status.is_some() {
        return None;
    }
    if pass.next.abort {
        Some(CompletionStatus::Aborted)
    } else if pass.next.stable_rs == pass.old.stable_rs && !is_complete(pass) {
        None
    } else if pass.old.promote_full {
        Some(CompletionStatus::FastPromoted)
    } else {
        Some(CompletionStatus::Promoted)
    }
}

fn is_over(pass: &Pass<'_>, is_new: bool, clock: &DurationStatus) -> bool {
    let superseded = clock.completion_status == Some(CompletionStatus::Superseded);
    (is_new && superseded) || pass.next.abort || is_complete(pass)
}

fn stop(clock: &mut DurationStatus, now: &Time) {
    count_waiting(clock, false, now);
    clock.finished_at = Some(now.clone());
}

fn count_waiting(clock: &mut DurationStatus, waits: bool, now: &Time) {
    if waits {
        clock.manual_pause_started_at.get_or_insert(now.clone());
    } else if let Some(since) = clock.manual_pause_started_at.take() {
        let before = clock.total_manual_pause_duration_seconds.unwrap_or(0);
        let waited = now.0.duration_since(since.0).as_secs();
        clock.total_manual_pause_duration_seconds = Some(before.saturating_add(waited));
    }
}

/// Whether only a person can let the update go on.
fn waits_for_a_person(pass: &Pass<'_>) -> bool {
    let asks_a_person = |reason: &PauseReason| match reason {
        PauseReason::InconclusiveAnalysis | PauseReason::InconclusiveExperiment => true,
        PauseReason::CanaryPauseStep => {
            let step = pass.plan.step(pass.next.current_step_index);
            matches!(step, Some(Step::Pause(None)))
        }
        PauseReason::BlueGreenPause => {
            let both = pass.rollout.spec.strategy.blue_green.as_ref();
            both.is_some_and(|both| both.auto_promotion_enabled == Some(false))
        }
        PauseReason::Other(_) => false,
    };
    let mut reasons = pass.next.pause_conditions.iter().map(|pause| &pause.reason);
    pass.rollout.spec.paused || reasons.any(asks_a_person)
}

/// An update that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub status: CompletionStatus,
    /// From start to end.
    pub took: SignedDuration,
    /// How much of that people were waited for.
    pub waited: SignedDuration,
}

impl Ended {
    fn of(clock: &DurationStatus) -> Option<Self> {
        let (start, end) = (
            clock.rollout_started_at.as_ref()?,
            clock.finished_at.as_ref()?,
        );
        let waited = clock.total_manual_pause_duration_seconds.unwrap_or(0);
        Some(Self {
            status: clock.completion_status.clone()?,
            took: end.0.duration_since(start.0),
            waited: SignedDuration::from_secs(waited),
        })
    }
}
