//! How many pods each version has during a blue-green update, and until when.

use std::cmp::Reverse;

use super::Sides;
use crate::api::{PauseReason, Phase};
use crate::rollout::decide::Pass;
use crate::rollout::plan::BlueGreen;
use crate::rollout::revisions::Member;
use crate::rollout::scale_down::{Fate, after_abort};
use crate::rollout::scaling::Deadline;

impl Pass<'_> {
    /// How many pods the new version has until it may serve.
    pub(super) fn size_of_preview(&self, plan: &BlueGreen<'_>, sides: &Sides) -> i32 {
        let all = self.plan.replicas;
        let Some(few) = plan.preview_pods.filter(|_| !self.is_fast(sides)) else {
            return all;
        };
        let is_agreed = self.next.blue_green.scale_up_preview_check_point;
        if is_agreed && (!self.is_held() || is_whole(&sides.new)) {
            all
        } else {
            few
        }
    }

    /// All versions that serve or may have to get their pods. The new version gets those that it
    /// is to have now.
    pub(super) fn give_pods(&mut self, plan: &BlueGreen<'_>, sides: &Sides) {
        let all = self.plan.replicas;
        // Neither of them, if users reach a version that was replaced before it was stable.
        let third = sides.active.as_ref().filter(|active| {
            let known = sides.stable.iter().chain([&sides.new]);
            known.into_iter().all(|version| version.hash != active.hash)
        });
        for version in sides.stable.iter().chain(third) {
            self.resize(version, all);
        }
        let (size, deadline) = if self.next.abort && !self.must_serve(plan, sides) {
            self.size_after_abort(plan, sides)
        } else {
            let size = if self.next.abort {
                all
            } else {
                self.size_of_preview(plan, sides)
            };
            let deadline = if self.goes_back_fast() {
                Deadline::Keep
            } else {
                Deadline::Drop
            };
            (size, deadline)
        };
        self.resize_until(&sides.new, size, deadline);
    }

    /// Whether the new version serves, or nothing else could.
    fn must_serve(&self, plan: &BlueGreen<'_>, sides: &Sides) -> bool {
        let new = sides.new.hash.as_str();
        sides.stable.is_none()
            || self.next.blue_green.active_selector == new
            || self.selected_by(plan.active) == Some(new)
    }

    fn size_after_abort(&mut self, plan: &BlueGreen<'_>, sides: &Sides) -> (i32, Deadline) {
        let new = &sides.new;
        if new.pods.wanted == 0 {
            return (0, Deadline::Drop);
        }
        let all = self.plan.replicas;
        let has_taken_over = (sides.stable.as_ref()).is_some_and(|it| it.pods.available >= all);
        // A deadline that is older than the abort is about something else.
        let deadline = new.deadline().filter(|_| self.old.aborted_at.is_some());
        let now = self.time().0;
        match after_abort(deadline, plan.abort_delay, has_taken_over, now) {
            Fate::Go => (0, Deadline::Drop),
            Fate::Stay => (self.size_of_waiting(new), Deadline::Drop),
            Fate::Wait(end) => {
                self.wake_at(end);
                (self.size_of_waiting(new), Deadline::Keep)
            }
            Fate::BeginToWait(end) => {
                self.wake_at(end);
                (self.size_of_waiting(new), Deadline::Set(end))
            }
        }
    }

    /// A version that waits with all its pods goes on having all; one of few keeps those.
    fn size_of_waiting(&self, version: &Member) -> i32 {
        if is_whole(version) {
            self.plan.replicas
        } else {
            version.pods.wanted
        }
    }

    /// Old versions that no Service selects lose their pods when their time is over.
    pub(super) fn take_pods(&mut self, plan: &BlueGreen<'_>, sides: &Sides) {
        if self.is_paused_for(&PauseReason::InconclusiveAnalysis) || self.is_on_trial(plan, sides) {
            return;
        }
        let mut old: Vec<Member> = self.revisions.others.clone();
        old.retain(|version| version.pods.wanted > 0 && !self.is_selected(plan, version));
        old.sort_by_key(|version| Reverse((version.revision, version.created)));
        let deadlines = old.iter().map(Member::deadline);
        let fates = plan.delay.fates(deadlines, self.time().0);
        for (version, fate) in old.iter().zip(fates) {
            let size = self.size_of_waiting(version);
            match fate {
                Fate::Go => self.resize(version, 0),
                Fate::Stay => false,
                Fate::Wait(end) => {
                    self.wake_at(end);
                    size != version.pods.wanted && self.resize_until(version, size, Deadline::Keep)
                }
                Fate::BeginToWait(end) => {
                    self.wake_at(end);
                    self.resize_until(version, size, Deadline::Set(end))
                }
            };
        }
    }

    /// Whether users try the new version, and its analysis has not succeeded yet. Unless the spec
    /// says how long old versions stay, they stay for that.
    fn is_on_trial(&self, plan: &BlueGreen<'_>, sides: &Sides) -> bool {
        let slot = self
            .next
            .blue_green
            .post_promotion_analysis_run_status
            .as_ref();
        let has_succeeded = slot.is_some_and(|slot| slot.status == Some(Phase::Successful));
        plan.is_default_delay
            && plan.after.is_some()
            && sides.is_switched()
            && !self.is_promoted()
            && !has_succeeded
    }

    /// Whether a Service selects a version, or did so when it was last looked at.
    fn is_selected(&self, plan: &BlueGreen<'_>, version: &Member) -> bool {
        let (next, old) = (&self.next.blue_green, &self.old.blue_green);
        let found = [Some(plan.active), plan.preview].into_iter().flatten();
        let found = found.filter_map(|service| self.selected_by(service));
        let decided = [
            &next.active_selector,
            &next.preview_selector,
            &old.active_selector,
            &old.preview_selector,
        ];
        let decided = decided.into_iter().map(String::as_str);
        decided.chain(found).any(|hash| hash == version.hash)
    }
}

/// Whether a version had all its pods when it was last scaled.
fn is_whole(version: &Member) -> bool {
    version.pods.wanted > 0 && version.desired() == Some(version.pods.wanted)
}
