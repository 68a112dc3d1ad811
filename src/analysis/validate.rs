//! What must hold of a run's metrics and rules before anything is measured.

use std::collections::BTreeSet;

use regex::Regex;

use super::conditions::Conditions;
use super::plan::{MetricPlan, plan};
use super::prepare::Prepared;
use crate::api::{AnalysisRun, AnalysisRunSpec, Metric, MetricProvider, Problem, Provider};

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
    conditions: &[&Conditions],
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
    for (index, conditions) in conditions.iter().enumerate() {
        let Some(plan) = plans.get(index) else {
            continue;
        };
        if uses_conditions(&metrics[index].provider) {
            check_conditions(conditions, plan, &format!("metrics[{index}]"), findings);
        }
    }
    plans
}

/// The metrics of a spec that never come to an end by themselves, for uses that wait for the end:
/// an inline step, the analyses of a blue-green update. `field` names the templates.
///
/// A spec that cannot be carried out at all is not reported here: its run says so when it begins.
#[must_use]
pub fn endless(spec: &AnalysisRunSpec, field: &str) -> Vec<Problem> {
    let run = AnalysisRun::new("", spec.clone());
    let plans = Prepared::new(&run)
        .map(|prepared| prepared.plans)
        .unwrap_or_default();
    plans
        .iter()
        .filter(|plan| plan.count.is_none() && plan.limits.consecutive_success == 0)
        .map(|plan| {
            let why = "the metric runs indefinitely: set count, or consecutiveSuccessLimit";
            Problem::invalid(field, &plan.name, why)
        })
        .collect()
}

