//! Whole updates, decided pass by pass over objects in memory: what a cluster would do is played
//! by a few lines here.

#![expect(
    clippy::needless_pass_by_value,
    reason = "literals read better than references to them"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Change, Decision, Notice, Observed, Target, decide, labels};
use crate::analysis::Templates;
use crate::api::{
    AnalysisRun, AnalysisRunStatus, AnalysisTemplateSpec, ConditionType, PauseReason, Phase,
    Rollout, RolloutPhase, RolloutStatus,
};

/// A Rollout and what belongs to it.
struct World {
    rollout: Rollout,
    replica_sets: Vec<ReplicaSet>,
    runs: Vec<AnalysisRun>,
    known: Vec<(&'static str, AnalysisTemplateSpec)>,
    now: Timestamp,
    notices: Vec<Notice>,
    wake_at: Option<Timestamp>,
    /// Images whose pods never become available.
    broken: BTreeSet<String>,
    made: u32,
}

impl World {
    fn new(canary: Value) -> Self {
        let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop", "uid": "rollout", "generation": 1},
            "spec": {"replicas": 10, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
                "strategy": {"canary": canary}}});
        Self {
            rollout: serde_json::from_value(rollout).unwrap(),
            replica_sets: vec![],
            runs: vec![],
            known: vec![],
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            notices: vec![],
            wake_at: None,
            broken: BTreeSet::new(),
            made: 0,
        }
    }

    /// With version 1 running and stable.
    fn running(canary: Value) -> Self {
        let mut world = Self::new(canary);
        world.settle();
        assert_eq!(
            world.status().phase,
            Some(RolloutPhase::Healthy),
            "{:?}",
            world.status()
        );
        world.notices.clear();
        world
    }

    fn with_template(mut self, name: &'static str) -> Self {
        let spec = json!({"args": [{"name": "hash", "value": ""}],
            "metrics": [{"name": "up", "provider": {"web": {"url": "http://x"}}}]});
        self.known
            .push((name, serde_json::from_value(spec).unwrap()));
        self
    }

    fn status(&self) -> RolloutStatus {
        self.rollout.status.clone().unwrap_or_default()
    }

    fn change_spec(&mut self, change: impl FnOnce(&mut crate::api::RolloutSpec)) {
        change(&mut self.rollout.spec);
        *self.rollout.metadata.generation.as_mut().unwrap() += 1;
    }

    fn change_status(&mut self, change: impl FnOnce(&mut RolloutStatus)) {
        change(self.rollout.status.get_or_insert_default());
    }

    fn release(&mut self, image: &str) {
        self.change_spec(|spec| {
            spec.template.json["spec"]["containers"][0]["image"] = image.into();
        });
    }

    fn promote(&mut self) {
        self.change_status(|status| status.pause_conditions.clear());
    }

    fn decide(&self) -> Decision {
        let mut observed = Observed {
            rollout: Arc::new(self.rollout.clone()),
            replica_sets: self.replica_sets.iter().cloned().map(Arc::new).collect(),
            analysis_runs: self.runs.iter().cloned().map(Arc::new).collect(),
            templates: Templates::default(),
            now: self.now,
        };
        loop {
            let decision = decide(&observed);
            assert_eq!(
                decision,
                decide(&observed),
                "the same facts, the same decision"
            );
            if decision.wants.is_empty() {
                return decision;
            }
            for key in decision.wants {
                let found = self.known.iter().find(|(name, _)| *name == key.name);
                let found = found.map(|(_, spec)| Arc::new(spec.clone()));
                observed.templates.insert(key, found);
            }
        }
    }

    /// One pass. Tells whether it changed anything.
    fn pass(&mut self) -> bool {
        let decision = self.decide();
        let moved = !decision.changes.is_empty();
        for change in decision.changes {
            self.make(change);
        }
        let written = self.rollout.status.as_ref() != Some(&decision.status);
        self.rollout.status = Some(decision.status);
        self.notices.extend(decision.notices);
        self.wake_at = decision.wake_at;
        moved || written
    }

    fn replica_set(&mut self, target: &Target) -> &mut ReplicaSet {
        let found = self
            .replica_sets
            .iter_mut()
            .find(|set| set.name_any() == target.name);
        found.unwrap()
    }

    fn make(&mut self, change: Change) {
        let stamp = Some(Time(self.now));
        match change {
            Change::DefaultReplicas => self.change_spec(|spec| spec.replicas = Some(1)),
            Change::SetRevision(revision) => {
                let value = revision.to_string();
                self.rollout
                    .annotations_mut()
                    .insert(labels::REVISION.into(), value);
            }
            Change::CreateReplicaSet(created) => {
                let mut set: ReplicaSet =
                    serde_json::from_value(serde_json::to_value(created).unwrap()).unwrap();
                assert!(
                    self.replica_sets
                        .iter()
                        .all(|other| other.name_any() != set.name_any())
                );
                self.made += 1;
                set.metadata.uid = Some(format!("set-{}", self.made));
                set.metadata.creation_timestamp = stamp;
                self.replica_sets.push(set);
            }
            Change::PatchReplicaSet(target, patch) | Change::Scale(target, patch) => {
                let set = self.replica_set(&target);
                let mut value = serde_json::to_value(&*set).unwrap();
                json_patch::merge(&mut value, &patch);
                *set = serde_json::from_value(value).unwrap();
            }
            Change::DeleteReplicaSet(target) => {
                self.replica_sets
                    .retain(|set| set.name_any() != target.name);
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
        }
    }

    fn run(&mut self, name: &str) -> &mut AnalysisRun {
        self.runs
            .iter_mut()
            .find(|run| run.name_any() == name)
            .unwrap()
    }

    fn end_run(&mut self, name: &str, phase: Phase, message: &str) {
        let status = AnalysisRunStatus {
            phase: Some(phase),
            message: message.into(),
            ..AnalysisRunStatus::default()
        };
        self.run(name).status = Some(status);
    }

    /// Pods of all ReplicaSets come and go; at most `at_once` become available.
    fn kubelet(&mut self, at_once: i32) {
        for set in &mut self.replica_sets {
            let wanted = set
                .spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(1);
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
    fn settle(&mut self) {
        for _ in 0..200 {
            let changed = self.pass();
            let before = self.replica_sets.clone();
            self.kubelet(i32::MAX / 2);
            if !changed && before == self.replica_sets {
                return;
            }
        }
        panic!("never settles: {:?}", self.status());
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.settle();
    }

    /// Pods by image, those with any.
    fn pods(&self) -> Vec<(String, i32)> {
        let mut pods: Vec<(String, i32)> = (self.replica_sets.iter())
            .map(|set| (image(set), set.spec.as_ref().unwrap().replicas.unwrap()))
            .filter(|(_, pods)| *pods > 0)
            .collect();
        pods.sort();
        pods
    }

    fn available(&self) -> i32 {
        let available = |set: &ReplicaSet| set.status.as_ref()?.available_replicas;
        self.replica_sets.iter().filter_map(available).sum()
    }

    fn told(&self, reason: &str) -> Vec<&str> {
        let told = self.notices.iter().filter(|notice| notice.reason == reason);
        told.map(|notice| notice.message.as_str()).collect()
    }

    fn condition(&self, wanted: &ConditionType) -> String {
        let status = self.status();
        let found = status
            .conditions
            .iter()
            .find(|c| c.condition_type == *wanted);
        found
            .map(|c| format!("{:?} {}: {}", c.status, c.reason, c.message))
            .unwrap_or_default()
    }

    fn summary(&self) -> String {
        let status = self.status();
        format!("{:?} {}", status.phase.unwrap(), status.message)
            .trim_end()
            .to_owned()
    }
}

fn image(set: &ReplicaSet) -> String {
    let pod = set
        .spec
        .as_ref()
        .unwrap()
        .template
        .as_ref()
        .unwrap()
        .spec
        .as_ref()
        .unwrap();
    pod.containers[0].image.clone().unwrap()
}

fn pods(expected: &[(&str, i32)]) -> Vec<(String, i32)> {
    expected
        .iter()
        .map(|(image, pods)| ((*image).to_owned(), *pods))
        .collect()
}

fn steps(steps: Value) -> Value {
    json!({ "steps": steps })
}

#[test]
fn a_first_version_is_stable_at_once_and_skips_the_steps() {
    let mut world = World::new(steps(json!([{"setWeight": 20}, {"pause": {}}])));
    assert!(world.pass(), "makes the ReplicaSet");
    assert_eq!(
        world.summary(),
        "Progressing more replicas need to be updated"
    );
    world.settle();
    let status = world.status();
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(status.current_step_index, Some(2));
    assert_eq!(status.stable_rs, status.current_pod_hash);
    assert_eq!(
        (
            status.replicas,
            status.updated_replicas,
            status.available_replicas
        ),
        (10, 10, 10)
    );
    assert_eq!(
        (
            status.selector.as_str(),
            status.observed_generation.as_str()
        ),
        ("app=web", "1")
    );
    assert_eq!(world.rollout.annotations()[labels::REVISION], "1");
    let hash = &status.stable_rs;
    let set = &world.replica_sets[0];
    assert_eq!(set.name_any(), format!("web-{hash}"));
    assert_eq!(set.annotations()[labels::DESIRED_REPLICAS], "10");
    assert_eq!(set.labels()[labels::POD_TEMPLATE_HASH], *hash);
    let expected = format!("Rollout completed update to revision 1 ({hash}): Initial deploy");
    assert_eq!(world.told("RolloutCompleted"), [expected.as_str()]);
    assert_eq!(
        world.condition(&ConditionType::Healthy),
        "True RolloutHealthy: Rollout is healthy"
    );
    assert_eq!(
        world.condition(&ConditionType::Progressing),
        format!(
            "True NewReplicaSetAvailable: ReplicaSet \"web-{hash}\" has successfully progressed."
        )
    );
}

#[test]
fn a_canary_goes_through_weights_and_pauses() {
    let mut world = World::running(steps(json!([
        {"setWeight": 20}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "10m"}}])));
    world.release("web:2");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
    assert_eq!(world.summary(), "Paused CanaryPauseStep");
    assert_eq!(
        world.condition(&ConditionType::Paused),
        "True RolloutPaused: Rollout is paused"
    );
    assert_eq!(world.wake_at, None, "only a person can change this");
    world.wait(3600);
    assert_eq!(world.status().current_step_index, Some(1));

    world.promote();
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 5), ("web:2", 5)]));
    assert_eq!(world.status().current_step_index, Some(3));
    let left = world.wake_at.unwrap().duration_since(world.now);
    assert_eq!(left, SignedDuration::from_mins(10));
    world.wait(599);
    assert_eq!(world.summary(), "Paused CanaryPauseStep");
    world.wait(1);
    assert_eq!(world.pods(), pods(&[("web:2", 10)]));
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(
        world.condition(&ConditionType::Paused),
        "False RolloutPaused: Rollout is paused"
    );
    assert_eq!(
        world.told("RolloutStepCompleted"),
        [
            "Rollout step 1/4 completed (setWeight: 20)",
            "Rollout step 2/4 completed (pause)",
            "Rollout step 3/4 completed (setWeight: 50)",
            "Rollout step 4/4 completed (pause: 10m)",
        ]
    );
    let hash = world.status().stable_rs;
    let expected =
        format!("Rollout completed update to revision 2 ({hash}): Completed all 4 canary steps");
    assert_eq!(world.told("RolloutCompleted"), [expected]);
}

