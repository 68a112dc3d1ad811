//! Why an analysis cannot be carried out as it is written.

use crate::api::{Problem, joined};

/// Why a run cannot be carried out as it is written. Its text is the run's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// An argument has no value, or a placeholder names none.
    #[error("Unable to resolve metric arguments: {}", joined(.0))]
    Arguments(Vec<Problem>),
    /// The metrics or the rules about them.
    #[error("Analysis spec invalid: {}", joined(.0))]
    Spec(Vec<Problem>),
}

impl Invalid {
    /// What is wrong, one by one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Arguments(problems) | Self::Spec(problems) => problems,
        }
    }
}
