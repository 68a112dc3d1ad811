//! Values over time as SVG. Colours are the page's.

use std::fmt::Write as _;

use super::report::{MetricReport, Report};
use super::text::short;
use crate::markup::escaped;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 180.0;

/// A line has so many corners at most; more values are drawn as the band between least and most.
const COLUMNS: usize = 500;

/// The values of a metric, its limits, and the incidents.
pub(super) fn values(report: &Report, metric: &MetricReport) -> String {
    let numbers: Vec<(i64, f64)> = (metric.points.iter().copied())
        .filter(|(_, number)| number.is_finite())
        .collect();
    let Some(scale) = Scale::of(report, metric, &numbers) else {
        return "<p class=\"none\">No values.</p>".to_owned();
    };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"values of the metric over time\">"
    );
    for incident in report.detection.iter().flat_map(|it| &it.incidents) {
        let (from, to) = (
            scale.x(incident.from.as_second()),
            scale.x(incident.to.as_second()),
        );
        let _ = write!(
            svg,
            "<rect class=\"incident\" x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" height=\"{HEIGHT}\"/>",
            (to - from).max(2.0)
        );
    }
    for part in [0.0, 0.5, 1.0] {
        let y = scale.y(scale.least + part * (scale.most - scale.least));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
    }
    band(&mut svg, &scale, &numbers);
    for limit in &metric.limits {
        let y = scale.y(limit.value);
        let _ = write!(
            svg,
            "<line class=\"limit\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
    }
    svg.push_str("</svg>");
    format!("<div class=\"chart\">{svg}{}</div>", labels(&scale, metric))
}

/// Labels are text beside the drawing, so that they keep their size when it is narrow.
fn labels(scale: &Scale, metric: &MetricReport) -> String {
    let at = |value: f64| 100.0 * scale.y(value) / HEIGHT;
    let mut labels = String::new();
    for value in [scale.least, scale.most] {
        let _ = write!(
            labels,
            "<span class=\"tick\" style=\"top:{:.1}%\">{}</span>",
            at(value),
            short(value)
        );
    }
    for limit in &metric.limits {
        let _ = write!(
            labels,
            "<span class=\"tick limit{}\" style=\"top:{:.1}%\">{} {}</span>",
            // Above its line, unless there is no room.
            if at(limit.value) < 12.0 { " low" } else { "" },
            at(limit.value),
            escaped(limit.operator),
            short(limit.value)
        );
    }
    labels
}

/// The least and the most of each column, and a line through their middle.
fn band(svg: &mut String, scale: &Scale, numbers: &[(i64, f64)]) {
    let mut columns: Vec<(f64, f64, f64)> = Vec::new();
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let width = WIDTH / COLUMNS as f64;
    for (at, number) in numbers {
        let x = (scale.x(*at) / width).floor() * width + width / 2.0;
        match columns.last_mut() {
            Some((column, low, high)) if (*column - x).abs() < width / 2.0 => {
                (*low, *high) = (low.min(*number), high.max(*number));
            }
            _ => columns.push((x, *number, *number)),
        }
    }
    let corner = |x: f64, value: f64| format!("{x:.1},{:.1}", scale.y(value));
    let above = columns.iter().map(|(x, _, most)| corner(*x, *most));
    let below = columns.iter().rev().map(|(x, least, _)| corner(*x, *least));
    let outline: Vec<String> = above.chain(below).collect();
    let middle = columns
        .iter()
        .map(|(x, least, most)| corner(*x, f64::midpoint(*least, *most)));
    let _ = write!(
        svg,
        "<polygon class=\"band\" points=\"{}\"/><polyline class=\"line\" points=\"{}\"/>",
        outline.join(" "),
        middle.collect::<Vec<_>>().join(" ")
    );
}

struct Scale {
    from: i64,
    to: i64,
    least: f64,
    most: f64,
}

impl Scale {
    fn of(report: &Report, metric: &MetricReport, numbers: &[(i64, f64)]) -> Option<Self> {
        let limits = metric.limits.iter().map(|limit| limit.value);
        let shown = || {
            numbers
                .iter()
                .map(|(_, number)| *number)
                .chain(limits.clone())
        };
        numbers.first()?;
        let (least, most) = (
            shown().fold(f64::INFINITY, f64::min),
            shown().fold(f64::NEG_INFINITY, f64::max),
        );
        let room = if most > least {
            (most - least) * 0.05
        } else {
            least.abs().max(1.0) * 0.05
        };
        Some(Self {
            from: report.from.as_second(),
            to: numbers
                .last()
                .map_or(0, |(at, _)| *at)
                .max(report.from.as_second() + 1),
            least: least - room,
            most: most + room,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "a place in a drawing")]
    fn x(&self, at: i64) -> f64 {
        let share = (at - self.from) as f64 / (self.to - self.from) as f64;
        share.clamp(0.0, 1.0) * WIDTH
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.least) / (self.most - self.least);
        HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    }
}

/// The verdict of each run, side by side.
pub(super) fn verdicts(report: &Report) -> String {
    let (from, every) = (report.from.as_second(), report.every_seconds.max(1));
    let last = report
        .starts
        .last()
        .map_or(from, |start| start.at.as_second());
    let count = (last - from) / every + 1;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {count} 10\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"the verdict of each run\">"
    );
    // Runs in a row with one verdict are one piece: there may be many.
    let same = |one: &super::report::StartReport, other: &super::report::StartReport| {
        one.phase == other.phase && other.at.as_second() - one.at.as_second() == every
    };
    for piece in report.starts.chunk_by(same) {
        let (first, last) = (&piece[0], &piece[piece.len() - 1]);
        let x = (first.at.as_second() - from) / every;
        let _ = write!(
            svg,
            "<rect class=\"{}\" x=\"{x}\" y=\"0\" width=\"{}\" height=\"10\"><title>{}</title></rect>",
            first.phase.as_str().to_lowercase(),
            piece.len(),
            escaped(&format!(
                "{} to {}: {} {} {}",
                first.at,
                last.at,
                piece.len(),
                first.phase,
                first.message
            ))
        );
    }
    svg.push_str("</svg>");
    svg
}
