//! Observed in, Decision out: the next move of an AnalysisRun.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::assess::{assess_metrics, count, has_violation};
use super::event::RunEvent;
use super::expire;
use super::measure::{Measured, bounded, whole_seconds};
use super::plan::MetricPlan;
use super::prepare::Prepared;
use super::problem::Invalid;
use super::schedule::{Moment, Next, is_completed, is_in_flight, next};
use super::verdict::{Verdict, add, sum_up};
use crate::api::{AnalysisRun, AnalysisRunStatus, Measurement, MetricResult, Phase};
use crate::metric_providers::Action;

/// Bytes of a run's message: room for many problems, within what an object may hold.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// All that a decision about one run may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The run, with the status that was last written.
    pub run: &'a AnalysisRun,
    /// Its spec, understood; of the same generation as `run`.
    pub prepared: Result<&'a Prepared, &'a Invalid>,
    /// Measurements that have moved and are not in the status yet, oldest first.
    pub measured: &'a [Measured],
    /// Names of the metrics that are being worked on in this process.
    pub in_flight: &'a BTreeSet<String>,
    /// Names of the metrics whose source has given notice, such as a Job that has ended: they are
    /// looked at before their time.
    pub woken: &'a BTreeSet<String>,
    /// The time.
    pub now: Timestamp,
}

/// Something to do with a metric's source.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Name of the metric.
    pub metric: String,
    /// Its position in the spec.
    pub index: usize,
    /// What is to be done.
    pub action: Action,
    /// The measurement that is resumed or terminated.
    pub measurement: Option<Measurement>,
    /// Number of the measurement: one more than those that came to an end, Errors included.
    pub attempt: u64,
}

/// A Job that is no longer needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What is to be done about a run. Made in the order of the fields; every part may be repeated.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// Jobs whose measurements are no longer kept. Before the status, which forgets their names.
    pub jobs_to_delete: Vec<JobRef>,
    /// The status as it should be. Nothing is written if it is the one that the run has.
    pub status: AnalysisRunStatus,
    /// What to tell about, once the status is written.
    pub events: Vec<RunEvent>,
    /// What to begin, once the status is written.
    pub tasks: Vec<Task>,
    /// Whether the run has outlived its `ttlStrategy` and is to be deleted.
    pub delete: bool,
    /// When time alone may change this decision; `None` if only something else can.
    pub wake_at: Option<Timestamp>,
}

/// Decides the next move of a run. Total: an invalid spec is a decision, too.
///
/// # Guarantees
/// Deciding again on its own result, with its tasks in flight, changes nothing.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Decision {
    let run = observed.run;
    let status = run.status.clone().unwrap_or_default();
    if run.metadata.deletion_timestamp.is_some() {
        return Decision {
            status,
            ..Decision::default()
        };
    }
    if status.phase.is_some_and(Phase::is_completed) {
        return expire::decide(run, status, observed.now);
    }
    match observed.prepared {
        Ok(prepared) => proceed(observed, prepared, status),
        Err(invalid) => give_up(observed, invalid, status),
    }
}

/// Records what was measured, assesses, and says what is next.
fn proceed(observed: &Observed<'_>, prepared: &Prepared, status: AnalysisRunStatus) -> Decision {
    let mut pass = Pass::new(observed, &prepared.plans, status);
    for measured in observed.measured {
        pass.record(measured);
    }
    pass.assess();
    pass.trim();
    pass.schedule();
    pass.conclude()
}

