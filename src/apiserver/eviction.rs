//! The eviction subresource: deletes a pod if the disruption budgets of its namespace allow it.
//!
//! # Source
//! `pkg/registry/core/pod/storage/eviction.go`. Budgets are judged by the pods that there are, not by
//! their status, which needs a controller.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::budgets::{self, Health};
use super::core::Core;
use super::deleting;
use super::failure::Failure;
use super::request::{Parameters, Target};
use super::resources::Resource;
use super::scale;
use super::selectors::Selection;
use super::store::Object;

/// Where budgets are stored.
const BUDGETS: &str = "poddisruptionbudgets.policy";

/// Deletes the pod that is named, as the `Eviction` that was sent says.
pub(super) fn evict(
    core: &Core,
    pods: &Resource,
    target: &Target,
    query: &Parameters,
    sent: &Value,
) -> Result<Value, Failure> {
    let (namespace, name) = target.key();
    if sent["kind"] != "Eviction" {
        return Err(Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type Eviction): {}",
            sent["kind"].as_str().unwrap_or_default()
        )));
    }
    if sent["metadata"]["name"].as_str().is_some_and(|n| n != name) {
        let message = "name in URL does not match name in Eviction object";
        return Err(Failure::bad_request(message));
    }
    let options = deleting::Options::of(query, &sent["deleteOptions"])?;
    let pod = core
        .object(pods, &target.key())
        .ok_or_else(|| Failure::not_found(pods, &name))?;
    if !is_of_no_use(&pod.value) {
        check_budgets(core, pods, &namespace, &pod.value)?;
    }
    deleting::delete(core, pods, target, &options)?;
    Ok(json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    }))
}

/// Pods that no budget counts on.
fn is_of_no_use(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str();
    !pod["metadata"]["deletionTimestamp"].is_null()
        || matches!(phase, Some("Succeeded" | "Failed" | "Pending"))
}

fn check_budgets(
    core: &Core,
    pods: &Resource,
    namespace: &str,
    pod: &Value,
) -> Result<(), Failure> {
    let stored = core.store.list(BUDGETS, Some(namespace)).objects;
    let mut about = Vec::new();
    for budget in &stored {
        let selector = &budget.value["spec"]["selector"];
        let selection = Selection::parse(pods, &scale::selector_text(selector), "")?;
        if selector.is_object() && selection.matches(pod) {
            about.push((budget, selection));
        }
    }
    let (budget, selection) = match about.as_slice() {
        [] => return Ok(()),
        [one] => one,
        _ => {
            return Err(Failure::internal_error(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource \
                 does not support.",
            ));
        }
    };
    let all = core.store.list(&pods.collection, Some(namespace)).objects;
    let same: Vec<&Value> = all
        .iter()
        .map(|object| &object.value)
        .filter(|pod| selection.matches(pod))
        .collect();
    let health = budgets::health(&budget.value, &same, || scale_of(core, namespace, &same));
    if may_go(&budget.value, pod, health) {
        return Ok(());
    }
    let name = budget.value["metadata"]["name"].as_str();
    Err(Failure::disruption(
        name.unwrap_or_default(),
        health.wanted,
        health.healthy,
    ))
}

fn may_go(budget: &Value, pod: &Value, health: Health) -> bool {
    let unhealthy = !budgets::is_ready(pod);
    let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    health.allows_disruption() || unhealthy && (always || health.allows_unhealthy())
}

/// How many pods the controllers of some pods want.
fn scale_of(core: &Core, namespace: &str, pods: &[&Value]) -> i64 {
    let mut wanted = BTreeMap::new();
    for pod in pods {
        if let Some((uid, replicas)) = wanted_by_controller(core, namespace, pod) {
            wanted.insert(uid, replicas);
        }
    }
    wanted.values().sum()
}

/// The uid of what controls an object, and how many pods it wants. A Deployment counts in place of
/// its ReplicaSets.
fn wanted_by_controller(core: &Core, namespace: &str, object: &Value) -> Option<(String, i64)> {
    let (resource, controller) = controller_of(core, namespace, object)?;
    if resource.is("apps", "ReplicaSet")
        && let Some((above, _)) = controller_of(core, namespace, &controller.value)
        && above.is("apps", "Deployment")
    {
        return wanted_by_controller(core, namespace, &controller.value);
    }
    let paths = resource.scale.as_ref()?;
    let replicas = scale::of(paths, &controller.value)["spec"]["replicas"].as_i64();
    let uid = controller.value["metadata"]["uid"].as_str()?;
    Some((uid.to_owned(), replicas.unwrap_or(0)))
}

fn controller_of(
    core: &Core,
    namespace: &str,
    object: &Value,
) -> Option<(Arc<Resource>, Arc<Object>)> {
    let mut owners = object["metadata"]["ownerReferences"].as_array()?.iter();
    let owner = owners.find(|owner| owner["controller"] == true)?;
    let registry = core.registry();
    let resource = registry
        .all()
        .find(|r| owner["apiVersion"] == r.api_version() && owner["kind"] == r.kind)?;
    let key = (namespace.to_owned(), owner["name"].as_str()?.to_owned());
    let found = core.object(resource, &key)?;
    Some((resource.clone(), found))
}
