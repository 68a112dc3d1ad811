//! What a backtest says of a template.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::incidents::Incident;
use super::replay::{Ended, Taken};
use super::run::{Backtest, Known};
use super::statistics::Quantiles;
use super::suggest::{Sequence, Suggestion, suggest};
use super::{html, text};
use crate::analysis::MetricPlan;
use crate::api::{AnalysisRunStatus, Phase};
use crate::expression::Limit;

/// A backtest's outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The run's name.
    pub name: String,
    /// The first start.
    pub from: Timestamp,
    /// No start was later.
    pub to: Timestamp,
    /// Seconds between starts.
    pub every_seconds: i64,
    /// What was asked.
    pub requests: Requests,
    /// All runs.
    pub runs: Shares,
    /// Starts whose runs would go on after the present; they count nowhere.
    pub unfinished: usize,
    /// Runs that measured outside of all incidents.
    pub healthy: Shares,
    /// The share of healthy runs that Failed; `null` without any.
    pub false_alarm_rate: Option<f64>,
    /// The share of healthy runs that may fail.
    pub wanted_false_alarm_rate: f64,
    /// How incidents were seen; `null` if none were told.
    pub detection: Option<Detection>,
    /// What decided the runs that did not succeed, most frequent first.
    pub decided: Vec<Decided>,
    /// Runs in a row that did not succeed, longest first.
    pub clusters: Vec<Cluster>,
    /// Runs that did not succeed by hour of the day in UTC, and all of that hour.
    pub hours: Vec<Hour>,
    /// The metrics.
    pub metrics: Vec<MetricReport>,
    /// Names of metrics that have no past.
    pub left_out: Vec<String>,
    /// Each run.
    pub starts: Vec<StartReport>,
}

/// How many requests it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Range queries.
    pub ranges: usize,
    /// Instant queries: for types, checks, and what ranges cannot tell.
    pub instants: usize,
}

/// Runs by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shares {
    /// All.
    pub total: usize,
    /// Those that were Successful.
    pub successful: usize,
    /// Those that Failed.
    pub failed: usize,
    /// Those that were Inconclusive.
    pub inconclusive: usize,
    /// Those that ended in Error.
    pub error: usize,
}

/// How incidents were seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detection {
    /// Each incident.
    pub incidents: Vec<Seen>,
    /// Incidents with a run that Failed.
    pub detected: usize,
    /// Runs that measured during incidents.
    pub exposed: usize,
    /// The share of those that Failed; `null` without any.
    pub hit_rate: Option<f64>,
}

/// How an incident was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// What people call it.
    pub name: String,
    /// When it began.
    pub from: Timestamp,
    /// When it was over.
    pub to: Timestamp,
    /// Runs that measured during it.
    pub exposed: usize,
    /// Those of them that Failed.
    pub failed: usize,
    /// From its beginning to the first verdict Failed; `null` if there is none.
    pub seconds_to_detect: Option<i64>,
    /// From there, or from a run's start if that is later, to the run's verdict: the median.
    pub median_seconds_of_runs: Option<f64>,
}

/// What decided runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// The metric.
    pub metric: String,
    /// Its verdict.
    pub phase: Phase,
    /// The limit, as it is set: `failureLimit (1)`.
    pub limit: String,
    /// How many runs.
    pub runs: usize,
}

/// Runs in a row that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// The first start.
    pub from: Timestamp,
    /// The last start.
    pub to: Timestamp,
    /// How many.
    pub runs: usize,
    /// The worst verdict.
    pub phase: Phase,
    /// The incident that it is part of, if any.
    pub incident: Option<String>,
}

/// Runs of an hour of the day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Hour {
    /// Those that did not succeed.
    pub bad: usize,
    /// All.
    pub total: usize,
}

