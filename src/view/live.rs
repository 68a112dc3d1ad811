//! A run under way, a row for each metric; drawn again and again on a terminal.

use jiff::{SignedDuration, Timestamp};

use super::line::Paint;
use super::news::{mark, shown};
use super::report::phase;
use super::{AnalysisView, Mark, MetricView};
use crate::analysis::{MetricPlan, Prepared};
use crate::api::{AnalysisRun, Measurement};

/// How a run stands at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Live<'a> {
    /// The run.
    pub run: &'a AnalysisRun,
    /// Its spec, understood.
    pub prepared: &'a Prepared,
    /// The time.
    pub now: Timestamp,
    /// When the run is ended at the latest.
    pub deadline: Option<Timestamp>,
    /// Characters that fit into a line.
    pub width: usize,
}

/// Values that a sparkline shows.
const SPARKS: usize = 16;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

struct Row {
    mark: Mark,
    cells: [String; 6],
}

impl Live<'_> {
    /// The lines that show it, none longer than the width.
    #[must_use]
    pub fn lines(&self, paint: Paint) -> Vec<String> {
        let view = AnalysisView::of(self.run);
        let plans = self.prepared.plans();
        let rows = view.metrics.iter().zip(plans);
        let rows: Vec<Row> = rows.map(|(metric, plan)| self.row(metric, plan)).collect();
        let widths = widths(&rows);
        let mut lines = vec![cut(&self.head(&view), self.width)];
        for Row { mark, cells } in &rows {
            let cells = cells.iter().zip(widths);
            let padded = cells.map(|(cell, width)| {
                let missing = width.saturating_sub(cell.chars().count());
                format!("{cell}{}", " ".repeat(missing))
            });
            let line = padded.collect::<Vec<_>>().join("  ");
            lines.push(mark.painted(&cut(line.trim_end(), self.width), paint));
        }
        lines
    }

    fn head(&self, view: &AnalysisView) -> String {
        let status = self.run.status.as_ref();
        let started = status.and_then(|status| status.started_at.as_ref());
        let since = started.map_or(SignedDuration::ZERO, |at| self.now.duration_since(at.0));
        let state = if self.run.spec.terminate {
            "ending"
        } else {
            "running"
        };
        format!("{}  {state} for {}", view.name, clock(since))
    }

    fn row(&self, metric: &MetricView, plan: &MetricPlan) -> Row {
        let last = metric.measurements.last();
        let value = last.map(|last| match last.value.as_str() {
            "" => last.message.clone(),
            value => shown(value),
        });
        let wanted = Some(&metric.condition).filter(|condition| !condition.is_empty());
        let wanted = wanted.map(|condition| format!("wanted {condition}"));
        let against: Vec<String> = value.into_iter().chain(wanted).collect();
        let taken = self.counted(metric);
        let progress = match plan.count {
            Some(count) => format!("{taken}/{count}"),
            None => taken.to_string(),
        };
        Row {
            mark: mark(metric.phase.or(last.and_then(|last| last.phase))),
            cells: [
                metric.name.clone(),
                phase(metric).to_owned(),
                progress,
                self.left(metric, plan),
                sparkline(&metric.measurements),
                against.join("  "),
            ],
        }
    }

    /// Measurements that count towards the end.
    fn counted(&self, metric: &MetricView) -> i32 {
        let results = self
            .run
            .status
            .iter()
            .flat_map(|status| &status.metric_results);
        let mut of_it = results.filter(|result| result.name == metric.name);
        of_it.next().map_or(0, |result| result.count)
    }

    /// Time until a metric is decided, if all goes well.
    fn left(&self, metric: &MetricView, plan: &MetricPlan) -> String {
        if metric.phase.is_some_and(crate::api::Phase::is_completed) {
            return String::new();
        }
        let Some(count) = plan.count else {
            return self.deadline.map_or_else(String::new, |at| {
                format!("{} left", clock(at.duration_since(self.now)))
            });
        };
        let interval = plan.interval.unwrap_or_default();
        let status = self.run.status.as_ref();
        let last = metric.measurements.last();
        let ended = last.and_then(|last| last.finished_at.as_ref());
        let (from, to_come) = if let Some(ended) = ended {
            (ended.0, count.saturating_sub(self.counted(metric)))
        } else {
            let started = status.and_then(|status| status.started_at.as_ref());
            let started = started.map_or(self.now, |at| at.0);
            let delay = plan.initial_delay.unwrap_or_default();
            (started.saturating_add(delay).unwrap_or(started), count - 1)
        };
        let end = from.saturating_add(interval.saturating_mul(to_come.max(0)));
        let end = end.unwrap_or(Timestamp::MAX);
        format!("{} left", clock(end.duration_since(self.now)))
    }
}

