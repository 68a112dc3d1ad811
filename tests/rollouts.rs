//! Stories of Rollouts: from a change of the template to the version that runs in the end. Verdicts
//! of analyses are given by the story.

use std::sync::atomic::Ordering;

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, AnalysisTemplate, Rollout, RolloutPhase, RolloutStatus};
use verdict::controllers::{INSTANCE_ID_LABEL, Scope};
use verdict::rollout::labels;

use crate::world::release::{a_rollout, pods};
use crate::world::trouble::{BEFORE_AND_AFTER, REFUSALS, Trouble, ends_alike, outcome};
use crate::world::{PROGRAM, Running, World, seconds};

/// A cluster with version 1 of a Rollout running.
async fn running(canary: Value) -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    world.create::<AnalysisTemplate>(a_template()).await;
    world.create::<Rollout>(a_rollout(canary)).await;
    world.until_phase(RolloutPhase::Healthy).await;
    (world, running)
}

/// As `kubectl argo rollouts promote` of a paused Rollout.
async fn promote(world: &World) {
    world.merge_status(json!({ "pauseConditions": null })).await;
}

fn a_template() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": { "name": "success-rate" },
        "spec": {
            "args": [{ "name": "version" }],
            "metrics": [{
                "name": "rate", "successCondition": "result > 0.9",
                "provider": { "web": { "url": "http://stats/{{args.version}}" } },
            }],
        },
    })
}

fn an_analysis() -> Value {
    json!({
        "templates": [{ "templateName": "success-rate" }],
        "args": [{ "name": "version", "valueFrom": { "podTemplateHashValue": "Latest" } }],
    })
}

