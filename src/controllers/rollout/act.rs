//! Carrying out the changes of a decision.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tracing::info;

use super::{Context, Error, calls};
use crate::api::{AnalysisRun, Experiment, Rollout};
use crate::cluster::{self, Cluster, Created, Namespaced, PropagationPolicy};
use crate::rollout::{
    Change, NewReplicaSet, Notice, Observed, ReplicaSet, Target, is_same_version,
};
use crate::traffic_routers::Write;

/// Pods that are patched at the same time, as Argo's `--ephemeral-metadata-threads`.
const PODS_AT_ONCE: usize = 10;

/// Why the changes of a decision came to no end.
pub(super) enum Failure {
    /// The API server refuses the ReplicaSet of the new version.
    NotCreated {
        /// Its name.
        name: String,
        /// The refusal.
        cause: cluster::Error,
    },
    /// What divides the traffic cannot be changed, and why. What does not depend on it was done.
    NotRouted(String),
    /// Another try may help.
    Other(Error),
}

impl From<cluster::Error> for Failure {
    fn from(error: cluster::Error) -> Self {
        Self::Other(Error::Act(error))
    }
}

/// What has become of the changes of a decision.
pub(super) struct Done {
    /// The Rollout as it is then.
    pub(super) newest: Rollout,
    /// What went otherwise than decided, without ending the pass.
    pub(super) notices: Vec<Notice>,
}

/// Makes the changes in order; the first failure ends them. One of a traffic router ends those that
/// follow but for other routers': pods that came and Services that lead to them come before.
pub(super) async fn carry_out(
    observed: &Observed,
    changes: &[Change],
    context: &Context,
) -> Result<Done, Failure> {
    let mut done = Done {
        newest: Rollout::clone(&observed.rollout),
        notices: vec![],
    };
    let mut refusal = None;
    for change in changes {
        match change {
            Change::Route(write) => match act_on_route(write, &done.newest, context).await {
                Ok(notice) => done.notices.extend(notice),
                Err(Failure::NotRouted(why)) => refusal = refusal.or(Some(why)),
                Err(other) => return Err(other),
            },
            _ if refusal.is_some() => {}
            other => make(other, &mut done, context.cluster()).await?,
        }
    }
    match refusal {
        Some(why) => Err(Failure::NotRouted(why)),
        None => Ok(done),
    }
}

async fn make(change: &Change, done: &mut Done, cluster: &Cluster) -> Result<(), Failure> {
    let newest = &mut done.newest;
    let namespace = newest.namespace().unwrap_or_default();
    match change {
        // What divides the traffic has a way of its own.
        Change::Route(_) => {}
        Change::DefaultReplicas => {
            let patch = json!({ "spec": { "replicas": 1 } });
            *newest = patch_rollout(newest, patch, cluster).await?;
        }
        Change::Annotate(annotations) => {
            let patch = json!({ "metadata": { "annotations": annotations } });
            *newest = patch_rollout(newest, patch, cluster).await?;
        }
        Change::CreateReplicaSet(replica_set) => {
            create_replica_set(newest, replica_set, cluster).await?;
        }
        Change::PatchReplicaSet(target, patch) | Change::Scale(target, patch) => {
            patch_object::<ReplicaSet>(&namespace, target, patch, cluster).await?;
        }
        Change::DeleteReplicaSet(target) => {
            delete::<ReplicaSet>(&namespace, target, cluster).await?;
        }
        Change::SwitchService(target, patch) => {
            patch_object::<Service>(&namespace, target, patch, cluster).await?;
        }
        Change::PatchPods(pods) => patch_pods(&namespace, pods, cluster).await?,
        Change::EvictPods(pods) => {
            done.notices
                .extend(evict_pods(&namespace, pods, cluster).await);
        }
        Change::ScaleDeployment(target, patch) => {
            patch_object::<Deployment>(&namespace, target, patch, cluster).await?;
        }
        Change::StartAnalysis(run) => start(&**run, cluster).await?,
        Change::StopAnalysis(target) => {
            stop::<AnalysisRun>(&namespace, target, cluster).await?;
        }
        Change::DeleteAnalysis(target) => {
            delete::<AnalysisRun>(&namespace, target, cluster).await?;
        }
        Change::StartExperiment(experiment) => start(&**experiment, cluster).await?,
        Change::StopExperiment(target) => {
            stop::<Experiment>(&namespace, target, cluster).await?;
        }
        Change::DeleteExperiment(target) => {
            delete::<Experiment>(&namespace, target, cluster).await?;
        }
    }
    Ok(())
}

