//! Which objects a controller is responsible for.

use std::fmt::Debug;

use futures::{Stream, StreamExt as _, stream};
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::telemetry::Readiness;

/// The label by which several controllers share a cluster.
pub const INSTANCE_ID_LABEL: &str = "argo-rollouts.argoproj.io/controller-instance-id";

/// A controller's share of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The only namespace that is looked at; `None`: all.
    pub namespace: Option<String>,
    /// Objects must carry this in their instance-id label; `None`: they must not have the label.
    pub instance_id: Option<String>,
}

impl Scope {
    /// The label selector of the objects in this scope.
    #[must_use]
    pub fn selector(&self) -> String {
        match &self.instance_id {
            Some(id) => format!("{INSTANCE_ID_LABEL}={id}"),
            None => format!("!{INSTANCE_ID_LABEL}"),
        }
    }

    /// Whether an object that was read by its name is in this scope.
    #[must_use]
    pub fn covers(&self, object: &impl Resource) -> bool {
        let labels = object.meta().labels.as_ref();
        labels.and_then(|labels| labels.get(INSTANCE_ID_LABEL)) == self.instance_id.as_ref()
    }

    /// The objects of a kind in the namespaces of this scope.
    #[must_use]
    pub fn api<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

/// Watches the objects that `selector` picks, without what no decision needs (`managedFields`).
///
/// A lost watch is taken up again, with growing pauses while the API server cannot be reached. That
/// is said once, and again when it is back; the stream itself has no errors. `readiness` waits for
/// the first list. (A `reflector::Store` could be asked, too, but wakes only one of those who wait
/// for it, and a `Controller` is one.)
pub fn watch<K>(
    api: Api<K>,
    selector: &str,
    readiness: &Readiness,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Clone + Debug + Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    watch_kind(api, kind, selector, readiness)
}

/// The same for a kind that is only known now.
pub(super) fn watch_kind<K>(
    api: Api<K>,
    kind: String,
    selector: &str,
    readiness: &Readiness,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Clone + Debug,
{
    let mut lost = false;
    readiness.wait_for(&kind);
    let mut listing = Some(readiness.clone());
    let events = watcher(api, watcher::Config::default().labels(selector));
    begun_when_it_succeeds(events)
        .default_backoff()
        .filter_map(move |event| {
            let event = match event {
                Ok(event) => {
                    if std::mem::take(&mut lost) {
                        info!(kind, "watching again");
                    }
                    if matches!(event, watcher::Event::InitDone)
                        && let Some(readiness) = listing.take()
                    {
                        readiness.reached(&kind);
                    }
                    Some(Ok(
                        event.modify(|object| object.managed_fields_mut().clear())
                    ))
                }
                Err(error) => {
                    if !std::mem::replace(&mut lost, true) {
                        warn!(kind, %error, "the watch is lost; it is taken up again");
                    }
                    None
                }
            };
            std::future::ready(event)
        })
}

/// The same events, but that a list begins is told only when something comes of it. Else a list that
/// fails again and again would look like a success each time it begins, and never be waited with.
fn begun_when_it_succeeds<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Send,
{
    let mut begins = false;
    let events = events.map(move |event| match event {
        Ok(watcher::Event::Init) => {
            begins = true;
            [None, None]
        }
        Ok(event) => {
            let init = std::mem::take(&mut begins).then_some(Ok(watcher::Event::Init));
            [init, Some(Ok(event))]
        }
        Err(error) => [None, Some(Err(error))],
    });
    events.flat_map(|events| stream::iter(events.into_iter().flatten()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn labelled(id: Option<&str>) -> ConfigMap {
        let mut object = ConfigMap::default();
        if let Some(id) = id {
            object
                .labels_mut()
                .insert(INSTANCE_ID_LABEL.into(), id.into());
        }
        object
    }

    #[test]
    fn a_controller_with_an_id_sees_its_own_and_one_without_sees_the_unlabelled() {
        let named = Scope {
            instance_id: Some("blue".into()),
            namespace: None,
        };
        assert!(named.covers(&labelled(Some("blue"))));
        assert!(!named.covers(&labelled(Some("green"))) && !named.covers(&labelled(None)));
        assert!(Scope::default().covers(&labelled(None)));
        assert!(!Scope::default().covers(&labelled(Some("blue"))));
    }
}
