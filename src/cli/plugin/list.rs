//! `list`: many objects in a table.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::core::DynamicObject;

use super::changes::Changes;
use super::form::FormArgs;
use super::kind::{Known, resource};
use super::{Around, Error};
use crate::api::{AnalysisRun, Experiment, Rollout};
use crate::cli::{Exit, Output};
use crate::view::{Listing, Row, lines};

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
    let form = asked.of.form;
    if form.is_document() {
        let items = found.items.into_iter().map(typed::<K>);
        if !asked.watch {
            form.list(items.collect(), output)?;
            return Ok(Exit::Done);
        }
        let changes = Changes::new::<K>(namespace, &params, around);
        return documents::<K>(form, items.collect(), changes, around, output).await;
    }
    let mut table = Table::<K>::new(asked);
    let rows = table.rows(found.items, around)?;
    if rows.is_empty() && !asked.watch {
        output.talk("No resources found.");
        return Ok(Exit::Done);
    }
    table.write(true, &rows, around, output);
    if asked.watch {
        let changes = Changes::new::<K>(namespace, &params, around);
        let tell = |objects, output: &mut Output| {
            let rows = table.rows(objects, around)?;
            if !rows.is_empty() {
                table.write(false, &rows, around, output);
            }
            Ok(())
        };
        changes.tell(tell, around, output).await?;
    }
    Ok(Exit::Done)
}

/// One document after the other, whenever one of the objects has changed.
async fn documents<K: Listed>(
    form: FormArgs,
    items: Vec<DynamicObject>,
    changes: Changes,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let key = |object: &DynamicObject| (object.namespace(), object.name_any());
    let mut told = BTreeMap::new();
    let mut tell = |objects: Vec<DynamicObject>, output: &mut Output| {
        for object in objects {
            let version = object.resource_version();
            if told.insert(key(&object), version.clone()) != Some(version) {
                form.object(typed::<K>(object), output)?;
            }
        }
        Ok(())
    };
    tell(items, output)?;
    changes.tell(tell, around, output).await?;
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

/// The rows that were told.
struct Table<'a, K> {
    asked: &'a Asked<'a>,
    told: BTreeMap<(Option<String>, String), Row>,
    kind: PhantomData<K>,
}

impl<'a, K: Listed> Table<'a, K> {
    fn new(asked: &'a Asked<'a>) -> Self {
        Self {
            asked,
            told: BTreeMap::new(),
            kind: PhantomData,
        }
    }

    fn listing(&self, around: &Around) -> Listing {
        Listing {
            timestamp: self.asked.timestamps.then(|| around.cluster.clock().now()),
            namespaces: self.asked.of.all_namespaces,
            detail: self.asked.of.form.detail(),
        }
    }

    /// Rows of objects that are others than those told last. When it is told makes no difference.
    fn rows(&mut self, objects: Vec<DynamicObject>, around: &Around) -> Result<Vec<Row>, Error> {
        let (listing, now) = (self.listing(around), around.cluster.clock().now());
        let without_time = Listing {
            timestamp: None,
            ..listing
        };
        let mut rows = Vec::new();
        for object in objects {
            let key = (object.namespace(), object.name_any());
            let object: K = object.try_parse().map_err(|error| {
                Error::new(format!("cannot read {} {:?}: {error}", K::SINGULAR, key.1))
            })?;
            let row = object.row(without_time, now);
            if self.told.insert(key, row.clone()).as_ref() != Some(&row) {
                rows.push(object.row(listing, now));
            }
        }
        Ok(rows)
    }

    fn write(&self, titled: bool, rows: &[Row], around: &Around, output: &mut Output) {
        for line in lines(&K::columns(self.listing(around)), titled, rows) {
            output.data(around.screen.shown(&line));
        }
    }
}