/// A run that cannot be carried out ends in Error, and what was under way is given up.
fn give_up(observed: &Observed<'_>, invalid: &Invalid, mut status: AnalysisRunStatus) -> Decision {
    let now = whole_seconds(observed.now);
    let mut jobs_to_delete = Vec::new();
    let mut summary = crate::api::RunSummary {
        count: i32::try_from(observed.run.spec.metrics.len()).unwrap_or(i32::MAX),
        ..Default::default()
    };
    for result in &mut status.metric_results {
        if let Some(last) = result
            .measurements
            .last_mut()
            .filter(|last| is_in_flight(last))
        {
            jobs_to_delete.extend(job(observed.run, last));
            last.phase = Some(Phase::Error);
            last.finished_at = Some(now.clone());
            last.resume_at = None;
            "given up: the run's spec became invalid".clone_into(&mut last.message);
            count(result, Phase::Error);
        }
        if !is_completed(result) {
            result.phase = Some(Phase::Error);
        }
        if !result.dry_run
            && let Some(phase) = result.phase
        {
            add(&mut summary, phase);
        }
    }
    status.phase = Some(Phase::Error);
    status.message = bounded(&invalid.to_string(), LONGEST_MESSAGE);
    status.started_at.get_or_insert_with(|| now.clone());
    status.completed_at = Some(now);
    status.run_summary = Some(summary);
    status.dry_run_summary.get_or_insert_default();
    let events = vec![RunEvent::Completed {
        phase: Phase::Error,
    }];
    let wake_at = expire::expires_at(&observed.run.spec, &status);
    Decision {
        jobs_to_delete,
        status,
        events,
        wake_at,
        ..Decision::default()
    }
}

/// One pass over a run.
struct Pass<'a> {
    observed: &'a Observed<'a>,
    plans: &'a [MetricPlan],
    /// What the metrics have come to, in the order of the spec.
    results: Vec<Option<MetricResult>>,
    /// Results of metrics that the spec no longer has.
    others: Vec<MetricResult>,
    started_at: Timestamp,
    terminating: bool,
    decision: Decision,
}

impl<'a> Pass<'a> {
    fn new(
        observed: &'a Observed<'a>,
        plans: &'a [MetricPlan],
        mut status: AnalysisRunStatus,
    ) -> Self {
        let started_at = status
            .started_at
            .get_or_insert_with(|| whole_seconds(observed.now))
            .0;
        let mut others = std::mem::take(&mut status.metric_results);
        let results = (plans.iter())
            .map(|plan| {
                let position = others.iter().position(|result| result.name == plan.name)?;
                Some(others.remove(position))
            })
            .collect();
        let decision = Decision {
            status,
            ..Decision::default()
        };
        Self {
            observed,
            plans,
            results,
            others,
            started_at,
            terminating: false,
            decision,
        }
    }

    /// Takes a measurement in: a new one, or the next state of the one in flight.
    fn record(&mut self, measured: &Measured) {
        let Some(index) = self
            .plans
            .iter()
            .position(|plan| plan.name == measured.metric)
        else {
            return;
        };
        let result = self.results[index].get_or_insert_with(|| MetricResult {
            name: measured.metric.clone(),
            phase: Some(Phase::Running),
            dry_run: self.plans[index].dry_run,
            ..MetricResult::default()
        });
        if result.metadata.is_empty() {
            result.metadata.clone_from(&measured.metadata);
        }
        let measurement = &measured.measurement;
        if is_completed(result) {
            return;
        }
        match result.measurements.last_mut() {
            Some(last) if is_in_flight(last) => last.clone_from(measurement),
            // The status was written, but the answer was lost: this one is in it already.
            Some(last) if last.started_at == measurement.started_at => return,
            Some(_) | None => result.measurements.push(measurement.clone()),
        }
        if let Some(phase) = measurement.phase.filter(|_| !is_in_flight(measurement)) {
            count(result, phase);
        }
    }

    /// Decides metrics. One that violates its limits ends the run, which decides the others.
    fn assess(&mut self) {
        let asked_to = self.observed.run.spec.terminate;
        self.terminating = asked_to || has_violation(self.plans, &self.results);
        let mut decided = assess_metrics(self.plans, &mut self.results, self.terminating);
        if !self.terminating && has_violation(self.plans, &self.results) {
            self.terminating = true;
            decided.extend(assess_metrics(self.plans, &mut self.results, true));
        }
        let events = decided
            .into_iter()
            .map(|(name, phase)| RunEvent::Metric { name, phase });
        self.decision.events.extend(events);
    }

