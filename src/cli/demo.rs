//! `verdict demo`: a whole world in one process.

use std::env;
use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use super::serving::{self, Serving, ServingArgs, Token};
use super::{Exit, Output};
use crate::simulation::demo::{Ending, MetricSource, Strategy, World, play, watch_on};
use crate::simulation::prometheus;
use crate::telemetry::{LogFormat, start_logging};
use crate::view::{Line, Paint};

/// Watch a good release being promoted and bad ones being aborted
///
/// Runs an embedded cluster with the controllers, a workload under real HTTP load and what measures
/// it, all in this process and on loopback ports. Nothing is installed and nothing is left behind.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How versions replace each other: canary releases a good and a bad one; blue-green also one
    /// that fails only when users reach it
    #[arg(long, value_enum, default_value_t = StrategyArg::Canary)]
    strategy: StrategyArg,

    /// Let a router divide the traffic: the canary gets 10 % of it, then 60 %, whatever its number of
    /// pods. The router is played, as Ingress NGINX; for canary only
    #[arg(long, value_enum)]
    router: Option<RouterArg>,

    /// End after the releases; the exit code is 0 only if the good one was promoted and the bad ones
    /// were aborted by their metrics
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    serving: ServingArgs,

    /// What measures: a Prometheus that is started for the demo if there is one on PATH (auto), one
    /// that runs already (its URL), or the workload itself (none)
    #[arg(long, value_name = "auto|URL|none", default_value = "auto", value_parser = asked)]
    prometheus: Asked,

    /// How much the controllers log to standard error: error, warn, info, debug or trace
    #[arg(
        long,
        env = "VERDICT_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "warn"
    )]
    loglevel: tracing::Level,
}

/// How versions replace each other, as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StrategyArg {
    Canary,
    BlueGreen,
}

/// What divides the traffic, as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RouterArg {
    Nginx,
}

fn strategy(asked: StrategyArg, router: Option<RouterArg>) -> Result<Strategy, Error> {
    match (asked, router) {
        (StrategyArg::Canary, None) => Ok(Strategy::Canary),
        (StrategyArg::Canary, Some(RouterArg::Nginx)) => Ok(Strategy::WeightedCanary),
        (StrategyArg::BlueGreen, None) => Ok(Strategy::BlueGreen),
        (StrategyArg::BlueGreen, Some(RouterArg::Nginx)) => Err(Error::Router),
    }
}

/// What measures, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Auto,
    At(String),
    None,
}

fn asked(text: &str) -> Result<Asked, String> {
    match text {
        "auto" => Ok(Asked::Auto),
        "none" => Ok(Asked::None),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            Ok(Asked::At(url.trim_end_matches('/').to_owned()))
        }
        _ => Err("must be `auto`, `none` or a URL such as http://127.0.0.1:9090".to_owned()),
    }
}

fn source(asked: &Asked) -> MetricSource {
    match asked {
        Asked::Auto => prometheus::find(env::var_os("PATH").as_deref())
            .map_or(MetricSource::Workload, MetricSource::Program),
        Asked::At(url) => MetricSource::At(url.clone()),
        Asked::None => MetricSource::Workload,
    }
}

