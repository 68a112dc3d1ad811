//! Moving a Deployment: back to its previous revision, or not at all.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt as _;
use serde_json::json;

use super::{Patch, Plan};
use crate::api::GateAction;

const REVISION: &str = "deployment.kubernetes.io/revision";
const TEMPLATE_HASH: &str = "pod-template-hash";

pub(super) fn is_observed(deployment: &Deployment) -> bool {
    let observed = deployment
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    observed == deployment.metadata.generation
}

pub(super) fn revision(deployment: &Deployment) -> Option<String> {
    deployment.annotations().get(REVISION).cloned()
}

pub(super) fn plan(
    action: GateAction,
    deployment: &Deployment,
    replica_sets: &[ReplicaSet],
) -> Result<Plan, String> {
    let paused = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.paused)
        .unwrap_or_default();
    match action {
        GateAction::Undo if paused => Err("is paused: a paused Deployment cannot be undone".into()),
        GateAction::Undo => undo(deployment, replica_sets),
        GateAction::Pause if paused => Err("is paused already".into()),
        GateAction::Pause => Ok(Plan {
            patches: vec![Patch::Object(json!({ "spec": { "paused": true } }))],
            facts: "paused=false".into(),
        }),
        GateAction::Promote | GateAction::PromoteFull | GateAction::Abort | GateAction::None => {
            Err(format!(
                "is a Deployment, for which there is no {}",
                action.as_str()
            ))
        }
    }
}

/// What `kubectl rollout undo` does: the template of the revision before the latest.
fn undo(deployment: &Deployment, replica_sets: &[ReplicaSet]) -> Result<Plan, String> {
    let mut history: Vec<(i64, &ReplicaSet)> = replica_sets
        .iter()
        .filter_map(|set| Some((set.annotations().get(REVISION)?.parse().ok()?, set)))
        .collect();
    history.sort_by_key(|(revision, _)| -revision);
    let (_, previous) = history
        .get(1)
        .ok_or("has no earlier revision to go back to")?;
    let mut template = previous
        .spec
        .as_ref()
        .and_then(|spec| spec.template.clone())
        .ok_or("has an earlier revision without a pod template")?;
    if let Some(labels) = template
        .metadata
        .as_mut()
        .and_then(|metadata| metadata.labels.as_mut())
    {
        labels.remove(TEMPLATE_HASH);
    }
    Ok(Plan {
        patches: vec![Patch::Template(json!(template))],
        facts: format!(
            "generation={}",
            deployment.metadata.generation.unwrap_or_default()
        ),
    })
}
