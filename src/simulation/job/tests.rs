//! A Job and its pods, played without a cluster: the changes are made to the objects themselves.

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::super::pods;
use super::*;

fn at(seconds: i64) -> Timestamp {
    after("2026-01-01T00:00:00Z".parse().unwrap(), seconds)
}

struct Play {
    job: Job,
    pods: Vec<Pod>,
    made: usize,
    seconds: i64,
}

impl Play {
    /// A Job that runs one pod until it succeeds, but for what `spec` says.
    fn of(spec: &Value) -> Self {
        let mut job = json!({
            "metadata": {"name": "j", "namespace": "default", "uid": "u"},
            "spec": {"completions": 1, "parallelism": 1, "template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c"}],
            }}},
        });
        json_patch::merge(&mut job, &json!({ "spec": spec }));
        Self {
            job: serde_json::from_value(job).unwrap(),
            pods: Vec::new(),
            made: 0,
            seconds: 0,
        }
    }

    fn decide(&self) -> Decision {
        let pods: Vec<_> = self.pods.iter().cloned().map(Arc::new).collect();
        decide(&self.job, &pods, at(self.seconds))
    }

    /// Makes the changes of passes until there are none; answers when to look again, in seconds.
    fn settle(&mut self) -> Option<i64> {
        for _ in 0..20 {
            let decision = self.decide();
            if decision.changes.is_empty() {
                let wake = decision.wake_at;
                return wake.map(|wake| wake.duration_since(at(0)).as_secs());
            }
            for change in &decision.changes {
                self.make(change);
            }
        }
        panic!("it never settles: {:?}", self.decide().changes)
    }

    fn settle_at(&mut self, seconds: i64) -> Option<i64> {
        self.seconds = seconds;
        self.settle()
    }

    fn make(&mut self, change: &Change) {
        match change {
            Change::Create { object, .. } => {
                let mut pod: Pod = serde_json::from_value(object.clone()).unwrap();
                let prefix = pod.metadata.generate_name.clone().unwrap();
                pod.metadata.name = Some(format!("{prefix}{}", self.made));
                pod.metadata.uid = pod.metadata.name.clone();
                pod.spec.as_mut().unwrap().node_name = Some("n".to_owned());
                pod.status = serde_json::from_value(json!({"phase": "Running"})).unwrap();
                self.made += 1;
                self.pods.push(pod);
            }
            Change::Patch { target, patch } => {
                let pod = self.pod_mut(&target.name);
                let mut value = json!(pod);
                json_patch::merge(&mut value, patch);
                *pod = serde_json::from_value(value).unwrap();
            }
            Change::Delete { target, .. } if target.name == "j" => {
                self.job.metadata.deletion_timestamp = Some(time(at(self.seconds)));
            }
            Change::Delete { target, .. } => {
                let now = time(at(self.seconds));
                self.pod_mut(&target.name).metadata.deletion_timestamp = Some(now);
            }
            Change::Status { patch, .. } => {
                let mut value = json!(self.job);
                json_patch::merge(&mut value, patch);
                self.job = serde_json::from_value(value).unwrap();
            }
            Change::Finalize { .. } => panic!("{change}"),
        }
        let is_gone = |pod: &Pod| {
            pods::is_deleting(pod) && pods::is_finished(pod) && pod.finalizers().is_empty()
        };
        self.pods.retain(|pod| !is_gone(pod));
    }

    fn pod_mut(&mut self, name: &str) -> &mut Pod {
        let mut pods = self.pods.iter_mut();
        pods.find(|pod| pod.name_any() == name).unwrap()
    }

    /// The first pod that runs ends with this code.
    fn end(&mut self, exit_code: i32) {
        let finished = at(self.seconds).to_string();
        let mut running = self.pods.iter_mut().filter(|pod| !pods::is_finished(pod));
        let pod = running.next().unwrap();
        let phase = if exit_code == 0 {
            "Succeeded"
        } else {
            "Failed"
        };
        let ended = json!({"exitCode": exit_code, "finishedAt": finished});
        let container = json!({"name": "c", "ready": false, "restartCount": 0, "image": "",
            "imageID": "", "state": {"terminated": ended}});
        let status = json!({"phase": phase, "containerStatuses": [container]});
        pod.status = serde_json::from_value(status).unwrap();
    }

    fn running(&self) -> Vec<String> {
        let running = self.pods.iter().filter(|pod| pods::is_active(pod));
        running.map(Pod::name_any).collect()
    }

    /// Active, succeeded and failed pods; then the conditions that hold, with their reasons.
    fn told(&self) -> String {
        let status = self.job.status.clone().unwrap_or_default();
        let [active, succeeded, failed] =
            [status.active, status.succeeded, status.failed].map(Option::unwrap_or_default);
        let uncounted = status.uncounted_terminated_pods.unwrap_or_default();
        assert_eq!((uncounted.succeeded, uncounted.failed), (None, None));
        let conditions = status.conditions.unwrap_or_default();
        let holding = conditions
            .into_iter()
            .filter(|found| found.status == "True");
        let told = holding.map(|found| format!(" {} {}", found.type_, found.reason.unwrap()));
        let told: String = told.collect();
        format!("{active} {succeeded} {failed}{told}")
    }
}

