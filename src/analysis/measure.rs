//! From what a source answered to a measurement that may be shown.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::Judgement;
use super::decide::Task;
use super::plan::{DEFAULT_WAIT, SHORTEST_WAIT};
use super::prepare::Resolved;
use super::schedule::later;
use super::secrets::Redactor;
use crate::api::{Measurement, Phase};
use crate::metric_providers::{Action, Outcome, Reading};

/// Bytes of a value or a message that the status keeps; conditions see the whole value.
const LONGEST_TEXT: usize = 1024;

/// Bytes of an entry of metadata that the status keeps: long enough for a query.
const LONGEST_METADATA: usize = 4096;

/// No source keeps a metric waiting for longer than this, whatever its `Retry-After` says.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Names of Kubernetes objects, by which a measurement is resumed. They are no secrets.
const NAMES: [&str; 2] = ["job-name", "job-namespace"];

/// Argo's message of a measurement that was stopped.
const TERMINATED: &str = "Metric Terminated";

/// A measurement that has moved: taken, under way or stopped. Free of Secrets and bounded in size.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Name of the metric.
    pub metric: String,
    /// The measurement.
    pub measurement: Measurement,
    /// What the source tells about the metric as a whole.
    pub metadata: BTreeMap<String, String>,
}

/// When a measurement was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When the source was asked.
    pub began: Timestamp,
    /// When it had answered.
    pub ended: Timestamp,
}

impl Resolved {
    /// The measurement that a reading makes. `metadata` is what the source tells about the metric
    /// as a whole, such as its query.
    #[must_use]
    pub fn measured(
        &self,
        task: &Task,
        reading: Reading,
        metadata: BTreeMap<String, String>,
        span: Span,
    ) -> Measured {
        let mut measurement = task.begun(span.began);
        measurement.metadata.extend(reading.metadata);
        let finished = match reading.outcome {
            Outcome::Value { value, text } => {
                measurement.value = text;
                Some(self.conditions.judge(&value, span.ended))
            }
            Outcome::Settled { phase, message } => Some(settled(phase, message)),
            Outcome::Failed {
                message,
                retry_after,
            } => {
                measurement.resume_at = retry_after.map(|wait| retry_at(span.ended, wait));
                Some(Judgement {
                    phase: Phase::Error,
                    message,
                })
            }
            Outcome::InFlight { resume_at } => {
                let soonest = later(span.ended, SHORTEST_WAIT);
                let at = resume_at.unwrap_or_else(|| later(span.ended, DEFAULT_WAIT));
                measurement.resume_at = Some(whole_seconds(at.max(soonest)));
                (task.action == Action::Terminate)
                    .then(|| settled(Phase::Inconclusive, String::new()))
            }
        };
        if let Some(judgement) = finished {
            finish(&mut measurement, judgement, task.action, span.ended);
        }
        let mut measured = Measured {
            metric: task.metric.clone(),
            measurement,
            metadata,
        };
        measured.clean(&self.redactor);
        measured
    }
}

impl Task {
    /// The measurement of a task that could not even be begun, for instance for want of a Secret.
    #[must_use]
    pub fn failed(&self, message: impl Into<String>, at: Timestamp) -> Measured {
        let mut measurement = self.begun(at);
        let judgement = Judgement {
            phase: Phase::Error,
            message: message.into(),
        };
        finish(&mut measurement, judgement, Action::Run, at);
        let mut measured = Measured {
            metric: self.metric.clone(),
            measurement,
            metadata: BTreeMap::new(),
        };
        measured.clean(&Redactor::default());
        measured
    }

    /// The measurement that the task is about, before it brought anything.
    fn begun(&self, at: Timestamp) -> Measurement {
        let mut measurement = self.measurement.clone().unwrap_or_default();
        measurement.phase = Some(Phase::Running);
        measurement
            .started_at
            .get_or_insert_with(|| whole_seconds(at));
        measurement
    }
}

