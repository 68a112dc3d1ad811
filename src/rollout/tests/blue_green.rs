//! Blue-green updates: the way forward.

use super::*;
use crate::api::RolloutPhase;

/// Version 1 of a Rollout with ten pods and two Services; `change` is merged into the strategy.
pub(super) fn new(change: Value) -> World {
    let mut strategy = json!({"activeService": "active", "previewService": "preview"});
    json_patch::merge(&mut strategy, &change);
    let world = World::with_strategy(json!({ "blueGreen": strategy }));
    world
        .with_services(&["active", "preview"])
        .with_template("up")
}

/// The same, with version 1 running for a minute.
pub(super) fn running(change: Value) -> World {
    let mut world = new(change).started();
    world.wait(60);
    world
}

pub(super) fn judged(when: &str) -> Value {
    json!({ when: {"templates": [{"templateName": "up"}]} })
}

impl World {
    /// The images behind the active and the preview Service.
    pub(super) fn served(&self) -> (String, String) {
        (self.behind("active"), self.behind("preview"))
    }

    /// The deadline of the ReplicaSet of this image.
    pub(super) fn deadline(&self, wanted: &str) -> Option<&String> {
        let set = self.replica_sets.iter().find(|set| image(set) == wanted);
        set.unwrap().annotations().get(labels::SCALE_DOWN_DEADLINE)
    }

    /// The name of the run that judges the wanted version.
    pub(super) fn trial(&self, suffix: &str) -> String {
        let revision = &self.rollout.annotations()[labels::REVISION];
        format!("web-{}-{revision}{suffix}", self.status().current_pod_hash)
    }

    pub(super) fn fail(&mut self, suffix: &str) {
        let name = self.trial(suffix);
        self.end_run(&name, Phase::Failed, "Metric \"up\" assessed Failed");
    }

    pub(super) fn succeed(&mut self, suffix: &str) {
        let name = self.trial(suffix);
        self.end_run(&name, Phase::Successful, "");
    }
}

pub(super) fn both(active: &str, preview: &str) -> (String, String) {
    (active.to_owned(), preview.to_owned())
}

#[test]
fn a_first_version_serves_when_all_its_pods_do() {
    let mut strategy = judged("prePromotionAnalysis");
    strategy["autoPromotionEnabled"] = json!(false);
    let mut world = new(strategy);
    for _ in 0..3 {
        world.pass();
        world.kubelet(4);
    }
    assert_eq!(world.served(), both("", "web:1"));
    assert_eq!(
        world.summary(),
        "Progressing updated replicas are still becoming available"
    );
    world.settle();
    let status = world.status();
    let hash = status.current_pod_hash.as_str();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.served(), both("web:1", "web:1"));
    assert_eq!((status.stable_rs.as_str(), world.runs.len()), (hash, 0));
    let selectors = &status.blue_green;
    assert_eq!(
        (&*selectors.active_selector, &*selectors.preview_selector),
        (hash, hash)
    );
    assert_eq!(
        (status.hpa_replicas, status.selector),
        (10, format!("app=web,rollouts-pod-template-hash={hash}"))
    );
    let expected = format!("Rollout completed update to revision 1 ({hash}): Initial deploy");
    assert_eq!(world.told("RolloutCompleted"), [expected]);
    assert_eq!(status.current_step_hash, "");
    assert_eq!(status.current_step_index, None);
}