const COMPLETE: &str = " SuccessCriteriaMet CompletionsReached Complete CompletionsReached";
const TOO_OFTEN: &str = " FailureTarget BackoffLimitExceeded Failed BackoffLimitExceeded";

/// Ends of pods in order, by exit code; what is told after each.
type Course = (Value, &'static [(i32, &'static str)]);

fn courses() -> Vec<Course> {
    let no_wait = json!({"backoffLimit": 6});
    vec![
        (json!({}), &[(0, "0 1 0 done")]),
        (
            json!({"completions": 3, "parallelism": 2}),
            &[(0, "2 1 0"), (0, "1 2 0"), (0, "0 3 0 done")],
        ),
        (
            json!({"completions": null, "parallelism": 2}),
            &[(0, "1 1 0"), (0, "0 2 0 done")],
        ),
        (no_wait, &[(1, "1 0 1"), (0, "0 1 1 done")]),
        (
            json!({"backoffLimit": 1}),
            &[(1, "1 0 1"), (1, "0 0 2 failed")],
        ),
        (json!({"backoffLimit": 0}), &[(1, "0 0 1 failed")]),
    ]
}

#[test]
fn a_job_runs_pods_until_it_has_succeeded_or_failed() {
    for (spec, course) in courses() {
        let mut play = Play::of(&spec);
        play.settle();
        for (exit_code, expected) in course {
            play.end(*exit_code);
            if let Some(wake) = play.settle() {
                play.settle_at(wake);
            }
            let expected = expected
                .replace(" done", COMPLETE)
                .replace(" failed", TOO_OFTEN);
            assert_eq!(play.told(), expected, "{spec}");
        }
        assert!(play.pods.iter().all(|pod| pod.finalizers().is_empty()));
        assert_eq!(play.running(), [""; 0]);
    }
}

#[test]
fn a_pod_is_counted_once_even_if_it_is_deleted() {
    let mut play = Play::of(&json!({"completions": 2}));
    play.settle();
    play.end(0);
    let name = play.running().pop().unwrap_or_else(|| "j-0".to_owned());
    play.pod_mut(&name).metadata.deletion_timestamp = Some(time(at(0)));
    play.settle();
    assert_eq!(play.told(), "1 1 0");
    assert_eq!(play.pods.len(), 1);
    // A pod that somebody deletes while it runs has failed.
    let running = play.running()[0].clone();
    play.pod_mut(&running).metadata.deletion_timestamp = Some(time(at(0)));
    assert_eq!(play.settle(), Some(10));
    assert_eq!(play.told(), "0 1 1");
    play.settle_at(10);
    assert_eq!(play.told(), "1 1 1");
}

#[test]
fn a_failed_pod_is_replaced_after_a_wait_that_a_success_forgives() {
    let mut play = Play::of(&json!({"completions": 3}));
    play.settle();
    let mut waits = Vec::new();
    for exit_code in [1, 1, 0, 1] {
        play.seconds += 1;
        play.end(exit_code);
        let ended = play.seconds;
        if let Some(wake) = play.settle() {
            waits.push(wake - ended);
            play.settle_at(wake);
        }
    }
    assert_eq!(waits, [10, 20, 10]);
}

#[test]
fn pods_that_restart_in_place_count_against_the_limit() {
    let spec = json!({"backoffLimit": 2, "template": {"spec": {"restartPolicy": "OnFailure"}}});
    let mut play = Play::of(&spec);
    play.settle();
    for (restarts, expected) in [
        (1, "1 0 0"),
        (2, "0 0 0 FailureTarget BackoffLimitExceeded"),
    ] {
        let container = json!({"name": "c", "ready": false, "restartCount": restarts,
            "image": "", "imageID": ""});
        let status = json!({"phase": "Running", "containerStatuses": [container]});
        play.pod_mut("j-0").status = serde_json::from_value(status).unwrap();
        if restarts == 1 {
            play.settle();
            assert_eq!(play.told(), expected);
        }
    }
    let first = play.decide().changes;
    assert!(
        first
            .iter()
            .any(|change| matches!(change, Change::Delete { .. }))
    );
    play.settle();
    play.end(137);
    play.settle();
    assert_eq!(play.told(), format!("0 0 1{TOO_OFTEN}"));
}

