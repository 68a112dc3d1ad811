//! `list`: many objects in a table.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};

use super::form::FormArgs;
use super::kind::{Known, resource};
use super::outage::Outage;
use super::{Around, Error};
use crate::api::{AnalysisRun, Experiment, Rollout};
use crate::cli::{Exit, Output};
use crate::view::{Listing, Row, lines};

/// How long rows are collected before they are written, as in Argo's plugin.
const BATCH: Duration = Duration::from_millis(500);

/// How often in a row a watch may fail to begin, as in Argo's plugin.
const MOST_FAILURES: u32 = 5;

/// How long a watch waits before it is begun again, as in Argo's plugin.
struct EverySecond;

impl Iterator for EverySecond {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}

impl Backoff for EverySecond {
    fn reset(&mut self) {}
}

/// Show objects in a table
#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    #[command(subcommand)]
    what: ListCommand,
}

#[derive(Debug, Subcommand)]
enum ListCommand {
    #[command(visible_aliases = ["ro", "rollout"])]
    Rollouts(ListRolloutsArgs),
    #[command(visible_aliases = ["exp", "experiment"])]
    Experiments(ListExperimentsArgs),
    #[command(visible_aliases = ["ar", "analysisrun"])]
    Analysisruns(ListAnalysisRunsArgs),
}

/// Show Rollouts in a table
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} list rollouts
  {prog} list rollouts -A -w
  {prog} list rollouts -l team=shop -o wide")]
struct ListRolloutsArgs {
    #[command(flatten)]
    of: Of,
    /// Only the one of this name
    #[arg(long)]
    name: Option<String>,
    /// Go on with a row for each change
    #[arg(long, short)]
    watch: bool,
    /// Begin rows with the time
    #[arg(long)]
    timestamps: bool,
}

/// Show Experiments in a table
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} list experiments")]
struct ListExperimentsArgs {
    #[command(flatten)]
    of: Of,
}

/// Show AnalysisRuns in a table
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} list analysisruns -o wide")]
struct ListAnalysisRunsArgs {
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
struct Of {
    /// Of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Only those whose labels fit, such as app=web,tier!=test
    #[arg(long, short = 'l')]
    selector: Option<String>,
    #[command(flatten)]
    form: FormArgs,
    /// Argo's plugin takes and ignores more words
    #[arg(hide = true)]
    ignored: Vec<String>,
}

/// A kind that is listed.
trait Listed: Known {
    fn columns(listing: Listing) -> Vec<(&'static str, usize)>;
    fn row(&self, listing: Listing, now: Timestamp) -> Row;
}

impl Listed for Rollout {
    fn columns(listing: Listing) -> Vec<(&'static str, usize)> {
        listing.of_rollouts()
    }

    fn row(&self, listing: Listing, now: Timestamp) -> Row {
        listing.rollout(self, now)
    }
}

impl Listed for Experiment {
    fn columns(listing: Listing) -> Vec<(&'static str, usize)> {
        listing.of_experiments()
    }

    fn row(&self, listing: Listing, now: Timestamp) -> Row {
        listing.experiment(self, now)
    }
}

impl Listed for AnalysisRun {
    fn columns(listing: Listing) -> Vec<(&'static str, usize)> {
        listing.of_analysis_runs()
    }

