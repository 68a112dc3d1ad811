//! A run's spec as it is carried out: arguments filled in, numbers understood, conditions read.
//! Made once for each generation of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::args::{Arguments, SECRET_PLACEHOLDER, has_placeholder};
use super::assess::decided;
use super::conditions::Conditions;
use super::decide::Task;
use super::plan::MetricPlan;
use super::problem::Invalid;
use super::secrets::{Redactor, SecretKey, Secrets};
use super::validate::{Findings, plans};
use crate::api::{AnalysisRun, Metric, MetricResult, Problem};
use crate::expression::Limit;
use crate::metric_providers::Action;

/// A run's spec, understood. Depends on the spec and the metadata of the run only, so that it can
/// be kept for as long as the run's `metadata.generation` stays.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) plans: Vec<MetricPlan>,
    metrics: Vec<PreparedMetric>,
    arguments: Arguments,
    warnings: Vec<Problem>,
}

#[derive(Debug)]
struct PreparedMetric {
    /// With a placeholder in the place of each Secret.
    resolved: Arc<Resolved>,
    /// As written, if it uses Secrets.
    written: Option<Value>,
    secrets: BTreeSet<SecretKey>,
}

/// A metric that is ready to be measured. Holds Secrets: it is not shown.
pub struct Resolved {
    /// The metric, all arguments filled in.
    pub metric: Metric,
    /// Masks the Secrets that were filled in; for whatever is logged or reported about it.
    pub redactor: Redactor,
    pub(crate) conditions: Conditions,
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolved").finish_non_exhaustive()
    }
}

impl Resolved {
    /// The plain limits that a good value keeps, as far as the conditions have that form.
    #[must_use]
    pub fn limits(&self) -> Vec<Limit> {
        self.conditions.limits()
    }

    /// Whether a condition may look at where in a list a number stands.
    #[must_use]
    pub fn minds_order(&self) -> bool {
        self.conditions.mind_order()
    }
}

impl Prepared {
    /// Understands a run.
    ///
    /// # Errors
    /// Everything that is wrong with its arguments or, if nothing is, with its metrics and rules.
    pub fn new(run: &AnalysisRun) -> Result<Self, Invalid> {
        let (prepared, problems) = Self::understood(run).map_err(Invalid::Arguments)?;
        if problems.is_empty() {
            Ok(prepared)
        } else {
            Err(Invalid::Spec(problems))
        }
    }