#[test]
fn without_steps_it_is_a_rolling_update() {
    let mut world = World::running(json!({}));
    world.release("web:2");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:2", 10)]));
    assert_eq!(
        (world.summary().as_str(), world.status().current_step_index),
        ("Healthy", None)
    );
    let sizes: Vec<&str> = world
        .told("ScalingReplicaSet")
        .iter()
        .map(|m| &m[m.len() - 9..])
        .collect();
    assert_eq!(sizes.len(), 5, "{sizes:?}");
}

#[test]
fn a_skipped_pause_is_done_once() {
    let mut world = World::running(steps(
        json!([{"setWeight": 20}, {"pause": {}}, {"pause": {}}]),
    ));
    world.release("web:2");
    world.settle();
    world.promote();
    world.settle();
    assert_eq!(world.status().current_step_index, Some(2));
    assert_eq!(world.summary(), "Paused CanaryPauseStep");
    // As `promote` does where there is no pause condition.
    world.change_status(|status| {
        status.pause_conditions.clear();
        status.current_step_index = Some(3);
    });
    world.settle();
    assert_eq!(world.summary(), "Healthy");
}

fn analysed(analysis: &Value) -> Value {
    steps(json!([{"setWeight": 20}, {"analysis": analysis}, {"setWeight": 50}]))
}

