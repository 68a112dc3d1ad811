//! Keeps the instances in step with pods: a ready pod has one, a pod that leaves loses it.

use std::collections::BTreeSet;
use std::pin::pin;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Behaviour, MetricLabels, Workload};

/// Which pods are the workload's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSelection {
    /// Their namespace.
    pub namespace: String,
    /// Their labels, e.g. `app=web`. Empty: all pods of the namespace.
    pub label_selector: String,
}

/// Follows the pods until `stop`; what is lost in between is made up for by listing again.
///
/// A pod's annotations script its behaviour; changing them changes it at once. A pod whose
/// annotations cannot be read gets no instance, and a warning says why.
pub async fn follow_pods(
    client: Client,
    selection: &PodSelection,
    workload: &Workload,
    stop: CancellationToken,
) {
    let api: Api<Pod> = Api::namespaced(client, &selection.namespace);
    let config = watcher::Config::default().labels(&selection.label_selector);
    let mut events = pin!(watcher::watcher(api, config).default_backoff());
    let mut known = BTreeSet::new();
    let mut listed = BTreeSet::new();
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.insert(pod.name_any());
                known.insert(pod.name_any());
                follow(&pod, workload).await;
            }
            Ok(Event::InitDone) => {
                for gone in known.difference(&listed) {
                    workload.stop_instance(gone);
                }
                known.clone_from(&listed);
            }
            Ok(Event::Apply(pod)) => {
                known.insert(pod.name_any());
                follow(&pod, workload).await;
            }
            Ok(Event::Delete(pod)) => {
                known.remove(&pod.name_any());
                workload.stop_instance(&pod.name_any());
            }
            Err(error) => debug!(%error, "cannot watch pods, trying again"),
        }
    }
}

async fn follow(pod: &Pod, workload: &Workload) {
    let name = pod.name_any();
    if !takes_requests(pod) {
        workload.stop_instance(&name);
        return;
    }
    match Behaviour::from_annotations(pod.annotations()) {
        Ok(behaviour) => {
            let labels = MetricLabels::of_pod(pod.labels());
            if let Err(error) = workload.start_instance(&name, labels, behaviour).await {
                warn!(pod = name, %error, "cannot start an instance");
            }
        }
        Err(error) => {
            workload.stop_instance(&name);
            warn!(pod = name, %error, "cannot script an instance");
        }
    }
}

/// Whether a Service would send requests to this pod.
fn takes_requests(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}
