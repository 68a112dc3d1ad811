//! Metric sources: which request asks, and how the reply is read. Pure; nothing here does I/O.
//!
//! A [`Provider`] is a small machine: [`start`](Provider::start) it, perform each [`Request`] it
//! asks for, hand the [`Reply`] to [`next`](Provider::next), until it is done. The loop that does
//! so is `controllers::measure`.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod authentication;
mod job;
mod prometheus;
mod request;
mod text;
mod web;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{IntOrText, Measurement, MetricProvider, Phase, Provider as Source};
use crate::expression::Value;

pub(crate) use authentication::base64;
pub use job::{JobOwner, JobPlacement, run_selector};
pub use request::{
    ClientCredentials, Connection, Headers, HttpReply, HttpRequest, JobName, JobReply, JobRequest,
    PrometheusRequest, QueryMethod, QueryTime, Reply, Request, shown,
};

/// What one measurement brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The value, or why there is none yet or at all.
    pub outcome: Outcome,
    /// What the source tells about this measurement, or needs to remember.
    pub metadata: BTreeMap<String, String>,
}

/// How a measurement went.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The source's value; the metric's conditions decide.
    Value {
        /// What `result` stands for.
        value: Value,
        /// The value in full, as the status shows it.
        text: String,
    },
    /// The source itself has decided.
    Settled {
        /// Its verdict.
        phase: Phase,
        /// Why, in one sentence.
        message: String,
    },
    /// Not finished.
    InFlight {
        /// When to look again at the latest.
        resume_at: Option<Timestamp>,
    },
    /// It could not be taken.
    Failed {
        /// Why, as a person would say it.
        message: String,
        /// How long the source wants to be left alone.
        retry_after: Option<Duration>,
    },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Take a new measurement.
    Run,
    /// Look at the one in flight.
    Resume,
    /// Stop the one in flight.
    Terminate,
}

/// All that a measurement depends on beside its metric.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The run that it belongs to.
    pub run: RunIdentity<'a>,
    /// The metric's name.
    pub metric: &'a str,
    /// Number of the measurement: one more than those that came to an end, errors included.
    pub attempt: u64,
    /// The time of day.
    pub now: Timestamp,
    /// The measurement that is resumed or terminated.
    pub in_flight: Option<&'a Measurement>,
    /// The controller's settings.
    pub settings: &'a Settings,
}

/// Which AnalysisRun measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunIdentity<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// What the controller's environment says about sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// For metrics without an address of their own (`ARGO_ROLLOUTS_PROMETHEUS_ADDRESS`).
    pub prometheus_address: Option<String>,
    /// Where Jobs are made.
    pub jobs: JobPlacement,
}

/// What a provider does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It wants an answer.
    Ask(Request),
    /// It is done.
    Done(Reading),
}

/// One measurement of one metric. Its `Debug` shows no more than its kind: arguments may be secret.
pub struct Provider {
    kind: Kind,
}

enum Kind {
    Prometheus(Box<prometheus::Query>),
    Web(Box<web::Call>),
    Job(Box<job::JobRun>),
}

impl Provider {
    /// Understands a metric's `provider`, whose arguments are filled in.
    ///
    /// # Errors
    /// All that is wrong with it, in one sentence.
    pub fn new(written: &MetricProvider, context: &Context<'_>) -> Result<Self, String> {
        let kind = match the_source(written)? {
            Source::Prometheus(metric) => prometheus::Query::new(metric, context)
                .map(Box::new)
                .map(Kind::Prometheus),
            Source::Web(metric) => web::Call::new(metric, context).map(Box::new).map(Kind::Web),
            Source::Job(metric) => job::JobRun::new(metric, context)
                .map(Box::new)
                .map(Kind::Job),
            other @ (Source::Kayenta(_)
            | Source::Datadog(_)
            | Source::Wavefront(_)
            | Source::NewRelic(_)
            | Source::CloudWatch(_)
            | Source::Graphite(_)
            | Source::Influxdb(_)
            | Source::SkyWalking(_)
            | Source::Plugin(..)) => {
                let field = other.field();
                let known = "prometheus, web and job are";
                return Err(format!("provider `{field}` is not supported yet; {known}"));
            }
        };
        kind.map(|kind| Self { kind })
    }

    /// What is told about the metric as a whole, such as the query that it asks.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, String> {
        match &self.kind {
            Kind::Prometheus(query) => query.metadata(),
            Kind::Web(_) | Kind::Job(_) => BTreeMap::new(),
        }
    }

    /// Begins.
    pub fn start(&mut self, action: Action) -> Step {
        match (&mut self.kind, action) {
            (Kind::Job(job), _) => job.start(action),
            // These sources answer at once, so what is in flight was never asked, or its answer
            // was lost with the controller.
            (Kind::Prometheus(query), Action::Run | Action::Resume) => query.ask(),
            (Kind::Web(call), Action::Run | Action::Resume) => call.ask(),
            (Kind::Prometheus(_) | Kind::Web(_), Action::Terminate) => Step::Done(terminated()),
        }
    }

    /// Goes on with the answer to the last request.
    pub fn next(&mut self, reply: Reply) -> Step {
        match (&mut self.kind, reply) {
            (Kind::Prometheus(query), Reply::Http(reply)) => query.next(reply),
            (Kind::Web(call), Reply::Http(reply)) => Step::Done(call.read(reply)),
            (Kind::Job(job), Reply::Job(reply)) => job.next(reply),
            (Kind::Prometheus(_) | Kind::Web(_), Reply::Job(_))
            | (Kind::Job(_), Reply::Http(_)) => {
                Step::Done(Reading::failed("the answer is to another question"))
            }
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Prometheus(_) => "prometheus",
            Kind::Web(_) => "web",
            Kind::Job(_) => "job",
        })
    }
}

