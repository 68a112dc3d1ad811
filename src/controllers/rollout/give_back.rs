//! Objects that divide the traffic and that their Rollout names no longer: each becomes as it would be
//! without it.
//!
//! Who holds an object is noted on it, so what happens while no controller runs is found at the next
//! start: all kinds that routers write are looked through once.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::passes::wait_after;
use super::objects::{Key, read_into};
use super::{Context, OUTDATED, act};
use crate::api::Rollout;
use crate::cluster;
use crate::traffic_routers::{
    HELD_BY, Known, Place, Query, Subject, holders, kinds, names, release,
};

/// Objects that are given back at the same time.
const AT_ONCE: usize = 16;

/// Gives back what `let_go` names, until `shutdown`.
pub(super) async fn run(
    context: Arc<Context>,
    let_go: UnboundedReceiver<(Place, Key)>,
    shutdown: CancellationToken,
) {
    let looking = Arc::clone(&context);
    let missed = context.setup.leadership.begins();
    let missed = missed.then(move |()| held(Arc::clone(&looking)));
    let all = stream::select(
        UnboundedReceiverStream::new(let_go),
        missed.flat_map(stream::iter),
    );
    let work = all.for_each_concurrent(AT_ONCE, |(place, rollout)| {
        give_back(Arc::clone(&context), place, rollout)
    });
    shutdown.run_until_cancelled(work).await;
}

/// All objects that are held, and by whom.
async fn held(context: Arc<Context>) -> Vec<(Place, Key)> {
    let (cluster, scope) = (context.cluster(), &context.setup.scope);
    let mut held = Vec::new();
    for kind in kinds(&context.setup.versions) {
        let mut failures = 0;
        let found = loop {
            let listed = cluster
                .annotated(&kind, scope.namespace.as_deref(), HELD_BY)
                .await;
            match listed {
                Ok(found) => break found,
                // What is not installed, or not allowed, holds nothing.
                Err(error) if error.is_unknown_kind() || error.is_forbidden() => break vec![],
                Err(error) => retry("look for what is held", &error, &mut failures).await,
            }
        };
        for place in found {
            let Ok(Some(object)) = cluster.read_at(&place).await else {
                continue;
            };
            let holders = holders(&object).into_iter();
            held.extend(holders.map(|rollout| (place.clone(), rollout)));
        }
    }
    held
}

async fn retry(what: &'static str, error: &cluster::Error, failures: &mut u32) {
    if error.is_conflict() {
        return sleep(OUTDATED).await;
    }
    let wait = wait_after(*failures);
    *failures = failures.saturating_add(1);
    warn!(%error, retry_in = ?wait, "cannot {what}");
    sleep(wait).await;
}

async fn give_back(context: Arc<Context>, place: Place, rollout: Key) {
    let mut failures = 0;
    while context.setup.may_act() {
        match try_give_back(&context, &place, &rollout).await {
            Ok(()) => return,
            Err(error) if error.is_unknown_kind() => return,
            Err(error) => retry("give back what is held", &error, &mut failures).await,
        }
    }
}

/// Gives an object back, if its Rollout is known to be gone or to name it no longer. What cannot be
/// read is not gone.
async fn try_give_back(
    context: &Context,
    place: &Place,
    rollout: &Key,
) -> Result<(), cluster::Error> {
    let (cluster, versions) = (context.cluster(), &*context.setup.versions);
    if !kinds(versions).contains(&place.resource) {
        // What nobody writes nobody holds.
        return Ok(());
    }
    let mut known = Known::default();
    read_into(&mut known, &Query::One(place.clone()), cluster).await?;
    let is_held = |object| holders(object).contains(rollout);
    if !known.get(place).is_some_and(|object| is_held(object)) {
        return Ok(());
    }
    let found = cluster.get::<Rollout>(&rollout.0, &rollout.1).await?;
    let scope = &context.setup.scope;
    if found.as_ref().is_some_and(|found| !scope.covers(found)) {
        // Another controller's.
        return Ok(());
    }
    if let Some(subject) = found.as_ref().and_then(Subject::of) {
        loop {
            match names(&subject, place, &known, versions) {
                Ok(true) => return Ok(()),
                Ok(false) => break,
                Err(open) => look_up(open, &mut known, cluster).await?,
            }
        }
    }
    let key = format!("{}/{}", rollout.0, rollout.1);
    let write = loop {
        match release(&key, place, &known, versions) {
            Ok(write) => break write,
            Err(open) => look_up(open, &mut known, cluster).await?,
        }
    };
    if let Some(write) = write {
        act::route(&write, cluster).await?;
        let Place {
            resource,
            namespace,
            name,
        } = place;
        info!(
            kind = resource.kind,
            namespace,
            name,
            rollout = key,
            "gave an object back"
        );
    }
    Ok(())
}

async fn look_up(
    open: BTreeSet<Query>,
    known: &mut Known,
    cluster: &cluster::Cluster,
) -> Result<(), cluster::Error> {
    for query in open {
        let read = read_into(known, &query, cluster).await;
        match (query, read) {
            // Nothing is asked outside of the cluster to give an object back.
            (Query::Call(call), _) => known.note_answer(call, Err("not asked".to_owned())),
            (_, Ok(())) => {}
            (Query::One(Place { resource, .. }) | Query::Selected { resource, .. }, Err(error))
                if error.is_unknown_kind() =>
            {
                known.note_unavailable(resource, error.to_string());
            }
            (_, Err(error)) => return Err(error),
        }
    }
    Ok(())
}
