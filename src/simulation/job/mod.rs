//! The Job controller: pods until enough have succeeded, too many have failed or time is up.

mod ending;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use kube::api::PropagationPolicy;

use super::change::{Change, Decision, Target, earliest};
use super::pods::{self, after, time};
use super::replica_set::{claim, count, some};
use ending::{ending, finish, finished, resume, suspend};
use tally::Tally;

/// The waits before a failed pod is replaced: 10 s, doubling up to ten minutes.
const FIRST_BACK_OFF_SECONDS: i64 = 10;
const LAST_BACK_OFF_SECONDS: i64 = 600;

/// Decides what a Job does next.
pub(super) fn decide(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Decision {
    let Some(spec) = &job.spec else {
        return Decision::default();
    };
    let old = job.status.clone().unwrap_or_default();
    if job.metadata.deletion_timestamp.is_some() {
        return Decision::default();
    }
    if let Some(finished) = finished(&old) {
        return expire(job, spec, finished, now);
    }
    let selector = spec.selector.clone().unwrap_or_else(|| own_selector(job));
    let claim = claim(job, &selector, pods);
    let tally = Tally::of(&old, &claim.pods);
    let mut new = JobStatus {
        active: some(tally.active.len()),
        succeeded: positive(tally.succeeded),
        failed: positive(tally.failed),
        ready: Some(count(
            tally
                .active
                .iter()
                .filter(|pod| pods::ready_since(pod).is_some())
                .count(),
        )),
        terminating: Some(count(tally.stopping)),
        ..old.clone()
    };
    let mut changes = claim.changes;
    let wake_at = match ending(spec, &old, &tally, now) {
        Some(end) => {
            changes.extend(tally.active.iter().map(|pod| Change::delete(*pod)));
            finish(&mut new, &end, &tally, now);
            None
        }
        None if spec.suspend == Some(true) => {
            changes.extend(tally.active.iter().map(|pod| Change::delete(*pod)));
            suspend(&mut new, now);
            None
        }
        None => {
            resume(&mut new, now);
            let start = new.start_time.get_or_insert_with(|| time(now)).0;
            let deadline = spec
                .active_deadline_seconds
                .map(|seconds| after(start, seconds));
            let (moves, wake_at) = manage(job, spec, &tally, now);
            changes.extend(moves);
            earliest(wake_at, deadline)
        }
    };
    changes.extend(Change::status(job, &old, &new));
    Decision { changes, wake_at }
}

fn positive(number: i32) -> Option<i32> {
    (number > 0).then_some(number)
}

/// Deletes a finished Job when its time to live is over.
fn expire(job: &Job, spec: &JobSpec, finished: Timestamp, now: Timestamp) -> Decision {
    let Some(ttl) = spec.ttl_seconds_after_finished else {
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

/// Brings the number of running pods to what is wanted now.
fn manage(
    job: &Job,
    spec: &JobSpec,
    tally: &Tally,
    now: Timestamp,
) -> (Vec<Change>, Option<Timestamp>) {
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        Some(completions) => parallelism.min(completions - tally.succeeded),
        // The first success tells the other pods of a work queue that it is empty.
        None if tally.succeeded > 0 => count(tally.active.len()),
        None => parallelism,
    };
    let wanted = usize::try_from(wanted).unwrap_or_default();
    let Some(missing) = wanted.checked_sub(tally.active.len()) else {
        let mut order = tally.active.clone();
        order.sort_by_cached_key(|pod| pods::deletion_order(pod));
        let surplus = order.iter().take(tally.active.len() - wanted);
        return (surplus.map(|pod| Change::delete(*pod)).collect(), None);
    };
    let ready_at = tally
        .last_failure
        .map(|last| after(last, back_off(tally.failed)));
    match ready_at.filter(|at| missing > 0 && *at > now) {
        Some(at) => (Vec::new(), Some(at)),
        None => (vec![Change::create(&pod_of(job, spec)); missing], None),
    }
}

fn back_off(failures: i32) -> i64 {
    let doublings = u32::try_from(failures - 1).unwrap_or_default();
    let wait = FIRST_BACK_OFF_SECONDS.saturating_mul(2_i64.saturating_pow(doublings));
    wait.min(LAST_BACK_OFF_SECONDS)
}

/// The labels by which the pods of a Job are known.
fn own_labels(job: &Job) -> BTreeMap<String, String> {
    let (uid, name) = (job.uid().unwrap_or_default(), job.name_any());
    let labels = [
        ("batch.kubernetes.io/controller-uid", uid.clone()),
        ("batch.kubernetes.io/job-name", name.clone()),
        ("controller-uid", uid),
        ("job-name", name),
    ];
    labels
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// What the API server would have filled in.
fn own_selector(job: &Job) -> LabelSelector {
    let mut labels = own_labels(job);
    labels.retain(|key, _| key == "batch.kubernetes.io/controller-uid");
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

fn pod_of(job: &Job, spec: &JobSpec) -> Pod {
    let mut pod = pods::from_template(job, &spec.template);
    if spec.manual_selector != Some(true) {
        pod.labels_mut().extend(own_labels(job));
    }
    pod
}
