//! A pod in one word, as Argo's plugin tells it: `kubectl get` of today says a little more, about
//! sidecars and gates, and would change what scripts read.

use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod};

/// What the containers of a pod are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodState {
    pub(super) word: String,
    /// Regular containers that are ready.
    pub(super) ready: usize,
    /// Regular containers.
    pub(super) containers: usize,
    pub(super) restarts: i32,
}

/// # Source
/// `newPodInfo` in `pkg/kubectl-argo-rollouts/info/pod_info.go` of Argo Rollouts.
pub(super) fn state(pod: &Pod) -> PodState {
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let lost = status.reason.as_deref() == Some("NodeLost");
    let mut state = PodState {
        word: given(status.reason)
            .or_else(|| given(status.phase))
            .unwrap_or_default(),
        ready: 0,
        containers: spec.containers.len(),
        restarts: 0,
    };
    let starting = spec.init_containers.unwrap_or_default();
    let started = status.init_container_statuses.unwrap_or_default();
    if !state.initializes(&starting, &started) {
        state.restarts = 0;
        state.runs(&status.container_statuses.unwrap_or_default());
    }
    if pod.metadata.deletion_timestamp.is_some() {
        let word = if lost { "Unknown" } else { "Terminating" };
        word.clone_into(&mut state.word);
    }
    state
}

/// What the cluster says of a pod that is not ready: why a container waits or has ended, or why the
/// pod has no node; empty if nothing.
pub(super) fn complaint(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let starting = status.init_container_statuses.unwrap_or_default();
    let running = status.container_statuses.unwrap_or_default();
    let unready = starting.into_iter().chain(running).filter(|it| !it.ready);
    let mut told = unready.filter_map(|container| {
        let state = container.state?;
        let waits = state.waiting.and_then(|it| it.message);
        waits.or_else(|| state.terminated.and_then(|it| it.message))
    });
    let container = told.find(|message| !message.is_empty());
    let conditions = status.conditions.unwrap_or_default();
    let unscheduled = conditions
        .into_iter()
        .find(|it| it.type_ == "PodScheduled" && it.status == "False");
    let message = container.or_else(|| unscheduled.and_then(|it| it.message));
    message.unwrap_or_default()
}

impl PodState {
    /// Whether init containers still run.
    fn initializes(&mut self, containers: &[Container], statuses: &[ContainerStatus]) -> bool {
        for (index, status) in statuses.iter().enumerate() {
            self.restarts += status.restart_count;
            let state = status.state.clone().unwrap_or_default();
            let mut named = containers.iter().filter(|it| it.name == status.name);
            let is_sidecar = named.any(|it| it.restart_policy.as_deref() == Some("Always"));
            if let Some(ended) = state.terminated {
                if ended.exit_code == 0 {
                    continue;
                }
                self.word = format!("Init:{}", end_of(&ended));
                return true;
            }
            if is_sidecar && status.started == Some(true) {
                if status.ready {
                    continue;
                }
                return true;
            }
            let waits = state.waiting.and_then(|waiting| waiting.reason);
            self.word = match waits.filter(|it| !it.is_empty() && it != "PodInitializing") {
                Some(reason) => format!("Init:{reason}"),
                None => format!("Init:{index}/{}", containers.len()),
            };
            return true;
        }
        false
    }

    fn runs(&mut self, statuses: &[ContainerStatus]) {
        let mut any = false;
        for status in statuses.iter().rev() {
            self.restarts += status.restart_count;
            let state = status.state.clone().unwrap_or_default();
            let waits = state.waiting.and_then(|waiting| waiting.reason);
            if let Some(reason) = waits.filter(|reason| !reason.is_empty()) {
                self.word = reason;
            } else if let Some(ended) = state.terminated {
                self.word = end_of(&ended);
            } else if status.ready && state.running.is_some() {
                any = true;
                self.ready += 1;
            }
        }
        if any && self.word == "Completed" {
            "Running".clone_into(&mut self.word);
        }
    }
}

fn end_of(ended: &ContainerStateTerminated) -> String {
    match (ended.reason.as_deref(), ended.signal.unwrap_or_default()) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, 0) => format!("ExitCode:{}", ended.exit_code),
        (_, signal) => format!("Signal:{signal}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(status: &Value) -> String {
        let containers = json!([{ "name": "a" }, { "name": "b" }]);
        let starting = json!([{ "name": "i" }, { "name": "s", "restartPolicy": "Always" }]);
        let pod = json!({
            "metadata": status["metadata"],
            "spec": { "containers": containers, "initContainers": starting },
            "status": status,
        });
        let state = state(&serde_json::from_value(pod).unwrap());
        let PodState {
            word,
            ready,
            containers,
            restarts,
        } = state;
        format!("{word} {ready}/{containers} {restarts}")
    }

    fn container(name: &str, state: &Value) -> Value {
        let runs = state["running"].is_object();
        json!({
            "name": name, "state": state, "ready": runs, "restartCount": 1, "image": "",
            "imageID": "", "started": runs,
        })
    }

    #[test]
    fn a_pod_is_told_in_one_word() {
        let runs = json!({ "running": {} });
        let crashed = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        let killed = json!({ "terminated": { "exitCode": 137, "signal": 9 } });
        let failed = json!({ "terminated": { "exitCode": 3 } });
        let ended = json!({ "terminated": { "exitCode": 0, "reason": "Completed" } });
        let of = |field: &str, states: [(&str, &Value); 2]| {
            let list = states.map(|(name, state)| container(name, state));
            json!({ "phase": "Running", field: list })
        };
        let regular = |one, other| of("containerStatuses", [("a", one), ("b", other)]);
        let starting = |one, other| of("initContainerStatuses", [("i", one), ("s", other)]);
        let nothing = json!({});
        let mut leaving = regular(&runs, &runs);
        leaving["metadata"] = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let mut lost = leaving.clone();
        lost["reason"] = json!("NodeLost");
        let cases = [
            (json!({ "phase": "Pending" }), "Pending 0/2 0"),
            (
                json!({ "phase": "Failed", "reason": "Evicted" }),
                "Evicted 0/2 0",
            ),
            (regular(&runs, &runs), "Running 2/2 2"),
            (regular(&runs, &crashed), "CrashLoopBackOff 1/2 2"),
            (regular(&killed, &runs), "Signal:9 1/2 2"),
            (regular(&runs, &ended), "Running 1/2 2"),
            (starting(&nothing, &nothing), "Init:0/2 0/2 1"),
            (starting(&failed, &nothing), "Init:ExitCode:3 0/2 1"),
            (starting(&crashed, &nothing), "Init:CrashLoopBackOff 0/2 1"),
            (starting(&ended, &nothing), "Init:1/2 0/2 2"),
            (starting(&ended, &runs), "Running 0/2 0"),
            (leaving, "Terminating 2/2 2"),
            (lost, "Unknown 2/2 2"),
        ];
        for (status, expected) in cases {
            assert_eq!(told(&status), expected, "{status}");
        }
    }
}
