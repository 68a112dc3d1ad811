//! Watches and what they know.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, reflector};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::clients::is_expected;

/// Objects by namespace and name.
type Objects = BTreeMap<(String, String), Value>;

type Listing = Pin<Box<dyn Future<Output = Objects> + Send>>;

/// What one watch knows, and how to find out what it should know.
pub(crate) struct View {
    known: Box<dyn Fn() -> Objects>,
    there: Box<dyn Fn() -> Listing>,
    task: JoinHandle<()>,
}

impl View {
    /// Checks that the watch runs and knows exactly what there is.
    pub(crate) async fn check(&self) {
        assert!(!self.task.is_finished(), "a watch has ended");
        let (known, there) = ((self.known)(), (self.there)().await);
        assert_eq!(known, there);
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Kinds that can be watched here.
pub(crate) trait Watched:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn objects<'a, K: Watched>(of: impl IntoIterator<Item = &'a K>) -> Objects {
    let content = |object: &K| serde_json::to_value(object).unwrap();
    of.into_iter()
        .map(|object| (key(object), content(object)))
        .collect()
}

fn selecting(labels: Option<&str>) -> ListParams {
    let all = ListParams::default();
    labels.map_or(all.clone(), |labels| all.labels(labels))
}

/// Lists as often as it takes.
async fn list<K: Watched>(api: &Api<K>, params: &ListParams) -> (String, Vec<K>) {
    loop {
        match api.list(params).await {
            Ok(list) => return (list.metadata.resource_version.unwrap(), list.items),
            Err(error) => is_expected(&error),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn there<K: Watched>(api: &Api<K>, labels: Option<&str>) -> Box<dyn Fn() -> Listing> {
    let (api, params) = (api.clone(), selecting(labels));
    Box::new(move || {
        let (api, params) = (api.clone(), params.clone());
        Box::pin(async move { objects(&list(&api, &params).await.1) })
    })
}

/// Tries again a second later, each time: what happens is the same in every run.
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

/// A watch by kube's watcher, as controllers have them; with a list that is streamed or not.
pub(crate) fn by_watcher<K: Watched>(of: Api<K>, labels: Option<&str>, streamed: bool) -> View {
    let mut config = Config::default();
    if let Some(labels) = labels {
        config = config.labels(labels);
    }
    if streamed {
        config = config.streaming_lists();
    }
    let (store, writer) = reflector::store();
    let there = there(&of, labels);
    let events = watcher(of, config).backoff(EverySecond);
    let task = tokio::spawn(reflector(writer, events).for_each(|_| async {}));
    View {
        known: Box::new(move || objects(store.state().iter().map(Arc::as_ref))),
        there,
        task,
    }
}

/// A watch by hand: list, watch, go on from the last version, list again when that is forgotten.
pub(crate) fn by_hand<K: Watched>(of: Api<K>, labels: Option<&str>) -> View {
    let known = Arc::new(Mutex::new(Objects::new()));
    let there = there(&of, labels);
    let task = tokio::spawn(follow(of, selecting(labels), Arc::clone(&known)));
    View {
        known: Box::new(move || known.lock().unwrap().clone()),
        there,
        task,
    }
}

async fn follow<K: Watched>(api: Api<K>, listing: ListParams, known: Arc<Mutex<Objects>>) {
    let watching = WatchParams {
        label_selector: listing.label_selector.clone(),
        ..WatchParams::default()
    };
    loop {
        let (mut version, items) = list(&api, &listing).await;
        let listed = objects(&items);
        check_progress(&known.lock().unwrap(), &listed);
        *known.lock().unwrap() = listed;
        while let Ok(next) = watch(&api, &watching, &version, &known).await {
            version = next;
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// An object that is listed is not older than it was known to be.
fn check_progress(known: &Objects, listed: &Objects) {
    for (key, object) in listed {
        if let Some(before) = known.get(key) {
            assert!(version(object) >= version(before), "{key:?} went back");
        }
    }
}

fn version(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str().unwrap();
    version.parse().unwrap()
}

/// The version is forgotten.
struct Forgotten;

/// Takes in what changes after a version, until the watch ends.
///
/// # Returns
/// The version up to which changes are known.
async fn watch<K: Watched>(
    api: &Api<K>,
    params: &WatchParams,
    from: &str,
    known: &Mutex<Objects>,
) -> Result<String, Forgotten> {
    let mut last = from.to_owned();
    let mut events = match api.watch(params, from).await {
        Ok(events) => events.boxed(),
        Err(error) => {
            is_expected(&error);
            return Ok(last);
        }
    };
    while let Ok(Some(event)) = events.try_next().await {
        let (object, is_there) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
            WatchEvent::Deleted(object) => (object, false),
            WatchEvent::Bookmark(bookmark) => {
                last = bookmark.metadata.resource_version;
                continue;
            }
            WatchEvent::Error(status) => {
                assert_eq!(status.code, 410, "{status:?}");
                return Err(Forgotten);
            }
        };
        let content = serde_json::to_value(&object).unwrap();
        let (before, now) = (last.parse().unwrap(), version(&content));
        assert!(now > before, "told {now} after {before}");
        last = now.to_string();
        let mut known = known.lock().unwrap();
        if is_there {
            known.insert(key(&object), content);
        } else {
            let gone = known.remove(&key(&object));
            assert!(gone.is_some(), "told of the end of what was not there");
        }
    }
    Ok(last)
}
