//! The plugins of steps: when each is asked to run, to stop or to undo, and what its answer means.
//!
//! Deciding asks for a call as it asks for a template; whoever can makes it, and it is decided again
//! with the answer.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::api::{GoDuration, PluginOperation, PluginPhase, PluginStep, StepPluginStatus};
use crate::rollout::change::Want;
use crate::rollout::decide::Pass;
use crate::rollout::plan::Step;
use crate::rollout::waiting::{Reason, Waiting};

/// A question to a plugin. Its settings and what it remembers are in the Rollout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginCall {
    /// The step, from 0.
    pub step: i32,
    /// The plugin's name.
    pub name: String,
    /// What it is asked to do.
    pub operation: PluginOperation,
}

/// What came of a question to a plugin.
#[derive(Debug, Clone, PartialEq)]
pub enum PluginAnswer {
    /// It is switched off.
    Disabled,
    /// It could not be asked, or did not answer.
    Broken(String),
    /// Its answer.
    Says {
        /// How far it has come; none: under way.
        phase: Option<PluginPhase>,
        /// Why, in one sentence.
        message: String,
        /// Time until it wants to be asked again.
        again_after: SignedDuration,
        /// What it wants to remember.
        status: Option<Value>,
    },
}

/// The shortest time between two questions that a plugin may ask for.
const SOONEST: SignedDuration = SignedDuration::from_secs(10);
/// The time between two questions otherwise, and after a failure.
const USUAL: SignedDuration = SignedDuration::from_secs(30);

