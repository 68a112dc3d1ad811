//! What a Rollout waits for, in one sentence: object, value, limit and since when. The condition
//! `Waiting` carries it; a Rollout that waits for nothing has none.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::change::Notice;
use super::decide::{Pass, Turn};
use super::plan::{Step, Strategy};
use super::revisions::Member;
use super::status;
use crate::api::{
    AnalysisRunSlot, ConditionStatus, ConditionType, PauseReason, Phase, PluginOperation,
    RolloutStatus,
};

/// The kinds of waiting: the reason of the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// For another spec.
    Invalid,
    /// For a change that the cluster refuses or fails to make.
    CannotAct,
    /// For somebody to retry, or to apply another template.
    Aborted,
    /// For `spec.paused` to be false.
    PausedByUser,
    /// For somebody to decide what an analysis or an Experiment could not.
    Inconclusive,
    /// For pods that did not come in time.
    Late,
    /// For pods that cannot be made.
    ReplicaFailure,
    /// For a time, or for somebody to promote.
    PauseStep,
    /// For an AnalysisRun.
    Analysis,
    /// For an Experiment.
    Experiment,
    /// For a plugin.
    Plugin,
    /// For a plugin that there is not.
    PluginUnusable,
    /// For the router to confirm a weight.
    Router,
    /// For pods to come or go.
    Pods,
    /// For a Service to select other pods.
    Service,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::CannotAct => "CannotAct",
            Self::Aborted => "Aborted",
            Self::PausedByUser => "PausedByUser",
            Self::Inconclusive => "Inconclusive",
            Self::Late => "Late",
            Self::ReplicaFailure => "ReplicaFailure",
            Self::PauseStep => "PauseStep",
            Self::Analysis => "Analysis",
            Self::Experiment => "Experiment",
            Self::Plugin => "Plugin",
            Self::PluginUnusable => "PluginUnusable",
            Self::Router => "Router",
            Self::Pods => "Pods",
            Self::Service => "Service",
        }
    }
}

/// Why a Rollout does not move.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    reason: Reason,
    /// Without an end: it goes on with since when.
    what: String,
    since: Option<Time>,
}

impl Waiting {
    /// Since it began to wait for this.
    pub(super) fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self {
            reason,
            what: what.into(),
            since: None,
        }
    }

    /// Since a time that is known otherwise.
    fn since(mut self, time: Option<&Time>) -> Self {
        self.since = time.cloned();
        self
    }
}

/// Writes into the status what is waited for. Returns what there is to tell: each kind of waiting
/// once, each obstacle once.
pub(super) fn record(
    status: &mut RolloutStatus,
    now: &Time,
    waiting: Option<Waiting>,
) -> Option<Notice> {
    let before = status::condition(status, &ConditionType::Waiting).cloned();
    let Some(Waiting {
        reason,
        what,
        since,
    }) = waiting
    else {
        status
            .conditions
            .retain(|condition| condition.condition_type != ConditionType::Waiting);
        return None;
    };
    let same = before.filter(|before| before.reason == reason.as_str());
    let since = since
        .or_else(|| same.as_ref()?.last_transition_time.clone())
        .unwrap_or_else(|| now.clone());
    let message = format!("{what}; since {}", since.0);
    if same.is_none() {
        // Another kind of waiting begins now, although the condition was true before.
        status
            .conditions
            .retain(|condition| condition.condition_type != ConditionType::Waiting);
    }
    let said = status::Said {
        condition_type: ConditionType::Waiting,
        status: ConditionStatus::True,
        reason: reason.as_str(),
        message: message.clone(),
    };
    status::set(status, now.clone(), status::Fresh::No, said);
    match reason {
        // Told as what they are.
        Reason::Invalid | Reason::Aborted => None,
        Reason::CannotAct | Reason::PluginUnusable => {
            let known = same.is_some_and(|same| same.message.starts_with(&what));
            (!known).then(|| Notice {
                warning: true,
                reason: "ReconciliationError".into(),
                message: format!("Reconciliation failed with error: {what}"),
            })
        }
        Reason::PausedByUser
        | Reason::Inconclusive
        | Reason::Late
        | Reason::ReplicaFailure
        | Reason::PauseStep
        | Reason::Analysis
        | Reason::Experiment
        | Reason::Plugin
        | Reason::Router
        | Reason::Pods
        | Reason::Service => same.is_none().then(|| Notice {
            warning: false,
            reason: "RolloutWaiting".into(),
            message,
        }),
    }
}

