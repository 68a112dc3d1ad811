//! All of the command line's grammar.

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::analyze::{self, AnalyzeArgs};
use super::backtest::{self, BacktestArgs};
use super::cluster::{self, ClusterArgs};
use super::completion::{self, CompletionArgs};
use super::controller::{self, ControllerArgs};
use super::crds::{self, CrdsArgs};
use super::demo::{self, DemoArgs};
use super::eval::{self, EvalArgs};
use super::plugin::{self, Around, ConnectionArgs, PluginCommand};
use super::screen::LookArgs;
use super::{Exit, Output, Program, usage};
use crate::telemetry::{LogFormat, start_logging};

/// Promotes good releases and rolls bad ones back, from metrics.
#[derive(Debug, Parser)]
#[command(name = "verdict", version, max_term_width = 100)]
#[command(after_help = "The flags of kubectl may stand anywhere: `{prog} options` lists them.")]
pub struct Args {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    look: LookArgs,
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
    #[command(flatten)]
    Plugin(Box<PluginCommand>),
    Completion(CompletionArgs),
    /// List the flags of kubectl, which may stand anywhere
    Options,
}

/// Commands that serve something or set it up: the kubectl plugin has them, and lists them not.
const SERVERS: [&str; 4] = ["cluster", "controller", "crds", "demo"];

impl Args {
    /// Reads a command line, the name of the program first.
    ///
    /// # Errors
    /// One that makes no sense, or that asks for help, is answered at once; the process ends so.
    pub fn read(program: Program, words: &[OsString], output: &mut Output) -> Result<Self, Exit> {
        let matches = Self::command_of(program).try_get_matches_from(words);
        let read = matches.and_then(|matches| Self::from_arg_matches(&matches));
        read.map_err(|error| {
            let words = words.iter().map(|word| word.to_string_lossy().into_owned());
            usage::answer(&error, &words.collect::<Vec<_>>(), program, output)
        })
    }

    /// The grammar, in the words of the program's name.
    pub(super) fn command_of(program: Program) -> clap::Command {
        let command = Self::command().name(program.file());
        let command = named(command, program.typed());
        if program == Program::Verdict {
            return command;
        }
        let hide = |command: clap::Command, name: &str| {
            command.mut_subcommand(name, |server| server.hide(true))
        };
        SERVERS
            .iter()
            .fold(command, |command, name| hide(command, name))
    }

    /// Runs a command of the plugin in a cluster that is there already, in the namespace that it
    /// names; none if it is no such command.
    pub async fn run_in(&self, mut around: Around, output: &mut Output) -> Option<Exit> {
        if let Some(namespace) = &self.connection.namespace {
            around.namespace.clone_from(namespace);
        }
        match &self.command {
            Command::Plugin(command) => {
                Some(Box::pin(plugin::run_in(command, &around, output)).await)
            }
            _ => None,
        }
    }
}

/// Examples name the program as people type it; other words for a command stand before them.
fn named(mut command: clap::Command, typed: &str) -> clap::Command {
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    let mut help = command
        .get_after_help()
        .map(|help| help.to_string().replace("{prog}", typed))
        .unwrap_or_default();
    if !aliases.is_empty() {
        let name = command.get_name();
        help = format!("Aliases:\n  {name}, {}\n\n{help}", aliases.join(", "));
    }
    command = command.after_help(help);
    let names: Vec<String> = command
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    names.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |inner| named(inner, typed))
    })
}

/// Runs the parsed command line.
pub(super) fn run(args: &Args, program: Program, output: &mut Output) -> Exit {
    match &args.command {
        Command::Analyze(args) => analyze::run(args, output),
        Command::Backtest(args) => backtest::run(args, output),
        Command::Cluster(args) => cluster::run(args, output),
        Command::Controller(args) => controller::run(args, output),
        Command::Crds(args) => crds::run(args, output),
        Command::Demo(args) => demo::run(args, output),
        Command::Eval(args) => eval::run(args, output),
        Command::Completion(args) => completion::script(args, program, output),
        Command::Options => options(output),
        Command::Plugin(command) => {
            let filter = args.connection.logging();
            start_logging(tracing::Level::WARN, Some(&filter), LogFormat::Text);
            plugin::run(command, &args.connection, args.look, program, output)
        }
    }
}

/// The flags that may stand anywhere, which no command's help repeats.
fn options(output: &mut Output) -> Exit {
    #[derive(Debug, Parser)]
    #[command(name = "options", disable_help_flag = true, max_term_width = 100)]
    #[command(help_template = "{all-args}")]
    struct Anywhere {
        #[command(flatten)]
        connection: ConnectionArgs,
        #[command(flatten)]
        look: LookArgs,
    }
    let mut flags = Anywhere::command().mut_args(|flag| flag.hide(false));
    output.text(&flags.render_help().to_string());
    Exit::Done
}
