//! How a command line may go on, for shells and for kubectl.

use std::env;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use clap_complete::env::Shells;

use super::plugin::{self, ConnectionArgs};
use super::{Exit, Output, Program};

/// The variable by which the scripts say that they ask, and for which shell.
const VARIABLE: &str = "VERDICT_COMPLETE";

/// How long a cluster may take to say which objects there are: a person waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// Print a script that teaches a shell to complete commands, flags and names
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <({prog} completion bash)")]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Powershell => "powershell",
        }
    }
}

/// Prints the script of a shell.
pub(super) fn script(args: &CompletionArgs, program: Program, output: &mut Output) -> Exit {
    let shells = Shells::builtins();
    let shell = shells
        .completer(args.shell.name())
        .expect("clap knows these shells");
    let mut script = Vec::new();
    let file = program.file();
    if let Err(error) = shell.write_registration(VARIABLE, file, file, file, &mut script) {
        output.talk(format_args!("Error: cannot write the script: {error}"));
        return Exit::Unknown;
    }
    output.text(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// Answers a shell or kubectl, if it is one of them that asks.
pub(super) fn answer(words: &[OsString], program: Program, output: &mut Output) -> Option<Exit> {
    if let Some(shell) = env::var_os(VARIABLE) {
        return Some(for_shell(&shell, words, program, output));
    }
    let name = words.first().map(OsString::as_os_str);
    let asked = words.get(1).and_then(|word| word.to_str());
    let is_cobra = matches!(asked, Some("__complete" | "__completeNoDesc"));
    if Program::completes(name) || is_cobra {
        let line = &words[if is_cobra { 2 } else { 1 }..];
        for_kubectl(line, program, output);
        return Some(Exit::Done);
    }
    None
}

fn for_shell(shell: &OsStr, words: &[OsString], program: Program, output: &mut Output) -> Exit {
    let shells = Shells::builtins();
    let Some(shell) = shell.to_str().and_then(|shell| shells.completer(shell)) else {
        return Exit::Unknown;
    };
    // After a `--` stands the line that is completed.
    let start = words
        .iter()
        .position(|word| word == "--")
        .map_or(1, |at| at + 1);
    let line = words.get(start..).unwrap_or_default().to_vec();
    // Some shells say which word it is; with others it is the last one.
    let index = env::var_os("_CLAP_COMPLETE_INDEX");
    let index = index.and_then(|index| index.to_str()?.parse::<usize>().ok());
    let word = index.map_or(line.last(), |index| line.get(index));
    let mut command = grammar(program, &line, word);
    let folder = env::current_dir().ok();
    let mut told = Vec::new();
    let done = shell.write_complete(&mut command, line, folder.as_deref(), &mut told);
    output.text(&String::from_utf8_lossy(&told));
    if done.is_ok() {
        Exit::Done
    } else {
        Exit::Unknown
    }
}

/// One candidate a line, and that files are none: kubectl asks as it asks its own commands.
///
/// # Source
/// `kubectl_complete-` plugins: cobra's `__complete`.
fn for_kubectl(line: &[OsString], program: Program, output: &mut Output) {
    let mut all = vec![OsString::from(program.file())];
    all.extend_from_slice(line);
    let mut command = grammar(program, &all, all.last());
    let last = all.len() - 1;
    for candidate in complete(&mut command, all, last, None).unwrap_or_default() {
        let value = candidate.get_value().to_string_lossy();
        match candidate.get_help() {
            Some(help) => output.data(format_args!("{value}\t{help}")),
            None => output.data(value),
        }
    }
    output.data(":4");
}

/// The grammar with names of objects in it. All flags of kubectl are offered to whoever begins to type
/// one, and none to whoever may want something else.
fn grammar(program: Program, line: &[OsString], word: Option<&OsString>) -> clap::Command {
    let word = word.and_then(|word| word.to_str());
    let command = super::Args::command_of(program);
    let command = if word.is_some_and(|word| word.starts_with('-')) {
        command.mut_args(|arg| arg.hide(false))
    } else {
        let command = command.disable_help_flag(true).disable_version_flag(true);
        without_flags(command)
    };
    named(command, "", &connection(line))
}

fn without_flags(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let is_hidden = arg.is_hide_set() || !arg.is_positional();
        arg.hide(is_hidden)
    });
    command.mut_subcommands(without_flags)
}

/// The flags of kubectl in a line that need not be whole.
fn connection(line: &[OsString]) -> ConnectionArgs {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        connection: ConnectionArgs,
        #[arg(allow_hyphen_values = true)]
        _words: Vec<OsString>,
    }
    let command = Flags::command().ignore_errors(true);
    let matches = command.try_get_matches_from(line).ok();
    let flags = matches.and_then(|matches| Flags::from_arg_matches(&matches).ok());
    flags.map(|flags| flags.connection).unwrap_or_default()
}

/// Has positional arguments that are names of objects completed by asking the cluster.
fn named(command: clap::Command, word: &str, connection: &ConnectionArgs) -> clap::Command {
    let kind = match word {
        "rollout" => "ROLLOUT",
        "experiment" => "EXPERIMENT",
        "analysisrun" => "ANALYSISRUN",
        _ => "",
    };
    let command = command.mut_args(|arg| {
        let told = arg.get_value_names().and_then(|names| names.first());
        let told = told.map(ToString::to_string).unwrap_or_default();
        let kind = if told == "NAME" { kind } else { &told };
        let Some(plural) = plural(kind).filter(|_| arg.is_positional()) else {
            return arg;
        };
        let connection = connection.clone();
        arg.add(ArgValueCompleter::new(move |start: &OsStr| {
            candidates(&connection, plural, start)
        }))
    });
    // Names are offered, and shorter words understood. The process answers once and ends, so
    // nothing is lost by what is leaked.
    let aliases = command.get_visible_aliases();
    let aliases: Vec<&'static str> = aliases.map(|word| &*word.to_owned().leak()).collect();
    let command = command.visible_alias(None::<&str>).aliases(aliases);
    let words: Vec<String> = command
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    words.iter().fold(command, |command, word| {
        command.mut_subcommand(word, |inner| named(inner, word, connection))
    })
}

fn plural(kind: &str) -> Option<&'static str> {
    match kind {
        "ROLLOUT" => Some("rollouts"),
        "EXPERIMENT" => Some("experiments"),
        "ANALYSISRUN" => Some("analysisruns"),
        _ => None,
    }
}

fn candidates(
    connection: &ConnectionArgs,
    plural: &'static str,
    start: &OsStr,
) -> Vec<CompletionCandidate> {
    let start = start.to_string_lossy();
    let asked = async {
        let names = plugin::names_of(connection, plural);
        tokio::time::timeout(PATIENCE, names)
            .await
            .unwrap_or_default()
    };
    let names = super::block_on(asked).into_iter();
    names
        .filter(|name| name.starts_with(&*start))
        .map(CompletionCandidate::new)
        .collect()
}
