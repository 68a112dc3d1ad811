//! How many pods each ReplicaSet of a Deployment gets: a step of a rolling update, or the same
//! proportions at another size.
//!
//! # Source
//! `rolling.go`, `sync.go` and `util/deployment_util.go` of the Kubernetes deployment controller.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DeploymentSpec, ReplicaSet};
use kube::ResourceExt as _;

use super::bounds::{Bounds, is_recreate};
use super::revisions::{DESIRED_REPLICAS, Family, MAX_REPLICAS, annotation, replicas, wanted};

/// New sizes, by the name of the ReplicaSet.
pub(super) type Sizes = BTreeMap<String, i32>;

/// Available pods; never more than wanted, for a status may be older than the last change of size.
fn available(replica_set: &ReplicaSet) -> i32 {
    let available = replica_set
        .status
        .as_ref()
        .and_then(|status| status.available_replicas);
    available.unwrap_or_default().min(wanted(replica_set))
}

/// The size of a ReplicaSet that is about to be made, or of the one that is there.
pub(super) fn new_size(spec: &DeploymentSpec, family: &Family) -> i32 {
    let (target, current) = (
        replicas(spec),
        family.new.as_ref().map_or(0, |new| wanted(new)),
    );
    if is_recreate(spec) || current >= target {
        return target;
    }
    let total: i32 = family.all().map(|set| wanted(set)).sum();
    let room = target + Bounds::of(spec).surge - total;
    current + room.clamp(0, target - current)
}

/// The next step of a rolling update: first up, then down.
pub(super) fn roll(spec: &DeploymentSpec, family: &Family) -> Sizes {
    let Some(new) = &family.new else {
        return Sizes::new();
    };
    let size = new_size(spec, family);
    if size != wanted(new) {
        return Sizes::from([(new.name_any(), size)]);
    }
    roll_down(spec, family, new)
}

fn roll_down(spec: &DeploymentSpec, family: &Family, new: &ReplicaSet) -> Sizes {
    let total: i32 = family.all().map(|set| wanted(set)).sum();
    let minimum = replicas(spec) - Bounds::of(spec).unavailable;
    let mut spare = total - minimum - (wanted(new) - available(new));
    if spare <= 0 {
        return Sizes::new();
    }
    let mut sizes: Sizes = family
        .old
        .iter()
        .map(|set| (set.name_any(), wanted(set)))
        .collect();
    let mut take = |set: &ReplicaSet, most: i32, spare: &mut i32| {
        let size = sizes.entry(set.name_any()).or_default();
        let fewer = most.min(*size).min(*spare).max(0);
        *size -= fewer;
        *spare -= fewer;
    };
    // Pods that serve nobody go first: that costs no availability.
    for set in &family.old {
        take(set, wanted(set) - available(set), &mut spare);
    }
    let mut spare = family.all().map(|set| available(set)).sum::<i32>() - minimum;
    for set in &family.old {
        take(set, wanted(set), &mut spare);
    }
    let is_changed = |name: &str, size: i32| {
        family
            .old
            .iter()
            .any(|set| set.name_any() == name && wanted(set) != size)
    };
    sizes.retain(|name, size| is_changed(name, *size));
    sizes
}

/// All old ReplicaSets at nothing.
pub(super) fn empty_old(family: &Family) -> Sizes {
    let old = family.old.iter().filter(|set| wanted(set) > 0);
    old.map(|set| (set.name_any(), 0)).collect()
}

/// Whether the Deployment's size has changed since its ReplicaSets were last sized.
pub(super) fn is_resized(spec: &DeploymentSpec, family: &Family) -> bool {
    let target = i64::from(replicas(spec));
    let mut active = family.all().filter(|set| wanted(set) > 0);
    active.any(|set| annotation(set, DESIRED_REPLICAS).is_some_and(|desired| desired != target))
}

/// Whether at most one ReplicaSet has pods.
pub(super) fn is_single(family: &Family) -> bool {
    family.all().filter(|set| wanted(set) > 0).count() <= 1
}

