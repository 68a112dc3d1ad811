//! `why`: what holds a Rollout, since when, what would move it, and what led here.

use clap::Args;
use k8s_openapi::api::core::v1::Event;
use serde_json::to_value;

use super::form::FormArgs;
use super::{Around, Error, live};
use crate::api::Rollout;
use crate::cli::{Exit, Output};
use crate::view::Why;

/// Tell what holds a Rollout, since when, what would move it, and what led here
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} why web")]
pub(in crate::cli) struct WhyArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT")]
    name: String,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) async fn run(
    args: &WhyArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let rollout = live::read::<Rollout>(around, &args.name).await?;
    let all = live::belongings(around).await?;
    let events = around.cluster.list::<Event>(&around.namespace, "").await;
    let events = events.unwrap_or_else(|error| {
        output.talk(format_args!(
            "warning: Events are not told: {}",
            error.message()
        ));
        Vec::new()
    });
    let why = Why::of(&rollout, &all, &events, around.program.typed());
    if args.form.is_document() {
        let told = to_value(&why).expect("an explanation has only string keys");
        args.form.about(&args.name, &told, output)?;
        return Ok(Exit::Done);
    }
    for line in why.lines(around.cluster.clock().now()) {
        output.data(around.screen.shown(&line));
    }
    Ok(Exit::Done)
}
