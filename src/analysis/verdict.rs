//! From metrics to the run's phase and its reason.

use super::assess::decided;
use super::plan::MetricPlan;
use super::schedule::is_completed;
use crate::api::{MetricResult, Phase, RunSummary};

/// What the metrics of a run come to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    /// The worst of the metrics that are decided and count.
    pub(crate) worst: Option<Phase>,
    /// Why.
    pub(crate) message: String,
    /// Whether every metric is decided.
    pub(crate) all_decided: bool,
    pub(crate) summary: RunSummary,
    pub(crate) dry_run_summary: RunSummary,
}

/// Sums up the metrics of a run, in the order of the spec: the first of the worst gives the reason.
///
/// # Source
/// `assessRunStatus` in `analysis/analysis.go`; the summaries count the phases that the metrics
/// really have.
pub(crate) fn sum_up(plans: &[MetricPlan], results: &[Option<MetricResult>]) -> Verdict {
    let mut verdict = Verdict {
        worst: None,
        message: String::new(),
        all_decided: true,
        summary: RunSummary::default(),
        dry_run_summary: RunSummary::default(),
    };
    for (plan, result) in plans.iter().zip(results) {
        let group = if plan.dry_run {
            &mut verdict.dry_run_summary
        } else {
            &mut verdict.summary
        };
        group.count += 1;
        let Some((result, phase)) = result
            .as_ref()
            .filter(|r| is_completed(r))
            .and_then(|r| Some((r, r.phase?)))
        else {
            verdict.all_decided = false;
            continue;
        };
        add(group, phase);
        if plan.dry_run {
            verdict.worst = verdict.worst.or(Some(Phase::Successful));
        } else if verdict
            .worst
            .is_none_or(|worst| severity(phase) > severity(worst))
        {
            verdict.worst = Some(phase);
            if let Some(reason) = reason(plan, result, phase) {
                verdict.message = reason;
            }
        }
    }
    verdict
}

/// Why a metric has ended as it has, in the words of Argo.
fn reason(plan: &MetricPlan, result: &MetricResult, phase: Phase) -> Option<String> {
    let (_, reason) = decided(plan, result).filter(|(_, reason)| !reason.is_empty())?;
    let said = match result.message.as_str() {
        "" => String::new(),
        said => format!(": \"Error Message: {said}\""),
    };
    Some(format!(
        "Metric \"{}\" assessed {phase} due to {reason}{said}",
        plan.name
    ))
}

pub(crate) fn add(summary: &mut RunSummary, phase: Phase) {
    match phase {
        Phase::Pending | Phase::Running => {}
        Phase::Successful => summary.successful += 1,
        Phase::Failed => summary.failed += 1,
        Phase::Inconclusive => summary.inconclusive += 1,
        Phase::Error => summary.error += 1,
    }
}

/// How bad a phase is.
///
/// # Source
/// `analysisStatusOrder` in `utils/analysis/helpers.go`.
fn severity(phase: Phase) -> u8 {
    match phase {
        Phase::Successful => 0,
        Phase::Running => 1,
        Phase::Pending => 2,
        Phase::Inconclusive => 3,
        Phase::Error => 4,
        Phase::Failed => 5,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Metric;

    fn plan() -> MetricPlan {
        let metric = json!({"name": "m", "provider": {"web": {"url": "http://a"}}});
        let metric: Metric = serde_json::from_value(metric).unwrap();
        super::super::plan::plan(&metric, "m", &mut Vec::new())
    }

    #[test]
    fn the_worst_metric_that_counts_gives_the_verdict() {
        use Phase::{Error, Failed, Inconclusive, Successful};
        let cases: [(&[_], _); 7] = [
            (
                &[(Successful, false), (Inconclusive, false), (Error, false)],
                Some(Error),
            ),
            (&[(Failed, false), (Error, false)], Some(Failed)),
            (&[(Error, false), (Failed, false)], Some(Failed)),
            (&[(Failed, true), (Successful, false)], Some(Successful)),
            (&[(Failed, true), (Error, true)], Some(Successful)),
            (
                &[(Successful, false), (Failed, true), (Inconclusive, false)],
                Some(Inconclusive),
            ),
            (&[], None),
        ];
        for (metrics, expected) in cases {
            let plans: Vec<_> = (metrics.iter())
                .map(|(_, dry_run)| MetricPlan {
                    dry_run: *dry_run,
                    ..plan()
                })
                .collect();
            let results: Vec<_> = (metrics.iter())
                .map(|(phase, _)| {
                    Some(MetricResult {
                        phase: Some(*phase),
                        ..MetricResult::default()
                    })
                })
                .collect();
            let verdict = sum_up(&plans, &results);
            assert_eq!(verdict.worst, expected, "{metrics:?}");
            let dry =
                i32::try_from(metrics.iter().filter(|(_, dry_run)| *dry_run).count()).unwrap();
            assert_eq!(verdict.dry_run_summary.count, dry);
        }
    }
}
