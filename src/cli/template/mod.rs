//! The analysis that a command is about: read from files, with its arguments and Secrets.

mod arguments;
mod files;
mod secrets;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use clap::Args;
use regex::Regex;
use thiserror::Error;

use super::{Output, uuid};
use crate::analysis::{self, Assembled, Prepared, Secrets, Unset, assemble, examine};
use crate::api::{AnalysisRun, Argument, Problem};
use crate::metric_providers::{JobPlacement, Settings};

pub(super) use files::documents;
use secrets::SecretFlag;

/// The namespace of a run that names none.
const NAMESPACE: &str = "default";

/// What is run, and with which values.
#[derive(Debug, Args)]
pub(super) struct TemplateArgs {
    /// Files with AnalysisTemplates, ClusterAnalysisTemplates or one AnalysisRun, as YAML or JSON;
    /// `-` is standard input. Templates that others refer to are used by those; all others are run
    /// together
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The value of an argument; may be repeated
    #[arg(long = "arg", short, value_name = "NAME=VALUE", value_parser = arguments::parse)]
    args: Vec<Argument>,

    /// A file with values of arguments: a map, or a list as under `args:`; `--arg` goes before it
    #[arg(long, value_name = "FILE")]
    args_from: Vec<PathBuf>,

    /// Only the metrics whose name this regular expression matches, anywhere in it
    #[arg(long, value_name = "REGEX")]
    metric: Option<Regex>,

    /// The value of a key of a Secret, from a variable or a file (without its last line break);
    /// may be repeated
    #[arg(long = "secret", value_name = "NAME/KEY=env:VAR|file:PATH", value_parser = secrets::parse)]
    secrets: Vec<SecretFlag>,

    /// Ask this Prometheus, whatever addresses are written
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,

    /// Prometheus for metrics without an address of their own
    #[arg(
        long,
        env = "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS",
        hide_env_values = true,
        value_name = "URL",
        conflicts_with = "prometheus"
    )]
    prometheus_address: Option<String>,
}

/// Why there is nothing to run.
#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read `{}`: {why}", path.display())]
    Content { path: PathBuf, why: String },
    #[error("cannot be run as it is written:{}", list(.0))]
    Problems(Vec<Problem>),
    #[error("cannot be run without values:{}", list(.0))]
    Secrets(Vec<String>),
    #[error("no metric matches `{wanted}`; known are: {known}")]
    Metric { wanted: String, known: String },
    #[error("the operating system has no randomness")]
    Random,
}

fn list(problems: &[impl ToString]) -> String {
    let lines = problems
        .iter()
        .map(|problem| format!("\n  {}", problem.to_string()));
    lines.collect()
}

/// An analysis that is ready to be carried out.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) run: AnalysisRun,
    pub(super) prepared: Prepared,
    pub(super) secrets: Secrets,
    pub(super) settings: Settings,
}

impl TemplateArgs {
    /// Reads files and flags; what is odd is told.
    pub(super) fn read(&self, output: &mut Output) -> Result<Subject, Error> {
        let (written, mut problems) = files::read(&self.files)?;
        let args = self.arguments()?;
        let Assembled {
            mut run,
            warnings,
            problems: misfits,
        } = match assemble(&written, &args) {
            Ok(assembled) => assembled,
            Err(more) => return Err(Error::Problems([problems, more].concat())),
        };
        problems.extend(misfits);
        problems.extend(self.unknown_arguments(&run));
        run.metadata.uid = Some(uuid::random().map_err(|_| Error::Random)?);
        run.metadata
            .namespace
            .get_or_insert_with(|| NAMESPACE.to_owned());
        if let Some(url) = &self.prometheus {
            redirect(&mut run, url);
        }
        let mut prepared = prepared(&run, problems)?;
        if let Some(wanted) = &self.metric {
            run = self::only(run, &prepared, wanted)?;
            prepared = self::prepared(&run, Vec::new())?;
        }
        for warning in warnings.iter().chain(prepared.warnings()) {
            output.talk(format_args!("warning: {warning}"));
        }
        Ok(Subject {
            secrets: secrets::read(&self.secrets, &prepared, output)?,
            prepared,
            run,
            settings: Settings {
                prometheus_address: self.prometheus_address.clone(),
                jobs: JobPlacement {
                    namespace: None,
                    // The run is in no cluster, so nothing in one can be owned by it.
                    other_cluster: true,
                },
            },
        })
    }

    /// Those of the files, then those of the command line: of two with one name the last counts.
    fn arguments(&self) -> Result<Vec<Argument>, Error> {
        let mut all: Vec<Argument> = Vec::new();
        for path in &self.args_from {
            all.extend(arguments::read(path)?);
        }
        all.extend(self.args.iter().cloned());
        let mut seen = BTreeSet::new();
        all.reverse();
        all.retain(|argument| seen.insert(argument.name.clone()));
        all.reverse();
        Ok(all)
    }

    /// An argument on the command line that nothing knows is a slip of the pen.
    fn unknown_arguments(&self, run: &AnalysisRun) -> Vec<Problem> {
        let known: Vec<&str> = run.spec.args.iter().map(|arg| arg.name.as_str()).collect();
        let unknown = self
            .args
            .iter()
            .filter(|arg| !known.contains(&arg.name.as_str()));
        let why = format!("no argument is called so; known are: {}", known.join(", "));
        unknown
            .map(|arg| Problem::invalid("--arg", &arg.name, &why))
            .collect()
    }
}

fn only(run: AnalysisRun, prepared: &Prepared, wanted: &Regex) -> Result<AnalysisRun, Error> {
    let run = analysis::only(run, prepared, |name| wanted.is_match(name));
    if !run.spec.metrics.is_empty() {
        return Ok(run);
    }
    let names = prepared.plans().iter().map(|plan| plan.name.as_str());
    Err(Error::Metric {
        wanted: wanted.to_string(),
        known: names.collect::<Vec<_>>().join(", "),
    })
}

/// The run, understood. Besides `problems` all that is wrong with it is told.
fn prepared(run: &AnalysisRun, mut problems: Vec<Problem>) -> Result<Prepared, Error> {
    match Prepared::new(run) {
        Ok(prepared) if problems.is_empty() => Ok(prepared),
        _ => {
            problems.extend(examine(run, Unset::Mistake).problems);
            Err(Error::Problems(problems))
        }
    }
}

/// Has all metrics of Prometheus ask `url`.
fn redirect(run: &mut AnalysisRun, url: &str) {
    let providers = run
        .spec
        .metrics
        .iter_mut()
        .map(|metric| &mut metric.provider);
    for prometheus in providers.filter_map(|provider| provider.prometheus.as_mut()) {
        url.clone_into(&mut prometheus.address);
    }
}

impl Subject {
    /// The names of the metrics that a Job measures.
    pub(super) fn job_metrics(&self) -> Vec<&str> {
        let jobs = self
            .prepared
            .metrics()
            .filter(|metric| metric.provider.job.is_some());
        jobs.map(|metric| metric.name.as_str()).collect()
    }

    /// The names of the metrics that are measured until somebody stops the run.
    pub(super) fn endless_metrics(&self) -> Vec<&str> {
        let plans = self.prepared.plans().iter();
        let endless =
            plans.filter(|plan| plan.count.is_none() && plan.limits.consecutive_success == 0);
        endless.map(|plan| plan.name.as_str()).collect()
    }
}