#[test]
fn without_a_pause_the_active_service_is_switched_when_all_pods_are_up() {
    let mut world = running(json!({}));
    world.release("web:2");
    world.pass();
    world.pass();
    world.kubelet(9);
    world.pass();
    assert_eq!(world.served(), both("web:1", "web:2"));
    assert_eq!(
        world.summary(),
        "Progressing active service cutover pending"
    );
    let (old, status) = (world.status().stable_rs, world.status());
    assert_eq!((status.available_replicas, status.hpa_replicas), (10, 10));
    assert_eq!((status.updated_replicas, status.replicas), (10, 20));
    world.settle();
    let new = world.status().stable_rs;
    assert_eq!(world.served(), both("web:2", "web:2"));
    assert_eq!(world.summary(), "Healthy");
    let switched = |service: &str| {
        format!("Switched selector for service '{service}' from '{old}' to '{new}'")
    };
    assert_eq!(
        world.told("SwitchService"),
        [switched("preview"), switched("active")]
    );
    let expected =
        format!("Rollout completed update to revision 2 ({new}): Completed blue-green update");
    assert_eq!(world.told("RolloutCompleted"), [expected]);

    // The old version stays for half a minute.
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    assert_eq!(world.deadline("web:1").unwrap(), "2026-01-01T00:01:30Z");
    let left = world.wake_at.unwrap().duration_since(world.now);
    assert_eq!(left, SignedDuration::from_secs(30));
    world.wait(29);
    assert_eq!(world.pods().len(), 2);
    world.wait(1);
    assert_eq!(world.pods(), pods(&[("web:2", 10)]));
    assert_eq!((world.deadline("web:1"), world.wake_at), (None, None));
    assert_eq!(world.summary(), "Healthy");
}

#[test]
fn a_person_promotes() {
    let mut world = running(json!({"autoPromotionEnabled": false, "autoPromotionSeconds": 5}));
    world.release("web:2");
    world.settle();
    world.wait(3600);
    assert_eq!(world.summary(), "Paused BlueGreenPause");
    assert_eq!(world.served(), both("web:1", "web:2"));
    assert_eq!(world.wake_at, None, "only a person can change this");
    assert_eq!(
        world.told("RolloutPaused"),
        ["Rollout is paused (BlueGreenPause)"]
    );
    world.promote();
    world.pass();
    assert_eq!(world.served(), both("web:2", "web:2"));
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert!(!world.status().blue_green.scale_up_preview_check_point);
}

#[test]
fn a_timed_pause_ends_by_itself_or_by_a_person() {
    for by_hand in [false, true] {
        let mut world = running(json!({"autoPromotionSeconds": 300}));
        world.release("web:2");
        world.settle();
        let left = world.wake_at.unwrap().duration_since(world.now);
        assert_eq!(left, SignedDuration::from_secs(300));
        world.wait(299);
        assert_eq!(world.summary(), "Paused BlueGreenPause");
        if by_hand {
            world.promote();
            world.settle();
        } else {
            world.wait(1);
            assert_eq!(world.told("RolloutResumed"), ["Rollout is resumed"]);
        }
        assert_eq!(world.served(), both("web:2", "web:2"), "by hand: {by_hand}");
        assert_eq!(world.summary(), "Healthy");
    }
}

#[test]
fn consent_is_not_forgotten_while_the_switch_has_to_wait() {
    let mut world = running(json!({"autoPromotionEnabled": false}));
    world.release("web:2");
    world.settle();
    // A pod dies in the moment of consent.
    let hash = world.status().current_pod_hash;
    let new = |world: &World| {
        let mut sets = world.replica_sets.iter();
        sets.position(|set| set.name_any().ends_with(&hash))
            .unwrap()
    };
    let at = new(&world);
    let status = world.replica_sets[at].status.as_mut().unwrap();
    status.available_replicas = Some(9);
    world.promote();
    world.pass();
    world.pass();
    assert_eq!(world.served(), both("web:1", "web:2"));
    assert_eq!(
        world.summary(),
        "Progressing active service cutover pending"
    );
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:2"));

    // Held by a person, and promoted in two steps, as the kubectl plugin does.
    world.wait(60);
    world.release("web:3");
    world.settle();
    world.change_spec(|spec| spec.paused = true);
    world.settle();
    world.promote();
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:3"));
    world.change_spec(|spec| spec.paused = false);
    world.settle();
    assert_eq!(world.served(), both("web:3", "web:3"));
    assert_eq!(world.summary(), "Healthy");
}

#[test]
fn a_preview_of_few_pods_grows_when_it_is_agreed_to() {
    let mut world = running(json!({"previewReplicaCount": 2, "autoPromotionEnabled": false}));
    world.release("web:2");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 2)]));
    assert_eq!(world.summary(), "Paused BlueGreenPause");
    world.promote();
    world.pass();
    assert!(world.status().blue_green.scale_up_preview_check_point);
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    assert_eq!(world.served(), both("web:1", "web:2"));
    // Whoever pauses now keeps what there is.
    world.change_spec(|spec| spec.paused = true);
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    assert_eq!(world.served(), both("web:1", "web:2"));
    world.change_spec(|spec| spec.paused = false);
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:2"));
    assert!(!world.status().blue_green.scale_up_preview_check_point);
    assert_eq!(world.summary(), "Healthy");
}

