//! Whole runs, replayed: the timelines of the specification, and what happened to others.

use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use super::scripted::Answer::{E, F, I, J, N, S};
use super::scripted::{Answer, World, metric, start};
use super::*;
use crate::api::Phase;
use crate::metric_providers::Action;

fn one(changes: Json, answers: &[Answer]) -> World {
    World::new(
        json!({"metrics": [metric("m", changes)]}),
        &[("m", answers)],
    )
}

#[test]
fn a_one_failure_is_tolerated() {
    let mut world = one(
        json!({"interval": "60s", "count": 3, "failureLimit": 1}),
        &[S, F, S],
    );
    world.run_for(60);
    assert_eq!(world.phase(), Some(Phase::Running));
    world.run_for(1000);
    assert_eq!(
        (world.phase(), world.message()),
        (Some(Phase::Successful), "")
    );
    assert_eq!(world.runs(), [0, 60, 120]);
    let result = world.result("m").unwrap();
    assert_eq!((result.count, result.failed, result.successful), (3, 1, 2));
    assert_eq!(world.status_field("startedAt"), "2026-08-01T10:00:00Z");
    assert_eq!(world.status_field("completedAt"), "2026-08-01T10:02:00Z");
    assert_eq!(
        world.status_field("runSummary"),
        json!({"count": 1, "successful": 1})
    );
    assert_eq!(world.status_field("dryRunSummary"), json!({}));
    assert_eq!(world.events, ["MetricSuccessful", "AnalysisRunSuccessful"]);
}

#[test]
fn b_a_source_that_is_down_is_asked_every_ten_seconds() {
    let mut world = one(json!({"interval": "5m"}), &[E]);
    world.run_for(1000);
    assert_eq!(world.runs(), [0, 10, 20, 30, 40]);
    assert_eq!(world.phase(), Some(Phase::Error));
    assert_eq!(
        world.message(),
        "Metric \"m\" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): \
         \"Error Message: no route to host\""
    );
    let mut world = one(json!({"interval": "5m"}), &[E, E, S, E, S]);
    world.run_for(1000);
    assert_eq!(world.runs(), [0, 10, 20, 320, 330, 630, 930]);
}

#[test]
fn c_a_failure_stops_the_job_of_another_metric() {
    let spec = json!({"metrics": [
        metric("a", json!({"count": 1})),
        metric("b", json!({"provider": {"job": {"spec": {"template": {}}}}})),
    ]});
    let mut world = World::new(spec, &[("a", &[F]), ("b", &[J])]);
    world.pass();
    assert_eq!(world.phase(), Some(Phase::Running));
    world.pass();
    assert_eq!(world.phase(), Some(Phase::Running));
    assert_eq!(world.last.tasks[0].action, Action::Terminate);
    world.run_for(10);
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(
        world.message(),
        "Metric \"a\" assessed Failed due to failed (1) > failureLimit (0)"
    );
    let summary = json!({"count": 2, "failed": 1, "inconclusive": 1});
    assert_eq!(world.status_field("runSummary"), summary);
    let b = world.result("b").unwrap();
    assert_eq!(b.measurements[0].message, "Metric Terminated");
    assert_eq!(
        world.events,
        ["MetricFailed", "MetricInconclusive", "AnalysisRunFailed"]
    );
}

#[test]
fn d_the_first_measurement_waits_for_its_delay() {
    let mut world = one(
        json!({"initialDelay": "30s", "interval": "10s", "count": 2}),
        &[S],
    );
    world.pass();
    assert_eq!(world.phase(), Some(Phase::Running));
    assert_eq!(
        world.last.wake_at,
        Some(start() + SignedDuration::from_secs(30))
    );
    world.run_for(1000);
    assert_eq!(world.runs(), [30, 40]);
    assert_eq!(world.phase(), Some(Phase::Successful));
}

#[test]
fn e_a_streak_of_successes_ends_a_metric() {
    let changes = json!({"consecutiveSuccessLimit": 3, "failureLimit": -1, "interval": "5s"});
    let mut world = one(changes, &[F, F, S, S, F, S, S, S]);
    world.run_for(30);
    assert_eq!(world.phase(), Some(Phase::Running));
    world.run_for(1000);
    assert_eq!(world.runs().len(), 8);
    assert_eq!(world.phase(), Some(Phase::Successful));
}