/// What a Rollout waits for after this pass; none if it moves on, and when it is where it should
/// be.
pub(super) fn of(pass: &Pass<'_>) -> Option<Waiting> {
    if pass.turn != Turn::Ordinary {
        return None;
    }
    (pass.waits_for.clone())
        .or_else(|| aborted(pass))
        .or_else(|| held(pass))
        .or_else(|| late(pass))
        .or_else(|| failure(pass))
        .or_else(|| step(pass))
        .or_else(|| pods(pass))
}

fn aborted(pass: &Pass<'_>) -> Option<Waiting> {
    if !pass.next.abort {
        return None;
    }
    let told = status::condition(&pass.next, &ConditionType::Progressing);
    let what = told.map_or("", |condition| condition.message.as_str());
    let serving = pass.stable_version().map(|stable| {
        format!(
            "; the stable ReplicaSet `{}` serves with {} of {} pods available",
            stable.name, stable.pods.available, pass.plan.replicas
        )
    });
    let what = format!(
        "{what}{}; retry it or apply another template",
        serving.unwrap_or_default()
    );
    let since = pass.next.aborted_at.as_ref();
    Some(Waiting::new(Reason::Aborted, what).since(since))
}

/// What a person or an undecided verdict holds.
fn held(pass: &Pass<'_>) -> Option<Waiting> {
    if pass.rollout.spec.paused {
        let what = format!("`spec.paused` is true{}", at_step(pass));
        return Some(Waiting::new(Reason::PausedByUser, what));
    }
    let undecided = pass.next.pause_conditions.iter().find(|condition| {
        matches!(
            condition.reason,
            PauseReason::InconclusiveAnalysis | PauseReason::InconclusiveExperiment
        )
    })?;
    let canary = &pass.next.canary;
    let blue_green = &pass.next.blue_green;
    let slots = [
        &canary.current_step_analysis_run_status,
        &canary.current_background_analysis_run_status,
        &blue_green.pre_promotion_analysis_run_status,
        &blue_green.post_promotion_analysis_run_status,
    ];
    let is_undecided = |slot: &&AnalysisRunSlot| slot.status == Some(Phase::Inconclusive);
    let run = slots.into_iter().flatten().find(is_undecided);
    let subject = match run {
        Some(slot) => format!(
            "AnalysisRun `{}` was inconclusive{}",
            slot.name,
            why(&slot.message)
        ),
        None if !canary.current_experiment.is_empty() => {
            format!(
                "Experiment `{}` was inconclusive",
                canary.current_experiment
            )
        }
        None => "an analysis was inconclusive".to_owned(),
    };
    let what = format!("{subject}{}: promote or abort", at_step(pass));
    let since = undecided.start_time.as_ref();
    Some(Waiting::new(Reason::Inconclusive, what).since(since))
}

fn why(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(" ({message})"),
    }
}

/// Where the steps stand.
fn at_step(pass: &Pass<'_>) -> String {
    let steps = pass.plan.step_count();
    match pass.next.current_step_index {
        Some(index) if index < steps && !pass.is_promoted() => {
            format!(" at {}", step_name(pass, index))
        }
        Some(_) | None => String::new(),
    }
}

fn step_name(pass: &Pass<'_>, index: i32) -> String {
    let (number, count) = (index.saturating_add(1), pass.plan.step_count());
    format!("step {number}/{count} ({})", pass.plan.step_text(index))
}

fn late(pass: &Pass<'_>) -> Option<Waiting> {
    let told = status::condition(&pass.next, &ConditionType::Progressing)?;
    if told.reason != status::TIMED_OUT {
        return None;
    }
    let limit = pass.rollout.spec.progress_deadline_seconds();
    let new = pass.revisions.new.as_ref()?;
    let what = format!(
        "{}, without progress for longer than {limit} s (progressDeadlineSeconds)",
        availability(new)
    );
    let since = told.last_transition_time.as_ref();
    Some(Waiting::new(Reason::Late, what).since(since))
}

fn availability(version: &Member) -> String {
    format!(
        "ReplicaSet `{}` has {} of {} pods available",
        version.name, version.pods.available, version.pods.wanted
    )
}

fn failure(pass: &Pass<'_>) -> Option<Waiting> {
    let failing = pass
        .revisions
        .all()
        .find(|version| version.failure.is_some())?;
    let (reason, message) = failing.failure.as_ref()?;
    let what = format!("{}: {reason}: {message}", availability(failing));
    Some(Waiting::new(Reason::ReplicaFailure, what))
}

