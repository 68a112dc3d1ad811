//! Pods that will never run by themselves.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// Why a container waits when only a person can help. The first three are Argo's.
const HOPELESS: &[&str] = &[
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// A new node may need that long.
const UNSCHEDULABLE_FOR: SignedDuration = SignedDuration::from_mins(10);

/// Says what holds the pods of a Job, if it will not pass.
pub(super) fn stuck(pods: &[Pod], now: Timestamp) -> Option<String> {
    pods.iter()
        .find_map(|pod| waiting(pod).or_else(|| unschedulable(pod, now)))
}

fn waiting(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let init = status
        .init_container_statuses
        .as_deref()
        .unwrap_or_default();
    let main = status.container_statuses.as_deref().unwrap_or_default();
    init.iter().chain(main).find_map(|container| {
        let (reason, message) = hopeless(container)?;
        let colon = if message.is_empty() { "" } else { ": " };
        let (pod, container) = (name(pod), &container.name);
        Some(format!(
            "pod {pod}, container {container} waits: {reason}{colon}{message}"
        ))
    })
}

fn hopeless(container: &ContainerStatus) -> Option<(&str, &str)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting
        .reason
        .as_deref()
        .filter(|reason| HOPELESS.contains(reason))?;
    Some((reason, waiting.message.as_deref().unwrap_or_default()))
}

fn unschedulable(pod: &Pod, now: Timestamp) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let condition = conditions.iter().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    let since = condition.last_transition_time.as_ref()?.0;
    let message = condition.message.as_deref().unwrap_or("no node fits");
    (now.duration_since(since) >= UNSCHEDULABLE_FOR).then(|| {
        format!(
            "pod {} is unschedulable since {since}: {message}",
            name(pod)
        )
    })
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}
