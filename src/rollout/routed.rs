//! How many pods each side of a canary gets when a router divides the traffic: the sizes follow the
//! weights, and neither surge nor unavailability limits them.

use super::replicas::Split;

/// How weights become numbers of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routed {
    /// `spec.replicas`.
    pub replicas: i32,
    /// The weight of all traffic.
    pub whole: i32,
    /// Fewest pods of a version that has any.
    pub least: Option<i32>,
    /// Whether the stable version shrinks as its traffic does.
    pub dynamic: bool,
}

/// What the canary's size follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanarySize {
    /// A number of pods.
    Replicas(i32),
    /// A weight.
    Weight(i32),
}

/// The weights that a router has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// The canary's.
    pub canary: i32,
    /// The stable version's.
    pub stable: i32,
}

impl Routed {
    /// The pods that a weight needs, rounded up.
    #[must_use]
    pub fn pods(&self, weight: i32) -> i32 {
        let product = i64::from(weight.max(0)) * i64::from(self.replicas.max(0));
        let whole = i64::from(self.whole.max(1));
        i32::try_from((product + whole - 1) / whole).unwrap_or(i32::MAX)
    }

    /// The weight that so many available pods can take, rounded down.
    #[must_use]
    pub fn capacity(&self, available: i32) -> i32 {
        if self.replicas <= 0 {
            return 0;
        }
        let weight = i64::from(available.max(0)) * i64::from(self.whole) / i64::from(self.replicas);
        i32::try_from(weight).unwrap_or(i32::MAX)
    }

    fn at_least(&self, pods: i32) -> i32 {
        match self.least {
            Some(least) if pods > 0 => pods.max(least.min(self.replicas)),
            Some(_) | None => pods,
        }
    }

    /// The sizes of both sides. `weights` are those that the router has; while an abort is under
    /// way, the canary keeps the pods that its traffic still needs.
    ///
    /// # Source
    /// `CalculateReplicaCountsForTrafficRoutedCanary` in `utils/replicaset/canary.go` of Argo
    /// Rollouts.
    #[must_use]
    pub fn split(&self, size: CanarySize, weights: Option<Weights>, aborted: bool) -> Split {
        let (mut canary, weight) = match size {
            CanarySize::Replicas(replicas) => (replicas.max(0), 0),
            CanarySize::Weight(weight) => (self.at_least(self.pods(weight)), weight),
        };
        if !self.dynamic {
            let stable = self.replicas;
            return Split { canary, stable };
        }
        let mut stable = self.pods(self.whole.saturating_sub(weight));
        if let Some(weights) = weights {
            stable = stable.max(self.pods(weights.stable));
            if aborted {
                canary = canary.max(self.pods(weights.canary));
            }
        }
        Split {
            canary: self.at_least(canary),
            stable: self.at_least(stable),
        }
    }