#[test]
fn a_step_waits_for_its_analysis() {
    let analysis = json!({"templates": [{"templateName": "up"}],
        "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}],
        "analysisRunMetadata": {"labels": {"team": "shop", "app": "other"}}});
    let mut world = World::running(steps(json!([]))).with_template("up");
    world.change_spec(|spec| {
        let canary = serde_json::from_value(analysed(&analysis)).unwrap();
        spec.strategy.canary = Some(Box::new(canary));
    });
    world.settle();
    assert_eq!(
        world.status().current_step_index,
        Some(3),
        "nothing to do for other steps"
    );
    world.release("web:2");
    world.settle();
    let hash = world.status().current_pod_hash;
    let name = format!("web-{hash}-2-1");
    let run = world.run(&name).clone();
    let label = |key: &str| run.labels()[key].clone();
    assert_eq!(label(labels::POD_TEMPLATE_HASH), hash);
    assert_eq!(label(labels::ROLLOUT_TYPE), "Step");
    assert_eq!(label(labels::STEP_INDEX), "1");
    assert_eq!(
        (label("team"), label("app")),
        ("shop".into(), "web".into()),
        "selector wins"
    );
    assert_eq!(run.annotations()[labels::REVISION], "2");
    assert_eq!(run.spec.args[0].value.as_deref(), Some(hash.as_str()));
    let owner = &run.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.controller),
        ("Rollout", Some(true))
    );
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));

    world.end_run(&name, Phase::Running, "");
    world.settle();
    assert_eq!(world.status().current_step_index, Some(1));
    world.end_run(&name, Phase::Successful, "");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.pods(), pods(&[("web:2", 10)]));
    assert_eq!(world.told("AnalysisRunSuccessful").len(), 1);
    assert_eq!(world.runs.len(), 1, "the run stays as history");
    assert!(!world.runs[0].spec.terminate);
}

