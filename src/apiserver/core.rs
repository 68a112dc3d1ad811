//! What all handlers share: the store, the resources that are served, the time, faults.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use super::built_in;
use super::resources::{Registry, Resource};
use super::store::{Object, Store};
use super::tokens::Tokens;
use super::traffic::Traffic;

/// The letters and digits of generated names; none that make words.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The state of one server.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) traffic: Traffic,
    pub(super) tokens: Tokens,
    registry: RwLock<Arc<Registry>>,
    watches: RwLock<CancellationToken>,
}

impl Core {
    pub(super) fn new(clock: Clock, store: Store) -> Self {
        Self {
            clock,
            store,
            traffic: Traffic::default(),
            tokens: Tokens::new(),
            registry: RwLock::new(Arc::new(Registry::new(built_in::resources()))),
            watches: RwLock::new(CancellationToken::new()),
        }
    }

    /// The resources that are served now.
    pub(super) fn registry(&self) -> Arc<Registry> {
        self.registry
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes which resources are served.
    pub(super) fn change_registry(&self, change: impl FnOnce(&mut Registry)) {
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut changed = Registry::clone(&registry);
        change(&mut changed);
        *registry = Arc::new(changed);
    }

    /// Ends when open watches are to end.
    pub(super) fn watches_end(&self) -> CancellationToken {
        self.watches
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends all open watches; later ones are not affected.
    pub(super) fn end_watches(&self) {
        let mut token = self.watches.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *token).cancel();
    }

    /// The time of day as metadata has it, in whole seconds.
    pub(super) fn now(&self) -> Value {
        Value::String(seconds(self.clock.now()))
    }

    /// A uid that this server gives once. Equal servers give equal ones in the same order.
    pub(super) fn next_uid(&self) -> String {
        let digest = digest("uid", self.store.next_identity());
        let mut text = String::with_capacity(36);
        for (index, byte) in digest[..16].iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            // The bits that mark a random UUID (RFC 9562, version 4).
            let byte = match index {
                6 => byte & 0x0f | 0x40,
                8 => byte & 0x3f | 0x80,
                _ => *byte,
            };
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Five characters for a generated name.
    pub(super) fn next_suffix(&self) -> String {
        digest("name", self.store.next_identity())[..5]
            .iter()
            .map(|byte| char::from(SUFFIX_LETTERS[usize::from(*byte) % SUFFIX_LETTERS.len()]))
            .collect()
    }

    /// The object of a resource, if it is there.
    pub(super) fn object(
        &self,
        resource: &Resource,
        key: &(String, String),
    ) -> Option<Arc<Object>> {
        self.store.get(&resource.collection, key)
    }
}

fn digest(purpose: &str, number: u64) -> [u8; 32] {
    let text = format!("{purpose} {number}");
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// A time as Kubernetes writes it, in whole seconds.
pub(super) fn seconds(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}
