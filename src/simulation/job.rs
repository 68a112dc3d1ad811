//! The Job controller: pods until enough have succeeded, too many have failed or time is up.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use kube::api::PropagationPolicy;

use super::change::{Change, Decision, Target, earliest};
use super::pods::{self, after, time};
use super::replica_set::{claim, count, some};

/// The waits before a failed pod is replaced: 10 s, doubling up to ten minutes.
const FIRST_BACK_OFF_SECONDS: i64 = 10;
const LAST_BACK_OFF_SECONDS: i64 = 600;

/// The pods of a Job, by what became of them.
struct Tally<'a> {
    active: Vec<&'a Pod>,
    stopping: usize,
    succeeded: i32,
    failed: i32,
    restarts: i32,
    /// When the last failed pod failed.
    last_failure: Option<Timestamp>,
}

impl<'a> Tally<'a> {
    fn of(status: &JobStatus, pods: &[&'a Pod]) -> Self {
        let in_phase =
            |phase: &str| count(pods.iter().filter(|pod| pods::phase(pod) == phase).count());
        let active: Vec<_> = pods
            .iter()
            .copied()
            .filter(|pod| pods::is_active(pod))
            .collect();
        let stopping = pods
            .iter()
            .filter(|pod| pods::is_deleting(pod) && !pods::is_finished(pod))
            .count();
        let failed = pods.iter().filter(|pod| pods::phase(pod) == "Failed");
        Self {
            stopping,
            restarts: active.iter().map(|pod| pods::restarts(pod)).sum(),
            active,
            // A finished pod that was deleted still counts.
            succeeded: in_phase("Succeeded").max(status.succeeded.unwrap_or_default()),
            failed: in_phase("Failed").max(status.failed.unwrap_or_default()),
            last_failure: failed.filter_map(|pod| finished_at(pod)).max(),
        }
    }
}

fn finished_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref()?;
    let ended = statuses
        .iter()
        .filter_map(|status| status.state.as_ref()?.terminated.as_ref());
    ended
        .filter_map(|ended| ended.finished_at.as_ref())
        .map(|time| time.0)
        .max()
}