#[test]
fn a_failed_analysis_sends_all_pods_to_stable() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::new(analysed(&analysis)).with_template("up");
    world.settle();
    world.release("web:2");
    world.settle();
    let name = format!("web-{}-2-1", world.status().current_pod_hash);
    world.end_run(
        &name,
        Phase::Failed,
        "Metric \"up\" assessed Failed due to failed (1) > failureLimit (0)",
    );
    world.settle();
    let message = "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase \
        error/failed: Metric \"up\" assessed Failed due to failed (1) > failureLimit (0)";
    assert_eq!(world.summary(), format!("Degraded {message}"));
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    let status = world.status();
    assert!(status.abort && status.aborted_at.is_some());
    assert_eq!(status.current_step_index, Some(0));
    assert_eq!(status.canary.current_step_analysis_run_status, None);
    assert_eq!(world.told("RolloutAborted").len(), 1);

    // Retried: a fresh analysis of the same version.
    world.change_status(|status| status.abort = false);
    world.pass();
    assert!(
        world
            .condition(&ConditionType::Progressing)
            .starts_with("Unknown RolloutRetry")
    );
    world.settle();
    let again = format!("{name}.1");
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
    world.end_run(&again, Phase::Successful, "");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.status().aborted_at, None);
}

#[test]
fn an_inconclusive_analysis_pauses_and_is_asked_again_when_resumed() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::running(steps(json!([]))).with_template("up");
    world.change_spec(|spec| {
        spec.strategy.canary = Some(Box::new(
            serde_json::from_value(analysed(&analysis)).unwrap(),
        ));
    });
    world.release("web:2");
    world.settle();
    let name = format!("web-{}-2-1", world.status().current_pod_hash);
    world.end_run(&name, Phase::Inconclusive, "");
    world.settle();
    assert_eq!(world.summary(), "Paused InconclusiveAnalysisRun");
    world.promote();
    world.settle();
    let again = format!("{name}.1");
    assert_eq!(world.runs.len(), 2);
    world.end_run(&again, Phase::Inconclusive, "");
    world.settle();
    assert_eq!(world.summary(), "Paused InconclusiveAnalysisRun");
    // `promote` of the kubectl plugin skips the step.
    world.change_status(|status| {
        status.pause_conditions.clear();
        status.controller_pause = false;
        status.current_step_index = Some(2);
    });
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.runs.len(), 2);
}

fn watched() -> Value {
    json!({"steps": [{"setWeight": 20}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}],
        "analysis": {"templates": [{"templateName": "up"}], "startingStep": 2}})
}

#[test]
fn a_background_analysis_runs_from_its_starting_step_to_the_end() {
    let mut world = World::new(watched()).with_template("up");
    world.settle();
    world.release("web:2");
    world.settle();
    assert!(world.runs.is_empty());
    world.promote();
    world.settle();
    let name = format!("web-{}-2", world.status().current_pod_hash);
    assert_eq!(
        world.run(&name).labels()[labels::ROLLOUT_TYPE],
        "Background"
    );
    world.end_run(&name, Phase::Running, "");
    world.promote();
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert!(
        world.run(&name).spec.terminate,
        "over: nobody asks any more"
    );
}

