//! Stories of a controller that is not allowed to see what it needs, or not able to: what it needs is
//! told, and when it can see it, it goes on.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, AnalysisTemplate, Rollout, RolloutPhase, RolloutStatus};
use verdict::apiserver::Fault;

use crate::world::release::{a_rollout, pods};
use crate::world::{PROGRAM, World, seconds};

impl World {
    /// From now on the controller may not read objects of this kind.
    fn forbid(&self, resource: &'static str) {
        self.server.set_faults(move |request| {
            let reads = ["get", "list", "watch"].contains(&request.verb);
            if reads && request.user_agent == PROGRAM && request.resource == resource {
                Fault::Status(403)
            } else {
                Fault::None
            }
        });
    }
}

fn an_analysis() -> Value {
    json!({ "steps": [
        { "setWeight": 20 }, { "analysis": { "templates": [{ "templateName": "rate" }] } },
    ] })
}

async fn create_template(world: &World) {
    let metric = json!({ "name": "rate", "provider": { "web": { "url": "http://stats" } } });
    let template = json!({ "metadata": { "name": "rate" }, "spec": { "metrics": [metric] } });
    world.create::<AnalysisTemplate>(template).await;
}

#[tokio::test(start_paused = true)]
async fn a_template_that_cannot_be_read_is_told_and_keeps_no_abort_from_being_seen() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    create_template(&world).await;
    world.create::<Rollout>(a_rollout(an_analysis())).await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.forbid("analysistemplates");
    world.release("web:2").await;
    seconds(300).await;
    let waiting = world.waits_for().await;
    let expected = "CannotObserve: cannot read AnalysisTemplate `default/rate`: ";
    assert!(waiting.starts_with(expected), "{waiting}");
    let told = world.messages("ReconciliationError").await;
    assert_eq!(told.len(), 1, "told once: {told:?}");
    // What somebody wants meanwhile is heard.
    world.merge_status(json!({ "abort": true })).await;
    world
        .until_status(|status| status.aborted_at.is_some())
        .await;
    world.merge_status(json!({ "abort": false })).await;
    world.server.clear_faults();
    let run = |status: &RolloutStatus| {
        let slot = status.canary.current_step_analysis_run_status.as_ref();
        slot.is_some()
    };
    world.until_status(run).await;
    seconds(1).await;
    let waiting = world.waits_for().await;
    assert!(waiting.starts_with("Analysis: "), "{waiting}");
}

#[tokio::test(start_paused = true)]
async fn what_keeps_the_caches_from_being_filled_is_told() {
    let world = World::without_sources().await;
    world.forbid("services");
    let running = world.start_rollouts();
    world.create::<Rollout>(a_rollout(json!({}))).await;
    seconds(29).await;
    assert_eq!(world.waits_for().await, "", "it may still come");
    seconds(5).await;
    let waiting = world.waits_for().await;
    let expected = "CannotObserve: cannot observe: the controller waits for Service (cannot list \
                    Services: ";
    assert!(waiting.starts_with(expected), "{waiting}");
    assert_eq!(running.readiness.missing(), ["Service"]);
    seconds(3600).await;
    let told = world.messages("ReconciliationError").await;
    assert_eq!(told.len(), 1, "told once: {told:?}");
    world.server.clear_faults();
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.waits_for().await, "");
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
}

#[tokio::test(start_paused = true)]
async fn caches_that_only_take_long_are_waited_for_in_silence() {
    let world = World::without_sources().await;
    world.server.set_faults(|asked| {
        let is_list = (asked.verb, asked.resource.as_str()) == ("list", "replicasets");
        if asked.user_agent == PROGRAM && is_list {
            Fault::Delay(Duration::from_secs(50))
        } else {
            Fault::None
        }
    });
    let running = world.start_rollouts();
    world.create::<Rollout>(a_rollout(json!({}))).await;
    seconds(45).await;
    assert_eq!(running.readiness.missing(), ["ReplicaSet"]);
    let rollout: Rollout = world.get("web").await;
    let status = rollout.status;
    assert!(status.is_none(), "nothing is written: {status:?}");
    world.until_phase(RolloutPhase::Healthy).await;
    assert!(world.messages("ReconciliationError").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_cannot_be_read_is_not_said_to_be_missing() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    let spec = a_rollout(json!({}))["spec"].take();
    let deployment = json!({ "metadata": { "name": "shop" }, "spec": {
        "replicas": 0, "selector": spec["selector"], "template": spec["template"],
    } });
    world.create::<Deployment>(deployment).await;
    world.forbid("deployments");
    let reference = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" });
    let rollout = json!({ "metadata": { "name": "web" }, "spec": {
        "replicas": 2, "workloadRef": reference, "strategy": { "canary": {} },
    } });
    world.create::<Rollout>(rollout).await;
    seconds(60).await;
    let waiting = world.waits_for().await;
    let expected = "CannotObserve: cannot read Deployment `default/shop`: ";
    assert!(waiting.starts_with(expected), "{waiting}");
    assert!(world.messages("InvalidSpec").await.is_empty());
    world.server.clear_faults();
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.waits_for().await, "");
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 2)]));
}

#[tokio::test(start_paused = true)]
async fn pods_that_cannot_be_listed_hold_a_restart_and_nothing_else() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    let steps = json!({ "steps": [{ "setWeight": 50 }, { "pause": {} }] });
    world.create::<Rollout>(a_rollout(steps)).await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    world.forbid("pods");
    let restart = json!({ "spec": { "restartAt": world.clock.now() } });
    world.merge::<Rollout>("web", restart).await;
    seconds(300).await;
    let waiting = world.waits_for().await;
    let expected = "CannotObserve: cannot list Pods in `default`: ";
    assert!(waiting.starts_with(expected), "{waiting}");
    let told = world.messages("ReconciliationError").await;
    assert_eq!(told.len(), 1, "told once: {told:?}");
    // An autoscaler and somebody who aborts are heard and followed.
    let more = json!({ "spec": { "replicas": 20 } });
    world.merge::<Rollout>("web", more).await;
    seconds(120).await;
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 10), ("web:2", 10)])
    );
    world.merge_status(json!({ "abort": true })).await;
    seconds(120).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 20)]));
    assert_eq!(world.status().await.restarted_at, None);
    world.server.clear_faults();
    let is_restarted = |status: &RolloutStatus| status.restarted_at.is_some();
    world.until_status(is_restarted).await;
}

#[tokio::test(start_paused = true)]
async fn an_abort_is_followed_when_the_run_of_its_analysis_can_be_neither_found_nor_read() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    create_template(&world).await;
    world.create::<Rollout>(a_rollout(an_analysis())).await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:2").await;
    let slot = |status: &RolloutStatus| status.canary.current_step_analysis_run_status.clone();
    let status = world.until_status(|status| slot(status).is_some()).await;
    let run = slot(&status).unwrap().name;
    world.judge(&run, "Running", "").await;
    let is_running = |status: &RolloutStatus| slot(status).is_some_and(|it| it.status.is_some());
    world.until_status(is_running).await;
    world.server.set_faults(move |request| {
        let reads = request.verb == "get" && request.user_agent == PROGRAM;
        if reads && request.resource == "analysisruns" {
            Fault::Status(500)
        } else {
            Fault::None
        }
    });
    let runs = world.api::<AnalysisRun>();
    runs.delete(&run, &DeleteParams::default()).await.unwrap();
    seconds(60).await;
    let waiting = world.waits_for().await;
    assert!(waiting.starts_with("CannotObserve: "), "{waiting}");
    world.merge_status(json!({ "abort": true })).await;
    seconds(120).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
}
