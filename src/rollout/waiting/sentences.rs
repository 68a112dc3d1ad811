//! The sentences, the one that matters most first.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::{Reason, Waiting};
use crate::api::{
    AnalysisRunSlot, ConditionType, PauseCondition, PauseReason, Phase, PluginOperation, PluginStep,
};
use crate::rollout::analyses::slots;
use crate::rollout::decide::{Pass, Turn};
use crate::rollout::plan::{BlueGreen, Consent, Step, Strategy};
use crate::rollout::revisions::Member;
use crate::rollout::status;

/// What a Rollout waits for after this pass; none if it moves on, and when it is where it should
/// be.
pub(in crate::rollout) fn of(pass: &Pass<'_>) -> Option<Waiting> {
    if pass.turn != Turn::Ordinary {
        return None;
    }
    (pass.waits_for.clone())
        .or_else(|| aborted(pass))
        .or_else(|| held(pass))
        .or_else(|| late(pass))
        .or_else(|| failure(pass))
        .or_else(|| trial(pass))
        .or_else(|| router(pass))
        .or_else(|| restart(pass))
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
    let is_undecided = |slot: &&AnalysisRunSlot| slot.status == Some(Phase::Inconclusive);
    let run = slots(&pass.next).find(is_undecided);
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

/// What the update waits for at this moment of its course, but pods.
fn trial(pass: &Pass<'_>) -> Option<Waiting> {
    if pass.is_promoted() || pass.is_first_version() || pass.skips_the_steps() {
        return None;
    }
    match &pass.plan.strategy {
        Strategy::Canary(_) => step(pass),
        Strategy::BlueGreen(plan) => switch(pass, plan),
    }
}

fn step(pass: &Pass<'_>) -> Option<Waiting> {
    let index = pass.next.current_step_index?;
    let name = step_name(pass, index);
    let canary = &pass.next.canary;
    match pass.plan.step(Some(index))? {
        Step::Pause(wait) => {
            let (until, since) = pause(pass, &PauseReason::CanaryPauseStep, wait)?;
            let what = format!("{name} waits {until}");
            Some(Waiting::new(Reason::Pause, what).since(since))
        }
        Step::Analysis(_) => {
            let slot = canary.current_step_analysis_run_status.as_ref()?;
            Some(analysis(pass, &name, slot))
        }
        Step::Experiment(_) => {
            let experiment = Some(canary.current_experiment.as_str());
            let experiment = experiment.filter(|name| !name.is_empty())?;
            let found = pass.experiment_named(experiment);
            let phase = found.and_then(|found| found.status.as_ref()?.phase);
            let what = format!("{name} waits for Experiment `{experiment}`{}", state(phase));
            let since = found.and_then(|found| found.creation_timestamp());
            Some(Waiting::new(Reason::Experiment, what).since(since.as_ref()))
        }
        Step::Plugin(step) => plugin(pass, &name, index, step),
        Step::SetWeight | Step::SetCanaryScale | Step::SetHeaderRoute | Step::SetMirrorRoute => {
            None
        }
    }
}

/// What keeps users from a new version, or the new version from being the stable one.
fn switch(pass: &Pass<'_>, plan: &BlueGreen<'_>) -> Option<Waiting> {
    let new = &pass.revisions.new.as_ref()?.name;
    let wait = match plan.consent {
        Consent::After(wait) => Some(wait),
        Consent::Given | Consent::Asked => None,
    };
    if let Some((until, since)) = pause(pass, &PauseReason::BlueGreenPause, wait) {
        let what = format!(
            "Service `{}` waits {until} before it selects ReplicaSet `{new}`",
            plan.active
        );
        return Some(Waiting::new(Reason::Pause, what).since(since));
    }
    let slots = &pass.next.blue_green;
    let open = |slot: &&AnalysisRunSlot| !slot.status.is_some_and(Phase::is_completed);
    let before = slots.pre_promotion_analysis_run_status.as_ref();
    let after = slots.post_promotion_analysis_run_status.as_ref();
    if let Some(slot) = before.filter(open) {
        let subject = format!("Service `{}`", plan.active);
        return Some(analysis(pass, &subject, slot));
    }
    let slot = after.filter(open)?;
    Some(analysis(pass, &format!("ReplicaSet `{new}`"), slot))
}

/// A pause: until when, and since when.
fn pause<'p>(
    pass: &'p Pass<'_>,
    reason: &PauseReason,
    wait: Option<SignedDuration>,
) -> Option<(String, Option<&'p Time>)> {
    let mut pauses = pass.next.pause_conditions.iter();
    let PauseCondition { start_time, .. } = pauses.find(|pause| pause.reason == *reason)?;
    let since = start_time.as_ref();
    let end = wait.and_then(|wait| since?.0.checked_add(wait).ok());
    let until = end.map_or_else(
        || "for somebody to promote it".to_owned(),
        |end| format!("until {end}"),
    );
    Some((until, since))
}