#[test]
fn a_job_fails_at_its_deadline_once_its_pods_have_stopped() {
    let mut play = Play::of(&json!({"activeDeadlineSeconds": 60}));
    assert_eq!(play.settle(), Some(60));
    play.settle_at(60);
    assert_eq!(play.told(), "0 0 1 FailureTarget DeadlineExceeded");
    play.end(137);
    play.settle();
    let failed = "0 0 1 FailureTarget DeadlineExceeded Failed DeadlineExceeded";
    assert_eq!(play.told(), failed);
}

#[test]
fn a_suspended_job_has_no_pods_and_its_time_starts_anew() {
    let mut play = Play::of(&json!({"activeDeadlineSeconds": 60}));
    play.settle();
    play.job.spec.as_mut().unwrap().suspend = Some(true);
    assert_eq!(play.settle_at(30), None);
    assert_eq!(play.running(), [""; 0]);
    assert_eq!(play.told(), "0 0 0 Suspended JobSuspended");
    assert_eq!(play.settle_at(900), None);
    play.job.spec.as_mut().unwrap().suspend = Some(false);
    assert_eq!(play.settle(), Some(960));
    assert_eq!(play.told(), "1 0 0");
}

#[test]
fn fewer_pods_run_when_fewer_are_wanted_and_none_counts_as_failed() {
    let mut play = Play::of(&json!({"completions": 5, "parallelism": 3}));
    play.settle();
    assert_eq!(play.told(), "3 0 0");
    play.job.spec.as_mut().unwrap().parallelism = Some(1);
    play.settle();
    assert_eq!(play.told(), "1 0 0");
}

#[test]
fn each_place_of_an_indexed_job_is_filled_once() {
    let spec = json!({"completions": 3, "parallelism": 2, "completionMode": "Indexed"});
    let mut play = Play::of(&spec);
    play.settle();
    assert_eq!(play.running(), ["j-0-0", "j-1-1"]);
    let first = &play.pods[0];
    assert_eq!(first.labels()[indexes::INDEX], "0");
    let spec = first.spec.as_ref().unwrap();
    assert_eq!(spec.hostname.as_deref(), Some("j-0"));
    let variables = spec.containers[0].env.as_ref().unwrap();
    assert_eq!(variables[0].name, "JOB_COMPLETION_INDEX");
    play.end(1);
    let wake = play.settle().unwrap();
    play.settle_at(wake);
    assert_eq!(play.running(), ["j-1-1", "j-0-2"]);
    for expected in ["1", "0,1", "0-2"] {
        play.end(0);
        play.settle();
        let status = play.job.status.clone().unwrap();
        assert_eq!(status.completed_indexes.as_deref(), Some(expected));
    }
    assert_eq!(play.told(), format!("0 3 1{COMPLETE}"));
}

#[test]
fn a_policy_may_ignore_failures_or_end_the_job() {
    let rule = |action: &str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let rules = json!({"rules": [rule("Ignore", 7), rule("FailJob", 42)]});
    let mut play = Play::of(&json!({"podFailurePolicy": rules, "backoffLimit": 0}));
    play.settle();
    play.end(7);
    let wake = play.settle().unwrap();
    play.settle_at(wake);
    assert_eq!(play.told(), "1 0 0");
    play.end(42);
    play.settle();
    let failed = "0 0 1 FailureTarget PodFailurePolicy Failed PodFailurePolicy";
    assert_eq!(play.told(), failed);
}

const INDEXED: &str = "Indexed";

impl Play {
    /// As [`Play::told`], with the places that are done and given up.
    fn told_places(&self) -> String {
        let status = self.job.status.clone().unwrap_or_default();
        let places = [status.completed_indexes, status.failed_indexes];
        let [done, failed] = places.map(Option::unwrap_or_default);
        format!("[{done}] [{failed}] {}", self.told())
    }

    fn failures(&self, name: &str) -> [Option<String>; 2] {
        let pod = self.pods.iter().find(|pod| pod.name_any() == name).unwrap();
        let annotation = |name: &str| pod.annotations().get(name).cloned();
        [index_failures::FAILURES, index_failures::IGNORED_FAILURES].map(annotation)
    }
}

