use serde_json::{Value, json};

use super::super::Options;
use super::super::nodes::node;
use super::super::script::PREFIX;
use super::*;

const START: &str = "2026-01-01T00:00:00Z";

fn at(seconds: i64) -> Timestamp {
    pods::after(START.parse().unwrap(), seconds)
}

fn pod(restart_policy: &str, annotations: &[(&str, &str)]) -> Pod {
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "nodeName": "n",
            "restartPolicy": restart_policy,
            "containers": [{"name": "c", "image": "i:1"}],
        },
    }))
    .unwrap();
    for (name, value) in annotations {
        pod.annotations_mut()
            .insert(format!("{PREFIX}{name}"), (*value).to_owned());
    }
    pod
}

fn decided(pod: &Pod, seconds: i64) -> Decision {
    let script = Options::default().script_of(pod);
    decide(pod, &script, Some(&node("n", &[])), at(seconds))
}

/// Applies what the kubelet decides to the pod, and says it in a word.
fn step(pod: &mut Pod, seconds: i64) -> (String, Option<Timestamp>) {
    let decision = decided(pod, seconds);
    for change in decision.changes {
        let Change::Status { patch, target } = change else {
            panic!("{change}")
        };
        assert_eq!(target.version.as_deref(), Some("1"));
        let mut value = json!(pod);
        json_patch::merge(&mut value, &patch);
        *pod = serde_json::from_value(value).unwrap();
    }
    (told(pod), decision.wake_at)
}