#[test]
fn a_failing_background_analysis_aborts_even_a_pause() {
    let mut world = World::new(watched()).with_template("up");
    world.settle();
    world.release("web:2");
    world.settle();
    world.promote();
    world.settle();
    assert_eq!(world.summary(), "Paused CanaryPauseStep");
    let name = format!("web-{}-2", world.status().current_pod_hash);
    world.end_run(&name, Phase::Error, "");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    let message = "Rollout aborted update to revision 2: Background analysis phase error/failed";
    assert_eq!(
        world.summary(),
        format!("Degraded RolloutAborted: {message}")
    );
    assert!(world.status().pause_conditions.is_empty());
}

#[test]
fn an_undecided_background_holds_every_step() {
    let mut world = World::new(watched()).with_template("up");
    world.settle();
    world.release("web:2");
    world.settle();
    world.promote();
    world.settle();
    let name = format!("web-{}-2", world.status().current_pod_hash);
    world.end_run(&name, Phase::Inconclusive, "");
    world.settle();
    assert!(
        world
            .status()
            .pause_conditions
            .iter()
            .any(|c| c.reason == PauseReason::InconclusiveAnalysis)
    );
    world.wait(100_000);
    assert_eq!(world.status().current_step_index, Some(3));
    world.promote();
    world.settle();
    assert!(
        world
            .runs
            .iter()
            .any(|run| run.name_any() == format!("{name}.1"))
    );
}

#[test]
fn a_person_aborts_and_the_old_template_comes_back() {
    let mut world = World::running(steps(json!([{"setWeight": 50}, {"pause": {}}])));
    world.release("web:2");
    world.settle();
    world.change_status(|status| status.abort = true);
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    assert_eq!(
        world.summary(),
        "Degraded RolloutAborted: Rollout aborted update to revision 2"
    );
    world.release("web:1");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.told("SkipSteps"), ["Rollback to stable ReplicaSets"]);
    let stable = world.status().stable_rs;
    let set = world
        .replica_sets
        .iter()
        .find(|set| set.name_any().ends_with(&stable))
        .unwrap();
    assert_eq!(set.annotations()[labels::REVISION], "3");
    assert_eq!(set.annotations()[labels::REVISION_HISTORY], "1");
    assert_eq!(world.rollout.annotations()[labels::REVISION], "3");
}

#[test]
fn promoting_in_full_skips_what_is_left() {
    let mut world = World::new(watched()).with_template("up");
    world.settle();
    world.release("web:2");
    world.settle();
    world.change_status(|status| status.promote_full = true);
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert!(!world.status().promote_full);
    assert!(
        world
            .told("RolloutCompleted")
            .last()
            .unwrap()
            .ends_with("Full promotion requested")
    );
}

#[test]
fn a_third_version_replaces_the_second_on_its_way() {
    let mut world = World::running(steps(json!([{"setWeight": 30}, {"pause": {}}])));
    world.release("web:2");
    world.settle();
    world.release("web:3");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 7), ("web:3", 3)]));
    assert_eq!(world.rollout.annotations()[labels::REVISION], "3");
    world.promote();
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:3", 10)]));
}

#[test]
fn other_steps_start_the_update_again() {
    let mut world = World::running(steps(json!([{"setWeight": 50}, {"pause": {}}])));
    world.release("web:2");
    world.settle();
    world.change_spec(|spec| {
        let canary = json!({"steps": [{"setWeight": 10}, {"pause": {}}]});
        spec.strategy.canary = Some(Box::new(serde_json::from_value(canary).unwrap()));
    });
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 9), ("web:2", 1)]));
    assert_eq!(world.status().current_step_index, Some(1));
}

#[test]
fn a_paused_rollout_stands_still_but_follows_its_size() {
    let mut world = World::running(steps(
        json!([{"setWeight": 20}, {"pause": {"duration": 5}}]),
    ));
    world.release("web:2");
    world.settle();
    world.change_spec(|spec| spec.paused = true);
    world.wait(60);
    assert_eq!(world.summary(), "Paused manually paused");
    assert_eq!(world.status().current_step_index, Some(1));
    world.change_spec(|spec| spec.replicas = Some(20));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 16), ("web:2", 4)]));
    world.change_spec(|spec| spec.paused = false);
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:2", 20)]));
}

