//! What a Rollout says that it waits for.

use super::*;

fn hash(world: &World) -> String {
    world.status().current_pod_hash
}

#[test]
fn a_healthy_rollout_waits_for_nothing() {
    let world = World::running(steps(json!([{"setWeight": 20}])));
    assert_eq!(world.waiting(), "");
}

#[test]
fn pods_are_waited_for_with_their_number_and_its_limits() {
    let mut world = World::running(steps(json!([{"setWeight": 20}, {"pause": {}}])));
    world.broken.insert("web:2".into());
    world.release("web:2");
    world.settle();
    let name = format!("web-{}", hash(&world));
    assert_eq!(
        world.waiting(),
        format!(
            "Pods: ReplicaSet `{name}` has 0 of 2 pods available; 2 of 10 may be missing \
             (maxUnavailable); late at 2026-01-01T00:10:00Z (progressDeadlineSeconds: 600); since \
             2026-01-01T00:00:00Z"
        )
    );
    world.change_spec(|spec| spec.replicas = Some(20));
    world.settle();
    let waiting = world.waiting();
    assert!(waiting.contains("has 0 of 4 pods available"), "{waiting}");
    assert!(
        world.told("RolloutWaiting").is_empty(),
        "pods are told anyway"
    );
    world.wait(601);
    assert_eq!(
        world.waiting(),
        format!(
            "Late: ReplicaSet `{name}` has 0 of 4 pods available, without progress for longer than \
             600 s (progressDeadlineSeconds); since 2026-01-01T00:10:01Z"
        )
    );
    assert_eq!(world.told("RolloutWaiting").len(), 1);
    world.wait(60);
    assert_eq!(world.told("RolloutWaiting").len(), 1, "told once");
}

#[test]
fn pods_that_cannot_be_made_are_named_with_the_refusal() {
    let mut world = World::running(steps(json!([{"setWeight": 20}])));
    world.broken.insert("web:2".into());
    world.release("web:2");
    world.settle();
    let set = world
        .replica_sets
        .iter_mut()
        .find(|set| image(set) == "web:2")
        .unwrap();
    let refusal = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "exceeded quota: pods"}]);
    set.status.as_mut().unwrap().conditions = serde_json::from_value(refusal).unwrap();
    world.pass();
    assert_eq!(
        world.waiting(),
        format!(
            "ReplicaFailure: ReplicaSet `web-{}` has 0 of 2 pods available: FailedCreate: exceeded \
             quota: pods; since 2026-01-01T00:00:00Z",
            hash(&world)
        )
    );
}

#[test]
fn a_pause_says_until_when() {
    let mut world = World::running(steps(
        json!([{"setWeight": 20}, {"pause": {}}, {"pause": {"duration": "10m"}}]),
    ));
    world.wait(5);
    world.release("web:2");
    world.settle();
    assert_eq!(
        world.waiting(),
        "Pause: step 2/3 (pause) waits for somebody to promote it; since 2026-01-01T00:00:05Z"
    );
    world.wait(60);
    world.promote();
    world.settle();
    let sentence = "step 3/3 (pause: 10m) waits until 2026-01-01T00:11:05Z; since \
        2026-01-01T00:01:05Z";
    assert_eq!(world.waiting(), format!("Pause: {sentence}"));
    world.change_spec(|spec| spec.paused = true);
    world.wait(5);
    assert_eq!(
        world.waiting(),
        "PausedByUser: `spec.paused` is true at step 3/3 (pause: 10m); since \
         2026-01-01T00:01:10Z"
    );
}

#[test]
fn an_analysis_is_named_with_its_last_word() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::new(analysed(&analysis))
        .with_template("up")
        .started();
    world.release("web:2");
    world.settle();
    let name = format!("web-{}-2-1", hash(&world));
    assert_eq!(
        world.waiting(),
        format!(
            "Analysis: step 2/3 (analysis) waits for AnalysisRun `{name}`, which no controller has \
             taken up yet; since 2026-01-01T00:00:00Z"
        )
    );
    world.end_run(&name, Phase::Running, "");
    world.wait(30);
    let start = format!("Analysis: step 2/3 (analysis) waits for AnalysisRun `{name}`, which is ");
    assert_eq!(
        world.waiting(),
        format!("{start}Running; since 2026-01-01T00:00:00Z")
    );
    world.end_run(&name, Phase::Inconclusive, "no data");
    world.settle();
    assert_eq!(
        world.waiting(),
        format!(
            "Inconclusive: AnalysisRun `{name}` was inconclusive (no data) at step 2/3 (analysis): \
             promote or abort; since 2026-01-01T00:00:30Z"
        )
    );
}

