//! Which pods a workload manages, and what makes it so.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Resource, ResourceExt as _};

use super::change::Change;
use super::pods;

/// The pods that a controller manages.
pub(super) struct Claim<'a> {
    pub(super) pods: Vec<&'a Pod>,
    /// Adoptions and releases.
    pub(super) changes: Vec<Change>,
}

/// Sorts out which of the pods `owner` manages: it adopts matching ones that nobody manages and
/// releases its own that match no longer.
pub(super) fn claim<'a, K: Resource<DynamicType = ()>>(
    owner: &K,
    selector: &LabelSelector,
    pods: impl IntoIterator<Item = &'a Arc<Pod>>,
) -> Claim<'a> {
    let mut claim = Claim {
        pods: Vec::new(),
        changes: Vec::new(),
    };
    let owner_goes = owner.meta().deletion_timestamp.is_some();
    for pod in pods {
        let matches = pods::selects(selector, pod.labels());
        match pods::controller(&pod.metadata) {
            Some(_) if !pods::is_controlled_by(&pod.metadata, owner.meta()) => {}
            Some(_) if matches || owner_goes => claim.pods.push(pod),
            Some(_) if !pods::is_deleting(pod) => {
                claim.changes.push(pods::release(&**pod, owner));
            }
            None if matches && !owner_goes && !pods::is_deleting(pod) => {
                claim.changes.push(pods::adopt(&**pod, owner));
                claim.pods.push(pod);
            }
            Some(_) | None => {}
        }
    }
    claim
}
