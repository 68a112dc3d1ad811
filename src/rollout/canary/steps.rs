//! When a step of a canary is done.

use jiff::SignedDuration;

use crate::api::PauseReason;
use crate::rollout::decide::Pass;
use crate::rollout::plan::{Canary, Step, Use};

impl Pass<'_> {
    /// Whether the step at hand is done. Enters a pause on the way.
    ///
    /// # Source
    /// `completedCurrentCanaryStep` in `rollout/canary.go` of Argo Rollouts.
    pub(super) fn is_step_done(&mut self, canary: &Canary<'_>, scaled: bool) -> bool {
        if self.is_promoted() || self.is_first_version() || self.is_held() {
            return false;
        }
        match self.plan.step(self.next.current_step_index) {
            None => false,
            Some(Step::SetWeight) => {
                let is_divided = !self.is_weight_unverified() && !self.is_routing_hindered();
                !scaled && self.is_at_desired_counts(canary) && is_divided
            }
            Some(Step::SetCanaryScale) => !scaled && self.is_at_desired_counts(canary),
            Some(Step::Pause(wait)) => self.is_pause_over(wait, scaled),
            Some(Step::Experiment(_)) => self.is_experiment_successful(),
            Some(Step::Analysis(_)) => self.is_step_analysis_successful(),
            Some(Step::SetHeaderRoute | Step::SetMirrorRoute) => !self.is_routing_hindered(),
            Some(Step::Plugin(plugin)) => !scaled && self.is_plugin_done(plugin),
        }
    }

    fn is_pause_over(&mut self, wait: Option<SignedDuration>, scaled: bool) -> bool {
        let step = PauseReason::CanaryPauseStep;
        let entered = self
            .next
            .pause_conditions
            .iter()
            .find(|paused| paused.reason == step);
        let Some(entered) = entered else {
            // The controller had paused, and somebody has cleared that: on.
            if self.next.controller_pause && self.next.pause_conditions.is_empty() {
                return true;
            }
            if !scaled {
                self.pause(step);
                self.wake_after_pause(wait);
            }
            return false;
        };
        let start = entered
            .start_time
            .as_ref()
            .map_or(self.observed.now, |time| time.0);
        let Some(end) = wait.and_then(|wait| start.checked_add(wait).ok()) else {
            return false;
        };
        if end <= self.observed.now {
            return true;
        }
        self.wake_at(end);
        false
    }

    fn wake_after_pause(&mut self, wait: Option<SignedDuration>) {
        if let Some(end) = wait.and_then(|wait| self.time().0.checked_add(wait).ok()) {
            self.wake_at(end);
        }
    }

    pub(super) fn complete_step(&mut self) {
        let index = self.next.current_step_index.unwrap_or(0);
        let (number, count) = (index + 1, self.plan.step_count());
        let text = self.plan.step_text(index);
        self.notify(
            "RolloutStepCompleted",
            format!("Rollout step {number}/{count} completed ({text})"),
        );
        if let Some(Step::SetHeaderRoute | Step::SetMirrorRoute) = self.plan.step(Some(index)) {
            self.tell_what_is_asked_in_vain(index);
        }
        self.next.current_step_index = Some(number);
        let next = self.plan.step(Some(number));
        let analysis = matches!(next, Some(Step::Analysis(_)));
        self.next.canary.current_step_analysis_run_status =
            analysis.then(|| self.named_slot(Use::Step(number)));
        let experiment = matches!(next, Some(Step::Experiment(_)));
        let experiment = experiment.then(|| self.named_experiment(number));
        self.next.canary.current_experiment = experiment.unwrap_or_default();
        self.next
            .pause_conditions
            .retain(|condition| condition.reason != PauseReason::CanaryPauseStep);
    }
}