#[test]
fn f_a_count_without_the_wanted_streak_is_inconclusive_and_says_so() {
    let changes = json!({
        "consecutiveSuccessLimit": 3, "failureLimit": 3, "count": 6, "interval": "5s",
    });
    let mut world = one(changes, &[S, S, F, S, S, F]);
    world.run_for(1000);
    assert_eq!(world.phase(), Some(Phase::Inconclusive));
    assert_eq!(
        world.message(),
        "Metric \"m\" assessed Inconclusive due to consecutiveSuccesses (0) < \
         consecutiveSuccessLimit (3) when count (6) was reached"
    );
    assert_eq!(
        world.status_field("runSummary"),
        json!({"count": 1, "inconclusive": 1})
    );
}

#[test]
fn g_a_run_that_is_ended_before_it_began_is_successful() {
    let mut world = one(json!({"initialDelay": "30s"}), &[S]);
    world.pass();
    world.run.spec.terminate = true;
    world.run_for(100);
    assert_eq!(
        (world.phase(), world.message()),
        (Some(Phase::Successful), "Run Terminated")
    );
    assert_eq!(world.status_field("metricResults"), json!(null));
    assert_eq!(world.status_field("runSummary"), json!({"count": 1}));
    assert_eq!(world.begun, []);
}

#[test]
fn an_ended_run_says_which_metrics_were_cut_short() {
    let mut world = one(json!({"interval": "10s", "count": 5}), &[S]);
    world.run_for(15);
    world.run.spec.terminate = true;
    world.run_for(100);
    assert_eq!(
        (world.phase(), world.message()),
        (Some(Phase::Successful), "Run Terminated")
    );
    let result = world.result("m").unwrap();
    assert_eq!(result.phase, Some(Phase::Successful));
    assert_eq!(
        result.message,
        "cut short after 2 of 5 measurements: the run was ended"
    );
}

#[test]
fn a_slow_metric_delays_no_other() {
    let minutely = json!({"interval": "60s", "count": 3});
    let spec = json!({"metrics": [metric("slow", json!({})), metric("m", minutely)]});
    let mut world = World::new(spec, &[]);
    world
        .slow
        .insert("slow".into(), SignedDuration::from_secs(100));
    world.run_for(1000);
    let of_m: Vec<i64> = world
        .begun
        .iter()
        .filter(|(_, name, _)| name == "m")
        .map(|(at, ..)| *at)
        .collect();
    assert_eq!(of_m, [0, 60, 120]);
    assert_eq!(world.phase(), Some(Phase::Successful));
    let names: Vec<_> = world
        .run
        .status
        .iter()
        .flat_map(|status| &status.metric_results)
        .map(|r| &r.name)
        .collect();
    assert_eq!(names, ["slow", "m"]);
}

#[test]
fn a_measurement_that_is_under_way_when_the_run_ends_still_counts() {
    let mut world = one(json!({}), &[F]);
    world.slow.insert("m".into(), SignedDuration::from_secs(20));
    world.pass();
    world.run.spec.terminate = true;
    world.pass();
    assert_eq!(world.phase(), Some(Phase::Running));
    world.run_for(100);
    assert_eq!(world.phase(), Some(Phase::Failed));
}

#[test]
fn a_skipped_measurement_counts_nowhere_and_is_repeated() {
    let changes = json!({"onNoData": "Skip", "interval": "30s", "count": 2});
    let mut world = one(changes, &[N, S, N, N, S]);
    world.run_for(1000);
    assert_eq!(world.runs(), [0, 30, 60, 90, 120]);
    assert_eq!(world.phase(), Some(Phase::Successful));
    let result = world.result("m").unwrap();
    assert_eq!((result.count, result.successful, result.error), (2, 2, 0));
    assert_eq!(result.measurements[0].phase, Some(Phase::Pending));
    assert_eq!(
        result.measurements[0].message,
        "Skipped: the source has no data (onNoData: Skip)"
    );
    let mut without_interval = one(json!({"onNoData": "Skip"}), &[N, N, S]);
    without_interval.run_for(1000);
    assert_eq!(without_interval.runs(), [0, 10, 20]);
}

