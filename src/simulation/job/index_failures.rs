//! Places of an indexed Job that fail each by itself: `backoffLimitPerIndex`.
//!
//! How often a place has failed stands on its pods. So the last pod of a place that failed is kept
//! until another one there tells of that failure.
//!
//! # Source
//! `backoff_utils.go` and `indexed_job_utils.go` of the Kubernetes Job controller.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::super::pods::{self, after};
use super::ending;
use super::failure_policy::{Meaning, meaning};
use super::indexes;
use super::manage::back_off;

/// How often the place of a pod had failed before it.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

/// As [`FAILURES`], of those that the policy ignores.
pub(super) const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// How often a place has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Failures {
    counted: u32,
    ignored: u32,
}

impl Failures {
    /// What a pod tells of those before it.
    fn before(pod: &Pod) -> Self {
        let number = |name: &str| pod.annotations().get(name)?.parse().ok();
        let [counted, ignored] = [FAILURES, IGNORED_FAILURES].map(number);
        Self {
            counted: counted.unwrap_or_default(),
            ignored: ignored.unwrap_or_default(),
        }
    }

    /// Those up to a pod that has failed.
    fn with(spec: &JobSpec, pod: &Pod) -> Self {
        let mut failures = Self::before(pod);
        match meaning(spec.pod_failure_policy.as_ref(), pod) {
            Meaning::Ignored => failures.ignored += 1,
            Meaning::Counts | Meaning::FailsIndex | Meaning::FailsJob(_) => failures.counted += 1,
        }
        failures
    }

    fn sum(self) -> u32 {
        self.counted.saturating_add(self.ignored)
    }
}

/// What has failed in a Job whose places fail each by itself.
pub(super) struct IndexFailures<'a> {
    /// Places that are not tried again.
    pub(super) failed: BTreeSet<i32>,
    /// The last pod that failed in each place that is tried again and has no other pod yet.
    last: BTreeMap<i32, &'a Pod>,
}

impl<'a> IndexFailures<'a> {
    /// From the pods that wait to be counted; `None` if the Job's places do not fail each by itself.
    pub(super) fn of(
        spec: &JobSpec,
        status: &JobStatus,
        tracked: &[&'a Pod],
        completed: &BTreeSet<i32>,
        fails: &impl Fn(&Pod) -> bool,
    ) -> Option<Self> {
        let limit = spec.backoff_limit_per_index?;
        let places = indexes::places(spec)?;
        let before = status.failed_indexes.as_deref().unwrap_or_default();
        let mut failed = indexes::read(before, places);
        let mut last = BTreeMap::new();
        if ending::is_told(status) {
            // The pods that are stopped now fail no place, and nothing is tried again.
            return Some(Self { failed, last });
        }
        let in_place = tracked
            .iter()
            .filter_map(|pod| Some((indexes::index(pod, places)?, *pod)));
        let (ended, others): (Vec<_>, Vec<_>) = in_place.partition(|(_, pod)| fails(pod));
        let filled: BTreeSet<i32> = others.iter().map(|(at, _)| *at).collect();
        for (at, pod) in ended {
            if is_last_try(spec, pod, limit) {
                failed.insert(at);
                last.remove(&at);
            }
            if failed.contains(&at) || completed.contains(&at) || filled.contains(&at) {
                continue;
            }
            let slot = last.entry(at).or_insert(pod);
            if Failures::before(slot).sum() < Failures::before(pod).sum() {
                *slot = pod;
            }
        }
        Some(Self { failed, last })
    }

    /// Whether a pod must stay for the sake of what it tells.
    pub(super) fn needs(&self, pod: &Pod) -> bool {
        self.last.values().any(|kept| std::ptr::eq(*kept, pod))
    }

    /// How many failures are not counted yet because their pods must stay.
    pub(super) fn uncounted(&self, spec: &JobSpec) -> usize {
        let policy = spec.pod_failure_policy.as_ref();
        let counts = |pod: &&&Pod| meaning(policy, pod) != Meaning::Ignored;
        self.last.values().filter(counts).count()
    }

    /// When a place may be tried again; `None` if it has not failed.
    pub(super) fn ready_at(&self, place: i32) -> Option<Timestamp> {
        let last = self.last.get(&place)?;
        let failures = Failures::before(last).sum().saturating_add(1);
        Some(after(pods::finished_at(last), back_off(failures)))
    }

    /// Has a new pod tell how often its place has failed.
    pub(super) fn note(&self, spec: &JobSpec, place: i32, pod: &mut Pod) {
        let last = self.last.get(&place);
        let failures = last.map_or_else(Failures::default, |last| Failures::with(spec, last));
        let annotations = pod.annotations_mut();
        annotations.insert(FAILURES.to_owned(), failures.counted.to_string());
        if failures.ignored > 0 {
            annotations.insert(IGNORED_FAILURES.to_owned(), failures.ignored.to_string());
        }
    }
}

/// Whether a place is given up after this pod's failure.
fn is_last_try(spec: &JobSpec, pod: &Pod, limit: i32) -> bool {
    match meaning(spec.pod_failure_policy.as_ref(), pod) {
        Meaning::FailsIndex => true,
        Meaning::Counts | Meaning::FailsJob(_) => {
            i64::from(Failures::before(pod).counted) >= i64::from(limit)
        }
        Meaning::Ignored => false,
    }
}
