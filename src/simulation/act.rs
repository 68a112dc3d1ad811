//! One pass over one piece of work: the decision, its changes, and what is told of a refusal.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{ApiResource, DynamicObject};
use serde_json::{Value, json};
use tracing::{debug, warn};

use super::change::{self, Change, Decision, Made};
use super::garbage;
use super::narration;
use super::pods;
use super::queue::Work;
use super::recorder::Told;
use super::run::Simulation;
use super::view::Key;

/// A change that was refused, or whose answer did not come.
#[derive(Debug)]
pub(super) struct Refusal {
    /// `None` if something was only asked.
    pub(super) change: Option<Change>,
    what: String,
    error: kube::Error,
}

impl Refusal {
    fn of(change: &Change, error: kube::Error) -> Self {
        Self {
            change: Some(change.clone()),
            what: change.to_string(),
            error,
        }
    }

    fn asking(what: &str) -> impl FnOnce(kube::Error) -> Self {
        let what = what.to_owned();
        |error| Self {
            change: None,
            what,
            error,
        }
    }

    /// Why, in the server's words.
    pub(super) fn message(&self) -> String {
        match &self.error {
            kube::Error::Api(status) => status.message.clone(),
            error => error.to_string(),
        }
    }

    /// Somebody else was faster: the next look will see it.
    fn is_conflict(&self) -> bool {
        matches!(&self.error, kube::Error::Api(status) if status.code == 409)
    }
}

impl Simulation {
    /// Decides about one piece of work and makes the changes.
    pub(super) async fn pass(&mut self, work: Work) {
        let refusal = match self.attempt(&work).await {
            Ok(wake_at) => return self.queue.done(&work, wake_at),
            Err(refusal) => refusal,
        };
        let wait = self.queue.failed(&work, self.clock.now());
        if let Some(change) = &refusal.change {
            let why = refusal.message();
            self.tell(narration::of_refused(&self.view, &work, change, &why));
        }
        let Refusal { what, error, .. } = &refusal;
        if refusal.is_conflict() {
            debug!(what, %error, ?wait, "a change came too late and will be tried again");
        } else {
            warn!(what, %error, ?wait, "a change was refused and will be tried again");
        }
        self.report(&work, &refusal).await;
    }

    async fn attempt(&mut self, work: &Work) -> Result<Option<Timestamp>, Refusal> {
        let decision = match work {
            Work::Discover => {
                let told = Refusal::asking("discover the served kinds");
                self.discover().await.map_err(told)?;
                Decision::default()
            }
            Work::Verify(uid) => {
                let told = Refusal::asking("look for an object");
                self.verify(uid).await.map_err(told)?;
                Decision::default()
            }
            Work::Garbage(uid) => {
                let told = Refusal::asking("look for the owners of an object");
                let absent = self.absent_owners(uid).await.map_err(told)?;
                Decision::now(garbage::decide(&self.view.graph, uid, &absent))
            }
            other => self.decide(other, None),
        };
        if let Work::Pod(key) = work {
            self.tell_of_stop(key);
        }
        for change in &decision.changes {
            let told = self.told_of(work, change);
            let name = self.make(change).await;
            let name = name.map_err(|error| Refusal::of(change, error))?;
            self.tell(told);
            self.tell_of_new(work, change, name.as_deref());
        }
        if let Work::Node(name) = work {
            self.registered.insert(name.clone());
        }
        Ok(decision.wake_at)
    }

    /// Brings the status up to date in spite of a refusal, and has it tell of that.
    async fn report(&mut self, work: &Work, refusal: &Refusal) {
        if !refusal.change.as_ref().is_some_and(Change::is_of_number) {
            return;
        }
        let decision = self.decide(work, Some(refusal));
        let statuses = decision.changes.iter();
        for change in statuses.filter(|change| matches!(change, Change::Status { .. })) {
            if let Err(error) = self.make(change).await {
                debug!(%change, %error, "a refusal could not be reported");
            }
        }
    }

    fn tell(&self, told: impl IntoIterator<Item = Told>) {
        self.recorder.tell(self.clock.now(), told);
    }

