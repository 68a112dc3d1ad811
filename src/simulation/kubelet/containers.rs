//! The containers of a pod: they wait, run, end and start again.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, Pod, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::change::earliest;
use super::super::pods::{self, time, whole_seconds};
use super::super::script::Script;
use super::{KILLED, back_off, later};

/// An image that cannot be pulled is first told as an error, then as a wait.
const PULL_ERROR_SHOWS_FOR: Duration = Duration::from_secs(10);

/// What a container's course depends on besides itself.
pub(super) struct Surroundings<'a> {
    pub(super) pod: &'a Pod,
    pub(super) script: &'a Script,
    /// When the pod was started.
    pub(super) start: Timestamp,
    pub(super) now: Timestamp,
}

/// What a container is in, and when time alone will change that.
struct Stage {
    state: ContainerState,
    is_ready: bool,
    is_restart: bool,
    wake_at: Option<Timestamp>,
}

impl Stage {
    fn of(state: ContainerState, wake_at: Option<Timestamp>) -> Self {
        Self {
            state,
            is_ready: false,
            is_restart: false,
            wake_at,
        }
    }

    fn waiting(reason: &str, message: Option<String>, wake_at: Option<Timestamp>) -> Self {
        let waiting = ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message,
        };
        let state = ContainerState {
            waiting: Some(waiting),
            ..ContainerState::default()
        };
        Self::of(state, wake_at)
    }

    fn terminated(ended: ContainerStateTerminated, wake_at: Option<Timestamp>) -> Self {
        let state = ContainerState {
            terminated: Some(ended),
            ..ContainerState::default()
        };
        Self::of(state, wake_at)
    }
}

/// The next status of a container, and when to look again.
pub(super) fn next(
    container: &Container,
    before: Option<&ContainerStatus>,
    around: &Surroundings,
) -> (ContainerStatus, Option<Timestamp>) {
    let image = container.image.clone().unwrap_or_default();
    let state = before.and_then(|before| before.state.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref());
    let running = state.and_then(|state| state.running.as_ref());
    let since = running.and_then(|running| running.started_at.as_ref());
    let next = match (before, ended, since) {
        (Some(before), Some(ended), _) => after_end(container, before, ended, around),
        (_, _, Some(since)) => while_running(since.0, around),
        _ => before_start(container, before, around),
    };
    let mut status = before.cloned().unwrap_or_else(|| ContainerStatus {
        name: container.name.clone(),
        image: image.clone(),
        ..ContainerStatus::default()
    });
    let is_over = next.is_restart || next.state.terminated.is_none();
    if let Some(ended) = ended.cloned().filter(|_| is_over) {
        status.last_state = Some(ContainerState {
            terminated: Some(ended),
            ..ContainerState::default()
        });
    }
    if next.state.running.is_some() {
        status.container_id = Some(format!("simulated://{}", container.name));
        status.image_id = image;
    }
    status.restart_count += i32::from(next.is_restart);
    status.started = Some(next.state.running.is_some());
    status.ready = next.is_ready;
    status.state = Some(next.state);
    (status, next.wake_at)
}

/// A container that does not run yet, or not again.
fn before_start(
    container: &Container,
    before: Option<&ContainerStatus>,
    around: &Surroundings,
) -> Stage {
    let state = before.and_then(|before| before.state.as_ref()?.waiting.as_ref());
    let last = before.and_then(|before| before.last_state.as_ref()?.terminated.as_ref());
    if let Some(finished) = last.and_then(|last| last.finished_at.as_ref()) {
        let message = state
            .and_then(|state| state.message.clone())
            .unwrap_or_default();
        let due = pods::after(finished.0, back_off::told(&message));
        if due > around.now {
            return Stage::waiting("CrashLoopBackOff", Some(message), Some(due));
        }
        return restarting(around);
    }
    let due = later(around.start, around.script.starts_after);
    if due > around.now {
        return Stage::waiting("ContainerCreating", None, Some(due));
    }
    if around.script.image_pull_error {
        return without_image(container, due, around.now);
    }
    starting(around)
}

fn without_image(container: &Container, since: Timestamp, now: Timestamp) -> Stage {
    let image = container.image.as_deref().unwrap_or_default();
    let error = format!("failed to pull image \"{image}\": not found");
    let until = later(since, PULL_ERROR_SHOWS_FOR);
    if until > now {
        return Stage::waiting("ErrImagePull", Some(error), Some(until));
    }
    let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {error}");
    Stage::waiting("ImagePullBackOff", Some(message), None)
}

