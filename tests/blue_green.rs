//! Stories of blue-green Rollouts: what runs, and what users and testers reach. Verdicts of analyses
//! are given by the story.

use std::sync::atomic::Ordering;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, AnalysisTemplate, Phase, Rollout, RolloutPhase, RolloutStatus};
use verdict::rollout::{labels, operations};

use crate::world::release::{a_rollout, a_rollout_with, pods};
use crate::world::trouble::{BEFORE_AND_AFTER, REFUSALS, Trouble, ends_alike, outcome};
use crate::world::{Running, World, seconds};

/// The Rollout with an active and a preview Service; `change` is merged into the strategy.
fn blue_green(change: &Value) -> Value {
    let mut strategy = json!({ "activeService": "active", "previewService": "preview" });
    json_patch::merge(&mut strategy, change);
    a_rollout_with(json!({ "blueGreen": strategy }))
}

fn a_template() -> Value {
    json!({
        "metadata": { "name": "up" },
        "spec": { "metrics": [{ "name": "up", "provider": { "web": { "url": "http://stats/" } } }] },
    })
}

fn judged(when: &str) -> Value {
    json!({ when: { "templates": [{ "templateName": "up" }] } })
}

/// A cluster with version 1 running for a minute.
async fn running(change: &Value) -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    world.create_services(&["active", "preview"]).await;
    world.create::<AnalysisTemplate>(a_template()).await;
    world.create::<Rollout>(blue_green(change)).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    (world, running)
}

impl World {
    /// Which version users reach, and which testers do.
    async fn served(&self) -> (Vec<(String, usize)>, Vec<(String, usize)>) {
        (self.behind("active").await, self.behind("preview").await)
    }

    /// Waits until the active Service selects the wanted version.
    async fn until_switched(&self) -> RolloutStatus {
        self.until_status(|status| {
            status.blue_green.active_selector == status.current_pod_hash
                && status.phase != Some(RolloutPhase::Paused)
        })
        .await
    }

    /// Waits until the wanted version is up and its run exists; tells the run's name.
    async fn trial(&self, suffix: &str) -> String {
        let rollout: Rollout = self.get("web").await;
        let generation = rollout.metadata.generation.unwrap().to_string();
        let status = Box::pin(self.until_status(|status| {
            let slots = &status.blue_green;
            let slot = if suffix.starts_with("-pre") {
                &slots.pre_promotion_analysis_run_status
            } else {
                &slots.post_promotion_analysis_run_status
            };
            status.observed_generation == generation
                && slot
                    .as_ref()
                    .is_some_and(|slot| slot.name.ends_with(suffix))
        }))
        .await;
        let rollout: Rollout = self.get("web").await;
        let revision = &rollout.annotations()[labels::REVISION];
        let name = format!("web-{}-{revision}{suffix}", status.current_pod_hash);
        let runs = self.api::<AnalysisRun>();
        while Box::pin(runs.get_opt(&name)).await.unwrap().is_none() {
            seconds(1).await;
        }
        name
    }

    async fn abort(&self) {
        self.operate(&operations::abort()).await;
    }

    async fn promote(&self) {
        let rollout: Rollout = self.get("web").await;
        self.operate(&operations::promote(&rollout)).await;
    }

    async fn resize(&self, replicas: i32) {
        let patch = json!({ "spec": { "replicas": replicas } });
        let scaled = self
            .api::<Rollout>()
            .patch_scale("web", &PatchParams::default(), &Patch::Merge(patch))
            .await;
        scaled.unwrap();
    }
}

/// An hour in which the controllers ask nothing.
async fn is_at_rest(world: &World) {
    seconds(60).await;
    world.server.forget_accesses();
    seconds(3600).await;
    assert_eq!(world.requests(), 0, "{:?}", world.server.accesses());
}

fn ten(image: &str) -> Vec<(String, usize)> {
    pods(&[(image, 10)])
}