impl Pass<'_> {
    /// Has plugins undo or stop what the update no longer needs.
    ///
    /// # Source
    /// `stepPluginContext.reconcile` in `rollout/stepplugin.go` of Argo Rollouts.
    pub(super) fn attend_plugins(&mut self) {
        if self.next.canary.step_plugin_statuses.is_empty() {
            return;
        }
        if self.next.abort {
            self.undo_plugins();
        } else if self.next.promote_full || self.is_promoted() {
            if let Some(running) = self.still_running() {
                self.end_plugin(&running, PluginOperation::Terminate);
            }
        } else if self.is_begun_anew() {
            self.next.canary.step_plugin_statuses.clear();
        }
    }

    /// Whether the plugin of the step at hand is done. Asks it, when it is time.
    pub(super) fn is_plugin_done(&mut self, plugin: &PluginStep) -> bool {
        let step = self.next.current_step_index.unwrap_or_default();
        self.run_plugin(step, plugin) && self.has_ended(step)
    }

    fn entry(&self, step: i32, operation: &PluginOperation) -> Option<&StepPluginStatus> {
        let mut entries = self.next.canary.step_plugin_statuses.iter();
        entries.find(|entry| entry.index == step && entry.operation == *operation)
    }

    fn has_ended(&self, step: i32) -> bool {
        let Some(run) = self.entry(step, &PluginOperation::Run) else {
            return false;
        };
        let stopped = [PluginOperation::Terminate, PluginOperation::Abort];
        let is_stopped = || stopped.iter().any(|stop| self.entry(step, stop).is_some());
        run.disabled
            || match run.phase {
                Some(PluginPhase::Successful | PluginPhase::Failed) => true,
                Some(PluginPhase::Running) => is_stopped(),
                Some(PluginPhase::Error | PluginPhase::Other(_)) | None => false,
            }
    }

    /// Whether entries are left of an attempt that was aborted.
    fn is_begun_anew(&self) -> bool {
        if self.next.current_step_index != Some(0) {
            return false;
        }
        match self.plan.step(Some(0)) {
            Some(Step::Plugin(_)) => self.has_ended(0),
            Some(
                Step::SetWeight
                | Step::Pause(_)
                | Step::SetCanaryScale
                | Step::Experiment(_)
                | Step::Analysis(_)
                | Step::SetHeaderRoute
                | Step::SetMirrorRoute,
            ) => true,
            None => false,
        }
    }

    /// The last plugin that runs, if nobody has stopped it.
    fn still_running(&self) -> Option<StepPluginStatus> {
        let is_stop = |entry: &StepPluginStatus| {
            entry.operation == PluginOperation::Terminate
                && entry.phase == Some(PluginPhase::Successful)
        };
        let is_run = |entry: &StepPluginStatus| {
            entry.operation == PluginOperation::Run && entry.phase == Some(PluginPhase::Running)
        };
        let mut entries = self.next.canary.step_plugin_statuses.iter().rev();
        let last = entries.find(|entry| is_stop(entry) || is_run(entry))?;
        is_run(last).then(|| last.clone())
    }

    fn undo_plugins(&mut self) {
        let entries = self.next.canary.step_plugin_statuses.clone();
        let begun = [Some(PluginPhase::Running), Some(PluginPhase::Successful)];
        for entry in entries.iter().rev() {
            let is_to_undo = entry.operation == PluginOperation::Run
                && !entry.disabled
                && begun.contains(&entry.phase);
            if is_to_undo && !self.end_plugin(entry, PluginOperation::Abort) {
                return;
            }
        }
    }

    /// Has a plugin stop or undo what it does, once. Tells whether there is nothing to wait for.
    fn end_plugin(&mut self, run: &StepPluginStatus, operation: PluginOperation) -> bool {
        let is_plugin = matches!(self.plan.step(Some(run.index)), Some(Step::Plugin(_)));
        if !is_plugin || self.entry(run.index, &operation).is_some() {
            return true;
        }
        let now = Some(self.time());
        let mut entry = StepPluginStatus {
            index: run.index,
            name: run.name.clone(),
            operation,
            phase: Some(PluginPhase::Successful),
            started_at: now.clone(),
            ..StepPluginStatus::default()
        };
        match self.answer_of(&entry) {
            None => return false,
            Some(PluginAnswer::Disabled) => return true,
            Some(PluginAnswer::Broken(why)) => {
                entry.phase = Some(PluginPhase::Error);
                entry.message = why;
            }
            Some(PluginAnswer::Says { phase, message, .. }) => {
                // Nobody would ask again how it ends.
                entry.phase = match phase.or(entry.phase) {
                    Some(PluginPhase::Running) => Some(PluginPhase::Failed),
                    other => other,
                };
                entry.message = message;
            }
        }
        entry.finished_at = now;
        self.record_plugin(entry);
        true
    }

    /// Asks a plugin to do its step, if it is time. Tells whether its state is known.
    ///
    /// Argo Rollouts asks only while the Rollout's phase is Progressing: a plugin that takes longer
    /// than the progress deadline is never asked again there.
    fn run_plugin(&mut self, step: i32, plugin: &PluginStep) -> bool {
        let entry = self.begun_run(step, plugin);
        if has_finished(&entry) {
            return true;
        }
        if let Some(next) = next_question(&entry).filter(|next| *next > self.observed.now) {
            self.wake_at(next);
            return true;
        }
        let Some(answer) = self.answer_of(&entry) else {
            return false;
        };
        let entry = answered(entry, answer, self.time());
        self.settle_run(entry);
        true
    }

    /// The entry of a plugin that does its step: as it is known, or the first.
    fn begun_run(&self, step: i32, plugin: &PluginStep) -> StepPluginStatus {
        let known = self.entry(step, &PluginOperation::Run).cloned();
        let known = known.filter(|entry| !entry.disabled && entry.name == plugin.name);
        known.unwrap_or_else(|| StepPluginStatus {
            index: step,
            name: plugin.name.clone(),
            operation: PluginOperation::Run,
            phase: Some(PluginPhase::Running),
            started_at: Some(self.time()),
            ..StepPluginStatus::default()
        })
    }

    fn settle_run(&mut self, mut entry: StepPluginStatus) {
        if has_finished(&entry) {
            entry.finished_at = Some(self.time());
        }
        if let Some(next) = next_question(&entry) {
            self.wake_at(next);
        }
        if entry.phase == Some(PluginPhase::Failed) {
            let (number, name, why) = (entry.index + 1, &entry.name, &entry.message);
            self.abort(format!("Step Plugin {number} ({name}) failed: {why}"));
        }
        self.record_plugin(entry);
    }

    /// What a plugin says; asks for it, if nobody has asked yet. What nobody can make sense of is
    /// told and asked again later.
    fn answer_of(&mut self, entry: &StepPluginStatus) -> Option<PluginAnswer> {
        let call = PluginCall {
            step: entry.index,
            name: entry.name.clone(),
            operation: entry.operation.clone(),
        };
        let Some(answer) = self.observed.plugins.get(&call).cloned() else {
            self.ask([Want::Plugin(call)]);
            return None;
        };
        let name = &entry.name;
        let problem = match answer {
            None => format!("plugin `{name}` is not configured"),
            Some(PluginAnswer::Says {
                phase: Some(PluginPhase::Other(word)),
                ..
            }) => format!("plugin `{name}` answered with the unknown phase `{word}`"),
            Some(answer) => return Some(answer),
        };
        if let Ok(next) = self.observed.now.checked_add(USUAL) {
            self.wake_at(next);
        }
        let what = format!("step {}: {problem}", entry.index + 1);
        self.waits_for = Some(Waiting::new(Reason::PluginUnusable, what));
        None
    }

    fn record_plugin(&mut self, entry: StepPluginStatus) {
        let entries = &mut self.next.canary.step_plugin_statuses;
        let known = entries
            .iter()
            .position(|known| known.index == entry.index && known.operation == entry.operation);
        let before = known.map(|place| entries[place].phase.clone());
        if before.as_ref() != Some(&entry.phase) {
            self.tell_plugin(&entry);
        }
        let entries = &mut self.next.canary.step_plugin_statuses;
        match known {
            Some(place) => entries[place] = entry,
            None => entries.push(entry),
        }
    }

    fn tell_plugin(&mut self, entry: &StepPluginStatus) {
        let Some(phase) = entry.phase.as_ref().filter(|_| !entry.disabled) else {
            return;
        };
        let (name, number) = (&entry.name, entry.index + 1);
        let message = match entry.operation {
            // That the step is completed is told anyway.
            PluginOperation::Run if *phase == PluginPhase::Successful => return,
            PluginOperation::Abort => {
                format!("Step plugin {name} (step {number}) aborted ({phase})")
            }
            PluginOperation::Terminate => {
                format!("Step plugin {name} (step {number}) terminated ({phase})")
            }
            PluginOperation::Run | PluginOperation::Other(_) => {
                format!("Step plugin {name} (step {number}) transitioned to {phase}")
            }
        };
        let reason = "StepPluginTransition";
        if matches!(phase, PluginPhase::Error | PluginPhase::Failed) {
            self.warn(reason, message);
        } else {
            self.notify(reason, message);
        }
    }
}

