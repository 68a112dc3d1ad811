//! What was asked of the server, and what a story has it answer instead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A request in short, as faults and records see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestSummary {
    /// As in RBAC: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection`.
    pub verb: &'static str,
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural name, with the subresource: `pods`, `rollouts/status`.
    pub resource: String,
    /// Empty for cluster-scoped resources and requests across namespaces.
    pub namespace: String,
    /// Empty where no object is named. A create names it in its body; one that leaves the name to
    /// the server gives the beginning of it.
    pub name: String,
    /// The program that asks, as it calls itself.
    pub user_agent: String,
    /// Where a watch begins or which state a list tells, if they name a version: it may be
    /// forgotten.
    pub from_version: Option<u64>,
}

impl RequestSummary {
    /// The program that asks: its name for itself up to the first `/`.
    #[must_use]
    pub fn program(&self) -> &str {
        self.user_agent.split('/').next().unwrap_or_default()
    }
}

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it is answered as always.
    None,
    /// It is not carried out and answered with this status code.
    Status(u16),
    /// It is carried out after this time.
    Delay(Duration),
    /// It is carried out, but answered with this status code.
    AppliedThenStatus(u16),
    /// It is carried out and never answered.
    AppliedThenSilence,
    /// It is not carried out, and its connection is cut.
    Cut,
    /// It is carried out, and its connection is cut before the answer.
    AppliedThenCut,
    /// A watch's connection is cut after this time, unless the watch has ended.
    CutAfter(Duration),
    /// A watch or a list is answered as if the version that it names were forgotten: 410.
    Expired,
}

type Decide = Arc<dyn Fn(&RequestSummary) -> Fault + Send + Sync>;

/// Kinds of requests, without the objects that they name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// The program that asked, up to the first `/`.
    pub program: String,
    /// As in [`RequestSummary`].
    pub verb: &'static str,
    /// The API group; empty for the core group.
    pub group: String,
    /// As in [`RequestSummary`].
    pub resource: String,
}

/// Records requests and decides about faults.
#[derive(Default)]
pub(super) struct Traffic {
    decide: Mutex<Option<Decide>>,
    seen: Mutex<BTreeMap<Access, u64>>,
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traffic")
    }
}

impl Traffic {
    pub(super) fn set_faults(&self, decide: Option<Decide>) {
        *self.decide.lock().unwrap_or_else(PoisonError::into_inner) = decide;
    }

    /// Records a request.
    pub(super) fn note(&self, request: &RequestSummary) {
        let access = Access {
            program: request.program().to_owned(),
            verb: request.verb,
            group: request.group.clone(),
            resource: request.resource.clone(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen.entry(access).or_default() += 1;
    }

    /// What is to be done with a request, which is completed only if somebody decides about it.
    pub(super) fn fault(&self, request: impl FnOnce() -> RequestSummary) -> Fault {
        // The story's function runs without the lock: it may ask the server itself.
        let decide = self
            .decide
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        decide.map_or(Fault::None, |decide| decide(&request()))
    }

    pub(super) fn seen(&self) -> BTreeMap<Access, u64> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn forget(&self) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