#[tokio::test(start_paused = true)]
async fn a_first_version_is_served_when_all_of_it_is_ready() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    world.create_services(&["active", "preview"]).await;
    world.create::<Rollout>(blue_green(&json!({}))).await;
    let status = world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.served().await, (ten("web:1"), ten("web:1")));
    let service: Service = world.get("active").await;
    let selector = service.spec.as_ref().unwrap().selector.as_ref().unwrap();
    assert_eq!(selector[labels::POD_TEMPLATE_HASH], status.stable_rs);
    assert_eq!(service.annotations()[labels::MANAGED_BY], "web");
    let mut events = world.events("web").await;
    events.sort();
    assert_eq!(
        events,
        [
            "NewReplicaSetCreated",
            "RolloutCompleted",
            "RolloutUpdated",
            "ScalingReplicaSet",
            "SwitchService",
            "SwitchService",
        ]
    );
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_person_promotes_and_the_old_version_leaves_half_a_minute_later() {
    let (world, _running) = running(&json!({ "autoPromotionEnabled": false })).await;
    let fewest = world.fewest_pods_behind("active");
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(status.message, "BlueGreenPause");
    assert_eq!(world.served().await, (ten("web:1"), ten("web:2")));
    is_at_rest(&world).await;
    world.promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    let switched_at = world.clock.now();
    assert_eq!(world.served().await, (ten("web:2"), ten("web:2")));
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 10), ("web:2", 10)])
    );
    let old = world.list::<ReplicaSet>().await;
    let old = old
        .iter()
        .find(|set| !set.name_any().ends_with(&status.current_pod_hash));
    let is_empty = |set: &ReplicaSet| set.spec.as_ref().unwrap().replicas == Some(0);
    let gone = world.until(&old.unwrap().name_any(), is_empty).await;
    let left = world.clock.now().duration_since(switched_at).as_secs();
    assert!((28..=31).contains(&left), "{left} s");
    assert!(!gone.annotations().contains_key(labels::SCALE_DOWN_DEADLINE));
    assert_eq!(fewest.load(Ordering::Relaxed), 10);
    assert_eq!(
        world.messages("RolloutPaused").await,
        ["Rollout is paused (BlueGreenPause)"]
    );
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_timed_pause_ends_at_its_time() {
    let (world, _running) = running(&json!({ "autoPromotionSeconds": 3600 })).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    let paused_at = world.clock.now();
    world.until_phase(RolloutPhase::Healthy).await;
    let waited = world.clock.now().duration_since(paused_at).as_secs();
    assert!((3599..=3602).contains(&waited), "{waited} s");
    assert_eq!(
        world.messages("RolloutResumed").await,
        ["Rollout is resumed"]
    );

    // Or when somebody promotes.
    world.release("web:3").await;
    world.until_phase(RolloutPhase::Paused).await;
    let paused_at = world.clock.now();
    world.promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    let waited = world.clock.now().duration_since(paused_at).as_secs();
    assert!(waited < 5, "{waited} s");
    assert_eq!(world.served().await, (ten("web:3"), ten("web:3")));
}

