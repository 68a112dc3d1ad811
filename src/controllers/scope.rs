//! Which objects a controller is responsible for.

use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use kube::core::NamespaceResourceScope;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::cluster;
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
    begun(events)
        .backoff(Pauses::default())
        .filter_map(move |event| {
            let event = match event {
                Ok(event) => {
                    if std::mem::take(&mut lost) {
                        info!(kind, "watching again");
                        if let Some(readiness) = &listing {
                            readiness.heard(&kind);
                        }
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
                    let error = cluster::Error::of_watch(&format!("{kind}s"), &error);
                    if !std::mem::replace(&mut lost, true) {
                        warn!(kind, %error, "the watch is lost; it is taken up again");
                    }
                    if let Some(readiness) = &listing {
                        readiness.failed(&kind, error.to_string());
                    }
                    None
                }
            };
            std::future::ready(event)
        })
}

/// Holds back that a watch begins until something is heard: it is told of each try, too, and would
/// make the pauses short again while nobody answers.
fn begun<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> {
    let mut begins = false;
    events.flat_map(move |event| {
        let is_init = matches!(event, Ok(watcher::Event::Init));
        let is_heard = event.is_ok() && !is_init;
        let init = (is_heard && begins).then_some(Ok(watcher::Event::Init));
        begins = is_init || (begins && !is_heard);
        stream::iter(init.into_iter().chain((!is_init).then_some(event)))
    })
}

/// The pauses before a lost watch is taken up again: each twice as long as the one before, until
/// something is heard again. As those of client-go, but for chance: a controller is one of few, and
/// the same history makes the same decisions.
#[derive(Debug)]
struct Pauses {
    next: Duration,
}

impl Pauses {
    const SHORTEST: Duration = Duration::from_millis(800);
    const LONGEST: Duration = Duration::from_secs(30);
}

impl Default for Pauses {
    fn default() -> Self {
        let next = Self::SHORTEST;
        Self { next }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
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

    #[tokio::test]
    async fn a_watch_begins_when_something_is_heard() {
        use watcher::Event::{Apply, Init, InitApply, InitDone};
        let lost = || Err(watcher::Error::NoResourceVersion);
        let told = |event: watcher::Result<watcher::Event<i32>>| match event {
            Ok(Init) => "init".to_owned(),
            Ok(InitApply(number)) => format!("listed {number}"),
            Ok(InitDone) => "done".to_owned(),
            Ok(Apply(number)) => format!("now {number}"),
            Ok(watcher::Event::Delete(number)) => format!("gone {number}"),
            Err(_) => "lost".to_owned(),
        };
        let events = [
            Ok(Init),
            lost(),
            Ok(Init),
            lost(),
            Ok(Init),
            Ok(InitApply(1)),
            Ok(InitDone),
        ];
        let events = events
            .into_iter()
            .chain([Ok(Apply(2)), lost(), Ok(Init), Ok(InitDone)]);
        let told: Vec<_> = begun(stream::iter(events)).map(told).collect().await;
        let first = ["lost", "lost", "init", "listed 1", "done", "now 2"];
        assert_eq!(told, [&first[..], &["lost", "init", "done"]].concat());
    }

    #[test]
    fn pauses_grow_until_something_is_heard() {
        let mut pauses = Pauses::default();
        let millis = |pauses: &mut Pauses| pauses.next().unwrap().as_millis();
        let first: Vec<_> = (0..7).map(|_| millis(&mut pauses)).collect();
        assert_eq!(first, [800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        pauses.reset();
        assert_eq!(millis(&mut pauses), 800);
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
