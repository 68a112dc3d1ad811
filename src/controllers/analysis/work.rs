//! What this process knows about runs beside what is written: nothing that may not be lost.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt as _;

use crate::analysis::{Invalid, Measured, Prepared};
use crate::api::AnalysisRun;

/// A run's work as a pass sees it.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// The spec, understood.
    pub(super) prepared: Arc<Result<Prepared, Invalid>>,
    /// Measurements that have moved and are not in the status yet, oldest first.
    pub(super) measured: Vec<Measured>,
    /// Metrics that are being worked on.
    pub(super) in_flight: BTreeSet<String>,
    /// Metrics whose Job has ended.
    pub(super) woken: BTreeSet<String>,
}

/// A spec, understood, and the generation that it is of.
type OfGeneration = (Option<i64>, Arc<Result<Prepared, Invalid>>);

#[derive(Default)]
struct Entry {
    prepared: Option<OfGeneration>,
    measured: Vec<Measured>,
    in_flight: BTreeSet<String>,
    woken: BTreeSet<String>,
    /// The resourceVersion that the last status write of this process replaced.
    replaced: Option<String>,
    failures: u32,
}

impl Entry {
    /// Notes that `run` is no longer the newest state. A write that changed nothing brings no watch
    /// event: then it still is.
    fn replace(&mut self, run: &AnalysisRun, written: Option<&AnalysisRun>) {
        if let Some(written) = written
            && written.resource_version() != run.resource_version()
        {
            self.replaced = run.resource_version();
        }
    }
}

/// The work of all runs that are not finished.
#[derive(Default)]
pub(super) struct Workbench {
    entries: Mutex<HashMap<String, Entry>>,
}

impl Workbench {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work of a run; `None` if this process has already replaced the state that `run` shows.
    pub(super) fn look(&self, run: &AnalysisRun) -> Option<Work> {
        let mut entries = self.lock();
        let entry = entries.entry(run.uid().unwrap_or_default()).or_default();
        if entry.replaced.is_some() && entry.replaced == run.resource_version() {
            return None;
        }
        let generation = run.metadata.generation;
        let prepared = match &entry.prepared {
            Some((of, prepared)) if *of == generation => Arc::clone(prepared),
            _ => Arc::new(Prepared::new(run)),
        };
        entry.prepared = Some((generation, Arc::clone(&prepared)));
        Some(Work {
            prepared,
            measured: entry.measured.clone(),
            in_flight: entry.in_flight.clone(),
            woken: entry.woken.clone(),
        })
    }

    /// What a pass saw is in the status now; `written` is the run as it is then.
    pub(super) fn recorded(&self, run: &AnalysisRun, work: &Work, written: Option<&AnalysisRun>) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&run.uid().unwrap_or_default()) else {
            return;
        };
        entry
            .measured
            .drain(..work.measured.len().min(entry.measured.len()));
        entry.woken.retain(|metric| !work.woken.contains(metric));
        entry.replace(run, written);
        let finished = written
            .unwrap_or(run)
            .status
            .as_ref()
            .and_then(|status| status.phase);
        if finished.is_some_and(crate::api::Phase::is_completed) {
            entry.prepared = None;
        }
    }

    /// A status write has turned `run` into `written`.
    pub(super) fn replaced(&self, run: &AnalysisRun, written: Option<&AnalysisRun>) {
        if let Some(entry) = self.lock().get_mut(&run.uid().unwrap_or_default()) {
            entry.replace(run, written);
        }
    }

    /// Whether a run has been looked at and is not gone.
    pub(super) fn knows(&self, uid: &str) -> bool {
        self.lock().contains_key(uid)
    }

    /// A metric is being worked on from now on; false if it was already, or the run is gone.
    pub(super) fn begin(&self, uid: &str, metric: &str) -> bool {
        self.lock()
            .get_mut(uid)
            .is_some_and(|entry| entry.in_flight.insert(metric.to_owned()))
    }

    /// Work on a metric has ended.
    pub(super) fn end(&self, uid: &str, measured: Measured) {
        if let Some(entry) = self.lock().get_mut(uid) {
            entry.in_flight.remove(&measured.metric);
            entry.measured.push(measured);
        }
    }

    /// A metric's source has given notice.
    pub(super) fn woken(&self, uid: &str, metric: String) {
        if let Some(entry) = self.lock().get_mut(uid) {
            entry.woken.insert(metric);
        }
    }

    /// A pass has failed; tells how many had failed in a row before.
    pub(super) fn failed(&self, uid: &str) -> u32 {
        self.lock().get_mut(uid).map_or(0, |entry| {
            let before = entry.failures;
            entry.failures = before.saturating_add(1);
            before
        })
    }

    /// A pass has come to its end.
    pub(super) fn succeeded(&self, uid: &str) {
        if let Some(entry) = self.lock().get_mut(uid) {
            entry.failures = 0;
        }
    }

    /// The run is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}
