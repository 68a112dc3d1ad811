//! How many pods each version of a canary has, and until when.

use std::cmp::Reverse;

use kube::ResourceExt as _;
use serde_json::Value;

use crate::rollout::change::Change;
use crate::rollout::decide::Pass;
use crate::rollout::plan::Canary;
use crate::rollout::replicas::{Sizes, Split, ideal_split};
use crate::rollout::revisions::Member;
use crate::rollout::scale_down::{Fate, after_abort, wait_after_abort};
use crate::rollout::scaling::Deadline;

impl Pass<'_> {
    /// The sizes that both versions are to have.
    pub(in crate::rollout) fn goal(&self, canary: &Canary<'_>) -> Split {
        if self.revisions.stable.is_none() {
            return Split {
                canary: self.plan.replicas,
                stable: 0,
            };
        }
        if canary.is_routed() {
            return self.routed_goal(canary);
        }
        ideal_split(self.plan.replicas, self.weight(canary), canary.limits.surge)
    }

    fn sizes(&self, canary: &Canary<'_>) -> Sizes {
        let pods = |member: &Option<Member>| member.as_ref().map(|member| member.pods);
        let others = self.revisions.others.iter();
        Sizes {
            replicas: self.plan.replicas,
            limits: canary.limits,
            canary: pods(&self.revisions.new).unwrap_or_default(),
            stable: pods(&self.revisions.stable),
            others: others.map(|other| other.pods.wanted).sum(),
        }
    }

    /// Moves pods, one ReplicaSet at a time. Tells whether any moved.
    pub(super) fn scale(&mut self, canary: &Canary<'_>) -> bool {
        if self.is_held() {
            return self.scale_in_proportion(canary);
        }
        if self.is_end_unverified(canary) {
            return false;
        }
        let goal = self.goal(canary);
        let next = if canary.is_routed() {
            goal
        } else {
            self.sizes(canary).towards(goal)
        };
        let stable = self.revisions.stable.clone();
        if stable.is_some_and(|stable| self.resize(&stable, next.stable)) {
            return true;
        }
        let new = self.revisions.new.clone();
        if new.is_some_and(|new| self.resize_canary(canary, &new, next.canary)) {
            return true;
        }
        self.scale_down_others(canary)
    }

    /// Whether a change gives a ReplicaSet more pods.
    pub(super) fn is_growth(&self, change: &Change) -> bool {
        let Change::Scale(target, patch) = change else {
            return false;
        };
        let wanted = patch.pointer("/spec/replicas").and_then(Value::as_i64);
        let mut known = self.observed.replica_sets.iter();
        let before = known.find(|set| set.name_any() == target.name);
        let before = before.and_then(|set| set.spec.replicas);
        wanted > before.map(i64::from)
    }

    fn resize_canary(&mut self, canary: &Canary<'_>, new: &Member, size: i32) -> bool {
        match self.fate_after_abort(canary, new) {
            None => self.resize(new, size),
            Some(Fate::Go) => self.resize(new, 0),
            Some(Fate::Stay) => self.resize(new, new.pods.wanted),
            Some(Fate::Wait(end)) => {
                self.wake_at(end);
                self.resize_until(new, new.pods.wanted, Deadline::Keep)
            }
            Some(Fate::BeginToWait(end)) => {
                self.wake_at(end);
                self.resize_until(new, new.pods.wanted, Deadline::Set(end))
            }
        }
    }

    /// What becomes of a canary's pods after an abort, where a router keeps users away from them;
    /// none: they follow the weight, as always.
    fn fate_after_abort(&self, canary: &Canary<'_>, new: &Member) -> Option<Fate> {
        let stable = self.revisions.stable.as_ref()?;
        let delay = canary.written.abort_scale_down_delay_seconds;
        let unwinds = canary.written.dynamic_stable_scale && delay.is_none();
        if !self.next.abort || !canary.is_routed() || unwinds || new.pods.wanted == 0 {
            return None;
        }
        // As a pass before this one has recorded it: the router has done so, and may have confirmed.
        let weights = self.old.canary.weights.as_ref();
        let is_left = weights
            .is_none_or(|weights| weights.canary.weight == 0 && weights.verified != Some(false));
        let has_taken_over = is_left && stable.pods.available >= self.plan.replicas;
        // A deadline that is older than the abort is about something else.
        let deadline = new.deadline().filter(|_| self.old.aborted_at.is_some());
        let wait = wait_after_abort(delay);
        Some(after_abort(deadline, wait, has_taken_over, self.time().0))
    }

    /// While held, a change of `spec.replicas` keeps the versions' shares as they are. Pods come or
    /// go on both sides, but none moves from one side to the other.
    fn scale_in_proportion(&mut self, canary: &Canary<'_>) -> bool {
        let (new, stable) = (self.revisions.new.clone(), self.revisions.stable.clone());
        let (of_new, of_stable) = if canary.is_routed() {
            (self.grown(new.as_ref()), self.grown(stable.as_ref()))
        } else {
            match self.proportion(canary) {
                Some(split) => (Some(split.canary), Some(split.stable)),
                None => return false,
            }
        };
        let mut moved = false;
        for (version, size) in [(stable, of_stable), (new, of_new)] {
            if let (Some(version), Some(size)) = (version, size) {
                moved |= self.resize_until(&version, size, Deadline::Keep);
            }
        }
        moved
    }

    /// The size of a version that was scaled for another `spec.replicas`.
    fn grown(&self, version: Option<&Member>) -> Option<i32> {
        let version = version?;
        let before = i64::from(version.desired().filter(|before| *before > 0)?);
        let pods = i64::from(version.pods.wanted) * i64::from(self.plan.replicas);
        i32::try_from((pods + before - 1) / before).ok()
    }

    fn proportion(&self, canary: &Canary<'_>) -> Option<Split> {
        let sizes = self.sizes(canary);
        let (new, stable) = (sizes.canary.wanted, sizes.stable.unwrap_or_default().wanted);
        let replicas = sizes.replicas.saturating_sub(sizes.others).max(0);
        let (surge, both) = (sizes.limits.surge, new + stable);
        if both == 0 || (replicas..=replicas.saturating_add(surge)).contains(&both) {
            return None;
        }
        if sizes.stable.is_none() {
            let stable = 0;
            return Some(Split {
                canary: replicas,
                stable,
            });
        }
        let share = i64::from(new) * 100 / i64::from(both);
        let goal = ideal_split(replicas, i32::try_from(share).ok()?, surge);
        let towards = |now: i32, goal: i32| {
            if both < replicas {
                now.max(goal)
            } else {
                now.min(goal)
            }
        };
        Some(Split {
            canary: towards(new, goal.canary),
            stable: towards(stable, goal.stable),
        })
    }

    /// Takes pods from versions that are neither wanted nor stable: first those that do not work,
    /// then as many as availability allows, newest version first.
    ///
    /// # Source
    /// `scaleDownOldReplicaSetsForCanary` in `rollout/canary.go` of Argo Rollouts.
    fn scale_down_others(&mut self, canary: &Canary<'_>) -> bool {
        if !self.is_promoted_canary_registered(canary.written) {
            return false;
        }
        let least = self.plan.replicas - canary.limits.unavailable;
        let lasting = self.revisions.all().map(|member| member.pods.lasting());
        let mut removable = lasting.sum::<i32>() - least;
        let mut others: Vec<Member> = self.revisions.others.clone();
        others.retain(|other| other.pods.wanted > 0);
        others.sort_by_key(|other| Reverse((other.revision, other.created)));
        let fates = self.fates(canary, &others);
        let mut moved = false;
        for (other, fate) in others.iter().zip(fates) {
            let working = other.pods.lasting();
            let (kept, deadline) = self.kept(fate, working);
            let taken = if canary.is_routed() {
                if removable > 0 { working - kept } else { 0 }
            } else {
                working.min(removable.max(0))
            };
            removable -= taken;
            let size = working - taken;
            if size != other.pods.wanted || matches!(deadline, Deadline::Set(_)) {
                moved |= self.resize_until(other, size, deadline);
            }
        }
        moved
    }

    /// How many pods of an old version stay, and what its deadline is.
    fn kept(&mut self, fate: Fate, working: i32) -> (i32, Deadline) {
        match fate {
            Fate::Go => (0, Deadline::Keep),
            Fate::Stay => (working, Deadline::Keep),
            Fate::Wait(end) => {
                self.wake_at(end);
                (working, Deadline::Keep)
            }
            Fate::BeginToWait(end) => {
                self.wake_at(end);
                (working, Deadline::Set(end))
            }
        }
    }

    /// What becomes of old versions: those that a router may still lead to stay, those that were
    /// stable wait for their time, those that were on their way go.
    fn fates(&self, canary: &Canary<'_>, others: &[Member]) -> Vec<Fate> {
        let waits = |other: &&Member| {
            let was_stable = self.is_promoted() || other.deadline().is_some();
            was_stable && !canary.written.dynamic_stable_scale
        };
        let free = others
            .iter()
            .filter(|other| !self.is_referenced(canary, other));
        let deadlines = free.filter(waits).map(Member::deadline);
        let mut waiting = canary.delay().fates(deadlines, self.time().0).into_iter();
        others
            .iter()
            .map(|other| {
                if !canary.is_routed() {
                    Fate::Go
                } else if self.is_referenced(canary, other) {
                    Fate::Stay
                } else if waits(&other) {
                    waiting.next().unwrap_or(Fate::Go)
                } else {
                    Fate::Go
                }
            })
            .collect()
    }

    /// Whether traffic may still reach a version: by the recorded weights, or by a Service.
    fn is_referenced(&self, canary: &Canary<'_>, version: &Member) -> bool {
        let weights = [&self.old.canary.weights, &self.next.canary.weights];
        let parts = weights.into_iter().flatten();
        let mut routed = parts.flat_map(|weights| [&weights.canary, &weights.stable]);
        let written = canary.written;
        let services = [&written.canary_service, &written.stable_service];
        let mut selected = services
            .into_iter()
            .filter_map(|name| self.selected_by(name));
        routed.any(|part| part.pod_template_hash == version.hash)
            || selected.any(|hash| hash == version.hash)
    }

    /// Whether both versions have the sizes of this step, and nothing else has pods.
    ///
    /// Under a router the stable version's size is not looked at: the weights follow what its pods
    /// can take, and a version that lacks pods only gains from giving traffic away.
    ///
    /// # Source
    /// `AtDesiredReplicaCountsForCanary` in `utils/replicaset/canary.go` of Argo Rollouts.
    pub(super) fn is_at_desired_counts(&self, canary: &Canary<'_>) -> bool {
        let goal = self.goal(canary);
        let new = self.revisions.new.as_ref();
        let new_ready = new.is_some_and(|new| canary.is_far_enough(new.pods, goal.canary));
        if canary.is_routed() {
            return new_ready;
        }
        let mut others = self.revisions.others.iter();
        let others_gone = others.all(|other| other.pods.available == 0);
        let stable_settled = self.revisions.stable.as_ref().is_none_or(|stable| {
            stable.pods.wanted == goal.stable && stable.replicas == goal.stable
        });
        others_gone && new_ready && stable_settled
    }
}
