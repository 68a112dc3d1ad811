//! The Job controller: pods until enough have succeeded, too many have failed or time is up.
//!
//! A pod that has ended is counted exactly once, even if it is deleted by others: it has a finalizer
//! until it stands in the status.
//!
//! # Source
//! `syncJob`, `manageJob` and `trackJobStatusAndRemoveFinalizers` of the Kubernetes Job controller.

mod ending;
mod failure_policy;
mod index_failures;
mod indexes;
mod made;
mod manage;
mod success_policy;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PropagationPolicy;

use super::change::{Change, Decision, Target, earliest};
use super::claim::claim;
use super::pods::{after, time};
use ending::{End, Ending};
pub(super) use made::{is_tracked, untrack};
use manage::Moves;
use tally::Tally;

/// The controller of a Job that names none.
const CONTROLLER: &str = "kubernetes.io/job-controller";

/// Decides what a Job does next.
pub(super) fn decide(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Decision {
    let Some(spec) = &job.spec else {
        return Decision::default();
    };
    let manager = spec.managed_by.as_deref();
    if manager.is_some_and(|manager| manager != CONTROLLER) {
        return Decision::default();
    }
    let old = job.status.clone().unwrap_or_default();
    if let Some(finished) = ending::finished(&old) {
        return expire(job, spec, finished, now);
    }
    let selector = spec.selector.clone();
    let claim = claim(job, &selector.unwrap_or_else(|| made::selector(job)), pods);
    let tally = Tally::of(spec, &old, &claim.pods);
    let (new, moves) = advance(job, spec, &old, &tally, now);
    let mut changes = claim.changes;
    changes.extend(moves.changes);
    changes.extend(Change::status(job, &old, &new));
    // They may go now that they stand in the status.
    let is_going = job.metadata.deletion_timestamp.is_some();
    let counted = tally.counted(is_going);
    changes.extend(counted.into_iter().map(untrack));
    Decision {
        changes,
        wake_at: moves.wake_at,
    }
}

/// The next status of a Job that has not finished, and what is done about its pods.
fn advance(
    job: &Job,
    spec: &JobSpec,
    old: &JobStatus,
    tally: &Tally,
    now: Timestamp,
) -> (JobStatus, Moves) {
    let mut new = tally.status(old);
    if job.metadata.deletion_timestamp.is_some() {
        return (new, Moves::default());
    }
    let is_suspended = spec.suspend == Some(true);
    if !is_suspended {
        new.start_time.get_or_insert_with(|| time(now));
    }
    match ending::of(spec, &new, tally, now) {
        Ending::There(end) => {
            finish(&mut new, &end, tally, now);
            let moves = if end.is_well() {
                manage::let_go(tally)
            } else {
                manage::stop(tally)
            };
            (new, moves)
        }
        Ending::Due(deadline) => {
            if is_suspended {
                ending::suspend(&mut new, now);
                return (new, manage::let_go(tally));
            }
            ending::resume(&mut new, now);
            let mut moves = manage::manage(job, spec, tally, now);
            moves.wake_at = earliest(moves.wake_at, deadline);
            (new, moves)
        }
    }
}

/// Tells the end: first that it comes, and once no pod runs or waits to be counted, that it is
/// there.
fn finish(new: &mut JobStatus, end: &End, tally: &Tally, now: Timestamp) {
    ending::announce(new, end, now);
    if tally.is_quiet() {
        ending::conclude(new, end, now);
    }
}

/// Deletes a finished Job when its time to live is over.
fn expire(job: &Job, spec: &JobSpec, finished: Timestamp, now: Timestamp) -> Decision {
    let ttl = spec.ttl_seconds_after_finished;
    let Some(ttl) = ttl.filter(|_| job.metadata.deletion_timestamp.is_none()) else {
        return Decision::default();
    };
    let due = after(finished, i64::from(ttl));
    if due > now {
        return Decision {
            changes: Vec::new(),
            wake_at: Some(due),
        };
    }
    Decision::now(vec![Change::Delete {
        target: Target::of(job),
        grace_seconds: None,
        propagation: Some(PropagationPolicy::Foreground),
    }])
}
