use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::api::Measurement;

use super::super::tests::{context, message, metric};
use super::super::{Provider, Reply, RunIdentity, Settings};
use super::*;

const UID: &str = "0c9e2b1c-8a6f-4a3c-9d55-3f0b8f1c7a5e";
const NAME: &str = "0c9e2b1c-8a6f-4a3c-9d55-3f0b8f1c7a5e.smoke.1";

fn written() -> Value {
    json!({"job": {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {
            "backoffLimit": 1,
            "ttlSecondsAfterFinished": 0,
            "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "test", "image": "test:1"}],
            }},
        },
    }})
}

fn provider(placement: JobPlacement, in_flight: Option<&Measurement>) -> Provider {
    let settings = Settings {
        jobs: placement,
        ..Settings::default()
    };
    let mut context = context(&settings);
    context.in_flight = in_flight;
    Provider::new(&metric(written()), &context).unwrap()
}

fn in_flight(started_seconds_ago: i64) -> Measurement {
    let settings = Settings::default();
    let started = context(&settings).now - SignedDuration::from_secs(started_seconds_ago);
    Measurement {
        phase: Some(Phase::Running),
        started_at: Some(Time(started)),
        metadata: names(),
        ..Measurement::default()
    }
}

fn names() -> BTreeMap<String, String> {
    [("job-name", NAME), ("job-namespace", "shop")]
        .map(|(k, v)| (k.into(), v.into()))
        .into()
}

fn asked(step: Step) -> JobRequest {
    match step {
        Step::Ask(Request::Job(request)) => request,
        other => panic!("no question about a Job: {other:?}"),
    }
}

fn done(step: Step) -> Reading {
    match step {
        Step::Done(reading) => reading,
        other @ Step::Ask(_) => panic!("not done: {other:?}"),
    }
}

fn created(placement: JobPlacement) -> Job {
    match asked(provider(placement, None).start(Action::Run)) {
        JobRequest::Create(job) => *job,
        other => panic!("no creation: {other:?}"),
    }
}

fn with_condition(kind: &str, reason: &str) -> Job {
    serde_json::from_value(json!({
        "metadata": {"name": NAME, "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "7"}},
            "template": {"spec": {"containers": []}},
        },
        "status": {"conditions": [{"type": kind, "status": "True", "reason": reason}]},
    }))
    .unwrap()
}

