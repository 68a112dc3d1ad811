//! The kubectl plugin: people steer and watch releases by hand.
//!
//! The words are those of `kubectl argo rollouts` wherever it has them: scripts match them.

mod canvas;
mod changes;
mod connection;
mod create;
mod error;
mod form;
mod get;
mod kind;
mod lint;
mod list;
mod live;
mod names;
mod operate;
mod outage;
mod patches;
mod promote;
mod selection;
mod set_image;
mod status;
mod undo;
mod version;
mod wait;
mod why;

use std::time::Duration;

use clap::Subcommand;
use tokio_util::sync::CancellationToken;

use super::screen::LookArgs;
use super::{Exit, Output, Program, Screen};
use crate::api::{AnalysisRun, Experiment, Rollout};
use crate::clock::Clock;
use crate::cluster::{Cluster, persistent};

pub(in crate::cli) use connection::ConnectionArgs;
pub use error::Error;

/// The commands of the plugin.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    Get(get::GetArgs),
    Why(why::WhyArgs),
    Wait(wait::WaitArgs),
    List(list::ListArgs),
    Status(status::StatusArgs),
    /// Change a Rollout's images
    Set(SetArgs),
    Promote(promote::PromoteArgs),
    Pause(operate::PauseArgs),
    Abort(operate::AbortArgs),
    /// Take up again what was aborted, or begin an Experiment anew
    Retry(RetryArgs),
    Undo(undo::UndoArgs),
    Restart(operate::RestartArgs),
    /// End an AnalysisRun or an Experiment
    Terminate(TerminateArgs),
    Create(Box<create::CreateArgs>),
    Lint(lint::LintArgs),
    Dashboard(version::DashboardArgs),
    Version(version::VersionArgs),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SetArgs {
    #[command(subcommand)]
    what: SetCommand,
}

#[derive(Debug, Subcommand)]
enum SetCommand {
    Image(set_image::SetImageArgs),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RetryArgs {
    #[command(subcommand)]
    what: RetryCommand,
}

#[derive(Debug, Subcommand)]
enum RetryCommand {
    #[command(visible_aliases = ["ro", "rollouts"])]
    Rollout(operate::RetryRolloutArgs),
    #[command(visible_aliases = ["exp", "experiments"])]
    Experiment(operate::RetryExperimentArgs),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TerminateArgs {
    #[command(subcommand)]
    what: TerminateCommand,
}

#[derive(Debug, Subcommand)]
enum TerminateCommand {
    #[command(visible_aliases = ["ar", "analysisruns"])]
    Analysisrun(operate::TerminateRunArgs),
    #[command(visible_aliases = ["exp", "experiments"])]
    Experiment(operate::TerminateExperimentArgs),
}

/// What a command finds around it.
#[derive(Debug)]
pub struct Around {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace.
    pub namespace: String,
    /// What the reader sees on.
    pub screen: Screen,
    /// What the program is called.
    pub program: Program,
    /// Cancelled when the person has asked for the end.
    pub stop: CancellationToken,
}

impl Around {
    async fn connect(
        connection: &ConnectionArgs,
        screen: Screen,
        program: Program,
    ) -> Result<Self, Error> {
        let agent = format!("{}/{}", program.file(), env!("CARGO_PKG_VERSION"));
        let (client, namespace) = connection.connect(&agent).await?;
        Ok(Self {
            cluster: Cluster::new(persistent(client), Clock::system()),
            namespace,
            screen,
            program,
            stop: interrupted()?,
        })
    }
}

/// How long a command may take to end when it is asked to; one that waits for an answer does not
/// hear that it is asked.
const FAREWELL: Duration = Duration::from_secs(1);

async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(FAREWELL).await;
}

/// Cancelled by the first SIGINT or SIGTERM.
fn interrupted() -> Result<CancellationToken, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |error| Error::new(format!("cannot wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        asked.cancel();
    });
    Ok(stop)
}

