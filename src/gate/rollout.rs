//! Moving a Rollout: with the same patches as the kubectl plugin.

use serde_json::Value;

use super::{Patch, Plan};
use crate::api::{GateAction, Rollout, RolloutStatus};
use crate::rollout::operations;

pub(super) fn is_observed(rollout: &Rollout) -> bool {
    let observed = rollout
        .status
        .as_ref()
        .map(|status| status.observed_generation.as_str());
    let generation = rollout.metadata.generation.unwrap_or_default().to_string();
    observed == Some(generation.as_str())
}

pub(super) fn revision(rollout: &Rollout) -> Option<String> {
    let hash = rollout
        .status
        .as_ref()
        .map(|status| status.current_pod_hash.clone());
    hash.filter(|hash| !hash.is_empty())
}

pub(super) fn plan(action: GateAction, rollout: &Rollout) -> Result<Plan, String> {
    let status = rollout.status.clone().unwrap_or_default();
    match action {
        GateAction::Promote => promote(rollout, &status),
        GateAction::PromoteFull => {
            must_be_under_way(&status)?;
            let mut patches = unpause(rollout);
            let patch = operations::promote_full();
            patches.push(status_patch(patch));
            Ok(Plan {
                patches,
                facts: format!("promoteFull={}", status.promote_full),
            })
        }
        GateAction::Abort => {
            must_be_under_way(&status)?;
            if status.stable_rs.is_empty() {
                return Err("has no stable revision to go back to".into());
            }
            let patch = operations::abort();
            Ok(Plan {
                patches: vec![status_patch(patch)],
                facts: format!("abort={}", status.abort),
            })
        }
        GateAction::Pause if rollout.spec.paused => Err("is paused already".into()),
        GateAction::Pause => Ok(Plan {
            patches: vec![Patch::Object(operations::pause())],
            facts: "paused=false".into(),
        }),
        GateAction::Undo | GateAction::None => Err(format!(
            "is a Rollout, for which there is no {}",
            action.as_str()
        )),
    }
}

/// Ends the pause at which the Rollout waits. The status comes last: as long as it is unchanged,
/// the promotion has not arrived.
fn promote(rollout: &Rollout, status: &RolloutStatus) -> Result<Plan, String> {
    if status.pause_conditions.is_empty() && !rollout.spec.paused {
        must_be_under_way(status)?;
        return Err("waits at no pause: there is nothing to promote".into());
    }
    if status.abort {
        return Err("is aborted already".into());
    }
    let mut patches = unpause(rollout);
    if status.pause_conditions.is_empty() {
        return Ok(Plan {
            patches,
            facts: "paused=true".into(),
        });
    }
    let patch = operations::promote(rollout);
    patches.push(status_patch(patch));
    Ok(Plan {
        patches,
        facts: pause_facts(status),
    })
}

fn must_be_under_way(status: &RolloutStatus) -> Result<(), String> {
    if status.abort {
        return Err("is aborted already".into());
    }
    if status.current_pod_hash == status.stable_rs {
        return Err("has no release under way: its current revision is the stable one".into());
    }
    Ok(())
}

fn pause_facts(status: &RolloutStatus) -> String {
    let since = status
        .pause_conditions
        .iter()
        .filter_map(|pause| pause.start_time.as_ref());
    let since: Vec<String> = since.map(|time| time.0.to_string()).collect();
    format!(
        "step={} paused={}",
        status.current_step_index.unwrap_or_default(),
        since.join(",")
    )
}

fn unpause(rollout: &Rollout) -> Vec<Patch> {
    let paused = rollout.spec.paused;
    paused
        .then(|| Patch::Object(operations::unpause()))
        .into_iter()
        .collect()
}

fn status_patch(patch: Value) -> Patch {
    Patch::Status {
        otherwise: patch.clone(),
        patch,
    }
}