#[test]
fn a_version_that_never_works_misses_its_deadline() {
    for abort in [false, true] {
        let mut world = World::running(steps(json!([{"setWeight": 20}])));
        world.change_spec(|spec| spec.progress_deadline_abort = abort);
        world.broken.insert("web:2".into());
        world.release("web:2");
        world.settle();
        assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
        let left = world.wake_at.unwrap().duration_since(world.now);
        assert_eq!(left, SignedDuration::from_secs(601));
        world.wait(600);
        assert!(
            world.summary().starts_with("Progressing"),
            "{}",
            world.summary()
        );
        world.wait(1);
        let timeout = format!(
            "ReplicaSet \"web-{}\" has timed out progressing.",
            world.status().current_pod_hash
        );
        let (summary, left) = if abort {
            let message =
                format!("RolloutAborted: Rollout aborted update to revision 2: {timeout}");
            (message, pods(&[("web:1", 10)]))
        } else {
            (
                format!("ProgressDeadlineExceeded: {timeout}"),
                pods(&[("web:1", 8), ("web:2", 2)]),
            )
        };
        assert_eq!(world.summary(), format!("Degraded {summary}"));
        assert_eq!(world.pods(), left);
        assert_eq!(world.wake_at, None);
    }
}

#[test]
fn history_keeps_as_many_versions_as_asked() {
    let mut world = World::running(json!({}));
    world.change_spec(|spec| spec.revision_history_limit = Some(2));
    for version in 2..7 {
        world.release(&format!("web:{version}"));
        world.wait(1);
    }
    let mut images: Vec<String> = world.replica_sets.iter().map(image).collect();
    images.sort();
    assert_eq!(images, ["web:4", "web:5", "web:6"]);
}

#[test]
fn a_rollback_within_the_window_skips_the_steps() {
    let mut world = World::running(steps(json!([{"setWeight": 20}, {"pause": {}}])));
    world.change_spec(|spec| {
        let window = json!({"revisions": 1});
        spec.rollback_window = Some(serde_json::from_value(window).unwrap());
    });
    world.wait(1);
    world.release("web:2");
    world.wait(1);
    world.promote();
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    world.release("web:1");
    world.settle();
    assert_eq!(
        (world.summary().as_str(), world.pods()),
        ("Healthy", pods(&[("web:1", 10)]))
    );
    assert!(
        world
            .told("RolloutCompleted")
            .last()
            .unwrap()
            .ends_with("Rollback within window")
    );
}

#[test]
fn replica_sets_of_an_earlier_controller_are_adopted_as_they_are() {
    let mut world = World::running(steps(json!([{"setWeight": 20}])));
    // Named by a hash that this program would not compute.
    let mut text = serde_json::to_string(&(&world.replica_sets, &world.rollout.status)).unwrap();
    text = text.replace(&world.status().stable_rs, "abc");
    let (sets, status) = serde_json::from_str(&text).unwrap();
    (world.replica_sets, world.rollout.status) = (sets, status);
    assert!(!world.pass(), "nothing to do");
    // Not even when only something else in the spec changes.
    world.change_spec(|spec| spec.progress_deadline_seconds = Some(500));
    world.settle();
    assert_eq!(
        (world.replica_sets.len(), world.status().stable_rs.as_str()),
        (1, "abc")
    );
    // An orphan with the label is taken in, too.
    world.replica_sets[0].metadata.owner_references = None;
    world.settle();
    assert_eq!(world.replica_sets[0].owner_references()[0].uid, "rollout");
}

#[test]
fn a_missing_template_stops_an_update_before_it_begins() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::running(json!({}));
    world.change_spec(|spec| {
        spec.strategy.canary = Some(Box::new(
            serde_json::from_value(analysed(&analysis)).unwrap(),
        ));
    });
    world.release("web:2");
    world.settle();
    let message = "The Rollout \"web\" is invalid: spec.strategy.canary.steps[1].analysis.templates: \
        Invalid value: \"up\": AnalysisTemplate 'up' not found";
    assert_eq!(world.summary(), format!("Degraded InvalidSpec: {message}"));
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    assert_eq!(
        world.wake_at.unwrap().duration_since(world.now),
        SignedDuration::from_secs(10)
    );
    let mut world = world.with_template("up");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
    assert_eq!(world.condition(&ConditionType::InvalidSpec), "");
}

