//! The Services of a Rollout: which there must be, which version each one selects, and what is left
//! of that when the Rollout no longer names them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::change::{Change, Target};
use super::decide::Pass;
use super::labels::{MANAGED_BY, POD_TEMPLATE_HASH};
use super::plan::Canary;
use super::revisions::Member;
use super::workload::Workload;
use crate::api::{CanaryStatus, CanaryStrategy, PingPongSide, Problem, Rollout, RolloutSpec};
use crate::traffic_routers::{self, Known, Query, Subject, Versions};

/// The Services that a spec names, each once.
pub fn named_services(spec: &RolloutSpec) -> impl Iterator<Item = &str> {
    let written = written_services(spec);
    let mut names: Vec<&str> = written.into_iter().map(|(_, name)| name).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}

/// The objects of other kinds that a Rollout names, as far as its spec alone tells.
#[must_use]
pub fn named_objects(rollout: &Rollout, versions: &Versions) -> Vec<Query> {
    let workload = Workload::place(rollout).map(Query::One);
    let subject = Subject::of(rollout);
    let routers = subject.map_or_else(Vec::new, |it| traffic_routers::routers(&it, versions));
    let named = routers.iter();
    let named = named.flat_map(|router| router.queries(&Known::default()));
    workload.into_iter().chain(named).collect()
}

/// The Services that a spec names, with the fields in which it does.
fn written_services(spec: &RolloutSpec) -> Vec<(&'static str, &str)> {
    let canary = spec.strategy.canary.iter().flat_map(|canary| {
        let turns = canary.ping_pong.iter().flat_map(|turns| {
            [
                ("canary.pingPong.pingService", &turns.ping_service),
                ("canary.pingPong.pongService", &turns.pong_service),
            ]
        });
        [
            ("canary.canaryService", &canary.canary_service),
            ("canary.stableService", &canary.stable_service),
        ]
        .into_iter()
        .chain(turns)
    });
    let blue_green = spec.strategy.blue_green.iter().flat_map(|spec| {
        [
            ("blueGreen.activeService", &spec.active_service),
            ("blueGreen.previewService", &spec.preview_service),
        ]
    });
    let all = canary.chain(blue_green);
    let written = all.filter(|(_, name)| !name.is_empty());
    written
        .map(|(field, name)| (field, name.as_str()))
        .collect()
}

/// The version that a Service selects; none without a hash in its selector.
fn selected(service: &Service) -> Option<&String> {
    let selector = service.spec.as_ref()?.selector.as_ref()?;
    selector.get(POD_TEMPLATE_HASH)
}

/// The Rollout of which a Service says that it sets the selector.
#[must_use]
pub fn managed_by(service: &Service) -> Option<&str> {
    service.annotations().get(MANAGED_BY).map(String::as_str)
}

/// The merge patch that frees a Service from a Rollout that has let it go: it selects again what
/// its author wrote. `None` if nothing is to be done.
///
/// `rollout` is the one that the Service says it is managed by, `None` only if it is known to be
/// gone.
#[must_use]
pub fn release(service: &Service, rollout: Option<&Rollout>) -> Option<Value> {
    managed_by(service)?;
    let name = service.name_any();
    if rollout.is_some_and(|rollout| named_services(&rollout.spec).any(|named| named == name)) {
        return None;
    }
    Some(json!({
        "metadata": { "annotations": { MANAGED_BY: null } },
        "spec": { "selector": { POD_TEMPLATE_HASH: null } },
    }))
}

impl From<&Service> for Target {
    fn from(service: &Service) -> Self {
        Self {
            name: service.name_any(),
            uid: service.uid(),
            resource_version: service.resource_version(),
        }
    }
}

