//! What a run is worth that was stopped from outside before its end.

use super::assess::decided;
use super::plan::MetricPlan;
use super::prepare::Prepared;
use crate::api::{AnalysisRunStatus, Phase};

/// Turns a success that was not earned into Inconclusive: to an Argo controller a run that is
/// terminated is Successful, but who asks for a verdict has none then.
///
/// A metric without an end (an `interval`, no `count`) has held for as long as it was watched, if
/// it was measured at all.
pub fn stopped(prepared: &Prepared, status: &mut AnalysisRunStatus, by: &str) {
    if status.phase != Some(Phase::Successful) {
        return;
    }
    let counting = || prepared.plans.iter().filter(|plan| !plan.dry_run);
    let open: Vec<&str> = counting()
        .filter(|plan| is_open(plan, status))
        .map(|plan| plan.name.as_str())
        .collect();
    if open.is_empty() {
        status.message = format!("held until it was stopped: {by}");
        return;
    }
    for result in &mut status.metric_results {
        if open.contains(&result.name.as_str()) {
            result.phase = Some(Phase::Inconclusive);
        }
    }
    status.phase = Some(Phase::Inconclusive);
    status.message = format!(
        "stopped before it was decided ({by}): {} of {} metrics are open: {}",
        open.len(),
        counting().count(),
        open.join(", ")
    );
}

fn is_open(plan: &MetricPlan, status: &AnalysisRunStatus) -> bool {
    let mut results = status.metric_results.iter();
    let Some(result) = results.find(|result| result.name == plan.name) else {
        return true;
    };
    let has_end = plan.count.is_some() || plan.limits.consecutive_success > 0;
    decided(plan, result).is_none() && (has_end || result.count == 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::analysis::scripted::{Answer, World, metric};

    fn after(seconds: i64, metrics: &Value) -> (Phase, String) {
        let mut world = World::new(json!({"metrics": metrics}), &[("f", &[Answer::F])]);
        world.run_for(seconds);
        world.run.spec.terminate = true;
        world.run_for(seconds);
        let prepared = Prepared::new(&world.run).unwrap();
        let mut status = world.run.status.clone().unwrap();
        stopped(&prepared, &mut status, "Ctrl-C");
        (status.phase.unwrap(), status.message)
    }

    #[test]
    fn only_what_is_decided_or_has_no_end_is_a_success() {
        use Phase::{Failed, Inconclusive, Successful};
        let endless = metric("e", json!({"interval": "10s"}));
        let long = metric("l", json!({"interval": "10s", "count": 100}));
        let late = metric("d", json!({"interval": "10s", "initialDelay": "1h"}));
        let short = metric("s", json!({}));
        let failing = metric(
            "f",
            json!({"interval": "10s", "count": 9, "failureLimit": 8}),
        );
        let cases = [
            (json!([endless]), Successful, "held until"),
            (json!([endless, short]), Successful, "held until"),
            (
                json!([long, short]),
                Inconclusive,
                "1 of 2 metrics are open: l",
            ),
            (
                json!([late, endless]),
                Inconclusive,
                "1 of 2 metrics are open: d",
            ),
            (
                json!([failing, long]),
                Inconclusive,
                "2 of 2 metrics are open: f, l",
            ),
            (json!([metric("f", json!({})), long]), Failed, "failed (1)"),
        ];
        for (metrics, phase, part) in cases {
            let (got, message) = after(25, &metrics);
            assert_eq!(got, phase, "{metrics}: {message}");
            assert!(message.contains(part), "{message}");
        }
    }
}
