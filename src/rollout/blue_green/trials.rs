//! The analyses before and after the switch.

use super::Sides;
use crate::api::{AnalysisRunSlot, PauseReason, Phase, RolloutAnalysis};
use crate::rollout::analyses::Awaited;
use crate::rollout::decide::Pass;
use crate::rollout::plan::{BlueGreen, Use};

impl Pass<'_> {
    /// Starts, judges, stops and deletes AnalysisRuns, as this moment of the update asks. What they
    /// said stays in the status until the template changes.
    pub(super) fn hold_trials(&mut self, plan: &BlueGreen<'_>, sides: &Sides) {
        let slots = &self.next.blue_green;
        let before = slots.pre_promotion_analysis_run_status.clone();
        let after = slots.post_promotion_analysis_run_status.clone();
        let is_over = self.is_promoted()
            || self.next.abort
            || self.skips_the_steps()
            || self.is_first_version();
        let (before, after) = if is_over {
            (
                self.note(Use::PrePromotion, before),
                self.note(Use::PostPromotion, after),
            )
        } else if sides.is_switched() {
            let is_due = plan.after.is_some() && after.is_none();
            let is_ready =
                is_due && self.is_saturated(&sides.new) && self.is_registered(plan.active);
            (
                before,
                self.hold(Use::PostPromotion, plan.after, after, is_ready),
            )
        } else {
            let size = self.size_of_preview(plan, sides);
            let pods = sides.new.pods;
            let is_ready = sides.active.is_some() && pods.wanted == size && pods.available >= size;
            (
                self.hold(Use::PrePromotion, plan.before, before, is_ready),
                after,
            )
        };
        if self.asks() {
            return;
        }
        self.next.blue_green.pre_promotion_analysis_run_status = before;
        self.next.blue_green.post_promotion_analysis_run_status = after;
        self.stop_and_forget_others(if is_over {
            Awaited::None
        } else {
            Awaited::Named
        });
    }

    /// A run is started when the version is ready for it. One that has succeeded is not asked
    /// again, one that could not tell only when somebody has resumed the Rollout.
    fn hold(
        &mut self,
        usage: Use,
        analysis: Option<&RolloutAnalysis>,
        slot: Option<AnalysisRunSlot>,
        is_ready: bool,
    ) -> Option<AnalysisRunSlot> {
        let analysis = analysis?;
        let has_succeeded = |slot: &AnalysisRunSlot| slot.status == Some(Phase::Successful);
        let waits = match &slot {
            Some(slot) => {
                has_succeeded(slot) || self.is_paused_for(&PauseReason::InconclusiveAnalysis)
            }
            None => !is_ready,
        };
        if waits {
            return slot;
        }
        Some(self.attend(usage, analysis, slot))
    }
}
