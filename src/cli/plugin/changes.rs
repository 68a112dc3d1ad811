//! Objects of a kind as they change.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use kube::Api;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};

use super::kind::{Known, resource};
use super::outage::Outage;
use super::{Around, Error};
use crate::cli::Output;

/// How long changes are collected before they are told, as in Argo's plugin.
const BATCH: Duration = Duration::from_millis(500);

/// How often in a row a watch may fail to begin, as in Argo's plugin.
const MOST_FAILURES: u32 = 5;

/// How long a watch waits before it is begun again, as in Argo's plugin.
struct EverySecond;

impl Iterator for EverySecond {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}

impl Backoff for EverySecond {
    fn reset(&mut self) {}
}

/// The objects of a kind that are picked, as they change; all of them at first.
pub(super) struct Changes(BoxStream<'static, Vec<watcher::Result<DynamicObject>>>);

impl Changes {
    /// Of one namespace, or of all.
    pub(super) fn new<K: Known>(
        namespace: Option<&str>,
        params: &ListParams,
        around: &Around,
    ) -> Self {
        let (client, kind) = (around.cluster.client(), resource::<K>());
        let api = match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &kind),
            None => Api::all_with(client, &kind),
        };
        let mut config = watcher::Config::default();
        config.label_selector.clone_from(&params.label_selector);
        config.field_selector.clone_from(&params.field_selector);
        let changes = watcher(api, config).backoff(EverySecond).applied_objects();
        Self(batched(changes).boxed())
    }

    /// Tells what has changed until somebody asks for the end, or nobody looks.
    pub(super) async fn tell(
        mut self,
        mut tell: impl FnMut(Vec<DynamicObject>, &mut Output) -> Result<(), Error>,
        around: &Around,
        output: &mut Output,
    ) -> Result<(), Error> {
        let mut outage = Outage::default();
        loop {
            let batch = tokio::select! {
                batch = self.0.next() => batch.unwrap_or_default(),
                () = around.stop.cancelled() => return Ok(()),
            };
            let mut changed = Vec::new();
            for object in batch {
                match object {
                    Ok(object) => {
                        outage.end();
                        changed.push(object);
                    }
                    Err(failure) => {
                        if let Some(told) = outage.note(&failure)? {
                            output.talk(format_args!("warning: {told}"));
                        }
                        if let Some(error) = outage.beyond(MOST_FAILURES) {
                            return Err(error);
                        }
                    }
                }
            }
            tell(changed, output)?;
            if output.is_gone() {
                return Ok(());
            }
        }
    }
}

/// What comes within the time of one batch, together.
fn batched<T: Send + 'static>(
    changes: impl Stream<Item = T> + Send + 'static,
) -> impl Stream<Item = Vec<T>> + Send {
    futures::stream::unfold(Box::pin(changes), |mut changes| async move {
        let mut batch = Vec::new();
        batch.push(changes.next().await?);
        let end = tokio::time::sleep(BATCH);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return Some((batch, changes)),
                Some(change) = changes.next() => batch.push(change),
            }
        }
    })
}