    /// Understands a run as far as that is possible, and answers what is wrong with its metrics and
    /// rules beside it.
    ///
    /// # Errors
    /// What is wrong with its arguments: nothing can be said of the rest then.
    pub(super) fn understood(run: &AnalysisRun) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let arguments = Arguments::of(run)?;
        let mut problems = Vec::new();
        let metrics: Vec<PreparedMetric> = (run.spec.metrics.iter().enumerate())
            .filter_map(|(index, metric)| prepare(metric, &arguments, index, &mut problems))
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut findings = Findings::default();
        for part in run
            .unreadable
            .iter()
            .filter(|part| part.path.starts_with("spec"))
        {
            let field = part.path.strip_prefix("spec.").unwrap_or(&part.path);
            let why = format!("Invalid value: expected {}", part.expected);
            findings.problems.push(Problem::new(field, why));
        }
        let resolved: Vec<&Metric> = metrics.iter().map(|m| &m.resolved.metric).collect();
        let conditions: Vec<&Conditions> = metrics.iter().map(|m| &m.resolved.conditions).collect();
        let plans = plans(&run.spec, &resolved, &conditions, &mut findings);
        let prepared = Self {
            plans,
            metrics,
            arguments,
            warnings: findings.warnings,
        };
        Ok((prepared, findings.problems))
    }

    /// How each metric is measured and decided, in the order of the spec.
    #[must_use]
    pub fn plans(&self) -> &[MetricPlan] {
        &self.plans
    }

    /// The same, to be carried out otherwise than written: with more measurements kept, for instance.
    pub fn plans_mut(&mut self) -> &mut [MetricPlan] {
        &mut self.plans
    }

    /// What is allowed and yet hardly meant.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The Secrets to read before [`resolve`](Self::resolve), in the namespace of the run.
    pub fn secrets(&self, task: &Task) -> impl Iterator<Item = &SecretKey> {
        self.metrics
            .get(task.index)
            .into_iter()
            .flat_map(|metric| &metric.secrets)
    }

    /// The Secrets that any metric needs, and the first metric that does.
    #[must_use]
    pub fn all_secrets(&self) -> BTreeMap<&SecretKey, &str> {
        let mut all = BTreeMap::new();
        for (plan, metric) in self.plans.iter().zip(&self.metrics) {
            for key in &metric.secrets {
                all.entry(key).or_insert(plan.name.as_str());
            }
        }
        all
    }

    /// The metrics, arguments filled in and with a placeholder in the place of each Secret; in the
    /// order of the spec.
    pub fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.metrics.iter().map(|metric| &metric.resolved.metric)
    }

    /// All metrics with all that they need to be measured.
    ///
    /// # Errors
    /// A Secret that could not be read.
    pub fn resolve_all(&self, secrets: &Secrets) -> Result<Vec<Arc<Resolved>>, String> {
        let all = self.metrics.iter().map(|metric| match &metric.written {
            None => Ok(Arc::clone(&metric.resolved)),
            Some(written) => self.fill_in(metric, written, secrets).map(Arc::new),
        });
        all.collect()
    }

    /// Why a metric that is decided has ended as it has, in Argo's words; empty for a plain success.
    #[must_use]
    pub fn reason(&self, result: &MetricResult) -> String {
        let plan = self.plans.iter().find(|plan| plan.name == result.name);
        plan.and_then(|plan| decided(plan, result))
            .map(|(_, reason)| reason)
            .unwrap_or_default()
    }

    /// The metric of a task with all that it needs to be measured.
    ///
    /// To look at a measurement in flight or to stop it takes no Secret: a missing one does not
    /// stand in the way.
    ///
    /// # Errors
    /// A Secret that could not be read: the measurement is an Error with this message, and retried.
    pub fn resolve(&self, task: &Task, secrets: &Secrets) -> Result<Arc<Resolved>, String> {
        let metric = (self.metrics.get(task.index))
            .ok_or_else(|| format!("there is no metric `{}`", task.metric))?;
        let Some(written) = &metric.written else {
            return Ok(Arc::clone(&metric.resolved));
        };
        match (self.fill_in(metric, written, secrets), task.action) {
            (Ok(resolved), _) => Ok(Arc::new(resolved)),
            (Err(reason), Action::Run) => Err(reason),
            (Err(_), Action::Resume | Action::Terminate) => Ok(Arc::clone(&metric.resolved)),
        }
    }

    fn fill_in(
        &self,
        metric: &PreparedMetric,
        written: &Value,
        secrets: &Secrets,
    ) -> Result<Resolved, String> {
        let mut read = Vec::new();
        for key in &metric.secrets {
            read.push(secrets.get(key)?.clone());
        }
        let redactor = Redactor::new(&read);
        let mut filled = written.clone();
        self.arguments
            .fill(&mut filled, &|key| {
                secrets.get(key).map(|value| value.expose().to_owned())
            })
            .map_err(|problems| problems.join("; "))?;
        let metric: Metric = serde_json::from_value(filled)
            .map_err(|_| "the values of its Secrets do not fit into the metric".to_owned())?;
        let conditions = Conditions::of(&metric);
        Ok(Resolved {
            metric,
            redactor,
            conditions,
        })
    }
}

