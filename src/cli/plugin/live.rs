//! An object and what may belong to it: read once, or kept up to date by watches.

use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use super::outage::Outage;
use super::{Around, Error, names};
use crate::api::{AnalysisRun, Experiment};
use crate::cli::Output;
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
    trouble: Arc<Trouble>,
    changed: watch::Receiver<()>,
    /// The watches end with it.
    _watches: JoinSet<()>,
}

/// What befalls the watches.
#[derive(Default)]
struct Trouble(Mutex<(Outage, Option<Error>)>);

impl Trouble {
    fn lock(&self) -> MutexGuard<'_, (Outage, Option<Error>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what came of a watch; answers whether there is something new to show.
    fn note<K>(&self, event: &watcher::Result<watcher::Event<K>>) -> bool {
        let mut trouble = self.lock();
        match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => false,
            Ok(_) => {
                trouble.0.end();
                true
            }
            Err(failure) => match trouble.0.note(failure) {
                Ok(told) => told.is_some(),
                Err(error) => {
                    trouble.1 = Some(error);
                    true
                }
            },
        }
    }
}

impl<K: Known> Live<K>
where
    K: Resource<DynamicType = ()>,
{
    /// Begins to watch. Whoever may not is told before, by [`belongings`].
    pub(super) async fn of(
        around: &Around,
        name: &str,
        output: &mut Output,
    ) -> Result<Self, Error> {
        let (tell, changed) = watch::channel(());
        let mut follower = Follower {
            around,
            tell,
            trouble: Arc::default(),
            watches: JoinSet::new(),
        };
        let own = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut live = Self {
            object: follower.follow(own),
            replica_sets: follower.follow(watcher::Config::default()),
            pods: follower.follow(watcher::Config::default()),
            experiments: follower.follow(watcher::Config::default()),
            analysis_runs: follower.follow(watcher::Config::default()),
            trouble: follower.trouble,
            changed,
            _watches: follower.watches,
        };
        live.fill(around, output).await?;
        Ok(live)
    }

    /// Waits for the first state of everything.
    async fn fill(&mut self, around: &Around, output: &mut Output) -> Result<(), Error> {
        let stores = (
            self.object.clone(),
            self.replica_sets.clone(),
            self.pods.clone(),
            self.experiments.clone(),
            self.analysis_runs.clone(),
        );
        let ready = async {
            let _ = stores.0.wait_until_ready().await;
            let _ = stores.1.wait_until_ready().await;
            let _ = stores.2.wait_until_ready().await;
            let _ = stores.3.wait_until_ready().await;
            let _ = stores.4.wait_until_ready().await;
        };
        tokio::pin!(ready);
        loop {
            tokio::select! {
                () = &mut ready => return Ok(()),
                () = around.stop.cancelled() => return Ok(()),
                _ = self.changed.changed() => if let Some(told) = self.trouble()? {
                    output.talk(format_args!("warning: {told}"));
                },
            }
        }
    }

    /// Why not all is up to date, if so.
    ///
    /// # Errors
    /// It never will be.
    pub(super) fn trouble(&self) -> Result<Option<String>, Error> {
        let trouble = self.trouble.lock();
        match &trouble.1 {
            Some(error) => Err(error.clone()),
            None => Ok(trouble.0.told()),
        }
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

/// What watches have in common.
struct Follower<'a> {
    around: &'a Around,
    tell: watch::Sender<()>,
    trouble: Arc<Trouble>,
    watches: JoinSet<()>,
}

impl Follower<'_> {
    fn follow<K: Namespaced + Debug>(&mut self, config: watcher::Config) -> Store<K> {
        let (store, writer) = reflector::store::<K>();
        let Around {
            cluster, namespace, ..
        } = self.around;
        let events = watcher(Api::<K>::namespaced(cluster.client(), namespace), config)
            .default_backoff()
            .modify(|object| object.meta_mut().managed_fields = None)
            .reflect(writer);
        let (tell, trouble) = (self.tell.clone(), Arc::clone(&self.trouble));
        self.watches.spawn(events.for_each(move |event| {
            if trouble.note(&event) {
                let _ = tell.send(());
            }
            std::future::ready(())
        }));
        store
    }
}