/// What the source itself has decided; a source that ends without a verdict has failed to measure.
fn settled(phase: Phase, message: String) -> Judgement {
    if phase.is_completed() {
        return Judgement { phase, message };
    }
    let message = format!("the source ended as {phase}, which is no verdict: {message}");
    Judgement {
        phase: Phase::Error,
        message,
    }
}

fn finish(measurement: &mut Measurement, judgement: Judgement, action: Action, ended: Timestamp) {
    let Judgement { phase, mut message } = judgement;
    if action == Action::Terminate && matches!(phase, Phase::Successful | Phase::Inconclusive) {
        TERMINATED.clone_into(&mut message);
    }
    if phase == Phase::Pending {
        message = format!("Skipped: {message}");
    }
    if phase != Phase::Error {
        measurement.resume_at = None;
    }
    measurement.phase = Some(phase);
    measurement.message = message;
    measurement.finished_at = Some(whole_seconds(ended));
}

/// When a source that wants to be left alone is asked again: a full second later rather than a
/// fraction too early.
fn retry_at(now: Timestamp, wait: Duration) -> Time {
    let wait = wait
        .min(LONGEST_RETRY_AFTER)
        .saturating_add(Duration::from_millis(999));
    whole_seconds(later(
        now,
        SignedDuration::try_from(wait).unwrap_or(DEFAULT_WAIT),
    ))
}

/// Times in a status have whole seconds.
pub(crate) fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

impl Measured {
    /// Masks what is secret first and shortens then: half a secret would not be found.
    fn clean(&mut self, redactor: &Redactor) {
        clean(&mut self.measurement.value, redactor, LONGEST_TEXT);
        clean(&mut self.measurement.message, redactor, LONGEST_TEXT);
        for metadata in [&mut self.measurement.metadata, &mut self.metadata] {
            for (key, value) in metadata {
                if !NAMES.contains(&key.as_str()) {
                    clean(value, redactor, LONGEST_METADATA);
                }
            }
        }
    }
}

fn clean(text: &mut String, redactor: &Redactor, longest: usize) {
    let redacted = redactor.redact(text);
    if redacted.len() <= longest && redacted == *text {
        return;
    }
    *text = bounded(&redacted, longest);
}