/// Changes what divides the traffic. Returns what is told of it.
async fn act_on_route(
    write: &Write,
    rollout: &Rollout,
    context: &Context,
) -> Result<Option<Notice>, Failure> {
    if let Write::Call(call) = write {
        let told = calls::make(call, rollout, &context.setup).await;
        return told.map(|_| None).map_err(Failure::NotRouted);
    }
    let place = write.place();
    let object = route(write, context.cluster()).await;
    let object = object.map_err(|error| {
        // The cache does not show what is there by now.
        let is_gone = error.is_not_found() && !error.is_unknown_kind();
        if error.is_conflict() || error.is_already_there() || is_gone {
            Failure::Other(Error::Outdated(error.to_string()))
        } else {
            Failure::NotRouted(error.to_string())
        }
    })?;
    if let Some(place) = place {
        context.objects.note(place, object);
    }
    let (Write::Create { notice, .. }
    | Write::Update { notice, .. }
    | Write::Delete { notice, .. }) = write
    else {
        return Ok(None);
    };
    Ok(notice.as_ref().map(|notice| Notice {
        warning: false,
        reason: notice.reason.to_owned(),
        message: notice.message.clone(),
    }))
}

/// Makes a write of a traffic router. Returns the object as it is then.
pub(super) async fn route(
    write: &Write,
    cluster: &Cluster,
) -> Result<Option<Value>, cluster::Error> {
    let (verb, place, object) = match write {
        Write::Create { place, object, .. } => {
            ("created", place, Some(cluster.make(place, object).await?))
        }
        Write::Update {
            place,
            before,
            after,
            ..
        } => {
            let changed = cluster.change(place, before, after).await?;
            ("changed", place, Some(changed))
        }
        Write::Delete { place, before, .. } => {
            cluster.remove(place, before).await?;
            ("deleted", place, None)
        }
        Write::Call(_) => return Ok(None),
    };
    let (kind, name) = (place.resource.kind, &place.name);
    info!(kind, name, verb, "divided the traffic");
    Ok(object)
}

/// Adds the resourceVersion to a patch, so that it holds only for what was observed.
pub(super) fn held_to(mut patch: Value, resource_version: Option<&String>) -> Value {
    if let Some(version) = resource_version {
        let held = json!({ "metadata": { "resourceVersion": version } });
        json_patch::merge(&mut patch, &held);
    }
    patch
}

async fn patch_rollout(
    rollout: &Rollout,
    patch: Value,
    cluster: &Cluster,
) -> Result<Rollout, cluster::Error> {
    let namespace = rollout.namespace().unwrap_or_default();
    let patch = held_to(patch, rollout.metadata.resource_version.as_ref());
    cluster.merge(&namespace, &rollout.name_any(), &patch).await
}

/// Sends a patch to an object as it was observed.
async fn patch_object<K: Namespaced>(
    namespace: &str,
    target: &Target,
    patch: &Value,
    cluster: &Cluster,
) -> Result<(), cluster::Error> {
    let held = held_to(patch.clone(), target.resource_version.as_ref());
    cluster.merge::<K>(namespace, &target.name, &held).await?;
    let spec = patch.get("spec").map(Value::to_string);
    info!(kind = %K::kind(&()), name = target.name, spec, "patched an object");
    Ok(())
}

async fn patch_pods(
    namespace: &str,
    pods: &[(Target, Value)],
    cluster: &Cluster,
) -> Result<(), cluster::Error> {
    let patches = pods.iter();
    let patches = patches.map(|(target, patch)| patch_pod(namespace, target, patch, cluster));
    let patches: Vec<_> = patches.collect();
    let patches = stream::iter(patches).buffer_unordered(PODS_AT_ONCE);
    patches.try_collect::<()>().await?;
    info!(pods = pods.len(), "patched pods");
    Ok(())
}

