//! What must hold of a run's metrics and rules before anything is measured.

use std::collections::BTreeSet;

use regex::Regex;

use super::plan::{MetricPlan, plan};
use super::problem::Problem;
use crate::api::{AnalysisRunSpec, Metric, MetricProvider, Provider};

/// What was found wrong, and what is merely odd.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// Understands metrics whose arguments are filled in, and the rules about them.
pub(crate) fn plans(
    spec: &AnalysisRunSpec,
    metrics: &[&Metric],
    findings: &mut Findings,
) -> Vec<MetricPlan> {
    if metrics.is_empty() {
        findings
            .problems
            .push(Problem::required("metrics", "no metrics specified"));
    }
    let mut names = BTreeSet::new();
    let mut plans = Vec::new();
    for (index, metric) in metrics.iter().enumerate() {
        let at = format!("metrics[{index}]");
        if metric.name.is_empty() {
            findings.problems.push(Problem::required(
                format!("{at}.name"),
                "a metric needs a name",
            ));
        } else if !names.insert(metric.name.as_str()) {
            findings
                .problems
                .push(Problem::duplicate(format!("{at}.name"), &metric.name));
        }
        let plan = plan(metric, &at, &mut findings.problems);
        provider(metric, &at, &mut findings.problems);
        oddities(metric, &plan, &at, &mut findings.warnings);
        plans.push(plan);
    }
    dry_run(spec, &mut plans, findings);
    retention(spec, &mut plans, findings);
    plans
}

fn provider(metric: &Metric, at: &str, problems: &mut Vec<Problem>) {
    let field = format!("{at}.provider");
    let set: Vec<Provider<'_>> = metric.provider.set().collect();
    match set.as_slice() {
        [] => match metric.provider.extra.keys().next() {
            Some(unknown) => problems.push(Problem::new(
                format!("{field}.{unknown}"),
                format!("Unsupported value: \"{unknown}\": supported providers: {PROVIDERS}"),
            )),
            None => problems.push(Problem::required(field, "no provider specified")),
        },
        [Provider::Job(_)] if !fits_dns(&metric.name) && !metric.name.is_empty() => {
            problems.push(Problem::invalid(
                format!("{at}.name"),
                &metric.name,
                "the metric of a job must consist of lower case letters, digits, `-` and `.`, and \
                 begin and end with a letter or digit: it becomes part of the Job's name",
            ));
        }
        [_] => {}
        several => {
            let names: Vec<_> = several.iter().map(|provider| provider.field()).collect();
            problems.push(Problem::invalid(
                field,
                names.join(", "),
                "multiple providers specified: expected exactly one",
            ));
        }
    }
}

const PROVIDERS: &str = "prometheus, job, kayenta, web, datadog, wavefront, newRelic, cloudWatch, \
     graphite, influxdb, skywalking, plugin";

/// Whether a text may stand between dots in a DNS name (RFC 1123).
fn fits_dns(text: &str) -> bool {
    text.split('.').all(|label| {
        label
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Whether the value is judged by conditions, and not by the source.
pub(crate) fn uses_conditions(provider: &MetricProvider) -> bool {
    provider.job.is_none() && provider.kayenta.is_none() && provider.plugin.is_empty()
}

/// What is allowed and yet hardly meant.
fn oddities(metric: &Metric, plan: &MetricPlan, at: &str, warnings: &mut Vec<Problem>) {
    if uses_conditions(&metric.provider)
        && metric.success_condition.is_empty()
        && metric.failure_condition.is_empty()
    {
        let why = "without successCondition and failureCondition every measurement is Successful";
        warnings.push(Problem::new(at, why));
    }
    if let (Some(count), Some(limit)) = (plan.count, plan.limits.failure)
        && count <= limit
        && plan.limits.consecutive_success == 0
    {
        let why = format!("with count ({count}) <= failureLimit the metric can never fail");
        warnings.push(Problem::invalid(format!("{at}.failureLimit"), limit, why));
    }
    if let Some(web) = &metric.provider.web
        && web.json_path.starts_with('$')
    {
        let why = "without braces this is plain text: write `{$.…}`";
        warnings.push(Problem::invalid(
            format!("{at}.provider.web.jsonPath"),
            &web.json_path,
            why,
        ));
    }
    for unknown in metric.extra.keys() {
        warnings.push(Problem::new(format!("{at}.{unknown}"), "unknown field"));
    }
}

fn dry_run(spec: &AnalysisRunSpec, plans: &mut [MetricPlan], findings: &mut Findings) {
    for (index, rule) in spec.dry_run.iter().enumerate() {
        let at = format!("dryRun[{index}]");
        for plan in matching(&rule.metric_name, &at, plans, findings) {
            plan.dry_run = true;
        }
    }
}

fn retention(spec: &AnalysisRunSpec, plans: &mut [MetricPlan], findings: &mut Findings) {
    for (index, rule) in spec.measurement_retention.iter().enumerate() {
        let at = format!("measurementRetention[{index}]");
        // The last rule that matches counts.
        for plan in matching(&rule.metric_name, &at, plans, findings) {
            plan.retention = match usize::try_from(rule.limit) {
                Ok(limit) if limit > 0 => limit,
                _ => super::plan::DEFAULT_RETENTION,
            };
        }
    }
}

/// The metrics that a rule is for. Its name is a regular expression that may match anywhere in a
/// metric's name; `*` alone is every metric, as Argo's documentation has it.
fn matching<'p>(
    pattern: &str,
    at: &str,
    plans: &'p mut [MetricPlan],
    findings: &mut Findings,
) -> Vec<&'p mut MetricPlan> {
    let field = format!("{at}.metricName");
    let Ok(regex) = Regex::new(if pattern == "*" { "" } else { pattern }) else {
        let why = "must be a regular expression, or `*` for every metric";
        findings
            .problems
            .push(Problem::invalid(field, pattern, why));
        return Vec::new();
    };
    let found: Vec<_> = plans
        .iter_mut()
        .filter(|plan| regex.is_match(&plan.name))
        .collect();
    if found.is_empty() {
        let why = "the rule does not match any metric name";
        findings
            .problems
            .push(Problem::invalid(field, pattern, why));
    } else if found.len() > 1 && found.iter().any(|plan| plan.name == pattern) {
        let names: Vec<_> = found.iter().map(|plan| plan.name.as_str()).collect();
        let why = format!(
            "matches anywhere in a name and so more than one: {}",
            names.join(", ")
        );
        findings
            .warnings
            .push(Problem::invalid(field, pattern, why));
    }
    found
}