#[test]
fn a_step_does_not_wait_for_what_never_ends() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::running(json!({})).with_template("up");
    world.known[0].1.metrics[0].interval = serde_json::from_value(json!("1m")).unwrap();
    let cases = [
        (
            steps(json!([{"setWeight": 20}, {"analysis": analysis}])),
            true,
        ),
        (
            json!({"steps": [{"setWeight": 20}, {"pause": {}}], "analysis": analysis}),
            false,
        ),
    ];
    for (canary, is_refused) in cases {
        world.change_spec(|spec| {
            spec.strategy.canary = Some(Box::new(serde_json::from_value(canary).unwrap()));
        });
        world.release("web:2");
        world.settle();
        let message = "The Rollout \"web\" is invalid: \
            spec.strategy.canary.steps[1].analysis.templates: Invalid value: \"up\": the metric runs \
            indefinitely: set count, or consecutiveSuccessLimit";
        let expected = if is_refused {
            format!("Degraded InvalidSpec: {message}")
        } else {
            "Paused CanaryPauseStep".to_owned()
        };
        assert_eq!(world.summary(), expected);
        assert_eq!(world.runs.len(), usize::from(!is_refused));
    }
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let mut world = World::new(json!({"maxSurge": 0, "maxUnavailable": "0%", "steps": [
        {"setWeight": 120}, {"pause": {"duration": "soon"}}, {}, {"setCanaryScale": {"weight": 1}},
        {"analysis": {}}, {"setWeight": 1, "pause": {}}]}));
    world.change_spec(|spec| {
        spec.replicas = Some(-1);
        spec.progress_deadline_seconds = Some(0);
        spec.template.json["metadata"] = json!({"labels": {"app": "other"}});
        spec.template.json["spec"]["restartPolicy"] = json!("Never");
    });
    world.pass();
    let message = world.status().message;
    for expected in [
        "spec.replicas: Invalid value: \"-1\": must be greater than or equal to 0",
        "spec.progressDeadlineSeconds: Invalid value: \"0\": must be greater than minReadySeconds",
        "spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not match",
        "spec.template.spec.restartPolicy: Unsupported value: \"Never\"",
        "spec.strategy.canary.maxSurge: Invalid value: \"0\": MaxSurge and MaxUnavailable",
        "steps[0].setWeight: Invalid value: \"120\": SetWeight needs to be between 0 and 100",
        "steps[1].pause.duration: Invalid value: \"soon\": Duration needs to be greater than 0",
        "steps[2]: Invalid value: Step must have one of the following set",
        "steps[3].setCanaryScale: Invalid value: SetCanaryScale requires TrafficRouting",
        "steps[4].analysis.templates: Required value",
        "steps[5]: Invalid value: Step must have one of the following set",
    ] {
        assert!(message.contains(expected), "{expected}\nin {message}");
    }
    assert!(world.replica_sets.is_empty());
    assert_eq!(world.told("InvalidSpec").len(), 1);
    assert!(!world.pass(), "said once");
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name() {
    let cases = [
        (
            json!({"blueGreen": {"activeService": "a"}}),
            "spec.strategy.blueGreen",
        ),
        (
            json!({"canary": {"trafficRouting": {"smi": {}}}}),
            "canary.trafficRouting",
        ),
        (
            json!({"canary": {"canaryService": "a"}}),
            "canary.canaryService",
        ),
        (
            json!({"canary": {"canaryMetadata": {}}}),
            "canary.canaryMetadata",
        ),
        (
            json!({"canary": {"steps": [{"experiment": {"templates": []}}]}}),
            "steps[0].experiment",
        ),
        (
            json!({"canary": {"steps": [{"plugin": {"name": "a/b"}}]}}),
            "steps[0].plugin",
        ),
    ];
    for (strategy, field) in cases {
        let mut world = World::new(json!({}));
        world.change_spec(|spec| spec.strategy = serde_json::from_value(strategy).unwrap());
        world.pass();
        let message = world.status().message;
        assert!(
            message.contains(field) && message.contains("not supported yet"),
            "{message}"
        );
        assert!(world.replica_sets.is_empty());
    }
}

#[test]
fn absent_replicas_are_written_as_one() {
    let mut world = World::new(json!({}));
    world.change_spec(|spec| spec.replicas = None);
    world.settle();
    assert_eq!(world.rollout.spec.replicas, Some(1));
    assert_eq!(world.pods(), pods(&[("web:1", 1)]));
}

#[test]
fn a_rollout_that_is_deleted_is_left_alone() {
    let mut world = World::running(json!({}));
    world.release("web:2");
    world.rollout.metadata.deletion_timestamp = Some(Time(world.now));
    assert!(!world.pass());
}

#[derive(Debug, Clone)]
enum Happening {
    Release(u8),
    Pods(i32),
    Wait(i64),
    Abort,
    Retry,
    Promote,
    PromoteFull,
    Verdict(Phase),
    Size(i32),
}

