//! All of the command line's grammar.

use clap::{Parser, Subcommand};

use super::analyze::{self, AnalyzeArgs};
use super::backtest::{self, BacktestArgs};
use super::cluster::{self, ClusterArgs};
use super::controller::{self, ControllerArgs};
use super::crds::{self, CrdsArgs};
use super::demo::{self, DemoArgs};
use super::eval::{self, EvalArgs};
use super::{Exit, Output};

/// Promotes good releases and rolls bad ones back, from metrics.
#[derive(Debug, Parser)]
#[command(name = "verdict", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Analyze(Box<AnalyzeArgs>),
    Backtest(Box<BacktestArgs>),
    Cluster(ClusterArgs),
    Controller(Box<ControllerArgs>),
    /// Print the CustomResourceDefinitions, ready for `kubectl apply -f -`
    Crds(CrdsArgs),
    Demo(DemoArgs),
    Eval(EvalArgs),
}

/// Runs the parsed command line.
pub(super) fn run(args: &Args, output: &mut Output) -> Exit {
    match &args.command {
        Command::Analyze(args) => analyze::run(args, output),
        Command::Backtest(args) => backtest::run(args, output),
        Command::Cluster(args) => cluster::run(args, output),
        Command::Controller(args) => controller::run(args, output),
        Command::Crds(args) => crds::run(args, output),
        Command::Demo(args) => demo::run(args, output),
        Command::Eval(args) => eval::run(args, output),
    }
}