/// How a Job ends.
struct End {
    /// The condition that tells of it before all pods have stopped, and the one after.
    conditions: [&'static str; 2],
    reason: &'static str,
    message: &'static str,
}

const COMPLETE: End = End {
    conditions: ["SuccessCriteriaMet", "Complete"],
    reason: "CompletionsReached",
    message: "Reached expected number of succeeded pods",
};
const BACK_OFF_LIMIT: End = End {
    conditions: ["FailureTarget", "Failed"],
    reason: "BackoffLimitExceeded",
    message: "Job has reached the specified backoff limit",
};
const DEADLINE: End = End {
    conditions: ["FailureTarget", "Failed"],
    reason: "DeadlineExceeded",
    message: "Job was active longer than specified deadline",
};

/// Decides what a Job does next.
pub(super) fn decide(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Decision {
    let Some(spec) = &job.spec else {
        return Decision::default();
    };
    let old = job.status.clone().unwrap_or_default();
    if job.metadata.deletion_timestamp.is_some() {
        return Decision::default();
    }
    if let Some(finished) = finished(&old) {
        return expire(job, spec, finished, now);
    }
    let selector = spec.selector.clone().unwrap_or_else(|| own_selector(job));
    let claim = claim(job, &selector, pods);
    let tally = Tally::of(&old, &claim.pods);
    let mut new = JobStatus {
        active: some(tally.active.len()),
        succeeded: positive(tally.succeeded),
        failed: positive(tally.failed),
        ready: Some(count(
            tally
                .active
                .iter()
                .filter(|pod| pods::ready_since(pod).is_some())
                .count(),
        )),
        terminating: Some(count(tally.stopping)),
        ..old.clone()
    };
    let mut changes = claim.changes;
    let wake_at = match ending(spec, &old, &tally, now) {
        Some(end) => {
            changes.extend(tally.active.iter().map(|pod| Change::delete(*pod)));
            finish(&mut new, &end, &tally, now);
            None
        }
        None if spec.suspend == Some(true) => {
            changes.extend(tally.active.iter().map(|pod| Change::delete(*pod)));
            suspend(&mut new, now);
            None
        }
        None => {
            resume(&mut new, now);
            let start = new.start_time.get_or_insert_with(|| time(now)).0;
            let deadline = spec
                .active_deadline_seconds
                .map(|seconds| after(start, seconds));
            let (moves, wake_at) = manage(job, spec, &tally, now);
            changes.extend(moves);
            earliest(wake_at, deadline)
        }
    };
    changes.extend(Change::status(job, &old, &new));
    Decision { changes, wake_at }
}

fn positive(number: i32) -> Option<i32> {
    (number > 0).then_some(number)
}

fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")
}

/// When a Job finished, if it has.
fn finished(status: &JobStatus) -> Option<Timestamp> {
    let end = condition(status, "Complete").or_else(|| condition(status, "Failed"))?;
    Some(
        end.last_transition_time
            .as_ref()
            .map_or(Timestamp::MIN, |time| time.0),
    )
}

/// Deletes a finished Job when its time to live is over.
fn expire(job: &Job, spec: &JobSpec, finished: Timestamp, now: Timestamp) -> Decision {
    let Some(ttl) = spec.ttl_seconds_after_finished else {
        return Decision::default();
    };
    let due = after(finished, i64::from(ttl));
    if due > now {
        return Decision {
            changes: Vec::new(),
            wake_at: Some(due),
        };
    }
    Decision::now(vec![Change::Delete {
        target: Target::of(job),
        grace_seconds: None,
        propagation: Some(PropagationPolicy::Foreground),
    }])
}

/// Whether a Job has come to its end, and to which.
fn ending(spec: &JobSpec, old: &JobStatus, tally: &Tally, now: Timestamp) -> Option<End> {
    // An end that was told stays the end.
    if let Some(target) = condition(old, "FailureTarget") {
        let is_deadline = target.reason.as_deref() == Some(DEADLINE.reason);
        return Some(if is_deadline {
            DEADLINE
        } else {
            BACK_OFF_LIMIT
        });
    }
    if condition(old, "SuccessCriteriaMet").is_some() {
        return Some(COMPLETE);
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    let in_place = tally.restarts > 0 && tally.restarts >= limit;
    if tally.failed > limit || (restarts_in_place(spec) && in_place) {
        return Some(BACK_OFF_LIMIT);
    }
    let start = old
        .start_time
        .as_ref()
        .filter(|_| spec.suspend != Some(true));
    let deadline = spec.active_deadline_seconds.zip(start);
    if deadline.is_some_and(|(seconds, start)| after(start.0, seconds) <= now) {
        return Some(DEADLINE);
    }
    let is_complete = match spec.completions {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0 && tally.active.is_empty(),
    };
    is_complete.then_some(COMPLETE)
}

fn restarts_in_place(spec: &JobSpec) -> bool {
    let policy = spec
        .template
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    policy == Some("OnFailure")
}

/// Tells the end: first that it comes, and once no pod runs any more, that it is there.
fn finish(status: &mut JobStatus, end: &End, tally: &Tally, now: Timestamp) {
    let [coming, there] = end.conditions;
    set(status, coming, "True", end.reason, end.message, now);
    if tally.active.is_empty() && tally.stopping == 0 {
        set(status, there, "True", end.reason, end.message, now);
        if there == "Complete" {
            status.completion_time = Some(time(now));
        }
    }
}

fn suspend(status: &mut JobStatus, now: Timestamp) {
    status.start_time = None;
    set(
        status,
        "Suspended",
        "True",
        "JobSuspended",
        "Job suspended",
        now,
    );
}

fn resume(status: &mut JobStatus, now: Timestamp) {
    if condition(status, "Suspended").is_some() {
        set(
            status,
            "Suspended",
            "False",
            "JobResumed",
            "Job resumed",
            now,
        );
    }
}

fn set(
    status: &mut JobStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let before = conditions
        .iter_mut()
        .find(|condition| condition.type_ == kind);
    if before.as_ref().is_some_and(|before| before.status == value) {
        return;
    }
    let condition = JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    };
    match before {
        Some(before) => *before = condition,
        None => conditions.push(condition),
    }
}

/// Brings the number of running pods to what is wanted now.
fn manage(
    job: &Job,
    spec: &JobSpec,
    tally: &Tally,
    now: Timestamp,
) -> (Vec<Change>, Option<Timestamp>) {
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        Some(completions) => parallelism.min(completions - tally.succeeded),
        // The first success tells the other pods of a work queue that it is empty.
        None if tally.succeeded > 0 => count(tally.active.len()),
        None => parallelism,
    };
    let wanted = usize::try_from(wanted).unwrap_or_default();
    let Some(missing) = wanted.checked_sub(tally.active.len()) else {
        let mut order = tally.active.clone();
        order.sort_by_cached_key(|pod| pods::deletion_order(pod));
        let surplus = order.iter().take(tally.active.len() - wanted);
        return (surplus.map(|pod| Change::delete(*pod)).collect(), None);
    };
    let ready_at = tally
        .last_failure
        .map(|last| after(last, back_off(tally.failed)));
    match ready_at.filter(|at| missing > 0 && *at > now) {
        Some(at) => (Vec::new(), Some(at)),
        None => (vec![Change::create(&pod_of(job, spec)); missing], None),
    }
}

fn back_off(failures: i32) -> i64 {
    let doublings = u32::try_from(failures - 1).unwrap_or_default();
    let wait = FIRST_BACK_OFF_SECONDS.saturating_mul(2_i64.saturating_pow(doublings));
    wait.min(LAST_BACK_OFF_SECONDS)
}

/// The labels by which the pods of a Job are known.
fn own_labels(job: &Job) -> BTreeMap<String, String> {
    let (uid, name) = (job.uid().unwrap_or_default(), job.name_any());
    let labels = [
        ("batch.kubernetes.io/controller-uid", uid.clone()),
        ("batch.kubernetes.io/job-name", name.clone()),
        ("controller-uid", uid),
        ("job-name", name),
    ];
    labels
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// What the API server would have filled in.
fn own_selector(job: &Job) -> LabelSelector {
    let mut labels = own_labels(job);
    labels.retain(|key, _| key == "batch.kubernetes.io/controller-uid");
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

fn pod_of(job: &Job, spec: &JobSpec) -> Pod {
    let mut pod = pods::from_template(job, &spec.template);
    if spec.manual_selector != Some(true) {
        pod.labels_mut().extend(own_labels(job));
    }
    pod
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
}