#[test]
fn each_place_of_an_indexed_job_may_fail_by_itself() {
    let mut play = Play::of(&json!({"completions": 3, "parallelism": 3,
        "completionMode": INDEXED, "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1}));
    play.settle();
    assert_eq!(play.failures("j-0-0"), [Some("0".to_owned()), None]);
    play.end(1);
    // The failure stands on the pod until another one there tells of it.
    assert_eq!(play.settle(), Some(10));
    assert_eq!(play.told_places(), "[] [] 2 0 0");
    assert_eq!(play.settle_at(10), None);
    assert_eq!(play.told_places(), "[] [] 3 0 1");
    assert_eq!(play.running(), ["j-1-1", "j-2-2", "j-0-3"]);
    assert_eq!(play.failures("j-0-3"), [Some("1".to_owned()), None]);
    play.end(0);
    play.end(0);
    play.settle();
    assert_eq!(play.told_places(), "[1,2] [] 1 2 1");
    play.end(1);
    play.settle();
    let failed = "[1,2] [0] 0 2 2 FailureTarget FailedIndexes Failed FailedIndexes";
    assert_eq!(play.told_places(), failed);
    assert!(play.pods.iter().all(|pod| pod.finalizers().is_empty()));
}

#[test]
fn a_job_ends_when_more_of_its_places_have_failed_than_may() {
    let mut play = Play::of(&json!({"completions": 4, "parallelism": 3,
        "completionMode": INDEXED, "backoffLimit": i32::MAX, "backoffLimitPerIndex": 0,
        "maxFailedIndexes": 1}));
    play.settle();
    play.end(1);
    play.settle();
    assert_eq!(play.told_places(), "[] [0] 3 0 1");
    play.end(1);
    play.settle();
    for _ in 0..2 {
        play.end(137);
    }
    play.settle();
    let reason = "MaxFailedIndexesExceeded";
    let failed = format!("[] [0,1] 0 0 4 FailureTarget {reason} Failed {reason}");
    assert_eq!(play.told_places(), failed);
}

#[test]
fn a_policy_may_give_a_place_up_at_once_or_not_count_its_failure() {
    let rule = |action: &str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let rules = json!({"rules": [rule("Ignore", 7), rule("FailIndex", 42)]});
    let mut play = Play::of(&json!({"completions": 2, "parallelism": 2,
        "completionMode": INDEXED, "backoffLimit": i32::MAX, "backoffLimitPerIndex": 5,
        "podFailurePolicy": rules}));
    play.settle();
    play.end(42);
    assert_eq!(play.settle(), None);
    assert_eq!(play.told_places(), "[] [0] 1 0 1");
    play.end(7);
    assert_eq!(play.settle(), Some(10));
    play.settle_at(10);
    let failures = [Some("0".to_owned()), Some("1".to_owned())];
    assert_eq!(play.failures("j-1-2"), failures);
    play.end(0);
    play.settle();
    let failed = "[1] [0] 0 1 1 FailureTarget FailedIndexes Failed FailedIndexes";
    assert_eq!(play.told_places(), failed);
}

#[test]
fn a_job_is_done_when_the_places_that_matter_are() {
    let mut play = Play::of(&json!({"completions": 3, "parallelism": 3,
        "completionMode": INDEXED,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]}}));
    play.settle();
    play.end(0);
    play.settle();
    assert_eq!(
        play.told_places(),
        "[0] [] 0 1 0 SuccessCriteriaMet SuccessPolicy"
    );
    // The others stop, and count for nothing.
    for _ in 0..2 {
        play.end(137);
    }
    play.settle();
    let done = "[0] [] 0 1 0 SuccessCriteriaMet SuccessPolicy Complete SuccessPolicy";
    assert_eq!(play.told_places(), done);
}

#[test]
fn a_pod_that_stops_may_have_to_be_waited_for() {
    for (policy, running) in [("Failed", 0), ("TerminatingOrFailed", 1)] {
        let mut play = Play::of(&json!({"podReplacementPolicy": policy}));
        play.settle();
        play.pod_mut("j-0").metadata.deletion_timestamp = Some(time(at(0)));
        play.settle();
        play.settle_at(10);
        assert_eq!(play.running().len(), running, "{policy}");
    }
}

#[test]
fn the_pods_of_a_job_that_goes_are_let_go() {
    let mut play = Play::of(&json!({}));
    play.settle();
    play.job.metadata.deletion_timestamp = Some(time(at(0)));
    play.settle();
    assert!(play.pods[0].finalizers().is_empty());
    play.end(1);
    play.settle();
    assert_eq!(play.pods.len(), 1);
}

#[test]
fn a_finished_job_goes_when_its_time_is_over() {
    let mut play = Play::of(&json!({"ttlSecondsAfterFinished": 30}));
    play.settle();
    play.end(0);
    assert_eq!(play.settle(), Some(30));
    assert_eq!(play.settle_at(29), Some(30));
    play.settle_at(30);
    assert!(play.job.metadata.deletion_timestamp.is_some());
}

#[test]
fn a_job_of_another_controller_is_left_alone() {
    let play = Play::of(&json!({"managedBy": "example.dev/other"}));
    assert!(play.decide().changes.is_empty());
}