    fn told_of(&self, work: &Work, change: &Change) -> Vec<Told> {
        if !self.recorder.listens() {
            return Vec::new();
        }
        narration::of(&self.view, work, change)
    }

    fn tell_of_new(&self, work: &Work, change: &Change, name: Option<&str>) {
        if let Some(name) = name {
            self.tell(narration::of_new(&self.view, work, change, name));
        }
    }

    /// Tells once of a pod that it is about to stop.
    fn tell_of_stop(&mut self, key: &Key) {
        let pod = self.view.pods.get(key);
        let Some(pod) = pod.filter(|pod| pods::is_deleting(pod)) else {
            return;
        };
        if self.stopping.insert(pod.uid().unwrap_or_default()) {
            let told = narration::of_stop(pod);
            self.tell(told);
        }
    }

    /// Makes one change and takes in what it left behind.
    ///
    /// # Returns
    /// The name of the object as it is now, if there is one.
    async fn make(&mut self, change: &Change) -> Result<Option<String>, kube::Error> {
        match change {
            Change::Create {
                resource,
                namespace,
                object,
            } if object["metadata"]["name"].is_null() => {
                self.make_named(resource, namespace, object).await
            }
            other => {
                let made = change::make(&self.client, other).await?;
                Ok(self.take_in(made))
            }
        }
    }

    fn take_in(&mut self, made: Made) -> Option<String> {
        match made {
            Made::Object(resource, object) | Made::There(resource, object) => {
                let name = object.name_any();
                self.absorb(resource, *object);
                Some(name)
            }
            Made::Doomed(target) => {
                let now = self.clock.now();
                let work = self.view.doom(&target.resource, &target.uid, now);
                self.push(work);
                None
            }
            Made::Nothing => None,
        }
    }

    /// Makes an object under a name of our choice.
    async fn make_named(
        &mut self,
        resource: &ApiResource,
        namespace: &str,
        object: &Value,
    ) -> Result<Option<String>, kube::Error> {
        let metadata = &object["metadata"];
        let prefix = metadata["generateName"].as_str().unwrap_or_default();
        let owner = metadata["ownerReferences"][0]["uid"].as_str();
        let owner = owner.unwrap_or_default();
        loop {
            let mut named = object.clone();
            named["metadata"]["name"] = json!(self.names.next(prefix, owner));
            let create = Change::Create {
                resource: resource.clone(),
                namespace: namespace.to_owned(),
                object: named,
            };
            let made = change::make(&self.client, &create).await?;
            self.names.use_up(owner);
            // One that is there and was not known is ours: the answer to an earlier try got lost.
            let is_new = match &made {
                Made::There(_, found) => is_managed(found, owner) && !self.is_known(found),
                _ => true,
            };
            let name = self.take_in(made);
            if is_new {
                return Ok(name);
            }
        }
    }

    fn is_known(&self, object: &DynamicObject) -> bool {
        let uid = object.uid().unwrap_or_default();
        self.view.graph.get(&uid).is_some()
    }

    /// Asks whether an object exists that a list has not shown.
    async fn verify(&mut self, uid: &str) -> Result<(), kube::Error> {
        let Some(target) = self.view.graph.get(uid).map(super::graph::Node::target) else {
            return Ok(());
        };
        let api = change::api(&self.client, &target.resource, &target.namespace);
        match api.get_opt(&target.name).await? {
            Some(found) if found.uid().as_deref() == Some(uid) => {
                self.absorb(target.resource, found);
            }
            _ => {
                let work = self.forget(&target.resource, uid);
                self.push(work);
            }
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
            if self.view.graph.is_gone(&owner.uid) {
                absent.insert(owner.uid);
                continue;
            }
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
            let found = api.get_opt(&owner.name).await?;
            if found.and_then(|found| found.uid()).as_ref() != Some(&owner.uid) {
                absent.insert(owner.uid);
            }
        }
        Ok(absent)
    }
}

fn is_managed(object: &DynamicObject, owner: &str) -> bool {
    pods::controller(&object.metadata).is_some_and(|found| found.uid == owner)
}