/// Why the demo came to no end.
#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Demo(#[from] crate::simulation::demo::Error),
    #[error(transparent)]
    Serving(#[from] serving::Error),
    #[error("--router: blue-green switches all traffic at once; expected --strategy canary")]
    Router,
    #[error("interrupted before all releases were decided")]
    Interrupted,
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

/// Runs the demo.
pub(super) fn run(args: &DemoArgs, output: &mut Output) -> Exit {
    start_logging(args.loglevel, None, LogFormat::Text);
    match super::block_on(show(args, output)) {
        Ok(exit) => exit,
        Err(error) => {
            output.talk(format_args!("error: {error}"));
            Exit::Unknown
        }
    }
}

async fn show(args: &DemoArgs, output: &mut Output) -> Result<Exit, Error> {
    let source = source(&args.prometheus);
    let strategy = strategy(args.strategy, args.router)?;
    introduce(strategy, &source, output);
    let interrupted = interrupted().map_err(Error::Signals)?;
    tokio::pin!(interrupted);
    let world = tokio::select! {
        world = World::start(strategy, source) => world?,
        () = &mut interrupted => return Err(Error::Interrupted),
    };
    let shown = if args.once {
        releases(&world, &mut interrupted, output).await
    } else {
        served(&world, args, &mut interrupted, output).await
    };
    world.end().await;
    shown
}

/// Shows the releases, and then whatever else happens, in a cluster that `kubectl` reaches.
async fn served(
    world: &World,
    args: &DemoArgs,
    interrupted: &mut (impl Future<Output = ()> + Unpin),
    output: &mut Output,
) -> Result<Exit, Error> {
    let serving = Serving::start(world.server(), &args.serving, Token::random()?).await?;
    let kubeconfig = args.serving.kubeconfig.display();
    output.talk(format_args!(
        "In another terminal: kubectl --kubeconfig {kubeconfig} get rollouts,analysisruns,pods\n"
    ));
    let shown = releases(world, interrupted, output).await;
    if shown.is_ok() {
        output.talk(
            "\nThe load goes on, and so does the cluster: change the Rollout and see. Ctrl-C ends.",
        );
        let mut tell = teller(output);
        tokio::select! {
            () = watch_on(world, &mut tell) => {}
            () = interrupted => {}
        }
    }
    serving.end().await;
    shown
}

async fn releases(
    world: &World,
    interrupted: &mut (impl Future<Output = ()> + Unpin),
    output: &mut Output,
) -> Result<Exit, Error> {
    let mut tell = teller(output);
    let ending = tokio::select! {
        ending = play(world, &mut tell) => ending?,
        () = interrupted => return Err(Error::Interrupted),
    };
    drop(tell);
    Ok(conclude(&ending, output))
}

/// Writes what happens, each line with the time since the beginning.
fn teller(output: &mut Output) -> impl FnMut(Duration, &Line) + Send {
    let paint = paint();
    move |elapsed, line| {
        let seconds = elapsed.as_secs_f64();
        output.data(format_args!("{seconds:>6.1}s  {}", line.painted(paint)));
    }
}

/// Ends with the first SIGINT (Ctrl-C) or SIGTERM.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn introduce(strategy: Strategy, source: &MetricSource, output: &mut Output) {
    output.data("An embedded cluster runs `web` on 5 pods: real HTTP servers, under real load.");
    let what: &[&str] = match strategy {
        Strategy::Canary => &[
            "A good v2 gets 20 % of it, then 60 %, and is promoted if its metrics hold their limits.",
            "A bad v3, which fails 30 % of its requests, must be aborted without harm to v2.",
        ],
        Strategy::WeightedCanary => &[
            "An Ingress gives a good v2 10 % of it, then 60 %; it is promoted if its metrics hold.",
            "A bad v3, which fails 30 % of its requests, must be aborted without harm to v2.",
        ],
        Strategy::BlueGreen => &[
            "A good v2 is tried as a preview, gets all of it at once, and stays if its metrics hold.",
            "A bad v3, which fails 30 % of its requests, must be refused before users reach it.",
            "A weak v4 stands the test, but not as many requests as users send: they must get v2 back.",
        ],
    };
    for line in what {
        output.data(line);
    }
    match source {
        MetricSource::Program(program) => {
            output.data(format_args!(
                "A real Prometheus measures: {}",
                program.display()
            ));
        }
        MetricSource::At(url) => output.data(format_args!("The Prometheus at {url} measures.")),
        MetricSource::Workload => {
            output.data("No Prometheus: web metrics of the workload itself are measured.");
        }
    }
    output.data("");
}

fn conclude(ending: &Ending, output: &mut Output) -> Exit {
    let paint = paint();
    output.data("");
    for line in &ending.summary {
        output.data(line.painted(paint));
    }
    for problem in &ending.problems {
        output.talk(format_args!("error: {problem}"));
    }
    if ending.problems.is_empty() {
        Exit::Done
    } else {
        Exit::No
    }
}

/// Colours for a person at a terminal who has not asked for none (<https://no-color.org>).
fn paint() -> Paint {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !refused {
        Paint::Colours
    } else {
        Paint::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_measures_is_a_word_or_a_url() {
        assert_eq!(asked("auto"), Ok(Asked::Auto));
        assert_eq!(asked("none"), Ok(Asked::None));
        assert_eq!(
            asked("http://a:9090/"),
            Ok(Asked::At("http://a:9090".to_owned()))
        );
        assert!(
            asked("prometheus")
                .unwrap_err()
                .contains("http://127.0.0.1:9090")
        );
    }
}
