use serde_json::{Value, json};

use super::ending::set;
use super::*;

fn at(seconds: i64) -> Timestamp {
    after("2026-01-01T00:00:00Z".parse().unwrap(), seconds)
}

fn job(spec: &Value) -> Job {
    let mut job = json!({
        "metadata": {"name": "j", "namespace": "default", "uid": "u"},
        "spec": {"completions": 1, "template": {"spec": {"containers": []}}},
        "status": {"startTime": at(0).to_string()},
    });
    json_patch::merge(&mut job, &json!({ "spec": spec }));
    serde_json::from_value(job).unwrap()
}

fn pod(job: &Job, index: usize, phase: &str, finished: i64) -> Arc<Pod> {
    let mut pod = pod_of(job, job.spec.as_ref().unwrap());
    pod.metadata.name = Some(format!("{phase}-{index}"));
    let ended = json!({"exitCode": 1, "finishedAt": at(finished).to_string()});
    let container = json!({"name": "c", "ready": false, "restartCount": 0, "image": "",
        "imageID": "", "state": {"terminated": ended}});
    let status = json!({"phase": phase, "containerStatuses": [container]});
    pod.status = serde_json::from_value(status).unwrap();
    Arc::new(pod)
}

/// The changes but the status, and the conditions that the status has afterwards.
fn told(job: &Job, phases: &[&str], seconds: i64) -> (Vec<String>, Vec<String>) {
    let pods = phases.iter().enumerate();
    let pods: Vec<_> = pods
        .map(|(index, phase)| pod(job, index, phase, 10))
        .collect();
    let decision = decide(job, &pods, at(seconds));
    let (mut changes, mut conditions) = (Vec::new(), Vec::new());
    for change in &decision.changes {
        let Change::Status { patch, .. } = change else {
            changes.push(change.to_string());
            continue;
        };
        let listed = patch["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions.extend(listed.iter().map(|condition| {
            format!(
                "{} {}",
                condition["type"].as_str().unwrap(),
                condition["reason"].as_str().unwrap()
            )
        }));
    }
    if let Some(wake_at) = decision.wake_at {
        changes.push(format!(
            "wake at {}",
            wake_at.duration_since(at(0)).as_secs()
        ));
    }
    (changes, conditions)
}

/// Specification, phases of pods (failed at 10 s), time; changes, conditions.
type Case = (
    Value,
    &'static [&'static str],
    i64,
    &'static [&'static str],
    &'static [&'static str],
);

const CREATE: &str = "create Pod `j-`";

fn cases_of_success() -> Vec<Case> {
    let complete: &[&str] = &[
        "SuccessCriteriaMet CompletionsReached",
        "Complete CompletionsReached",
    ];
    vec![
        (json!({}), &[], 0, &[CREATE], &[]),
        (json!({}), &["Running"], 0, &[], &[]),
        (json!({}), &["Succeeded"], 11, &[], complete),
        (
            json!({"completions": 5, "parallelism": 2}),
            &["Running"],
            0,
            &[CREATE],
            &[],
        ),
        (
            json!({"completions": 3, "parallelism": 2}),
            &["Succeeded", "Succeeded"],
            0,
            &[CREATE],
            &[],
        ),
        (
            json!({"parallelism": 0}),
            &["Running"],
            0,
            &["delete Pod `Running-0`"],
            &[],
        ),
        (
            json!({"completions": null, "parallelism": 2}),
            &["Running", "Succeeded"],
            0,
            &[],
            &[],
        ),
        (
            json!({"completions": null, "parallelism": 2}),
            &["Succeeded"],
            0,
            &[],
            complete,
        ),
    ]
}

fn cases_of_failure() -> Vec<Case> {
    let failed: &[&str] = &[
        "FailureTarget BackoffLimitExceeded",
        "Failed BackoffLimitExceeded",
    ];
    vec![
        (json!({}), &["Failed"], 11, &["wake at 20"], &[]),
        (json!({}), &["Failed", "Failed"], 20, &["wake at 30"], &[]),
        (json!({}), &["Failed"], 20, &[CREATE], &[]),
        (json!({"backoffLimit": 0}), &["Failed"], 11, &[], failed),
        (
            json!({"backoffLimit": 1, "parallelism": 2, "completions": 2}),
            &["Failed", "Failed", "Running"],
            11,
            &["delete Pod `Running-2`"],
            &["FailureTarget BackoffLimitExceeded"],
        ),
        (
            json!({"activeDeadlineSeconds": 60}),
            &["Running"],
            59,
            &["wake at 60"],
            &[],
        ),
        (
            json!({"activeDeadlineSeconds": 60}),
            &["Running"],
            60,
            &["delete Pod `Running-0`"],
            &["FailureTarget DeadlineExceeded"],
        ),
        (
            json!({"suspend": true}),
            &["Running"],
            0,
            &["delete Pod `Running-0`"],
            &["Suspended JobSuspended"],
        ),
    ]
}

#[test]
fn a_job_runs_pods_until_it_has_succeeded_or_failed() {
    for (spec, phases, seconds, changes, conditions) in
        cases_of_success().into_iter().chain(cases_of_failure())
    {
        let told = told(&job(&spec), phases, seconds);
        let case = format!("{spec} {phases:?} at {seconds} s");
        assert_eq!(
            (told.0, told.1),
            (owned(changes), owned(conditions)),
            "{case}"
        );
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_finished_job_goes_when_its_time_is_over() {
    let mut job = job(&json!({"ttlSecondsAfterFinished": 30}));
    let status = job.status.as_mut().unwrap();
    set(status, "Failed", "True", "BackoffLimitExceeded", "", at(10));
    assert_eq!(told(&job, &["Failed"], 39).0, ["wake at 40"]);
    assert_eq!(told(&job, &["Failed"], 40).0, ["delete Job `j`"]);
}

#[test]
fn waits_between_failures_double_up_to_ten_minutes() {
    let waits = [1, 2, 3, 7, 8, 100].map(back_off);
    assert_eq!(waits, [10, 20, 40, 600, 600, 600]);
}
