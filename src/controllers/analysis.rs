//! AnalysisRuns: takes the measurements that are due and writes down what they say.
//!
//! Measurements run beside the passes, each on its own, so that a slow source delays no other
//! metric: a pass starts those that are due and records those that have come back.

mod gate;
mod series;
mod tasks;
mod work;

use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::Event as WatchEvent;
use kube::runtime::{WatchStreamExt as _, watcher};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Span, debug, field, info, instrument, warn};

use super::passes::{Panicked, contained, wait_after, wake};
use super::roll::{Identity, Roll};
use super::{Doors, Scope, Setup, remove_orphans, watch};
use crate::analysis::{self, Decision, JobRef, Observed, RunEvent};
use crate::api::{AnalysisRun, Phase};
use crate::cluster::{self, Cluster, Event, PropagationPolicy};
use crate::metric_providers::{JobOwner, RunIdentity, Settings};
use crate::telemetry::Reconciled;

use work::{Work, Workbench};

/// Passes at the same time, as Argo's `--analysis-threads`.
pub const DEFAULT_CONCURRENCY: u16 = 30;

/// What the analysis controller needs beside a [`Setup`].
#[derive(Debug, Clone)]
pub struct Sources {
    /// The ways out to metric sources and Jobs.
    pub doors: Doors,
    /// What the environment says about sources.
    pub settings: Settings,
    /// Passes at the same time.
    pub concurrency: u16,
}

/// Why a pass came to no end. The next one begins anew.
#[derive(Debug, Error)]
enum Error {
    #[error("cannot act on a decision: {0}")]
    Act(cluster::Error),
    #[error("cannot write the status: {0}")]
    WriteStatus(cluster::Error),
    #[error("cannot move the gate's target: {0}")]
    Gate(cluster::Error),
    #[error("{0}")]
    Panicked(Panicked),
}

impl Error {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Act(cause) | Self::WriteStatus(cause) | Self::Gate(cause) => cause.is_conflict(),
            Self::Panicked(_) => false,
        }
    }
}

struct Context {
    setup: Setup,
    sources: Sources,
    workbench: Workbench,
    /// Runs whose measurements have moved.
    moved: mpsc::UnboundedSender<ObjectRef<AnalysisRun>>,
    /// Measurements under way.
    tasks: TaskTracker,
    /// Ends them.
    stop: CancellationToken,
}

impl Context {
    fn cluster(&self) -> &Cluster {
        &self.setup.cluster
    }

    fn now(&self) -> Timestamp {
        self.setup.cluster.clock().now()
    }
}

/// Reconciles AnalysisRuns until `shutdown`. Measurements under way are left then; they are taken
/// again after the next start.
pub async fn run(setup: Setup, sources: Sources, shutdown: CancellationToken) {
    // Whatever ends this function, killed included, ends its tasks.
    let stop = shutdown.child_token();
    let _ends_tasks = stop.clone().drop_guard();
    let tasks = TaskTracker::new();
    let (moved, movements) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        workbench: Workbench::default(),
        moved,
        tasks: tasks.clone(),
        stop: stop.clone(),
        setup,
        sources,
    });
    let (runs, writer) = reflector::store::<AnalysisRun>();
    series::register(&context.setup.metrics, runs.clone());
    let config = Config::default().concurrency(context.sources.concurrency);
    Controller::for_stream(run_stream(&context).reflect(writer).applied_objects(), runs)
        .with_config(config)
        .watches_stream(job_stream(&context), notice_job(Arc::clone(&context)))
        .reconcile_on(UnboundedReceiverStream::new(movements))
        .reconcile_all_on(context.setup.leadership.begins())
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, back_off, Arc::clone(&context))
        .for_each(|_| std::future::ready(()))
        .await;
    // The controller also ends when its watch does.
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

