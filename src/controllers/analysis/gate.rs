//! Carrying out what a run's gate decides.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt as _;
use kube::core::Selector;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::Context;
use crate::api::{
    AnalysisRun, AnalysisRunStatus, GateAction, GateOutcome, GateStatus, GateTargetKind, Phase,
    Rollout,
};
use crate::cluster::{self, Cluster, Event};
use crate::gate::{self, Move, Patch, Target};

/// When to look again at a target whose controller has not seen its latest spec.
const UNSEEN: Duration = Duration::from_secs(2);

/// How long a run waits for such a target before it measures all the same. Its gate will then
/// refuse to act on a revision that nobody knows.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// Whether a run may measure.
pub(super) enum Begun {
    /// Yes.
    Ready,
    /// The target's revision has just been noted; the watch brings the run back.
    Noted,
    /// Not before the target's controller has seen its latest spec.
    Wait(Duration),
}

/// Notes the target's revision before the first measurement.
pub(super) async fn begin(run: &AnalysisRun, context: &Context) -> Result<Begun, cluster::Error> {
    let status = run.status.as_ref();
    let is_noted = status
        .and_then(|status| status.gate.as_ref())
        .is_some_and(|gate| gate.target_revision.is_some());
    let has_begun = status.is_some_and(|status| status.started_at.is_some());
    if run.spec.gate.is_none() || is_noted || has_begun {
        return Ok(Begun::Ready);
    }
    let target = read_target(run, context.cluster()).await?;
    let now = context.now();
    match gate::next(run, target.as_ref(), now) {
        Move::Record(record) => write(run, record, context).await.map(|()| Begun::Noted),
        Move::Wait if age(run, now) < PATIENCE => Ok(Begun::Wait(UNSEEN)),
        Move::Wait | Move::Rest | Move::Send { .. } => Ok(Begun::Ready),
    }
}

fn age(run: &AnalysisRun, now: Timestamp) -> SignedDuration {
    let created = run.metadata.creation_timestamp.as_ref();
    created.map_or(SignedDuration::MAX, |created| now.duration_since(created.0))
}

/// Makes the next move of the gate of a run that has ended; tells when to look again.
pub(super) async fn conclude(
    run: &AnalysisRun,
    context: &Context,
) -> Result<Option<Timestamp>, cluster::Error> {
    let phase = run.status.as_ref().and_then(|status| status.phase);
    if gate::is_concluded(run) || !phase.is_some_and(Phase::is_completed) {
        return Ok(None);
    }
    let target = read_target(run, context.cluster()).await?;
    let now = context.now();
    match gate::next(run, target.as_ref(), now) {
        Move::Rest => return Ok(None),
        Move::Wait => return Ok(now.checked_add(UNSEEN).ok()),
        Move::Record(record) => write(run, record, context).await?,
        Move::Send { patches, then } => {
            let record = send(run, &patches, then, target.as_ref(), context).await?;
            write(run, record, context).await?;
        }
    }
    Ok(None)
}

async fn read_target(
    run: &AnalysisRun,
    cluster: &Cluster,
) -> Result<Option<Target>, cluster::Error> {
    let Some(gate) = &run.spec.gate else {
        return Ok(None);
    };
    let (namespace, name) = (run.namespace().unwrap_or_default(), &gate.target.name);
    match gate.target.kind {
        GateTargetKind::Rollout => {
            let rollout = cluster.get::<Rollout>(&namespace, name).await?;
            Ok(rollout.map(|rollout| Target::Rollout(Box::new(rollout))))
        }
        GateTargetKind::Deployment => {
            let Some(deployment) = cluster.get::<Deployment>(&namespace, name).await? else {
                return Ok(None);
            };
            let replica_sets = controlled_by(&deployment, &namespace, cluster).await?;
            Ok(Some(Target::Deployment(Box::new(deployment), replica_sets)))
        }
    }
}

async fn controlled_by(
    deployment: &Deployment,
    namespace: &str,
    cluster: &Cluster,
) -> Result<Vec<ReplicaSet>, cluster::Error> {
    let selector = deployment.spec.as_ref().map(|spec| spec.selector.clone());
    let selector = selector.and_then(|selector| Selector::try_from(selector).ok());
    let selector = selector
        .map(|selector| selector.to_string())
        .unwrap_or_default();
    let mut replica_sets: Vec<ReplicaSet> = cluster.list(namespace, &selector).await?;
    let uid = deployment.uid();
    replica_sets.retain(|set| {
        let mut owners = set.owner_references().iter();
        owners.any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid.as_ref())
    });
    Ok(replica_sets)
}