#[test]
fn the_job_is_as_written_and_belongs_to_the_run() {
    let job = serde_json::to_value(created(JobPlacement::default())).unwrap();
    assert_eq!(
        job["metadata"],
        json!({
            "name": NAME,
            "namespace": "shop",
            "labels": {"team": "a", "analysisrun.argoproj.io/uid": UID},
            "annotations": {
                "note": "b",
                "analysisrun.argoproj.io/name": "web-1",
                "analysisrun.argoproj.io/namespace": "shop",
                "analysisrun.argoproj.io/metric-name": "smoke",
            },
            "ownerReferences": [{
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AnalysisRun",
                "name": "web-1",
                "uid": UID,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        })
    );
    assert_eq!(job["spec"]["backoffLimit"], 1);
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 300);
    let template = &job["spec"]["template"];
    assert_eq!(
        template["metadata"]["labels"],
        json!({"analysisrun.argoproj.io/uid": UID})
    );
    assert_eq!(template["spec"]["containers"][0]["image"], "test:1");
}

#[test]
fn a_job_tells_whose_it_is() {
    let job = created(JobPlacement {
        namespace: Some("jobs".into()),
        other_cluster: false,
    });
    let owner = JobOwner {
        run_namespace: "shop".into(),
        run_name: "web-1".into(),
        run_uid: UID.into(),
        metric: "smoke".into(),
    };
    assert_eq!(JobOwner::of(&job), Some(owner));
    assert_eq!(JobOwner::of(&Job::default()), None);
    assert!(!JobOwner::has_ended(&job));
    assert!(JobOwner::has_ended(&with_condition("Failed", "")));
}

#[test]
fn a_job_elsewhere_has_no_owner() {
    for (namespace, other_cluster, owned) in [
        (None, false, true),
        (Some("shop"), false, true),
        (Some("jobs"), false, false),
        (None, true, false),
    ] {
        let job = created(JobPlacement {
            namespace: namespace.map(str::to_owned),
            other_cluster,
        });
        assert_eq!(job.metadata.owner_references.is_some(), owned);
        assert_eq!(
            job.metadata.namespace.as_deref(),
            Some(namespace.unwrap_or("shop"))
        );
    }
}

#[test]
fn a_new_job_is_in_flight_at_once() {
    let mut provider = provider(JobPlacement::default(), None);
    asked(provider.start(Action::Run));
    let reading = done(provider.next(Reply::Job(Ok(JobReply::Created))));
    let settings = Settings::default();
    let now = context(&settings).now;
    assert_eq!(
        reading.outcome,
        Outcome::InFlight {
            resume_at: Some(now)
        }
    );
    assert_eq!(reading.metadata, names());
}

#[test]
fn a_job_that_is_there_is_adopted_only_if_it_is_ours() {
    let elsewhere = || JobPlacement {
        namespace: Some("jobs".into()),
        other_cluster: false,
    };
    let mut stranger = created(JobPlacement::default());
    stranger.metadata.owner_references.as_mut().unwrap()[0].uid = "other".into();
    let mut ownerless = created(JobPlacement::default());
    ownerless.metadata.owner_references = None;
    let mut other_label = created(elsewhere());
    other_label
        .metadata
        .labels
        .as_mut()
        .unwrap()
        .insert(object::RUN_UID.into(), "x".into());
    let mut other_metric = created(JobPlacement::default());
    let annotations = other_metric.metadata.annotations.as_mut().unwrap();
    annotations.insert(object::METRIC_NAME.into(), "smoke-2".into());
    for (placement, found, adopted) in [
        (
            JobPlacement::default(),
            created(JobPlacement::default()),
            true,
        ),
        (JobPlacement::default(), stranger, false),
        (JobPlacement::default(), ownerless, false),
        (JobPlacement::default(), other_metric, false),
        (elsewhere(), created(elsewhere()), true),
        (elsewhere(), other_label, false),
    ] {
        let mut provider = provider(placement, None);
        asked(provider.start(Action::Run));
        let request = asked(provider.next(Reply::Job(Ok(JobReply::AlreadyThere))));
        assert!(matches!(request, JobRequest::Get(name) if name.name == NAME));
        let step = provider.next(Reply::Job(Ok(JobReply::Job(Some(Box::new(found))))));
        if adopted {
            assert_eq!(
                done(step).metadata.get("job-name").map(String::as_str),
                Some(NAME)
            );
        } else {
            assert!(message(&step).contains("does not belong to this AnalysisRun"));
        }
    }
}

#[test]
fn a_job_whose_making_was_not_answered_is_looked_for() {
    let lost = || {
        let mut provider = provider(JobPlacement::default(), None);
        asked(provider.start(Action::Run));
        let request = asked(provider.next(Reply::Job(Err("no answer".into()))));
        assert!(matches!(request, JobRequest::Get(name) if name.name == NAME));
        provider
    };
    let made = Some(Box::new(created(JobPlacement::default())));
    let reading = done(lost().next(Reply::Job(Ok(JobReply::Job(made)))));
    assert!(matches!(reading.outcome, Outcome::InFlight { .. }));
    let absent = lost().next(Reply::Job(Ok(JobReply::Job(None))));
    assert_eq!(message(&absent), "job: no answer");
    let unknown = lost().next(Reply::Job(Err("still no answer".into())));
    assert_eq!(message(&unknown), "job: no answer");
}

#[test]
fn a_finished_job_is_the_verdict() {
    for (kind, phase, expected) in [
        ("Complete", Phase::Successful, String::new()),
        (
            "Failed",
            Phase::Failed,
            format!("job shop/{NAME} failed: BackoffLimitExceeded"),
        ),
    ] {
        let measurement = in_flight(10);
        let mut provider = provider(JobPlacement::default(), Some(&measurement));
        let request = asked(provider.start(Action::Resume));
        assert_eq!(
            request,
            JobRequest::Get(JobName {
                namespace: "shop".into(),
                name: NAME.into()
            })
        );
        let job = with_condition(
            kind,
            if kind == "Failed" {
                "BackoffLimitExceeded"
            } else {
                ""
            },
        );
        let reading = done(provider.next(Reply::Job(Ok(JobReply::Job(Some(Box::new(job)))))));
        assert_eq!(
            reading.outcome,
            Outcome::Settled {
                phase,
                message: expected
            }
        );
        assert_eq!(reading.metadata, names());
    }
}

#[test]
fn a_running_job_is_looked_at_rarer_and_rarer() {
    for (elapsed, delay_ms) in [(0, 1_000), (10, 4_472), (3600, 84_852)] {
        let step = resumed_with_pods(elapsed, json!([]));
        let Reading {
            outcome: Outcome::InFlight {
                resume_at: Some(at),
            },
            ..
        } = done(step)
        else {
            panic!("not in flight");
        };
        let settings = Settings::default();
        assert_eq!(
            at.duration_since(context(&settings).now).as_millis(),
            delay_ms
        );
    }
}

fn resumed_with_pods(elapsed: i64, pods: Value) -> Step {
    let measurement = in_flight(elapsed);
    let mut provider = provider(JobPlacement::default(), Some(&measurement));
    asked(provider.start(Action::Resume));
    let job = with_condition("Suspended", "");
    let request = asked(provider.next(Reply::Job(Ok(JobReply::Job(Some(Box::new(job)))))));
    let selector = "batch.kubernetes.io/controller-uid=7".to_owned();
    assert_eq!(
        request,
        JobRequest::Pods {
            namespace: "shop".into(),
            selector
        }
    );
    let pods: Vec<Pod> = serde_json::from_value(pods).unwrap();
    provider.next(Reply::Job(Ok(JobReply::Pods(pods))))
}

#[test]
fn pods_that_never_run_make_it_inconclusive() {
    let waits = |list: &str, reason: &str| {
        json!([{"metadata": {"name": "p"}, "status": {list: [
            {"name": "fine", "image": "", "imageID": "", "ready": true, "restartCount": 0},
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": reason}}},
        ]}}])
    };
    let unscheduled = |since: &str| {
        json!([{"metadata": {"name": "p"}, "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": "0/3 nodes", "lastTransitionTime": since},
        ]}}])
    };
    for (pods, stuck) in [
        (
            waits("containerStatuses", "ErrImagePull"),
            "container c waits: ErrImagePull",
        ),
        (
            waits("initContainerStatuses", "ImagePullBackOff"),
            "ImagePullBackOff",
        ),
        (
            waits("containerStatuses", "InvalidImageName"),
            "InvalidImageName",
        ),
        (
            waits("containerStatuses", "CreateContainerConfigError"),
            "CreateContainerConfigError",
        ),
        (waits("containerStatuses", "ContainerCreating"), ""),
        (waits("containerStatuses", "CrashLoopBackOff"), ""),
        (unscheduled("2026-08-01T09:50:00Z"), "unschedulable since"),
        (unscheduled("2026-08-01T09:50:01Z"), ""),
    ] {
        match done(resumed_with_pods(10, pods)).outcome {
            Outcome::Settled { phase, message } => {
                assert_eq!(phase, Phase::Inconclusive);
                assert!(!stuck.is_empty() && message.contains(stuck), "{message}");
                assert!(message.contains("pod p"), "{message}");
            }
            other => assert!(stuck.is_empty(), "{stuck}: {other:?}"),
        }
    }
}