/// What is known of a metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricReport {
    /// Its name.
    pub name: String,
    /// What a measurement must be like.
    pub condition: String,
    /// The plain limits of that.
    pub limits: Vec<LimitReport>,
    /// Why it was asked at each time; `null` if ranges told.
    pub asked_at_each_time: Option<String>,
    /// Its measurements by phase.
    pub measurements: Shares,
    /// How its values are spread, outside of incidents.
    pub values: Option<Quantiles>,
    /// How far values are on the good side of the first limit, outside of incidents; negative is
    /// beyond it.
    pub margin: Option<Quantiles>,
    /// What would have kept the wanted rate.
    pub suggestion: Option<Suggestion>,
    /// Each time and number, for charts.
    #[serde(skip)]
    pub(super) points: Vec<(i64, f64)>,
}

/// A plain limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitReport {
    /// As in a condition: `>=`.
    pub operator: &'static str,
    /// The limit.
    pub value: f64,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StartReport {
    /// When it began.
    pub at: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its verdict.
    pub phase: Phase,
    /// Why.
    pub message: String,
    /// The incident that it measured during, if any.
    pub incident: Option<String>,
}

impl Shares {
    fn add(&mut self, phase: Phase) {
        let counter = match phase {
            Phase::Successful => &mut self.successful,
            Phase::Failed => &mut self.failed,
            Phase::Inconclusive => &mut self.inconclusive,
            Phase::Error => &mut self.error,
            Phase::Pending | Phase::Running => return,
        };
        *counter += 1;
        self.total += 1;
    }

    /// Each phase with its number.
    pub(super) fn named(&self) -> [(Phase, usize); 4] {
        [
            (Phase::Successful, self.successful),
            (Phase::Failed, self.failed),
            (Phase::Inconclusive, self.inconclusive),
            (Phase::Error, self.error),
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(part: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// A start whose run has ended.
struct Run<'a> {
    at: Timestamp,
    ended: &'a Ended,
    patient: Option<&'a Ended>,
    phase: Phase,
    incident: Option<&'a Incident>,
}

impl Run<'_> {
    fn end(&self) -> Timestamp {
        self.ended
            .status
            .completed_at
            .as_ref()
            .map_or(self.at, |at| at.0)
    }
}

fn runs(backtest: &Backtest) -> Vec<Run<'_>> {
    let runs = backtest.starts.iter().filter_map(|start| {
        let Known::Ended(ended) = &start.outcome else {
            return None;
        };
        let patient = match &start.patient {
            Known::Ended(patient) => Some(&**patient),
            Known::NotYet | Known::Unfinished => None,
        };
        Some(Run {
            at: start.at,
            phase: ended.status.phase.unwrap_or(Phase::Error),
            incident: during(&ended.taken, &backtest.wanted.incidents),
            ended,
            patient,
        })
    });
    runs.collect()
}

/// The first incident that something was measured in.
fn during<'a>(taken: &[Taken], incidents: &'a [Incident]) -> Option<&'a Incident> {
    incidents
        .iter()
        .find(|incident| taken.iter().any(|taken| incident.holds(taken.at)))
}

impl Report {
    pub(super) fn of(backtest: &Backtest) -> Self {
        let wanted = &backtest.wanted;
        let all = runs(backtest);
        let (mut total, mut healthy) = (Shares::default(), Shares::default());
        for run in &all {
            total.add(run.phase);
            if run.incident.is_none() {
                healthy.add(run.phase);
            }
        }
        let plans = backtest.prepared.plans();
        let metrics = (0..plans.len()).map(|index| metric(backtest, &all, index));
        Self {
            name: backtest.run.metadata.name.clone().unwrap_or_default(),
            from: wanted.from,
            to: wanted.to,
            every_seconds: wanted.every.as_secs(),
            requests: Requests {
                ranges: backtest.ranges_asked,
                instants: backtest.instants_asked,
            },
            runs: total,
            unfinished: backtest.starts.len() - all.len(),
            healthy,
            false_alarm_rate: share(healthy.failed, healthy.total),
            wanted_false_alarm_rate: wanted.false_alarms,
            detection: detection(&all, &wanted.incidents),
            decided: decided(plans, &all),
            clusters: clusters(&all),
            hours: hours(&all),
            metrics: metrics.collect(),
            left_out: backtest.left_out.clone(),
            starts: all.iter().map(start).collect(),
        }
    }

