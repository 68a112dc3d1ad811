//! Which Rollouts a command is for: those that are named, or those that a selector picks.

use clap::Args;
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::form::FormArgs;
use super::patches::Patches;
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
    dry_run: bool,
    #[command(flatten)]
    form: FormArgs,
}

/// What is asked for about one Rollout.
pub(super) struct Asked {
    pub(super) patches: Patches,
    /// What Argo's plugin does not say.
    pub(super) hint: Option<&'static str>,
}

impl From<Patches> for Asked {
    fn from(patches: Patches) -> Self {
        Self {
            patches,
            hint: None,
        }
    }
}

/// What is to be done to each Rollout.
pub(super) struct Work<'a, Fits, Ask> {
    /// Done, such as `restarted`.
    pub(super) done: &'a str,
    /// How that is told of one, such as `restarts in 5m`.
    pub(super) told: &'a str,
    /// Why it does not fit a Rollout that nobody named; nothing if it does.
    pub(super) misfit: Fits,
    /// What it is for the Rollout of this name.
    pub(super) asked: Ask,
}

impl<Fits, Ask: AsyncFn(&str) -> Result<Asked, Error>> Work<'_, Fits, Ask> {
    /// Does it to one Rollout, or only tries it, and tells what came of it.
    async fn act(
        &self,
        name: &str,
        selection: &Selection,
        around: &Around,
        output: &mut Output,
    ) -> Result<(), Error> {
        let Asked { patches, hint } = (self.asked)(name).await?;
        let Selection { dry_run, form, .. } = *selection;
        let sent = if dry_run {
            None
        } else {
            patches.send::<Rollout>(around, name).await?
        };
        // What was not sent is looked at: is it there, and what would it be?
        let object = match sent {
            None if dry_run || form.is_document() => {
                Some(patches.tried::<Rollout>(around, name).await?)
            }
            sent => sent,
        };
        match object.filter(|_| form.is_document()) {
            Some(object) => form.object(object, output)?,
            None if dry_run => output.data(format_args!(
                "rollout '{name}' {} (dry run): {}",
                self.told,
                patches.told()
            )),
            None => output.data(format_args!("rollout '{name}' {}", self.told)),
        }
        if let Some(hint) = hint.filter(|_| !dry_run) {
            output.talk(format_args!("hint: {hint}"));
        }
        Ok(())
    }
}

/// Does the work to each Rollout that is meant.
///
/// Those that are named are done in order, up to the first failure, as in Argo's plugin. Those that a
/// selector picks are done if it fits them, whatever becomes of the others, and a summary is told.
pub(super) async fn each<Fits, Ask>(
    selection: &Selection,
    work: Work<'_, Fits, Ask>,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error>
where
    Fits: Fn(&Rollout) -> Option<String>,
    Ask: AsyncFn(&str) -> Result<Asked, Error>,
{
    if !selection.names.is_empty() {
        for name in &selection.names {
            work.act(name, selection, around, output).await?;
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
            let skipped = format!("rollout '{name}' skipped: {why}");
            if selection.form.is_document() {
                output.talk(skipped);
            } else {
                output.data(skipped);
            }
            continue;
        }
        match work.act(&name, selection, around, output).await {
            Ok(()) => done += 1,
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
