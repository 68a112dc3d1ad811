//! What this process knows about Rollouts beside what is written: nothing that may not be lost.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt as _;

use crate::api::Rollout;

#[derive(Default)]
struct Entry {
    /// The resourceVersions that the last writes of this process replaced.
    replaced: Vec<String>,
    failures: u32,
}

/// Entries by the Rollout's uid.
#[derive(Default)]
pub(super) struct Memory {
    entries: Mutex<HashMap<String, Entry>>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process has already replaced the state that `rollout` shows.
    pub(super) fn is_replaced(&self, rollout: &Rollout) -> bool {
        let mut entries = self.lock();
        let entry = entries
            .entry(rollout.uid().unwrap_or_default())
            .or_default();
        let version = rollout.resource_version();
        version.is_some_and(|version| entry.replaced.contains(&version))
    }

    /// Whether a Rollout has been looked at and is not gone.
    pub(super) fn knows(&self, uid: &str) -> bool {
        self.lock().contains_key(uid)
    }

    /// Notes that `last` has taken the place of `earlier` states. A write that changed nothing
    /// brings no watch event: what it found still is the newest state.
    pub(super) fn replaced(&self, earlier: &[&Rollout], last: &Rollout) {
        let newest = last.resource_version();
        let versions = earlier.iter().map(|rollout| rollout.resource_version());
        let replaced: Vec<String> = versions
            .filter(|version| *version != newest)
            .flatten()
            .collect();
        if let Some(entry) = self.lock().get_mut(&last.uid().unwrap_or_default()) {
            entry.replaced = replaced;
        }
    }

    /// A pass has come to its end.
    pub(super) fn succeeded(&self, uid: &str) {
        if let Some(entry) = self.lock().get_mut(uid) {
            entry.failures = 0;
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

    /// A Rollout is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}