/// The one source that is set.
fn the_source(written: &MetricProvider) -> Result<Source<'_>, String> {
    let mut set = written.set();
    match (set.next(), set.next()) {
        (Some(source), None) => Ok(source),
        (None, _) => Err("no provider specified".to_owned()),
        (Some(_), Some(_)) => {
            let fields: Vec<&str> = written.set().map(Source::field).collect();
            Err(format!(
                "multiple providers specified: {}",
                fields.join(", ")
            ))
        }
    }
}

/// A measurement that was stopped. The message is Argo's.
fn terminated() -> Reading {
    Reading::settled(Phase::Inconclusive, "Metric Terminated")
}

impl Reading {
    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            metadata: BTreeMap::new(),
        }
    }

    /// A measurement that could not be taken.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::of(Outcome::Failed {
            message: message.into(),
            retry_after: None,
        })
    }

    fn settled(phase: Phase, message: impl Into<String>) -> Self {
        Self::of(Outcome::Settled {
            phase,
            message: message.into(),
        })
    }

    fn value(value: Value, text: String) -> Self {
        Self::of(Outcome::Value { value, text })
    }

    fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds warnings, each in quotes, as Argo writes those of Prometheus.
    fn with_warnings(self, warnings: &[String]) -> Self {
        if warnings.is_empty() {
            return self;
        }
        let quoted: Vec<String> = warnings.iter().map(|text| format!("\"{text}\"")).collect();
        self.with("warnings", quoted.join(", "))
    }
}

/// A reply that is no success: what it says, and when to come back.
fn refused(source: &str, reply: &HttpReply, said: &str, now: Timestamp) -> Reading {
    let colon = if said.is_empty() { "" } else { ": " };
    let retry_after = reply
        .retry_after
        .as_deref()
        .filter(|_| matches!(reply.status, 429 | 503))
        .and_then(|text| pause(text, now));
    let message = format!(
        "{source}: received non 2xx response code: {}{colon}{said}",
        reply.status
    );
    Reading::of(Outcome::Failed {
        message,
        retry_after,
    })
}

/// `Retry-After`: seconds, or a date.
fn pause(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The time limit of a request.
fn time_limit(
    field: &str,
    written: Option<&IntOrText>,
    default: Duration,
    problems: &mut Vec<String>,
) -> Duration {
    let limit = match written.map(IntOrText::duration) {
        None => return default,
        Some(Ok(limit)) => {
            Duration::try_from(limit).map_err(|_| format!("{field}: must not be negative: {limit}"))
        }
        Some(Err(error)) => Err(format!("{field}: {error}")),
    };
    limit.unwrap_or_else(|problem| {
        problems.push(problem);
        default
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn metric(json: serde_json::Value) -> MetricProvider {
        serde_json::from_value(json).unwrap()
    }

    pub(super) fn context(settings: &Settings) -> Context<'_> {
        Context {
            run: RunIdentity {
                namespace: "shop",
                name: "web-1",
                uid: "0c9e2b1c-8a6f-4a3c-9d55-3f0b8f1c7a5e",
            },
            metric: "smoke",
            attempt: 1,
            now: "2026-08-01T10:00:00Z".parse().unwrap(),
            in_flight: None,
            settings,
        }
    }

    pub(super) fn reply(status: u16, body: &str) -> HttpReply {
        HttpReply {
            status,
            retry_after: None,
            body: body.as_bytes().into(),
        }
    }

    pub(super) fn message(step: &Step) -> &str {
        match step {
            Step::Done(Reading {
                outcome: Outcome::Failed { message, .. },
                ..
            }) => message,
            other => panic!("not failed: {other:?}"),
        }
    }

    #[test]
    fn exactly_one_provider_must_be_set() {
        let settings = Settings::default();
        for (written, expected) in [
            (json!({}), "no provider specified"),
            (
                json!({"web": {"url": "http://a"}, "plugin": {"x/y": {}}}),
                "multiple providers specified: web, plugin",
            ),
            (json!({"graphite": {}}), "`graphite` is not supported yet"),
        ] {
            let error = Provider::new(&metric(written), &context(&settings)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_source_says_when_to_come_back() {
        let now = "2026-08-01T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("Sat, 01 Aug 2026 10:01:30 GMT", Some(90)),
            ("Sat, 01 Aug 2026 09:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                pause(text, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
