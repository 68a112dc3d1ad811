//! Logs, spans and `/metrics`.

mod health;
mod metrics;
mod objects;
mod process;
mod requests;

use std::io::IsTerminal as _;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use health::{Readiness, health_router, metrics_router};
pub use metrics::{Metrics, Reconciled, Sample, Series};
pub use requests::{CountRequests, Counting};

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!(
                "`{other}` is not a log format: expected `text` or `json`"
            )),
        }
    }
}

/// Starts writing logs to standard error. `level` is `error`, `warn`, `info`, `debug` or `trace`;
/// what the libraries say below `warn` is left out unless `filter` (in the form of `RUST_LOG`)
/// asks for it. Called once; a second call changes nothing.
pub fn start_logging(level: tracing::Level, filter: Option<&str>, format: LogFormat) {
    let default = format!("warn,verdict={level}");
    let filter =
        EnvFilter::try_new(filter.unwrap_or(&default)).unwrap_or_else(|_| EnvFilter::new(&default));
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}
