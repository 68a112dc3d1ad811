//! All of the command line's grammar.

use clap::{Parser, Subcommand};

use super::{Exit, Output};

/// Promotes good releases and rolls bad ones back, from metrics.
#[derive(Debug, Parser)]
#[command(name = "verdict", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {}

/// Runs the parsed command line.
pub(super) fn run(args: &Args, _output: &mut Output) -> Exit {
    match args.command {}
}
