//! `verdict controller`: the controllers, in a cluster.

use std::env;
use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::http::{HeaderValue, header};
use clap::{Args, ValueEnum};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::istio;
use super::leader::{self, LeaderArgs};
use super::routers::RouterArgs;
use super::{Exit, Output};
use crate::aws::{Aws, Environment};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::controllers::Doors;
use crate::controllers::analysis::{DEFAULT_CONCURRENCY, Sources};
use crate::controllers::leader::{Election, Leadership, Lost, lead};
use crate::controllers::{self, Scope, Setup};
use crate::http::{Http, LinkLocal};
use crate::metric_providers::{JobPlacement, Settings};
use crate::plugins::Plugins;
use crate::telemetry::{LogFormat, Metrics, health_router, metrics_router, start_logging};

/// A controller that can be run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Controllers {
    /// AnalysisRuns only; Rollouts are left to another controller.
    Analysis,
}

/// Run the controllers against a cluster
///
/// Without `--kubeconfig` and `--context`, the service account of the pod is used, or else the
/// current context of the default kubeconfig.
#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// Run only this controller [default: all]
    #[arg(long, value_enum)]
    controllers: Option<Controllers>,

    /// Look at one namespace only: that of `--namespace`, else that of the context
    #[arg(long)]
    namespaced: bool,

    /// The namespace for `--namespaced`
    #[arg(long, short, requires = "namespaced")]
    namespace: Option<String>,

    /// Look only at objects with this value in the label
    /// `argo-rollouts.argoproj.io/controller-instance-id`; without it, only at those that have no
    /// such label
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,

    /// The kubeconfig file [default: service account, or `KUBECONFIG`, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<std::path::PathBuf>,

    /// The context of the kubeconfig
    #[arg(long)]
    context: Option<String>,

    /// The address that health and metrics are served on; `0.0.0.0` for probes from outside
    #[arg(
        long,
        env = "VERDICT_BIND_ADDRESS",
        value_name = "IP",
        default_value = "127.0.0.1"
    )]
    bind_address: IpAddr,

    /// The port of `/metrics`; 0 for none
    #[arg(
        long,
        alias = "metricsPort",
        alias = "metricsport",
        value_name = "PORT",
        default_value_t = 8090
    )]
    metrics_port: u16,

    /// The port of `/healthz` and `/readyz`; 0 for none
    #[arg(
        long,
        alias = "healthzPort",
        value_name = "PORT",
        default_value_t = 8080
    )]
    healthz_port: u16,

    /// How much is logged: error, warn, info, debug or trace
    #[arg(
        long,
        alias = "log-level",
        env = "VERDICT_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info"
    )]
    loglevel: tracing::Level,

    /// How it is logged: text or json
    #[arg(
        long,
        alias = "log-format",
        env = "VERDICT_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    logformat: LogFormat,

    /// AnalysisRuns that are worked on at the same time
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CONCURRENCY, value_parser = clap::value_parser!(u16).range(1..))]
    analysis_threads: u16,

    /// Let metric requests reach link-local and instance-metadata addresses such as
    /// 169.254.169.254, where clouds hand out credentials
    #[arg(long)]
    allow_link_local: bool,

    /// Prometheus for metrics without an address of their own
    #[arg(
        long,
        env = "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS",
        hide_env_values = true,
        value_name = "URL"
    )]
    prometheus_address: Option<String>,

    /// Make the Jobs of analyses in this namespace instead of the run's
    #[arg(
        long,
        env = "ARGO_ROLLOUTS_ANALYSIS_JOB_NAMESPACE",
        value_name = "NAMESPACE"
    )]
    job_namespace: Option<String>,

    /// Make the Jobs of analyses in the cluster of this kubeconfig, or `in-cluster`
    #[arg(
        long,
        env = "ARGO_ROLLOUTS_ANALYSIS_JOB_KUBECONFIG",
        value_name = "FILE"
    )]
    job_kubeconfig: Option<String>,

    #[command(flatten)]
    routers: RouterArgs,

    #[command(flatten)]
    leader: LeaderArgs,
}