/// A pod that is gone needs nothing.
async fn patch_pod(
    namespace: &str,
    target: &Target,
    patch: &Value,
    cluster: &Cluster,
) -> Result<(), cluster::Error> {
    match cluster.merge::<Pod>(namespace, &target.name, patch).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Evicts what may be evicted. What may not is tried again in a later pass, and holds nothing else
/// up: tells why the first was not.
async fn evict_pods(namespace: &str, pods: &[Target], cluster: &Cluster) -> Option<Notice> {
    let mut refusal = None;
    for pod in pods {
        match cluster
            .evict(namespace, &pod.name, pod.uid.as_deref())
            .await
        {
            Ok(()) => info!(pod = pod.name, "evicted a pod"),
            Err(error) => {
                info!(pod = pod.name, %error, "a pod was not evicted");
                refusal.get_or_insert(error);
            }
        }
    }
    refusal.map(|error| Notice {
        warning: true,
        reason: "RestartDelayed".to_owned(),
        message: error.to_string(),
    })
}

async fn create_replica_set(
    rollout: &Rollout,
    replica_set: &NewReplicaSet,
    cluster: &Cluster,
) -> Result<(), Failure> {
    let name = replica_set.name_any();
    match cluster.create(replica_set).await {
        Ok(Created::New(_)) => {
            info!(replica_set = name, "created a ReplicaSet");
            Ok(())
        }
        Ok(Created::AlreadyThere) => yield_name(rollout, replica_set, cluster).await,
        Err(cause) if cause.is_refusal() => Err(Failure::NotCreated { name, cause }),
        Err(error) => Err(error.into()),
    }
}

/// The name of a new ReplicaSet is taken: by ourselves, and the cache does not show it yet, or by
/// another template with the same hash. Then the next hash is another.
async fn yield_name(
    rollout: &Rollout,
    wanted: &NewReplicaSet,
    cluster: &Cluster,
) -> Result<(), Failure> {
    let (namespace, name) = (rollout.namespace().unwrap_or_default(), wanted.name_any());
    let outdated = || Failure::Other(Error::Outdated(format!("ReplicaSet `{name}`")));
    let Some(taken) = cluster.get::<ReplicaSet>(&namespace, &name).await? else {
        return Err(outdated());
    };
    let owned = taken.owner_references().iter().any(|owner| {
        owner.controller == Some(true) && Some(&owner.uid) == rollout.metadata.uid.as_ref()
    });
    if !(owned && is_same_version(wanted, &taken)) {
        let before = rollout.status.clone().unwrap_or_default();
        let mut after = before.clone();
        after.collision_count = Some(before.collision_count.unwrap_or(0).saturating_add(1));
        cluster.write_status(rollout, &before, &after).await?;
        info!(replica_set = name, "the name is taken by another template");
    }
    Err(outdated())
}

/// Creates an AnalysisRun or an Experiment.
async fn start<K: cluster::Namespaced>(object: &K, cluster: &Cluster) -> Result<(), Failure> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let kind = K::kind(&());
    if !matches!(cluster.create(object).await?, Created::AlreadyThere) {
        info!(%kind, name, "started");
        return Ok(());
    }
    // An earlier pass has started it, and the cache does not show it yet.
    let taken = cluster.get::<K>(&namespace, &name).await?;
    let owner = |object: &K| {
        object
            .owner_references()
            .first()
            .map(|owner| owner.uid.clone())
    };
    if taken.as_ref().and_then(owner) == owner(object) {
        return Ok(());
    }
    Err(Failure::Other(Error::Outdated(format!("{kind} `{name}`"))))
}

/// Tells an AnalysisRun or an Experiment to end.
async fn stop<K: cluster::Namespaced>(
    namespace: &str,
    target: &Target,
    cluster: &Cluster,
) -> Result<(), cluster::Error> {
    let patch = json!({ "spec": { "terminate": true } });
    match cluster.merge::<K>(namespace, &target.name, &patch).await {
        Ok(_) => {
            info!(kind = %K::kind(&()), name = target.name, "stopped");
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn delete<K: Namespaced>(
    namespace: &str,
    target: &Target,
    cluster: &Cluster,
) -> Result<(), cluster::Error> {
    let policy = PropagationPolicy::Background;
    cluster
        .delete::<K>(namespace, &target.name, target.uid.as_deref(), policy)
        .await?;
    info!(kind = %K::kind(&()), name = target.name, "deleted what history need not keep");
    Ok(())
}