#[tokio::test(start_paused = true)]
async fn a_first_version_becomes_healthy_without_steps() {
    let (world, _running) =
        running(json!({ "steps": [{ "setWeight": 20 }, { "pause": {} }] })).await;
    let status = world.status().await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    assert_eq!(status.stable_rs, status.current_pod_hash);
    assert_eq!(
        (status.current_step_index, status.hpa_replicas),
        (Some(2), 10)
    );
    assert_eq!(
        world.events("web").await,
        [
            "RolloutUpdated",
            "NewReplicaSetCreated",
            "ScalingReplicaSet",
            "RolloutCompleted"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_good_version_goes_through_all_steps() {
    let (world, _running) = running(json!({
        "steps": [{ "setWeight": 20 }, { "pause": { "duration": "10m" } },
            { "analysis": an_analysis() }, { "setWeight": 50 }],
        "analysis": an_analysis(),
    }))
    .await;
    let fewest = world.fewest_ready_pods();
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Paused).await;
    let paused_at = world.clock.now();
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 8), ("web:2", 2)])
    );
    let hash = status.current_pod_hash;
    let background = world
        .api::<AnalysisRun>()
        .get(&format!("web-{hash}-2"))
        .await
        .unwrap();
    assert_eq!(
        background.spec.args[0].value.as_deref(),
        Some(hash.as_str())
    );
    world
        .judge(&format!("web-{hash}-2-2"), "Successful", "")
        .await;
    let waited = world.clock.now().duration_since(paused_at);
    assert!((599..=602).contains(&waited.as_secs()), "{waited}");
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    assert!(fewest.load(Ordering::Relaxed) >= 8, "{fewest:?}");
    let mut steps = world.messages("RolloutStepCompleted").await;
    steps.sort();
    assert_eq!(
        steps,
        [
            "Rollout step 1/4 completed (setWeight: 20)",
            "Rollout step 2/4 completed (pause: 10m)",
            "Rollout step 3/4 completed (analysis)",
            "Rollout step 4/4 completed (setWeight: 50)",
        ]
    );
    let background = world
        .api::<AnalysisRun>()
        .get(&background.name_any())
        .await
        .unwrap();
    assert!(background.spec.terminate, "nobody asks any more");
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_is_aborted_and_stable_keeps_its_pods() {
    let steps = json!([{ "setWeight": 50 }, { "analysis": an_analysis() }]);
    let (world, _running) = running(json!({ "steps": steps })).await;
    let fewest = world.fewest_ready_pods();
    world.release("web:2").await;
    let hash = world
        .until_status(|status| status.current_step_index == Some(1))
        .await
        .current_pod_hash;
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 5), ("web:2", 5)])
    );
    let why = "Metric \"rate\" assessed Failed due to failed (1) > failureLimit (0)";
    world.judge(&format!("web-{hash}-2-1"), "Failed", why).await;
    let status = world.until_taken_back().await;
    assert_eq!(status.phase, Some(RolloutPhase::Degraded));
    assert_eq!(
        status.message,
        format!(
            "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase \
             error/failed: {why}"
        )
    );
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    assert!(fewest.load(Ordering::Relaxed) >= 8, "{fewest:?}");

    // Retried: a fresh run, which is good.
    world.merge_status(json!({ "abort": false })).await;
    world
        .judge(&format!("web-{hash}-2-1.1"), "Successful", "")
        .await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    assert_eq!(world.list::<AnalysisRun>().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_end_waits_for_a_person() {
    let steps = json!([{ "setWeight": 20 }, { "pause": {} }]);
    let (world, _running) = running(json!({ "steps": steps })).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(24 * 3600).await;
    let status = world.status().await;
    assert_eq!(
        (status.message.as_str(), status.current_step_index),
        ("CanaryPauseStep", Some(1))
    );
    promote(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_version_comes_back_as_a_new_revision() {
    let (world, _running) = running(json!({})).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:1").await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    let sets = world.list::<ReplicaSet>().await;
    let revisions: Vec<(&str, Option<&str>)> = sets
        .iter()
        .map(|set| {
            let annotation = |key: &str| set.annotations().get(key).map(String::as_str);
            (
                annotation(labels::REVISION).unwrap(),
                annotation(labels::REVISION_HISTORY),
            )
        })
        .collect();
    assert_eq!(sets.len(), 2);
    assert!(revisions.contains(&("3", Some("1"))) && revisions.contains(&("2", None)));
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_asked() {
    let steps = json!([{ "setWeight": 20 }, { "pause": {} }]);
    let (world, _running) = running(json!({ "steps": steps })).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    for _ in 0..2 {
        seconds(60).await;
        world.server.forget_accesses();
        seconds(3600).await;
        let asked = world.server.accesses();
        let asked: Vec<_> = asked
            .keys()
            .filter(|access| access.program == PROGRAM && access.verb != "watch")
            .collect();
        assert!(asked.is_empty(), "{asked:?}");
        promote(&world).await;
        world.until_phase(RolloutPhase::Healthy).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_of_another_controller_is_left_alone() {
    let world = World::without_sources().await;
    let _running = world.start_in(Scope {
        instance_id: Some("blue".into()),
        namespace: None,
    });
    let mut rollout = a_rollout(json!({}));
    world.create::<Rollout>(rollout.clone()).await;
    rollout["metadata"] = json!({ "name": "ours", "labels": { INSTANCE_ID_LABEL: "blue" } });
    world.create::<Rollout>(rollout).await;
    seconds(60).await;
    let ours = world.api::<Rollout>().get("ours").await.unwrap();
    assert_eq!(ours.status.unwrap().phase, Some(RolloutPhase::Healthy));
    assert_eq!(world.status().await, RolloutStatus::default());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_followed_is_said_and_nothing_is_touched() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    let mut rollout = a_rollout(json!({}));
    let services = json!({ "activeService": "web", "previewService": "web" });
    rollout["spec"]["strategy"] = json!({ "blueGreen": services });
    world.create::<Rollout>(rollout).await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    let problem = "spec.strategy.blueGreen.activeService: Invalid value: \"web\": This rollout uses \
        the same service for the active and preview services, but two different services are \
        required.";
    let expected = format!("InvalidSpec: The Rollout \"web\" is invalid: {problem}");
    assert_eq!(status.message, expected);
    assert_eq!(world.events("web").await, ["InvalidSpec"]);
    assert!(world.list::<ReplicaSet>().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_template_that_comes_late_is_found() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    let steps = json!([{ "analysis": an_analysis() }]);
    world
        .create::<Rollout>(a_rollout(json!({ "steps": steps })))
        .await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    assert!(
        status
            .message
            .contains("AnalysisTemplate 'success-rate' not found"),
        "{status:?}"
    );
    world.create::<AnalysisTemplate>(a_template()).await;
    world.until_phase(RolloutPhase::Healthy).await;
}

/// A good release with a pause and an analysis, then a bad one.
async fn two_releases(trouble: Option<Trouble>) -> (Value, usize) {
    let world = World::without_sources().await;
    let story = Box::pin(async {
        world.create::<AnalysisTemplate>(a_template()).await;
        let steps = json!([{ "setWeight": 20 }, { "pause": { "duration": 60 } },
            { "analysis": an_analysis() }]);
        let mut rollout = a_rollout(json!({ "steps": steps }));
        rollout["spec"]["replicas"] = json!(3);
        world.create::<Rollout>(rollout).await;
        world.until_phase(RolloutPhase::Healthy).await;
        for (image, verdict, phase) in [
            ("web:2", "Successful", RolloutPhase::Healthy),
            ("web:3", "Failed", RolloutPhase::Degraded),
        ] {
            world.release(image).await;
            let status = world
                .until_status(|status| status.current_step_index == Some(2))
                .await;
            let revision = image.trim_start_matches("web:");
            let name = format!("web-{}-{revision}-2", status.current_pod_hash);
            world.judge(&name, verdict, "").await;
            world
                .until_status(|status| status.phase == Some(phase))
                .await;
        }
        seconds(120).await;
    });
    let writes = world.tell(trouble, story).await;
    let outcome = outcome(&world).await;
    assert_eq!(outcome["phase"], "Degraded");
    (outcome, writes)
}

#[tokio::test(start_paused = true)]
async fn killed_at_some_writes_it_ends_alike() {
    ends_alike((7, true, &BEFORE_AND_AFTER), 30..200, two_releases).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes a minute: run with --ignored after a change of the controller"]
async fn killed_at_any_write_it_ends_alike() {
    for fault in BEFORE_AND_AFTER {
        ends_alike((1, true, &[fault]), 30..200, two_releases).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failing_requests_only_delay() {
    ends_alike((8, false, &REFUSALS), 30..200, two_releases).await;
}