/// The text, or its beginning and how long it was.
pub(crate) fn bounded(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let mark = format!("… (truncated, {} bytes)", text.len());
    let end = text.floor_char_boundary(longest.saturating_sub(mark.len()));
    format!("{}{mark}", &text[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::analysis::conditions::Conditions;
    use crate::analysis::secrets::Redacted;
    use crate::expression::Value;

    fn span() -> Span {
        Span {
            began: "2026-08-01T10:00:00.9Z".parse().unwrap(),
            ended: "2026-08-01T10:00:02.4Z".parse().unwrap(),
        }
    }

    fn resolved(changes: &Json, secret: &str) -> Resolved {
        let mut metric = changes.clone();
        metric["name"] = json!("m");
        let metric = serde_json::from_value(metric).unwrap();
        let conditions = Conditions::of(&metric);
        Resolved {
            metric,
            redactor: Redactor::new(&[Redacted::new(secret)]),
            conditions,
        }
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

    fn reading(outcome: Outcome) -> Reading {
        Reading {
            outcome,
            metadata: BTreeMap::new(),
        }
    }

    fn value(text: &str) -> Outcome {
        Outcome::Value {
            value: Value::from(1.0),
            text: text.into(),
        }
    }

    fn measured(action: Action, outcome: Outcome) -> Measurement {
        let metric = resolved(&json!({"successCondition": "result > 0"}), "hunter2");
        metric
            .measured(&task(action), reading(outcome), BTreeMap::new(), span())
            .measurement
    }

    #[test]
    fn a_value_becomes_a_measurement_with_whole_seconds() {
        let got = measured(Action::Run, value("1"));
        assert_eq!(
            serde_json::to_value(got).unwrap(),
            json!({
                "phase": "Successful", "value": "1",
                "startedAt": "2026-08-01T10:00:00Z", "finishedAt": "2026-08-01T10:00:02Z",
            })
        );
    }

    #[test]
    fn what_a_source_did_not_finish_is_looked_at_again() {
        let cases = [
            (None, "2026-08-01T10:00:12Z"),
            (Some("2026-08-01T10:00:07Z"), "2026-08-01T10:00:07Z"),
            (Some("2026-08-01T09:00:00Z"), "2026-08-01T10:00:03Z"),
        ];
        for (resume_at, expected) in cases {
            let resume_at = resume_at.map(|at| at.parse().unwrap());
            let got = measured(Action::Run, Outcome::InFlight { resume_at });
            assert_eq!(got.phase, Some(Phase::Running));
            assert_eq!(got.finished_at, None);
            assert_eq!(got.resume_at.unwrap().0.to_string(), expected);
        }
    }

    #[test]
    fn what_is_stopped_ends_whatever_its_source_says() {
        let settled = |phase| Outcome::Settled {
            phase,
            message: "said".into(),
        };
        let cases = [
            (
                Outcome::InFlight { resume_at: None },
                Phase::Inconclusive,
                TERMINATED,
            ),
            (
                settled(Phase::Inconclusive),
                Phase::Inconclusive,
                TERMINATED,
            ),
            (settled(Phase::Successful), Phase::Successful, TERMINATED),
            (settled(Phase::Failed), Phase::Failed, "said"),
            (
                Outcome::Failed {
                    message: "forbidden".into(),
                    retry_after: None,
                },
                Phase::Error,
                "forbidden",
            ),
        ];
        for (outcome, phase, message) in cases {
            let got = measured(Action::Terminate, outcome);
            assert_eq!((got.phase, got.message.as_str()), (Some(phase), message));
            assert!(got.finished_at.is_some() && got.resume_at.is_none());
        }
    }

    #[test]
    fn a_source_that_wants_to_be_left_alone_is() {
        let cases = [
            (30_000, "2026-08-01T10:00:33Z"),
            (0, "2026-08-01T10:00:03Z"),
            (u64::MAX, "2026-08-01T11:00:03Z"),
        ];
        for (millis, expected) in cases {
            let retry_after = Some(Duration::from_millis(millis));
            let outcome = Outcome::Failed {
                message: "429".into(),
                retry_after,
            };
            let got = measured(Action::Run, outcome);
            assert_eq!(got.resume_at.unwrap().0.to_string(), expected);
        }
    }

    #[test]
    fn secrets_and_long_texts_do_not_reach_the_status() {
        let metric = resolved(&json!({}), "hunter2");
        // The secret stands across the place where the text is cut.
        let text = format!(
            "{}hunter2{}",
            "x".repeat(LONGEST_TEXT - 30),
            "y".repeat(5000)
        );
        let mut task = task(Action::Run);
        task.metric = "m".into();
        let mut reading = reading(value(&text));
        reading
            .metadata
            .insert("warnings".into(), "token hunter2".into());
        reading.metadata.insert("job-name".into(), "hunter2".into());
        let metadata =
            BTreeMap::from([("ResolvedPrometheusQuery".into(), "up{t=\"hunter2\"}".into())]);
        let got = metric.measured(&task, reading, metadata, span());
        assert!(got.measurement.value.len() <= LONGEST_TEXT);
        assert!(
            got.measurement.value.ends_with("bytes)"),
            "{}",
            got.measurement.value
        );
        assert!(!got.measurement.value.contains("hunter"));
        assert_eq!(got.measurement.metadata["warnings"], "token *****");
        assert_eq!(got.measurement.metadata["job-name"], "hunter2");
        assert_eq!(got.metadata["ResolvedPrometheusQuery"], "up{t=\"*****\"}");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        for longest in 40..60 {
            let cut = bounded(&"é".repeat(200), longest);
            assert!(cut.len() <= longest && cut.ends_with("400 bytes)"), "{cut}");
        }
    }
}
