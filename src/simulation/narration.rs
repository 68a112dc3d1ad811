//! What is told of a change in Events, in the words of the component that makes it in a real
//! cluster.
//!
//! # Source
//! The Events of kube-controller-manager, kube-scheduler and the kubelet 1.33.

use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, ObjectReference, Pod, PodStatus};
use kube::{Resource, ResourceExt as _};
use serde_json::Value;

use super::change::Change;
use super::kubelet::is_running;
use super::pods;
use super::queue::Work;
use super::recorder::{Source, Told};
use super::view::View;
use crate::cluster::Event;

const REPLICA_SETS: Source = Source::of("replicaset-controller");
const DEPLOYMENTS: Source = Source::of("deployment-controller");
const JOBS: Source = Source::of("job-controller");
const SCHEDULER: Source = Source::of("default-scheduler");

fn told<K: Resource<DynamicType = ()>>(of: &K, source: &Source, event: Event) -> Told {
    Told {
        regarding: of.object_ref(&()),
        source: source.clone(),
        event,
    }
}

/// The object that a piece of work is about, if it tells of the pods that it makes and deletes.
fn owner(view: &View, work: &Work) -> Option<(ObjectReference, Source)> {
    match work {
        Work::ReplicaSet(key) => {
            let set = view.replica_sets.get(key)?;
            Some((set.object_ref(&()), REPLICA_SETS))
        }
        Work::Job(key) => Some((view.jobs.get(key)?.object_ref(&()), JOBS)),
        _ => None,
    }
}

/// What is told when an object of this name has been made.
pub(super) fn of_new(view: &View, work: &Work, change: &Change, name: &str) -> Vec<Told> {
    let Change::Create {
        resource, object, ..
    } = change
    else {
        return Vec::new();
    };
    if let Work::Deployment(key) = work {
        let replicas = object["spec"]["replicas"].as_i64().unwrap_or_default();
        let deployment = view.deployments.get(key).filter(|_| replicas > 0);
        let scaled = deployment.map(|of| told(&**of, &DEPLOYMENTS, scaled(name, 0, replicas)));
        return scaled.into_iter().collect();
    }
    let owner = owner(view, work).filter(|_| resource.kind == "Pod");
    let tell = |(regarding, source)| Told {
        regarding,
        source,
        event: Event::normal("SuccessfulCreate", format!("Created pod: {name}")),
    };
    owner.map(tell).into_iter().collect()
}

/// What is told when a pod could not be made.
pub(super) fn of_refused(view: &View, work: &Work, change: &Change, why: &str) -> Option<Told> {
    let Change::Create { resource, .. } = change else {
        return None;
    };
    let (regarding, source) = owner(view, work).filter(|_| resource.kind == "Pod")?;
    let event = Event::warning("FailedCreate", format!("Error creating: {why}"));
    Some(Told {
        regarding,
        source,
        event,
    })
}

