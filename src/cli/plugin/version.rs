//! `version`, and what there is not yet.

use std::env::consts;

use clap::Args;

use super::Error;
use crate::cli::{Exit, Output, Program};

/// Tell the version of this program
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} version --short")]
pub(in crate::cli) struct VersionArgs {
    /// Only the version
    #[arg(long)]
    short: bool,
    #[arg(hide = true)]
    ignored: Vec<String>,
}

/// Serve the dashboard
///
/// There is none yet: this says so, and what shows a release meanwhile.
#[derive(Debug, Args)]
pub(in crate::cli) struct DashboardArgs {
    /// The path that it is served under
    #[arg(long, default_value = "rollouts")]
    root_path: String,
    /// The port that it is served on
    #[arg(long, short, default_value_t = 3100)]
    port: u16,
}

/// The lines of Argo's plugin, in its order: scripts read them.
pub(super) fn version(args: &VersionArgs, program: Program, output: &mut Output) -> Exit {
    let commit = option_env!("VERDICT_GIT_COMMIT");
    let number = env!("CARGO_PKG_VERSION");
    let version = match commit {
        Some(commit) => format!("v{number}+{}", commit.get(..7).unwrap_or(commit)),
        None => format!("v{number}+unknown"),
    };
    output.data(format_args!("{}: {version}", program.file()));
    if args.short {
        return Exit::Done;
    }
    for (name, value) in [
        (
            "BuildDate",
            option_env!("VERDICT_BUILD_DATE").unwrap_or("unknown"),
        ),
        ("GitCommit", commit.unwrap_or("unknown")),
        (
            "GitTreeState",
            option_env!("VERDICT_GIT_TREE_STATE").unwrap_or("unknown"),
        ),
        (
            "GoVersion",
            concat!("none; rust ", env!("CARGO_PKG_RUST_VERSION")),
        ),
        ("Compiler", "rustc"),
    ] {
        output.data(format_args!("  {name}: {value}"));
    }
    output.data(format_args!("  Platform: {}/{}", consts::OS, consts::ARCH));
    Exit::Done
}

pub(super) fn dashboard(args: &DashboardArgs, program: Program) -> Error {
    let DashboardArgs { root_path, port } = args;
    let text =
        format!("cannot serve http://localhost:{port}/{root_path}: there is no dashboard yet");
    Error::new(text).hint(format!(
        "`{} get rollout ROLLOUT -w` shows a release as it goes",
        program.typed()
    ))
}