fn has_finished(entry: &StepPluginStatus) -> bool {
    let ends = [PluginPhase::Successful, PluginPhase::Failed];
    entry
        .phase
        .as_ref()
        .is_some_and(|phase| ends.contains(phase))
}

/// The entry of a plugin after its answer.
fn answered(before: StepPluginStatus, answer: PluginAnswer, now: Time) -> StepPluginStatus {
    if answer == PluginAnswer::Disabled {
        return StepPluginStatus {
            disabled: true,
            phase: None,
            started_at: None,
            updated_at: None,
            backoff: GoDuration::default(),
            executions: 0,
            ..before
        };
    }
    let mut entry = StepPluginStatus {
        executions: before.executions + 1,
        updated_at: Some(now),
        backoff: GoDuration::default(),
        ..before
    };
    match answer {
        PluginAnswer::Disabled => {}
        PluginAnswer::Broken(why) => {
            entry.phase = Some(PluginPhase::Error);
            entry.message = why;
            entry.backoff = seconds(USUAL);
        }
        PluginAnswer::Says {
            phase,
            message,
            again_after,
            status,
        } => {
            entry.phase = phase.or(entry.phase);
            entry.message = message;
            if entry.phase == Some(PluginPhase::Running) {
                let is_long = again_after > SOONEST;
                entry.backoff = seconds(if is_long { again_after } else { USUAL });
            }
            if entry.phase != Some(PluginPhase::Error) {
                entry.status = status;
            }
        }
    }
    entry
}

fn seconds(wait: SignedDuration) -> GoDuration {
    GoDuration::new(format!("{}s", wait.as_secs()))
}

/// When a plugin that has been asked is asked again; none if it is not.
fn next_question(entry: &StepPluginStatus) -> Option<Timestamp> {
    if entry.executions == 0 || entry.disabled {
        return None;
    }
    if !matches!(entry.phase, Some(PluginPhase::Running | PluginPhase::Error)) {
        return None;
    }
    let last = entry.updated_at.as_ref()?.0;
    let wait = entry.backoff.get().ok().flatten().unwrap_or(USUAL);
    last.checked_add(wait).ok()
}
