//! Blue-green updates: the way back, and how long versions stay that nobody reaches.

use super::blue_green::{both, judged, running};
use super::*;

#[test]
fn a_version_that_fails_after_the_switch_is_switched_back_at_once() {
    let mut world = running(judged("postPromotionAnalysis"));
    world.release("web:2");
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:2"));
    assert_eq!(
        world.summary(),
        "Progressing waiting for analysis to complete"
    );
    assert_ne!(world.status().stable_rs, world.status().current_pod_hash);
    world.wait(3600);
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    world.fail("-post");
    world.pass();
    assert_eq!(world.served(), both("web:1", "web:2"));
    let message = "RolloutAborted: Rollout aborted update to revision 2: Blue/green post-promotion \
        analysis phase error/failed: Metric \"up\" assessed Failed";
    assert_eq!(world.summary(), format!("Degraded {message}"));
    world.settle();
    world.wait(30);
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    assert_eq!(world.status().available_replicas, 10);

    // Retried: both the switch and its analysis come again.
    world.retry();
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:2"));
    world.succeed("-post.1");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
}

#[test]
fn it_goes_back_as_soon_as_stable_can_serve_whatever_has_become_of_the_new_version() {
    let mut world = running(judged("postPromotionAnalysis"));
    world.release("web:2");
    world.settle();
    // Both lose pods, stable more of them.
    for (version, left) in [("web:1", 3), ("web:2", 5)] {
        let mut sets = world.replica_sets.iter_mut();
        let set = sets.find(|set| image(set) == version).unwrap();
        set.status.as_mut().unwrap().available_replicas = Some(left);
    }
    world.fail("-post");
    world.pass();
    assert_eq!(world.served(), both("web:2", "web:2"));
    let (old, new) = (world.status().stable_rs, world.status().current_pod_hash);
    let reason = format!(
        "Service: Service `active` stays with ReplicaSet `web-{new}`: ReplicaSet `web-{old}` has 3 \
         of 10 pods available; since "
    );
    assert!(world.waiting().starts_with(&reason), "{}", world.waiting());
    // It goes on serving, and keeps its pods however long that takes.
    world.now += SignedDuration::from_secs(3600);
    world.pass();
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    assert_eq!(world.deadline("web:2"), None);
    // The new version dies altogether: three pods are better than none.
    world.broken.insert("web:2".into());
    world.kubelet(0);
    world.pass();
    assert_eq!(world.served(), both("web:1", "web:2"));
    world.settle();
    world.wait(30);
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
}

#[test]
fn an_abort_after_the_switch_is_followed_even_when_somebody_has_paused() {
    let mut world = running(judged("postPromotionAnalysis"));
    world.release("web:2");
    world.settle();
    world.change_spec(|spec| spec.paused = true);
    world.settle();
    world.abort();
    world.settle();
    assert_eq!(world.served(), both("web:1", "web:2"));
}

#[test]
fn an_abort_before_the_switch_leaves_the_preview_for_a_while() {
    for (delay, left) in [(json!(null), 30), (json!(7), 7), (json!(86_400), 86_400)] {
        let strategy = json!({"autoPromotionEnabled": false, "previewReplicaCount": 4,
            "abortScaleDownDelaySeconds": delay});
        let mut world = running(strategy);
        world.release("web:2");
        world.settle();
        world.abort();
        world.settle();
        assert!(world.status().pause_conditions.is_empty());
        assert_eq!(world.served(), both("web:1", "web:2"));
        world.wait(left - 1);
        assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 4)]));
        world.wait(1);
        assert_eq!(world.pods(), pods(&[("web:1", 10)]), "{left}");
        assert_eq!(world.wake_at, None);
    }
}

#[test]
fn an_abort_with_a_delay_of_zero_keeps_the_preview_for_good() {
    let strategy = json!({"autoPromotionEnabled": false, "abortScaleDownDelaySeconds": 0});
    let mut world = running(strategy);
    world.release("web:2");
    world.settle();
    world.abort();
    world.settle();
    world.wait(1_000_000);
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    world.change_spec(|spec| spec.replicas = Some(6));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 6), ("web:2", 6)]));
}

#[test]
fn going_back_while_the_old_version_is_up_takes_no_analysis_and_no_pause() {
    let mut strategy = judged("prePromotionAnalysis");
    json_patch::merge(&mut strategy, &judged("postPromotionAnalysis"));
    strategy["previewReplicaCount"] = json!(1);
    let mut world = running(strategy);
    world.release("web:2");
    world.settle();
    world.succeed("-pre");
    world.settle();
    world.succeed("-post");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    let runs = world.runs.len();
    world.wait(20);
    world.release("web:1");
    world.pass();
    assert!(world.deadline("web:1").is_some(), "the mark of it");
    // However long it takes.
    let mut sets = world.replica_sets.iter_mut();
    let set = sets.find(|set| image(set) == "web:1").unwrap();
    set.status.as_mut().unwrap().available_replicas = Some(9);
    world.now += SignedDuration::from_secs(100);
    world.pass();
    assert_eq!(world.served(), both("web:2", "web:1"));
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    world.settle();
    assert_eq!(world.served(), both("web:1", "web:1"));
    assert_eq!(
        (world.summary(), world.runs.len()),
        ("Healthy".into(), runs)
    );
    let told = world.told("RolloutCompleted");
    assert!(told.last().unwrap().ends_with("Fast rollback"), "{told:?}");
    assert_eq!(world.deadline("web:1"), None);
    world.wait(30);
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
}

