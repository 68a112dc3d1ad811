//! `wait`: until a Rollout is as it should be.

use std::time::Duration;

use clap::Args;

use super::form::FormArgs;
use super::get::document;
use super::status::Changes;
use super::{Around, Error, live, names};
use crate::api::Rollout;
use crate::cli::{Exit, Output, duration};
use crate::rollout::seen;
use crate::view::{Belongings, Goal, Progress};

/// Wait until a Rollout is healthy, paused, degraded or at a step
///
/// Exits 0 as soon as one of the goals is reached, and 1 if the release is aborted or the time is up
/// before.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} wait web --for healthy --timeout 10m
  {prog} wait web --for paused --for healthy
  {prog} wait web --for step=3")]
pub(in crate::cli) struct WaitArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT")]
    name: String,
    /// What it is to be: healthy, paused, degraded or step=N; may be repeated
    #[arg(long = "for", value_name = "GOAL", required = true)]
    goals: Vec<Goal>,
    /// How long at most, such as 10m; 0: for ever
    #[arg(long, short, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) async fn run(
    args: &WaitArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let mut rollout = live::read::<Rollout>(around, &args.name).await?;
    let mut changes = Changes::of(around, &args.name);
    let limit = args.timeout.filter(|limit| !limit.is_zero());
    let end = tokio::time::sleep(limit.unwrap_or(Duration::from_hours(24 * 365)));
    tokio::pin!(end);
    loop {
        if let Some(goal) = reached(args, &rollout)? {
            if args.form.is_document() {
                document::<Rollout>(&args.name, args.form, around, output).await?;
            } else {
                output.data(format_args!("rollout '{}' is {goal}", args.name));
            }
            return Ok(Exit::Done);
        }
        tokio::select! {
            change = changes.next(output) => match change? {
                Some(newer) => rollout = newer,
                None => return Err(names::missing::<Rollout>(around, &args.name).await),
            },
            () = &mut end => return Err(late(args, &rollout)),
            () = around.stop.cancelled() => return Err(Error::new("interrupted")),
        }
    }
}

/// The goal that is reached.
///
/// # Errors
/// None can be reached any more.
fn reached<'a>(args: &'a WaitArgs, rollout: &Rollout) -> Result<Option<&'a Goal>, Error> {
    let mut lost = None;
    let mut open = false;
    for goal in &args.goals {
        match goal.progress(rollout) {
            Progress::Reached => return Ok(Some(goal)),
            Progress::UnderWay => open = true,
            Progress::Lost(why) => lost = Some(why),
        }
    }
    match lost {
        Some(why) if !open => Err(Error::no(format!(
            "rollout '{}' will not be {}: {why}",
            args.name,
            named(&args.goals)
        ))),
        _ => Ok(None),
    }
}

fn late(args: &WaitArgs, rollout: &Rollout) -> Error {
    let goals = named(&args.goals);
    let error = Error::no(format!(
        "timed out waiting for rollout '{}' to be {goals}",
        args.name
    ));
    let waiting = Belongings::default().view_of(rollout).waiting;
    let (phase, message) = seen(rollout);
    error.hint(match waiting {
        Some(waiting) => format!("it waits: {}", waiting.sentence),
        None if message.is_empty() => format!("it is {phase}"),
        None => format!("it is {phase}: {message}"),
    })
}

fn named(goals: &[Goal]) -> String {
    let goals: Vec<String> = goals.iter().map(ToString::to_string).collect();
    goals.join(" or ")
}
