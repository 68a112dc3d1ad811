//! `status`: how a Rollout is, until it is healthy or degraded.

use std::time::Duration;

use clap::{ArgAction, Args};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;

use super::form::FormArgs;
use super::outage::Outage;
use super::{Around, Error, live, names};
use crate::api::{Rollout, RolloutPhase};
use crate::cli::{Exit, Output, duration};
use crate::rollout::seen;

/// Tell how a Rollout is, until it is healthy or degraded
///
/// Exits 1 if it is degraded, and, unless --watch=false, if it has not become healthy in time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} status web
  {prog} status web --timeout 10m
  {prog} status web --watch=false")]
pub(in crate::cli) struct StatusArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT")]
    name: String,
    /// Go on until it is healthy or degraded
    #[arg(
        long, short, default_value_t = true, default_missing_value = "true", num_args = 0..=1,
        require_equals = true, action = ArgAction::Set, value_name = "BOOL",
    )]
    watch: bool,
    /// How long at most, such as 60s or 10m; 0: for ever
    #[arg(long, short, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) async fn run(
    args: &StatusArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let rollout = live::read::<Rollout>(around, &args.name).await?;
    let (phase, message) = if args.watch {
        Box::pin(follow(args, around, rollout, output)).await?
    } else {
        let (phase, message) = seen(&rollout);
        let is_over = matches!(phase, RolloutPhase::Healthy | RolloutPhase::Degraded);
        tell(
            args,
            phase,
            if is_over { "" } else { &message },
            is_over,
            output,
        )?;
        (phase, message)
    };
    match phase {
        RolloutPhase::Degraded => Err(Error::no(format!(
            "The rollout is in a degraded state with message: {message}"
        ))),
        RolloutPhase::Progressing | RolloutPhase::Paused if args.watch && !output.is_gone() => {
            Err(Error::no("Rollout status watch exceeded timeout"))
        }
        RolloutPhase::Progressing | RolloutPhase::Paused | RolloutPhase::Healthy => Ok(Exit::Done),
    }
}

/// One line, or one document.
fn tell(
    args: &StatusArgs,
    phase: RolloutPhase,
    message: &str,
    alone: bool,
    output: &mut Output,
) -> Result<(), Error> {
    if args.form.is_document() {
        let told = json!({ "name": args.name, "phase": phase, "message": message });
        args.form.about(&args.name, &told, output)?;
    } else if alone {
        output.data(phase);
    } else {
        output.data(format_args!("{phase} - {message}"));
    }
    Ok(())
}

/// Tells each change until the end; answers how the Rollout is then.
async fn follow(
    args: &StatusArgs,
    around: &Around,
    rollout: Rollout,
    output: &mut Output,
) -> Result<(RolloutPhase, String), Error> {
    let mut changes = Changes::of(around, &args.name);
    let limit = args.timeout.filter(|limit| !limit.is_zero());
    let end = tokio::time::sleep(limit.unwrap_or(Duration::from_hours(24 * 365)));
    tokio::pin!(end);
    let mut last: Option<(RolloutPhase, String)> = None;
    let mut now = seen(&rollout);
    loop {
        if last.as_ref() != Some(&now) {
            let (phase, message) = &now;
            tell(args, *phase, message, message.is_empty(), output)?;
            last = Some(now.clone());
        }
        let is_over = matches!(now.0, RolloutPhase::Healthy | RolloutPhase::Degraded);
        if is_over || output.is_gone() {
            return Ok(now);
        }
        tokio::select! {
            change = changes.next(output) => match change? {
                Some(rollout) => now = seen(&rollout),
                None => return Err(names::missing::<Rollout>(around, &args.name).await),
            },
            () = &mut end => return Ok(now),
            () = around.stop.cancelled() => return Ok(now),
        }
    }
}

/// A Rollout as it changes.
pub(super) struct Changes {
    events: BoxStream<'static, watcher::Result<watcher::Event<Rollout>>>,
    /// Whether it was among what is told of the first state.
    is_there: bool,
    outage: Outage,
}

impl Changes {
    pub(super) fn of(around: &Around, name: &str) -> Self {
        let api = Api::<Rollout>::namespaced(around.cluster.client(), &around.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        Self {
            events: watcher(api, config).default_backoff().boxed(),
            is_there: false,
            outage: Outage::default(),
        }
    }

    /// The Rollout when it has changed; none when it is gone. An outage is told, and waited out.
    pub(super) async fn next(&mut self, output: &mut Output) -> Result<Option<Rollout>, Error> {
        while let Some(event) = self.events.next().await {
            match event {
                Ok(watcher::Event::Init) => self.is_there = false,
                Ok(watcher::Event::InitApply(rollout) | watcher::Event::Apply(rollout)) => {
                    self.is_there = true;
                    self.outage.end();
                    return Ok(Some(rollout));
                }
                Ok(watcher::Event::InitDone) if self.is_there => {}
                Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => return Ok(None),
                Err(failure) => {
                    if let Some(told) = self.outage.note(&failure)? {
                        output.talk(format_args!("warning: {told}"));
                    }
                }
            }
        }
        Ok(None)
    }
}
