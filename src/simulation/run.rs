//! The loop: takes in what the watches tell, decides about one piece of work at a time, makes the
//! changes and takes in the answers. It sleeps when there is nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ApiResource;
use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::change::{self, Decision, Made};
use super::queue::{Queue, Work};
use super::view::{Key, View};
use super::watches::{Seen, Watches};
use super::{Options, deployment, endpoints, garbage, job, kubelet, replica_set};
use crate::clock::Clock;

/// The rest of a cluster in memory.
pub(super) struct Simulation {
    client: Client,
    clock: Clock,
    options: Options,
    watches: Watches,
    view: View,
    queue: Queue,
    /// Uids that the lists which are under way have shown, by kind.
    lists: BTreeMap<(String, String), BTreeSet<String>>,
    /// Kinds whose first list has not come yet. Until it has, an object that is not known may exist
    /// nevertheless, and nothing is decided.
    unlisted: BTreeSet<(String, String)>,
}

fn kind_of(resource: &ApiResource) -> (String, String) {
    (resource.api_version.clone(), resource.kind.clone())
}

impl Simulation {
    pub(super) fn new(client: Client, clock: Clock, options: Options) -> Self {
        let mut queue = Queue::default();
        queue.push(Work::Discover);
        Self {
            watches: Watches::new(client.clone()),
            client,
            clock,
            options,
            view: View::default(),
            queue,
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
            if self.unlisted.is_empty()
                && let Some(work) = self.queue.pop(now)
            {
                self.pass(work).await;
                continue;
            }
            let due = self.queue.next_due().filter(|_| self.unlisted.is_empty());
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

    fn push(&mut self, work: Vec<Work>) {
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
            Ok(Event::Delete(object)) => self.view.remove(
                &resource,
                object.metadata.uid.as_deref().unwrap_or_default(),
            ),
            Ok(Event::Init) => {
                self.lists.insert(kind, BTreeSet::new());
                Vec::new()
            }
            Ok(Event::InitApply(object)) => {
                if let (Some(list), Some(uid)) = (self.lists.get_mut(&kind), object.uid()) {
                    list.insert(uid);
                }
                self.view.absorb(&resource, object, now)
            }
            Ok(Event::InitDone) => {
                self.unlisted.remove(&kind);
                let listed = self.lists.remove(&kind).unwrap_or_default();
                self.retain(&resource, &listed)
            }
            Err(error) => {
                debug!(kind = resource.kind, %error, "a watch failed and starts again");
                self.unlisted.remove(&kind);
                Vec::new()
            }
        };
        self.push(work);
    }

    /// Forgets the objects of a kind that a complete list has not shown.
    fn retain(&mut self, resource: &ApiResource, listed: &BTreeSet<String>) -> Vec<Work> {
        let known = self
            .view
            .graph
            .of_kind(resource)
            .map(|node| node.uid.clone());
        let gone: Vec<_> = known.filter(|uid| !listed.contains(uid)).collect();
        gone.iter()
            .flat_map(|uid| self.view.remove(resource, uid))
            .collect()
    }

    /// Decides about one piece of work and makes the changes.
    async fn pass(&mut self, work: Work) {
        match self.attempt(&work).await {
            Ok(wake_at) => self.queue.done(&work, wake_at),
            Err((what, error)) => {
                let wait = self.queue.failed(&work, self.clock.now());
                warn!(what, %error, ?wait, "a change was refused and will be tried again");
            }
        }
    }

    async fn attempt(
        &mut self,
        work: &Work,
    ) -> Result<Option<jiff::Timestamp>, (String, kube::Error)> {
        let decision = match work {
            Work::Discover => {
                let told = |error| ("discover the served kinds".to_owned(), error);
                self.discover().await.map_err(told)?;
                Decision::default()
            }
            Work::Garbage(uid) => {
                let told = |error| ("look for the owners of an object".to_owned(), error);
                let absent = self.absent_owners(uid).await.map_err(told)?;
                Decision::now(garbage::decide(&self.view.graph, uid, &absent))
            }
            other => self.decide(other),
        };
        for change in &decision.changes {
            let made = change::make(&self.client, change).await;
            match made {
                Ok(made) => self.absorb(made),
                Err(error) => return Err((change.to_string(), error)),
            }
        }
        Ok(decision.wake_at)
    }

    /// What is to be done, from what is known alone.
    fn decide(&self, work: &Work) -> Decision {
        let (view, now) = (&self.view, self.clock.now());
        match work {
            Work::Discover | Work::Garbage(_) => Decision::default(),
            Work::Pod(key) => {
                let pod = view.pods.get(key);
                pod.map(|pod| kubelet::decide(pod, &self.options, now))
                    .unwrap_or_default()
            }
            Work::ReplicaSet(key) => {
                let pods = self.pods(key);
                let found = view.replica_sets.get(key);
                found
                    .map(|set| replica_set::decide(set, &pods, now))
                    .unwrap_or_default()
            }
            Work::Deployment(key) => {
                let replica_sets: Vec<_> = view
                    .replica_sets
                    .in_namespace(&key.namespace)
                    .cloned()
                    .collect();
                let pods = self.pods(key);
                let found = view
                    .deployments
                    .get(key)
                    .map(|deployment| deployment::Observed {
                        deployment,
                        replica_sets: &replica_sets,
                        pods: &pods,
                        now,
                    });
                found
                    .map(|observed| deployment::decide(&observed))
                    .unwrap_or_default()
            }
            Work::Job(key) => {
                let pods = self.pods(key);
                view.jobs
                    .get(key)
                    .map(|job| job::decide(job, &pods, now))
                    .unwrap_or_default()
            }
            Work::Endpoints(key) => {
                let (service, found) = (view.services.get(key), view.endpoints.get(key));
                let pods = self.pods(key);
                let change =
                    endpoints::decide(service.map(|it| &**it), found.map(|it| &**it), &pods);
                Decision::now(change.into_iter().collect())
            }
            Work::Namespace(name) => {
                let found = view.namespaces.get(&Key::new("", name));
                let goes = found.is_none_or(|found| found.metadata.deletion_timestamp.is_some());
                if !goes {
                    return Decision::default();
                }
                Decision::now(garbage::empty_namespace(&view.graph, name, found.is_some()))
            }
        }
    }

    fn pods(&self, key: &Key) -> Vec<Arc<Pod>> {
        self.view
            .pods
            .in_namespace(&key.namespace)
            .cloned()
            .collect()
    }

    /// Takes in what a change left behind.
    fn absorb(&mut self, made: Made) {
        let now = self.clock.now();
        let work = match made {
            Made::Object(resource, object) => {
                let known = self.watches.kind(&resource.api_version, &resource.kind);
                let resource = known.map_or_else(|| Arc::new(resource), |(resource, _)| resource);
                self.view.absorb(&resource, *object, now)
            }
            Made::Doomed(target) => self.view.doom(&Arc::new(target.resource), &target.uid, now),
            Made::Nothing => Vec::new(),
        };
        self.push(work);
    }

    /// Watches what is served now.
    async fn discover(&mut self) -> Result<(), kube::Error> {
        let is_first = self.watches.kinds().next().is_none();
        let gone = self.watches.discover().await?;
        if is_first {
            self.unlisted = self.watches.kinds().map(|kind| kind_of(kind)).collect();
        }
        for resource in gone {
            let work = self.retain(&resource, &BTreeSet::new());
            self.push(work);
        }
        Ok(())
    }

    /// The owners of an object that do not exist, as the API server itself says. One of a kind that
    /// is not served may exist.
    async fn absent_owners(&mut self, uid: &str) -> Result<BTreeSet<String>, kube::Error> {
        let mut absent = BTreeSet::new();
        let Some(node) = self.view.graph.get(uid) else {
            return Ok(absent);
        };
        let namespace = node.key.namespace.clone();
        for owner in garbage::unseen_owners(&self.view.graph, uid) {
            let kind = self.watches.kind(&owner.api_version, &owner.kind);
            let Some((resource, namespaced)) = kind else {
                continue;
            };
            if namespaced && namespace.is_empty() {
                // An object without a namespace cannot be owned by one that has one.
                continue;
            }
            let namespace = if namespaced { &namespace } else { "" };
            let api = change::api(&self.client, &resource, namespace);
            let found = api
                .get_opt(&owner.name)
                .await?
                .and_then(|found| found.uid());
            if found.is_none_or(|uid| uid != owner.uid) {
                absent.insert(owner.uid);
            }
        }
        Ok(absent)
    }
}
