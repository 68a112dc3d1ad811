//! What `/metrics` tells about runs, read from the cache at each scrape. Names are Argo's.

use std::sync::Arc;

use kube::ResourceExt as _;
use kube::runtime::reflector::Store;

use crate::api::{AnalysisRun, Metric, MetricResult, Phase, Provider};
use crate::telemetry::{Metrics, Sample, Series};

const INFO: Series = Series {
    name: "analysis_run_info",
    help: "An AnalysisRun and its phase; always 1.",
    labels: &["namespace", "name", "phase"],
};

const PHASE: Series = Series {
    name: "analysis_run_phase",
    help: "1 for the phase that an AnalysisRun is in, else 0; `analysis_run_info` has it as well.",
    labels: &["namespace", "name", "phase"],
};

const METRIC_TYPE: Series = Series {
    name: "analysis_run_metric_type",
    help: "The provider of a metric of an AnalysisRun; always 1.",
    labels: &["namespace", "name", "metric", "type"],
};

const METRIC_PHASE: Series = Series {
    name: "analysis_run_metric_phase",
    help: "1 for the phase that a metric of an AnalysisRun is in, else 0.",
    labels: &["namespace", "name", "metric", "type", "dry_run", "phase"],
};

const PHASES: [Phase; 6] = [
    Phase::Pending,
    Phase::Running,
    Phase::Successful,
    Phase::Failed,
    Phase::Error,
    Phase::Inconclusive,
];

/// Adds the series of the runs in a cache.
pub(super) fn register(metrics: &Metrics, runs: Store<AnalysisRun>) {
    let (types, phases, of_runs) = (runs.clone(), runs.clone(), runs.clone());
    metrics.add_series(PHASE, move || each(&of_runs, run_phases));
    metrics.add_series(INFO, move || each(&runs, info));
    metrics.add_series(METRIC_TYPE, move || each(&types, metric_types));
    metrics.add_series(METRIC_PHASE, move || each(&phases, metric_phases));
}

fn each(runs: &Store<AnalysisRun>, samples: impl Fn(&AnalysisRun) -> Vec<Sample>) -> Vec<Sample> {
    runs.state()
        .iter()
        .map(Arc::as_ref)
        .flat_map(samples)
        .collect()
}

fn sample(run: &AnalysisRun, rest: &[&str], value: f64) -> Sample {
    let mut labels = vec![run.namespace().unwrap_or_default(), run.name_any()];
    labels.extend(rest.iter().map(|label| (*label).to_owned()));
    Sample { labels, value }
}

fn info(run: &AnalysisRun) -> Vec<Sample> {
    let phase = run.status.as_ref().and_then(|status| status.phase);
    vec![sample(run, &[phase.map_or("", Phase::as_str)], 1.0)]
}

fn run_phases(run: &AnalysisRun) -> Vec<Sample> {
    let now = run.status.as_ref().and_then(|status| status.phase);
    let samples = PHASES.iter().map(|phase| {
        let value = f64::from(u8::from(now == Some(*phase)));
        sample(run, &[phase.as_str()], value)
    });
    samples.collect()
}

fn metric_types(run: &AnalysisRun) -> Vec<Sample> {
    let metrics = run.spec.metrics.iter();
    metrics
        .map(|m| sample(run, &[&m.name, type_of(m)], 1.0))
        .collect()
}

fn metric_phases(run: &AnalysisRun) -> Vec<Sample> {
    let results = run.status.iter().flat_map(|status| &status.metric_results);
    results.flat_map(|result| phases_of(run, result)).collect()
}

fn phases_of(run: &AnalysisRun, result: &MetricResult) -> Vec<Sample> {
    let metric = run
        .spec
        .metrics
        .iter()
        .find(|metric| metric.name == result.name);
    let of = metric.map_or("", type_of);
    let dry_run = if result.dry_run { "true" } else { "false" };
    let samples = PHASES.iter().map(|phase| {
        let value = f64::from(u8::from(result.phase == Some(*phase)));
        sample(run, &[&result.name, of, dry_run, phase.as_str()], value)
    });
    samples.collect()
}

fn type_of(metric: &Metric) -> &'static str {
    metric
        .provider
        .set()
        .next()
        .map_or("Unknown Provider", Provider::type_name)
}
