//! Rollouts: observe, decide, act.
//!
//! ```text
//! Rollouts ───────────────▶ Controller ──▶ pass ──▶ changes, then the status, then Events
//! ReplicaSets, AnalysisRuns,
//! Experiments ────────────────▶ Children ────▶ their Rollout's turn
//! Services ───────────────────▶ Referenced ──▶ the turn of those that name them, or release
//! Deployments …,
//! VirtualServices … ──────────▶ Objects ─────▶ the turn of those that refer to them, or give_back
//! ```
//!
//! All are watched by tasks of their own: their caches fill while passes wait for them.

mod act;
mod calls;
mod children;
mod give_back;
mod memory;
mod objects;
mod observe;
mod plugins;
mod referenced;
mod release;
mod report;
mod series;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Span, debug, field, info, instrument, warn};

use super::passes::{Panicked, contained, until, wait_after, wake};
use super::roll::{Identity, Roll};
use super::{Setup, watch};
use crate::api::{AnalysisRun, Experiment, Rollout, RolloutPhase};
use crate::cluster::{self, Cluster};
use crate::rollout::{self, Obstacle, ReplicaSet, labels};
use crate::telemetry::Reconciled;

use children::Children;
use memory::Memory;
use objects::Objects;
use referenced::Referenced;
use report::{tell, tell_blindness, tell_hindrance, write};

/// Passes at the same time, as Argo's `--rollout-threads`.
pub const DEFAULT_CONCURRENCY: u16 = 10;

/// How long passes wait for the caches before Rollouts are told why they cannot be filled.
const CACHES_FILLED_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked at then whether filling them has failed.
const CACHES_LOOKED_AT: Duration = Duration::from_secs(1);

/// How soon a pass over outdated facts is made again; the watch will have brought newer ones.
const OUTDATED: Duration = Duration::from_millis(100);

/// Why a pass came to no end. The next one begins anew.
#[derive(Debug, Error)]
enum Error {
    #[error("cannot observe: {0}")]
    Observe(String),
    #[error("cannot act on a decision: {0}")]
    Act(cluster::Error),
    #[error("cannot divide the traffic: {0}")]
    Route(String),
    #[error("cannot write the status: {0}")]
    WriteStatus(cluster::Error),
    /// What a cache showed is older than what is there.
    #[error("{0} is not in the cache yet")]
    Outdated(String),
    #[error("{0}")]
    Panicked(Panicked),
    /// Time may change something before another try helps.
    #[error("{cause}")]
    Hindered {
        cause: Box<Error>,
        wake_at: Timestamp,
    },
}

impl Error {
    fn is_outdated(&self) -> bool {
        match self {
            Self::Outdated(_) => true,
            Self::Observe(_) | Self::Route(_) | Self::Panicked(_) => false,
            Self::Act(cause) | Self::WriteStatus(cause) => cause.is_conflict(),
            Self::Hindered { cause, .. } => cause.is_outdated(),
        }
    }

    /// With the time at which the next try is due at the latest.
    fn or_at(self, wake_at: Option<Timestamp>) -> Self {
        let cause = Box::new(self);
        match wake_at {
            Some(wake_at) => Self::Hindered { cause, wake_at },
            None => *cause,
        }
    }
}

struct Context {
    setup: Setup,
    replica_sets: Children<ReplicaSet>,
    analysis_runs: Children<AnalysisRun>,
    experiments: Children<Experiment>,
    services: Referenced<Service>,
    objects: Objects,
    memory: Memory,
    began: Instant,
}

impl Context {
    /// Waits until all caches have been filled once; after a while, tells which cannot be, and why.
    /// Long lists only take their time: to write that to each of so many Rollouts would make it more.
    async fn filled(&self) -> Result<(), Error> {
        let mut all = pin!(async {
            self.replica_sets.ready().await;
            self.analysis_runs.ready().await;
            self.experiments.ready().await;
            self.services.ready().await;
        });
        let readiness = &self.setup.readiness;
        let mut until = self.began + CACHES_FILLED_WITHIN;
        while timeout_at(until, &mut all).await.is_err() {
            if readiness.has_failed() {
                let missing = readiness.reasons();
                return Err(Error::Observe(format!(
                    "the controller waits for {missing}"
                )));
            }
            until = Instant::now() + CACHES_LOOKED_AT;
        }
        Ok(())
    }

    fn cluster(&self) -> &Cluster {
        &self.setup.cluster
    }

    fn now(&self) -> Timestamp {
        self.setup.cluster.clock().now()
    }
}