fn told(pod: &Pod) -> String {
    let status = json!(pod.status);
    let container = &status["containerStatuses"][0];
    let reason = |state: &str| {
        container["state"][state]["reason"]
            .as_str()
            .map(str::to_owned)
    };
    let state = reason("waiting").or_else(|| reason("terminated"));
    let ready = if container["ready"] == json!(true) {
        " ready"
    } else {
        ""
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = state.map(|state| format!(" {state}")).unwrap_or_default();
    let restarts = container["restartCount"].as_i64().unwrap_or_default();
    format!("{}{state}{ready} {restarts}", text(&status["phase"]))
}

/// The status, reason and message of a condition, and since when it has been so.
fn condition(pod: &Pod, kind: &str) -> String {
    let conditions = pod.status.clone().unwrap().conditions.unwrap();
    let found = conditions
        .into_iter()
        .find(|condition| condition.type_ == kind);
    let Some(found) = found else {
        return String::new();
    };
    let since = found.last_transition_time.unwrap().0;
    let since = since.duration_since(at(0)).as_secs();
    let [reason, message] = [found.reason, found.message].map(Option::unwrap_or_default);
    format!("{} {reason}: {message} @ {since}", found.status)
}

/// Restart policy and annotations; then `second: state restarts @ when to look again`.
const LIVES: &[&str] = &[
    "Always ready-after=5s
     0: Pending ContainerCreating 0 @ 1
     1: Running 0 @ 5
     5: Running ready 0
     900: Running ready 0",
    "Always starts-after=3s
     0: Pending ContainerCreating 0 @ 3
     3: Running ready 0",
    "Always ready-after=2s ready-for=10s
     0: Pending ContainerCreating 0 @ 1
     1: Running 0 @ 2
     2: Running ready 0 @ 12
     12: Running 0",
    "Always never-ready=true
     0: Pending ContainerCreating 0 @ 1
     1: Running 0",
    "Always image-pull-error=true
     0: Pending ContainerCreating 0 @ 1
     1: Pending ErrImagePull 0 @ 11
     11: Pending ImagePullBackOff 0
     60: Pending ImagePullBackOff 0",
    "Never ready-after=0s runs-for=30s
     0: Running ready 0 @ 30
     30: Succeeded Completed 0
     31: Succeeded Completed 0",
    "Never exit-code=1
     0: Pending ContainerCreating 0 @ 1
     1: Running ready 0 @ 2
     2: Failed Error 0",
    "Always ready-after=0s runs-for=10s exit-code=2
     0: Running ready 0 @ 10
     10: Running Error 0
     10: Running ready 1 @ 20
     20: Running Error 1
     20: Running CrashLoopBackOff 1 @ 30
     25: Running CrashLoopBackOff 1 @ 30
     30: Running ready 2 @ 40
     40: Running Error 2
     41: Running CrashLoopBackOff 2 @ 60
     60: Running ready 3 @ 70",
    "OnFailure ready-after=0s runs-for=1s exit-code=1
     0: Running ready 0 @ 1
     1: Running Error 0
     1: Running ready 1 @ 2",
    "OnFailure ready-after=0s runs-for=1s
     0: Running ready 0 @ 1
     1: Succeeded Completed 0",
    "Always ready-after=4s runs-for=700s
     0: Pending ContainerCreating 0 @ 1
     1: Running 0 @ 4
     4: Running ready 0 @ 701
     701: Running Completed 0
     701: Running 1 @ 704",
];

#[test]
fn pods_live_as_their_scripts_say() {
    for life in LIVES {
        let mut lines = life.lines();
        let mut words = lines.next().unwrap().split(' ');
        let policy = words.next().unwrap();
        let annotations: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
        let mut pod = pod(policy, &annotations);
        for line in lines {
            let (seconds, expected) = line.trim().split_once(": ").unwrap();
            let (told, wake_at) = step(&mut pod, seconds.parse().unwrap());
            let wake = wake_at.map(|wake| wake.duration_since(at(0)).as_secs());
            let told = wake.map_or(told.clone(), |wake| format!("{told} @ {wake}"));
            assert_eq!(told, expected, "{policy} {annotations:?} at {seconds} s");
        }
    }
}

#[test]
fn a_pod_that_stays_as_it_is_is_not_written() {
    for life in LIVES {
        let mut pod = pod("Always", &[("ready-after", "0s")]);
        step(&mut pod, 0);
        assert!(decided(&pod, 500).changes.is_empty(), "{life}");
    }
}

#[test]
fn a_container_that_crashes_waits_longer_each_time() {
    let script = [
        ("ready-after", "0s"),
        ("runs-for", "0s"),
        ("exit-code", "1"),
    ];
    let mut pod = pod("Always", &script);
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..40 {
        let (told, wake_at) = step(&mut pod, now);
        if let (true, Some(wake_at)) = (told.contains("CrashLoopBackOff"), wake_at) {
            let due = wake_at.duration_since(at(0)).as_secs();
            waits.push(due - now);
            now = due;
        }
    }
    assert_eq!(waits[..8], [10, 20, 40, 80, 160, 300, 300, 300]);
    let message = &json!(pod.status)["containerStatuses"][0]["state"]["waiting"]["message"];
    let expected = "back-off 5m0s restarting failed container=c pod=p_default(u)";
    assert!(*message == expected || message.is_null(), "{message}");
}

#[test]
fn conditions_tell_since_when_they_are_so() {
    let mut pod = pod("Always", &[("ready-after", "5s")]);
    step(&mut pod, 0);
    let creating = "False ContainersNotReady: containers with unready status: [c] @ 0";
    assert_eq!(condition(&pod, "Ready"), creating);
    assert_eq!(condition(&pod, "PodReadyToStartContainers"), "False :  @ 0");
    step(&mut pod, 1);
    assert_eq!(condition(&pod, "Ready"), creating);
    assert_eq!(condition(&pod, "PodReadyToStartContainers"), "True :  @ 1");
    step(&mut pod, 5);
    step(&mut pod, 9);
    for (kind, since) in [
        ("PodScheduled", 0),
        ("Initialized", 0),
        ("ContainersReady", 5),
    ] {
        assert_eq!(
            condition(&pod, kind),
            format!("True :  @ {since}"),
            "{kind}"
        );
    }
    assert_eq!(pods::ready_since(&pod), Some(at(5)));
    let status = pod.status.unwrap();
    assert!(status.pod_ip.unwrap().starts_with("10."));
    assert!(status.host_ip.unwrap().starts_with("192."));
}

#[test]
fn a_readiness_gate_waits_for_its_condition() {
    let mut pod = pod("Always", &[("ready-after", "0s")]);
    let gate = json!([{"conditionType": "example.dev/gate"}]);
    pod.spec.as_mut().unwrap().readiness_gates = serde_json::from_value(gate).unwrap();
    step(&mut pod, 0);
    assert_eq!(condition(&pod, "ContainersReady"), "True :  @ 0");
    assert_eq!(
        condition(&pod, "Ready"),
        "False ReadinessGatesNotReady: corresponding condition of pod readiness gate \
         \"example.dev/gate\" does not exist. @ 0"
    );
    let status = pod.status.as_mut().unwrap();
    set_condition(status, "example.dev/gate", "False", "", "", at(1));
    step(&mut pod, 1);
    assert!(condition(&pod, "Ready").contains("is not \"True\", but False"));
    let status = pod.status.as_mut().unwrap();
    set_condition(status, "example.dev/gate", "True", "", "", at(2));
    step(&mut pod, 3);
    assert_eq!(condition(&pod, "Ready"), "True :  @ 3");
}

#[test]
fn init_containers_have_ended_and_companions_run() {
    let mut pod = pod("Always", &[]);
    let init = json!([
        {"name": "migrate", "image": "m:1"},
        {"name": "proxy", "image": "p:1", "restartPolicy": "Always"},
    ]);
    pod.spec.as_mut().unwrap().init_containers = serde_json::from_value(init).unwrap();
    step(&mut pod, 0);
    let status = json!(pod.status);
    let [migrate, proxy] = [0, 1].map(|index| &status["initContainerStatuses"][index]["state"]);
    assert_eq!(migrate["terminated"]["reason"], "Completed");
    assert_eq!(proxy["running"]["startedAt"], START);
    step(&mut pod, 1);
    assert_eq!(told(&pod), "Running ready 0");
}

#[test]
fn a_changed_script_takes_effect() {
    let mut pod = pod("Always", &[("ready-after", "0s")]);
    assert_eq!(step(&mut pod, 0).0, "Running ready 0");
    let never_ready = format!("{PREFIX}never-ready");
    pod.annotations_mut()
        .insert(never_ready.clone(), "true".to_owned());
    assert_eq!(step(&mut pod, 1).0, "Running 0");
    pod.annotations_mut().remove(&never_ready);
    assert_eq!(step(&mut pod, 2).0, "Running ready 0");
    assert_eq!(pods::ready_since(&pod), Some(at(2)));
}

#[test]
fn a_script_that_makes_no_sense_holds_the_pod_as_it_is() {
    let mut pod = pod("Always", &[("ready-after", "0s")]);
    step(&mut pod, 0);
    let annotation = format!("{PREFIX}ready-after");
    pod.annotations_mut()
        .insert(annotation.clone(), "soon".to_owned());
    assert_eq!(step(&mut pod, 1), ("Running ready 0".to_owned(), None));
    assert!(condition(&pod, SCRIPT).starts_with("False InvalidScript: metadata.annotations["));
    pod.annotations_mut().remove(&annotation);
    step(&mut pod, 2);
    assert_eq!(condition(&pod, SCRIPT), "");
}

/// A pod that was deleted at 0 s with a grace period of 30 s, and had started before.
fn deleted(annotations: &[(&str, &str)]) -> Pod {
    let mut pod = pod("Always", annotations);
    step(&mut pod, -9);
    step(&mut pod, -8);
    pod.metadata.deletion_timestamp = Some(time(at(30)));
    pod.metadata.deletion_grace_period_seconds = Some(30);
    pod
}

#[test]
fn a_deleted_pod_ends_within_its_grace_period() {
    for (stops_after, due, phase, exit_code) in [
        ("0s", 0, "Succeeded", 0),
        ("10s", 10, "Succeeded", 0),
        ("90s", 30, "Failed", 137),
    ] {
        let pod = deleted(&[("stops-after", stops_after)]);
        let before = decided(&pod, due - 1);
        assert_eq!((before.changes.len(), before.wake_at), (0, Some(at(due))));
        let then = decided(&pod, due);
        let [
            Change::Status { patch, .. },
            Change::Delete { grace_seconds, .. },
        ] = then.changes.as_slice()
        else {
            panic!("{:?}", then.changes)
        };
        assert_eq!(*grace_seconds, Some(0));
        let status = &patch["status"];
        assert_eq!(status["phase"], phase);
        let ended = &status["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(ended["exitCode"], exit_code);
        assert_eq!(ended["finishedAt"], at(due).to_string());
    }
}

#[test]
fn a_deleted_pod_that_never_started_fails() {
    let mut pod = pod("Always", &[]);
    pod.metadata.deletion_timestamp = Some(time(at(30)));
    pod.metadata.deletion_grace_period_seconds = Some(30);
    let told: Vec<_> = decided(&pod, 1)
        .changes
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(told, ["write the status of Pod `p`", "delete Pod `p`"]);
}

#[test]
fn a_pod_that_only_its_finalizers_hold_has_ended() {
    let mut pod = deleted(&[]);
    pod.metadata.deletion_grace_period_seconds = Some(0);
    assert_eq!(step(&mut pod, 5).0, "Failed Error 0");
    assert!(decided(&pod, 6).changes.is_empty());
}

#[test]
fn a_pod_may_be_active_for_so_long_only() {
    let mut pod = pod("Always", &[("ready-after", "0s")]);
    pod.spec.as_mut().unwrap().active_deadline_seconds = Some(60);
    let (told, wake_at) = step(&mut pod, 0);
    assert_eq!((told.as_str(), wake_at), ("Running ready 0", Some(at(60))));
    assert_eq!(step(&mut pod, 60).0, "Failed Error 0");
    let status = pod.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
}
