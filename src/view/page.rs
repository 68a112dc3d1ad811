//! One object on a page: a header, and what belongs to it.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::age::age;
use super::belongings::Belongings;
use super::images;
use super::spark::sparkline;
use super::status;
use super::tags::{Tag, tags};
use super::text::{Text, table};
use super::tree::{self, Detail};
use super::weights::weights;
use super::{AnalysisView, MetricView};
use crate::api::{AnalysisRun, Experiment, Rollout};
use crate::rollout::seen;

/// Where the values of a header stand.
///
/// # Source
/// `tableFormat` in `pkg/kubectl-argo-rollouts/cmd/get/get.go` of Argo Rollouts.
const LABEL_WIDTH: usize = 17;

fn line(label: &str, value: impl Into<Text>) -> Text {
    let line = Text::plain(format!("{label:<LABEL_WIDTH$}")).and(value);
    line.hanging(LABEL_WIDTH)
}

/// A Rollout and all that it owns.
#[must_use]
pub fn rollout_page(
    rollout: &Rollout,
    all: &Belongings,
    now: Timestamp,
    detail: Detail,
) -> Vec<Text> {
    let (phase, message) = seen(rollout);
    let mut lines = vec![
        line("Name:", rollout.name_any()),
        line("Namespace:", rollout.namespace().unwrap_or_default()),
        line("Status:", status::rollout(phase.as_str()).text()),
    ];
    if !message.is_empty() {
        lines.push(line("Message:", message));
    }
    lines.push(line("Strategy:", strategy(rollout)));
    lines.extend(progress(rollout, all));
    lines.extend(image_lines(images::of_rollout(rollout, all)));
    let status = rollout.status.clone().unwrap_or_default();
    lines.push("Replicas:".into());
    for (label, count) in [
        ("  Desired:", rollout.spec.replicas()),
        ("  Current:", status.replicas),
        ("  Updated:", status.updated_replicas),
        ("  Ready:", status.ready_replicas),
        ("  Available:", status.available_replicas),
    ] {
        lines.push(line(label, count.to_string()));
    }
    lines.push(Text::default());
    lines.extend(tree::of_rollout(rollout, all, now, detail));
    lines
}

/// The name of the strategy.
pub(super) fn strategy(rollout: &Rollout) -> &'static str {
    let strategy = &rollout.spec.strategy;
    match (&strategy.canary, &strategy.blue_green) {
        (Some(_), _) => "Canary",
        (None, Some(_)) => "BlueGreen",
        (None, None) => "",
    }
}

/// `1/5`: the step at hand of all; none without steps or without an index.
pub(super) fn step(rollout: &Rollout) -> Option<String> {
    let steps = rollout.spec.strategy.canary.as_ref()?.steps.len();
    let index = rollout.status.as_ref()?.current_step_index?;
    (steps > 0).then(|| format!("{index}/{steps}"))
}

fn progress(rollout: &Rollout, all: &Belongings) -> Vec<Text> {
    let sets = all.replica_sets_of(rollout).into_iter();
    let canaries = sets.filter(|set| tags(rollout, set).contains(&Tag::Canary));
    let available = canaries.filter_map(|set| set.status.as_ref()?.available_replicas);
    let Some(weights) = weights(rollout, available.sum()) else {
        return Vec::new();
    };
    vec![
        line("  Step:", step(rollout).unwrap_or_default()),
        line("  SetWeight:", weights.set.to_string()),
        line("  ActualWeight:", weights.actual.to_string()),
    ]
}

fn image_lines(images: Vec<Text>) -> impl Iterator<Item = Text> {
    let labels = std::iter::once("Images:").chain(std::iter::repeat(""));
    labels.zip(images).map(|(label, image)| line(label, image))
}

/// An Experiment and all that it owns.
#[must_use]
pub fn experiment_page(
    experiment: &Experiment,
    all: &Belongings,
    now: Timestamp,
    detail: Detail,
) -> Vec<Text> {
    let status = experiment.status.clone().unwrap_or_default();
    let mut lines = vec![
        line("Name:", experiment.name_any()),
        line("Namespace:", experiment.namespace().unwrap_or_default()),
        line("Status:", status::phase(status.phase).text()),
    ];
    if !status.message.is_empty() {
        lines.push(line("Message:", status.message));
    }
    lines.extend(image_lines(images::of_experiment(experiment, all)));
    lines.push(Text::default());
    lines.extend(tree::of_experiment(experiment, all, now, detail));
    lines
}

/// An AnalysisRun and its metrics.
#[must_use]
pub fn analysis_run_page(run: &AnalysisRun, now: Timestamp, detail: Detail) -> Vec<Text> {
    let view = AnalysisView::of(run);
    let mut lines = vec![
        line("Name:", run.name_any()),
        line("Namespace:", run.namespace().unwrap_or_default()),
        line("Status:", status::phase(view.phase).text()),
    ];
    if view.phase.is_none() {
        lines.push(line("Message:", "no controller has taken it up yet"));
    } else if !view.message.is_empty() {
        lines.push(line("Message:", view.message.clone()));
    }
    let status = run.status.clone().unwrap_or_default();
    for (label, time) in [
        ("Started:", status.started_at),
        ("Completed:", status.completed_at),
    ] {
        if let Some(time) = time {
            let ago = age(&time, now);
            lines.push(line(label, format!("{} ({ago} ago)", time.0)));
        }
    }
    lines.push(Text::default());
    lines.extend(metric_table(&view.metrics));
    if detail == Detail::Wide {
        lines.push(Text::default());
        lines.extend(measurement_table(&view.metrics, now));
    }
    lines
}

fn metric_table(metrics: &[MetricView]) -> Vec<Text> {
    let header = [
        "METRIC", "STATUS", "WANTED", "TAKEN", "PASSED", "FAILED", "UNCLEAR", "ERRORS", "TREND",
        "LAST",
    ];
    let mut rows = vec![header.map(Text::from).to_vec()];
    for metric in metrics {
        let or_none = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
        let of = |number: i32, limit: &str| match limit {
            "" => number.to_string(),
            limit => format!("{number}/{limit}"),
        };
        let name = if metric.dry_run {
            format!("{} (dry run)", metric.name)
        } else {
            metric.name.clone()
        };
        let last = metric.measurements.last().map(|it| it.value.as_str());
        rows.push(vec![
            name.into(),
            status::phase(metric.phase).text(),
            or_none(&metric.condition).into(),
            of(metric.taken - metric.errors, &metric.count).into(),
            metric.passed.to_string().into(),
            of(metric.failed, &metric.failure_limit).into(),
            metric.inconclusive.to_string().into(),
            metric.errors.to_string().into(),
            sparkline(metric),
            or_none(last.unwrap_or_default()).into(),
        ]);
    }
    table(rows)
}

fn measurement_table(metrics: &[MetricView], now: Timestamp) -> Vec<Text> {
    let mut rows = vec![
        ["METRIC", "STATUS", "AGE", "VALUE", "MESSAGE"]
            .map(Text::from)
            .to_vec(),
    ];
    for metric in metrics {
        for measurement in &metric.measurements {
            let ended = measurement.finished_at.as_ref();
            rows.push(vec![
                metric.name.clone().into(),
                status::phase(measurement.phase).text(),
                ended
                    .map(|ended| age(ended, now))
                    .unwrap_or_default()
                    .into(),
                measurement.value.clone().into(),
                measurement.message.clone().into(),
            ]);
        }
    }
    table(rows)
}
