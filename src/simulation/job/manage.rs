//! How many pods a Job runs now: which are made, and which are taken away.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;

use super::super::change::Change;
use super::super::pods::{after, count};
use super::super::ranking;
use super::indexes;
use super::made::{self, is_tracked, untrack};
use super::tally::{Tally, replaces_only_stopped};

/// The waits before a failed pod is replaced: 10 s, doubling up to ten minutes.
const FIRST_BACK_OFF_SECONDS: i64 = 10;
const LAST_BACK_OFF_SECONDS: i64 = 600;

/// What is done about the pods of a Job.
#[derive(Debug, Default)]
pub(super) struct Moves {
    pub(super) changes: Vec<Change>,
    pub(super) wake_at: Option<Timestamp>,
}

impl Moves {
    fn now(changes: Vec<Change>) -> Self {
        Self {
            changes,
            wake_at: None,
        }
    }
}

/// Takes all pods away whose end is to be counted.
pub(super) fn stop(tally: &Tally) -> Moves {
    let active = tally.active.iter();
    Moves::now(active.map(|pod| Change::delete(*pod)).collect())
}

/// Takes all pods away as if they had not been.
pub(super) fn let_go(tally: &Tally) -> Moves {
    Moves::now(tally.active.iter().flat_map(|pod| unmade(pod)).collect())
}

/// A pod that is not needed any more counts for nothing.
fn unmade(pod: &Pod) -> Vec<Change> {
    let untracked = is_tracked(pod).then(|| untrack(pod));
    untracked.into_iter().chain([Change::delete(pod)]).collect()
}

/// Brings the number of running pods to what is wanted now.
pub(super) fn manage(job: &Job, spec: &JobSpec, tally: &Tally, now: Timestamp) -> Moves {
    let active = tally.active.len();
    let wanted = wanted(spec, tally);
    let surplus = surplus(spec, tally, active.saturating_sub(wanted), now);
    if !surplus.is_empty() {
        return Moves::now(surplus.iter().flat_map(|pod| unmade(pod)).collect());
    }
    let stopping = if replaces_only_stopped(spec) {
        tally.stopping
    } else {
        0
    };
    let missing = wanted.saturating_sub(active + stopping);
    let Some(places) = indexes::places(spec) else {
        return wait(tally, missing, now).unwrap_or_else(|| {
            Moves::now(vec![Change::create(&made::pod(job, spec, None)); missing])
        });
    };
    let free: Vec<_> = free_places(spec, tally, places)
        .into_iter()
        .take(missing)
        .collect();
    if tally.index_failures.is_none() {
        return wait(tally, missing, now).unwrap_or_else(|| fill(job, spec, tally, &free));
    }
    try_again(job, spec, tally, &free, now)
}

/// The wait after failures, if it is not over.
fn wait(tally: &Tally, missing: usize, now: Timestamp) -> Option<Moves> {
    let (failures, last) = tally.failures_in_a_row;
    let ready_at = after(last?, back_off(failures));
    (missing > 0 && ready_at > now).then_some(Moves {
        changes: Vec::new(),
        wake_at: Some(ready_at),
    })
}

/// Fills places that each have their own wait after failures.
fn try_again(job: &Job, spec: &JobSpec, tally: &Tally, free: &[i32], now: Timestamp) -> Moves {
    let ready_at = |place: i32| {
        let failures = tally.index_failures.as_ref();
        failures.and_then(|failures| failures.ready_at(place))
    };
    let (waiting, ready): (Vec<i32>, Vec<i32>) = free
        .iter()
        .partition(|place| ready_at(**place).is_some_and(|at| at > now));
    Moves {
        wake_at: waiting.into_iter().filter_map(ready_at).min(),
        ..fill(job, spec, tally, &ready)
    }
}

fn fill(job: &Job, spec: &JobSpec, tally: &Tally, places: &[i32]) -> Moves {
    let pod = |place: i32| {
        let mut pod = made::pod(job, spec, Some(place));
        if let Some(failures) = &tally.index_failures {
            failures.note(spec, place, &mut pod);
        }
        Change::create(&pod)
    };
    Moves::now(places.iter().copied().map(pod).collect())
}

fn wanted(spec: &JobSpec, tally: &Tally) -> usize {
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        Some(completions) => parallelism.min(completions - tally.succeeded),
        // The first success tells the other pods of a work queue that it is empty.
        None if tally.succeeded > 0 => count(tally.active.len()),
        None => parallelism,
    };
    usize::try_from(wanted).unwrap_or_default()
}

/// Pods that have no place or share one with another, and so many that they are not too many.
fn surplus<'a>(spec: &JobSpec, tally: &Tally<'a>, at_least: usize, now: Timestamp) -> Vec<&'a Pod> {
    let mut order = tally.active.clone();
    ranking::sort(&mut order, &[], now);
    let mut surplus = Vec::new();
    if let Some(places) = indexes::places(spec) {
        let mut kept = BTreeMap::new();
        // Those that should stay stand last.
        for pod in order.iter().rev() {
            let place = indexes::index(pod, places);
            if place.is_none_or(|place| kept.contains_key(&place)) {
                surplus.push(*pod);
            } else {
                kept.insert(place.unwrap_or_default(), *pod);
            }
        }
        order.retain(|pod| kept.values().any(|kept| std::ptr::eq(*kept, *pod)));
    }
    let more = at_least.saturating_sub(surplus.len());
    surplus.extend(order.into_iter().take(more));
    surplus
}

/// The places that are neither done nor given up nor taken, lowest first.
fn free_places(spec: &JobSpec, tally: &Tally, places: i32) -> Vec<i32> {
    let mut taken: BTreeSet<i32> = tally.completed.clone().unwrap_or_default();
    let failed = tally.index_failures.iter();
    taken.extend(failed.flat_map(|failures| &failures.failed));
    let running = tally.active.iter().copied();
    taken.extend(running.filter_map(|pod| indexes::index(pod, places)));
    if replaces_only_stopped(spec) {
        let stopping = tally.stopping_pods();
        taken.extend(stopping.filter_map(|pod| indexes::index(pod, places)));
    }
    (0..places).filter(|place| !taken.contains(place)).collect()
}

/// The wait after so many failures, in seconds.
pub(super) fn back_off(failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1);
    let wait = FIRST_BACK_OFF_SECONDS.saturating_mul(2_i64.saturating_pow(doublings));
    wait.min(LAST_BACK_OFF_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_between_failures_double_up_to_ten_minutes() {
        let waits = [1, 2, 3, 7, 8, 100].map(back_off);
        assert_eq!(waits, [10, 20, 40, 600, 600, 600]);
    }
}