#[test]
fn a_blue_green_update_says_what_keeps_users_from_the_new_version() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let strategy = json!({"activeService": "active", "autoPromotionSeconds": 600,
        "prePromotionAnalysis": analysis, "postPromotionAnalysis": analysis});
    let mut world = World::with_strategy(json!({"blueGreen": strategy}))
        .with_services(&["active"])
        .with_template("up")
        .started();
    assert_eq!(world.waiting(), "");
    world.broken.insert("web:2".into());
    world.release("web:2");
    world.settle();
    let new = format!("web-{}", hash(&world));
    assert_eq!(
        world.waiting(),
        format!(
            "Pods: ReplicaSet `{new}` has 0 of 10 pods available; late at 2026-01-01T00:10:00Z \
             (progressDeadlineSeconds: 600); since 2026-01-01T00:00:00Z"
        )
    );
    world.broken.clear();
    world.wait(5);
    assert_eq!(
        world.waiting(),
        format!(
            "Analysis: Service `active` waits for AnalysisRun `{new}-2-pre`, which no controller \
             has taken up yet; since 2026-01-01T00:00:05Z"
        )
    );
    world.end_run(&format!("{new}-2-pre"), Phase::Successful, "");
    world.wait(5);
    assert_eq!(
        world.waiting(),
        format!(
            "Pause: Service `active` waits until 2026-01-01T00:10:10Z before it selects ReplicaSet \
             `{new}`; since 2026-01-01T00:00:10Z"
        )
    );
    world.wait(600);
    world.end_run(&format!("{new}-2-post"), Phase::Running, "");
    world.settle();
    assert_eq!(
        world.waiting(),
        format!(
            "Analysis: ReplicaSet `{new}` waits for AnalysisRun `{new}-2-post`, which is Running; \
             since 2026-01-01T00:10:10Z"
        )
    );
    world.end_run(&format!("{new}-2-post"), Phase::Successful, "");
    world.settle();
    assert_eq!(
        (world.summary().as_str(), world.waiting().as_str()),
        ("Healthy", "")
    );
}

#[test]
fn an_abort_says_why_and_who_serves() {
    let mut world = World::running(steps(json!([{"setWeight": 20}, {"pause": {}}])));
    let stable = world.status().stable_rs;
    world.release("web:2");
    world.settle();
    world.wait(10);
    world.abort();
    world.settle();
    assert_eq!(
        world.waiting(),
        format!(
            "Aborted: Rollout aborted update to revision 2; the stable ReplicaSet `web-{stable}` \
             serves with 10 of 10 pods available; retry it or apply another template; since \
             2026-01-01T00:00:10Z"
        )
    );
    world.retry();
    world.settle();
    assert!(world.waiting().starts_with("Pause"), "{}", world.waiting());
}

#[test]
fn an_invalid_spec_is_what_is_waited_for() {
    let mut world = World::running(json!({}));
    world.change_spec(|spec| spec.min_ready_seconds = Some(-1));
    world.settle();
    assert!(
        world
            .waiting()
            .starts_with("Invalid: The Rollout \"web\" is invalid: spec.minReadySeconds"),
        "{}",
        world.waiting()
    );
    assert!(
        world.told("RolloutWaiting").is_empty(),
        "told as an InvalidSpec"
    );
    world.change_spec(|spec| spec.min_ready_seconds = None);
    world.settle();
    assert_eq!(world.waiting(), "");
}

#[test]
fn a_change_that_cannot_be_made_is_told_once_and_hides_neither_abort_nor_deadline() {
    let mut world = World::running(steps(json!([{"setWeight": 20}, {"setWeight": 50}])));
    world.change_spec(|spec| spec.progress_deadline_abort = true);
    world.broken.insert("web:2".into());
    world.release("web:2");
    world.settle();
    let why = "cannot patch Service `shop/stable`: denied";
    for _ in 0..2 {
        world.hinder(why);
    }
    assert_eq!(
        world.waiting(),
        format!("CannotAct: {why}; since 2026-01-01T00:00:00Z")
    );
    let told = format!("Reconciliation failed with error: {why}");
    assert_eq!(world.told("ReconciliationError"), [told.as_str()]);
    let left = world.wake_at.unwrap().duration_since(world.now);
    assert_eq!(left, SignedDuration::from_secs(601));
    world.now += SignedDuration::from_secs(601);
    world.hinder(why);
    let status = world.status();
    assert!(status.abort && status.aborted_at.is_some());
    assert!(
        world.summary().starts_with("Degraded RolloutAborted"),
        "{}",
        world.summary()
    );
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    assert!(world.waiting().starts_with("Aborted"));
}

#[test]
fn what_is_hindered_has_not_been_followed() {
    let mut world = World::running(steps(json!([{"setWeight": 20}, {"pause": {}}])));
    world.release("web:2");
    world.hinder("cannot create ReplicaSet");
    assert_eq!(world.status().observed_generation, "1");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
}

#[test]
fn a_restart_says_until_when() {
    let mut world = World::running(json!({}));
    let at = "2026-01-01T01:00:00Z";
    world.change_spec(|spec| spec.restart_at = Some(Time(at.parse().unwrap())));
    world.settle();
    assert_eq!(
        world.waiting(),
        format!("Restart: the restart waits until {at} (restartAt); since 2026-01-01T00:00:00Z")
    );
    assert_eq!(world.wake_at.unwrap().to_string(), at);
}