/// Runs a command of the plugin in the cluster that the flags name.
pub(super) fn run(
    command: &PluginCommand,
    connection: &ConnectionArgs,
    look: LookArgs,
    program: Program,
    output: &mut Output,
) -> Exit {
    let screen = Screen::standard(look, program);
    super::block_on(async {
        match without_cluster(command, program, output).await {
            Some(Ok(exit)) => return exit,
            Some(Err(error)) => return error.tell(output),
            None => {}
        }
        let around = Around::connect(connection, screen, program).await;
        match around {
            Ok(around) => tokio::select! {
                exit = Box::pin(run_in(command, &around, output)) => exit,
                () = overdue(&around.stop) => Exit::Unknown,
            },
            Err(error) => error.tell(output),
        }
    })
}

/// Runs a command that needs no cluster; none if it needs one.
async fn without_cluster(
    command: &PluginCommand,
    program: Program,
    output: &mut Output,
) -> Option<Result<Exit, Error>> {
    match command {
        PluginCommand::Lint(args) if !args.live => Some(lint::run(args, None, output).await),
        PluginCommand::Dashboard(args) => Some(Err(version::dashboard(args, program))),
        PluginCommand::Version(args) => Some(version::version(args, program, output)),
        _ => None,
    }
}

/// Names of objects, for those who complete a command line; none if nobody can tell.
pub(super) async fn names_of(connection: &ConnectionArgs, plural: &str) -> Vec<String> {
    let Ok((client, namespace)) = connection.connect("verdict-completion").await else {
        return Vec::new();
    };
    let kind = match plural {
        "rollouts" => kind::resource::<Rollout>(),
        "experiments" => kind::resource::<Experiment>(),
        _ => kind::resource::<AnalysisRun>(),
    };
    let cluster = Cluster::new(client, Clock::system());
    let params = kube::api::ListParams::default();
    let found = cluster.find(&kind, Some(&namespace), &params).await;
    let found = found.map(|found| found.items).unwrap_or_default();
    found.iter().map(kube::ResourceExt::name_any).collect()
}

/// Runs a command of the plugin in a cluster.
pub(super) async fn run_in(command: &PluginCommand, around: &Around, output: &mut Output) -> Exit {
    let done = match command {
        PluginCommand::Get(args) => get::run(args, around, output).await,
        PluginCommand::Why(args) => why::run(args, around, output).await,
        PluginCommand::Wait(args) => Box::pin(wait::run(args, around, output)).await,
        PluginCommand::Create(args) => create::run(args, around, output).await,
        PluginCommand::Lint(args) => {
            lint::run(args, Some(around).filter(|_| args.live), output).await
        }
        PluginCommand::Dashboard(args) => Err(version::dashboard(args, around.program)),
        PluginCommand::Version(args) => version::version(args, around.program, output),
        PluginCommand::List(args) => list::run(args, around, output).await,
        PluginCommand::Status(args) => Box::pin(status::run(args, around, output)).await,
        PluginCommand::Set(args) => match &args.what {
            SetCommand::Image(args) => set_image::run(args, around, output).await,
        },
        PluginCommand::Promote(args) => promote::run(args, around, output).await,
        PluginCommand::Pause(args) => operate::pause(args, around, output).await,
        PluginCommand::Abort(args) => operate::abort(args, around, output).await,
        PluginCommand::Retry(args) => match &args.what {
            RetryCommand::Rollout(args) => operate::retry(args, around, output).await,
            RetryCommand::Experiment(args) => {
                operate::retry_experiments(args, around, output).await
            }
        },
        PluginCommand::Undo(args) => undo::run(args, around, output).await,
        PluginCommand::Restart(args) => operate::restart(args, around, output).await,
        PluginCommand::Terminate(args) => match &args.what {
            TerminateCommand::Analysisrun(args) => {
                operate::terminate_runs(args, around, output).await
            }
            TerminateCommand::Experiment(args) => {
                operate::terminate_experiments(args, around, output).await
            }
        },
    };
    done.unwrap_or_else(|error| error.tell(output))
}
