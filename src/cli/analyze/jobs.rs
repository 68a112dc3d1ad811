//! Where the Jobs of an analysis run that is in no cluster.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use thiserror::Error;

use crate::api::{AnalysisRun, Phase};
use crate::cli::Output;
use crate::cli::template::Subject;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::controllers::{Local, LocalJobs, Processes};

/// Where Jobs run.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    /// How `job` metrics are measured; without it they are refused
    #[arg(long, value_enum, value_name = "WHERE")]
    jobs: Option<Where>,

    /// The kubeconfig file for `--jobs cluster` [default: `KUBECONFIG`, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig for `--jobs cluster`
    #[arg(long)]
    context: Option<String>,

    /// The namespace for `--jobs cluster` [default: that of the run, else of the context]
    #[arg(long, short)]
    namespace: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    /// As a process of this machine: the container's command, once, with your rights
    Exec,
    /// As a Job in the cluster of the kubeconfig
    Cluster,
}

/// Why Jobs cannot run.
#[derive(Debug, Error)]
pub(in crate::cli) enum NoJobs {
    #[error(
        "metrics are measured by Jobs: {0}\n\
         hint: `--jobs exec` runs their commands on this machine, `--jobs cluster` makes Jobs in a cluster"
    )]
    Refused(String),
    #[error("cannot read the kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("cannot make a client: {0}")]
    Client(#[from] kube::Error),
}

impl JobArgs {
    /// The way to Jobs, if the run has any.
    pub(super) async fn connect(
        &self,
        subject: &mut Subject,
        output: &mut Output,
    ) -> Result<LocalJobs, NoJobs> {
        let metrics = subject.job_metrics().join(", ");
        match self.jobs {
            _ if metrics.is_empty() => Ok(LocalJobs::Processes(Processes::default())),
            None => Err(NoJobs::Refused(metrics)),
            Some(Where::Exec) => {
                output.talk(format_args!(
                    "warning: --jobs exec runs commands of the templates on this machine, with your \
                     rights and your environment, for: {metrics}"
                ));
                Ok(LocalJobs::Processes(Processes::default()))
            }
            Some(Where::Cluster) => {
                let options = KubeConfigOptions {
                    context: self.context.clone(),
                    ..KubeConfigOptions::default()
                };
                let config = match &self.kubeconfig {
                    None => Config::from_kubeconfig(&options).await?,
                    Some(file) => {
                        let file = Kubeconfig::read_from(file)?;
                        Config::from_custom_kubeconfig(file, &options).await?
                    }
                };
                let default = || config.default_namespace.clone();
                let namespace = self.namespace.clone().unwrap_or_else(default);
                subject.settings.jobs.namespace = Some(namespace);
                let cluster = Cluster::new(Client::try_from(config)?, Clock::system());
                Ok(LocalJobs::Cluster(cluster))
            }
        }
    }

    /// Removes what the run has made, unless somebody will want to look at it.
    pub(super) async fn leave(&self, local: &Local, run: &AnalysisRun, output: &mut Output) {
        let phase = run.status.as_ref().and_then(|status| status.phase);
        let is_cluster = self.jobs == Some(Where::Cluster);
        let uid = run.metadata.uid.as_deref().unwrap_or_default();
        let selector = crate::metric_providers::run_selector(uid);
        if is_cluster && phase != Some(Phase::Successful) {
            output.talk(format_args!(
                "Jobs are left to look at: kubectl get jobs -l {selector}"
            ));
            return;
        }
        if let Err(error) = local.clean_up(run).await {
            output.talk(format_args!(
                "warning: Jobs are left behind ({selector}): {error}"
            ));
        }
    }
}