/// Reconciles Rollouts until `shutdown`, at most `concurrency` at the same time.
pub async fn run(setup: Setup, concurrency: u16, shutdown: CancellationToken) {
    // Whatever ends this function, killed included, ends its tasks.
    let stop = shutdown.child_token();
    let _ends_tasks = stop.clone().drop_guard();
    let (turn, turns) = mpsc::unbounded_channel();
    let (let_go, released) = mpsc::unbounded_channel();
    let (kind, kinds) = mpsc::unbounded_channel();
    let (dropped, to_give_back) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        replica_sets: Children::new(turn.clone(), children::any_change),
        analysis_runs: Children::new(turn.clone(), children::another_phase),
        experiments: Children::new(turn.clone(), children::any_change),
        services: Referenced::new(turn.clone(), let_go, |service| {
            rollout::managed_by(service).is_some()
        }),
        objects: Objects::new(setup.scope.namespace.clone(), kind, turn, dropped),
        memory: Memory::default(),
        began: Instant::now(),
        setup,
    });
    let (rollouts, writer) = reflector::store::<Rollout>();
    let tasks = TaskTracker::new();
    watch_children(&context, &tasks, &stop);
    tasks.spawn(release::run(Arc::clone(&context), released, stop.clone()));
    let (keeper, until) = (Arc::clone(&context), stop.clone());
    tasks.spawn(async move { keeper.objects.keep(kinds, &keeper.setup, until).await });
    let until = stop.clone();
    tasks.spawn(give_back::run(Arc::clone(&context), to_give_back, until));
    series::register(&context.setup.metrics, rollouts.clone());
    let scope = &context.setup.scope;
    let noting = Arc::clone(&context);
    let mut roll = Roll::default();
    let events = watch(
        scope.api::<Rollout>(context.cluster().client()),
        &scope.selector(),
        &context.setup.readiness,
    )
    .map(|event| event.map(|event| event.modify(without_copy)))
    .inspect(move |event| {
        for gone in event.iter().flat_map(|event| roll.take(event)) {
            forget(&noting, &gone);
        }
        if let Ok(watcher::Event::Apply(rollout) | watcher::Event::InitApply(rollout)) = event {
            refer(&noting, rollout);
        }
        if matches!(event, Ok(watcher::Event::InitDone)) {
            noting.services.all_referred();
        }
    });
    Controller::for_stream(events.reflect(writer).applied_objects(), rollouts)
        .with_config(Config::default().concurrency(concurrency.max(1)))
        .reconcile_on(UnboundedReceiverStream::new(turns))
        .reconcile_all_on(context.setup.leadership.begins())
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, back_off, context)
        .for_each(|_| std::future::ready(()))
        .await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

fn watch_children(context: &Arc<Context>, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let (scope, client) = (&context.setup.scope, context.cluster().client());
    let replica_sets = watch(
        scope.api::<ReplicaSet>(client.clone()),
        labels::POD_TEMPLATE_HASH,
        &context.setup.readiness,
    );
    let runs = watch(
        scope.api::<AnalysisRun>(client),
        &scope.selector(),
        &context.setup.readiness,
    )
    .map(|event| {
        // Measurements are many and decide nothing here.
        event.map(|event| {
            event.modify(|run| {
                if let Some(status) = &mut run.status {
                    status.metric_results.clear();
                }
            })
        })
    });
    let (keeper, until) = (Arc::clone(context), shutdown.clone());
    tasks.spawn(async move { keeper.replica_sets.keep(replica_sets, until).await });
    let (keeper, until) = (Arc::clone(context), shutdown.clone());
    tasks.spawn(async move { keeper.analysis_runs.keep(runs, until).await });
    let experiments = watch(
        scope.api::<Experiment>(context.cluster().client()),
        &scope.selector(),
        &context.setup.readiness,
    );
    let (keeper, until) = (Arc::clone(context), shutdown.clone());
    tasks.spawn(async move { keeper.experiments.keep(experiments, until).await });
    let services = watch(
        scope.api::<Service>(context.cluster().client()),
        "",
        &context.setup.readiness,
    )
    .map(|event| event.map(|event| event.modify(|service| service.status = None)));
    let (keeper, until) = (Arc::clone(context), shutdown.clone());
    tasks.spawn(async move { keeper.services.keep(services, until).await });
}

/// Notes what a Rollout names.
fn refer(context: &Context, rollout: &Rollout) {
    let names = rollout::named_services(&rollout.spec).map(str::to_owned);
    context.services.refer(rollout, names.collect());
    for query in rollout::named_objects(rollout, &context.setup.versions) {
        context.objects.refer(&key_of(rollout), &query);
    }
}

/// Leaves out kubectl's copy of the whole object, which decides nothing.
fn without_copy(rollout: &mut Rollout) {
    let copy = "kubectl.kubernetes.io/last-applied-configuration";
    rollout.annotations_mut().remove(copy);
}

fn forget(context: &Context, gone: &Identity) {
    context.memory.forget(&gone.uid);
    context.services.forget(&gone.namespace, &gone.name);
    let key = (gone.namespace.clone(), gone.name.clone());
    context.objects.forget(&key);
    context
        .setup
        .metrics
        .forget(Reconciled::Rollout, &gone.namespace, &gone.name);
}

