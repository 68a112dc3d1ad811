//! Metric sources: which request asks, and how the reply is read.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::Phase;
use crate::expression::Value;

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
