//! What is new between two looks at a Rollout, a line each.

use crate::api::{Measurement, Phase, RolloutPhase};

use super::{AnalysisView, Line, Mark, MetricView, RolloutView, SwitchView, VersionView};

/// What `after` tells that `before` did not, in the order in which things come about.
#[must_use]
pub fn news(before: &RolloutView, after: &RolloutView) -> Vec<Line> {
    let mut lines = Vec::new();
    if after.revision != before.revision {
        let text = format!("revision {} is wanted", after.revision);
        lines.push(Line::new(Mark::Plain, "rollout", text));
    }
    // A known analysis is told before the step that follows it, a new one after its own step.
    let known =
        |analysis: &AnalysisView| before.analyses.iter().find(|it| it.name == analysis.name);
    for analysis in &after.analyses {
        if let Some(known) = known(analysis) {
            tell_analysis(Some(known), analysis, &mut lines);
        }
    }
    // The first version takes no steps and stands beside no other.
    if after.stable.is_some() {
        lines.extend(step_news(before, after));
        lines.extend(pod_news(before, after));
    }
    lines.extend(switch_news(before, after));
    for analysis in after
        .analyses
        .iter()
        .filter(|analysis| known(analysis).is_none())
    {
        tell_analysis(None, analysis, &mut lines);
    }
    lines.extend(phase_news(before, after));
    lines.extend(waiting_news(before, after));
    lines
}

/// What `after` tells of a run that `before` did not.
#[must_use]
pub fn analysis_news(before: Option<&AnalysisView>, after: &AnalysisView) -> Vec<Line> {
    let mut lines = Vec::new();
    tell_analysis(before, after, &mut lines);
    lines
}

fn step_news(before: &RolloutView, after: &RolloutView) -> Option<Line> {
    let step = after
        .step
        .as_ref()
        .filter(|step| before.step.as_ref() != Some(*step))?;
    let text = format!("{}/{}  {}", step.number, step.of, step.what);
    Some(Line::new(Mark::Plain, "step", text))
}

fn switch_news(before: &RolloutView, after: &RolloutView) -> Option<Line> {
    let switch = after
        .switch
        .as_ref()
        .filter(|switch| !switch.hash.is_empty());
    let switch = switch.filter(|switch| before.switch.as_ref() != Some(*switch))?;
    let is_wanted = after
        .canary
        .as_ref()
        .is_none_or(|new| new.hash == switch.hash);
    let which = if is_wanted { "new" } else { "stable" };
    let SwitchView { service, hash } = switch;
    let text = format!("users reach the {which} version: Service {service} selects {hash}");
    Some(Line::new(Mark::Plain, "switch", text))
}

fn pod_news(before: &RolloutView, after: &RolloutView) -> Option<Line> {
    let pods = |view: &RolloutView| (ready(view.canary.as_ref()), ready(view.stable.as_ref()));
    if pods(before) == pods(after) || pods(after) == (None, None) {
        return None;
    }
    let one = |name: &str, version: &Option<VersionView>| {
        let version = version.as_ref()?;
        Some(format!(
            "{name} {} of {} ready",
            version.ready, version.wanted
        ))
    };
    let shares = after.switch.is_none();
    let canary = if shares { "canary" } else { "new" };
    let both = [one(canary, &after.canary), one("stable", &after.stable)];
    let mut text = both.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if let (Some(_), Some(share), true) = (&after.canary, after.canary_share(), shares) {
        text = format!("{text}: {share} % of the ready pods are canary");
    }
    Some(Line::new(Mark::Plain, "pods", text))
}

fn ready(version: Option<&VersionView>) -> Option<i32> {
    version.map(|version| version.ready)
}

fn phase_news(before: &RolloutView, after: &RolloutView) -> Option<Line> {
    let phase = after.phase?;
    // A Rollout on its way gives a new reason with every pod; the steps tell more.
    let moving = phase == RolloutPhase::Progressing;
    let same = after.message == before.message || moving;
    if before.phase == Some(phase) && same {
        return None;
    }
    let mark = match phase {
        RolloutPhase::Healthy => Mark::Good,
        RolloutPhase::Degraded => Mark::Bad,
        RolloutPhase::Progressing => Mark::Plain,
        RolloutPhase::Paused => Mark::Waiting,
    };
    let text = match after.message.as_str() {
        "" => phase.to_string(),
        why => format!("{phase}: {why}"),
    };
    Some(Line::new(mark, "rollout", text))
}

