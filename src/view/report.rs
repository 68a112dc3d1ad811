//! The outcome of a run, for people and for what reads JUnit.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::news::shown;
use super::{AnalysisView, MetricView, junit};
use crate::analysis::Prepared;
use crate::api::{AnalysisRun, Measurement, Phase};

/// A run that has ended, and why each of its metrics has.
#[derive(Debug, Clone)]
pub struct AnalysisReport {
    pub(super) run: AnalysisView,
    pub(super) started_at: Option<Timestamp>,
    pub(super) took: SignedDuration,
    pub(super) metrics: Vec<MetricReport>,
}

/// One metric.
#[derive(Debug, Clone)]
pub(super) struct MetricReport {
    pub(super) view: MetricView,
    /// Why it has ended as it has; empty for a plain success.
    pub(super) reason: String,
    /// From the beginning of its first measurement to the end of its last one.
    pub(super) took: SignedDuration,
}

impl AnalysisReport {
    /// Sums up a run.
    #[must_use]
    pub fn of(run: &AnalysisRun, prepared: &Prepared) -> Self {
        let status = run.status.clone().unwrap_or_default();
        let view = AnalysisView::of(run);
        let metrics = view.metrics.iter().map(|metric| {
            let mut results = status.metric_results.iter();
            let result = results.find(|result| result.name == metric.name);
            let reason = result.map_or_else(
                || "was not measured".to_owned(),
                |result| match prepared.reason(result) {
                    reason if reason.is_empty() && metric.phase == Some(Phase::Successful) => {
                        cut_short(&result.message)
                    }
                    reason => reason,
                },
            );
            MetricReport {
                reason,
                took: took(&metric.measurements),
                view: metric.clone(),
            }
        });
        let started_at = status.started_at.map(|at| at.0);
        let ended_at = status.completed_at.map(|at| at.0);
        Self {
            metrics: metrics.collect(),
            took: match (started_at, ended_at) {
                (Some(start), Some(end)) => end.duration_since(start),
                _ => SignedDuration::ZERO,
            },
            started_at,
            run: view,
        }
    }

    /// As text: a line for the verdict, a line for each metric.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.headline());
        let widest = |of: fn(&MetricReport) -> String| {
            let widths = self.metrics.iter().map(|metric| of(metric).chars().count());
            widths.max().unwrap_or_default()
        };
        let (names, values) = (widest(|m| m.view.name.clone()), widest(last_value));
        for metric in &self.metrics {
            let line = format!(
                "  {:<12}  {:<names$}  {:<values$}  {}",
                phase(&metric.view),
                metric.view.name,
                last_value(metric),
                remarks(metric).join("; "),
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    /// As Markdown, such as for a job summary.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "### {}\n\n| | metric | last value | wanted | measurements | |\n|---|---|---|---|---|---|\n",
            inline(&self.headline())
        );
        for metric in &self.metrics {
            let view = &metric.view;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                phase(view),
                inline(&view.name),
                code(&last_value(metric)),
                code(&view.condition),
                counts(view),
                inline(&notes(metric).join("; ")),
            );
        }
        text
    }

    /// As JUnit XML: a suite for the run, a case for each metric.
    #[must_use]
    pub fn junit(&self) -> String {
        junit::document(self)
    }

    /// The verdict in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        let phase = self.run.phase.map_or("Pending", Phase::as_str);
        let why = match self.run.message.as_str() {
            "" => String::new(),
            why => format!(": {why}"),
        };
        format!("{phase} after {:#}: {}{why}", self.took, self.run.name)
    }
}

fn took(measurements: &[Measurement]) -> SignedDuration {
    let start = measurements.first().and_then(|it| it.started_at.as_ref());
    let end = measurements.last().and_then(|it| it.finished_at.as_ref());
    match (start, end) {
        (Some(start), Some(end)) => end.0.duration_since(start.0),
        _ => SignedDuration::ZERO,
    }
}

/// The controller's sentence about a metric that was not measured to its end.
fn cut_short(message: &str) -> String {
    let is_that = message.starts_with("cut short");
    if is_that {
        message.to_owned()
    } else {
        String::new()
    }
}

/// How a metric has ended, in a word.
pub(super) fn phase(metric: &MetricView) -> &'static str {
    metric.phase.map_or("not measured", Phase::as_str)
}

fn last_value(metric: &MetricReport) -> String {
    let last = metric.view.measurements.last();
    last.filter(|last| !last.value.is_empty())
        .map(|last| shown(&last.value))
        .unwrap_or_default()
}

/// `3 of 5 passed, 1 failed`.
pub(super) fn counts(metric: &MetricView) -> String {
    format!(
        "{} of {} passed, {} failed",
        metric.passed, metric.taken, metric.failed
    )
}

fn remarks(metric: &MetricReport) -> Vec<String> {
    let view = &metric.view;
    let mut remarks = Vec::new();
    if !view.condition.is_empty() {
        remarks.push(format!("wanted {}", view.condition));
    }
    if view.taken > 0 {
        remarks.push(counts(view));
    }
    remarks.extend(notes(metric));
    remarks
}

/// What there is to say beside numbers.
fn notes(metric: &MetricReport) -> Vec<String> {
    let view = &metric.view;
    let mut remarks = Vec::new();
    if !metric.reason.is_empty() {
        remarks.push(metric.reason.clone());
    }
    if let Some(message) = last_message(view) {
        remarks.push(message.to_owned());
    }
    if view.dry_run {
        remarks.push("dry run: does not count".to_owned());
    }
    remarks
}

/// What the latest measurement that was no success says of itself.
pub(super) fn last_message(metric: &MetricView) -> Option<&str> {
    let mut latest = metric.measurements.iter().rev();
    let bad = latest.find(|it| it.phase != Some(Phase::Successful))?;
    Some(bad.message.as_str()).filter(|message| !message.is_empty())
}

/// Text that Markdown leaves alone, in one cell of a table.
fn inline(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => safe.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Text as code, in one cell of a table.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    // A code span ends at as many backticks as it began with; a bar ends the cell even there.
    let fence = if text.contains('`') { "``" } else { "`" };
    let text = text.replace(['\n', '\r', '\t'], " ").replace('|', "\\|");
    format!("{fence}{text}{fence}")
}
