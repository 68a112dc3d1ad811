//! Every command in the README works.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser as _;
use verdict::cli::Args;

const README: &str = include_str!("../README.md");

/// How the README calls the program.
const CALLS: [&str; 2] = ["verdict ", "cargo run -- "];

/// A command and what it writes, as the README shows them.
struct Shown {
    command: String,
    output: String,
}

/// What stands in the README's `console` blocks: commands after a `$`, then their output.
fn shown() -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            all.push(Shown {
                command: command.to_owned(),
                output: String::new(),
            });
        } else if let Some(last) = all.last_mut().filter(|_| inside) {
            last.output.push_str(line);
            last.output.push('\n');
        }
    }
    all
}

/// The calls of this program in a command line, each as its words.
fn calls(command: &str) -> Vec<Vec<String>> {
    let parts = command
        .split(" | ")
        .map(|part| part.trim().trim_end_matches(" &"));
    let ours = parts.filter_map(|part| {
        let rest = CALLS.iter().find_map(|call| part.strip_prefix(call));
        rest.map(|rest| [vec!["verdict".to_owned()], words(rest)].concat())
    });
    ours.collect()
}

/// Words as a shell reads them; single quotes are all that the README needs.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in text.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Whether a command is done at once, and needs nothing but this program and the usual tools.
fn is_quick(command: &str) -> bool {
    command.starts_with("verdict eval")
        || command.starts_with("verdict lint") && !command.contains("sarif")
        || command.starts_with("verdict crds") && !command.contains("kubectl")
}

#[test]
fn every_call_is_one_that_the_program_understands() {
    let calls: Vec<_> = shown()
        .iter()
        .flat_map(|shown| calls(&shown.command))
        .collect();
    for call in &calls {
        let parsed = Args::try_parse_from(call);
        assert!(parsed.is_ok(), "{call:?}: {}", parsed.unwrap_err());
    }
    let commands = [
        "eval",
        "crds",
        "cluster",
        "controller",
        "demo",
        "set",
        "get",
        "promote",
        "abort",
        "retry",
        "undo",
        "status",
        "wait",
        "why",
        "list",
        "lint",
        "create",
        "analyze",
        "backtest",
    ];
    for command in commands {
        assert!(
            calls.iter().any(|call| call[1] == command),
            "`{command}` is not shown"
        );
    }
}

#[test]
fn quick_commands_write_what_is_shown() {
    let program = Path::new(env!("CARGO_BIN_EXE_verdict")).parent().unwrap();
    let search_path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(program.to_owned()).chain(env::split_paths(&search_path));
    let search_path = env::join_paths(folders).unwrap();
    let quick: Vec<_> = shown()
        .into_iter()
        .filter(|shown| is_quick(&shown.command))
        .collect();
    assert!(
        quick.len() >= 3,
        "only {} quick commands are shown",
        quick.len()
    );
    for Shown { command, output } in quick {
        let both = format!("{{ {command}; }} 2>&1");
        let run = Command::new("sh")
            .args(["-c", &both])
            .env("PATH", &search_path)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stdout), output, "{command}");
    }
}

#[test]
fn files_and_folders_that_are_named_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (_, map) = README.split_once("## Map").expect("the README has a map");
    let named: Vec<_> = map
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(path, _)| path)
        .collect();
    assert!(named.len() > 10, "the map names only {named:?}");
    for path in named {
        assert!(
            fs::metadata(root.join(path)).is_ok(),
            "{path} does not exist"
        );
    }
}
