//! Stories of what a canary without traffic routing can be asked for. Verdicts of analyses are given
//! by the story.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, AnalysisTemplate, Rollout, RolloutPhase, RolloutStatus};
use verdict::rollout::{labels, operations};

use crate::world::release::{a_rollout, pods};
use crate::world::{Running, World, seconds};

const NEVER_READY: &str = "simulation.verdict.dev/never-ready";

/// A cluster in which version 1 of a Rollout runs whose spec is changed by this.
async fn running(canary: Value, spec: Value) -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    let metric = json!({ "name": "rate", "provider": { "web": { "url": "http://stats" } } });
    let template = json!({ "metadata": { "name": "rate" }, "spec": { "metrics": [metric] } });
    world.create::<AnalysisTemplate>(template).await;
    let mut rollout = a_rollout(canary);
    json_patch::merge(&mut rollout["spec"], &spec);
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    (world, running)
}

fn an_analysis() -> Value {
    json!({ "templates": [{ "templateName": "rate" }] })
}

fn two_steps() -> Value {
    json!({ "steps": [{ "setWeight": 20 }, { "pause": {} }] })
}

impl World {
    /// Runs of the Rollout that nobody has told to stop.
    async fn open_runs(&self) -> usize {
        let runs = self.list::<AnalysisRun>().await;
        runs.iter().filter(|run| !run.spec.terminate).count()
    }

    async fn resume(&self) {
        self.merge_status(json!({ "pauseConditions": null })).await;
    }

    /// Lets one pod of those that never get ready do so.
    async fn let_one_work(&self) {
        let pods = self.list::<Pod>().await;
        let broken = |pod: &&Pod| pod.annotations().get(NEVER_READY) == Some(&"true".to_owned());
        let name = pods.iter().find(broken).unwrap().name_any();
        let patch = json!({ "metadata": { "annotations": { NEVER_READY: null } } });
        self.merge::<Pod>(&name, patch).await;
    }

    /// Releases a version whose pods never get ready.
    async fn release_what_never_works(&self) {
        let never = json!({ NEVER_READY: "true" });
        let template = json!({ "metadata": { "annotations": never } });
        let patch = json!({ "spec": { "template": template } });
        self.merge::<Rollout>("web", patch).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_background_analysis_begins_at_its_step_and_ends_with_the_update() {
    let mut background = an_analysis();
    background["startingStep"] = json!(2);
    let steps = json!([{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 50 }, { "pause": {} }]);
    let canary = json!({ "steps": steps, "analysis": background });
    let (world, _running) = running(canary, json!({})).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(world.open_runs().await, 0);
    world.resume().await;
    let at_the_end = |status: &RolloutStatus| status.current_step_index == Some(3);
    world.until_status(at_the_end).await;
    seconds(1).await;
    assert_eq!(world.open_runs().await, 1);
    world.resume().await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(1).await;
    assert_eq!(world.open_runs().await, 0, "it is stopped");
}

#[tokio::test(start_paused = true)]
async fn promoting_in_full_skips_steps_pauses_and_analyses() {
    let steps = json!([{ "setWeight": 20 }, { "analysis": an_analysis() }, { "pause": {} }]);
    let (world, _running) = running(json!({ "steps": steps }), json!({})).await;
    world.release("web:2").await;
    let is_judged =
        |status: &RolloutStatus| status.canary.current_step_analysis_run_status.is_some();
    world.until_status(is_judged).await;
    let fewest = world.fewest_ready_pods();
    world.operate(&operations::promote_full()).await;
    let status = world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(
        (status.promote_full, status.current_step_index),
        (false, Some(3))
    );
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    assert_eq!(world.open_runs().await, 0);
    let fewest = fewest.load(std::sync::atomic::Ordering::Relaxed);
    assert!(fewest >= 8, "{fewest} pods were ready at the least");
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_sizes_both_versions_on_their_way() {
    let (world, _running) = running(two_steps(), json!({})).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    for (replicas, old, new) in [(20, 16, 4), (5, 4, 1)] {
        let api = world.api::<Rollout>();
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let params = PatchParams::default();
        api.patch_scale("web", &params, &patch).await.unwrap();
        seconds(60).await;
        let both = pods(&[("web:1", old), ("web:2", new)]);
        assert_eq!(world.ready_pods().await, both);
        let scale = api.get_scale("web").await.unwrap().status.unwrap();
        assert_eq!(scale.replicas, replicas);
        assert_eq!(scale.selector.as_deref(), Some("app=web"));
    }
    let status = world.status().await;
    assert_eq!(status.phase, Some(RolloutPhase::Paused));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_a_person_pauses_follows_its_size_and_nothing_else() {
    let steps = json!([{ "setWeight": 20 }, { "pause": { "duration": 60 } }]);
    let (world, _running) = running(json!({ "steps": steps }), json!({})).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    world.merge::<Rollout>("web", operations::pause()).await;
    let patch = json!({ "spec": { "replicas": 20 } });
    world.merge::<Rollout>("web", patch).await;
    seconds(3600).await;
    let both = pods(&[("web:1", 16), ("web:2", 4)]);
    assert_eq!(world.ready_pods().await, both);
    let waiting = world.waits_for().await;
    let expected = "PausedByUser: `spec.paused` is true at step 2/2 (pause: 60); since ";
    assert!(waiting.starts_with(expected), "{waiting}");
    world.merge::<Rollout>("web", operations::unpause()).await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 20)]));
}