impl Pass<'_> {
    /// What is wrong with the Services that the spec names.
    ///
    /// # Source
    /// `ValidateService` in `pkg/apis/rollouts/validation/validation_references.go` of Argo
    /// Rollouts.
    pub(super) fn service_problems(&self) -> Vec<Problem> {
        let named = written_services(&self.rollout.spec).into_iter();
        named
            .flat_map(|(field, name)| {
                let found = self.observed.services.get(name);
                let reasons = found.map_or_else(
                    || vec![format!("service \"{name}\" not found")],
                    |service| self.why_unusable(service),
                );
                let problem =
                    move |why| Problem::invalid(format!("spec.strategy.{field}"), name, why);
                reasons.into_iter().map(problem)
            })
            .collect()
    }

    fn why_unusable(&self, service: &Service) -> Vec<String> {
        let name = service.name_any();
        let mut reasons = Vec::new();
        if managed_by(service).is_some_and(|manager| manager != self.rollout.name_any()) {
            reasons.push(format!("Service \"{name}\" is managed by another Rollout"));
        }
        let template = self.rollout.spec.template.json();
        let labels = template.pointer("/metadata/labels");
        let selector = service.spec.iter().flat_map(|spec| &spec.selector);
        for (key, value) in selector
            .flatten()
            .filter(|(key, _)| *key != POD_TEMPLATE_HASH)
        {
            let label = labels.and_then(|labels| labels.get(key)?.as_str());
            if label != Some(value) {
                let why = format!("Service \"{name}\" has unmatch label \"{key}\" in rollout");
                reasons.push(why);
            }
        }
        reasons
    }

    /// The version that a Service selects, as it was observed.
    pub(super) fn selected_by(&self, service: &str) -> Option<&str> {
        let service = self.observed.services.get(service)?;
        selected(service).map(String::as_str)
    }

    /// Lets a Service select the pods of a version, and says that this Rollout does so.
    pub(super) fn switch(&mut self, service: &str, hash: &str) {
        let Some(service) = self.observed.services.get(service).map(Arc::clone) else {
            return;
        };
        let before = selected(&service).map_or("", String::as_str);
        let mut patch = json!({});
        if managed_by(&service).is_none() {
            patch["metadata"] = json!({ "annotations": { MANAGED_BY: self.rollout.name_any() } });
        }
        if before != hash {
            patch["spec"] = json!({ "selector": { POD_TEMPLATE_HASH: hash } });
            let name = service.name_any();
            let message =
                format!("Switched selector for service '{name}' from '{before}' to '{hash}'");
            self.notify("SwitchService", message);
        }
        if patch != json!({}) {
            self.changes
                .push(Change::SwitchService((&*service).into(), patch));
        }
    }

    /// The ReplicaSet of the stable version, also when that is the wanted one.
    pub(super) fn stable_version(&self) -> Option<&Member> {
        if self.is_promoted() {
            self.revisions.new.as_ref()
        } else {
            self.revisions.stable.as_ref()
        }
    }

    /// Lets the Service of the stable version follow it.
    ///
    /// Unlike Argo Rollouts', it goes on to the new version when the stable one is left without pods:
    /// users behind it would reach nobody.
    ///
    /// # Source
    /// `reconcileStableAndCanaryService` in `rollout/service.go` of Argo Rollouts.
    pub(super) fn switch_stable_service(&mut self, canary: &Canary<'_>) {
        let stable = self.stable_version().cloned();
        let (routed, aborted) = (canary.is_routed(), self.next.abort);
        let has_pods = |stable: &Member| stable.pods.wanted > 0 || aborted || routed;
        let serving = stable.filter(has_pods).or(self.revisions.new.clone());
        if let Some(serving) = serving {
            self.follow(&canary.written.stable_service, &serving);
        }
    }

    /// Lets the Services of the new version follow it.
    ///
    /// # Source
    /// `reconcilePingAndPongService` and `reconcileStableAndCanaryService` in
    /// `rollout/service.go` of Argo Rollouts.
    pub(super) fn switch_tested_services(&mut self, canary: &Canary<'_>) {
        let written = canary.written;
        let (new, stable) = (self.revisions.new.clone(), self.stable_version().cloned());
        let is_left_behind = self.weight_left_behind(canary).is_some();
        // As the pass began: its promotion gives the two other roles, not other versions.
        if let (Some(canary), Some(new)) = (canary_turn(written, &self.old.canary), &new)
            && self.old.stable_rs != new.hash
            && !is_left_behind
        {
            self.switch(canary, &new.hash);
        }
        let (routed, aborted) = (canary.is_routed(), self.next.abort);
        let tested = &written.canary_service;
        match (aborted, stable) {
            // Nobody is led there any more, so it does not matter how many pods there are.
            (true, Some(stable)) if routed && self.has_no_weight() => {
                self.switch(tested, &stable.hash);
            }
            (true, Some(stable)) if !routed => self.follow(tested, &stable),
            (true, None) if !routed => {}
            _ if is_left_behind => {}
            _ => {
                if let Some(new) = new {
                    self.follow(tested, &new);
                }
            }
        }
    }

    /// Whether no traffic is recorded for the canary.
    fn has_no_weight(&self) -> bool {
        let weights = self.next.canary.weights.as_ref();
        weights.is_none_or(|weights| weights.canary.weight == 0)
    }

    /// Switches a Service to a version as soon as that can serve: with one pod, or with all of
    /// them where the Service has selected other pods than this Rollout's so far.
    fn follow(&mut self, service: &str, version: &Member) {
        let Some(found) = self.observed.services.get(service) else {
            return;
        };
        let pods = version.pods;
        let is_ours = managed_by(found).is_some();
        let is_there = self.selected_by(service) == Some(&version.hash);
        let can_serve = pods.available > 0 && (is_ours || pods.available >= pods.wanted);
        if is_there || can_serve {
            self.switch(service, &version.hash);
        }
    }
}

