//! The Rollout `web` of a story: how it is made, changed and watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Event, Pod, Service};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{self, Event as WatchEvent};
use kube::runtime::{WatchStreamExt as _, reflector};
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, ConditionType, Rollout, RolloutPhase, RolloutStatus};

use super::World;

/// The Rollout `web` with ten replicas, a canary.
#[expect(
    clippy::needless_pass_by_value,
    reason = "literals read better than references to them"
)]
pub(crate) fn a_rollout(canary: Value) -> Value {
    a_rollout_with(json!({ "canary": canary }))
}

/// As [`a_rollout`], with any strategy.
#[expect(
    clippy::needless_pass_by_value,
    reason = "literals read better than references to them"
)]
pub(crate) fn a_rollout_with(strategy: Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "web" },
        "spec": {
            "replicas": 10,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "web:1" }] },
            },
            "strategy": strategy,
        },
    })
}

/// Numbers of pods by image, as [`World::ready_pods`] tells them.
pub(crate) fn pods(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
    expected
        .iter()
        .map(|(image, pods)| ((*image).to_owned(), *pods))
        .collect()
}

impl World {
    pub(crate) async fn merge_status(&self, status: Value) {
        self.operate(&json!({ "status": status })).await;
    }

    /// Sends a patch of the Rollout's status as `kubectl argo rollouts` does.
    pub(crate) async fn operate(&self, patch: &Value) {
        self.api::<Rollout>()
            .patch_status("web", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub(crate) async fn release(&self, image: &str) {
        let containers = json!([{ "name": "web", "image": image }]);
        let spec = json!({ "template": { "spec": { "containers": containers } } });
        self.merge::<Rollout>("web", json!({ "spec": spec })).await;
    }

    pub(crate) async fn status(&self) -> RolloutStatus {
        let rollout: Rollout = self.get("web").await;
        rollout.status.unwrap_or_default()
    }

    /// What the Rollout waits for: reason and sentence; empty if nothing.
    pub(crate) async fn waits_for(&self) -> String {
        let status = self.status().await;
        let mut conditions = status.conditions.iter();
        let told = conditions.find(|one| one.condition_type == ConditionType::Waiting);
        told.map_or_else(String::new, |one| {
            format!("{}: {}", one.reason, one.message)
        })
    }

    /// Waits until the Rollout's status is as it should be.
    pub(crate) async fn until_status(
        &self,
        is_so: impl Fn(&RolloutStatus) -> bool + Send + Sync,
    ) -> RolloutStatus {
        let is_so = |rollout: &Rollout| is_so(&rollout.status.clone().unwrap_or_default());
        let rollout = self.until("web", is_so).await;
        rollout.status.unwrap_or_default()
    }

    /// Waits until the Rollout, as it is written now, is in this phase.
    pub(crate) async fn until_phase(&self, phase: RolloutPhase) -> RolloutStatus {
        let rollout: Rollout = self.get("web").await;
        let generation = rollout.metadata.generation.unwrap().to_string();
        self.until_status(|status| {
            status.phase == Some(phase) && status.observed_generation == generation
        })
        .await
    }

    /// Waits until the update is aborted and all ten pods are of the stable version again.
    pub(crate) async fn until_taken_back(&self) -> RolloutStatus {
        self.until_status(|status| {
            status.abort && status.updated_replicas == 0 && status.available_replicas == 10
        })
        .await
    }

    /// Waits until the run of this name exists, and gives its verdict.
    pub(crate) async fn judge(&self, name: &str, phase: &str, message: &str) {
        self.until::<AnalysisRun>(name, |_| true).await;
        let patch = Patch::Merge(json!({ "status": { "phase": phase, "message": message } }));
        self.api::<AnalysisRun>()
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Images of the pods that are ready, each with their number.
    pub(crate) async fn ready_pods(&self) -> Vec<(String, usize)> {
        self.images_of(is_ready).await
    }

    async fn images_of(&self, is_meant: impl Fn(&Pod) -> bool) -> Vec<(String, usize)> {
        let mut images: Vec<String> = (self.list::<Pod>().await.iter())
            .filter(|pod| is_meant(pod))
            .filter_map(|pod| pod.spec.as_ref()?.containers.first()?.image.clone())
            .collect();
        images.sort();
        let chunks = images.chunk_by(|one, other| one == other);
        chunks.map(|same| (same[0].clone(), same.len())).collect()
    }

    /// Makes Services that select the pods of all versions.
    pub(crate) async fn create_services(&self, names: &[&str]) {
        for name in names {
            let ports = json!([{ "port": 80, "targetPort": 8080 }]);
            let service = json!({
                "metadata": { "name": name },
                "spec": { "selector": { "app": "web" }, "ports": ports },
            });
            self.create::<Service>(service).await;
        }
    }

    /// Images of the pods that a Service sends requests to, each with their number.
    pub(crate) async fn behind(&self, service: &str) -> Vec<(String, usize)> {
        let endpoints: Endpoints = self.get(service).await;
        let names = addresses(&endpoints);
        let names: Vec<&str> = names
            .filter_map(|address| address.target_ref.as_ref()?.name.as_deref())
            .collect();
        self.images_of(|pod| names.contains(&pod.name_any().as_str()))
            .await
    }

    /// The fewest pods behind a Service at any moment from now on.
    pub(crate) fn fewest_pods_behind(&self, service: &'static str) -> Arc<AtomicUsize> {
        let fewest = Arc::new(AtomicUsize::new(usize::MAX));
        let seen = Arc::clone(&fewest);
        let events = watcher::watcher(self.api::<Endpoints>(), watcher::Config::default());
        tokio::spawn(events.for_each(move |event| {
            if let Ok(WatchEvent::Apply(endpoints) | WatchEvent::InitApply(endpoints)) = event
                && endpoints.name_any() == service
            {
                seen.fetch_min(addresses(&endpoints).count(), Ordering::Relaxed);
            }
            std::future::ready(())
        }));
        fewest
    }

    /// Messages of all Events of a reason.
    pub(crate) async fn messages(&self, reason: &str) -> Vec<String> {
        let mut events: Vec<Event> = self.list().await;
        events.retain(|event| event.reason.as_deref() == Some(reason));
        events
            .into_iter()
            .filter_map(|event| event.message)
            .collect()
    }

    /// The fewest pods that are ready at any moment from now on.
    pub(crate) fn fewest_ready_pods(&self) -> Arc<AtomicUsize> {
        let fewest = Arc::new(AtomicUsize::new(usize::MAX));
        let seen = Arc::clone(&fewest);
        let (pods, writer) = reflector::store::<Pod>();
        let events = watcher::watcher(self.api(), watcher::Config::default()).reflect(writer);
        tokio::spawn(events.for_each(move |event| {
            let is_whole = !matches!(
                event,
                Err(_) | Ok(WatchEvent::Init | WatchEvent::InitApply(_))
            );
            if is_whole {
                let ready = pods.state().iter().filter(|pod| is_ready(pod)).count();
                seen.fetch_min(ready, Ordering::Relaxed);
            }
            std::future::ready(())
        }));
        fewest
    }
}

/// The pods that take requests.
pub(crate) fn addresses(endpoints: &Endpoints) -> impl Iterator<Item = &EndpointAddress> {
    let subsets = endpoints.subsets.iter().flatten();
    subsets.flat_map(|subset| subset.addresses.iter().flatten())
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}
