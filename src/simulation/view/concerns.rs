//! Which work a change of an object gives.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, Pod, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

use super::super::endpoint_slices;
use super::super::pods;
use super::super::queue::Work;
use super::View;
use super::shelf::{Acted, Key, Shelf};

impl Acted for Namespace {
    fn shelf(view: &mut View) -> &mut Shelf<Self> {
        &mut view.namespaces
    }

    fn concerns(&self, _view: &View) -> Vec<Work> {
        vec![Work::Namespace(self.name_any())]
    }
}

impl Acted for Node {
    fn shelf(view: &mut View) -> &mut Shelf<Self> {
        &mut view.nodes
    }

    fn concerns(&self, view: &View) -> Vec<Work> {
        let mut work = vec![Work::Node(self.name_any())];
        work.extend(view.waiting_pods());
        work
    }
}

impl Acted for Pod {
    fn shelf(view: &mut View) -> &mut Shelf<Self> {
        &mut view.pods
    }

    fn concerns(&self, view: &View) -> Vec<Work> {
        let key = Key::of(&self.metadata);
        let mut work = vec![Work::Pod(key.clone())];
        if let Some(owner) = pods::controller(&self.metadata) {
            let owner_key = Key::new(&key.namespace, &owner.name);
            match owner.kind.as_str() {
                "ReplicaSet" => {
                    let replica_set = view.replica_sets.get(&owner_key);
                    work.extend(replica_set.and_then(|set| deployment_of(&set.metadata)));
                    work.push(Work::ReplicaSet(owner_key));
                }
                "Job" => work.push(Work::Job(owner_key)),
                _ => {}
            }
        } else {
            work.extend(adopters(self, &key.namespace, view));
        }
        for tag in self.labels() {
            let services = view.services.tagged(&key.namespace, (tag.0, tag.1));
            let serving = services.filter(|service| pods::serves(service, self.labels()));
            work.extend(serving.map(|service| Work::Endpoints(Key::of(&service.metadata))));
        }
        work
    }

    fn tags(&self) -> Vec<(&str, &str)> {
        let labels = self.metadata.labels.iter().flatten();
        labels
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    fn weigh(view: &mut View, before: Option<&Self>, after: Option<&Self>) -> Vec<Work> {
        if view.occupancy.change(before, after) {
            view.waiting_pods().collect()
        } else {
            Vec::new()
        }
    }
}

/// Those that may adopt a pod which nothing manages.
fn adopters(pod: &Pod, namespace: &str, view: &View) -> Vec<Work> {
    let replica_sets = view.replica_sets.in_namespace(namespace).filter(|set| {
        let spec = set.spec.as_ref();
        spec.is_some_and(|spec| pods::selects(&spec.selector, pod.labels()))
    });
    let jobs = view.jobs.in_namespace(namespace).filter(|job| {
        let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| pods::selects(selector, pod.labels()))
    });
    let replica_sets = replica_sets.map(|set| Work::ReplicaSet(Key::of(&set.metadata)));
    let jobs = jobs.map(|job| Work::Job(Key::of(&job.metadata)));
    replica_sets.chain(jobs).collect()
}

impl Acted for ReplicaSet {
    fn shelf(view: &mut View) -> &mut Shelf<Self> {
        &mut view.replica_sets
    }

    fn concerns(&self, view: &View) -> Vec<Work> {
        let key = Key::of(&self.metadata);
        let mut work = vec![Work::ReplicaSet(key.clone())];
        if pods::controller(&self.metadata).is_some() {
            work.extend(deployment_of(&self.metadata));
        } else {
            let in_namespace = view.deployments.in_namespace(&key.namespace);
            let matching = in_namespace.filter(|deployment| {
                let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
                selector.is_some_and(|selector| pods::selects(selector, self.labels()))
            });
            work.extend(matching.map(|found| Work::Deployment(Key::of(&found.metadata))));
        }
        work
    }
}

fn deployment_of(metadata: &ObjectMeta) -> Option<Work> {
    let owner = pods::controller(metadata).filter(|owner| owner.kind == "Deployment")?;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    Some(Work::Deployment(Key::new(namespace, &owner.name)))
}

impl Acted for Service {
    fn shelf(view: &mut View) -> &mut Shelf<Self> {
        &mut view.services
    }

    fn concerns(&self, _view: &View) -> Vec<Work> {
        vec![Work::Endpoints(Key::of(&self.metadata))]
    }

    /// The first pair of the selector: a pod that it picks has that label.
    fn tags(&self) -> Vec<(&str, &str)> {
        let selector = self.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let first = selector.and_then(|selector| selector.first_key_value());
        first
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .into_iter()
            .collect()
    }
}

impl Acted for Job {
    fn shelf(view: &mut View) -> &mut Shelf<Self> {
        &mut view.jobs
    }

    /// Pods of a Job that is gone wait to be let go.
    fn concerns(&self, view: &View) -> Vec<Work> {
        let key = Key::of(&self.metadata);
        let mut work = vec![Work::Job(key.clone())];
        if view.jobs.get(&key).is_none() {
            let pods = view
                .pods
                .managed_by(self.metadata.uid.as_deref().unwrap_or_default());
            work.extend(pods.map(|pod| Work::Pod(Key::of(&pod.metadata))));
        }
        work
    }
}

macro_rules! acted {
    ($kind:ty, $shelf:ident, |$object:ident| $work:expr) => {
        impl Acted for $kind {
            fn shelf(view: &mut View) -> &mut Shelf<Self> {
                &mut view.$shelf
            }

            fn concerns(&self, _view: &View) -> Vec<Work> {
                let $object = &self.metadata;
                vec![$work]
            }
        }
    };
}

acted!(Deployment, deployments, |meta| Work::Deployment(Key::of(
    meta
)));
acted!(Endpoints, endpoints, |meta| Work::Endpoints(Key::of(meta)));
acted!(EndpointSlice, endpoint_slices, |meta| {
    let labels = meta.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(endpoint_slices::SERVICE));
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    Work::Endpoints(Key::new(
        namespace,
        service.map(String::as_str).unwrap_or_default(),
    ))
});
acted!(ServiceAccount, service_accounts, |meta| {
    Work::Namespace(meta.namespace.clone().unwrap_or_default())
});
acted!(ConfigMap, config_maps, |meta| {
    Work::Namespace(meta.namespace.clone().unwrap_or_default())
});