#[test]
fn a_preview_of_few_pods_that_nobody_has_to_agree_to_is_seen_first() {
    let mut strategy = judged("prePromotionAnalysis");
    strategy["previewReplicaCount"] = json!(3);
    let mut world = running(strategy);
    world.release("web:2");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 3)]));
    assert_eq!(world.runs.len(), 1);
    world.succeed("-pre");
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:2"));
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
}

#[test]
fn an_analysis_before_the_switch_comes_before_the_pause() {
    let mut strategy = judged("prePromotionAnalysis");
    strategy["autoPromotionSeconds"] = json!(60);
    let mut world = running(strategy);
    world.release("web:2");
    world.settle();
    let name = world.trial("-pre");
    let run = world.run(&name).clone();
    assert_eq!(run.labels()[labels::ROLLOUT_TYPE], "PrePromotion");
    let hash = world.status().current_pod_hash;
    assert_eq!(run.labels()[labels::POD_TEMPLATE_HASH], hash);
    world.end_run(&name, Phase::Running, "");
    world.wait(7200);
    assert_eq!(
        world.summary(),
        "Progressing active service cutover pending",
        "the deadline is not about analyses"
    );
    world.succeed("-pre");
    world.settle();
    assert_eq!(world.summary(), "Paused BlueGreenPause");
    world.wait(60);
    assert_eq!(world.summary(), "Healthy");
    let kept = world.status().blue_green.pre_promotion_analysis_run_status;
    assert_eq!(kept.unwrap().status, Some(Phase::Successful));
    assert_eq!(
        world.told("AnalysisRunSuccessful"),
        [format!(
            "PrePromotion Analysis Run '{name}' Status New: 'Successful' Previous: 'Running'"
        )]
    );
    // Another template: nothing of it is left.
    world.release("web:3");
    world.pass();
    assert_eq!(
        world.status().blue_green.pre_promotion_analysis_run_status,
        None
    );
}

#[test]
fn a_version_that_fails_before_the_switch_is_never_served() {
    let mut world = running(judged("prePromotionAnalysis"));
    world.release("web:2");
    world.settle();
    world.fail("-pre");
    world.settle();
    let message = "RolloutAborted: Rollout aborted update to revision 2: Blue/green pre-promotion \
        analysis phase error/failed: Metric \"up\" assessed Failed";
    assert_eq!(world.summary(), format!("Degraded {message}"));
    assert_eq!(world.served(), both("web:1", "web:2"));
    assert_eq!(world.told("RolloutAborted").len(), 1);
    let kept = world.status().blue_green.pre_promotion_analysis_run_status;
    assert_eq!(kept.unwrap().status, Some(Phase::Failed));
    // Its pods stay for half a minute.
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    world.wait(29);
    assert_eq!(world.pods().len(), 2);
    world.wait(1);
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    world.wait(86_400);
    assert_eq!(world.summary(), format!("Degraded {message}"), "it sticks");

    // Retried: judged afresh, when the pods are up again.
    world.retry();
    world.pass();
    assert!(
        world
            .condition(&ConditionType::Progressing)
            .starts_with("Unknown RolloutRetry")
    );
    world.settle();
    assert_eq!(world.served(), both("web:1", "web:2"));
    world.succeed("-pre.1");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.served(), both("web:2", "web:2"));
}

