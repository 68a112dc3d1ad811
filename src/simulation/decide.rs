//! Which decision a piece of work asks for, and what of the cluster it depends on.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;

use super::act::Refusal;
use super::change::Decision;
use super::queue::Work;
use super::run::Simulation;
use super::view::{Key, View};
use super::{
    deployment, endpoint_slices, endpoints, job, kubelet, namespaces, nodes, pods, replica_set,
    scheduler,
};

impl Simulation {
    /// What is to be done, from what is known alone; after a refusal, if there was one.
    pub(super) fn decide(&self, work: &Work, refusal: Option<&Refusal>) -> Decision {
        let decision = match work {
            Work::Discover | Work::Garbage(_) | Work::Verify(_) => None,
            Work::Pod(key) => self.pod(key),
            Work::ReplicaSet(key) => self.replica_set(key, refusal),
            Work::Deployment(key) => self.deployment(key, refusal),
            Work::Job(key) => self.job(key),
            Work::Endpoints(key) => Some(self.endpoints(key)),
            Work::Node(name) => self.node(name),
            Work::Namespace(name) => Some(namespaces::decide(&self.view, name, self.clock.now())),
        };
        decision.unwrap_or_default()
    }

    fn pod(&self, key: &Key) -> Option<Decision> {
        let (view, now) = (&self.view, self.clock.now());
        let pod = view.pods.get(key)?;
        if job::is_tracked(pod) && !has_job(view, pod) {
            // Nobody is left who would count it.
            return Some(Decision::now(vec![job::untrack(pod)]));
        }
        let script = self.options.script_of(pod);
        Some(if nodes::waits(pod) {
            scheduler::decide(pod, &script, view, now)
        } else {
            let node = pods::node(pod).and_then(|node| view.nodes.get(&Key::new("", node)));
            kubelet::decide(pod, &script, node.map(|node| &**node), now)
        })
    }

    fn replica_set(&self, key: &Key, refusal: Option<&Refusal>) -> Option<Decision> {
        let replica_set = self.view.replica_sets.get(key)?;
        Some(replica_set::decide(&replica_set::Observed {
            replica_set,
            pods: &candidates(&self.view, &**replica_set),
            related: &|| related_pods(&self.view, replica_set),
            refusal: refusal.map(Refusal::message),
            now: self.clock.now(),
        }))
    }

    fn deployment(&self, key: &Key, refusal: Option<&Refusal>) -> Option<Decision> {
        let view = &self.view;
        let deployment = view.deployments.get(key)?;
        let uid = deployment.uid().unwrap_or_default();
        let managed = view.replica_sets.managed_by(&uid);
        let replica_sets: Vec<_> = managed
            .chain(view.replica_sets.unmanaged(&key.namespace))
            .cloned()
            .collect();
        let runs_pods = |replica_set: &ReplicaSet| {
            let uid = replica_set.uid().unwrap_or_default();
            view.pods
                .managed_by(&uid)
                .any(|pod| !pods::is_finished(pod))
        };
        let is_taken = |name: &str| {
            let replica_set = view.replica_sets.get(&Key::new(&key.namespace, name));
            replica_set.is_some()
        };
        Some(deployment::decide(&deployment::Observed {
            deployment,
            replica_sets: &replica_sets,
            runs_pods: &runs_pods,
            is_taken: &is_taken,
            refusal: refusal.map(Refusal::message),
            now: self.clock.now(),
        }))
    }

    fn job(&self, key: &Key) -> Option<Decision> {
        let job = self.view.jobs.get(key)?;
        let pods = candidates(&self.view, &**job);
        Some(job::decide(job, &pods, self.clock.now()))
    }

    fn endpoints(&self, key: &Key) -> Decision {
        let view = &self.view;
        let service = view.services.get(key).map(|service| &**service);
        let found = view.endpoints.get(key).map(|found| &**found);
        let pods = service.map_or_else(Vec::new, |service| selected(view, key, service));
        let change = endpoints::decide(service, found, &pods);
        let mut changes: Vec<_> = change.into_iter().collect();
        if let Some(service) = service {
            let uid = service.uid().unwrap_or_default();
            let slices: Vec<_> = view.endpoint_slices.managed_by(&uid).cloned().collect();
            changes.extend(endpoint_slices::decide(service, &slices, &pods));
        }
        Decision::now(changes)
    }

    fn node(&self, name: &str) -> Option<Decision> {
        let mut wanted = self.options.nodes.iter();
        let wanted = wanted.find(|node| node.name_any() == name)?;
        let found = self.view.nodes.get(&Key::new("", name));
        if found.is_none() && self.registered.contains(name) {
            // Somebody has deleted it since.
            return None;
        }
        let found = found.map(|node| &**node);
        let change = nodes::decide(wanted, found, self.clock.now());
        Some(Decision::now(change.into_iter().collect()))
    }
}

/// The pods that `owner` manages, and those that it may adopt.
fn candidates<K: kube::Resource>(view: &View, owner: &K) -> Vec<Arc<Pod>> {
    let managed = view
        .pods
        .managed_by(owner.meta().uid.as_deref().unwrap_or_default());
    let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
    let unmanaged = view.pods.unmanaged(namespace);
    managed.chain(unmanaged).cloned().collect()
}

/// Whether the Job that manages a pod exists.
fn has_job(view: &View, pod: &Pod) -> bool {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    pods::controller(&pod.metadata).is_some_and(|owner| {
        let job = view.jobs.get(&Key::new(namespace, &owner.name));
        owner.kind == "Job" && job.is_some_and(|job| job.uid().as_ref() == Some(&owner.uid))
    })
}

/// The pods of all ReplicaSets that have the same manager as this one.
fn related_pods(view: &View, replica_set: &ReplicaSet) -> Vec<Arc<Pod>> {
    let Some(owner) = pods::controller(&replica_set.metadata) else {
        return Vec::new();
    };
    let siblings = view.replica_sets.managed_by(&owner.uid);
    let pods = siblings.flat_map(|sibling| {
        let uid = sibling.uid().unwrap_or_default();
        view.pods.managed_by(&uid).cloned().collect::<Vec<_>>()
    });
    pods.collect()
}

/// The pods that a Service picks.
fn selected(view: &View, key: &Key, service: &Service) -> Vec<Arc<Pod>> {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    let Some(first) = selector.and_then(|selector| selector.first_key_value()) else {
        return Vec::new();
    };
    let pods = view.pods.tagged(&key.namespace, (first.0, first.1));
    pods.filter(|pod| pods::serves(service, pod.labels()))
        .cloned()
        .collect()
}
