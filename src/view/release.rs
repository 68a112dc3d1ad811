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

/// A row for each metric of a run.
pub(super) fn metric_rows(analysis: &AnalysisView) -> Vec<Vec<Text>> {
    let row = |metric: &super::MetricView| {
        let last = metric.measurements.last().map(|it| it.value.clone());
        let of = |number: i32, limit: &str| match limit {
            "" => number.to_string(),
            limit => format!("{number} of {limit}"),
        };
        let tolerated = match metric.failure_limit.as_str() {
            "" => "0",
            limit => limit,
        };
        vec![
            status::phase(metric.phase).text(),
            metric.name.clone().into(),
            sparkline(metric),
            last.unwrap_or_default().into(),
            metric.condition.clone().into(),
            format!(
                "{} taken, {} failed, {tolerated} tolerated",
                of(metric.taken, &metric.count),
                metric.failed
            )
            .into(),
        ]
    };
    analysis.metrics.iter().map(row).collect()
}
