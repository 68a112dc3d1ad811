//! `version`, and what there is not yet.

use std::env::consts;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::Error;
use super::form::{pretty, yaml};
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
    /// Tell it as json or yaml
    #[arg(long, short, value_enum, value_name = "FORM")]
    output: Option<Form>,
    #[arg(hide = true)]
    ignored: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Yaml,
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

/// The lines of Argo's plugin, in its order: scripts read them. As a document, what kubectl tells of
/// itself.
pub(super) fn version(
    args: &VersionArgs,
    program: Program,
    output: &mut Output,
) -> Result<Exit, Error> {
    let commit = option_env!("VERDICT_GIT_COMMIT");
    let number = env!("CARGO_PKG_VERSION");
    let version = match commit {
        Some(commit) => format!("v{number}+{}", commit.get(..7).unwrap_or(commit)),
        None => format!("v{number}+unknown"),
    };
    let platform = format!("{}/{}", consts::OS, consts::ARCH);
    let build = option_env!("VERDICT_BUILD_DATE").unwrap_or("unknown");
    let details = [
        ("BuildDate", "buildDate", build),
        ("GitCommit", "gitCommit", commit.unwrap_or("unknown")),
        (
            "GitTreeState",
            "gitTreeState",
            option_env!("VERDICT_GIT_TREE_STATE").unwrap_or("unknown"),
        ),
        (
            "GoVersion",
            "goVersion",
            concat!("none; rust ", env!("CARGO_PKG_RUST_VERSION")),
        ),
        ("Compiler", "compiler", "rustc"),
        ("Platform", "platform", platform.as_str()),
    ];
    let told = if args.short { &[][..] } else { &details };
    let Some(form) = args.output else {
        output.data(format_args!("{}: {version}", program.file()));
        for (name, _, value) in told {
            output.data(format_args!("  {name}: {value}"));
        }
        return Ok(Exit::Done);
    };
    let mut client = json!({ "gitVersion": version });
    for (_, name, value) in told {
        client[name] = json!(value);
    }
    let client = json!({ "clientVersion": client });
    output.text(&match form {
        Form::Json => pretty(&client),
        Form::Yaml => yaml(&client)?,
    });
    Ok(Exit::Done)
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