    /// Whether no more healthy runs fail than may, and every incident is seen.
    #[must_use]
    pub fn is_as_wanted(&self) -> bool {
        let quiet = self
            .false_alarm_rate
            .is_none_or(|rate| rate <= self.wanted_false_alarm_rate);
        let seeing = |detection: &Detection| detection.detected == detection.incidents.len();
        quiet && self.detection.as_ref().is_none_or(seeing)
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        text::of(self)
    }

    /// A page that needs nothing else.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }
}

fn start(run: &Run<'_>) -> StartReport {
    StartReport {
        at: run.at,
        end: run.end(),
        phase: run.phase,
        message: run.ended.status.message.clone(),
        incident: run.incident.map(|incident| incident.name.clone()),
    }
}

fn detection(runs: &[Run<'_>], incidents: &[Incident]) -> Option<Detection> {
    if incidents.is_empty() {
        return None;
    }
    let seen: Vec<Seen> = incidents
        .iter()
        .map(|incident| seen(runs, incident))
        .collect();
    let exposed = || runs.iter().filter(|run| run.incident.is_some());
    let failed = exposed().filter(|run| run.phase == Phase::Failed).count();
    Some(Detection {
        detected: seen.iter().filter(|seen| seen.failed > 0).count(),
        exposed: exposed().count(),
        hit_rate: share(failed, exposed().count()),
        incidents: seen,
    })
}

fn seen(runs: &[Run<'_>], incident: &Incident) -> Seen {
    let exposed = || {
        let measured =
            |run: &&Run<'_>| run.ended.taken.iter().any(|taken| incident.holds(taken.at));
        runs.iter().filter(measured)
    };
    let failed = || exposed().filter(|run| run.phase == Phase::Failed);
    let since = |time: Timestamp, run: &Run<'_>| run.end().duration_since(time).as_secs();
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let of_runs = failed().map(|run| since(run.at.max(incident.from), run) as f64);
    Seen {
        name: incident.name.clone(),
        from: incident.from,
        to: incident.to,
        exposed: exposed().count(),
        failed: failed().count(),
        seconds_to_detect: failed().map(|run| since(incident.from, run)).min(),
        median_seconds_of_runs: Quantiles::of(of_runs).map(|all| all.p50),
    }
}

fn decided(plans: &[MetricPlan], runs: &[Run<'_>]) -> Vec<Decided> {
    let mut counts: BTreeMap<(usize, &'static str, String), (Phase, usize)> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.phase != Phase::Successful) {
        let Some(index) = deciding(plans, &run.ended.status, run.phase) else {
            continue;
        };
        let key = (
            index,
            run.phase.as_str(),
            limit_of(&plans[index], run.phase),
        );
        counts.entry(key).or_insert((run.phase, 0)).1 += 1;
    }
    let mut decided: Vec<Decided> = (counts.into_iter())
        .map(|((index, _, limit), (phase, runs))| Decided {
            metric: plans[index].name.clone(),
            phase,
            limit,
            runs,
        })
        .collect();
    decided.sort_by_key(|decided| Reverse(decided.runs));
    decided
}

/// The first metric that has the run's verdict.
fn deciding(plans: &[MetricPlan], status: &AnalysisRunStatus, phase: Phase) -> Option<usize> {
    plans.iter().position(|plan| {
        let mut results = status.metric_results.iter();
        !plan.dry_run && results.any(|it| it.name == plan.name && it.phase == Some(phase))
    })
}

fn limit_of(plan: &MetricPlan, phase: Phase) -> String {
    let limits = plan.limits;
    match phase {
        Phase::Failed => match limits.failure {
            Some(limit) => format!("failureLimit ({limit})"),
            None => format!("consecutiveSuccessLimit ({})", limits.consecutive_success),
        },
        Phase::Error => format!("consecutiveErrorLimit ({})", limits.consecutive_error),
        Phase::Inconclusive | Phase::Successful | Phase::Pending | Phase::Running => {
            format!("inconclusiveLimit ({})", limits.inconclusive)
        }
    }
}

fn clusters(runs: &[Run<'_>]) -> Vec<Cluster> {
    let bad = |run: &Run<'_>| run.phase != Phase::Successful;
    let groups = runs.chunk_by(|one, other| bad(one) == bad(other));
    let mut clusters: Vec<Cluster> = groups
        .filter(|group| bad(&group[0]))
        .map(|group| Cluster {
            from: group[0].at,
            to: group[group.len() - 1].at,
            runs: group.len(),
            phase: [Phase::Failed, Phase::Error]
                .into_iter()
                .find(|phase| group.iter().any(|run| run.phase == *phase))
                .unwrap_or(Phase::Inconclusive),
            incident: group
                .iter()
                .find_map(|run| Some(run.incident?.name.clone())),
        })
        .collect();
    clusters.sort_by(|one, other| other.runs.cmp(&one.runs).then(one.from.cmp(&other.from)));
    clusters
}

fn hours(runs: &[Run<'_>]) -> Vec<Hour> {
    let mut hours = vec![Hour::default(); 24];
    for run in runs {
        let hour = run.at.as_second().div_euclid(3600).rem_euclid(24);
        let hour = &mut hours[usize::try_from(hour).unwrap_or_default()];
        hour.total += 1;
        hour.bad += usize::from(run.phase != Phase::Successful);
    }
    hours
}

fn metric(backtest: &Backtest, runs: &[Run<'_>], index: usize) -> MetricReport {
    let plan = &backtest.prepared.plans()[index];
    let written = &backtest.resolved[index].metric;
    let limits = &backtest.limits[index];
    let incidents = &backtest.wanted.incidents;
    let mut measurements = Shares::default();
    let mut points = BTreeMap::new();
    for taken in runs.iter().flat_map(|run| &run.ended.taken) {
        if taken.metric == index {
            measurements.add(taken.phase);
            points.insert(taken.at, taken.number);
        }
    }
    let healthy = || {
        let is_healthy = |at: &i64| !incidents.iter().any(|incident| incident.holds(*at));
        points
            .iter()
            .filter(move |(at, _)| is_healthy(at))
            .map(|(_, number)| *number)
    };
    let margin = limits.first().and_then(|limit| {
        let sign = if limit.side.is_floor() { 1.0 } else { -1.0 };
        Quantiles::of(healthy().map(|number| sign * (number - limit.value)))
    });
    let query = written
        .provider
        .prometheus
        .as_ref()
        .map(|it| it.query.clone());
    let obstacles = backtest.history.obstacles();
    MetricReport {
        name: plan.name.clone(),
        condition: condition(&written.success_condition, &written.failure_condition),
        limits: limits.iter().map(limit_report).collect(),
        asked_at_each_time: query.and_then(|query| obstacles.get(&query).cloned()),
        measurements,
        values: Quantiles::of(healthy()),
        margin,
        suggestion: suggestion(backtest, runs, index),
        points: points.into_iter().collect(),
    }
}

fn limit_report(limit: &Limit) -> LimitReport {
    LimitReport {
        operator: limit.side.symbol(),
        value: limit.value,
    }
}

fn condition(success: &str, failure: &str) -> String {
    match (success.trim(), failure.trim()) {
        (success, "") => success.to_owned(),
        ("", failure) => format!("not ({failure})"),
        (success, failure) => format!("{success}, not ({failure})"),
    }
}

/// Of metrics that decide.
fn suggestion(backtest: &Backtest, runs: &[Run<'_>], index: usize) -> Option<Suggestion> {
    let plan = &backtest.prepared.plans()[index];
    if plan.dry_run {
        return None;
    }
    let incidents = &backtest.wanted.incidents;
    let healthy: Vec<Sequence> = (runs.iter())
        .filter_map(|run| run.patient)
        .filter(|ended| during(&ended.taken, incidents).is_none())
        .map(|ended| {
            let taken = ended.taken.iter().filter(|taken| taken.metric == index);
            taken.map(|taken| (taken.phase, taken.number)).collect()
        })
        .collect();
    // With several thresholds no single one decides.
    let threshold = match backtest.limits[index].as_slice() {
        [one] => Some(one),
        _ => None,
    };
    suggest(plan, &healthy, threshold, backtest.wanted.false_alarms)
}