#[test]
fn an_inconclusive_analysis_pauses_once_and_is_asked_again_when_resumed() {
    for (when, suffix, active) in [
        ("prePromotionAnalysis", "-pre", "web:1"),
        ("postPromotionAnalysis", "-post", "web:2"),
    ] {
        let mut strategy = judged(when);
        strategy["scaleDownDelaySeconds"] = json!(10);
        let mut world = running(strategy);
        world.release("web:2");
        world.settle();
        let name = world.trial(suffix);
        world.end_run(&name, Phase::Inconclusive, "");
        world.settle();
        assert_eq!(world.summary(), "Paused InconclusiveAnalysisRun");
        world.wait(3600);
        assert_eq!(world.behind("active"), active);
        assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
        world.promote();
        world.settle();
        assert_eq!(world.runs.len(), 2);
        assert_eq!(world.told("RolloutPaused").len(), 1);
        world.succeed(&format!("{suffix}.1"));
        world.settle();
        assert_eq!(world.summary(), "Healthy", "{when}");
        assert_eq!(world.served(), both("web:2", "web:2"));
    }
}

#[test]
fn a_verdict_counts_even_when_its_run_is_deleted() {
    let mut strategy = judged("prePromotionAnalysis");
    strategy["autoPromotionEnabled"] = json!(false);
    let mut world = running(strategy);
    world.release("web:2");
    world.settle();
    world.succeed("-pre");
    world.settle();
    world.runs.clear();
    world.settle();
    assert_eq!(world.summary(), "Paused BlueGreenPause");
    assert!(world.runs.is_empty(), "it is not asked again");
    world.promote();
    world.settle();
    assert_eq!(world.summary(), "Healthy");
}

#[test]
fn promoting_in_full_skips_pauses_and_analyses() {
    let mut strategy = judged("prePromotionAnalysis");
    json_patch::merge(&mut strategy, &judged("postPromotionAnalysis"));
    json_patch::merge(
        &mut strategy,
        &json!({"autoPromotionEnabled": false, "previewReplicaCount": 1}),
    );
    let mut world = running(strategy);
    world.release("web:2");
    world.settle();
    world.change_status(|status| status.promote_full = true);
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.served(), both("web:2", "web:2"));
    assert!(!world.status().promote_full);
    assert_eq!(world.runs.len(), 1);
    assert!(world.runs[0].spec.terminate, "nobody asks any more");
    let told = world.told("RolloutCompleted");
    assert!(told[0].ends_with("Full promotion requested"), "{told:?}");
    // Its last word is noted, and means nothing.
    world.fail("-pre");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    let kept = world.status().blue_green.pre_promotion_analysis_run_status;
    assert_eq!(kept.unwrap().status, Some(Phase::Failed));
}

#[test]
fn a_paused_rollout_switches_nothing_but_follows_its_size() {
    let mut world = running(json!({}));
    world.change_spec(|spec| spec.paused = true);
    world.release("web:2");
    world.settle();
    assert_eq!(world.summary(), "Paused manually paused");
    assert_eq!(world.served(), both("web:1", "web:1"));
    world.change_spec(|spec| spec.replicas = Some(5));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 5), ("web:2", 5)]));
    assert_eq!(world.status().hpa_replicas, 5);
    world.change_spec(|spec| spec.paused = false);
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:2"));
}

#[test]
fn a_rollout_of_no_pods_is_updated_and_its_services_know_it() {
    let mut world = running(json!({}));
    world.change_spec(|spec| spec.replicas = Some(0));
    world.settle();
    world.release("web:2");
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:2"));
    assert_eq!((world.summary(), world.pods()), ("Healthy".into(), vec![]));
    world.change_spec(|spec| spec.replicas = Some(3));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:2", 3)]));
}

#[test]
fn a_selector_that_others_change_is_put_right_at_once() {
    let mut world = running(json!({"autoPromotionEnabled": false}));
    world.release("web:2");
    world.settle();
    let (old, new) = (world.status().stable_rs, world.status().current_pod_hash);
    for other in [None, Some(&new), Some(&"gone".to_owned())] {
        let service = world.services.get_mut("active").unwrap();
        let selector = service.spec.as_mut().unwrap().selector.as_mut().unwrap();
        match other {
            None => selector.remove(labels::POD_TEMPLATE_HASH),
            Some(hash) => selector.insert(labels::POD_TEMPLATE_HASH.into(), hash.clone()),
        };
        world.pass();
        assert_eq!(world.served(), both("web:1", "web:2"), "{other:?}");
        assert_eq!(world.summary(), "Paused BlueGreenPause");
    }
    assert_eq!(world.status().blue_green.active_selector, old);
}

