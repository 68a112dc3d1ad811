//! A blue-green update's way: the new version comes up beside the one that users reach, and the
//! active Service is switched to it when it is up, judged and agreed to.
//!
//! ```text
//! preview Service ──▶ new version: pre-promotion analysis, pause
//! active Service ───▶ stable version ═ switch ═▶ new version: post-promotion analysis ─▶ stable
//!                           ▲                         │
//!                           └───────── abort ─────────┘
//! ```
//!
//! What the active Service selects is decided once and kept in `status.blueGreen.activeSelector`;
//! a Service that is found to select something else is put right. A version that it selects keeps
//! all its pods.

mod pods;
mod trials;

use jiff::Timestamp;

use super::decide::Pass;
use super::plan::{BlueGreen, Consent};
use super::revisions::Member;
use super::waiting::{Reason, Waiting};
use crate::api::{PauseReason, Phase};

/// Who is who as a pass begins.
struct Sides {
    /// The wanted version.
    new: Member,
    /// The stable version, if it is there and another one.
    stable: Option<Member>,
    /// The version that users reach; none before the active Service has been switched.
    active: Option<Member>,
}

impl Sides {
    /// Whether users reach the wanted version.
    fn is_switched(&self) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.hash == self.new.hash)
    }
}

impl Pass<'_> {
    /// The version that users reach from this pass on; none with a canary.
    pub(super) fn active_version(&self) -> Option<&Member> {
        let active = &self.next.blue_green.active_selector;
        self.revisions
            .all()
            .find(|version| !active.is_empty() && version.hash == *active)
    }

    /// Whether a verdict about the wanted version is being awaited.
    pub(super) fn is_being_judged(&self) -> bool {
        let slots = &self.next.blue_green;
        let slots = [
            &slots.pre_promotion_analysis_run_status,
            &slots.post_promotion_analysis_run_status,
        ];
        let is_open = |phase: Option<Phase>| !phase.is_some_and(Phase::is_completed);
        !self.is_promoted() && slots.into_iter().flatten().any(|slot| is_open(slot.status))
    }

    /// One pass of an update that is under way, or over.
    pub(super) fn progress_blue_green(&mut self, plan: &BlueGreen<'_>) {
        self.hear_wishes();
        let Some(sides) = self.sides(plan) else {
            return;
        };
        if self.is_retried() {
            self.try_afresh();
        }
        self.check_deadline();
        self.hold_trials(plan, &sides);
        if self.asks() {
            return;
        }
        if self.next.abort {
            self.next.pause_conditions.clear();
            self.next.blue_green.scale_up_preview_check_point = false;
        }
        self.trim_history();
        let active = self.version_to_serve(plan, &sides);
        self.next.blue_green.active_selector = active.unwrap_or_default();
        // Pods come before a Service selects them, and go after none does.
        self.give_pods(plan, &sides);
        self.switch_services(plan);
        self.take_pods(plan, &sides);
        self.promote_blue_green(plan, &sides);
    }

    fn sides(&self, plan: &BlueGreen<'_>) -> Option<Sides> {
        let decided = Some(self.old.blue_green.active_selector.as_str());
        let hashes = [decided, self.selected_by(plan.active)];
        let mut hashes = hashes.into_iter().flatten().filter(|hash| !hash.is_empty());
        let version = |hash| self.revisions.all().find(|member| member.hash == hash);
        Some(Sides {
            active: hashes.find_map(version).cloned(),
            new: self.revisions.new.clone()?,
            stable: self.revisions.stable.clone(),
        })
    }

    /// Whether somebody has taken back an abort.
    fn is_retried(&self) -> bool {
        self.old.aborted_at.is_some() && !self.next.abort && !self.next.promote_full
    }

    /// What was found out and agreed to before an abort counts no more.
    fn try_afresh(&mut self) {
        self.next.blue_green.pre_promotion_analysis_run_status = None;
        self.next.blue_green.post_promotion_analysis_run_status = None;
        self.next.blue_green.scale_up_preview_check_point = false;
    }

    /// Whether there is nothing to judge and nothing to agree to.
    fn is_fast(&self, sides: &Sides) -> bool {
        self.is_promoted()
            || self.skips_the_steps()
            || self.is_first_version()
            || sides.is_switched()
            || (sides.active.is_none() && sides.stable.is_none())
    }

    /// Whether a version has all the pods that it is to have.
    fn is_saturated(&self, version: &Member) -> bool {
        let replicas = self.plan.replicas;
        version.pods.wanted == replicas && version.pods.available >= replicas
    }

    /// The version that the active Service is to select; none while it selects pods of all
    /// versions and may go on so.
    fn version_to_serve(&mut self, plan: &BlueGreen<'_>, sides: &Sides) -> Option<String> {
        // How many pods answer as it is.
        let answering = match (&sides.active, self.selected_by(plan.active)) {
            (Some(active), _) => active.pods.available,
            // It selects a version that is gone.
            (None, Some(_)) => 0,
            // It selects pods of all versions.
            (None, None) => i32::MAX,
        };
        let is_better = |pass: &Self, version: &&Member| {
            pass.is_saturated(version) || version.pods.available > answering
        };
        let stable = sides.stable.as_ref();
        let target = if self.next.abort {
            // Whoever has paused the Rollout: users must not stay with what was given up.
            let target = stable.filter(|stable| is_better(self, stable));
            if target.is_none() {
                let why = self.why_not_back(plan, sides);
                self.waits_for = why.map(|why| Waiting::new(Reason::Service, why));
            }
            target
        } else if self.is_agreed(plan, sides) && !self.is_held() {
            let nobody_else = sides.active.is_none();
            Some(&sides.new)
                .filter(|new| self.is_saturated(new) || (nobody_else && is_better(self, new)))
        } else {
            None
        };
        let target = target.or(sides.active.as_ref());
        let target = target.or(stable.filter(|stable| is_better(self, stable)));
        target.map(|version| version.hash.clone())
    }

    /// Why users still reach a version that was given up.
    fn why_not_back(&self, plan: &BlueGreen<'_>, sides: &Sides) -> Option<String> {
        let (stable, active) = (sides.stable.as_ref()?, sides.active.as_ref()?);
        (stable.hash != active.hash).then(|| {
            format!(
                "Service `{}` stays with ReplicaSet `{}`: ReplicaSet `{}` has {} of {} pods available",
                plan.active, active.name, stable.name, stable.pods.available, self.plan.replicas
            )
        })
    }

    /// Whether the wanted version may serve as soon as it can. Enters a pause on the way, and keeps
    /// in mind what was agreed to.
    fn is_agreed(&mut self, plan: &BlueGreen<'_>, sides: &Sides) -> bool {
        if self.is_fast(sides) {
            self.end_pause();
            return true;
        }
        let is_judged = plan.before.is_none() || {
            let slot = self
                .next
                .blue_green
                .pre_promotion_analysis_run_status
                .as_ref();
            slot.is_some_and(|slot| slot.status == Some(Phase::Successful))
        };
        let is_agreed = is_judged
            && (self.next.blue_green.scale_up_preview_check_point || self.has_consent(plan, sides));
        if is_agreed {
            self.end_pause();
            // The switch may have to wait: for pods, or for a person who holds everything.
            let is_due = self.is_saturated(&sides.new) && !self.is_held();
            self.next.blue_green.scale_up_preview_check_point |= !is_due;
        }
        is_agreed
    }

    fn has_consent(&mut self, plan: &BlueGreen<'_>, sides: &Sides) -> bool {
        let size = self.size_of_preview(plan, sides);
        let pods = sides.new.pods;
        let is_up = pods.wanted == size && pods.available >= size;
        if plan.consent == Consent::Given {
            return is_up;
        }
        let pause = PauseReason::BlueGreenPause;
        let mut paused = self.next.pause_conditions.iter();
        let Some(entered) = paused.find(|condition| condition.reason == pause) else {
            // The controller had paused, and somebody has cleared that: on.
            if self.next.controller_pause && self.next.pause_conditions.is_empty() {
                return true;
            }
            if is_up && !self.is_held() {
                self.pause(pause);
                self.has_waited(plan, self.time().0);
            }
            return false;
        };
        let start = entered.start_time.as_ref();
        let start = start.map_or(self.observed.now, |time| time.0);
        self.has_waited(plan, start)
    }

    /// Whether nobody has objected long enough; wakes when that will be.
    fn has_waited(&mut self, plan: &BlueGreen<'_>, start: Timestamp) -> bool {
        let Consent::After(wait) = plan.consent else {
            return false;
        };
        let Ok(end) = start.checked_add(wait) else {
            return false;
        };
        if end > self.observed.now {
            self.wake_at(end);
        }
        end <= self.observed.now
    }

    fn end_pause(&mut self) {
        self.next
            .pause_conditions
            .retain(|condition| condition.reason != PauseReason::BlueGreenPause);
    }

    fn switch_services(&mut self, plan: &BlueGreen<'_>) {
        let new = self.revisions.hash.clone();
        let preview = plan.preview.map(|preview| {
            if !self.is_held() {
                self.switch(preview, &new);
                return new;
            }
            self.selected_by(preview).unwrap_or_default().to_owned()
        });
        self.next.blue_green.preview_selector = preview.unwrap_or_default();
        let active = self.next.blue_green.active_selector.clone();
        if !active.is_empty() && !self.loses_pods(plan, &active) {
            self.switch(plan.active, &active);
        }
    }

    /// Whether users would reach fewer pods than now if the active Service selected this version,
    /// and fewer than they are to reach. It selects another one than was decided when somebody, or
    /// a controller that ended before it could write the status, has switched it.
    fn loses_pods(&self, plan: &BlueGreen<'_>, hash: &str) -> bool {
        let version = |hash: &str| self.revisions.all().find(|version| version.hash == hash);
        let selected = self.selected_by(plan.active).and_then(version);
        let loses = |(to, from): (&Member, &Member)| {
            !self.is_saturated(to) && to.pods.available < from.pods.available
        };
        version(hash).zip(selected).is_some_and(loses)
    }

    fn promote_blue_green(&mut self, plan: &BlueGreen<'_>, sides: &Sides) {
        let Some(reason) = self.reason_to_promote_blue_green(plan, sides) else {
            return;
        };
        let is_first = self.is_first_version() || sides.stable.is_none();
        let slot = &self.next.blue_green.post_promotion_analysis_run_status;
        // A version that is judged was registered before that began.
        if is_first || self.is_promoted() || slot.is_some() || self.is_registered(plan.active) {
            self.become_stable(reason);
            self.next.blue_green.scale_up_preview_check_point = false;
        }
    }

    /// # Source
    /// `shouldFullPromote` in `rollout/sync.go` of Argo Rollouts.
    fn reason_to_promote_blue_green(
        &self,
        plan: &BlueGreen<'_>,
        sides: &Sides,
    ) -> Option<&'static str> {
        let is_alone = sides.active.is_none() && sides.stable.is_none();
        if self.is_first_version() || (is_alone && !self.is_promoted()) {
            return Some("Initial deploy");
        }
        if self.next.blue_green.active_selector != sides.new.hash || self.next.abort {
            return None;
        }
        if self.next.promote_full {
            return Some("Full promotion requested");
        }
        if self.is_promoted() || self.is_still_up() {
            return Some("Fast rollback");
        }
        if self.is_rollback_within_window() {
            return Some("Rollback within window");
        }
        let slot = self
            .next
            .blue_green
            .post_promotion_analysis_run_status
            .as_ref();
        let is_judged =
            plan.after.is_none() || slot.is_some_and(|slot| slot.status == Some(Phase::Successful));
        (is_judged && !self.is_held()).then_some("Completed blue-green update")
    }
}