/// What is told of a change once it is made; `view` is what was known before it.
pub(super) fn of(view: &View, work: &Work, change: &Change) -> Vec<Told> {
    match (work, change) {
        (Work::ReplicaSet(_) | Work::Job(_), Change::Delete { target, .. })
            if target.resource.kind == "Pod" =>
        {
            let tell = |(regarding, source)| Told {
                regarding,
                source,
                event: Event::normal("SuccessfulDelete", format!("Deleted pod: {}", target.name)),
            };
            owner(view, work).map(tell).into_iter().collect()
        }
        (Work::Deployment(key), Change::Patch { target, patch }) => {
            let place = super::view::Key::new(&target.namespace, &target.name);
            let found = view.deployments.get(key).zip(view.replica_sets.get(&place));
            let new = patch["spec"]["replicas"].as_i64();
            let scaled = found.zip(new).map(|((deployment, set), new)| {
                let old = set.spec.as_ref().and_then(|spec| spec.replicas);
                let event = scaled(&target.name, old.unwrap_or(1).into(), new);
                told(&**deployment, &DEPLOYMENTS, event)
            });
            scaled.into_iter().collect()
        }
        (Work::Job(key), Change::Status { patch, .. }) => {
            let job = view.jobs.get(key);
            let events = job.map(|job| of_job(job.status.as_ref(), &patch["status"]));
            let events = events.into_iter().flatten();
            events
                .zip(job.into_iter().cycle())
                .map(|(event, job)| told(&**job, &JOBS, event))
                .collect()
        }
        (Work::Pod(key), change) => {
            let pod = view.pods.get(key);
            pod.map(|pod| of_pod(pod, change)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn scaled(name: &str, old: i64, new: i64) -> Event {
    let way = if new > old { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {name} from {old} to {new}");
    Event::normal("ScalingReplicaSet", message)
}

/// Conditions of a Job that have come to hold, and the one that holds no more.
fn of_job(old: Option<&JobStatus>, patch: &Value) -> Vec<Event> {
    let old = old.and_then(|status| status.conditions.as_deref());
    let old = old.unwrap_or_default();
    let new: Vec<JobCondition> =
        serde_json::from_value(patch["conditions"].clone()).unwrap_or_default();
    let is_news = |found: &&JobCondition| {
        let before = old.iter().find(|before| before.type_ == found.type_);
        before.is_none_or(|before| before.status != found.status)
    };
    let tell = |found: &JobCondition| match (found.type_.as_str(), found.status.as_str()) {
        ("Complete", "True") => Some(Event::normal("Completed", "Job completed")),
        ("Failed", "True") => Some(Event::warning(
            found.reason.clone().unwrap_or_default(),
            found.message.clone().unwrap_or_default(),
        )),
        ("Suspended", "True") => Some(Event::normal("Suspended", "Job suspended")),
        ("Suspended", "False") => Some(Event::normal("Resumed", "Job resumed")),
        _ => None,
    };
    new.iter().filter(is_news).filter_map(tell).collect()
}

fn of_pod(pod: &Pod, change: &Change) -> Vec<Told> {
    match change {
        Change::Patch { patch, .. } => {
            let node = patch["spec"]["nodeName"].as_str();
            let scheduled = node.map(|node| {
                let place = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
                let message = format!("Successfully assigned {place} to {node}");
                told(pod, &SCHEDULER, Event::normal("Scheduled", message))
            });
            scheduled.into_iter().collect()
        }
        Change::Status { patch, .. } => {
            let new: PodStatus =
                serde_json::from_value(patch["status"].clone()).unwrap_or_default();
            let unscheduled = unscheduled(pod, &new);
            let unscheduled = unscheduled.map(|event| told(pod, &SCHEDULER, event));
            let before = pod.status.as_ref();
            let before = before.and_then(|status| status.container_statuses.as_deref());
            let after = new.container_statuses.as_deref().unwrap_or_default();
            let containers = after.iter().flat_map(|after| {
                let mut before = before.unwrap_or_default().iter();
                let before = before.find(|before| before.name == after.name);
                let events = of_container(pod, before, after).into_iter();
                events.map(|event| of_kubelet(pod, &after.name, event))
            });
            unscheduled.into_iter().chain(containers).collect()
        }
        Change::Create { .. } | Change::Delete { .. } | Change::Finalize { .. } => Vec::new(),
    }
}

/// What is told of the containers of a pod that is about to stop.
pub(super) fn of_stop(pod: &Pod) -> Vec<Told> {
    let statuses = pod.status.as_ref();
    let statuses = statuses.and_then(|status| status.container_statuses.as_deref());
    let running = statuses
        .unwrap_or_default()
        .iter()
        .filter(|status| is_running(status));
    let stop = |status: &ContainerStatus| {
        let event = Event::normal("Killing", format!("Stopping container {}", status.name));
        of_kubelet(pod, &status.name, event)
    };
    running.map(stop).collect()
}

fn of_kubelet(pod: &Pod, container: &str, event: Event) -> Told {
    let mut regarding = pod.object_ref(&());
    regarding.field_path = Some(format!("spec.containers{{{container}}}"));
    Told {
        regarding,
        source: Source {
            component: "kubelet",
            host: pods::node(pod).map(str::to_owned),
        },
        event,
    }
}

/// That a pod still has no node, if that is said for the first time or in other words.
fn unscheduled(pod: &Pod, new: &PodStatus) -> Option<Event> {
    let said = |status: &PodStatus| {
        let mut conditions = status.conditions.iter().flatten();
        let found = conditions.find(|condition| {
            condition.type_ == "PodScheduled"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("Unschedulable")
        });
        found.and_then(|found| found.message.clone())
    };
    let message = said(new)?;
    let is_news = pod.status.as_ref().and_then(said).as_ref() != Some(&message);
    is_news.then(|| Event::warning("FailedScheduling", message))
}

/// What is told of a container that has come from one state to another.
fn of_container(
    pod: &Pod,
    before: Option<&ContainerStatus>,
    after: &ContainerStatus,
) -> Vec<Event> {
    let (name, image) = (&after.name, &after.image);
    let restarts = before.map_or(0, |before| before.restart_count);
    let ran = before.is_some_and(is_running) && restarts == after.restart_count;
    if is_running(after) && !ran {
        let present = format!("Container image \"{image}\" already present on machine");
        return vec![
            Event::normal("Pulled", present),
            Event::normal("Created", format!("Created container: {name}")),
            Event::normal("Started", format!("Started container {name}")),
        ];
    }
    let waits = |status: &ContainerStatus| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        Some((waiting.reason.clone()?, waiting.message.clone()))
    };
    let Some((reason, message)) = waits(after) else {
        return Vec::new();
    };
    let reason_before = before.and_then(waits).map(|(reason, _)| reason);
    if reason_before.as_ref() == Some(&reason) {
        return Vec::new();
    }
    match reason.as_str() {
        "ErrImagePull" => {
            let why = message.unwrap_or_default();
            let failed = format!("Failed to pull image \"{image}\": {why}");
            vec![
                Event::normal("Pulling", format!("Pulling image \"{image}\"")),
                Event::warning("Failed", failed),
                Event::warning("Failed", "Error: ErrImagePull"),
            ]
        }
        "ImagePullBackOff" => vec![
            Event::normal("BackOff", format!("Back-off pulling image \"{image}\"")),
            Event::warning("Failed", "Error: ImagePullBackOff"),
        ],
        "CrashLoopBackOff" => {
            let place = format!(
                "{}_{}({})",
                pod.name_any(),
                pod.namespace().unwrap_or_default(),
                pod.uid().unwrap_or_default()
            );
            let message = format!("Back-off restarting failed container {name} in pod {place}");
            vec![Event::warning("BackOff", message)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(restarts: i32, state: &Value) -> ContainerStatus {
        serde_json::from_value(json!({"name": "web", "image": "web:1", "imageID": "",
            "ready": false, "restartCount": restarts, "state": state}))
        .unwrap()
    }

    fn reasons(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.reason.as_str()).collect()
    }

    #[test]
    fn a_container_that_comes_into_a_state_is_told_of_and_one_that_stays_is_not() {
        let running = || json!({"running": {}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "why"}});
        let creating = status(0, &waiting("ContainerCreating"));
        let started = ["Pulled", "Created", "Started"];
        let cases: [(Option<&ContainerStatus>, ContainerStatus, &[&str]); 8] = [
            (None, creating.clone(), &[]),
            (Some(&creating), status(0, &running()), &started),
            (Some(&status(0, &running())), status(0, &running()), &[]),
            (
                Some(&status(0, &running())),
                status(1, &running()),
                &started,
            ),
            (
                Some(&creating),
                status(0, &waiting("ErrImagePull")),
                &["Pulling", "Failed", "Failed"],
            ),
            (
                Some(&status(0, &waiting("ErrImagePull"))),
                status(0, &waiting("ImagePullBackOff")),
                &["BackOff", "Failed"],
            ),
            (
                Some(&status(1, &json!({"terminated": {"exitCode": 1}}))),
                status(1, &waiting("CrashLoopBackOff")),
                &["BackOff"],
            ),
            (
                Some(&status(1, &waiting("CrashLoopBackOff"))),
                status(1, &waiting("CrashLoopBackOff")),
                &[],
            ),
        ];
        for (before, after, expected) in cases {
            let events = of_container(&Pod::default(), before, &after);
            assert_eq!(reasons(&events), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_job_tells_of_conditions_that_have_come_to_hold() {
        let held = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R", "message": "m"});
        let cases = [
            (json!([]), json!([held("FailureTarget", "True")]), vec![]),
            (json!([]), json!([held("Failed", "True")]), vec!["R"]),
            (
                json!([]),
                json!([held("Complete", "True")]),
                vec!["Completed"],
            ),
            (
                json!([held("Suspended", "True")]),
                json!([held("Suspended", "True")]),
                vec![],
            ),
            (
                json!([held("Suspended", "True")]),
                json!([held("Suspended", "False")]),
                vec!["Resumed"],
            ),
        ];
        for (old, new, expected) in cases {
            let old: JobStatus = serde_json::from_value(json!({ "conditions": old })).unwrap();
            let events = of_job(Some(&old), &json!({ "conditions": new }));
            assert_eq!(reasons(&events), expected, "{new}");
        }
    }
}
