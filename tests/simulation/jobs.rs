//! Jobs.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use super::{condition, job, state};
use crate::world::{World, seconds};

impl World {
    async fn job_status(&self, name: &str) -> Value {
        json!(self.get::<Job>(name).await.status)
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_succeeds() {
    let world = World::without_sources().await;
    let spec = json!({"completions": 3, "parallelism": 2});
    world
        .create::<Job>(job("j", &spec, &[("runs-for", "10s")]))
        .await;
    seconds(5).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(
        (&status["active"], &status["ready"]),
        (&json!(2), &json!(2))
    );
    let pods = world.list::<Pod>().await;
    assert_eq!(pods[0].labels()["batch.kubernetes.io/job-name"], "j");
    seconds(30).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(
        (&status["active"], &status["succeeded"]),
        (&Value::Null, &json!(3))
    );
    assert_eq!(condition(&status, "Complete")["status"], "True");
    assert!(status["completionTime"].is_string());
    assert_eq!(world.list::<Pod>().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failing_job_tries_again_up_to_its_limit() {
    let world = World::without_sources().await;
    let failing = [
        ("exit-code", "1"),
        ("ready-after", "0s"),
        ("runs-for", "0s"),
    ];
    world
        .create::<Job>(job("j", &json!({"backoffLimit": 2}), &failing))
        .await;
    seconds(25).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(
        (&status["failed"], &status["conditions"]),
        (&json!(2), &Value::Null)
    );
    seconds(20).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(status["failed"], 3);
    assert_eq!(
        condition(&status, "Failed")["reason"],
        "BackoffLimitExceeded"
    );
    assert_eq!(world.list::<Pod>().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_stopped_at_its_deadline_and_removed_after_its_time() {
    let world = World::without_sources().await;
    let spec = json!({"activeDeadlineSeconds": 30, "ttlSecondsAfterFinished": 60});
    world
        .create::<Job>(job("j", &spec, &[("runs-for", "1h")]))
        .await;
    seconds(29).await;
    assert_eq!(json!(world.get::<Job>("j").await.status)["active"], 1);
    seconds(3).await;
    let status = json!(world.get::<Job>("j").await.status);
    assert_eq!(condition(&status, "Failed")["reason"], "DeadlineExceeded");
    assert_eq!(world.names::<Pod>().await, [""; 0]);
    seconds(55).await;
    assert_eq!(world.names::<Job>().await, ["j"]);
    seconds(10).await;
    assert_eq!(world.names::<Job>().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_held_and_goes_on() {
    let world = World::without_sources().await;
    let spec = json!({"completions": 2, "suspend": true});
    world
        .create::<Job>(job("j", &spec, &[("runs-for", "30s")]))
        .await;
    seconds(60).await;
    assert_eq!(world.names::<Pod>().await, [""; 0]);
    let status = world.job_status("j").await;
    assert_eq!(condition(&status, "Suspended")["status"], "True");
    assert!(status["startTime"].is_null());
    let suspend = |suspend: bool| json!({"spec": {"suspend": suspend}});
    world.merge::<Job>("j", suspend(false)).await;
    seconds(10).await;
    let status = world.job_status("j").await;
    assert_eq!(condition(&status, "Suspended")["reason"], "JobResumed");
    assert_eq!(status["startTime"], "2026-01-01T00:01:00Z");
    // A pod that is taken away in the middle counts for nothing.
    world.merge::<Job>("j", suspend(true)).await;
    seconds(10).await;
    assert_eq!(world.names::<Pod>().await, [""; 0]);
    world.merge::<Job>("j", suspend(false)).await;
    seconds(120).await;
    let status = world.job_status("j").await;
    assert_eq!(
        (&status["succeeded"], &status["failed"]),
        (&json!(2), &Value::Null)
    );
    assert_eq!(
        condition(&status, "Complete")["reason"],
        "CompletionsReached"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_job_that_is_evicted_counts_as_failed_once() {
    let world = World::without_sources().await;
    let script = [("runs-for", "60s"), ("stops-after", "5s")];
    world.create::<Job>(job("j", &json!({}), &script)).await;
    seconds(10).await;
    let name = world.pod().await.name_any();
    world
        .delete::<Pod>(&name, PropagationPolicy::Background)
        .await;
    seconds(1).await;
    let status = world.job_status("j").await;
    assert_eq!(
        (&status["failed"], &status["terminating"]),
        (&json!(1), &json!(1))
    );
    seconds(100).await;
    let status = world.job_status("j").await;
    assert_eq!(
        (&status["failed"], &status["succeeded"]),
        (&json!(1), &json!(1))
    );
    assert_ne!(world.pod().await.name_any(), name);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_its_image_waits_until_its_deadline() {
    let world = World::without_sources().await;
    let spec = json!({"activeDeadlineSeconds": 60});
    world
        .create::<Job>(job("j", &spec, &[("image-pull-error", "true")]))
        .await;
    for (after, expected) in [(5, "ErrImagePull"), (10, "ImagePullBackOff")] {
        seconds(after).await;
        assert_eq!(state(&world.pod().await), expected);
    }
    let status = world.job_status("j").await;
    assert_eq!(
        (&status["active"], &status["ready"]),
        (&json!(1), &json!(0))
    );
    seconds(60).await;
    let status = world.job_status("j").await;
    assert_eq!(
        condition(&status, "FailureTarget")["reason"],
        "DeadlineExceeded"
    );
    assert_eq!(condition(&status, "Failed")["reason"], "DeadlineExceeded");
    assert_eq!(world.names::<Pod>().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_indexed_job_fills_each_place() {
    let world = World::without_sources().await;
    let spec = json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"});
    world.create::<Job>(job("j", &spec, &[])).await;
    seconds(60).await;
    let status = world.job_status("j").await;
    assert_eq!(status["completedIndexes"], "0-3");
    let mut places: Vec<_> = world
        .list::<Pod>()
        .await
        .iter()
        .map(|pod| pod.labels()["batch.kubernetes.io/job-completion-index"].clone())
        .collect();
    places.sort();
    assert_eq!(places, ["0", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_the_policy_names_ends_the_job_at_once() {
    let world = World::without_sources().await;
    let rule = json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}});
    let spec = json!({"podFailurePolicy": {"rules": [rule]}});
    world
        .create::<Job>(job("j", &spec, &[("exit-code", "42")]))
        .await;
    seconds(10).await;
    let status = world.job_status("j").await;
    let failed = condition(&status, "Failed");
    assert_eq!(failed["reason"], "PodFailurePolicy");
    assert!(failed["message"].as_str().unwrap().contains("exit code 42"));
    assert_eq!(status["failed"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_may_restart_its_containers_in_place() {
    let world = World::without_sources().await;
    let script = [("exit-code", "1"), ("runs-for", "1s")];
    let mut restarting = job("j", &json!({"backoffLimit": 3}), &script);
    restarting["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    world.create::<Job>(restarting).await;
    seconds(20).await;
    let pod = json!(world.pod().await.status);
    assert_eq!(pod["containerStatuses"][0]["restartCount"], 2);
    seconds(60).await;
    let status = world.job_status("j").await;
    assert_eq!(
        condition(&status, "Failed")["reason"],
        "BackoffLimitExceeded"
    );
    assert_eq!(world.names::<Pod>().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_deleted_takes_its_pods_along() {
    for policy in [PropagationPolicy::Background, PropagationPolicy::Foreground] {
        let world = World::without_sources().await;
        let script = [("runs-for", "1h"), ("stops-after", "5s")];
        world.create::<Job>(job("j", &json!({}), &script)).await;
        seconds(10).await;
        world.delete::<Job>("j", policy).await;
        seconds(20).await;
        assert_eq!(world.names::<Job>().await, [""; 0]);
        assert_eq!(world.names::<Pod>().await, [""; 0]);
    }
}