fn happening(others: bool) -> BoxedStrategy<Happening> {
    let calm = prop_oneof![
        (1_u8..4).prop_map(Happening::Release),
        (0_i32..4).prop_map(Happening::Pods),
        (0_i64..400).prop_map(Happening::Wait),
        Just(Happening::Promote),
    ];
    if !others {
        return calm.boxed();
    }
    prop_oneof![
        calm,
        Just(Happening::Abort),
        Just(Happening::Retry),
        Just(Happening::PromoteFull),
        prop_oneof![
            Just(Phase::Successful),
            Just(Phase::Failed),
            Just(Phase::Inconclusive)
        ]
        .prop_map(Happening::Verdict),
        (0_i32..12).prop_map(Happening::Size),
    ]
    .boxed()
}

fn any_canary() -> impl Strategy<Value = Value> {
    let step = prop_oneof![
        (0_i32..101).prop_map(|weight| json!({ "setWeight": weight })),
        Just(json!({"pause": {}})),
        (0_i32..300).prop_map(|seconds| json!({"pause": {"duration": seconds}})),
        Just(json!({"analysis": {"templates": [{"templateName": "up"}]}})),
    ];
    let background = prop_oneof![
        Just(Value::Null),
        Just(json!({"templates": [{"templateName": "up"}], "startingStep": 1})),
    ];
    let pods = || prop_oneof![(0_i32..4).prop_map(Value::from), Just(json!("30%"))];
    (
        prop::collection::vec(step, 0..5),
        background,
        pods(),
        pods(),
    )
        .prop_map(|(steps, analysis, surge, unavailable)| {
            let unavailable = if surge == json!(0) {
                json!(1)
            } else {
                unavailable
            };
            json!({"steps": steps, "analysis": analysis, "maxSurge": surge,
                "maxUnavailable": unavailable})
        })
}

impl World {
    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Release(version) => self.release(&format!("web:{version}")),
            Happening::Pods(at_once) => self.kubelet(at_once),
            Happening::Wait(seconds) => self.now += SignedDuration::from_secs(seconds),
            Happening::Abort => self.change_status(|status| status.abort = true),
            Happening::Retry => self.change_status(|status| status.abort = false),
            Happening::Promote => self.promote(),
            Happening::PromoteFull => self.change_status(|status| status.promote_full = true),
            Happening::Verdict(phase) => {
                let open = self.runs.iter().find(|run| run.status.is_none());
                if let Some(name) = open.map(AnalysisRun::name_any) {
                    self.end_run(&name, phase, "");
                }
            }
            Happening::Size(replicas) => {
                self.change_spec(|spec| spec.replicas = Some(replicas));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn while_only_the_template_changes_no_more_pods_are_missing_than_allowed(
        canary in any_canary(),
        replicas in 1_i32..12,
        happenings in prop::collection::vec(happening(false), 0..40),
    ) {
        let mut world = World::new(canary).with_template("up");
        world.change_spec(|spec| spec.replicas = Some(replicas));
        world.settle();
        let canary = world.rollout.spec.strategy.canary.clone().unwrap();
        let limits = super::Limits::resolve(
            replicas, canary.max_surge.as_ref(), canary.max_unavailable.as_ref()).unwrap();
        for happening in happenings {
            world.happen(happening);
            world.pass();
            world.kubelet(0);
            prop_assert!(world.available() >= replicas - limits.unavailable, "{:?}", world.pods());
        }
    }

    #[test]
    fn whatever_happens_it_settles_where_it_should(
        canary in any_canary(),
        happenings in prop::collection::vec(happening(true), 0..40),
    ) {
        let mut world = World::new(canary).with_template("up");
        world.settle();
        for happening in happenings {
            world.happen(happening);
            world.pass();
        }
        world.settle();
        let status = world.status();
        // A decision that was carried out is not taken again.
        prop_assert!(world.decide().changes.is_empty());
        prop_assert_eq!(&world.decide().status, &status);
        let current = world.replica_sets.iter().filter(|set| {
            [&status.stable_rs, &status.current_pod_hash].contains(&&set.labels()[labels::POD_TEMPLATE_HASH])
        });
        let current: Vec<String> = current.map(image).collect();
        for (image, _) in world.pods() {
            prop_assert!(current.contains(&image), "{} in {:?}", image, world.pods());
        }
        if status.abort {
            prop_assert!(world.pods().len() <= 1, "stable only: {:?}", world.pods());
            prop_assert_ne!(&status.stable_rs, &status.current_pod_hash);
        }
    }
}
