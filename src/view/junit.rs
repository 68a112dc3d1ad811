//! A run as JUnit XML, in the form that CI systems agree on.

use std::fmt::Write as _;

use super::news::shown;
use super::report::{AnalysisReport, MetricReport, counts, last_message, phase};
use crate::api::{Measurement, Phase};
use crate::markup::escaped;

/// What a metric is in the words of JUnit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Passed,
    Failure,
    Error,
    Skipped,
}

/// The document.
pub(super) fn document(report: &AnalysisReport) -> String {
    let count = |wanted: Case| {
        let cases = report.metrics.iter().map(case);
        cases.filter(|case| *case == wanted).count()
    };
    let totals = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        report.metrics.len(),
        count(Case::Failure),
        count(Case::Error),
        count(Case::Skipped),
        report.took.as_secs_f64(),
    );
    let name = escaped(&report.run.name);
    let began = report.started_at.map_or_else(String::new, |at| {
        let at = at.to_string();
        format!(" timestamp=\"{}\"", at.trim_end_matches('Z'))
    });
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"verdict\" {totals}>\n\
         \x20 <testsuite name=\"{name}\" {totals}{began}>\n"
    );
    for metric in &report.metrics {
        write_case(&mut xml, &name, metric);
    }
    let _ = write!(
        xml,
        "    <system-out>{}</system-out>\n  </testsuite>\n</testsuites>\n",
        escaped(&report.headline())
    );
    xml
}

/// A metric that does not count is no failure of a build; that it would have failed is told.
fn case(metric: &MetricReport) -> Case {
    match metric.view.phase {
        Some(Phase::Successful) => Case::Passed,
        _ if metric.view.dry_run => Case::Skipped,
        Some(Phase::Failed | Phase::Inconclusive) => Case::Failure,
        Some(Phase::Error) => Case::Error,
        Some(Phase::Pending | Phase::Running) | None => Case::Skipped,
    }
}

fn write_case(xml: &mut String, suite: &str, metric: &MetricReport) {
    let view = &metric.view;
    let _ = write!(
        xml,
        "    <testcase classname=\"{suite}\" name=\"{}\" time=\"{}\">",
        escaped(&view.name),
        metric.took.as_secs_f64()
    );
    let element = match case(metric) {
        Case::Passed => "",
        Case::Failure => "failure",
        Case::Error => "error",
        Case::Skipped => "skipped",
    };
    if !element.is_empty() {
        let why = [Some(metric.reason.as_str()), last_message(view)];
        let why: Vec<&str> = why
            .into_iter()
            .flatten()
            .filter(|it| !it.is_empty())
            .collect();
        let kind = if element == "skipped" {
            String::new()
        } else {
            format!(" type=\"{}\"", phase(view))
        };
        let _ = write!(
            xml,
            "\n      <{element} message=\"{}\"{kind}/>",
            escaped(&why.join(": "))
        );
    }
    let mut lines = format!("wanted {}: {}\n", view.condition, counts(view));
    for measurement in &view.measurements {
        let _ = writeln!(lines, "{}", line(measurement));
    }
    let _ = write!(
        xml,
        "\n      <system-out>{}</system-out>\n    </testcase>\n",
        escaped(lines.trim_end())
    );
}

fn line(measurement: &Measurement) -> String {
    let at = measurement.finished_at.as_ref();
    let at = at.map(|at| at.0.to_string()).unwrap_or_default();
    let phase = measurement.phase.map_or("", Phase::as_str);
    let line = format!(
        "{at} {phase} {} {}",
        shown(&measurement.value),
        measurement.message
    );
    line.trim_end().to_owned()
}
