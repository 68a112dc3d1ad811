//! Services that no Rollout names any more: each gets back the selector that its author wrote.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::passes::LONGEST_BACKOFF;
use super::Context;
use super::act::held_to;
use crate::api::Rollout;
use crate::cluster;
use crate::rollout;

/// Looks after the Services that `let_go` names, until `shutdown`.
pub(super) async fn run(
    context: Arc<Context>,
    let_go: UnboundedReceiver<ObjectRef<Service>>,
    shutdown: CancellationToken,
) {
    Controller::for_stream(stream::pending(), context.services.objects())
        .with_config(Config::default().concurrency(1))
        .reconcile_on(UnboundedReceiverStream::new(let_go))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, back_off, context)
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Frees a Service, if the Rollout that it says it is managed by is known to be gone or to name it
/// no longer. What cannot be read is not gone.
async fn reconcile(service: Arc<Service>, context: Arc<Context>) -> Result<Action, cluster::Error> {
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    let Some(manager) = rollout::managed_by(&service) else {
        return Ok(Action::await_change());
    };
    let cluster = context.cluster();
    let found = cluster.get::<Rollout>(&namespace, manager).await?;
    if found
        .as_ref()
        .is_some_and(|found| !context.setup.scope.covers(found))
    {
        // Another controller's.
        return Ok(Action::await_change());
    }
    if let Some(patch) = rollout::release(&service, found.as_ref()) {
        let held = held_to(patch, service.metadata.resource_version.as_ref());
        match cluster.merge::<Service>(&namespace, &name, &held).await {
            Ok(_) => info!(namespace, service = name, manager, "freed a Service"),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Action::await_change())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the runtime hands them over like this"
)]
fn back_off(service: Arc<Service>, error: &cluster::Error, _: Arc<Context>) -> Action {
    if error.is_conflict() {
        // The watch brings the newer state, and another look.
        return Action::await_change();
    }
    let (namespace, name) = (service.namespace(), service.name_any());
    warn!(namespace, name, %error, retry_in = ?LONGEST_BACKOFF, "cannot look after a Service");
    Action::requeue(LONGEST_BACKOFF)
}