#[tokio::test(start_paused = true)]
async fn a_preview_of_two_pods_grows_before_it_is_served() {
    let strategy = json!({ "previewReplicaCount": 2, "autoPromotionEnabled": false });
    let (world, _running) = running(&strategy).await;
    let fewest = world.fewest_pods_behind("active");
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(world.served().await, (ten("web:1"), pods(&[("web:2", 2)])));
    world.promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.served().await, (ten("web:2"), ten("web:2")));
    assert_eq!(fewest.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn a_good_version_passes_both_analyses() {
    let mut strategy = judged("prePromotionAnalysis");
    json_patch::merge(&mut strategy, &judged("postPromotionAnalysis"));
    let (world, _running) = running(&strategy).await;
    world.release("web:2").await;
    let before = world.trial("-pre").await;
    assert_eq!(world.served().await, (ten("web:1"), ten("web:2")));
    world.judge(&before, "Successful", "").await;
    let after = world.trial("-post").await;
    assert_eq!(world.served().await, (ten("web:2"), ten("web:2")));
    let status = world.status().await;
    assert_eq!(status.message, "waiting for analysis to complete");
    assert_ne!(status.stable_rs, status.current_pod_hash);
    let run: AnalysisRun = world.get(&after).await;
    assert_eq!(run.labels()[labels::ROLLOUT_TYPE], "PostPromotion");
    world.judge(&after, "Successful", "").await;
    let status = world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(status.stable_rs, status.current_pod_hash);
    let verdicts = [
        status.blue_green.pre_promotion_analysis_run_status,
        status.blue_green.post_promotion_analysis_run_status,
    ];
    for verdict in verdicts {
        assert_eq!(verdict.unwrap().status, Some(Phase::Successful));
    }
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_fails_in_preview_is_never_served() {
    let (world, _running) = running(&judged("prePromotionAnalysis")).await;
    let fewest = world.fewest_pods_behind("active");
    world.release("web:2").await;
    let run = world.trial("-pre").await;
    world
        .judge(&run, "Failed", "Metric \"up\" assessed Failed")
        .await;
    let status = world.until_taken_back().await;
    assert_eq!(
        status.message,
        "RolloutAborted: Rollout aborted update to revision 2: Blue/green pre-promotion analysis \
         phase error/failed: Metric \"up\" assessed Failed"
    );
    assert_eq!(world.served().await, (ten("web:1"), vec![]));
    assert_eq!(world.ready_pods().await, ten("web:1"));
    is_at_rest(&world).await;

    // Retried: a fresh analysis of a fresh preview.
    world.merge_status(json!({ "abort": false })).await;
    let again = world.trial("-pre.1").await;
    assert_eq!(again, format!("{run}.1"));
    assert_eq!(world.served().await, (ten("web:1"), ten("web:2")));
    world.judge(&again, "Successful", "").await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.served().await, (ten("web:2"), ten("web:2")));
    assert_eq!(fewest.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_fails_when_it_is_served_is_switched_back() {
    let (world, _running) = running(&judged("postPromotionAnalysis")).await;
    let fewest = world.fewest_pods_behind("active");
    world.release("web:2").await;
    let run = world.trial("-post").await;
    assert_eq!(world.behind("active").await, ten("web:2"));
    // However long that takes: the old version is kept.
    seconds(3600).await;
    let failed_at = world.clock.now();
    world.judge(&run, "Failed", "").await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    assert!(
        status
            .message
            .ends_with("Blue/green post-promotion analysis phase error/failed")
    );
    seconds(1).await;
    assert_eq!(world.behind("active").await, ten("web:1"));
    assert!(world.clock.now().duration_since(failed_at).as_secs() < 3);
    world.until_taken_back().await;
    assert_eq!(world.ready_pods().await, ten("web:1"));
    assert_eq!(fewest.load(Ordering::Relaxed), 10);
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_undecided_version_waits_for_a_person() {
    let (world, _running) = running(&judged("prePromotionAnalysis")).await;
    world.release("web:2").await;
    let run = world.trial("-pre").await;
    world.judge(&run, "Inconclusive", "").await;
    let status = world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(status.message, "InconclusiveAnalysisRun");
    is_at_rest(&world).await;
    assert_eq!(world.served().await, (ten("web:1"), ten("web:2")));
    world.promote().await;
    let again = world.trial("-pre.1").await;
    world.judge(&again, "Successful", "").await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.served().await, (ten("web:2"), ten("web:2")));
}

#[tokio::test(start_paused = true)]
async fn a_person_aborts_before_and_after_the_switch() {
    let mut strategy = judged("postPromotionAnalysis");
    strategy["autoPromotionEnabled"] = json!(false);
    strategy["abortScaleDownDelaySeconds"] = json!(300);
    let (world, _running) = running(&strategy).await;
    let fewest = world.fewest_pods_behind("active");
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    for is_switched in [false, true] {
        if is_switched {
            world.merge_status(json!({ "abort": false })).await;
            world.until_phase(RolloutPhase::Paused).await;
            world.promote().await;
            world.until_switched().await;
        }
        let aborted_at = world.clock.now();
        world.abort().await;
        world.until_taken_back().await;
        let left = world.clock.now().duration_since(aborted_at).as_secs();
        assert!((299..=303).contains(&left), "{left} s");
        assert_eq!(world.behind("active").await, ten("web:1"));
    }
    assert_eq!(fewest.load(Ordering::Relaxed), 10);
    let runs = world.list::<AnalysisRun>().await;
    assert!(runs.iter().all(|run| run.spec.terminate), "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn going_back_in_time_is_immediate() {
    let mut strategy = judged("prePromotionAnalysis");
    strategy["autoPromotionEnabled"] = json!(false);
    let (world, _running) = running(&strategy).await;
    world.release("web:2").await;
    let run = world.trial("-pre").await;
    world.judge(&run, "Successful", "").await;
    world.until_phase(RolloutPhase::Paused).await;
    world.promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    let fewest = world.fewest_pods_behind("active");
    seconds(20).await;
    let asked_at = world.clock.now();
    world.release("web:1").await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert!(world.clock.now().duration_since(asked_at).as_secs() < 2);
    assert_eq!(world.served().await, (ten("web:1"), ten("web:1")));
    assert_eq!(world.list::<AnalysisRun>().await.len(), 1);
    assert_eq!(fewest.load(Ordering::Relaxed), 10);
    let mut told = world.messages("RolloutCompleted").await;
    told.sort();
    assert!(
        told.iter().any(|told| told.ends_with(": Fast rollback")),
        "{told:?}"
    );
    seconds(60).await;
    assert_eq!(world.ready_pods().await, ten("web:1"));
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn going_back_within_the_window_takes_no_consent_either() {
    let (world, _running) = running(&json!({ "autoPromotionEnabled": false })).await;
    let window = json!({ "spec": { "rollbackWindow": { "revisions": 1 } } });
    world.merge::<Rollout>("web", window).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    world.promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(3600).await;
    assert_eq!(world.ready_pods().await, ten("web:2"));
    world.release("web:1").await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.served().await, (ten("web:1"), ten("web:1")));
}

#[tokio::test(start_paused = true)]
async fn old_versions_wait_as_long_and_as_many_as_may() {
    let strategy = json!({ "scaleDownDelaySeconds": 7200, "scaleDownDelayRevisionLimit": 1 });
    let (world, _running) = running(&strategy).await;
    for image in ["web:2", "web:3"] {
        world.release(image).await;
        world.until_phase(RolloutPhase::Healthy).await;
        seconds(60).await;
    }
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:2", 10), ("web:3", 10)])
    );
    is_at_rest(&world).await;
    seconds(3600).await;
    assert_eq!(world.ready_pods().await, ten("web:3"));

    let none = json!({ "scaleDownDelaySeconds": 0 });
    let patch = json!({ "spec": { "strategy": { "blueGreen": none } } });
    world.merge::<Rollout>("web", patch).await;
    world.release("web:4").await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(10).await;
    assert_eq!(world.ready_pods().await, ten("web:4"));
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_missing_is_named_and_used_as_soon_as_it_is_there() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    world.create_services(&["preview"]).await;
    world.create::<Rollout>(blue_green(&json!({}))).await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    assert_eq!(
        status.message,
        "InvalidSpec: The Rollout \"web\" is invalid: spec.strategy.blueGreen.activeService: \
         Invalid value: \"active\": service \"active\" not found"
    );
    is_at_rest(&world).await;
    let arrived_at = world.clock.now();
    world.create_services(&["active"]).await;
    world.until_phase(RolloutPhase::Healthy).await;
    let waited = world.clock.now().duration_since(arrived_at).as_secs();
    assert!(waited < 10, "{waited} s");
    assert_eq!(world.served().await, (ten("web:1"), ten("web:1")));

    // One that is made anew selects the right version again.
    world
        .delete::<Service>("active", PropagationPolicy::Background)
        .await;
    world.until_phase(RolloutPhase::Degraded).await;
    world.create_services(&["active"]).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(1).await;
    let service: Service = world.get("active").await;
    let selector = service.spec.unwrap().selector.unwrap();
    assert!(selector.contains_key(labels::POD_TEMPLATE_HASH));
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_somebody_wipes_is_put_right_at_once() {
    let (world, _running) = running(&json!({ "autoPromotionEnabled": false })).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    let wiped = json!({ "spec": { "selector": { labels::POD_TEMPLATE_HASH: null } } });
    world.merge::<Service>("active", wiped).await;
    seconds(1).await;
    assert_eq!(world.served().await, (ten("web:1"), ten("web:2")));
    assert_eq!(world.status().await.message, "BlueGreenPause");
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_sees_and_sizes_what_users_reach() {
    let (world, _running) = running(&json!({ "autoPromotionEnabled": false })).await;
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Paused).await;
    let scale = world.api::<Rollout>().get_scale("web").await.unwrap();
    let seen = scale.status.unwrap();
    assert_eq!(seen.replicas, 10, "not those of the preview");
    let selector = format!("app=web,{}={}", labels::POD_TEMPLATE_HASH, status.stable_rs);
    assert_eq!(seen.selector.as_deref(), Some(selector.as_str()));
    // A pause holds no autoscaler up.
    for replicas in [14, 6] {
        world.resize(replicas).await;
        seconds(30).await;
        let all = usize::try_from(replicas).unwrap();
        let both = (pods(&[("web:1", all)]), pods(&[("web:2", all)]));
        assert_eq!(world.served().await, both);
        let status = world.status().await;
        assert_eq!(
            (status.message.as_str(), status.hpa_replicas),
            ("BlueGreenPause", replicas)
        );
    }
    world.promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.resize(8).await;
    world.until_status(|status| status.hpa_replicas == 8).await;
    seconds(30).await;
    assert_eq!(world.behind("active").await, pods(&[("web:2", 8)]));
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_never_gets_ready_misses_its_deadline() {
    let (world, _running) = running(&json!({})).await;
    let settings =
        json!({ "spec": { "progressDeadlineSeconds": 120, "progressDeadlineAbort": true } });
    world.merge::<Rollout>("web", settings).await;
    let never = json!({ "simulation.verdict.dev/never-ready": "true" });
    let template = json!({ "metadata": { "annotations": never } });
    let patch = json!({ "spec": { "template": template } });
    let began = world.clock.now();
    world.merge::<Rollout>("web", patch).await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    let waited = world.clock.now().duration_since(began).as_secs();
    assert!((120..=130).contains(&waited), "{waited} s");
    assert_eq!(
        status.message,
        format!(
            "RolloutAborted: Rollout aborted update to revision 2: ReplicaSet \"web-{}\" has timed \
             out progressing.",
            status.current_pod_hash
        )
    );
    world.until_taken_back().await;
    assert_eq!(world.behind("active").await, ten("web:1"));
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_canary_becomes_blue_green_and_a_canary_again() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    world.create_services(&["active", "preview"]).await;
    let canary = json!({ "steps": [{ "setWeight": 20 }, { "pause": {} }] });
    world.create::<Rollout>(a_rollout(canary.clone())).await;
    world.until_phase(RolloutPhase::Healthy).await;
    let strategy = &blue_green(&json!({ "autoPromotionEnabled": false }))["spec"]["strategy"];
    let blue_green = json!({ "canary": null, "blueGreen": strategy["blueGreen"] });
    world
        .merge::<Rollout>("web", json!({ "spec": { "strategy": blue_green } }))
        .await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    assert_eq!(world.served().await, (ten("web:1"), ten("web:2")));
    world.promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.served().await, (ten("web:2"), ten("web:2")));

    let canary = json!({ "canary": canary, "blueGreen": null });
    world
        .merge::<Rollout>("web", json!({ "spec": { "strategy": canary } }))
        .await;
    seconds(60).await;
    let status = world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(status.blue_green, verdict::api::BlueGreenStatus::default());
    // The Services are as their author wrote them, and the old version is gone.
    for name in ["active", "preview"] {
        let service: Service = world.get(name).await;
        let selector = service.spec.as_ref().unwrap().selector.as_ref().unwrap();
        assert!(!selector.contains_key(labels::POD_TEMPLATE_HASH), "{name}");
        assert!(
            !service.annotations().contains_key(labels::MANAGED_BY),
            "{name}"
        );
    }
    assert_eq!(world.served().await, (ten("web:2"), ten("web:2")));
    world.release("web:3").await;
    world.until_phase(RolloutPhase::Paused).await;
    let shares = pods(&[("web:2", 8), ("web:3", 2)]);
    assert_eq!(world.served().await, (shares.clone(), shares));
}

/// A good release with both analyses and a pause, then one that fails only when it is served, then
/// one that somebody aborts.
async fn three_releases(trouble: Option<Trouble>) -> (Value, usize) {
    let world = World::without_sources().await;
    let story = Box::pin(async {
        let mut strategy = judged("prePromotionAnalysis");
        json_patch::merge(&mut strategy, &judged("postPromotionAnalysis"));
        strategy["autoPromotionSeconds"] = json!(30);
        strategy["previewReplicaCount"] = json!(1);
        world.create_services(&["active", "preview"]).await;
        world.create::<AnalysisTemplate>(a_template()).await;
        let mut rollout = blue_green(&strategy);
        rollout["spec"]["replicas"] = json!(3);
        world.create::<Rollout>(rollout).await;
        world.until_phase(RolloutPhase::Healthy).await;
        let fewest = world.fewest_pods_behind("active");
        for (image, after, phase) in [
            ("web:2", "Successful", RolloutPhase::Healthy),
            ("web:3", "Failed", RolloutPhase::Degraded),
        ] {
            world.release(image).await;
            let run = world.trial("-pre").await;
            world.judge(&run, "Successful", "").await;
            let run = world.trial("-post").await;
            world.judge(&run, after, "").await;
            world
                .until_status(|status| status.phase == Some(phase))
                .await;
        }
        world.release("web:4").await;
        world.trial("-pre").await;
        world.abort().await;
        world
            .until_status(|status| status.aborted_at.is_some())
            .await;
        seconds(120).await;
        assert_eq!(world.behind("active").await, pods(&[("web:2", 3)]));
        assert_eq!(fewest.load(Ordering::Relaxed), 3, "users noticed");
    });
    let writes = world.tell(trouble, story).await;
    let outcome = outcome(&world).await;
    assert_eq!(outcome["phase"], "Degraded");
    assert_eq!(outcome["pods"], json!([["web:2", 3]]));
    (outcome, writes)
}

#[tokio::test(start_paused = true)]
async fn killed_at_some_writes_it_ends_alike() {
    ends_alike((7, true, &BEFORE_AND_AFTER), 40..200, three_releases).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes a minute: run with --ignored after a change of the controller"]
async fn killed_at_any_write_it_ends_alike() {
    for fault in BEFORE_AND_AFTER {
        ends_alike((1, true, &[fault]), 40..200, three_releases).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failing_requests_only_delay() {
    ends_alike((8, false, &REFUSALS), 40..200, three_releases).await;
}
