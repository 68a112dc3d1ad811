//! `undo`: back to the pod template of an earlier revision.

use clap::Args;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, Selector};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Map, Value};

use super::form::FormArgs;
use super::kind::resource;
use super::{Around, Error, names};
use crate::api::Rollout;
use crate::cli::{Exit, Output};
use crate::cluster::api_resource;
use crate::rollout::{ReplicaSet, WorkloadKind, operations};

/// Bring back the pod template of an earlier revision
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} undo web
  {prog} undo web --to-revision 3")]
pub(in crate::cli) struct UndoArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT")]
    name: String,
    /// The revision; 0 is the one before the latest
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    to_revision: i64,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) async fn run(
    args: &UndoArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let rollout = super::selection::rollout(around, &args.name).await?;
    let replica_sets = replica_sets(&rollout, around).await?;
    let (kind, name, object) = template_of(&rollout, around).await?;
    let template = template_in(&object);
    let undone = operations::undo(&rollout, &template, &replica_sets, args.to_revision);
    let Some(patch) = undone.map_err(|error| Error::new(error.to_string()))? else {
        let skipped = format!(
            "skipped rollback (current template already matches revision {})",
            args.to_revision
        );
        if args.form.is_document() {
            args.form.object(object, output)?;
            output.talk(skipped);
        } else {
            // Without an end of the line, as Argo's plugin.
            output.text(&skipped);
        }
        return Ok(Exit::Done);
    };
    let patch = serde_json::from_value(patch).expect("an undo is a JSON patch");
    let cluster = &around.cluster;
    let sent = cluster.json_patch_untyped(&kind, &around.namespace, &name, patch);
    match sent.await {
        Ok(undone) if args.form.is_document() => args.form.object(undone, output)?,
        Ok(_) => output.data(format_args!("rollout '{}' undo", args.name)),
        Err(error) => {
            let what = format!("failed restoring revision {}", args.to_revision);
            return Err(names::explained::<Rollout>(around, &name, error)
                .await
                .within(&what));
        }
    }
    Ok(Exit::Done)
}

/// The ReplicaSets that the Rollout controls.
async fn replica_sets(rollout: &Rollout, around: &Around) -> Result<Vec<ReplicaSet>, Error> {
    let selector = rollout.spec.selector.clone().unwrap_or_default();
    let selector = Selector::try_from(selector)
        .map_err(|error| Error::new(format!("cannot use the rollout's selector: {error}")))?;
    let params = ListParams::default().labels_from(&selector);
    let listed = around
        .cluster
        .select::<ReplicaSet>(&around.namespace, &params);
    let mut listed = listed.await.map_err(|error| {
        let what = format!(
            "failed to retrieve replica sets from rollout {}",
            rollout.name_any()
        );
        Error::from(error).within(&what)
    })?;
    listed.retain(|set| {
        let mut owners = set.owner_references().iter();
        owners.any(|it| it.controller == Some(true) && Some(&it.uid) == rollout.meta().uid.as_ref())
    });
    Ok(listed)
}

/// The object that has the Rollout's pod template.
async fn template_of(
    rollout: &Rollout,
    around: &Around,
) -> Result<(ApiResource, String, DynamicObject), Error> {
    let (kind, name) = match &rollout.spec.workload_ref {
        None => (resource::<Rollout>(), rollout.name_any()),
        Some(reference) => {
            let kind = WorkloadKind::of(reference).ok_or_else(|| {
                Error::new(format!(
                    "workload of type {} is not supported",
                    reference.kind
                ))
            })?;
            (api_resource(&kind.resource()), reference.name.clone())
        }
    };
    let object = around.cluster.read(&kind, &around.namespace, &name).await?;
    Ok((kind, name, object))
}

/// A pod template: of a workload, or, in a `PodTemplate`, at the top.
fn template_in(object: &DynamicObject) -> Map<String, Value> {
    let at = ["/spec/template", "/template"];
    let found = at
        .iter()
        .find_map(|at| object.data.pointer(at)?.as_object());
    found.cloned().unwrap_or_default()
}