/// The runs in scope. One that is gone is forgotten on the way.
fn run_stream(
    context: &Arc<Context>,
) -> impl Stream<Item = watcher::Result<WatchEvent<AnalysisRun>>> + Send + 'static {
    let scope = &context.setup.scope;
    let context = Arc::clone(context);
    let api = scope.api::<AnalysisRun>(context.cluster().client());
    let mut roll = Roll::default();
    watch(api, &scope.selector(), &context.setup.readiness).inspect(move |event| {
        for gone in event.iter().flat_map(|event| roll.take(event)) {
            forget(&context, gone);
        }
    })
}

fn forget(context: &Arc<Context>, run: Identity) {
    let Identity {
        namespace,
        name,
        uid,
    } = run;
    context.workbench.forget(&uid);
    context
        .setup
        .metrics
        .forget(Reconciled::AnalysisRun, &namespace, &name);
    if !context.sources.settings.jobs.is_elsewhere() || !context.setup.may_act() {
        return;
    }
    let context = Arc::clone(context);
    context.tasks.clone().spawn(async move {
        let identity = RunIdentity {
            namespace: &namespace,
            name: &name,
            uid: &uid,
        };
        let Sources {
            doors, settings, ..
        } = &context.sources;
        if let Err(error) = remove_orphans(identity, settings, doors).await {
            warn!(%error, namespace, name, "Jobs of a run that is gone are left behind");
        }
    });
}

/// The Jobs that measure, without their pod templates.
fn job_stream(
    context: &Context,
) -> impl Stream<Item = watcher::Result<Job>> + Send + 'static + use<> {
    let placement = &context.sources.settings.jobs;
    let scope = Scope {
        namespace: placement
            .namespace
            .clone()
            .or_else(|| context.setup.scope.namespace.clone()),
        instance_id: None,
    };
    let api = scope.api::<Job>(context.sources.doors.jobs.client());
    watch(api, JobOwner::SELECTOR, &context.setup.readiness)
        .modify(|job| job.spec = None)
        .applied_objects()
}

/// A Job that has ended is looked at now, not when its turn would come.
fn notice_job(
    context: Arc<Context>,
) -> impl Fn(Job) -> Option<ObjectRef<AnalysisRun>> + Send + Sync + 'static {
    move |job| {
        let owner = JobOwner::of(&job).filter(|_| JobOwner::has_ended(&job))?;
        context.workbench.woken(&owner.run_uid, owner.metric);
        Some(ObjectRef::new(&owner.run_name).within(&owner.run_namespace))
    }
}

/// One pass over one run, counted. May be made at any time and any number of times.
#[instrument(skip_all, fields(namespace = run.namespace(), name = run.name_any(), phase = field::Empty))]
async fn reconcile(run: Arc<AnalysisRun>, context: Arc<Context>) -> Result<Action, Error> {
    if !context.setup.may_act() {
        return Ok(Action::await_change());
    }
    let began = Instant::now();
    let passed = contained(pass(&run, &context)).await;
    let passed = passed.map_err(Error::Panicked).flatten();
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    let uid = run.uid().unwrap_or_default();
    let metrics = &context.setup.metrics;
    if !context.workbench.knows(&uid) {
        // It has gone meanwhile, and its series with it.
        return passed;
    }
    metrics.passed(Reconciled::AnalysisRun, &namespace, &name, began.elapsed());
    if passed.is_err() {
        metrics.failed(Reconciled::AnalysisRun, &namespace, &name);
    } else {
        context.workbench.succeeded(&uid);
    }
    passed
}

