//! Objects that a Rollout refers to, if they are among the documents.
//!
//! # Source
//! `pkg/apis/rollouts/validation/validation_references.go` of Argo Rollouts. Unlike there, all
//! Rollouts of a file are checked, and the objects of all routers.

use serde_json::Value;

use super::{Document, router_objects};
use crate::api::{Problem, Rollout};
use crate::rollout::labels;
use kube::ResourceExt as _;

pub(super) fn check(rollout: &Rollout, documents: &[Document]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (field, name) in services(rollout) {
        if let Some(service) = find(documents, "", "Service", &name) {
            check_service(rollout, service, &field, &name, &mut problems);
        }
    }
    problems.extend(router_objects::check(rollout, documents));
    problems
}

pub(super) fn find<'a>(
    documents: &'a [Document],
    group: &str,
    kind: &str,
    name: &str,
) -> Option<&'a Document> {
    let mut named = documents.iter().filter(|document| document.name() == name);
    named.find(|document| document.is(group, kind))
}

/// The Services that a Rollout names, with the fields in which it does.
fn services(rollout: &Rollout) -> Vec<(String, String)> {
    let strategy = &rollout.spec.strategy;
    let mut named = Vec::new();
    let mut add = |field: &str, name: &str| {
        if !name.is_empty() {
            named.push((format!("spec.strategy.{field}"), name.to_owned()));
        }
    };
    if let Some(canary) = &strategy.canary {
        add("canary.canaryService", &canary.canary_service);
        add("canary.stableService", &canary.stable_service);
        if let Some(turns) = &canary.ping_pong {
            add("canary.pingPong.pingService", &turns.ping_service);
            add("canary.pingPong.pongService", &turns.pong_service);
        }
    }
    if let Some(spec) = &strategy.blue_green {
        add("blueGreen.activeService", &spec.active_service);
        add("blueGreen.previewService", &spec.preview_service);
    }
    named
}

fn check_service(
    rollout: &Rollout,
    service: &Document,
    field: &str,
    name: &str,
    problems: &mut Vec<Problem>,
) {
    let manager = service.value.pointer("/metadata/annotations");
    let manager = manager.and_then(|all| all[labels::MANAGED_BY].as_str());
    if manager.is_some_and(|manager| manager != rollout.name_any()) {
        let why = format!("Service {name:?} is managed by another Rollout");
        problems.push(Problem::invalid(field, name, why));
    }
    // The labels of a workload are not among the documents, or not known to be.
    if rollout.spec.workload_ref.is_some() {
        return;
    }
    let template = rollout.spec.template.json();
    let own = template.get("metadata").map(|metadata| &metadata["labels"]);
    let selector = service
        .value
        .pointer("/spec/selector")
        .and_then(Value::as_object);
    for (key, value) in selector.into_iter().flatten() {
        if key != labels::POD_TEMPLATE_HASH && own.map(|own| &own[key]) != Some(value) {
            let why = format!("Service {name:?} has unmatch label {key:?} in rollout");
            problems.push(Problem::invalid(field, name, why));
        }
    }
}
