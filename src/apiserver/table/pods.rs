//! The cells of pods: what its containers are in, said in one word.

use jiff::Timestamp;
use serde_json::Value;

use super::row::{Row, age};

/// What the containers of a pod are in.
struct Summary {
    ready: usize,
    reason: String,
    restarts: i64,
    /// When a container last ended and was started again.
    last_restart: Option<Timestamp>,
}

/// Ready containers of all containers.
pub(super) fn ready(row: Row<'_>) -> String {
    let sidecars = row.list("/spec/initContainers").iter();
    let all = row.list("/spec/containers").len() + sidecars.filter(|c| is_sidecar(c)).count();
    format!("{}/{all}", summary(row).ready)
}

/// The phase, or what keeps the pod from it.
pub(super) fn status(row: Row<'_>) -> String {
    summary(row).reason
}

/// How often containers were started again, and when that last was.
pub(super) fn restarts(row: Row<'_>) -> String {
    let Summary {
        restarts,
        last_restart,
        ..
    } = summary(row);
    match last_restart.filter(|_| restarts > 0) {
        Some(time) => format!("{restarts} ({} ago)", age(&time.to_string(), row.now)),
        None => restarts.to_string(),
    }
}

/// Conditions that hold, of those that the pod's readiness waits for.
pub(super) fn readiness_gates(row: Row<'_>) -> String {
    let gates = row.list("/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates
        .iter()
        .filter(|gate| row.has_condition(gate["conditionType"].as_str().unwrap_or_default()));
    format!("{}/{}", open.count(), gates.len())
}

/// An init container that runs beside the others.
fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn summary(row: Row<'_>) -> Summary {
    let mut summary = Summary {
        ready: 0,
        reason: row.text_or("/status/reason", &row.text("/status/phase")),
        restarts: 0,
        last_restart: None,
    };
    if let Some(scheduled) = row.condition("PodScheduled")
        && scheduled["reason"] == "SchedulingGated"
    {
        "SchedulingGated".clone_into(&mut summary.reason);
    }
    let initializing = summary.add_init_containers(row);
    if !initializing || row.has_condition("Initialized") {
        summary.add_containers(row);
    }
    if !row.at("/metadata/deletionTimestamp").is_null() {
        let lost = row.at("/status/reason") == "NodeLost";
        let word = if lost { "Unknown" } else { "Terminating" };
        word.clone_into(&mut summary.reason);
    }
    summary
}

impl Summary {
    /// Answers whether the pod still initializes.
    fn add_init_containers(&mut self, row: Row<'_>) -> bool {
        let containers = row.list("/spec/initContainers");
        for (index, status) in row.list("/status/initContainerStatuses").iter().enumerate() {
            let spec = containers.iter().find(|c| c["name"] == status["name"]);
            self.count_restarts(status, spec.is_none_or(|spec| !is_sidecar(spec)));
            let state = &status["state"];
            let ended = &state["terminated"];
            let waits = state["waiting"]["reason"].as_str();
            if ended["exitCode"] == 0 {
                continue;
            }
            if spec.is_some_and(is_sidecar) && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            self.reason = match waits.filter(|reason| *reason != "PodInitializing") {
                _ if ended.is_object() => format!("Init:{}", end_of(ended)),
                Some(reason) => format!("Init:{reason}"),
                None => format!("Init:{index}/{}", containers.len()),
            };
            return true;
        }
        false
    }

    fn add_containers(&mut self, row: Row<'_>) {
        let statuses = row.list("/status/containerStatuses");
        let mut runs = false;
        for status in statuses.iter().rev() {
            self.count_restarts(status, true);
            let state = &status["state"];
            if let Some(reason) = state["waiting"]["reason"].as_str() {
                reason.clone_into(&mut self.reason);
            } else if state["terminated"].is_object() {
                self.reason = end_of(&state["terminated"]);
            } else if state["running"].is_object() && status["ready"] == true {
                runs = true;
                self.ready += 1;
            }
        }
        if runs && self.reason == "Completed" {
            let ready = row.has_condition("Ready");
            if ready { "Running" } else { "NotReady" }.clone_into(&mut self.reason);
        }
    }

    fn count_restarts(&mut self, status: &Value, counted: bool) {
        if counted {
            self.restarts += status["restartCount"].as_i64().unwrap_or(0);
        }
        let ended = status["lastState"]["terminated"]["finishedAt"].as_str();
        let ended = ended.and_then(|time| time.parse().ok());
        self.last_restart = self.last_restart.max(ended);
    }
}

/// Why a container ended.
fn end_of(terminated: &Value) -> String {
    let number = |name: &str| terminated[name].as_i64().unwrap_or(0);
    match (terminated["reason"].as_str(), number("signal")) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, 0) => format!("ExitCode:{}", number("exitCode")),
        (_, signal) => format!("Signal:{signal}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cells(pod: &Value) -> [String; 3] {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let row = Row { object: pod, now };
        [ready(row), status(row), restarts(row)]
    }

    fn a_pod(statuses: &Value) -> Value {
        json!({
            "metadata": {},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"phase": "Running", "containerStatuses": statuses},
        })
    }

    #[test]
    fn a_pod_is_told_by_what_its_containers_are_in() {
        let running = json!({"state": {"running": {}}, "ready": true});
        let ended = json!({"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        let killed = json!({"state": {"terminated": {"signal": 9}}});
        let crashing = json!({
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3,
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}},
        });
        for (statuses, told) in [
            (json!([]), ["0/2", "Running", "0"]),
            (json!([running, running]), ["2/2", "Running", "0"]),
            (
                json!([running, crashing]),
                ["1/2", "CrashLoopBackOff", "3 (5m ago)"],
            ),
            (json!([ended, ended]), ["0/2", "Completed", "0"]),
            (json!([running, ended]), ["1/2", "NotReady", "0"]),
            (json!([killed]), ["0/2", "Signal:9", "0"]),
        ] {
            assert_eq!(cells(&a_pod(&statuses)), told, "{statuses}");
        }
    }

    #[test]
    fn init_containers_and_sidecars_count_until_they_are_done() {
        let mut pod = a_pod(&json!([{"state": {"waiting": {"reason": "PodInitializing"}}}]));
        pod["spec"]["initContainers"] =
            json!([{"name": "proxy", "restartPolicy": "Always"}, {"name": "setup"}]);
        let proxy =
            json!({"name": "proxy", "started": true, "ready": true, "state": {"running": {}}});
        for (setup, told) in [
            (json!({"running": {}}), "Init:1/2"),
            (
                json!({"waiting": {"reason": "ImagePullBackOff"}}),
                "Init:ImagePullBackOff",
            ),
            (json!({"terminated": {"exitCode": 2}}), "Init:ExitCode:2"),
            (json!({"terminated": {"exitCode": 0}}), "PodInitializing"),
        ] {
            let setup = json!({"name": "setup", "state": setup});
            pod["status"]["initContainerStatuses"] = json!([proxy, setup]);
            assert_eq!(cells(&pod), ["1/3", told, "0"]);
        }
    }

    #[test]
    fn what_happens_to_the_whole_pod_comes_first() {
        let mut pod = a_pod(&json!([]));
        pod["status"]["reason"] = json!("Evicted");
        assert_eq!(cells(&pod)[1], "Evicted");
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(cells(&pod)[1], "Terminating");
    }
}
