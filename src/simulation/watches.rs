//! One watch for each kind that the API server serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt as _};
use kube::api::{ApiResource, DynamicObject};
use kube::discovery::{Discovery, verbs};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::patience::WatchBackoff;

/// What a watch told.
pub(super) struct Seen {
    pub(super) resource: Arc<ApiResource>,
    pub(super) event: Result<Event<DynamicObject>, watcher::Error>,
}

struct Open {
    resource: Arc<ApiResource>,
    namespaced: bool,
    /// Ends the watch when it is dropped.
    _end: DropGuard,
}

/// The watches, and the kinds that they are open for.
pub(super) struct Watches {
    client: Client,
    seen: SelectAll<BoxStream<'static, Seen>>,
    /// By apiVersion and kind.
    open: BTreeMap<(String, String), Open>,
}

impl Watches {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            seen: SelectAll::new(),
            open: BTreeMap::new(),
        }
    }

    /// The kind of an object, if it is served, and whether it lives in namespaces.
    pub(super) fn kind(&self, api_version: &str, kind: &str) -> Option<(Arc<ApiResource>, bool)> {
        let open = self.open.get(&(api_version.to_owned(), kind.to_owned()))?;
        Some((Arc::clone(&open.resource), open.namespaced))
    }

    /// The kinds that are watched.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &Arc<ApiResource>> {
        self.open.values().map(|open| &open.resource)
    }

    /// Asks which kinds are served, watches new ones and ends the watches of those that are gone.
    ///
    /// # Returns
    /// The kinds that are gone.
    pub(super) async fn discover(&mut self) -> Result<Vec<Arc<ApiResource>>, kube::Error> {
        // The same Events are served in the core group, too.
        let discovery = Discovery::new(self.client.clone()).exclude(&["events.k8s.io"]);
        let discovery = discovery.run().await?;
        let groups = discovery.groups_alphabetical();
        let served: BTreeMap<_, _> = groups
            .iter()
            .flat_map(|group| group.recommended_resources())
            .filter(|(_, can)| {
                [verbs::LIST, verbs::WATCH, verbs::DELETE]
                    .iter()
                    .all(|verb| can.supports_operation(verb))
            })
            .map(|(resource, can)| {
                let namespaced = can.scope == kube::discovery::Scope::Namespaced;
                (
                    (resource.api_version.clone(), resource.kind.clone()),
                    (resource, namespaced),
                )
            })
            .collect();
        let gone: Vec<_> = self
            .open
            .keys()
            .filter(|kind| !served.contains_key(*kind))
            .cloned()
            .collect();
        let gone = gone.iter().filter_map(|kind| self.open.remove(kind));
        let gone = gone.map(|open| open.resource).collect();
        for (kind, (resource, namespaced)) in served {
            if !self.open.contains_key(&kind) {
                let open = self.watch(Arc::new(resource), namespaced);
                self.open.insert(kind, open);
            }
        }
        Ok(gone)
    }

    fn watch(&mut self, resource: Arc<ApiResource>, namespaced: bool) -> Open {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &*resource);
        let end = CancellationToken::new();
        let of = Arc::clone(&resource);
        let seen = watch(api, watcher::Config::default())
            .backoff(WatchBackoff::default())
            .map(move |event| Seen {
                resource: Arc::clone(&of),
                event,
            })
            .take_until(end.clone().cancelled_owned());
        self.seen.push(seen.boxed());
        Open {
            resource,
            namespaced,
            _end: end.drop_guard(),
        }
    }

    /// What the watches tell, in the order in which it comes.
    pub(super) fn seen(&mut self) -> &mut (impl Stream<Item = Seen> + Unpin + use<>) {
        &mut self.seen
    }
}
