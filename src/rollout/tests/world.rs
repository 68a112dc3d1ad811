//! The objects of a Rollout in memory, and what a cluster does to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::super::{
    Change, Decision, Ended, NewReplicaSet, Notice, Observed, Obstacle, PluginAnswer, PluginCall,
    ReplicaSet, Target, Want, decide, hindered, labels,
};
use crate::analysis::Templates;
use crate::api::{
    AnalysisRun, AnalysisRunStatus, AnalysisTemplateSpec, ConditionType, Experiment,
    ExperimentStatus, Phase, Rollout, RolloutPhase, RolloutStatus,
};
use crate::traffic_routers::{Known, Place, Query, Resource, Versions, Write};

/// A Rollout and what belongs to it.
pub(super) struct World {
    pub(super) rollout: Rollout,
    pub(super) replica_sets: Vec<ReplicaSet>,
    pub(super) runs: Vec<AnalysisRun>,
    pub(super) experiments: Vec<Experiment>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) live: Vec<Pod>,
    /// What each plugin answers; none of one that is switched off.
    pub(super) plugins: BTreeMap<&'static str, PluginAnswer>,
    /// What plugins were asked, in order.
    pub(super) asked: Vec<PluginCall>,
    /// What divides the traffic.
    pub(super) routers: BTreeMap<Place, Arc<Value>>,
    pub(super) known: Vec<(&'static str, AnalysisTemplateSpec)>,
    /// What cannot be read.
    pub(super) is_unread: Option<fn(&Want) -> bool>,
    pub(super) versions: Arc<Versions>,
    pub(super) now: Timestamp,
    pub(super) notices: Vec<Notice>,
    pub(super) ended: Vec<Ended>,
    pub(super) wake_at: Option<Timestamp>,
    /// Images whose pods never become available.
    pub(super) broken: BTreeSet<String>,
    pub(super) made: u32,
}

impl World {
    /// With a canary.
    pub(super) fn new(canary: Value) -> Self {
        Self::with_strategy(json!({ "canary": canary }))
    }