#[test]
fn old_measurements_go_and_their_jobs_with_them() {
    let job = json!({
        "provider": {"job": {"spec": {"template": {}}}}, "interval": "10s", "count": 4,
    });
    let spec = json!({
        "metrics": [metric("m", job)], "measurementRetention": [{"metricName": "*", "limit": 2}],
    });
    let script = [J, S, J, S, J, S, J, S];
    let mut world = World::new(spec, &[("m", &script)]);
    world.run_for(100_000);
    assert_eq!(world.phase(), Some(Phase::Successful));
    assert_eq!(world.result("m").unwrap().measurements.len(), 2);
    assert_eq!(world.result("m").unwrap().count, 4);
    assert_eq!(world.deleted_jobs.len(), 2);
}

#[test]
fn a_run_that_cannot_be_carried_out_says_all_of_why() {
    let spec = json!({
        "metrics": [metric("m", json!({"count": "abc"})), metric("m", json!({}))],
        "ttlStrategy": {"secondsAfterCompletion": 60},
    });
    let mut world = World::new(spec, &[]);
    world.pass();
    assert_eq!(world.phase(), Some(Phase::Error));
    assert_eq!(
        world.message(),
        "Analysis spec invalid: metrics[0].count: Invalid value: \"abc\": `abc` is no whole \
         number; metrics[1].name: Duplicate value: \"m\""
    );
    assert_eq!(world.status_field("startedAt"), "2026-08-01T10:00:00Z");
    assert_eq!(world.status_field("completedAt"), "2026-08-01T10:00:00Z");
    assert_eq!(world.status_field("runSummary"), json!({"count": 2}));
    assert_eq!(world.events, ["AnalysisRunError"]);
    assert_eq!(
        world.last.wake_at,
        Some(start() + SignedDuration::from_secs(61))
    );
    world.now += SignedDuration::from_secs(61);
    world.pass();
    assert!(world.last.delete);
}

#[test]
fn a_run_whose_spec_becomes_invalid_leaves_no_job_behind() {
    let job = json!({"provider": {"job": {"spec": {"template": {}}}}});
    let mut world = World::new(json!({"metrics": [metric("m", job)]}), &[("m", &[J])]);
    world.pass();
    world.pass();
    world.run.spec.metrics[0].name = String::new();
    world.pass();
    assert_eq!(world.phase(), Some(Phase::Error));
    assert_eq!(
        world.deleted_jobs,
        [JobRef {
            namespace: "shop".into(),
            name: "7.m.1".into()
        }]
    );
    assert_eq!(world.result("m").unwrap().phase, Some(Phase::Error));
}

#[test]
fn a_missing_secret_is_an_error_that_is_tried_again() {
    let spec = json!({
        "metrics": [metric("m", json!({"provider": {"web": {"url": "http://{{args.t}}"}}}))],
        "args": [{"name": "t", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    });
    let mut world = World::new(spec, &[]);
    world.run_for(1000);
    assert_eq!(world.runs(), [0, 10, 20, 30, 40]);
    assert!(
        world
            .message()
            .contains("cannot read key `k` of Secret `s`"),
        "{}",
        world.message()
    );
}

#[test]
fn a_measurement_that_was_written_already_is_not_counted_again() {
    let mut world = one(json!({"interval": "60s"}), &[I]);
    world.run.spec.metrics[0].inconclusive_limit = Some(5.into());
    world.pass();
    let answers = world.under_way.clone();
    world.pass();
    world.under_way = answers;
    world.pass();
    let result = world.result("m").unwrap();
    assert_eq!((result.count, result.measurements.len()), (1, 1));
}

#[test]
fn a_run_that_is_being_deleted_is_left_alone() {
    let mut world = one(json!({}), &[S]);
    world.run.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(start()));
    world.pass();
    assert_eq!(world.last, Decision::default());
}

#[test]
fn a_forged_status_deletes_no_job_of_others() {
    let job = json!({"provider": {"job": {"spec": {"template": {}}}}});
    for (name, deleted) in [("7.m.1", 1), ("8.m.1", 0), ("7", 0), ("70.m.1", 0)] {
        let mut world = World::new(
            json!({"metrics": [metric("m", job.clone())]}),
            &[("m", &[J])],
        );
        world.pass();
        world.pass();
        let status = world.run.status.as_mut().unwrap();
        let metadata = &mut status.metric_results[0].measurements[0].metadata;
        metadata.insert("job-name".into(), name.into());
        world.run.spec.metrics[0].name = String::new();
        world.pass();
        assert_eq!(world.deleted_jobs.len(), deleted, "{name}");
    }
}
