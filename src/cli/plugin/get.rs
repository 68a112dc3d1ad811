//! `get`: one object and all that it owns.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::canvas::{Canvas, Page};
use super::form::FormArgs;
use super::kind::{Known, resource};
use super::live::{self, Live};
use super::{Around, Error, names};
use crate::api::{AnalysisRun, Experiment, Rollout};
use crate::cli::{Exit, Output};
use crate::view::{
    Belongings, Detail, Text, analysis_run_page, experiment_page, release_lines, rollout_page,
    warning,
};

/// Show one object and all that it owns
#[derive(Debug, Args)]
pub(in crate::cli) struct GetArgs {
    #[command(subcommand)]
    pub(super) what: GetCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum GetCommand {
    #[command(visible_aliases = ["ro", "rollouts"])]
    Rollout(GetRolloutArgs),
    #[command(visible_aliases = ["exp", "experiments"])]
    Experiment(GetExperimentArgs),
    #[command(visible_aliases = ["ar", "analysisruns"])]
    Analysisrun(GetAnalysisRunArgs),
}

/// Show a Rollout and all that it owns
///
/// On a terminal -w draws in place, with the measurements of the release and why it waits.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} get rollout web
  {prog} get rollout web -w
  {prog} get rollout web -o yaml")]
pub(in crate::cli) struct GetRolloutArgs {
    #[command(flatten)]
    of: Of,
    /// With -w: end after so many seconds
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    timeout_seconds: u64,
}

/// Show an Experiment and all that it owns
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} get experiment compare -w")]
pub(in crate::cli) struct GetExperimentArgs {
    #[command(flatten)]
    of: Of,
}

/// Show an AnalysisRun and its measurements
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} get analysisrun web-6d5f-4-2
  {prog} get analysisrun web-6d5f-4-2 -o wide")]
pub(in crate::cli) struct GetAnalysisRunArgs {
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
struct Of {
    /// Name of the object
    name: String,
    /// Go on showing it as it changes
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    form: FormArgs,
}

/// How an object is shown.
pub(super) struct Show<'a> {
    pub(super) name: &'a str,
    pub(super) form: FormArgs,
    /// Whether, and for how long, it is shown as it changes.
    pub(super) watch: Watch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    No,
    /// For ever without a time.
    For(Option<Duration>),
}

/// A kind that has a page.
pub(super) trait Paged: Known {
    fn page(&self, all: &Belongings, now: Timestamp, detail: Detail) -> Vec<Text>;

    /// What else a terminal shows of it while it changes.
    fn more(&self, _all: &Belongings) -> Vec<Text> {
        Vec::new()
    }
}

impl Paged for Rollout {
    fn page(&self, all: &Belongings, now: Timestamp, detail: Detail) -> Vec<Text> {
        rollout_page(self, all, now, detail)
    }

    fn more(&self, all: &Belongings) -> Vec<Text> {
        release_lines(self, all)
    }
}

impl Paged for Experiment {
    fn page(&self, all: &Belongings, now: Timestamp, detail: Detail) -> Vec<Text> {
        experiment_page(self, all, now, detail)
    }
}

impl Paged for AnalysisRun {
    fn page(&self, _all: &Belongings, now: Timestamp, detail: Detail) -> Vec<Text> {
        analysis_run_page(self, now, detail)
    }
}

pub(super) async fn run(
    args: &GetArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    match &args.what {
        GetCommand::Rollout(args) => {
            let seconds = Some(args.timeout_seconds).filter(|seconds| *seconds > 0);
            let show = args.of.show(seconds.map(Duration::from_secs));
            object::<Rollout>(&show, around, output).await
        }
        GetCommand::Experiment(args) => {
            object::<Experiment>(&args.of.show(None), around, output).await
        }
        GetCommand::Analysisrun(args) => {
            object::<AnalysisRun>(&args.of.show(None), around, output).await
        }
    }
}

impl Of {
    fn show(&self, limit: Option<Duration>) -> Show<'_> {
        Show {
            name: &self.name,
            form: self.form,
            watch: if self.watch {
                Watch::For(limit)
            } else {
                Watch::No
            },
        }
    }
}

/// Shows an object.
pub(super) async fn object<K: Paged>(
    show: &Show<'_>,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    match show.watch {
        Watch::No if show.form.is_document() => {
            document::<K>(show.name, show.form, around, output).await
        }
        Watch::No => once::<K>(show, around, output).await,
        Watch::For(limit) => watch::<K>(show, limit, around, output).await,
    }
}

