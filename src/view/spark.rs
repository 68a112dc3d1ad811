//! The last measurements of a metric as bars, beside the height of their limit.

use std::sync::LazyLock;

use regex::Regex;

use super::MetricView;
use super::status::icon;
use super::text::{Colour, Text};
use crate::api::{Measurement, Phase};

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The limit's height, a line, and a bar for each measurement; an icon for one without a number.
///
/// The limit is known if the condition compares with one number. The scale goes from the least to
/// the greatest of all.
#[must_use]
pub fn sparkline(metric: &MetricView) -> Text {
    let limit = limit(&metric.condition);
    let values: Vec<Option<f64>> = metric.measurements.iter().map(value).collect();
    let all = values.iter().flatten().copied().chain(limit);
    let finite = all.filter(|value| value.is_finite());
    let (least, greatest) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| {
        (low.min(it), high.max(it))
    });
    let bar = |value: f64| BARS[height(value, least, greatest)].to_string();
    let limit = limit.filter(|_| values.iter().any(Option::is_some));
    let mut line = Text::plain(
        limit
            .map(|limit| format!("{}┊", bar(limit)))
            .unwrap_or_default(),
    );
    for (measurement, value) in metric.measurements.iter().zip(values) {
        let (sign, colour) = match measurement.phase {
            Some(Phase::Successful) => ('✔', Some(Colour::Green)),
            Some(Phase::Failed) => ('✖', Some(Colour::Red)),
            Some(Phase::Error) => ('⚠', Some(Colour::Red)),
            Some(Phase::Inconclusive) => ('?', Some(Colour::Yellow)),
            Some(Phase::Pending | Phase::Running) | None => ('◌', None),
        };
        line = match value.filter(|value| value.is_finite()) {
            Some(value) => line.and(Text::of(bar(value), colour)),
            None => line.and(icon(sign)),
        };
    }
    line
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and 7"
)]
fn height(value: f64, least: f64, greatest: f64) -> usize {
    let range = greatest - least;
    if range <= 0.0 || !range.is_finite() {
        return BARS.len() / 2;
    }
    let share = ((value - least) / range).clamp(0.0, 1.0);
    (share * 7.0).round() as usize
}

/// The number that a condition compares with, if there is just one; of a metric that has a condition
/// of failure, too, that of its success.
fn limit(condition: &str) -> Option<f64> {
    static COMPARISON: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"[<>]=?\s*(-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)").expect("it is a regular expression")
    });
    let (wanted, _) = condition.split_once(", not (").unwrap_or((condition, ""));
    let mut numbers = COMPARISON.captures_iter(wanted);
    let number = numbers.next()?[1].parse().ok()?;
    numbers.next().is_none().then_some(number)
}

/// The first number of a measured value: of `0.97`, and of `[0.97,0.98]`.
fn value(measurement: &Measurement) -> Option<f64> {
    let text = measurement.value.trim().trim_start_matches('[');
    let first = text.split([',', ']']).next()?.trim();
    first.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Letters, Paint};

    fn told(condition: &str, measured: &[(&str, Phase)]) -> String {
        let measurements = measured.iter().map(|(value, phase)| Measurement {
            value: (*value).to_owned(),
            phase: Some(*phase),
            ..Measurement::default()
        });
        let metric = MetricView {
            name: "m".into(),
            phase: None,
            condition: condition.into(),
            count: String::new(),
            failure_limit: String::new(),
            dry_run: false,
            taken: 0,
            passed: 0,
            failed: 0,
            inconclusive: 0,
            errors: 0,
            measurements: measurements.collect(),
        };
        sparkline(&metric).shown(Paint::None, Letters::All)
    }

    #[test]
    fn bars_stand_beside_the_height_of_the_limit() {
        use Phase::{Error, Failed, Successful};
        let good = ("[1]", Successful);
        let cases = [
            ("result[0] >= 0.95", vec![good, ("[0.7]", Failed)], "▇┊█▁"),
            (
                "result < 5",
                vec![("1", Successful), ("3", Successful)],
                "█┊▁▅",
            ),
            ("result[0] >= 0.95", vec![good, ("", Error)], "▁┊█⚠"),
            (
                "result > 1 && result < 9",
                vec![("2", Successful), ("8", Successful)],
                "▁█",
            ),
            (
                "result.ok",
                vec![("true", Successful), ("NaN", Failed)],
                "✔✖",
            ),
            (
                "result >= 1, not (result < 0.5)",
                vec![("0.7", Failed), ("2", Successful)],
                "▃┊▁█",
            ),
            ("not (result > 5)", vec![("1", Successful)], "█┊▁"),
            ("", vec![("3", Successful), ("3", Successful)], "▅▅"),
            ("result >= 1", vec![], ""),
            ("result >= 1", vec![("", Error), ("", Error)], "⚠⚠"),
        ];
        for (condition, measured, expected) in cases {
            assert_eq!(told(condition, &measured), expected, "{condition}");
        }
    }
}
