//! The commands that send one patch: pause, abort, retry, restart, terminate.

use clap::Args;

use super::form::FormArgs;
use super::kind::Known;
use super::patches::Patches;
use super::selection::{Selection, Work, each};
use super::{Around, Error};
use crate::api::{AnalysisRun, Experiment, GateAction, GoDuration, Rollout};
use crate::cli::{Exit, Output, Program};
use crate::gate;
use crate::rollout::operations;

/// Go back to the stable version
///
/// All traffic goes to the stable version again, and the new one gets no pods. `retry rollout` takes
/// the release up again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} abort web
  {prog} abort -l team=shop --dry-run")]
pub(in crate::cli) struct AbortArgs {
    #[command(flatten)]
    selection: Selection,
}

/// Stop Rollouts where they stand
///
/// `promote` lets them go on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} pause web")]
pub(in crate::cli) struct PauseArgs {
    /// Names of Rollouts
    #[arg(value_name = "ROLLOUT", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    form: FormArgs,
}

/// Take up aborted Rollouts again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} retry rollout web
  {prog} retry rollout --all")]
pub(in crate::cli) struct RetryRolloutArgs {
    #[command(flatten)]
    selection: Selection,
}

/// Begin Experiments anew
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} retry experiment compare")]
pub(in crate::cli) struct RetryExperimentArgs {
    /// Names of Experiments
    #[arg(value_name = "EXPERIMENT", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    form: FormArgs,
}

/// Make all pods of Rollouts again, a few at a time
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} restart web
  {prog} restart web --in 10m")]
pub(in crate::cli) struct RestartArgs {
    #[command(flatten)]
    selection: Selection,
    /// How long from now, such as 30s or 1h30m
    #[arg(
        long = "in",
        short = 'i',
        value_name = "DURATION",
        default_value = "0s",
        hide_default_value = true
    )]
    delay: String,
}

/// End AnalysisRuns as they are
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} terminate analysisrun web-6d5f-4-2")]
pub(in crate::cli) struct TerminateRunArgs {
    /// Names of AnalysisRuns
    #[arg(value_name = "ANALYSISRUN", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    form: FormArgs,
}

/// End Experiments as they are
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} terminate experiment compare")]
pub(in crate::cli) struct TerminateExperimentArgs {
    /// Names of Experiments
    #[arg(value_name = "EXPERIMENT", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) async fn abort(
    args: &AbortArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let work = Work {
        done: "aborted",
        told: "aborted",
        misfit: |rollout: &Rollout| gate::misfit(GateAction::Abort, rollout),
        asked: async |_: &str| Ok(Patches::Status(operations::abort()).into()),
    };
    each(&args.selection, work, around, output).await
}

pub(super) async fn retry(
    args: &RetryRolloutArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let work = Work {
        done: "retried",
        told: "retried",
        misfit: |rollout: &Rollout| {
            let aborted = rollout.status.as_ref().is_some_and(|status| status.abort);
            (!aborted).then(|| "is not aborted".to_owned())
        },
        asked: async |_: &str| Ok(Patches::Status(operations::retry()).into()),
    };
    each(&args.selection, work, around, output).await
}

pub(super) async fn restart(
    args: &RestartArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let delay = GoDuration::new(args.delay.as_str()).parse();
    let delay = delay.map_err(|error| Error::new(format!("cannot wait with --in: {error}")))?;
    let now = around.cluster.clock().now();
    let at = now
        .checked_add(delay)
        .map_err(|_| Error::new(format!("cannot wait with --in: {} is too long", args.delay)))?;
    let work = Work {
        done: "restarted",
        told: &format!("restarts in {}", args.delay),
        misfit: |_: &Rollout| None,
        asked: async |_: &str| Ok(Patches::Object(operations::restart(at)).into()),
    };
    each(&args.selection, work, around, output).await
}

pub(super) async fn pause(
    args: &PauseArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let pause = Patches::Object(operations::pause());
    send_each::<Rollout>(&args.names, &pause, "paused", args.form, around, output).await
}

/// Argo's kind has no status of its own: there the object takes the patch.
pub(super) async fn retry_experiments(
    args: &RetryExperimentArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let anew = Patches::Status(operations::retry_experiment());
    send_each::<Experiment>(&args.names, &anew, "retried", args.form, around, output).await
}

pub(super) async fn terminate_runs(
    args: &TerminateRunArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let end = Patches::Object(operations::terminate());
    send_each::<AnalysisRun>(&args.names, &end, "terminated", args.form, around, output).await
}

/// Argo's plugin says that they were retried, and scripts that call it so match that.
pub(super) async fn terminate_experiments(
    args: &TerminateExperimentArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let end = Patches::Object(operations::terminate());
    let done = match around.program {
        Program::ArgoRollouts => "retried",
        Program::Verdict | Program::Plugin => "terminated",
    };
    send_each::<Experiment>(&args.names, &end, done, args.form, around, output).await
}

/// Sends the same about each of the objects, up to the first failure.
async fn send_each<K: Known>(
    names: &[String],
    patches: &Patches,
    done: &str,
    form: FormArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    for name in names {
        let sent = patches.send::<K>(around, name).await?;
        match sent.filter(|_| form.is_document()) {
            Some(object) => form.object(object, output)?,
            None => output.data(format_args!("{} '{name}' {done}", K::WORD)),
        }
    }
    Ok(Exit::Done)
}
