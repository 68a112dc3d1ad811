//! The pods of a Job, by what became of them.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobStatus;
use k8s_openapi::api::core::v1::Pod;

use super::super::pods;
use super::super::replica_set::count;

/// The pods of a Job, by what became of them.
pub(super) struct Tally<'a> {
    pub(super) active: Vec<&'a Pod>,
    pub(super) stopping: usize,
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    pub(super) restarts: i32,
    /// When the last failed pod failed.
    pub(super) last_failure: Option<Timestamp>,
}

impl<'a> Tally<'a> {
    pub(super) fn of(status: &JobStatus, pods: &[&'a Pod]) -> Self {
        let in_phase =
            |phase: &str| count(pods.iter().filter(|pod| pods::phase(pod) == phase).count());
        let active: Vec<_> = pods
            .iter()
            .copied()
            .filter(|pod| pods::is_active(pod))
            .collect();
        let stopping = pods
            .iter()
            .filter(|pod| pods::is_deleting(pod) && !pods::is_finished(pod))
            .count();
        let failed = pods.iter().filter(|pod| pods::phase(pod) == "Failed");
        Self {
            stopping,
            restarts: active.iter().map(|pod| pods::restarts(pod)).sum(),
            active,
            // A finished pod that was deleted still counts.
            succeeded: in_phase("Succeeded").max(status.succeeded.unwrap_or_default()),
            failed: in_phase("Failed").max(status.failed.unwrap_or_default()),
            last_failure: failed.filter_map(|pod| finished_at(pod)).max(),
        }
    }
}

fn finished_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref()?;
    let ended = statuses
        .iter()
        .filter_map(|status| status.state.as_ref()?.terminated.as_ref());
    ended
        .filter_map(|ended| ended.finished_at.as_ref())
        .map(|time| time.0)
        .max()
}