/// Brings the Deployment's size to its ReplicaSets without moving an update forward.
pub(super) fn resize(spec: &DeploymentSpec, family: &Family, status_replicas: i32) -> Sizes {
    let target = replicas(spec);
    let active: Vec<_> = family.all().filter(|set| wanted(set) > 0).collect();
    if let [] | [_] = active.as_slice() {
        let only = active
            .first()
            .copied()
            .or(family.new.as_ref())
            .or(family.old.last());
        let only = only.filter(|set| wanted(set) != target || !is_marked(set, spec));
        return only
            .map(|set| (set.name_any(), target))
            .into_iter()
            .collect();
    }
    if family
        .new
        .as_ref()
        .is_some_and(|new| is_saturated(new, target))
    {
        return empty_old(family);
    }
    if is_recreate(spec) {
        return Sizes::new();
    }
    proportional(spec, &active, status_replicas)
}

fn is_marked(replica_set: &ReplicaSet, spec: &DeploymentSpec) -> bool {
    annotation(replica_set, DESIRED_REPLICAS) == Some(i64::from(replicas(spec)))
}

fn is_saturated(new: &ReplicaSet, target: i32) -> bool {
    wanted(new) == target
        && annotation(new, DESIRED_REPLICAS) == Some(i64::from(target))
        && available(new) == target
}

/// Spreads a change of size over the ReplicaSets in proportion to their sizes; what rounding leaves
/// over goes to the largest.
fn proportional(spec: &DeploymentSpec, active: &[&Arc<ReplicaSet>], status_replicas: i32) -> Sizes {
    let target = replicas(spec);
    let maximum = if target > 0 {
        target + Bounds::of(spec).surge
    } else {
        0
    };
    let total: i32 = active.iter().map(|set| wanted(set)).sum();
    let to_add = maximum - total;
    // Largest first; of equals the newest first when it grows, the oldest when it shrinks.
    let mut order = active.to_vec();
    if to_add > 0 {
        order.reverse();
    }
    order.sort_by_key(|set| std::cmp::Reverse(wanted(set)));
    let mut added = 0;
    let mut sizes = Vec::new();
    for set in order {
        let left = to_add - added;
        let share = share_of(set, target, maximum, status_replicas);
        let share = if to_add > 0 {
            share.clamp(0, left.max(0))
        } else {
            share.clamp(left.min(0), 0)
        };
        added += share;
        sizes.push((set.name_any(), wanted(set) + share));
    }
    if let Some((_, first)) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes.into_iter().collect()
}

/// The change that keeps a ReplicaSet's share of all pods.
fn share_of(replica_set: &ReplicaSet, target: i32, maximum: i32, status_replicas: i32) -> i32 {
    let size = i64::from(wanted(replica_set));
    if target == 0 {
        return -wanted(replica_set);
    }
    let before = annotation(replica_set, MAX_REPLICAS).filter(|before| *before > 0);
    let before = before.unwrap_or_else(|| i64::from(status_replicas).max(1));
    let scaled = (2 * size * i64::from(maximum) + before) / (2 * before);
    i32::try_from(scaled - size).unwrap_or_default()
}

