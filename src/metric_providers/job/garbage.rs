//! Jobs of measurements that are no longer kept.

use std::cmp::Reverse;

use k8s_openapi::api::batch::v1::Job;

use super::super::request::JobName;
use super::condition;
use super::object::{METRIC_NAME, RUN_UID, name_of};

/// Selects all Jobs of a run.
#[must_use]
pub fn run_selector(run_uid: &str) -> String {
    format!("{RUN_UID}={run_uid}")
}

/// The finished Jobs of `metric` beyond the newest `keep`, among the Jobs of its run.
#[must_use]
pub fn leftovers(jobs: &[Job], metric: &str, keep: usize) -> Vec<JobName> {
    let mut finished: Vec<&Job> = jobs
        .iter()
        .filter(|job| of_metric(job) == Some(metric))
        .filter(|job| job.metadata.deletion_timestamp.is_none())
        .filter(|job| {
            condition(job, "Complete")
                .or_else(|| condition(job, "Failed"))
                .is_some()
        })
        .collect();
    // The number at the end of the name parts those of the same second.
    finished.sort_by_cached_key(|job| {
        Reverse((
            job.metadata.creation_timestamp.as_ref().map(|time| time.0),
            number(job),
        ))
    });
    finished.into_iter().skip(keep).map(name_of).collect()
}

fn of_metric(job: &Job) -> Option<&str> {
    job.metadata
        .annotations
        .as_ref()?
        .get(METRIC_NAME)
        .map(String::as_str)
}

fn number(job: &Job) -> Option<u64> {
    job.metadata
        .name
        .as_deref()?
        .rsplit_once('.')?
        .1
        .parse()
        .ok()
}
