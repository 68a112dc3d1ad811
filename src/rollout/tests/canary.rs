//! Canaries.

use super::*;

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
    world.retry();
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
fn a_verdict_counts_however_early_it_comes() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::new(analysed(&analysis));
    world = world.with_template("up").started();
    world.release("web:2");
    while world.runs.is_empty() {
        world.pass();
        world.kubelet(i32::MAX / 2);
    }
    // The run is made and ends, and nothing else that the pass has done is kept.
    let name = world.runs[0].name_any();
    let named = world.status().canary.current_step_analysis_run_status;
    assert_eq!(named.map(|slot| slot.name), Some(name.clone()));
    world.end_run(&name, Phase::Failed, "too slow");
    world.settle();
    assert!(world.status().abort);
    assert_eq!(world.runs.len(), 1, "it is not asked again");
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    // A retry asks again, and so often as it takes.
    world.retry();
    world.settle();
    let again = format!("{name}.1");
    world.end_run(&again, Phase::Successful, "");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:2", 10)]));
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
    world.abort();
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
fn pods_that_are_going_already_are_not_counted_on() {
    let mut canary = steps(json!([{"setWeight": 30}, {"pause": {}}]));
    canary["maxSurge"] = json!(0);
    canary["maxUnavailable"] = json!(1);
    let mut world = World::running(canary);
    world.release("web:2");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 7), ("web:2", 3)]));
    world.broken.insert("web:3".into());
    world.release("web:3");
    // The numbers of the ReplicaSets' statuses are from before.
    while world.pass() {}
    let kept = world.pods();
    assert_eq!(kept, pods(&[("web:1", 7), ("web:2", 2), ("web:3", 1)]));
}

#[test]
fn an_argument_that_no_template_has_is_told() {
    let analysis = json!({"templates": [{"templateName": "up"}],
        "args": [{"name": "color", "value": "blue"}]});
    let mut world = World::new(analysed(&analysis))
        .with_template("up")
        .started();
    world.release("web:2");
    world.settle();
    let told = world.told("AnalysisSpecWarning");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("color"), "{told:?}");
    assert_eq!(world.runs.len(), 1, "it is measured nevertheless");
}