#[test]
fn a_job_that_is_gone_or_unknown_is_an_error() {
    let measurement = in_flight(10);
    let mut known = provider(JobPlacement::default(), Some(&measurement));
    asked(known.start(Action::Resume));
    assert!(message(&known.next(Reply::Job(Ok(JobReply::Job(None))))).contains("is gone"));
    for action in [Action::Resume, Action::Terminate] {
        let step = provider(JobPlacement::default(), None).start(action);
        assert!(message(&step).contains("metadata `job-name`"));
    }
}

#[test]
fn a_terminated_job_is_deleted() {
    let measurement = in_flight(10);
    let mut provider = provider(JobPlacement::default(), Some(&measurement));
    let request = asked(provider.start(Action::Terminate));
    let name = JobName {
        namespace: "shop".into(),
        name: NAME.into(),
    };
    assert_eq!(request, JobRequest::Delete(name));
    let failed = provider.next(Reply::Job(Err("cannot delete: forbidden".into())));
    assert_eq!(message(&failed), "job: cannot delete: forbidden");
    let reading = done(provider.next(Reply::Job(Ok(JobReply::Deleted))));
    let message = "Metric Terminated".to_owned();
    assert_eq!(
        reading.outcome,
        Outcome::Settled {
            phase: Phase::Inconclusive,
            message
        }
    );
}

#[test]
fn a_spec_that_is_no_job_is_named() {
    let settings = Settings::default();
    let mut context = context(&settings);
    context.run = RunIdentity {
        name: "r",
        ..context.run
    };
    let broken = json!({"job": {"spec": {"backoffLimit": "many", "template": {}}}});
    let error = Provider::new(&metric(broken), &context).unwrap_err();
    assert!(error.starts_with("job: spec: "), "{error}");
}