async fn pass(run: &Arc<AnalysisRun>, context: &Arc<Context>) -> Result<Action, Error> {
    // A pass over what this controller has itself overwritten would measure twice; the watch brings
    // the newer state.
    let Some(work) = context.workbench.look(run) else {
        return Ok(Action::await_change());
    };
    let now = context.now();
    // What is judged must be known before it is judged.
    match gate::begin(run, context).await.map_err(Error::Gate)? {
        gate::Begun::Ready => {}
        gate::Begun::Noted => return Ok(Action::await_change()),
        gate::Begun::Wait(wait) => return Ok(Action::requeue(wait)),
    }
    let decision = decide(run, &work, now);
    delete_jobs(context, &decision.jobs_to_delete).await?;
    let before = run.status.clone().unwrap_or_default();
    let is_settled = decision.status == before;
    if is_settled {
        context.workbench.recorded(run, &work, None);
    } else {
        let written = context
            .cluster()
            .write_status(&**run, &run.status.as_ref(), &Some(&decision.status))
            .await
            .map_err(Error::WriteStatus)?;
        context.workbench.recorded(run, &work, written.as_ref());
        Span::current().record("phase", decision.status.phase.map(Phase::as_str));
        if before.started_at.is_none() {
            warn_of_oddities(run, &work, context).await;
        }
        tell(run, &decision, context).await;
    }
    if decision.delete {
        delete(run, context).await?;
        return Ok(Action::await_change());
    }
    begin(run, &work, &decision, context);
    let wake_at = if is_settled {
        earlier(
            decision.wake_at,
            gate::conclude(run, context).await.map_err(Error::Gate)?,
        )
    } else {
        decision.wake_at
    };
    Ok(wake(wake_at, context.now()))
}

fn decide(run: &AnalysisRun, work: &Work, now: Timestamp) -> Decision {
    analysis::decide(&Observed {
        run,
        prepared: work.prepared.as_ref().as_ref(),
        measured: &work.measured,
        in_flight: &work.in_flight,
        woken: &work.woken,
        now,
    })
}

async fn delete_jobs(context: &Context, jobs: &[JobRef]) -> Result<(), Error> {
    let door = &context.sources.doors.jobs;
    for JobRef { namespace, name } in jobs {
        door.delete::<Job>(namespace, name, None, PropagationPolicy::Background)
            .await
            .map_err(Error::Act)?;
    }
    Ok(())
}

async fn delete(run: &AnalysisRun, context: &Context) -> Result<(), Error> {
    let (namespace, name, uid) = (
        run.namespace().unwrap_or_default(),
        run.name_any(),
        run.uid(),
    );
    context
        .cluster()
        .delete::<AnalysisRun>(
            &namespace,
            &name,
            uid.as_deref(),
            PropagationPolicy::Background,
        )
        .await
        .map_err(Error::Act)?;
    info!("deleted a run that outlived its ttlStrategy");
    Ok(())
}

/// Tells at the start of a run what is allowed in its spec and yet hardly meant.
async fn warn_of_oddities(run: &AnalysisRun, work: &Work, context: &Context) {
    let Ok(prepared) = work.prepared.as_ref() else {
        return;
    };
    for oddity in prepared.warnings() {
        let event = Event::warning("AnalysisSpecWarning", oddity.to_string());
        context.cluster().record(run, &event).await;
    }
}

async fn tell(run: &AnalysisRun, decision: &Decision, context: &Context) {
    for event in &decision.events {
        context.cluster().record(run, &as_event(event)).await;
    }
    match decision.status.phase {
        Some(phase) if phase.is_completed() => {
            info!(
                verdict = phase.as_str(),
                message = decision.status.message,
                "run ended"
            );
        }
        _ => debug!("status written"),
    }
}

fn as_event(event: &RunEvent) -> Event {
    if event.is_warning() {
        Event::warning(event.reason(), event.message())
    } else {
        Event::normal(event.reason(), event.message())
    }
}

fn begin(run: &Arc<AnalysisRun>, work: &Work, decision: &Decision, context: &Arc<Context>) {
    for task in &decision.tasks {
        tasks::spawn(run, &work.prepared, task, context);
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// The wait before the next try: the longer, the more have failed.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the runtime hands them over like this"
)]
fn back_off(run: Arc<AnalysisRun>, error: &Error, context: Arc<Context>) -> Action {
    let failures = context.workbench.failed(&run.uid().unwrap_or_default());
    let wait = wait_after(failures);
    let (namespace, name) = (run.namespace(), run.name_any());
    if error.is_conflict() {
        debug!(namespace, name, "the run has changed meanwhile");
    } else {
        warn!(namespace, name, %error, retry_in = ?wait, "a pass failed");
    }
    Action::requeue(wait)
}
