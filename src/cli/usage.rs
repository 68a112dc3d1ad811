//! Command lines that make no sense, answered as Argo's plugin does.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::{Args, Exit, Output, Program};

/// Says what is wrong with a command line, or what was asked to be explained.
pub(super) fn answer(
    error: &Error,
    words: &[String],
    program: Program,
    output: &mut Output,
) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output.text(&error.render().to_string());
            return Exit::Done;
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::UnknownArgument
            if let Some(received) = shells(words, program).filter(|_| is_positional(error)) =>
        {
            let text = format!("accepts 1 arg(s), received {received}");
            output.talk(format_args!("Error: {text}"));
        }
        // Of arguments that are missing nothing is said but how the command is used.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand => output.talk(help(words, program)),
        ErrorKind::ValueValidation if is_positional(error) => {
            output.talk(help(words, program));
            output.talk(format_args!("hint: {}", why(error)));
        }
        ErrorKind::InvalidSubcommand if is_below_a_group(words, program) => {
            output.talk(help(words, program));
            let unknown = text(error, ContextKind::InvalidSubcommand);
            if !tip(error, output) {
                output.talk(format_args!("hint: `{unknown}` is none of these commands"));
            }
        }
        ErrorKind::UnknownArgument if is_positional(error) => {
            output.talk(help(words, program));
            let extra = text(error, ContextKind::InvalidArg);
            output.talk(format_args!("hint: `{extra}` is one word too many"));
        }
        ErrorKind::InvalidSubcommand => {
            let file = program.file();
            let unknown = text(error, ContextKind::InvalidSubcommand);
            output.talk(format_args!(
                "Error: unknown command {unknown:?} for {file:?}"
            ));
            let _ = tip(error, output);
            output.talk(format_args!("Run '{file} --help' for usage."));
        }
        ErrorKind::InvalidValue if is_positional(error) => {
            let value = text(error, ContextKind::InvalidValue);
            let (_, path) = found(words, program);
            output.talk(format_args!(
                "Error: invalid argument {value:?} for {path:?}"
            ));
            let _ = tip(error, output);
        }
        _ => {
            output.talk(format_args!("Error: {}", sentence(error)));
            let _ = tip(error, output);
        }
    }
    Exit::Unknown
}

fn sentence(error: &Error) -> String {
    let argument = text(error, ContextKind::InvalidArg);
    let value = text(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            format!("unknown flag: {argument}")
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("unknown shorthand flag: {argument}")
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("flag needs an argument: {}", flag(&argument))
        }
        ErrorKind::InvalidValue => {
            format!("invalid argument {value:?} for {:?}", flag(&argument))
        }
        ErrorKind::ValueValidation => {
            let why = why(error);
            // Argo says no more of this one.
            if why.starts_with("not a valid logrus Level") {
                return why;
            }
            format!(
                "invalid argument {value:?} for {:?}: {why}",
                flag(&argument)
            )
        }
        _ => {
            let rendered = error.render().to_string();
            let first = rendered.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    }
}

/// What is wrong with a value.
fn why(error: &Error) -> String {
    let source = std::error::Error::source(error);
    source.map(ToString::to_string).unwrap_or_default()
}

fn is_positional(error: &Error) -> bool {
    !text(error, ContextKind::InvalidArg).starts_with('-')
}

/// `--timeout <DURATION>` → `--timeout`
fn flag(argument: &str) -> &str {
    argument.split([' ', '=']).next().unwrap_or(argument)
}

/// What may be meant; answers whether there is anything.
fn tip(error: &Error, output: &mut Output) -> bool {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    let suggested = kinds.iter().find_map(|kind| error.get(*kind));
    match suggested {
        Some(ContextValue::String(word)) => {
            output.talk(format_args!("hint: did you mean `{word}`?"));
        }
        // The last is the likeliest.
        Some(ContextValue::Strings(words)) if !words.is_empty() => {
            let word = words.last().map_or("", String::as_str);
            output.talk(format_args!("hint: did you mean `{word}`?"));
        }
        _ => {
            let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue) else {
                return false;
            };
            if values.is_empty() {
                return false;
            }
            output.talk(format_args!("hint: it may be {}", values.join(", ")));
        }
    }
    true
}

fn text(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    }
}

/// How the command that the words lead to is used.
fn help(words: &[String], program: Program) -> String {
    let (command, path) = found(words, program);
    let help = command.bin_name(path).render_long_help().to_string();
    help.trim_end().to_owned()
}

/// The command that the words lead to, and the words that do.
fn found(words: &[String], program: Program) -> (clap::Command, String) {
    let mut command = Args::command_of(program);
    let mut at = &mut command;
    let mut path = program.file().to_owned();
    for word in words.iter().skip(1) {
        if at.find_subcommand(word).is_none() {
            continue;
        }
        at = at.find_subcommand_mut(word).expect("it is there");
        path = format!("{path} {}", at.get_name());
    }
    (at.clone(), path)
}

/// How many shells a script is asked for, if one is.
fn shells(words: &[String], program: Program) -> Option<usize> {
    let (command, _) = found(words, program);
    let mut after = words.iter().skip_while(|word| *word != "completion");
    let is_asked = command.get_name() == "completion" && after.next().is_some();
    is_asked.then(|| after.filter(|word| !word.starts_with('-')).count())
}

/// Whether the first word leads to a group of commands.
fn is_below_a_group(words: &[String], program: Program) -> bool {
    let command = Args::command_of(program);
    let mut found = words
        .iter()
        .skip(1)
        .filter_map(|word| command.find_subcommand(word));
    found.next().is_some_and(clap::Command::has_subcommands)
}
