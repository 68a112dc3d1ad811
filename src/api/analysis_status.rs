//! What an AnalysisRun has measured so far.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::gate::GateStatus;
use super::reading::written;
use super::values::Phase;

written! {
    /// The state of a run.
    pub struct AnalysisRunStatus {
        required {
            /// How far the run has come; empty before the first pass.
            #[serde(with = "crate::api::values::phase_or_empty")]
            #[schemars(with = "String")]
            phase: Option<Phase>,
        }
        optional {
            /// Why, in one sentence.
            message: String,
            /// The state of each metric.
            metric_results: Vec<MetricResult>,
            /// When the first measurements had been taken.
            started_at: Option<Time>,
            /// How the metrics that count have ended.
            run_summary: Option<RunSummary>,
            /// How the metrics that do not count have ended.
            dry_run_summary: Option<RunSummary>,
            /// When the verdict was reached.
            completed_at: Option<Time>,
            /// What the run's gate has done.
            gate: Option<GateStatus>,
        }
    }
}

written! {
    /// Numbers of metrics, not of measurements.
    pub struct RunSummary {
        optional {
            /// All metrics of this group, started or not.
            count: i32,
            /// Those that ended as Successful.
            successful: i32,
            /// Those that ended as Failed.
            failed: i32,
            /// Those that ended as Inconclusive.
            inconclusive: i32,
            /// Those that ended in Error.
            error: i32,
        }
    }
}

written! {
    /// The state of one metric.
    pub struct MetricResult {
        required {
            /// The metric's name, arguments filled in.
            name: String,
            /// Running until it is decided, then fixed.
            #[serde(with = "crate::api::values::phase_or_empty")]
            #[schemars(with = "String")]
            phase: Option<Phase>,
        }
        optional {
            /// The latest measurements, oldest first.
            measurements: Vec<Measurement>,
            /// Message of the measurement that last changed the phase.
            message: String,
            /// Measurements so far, errors and skipped ones not counted.
            count: i32,
            /// Successful measurements so far.
            successful: i32,
            /// Failed measurements so far.
            failed: i32,
            /// Inconclusive measurements so far.
            inconclusive: i32,
            /// Error measurements so far.
            error: i32,
            /// Error measurements in a row.
            consecutive_error: i32,
            /// Successful measurements in a row.
            consecutive_success: i32,
            /// Whether the metric does not influence the verdict.
            dry_run: bool,
            /// What the source says about the metric, such as the query that it asks.
            metadata: BTreeMap<String, String>,
        }
    }
}

written! {
    /// One measurement.
    pub struct Measurement {
        required {
            /// Its outcome; Running while under way.
            #[serde(with = "crate::api::values::phase_or_empty")]
            #[schemars(with = "String")]
            phase: Option<Phase>,
        }
        optional {
            /// Why it is not Successful.
            message: String,
            /// When it began.
            started_at: Option<Time>,
            /// When it ended; absent while under way.
            finished_at: Option<Time>,
            /// The value that was measured.
            value: String,
            /// What the source needs to remember or to tell.
            metadata: BTreeMap<String, String>,
            /// When a measurement under way is looked at again.
            resume_at: Option<Time>,
        }
    }
}
