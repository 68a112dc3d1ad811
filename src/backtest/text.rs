//! A report as text.

use std::fmt::Write as _;

use jiff::SignedDuration;

use super::report::{Detection, MetricReport, Report, Shares};

/// Clusters that are listed.
const MOST_CLUSTERS: usize = 10;

pub(super) fn of(report: &Report) -> String {
    let mut text = head(report);
    text.push_str(&detection(report.detection.as_ref()));
    text.push_str(&decided(report));
    for metric in &report.metrics {
        text.push_str(&self::metric(metric, report.wanted_false_alarm_rate));
    }
    for name in &report.left_out {
        let _ = writeln!(
            text,
            "\n{name}\n  left out: its source cannot tell of the past"
        );
    }
    text
}

fn head(report: &Report) -> String {
    let every = SignedDuration::from_secs(report.every_seconds);
    let mut text = format!(
        "{}: {} runs, one every {every:#} from {} to {}\n",
        report.name, report.runs.total, report.from, report.to
    );
    let _ = writeln!(text, "  verdicts      {}", shares(&report.runs));
    if report.unfinished > 0 {
        let _ = writeln!(
            text,
            "  left out      {} would go on after the present",
            report.unfinished
        );
    }
    let _ = writeln!(
        text,
        "  false alarms  {} of {} healthy runs Failed ({}; wanted: at most {})",
        report.healthy.failed,
        report.healthy.total,
        percent(report.false_alarm_rate),
        percent(Some(report.wanted_false_alarm_rate)),
    );
    let _ = writeln!(
        text,
        "  requests      {} range queries, {} instant queries",
        report.requests.ranges, report.requests.instants
    );
    text
}

fn detection(detection: Option<&Detection>) -> String {
    let Some(detection) = detection else {
        return String::new();
    };
    let mut text = format!(
        "  detection     {} of {} incidents; {} of the {} runs during them Failed\n",
        detection.detected,
        detection.incidents.len(),
        percent(detection.hit_rate),
        detection.exposed,
    );
    for seen in &detection.incidents {
        let found = match seen.seconds_to_detect {
            Some(seconds) => format!("seen after {:#}", SignedDuration::from_secs(seconds)),
            None => "not seen".to_owned(),
        };
        let _ = writeln!(
            text,
            "    {} from {} to {}: {found}; {} of {} runs Failed",
            seen.name, seen.from, seen.to, seen.failed, seen.exposed
        );
    }
    text
}

fn decided(report: &Report) -> String {
    let mut text = String::new();
    if !report.decided.is_empty() {
        text.push_str("\ndecided by\n");
    }
    for decided in &report.decided {
        let _ = writeln!(
            text,
            "  {}  {} {} by {}",
            runs(decided.runs),
            decided.metric,
            decided.phase,
            decided.limit
        );
    }
    if !report.clusters.is_empty() {
        text.push_str("\nwhen\n");
    }
    for cluster in report.clusters.iter().take(MOST_CLUSTERS) {
        let incident = cluster.incident.as_ref();
        let incident = incident.map_or_else(String::new, |name| format!(" ({name})"));
        let _ = writeln!(
            text,
            "  {}  {} to {}  {}{incident}",
            runs(cluster.runs),
            cluster.from,
            cluster.to,
            cluster.phase
        );
    }
    let more = report.clusters.len().saturating_sub(MOST_CLUSTERS);
    if more > 0 {
        let _ = writeln!(text, "  and {more} shorter times");
    }
    text
}

/// A number of runs, in a column.
fn runs(number: usize) -> String {
    let noun = if number == 1 { "run " } else { "runs" };
    format!("{number:>5} {noun}")
}

fn metric(metric: &MetricReport, wanted: f64) -> String {
    let mut text = format!("\n{}  {}\n", metric.name, metric.condition);
    let _ = writeln!(text, "  measurements  {}", shares(&metric.measurements));
    if let Some(why) = &metric.asked_at_each_time {
        let _ = writeln!(text, "  asked at each time: {why}");
    }
    for (what, quantiles) in [("values", &metric.values), ("margin", &metric.margin)] {
        let Some(quantiles) = quantiles else { continue };
        let all = quantiles.named();
        let all = all.map(|(name, number)| format!("{name} {}", short(number)));
        let _ = writeln!(text, "  {what:<13} {}", all.join("   "));
    }
    for line in suggestions(metric, wanted) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// What would have kept the wanted rate, in sentences.
pub(super) fn suggestions(metric: &MetricReport, wanted: f64) -> Vec<String> {
    let Some(suggestion) = &metric.suggestion else {
        return Vec::new();
    };
    let rate = percent(Some(suggestion.rate));
    let mut lines = vec![format!("fails {rate} of healthy runs")];
    let wanted = percent(Some(wanted));
    let limits = [
        ("failureLimit", suggestion.failure_limit),
        (
            "consecutiveSuccessLimit",
            suggestion.consecutive_success_limit,
        ),
    ];
    for (field, limit) in limits {
        if let Some(limit) = limit {
            lines.push(format!("{field}: {limit} would have kept it at {wanted}"));
        }
    }
    if let Some(threshold) = &suggestion.threshold {
        lines.push(format!(
            "the strictest limit that keeps {wanted} is {threshold}"
        ));
    }
    lines
}

fn shares(shares: &Shares) -> String {
    let all = shares.named().into_iter().filter(|(_, number)| *number > 0);
    let all: Vec<String> = all
        .map(|(phase, number)| {
            #[expect(clippy::cast_precision_loss, reason = "a share")]
            let share = number as f64 / shares.total as f64;
            format!("{number} {phase} ({})", percent(Some(share)))
        })
        .collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    }
}

/// A share as people read it.
pub(super) fn percent(share: Option<f64>) -> String {
    let Some(share) = share else {
        return "no runs".to_owned();
    };
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A number with four digits that tell something.
pub(super) fn short(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    #[expect(clippy::cast_possible_truncation, reason = "a number of digits")]
    let digits = (3 - number.abs().log10().floor() as i32).clamp(0, 12);
    let digits = usize::try_from(digits).unwrap_or_default();
    let text = format!("{number:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0.0, "0"),
            (0.987_654_321, "0.9877"),
            (1234.5678, "1235"),
            (-0.000_123_456, "-0.0001235"),
            (50.0, "50"),
        ] {
            assert_eq!(short(number), expected);
        }
        assert_eq!(percent(Some(0.0139)), "1.39 %");
        assert_eq!(percent(Some(0.01)), "1 %");
        assert_eq!(percent(None), "no runs");
    }
}
