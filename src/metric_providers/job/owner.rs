//! Whose Job it is: what its labels and annotations tell about the run that made it.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;

use super::condition;
use super::object::{METRIC_NAME, RUN_NAME, RUN_NAMESPACE, RUN_UID};

/// The run, and the metric of it, that a Job measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOwner {
    /// Namespace of the run.
    pub run_namespace: String,
    /// Name of the run.
    pub run_name: String,
    /// uid of the run.
    pub run_uid: String,
    /// Name of the metric.
    pub metric: String,
}

impl JobOwner {
    /// Selects the Jobs of all runs.
    pub const SELECTOR: &str = RUN_UID;

    /// Reads what the controller wrote on the Job when it made it; `None` on anyone else's.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        let annotation = |key: &str| job.annotations().get(key).cloned();
        Some(Self {
            run_namespace: annotation(RUN_NAMESPACE)?,
            run_name: annotation(RUN_NAME)?,
            run_uid: job.labels().get(RUN_UID)?.clone(),
            metric: annotation(METRIC_NAME)?,
        })
    }

    /// Whether the Job has come to its end, whatever the end.
    #[must_use]
    pub fn has_ended(job: &Job) -> bool {
        condition(job, "Complete")
            .or_else(|| condition(job, "Failed"))
            .is_some()
    }
}
