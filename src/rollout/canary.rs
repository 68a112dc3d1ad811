//! A canary's way: how many pods each version gets, when a step is done, and when the update is.

use jiff::SignedDuration;

use super::decide::Pass;
use super::plan::{Canary, Step, Use, WHOLE};
use super::replicas::{Pods, Sizes, Split, ideal_split};
use super::revisions::Member;
use crate::api::{PauseReason, PingPongSide, ProgressType};

impl Pass<'_> {
    /// One pass of an update that is under way, or over.
    pub(super) fn progress(&mut self, canary: &Canary<'_>) {
        self.hear_wishes();
        self.check_deadline();
        let paused = self.next.pause_conditions.len();
        self.analyse(canary);
        if !self.wants.is_empty() {
            return;
        }
        if self.next.abort {
            self.go_back();
        }
        self.trim_history();
        let first = self.changes.len();
        let newly_paused = self.next.pause_conditions.len() > paused;
        let scaled = !newly_paused && self.scale(canary);
        let done = !newly_paused && !self.next.abort && self.is_step_done(canary, scaled);
        if !self.promote(canary) && !self.next.abort && done {
            self.complete_step();
        }
        // Before any pod goes, its Service selects others.
        let moves = self.changes.split_off(first);
        self.switch_canary_services(canary.written);
        self.changes.extend(moves);
    }

    /// The effects of an abort, whoever asked for it.
    pub(super) fn go_back(&mut self) {
        self.next.pause_conditions.clear();
        let start = if self.is_rollback_to_stable() {
            self.end()
        } else {
            Some(0)
        };
        self.next.current_step_index = self.end().and(start);
    }

    /// The weight that the canary has now.
    fn weight(&self, canary: &Canary<'_>) -> i32 {
        if self.next.promote_full || self.is_first_version() || self.is_promoted() {
            WHOLE
        } else if self.next.abort {
            0
        } else {
            canary.weight(self.next.current_step_index)
        }
    }

    /// The sizes that both versions are to have.
    fn goal(&self, canary: &Canary<'_>) -> Split {
        if self.revisions.stable.is_none() {
            return Split {
                canary: self.plan.replicas,
                stable: 0,
            };
        }
        ideal_split(self.plan.replicas, self.weight(canary), canary.limits.surge)
    }

    fn sizes(&self, canary: &Canary<'_>) -> Sizes {
        let pods = |member: &Option<Member>| member.as_ref().map(|member| member.pods);
        Sizes {
            replicas: self.plan.replicas,
            limits: canary.limits,
            canary: pods(&self.revisions.new).unwrap_or_default(),
            stable: pods(&self.revisions.stable),
            others: self
                .revisions
                .others
                .iter()
                .map(|other| other.pods.wanted)
                .sum(),
        }
    }

    /// Moves pods, one ReplicaSet at a time. Tells whether any moved.
    fn scale(&mut self, canary: &Canary<'_>) -> bool {
        if self.is_held() {
            return self.scale_in_proportion(canary);
        }
        let next = self.sizes(canary).towards(self.goal(canary));
        let stable = self.revisions.stable.clone();
        if stable.is_some_and(|stable| self.resize(&stable, next.stable)) {
            return true;
        }
        let new = self.revisions.new.clone();
        if new.is_some_and(|new| self.resize(&new, next.canary)) {
            return true;
        }
        self.scale_down_others(canary)
    }

    /// While held, a change of `spec.replicas` keeps the versions' shares as they are.
    fn scale_in_proportion(&mut self, canary: &Canary<'_>) -> bool {
        let sizes = self.sizes(canary);
        let stable_pods = sizes.stable.unwrap_or_default();
        let both = stable_pods.wanted + sizes.canary.wanted;
        let most = sizes.replicas.saturating_add(sizes.limits.surge);
        if both == 0 || (both >= sizes.replicas && both <= most) || sizes.others > 0 {
            return false;
        }
        let goal = if sizes.stable.is_some() {
            let share = i64::from(sizes.canary.wanted) * i64::from(WHOLE) / i64::from(both);
            ideal_split(
                sizes.replicas,
                i32::try_from(share).unwrap_or(WHOLE),
                sizes.limits.surge,
            )
        } else {
            Split {
                canary: sizes.replicas,
                stable: 0,
            }
        };
        let (new, stable) = (self.revisions.new.clone(), self.revisions.stable.clone());
        let stable_moved = stable.is_some_and(|stable| self.resize(&stable, goal.stable));
        new.is_some_and(|new| self.resize(&new, goal.canary)) || stable_moved
    }

    /// Takes pods from versions that are neither wanted nor stable: first those that do not work,
    /// then as many as availability allows, newest version first.
    fn scale_down_others(&mut self, canary: &Canary<'_>) -> bool {
        let least = self.plan.replicas - canary.limits.unavailable;
        let available: i32 = self
            .revisions
            .all()
            // What was taken from it already is not there twice.
            .map(|member| member.pods.available.min(member.pods.wanted))
            .sum();
        let mut removable = available - least;
        let mut others: Vec<Member> = self.revisions.others.clone();
        others.retain(|other| other.pods.wanted > 0);
        others.sort_by_key(|other| std::cmp::Reverse((other.revision, other.created)));
        let mut moved = false;
        for other in others {
            let working = other.pods.wanted.min(other.pods.available);
            let taken = working.min(removable.max(0));
            removable -= taken;
            if working - taken != other.pods.wanted {
                moved |= self.resize(&other, working - taken);
            }
        }
        moved
    }

    /// Whether both versions have the sizes of this step, and nothing else has pods.
    fn is_at_desired_counts(&self, canary: &Canary<'_>) -> bool {
        let goal = self.goal(canary);
        let others_gone = self
            .revisions
            .others
            .iter()
            .all(|other| other.pods.available == 0);
        let new_ready = self
            .revisions
            .new
            .as_ref()
            .is_some_and(|new| is_far_enough(canary, new.pods, goal.canary));
        let stable_settled = self.revisions.stable.as_ref().is_none_or(|stable| {
            stable.pods.wanted == goal.stable && stable.replicas == goal.stable
        });
        others_gone && new_ready && stable_settled
    }

    /// Whether the step at hand is done. Enters a pause on the way.
    fn is_step_done(&mut self, canary: &Canary<'_>, scaled: bool) -> bool {
        if self.is_promoted() || self.is_first_version() || self.rollout.spec.paused {
            return false;
        }
        match self.plan.step(self.next.current_step_index) {
            None => false,
            Some(Step::SetWeight(_)) => !scaled && self.is_at_desired_counts(canary),
            Some(Step::Pause(wait)) => self.is_pause_over(wait, scaled),
            Some(Step::Analysis(_)) => self.is_step_analysis_successful(),
        }
    }

    fn is_pause_over(&mut self, wait: Option<SignedDuration>, scaled: bool) -> bool {
        if self.is_paused_for(&PauseReason::InconclusiveAnalysis) {
            return false;
        }
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

    fn complete_step(&mut self) {
        let index = self.next.current_step_index.unwrap_or(0);
        let text = self.plan.step_text(index);
        let (number, count) = (index + 1, self.plan.step_count());
        self.notify(
            "RolloutStepCompleted",
            format!("Rollout step {number}/{count} completed ({text})"),
        );
        self.next.current_step_index = Some(number);
        self.next.canary.current_step_analysis_run_status =
            match self.plan.step(self.next.current_step_index) {
                Some(Step::Analysis(_)) => Some(self.named_slot(Use::Step(number))),
                Some(Step::SetWeight(_) | Step::Pause(_)) | None => None,
            };
        self.next
            .pause_conditions
            .retain(|condition| condition.reason != PauseReason::CanaryPauseStep);
    }

    /// Makes the wanted version the stable one, if it is time. Tells whether it is.
    fn promote(&mut self, canary: &Canary<'_>) -> bool {
        let Some(reason) = self.reason_to_promote(canary) else {
            return false;
        };
        if self.become_stable(&reason) && canary.written.ping_pong.is_some() {
            let side = &mut self.next.canary.stable_ping_pong;
            *side = Some(match side {
                Some(PingPongSide::Ping) => PingPongSide::Pong,
                Some(PingPongSide::Pong | PingPongSide::Other(_)) | None => PingPongSide::Ping,
            });
        }
        true
    }

    fn reason_to_promote(&self, canary: &Canary<'_>) -> Option<String> {
        if self.is_first_version() {
            return Some("Initial deploy".into());
        }
        let new = self.revisions.new.as_ref()?;
        let enough = new.pods.available >= self.plan.replicas
            || (canary.threshold.is_some() && is_far_enough(canary, new.pods, self.plan.replicas));
        if self.next.abort || !enough {
            return None;
        }
        if self.next.promote_full {
            return Some("Full promotion requested".into());
        }
        if self.is_promoted() {
            return Some("Fast rollback".into());
        }
        if self.is_rollback_within_window() {
            return Some("Rollback within window".into());
        }
        let steps = self.plan.step_count();
        let held = self.is_held();
        let over = self.end().is_none() || self.next.current_step_index == Some(steps);
        (over && !held).then(|| format!("Completed all {steps} canary steps"))
    }
}

/// Whether a canary that is to have `desired` pods has enough that are available.
fn is_far_enough(canary: &Canary<'_>, pods: Pods, desired: i32) -> bool {
    match canary.threshold {
        None => pods.wanted == desired && pods.available == desired,
        Some(threshold) if threshold.progress_type == ProgressType::Percent => {
            desired == 0
                || i64::from(pods.available) * 100
                    >= i64::from(desired) * i64::from(threshold.value)
        }
        Some(threshold) => pods.available >= threshold.value,
    }
}
