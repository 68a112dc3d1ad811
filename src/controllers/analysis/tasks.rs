//! Carrying out what a decision asks of metric sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use tracing::error;

use super::Context;
use crate::analysis::{Invalid, Measured, Prepared, Redacted, SecretKey, Secrets, Task};
use crate::api::AnalysisRun;
use crate::controllers::Doors;
use crate::controllers::measure::{self, Errand, Jobs};
use crate::controllers::passes::contained;
use crate::metric_providers::RunIdentity;

/// Carries out a task beside the passes, and has the run looked at when it has ended.
pub(super) fn spawn(
    run: &Arc<AnalysisRun>,
    prepared: &Arc<Result<Prepared, Invalid>>,
    task: &Task,
    context: &Arc<Context>,
) {
    let uid = run.uid().unwrap_or_default();
    if !context.workbench.begin(&uid, &task.metric) {
        return;
    }
    let (run, prepared, task) = (Arc::clone(run), Arc::clone(prepared), task.clone());
    let context = Arc::clone(context);
    context.tasks.clone().spawn(async move {
        let Ok(prepared) = prepared.as_ref() else {
            return;
        };
        let measured = tokio::select! {
            () = context.stop.cancelled() => return,
            measured = contained(carry_out(&run, prepared, &task, &context)) => measured,
        };
        let measured = measured.unwrap_or_else(|panicked| {
            let (namespace, name) = (run.namespace(), run.name_any());
            error!(
                namespace,
                name,
                metric = task.metric,
                "a measurement panicked"
            );
            task.failed(panicked.to_string(), context.now())
        });
        context.workbench.end(&uid, measured);
        // Nobody listens any more when the controller stops.
        let _ = context.moved.send(ObjectRef::from_obj(&*run));
    });
}

async fn carry_out(
    run: &AnalysisRun,
    prepared: &Prepared,
    task: &Task,
    context: &Context,
) -> Measured {
    let began = context.now();
    let secrets = read_secrets(run, prepared.secrets(task), context).await;
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    let uid = run.uid().unwrap_or_default();
    let errand = Errand {
        run: RunIdentity {
            namespace: &namespace,
            name: &name,
            uid: &uid,
        },
        prepared,
        task,
        secrets: &secrets,
        settings: &context.sources.settings,
        began,
    };
    let Doors { http, jobs } = &context.sources.doors;
    let clock = context.setup.cluster.clock();
    measure::carry_out(errand, http, Jobs::Cluster(jobs), clock).await
}

/// Reads each Secret once, from the run's namespace.
async fn read_secrets(
    run: &AnalysisRun,
    keys: impl Iterator<Item = &SecretKey>,
    context: &Context,
) -> Secrets {
    let namespace = run.namespace().unwrap_or_default();
    let mut read: BTreeMap<&str, Result<Option<Secret>, String>> = BTreeMap::new();
    let mut secrets = Secrets::default();
    for key in keys {
        if !read.contains_key(key.name.as_str()) {
            let secret = context
                .setup
                .cluster
                .get::<Secret>(&namespace, &key.name)
                .await;
            read.insert(&key.name, secret.map_err(|error| error.reason().to_owned()));
        }
        let value = match &read[key.name.as_str()] {
            Ok(secret) => value_of(secret.as_ref(), &key.key),
            Err(reason) => Err(reason.clone()),
        };
        secrets.insert(key.clone(), value);
    }
    secrets
}

fn value_of(secret: Option<&Secret>, key: &str) -> Result<Redacted, String> {
    let data = secret.ok_or("not found")?.data.as_ref();
    let value = data
        .and_then(|data| data.get(key))
        .ok_or("the Secret has no such key")?;
    let text = std::str::from_utf8(&value.0).map_err(|_| "it is not text")?;
    Ok(Redacted::new(text))
}
