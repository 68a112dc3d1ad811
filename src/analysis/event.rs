//! What happens to a run, as Kubernetes Events tell it. Reasons and sentences are Argo's.

use crate::api::Phase;

/// Something that has happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// A metric was decided.
    Metric {
        /// Its name.
        name: String,
        /// What it came to.
        phase: Phase,
    },
    /// The run has ended.
    Completed {
        /// Its verdict.
        phase: Phase,
    },
}

impl RunEvent {
    /// The Event's reason, such as `MetricFailed`.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Metric { phase, .. } => format!("Metric{phase}"),
            Self::Completed { phase } => format!("AnalysisRun{phase}"),
        }
    }

    /// The Event's sentence.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Metric { name, phase } => format!("Metric '{name}' Completed. Result: {phase}"),
            Self::Completed { phase } => format!("Analysis Completed. Result: {phase}"),
        }
    }

    /// Whether the Event is of type Warning.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Metric { phase, .. } | Self::Completed { phase } => {
                matches!(phase, Phase::Failed | Phase::Error)
            }
        }
    }
}
