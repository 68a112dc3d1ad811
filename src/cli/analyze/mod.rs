//! `verdict analyze`: runs an analysis now, with no cluster.

mod jobs;
mod screen;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::template::{self, Subject, TemplateArgs};
use super::{Exit, Output};
use crate::analysis::{Prepared, stopped};
use crate::api::{AnalysisRun, Phase};
use crate::clock::Clock;
use crate::controllers::Local;
use crate::http::{self, Http, LinkLocal};
use crate::view::AnalysisReport;

use jobs::{JobArgs, NoJobs};
use screen::Screen;

/// Measurements of a metric that are kept for the report.
const RETENTION: usize = 10_000;

/// Run an analysis now, with no cluster
///
/// Asks the sources that the templates name, from this machine, as often and as long as they say.
/// Progress goes to stderr, the report to stdout. Ctrl-C ends the run in order; a second one at once.
///
/// Exits 0 if the verdict is Successful, 1 if Failed, 3 if Inconclusive or ended before it was
/// decided, and 2 if Error or if it cannot be run as it is written.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  verdict analyze analysis-templates/web/health.yaml --arg url=https://example.com/healthz
  verdict analyze rates.yaml -a service-name=web --prometheus http://localhost:9090 -o junit
  verdict analyze smoke.yaml --jobs exec --timeout 5m
  verdict analyze rates.yaml --secret prometheus/token=env:PROMETHEUS_TOKEN")]
pub(super) struct AnalyzeArgs {
    #[command(flatten)]
    template: TemplateArgs,

    /// End the run after this time, such as 10m; metrics without `count` have held then
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    timeout: Option<Duration>,

    /// The form of the report: text, json (the AnalysisRun with its status), junit or markdown; with
    /// =FILE it is written there; may be repeated [default: text]
    #[arg(long, short, value_name = "FORMAT[=FILE]", value_parser = report_parser)]
    output: Vec<Report>,

    #[command(flatten)]
    jobs: JobArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Junit,
    Markdown,
}

/// A report that is wanted.
#[derive(Debug, Clone)]
struct Report {
    format: Format,
    /// Where; standard output if not told.
    file: Option<PathBuf>,
}

fn report_parser(text: &str) -> Result<Report, String> {
    let (format, file) = match text.split_once('=') {
        Some((format, file)) => (format, Some(PathBuf::from(file))),
        None => (text, None),
    };
    let format = Format::from_str(format, false).map_err(|_| {
        "expected text, json, junit or markdown, each perhaps with =FILE".to_owned()
    })?;
    Ok(Report { format, file })
}

