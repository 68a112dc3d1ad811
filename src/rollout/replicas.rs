//! How many pods each side of a canary gets, without traffic routing: weights become numbers of
//! pods, and the way there never takes away more than may be unavailable.

use crate::api::{IntOrPercent, NumberError, Rounding};

/// How far the number of pods may leave `spec.replicas` on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pods beyond `spec.replicas`.
    pub surge: i32,
    /// Pods that may be missing.
    pub unavailable: i32,
}

impl Limits {
    /// Resolves `maxSurge` and `maxUnavailable` for `replicas`. Default: 25% each.
    ///
    /// If both come to nothing, one pod may be unavailable: else nothing could move.
    pub fn resolve(
        replicas: i32,
        max_surge: Option<&IntOrPercent>,
        max_unavailable: Option<&IntOrPercent>,
    ) -> Result<Self, NumberError> {
        let quarter = IntOrPercent("25%".into());
        let surge = max_surge
            .unwrap_or(&quarter)
            .of(replicas, Rounding::Up)?
            .max(0);
        let unavailable = max_unavailable
            .unwrap_or(&quarter)
            .of(replicas, Rounding::Down)?
            .max(0);
        let unavailable = if surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        };
        Ok(Self {
            surge,
            unavailable: unavailable.min(replicas),
        })
    }
}

/// Pods of a canary and of the stable version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    /// Pods of the new ReplicaSet.
    pub canary: i32,
    /// Pods of the stable ReplicaSet.
    pub stable: i32,
}

/// The pods of one ReplicaSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pods {
    /// Wanted.
    pub wanted: i32,
    /// Available.
    pub available: i32,
}

impl Pods {
    /// Those that are available and not taken away already.
    pub(super) fn lasting(self) -> i32 {
        self.available.min(self.wanted)
    }
}

/// The split of `replicas` pods that comes nearest to `weight` percent for the canary.
///
/// A weight strictly between 0 and 100 gives neither side no pods, if that can be avoided; one pod
/// more than `replicas` may be used when surge is allowed.
#[must_use]
pub fn ideal_split(replicas: i32, weight: i32, surge: i32) -> Split {
    const WHOLE: f64 = 100.0;
    if replicas <= 0 {
        return Split::default();
    }
    let (n, w) = (f64::from(replicas), f64::from(weight));
    let product = i64::from(replicas) * i64::from(weight);
    let low = to_pods(product.div_euclid(100));
    let high = to_pods(product.div_euclid(100) + i64::from(product.rem_euclid(100) != 0));
    let may_be_nothing = weight >= 100 || weight <= 0 || (replicas == 1 && surge == 0);
    let tie = |total: f64| ((total * (w / WHOLE)).fract() - 0.5).abs() == 0.0;
    let mut options = Vec::with_capacity(4);
    for (total, count) in [(replicas, n), (replicas.saturating_add(1), n + 1.0)] {
        let extra = total > replicas;
        if extra && surge <= 0 {
            break;
        }
        if extra || high < replicas || may_be_nothing {
            options.push(Split {
                canary: high,
                stable: total - high,
            });
        }
        if !tie(count) && (low != 0 || may_be_nothing) {
            options.push(Split {
                canary: low,
                stable: total - low,
            });
        }
    }
    let distance = |split: &Split| {
        let share = f64::from(split.canary) * WHOLE / f64::from(split.canary + split.stable);
        (share - w).abs()
    };
    // The first of equals wins.
    let best = options.iter().copied().reduce(|best, option| {
        if distance(&option) < distance(&best) {
            option
        } else {
            best
        }
    });
    best.unwrap_or(Split {
        canary: 0,
        stable: replicas,
    })
}

fn to_pods(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Where a canary stands in one pass.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// `spec.replicas`.
    pub replicas: i32,
    /// How far the number of pods may leave it.
    pub limits: Limits,
    /// The new ReplicaSet.
    pub canary: Pods,
    /// The stable ReplicaSet, if it is another one.
    pub stable: Option<Pods>,
    /// Wanted pods of all other ReplicaSets.
    pub others: i32,
}