/// Tells the object itself.
pub(super) async fn document<K: Known>(
    name: &str,
    form: FormArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let kind = resource::<K>();
    let read = around.cluster.read(&kind, &around.namespace, name);
    match read.await {
        Ok(object) => form.object(object, output)?,
        Err(error) if error.is_not_found() => {
            return Err(names::missing::<K>(around, name).await);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}

async fn once<K: Paged>(
    show: &Show<'_>,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let object = live::read::<K>(around, show.name).await?;
    let all = live::belongings(around).await?;
    let now = around.cluster.clock().now();
    for line in object.page(&all, now, show.form.detail()) {
        output.data(around.screen.shown(&line));
    }
    Ok(Exit::Done)
}

async fn watch<K: Paged>(
    show: &Show<'_>,
    limit: Option<Duration>,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    // What cannot be read is said before the terminal is drawn on.
    live::read::<K>(around, show.name).await?;
    live::belongings(around).await?;
    let mut live = Live::<K>::of(around, show.name, output).await?;
    if show.form.is_document() {
        return documents(show, limit, &mut live, around, output).await;
    }
    let mut canvas = Canvas::new(around.screen);
    let mut page = Page::default();
    let end = pages(
        show,
        limit,
        &mut live,
        (&mut canvas, &mut page),
        around,
        output,
    )
    .await;
    canvas.close(&page, output);
    match end {
        Ok(End::Asked) => Ok(Exit::Done),
        Ok(End::Gone) => Err(names::missing::<K>(around, show.name).await),
        Err(error) => Err(error),
    }
}

/// Why nothing more is shown.
#[derive(PartialEq, Eq)]
enum End {
    /// Somebody wanted it so, or nobody looks.
    Asked,
    /// The object was deleted.
    Gone,
}

/// Shows one page after the other; `page` is the last one.
async fn pages<K: Paged>(
    show: &Show<'_>,
    limit: Option<Duration>,
    live: &mut Live<K>,
    (canvas, page): (&mut Canvas, &mut Page),
    around: &Around,
    output: &mut Output,
) -> Result<End, Error> {
    let end = tokio::time::sleep(limit.unwrap_or(FOR_EVER));
    tokio::pin!(end);
    let began = around.cluster.clock().now();
    let mut last = None;
    let mut was_told = false;
    loop {
        let Some(object) = live.object() else {
            let is_asked = around.stop.is_cancelled();
            return Ok(if is_asked { End::Asked } else { End::Gone });
        };
        let trouble = live.trouble()?;
        let all = live.belongings();
        // With ages as they were in the beginning, two pages differ only if something has changed.
        let state = object.page(&all, began, show.form.detail());
        let has_changed = last.as_ref() != Some(&state);
        if has_changed || around.screen.draws {
            let now = around.cluster.clock().now();
            page.body = object.page(&all, now, show.form.detail());
            if around.screen.draws {
                page.foot = object.more(&all);
                page.foot
                    .extend(trouble.iter().map(|trouble| warning(trouble)));
            }
            canvas.show(page, output);
            last = Some(state);
        }
        if !around.screen.draws {
            was_told = tell(trouble.as_deref(), was_told, output);
        }
        if output.is_gone() || !live.wait(around, end.as_mut()).await {
            return Ok(End::Asked);
        }
    }
}

/// Tells trouble that was not told yet; answers whether there is any.
fn tell(trouble: Option<&str>, was_told: bool, output: &mut Output) -> bool {
    if let Some(trouble) = trouble.filter(|_| !was_told) {
        output.talk(format_args!("warning: {trouble}"));
    }
    trouble.is_some()
}

/// About as long as a program runs.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// One document after the other, whenever the object has changed.
async fn documents<K: Paged>(
    show: &Show<'_>,
    limit: Option<Duration>,
    live: &mut Live<K>,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let end = tokio::time::sleep(limit.unwrap_or(FOR_EVER));
    tokio::pin!(end);
    let mut last: Option<Arc<K>> = None;
    let mut was_told = false;
    while let Some(object) = live.object() {
        was_told = tell(live.trouble()?.as_deref(), was_told, output);
        let version = |object: &Arc<K>| object.meta().resource_version.clone();
        if last.as_ref().map(version) != Some(version(&object)) {
            document::<K>(show.name, show.form, around, output).await?;
            last = Some(object);
        }
        if output.is_gone() || !live.wait(around, end.as_mut()).await {
            break;
        }
    }
    Ok(Exit::Done)
}