#[tokio::test(start_paused = true)]
async fn going_back_within_the_window_takes_no_steps() {
    let spec = json!({ "rollbackWindow": { "revisions": 1 } });
    let (world, _running) = running(two_steps(), spec).await;
    for image in ["web:2", "web:3"] {
        seconds(5).await;
        world.release(image).await;
        world.until_phase(RolloutPhase::Paused).await;
        world.resume().await;
        world.until_phase(RolloutPhase::Healthy).await;
    }
    let pauses = world.messages("RolloutPaused").await.len();
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    assert_eq!(world.messages("RolloutPaused").await.len(), pauses);
    // The first version is too far back from the third.
    world.release("web:3").await;
    world.until_phase(RolloutPhase::Paused).await;
    world.resume().await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:1").await;
    world.until_phase(RolloutPhase::Paused).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_undone_on_its_way_leaves_the_stable_version_as_it_is() {
    let (world, _running) = running(two_steps(), json!({})).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    let rollout: Rollout = world.get("web").await;
    let sets = world.list().await;
    let template = rollout.spec.template.json();
    let template = template.as_object().unwrap();
    let undo = operations::undo(&rollout, template, &sets, 0).unwrap();
    let undo: json_patch::Patch = serde_json::from_value(undo.unwrap()).unwrap();
    let api = world.api::<Rollout>();
    let params = PatchParams::default();
    api.patch("web", &params, &Patch::<()>::Json(undo))
        .await
        .unwrap();
    let status = world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(status.current_step_index, Some(2), "no step is taken");
    assert_eq!(
        world.messages("SkipSteps").await,
        ["Rollback to stable ReplicaSets"]
    );
    seconds(30).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    let rollout: Rollout = world.get("web").await;
    assert_eq!(rollout.annotations()[labels::REVISION], "3");
    assert_eq!(world.names::<ReplicaSet>().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_for_as_many_pods_as_the_spec_says() {
    let of = |kind: &str, value: i32| json!({ "type": kind, "value": value });
    // The step asks for two pods.
    for (threshold, needed) in [
        (Value::Null, 2),
        (of("Percent", 51), 2),
        (of("Percent", 50), 1),
        (of("Pods", 2), 2),
        (of("Pods", 1), 1),
        (of("Pods", 0), 0),
    ] {
        let mut canary = two_steps();
        canary["replicaProgressThreshold"] = threshold.clone();
        let (world, _running) = running(canary, json!({})).await;
        world.release_what_never_works().await;
        for ready in 0..needed {
            seconds(60).await;
            let status = world.status().await;
            assert_eq!(status.current_step_index, Some(0), "{ready}: {threshold}");
            world.let_one_work().await;
        }
        let status = world.until_phase(RolloutPhase::Paused).await;
        assert_eq!(status.current_step_index, Some(1), "{threshold}");
        let ready = usize::try_from(status.ready_replicas).unwrap();
        assert_eq!(ready, 8 + needed, "{threshold}");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_count_when_they_have_been_ready_for_long_enough() {
    let (world, _running) = running(two_steps(), json!({ "minReadySeconds": 40 })).await;
    let began = world.clock.now();
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    let waited = world.clock.now().duration_since(began).as_secs();
    assert!((40..=50).contains(&waited), "{waited} s");
    let sets = world.list::<ReplicaSet>().await;
    let seconds = |set: &ReplicaSet| set.spec.as_ref().unwrap().min_ready_seconds;
    assert!(sets.iter().all(|set| seconds(set) == Some(40)));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_never_works_is_late_and_goes_if_that_is_asked_for() {
    for aborts in [false, true] {
        let spec = json!({ "progressDeadlineSeconds": 60, "progressDeadlineAbort": aborts });
        let (world, _running) = running(two_steps(), spec).await;
        let fewest = world.fewest_ready_pods();
        world.release_what_never_works().await;
        let status = world.until_phase(RolloutPhase::Degraded).await;
        assert_eq!(status.abort, aborts);
        assert_eq!(
            world.messages("RolloutAborted").await.len(),
            usize::from(aborts)
        );
        seconds(3600).await;
        let waiting = world.waits_for().await;
        let stays = pods(&[("web:1", if aborts { 10 } else { 8 })]);
        assert_eq!(world.ready_pods().await, stays, "{waiting}");
        let kind = if aborts { "Aborted: " } else { "Late: " };
        assert!(waiting.starts_with(kind), "{waiting}");
        let fewest = fewest.load(std::sync::atomic::Ordering::Relaxed);
        assert!(fewest >= 8, "{fewest} pods were ready at the least");
    }
}

#[tokio::test(start_paused = true)]
async fn history_keeps_as_many_versions_and_runs_as_asked() {
    let steps = json!([{ "setWeight": 20 }, { "analysis": an_analysis() }]);
    let spec = json!({
        "revisionHistoryLimit": 2, "analysis": { "successfulRunHistoryLimit": 1 },
    });
    let (world, _running) = running(json!({ "steps": steps }), spec).await;
    for revision in 2..=5 {
        world.release(&format!("web:{revision}")).await;
        let run = |status: &RolloutStatus| {
            let slot = status.canary.current_step_analysis_run_status.clone();
            slot.map(|slot| slot.name)
        };
        let status = world.until_status(|status| run(status).is_some()).await;
        world.judge(&run(&status).unwrap(), "Successful", "").await;
        world.until_phase(RolloutPhase::Healthy).await;
        seconds(60).await;
    }
    let sets = world.list::<ReplicaSet>().await;
    let mut revisions: Vec<&str> = (sets.iter())
        .map(|set| set.annotations()[labels::REVISION].as_str())
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, ["3", "4", "5"]);
    let runs = world.list::<AnalysisRun>().await;
    let runs: Vec<&str> = (runs.iter())
        .map(|run| run.annotations()[labels::REVISION].as_str())
        .collect();
    assert_eq!(runs, ["5"]);
}

#[tokio::test(start_paused = true)]
async fn annotations_of_the_rollout_come_and_go_on_its_replica_set() {
    let (world, _running) = running(json!({}), json!({})).await;
    let names = world.names::<ReplicaSet>().await;
    let annotate = async |object: &str, value: Value| {
        let patch = json!({ "metadata": { "annotations": { "team": value } } });
        match object {
            "Rollout" => drop(world.merge::<Rollout>("web", patch).await),
            _ => drop(world.merge::<ReplicaSet>(&names[0], patch).await),
        }
        seconds(1).await;
        let set: ReplicaSet = world.get(&names[0]).await;
        set.annotations().get("team").cloned()
    };
    assert_eq!(
        annotate("Rollout", json!("shop")).await.as_deref(),
        Some("shop")
    );
    assert_eq!(
        annotate("ReplicaSet", json!("other")).await.as_deref(),
        Some("shop")
    );
    assert_eq!(annotate("Rollout", Value::Null).await, None);
    // What somebody else writes there is theirs.
    assert_eq!(
        annotate("ReplicaSet", json!("other")).await.as_deref(),
        Some("other")
    );
    assert_eq!(
        annotate("Rollout", Value::Null).await.as_deref(),
        Some("other")
    );
}
