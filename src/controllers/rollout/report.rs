//! Saying what a pass has come to: in the status, then in Events and metrics.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::{Context, Error, observe};
use crate::api::Rollout;
use crate::cluster::Event;
use crate::rollout::{self, Decision, Observed, Obstacle};

/// Says what keeps a decision from being carried out, and what holds nevertheless: an abort, a
/// deadline that has passed. Returns when time may change that.
pub(super) async fn tell_hindrance(
    observed: &Observed,
    obstacle: Obstacle,
    why: &str,
    context: &Context,
) -> Result<Option<Timestamp>, Error> {
    let rollout = &*observed.rollout;
    let hindered = rollout::hindered(observed, obstacle, why);
    write(rollout, rollout, &hindered, context).await?;
    tell(rollout, &hindered, context).await;
    Ok(hindered.wake_at)
}

/// Says that nothing can be decided, because not even the caches could be filled.
pub(super) async fn tell_blindness(
    rollout: &Arc<Rollout>,
    error: Error,
    context: &Context,
) -> Result<Action, Error> {
    if !context.memory.is_replaced(rollout) {
        let why = error.to_string();
        tell_hindrance(
            &observe::in_caches(rollout, context),
            Obstacle::Blindness,
            &why,
            context,
        )
        .await?;
    }
    Err(error)
}

/// Writes the status of a decision, if it differs. `newest` is the Rollout after the changes.
pub(super) async fn write(
    rollout: &Rollout,
    newest: &Rollout,
    decision: &Decision,
    context: &Context,
) -> Result<bool, Error> {
    let before = rollout.status.clone().unwrap_or_default();
    let written = context
        .cluster()
        .write_status(newest, &before, &decision.status)
        .await;
    let written = written.map_err(Error::WriteStatus)?;
    let last = written.as_ref().unwrap_or(newest);
    context.memory.replaced(&[rollout, newest], last);
    Ok(written.is_some())
}

/// Tells in Events and metrics what a status that was written says.
pub(super) async fn tell(rollout: &Rollout, decision: &Decision, context: &Context) {
    if let Some(ended) = &decision.ended {
        let seconds = |time| Duration::try_from(time).unwrap_or_default();
        let (took, waited) = (seconds(ended.took), seconds(ended.waited));
        let metrics = &context.setup.metrics;
        metrics.update_ended(ended.status.as_str(), took, waited);
    }
    let (namespace, name) = (rollout.namespace().unwrap_or_default(), rollout.name_any());
    let uid = rollout.uid().unwrap_or_default();
    for notice in &decision.notices {
        let event = if notice.warning {
            Event::warning
        } else {
            Event::normal
        };
        let event = event(&notice.reason, &notice.message);
        context.cluster().record(rollout, &event).await;
        if context.memory.knows(&uid) {
            context.setup.metrics.told(&namespace, &name, &event);
        }
    }
}