/// Of the Services that take turns the one that is the canary's.
fn canary_turn<'w>(written: &'w CanaryStrategy, status: &CanaryStatus) -> Option<&'w str> {
    let turns = written.ping_pong.as_ref()?;
    Some(match status.stable_ping_pong {
        Some(PingPongSide::Ping) => &turns.pong_service,
        Some(PingPongSide::Pong | PingPongSide::Other(_)) | None => &turns.ping_service,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(annotation: Option<&str>) -> Service {
        let mut service: Service = serde_json::from_value(json!({
            "metadata": { "name": "web" },
            "spec": { "selector": { "app": "web", POD_TEMPLATE_HASH: "abc" } },
        }))
        .unwrap();
        if let Some(name) = annotation {
            service
                .annotations_mut()
                .insert(MANAGED_BY.into(), name.into());
        }
        service
    }

    fn naming(name: &str) -> Rollout {
        let canary = json!({ "canary": { "stableService": name } });
        serde_json::from_value(json!({
            "metadata": { "name": "shop" }, "spec": { "strategy": canary },
        }))
        .unwrap()
    }

    #[test]
    fn a_service_is_released_when_its_rollout_is_gone_or_names_another() {
        let (mine, other) = (naming("web"), naming("other"));
        // By whom the Service says it is managed, what is known of that Rollout, and the outcome.
        let cases = [
            (Some("shop"), None, true),
            (Some("shop"), Some(&other), true),
            (Some("shop"), Some(&mine), false),
            (None, None, false),
        ];
        for (annotation, rollout, is_released) in cases {
            let service = service(annotation);
            let patch = release(&service, rollout);
            assert_eq!(patch.is_some(), is_released, "{annotation:?}");
            let Some(patch) = patch else { continue };
            let mut after = serde_json::to_value(&service).unwrap();
            json_patch::merge(&mut after, &patch);
            assert_eq!(after["spec"]["selector"], json!({ "app": "web" }));
            assert_eq!(after["metadata"]["annotations"], json!({}));
        }
    }

    #[test]
    fn services_are_named_once_and_those_without_a_name_not_at_all() {
        let spec: RolloutSpec = serde_json::from_value(json!({ "strategy": { "canary": {
            "canaryService": "b", "stableService": "",
            "pingPong": { "pingService": "a", "pongService": "b" },
        } } }))
        .unwrap();
        assert_eq!(named_services(&spec).collect::<Vec<_>>(), ["a", "b"]);
    }
}
