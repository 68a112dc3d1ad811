//! The course of an update, whatever its strategy: what people wish for, when it may go faster, and
//! its end.

use serde_json::json;

use super::change::Change;
use super::decide::Pass;
use super::labels::SCALE_DOWN_DEADLINE;
use super::plan::Strategy;
use super::scale_down::is_to_come;

impl Pass<'_> {
    /// What people have asked for since the last pass, as far as it can be done.
    pub(super) fn hear_wishes(&mut self) {
        if self.is_promoted() {
            // There is nothing that an abort could go back to.
            self.next.abort = false;
        }
        if self.next.abort && self.next.promote_full {
            // Whichever was asked for last: an abort that was seen before is the older one.
            self.next.abort = self.old.aborted_at.is_none();
            self.next.promote_full = !self.next.abort;
        }
        if self.skips_the_steps() {
            self.next.abort = false;
            self.next.pause_conditions.clear();
            self.next.current_step_index = self.end();
        }
    }

    /// Whether the wanted version is the stable one.
    pub(super) fn is_promoted(&self) -> bool {
        self.next.stable_rs == self.revisions.hash
    }

    /// The step index after the last step; none without steps.
    pub(super) fn end(&self) -> Option<i32> {
        Some(self.plan.step_count()).filter(|count| *count > 0)
    }

    /// Whether a person or a fast way back makes steps, pauses and analyses unnecessary.
    pub(super) fn skips_the_steps(&self) -> bool {
        !self.is_promoted() && (self.next.promote_full || self.goes_back_fast())
    }

    /// Whether the wanted version is an earlier one that needs no trial.
    pub(super) fn goes_back_fast(&self) -> bool {
        !self.next.abort && (self.is_rollback_within_window() || self.is_still_up())
    }

    /// Whether the wanted version is only a few versions older than the stable one.
    pub(super) fn is_rollback_within_window(&self) -> bool {
        let window = self
            .rollout
            .spec
            .rollback_window
            .as_ref()
            .and_then(|window| window.revisions);
        let (Some(window), Some(new), Some(stable)) = (
            window.filter(|window| *window > 0),
            &self.revisions.new,
            &self.revisions.stable,
        ) else {
            return false;
        };
        let (Some(new), Some(stable)) = (new.created, stable.created) else {
            return false;
        };
        let between = (self.revisions.others.iter())
            .filter(|other| {
                !other
                    .annotations
                    .contains_key("experiment.argoproj.io/name")
            })
            .filter(|other| {
                other
                    .created
                    .is_some_and(|created| new < created && created < stable)
            });
        new < stable && i32::try_from(between.count()).is_ok_and(|between| between < window)
    }

    /// Whether the wanted version is an earlier one that was not scaled down yet when somebody
    /// asked for it. Its deadline is left in place, as the mark of that, until it is stable.
    pub(super) fn is_still_up(&self) -> bool {
        let (Some(new), Some(stable)) = (&self.revisions.new, &self.revisions.stable) else {
            return false;
        };
        match &self.plan.strategy {
            Strategy::Canary(_) => false,
            // An abort sets deadlines, too; what is retried after it is tried afresh.
            Strategy::BlueGreen(_) => {
                self.old.aborted_at.is_none()
                    && new.deadline().is_some()
                    && new.pods.wanted > 0
                    && new.created < stable.created
            }
        }
    }

    /// A deadline that has passed when a version is asked for marks nothing.
    pub(super) fn drop_passed_deadline(&mut self) {
        let now = self.observed.now;
        let Some(new) = &self.revisions.new else {
            return;
        };
        if new
            .deadline()
            .is_some_and(|deadline| !is_to_come(deadline, now))
        {
            let annotations = json!({ SCALE_DOWN_DEADLINE: null });
            let patch = json!({ "metadata": { "annotations": annotations } });
            self.changes
                .push(Change::PatchReplicaSet(new.into(), patch));
        }
    }

    /// Makes the wanted version the stable one: the update is over. Tells whether it was not yet.
    pub(super) fn become_stable(&mut self, reason: &str) -> bool {
        self.next.pause_conditions.clear();
        self.next.abort = false;
        self.next.promote_full = false;
        self.next.current_step_index = self.end();
        let is_news = !self.is_promoted();
        if is_news {
            self.next.stable_rs.clone_from(&self.revisions.hash);
            let (revision, hash) = (self.revision, &self.revisions.hash);
            let message =
                format!("Rollout completed update to revision {revision} ({hash}): {reason}");
            self.notify("RolloutCompleted", message);
        }
        is_news
    }
}