impl Sizes {
    /// The sizes after the next move towards `goal`: as much up as surge allows, as much down as
    /// availability allows.
    ///
    /// # Source
    /// `CalculateReplicasForBasicCanary` in `utils/replicaset/canary.go` of Argo Rollouts.
    #[must_use]
    pub fn towards(&self, goal: Split) -> Split {
        let up = self.scaled_up(goal);
        if self.others > 0 {
            // They make room first.
            return up;
        }
        let stable = self.stable.unwrap_or_default();
        let growing = goal.canary >= self.canary.wanted;
        // The side that is taken from counts fully, available or not: pods that crash must be able
        // to make room for pods that work.
        let room = counted(self.canary, !growing) + counted(stable, growing);
        let removable = room - self.least_available();
        if removable <= 0 {
            return up;
        }
        if growing {
            if self.stable.is_none() || stable.wanted <= goal.stable {
                return self.within_limits_draining_stable(up);
            }
            let stable = goal.stable.max(stable.wanted - removable);
            self.within_limits_draining_stable(Split { stable, ..up })
        } else {
            let canary = goal.canary.max(self.canary.wanted - removable);
            self.within_limits_draining_canary(Split { canary, ..up })
        }
    }

    fn least_available(&self) -> i32 {
        self.replicas - self.limits.unavailable
    }

    fn most(&self) -> i32 {
        self.replicas.saturating_add(self.limits.surge)
    }

    fn scaled_up(&self, goal: Split) -> Split {
        let stable = self.stable.unwrap_or_default();
        let mut budget = self.most() - (stable.wanted + self.canary.wanted + self.others);
        let mut next = Split {
            canary: self.canary.wanted,
            stable: stable.wanted,
        };
        if self.stable.is_some() && next.stable < goal.stable && budget > 0 {
            let taken = budget.min(goal.stable - next.stable);
            next.stable += taken;
            budget -= taken;
        }
        if next.canary < goal.canary && budget > 0 {
            next.canary += budget.min(goal.canary - next.canary);
        }
        next
    }

    fn within_limits_draining_stable(&self, next: Split) -> Split {
        let drained = self.stable.unwrap_or_default();
        let (stable, canary) =
            self.within_limits((next.stable, drained), (next.canary, Some(self.canary)));
        Split { canary, stable }
    }

    fn within_limits_draining_canary(&self, next: Split) -> Split {
        let (canary, stable) =
            self.within_limits((next.canary, self.canary), (next.stable, self.stable));
        Split { canary, stable }
    }

    /// Keeps the sum of both sides at most at `replicas` + surge, taking from the side that grows
    /// what it has in unavailable pods, and the rest from the side that is drained.
    fn within_limits(
        &self,
        (mut drain, drained): (i32, Pods),
        (mut grow, growing): (i32, Option<Pods>),
    ) -> (i32, i32) {
        let over = (drain + grow - self.most()).max(0);
        if let Some(growing) = growing {
            let mut available = drained.available.min(drain);
            grow -= over;
            available += growing.available.min(grow);
            let lost = (growing.available - grow).max(0);
            grow += lost.min((self.least_available() - available).max(0));
            drain -= (drain + grow - self.most()).max(0);
        }
        (drain, grow)
    }
}

