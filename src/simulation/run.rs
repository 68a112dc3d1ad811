//! The loop: takes in what the watches tell, decides about one piece of work at a time, makes the
//! changes and takes in the answers. It sleeps when there is nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Options;
use super::names::Names;
use super::patience::impatient;
use super::queue::{Queue, Work};
use super::recorder::Recorder;
use super::view::{self, View};
use super::watches::{Seen, Watches};
use crate::clock::Clock;

/// The rest of a cluster in memory.
pub(super) struct Simulation {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) options: Options,
    pub(super) watches: Watches,
    pub(super) view: View,
    pub(super) queue: Queue,
    pub(super) names: Names,
    pub(super) recorder: Recorder,
    /// Uids of pods of which it was told that they are about to stop.
    pub(super) stopping: BTreeSet<String>,
    /// Nodes of our own that have been there.
    pub(super) registered: BTreeSet<String>,
    /// The lists that are under way, by kind.
    lists: BTreeMap<Kind, List>,
    /// Kinds whose first list has not come yet. Until it has, an object that is not known may exist
    /// nevertheless, and nothing is decided.
    unlisted: BTreeSet<Kind>,
}

/// An API version and a kind.
type Kind = (String, String);

/// What has been told since a list began, by uid.
#[derive(Debug, Default)]
struct List {
    shown: BTreeSet<String>,
    /// Answers of own writes. The list may be older than these, and lack what they made.
    answered: BTreeSet<String>,
}

fn kind_of(resource: &ApiResource) -> Kind {
    (resource.api_version.clone(), resource.kind.clone())
}

impl Simulation {
    pub(super) fn new(client: Client, clock: Clock, options: Options) -> Self {
        let client = impatient(client);
        let mut queue = Queue::default();
        queue.push(Work::Discover);
        for node in &options.nodes {
            queue.push(Work::Node(node.name_any()));
        }
        let recorder = if options.events {
            Recorder::new(client.clone())
        } else {
            Recorder::silent()
        };
        Self {
            recorder,
            stopping: BTreeSet::new(),
            watches: Watches::new(client.clone()),
            client,
            names: Names::new(clock.now()),
            clock,
            options,
            view: View::default(),
            queue,
            registered: BTreeSet::new(),
            lists: BTreeMap::new(),
            unlisted: BTreeSet::new(),
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.work()).await;
    }

    async fn work(&mut self) {
        loop {
            // What is known should be as new as can be before anything is decided.
            while let Some(Some(seen)) = self.watches.seen().next().now_or_never() {
                self.take(seen);
            }
            let now = self.clock.now();
            let is_informed = self.unlisted.is_empty() && self.watches.kinds().next().is_some();
            if let Some(work) = self.queue.pop(now, is_informed) {
                self.pass(work).await;
                continue;
            }
            let due = self.queue.next_due(is_informed);
            let wait = due.map(|due| Duration::try_from(due.duration_since(now)));
            let wait = wait.map(Result::unwrap_or_default);
            let sleep = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(seen) = self.watches.seen().next() => self.take(seen),
                () = sleep => {}
            }
        }
    }

    pub(super) fn push(&mut self, work: Vec<Work>) {
        for work in work {
            self.queue.push(work);
        }
    }

    /// Takes in what a watch told.
    fn take(&mut self, seen: Seen) {
        let Seen { resource, event } = seen;
        let kind = kind_of(&resource);
        let now = self.clock.now();
        let work = match event {
            Ok(Event::Apply(object)) => self.view.absorb(&resource, object, now),
            Ok(Event::Delete(object)) => self.forget(&resource, &object.uid().unwrap_or_default()),
            Ok(Event::Init) => {
                self.lists.insert(kind, List::default());
                Vec::new()
            }
            Ok(Event::InitApply(object)) => {
                if let (Some(list), Some(uid)) = (self.lists.get_mut(&kind), object.uid()) {
                    list.shown.insert(uid);
                }
                self.view.absorb(&resource, object, now)
            }
            Ok(Event::InitDone) => {
                self.unlisted.remove(&kind);
                let list = self.lists.remove(&kind).unwrap_or_default();
                self.retain(&resource, &list)
            }
            Err(error) => {
                debug!(kind = resource.kind, %error, "a watch failed and starts again");
                if !view::is_acted_on(&kind.0, &kind.1) {
                    self.unlisted.remove(&kind);
                }
                Vec::new()
            }
        };
        self.push(work);
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&mut self, resource: &ApiResource, uid: &str) -> Vec<Work> {
        self.names.forget(uid);
        self.stopping.remove(uid);
        self.view.remove(resource, uid)
    }

    /// Forgets the objects of a kind that a complete list has not shown.
    fn retain(&mut self, resource: &ApiResource, list: &List) -> Vec<Work> {
        let known = self.view.graph.of_kind(resource);
        let known = known.map(|node| node.uid.clone());
        let gone: Vec<_> = known.filter(|uid| !list.shown.contains(uid)).collect();
        let mut work = Vec::new();
        for uid in gone {
            if list.answered.contains(&uid) {
                work.push(Work::Verify(uid));
            } else {
                work.extend(self.forget(resource, &uid));
            }
        }
        work
    }

    /// Takes in an object as an answer showed it.
    pub(super) fn absorb(&mut self, resource: ApiResource, object: DynamicObject) {
        if let (Some(list), Some(uid)) = (self.lists.get_mut(&kind_of(&resource)), object.uid()) {
            list.answered.insert(uid);
        }
        let known = self.watches.kind(&resource.api_version, &resource.kind);
        let resource = known.map_or_else(|| Arc::new(resource), |(resource, _)| resource);
        let work = self.view.absorb(&resource, object, self.clock.now());
        self.push(work);
    }

    /// Watches what is served now.
    pub(super) async fn discover(&mut self) -> Result<(), kube::Error> {
        let is_first = self.watches.kinds().next().is_none();
        let gone = self.watches.discover().await?;
        if is_first {
            self.unlisted = self.watches.kinds().map(|kind| kind_of(kind)).collect();
        }
        for resource in gone {
            self.unlisted.remove(&kind_of(&resource));
            let work = self.retain(&resource, &List::default());
            self.push(work);
        }
        Ok(())
    }
}