fn widths(rows: &[Row]) -> [usize; 6] {
    let mut widths = [0; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// `1h02m05s`, `2m05s`, `5s`; nothing is left of a time that has passed.
fn clock(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest:02}s"),
        (hours, minutes) => format!("{hours}h{minutes:02}m{rest:02}s"),
    }
}

/// The first number of each of the latest measurements, as bars between the least and the most.
fn sparkline(measurements: &[Measurement]) -> String {
    let from = measurements.len().saturating_sub(SPARKS);
    let numbers: Vec<Option<f64>> = (measurements[from..].iter())
        .map(|measurement| first_number(&measurement.value))
        .collect();
    let known = || numbers.iter().flatten().copied();
    let (least, most) = (
        known().fold(f64::INFINITY, f64::min),
        known().fold(f64::NEG_INFINITY, f64::max),
    );
    let bar = |number: f64| {
        let share = if most > least {
            (number - least) / (most - least)
        } else {
            0.5
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of eight bars"
        )]
        let index = (share * 7.0).round() as usize;
        BARS[index.min(BARS.len() - 1)]
    };
    let bars = numbers.iter().map(|number| number.map_or('·', bar));
    bars.collect()
}

/// The number that a value is, or the first one of a list.
fn first_number(value: &str) -> Option<f64> {
    let first = value.trim_start_matches('[').split([',', ']']).next()?;
    first
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> AnalysisRun {
        let measurement = |value: &str, phase: &str, second: i64| {
            let at = Timestamp::from_second(1_785_578_400 + second)
                .unwrap()
                .to_string();
            json!({"value": value, "phase": phase, "startedAt": at, "finishedAt": at})
        };
        let metric = |name: &str, count: i64| {
            json!({
                "name": name, "interval": "1m", "count": count, "successCondition": "result[0] > 0.9",
                "provider": {"prometheus": {"query": "up"}},
            })
        };
        let values = ["[0.95]", "[0.91]", "[0.99]", "[]"];
        let measurements: Vec<_> = (0..)
            .zip(values)
            .map(|(index, value)| measurement(value, "Successful", 60 * index))
            .collect();
        let failed = [measurement("[0.5123456789]", "Failed", 0)];
        serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"metrics": [metric("success-rate", 10), metric("p99", 1), metric("late", 3)]},
            "status": {
                "phase": "Running", "startedAt": "2026-08-01T10:00:00Z",
                "metricResults": [
                    {"name": "success-rate", "phase": "Running", "count": 3, "error": 1, "measurements": measurements},
                    {"name": "p99", "phase": "Failed", "count": 1, "failed": 1, "measurements": failed},
                ],
            },
        }))
        .unwrap()
    }

    fn lines(width: usize) -> String {
        let run = run();
        let prepared = Prepared::new(&run).unwrap();
        let live = Live {
            run: &run,
            prepared: &prepared,
            now: "2026-08-01T10:03:20Z".parse().unwrap(),
            deadline: None,
            width,
        };
        live.lines(Paint::None).join("\n")
    }

    #[test]
    fn a_row_tells_all_of_a_metric() {
        insta::assert_snapshot!(lines(120));
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        for width in [1, 10, 40, 70] {
            let lines = lines(width);
            assert!(
                lines.lines().all(|line| line.chars().count() <= width),
                "{lines}"
            );
        }
    }
}
