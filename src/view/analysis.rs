//! An AnalysisRun as people see it: each measurement against its limit, and the verdict.

use kube::ResourceExt as _;

use crate::api::{AnalysisRun, Argument, IntOrText, Measurement, Metric, MetricResult, Phase};

/// One run of an analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisView {
    /// The run's name.
    pub name: String,
    /// How far it has come; `None` before its first pass.
    pub phase: Option<Phase>,
    /// Why, in one sentence.
    pub message: String,
    /// Its metrics, in the order of the spec.
    pub metrics: Vec<MetricView>,
}

/// One metric of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricView {
    /// Its name.
    pub name: String,
    /// How far it has come; `None` before its first measurement.
    pub phase: Option<Phase>,
    /// What a measurement must be like, arguments filled in: `result[0] >= 0.95`.
    pub condition: String,
    /// How many measurements end it; empty without an end.
    pub count: String,
    /// How many failed measurements are tolerated.
    pub failure_limit: String,
    /// Whether it does not influence the verdict.
    pub dry_run: bool,
    /// Measurements that have ended, errors included.
    pub taken: i32,
    /// Those that passed.
    pub passed: i32,
    /// Those that failed.
    pub failed: i32,
    /// Those that were neither good nor bad.
    pub inconclusive: i32,
    /// Those that came to nothing. They do not count as measurements that are wanted.
    pub errors: i32,
    /// The latest measurements, oldest first; those that have ended.
    pub measurements: Vec<Measurement>,
}

impl AnalysisView {
    /// Sums up a run.
    #[must_use]
    pub fn of(run: &AnalysisRun) -> Self {
        let status = run.status.clone().unwrap_or_default();
        let args = &run.spec.args;
        let metrics = run.spec.metrics.iter().map(|metric| {
            let name = filled(&metric.name, args);
            let result = status
                .metric_results
                .iter()
                .find(|result| result.name == name);
            MetricView::of(name, metric, args, result)
        });
        Self {
            name: run.name_any(),
            phase: status.phase,
            metrics: metrics.collect(),
            message: status.message,
        }
    }

    /// Whether nothing more will be measured.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.phase.is_some_and(Phase::is_completed)
    }
}

impl MetricView {
    fn of(name: String, metric: &Metric, args: &[Argument], result: Option<&MetricResult>) -> Self {
        let result = result.cloned().unwrap_or_default();
        let number = |written: &Option<IntOrText>| match written {
            None => String::new(),
            Some(IntOrText::Int(number)) => number.to_string(),
            Some(IntOrText::Text(text)) => filled(text, args),
        };
        let mut measurements = result.measurements;
        measurements.retain(|measurement| measurement.finished_at.is_some());
        Self {
            name,
            phase: result.phase,
            condition: condition(metric, args),
            count: number(&metric.count),
            failure_limit: number(&metric.failure_limit),
            dry_run: result.dry_run,
            taken: result.count.saturating_add(result.error),
            passed: result.successful,
            failed: result.failed,
            inconclusive: result.inconclusive,
            errors: result.error,
            measurements,
        }
    }
}

/// What is wanted of a measurement. A metric without conditions (a Job) wants nothing of a value.
fn condition(metric: &Metric, args: &[Argument]) -> String {
    let success = filled(&metric.success_condition, args);
    let failure = filled(&metric.failure_condition, args);
    match (success.is_empty(), failure.is_empty()) {
        (_, true) => success,
        (true, false) => format!("not ({failure})"),
        (false, false) => format!("{success}, not ({failure})"),
    }
}

/// A text with the arguments that are no secrets filled in.
fn filled(text: &str, args: &[Argument]) -> String {
    let mut text = text.trim().to_owned();
    for arg in args {
        if let Some(value) = &arg.value {
            text = text.replace(&format!("{{{{args.{}}}}}", arg.name), value);
        }
    }
    text
}