/// A condition that cannot be read stops the run before it begins; one of a metric that does not
/// count must not.
fn check_conditions(conditions: &Conditions, plan: &MetricPlan, at: &str, findings: &mut Findings) {
    findings.warnings.extend(conditions.odd(at));
    let target = if plan.dry_run {
        &mut findings.warnings
    } else {
        &mut findings.problems
    };
    target.extend(conditions.unreadable(at));
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

/// The names of metrics that a rule is for, as a regular expression.
pub(crate) fn pattern(written: &str) -> Result<Regex, regex::Error> {
    Regex::new(if written == "*" { "" } else { written })
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
    let Ok(regex) = self::pattern(pattern) else {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::endless;
    use crate::analysis::Prepared;
    use crate::api::AnalysisRun;

    fn prepared(spec: &Value) -> Result<Prepared, String> {
        let run: AnalysisRun = serde_json::from_value(json!({"spec": spec})).unwrap();
        Prepared::new(&run).map_err(|invalid| invalid.to_string())
    }

    fn metric(changes: &Value) -> Value {
        let mut metric = json!({
            "name": "m", "provider": {"web": {"url": "http://a"}}, "successCondition": "true",
        });
        for (field, value) in changes.as_object().unwrap() {
            metric[field] = value.clone();
        }
        metric
    }

    fn spec(metrics: &[Value]) -> Value {
        json!({"metrics": metrics.iter().map(metric).collect::<Vec<_>>()})
    }

    #[test]
    fn a_spec_that_cannot_be_carried_out_is_refused() {
        let two = json!({"prometheus": {}, "web": {"url": "a"}, "plugin": {"a/b": {}, "c/d": {}}});
        let cases = [
            (spec(&[]), "metrics: Required value: no metrics specified"),
            (
                spec(&[json!({}), json!({})]),
                "metrics[1].name: Duplicate value: \"m\"",
            ),
            (
                spec(&[json!({"name": ""})]),
                "metrics[0].name: Required value",
            ),
            (
                spec(&[json!({"count": 2})]),
                "metrics[0].interval: Required value",
            ),
            (
                spec(&[json!({"provider": {}})]),
                "metrics[0].provider: Required value: no provider",
            ),
            (
                spec(&[json!({"provider": {"zabbix": {}}})]),
                "metrics[0].provider.zabbix: Unsupported value: \"zabbix\": supported providers",
            ),
            (
                spec(&[json!({"provider": two})]),
                "metrics[0].provider: Invalid value: \"prometheus, web, plugin, plugin\": multiple",
            ),
            (
                spec(&[json!({"name": "Upper_case", "provider": {"job": {"spec": {}}}})]),
                "metrics[0].name: Invalid value: \"Upper_case\": the metric of a job",
            ),
            (
                spec(&[json!({"failureCondition": "result >"})]),
                "metrics[0].failureCondition: Invalid value: \"result >\": could not evaluate",
            ),
            (
                spec(&[json!({"onNoData": "Ignore"})]),
                "metrics[0].onNoData: Invalid value",
            ),
        ];
        for (spec, expected) in cases {
            let problem = prepared(&spec).unwrap_err();
            let expected = format!("Analysis spec invalid: {expected}");
            assert!(problem.starts_with(&expected), "{spec}: {problem}");
        }
    }

    #[test]
    fn rules_must_name_metrics() {
        let cases = [
            ("m", true),
            ("^m$", true),
            ("", true),
            ("*", true),
            (".*", true),
            ("other", false),
            ("**", false),
            ("[", false),
        ];
        for (pattern, fits) in cases {
            for (field, rule) in [
                ("dryRun", json!({"metricName": pattern})),
                (
                    "measurementRetention",
                    json!({"metricName": pattern, "limit": 3}),
                ),
            ] {
                let mut spec = spec(&[json!({})]);
                spec[field] = json!([rule]);
                match prepared(&spec) {
                    Ok(_) => assert!(fits, "{field} {pattern}"),
                    Err(problem) => {
                        let expected = format!(
                            "Analysis spec invalid: {field}[0].metricName: Invalid value: \"{pattern}\""
                        );
                        assert!(!fits && problem.starts_with(&expected), "{problem}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_retention_rule_counts_and_zero_is_the_default() {
        let mut spec = spec(&[
            json!({"name": "a"}),
            json!({"name": "ab"}),
            json!({"name": "c"}),
        ]);
        spec["measurementRetention"] = json!([
            {"metricName": "*", "limit": 2}, {"metricName": "b", "limit": 7},
            {"metricName": "c", "limit": 0},
        ]);
        spec["dryRun"] = json!([{"metricName": "b"}]);
        let prepared = prepared(&spec).unwrap();
        let seen: Vec<_> = prepared
            .plans()
            .iter()
            .map(|plan| (plan.retention, plan.dry_run))
            .collect();
        assert_eq!(seen, [(2, false), (7, true), (10, false)]);
    }

    #[test]
    fn what_is_odd_is_only_warned_of() {
        let cases = [
            (
                spec(&[json!({"successCondition": ""})]),
                "metrics[0]: without successCondition",
            ),
            (
                spec(&[json!({"failureLimit": 1, "count": 1})]),
                "metrics[0].failureLimit: Invalid value: \"1\": with count (1)",
            ),
            (
                spec(&[json!({"provider": {"web": {"url": "a", "jsonPath": "$.a"}}})]),
                "metrics[0].provider.web.jsonPath: Invalid value: \"$.a\"",
            ),
            (
                spec(&[json!({"onNodata": "Skip"})]),
                "metrics[0].onNodata: unknown field",
            ),
        ];
        for (spec, expected) in cases {
            let prepared = prepared(&spec).unwrap();
            let warnings: Vec<_> = prepared
                .warnings()
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(warnings.len(), 1, "{spec}: {warnings:?}");
            assert!(warnings[0].starts_with(expected), "{warnings:?}");
        }
        assert!(prepared(&spec(&[json!({})])).unwrap().warnings().is_empty());
    }

    #[test]
    fn a_condition_of_a_metric_that_does_not_count_stops_nothing() {
        let mut spec = spec(&[json!({"successCondition": "result >"})]);
        spec["dryRun"] = json!([{"metricName": "m"}]);
        assert_eq!(prepared(&spec).unwrap().warnings().len(), 1);
    }

    #[test]
    fn a_metric_without_an_end_is_named() {
        let cases = [
            (json!({}), false),
            (json!({"interval": "1m"}), true),
            (json!({"interval": "1m", "count": "{{args.n}}"}), false),
            (json!({"interval": "1m", "count": "0"}), true),
            (
                json!({"interval": "1m", "consecutiveSuccessLimit": 3}),
                false,
            ),
            (json!({"interval": "nonsense"}), false),
        ];
        for (changes, expected) in cases {
            let mut spec = spec(std::slice::from_ref(&changes));
            spec["args"] = json!([{"name": "n", "value": "5"}]);
            let spec = serde_json::from_value(spec).unwrap();
            let problems = endless(&spec, "spec.templates");
            assert_eq!(
                problems.len(),
                usize::from(expected),
                "{changes}: {problems:?}"
            );
        }
    }

    #[test]
    fn arguments_are_resolved_before_anything_else() {
        let mut spec = spec(&[
            json!({"name": "{{args.x}}", "count": "{{args.n}}", "interval": "{{args.y}}"}),
            json!({"name": "{{args.z}}"}),
        ]);
        spec["args"] = json!([{"name": "x", "value": "a"}, {"name": "n", "value": "3"}]);
        assert_eq!(
            prepared(&spec).unwrap_err(),
            "Unable to resolve metric arguments: metrics[0]: failed to resolve {{args.y}}; \
             metrics[1]: failed to resolve {{args.z}}"
        );
        spec["args"].as_array_mut().unwrap().extend([
            json!({"name": "y", "value": "1m"}),
            json!({"name": "z", "valueFrom": {"fieldRef": {"fieldPath": "spec.args[0].value"}}}),
        ]);
        assert_eq!(
            prepared(&spec).unwrap_err(),
            "Analysis spec invalid: metrics[1].name: Duplicate value: \"a\""
        );
    }
}