fn counted(pods: Pods, fully: bool) -> i32 {
    if fully || pods.wanted < pods.available {
        pods.wanted
    } else {
        pods.available
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(replicas: i32) -> Limits {
        Limits::resolve(replicas, None, None).unwrap()
    }

    #[test]
    fn a_quarter_may_come_and_go_by_default() {
        let cases = [
            (1, 1, 0),
            (2, 1, 0),
            (3, 1, 0),
            (4, 1, 1),
            (5, 2, 1),
            (10, 3, 2),
            (0, 0, 0),
        ];
        for (replicas, surge, unavailable) in cases {
            assert_eq!(
                limits(replicas),
                Limits { surge, unavailable },
                "{replicas}"
            );
        }
        let none = IntOrPercent(0.into());
        let resolved = Limits::resolve(5, Some(&none), Some(&none)).unwrap();
        assert_eq!(
            resolved,
            Limits {
                surge: 0,
                unavailable: 1
            }
        );
        let bare = IntOrPercent("50".into());
        let resolved = Limits::resolve(5, Some(&bare), Some(&bare)).unwrap();
        assert_eq!(
            resolved,
            Limits {
                surge: 3,
                unavailable: 2
            }
        );
    }

    const WEIGHTS: [i32; 7] = [1, 5, 20, 33, 50, 99, 100];

    fn check_splits(surge: i32, table: &[(i32, [(i32, i32); 7])]) {
        for (replicas, row) in table {
            for (weight, (canary, stable)) in WEIGHTS.into_iter().zip(row) {
                let split = ideal_split(*replicas, weight, surge);
                assert_eq!(
                    (split.canary, split.stable),
                    (*canary, *stable),
                    "{weight}% of {replicas}"
                );
            }
            assert_eq!(
                ideal_split(*replicas, 0, surge),
                Split {
                    canary: 0,
                    stable: *replicas
                }
            );
        }
    }

    #[test]
    fn settled_sizes_with_surge() {
        check_splits(
            1,
            &[
                (1, [(1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 0)]),
                (2, [(1, 2), (1, 2), (1, 2), (1, 2), (1, 1), (2, 1), (2, 0)]),
                (3, [(1, 3), (1, 3), (1, 3), (1, 2), (2, 2), (3, 1), (3, 0)]),
                (5, [(1, 5), (1, 5), (1, 4), (2, 4), (3, 3), (5, 1), (5, 0)]),
                (
                    10,
                    [(1, 10), (1, 10), (2, 8), (3, 7), (5, 5), (10, 1), (10, 0)],
                ),
            ],
        );
    }

    #[test]
    fn settled_sizes_without_surge() {
        check_splits(
            0,
            &[
                (1, [(0, 1), (0, 1), (0, 1), (0, 1), (1, 0), (1, 0), (1, 0)]),
                (2, [(1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (2, 0)]),
                (3, [(1, 2), (1, 2), (1, 2), (1, 2), (2, 1), (2, 1), (3, 0)]),
                (5, [(1, 4), (1, 4), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0)]),
                (
                    10,
                    [(1, 9), (1, 9), (2, 8), (3, 7), (5, 5), (9, 1), (10, 0)],
                ),
            ],
        );
    }

    #[test]
    fn fifteen_percent_of_ten_are_two_beside_nine() {
        // The example of `docs/features/canary.md` of Argo Rollouts.
        let split = ideal_split(10, 15, 3);
        assert_eq!((split.canary, split.stable), (2, 9));
    }

    /// All sizes on the way, one side changing at a time, its pods available at once if `healthy`.
    fn way(
        replicas: i32,
        limits: Limits,
        weight: i32,
        from: (i32, i32),
        healthy: bool,
    ) -> Vec<(i32, i32)> {
        let goal = ideal_split(replicas, weight, limits.surge);
        let (mut canary, mut stable) = from;
        let mut seen = Vec::new();
        for _ in 0..20 {
            let sizes = Sizes {
                replicas,
                limits,
                canary: Pods {
                    wanted: canary,
                    available: if healthy { canary } else { 0 },
                },
                stable: Some(Pods {
                    wanted: stable,
                    available: stable,
                }),
                others: 0,
            };
            let next = sizes.towards(goal);
            if next.stable != stable {
                stable = next.stable;
            } else if next.canary != canary {
                canary = next.canary;
            } else {
                break;
            }
            seen.push((canary, stable));
        }
        seen
    }

    #[test]
    fn the_way_is_argos() {
        let at = |surge, unavailable| Limits { surge, unavailable };
        // Pods, limits, weight, where it starts and the way: canary/stable.
        let cases = [
            (10, limits(10), 20, (0, 10), "0/8 2/8"),
            (10, limits(10), 50, (0, 10), "0/8 5/8 5/5"),
            (10, limits(10), 50, (2, 8), "2/6 5/6 5/5"),
            (10, limits(10), 100, (0, 10), "0/8 5/8 5/3 10/3 10/0"),
            (5, limits(5), 100, (0, 5), "0/4 3/4 3/1 5/1 5/0"),
            (3, limits(3), 100, (0, 3), "1/3 1/2 2/2 2/1 3/1 3/0"),
            (5, at(1, 0), 50, (0, 5), "1/5 1/4 2/4 2/3 3/3"),
            (3, at(0, 1), 100, (0, 3), "0/2 1/2 1/1 2/1 2/0 3/0"),
            (10, limits(10), 0, (5, 5), "5/8 0/8 0/10"),
            (10, limits(10), 0, (10, 0), "10/3 5/3 5/8 0/8 0/10"),
            (5, at(1, 0), 0, (3, 3), "2/3 2/4 1/4 1/5 0/5"),
            (3, at(2, 0), 0, (3, 0), "3/2 1/2 1/3 0/3"),
        ];
        for (replicas, limits, weight, from, expected) in cases {
            let way = way(replicas, limits, weight, from, true);
            let way: Vec<String> = way.iter().map(|(c, s)| format!("{c}/{s}")).collect();
            assert_eq!(way.join(" "), expected, "{weight}% of {replicas}");
        }
    }

    #[test]
    fn a_canary_that_never_works_takes_nothing_away() {
        let limits = Limits {
            surge: 2,
            unavailable: 0,
        };
        assert_eq!(way(4, limits, 100, (0, 4), false), [(2, 4)]);
    }

    #[test]
    fn a_stable_version_that_does_not_work_makes_room() {
        let sizes = |canary, stable| Sizes {
            replicas: 10,
            limits: limits(10),
            canary: Pods {
                wanted: canary,
                available: canary,
            },
            stable: Some(Pods {
                wanted: stable,
                available: 0,
            }),
            others: 0,
        };
        let goal = Split {
            canary: 2,
            stable: 8,
        };
        assert_eq!(sizes(0, 10).towards(goal).stable, 8);
        assert_eq!(sizes(0, 8).towards(goal), goal);
    }

    #[test]
    fn a_first_version_takes_what_surge_allows() {
        let sizes = |wanted, others| Sizes {
            replicas: 10,
            limits: limits(10),
            canary: Pods {
                wanted,
                available: wanted,
            },
            stable: None,
            others,
        };
        let goal = Split {
            canary: 10,
            stable: 0,
        };
        assert_eq!(sizes(0, 0).towards(goal).canary, 10);
        assert_eq!(sizes(0, 8).towards(goal).canary, 5);
        assert_eq!(sizes(12, 0).towards(goal).canary, 10);
    }

    fn any_limits() -> impl Strategy<Value = Limits> {
        (0_i32..6, 0_i32..6).prop_map(|(surge, unavailable)| Limits {
            surge,
            unavailable: if surge == 0 {
                unavailable.max(1)
            } else {
                unavailable
            },
        })
    }

    proptest! {
        #[test]
        fn every_way_ends_at_the_goal_and_never_leaves_the_limits(
            replicas in 1_i32..30,
            limits in any_limits(),
            from in 0_i32..101,
            to in 0_i32..101,
        ) {
            let limits = Limits { unavailable: limits.unavailable.min(replicas), ..limits };
            let start = ideal_split(replicas, from, limits.surge);
            let goal = ideal_split(replicas, to, limits.surge);
            let way = way_long(replicas, limits, to, (start.canary, start.stable));
            for (canary, stable) in &way {
                prop_assert!(canary + stable <= replicas + limits.surge);
                prop_assert!(canary + stable >= replicas - limits.unavailable);
            }
            let end = way.last().copied().unwrap_or((start.canary, start.stable));
            prop_assert_eq!(end, (goal.canary, goal.stable));
        }
    }

    fn way_long(replicas: i32, limits: Limits, weight: i32, from: (i32, i32)) -> Vec<(i32, i32)> {
        let mut all = Vec::new();
        let mut at = from;
        loop {
            let more = way(replicas, limits, weight, at, true);
            let Some(last) = more.last() else { return all };
            at = *last;
            all.extend(more);
            assert!(all.len() < 1000, "no end: {all:?}");
        }
    }
}
