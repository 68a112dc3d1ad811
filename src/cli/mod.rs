//! The command line: translate, call, print. Decisions live in the layers above.

mod analyze;
mod args;
mod backtest;
mod cluster;
mod controller;
mod crds;
mod data_file;
mod demo;
mod eval;
mod leader;
mod print;
mod serving;
mod template;
mod uuid;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::api::GoDuration;

pub use args::Args;
pub use print::Output;

/// What a command answers, as the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or the answer is yes.
    Done,
    /// 1: the answer is no: degraded, invalid, false.
    No,
    /// 2: could not tell.
    Unknown,
    /// 3: an analysis came to no verdict.
    Undecided,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Unknown => 2,
            Exit::Undecided => 3,
        })
    }
}

/// Parses the command line, runs it and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let mut output = Output::standard();
    args::run(&args, &mut output).into()
}

/// Runs a command that waits.
///
/// # Panics
/// If the operating system grants no threads.
fn block_on<T>(command: impl Future<Output = T>) -> T {
    // Every TLS client of this process uses ring; a second call finds it chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the operating system grants threads")
        .block_on(command)
}

/// Reads a length of time in a flag, e.g. `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = GoDuration::new(text).parse();
    let parsed = parsed.map_err(|error| error.to_string())?;
    Duration::try_from(parsed).map_err(|_| format!("`{text}` is negative"))
}