#[test]
fn a_canary_that_becomes_blue_green_hands_its_traffic_to_the_stable_version_first() {
    let canary = steps(json!([{"setWeight": 20}, {"pause": {}}]));
    let mut world = World::running(canary).with_services(&["active", "preview"]);
    world.wait(60);
    world.release("web:2");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
    world.change_spec(|spec| {
        let strategy = json!({"blueGreen": {"activeService": "active", "previewService": "preview",
            "autoPromotionEnabled": false}});
        spec.strategy = serde_json::from_value(strategy).unwrap();
    });
    world.settle();
    assert_eq!(world.served(), both("web:1", "web:2"));
    assert_eq!(world.summary(), "Paused BlueGreenPause");
    assert_eq!(world.status().current_step_index, None);
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    world.promote();
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:2"));

    // And back.
    world.wait(3600);
    world.change_spec(|spec| {
        let strategy = json!({"canary": steps(json!([{"setWeight": 20}, {"pause": {}}]))});
        spec.strategy = serde_json::from_value(strategy).unwrap();
    });
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(
        world.status().blue_green,
        crate::api::BlueGreenStatus::default()
    );
    world.release("web:3");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:2", 8), ("web:3", 2)]));
}

#[test]
fn a_version_that_never_works_misses_its_deadline() {
    for abort in [false, true] {
        let mut world = running(json!({}));
        world.change_spec(|spec| spec.progress_deadline_abort = abort);
        world.broken.insert("web:2".into());
        world.release("web:2");
        world.settle();
        let left = world.wake_at.unwrap().duration_since(world.now);
        assert_eq!(left, SignedDuration::from_secs(601));
        world.wait(600);
        assert_eq!(world.status().phase, Some(RolloutPhase::Progressing));
        world.wait(1);
        let hash = world.status().current_pod_hash;
        let timeout = format!("ReplicaSet \"web-{hash}\" has timed out progressing.");
        let reason = if abort {
            format!("RolloutAborted: Rollout aborted update to revision 2: {timeout}")
        } else {
            format!("ProgressDeadlineExceeded: {timeout}")
        };
        assert_eq!(world.summary(), format!("Degraded {reason}"));
        assert_eq!(world.served(), both("web:1", "web:2"));
        assert_eq!(
            world.condition(&ConditionType::Available),
            "True AvailableReason: Rollout has minimum availability"
        );
        world.wait(30);
        assert_eq!(world.pods().len(), if abort { 1 } else { 2 });
        assert_eq!(world.wake_at, None);
    }
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let mut world = new(
        json!({"previewService": "active", "previewReplicaCount": -1,
        "scaleDownDelayRevisionLimit": 11, "maxUnavailable": "much",
        "prePromotionAnalysis": {}, "postPromotionAnalysis": {"templates": [{"templateName": "up"}],
            "args": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.age"}}}]}}),
    );
    world.pass();
    let message = world.summary();
    for expected in [
        "activeService: Invalid value: \"active\": This rollout uses the same service for the \
            active and preview services, but two different services are required.",
        "previewReplicaCount: Invalid value: -1: must be greater than or equal to 0",
        "scaleDownDelayRevisionLimit: Invalid value: 11: This rollout's revision history limit \
            can not be smaller than the rollout's scale down limit",
        "maxUnavailable: Invalid value: \"much\"",
        "prePromotionAnalysis.templates: Required value",
        "postPromotionAnalysis.args[0].valueFrom.fieldRef.fieldPath: Invalid value",
    ] {
        let expected = format!("spec.strategy.blueGreen.{expected}");
        assert!(message.contains(&expected), "{expected}\nin {message}");
    }
    let mut world = new(json!({"prePromotionAnalysis": {"templates": [{"templateName": "down"}]}}));
    world.services.remove("preview");
    world.pass();
    let message = world.summary();
    for expected in [
        "previewService: Invalid value: \"preview\": service \"preview\" not found",
        "prePromotionAnalysis.templates: Invalid value: \"down\": AnalysisTemplate 'down' not found",
    ] {
        let expected = format!("spec.strategy.blueGreen.{expected}");
        assert!(message.contains(&expected), "{expected}\nin {message}");
    }
    assert!(world.replica_sets.is_empty());
}