/// Sends the patches one after the other; a refusal is an outcome, too.
async fn send(
    run: &AnalysisRun,
    patches: &[Patch],
    then: GateStatus,
    target: Option<&Target>,
    context: &Context,
) -> Result<GateStatus, cluster::Error> {
    let namespace = run.namespace().unwrap_or_default();
    let mut version = match target {
        Some(Target::Rollout(rollout)) => rollout.resource_version(),
        Some(Target::Deployment(deployment, _)) => deployment.resource_version(),
        None => None,
    };
    for patch in patches {
        let name = run
            .spec
            .gate
            .as_ref()
            .map_or("", |gate| gate.target.name.as_str());
        let sent = match target {
            Some(Target::Deployment(..)) => {
                let sent =
                    send_one::<Deployment>(&namespace, name, patch, version.as_deref(), context);
                sent.await.map(|object| object.resource_version())
            }
            Some(Target::Rollout(_)) | None => {
                let sent =
                    send_one::<Rollout>(&namespace, name, patch, version.as_deref(), context);
                sent.await.map(|object| object.resource_version())
            }
        };
        match sent {
            Ok(newer) => version = newer,
            Err(error) if error.is_refusal() => {
                let message = error.to_string();
                return Ok(gate::concluded(
                    then,
                    GateOutcome::Failed,
                    message,
                    context.now(),
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(then)
}

async fn send_one<K: cluster::Namespaced>(
    namespace: &str,
    name: &str,
    patch: &Patch,
    version: Option<&str>,
    context: &Context,
) -> Result<K, cluster::Error> {
    let cluster = context.cluster();
    match patch {
        Patch::Object(patch) => cluster.merge(namespace, name, &only(patch, version)).await,
        Patch::Status { patch, otherwise } => {
            let (patch, otherwise) = (only(patch, version), only(otherwise, version));
            cluster
                .patch_status(namespace, name, &patch, &otherwise)
                .await
        }
        Patch::Template(template) => {
            let operations = json!([
                { "op": "replace", "path": "/metadata/resourceVersion", "value": version },
                { "op": "replace", "path": "/spec/template", "value": template },
            ]);
            let patch = serde_json::from_value(operations).expect("these are operations");
            cluster.json_patch(namespace, name, patch).await
        }
    }
}

/// The patch, good only for the target as it was read.
fn only(patch: &Value, version: Option<&str>) -> Value {
    let mut patch = patch.clone();
    patch["metadata"] = json!({ "resourceVersion": version });
    patch
}

async fn write(
    run: &AnalysisRun,
    record: GateStatus,
    context: &Context,
) -> Result<(), cluster::Error> {
    let before = run.status.clone().unwrap_or_default();
    let event = event(run, &record);
    let after = AnalysisRunStatus {
        gate: Some(record),
        ..before.clone()
    };
    let written = context
        .cluster()
        .write_status(run, &run.status.as_ref(), &Some(&after))
        .await?;
    context.workbench.replaced(run, written.as_ref());
    if let Some(event) = event {
        context.cluster().record(run, &event).await;
    }
    Ok(())
}

/// What to tell about an outcome.
fn event(run: &AnalysisRun, record: &GateStatus) -> Option<Event> {
    let target = &run.spec.gate.as_ref()?.target;
    let action = record.action.filter(|action| *action != GateAction::None)?;
    let what = format!(
        "{} of {} `{}`",
        action.as_str(),
        target.kind.as_str(),
        target.name
    );
    match record.outcome? {
        GateOutcome::Pending => None,
        GateOutcome::Applied => {
            info!(what, "the gate moved its target");
            Some(Event::normal("GateApplied", format!("{what} applied")))
        }
        GateOutcome::Refused => {
            warn!(what, why = record.message, "the gate left its target");
            Some(Event::warning(
                "GateRefused",
                format!("{what} refused: {}", record.message),
            ))
        }
        GateOutcome::Failed => {
            warn!(
                what,
                why = record.message,
                "the gate's patch was not accepted"
            );
            Some(Event::warning(
                "GateFailed",
                format!("{what} failed: {}", record.message),
            ))
        }
    }
}