fn analysis(pass: &Pass<'_>, subject: &str, slot: &AnalysisRunSlot) -> Waiting {
    let what = format!(
        "{subject} waits for AnalysisRun `{}`{}{}",
        slot.name,
        state(slot.status),
        why(&slot.message)
    );
    let since = pass.run_named(&slot.name);
    let since = since.and_then(|run| run.creation_timestamp());
    Waiting::new(Reason::Analysis, what).since(since.as_ref())
}

fn plugin(pass: &Pass<'_>, name: &str, index: i32, step: &PluginStep) -> Option<Waiting> {
    let mut entries = pass.next.canary.step_plugin_statuses.iter();
    let entry =
        entries.find(|entry| entry.index == index && entry.operation == PluginOperation::Run)?;
    let phase = entry.phase.as_ref().map(ToString::to_string);
    let what = format!(
        "{name} waits for plugin `{}`, which is {}{}",
        step.name,
        phase.unwrap_or_default(),
        why(&entry.message)
    );
    Some(Waiting::new(Reason::Plugin, what).since(entry.started_at.as_ref()))
}

fn router(pass: &Pass<'_>) -> Option<Waiting> {
    if !pass.is_weight_unverified() {
        return None;
    }
    let canary = &pass.next.canary.weights.as_ref()?.canary;
    let mut all = pass.revisions.all();
    let version = all.find(|version| version.hash == canary.pod_template_hash)?;
    let what = format!(
        "the router has not confirmed weight {} of ReplicaSet `{}`{}{}",
        canary.weight,
        version.name,
        at_step(pass),
        why(&pass.why_untold())
    );
    Some(Waiting::new(Reason::Router, what))
}

fn restart(pass: &Pass<'_>) -> Option<Waiting> {
    let restart = pass.rollout.spec.restart_at.as_ref()?;
    if pass.next.restarted_at.as_ref() == Some(restart) {
        return None;
    }
    if restart.0 > pass.observed.now {
        let what = format!("the restart waits until {} (restartAt)", restart.0);
        return Some(Waiting::new(Reason::Restart, what));
    }
    let what = format!(
        "{} pods are older than {} (restartAt); {} of {} may be missing (maxUnavailable)",
        pass.pods_to_restart(restart.0),
        restart.0,
        pass.most_unavailable(),
        pass.plan.replicas
    );
    Some(Waiting::new(Reason::Restart, what).since(Some(restart)))
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
    let needed = (pass.revisions.new.iter()).chain(&pass.revisions.stable);
    let mut needed = needed.chain(pass.active_version());
    if let Some(short) = needed.find(is_short) {
        let what = format!("{}{}", availability(short), limits(pass));
        // The last pod that came is the last progress.
        let told = status::condition(&pass.next, &ConditionType::Progressing);
        let told = told.filter(|_| status::deadline(pass).is_some());
        let since = told.and_then(|told| told.last_update_time.as_ref());
        return Some(Waiting::new(Reason::Pods, what).since(since));
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
