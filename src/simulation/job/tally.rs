//! The pods of a Job, by what became of them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::super::pods::{self, count, some};
use super::failure_policy::{Meaning, meaning};
use super::index_failures::IndexFailures;
use super::indexes;
use super::made::is_tracked;

/// What became of the pods of a Job.
pub(super) struct Tally<'a> {
    pods: Vec<&'a Pod>,
    pub(super) active: Vec<&'a Pod>,
    /// Pods that are deleted but still run.
    pub(super) stopping: usize,
    /// What stands in the status for good.
    counted: [i32; 2],
    /// Pods that ended well and not, which stand in the status by their uids or are to.
    uncounted: [Vec<String>; 2],
    /// Which of the places of an indexed Job are done.
    pub(super) completed: Option<BTreeSet<i32>>,
    /// What has failed, if the places of the Job fail each by itself.
    pub(super) index_failures: Option<IndexFailures<'a>>,
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    /// Restarts in pods that have not ended.
    pub(super) restarts: i32,
    /// Failures since the last success, and when the last one was.
    pub(super) failures_in_a_row: (u32, Option<Timestamp>),
    /// Why a pod's failure is the Job's.
    pub(super) verdict: Option<String>,
    /// Whether pods that have not ended count as failed, because the Job has.
    has_failed: bool,
}

/// Whether a pod that is about to stop is replaced only when it has stopped.
pub(super) fn replaces_only_stopped(spec: &JobSpec) -> bool {
    spec.pod_failure_policy.is_some() || spec.pod_replacement_policy.as_deref() == Some("Failed")
}

/// Whether a pod counts as failed: one that is deleted may never come to fail by itself.
fn is_failed(spec: &JobSpec, pod: &Pod) -> bool {
    match pods::phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ => pods::is_deleting(pod) && !replaces_only_stopped(spec),
    }
}

impl<'a> Tally<'a> {
    pub(super) fn of(spec: &JobSpec, status: &JobStatus, pods: &[&'a Pod]) -> Self {
        let has_failed = super::ending::has_failed(status);
        let fails = |pod: &Pod| {
            is_failed(spec, pod)
                || (has_failed && pods::is_deleting(pod) && pods::phase(pod) != "Succeeded")
        };
        let places = indexes::places(spec);
        let tracked: Vec<_> = pods.iter().copied().filter(|pod| is_tracked(pod)).collect();
        let completed = places.map(|places| completed(status, &tracked, places));
        let index_failures = completed
            .as_ref()
            .and_then(|completed| IndexFailures::of(spec, status, &tracked, completed, &fails));
        let stays = |pod: &Pod| index_failures.as_ref().is_some_and(|kept| kept.needs(pod));
        let (counted, mut uncounted) = told(status, &tracked);
        let is_in_place =
            |pod: &Pod| places.is_none_or(|places| indexes::index(pod, places).is_some());
        let policy = spec.pod_failure_policy.as_ref();
        for pod in tracked.iter().filter(|pod| is_in_place(pod) && !stays(pod)) {
            let uid = pod.uid().unwrap_or_default();
            let succeeded = pods::phase(pod) == "Succeeded";
            let is_new = !uncounted.iter().any(|uids| uids.contains(&uid));
            if is_new && succeeded && places.is_none() {
                uncounted[0].push(uid);
            } else if is_new && fails(pod) && meaning(policy, pod) != Meaning::Ignored {
                uncounted[1].push(uid);
            }
        }
        let [succeeded, failed] =
            [0, 1].map(|which| counted[which] + count(uncounted[which].len()));
        let active: Vec<_> = pods
            .iter()
            .copied()
            .filter(|pod| pods::is_active(pod))
            .collect();
        Self {
            stopping: pods.iter().filter(|pod| is_stopping(pod)).count(),
            restarts: active.iter().map(|pod| pods::restarts(pod)).sum(),
            active,
            counted,
            uncounted,
            succeeded: completed
                .as_ref()
                .map_or(succeeded, |places| count(places.len())),
            completed,
            failed: failed
                + index_failures
                    .as_ref()
                    .map_or(0, |kept| count(kept.uncounted(spec))),
            index_failures,
            failures_in_a_row: failures_in_a_row(pods, &fails),
            verdict: verdict(spec, pods, &fails),
            has_failed,
            pods: pods.to_vec(),
        }
    }

    /// The status as far as it counts.
    pub(super) fn status(&self, old: &JobStatus) -> JobStatus {
        let ready = self
            .active
            .iter()
            .filter(|pod| pods::ready_since(pod).is_some());
        let [succeeded, failed] = &self.uncounted;
        let listed = |uids: &Vec<String>| (!uids.is_empty()).then(|| uids.clone());
        let [succeeded_before, failed_before] = self.counted;
        JobStatus {
            active: some(self.active.len()),
            ready: Some(count(ready.count())),
            terminating: Some(count(self.stopping)),
            succeeded: positive(if self.completed.is_some() {
                self.succeeded
            } else {
                succeeded_before
            }),
            failed: positive(failed_before),
            completed_indexes: self
                .completed
                .as_ref()
                .map(indexes::write)
                .filter(|text| !text.is_empty()),
            failed_indexes: self
                .index_failures
                .as_ref()
                .map(|failures| indexes::write(&failures.failed))
                .filter(|text| !text.is_empty()),
            uncounted_terminated_pods: Some(UncountedTerminatedPods {
                succeeded: listed(succeeded),
                failed: listed(failed),
            }),
            ..old.clone()
        }
    }

    /// The pods that need to wait no more once the status is written.
    pub(super) fn counted(&self, is_going: bool) -> Vec<&'a Pod> {
        let ended = |pod: &&Pod| {
            let uid = pod.uid().unwrap_or_default();
            is_going
                || pods::is_finished(pod)
                || self.uncounted.iter().any(|uids| uids.contains(&uid))
                || (self.has_failed && pods::is_deleting(pod))
        };
        let stays = |pod: &Pod| {
            let kept = self.index_failures.as_ref();
            !is_going && kept.is_some_and(|kept| kept.needs(pod))
        };
        let tracked = self.pods.iter().copied().filter(|pod| is_tracked(pod));
        tracked.filter(|pod| ended(pod) && !stays(pod)).collect()
    }