#[test]
fn going_back_later_is_an_update_like_any_other() {
    let mut world = running(json!({"autoPromotionEnabled": false}));
    world.release("web:2");
    world.settle();
    world.promote();
    world.settle();
    // Nobody looked when the time was over: the pods are still there.
    world.now += SignedDuration::from_secs(31);
    world.release("web:1");
    world.settle();
    assert_eq!(world.summary(), "Paused BlueGreenPause");
    assert_eq!(world.served(), both("web:2", "web:1"));
}

#[test]
fn a_version_that_was_given_up_is_not_trusted_because_it_is_still_up() {
    let mut world = running(judged("prePromotionAnalysis"));
    world.release("web:2");
    world.settle();
    world.fail("-pre");
    world.settle();
    world.release("web:1");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.served(), both("web:1", "web:1"));
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 10)]));
    world.release("web:2");
    world.settle();
    assert_eq!(world.served(), both("web:1", "web:2"));
    assert_eq!(world.deadline("web:2"), None);
    world.fail("-pre");
    world.settle();
    assert_eq!(world.served(), both("web:1", "web:2"));
}

#[test]
fn a_rollback_within_the_window_is_fast_even_without_pods() {
    let mut world = running(json!({"autoPromotionEnabled": false, "previewReplicaCount": 1}));
    world.change_spec(|spec| {
        let window = json!({"revisions": 1});
        spec.rollback_window = Some(serde_json::from_value(window).unwrap());
    });
    world.release("web:2");
    world.settle();
    world.promote();
    world.settle();
    world.wait(3600);
    assert_eq!(world.pods(), pods(&[("web:2", 10)]));
    world.release("web:1");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(world.served(), both("web:1", "web:1"));
    let told = world.told("RolloutCompleted");
    assert!(
        told.last().unwrap().ends_with("Rollback within window"),
        "{told:?}"
    );
}

#[test]
fn without_a_delay_the_old_version_goes_at_once() {
    let mut world = running(json!({"scaleDownDelaySeconds": 0}));
    world.release("web:2");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:2", 10)]));
    assert_eq!(world.wake_at, None);
}

#[test]
fn old_versions_wait_as_many_as_may_and_follow_the_size() {
    let strategy = json!({"scaleDownDelaySeconds": 600, "scaleDownDelayRevisionLimit": 2});
    let mut world = running(strategy);
    for image in ["web:2", "web:3", "web:4"] {
        world.release(image);
        world.wait(60);
    }
    let ten = |images: &[&str]| {
        let ten: Vec<(&str, i32)> = images.iter().map(|image| (*image, 10)).collect();
        pods(&ten)
    };
    assert_eq!(world.pods(), ten(&["web:2", "web:3", "web:4"]));
    world.change_spec(|spec| spec.replicas = Some(12));
    world.settle();
    assert_eq!(
        world.pods(),
        pods(&[("web:2", 12), ("web:3", 12), ("web:4", 12)])
    );
    assert!(world.deadline("web:2").is_some());
    world.wait(539);
    assert_eq!(world.pods().len(), 3);
    world.wait(1);
    assert_eq!(world.pods(), pods(&[("web:3", 12), ("web:4", 12)]));
    world.wait(60);
    assert_eq!(world.pods(), pods(&[("web:4", 12)]));
    assert_eq!(world.deadline("web:3"), None);
}

#[test]
fn a_preview_that_is_replaced_waits_with_the_pods_that_it_has() {
    let mut world = running(json!({"autoPromotionEnabled": false, "previewReplicaCount": 2}));
    world.release("web:2");
    world.wait(1);
    world.release("web:3");
    world.settle();
    assert_eq!(world.served(), both("web:1", "web:3"));
    assert_eq!(
        world.pods(),
        pods(&[("web:1", 10), ("web:2", 2), ("web:3", 2)])
    );
    world.wait(30);
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:3", 2)]));
}

#[test]
fn a_version_that_is_replaced_after_its_switch_serves_until_the_next_one_does() {
    let mut world = running(judged("postPromotionAnalysis"));
    world.release("web:2");
    world.settle();
    assert_eq!(world.served(), both("web:2", "web:2"));
    world.wait(1);
    world.broken.insert("web:3".into());
    world.release("web:3");
    world.settle();
    world.change_spec(|spec| spec.replicas = Some(12));
    world.wait(3600);
    assert_eq!(world.served(), both("web:2", "web:3"));
    let all = pods(&[("web:1", 12), ("web:2", 12), ("web:3", 12)]);
    assert_eq!(world.pods(), all);
    // Given up: back to what was stable last.
    world.abort();
    world.settle();
    assert_eq!(world.served(), both("web:1", "web:3"));
    world.wait(30);
    assert_eq!(world.pods(), pods(&[("web:1", 12)]));
}

#[test]
fn a_switch_that_no_status_tells_of_is_taken_back_only_when_users_lose_nothing() {
    let mut world = World::with_strategy(json!({ "blueGreen": { "activeService": "active" } }))
        .with_services(&["active"])
        .started();
    world.release("web:2");
    let switched = (0..20).find(|_| {
        // The status from before the switch stays.
        let before = world.rollout.status.clone();
        world.pass();
        world.kubelet(i32::MAX / 2);
        let is_switched = world.behind("active") == "web:2";
        if is_switched {
            world.rollout.status = before;
        }
        is_switched
    });
    assert!(switched.is_some());
    world.broken.insert("web:1".into());
    world.kubelet(0);
    world.abort();
    world.settle();
    assert_eq!(world.behind("active"), "web:2", "web:1 has no pods");
    world.broken.clear();
    world.settle();
    assert_eq!(world.behind("active"), "web:1");
}
