//! An object and what may belong to it: read once, or kept up to date by watches.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::kind::Known;
use super::{Around, Error, names};
use crate::api::{AnalysisRun, Experiment};
use crate::cluster::Namespaced;
use crate::view::Belongings;

/// The shortest time between two drawings, as Argo's plugin has it.
const PAUSE: Duration = Duration::from_millis(200);

/// How long after that a page is drawn anew, so that ages move each second.
const TICK: Duration = Duration::from_millis(800);

/// Reads an object; that there is none is told in the singular, as by Argo's plugin.
pub(super) async fn read<K: Known>(around: &Around, name: &str) -> Result<K, Error> {
    let found = around.cluster.get::<K>(&around.namespace, name).await?;
    match found {
        Some(object) => Ok(object),
        None => Err(names::missing::<K>(around, name).await),
    }
}

/// Lists what may belong to it.
pub(super) async fn belongings(around: &Around) -> Result<Belongings, Error> {
    let (cluster, namespace) = (&around.cluster, around.namespace.as_str());
    let (replica_sets, pods, experiments, analysis_runs) = tokio::try_join!(
        cluster.list::<ReplicaSet>(namespace, ""),
        cluster.list::<Pod>(namespace, ""),
        cluster.list::<Experiment>(namespace, ""),
        cluster.list::<AnalysisRun>(namespace, ""),
    )?;
    Ok(Belongings {
        replica_sets: shared(replica_sets),
        pods: shared(pods),
        experiments: shared(experiments),
        analysis_runs: shared(analysis_runs),
    })
}

fn shared<K>(objects: Vec<K>) -> Vec<Arc<K>> {
    objects.into_iter().map(Arc::new).collect()
}

/// An object and what may belong to it, kept up to date.
pub(super) struct Live<K: Known> {
    object: Store<K>,
    replica_sets: Store<ReplicaSet>,
    pods: Store<Pod>,
    experiments: Store<Experiment>,
    analysis_runs: Store<AnalysisRun>,
    changed: watch::Receiver<()>,
    /// The watches end with it.
    _watches: JoinSet<()>,
}

impl<K: Known> Live<K>
where
    K: Resource<DynamicType = ()>,
{
    /// Begins to watch. Whoever may not is told before, by [`belongings`].
    pub(super) async fn of(around: &Around, name: &str) -> Self {
        let mut watches = JoinSet::new();
        let (tell, changed) = watch::channel(());
        let own = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let all = watcher::Config::default;
        let live = Self {
            object: follow(around, own, &tell, &mut watches),
            replica_sets: follow(around, all(), &tell, &mut watches),
            pods: follow(around, all(), &tell, &mut watches),
            experiments: follow(around, all(), &tell, &mut watches),
            analysis_runs: follow(around, all(), &tell, &mut watches),
            changed,
            _watches: watches,
        };
        let ready = async {
            let _ = live.object.wait_until_ready().await;
            let _ = live.replica_sets.wait_until_ready().await;
            let _ = live.pods.wait_until_ready().await;
            let _ = live.experiments.wait_until_ready().await;
            let _ = live.analysis_runs.wait_until_ready().await;
        };
        tokio::select! {
            () = ready => {}
            () = around.stop.cancelled() => {}
        }
        live
    }

    /// The object; none if it was deleted.
    pub(super) fn object(&self) -> Option<Arc<K>> {
        self.object.state().into_iter().next()
    }

    pub(super) fn belongings(&self) -> Belongings {
        Belongings {
            replica_sets: self.replica_sets.state(),
            pods: self.pods.state(),
            experiments: self.experiments.state(),
            analysis_runs: self.analysis_runs.state(),
        }
    }

    /// Waits for a change, but not longer than ages stand still; answers whether to go on.
    pub(super) async fn wait(&mut self, around: &Around, end: impl Future<Output = ()>) -> bool {
        let next = async {
            tokio::time::sleep(PAUSE).await;
            let _ = tokio::time::timeout(TICK, self.changed.changed()).await;
        };
        tokio::select! {
            () = next => true,
            () = around.stop.cancelled() => false,
            () = end => false,
        }
    }
}

fn follow<K>(
    around: &Around,
    config: watcher::Config,
    tell: &watch::Sender<()>,
    watches: &mut JoinSet<()>,
) -> Store<K>
where
    K: Namespaced + Debug,
{
    let (store, writer) = reflector::store::<K>();
    let api = Api::<K>::namespaced(around.cluster.client(), &around.namespace);
    let events = watcher(api, config)
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer);
    let tell = tell.clone();
    watches.spawn(events.for_each(move |event| {
        match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Ok(_) => drop(tell.send(())),
            Err(error) => tracing::warn!(%error, "cannot watch"),
        }
        std::future::ready(())
    }));
    store
}
