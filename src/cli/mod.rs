//! The command line: translate, call, print. Decisions live in the layers above.

mod analyze;
mod args;
mod backtest;
mod cluster;
mod completion;
mod controller;
mod crds;
mod data_file;
mod demo;
mod eval;
mod istio;
mod leader;
mod plugin;
mod print;
mod program;
mod routers;
mod screen;
mod serving;
mod template;
mod usage;
mod uuid;

use std::env;
use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use crate::api::GoDuration;

pub use args::Args;
pub use plugin::{Around, Error};
pub use print::Output;
pub use program::Program;
pub use screen::Screen;

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

/// Parses the command line, runs it and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    let program = Program::called(words.first().map(OsString::as_os_str));
    let mut output = Output::standard();
    if let Some(exit) = completion::answer(&words, program, &mut output) {
        return program.code(exit).into();
    }
    let exit = match Args::read(program, &words, &mut output) {
        Ok(args) => args::run(&args, program, &mut output),
        Err(exit) => exit,
    };
    program.code(exit).into()
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