    /// Keeps the latest measurements and lets go of the Jobs of the others.
    fn trim(&mut self) {
        for (plan, result) in self.plans.iter().zip(&mut self.results) {
            let Some(result) = result else { continue };
            let surplus = result.measurements.len().saturating_sub(plan.retention);
            let dropped = result.measurements.drain(..surplus);
            self.decision
                .jobs_to_delete
                .extend(dropped.filter_map(|old| job(self.observed.run, &old)));
        }
    }

    fn schedule(&mut self) {
        for index in 0..self.plans.len() {
            let plan = &self.plans[index];
            if self.observed.in_flight.contains(&plan.name) {
                continue;
            }
            let moment = Moment {
                now: self.observed.now,
                started_at: self.started_at,
                terminating: self.terminating,
                woken: self.observed.woken.contains(&plan.name),
            };
            match next(plan, self.results[index].as_ref(), &moment) {
                Next::Start(action) => {
                    let task = self.task(index, action);
                    self.decision.tasks.push(task);
                }
                Next::At(at) => self.wake_at(at),
                Next::Nothing => {}
            }
        }
    }

    fn task(&self, index: usize, action: Action) -> Task {
        let result = self.results[index].as_ref();
        let ended = result.map_or(0, |r| i64::from(r.count) + i64::from(r.error));
        let last = result.and_then(|result| result.measurements.last());
        Task {
            metric: self.plans[index].name.clone(),
            index,
            action,
            measurement: last.filter(|last| is_in_flight(last)).cloned(),
            attempt: u64::try_from(ended).unwrap_or_default() + 1,
        }
    }

    fn wake_at(&mut self, at: Timestamp) {
        let earliest = self.decision.wake_at.map_or(at, |earlier| earlier.min(at));
        self.decision.wake_at = Some(earliest);
    }

    /// Whether anything is still under way: a verdict waits for it, so that nothing is left behind.
    fn is_busy(&self) -> bool {
        !self.decision.tasks.is_empty()
            || (self.plans.iter().zip(&self.results)).any(|(plan, result)| {
                self.observed.in_flight.contains(&plan.name)
                    && !result.as_ref().is_some_and(is_completed)
            })
    }

    fn conclude(mut self) -> Decision {
        let verdict = sum_up(self.plans, &self.results);
        let (phase, message) = self.verdict(&verdict);
        let busy = self.is_busy();
        let Decision { status, events, .. } = &mut self.decision;
        status.run_summary = Some(verdict.summary);
        status.dry_run_summary = Some(verdict.dry_run_summary);
        status.metric_results = self
            .results
            .into_iter()
            .flatten()
            .chain(self.others)
            .collect();
        if busy || !phase.is_completed() {
            status.phase = Some(Phase::Running);
            status.message = String::new();
            return self.decision;
        }
        status.phase = Some(phase);
        status.message = message;
        status.completed_at = Some(whole_seconds(self.observed.now));
        events.push(RunEvent::Completed { phase });
        self.decision.wake_at = expire::expires_at(&self.observed.run.spec, status);
        self.decision
    }

    fn verdict(&self, verdict: &Verdict) -> (Phase, String) {
        let reason = verdict.message.clone();
        match verdict.worst {
            worst if self.terminating => {
                let asked_to = self.observed.run.spec.terminate && reason.is_empty();
                let message = if asked_to {
                    "Run Terminated".to_owned()
                } else {
                    reason
                };
                (worst.unwrap_or(Phase::Successful), message)
            }
            Some(worst) if verdict.all_decided => (worst, reason),
            Some(_) | None => (Phase::Running, String::new()),
        }
    }
}

/// The Job of a measurement.
///
/// A status can be written by whoever may edit the run: only a Job that bears the run's uid in its
/// name, as all that are made for it do, is taken for its own.
fn job(run: &AnalysisRun, measurement: &Measurement) -> Option<JobRef> {
    let uid = run.metadata.uid.as_deref().filter(|uid| !uid.is_empty())?;
    let name = measurement.metadata.get("job-name")?;
    name.strip_prefix(uid)?.strip_prefix('.')?;
    Some(JobRef {
        namespace: measurement.metadata.get("job-namespace")?.clone(),
        name: name.clone(),
    })
}
