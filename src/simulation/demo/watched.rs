//! The demo's objects, as the watches bring them.

use std::fmt::Debug;

use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll, select_all};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, Store};
use kube::{Api, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::World;
use super::objects::{NAME, NAMESPACE};
use crate::api::{AnalysisRun, Rollout};
use crate::controllers::watch;
use crate::telemetry::Readiness;
use crate::view::RolloutView;

/// The Rollout and what it owns.
pub(super) struct Watched {
    rollouts: Store<Rollout>,
    replica_sets: Store<ReplicaSet>,
    runs: Store<AnalysisRun>,
    changes: SelectAll<BoxStream<'static, ()>>,
}

impl Watched {
    pub(super) fn new(world: &World) -> Self {
        let (rollouts, first) = follow(world);
        let (replica_sets, second) = follow(world);
        let (runs, third) = follow(world);
        let changes = select_all([first, second, third]);
        Self {
            rollouts,
            replica_sets,
            runs,
            changes,
        }
    }

    /// Waits until one object has changed.
    pub(super) async fn changed(&mut self) {
        if self.changes.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn view(&self) -> RolloutView {
        let rollout = self.rollouts.find(|rollout| rollout.name_any() == NAME);
        rollout.map_or_else(RolloutView::default, |rollout| {
            RolloutView::of(&rollout, &self.replica_sets.state(), &self.runs.state())
        })
    }
}

/// A kind's objects, and a stream that has an item for each of their changes.
fn follow<K>(world: &World) -> (Store<K>, BoxStream<'static, ()>)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let api = Api::<K>::namespaced(world.cluster.client(), NAMESPACE);
    (
        store,
        watch(api, "", &Readiness::default())
            .reflect(writer)
            .map(|_| ())
            .boxed(),
    )
}
