//! How many pods both sides of a canary are to have when a router divides the traffic.

use crate::api::TrafficWeights;
use crate::rollout::decide::Pass;
use crate::rollout::plan::Canary;
use crate::rollout::replicas::Split;
use crate::rollout::revisions::Member;
use crate::rollout::routed::{CanarySize, Routed, Weights};

impl Pass<'_> {
    /// How weights become numbers of pods here.
    pub(super) fn routed(&self, canary: &Canary<'_>) -> Routed {
        Routed {
            replicas: self.plan.replicas,
            whole: canary.whole(),
            least: canary.written.min_pods_per_replica_set,
            dynamic: canary.written.dynamic_stable_scale,
        }
    }

    /// The weights that the router has, as far as they are recorded: before this pass, or by it.
    fn recorded(weights: Option<&TrafficWeights>) -> Option<Weights> {
        weights.map(|weights| Weights {
            canary: weights.canary.weight,
            stable: weights.stable.weight,
        })
    }

    pub(super) fn available(&self) -> Split {
        let count =
            |member: &Option<Member>| member.as_ref().map_or(0, |member| member.pods.lasting());
        Split {
            canary: count(&self.revisions.new),
            stable: count(&self.revisions.stable),
        }
    }

    /// The weight that the steps ask for now. An aborted canary beside a dynamic stable version goes
    /// down as that grows.
    pub(super) fn step_weight(&self, canary: &Canary<'_>) -> i32 {
        let written = canary.written;
        let both = self.revisions.new.is_some() && self.revisions.stable.is_some();
        if !(self.next.abort && written.dynamic_stable_scale && both) {
            return self.weight(canary);
        }
        let available = self.available();
        let missing = self.plan.replicas - available.stable;
        // With a delay of its own the canary's pods do not go as its traffic does.
        let delayed = written
            .abort_scale_down_delay_seconds
            .is_some_and(|delay| delay != 0);
        let basis = if delayed {
            missing
        } else {
            missing.max(available.canary)
        };
        let weights = written.steps.iter().filter_map(|step| step.set_weight);
        self.routed(canary).unwound(weights, basis)
    }

    /// What the canary's size follows.
    ///
    /// # Source
    /// `GetCanaryReplicasOrWeight` in `utils/replicaset/canary.go` of Argo Rollouts.
    fn canary_size(&self, canary: &Canary<'_>) -> CanarySize {
        if self.next.promote_full || self.is_first_version() || self.is_promoted() {
            return CanarySize::Weight(canary.whole());
        }
        self.written_size(canary)
            .unwrap_or_else(|| CanarySize::Weight(self.step_weight(canary)))
    }

    /// The size that a step has set, whatever the weight is.
    fn written_size(&self, canary: &Canary<'_>) -> Option<CanarySize> {
        let scale = canary.scale(self.next.current_step_index);
        let scale = scale.filter(|_| !self.next.abort)?;
        let replicas = scale.replicas.map(CanarySize::Replicas);
        replicas.or(scale.weight.map(CanarySize::Weight))
    }

    /// The sizes of both versions under a router.
    ///
    /// A version keeps the pods that its traffic needs, as that was before this pass and as it is
    /// now: it shrinks only after its traffic has moved.
    pub(super) fn routed_goal(&self, canary: &Canary<'_>) -> Split {
        let (size, aborted) = (self.canary_size(canary), self.next.abort);
        let routed = self.routed(canary);
        let split = |weights: &Option<TrafficWeights>| {
            routed.split(size, Self::recorded(weights.as_ref()), aborted)
        };
        let before = split(&self.old.canary.weights);
        let now = split(&self.next.canary.weights);
        let part = self.next.canary.weights.as_ref();
        let part = part.map(|weights| &weights.canary);
        let part = part.filter(|part| part.pod_template_hash == self.revisions.hash);
        let part = part.filter(|_| self.written_size(canary).is_none());
        Split {
            canary: now
                .canary
                .max(part.map_or(0, |part| routed.pods(part.weight))),
            stable: now.stable.max(before.stable),
        }
    }
}
