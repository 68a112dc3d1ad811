//! The release at hand in a few lines: its measurements against their limits, and why it waits.

use super::AnalysisView;
use super::belongings::Belongings;
use super::spark::sparkline;
use super::status::{self, icon};
use super::text::{Text, table};
use crate::api::Rollout;

/// What a person who watches a release wants to know besides the tree; nothing of one that waits for
/// nothing and measures nothing.
#[must_use]
pub fn release_lines(rollout: &Rollout, all: &Belongings) -> Vec<Text> {
    let view = all.view_of(rollout);
    let mut lines = Vec::new();
    let rows: Vec<Vec<Text>> = view.analyses.iter().flat_map(metric_rows).collect();
    if !rows.is_empty() {
        lines.push(Text::default());
        lines.extend(table(rows));
    }
    if let Some(waiting) = &view.waiting {
        lines.push(Text::default());
        let sentence = format!(" {}: {}", waiting.kind, waiting.sentence);
        lines.push(icon('◷').and(sentence));
    }
    lines
}

/// What makes the rest of a page doubtful.
#[must_use]
pub fn warning(text: &str) -> Text {
    icon('⚠').and(format!(" {text}"))
}

/// `2 of 3 taken: 1 passed, 1 failed of 1 tolerated`
fn counts(metric: &super::MetricView) -> String {
    let of = if metric.count.is_empty() { "" } else { " of " };
    let tolerated = match metric.failure_limit.as_str() {
        "" => "0",
        limit => limit,
    };
    let failed = format!("failed of {tolerated} tolerated");
    let all = [
        (metric.passed, "passed"),
        (metric.failed, failed.as_str()),
        (metric.inconclusive, "unclear"),
        (metric.errors, "errors"),
    ];
    let told: Vec<String> = all
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    let colon = if told.is_empty() { "" } else { ": " };
    let taken = metric.taken - metric.errors;
    format!(
        "{taken}{of}{} taken{colon}{}",
        metric.count,
        told.join(", ")
    )
}

/// A row for each metric of a run.
pub(super) fn metric_rows(analysis: &AnalysisView) -> Vec<Vec<Text>> {
    let row = |metric: &super::MetricView| {
        let last = metric.measurements.last().map(|it| it.value.clone());
        vec![
            status::phase(metric.phase).text(),
            metric.name.clone().into(),
            sparkline(metric),
            last.unwrap_or_default().into(),
            metric.condition.clone().into(),
            counts(metric).into(),
        ]
    };
    analysis.metrics.iter().map(row).collect()
}