/// Another kind of waiting than before. What other lines tell anyway is left to them: pods, the
/// verdict that was the reason of an abort.
fn waiting_news(before: &RolloutView, after: &RolloutView) -> Option<Line> {
    const TOLD: [&str; 4] = ["Pods", "Aborted", "Invalid", "Analysis"];
    let waiting = after.waiting.as_ref()?;
    let known = before.waiting.as_ref().map(|waiting| &waiting.kind);
    if known == Some(&waiting.kind) || TOLD.contains(&waiting.kind.as_str()) {
        return None;
    }
    Some(Line::new(Mark::Waiting, "waits", &waiting.sentence))
}

fn tell_analysis(before: Option<&AnalysisView>, after: &AnalysisView, lines: &mut Vec<Line>) {
    for (index, metric) in after.metrics.iter().enumerate() {
        let known = before.and_then(|before| before.metrics.get(index));
        let known = known.map_or(0, |known| known.taken);
        let fresh = usize::try_from(metric.taken - known).unwrap_or_default();
        let from = metric.measurements.len().saturating_sub(fresh);
        for measurement in &metric.measurements[from..] {
            lines.push(measurement_line(metric, measurement));
        }
    }
    if !after.is_completed() || before.is_some_and(AnalysisView::is_completed) {
        return;
    }
    let Some(phase) = after.phase else { return };
    let why = match (after.message.as_str(), phase) {
        ("", Phase::Successful) => "every metric held its limit",
        (why, _) => why,
    };
    let text = format!("{phase}: {why} ({})", after.name);
    lines.push(Line::new(mark(Some(phase)), "verdict", text));
}

/// A value against its limit, and how the metric stands by now.
fn measurement_line(metric: &MetricView, measurement: &Measurement) -> Line {
    let MetricView {
        name,
        condition,
        passed,
        failed,
        failure_limit,
        count,
        ..
    } = metric;
    let outcome = match measurement.phase {
        Some(Phase::Successful) => "passed",
        Some(Phase::Failed) => "failed",
        Some(Phase::Inconclusive) => "inconclusive",
        Some(Phase::Error) => "error",
        Some(Phase::Pending | Phase::Running) | None => "skipped",
    };
    let mut text = format!("{name} = {}", shown(&measurement.value));
    if !condition.is_empty() {
        text = format!("{text}, wanted {condition}");
    }
    let of = if count.is_empty() {
        String::new()
    } else {
        format!(" of {count}")
    };
    let tolerated = if failure_limit.is_empty() {
        "0"
    } else {
        failure_limit.as_str()
    };
    text =
        format!("{text}: {outcome} ({passed}{of} passed, {failed} failed, {tolerated} tolerated)");
    if !measurement.message.is_empty() {
        text = format!("{text}: {}", measurement.message);
    }
    if metric.dry_run {
        text = format!("{text} [dry run]");
    }
    Line::new(mark(measurement.phase), "measured", text)
}

/// A value with its numbers cut to four digits after the point, as people read them.
pub(super) fn shown(value: &str) -> String {
    match value {
        "" => "nothing".to_owned(),
        value => rounded(value),
    }
}

/// `[0.9871794871794872]` → `[0.9872]`; what is no number stays.
fn rounded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
    while let Some(first) = rest.chars().next() {
        if is_part(first) {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let word = &rest[..end];
            match word.parse::<f64>() {
                Ok(number) if number.abs() >= 0.001 && number.is_finite() && word.len() > 6 => {
                    let short = format!("{number:.4}");
                    out.push_str(short.trim_end_matches('0').trim_end_matches('.'));
                }
                _ => out.push_str(word),
            }
            rest = &rest[end..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

pub(super) fn mark(phase: Option<Phase>) -> Mark {
    match phase {
        Some(Phase::Successful) => Mark::Good,
        Some(Phase::Failed | Phase::Error) => Mark::Bad,
        Some(Phase::Inconclusive) => Mark::Waiting,
        Some(Phase::Pending | Phase::Running) | None => Mark::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_people_read_them() {
        let cases = [
            ("", "nothing"),
            ("[0.9871794871794872]", "[0.9872]"),
            ("0.01234567", "0.0123"),
            ("0.00001234", "0.00001234"),
            ("[1,0.5]", "[1,0.5]"),
            ("NaN", "NaN"),
            ("[]", "[]"),
            ("12345.000001", "12345"),
            ("{\"ok\":\"2024-01-01\"}", "{\"ok\":\"2024-01-01\"}"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(value), expected, "{value}");
        }
    }
}