/// Why there is no verdict.
#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Template(#[from] template::Error),
    #[error(transparent)]
    Jobs(#[from] NoJobs),
    #[error("cannot make the client for metric sources: {0}")]
    Http(#[from] http::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    #[error("ended by a second signal, with work under way")]
    Interrupted,
    #[error("cannot write the run as JSON: {0}")]
    Json(serde_json::Error),
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Runs the analysis and reports it.
pub(super) fn run(args: &AnalyzeArgs, output: &mut Output) -> Exit {
    super::block_on(analyze(args, output)).unwrap_or_else(|error| {
        output.talk(format_args!("error: {error}"));
        Exit::Unknown
    })
}

async fn analyze(args: &AnalyzeArgs, output: &mut Output) -> Result<Exit, Error> {
    // Before anything is said: who reads it may answer with a signal.
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let mut subject = args.template.read(output)?;
    keep_measurements(&mut subject);
    let jobs = args.jobs.connect(&mut subject, output).await?;
    let endless = subject.endless_metrics();
    if !endless.is_empty() && args.timeout.is_none() {
        let names = endless.join(", ");
        output.talk(format_args!(
            "goes on until Ctrl-C, for want of `count` or --timeout: {names}"
        ));
    }
    let Subject {
        run,
        prepared,
        secrets,
        settings,
    } = subject;
    let local = Local {
        secrets,
        http: Http::new(LinkLocal::Refused)?,
        jobs,
        settings,
        clock: Clock::system(),
    };
    let prepared = Ok(prepared);
    let stop = CancellationToken::new();
    let (progress, moved) = unbounded_channel();
    let carried_out = local.run(run, &prepared, &stop, &progress);
    let Ok(known) = &prepared else {
        return Err(Error::Interrupted);
    };
    let watched = Watched {
        prepared: known,
        clock: &local.clock,
        stop: &stop,
        timeout: args.timeout,
    };
    let (mut run, by) = watched
        .until_end(carried_out, moved, &mut signals, output)
        .await?;
    if let (Some(by), Some(status)) = (by, &mut run.status) {
        stopped(known, status, &by);
    }
    args.jobs.leave(&local, &run, output).await;
    let default = [Report {
        format: Format::Text,
        file: None,
    }];
    let wanted = if args.output.is_empty() {
        &default
    } else {
        args.output.as_slice()
    };
    for report in wanted {
        report.write(&run, known, output)?;
    }
    Ok(exit(&run))
}

/// A report shows all measurements; a cluster keeps the latest ten.
fn keep_measurements(subject: &mut Subject) {
    for plan in subject.prepared.plans_mut() {
        plan.retention = plan.retention.max(RETENTION);
    }
}

/// Ctrl-C, and what ends a process otherwise.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A run under way, and what may end it.
struct Watched<'a> {
    prepared: &'a Prepared,
    clock: &'a Clock,
    stop: &'a CancellationToken,
    timeout: Option<Duration>,
}

impl Watched<'_> {
    /// Shows the run until it has ended; tells who ended it, if it did not by itself.
    async fn until_end(
        &self,
        carried_out: impl Future<Output = AnalysisRun>,
        mut moved: UnboundedReceiver<AnalysisRun>,
        signals: &mut Signals,
        output: &mut Output,
    ) -> Result<(AnalysisRun, Option<String>), Error> {
        let deadline = self
            .timeout
            .map(|timeout| tokio::time::Instant::now() + timeout);
        let mut screen = Screen::new(self.timeout.map(|timeout| self.clock.now() + timeout));
        let mut by = None;
        tokio::pin!(carried_out);
        loop {
            let signalled = tokio::select! {
                biased;
                Some(run) = moved.recv() => {
                    screen.moved(run, self.prepared, self.clock.now(), output);
                    false
                }
                run = &mut carried_out => {
                    while let Ok(run) = moved.try_recv() {
                        screen.moved(run, self.prepared, self.clock.now(), output);
                    }
                    screen.end(output);
                    return Ok((run, by));
                }
                () = screen.tick() => {
                    screen.draw(self.prepared, self.clock.now(), output);
                    false
                }
                () = sleep_until(deadline), if by.is_none() => {
                    by = Some("--timeout".to_owned());
                    self.stop.cancel();
                    false
                }
                () = signals.next() => true,
            };
            if signalled && self.stop.is_cancelled() {
                screen.end(output);
                return Err(Error::Interrupted);
            }
            if signalled {
                by = Some("a signal".to_owned());
                screen.end(output);
                output.talk("ending the run; once more ends it at once");
                self.stop.cancel();
            }
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Report {
    fn write(
        &self,
        run: &AnalysisRun,
        prepared: &Prepared,
        output: &mut Output,
    ) -> Result<(), Error> {
        let report = AnalysisReport::of(run, prepared);
        let text = match self.format {
            Format::Text => report.text(),
            Format::Markdown => report.markdown(),
            Format::Junit => report.junit(),
            Format::Json => serde_json::to_string_pretty(run).map_err(Error::Json)?,
        };
        let Some(path) = &self.file else {
            output.data(text.trim_end());
            return Ok(());
        };
        fs::write(path, text).map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })
    }
}

fn exit(run: &AnalysisRun) -> Exit {
    match run.status.as_ref().and_then(|status| status.phase) {
        Some(Phase::Successful) => Exit::Done,
        Some(Phase::Failed) => Exit::No,
        Some(Phase::Inconclusive) => Exit::Undecided,
        Some(Phase::Error | Phase::Pending | Phase::Running) | None => Exit::Unknown,
    }
}