fn starting(around: &Surroundings) -> Stage {
    while_running(whole_seconds(around.now), around)
}

fn restarting(around: &Surroundings) -> Stage {
    Stage {
        is_restart: true,
        ..starting(around)
    }
}

fn while_running(since: Timestamp, around: &Surroundings) -> Stage {
    let Surroundings { script, now, .. } = around;
    let end = script.runs_for.map(|runs_for| later(since, runs_for));
    if let Some(end) = end.filter(|end| end <= now) {
        let finished = whole_seconds(end.max(since));
        return Stage::terminated(ended(script.exit_code, since, finished), None);
    }
    let warm_up = script.ready_after.saturating_sub(script.starts_after);
    let ready = later(since, warm_up);
    let unready = script.ready_for.map(|ready_for| later(ready, ready_for));
    let is_ready =
        !script.never_ready && ready <= *now && unready.is_none_or(|unready| unready > *now);
    let turns = [Some(ready), unready].into_iter().flatten();
    let turn = turns.filter(|turn| turn > now && !script.never_ready).min();
    let state = ContainerState {
        running: Some(ContainerStateRunning {
            started_at: Some(time(since)),
        }),
        ..ContainerState::default()
    };
    Stage {
        is_ready,
        ..Stage::of(state, earliest(end, turn))
    }
}

/// A container that has ended: it stays so, or is started again, if its pod's policy says so.
fn after_end(
    container: &Container,
    before: &ContainerStatus,
    ended: &ContainerStateTerminated,
    around: &Surroundings,
) -> Stage {
    let policy = around
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    let stays = match policy {
        Some("Never") => true,
        Some("OnFailure") => ended.exit_code == 0,
        _ => false,
    };
    if stays {
        return Stage::terminated(ended.clone(), None);
    }
    let wait = back_off::wait(before, ended);
    let finished = ended.finished_at.as_ref().map_or(around.now, |time| time.0);
    let due = pods::after(finished, wait);
    if due <= around.now {
        return restarting(around);
    }
    let message = back_off::message(around.pod, &container.name, wait);
    Stage::waiting("CrashLoopBackOff", Some(message), Some(due))
}

pub(in crate::simulation) fn is_running(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    state.is_some_and(|state| state.running.is_some())
}

fn ended(exit_code: i32, started: Timestamp, finished: Timestamp) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code,
        reason: Some(if exit_code == 0 { "Completed" } else { "Error" }.to_owned()),
        started_at: Some(time(started)),
        finished_at: Some(time(finished)),
        ..ContainerStateTerminated::default()
    }
}

/// The status of a container that was made to end.
pub(super) fn killed(
    before: &ContainerStatus,
    exit_code: i32,
    finished: Timestamp,
) -> ContainerStatus {
    let state = before.state.clone().unwrap_or_default();
    let running = state.running.and_then(|running| running.started_at);
    let terminated = match (state.terminated, running) {
        (Some(terminated), _) => terminated,
        (None, Some(since)) => ended(exit_code, since.0, finished),
        (None, None) => ContainerStateTerminated {
            exit_code: KILLED,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some(
                "The container could not be located when the pod was terminated".to_owned(),
            ),
            ..ContainerStateTerminated::default()
        },
    };
    ContainerStatus {
        ready: false,
        started: Some(false),
        state: Some(ContainerState {
            terminated: Some(terminated),
            ..ContainerState::default()
        }),
        ..before.clone()
    }
}

/// The init containers of a pod: all have ended well when it starts; those that accompany the
/// others keep running.
pub(super) fn initialized(
    pod: &Pod,
    old: &PodStatus,
    start: Timestamp,
) -> Option<Vec<ContainerStatus>> {
    let containers = pod.spec.as_ref()?.init_containers.as_deref()?;
    if old.init_container_statuses.is_some() {
        return old.init_container_statuses.clone();
    }
    let status = |container: &Container| {
        let accompanies = container.restart_policy.as_deref() == Some("Always");
        let state = if accompanies {
            ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: Some(Time(start)),
                }),
                ..ContainerState::default()
            }
        } else {
            ContainerState {
                terminated: Some(ended(0, start, start)),
                ..ContainerState::default()
            }
        };
        let image = container.image.clone().unwrap_or_default();
        ContainerStatus {
            name: container.name.clone(),
            container_id: Some(format!("simulated://{}", container.name)),
            image_id: image.clone(),
            image,
            ready: true,
            started: Some(accompanies),
            state: Some(state),
            ..ContainerStatus::default()
        }
    };
    Some(containers.iter().map(status).collect())
}