/// Fills in the arguments of a metric, with placeholders for Secrets.
fn prepare(
    metric: &Metric,
    arguments: &Arguments,
    index: usize,
    problems: &mut Vec<Problem>,
) -> Option<PreparedMetric> {
    let resolved = |metric: Metric| {
        let conditions = Conditions::of(&metric);
        Arc::new(Resolved {
            metric,
            redactor: Redactor::default(),
            conditions,
        })
    };
    let at = format!("metrics[{index}]");
    let written = serde_json::to_value(metric).unwrap_or_default();
    if !has_placeholder(&written) {
        let resolved = resolved(metric.clone());
        return Some(PreparedMetric {
            resolved,
            written: None,
            secrets: BTreeSet::new(),
        });
    }
    let mut filled = written.clone();
    let secrets = match arguments.fill(&mut filled, &|_| Ok(SECRET_PLACEHOLDER.to_owned())) {
        Ok(secrets) => secrets,
        Err(unknown) => {
            problems.extend(
                unknown
                    .into_iter()
                    .map(|why| Problem::new(at.as_str(), why)),
            );
            return None;
        }
    };
    match serde_json::from_value(filled) {
        Ok(metric) => Some(PreparedMetric {
            resolved: resolved(metric),
            written: Some(written).filter(|_| !secrets.is_empty()),
            secrets,
        }),
        Err(error) => {
            let why = format!("its arguments do not fit into the metric: {error}");
            problems.push(Problem::new(at, why));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::analysis::{Redacted, Span};
    use crate::api::Phase;
    use crate::metric_providers::{Outcome, Reading};

    fn prepared() -> Prepared {
        let from = |key: &str| json!({"secretKeyRef": {"name": "vault", "key": key}});
        let run = json!({"spec": {
            "metrics": [{
                "name": "m",
                "provider": {"web": {"url": "http://{{args.host}}/{{args.token}}"}},
                "successCondition": "result == \"{{args.token}}\"",
            }],
            "args": [
                {"name": "host", "value": "a"},
                {"name": "token", "valueFrom": from("t")},
                {"name": "unused", "valueFrom": from("u")},
            ],
        }});
        Prepared::new(&serde_json::from_value(run).unwrap()).unwrap()
    }

    fn task(action: Action) -> Task {
        Task {
            metric: "m".into(),
            index: 0,
            action,
            measurement: None,
            attempt: 1,
        }
    }

    #[test]
    fn a_secret_reaches_the_source_and_the_condition_but_no_measurement() {
        let prepared = prepared();
        let task = task(Action::Run);
        let keys: Vec<&SecretKey> = prepared.secrets(&task).collect();
        assert_eq!(
            keys.iter().map(|key| key.key.as_str()).collect::<Vec<_>>(),
            ["t"]
        );
        let mut secrets = Secrets::default();
        secrets.insert(keys[0].clone(), Ok(Redacted::new("hunter2")));
        let resolved = prepared.resolve(&task, &secrets).unwrap();
        let web = resolved.metric.provider.web.as_ref().unwrap();
        assert_eq!(web.url, "http://a/hunter2");
        let answered = |text: &str| {
            let outcome = Outcome::Value {
                value: text.into(),
                text: text.into(),
            };
            let metadata = BTreeMap::from([("asked".to_owned(), web.url.clone())]);
            let reading = Reading { outcome, metadata };
            let now = Timestamp::UNIX_EPOCH;
            let span = Span {
                began: now,
                ended: now,
            };
            resolved
                .measured(&task, reading, BTreeMap::new(), span)
                .measurement
        };
        assert_eq!(answered("hunter2").phase, Some(Phase::Successful));
        assert_eq!(answered("hunter3").phase, Some(Phase::Failed));
        assert!(!format!("{:?} {resolved:?}", answered("hunter2")).contains("hunter2"));
    }

    #[test]
    fn a_missing_secret_stops_a_measurement_but_not_its_end() {
        let prepared = prepared();
        let secrets = Secrets::default();
        let reason = prepared.resolve(&task(Action::Run), &secrets).unwrap_err();
        assert!(
            reason.starts_with("cannot read key `t` of Secret `vault`"),
            "{reason}"
        );
        assert!(prepared.resolve(&task(Action::Terminate), &secrets).is_ok());
    }
}
