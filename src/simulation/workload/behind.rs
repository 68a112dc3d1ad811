//! Which pods a Service sends requests to.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Endpoints;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Names of the pods behind a Service.
pub type Behind = Arc<BTreeSet<String>>;

/// Follows the Endpoints of a Service until `stop`.
pub async fn follow_service(
    client: Client,
    namespace: &str,
    service: &str,
    behind: watch::Sender<Behind>,
    stop: CancellationToken,
) {
    let api: Api<Endpoints> = Api::namespaced(client, namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={service}"));
    let mut events = pin!(watcher::watcher(api, config).default_backoff());
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        match event {
            Ok(Event::InitApply(endpoints) | Event::Apply(endpoints)) => {
                behind.send_replace(Arc::new(pods(&endpoints)));
            }
            Ok(Event::Delete(_)) => {
                behind.send_replace(Arc::default());
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => debug!(%error, "cannot watch Endpoints, trying again"),
        }
    }
}

fn pods(endpoints: &Endpoints) -> BTreeSet<String> {
    let subsets = endpoints.subsets.iter().flatten();
    let addresses = subsets.flat_map(|subset| subset.addresses.iter().flatten());
    addresses
        .filter_map(|address| address.target_ref.as_ref()?.name.clone())
        .collect()
}
