//! Some of the metrics of a run.

use super::prepare::Prepared;
use super::validate::pattern;
use crate::api::AnalysisRun;

/// The run with those metrics only whose name, arguments filled in, is wanted; and with the rules
/// that still match one.
#[must_use]
pub fn only(
    mut run: AnalysisRun,
    prepared: &Prepared,
    is_wanted: impl Fn(&str) -> bool,
) -> AnalysisRun {
    let names: Vec<&str> = prepared
        .plans()
        .iter()
        .map(|plan| plan.name.as_str())
        .collect();
    let mut index = 0;
    run.spec.metrics.retain(|_| {
        index += 1;
        is_wanted(names[index - 1])
    });
    let kept = || names.iter().filter(|name| is_wanted(name));
    let applies = |rule: &str| {
        let rule = pattern(rule);
        rule.is_ok_and(|rule| kept().any(|name| rule.is_match(name)))
    };
    run.spec.dry_run.retain(|rule| applies(&rule.metric_name));
    run.spec
        .measurement_retention
        .retain(|rule| applies(&rule.metric_name));
    run
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metrics_are_picked_by_their_names_with_arguments() {
        let metric = |name: &str| json!({"name": name, "provider": {"web": {"url": "http://a"}}});
        let run: AnalysisRun = serde_json::from_value(json!({"spec": {
            "metrics": [metric("{{args.x}}-latency"), metric("rate"), metric("web-errors")],
            "args": [{"name": "x", "value": "web"}],
            "dryRun": [{"metricName": "rate"}, {"metricName": "errors"}, {"metricName": "*"}],
        }}))
        .unwrap();
        let prepared = Prepared::new(&run).unwrap();
        let run = only(run, &prepared, |name| name.starts_with("web"));
        let prepared = Prepared::new(&run).unwrap();
        let names: Vec<_> = prepared
            .plans()
            .iter()
            .map(|plan| plan.name.as_str())
            .collect();
        assert_eq!(names, ["web-latency", "web-errors"]);
        let rules: Vec<_> = run
            .spec
            .dry_run
            .iter()
            .map(|rule| rule.metric_name.as_str())
            .collect();
        assert_eq!(rules, ["errors", "*"]);
    }
}
