//! The commands that send one patch: pause, abort, retry, restart, terminate.

use clap::Args;
use serde_json::Value;

use super::kind::Known;
use super::selection::{Selection, Work, each};
use super::{Around, Error, names};
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
}

pub(super) async fn abort(
    args: &AbortArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let patch = operations::abort();
    let work = Work {
        done: "aborted",
        misfit: |rollout: &Rollout| gate::misfit(GateAction::Abort, rollout),
        act: async |name: &str| {
            let dry_run = args.selection.dry_run;
            if !dry_run {
                patch_status::<Rollout>(around, name, &patch).await?;
            }
            Ok(told(name, "aborted", dry_run.then_some(&patch)).into())
        },
    };
    each(&args.selection, work, around, output).await
}

pub(super) async fn retry(
    args: &RetryRolloutArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let patch = operations::retry();
    let work = Work {
        done: "retried",
        misfit: |rollout: &Rollout| {
            let aborted = rollout.status.as_ref().is_some_and(|status| status.abort);
            (!aborted).then(|| "is not aborted".to_owned())
        },
        act: async |name: &str| {
            let dry_run = args.selection.dry_run;
            if !dry_run {
                patch_status::<Rollout>(around, name, &patch).await?;
            }
            Ok(told(name, "retried", dry_run.then_some(&patch)).into())
        },
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
    let patch = operations::restart(at);
    let done = format!("restarts in {}", args.delay);
    let work = Work {
        done: "restarted",
        misfit: |_: &Rollout| None,
        act: async |name: &str| {
            let dry_run = args.selection.dry_run;
            if !dry_run {
                merge::<Rollout>(around, name, &patch).await?;
            }
            Ok(told(name, &done, dry_run.then_some(&patch)).into())
        },
    };
    each(&args.selection, work, around, output).await
}

pub(super) async fn pause(
    args: &PauseArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let patch = operations::pause();
    merge_each::<Rollout>(&args.names, &patch, "paused", around, output).await
}

/// Argo's kind has no status of its own: there the object takes the patch.
pub(super) async fn retry_experiments(
    args: &RetryExperimentArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let patch = operations::retry_experiment();
    for name in &args.names {
        patch_status::<Experiment>(around, name, &patch).await?;
        output.data(format_args!("experiment '{name}' retried"));
    }
    Ok(Exit::Done)
}

pub(super) async fn terminate_runs(
    args: &TerminateRunArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let patch = operations::terminate();
    merge_each::<AnalysisRun>(&args.names, &patch, "terminated", around, output).await
}

/// Argo's plugin says that they were retried, and scripts that call it so match that.
pub(super) async fn terminate_experiments(
    args: &TerminateExperimentArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let patch = operations::terminate();
    let done = match around.program {
        Program::ArgoRollouts => "retried",
        Program::Verdict | Program::Plugin => "terminated",
    };
    merge_each::<Experiment>(&args.names, &patch, done, around, output).await
}

async fn merge_each<K: Known>(
    names: &[String],
    patch: &Value,
    done: &str,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    for name in names {
        merge::<K>(around, name, patch).await?;
        output.data(format_args!("{} '{name}' {done}", K::WORD));
    }
    Ok(Exit::Done)
}

pub(super) async fn merge<K: Known>(
    around: &Around,
    name: &str,
    patch: &Value,
) -> Result<(), Error> {
    let merged = around.cluster.merge::<K>(&around.namespace, name, patch);
    match merged.await {
        Ok(_) => Ok(()),
        Err(error) => Err(names::explained::<K>(around, name, error).await),
    }
}

async fn patch_status<K: Known>(around: &Around, name: &str, patch: &Value) -> Result<(), Error> {
    let cluster = &around.cluster;
    let patched = cluster.patch_status::<K>(&around.namespace, name, patch, patch);
    match patched.await {
        Ok(_) => Ok(()),
        Err(error) => Err(names::explained::<K>(around, name, error).await),
    }
}

/// What is told of a Rollout, with the patch if it was not sent.
fn told(name: &str, done: &str, unsent: Option<&Value>) -> String {
    match unsent {
        None => format!("rollout '{name}' {done}"),
        Some(patch) => format!("rollout '{name}' {done} (dry run): {patch}"),
    }
}