    fn row(&self, listing: Listing, now: Timestamp) -> Row {
        listing.analysis_run(self, now)
    }
}

/// What is listed, and how.
struct Asked<'a> {
    of: &'a Of,
    name: Option<&'a str>,
    timestamps: bool,
    watch: bool,
}

pub(super) async fn run(
    args: &ListArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let plain = |of| Asked {
        of,
        name: None,
        timestamps: false,
        watch: false,
    };
    match &args.what {
        ListCommand::Rollouts(args) => {
            let asked = Asked {
                of: &args.of,
                name: args.name.as_deref(),
                timestamps: args.timestamps,
                watch: args.watch,
            };
            list::<Rollout>(&asked, around, output).await
        }
        ListCommand::Experiments(args) => {
            list::<Experiment>(&plain(&args.of), around, output).await
        }
        ListCommand::Analysisruns(args) => {
            list::<AnalysisRun>(&plain(&args.of), around, output).await
        }
    }
}

async fn list<K: Listed>(
    asked: &Asked<'_>,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let namespace = (!asked.of.all_namespaces).then_some(around.namespace.as_str());
    let mut params = ListParams::default();
    params.label_selector.clone_from(&asked.of.selector);
    params.field_selector = asked.name.map(|name| format!("metadata.name={name}"));
    let found = around
        .cluster
        .find(&resource::<K>(), namespace, &params)
        .await?;
    if asked.of.form.is_document() {
        let items = found.items.into_iter();
        output.text(&asked.of.form.list(items.map(typed::<K>).collect())?);
        return Ok(Exit::Done);
    }
    let listing = asked.listing(around);
    let now = around.cluster.clock().now();
    let mut told = BTreeMap::new();
    let mut rows = Vec::new();
    for object in found.items {
        let key = (object.namespace(), object.name_any());
        let object: K = object.try_parse().map_err(|error| {
            Error::new(format!("cannot read {} {:?}: {error}", K::SINGULAR, key.1))
        })?;
        rows.push(object.row(listing, now));
        told.insert(key, asked.without_time(around, &object, now));
    }
    if rows.is_empty() && !asked.watch {
        output.talk("No resources found.");
        return Ok(Exit::Done);
    }
    write(&K::columns(listing), true, &rows, around, output);
    if asked.watch {
        watch::<K>(asked, &params, told, around, output).await?;
    }
    Ok(Exit::Done)
}

/// Items of a list do not say what they are.
fn typed<K: Known>(mut object: DynamicObject) -> DynamicObject {
    let kind = resource::<K>();
    object.types = Some(kube::core::TypeMeta {
        api_version: kind.api_version,
        kind: kind.kind,
    });
    object
}

impl Asked<'_> {
    fn listing(&self, around: &Around) -> Listing {
        Listing {
            timestamp: self.timestamps.then(|| around.cluster.clock().now()),
            namespaces: self.of.all_namespaces,
            detail: self.of.form.detail(),
        }
    }

    /// What makes a row another one: not when it was printed.
    fn without_time<K: Listed>(&self, around: &Around, object: &K, now: Timestamp) -> Row {
        let listing = Listing {
            timestamp: None,
            ..self.listing(around)
        };
        object.row(listing, now)
    }
}

fn write(
    columns: &[(&'static str, usize)],
    titled: bool,
    rows: &[Row],
    around: &Around,
    output: &mut Output,
) {
    for line in lines(columns, titled, rows) {
        output.data(around.screen.shown(&line));
    }
}

async fn watch<K: Listed>(
    asked: &Asked<'_>,
    params: &ListParams,
    mut told: BTreeMap<(Option<String>, String), Row>,
    around: &Around,
    output: &mut Output,
) -> Result<(), Error> {
    let client = around.cluster.client();
    let api: Api<K> = if asked.of.all_namespaces {
        Api::all(client)
    } else {
        Api::namespaced(client, &around.namespace)
    };
    let mut config = watcher::Config::default();
    config.label_selector.clone_from(&params.label_selector);
    config.field_selector.clone_from(&params.field_selector);
    let changes = watcher(api, config).backoff(EverySecond).applied_objects();
    let mut batches = std::pin::pin!(batched(changes));
    let mut outage = Outage::default();
    loop {
        let batch = tokio::select! {
            batch = batches.next() => batch.unwrap_or_default(),
            () = around.stop.cancelled() => return Ok(()),
        };
        let listing = asked.listing(around);
        let now = around.cluster.clock().now();
        let mut rows = Vec::new();
        for object in batch {
            let object = match object {
                Ok(object) => object,
                Err(failure) => {
                    if let Some(told) = outage.note(&failure)? {
                        output.talk(format_args!("warning: {told}"));
                    }
                    if let Some(error) = outage.beyond(MOST_FAILURES) {
                        return Err(error);
                    }
                    continue;
                }
            };
            outage.end();
            let key = (object.namespace(), object.name_any());
            let row = asked.without_time(around, &object, now);
            if told.insert(key, row.clone()).as_ref() != Some(&row) {
                rows.push(object.row(listing, now));
            }
        }
        if !rows.is_empty() {
            write(&K::columns(listing), false, &rows, around, output);
        }
        if output.is_gone() {
            return Ok(());
        }
    }
}

/// What comes within the time of one batch, together.
fn batched<K: Listed>(
    changes: impl futures::Stream<Item = watcher::Result<K>>,
) -> impl futures::Stream<Item = Vec<watcher::Result<K>>> {
    futures::stream::unfold(Box::pin(changes), |mut changes| async move {
        let mut batch = Vec::new();
        batch.push(changes.next().await?);
        let end = tokio::time::sleep(BATCH);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return Some((batch, changes)),
                Some(change) = changes.next() => batch.push(change),
            }
        }
    })
}
