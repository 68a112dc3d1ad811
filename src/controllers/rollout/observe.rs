//! What a pass over a Rollout observes: what the caches show, what they do not keep, and what a
//! decision asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt as _;

use super::{Context, calls, key_of, plugins};
use crate::analysis::{TemplateKey, Templates};
use crate::api::{AnalysisTemplate, AnalysisTemplateSpec, ClusterAnalysisTemplate, Rollout};
use crate::cluster;
use crate::rollout::{self, Decision, Observed, Want, Workload};
use crate::traffic_routers::{Known, Query};

/// What the caches show.
pub(super) fn in_caches(rollout: &Arc<Rollout>, context: &Context) -> Observed {
    let namespace = rollout.namespace().unwrap_or_default();
    let uid = rollout.uid().unwrap_or_default();
    let mut replica_sets = context.replica_sets.of(&namespace, &uid);
    replica_sets.extend(context.replica_sets.of(&namespace, ""));
    Observed {
        rollout: Arc::clone(rollout),
        replica_sets,
        analysis_runs: context.analysis_runs.of(&namespace, &uid),
        experiments: context.experiments.of(&namespace, &uid),
        services: rollout::named_services(&rollout.spec)
            .filter_map(|name| Some((name.to_owned(), context.services.get(&namespace, name)?)))
            .collect(),
        workload: None,
        templates: Templates::default(),
        pods: None,
        unread: BTreeMap::new(),
        plugins: BTreeMap::new(),
        routers: Known::default(),
        versions: Arc::clone(&context.setup.versions),
        now: context.now(),
    }
}

/// Reads what the caches may not show yet, and what they do not keep. Notes in `asked` to which
/// objects of other kinds the Rollout refers.
///
/// # Errors
/// Why something cannot be read.
pub(super) async fn complete(
    observed: &mut Observed,
    context: &Context,
    asked: &mut BTreeSet<Query>,
) -> Result<(), String> {
    let rollout = Arc::clone(&observed.rollout);
    let namespace = rollout.namespace().unwrap_or_default();
    let status = rollout.status.clone().unwrap_or_default();
    for name in rollout::awaited_runs(&status) {
        let mut known = observed.analysis_runs.iter();
        if known.any(|run| run.name_any() == name) {
            continue;
        }
        let run = context.cluster().get(&namespace, name).await;
        let run = run.map_err(|error| error.to_string())?;
        observed.analysis_runs.extend(run.map(Arc::new));
    }
    observed.workload = workload(&rollout, context, asked).await?;
    Ok(())
}

/// The object whose pod template a Rollout uses.
async fn workload(
    rollout: &Rollout,
    context: &Context,
    asked: &mut BTreeSet<Query>,
) -> Result<Option<Workload>, String> {
    let Some(place) = Workload::place(rollout) else {
        return Ok(None);
    };
    let (mut known, query) = (Known::default(), Query::One(place.clone()));
    let (objects, cluster) = (&context.objects, context.cluster());
    let key = key_of(rollout);
    let looked_up = objects.look_up(&key, &query, &mut known, cluster).await;
    looked_up.map_err(|error| error.to_string())?;
    if let Some(why) = known.why_unavailable(&query) {
        return Err(why.to_owned());
    }
    asked.insert(query);
    let found = known.get(&place);
    Ok(found.and_then(|found| Workload::read(rollout, found)))
}

/// Decides, and looks up what this takes, as far as it can be read.
pub(super) async fn decide(
    observed: &mut Observed,
    context: &Context,
    asked: &mut BTreeSet<Query>,
) -> Decision {
    loop {
        let decision = rollout::decide(observed);
        if decision.wants.is_empty() {
            return decision;
        }
        for want in decision.wants {
            if let Err(error) = satisfy(&want, observed, context, asked).await {
                observed.unread.insert(want, error.to_string());
            }
        }
    }
}

/// Looks up what a decision asks for.
async fn satisfy(
    want: &Want,
    observed: &mut Observed,
    context: &Context,
    asked: &mut BTreeSet<Query>,
) -> Result<(), cluster::Error> {
    let namespace = observed.rollout.namespace().unwrap_or_default();
    match want {
        Want::Template(key) => {
            let found = look_up(&namespace, key, context).await?;
            observed.templates.insert(key.clone(), found.map(Arc::new));
        }
        Want::Pods(selector) => {
            let listed = context.cluster().list(&namespace, selector);
            observed.pods = Some(listed.await?);
        }
        Want::Plugin(call) => {
            let rollout = &observed.rollout;
            let answer = plugins::ask(&context.setup.plugins, rollout, call).await;
            observed.plugins.insert(call.clone(), answer);
        }
        Want::Router(Query::Call(call)) => {
            let answer = calls::make(call, &observed.rollout, &context.setup).await;
            observed.routers.note_answer(call.clone(), answer);
        }
        Want::Router(query) => {
            let key = key_of(&observed.rollout);
            let (objects, known) = (&context.objects, &mut observed.routers);
            let cluster = context.cluster();
            objects.look_up(&key, query, known, cluster).await?;
            asked.insert(query.clone());
        }
    }
    Ok(())
}

async fn look_up(
    namespace: &str,
    key: &TemplateKey,
    context: &Context,
) -> Result<Option<AnalysisTemplateSpec>, cluster::Error> {
    let cluster = context.cluster();
    if !key.cluster_scope {
        let found = cluster
            .get::<AnalysisTemplate>(namespace, &key.name)
            .await?;
        return Ok(found.map(|template| template.spec));
    }
    if context.setup.scope.namespace.is_some() {
        // A controller of one namespace may not read beyond it.
        return Ok(None);
    }
    let found = cluster
        .get_global::<ClusterAnalysisTemplate>(&key.name)
        .await?;
    Ok(found.map(|template| template.spec))
}