    pub(super) fn with_strategy(strategy: Value) -> Self {
        let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop", "uid": "rollout", "generation": 1},
            "spec": {"replicas": 10, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
                "strategy": strategy}});
        Self {
            rollout: serde_json::from_value(rollout).unwrap(),
            replica_sets: vec![],
            runs: vec![],
            experiments: vec![],
            services: BTreeMap::new(),
            live: vec![],
            plugins: BTreeMap::new(),
            asked: vec![],
            routers: BTreeMap::new(),
            known: vec![],
            is_unread: None,
            versions: Arc::default(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            notices: vec![],
            ended: vec![],
            wake_at: None,
            broken: BTreeSet::new(),
            made: 0,
        }
    }

    /// With a canary and a router that divides its traffic.
    pub(super) fn routed(canary: Value) -> Self {
        let services = json!([{"name": "stable", "weight": 100}, {"name": "canary", "weight": 0}]);
        let spec = json!({"weighted": {"services": services}});
        Self::routed_by(
            json!({"traefik": {"weightedTraefikServiceName": "web"}}),
            canary,
        )
        .with_router(("traefik.io/v1alpha1", "TraefikService", "web"), &spec)
    }

    /// With a canary and routers whose objects are not there yet.
    pub(super) fn routed_by(routing: Value, mut canary: Value) -> Self {
        canary["trafficRouting"] = routing;
        for (field, service) in [("canaryService", "canary"), ("stableService", "stable")] {
            canary[field] = service.into();
        }
        Self::new(canary).with_services(&["canary", "stable"])
    }

    /// With an object that divides traffic: version, kind and name.
    pub(super) fn with_router(
        mut self,
        (api_version, kind, name): (&str, &'static str, &str),
        spec: &Value,
    ) -> Self {
        let (group, version) = api_version.split_once('/').unwrap();
        let plural = match kind {
            "Ingress" => "ingresses",
            "TraefikService" => "traefikservices",
            "VirtualService" => "virtualservices",
            _ => panic!("a new kind: {kind}"),
        };
        let place = Place {
            resource: Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                kind,
                plural,
            },
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        };
        let metadata = json!({"name": name, "namespace": "shop"});
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata,
            "spec": spec});
        self.routers.insert(place, Arc::new(object));
        self
    }

    /// The object of a router.
    pub(super) fn router(&self, kind: &str, name: &str) -> Option<&Value> {
        let mut objects = self.routers.iter();
        let found = objects.find(|(it, _)| it.resource.kind == kind && it.name == name);
        found.map(|(_, object)| &**object)
    }

    /// With version 1 running and stable.
    pub(super) fn running(canary: Value) -> Self {
        Self::new(canary).started()
    }

    /// Until version 1 runs and is stable.
    pub(super) fn started(mut self) -> Self {
        self.settle();
        assert_eq!(
            self.status().phase,
            Some(RolloutPhase::Healthy),
            "{:?}",
            self.status()
        );
        self.notices.clear();
        self
    }

    pub(super) fn with_template(mut self, name: &'static str) -> Self {
        let spec = json!({"args": [{"name": "hash", "value": ""}],
            "metrics": [{"name": "up", "provider": {"web": {"url": "http://x"}}}]});
        self.known
            .push((name, serde_json::from_value(spec).unwrap()));
        self
    }

    /// With Services for the pods of all versions.
    pub(super) fn with_services(mut self, names: &[&str]) -> Self {
        for name in names {
            let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
            let service = json!({"metadata": {"name": name}, "spec": spec});
            let service = serde_json::from_value(service).unwrap();
            self.services.insert((*name).to_owned(), service);
        }
        self
    }

    /// The image of the version that a Service selects; empty when it selects all pods.
    pub(super) fn behind(&self, service: &str) -> String {
        let spec = self.services[service].spec.as_ref().unwrap();
        let selector = spec.selector.as_ref().unwrap();
        let hash = selector.get(labels::POD_TEMPLATE_HASH);
        let selected = |set: &&ReplicaSet| set.labels().get(labels::POD_TEMPLATE_HASH) == hash;
        let found = self.replica_sets.iter().find(selected);
        found.map(image).unwrap_or_default()
    }

    pub(super) fn status(&self) -> RolloutStatus {
        self.rollout.status.clone().unwrap_or_default()
    }

    pub(super) fn change_spec(&mut self, change: impl FnOnce(&mut crate::api::RolloutSpec)) {
        change(&mut self.rollout.spec);
        *self.rollout.metadata.generation.as_mut().unwrap() += 1;
    }

    pub(super) fn change_status(&mut self, change: impl FnOnce(&mut RolloutStatus)) {
        change(self.rollout.status.get_or_insert_default());
    }

    pub(super) fn release(&mut self, image: &str) {
        self.change_spec(|spec| {
            let mut template = spec.template.fields();
            template["spec"]["containers"][0]["image"] = image.into();
            spec.template = template.into();
        });
    }

    pub(super) fn promote(&mut self) {
        self.change_status(|status| status.pause_conditions.clear());
    }

    fn observed(&self) -> Observed {
        Observed {
            rollout: Arc::new(self.rollout.clone()),
            replica_sets: self.replica_sets.iter().cloned().map(Arc::new).collect(),
            analysis_runs: self.runs.iter().cloned().map(Arc::new).collect(),
            experiments: self.experiments.iter().cloned().map(Arc::new).collect(),
            services: (self.services.iter())
                .map(|(name, service)| (name.clone(), Arc::new(service.clone())))
                .collect(),
            templates: Templates::default(),
            workload: None,
            pods: None,
            unread: BTreeMap::new(),
            plugins: BTreeMap::new(),
            routers: Known::default(),
            versions: Arc::clone(&self.versions),
            now: self.now,
        }
    }

    pub(super) fn abort(&mut self) {
        self.change_status(|status| status.abort = true);
    }

    pub(super) fn retry(&mut self) {
        self.change_status(|status| status.abort = false);
    }

    pub(super) fn decide(&self) -> Decision {
        self.decide_and_ask().0
    }

    /// Decides; returns what plugins were asked, too.
    fn decide_and_ask(&self) -> (Decision, Vec<PluginCall>) {
        let mut observed = self.observed();
        let mut asked = Vec::new();
        loop {
            let decision = decide(&observed);
            assert_eq!(
                decision,
                decide(&observed),
                "the same facts, the same decision"
            );
            if decision.wants.is_empty() {
                return (decision, asked);
            }
            for want in decision.wants {
                if self.is_unread.is_some_and(|is_unread| is_unread(&want)) {
                    let told = observed.unread.insert(want.clone(), "forbidden".to_owned());
                    assert_eq!(told, None, "asked again for what cannot be read: {want:?}");
                    continue;
                }
                match want {
                    Want::Template(key) => {
                        let found = self.known.iter().find(|(name, _)| *name == key.name);
                        let found = found.map(|(_, spec)| Arc::new(spec.clone()));
                        observed.templates.insert(key, found);
                    }
                    Want::Pods(_) => observed.pods = Some(self.live.clone()),
                    Want::Plugin(call) => {
                        asked.push(call.clone());
                        let answer = self.plugins.get(call.name.as_str()).cloned();
                        observed.plugins.insert(call, answer);
                    }
                    Want::Router(Query::One(place)) => {
                        let found = self.routers.get(&place).cloned();
                        observed.routers.note(place, found);
                    }
                    Want::Router(other) => panic!("nobody answers {other:?}"),
                }
            }
        }
    }

    /// A pass of which no change can be made.
    pub(super) fn hinder(&mut self, why: &str) {
        let decision = hindered(&self.observed(), Obstacle::Change, why);
        assert!(decision.changes.is_empty());
        self.rollout.status = Some(decision.status);
        self.notices.extend(decision.notices);
        self.wake_at = decision.wake_at;
    }

    /// One pass. Tells whether it changed anything.
    pub(super) fn pass(&mut self) -> bool {
        let (decision, asked) = self.decide_and_ask();
        self.asked.extend(asked);
        let moved = !decision.changes.is_empty();
        for change in decision.changes {
            self.make(change);
        }
        let written = self.rollout.status.as_ref() != Some(&decision.status);
        self.rollout.status = Some(decision.status);
        self.notices.extend(decision.notices);
        self.ended.extend(decision.ended);
        self.wake_at = decision.wake_at;
        moved || written
    }

    pub(super) fn replica_set(&mut self, target: &Target) -> &mut ReplicaSet {
        let found = self
            .replica_sets
            .iter_mut()
            .find(|set| set.name_any() == target.name);
        found.unwrap()
    }

    fn create(&mut self, created: &NewReplicaSet) {
        let mut set: ReplicaSet =
            serde_json::from_value(serde_json::to_value(created).unwrap()).unwrap();
        let mut known = self.replica_sets.iter();
        assert!(known.all(|other| other.name_any() != set.name_any()));
        self.made += 1;
        set.metadata.uid = Some(format!("set-{}", self.made));
        set.metadata.creation_timestamp = Some(Time(self.now));
        self.replica_sets.push(set);
    }

    pub(super) fn make(&mut self, change: Change) {
        let stamp = Some(Time(self.now));
        match change {
            Change::DefaultReplicas => self.change_spec(|spec| spec.replicas = Some(1)),
            Change::Annotate(annotations) => self.rollout.annotations_mut().extend(annotations),
            Change::CreateReplicaSet(created) => self.create(&created),
            Change::PatchReplicaSet(target, patch) | Change::Scale(target, patch) => {
                merge(self.replica_set(&target), &patch);
            }
            Change::DeleteReplicaSet(target) => {
                self.replica_sets
                    .retain(|set| set.name_any() != target.name);
            }
            Change::SwitchService(target, patch) => {
                merge(self.services.get_mut(&target.name).unwrap(), &patch);
            }
            Change::Route(write) => self.write(*write),
            Change::PatchPods(patches) => {
                for (target, patch) in patches {
                    let mut pods = self.live.iter_mut();
                    let pod = pods.find(|pod| pod.name_any() == target.name);
                    merge(pod.unwrap(), &patch);
                }
            }
            Change::ScaleDeployment(target, _) => panic!("{} is not in this world", target.name),
            Change::EvictPods(targets) => {
                for target in targets {
                    self.live.retain(|pod| pod.name_any() != target.name);
                }
            }
            Change::StartAnalysis(mut run) => {
                assert!(
                    self.runs
                        .iter()
                        .all(|other| other.name_any() != run.name_any())
                );
                run.metadata.creation_timestamp = stamp;
                self.runs.push(*run);
            }
            Change::StopAnalysis(target) => self.run(&target.name).spec.terminate = true,
            Change::DeleteAnalysis(target) => {
                self.runs.retain(|run| run.name_any() != target.name);
            }
            Change::StartExperiment(mut experiment) => {
                let name = experiment.name_any();
                assert!(
                    self.experiments
                        .iter()
                        .all(|other| other.name_any() != name)
                );
                experiment.metadata.creation_timestamp = stamp;
                self.experiments.push(*experiment);
            }
            Change::StopExperiment(target) => self.experiment(&target.name).spec.terminate = true,
            Change::DeleteExperiment(target) => {
                self.experiments.retain(|it| it.name_any() != target.name);
            }
        }
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Create { place, object, .. } => {
                let before = self.routers.insert(place, Arc::new(object));
                assert_eq!(before, None);
            }
            Write::Update {
                place,
                before,
                after,
                ..
            } => {
                let found = self.routers.insert(place, Arc::new(after));
                assert_eq!(found, Some(before));
            }
            Write::Delete { place, before, .. } => {
                assert_eq!(self.routers.remove(&place), Some(before));
            }
            Write::Call(call) => panic!("nobody is called: {call:?}"),
        }
    }

    pub(super) fn run(&mut self, name: &str) -> &mut AnalysisRun {
        self.runs
            .iter_mut()
            .find(|run| run.name_any() == name)
            .unwrap()
    }

    pub(super) fn experiment(&mut self, name: &str) -> &mut Experiment {
        let mut experiments = self.experiments.iter_mut();
        experiments.find(|it| it.name_any() == name).unwrap()
    }

    pub(super) fn end_experiment(&mut self, name: &str, phase: Phase, message: &str) {
        let status = ExperimentStatus {
            phase: Some(phase),
            message: message.into(),
            ..ExperimentStatus::default()
        };
        self.experiment(name).status = Some(status);
    }

    /// What the Rollout waits for: reason and sentence.
    pub(super) fn waiting(&self) -> String {
        let told = self.condition(&ConditionType::Waiting);
        told.strip_prefix("True ").unwrap_or_default().to_owned()
    }

    pub(super) fn end_run(&mut self, name: &str, phase: Phase, message: &str) {
        let status = AnalysisRunStatus {
            phase: Some(phase),
            message: message.into(),
            ..AnalysisRunStatus::default()
        };
        self.run(name).status = Some(status);
    }

    /// Pods of all ReplicaSets come and go; at most `at_once` become available.
    pub(super) fn kubelet(&mut self, at_once: i32) {
        for set in &mut self.replica_sets {
            let wanted = set.spec.replicas.unwrap_or(1);
            let image = image(set);
            let status = set.status.get_or_insert_default();
            let before = status.available_replicas.unwrap_or(0);
            let most = if self.broken.contains(&image) {
                0
            } else {
                wanted
            };
            let available = most.min(before + at_once);
            *status = ReplicaSetStatus {
                replicas: wanted,
                ready_replicas: Some(available),
                available_replicas: Some(available),
                ..ReplicaSetStatus::default()
            };
        }
    }

    /// On until nothing changes any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            let (before, pods) = (self.status(), self.replica_sets.clone());
            let changed = self.pass();
            self.kubelet(i32::MAX / 2);
            if !changed && before == self.status() && pods == self.replica_sets {
                return;
            }
        }
        panic!("never settles: {:?}", self.status());
    }

    pub(super) fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.settle();
    }

    /// Pods by image, those with any.
    pub(super) fn pods(&self) -> Vec<(String, i32)> {
        let mut pods: Vec<(String, i32)> = (self.replica_sets.iter())
            .map(|set| (image(set), set.spec.replicas.unwrap()))
            .filter(|(_, pods)| *pods > 0)
            .collect();
        pods.sort();
        pods
    }

    pub(super) fn available(&self) -> i32 {
        let available = |set: &ReplicaSet| set.status.as_ref()?.available_replicas;
        self.replica_sets.iter().filter_map(available).sum()
    }

    pub(super) fn told(&self, reason: &str) -> Vec<&str> {
        let told = self.notices.iter().filter(|notice| notice.reason == reason);
        told.map(|notice| notice.message.as_str()).collect()
    }

    pub(super) fn condition(&self, wanted: &ConditionType) -> String {
        let status = self.status();
        let found = status
            .conditions
            .iter()
            .find(|c| c.condition_type == *wanted);
        found
            .map(|c| format!("{:?} {}: {}", c.status, c.reason, c.message))
            .unwrap_or_default()
    }

    pub(super) fn summary(&self) -> String {
        let status = self.status();
        format!("{:?} {}", status.phase.unwrap(), status.message)
            .trim_end()
            .to_owned()
    }
}

/// What the API server does with a merge patch.
fn merge<K: serde::Serialize + serde::de::DeserializeOwned>(object: &mut K, patch: &Value) {
    let mut value = serde_json::to_value(&*object).unwrap();
    json_patch::merge(&mut value, patch);
    *object = serde_json::from_value(value).unwrap();
}

pub(super) fn image(set: &ReplicaSet) -> String {
    let template = set.spec.template.json();
    let image = template["spec"]["containers"][0]["image"].as_str();
    image.unwrap().to_owned()
}

pub(super) fn pods(expected: &[(&str, i32)]) -> Vec<(String, i32)> {
    expected
        .iter()
        .map(|(image, pods)| ((*image).to_owned(), *pods))
        .collect()
}

pub(super) fn steps(steps: Value) -> Value {
    json!({ "steps": steps })
}

pub(super) fn analysed(analysis: &Value) -> Value {
    steps(json!([{"setWeight": 20}, {"analysis": analysis}, {"setWeight": 50}]))
}
