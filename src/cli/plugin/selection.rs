//! Which Rollouts a command is for: those that are named, or those that a selector picks.

use clap::Args;
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::{Around, Error, names};
use crate::api::Rollout;
use crate::cli::{Exit, Output};

/// Names, a selector, or all.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Names of Rollouts
    #[arg(value_name = "ROLLOUT", required_unless_present_any = ["selector", "all"])]
    pub(super) names: Vec<String>,
    /// Rollouts whose labels fit, such as app=web,tier!=test
    #[arg(long, short = 'l', conflicts_with_all = ["names", "all"])]
    selector: Option<String>,
    /// All Rollouts of the namespace
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// What there is to tell of one Rollout.
pub(super) struct Told {
    pub(super) text: String,
    /// What Argo's plugin does not say.
    pub(super) hint: Option<&'static str>,
}

impl From<String> for Told {
    fn from(text: String) -> Self {
        Self { text, hint: None }
    }
}

impl Told {
    fn tell(self, output: &mut Output) {
        output.data(self.text);
        if let Some(hint) = self.hint {
            output.talk(format_args!("hint: {hint}"));
        }
    }
}

/// What is to be done to one Rollout.
pub(super) struct Work<'a, Fits, Act> {
    /// Done, such as `aborted`.
    pub(super) done: &'a str,
    /// Why it does not fit a Rollout that nobody named; nothing if it does.
    pub(super) misfit: Fits,
    /// Does it, and answers what there is to tell.
    pub(super) act: Act,
}

/// Does the work to each Rollout that is meant.
///
/// Those that are named are done in order, up to the first failure, as in Argo's plugin. Those that a
/// selector picks are done if it fits them, whatever becomes of the others, and a summary is told.
pub(super) async fn each<Fits, Act>(
    selection: &Selection,
    work: Work<'_, Fits, Act>,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error>
where
    Fits: Fn(&Rollout) -> Option<String>,
    Act: AsyncFn(&str) -> Result<Told, Error>,
{
    if !selection.names.is_empty() {
        for name in &selection.names {
            (work.act)(name).await?.tell(output);
        }
        return Ok(Exit::Done);
    }
    let mut params = ListParams::default();
    params.label_selector.clone_from(&selection.selector);
    let picked: Vec<Rollout> = around.cluster.select(&around.namespace, &params).await?;
    if picked.is_empty() {
        let text = format!(
            "no rollouts are selected in namespace `{}`",
            around.namespace
        );
        return Err(Error::new(text).hint("`list rollouts` shows those that there are"));
    }
    let (mut done, mut failed, mut skipped) = (0, 0, 0);
    for rollout in &picked {
        let name = rollout.name_any();
        if let Some(why) = (work.misfit)(rollout) {
            skipped += 1;
            output.data(format_args!("rollout '{name}' skipped: {why}"));
            continue;
        }
        match (work.act)(&name).await {
            Ok(told) => {
                done += 1;
                told.tell(output);
            }
            Err(error) => {
                failed += 1;
                error.tell(output);
            }
        }
    }
    let would = if selection.dry_run { "would be " } else { "" };
    let how = work.done;
    output.talk(format_args!(
        "{} selected: {done} {would}{how}, {skipped} skipped, {failed} failed",
        picked.len()
    ));
    Ok(if failed == 0 {
        Exit::Done
    } else {
        Exit::Unknown
    })
}

/// The Rollout of that name.
pub(super) async fn rollout(around: &Around, name: &str) -> Result<Rollout, Error> {
    let kind = super::kind::resource::<Rollout>();
    let read = around.cluster.read(&kind, &around.namespace, name).await;
    let object = match read {
        Ok(object) => object,
        Err(error) => return Err(names::explained::<Rollout>(around, name, error).await),
    };
    object
        .try_parse()
        .map_err(|error| Error::new(format!("cannot read rollout {name:?}: {error}")))
}