/// What each ReplicaSet remembers of the sizes that it was sized for.
pub(super) fn marks(spec: &DeploymentSpec) -> [(&'static str, i32); 2] {
    let target = replicas(spec);
    [
        (DESIRED_REPLICAS, target),
        (MAX_REPLICAS, target + Bounds::of(spec).surge),
    ]
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::{
        DeploymentStrategy, ReplicaSetSpec, ReplicaSetStatus, RollingUpdateDeployment,
    };
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    use proptest::prelude::*;

    use super::*;

    fn spec(replicas: i32, surge: IntOrString, unavailable: IntOrString) -> DeploymentSpec {
        DeploymentSpec {
            replicas: Some(replicas),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(surge),
                    max_unavailable: Some(unavailable),
                }),
            }),
            ..DeploymentSpec::default()
        }
    }

    fn percent(text: &str) -> IntOrString {
        IntOrString::String(text.to_owned())
    }

    /// A ReplicaSet with this many wanted and available pods.
    fn replica_set(name: &str, wanted: i32, available: i32) -> Arc<ReplicaSet> {
        let mut set = ReplicaSet {
            spec: Some(ReplicaSetSpec {
                replicas: Some(wanted),
                ..ReplicaSetSpec::default()
            }),
            status: Some(ReplicaSetStatus {
                available_replicas: Some(available),
                ..ReplicaSetStatus::default()
            }),
            ..ReplicaSet::default()
        };
        set.metadata.name = Some(name.to_owned());
        Arc::new(set)
    }

    fn family(new: Option<(i32, i32)>, old: &[(i32, i32)]) -> Family {
        let old = old.iter().enumerate();
        Family {
            new: new.map(|(wanted, available)| replica_set("new", wanted, available)),
            old: old
                .map(|(index, (wanted, available))| {
                    replica_set(&format!("old-{index}"), *wanted, *available)
                })
                .collect(),
        }
    }

    #[test]
    fn an_update_goes_up_then_down() {
        let spec = spec(10, percent("25%"), percent("25%"));
        let sizes = |new, old: &[(i32, i32)]| {
            let sizes = roll(&spec, &family(Some(new), old));
            sizes
                .into_iter()
                .map(|(name, size)| format!("{name}={size}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(new_size(&spec, &family(None, &[(10, 10)])), 3);
        assert_eq!(sizes((0, 0), &[(10, 10)]), ["new=3"]);
        assert_eq!(sizes((3, 0), &[(10, 10)]), ["old-0=8"]);
        assert_eq!(sizes((5, 0), &[(8, 8)]), [""; 0]);
        assert_eq!(sizes((5, 2), &[(8, 8)]), ["old-0=6"]);
        // Pods that serve nobody go first, whosesoever they are.
        assert_eq!(sizes((3, 0), &[(5, 5), (5, 3)]), ["old-1=3"]);
        assert_eq!(sizes((10, 10), &[(2, 2)]), ["old-0=0"]);
        assert_eq!(sizes((10, 10), &[(0, 0)]), [""; 0]);
        assert_eq!(sizes((12, 10), &[]), ["new=10"]);
    }

    #[test]
    fn a_new_size_keeps_the_proportions_of_an_update() {
        let marked = |name: &str, size: i32| {
            let mut set = ReplicaSet::clone(&replica_set(name, size, size));
            set.annotations_mut()
                .insert(MAX_REPLICAS.to_owned(), "13".to_owned());
            set.annotations_mut()
                .insert(DESIRED_REPLICAS.to_owned(), "10".to_owned());
            Arc::new(set)
        };
        let family = Family {
            new: Some(marked("new", 5)),
            old: vec![marked("old", 8)],
        };
        let up = spec(20, percent("25%"), percent("25%"));
        assert!(is_resized(&up, &family));
        let sizes = resize(&up, &family, 13);
        assert_eq!(
            sizes,
            Sizes::from([("new".to_owned(), 10), ("old".to_owned(), 15)])
        );
        let down = spec(5, percent("25%"), percent("25%"));
        let sizes = resize(&down, &family, 13);
        assert_eq!(sizes.values().sum::<i32>(), 7, "{sizes:?}");
        let nothing = spec(0, percent("25%"), percent("25%"));
        assert!(
            resize(&nothing, &family, 13)
                .values()
                .all(|size| *size == 0)
        );
    }

    proptest! {
        /// Whatever becomes available when, an update stays within its bounds and ends.
        #[test]
        fn a_rolling_update_stays_within_its_bounds(
            replicas in 1..30i32,
            surge in 0..5i32,
            unavailable in 0..5i32,
            arrivals in prop::collection::vec(0..4i32, 200),
        ) {
            let spec = spec(replicas, IntOrString::Int(surge), IntOrString::Int(unavailable));
            let bounds = Bounds::of(&spec);
            let (mut new, mut old) = ((0, 0), (replicas, replicas));
            for arrived in arrivals {
                let family = family(Some(new), &[old]);
                for (name, size) in roll(&spec, &family) {
                    let set = if name == "new" { &mut new } else { &mut old };
                    *set = (size, set.1.min(size));
                }
                prop_assert!(new.0 + old.0 <= replicas + bounds.surge);
                prop_assert!(new.1 + old.1 >= replicas - bounds.unavailable);
                new.1 = new.0.min(new.1 + arrived);
            }
            for _ in 0..=2 * replicas {
                new.1 = new.0;
                for (name, size) in roll(&spec, &family(Some(new), &[old])) {
                    let set = if name == "new" { &mut new } else { &mut old };
                    *set = (size, set.1.min(size));
                }
            }
            prop_assert_eq!((new.0, old.0), (replicas, 0));
        }
    }
}