/// One pass over one Rollout, counted. May be made at any time and any number of times.
#[instrument(skip_all, fields(namespace = rollout.namespace(), name = rollout.name_any(), changes = field::Empty))]
async fn reconcile(rollout: Arc<Rollout>, context: Arc<Context>) -> Result<Action, Error> {
    let filled = context.filled().await;
    if !context.setup.may_act() {
        return Ok(Action::await_change());
    }
    let began = Instant::now();
    let work = async {
        match filled {
            Ok(()) => Box::pin(pass(&rollout, &context)).await,
            Err(error) => Box::pin(tell_blindness(&rollout, error, &context)).await,
        }
    };
    let passed = contained(Box::pin(work)).await;
    let passed = passed.map_err(Error::Panicked).flatten();
    let (namespace, name) = (rollout.namespace().unwrap_or_default(), rollout.name_any());
    let uid = rollout.uid().unwrap_or_default();
    let metrics = &context.setup.metrics;
    if !context.memory.knows(&uid) {
        // It has gone meanwhile, and its series with it.
        return passed;
    }
    metrics.passed(Reconciled::Rollout, &namespace, &name, began.elapsed());
    match &passed {
        Ok(_) => context.memory.succeeded(&uid),
        Err(error) if error.is_outdated() => {}
        Err(_) => metrics.failed(Reconciled::Rollout, &namespace, &name),
    }
    passed
}

async fn pass(rollout: &Arc<Rollout>, context: &Context) -> Result<Action, Error> {
    // What this controller has itself overwritten is not looked at again; the watch brings the
    // newer state.
    if context.memory.is_replaced(rollout) {
        return Ok(Action::await_change());
    }
    let mut asked = BTreeSet::new();
    let mut observed = observe::in_caches(rollout, context);
    if let Err(why) = observe::complete(&mut observed, context, &mut asked).await {
        let wake_at = tell_hindrance(&observed, Obstacle::Reading, &why, context).await?;
        return Err(Error::Observe(why).or_at(wake_at));
    }
    let mut decision = observe::decide(&mut observed, context, &mut asked).await;
    // What it refers to is not known whole if something cannot be read. One that is being deleted
    // asks for nothing, and lets go of what it holds when it is gone.
    if observed.unread.is_empty() && rollout.metadata.deletion_timestamp.is_none() {
        context.objects.keep_only(&key_of(rollout), &asked);
    }
    Span::current().record("changes", decision.changes.len());
    let done = match act::carry_out(&observed, &decision.changes, context).await {
        Ok(done) => done,
        Err(act::Failure::NotCreated { name, cause }) => {
            let refused = rollout::creation_failed(&observed, &name, &cause.to_string());
            if write(rollout, rollout, &refused, context).await? {
                tell(rollout, &refused, context).await;
            }
            return Err(Error::Act(cause));
        }
        Err(act::Failure::NotRouted(why)) => {
            let wake_at = tell_hindrance(&observed, Obstacle::Router, &why, context).await?;
            return Err(Error::Route(why).or_at(wake_at));
        }
        Err(act::Failure::Other(error)) => {
            let mut wake_at = None;
            if let (Error::Act(cause), false) = (&error, error.is_outdated()) {
                let (obstacle, why) = (Obstacle::Change, cause.to_string());
                wake_at = tell_hindrance(&observed, obstacle, &why, context).await?;
            }
            return Err(error.or_at(wake_at));
        }
    };
    let written = write(rollout, &done.newest, &decision, context).await?;
    decision.notices.extend(done.notices);
    tell(rollout, &decision, context).await;
    if written {
        info!(
            phase = decision.status.phase.map(RolloutPhase::as_str),
            step = decision.status.current_step_index,
            message = decision.status.message,
            "status written"
        );
    } else if decision.changes.is_empty() {
        debug!("nothing to do");
    }
    match observed.unread.into_values().next() {
        Some(why) => Err(Error::Observe(why).or_at(decision.wake_at)),
        None => Ok(wake(decision.wake_at, context.now())),
    }
}

/// The wait before the next try: the longer, the more have failed.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the runtime hands them over like this"
)]
fn back_off(rollout: Arc<Rollout>, error: &Error, context: Arc<Context>) -> Action {
    let (namespace, name) = (rollout.namespace(), rollout.name_any());
    if error.is_outdated() {
        debug!(namespace, name, %error, "something has changed meanwhile");
        return Action::requeue(OUTDATED);
    }
    let failures = context.memory.failed(&rollout.uid().unwrap_or_default());
    let mut wait = wait_after(failures);
    if let Error::Hindered { wake_at, .. } = error {
        wait = wait.min(until(*wake_at, context.now()));
    }
    warn!(namespace, name, %error, retry_in = ?wait, "a pass failed");
    Action::requeue(wait)
}

fn key_of(rollout: &Rollout) -> objects::Key {
    (rollout.namespace().unwrap_or_default(), rollout.name_any())
}

/// The Rollout whose turn it is when an object that it owns has changed.
fn owner_of<K: kube::Resource>(object: &K) -> Option<ObjectRef<Rollout>> {
    let owners = object.owner_references().iter();
    let owner = owners.into_iter().find(|owner| {
        owner.controller == Some(true)
            && owner.kind == "Rollout"
            && owner.api_version.starts_with(crate::api::GROUP)
    })?;
    Some(ObjectRef::new(&owner.name).within(&object.namespace().unwrap_or_default()))
}
