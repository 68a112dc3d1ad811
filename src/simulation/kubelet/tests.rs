use serde_json::{Value, json};

use super::*;

const START: &str = "2026-01-01T00:00:00Z";

fn at(seconds: i64) -> Timestamp {
    pods::after(START.parse().unwrap(), seconds)
}

fn pod(restart_policy: &str, annotations: &[(&str, &str)]) -> Pod {
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {
            "nodeName": NODE,
            "restartPolicy": restart_policy,
            "containers": [{"name": "c", "image": "i:1"}],
        },
    }))
    .unwrap();
    for (name, value) in annotations {
        let name = format!("simulation.verdict.dev/{name}");
        pod.annotations_mut().insert(name, (*value).to_owned());
    }
    pod
}

/// Applies what the kubelet decides to the pod, and says it in a word.
fn step(pod: &mut Pod, seconds: i64) -> (String, Option<Timestamp>) {
    let decision = decide(pod, &Options::default(), at(seconds));
    for change in decision.changes {
        let Change::Status { patch, .. } = change else {
            panic!("{change}")
        };
        let mut value = json!(pod);
        json_patch::merge(&mut value, &patch);
        *pod = serde_json::from_value(value).unwrap();
    }
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
    let told = format!("{}{state}{ready} {restarts}", text(&status["phase"]));
    (told, decision.wake_at)
}

/// Restart policy and annotations; then `second: state restarts @ when to look again`.
const LIVES: &[&str] = &[
    "Always ready-after=5s
     0: Pending ContainerCreating 0 @ 5
     4: Pending ContainerCreating 0 @ 5
     5: Running ready 0
     900: Running ready 0",
    "Always never-ready=true
     0: Pending ContainerCreating 0 @ 1
     1: Running 0",
    "Always image-pull-error=true
     0: Pending ImagePullBackOff 0
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
     10: Running CrashLoopBackOff 0 @ 10
     10: Running ready 1 @ 20
     20: Running CrashLoopBackOff 1 @ 30
     25: Running CrashLoopBackOff 1 @ 30
     30: Running ready 2 @ 40
     40: Running CrashLoopBackOff 2 @ 60",
    "OnFailure ready-after=0s runs-for=1s
     0: Running ready 0 @ 1
     1: Succeeded Completed 0",
    "Always ready-after=soon
     0: Pending 0",
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
            let now = seconds.parse().unwrap();
            let (told, wake_at) = step(&mut pod, now);
            let wake = wake_at.map(|wake| wake.duration_since(at(0)).as_secs());
            let told = wake.map_or(told.clone(), |wake| format!("{told} @ {wake}"));
            assert_eq!(told, expected, "{policy} {annotations:?} at {seconds} s");
            let again = decide(&pod, &Options::default(), at(now));
            assert!(again.changes.is_empty() || wake == Some(now), "{again:?}");
        }
    }
}

#[test]
fn a_changed_script_takes_effect() {
    let mut pod = pod("Always", &[("ready-after", "0s")]);
    assert_eq!(step(&mut pod, 0).0, "Running ready 0");
    let never_ready = "simulation.verdict.dev/never-ready";
    pod.annotations_mut()
        .insert(never_ready.to_owned(), "true".to_owned());
    assert_eq!(step(&mut pod, 1).0, "Running 0");
    pod.annotations_mut().remove(never_ready);
    assert_eq!(step(&mut pod, 2).0, "Running ready 0");
    assert_eq!(pods::ready_since(&pod), Some(at(2)));
}

#[test]
fn a_deleted_pod_stops_within_its_grace_period() {
    for (stops_after, due) in [("0s", 0), ("10s", 10), ("90s", 30)] {
        let mut pod = pod("Always", &[("stops-after", stops_after)]);
        pod.metadata.deletion_timestamp = Some(time(at(30)));
        pod.metadata.deletion_grace_period_seconds = Some(30);
        let before = decide(&pod, &Options::default(), at(due - 1));
        assert_eq!((before.changes.len(), before.wake_at), (0, Some(at(due))));
        let then = decide(&pod, &Options::default(), at(due));
        let grace = then.changes.iter().map(|change| match change {
            Change::Delete { grace_seconds, .. } => *grace_seconds,
            other => panic!("{other}"),
        });
        assert_eq!(grace.collect::<Vec<_>>(), [Some(0)]);
    }
    let mut held = pod("Always", &[]);
    held.metadata.deletion_timestamp = Some(time(at(0)));
    held.metadata.deletion_grace_period_seconds = Some(0);
    assert!(decide(&held, &Options::default(), at(5)).changes.is_empty());
}

#[test]
fn a_pod_gets_a_node_unless_it_must_not() {
    let mut pod = pod("Always", &[]);
    pod.spec.as_mut().unwrap().node_name = None;
    let changes = decide(&pod, &Options::default(), at(0)).changes;
    assert!(
        matches!(changes.as_slice(), [Change::Patch { .. }]),
        "{changes:?}"
    );
    let unschedulable = "simulation.verdict.dev/unschedulable".to_owned();
    pod.annotations_mut()
        .insert(unschedulable, "true".to_owned());
    let (told, wake_at) = step(&mut pod, 0);
    assert_eq!((told.as_str(), wake_at), ("Pending 0", None));
}