    /// Pods that are deleted but still run.
    pub(super) fn stopping_pods(&self) -> impl Iterator<Item = &'a Pod> {
        let pods = self.pods.iter().copied();
        pods.filter(|pod| is_stopping(pod))
    }

    /// Whether no pod runs, or waits to be counted.
    pub(super) fn is_quiet(&self) -> bool {
        self.active.is_empty()
            && self.stopping == 0
            && self.uncounted.iter().all(Vec::is_empty)
            && !self.pods.iter().any(|pod| is_tracked(pod))
    }
}

/// What a status tells: how many pods count for good, and which do not yet; good ones and failed
/// ones. Those that have let go of their finalizer or are gone count for good.
fn told(status: &JobStatus, tracked: &[&Pod]) -> ([i32; 2], [Vec<String>; 2]) {
    let mut counted = [status.succeeded, status.failed].map(Option::unwrap_or_default);
    let known = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let known = [known.succeeded, known.failed].map(Option::unwrap_or_default);
    let waits = |uid: &String| {
        let mut tracked = tracked.iter();
        tracked.any(|pod| pod.metadata.uid.as_ref() == Some(uid))
    };
    let split = known.map(|uids| uids.into_iter().partition::<Vec<_>, _>(waits));
    for (number, (_, gone)) in counted.iter_mut().zip(&split) {
        *number += count(gone.len());
    }
    (counted, split.map(|(waiting, _)| waiting))
}

fn is_stopping(pod: &Pod) -> bool {
    pods::is_deleting(pod) && !pods::is_finished(pod)
}

fn positive(number: i32) -> Option<i32> {
    (number > 0).then_some(number)
}

fn completed(status: &JobStatus, tracked: &[&Pod], places: i32) -> BTreeSet<i32> {
    let before = status.completed_indexes.as_deref().unwrap_or_default();
    let mut completed = indexes::read(before, places);
    let succeeded = tracked.iter().filter(|pod| pods::phase(pod) == "Succeeded");
    completed.extend(succeeded.filter_map(|pod| indexes::index(pod, places)));
    completed
}

fn verdict(spec: &JobSpec, pods: &[&Pod], fails: &impl Fn(&Pod) -> bool) -> Option<String> {
    let policy = spec.pod_failure_policy.as_ref();
    let mut failed = pods.iter().filter(|pod| fails(pod));
    failed.find_map(|pod| match meaning(policy, pod) {
        Meaning::FailsJob(why) => Some(why),
        Meaning::Counts | Meaning::FailsIndex | Meaning::Ignored => None,
    })
}

fn failures_in_a_row(pods: &[&Pod], fails: &impl Fn(&Pod) -> bool) -> (u32, Option<Timestamp>) {
    let succeeded = pods.iter().filter(|pod| pods::phase(pod) == "Succeeded");
    let last_success = succeeded.map(|pod| pods::finished_at(pod)).max();
    let failed = pods.iter().filter(|pod| fails(pod));
    let failed = failed.map(|pod| pods::finished_at(pod));
    let since: Vec<_> = failed
        .filter(|at| last_success.is_none_or(|success| *at > success))
        .collect();
    let number = u32::try_from(since.len()).unwrap_or(u32::MAX);
    (number, since.into_iter().max())
}