    /// The weight that an aborted canary goes down to next when the stable version must grow first:
    /// of `steps`, last to first, the first that needs fewer pods than `basis`; 0 if none does.
    ///
    /// # Source
    /// `GetDesiredCanaryWeight` in `utils/replicaset/canary.go` of Argo Rollouts.
    #[must_use]
    pub fn unwound(&self, steps: impl DoubleEndedIterator<Item = i32>, basis: i32) -> i32 {
        let mut steps = steps.rev();
        steps.find(|weight| self.pods(*weight) < basis).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn routed(replicas: i32, dynamic: bool, least: Option<i32>) -> Routed {
        Routed {
            replicas,
            whole: 100,
            least,
            dynamic,
        }
    }

    /// The sizes after the weight has followed.
    fn settled(routed: Routed, weight: i32) -> (i32, i32) {
        let weights = Weights {
            canary: weight,
            stable: 100 - weight,
        };
        let split = routed.split(CanarySize::Weight(weight), Some(weights), false);
        (split.canary, split.stable)
    }

    #[test]
    fn sizes_follow_the_weight() {
        // Static, dynamic, and dynamic with two pods at least, for these weights.
        const WEIGHTS: [i32; 6] = [1, 20, 33, 50, 99, 100];
        let table = [
            (
                3,
                "1/3 1/3 1/3 2/3 3/3 3/3",
                "1/3 1/3 1/3 2/2 3/1 3/0",
                "2/3 2/3 2/3 2/2 3/2 3/0",
            ),
            (
                5,
                "1/5 1/5 2/5 3/5 5/5 5/5",
                "1/5 1/4 2/4 3/3 5/1 5/0",
                "2/5 2/4 2/4 3/3 5/2 5/0",
            ),
            (
                10,
                "1/10 2/10 4/10 5/10 10/10 10/10",
                "1/10 2/8 4/7 5/5 10/1 10/0",
                "2/10 2/8 4/7 5/5 10/2 10/0",
            ),
        ];
        for (replicas, fixed, dynamic, floored) in table {
            for (routed, expected) in [
                (routed(replicas, false, None), fixed),
                (routed(replicas, true, None), dynamic),
                (routed(replicas, true, Some(2)), floored),
            ] {
                let sizes = WEIGHTS.map(|weight| {
                    let (canary, stable) = settled(routed, weight);
                    format!("{canary}/{stable}")
                });
                assert_eq!(sizes.join(" "), expected, "{routed:?}");
            }
        }
    }

    #[test]
    fn a_number_of_pods_is_taken_as_it_is() {
        let split = |dynamic, least| {
            let split = routed(10, dynamic, least).split(CanarySize::Replicas(1), None, false);
            (split.canary, split.stable)
        };
        assert_eq!(split(false, Some(2)), (1, 10));
        assert_eq!(split(true, None), (1, 10));
        assert_eq!(
            split(true, Some(2)),
            (2, 10),
            "as Argo: only with a dynamic stable version"
        );
    }

    #[test]
    fn the_stable_version_shrinks_after_its_traffic_and_grows_before() {
        let routed = routed(10, true, None);
        let at = |canary| {
            Some(Weights {
                canary,
                stable: 100 - canary,
            })
        };
        let sizes = |weight, weights, aborted| {
            let split = routed.split(CanarySize::Weight(weight), weights, aborted);
            (split.canary, split.stable)
        };
        assert_eq!(sizes(50, at(20), false), (5, 8), "traffic is still at 20");
        assert_eq!(
            sizes(20, at(50), false),
            (2, 8),
            "grows before its traffic does"
        );
        assert_eq!(
            sizes(20, at(50), true),
            (5, 8),
            "the canary keeps what its traffic needs"
        );
    }

    #[test]
    fn other_weights_of_all_traffic_count_alike() {
        let routed = Routed {
            whole: 1000,
            ..routed(10, false, None)
        };
        assert_eq!(
            [1, 100, 101, 1000].map(|weight| routed.pods(weight)),
            [1, 1, 2, 10]
        );
        assert_eq!([0, 1, 10].map(|pods| routed.capacity(pods)), [0, 100, 1000]);
        assert_eq!(
            Routed {
                replicas: 0,
                ..routed
            }
            .capacity(3),
            0
        );
    }

    #[test]
    fn an_abort_unwinds_step_by_step() {
        let routed = routed(4, true, None);
        let steps = [25, 50, 75, 100];
        for (basis, expected) in [(3, 50), (2, 25), (1, 0), (4, 75), (5, 100)] {
            assert_eq!(
                routed.unwound(steps.into_iter(), basis),
                expected,
                "{basis}"
            );
        }
    }

    proptest! {
        #[test]
        fn sizes_are_enough_for_every_weight(
            replicas in 0_i32..200,
            whole in 1_i32..1000,
            weight in 0_i32..1000,
            least in prop::option::of(0_i32..20),
            dynamic: bool,
        ) {
            let weight = weight.min(whole);
            let routed = Routed { replicas, whole, least, dynamic };
            let weights = Weights { canary: weight, stable: whole - weight };
            let split = routed.split(CanarySize::Weight(weight), Some(weights), false);
            if replicas > 0 {
                prop_assert!(routed.capacity(split.canary) >= weight);
                prop_assert!(routed.capacity(split.stable) >= whole - weight);
            }
            prop_assert!(split.canary <= replicas && split.stable <= replicas);
        }
    }
}