/// What the step at hand waits for, but pods.
fn step(pass: &Pass<'_>) -> Option<Waiting> {
    if pass.is_promoted() || pass.is_first_version() || pass.skips_the_steps() {
        return None;
    }
    let index = pass.next.current_step_index?;
    let name = step_name(pass, index);
    let canary = &pass.next.canary;
    match pass.plan.step(Some(index))? {
        Step::Pause(wait) => {
            let mut pauses = pass.next.pause_conditions.iter();
            let pause = pauses.find(|pause| pause.reason == PauseReason::CanaryPauseStep)?;
            let since = pause.start_time.as_ref();
            let end = wait.and_then(|wait| since?.0.checked_add(wait).ok());
            let until = end.map_or_else(
                || "for somebody to promote it".to_owned(),
                |end| format!("until {end}"),
            );
            let what = format!("{name} waits {until}");
            Some(Waiting::new(Reason::PauseStep, what).since(since))
        }
        Step::Analysis(_) => {
            let slot = canary.current_step_analysis_run_status.as_ref()?;
            let what = format!(
                "{name} waits for AnalysisRun `{}`{}",
                slot.name,
                state(slot.status)
            );
            Some(Waiting::new(
                Reason::Analysis,
                format!("{what}{}", why(&slot.message)),
            ))
        }
        Step::Experiment(_) => {
            let experiment = &canary.current_experiment;
            if experiment.is_empty() {
                return None;
            }
            let found = pass.experiment_named(experiment);
            let phase = found.and_then(|found| found.status.as_ref()?.phase);
            let what = format!("{name} waits for Experiment `{experiment}`{}", state(phase));
            Some(Waiting::new(Reason::Experiment, what))
        }
        Step::Plugin(plugin) => {
            let mut entries = canary.step_plugin_statuses.iter();
            let entry = entries
                .find(|entry| entry.index == index && entry.operation == PluginOperation::Run)?;
            let phase = entry.phase.as_ref().map(ToString::to_string);
            let what = format!(
                "{name} waits for plugin `{}`, which is {}{}",
                plugin.name,
                phase.unwrap_or_default(),
                why(&entry.message)
            );
            Some(Waiting::new(Reason::Plugin, what).since(entry.started_at.as_ref()))
        }
        Step::SetWeight(weight) if pass.is_weight_unverified() => {
            let what = format!("{name} waits for the router to confirm weight {weight}");
            Some(Waiting::new(Reason::Router, what))
        }
        Step::SetWeight(_)
        | Step::SetCanaryScale
        | Step::SetHeaderRoute
        | Step::SetMirrorRoute => None,
    }
}

/// How far something has come that another controller moves.
fn state(phase: Option<Phase>) -> String {
    phase.map_or_else(
        || ", which no controller has taken up yet".to_owned(),
        |phase| format!(", which is {phase}"),
    )
}

/// Pods that are to come, and those that are to go.
fn pods(pass: &Pass<'_>) -> Option<Waiting> {
    let is_short = |version: &&Member| version.pods.available < version.pods.wanted;
    if let Some(short) = pass.revisions.all().find(is_short) {
        let what = format!("{}{}", availability(short), limits(pass));
        return Some(Waiting::new(Reason::Pods, what));
    }
    let routed = match &pass.plan.strategy {
        Strategy::Canary(canary) => canary.is_routed(),
        Strategy::BlueGreen(_) => true,
    };
    let is_to_shrink = |version: &&Member| version.replicas > version.pods.wanted;
    let leaving = pass
        .revisions
        .all()
        .find(is_to_shrink)
        .filter(|_| !routed)?;
    let what = format!(
        "ReplicaSet `{}` still has {} pods, {} are wanted",
        leaving.name, leaving.replicas, leaving.pods.wanted
    );
    Some(Waiting::new(Reason::Pods, what))
}

/// What bounds the wait for pods.
fn limits(pass: &Pass<'_>) -> String {
    let missing = match &pass.plan.strategy {
        Strategy::Canary(canary) if !canary.is_routed() => format!(
            "; {} of {} may be missing (maxUnavailable)",
            canary.limits.unavailable, pass.plan.replicas
        ),
        Strategy::Canary(_) | Strategy::BlueGreen(_) => String::new(),
    };
    let late = status::deadline(pass).map(|deadline| {
        let limit = pass.rollout.spec.progress_deadline_seconds();
        format!("; late at {deadline} (progressDeadlineSeconds: {limit})")
    });
    missing + &late.unwrap_or_default()
}
