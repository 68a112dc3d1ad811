//! What went wrong, in one sentence, and what to do about it.

use std::fmt;

use crate::cli::{Exit, Output};
use crate::cluster;

/// Why a command of the plugin came to no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    text: String,
    hint: Option<String>,
    exit: Exit,
}

impl Error {
    /// It could not be told, or not be done.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
            exit: Exit::Unknown,
        }
    }

    /// The answer is no.
    pub(super) fn no(text: impl Into<String>) -> Self {
        Self {
            exit: Exit::No,
            ..Self::new(text)
        }
    }

    /// With what may help.
    #[must_use]
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// As [`Error::hint`], if there is something that may help.
    #[must_use]
    pub(super) fn maybe_hint(self, hint: Option<String>) -> Self {
        Self {
            hint: hint.or(self.hint),
            ..self
        }
    }

    /// With words before the text.
    #[must_use]
    pub(super) fn within(self, what: &str) -> Self {
        Self {
            text: format!("{what}: {}", self.text),
            ..self
        }
    }

    /// Says it, as Argo's plugin does, and answers how the process ends.
    pub(super) fn tell(&self, output: &mut Output) -> Exit {
        output.talk(format_args!("Error: {}", self.text));
        if let Some(hint) = &self.hint {
            output.talk(format_args!("hint: {hint}"));
        }
        self.exit
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// The API server's own words, if it answered.
impl From<cluster::Error> for Error {
    fn from(error: cluster::Error) -> Self {
        let message = error.message();
        if error.may_be_done() {
            let text = match error.reason() {
                "Unreachable" => format!("the cluster has not answered: {message}"),
                _ => message.to_owned(),
            };
            return Self::new(text)
                .hint("it may have been done all the same: look before you try again");
        }
        let told = Self::new(message);
        match error.reason() {
            "Unreachable" => Self::new(format!("cannot reach the cluster: {}", error.message()))
                .hint("is it running, and is this the right context? `kubectl cluster-info` tells"),
            "Forbidden" if error.message() == "Unauthorized" => {
                told.hint("the credentials of the kubeconfig are missing or have expired")
            }
            "Forbidden" => told
                .hint("ask for that permission; `kubectl auth can-i --list` shows what you have"),
            "NotFound"
                if error
                    .message()
                    .contains("could not find the requested resource") =>
            {
                told.hint(
                    "the kinds are not installed: `verdict crds | kubectl apply -f -` does that",
                )
            }
            "ServerError" | "TooManyRequests" => {
                told.hint("the API server has trouble: `kubectl get --raw '/readyz?verbose'` tells")
            }
            _ => told,
        }
    }
}