/// Why the controllers could not be started.
#[derive(Debug, Error)]
enum Error {
    #[error("cannot read the kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("cannot find a cluster: {0}")]
    Infer(#[from] kube::config::InferConfigError),
    #[error("cannot use the service account: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    #[error("cannot make a client: {0}")]
    Client(#[from] kube::Error),
    #[error("cannot make the client for metric sources: {0}")]
    Http(#[from] crate::http::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Istio(#[from] istio::Error),
    #[error(transparent)]
    Election(#[from] leader::Error),
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("ended by a second signal, with work under way")]
    Interrupted,
}

/// Runs the controllers until SIGTERM or SIGINT, or until another replica leads.
pub(super) fn run(args: &ControllerArgs, output: &mut Output) -> Exit {
    start_logging(args.loglevel, None, args.logformat);
    match super::block_on(serve(args)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            output.talk(format_args!("error: {error}"));
            Exit::Unknown
        }
    }
}

async fn serve(args: &ControllerArgs) -> Result<(), Error> {
    let config = config(args).await?;
    let scope = Scope {
        namespace: args.namespaced.then(|| {
            args.namespace
                .clone()
                .unwrap_or_else(|| config.default_namespace.clone())
        }),
        instance_id: args.instance_id.clone().filter(|id| !id.is_empty()),
    };
    let analysis_only = args.controllers == Some(Controllers::Analysis);
    let election = (args.leader).election(analysis_only, scope.instance_id.as_deref())?;
    let metrics = Metrics::new();
    let client = counted(config, &metrics)?;
    let clock = Clock::system();
    let mut cluster = Cluster::new(client.clone(), clock.clone());
    if let Some(config) = istio::primary(client, &args.leader.namespace()).await? {
        info!(url = %config.cluster_url, "Istio's objects are in another cluster");
        cluster = cluster.with_istio_by(counted(config, &metrics)?);
    }
    let http = Http::new(link_local(args))?;
    let setup = Setup {
        plugins: Plugins::new(cluster.clone(), args.leader.namespace(), http.clone()),
        scope,
        metrics,
        leadership: match election {
            Some(_) => Leadership::campaigning(),
            None => Leadership::undisputed(),
        },
        versions: args.routers.versions().into(),
        aws: aws(args, &clock)?,
        ..Setup::new(cluster)
    };
    let sources = sources(args, http, &setup.cluster, clock).await?;
    let shutdown = CancellationToken::new();
    let interrupted = stop_on_signals(&shutdown)?;
    let health = health_router(setup.readiness.clone());
    listen(args, args.healthz_port, health, &shutdown).await?;
    let metrics = metrics_router(setup.metrics.clone());
    listen(args, args.metrics_port, metrics, &shutdown).await?;
    info!(version = env!("CARGO_PKG_VERSION"), scope = ?setup.scope, "started");
    tokio::select! {
        led = control(setup, sources, election, analysis_only, shutdown) => led?,
        () = interrupted.cancelled() => return Err(Error::Interrupted),
    }
    info!("stopped");
    Ok(())
}

async fn control(
    setup: Setup,
    sources: Sources,
    election: Option<Election>,
    analysis_only: bool,
    shutdown: CancellationToken,
) -> Result<(), Lost> {
    let whole = setup.clone();
    let controllers = async move {
        if analysis_only {
            controllers::analysis::run(setup, sources, shutdown).await;
        } else {
            controllers::run(setup, sources, shutdown).await;
        }
    };
    let Some(election) = election else {
        controllers.await;
        return Ok(());
    };
    lead(&whole, election, controllers).await
}

/// A client that says who asks, and whose requests are counted.
fn counted(mut config: Config, metrics: &Metrics) -> Result<Client, Error> {
    let agent = HeaderValue::from_static(concat!("verdict/", env!("CARGO_PKG_VERSION")));
    config.headers.push((header::USER_AGENT, agent));
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&metrics.count_requests()).build())
}

async fn config(args: &ControllerArgs) -> Result<Config, Error> {
    if args.kubeconfig.is_none() && args.context.is_none() {
        return Ok(Config::infer().await?);
    }
    from_file(args.kubeconfig.as_deref(), args.context.clone()).await
}

async fn from_file(
    file: Option<&std::path::Path>,
    context: Option<String>,
) -> Result<Config, Error> {
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    let Some(file) = file else {
        return Ok(Config::from_kubeconfig(&options).await?);
    };
    let kubeconfig = Kubeconfig::read_from(file)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &options).await?)
}

async fn sources(
    args: &ControllerArgs,
    http: Http,
    cluster: &Cluster,
    clock: Clock,
) -> Result<Sources, Error> {
    let jobs = match args.job_kubeconfig.as_deref() {
        None => cluster.clone(),
        Some("in-cluster") => Cluster::new(Client::try_from(Config::incluster()?)?, clock),
        Some(file) => {
            let config = from_file(Some(file.as_ref()), None).await?;
            Cluster::new(Client::try_from(config)?, clock)
        }
    };
    Ok(Sources {
        doors: Doors { http, jobs },
        settings: Settings {
            prometheus_address: args.prometheus_address.clone(),
            jobs: JobPlacement {
                namespace: args.job_namespace.clone(),
                other_cluster: args.job_kubeconfig.is_some(),
            },
        },
        concurrency: args.analysis_threads,
    })
}

/// The API of AWS, if weights are verified there.
fn aws(args: &ControllerArgs, clock: &Clock) -> Result<Option<Aws>, Error> {
    if !args.routers.aws_verify_target_group {
        return Ok(None);
    }
    let variable = |name: &str| env::var_os(name).and_then(|text| text.into_string().ok());
    // Credentials come from link-local addresses; no metric asks through this door.
    let http = Http::new(LinkLocal::Allowed)?;
    let environment = Environment::read(variable);
    Ok(Some(Aws::new(environment, http, clock.clone())))
}

fn link_local(args: &ControllerArgs) -> LinkLocal {
    if args.allow_link_local {
        LinkLocal::Allowed
    } else {
        LinkLocal::Refused
    }
}

async fn listen(
    args: &ControllerArgs,
    port: u16,
    router: Router,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    if port == 0 {
        return Ok(());
    }
    let address = SocketAddr::new(args.bind_address, port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    let stopped = shutdown.clone().cancelled_owned();
    tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(stopped)
            .await;
        if let Err(error) = served {
            tracing::error!(%error, %address, "no longer listening");
        }
    });
    Ok(())
}

/// The first signal asks for an orderly end; the second, which cancels what is returned, for an end
/// at once.
fn stop_on_signals(shutdown: &CancellationToken) -> Result<CancellationToken, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let (shutdown, interrupted) = (shutdown.clone(), CancellationToken::new());
    let second = interrupted.clone();
    tokio::spawn(async move {
        for token in [shutdown, second] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            info!("stopping");
            token.cancel();
        }
    });
    Ok(interrupted)
}
