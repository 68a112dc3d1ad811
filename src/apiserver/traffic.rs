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
    /// Empty where no object is named.
    pub name: String,
    /// The program that asks, as it calls itself.
    pub user_agent: String,
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

    /// Records a request and answers what is to be done with it.
    pub(super) fn note(&self, request: &RequestSummary) -> Fault {
        let program = request.user_agent.split('/').next().unwrap_or_default();
        let access = Access {
            program: program.to_owned(),
            verb: request.verb,
            group: request.group.clone(),
            resource: request.resource.clone(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen.entry(access).or_default() += 1;
        drop(seen);
        // The story's function runs without the lock: it may ask the server itself.
        let decide = self
            .decide
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        decide.map_or(Fault::None, |decide| decide(request))
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
