//! An AnalysisRun without a cluster: the decisions of the controller, with the run in memory.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::measure::{Errand, Jobs, carry_out};
use super::{Doors, Processes, remove_orphans};
use crate::analysis::{Invalid, JobRef, Measured, Observed, Prepared, Secrets, Task, decide};
use crate::api::{AnalysisRun, Phase};
use crate::clock::Clock;
use crate::cluster::{self, Cluster, PropagationPolicy};
use crate::http::Http;
use crate::metric_providers::{RunIdentity, Settings};

/// Where the Jobs of a run without a cluster run.
#[derive(Debug, Clone)]
pub enum LocalJobs {
    /// In a cluster all the same. The run is not there, so that they have no owner.
    Cluster(Cluster),
    /// On this machine.
    Processes(Processes),
}

/// What a run without a cluster needs.
#[derive(Debug)]
pub struct Local {
    /// The Secrets that it uses, all of them.
    pub secrets: Secrets,
    /// The way to metric sources.
    pub http: Http,
    /// The way to Jobs.
    pub jobs: LocalJobs,
    /// What the environment says about sources.
    pub settings: Settings,
    /// The time.
    pub clock: Clock,
}

/// Told after each decision: the run as it is then.
pub type Progress = UnboundedSender<AnalysisRun>;

impl Local {
    /// Carries a run out and returns it with its verdict. Once `stop` is cancelled it is brought to
    /// its end, like a run whose `spec.terminate` is set.
    ///
    /// Its Jobs are left where they are; [`clean_up`](Self::clean_up) removes them.
    pub async fn run(
        &self,
        mut run: AnalysisRun,
        prepared: &Result<Prepared, Invalid>,
        stop: &CancellationToken,
        progress: &Progress,
    ) -> AnalysisRun {
        let mut under_way = FuturesUnordered::new();
        let (mut measured, mut in_flight) = (Vec::new(), BTreeSet::new());
        let mut woken = BTreeSet::new();
        loop {
            let decision = decide(&Observed {
                run: &run,
                prepared: prepared.as_ref(),
                measured: &measured,
                in_flight: &in_flight,
                woken: &woken,
                now: self.clock.now(),
            });
            measured.clear();
            woken.clear();
            run.status = Some(decision.status);
            // Nobody may be looking.
            let _ = progress.send(run.clone());
            self.delete(&decision.jobs_to_delete).await;
            if has_ended(&run) {
                return run;
            }
            let Ok(prepared) = prepared else { continue };
            for task in decision.tasks {
                in_flight.insert(task.metric.clone());
                under_way.push(self.take(run.metadata.clone(), prepared, task));
            }
            tokio::select! {
                Some(taken) = under_way.next() => {
                    let taken: Measured = taken;
                    in_flight.remove(&taken.metric);
                    measured.push(taken);
                }
                () = self.until(decision.wake_at) => {}
                () = self.jobs_moved() => {
                    woken = prepared.plans().iter().map(|plan| plan.name.clone()).collect();
                }
                () = stop.cancelled(), if !run.spec.terminate => run.spec.terminate = true,
            }
        }
    }

    async fn take(&self, of: ObjectMeta, prepared: &Prepared, task: Task) -> Measured {
        let errand = Errand {
            run: RunIdentity {
                namespace: of.namespace.as_deref().unwrap_or_default(),
                name: of.name.as_deref().unwrap_or_default(),
                uid: of.uid.as_deref().unwrap_or_default(),
            },
            prepared,
            task: &task,
            secrets: &self.secrets,
            settings: &self.settings,
            began: self.clock.now(),
        };
        let jobs = match &self.jobs {
            LocalJobs::Cluster(cluster) => Jobs::Cluster(cluster),
            LocalJobs::Processes(processes) => Jobs::Processes(processes),
        };
        carry_out(errand, &self.http, jobs, &self.clock).await
    }

    async fn until(&self, wake_at: Option<Timestamp>) {
        let Some(at) = wake_at else {
            return std::future::pending().await;
        };
        let wait = at.duration_since(self.clock.now());
        tokio::time::sleep(wait.try_into().unwrap_or_default()).await;
    }

    async fn jobs_moved(&self) {
        match &self.jobs {
            LocalJobs::Cluster(_) => std::future::pending().await,
            LocalJobs::Processes(processes) => processes.moved().await,
        }
    }

    /// Lets go of Jobs whose measurements are no longer kept. What stays is removed at the end.
    async fn delete(&self, jobs: &[JobRef]) {
        let LocalJobs::Cluster(cluster) = &self.jobs else {
            return;
        };
        for JobRef { namespace, name } in jobs {
            let policy = PropagationPolicy::Background;
            let _ = cluster.delete::<Job>(namespace, name, None, policy).await;
        }
    }

    /// Removes the Jobs that a run has left, and ends processes.
    ///
    /// # Errors
    /// What the cluster refused.
    pub async fn clean_up(&self, run: &AnalysisRun) -> Result<(), cluster::Error> {
        match &self.jobs {
            LocalJobs::Processes(processes) => {
                processes.stop().await;
                Ok(())
            }
            LocalJobs::Cluster(cluster) => {
                let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
                let identity = RunIdentity {
                    namespace: &namespace,
                    name: &name,
                    uid: run.metadata.uid.as_deref().unwrap_or_default(),
                };
                let doors = Doors {
                    http: self.http.clone(),
                    jobs: cluster.clone(),
                };
                remove_orphans(identity, &self.settings, &doors).await
            }
        }
    }
}

fn has_ended(run: &AnalysisRun) -> bool {
    let phase = run.status.as_ref().and_then(|status| status.phase);
    phase.is_some_and(Phase::is_completed)
}
