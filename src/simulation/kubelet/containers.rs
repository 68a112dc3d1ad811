//! The containers of a pod: they wait, run, end and start again.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::pods::{self, time, whole_seconds};
use super::super::script::Script;
use super::later;

/// The waits before a container is started again, as the kubelet's: none, then 10 s doubling up to
/// five minutes.
const FIRST_BACK_OFF_SECONDS: i64 = 10;
const LAST_BACK_OFF_SECONDS: i64 = 300;
const BACK_OFF_MESSAGE: &str = "back-off restarting failed container";

/// What all containers of a pod are in; they share one script.
enum Stage {
    Waiting {
        reason: &'static str,
        message: Option<String>,
    },
    Running {
        since: Timestamp,
    },
    Ended {
        started: Timestamp,
        finished: Timestamp,
    },
}

/// Where a container stands, and when it will stand elsewhere.
fn stage(
    before: Option<&ContainerStatus>,
    script: &Script,
    image: &str,
    start: Timestamp,
    now: Timestamp,
) -> (Stage, Option<Timestamp>) {
    let state = before.and_then(|status| status.state.as_ref());
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        let moment = |time: &Option<Time>| time.as_ref().map_or(now, |time: &Time| time.0);
        let (started, finished) = (moment(&ended.started_at), moment(&ended.finished_at));
        return (Stage::Ended { started, finished }, None);
    }
    let running = state.and_then(|state| state.running.as_ref());
    let Some(since) = running.and_then(|running| running.started_at.as_ref()) else {
        return starting(before, script, image, start, now);
    };
    let end = script.runs_for.map(|runs_for| later(since.0, runs_for));
    match end {
        Some(end) if end <= now => (
            Stage::Ended {
                started: since.0,
                finished: whole_seconds(now),
            },
            None,
        ),
        _ => (Stage::Running { since: since.0 }, end),
    }
}

/// A container that does not run yet, or not again.
fn starting(
    before: Option<&ContainerStatus>,
    script: &Script,
    image: &str,
    start: Timestamp,
    now: Timestamp,
) -> (Stage, Option<Timestamp>) {
    if script.image_pull_error {
        let message = Some(format!("Back-off pulling image \"{image}\""));
        return (
            Stage::Waiting {
                reason: "ImagePullBackOff",
                message,
            },
            None,
        );
    }
    let last = before.and_then(|status| status.last_state.as_ref()?.terminated.as_ref());
    let (reason, starts) = match (last.and_then(|last| last.finished_at.as_ref()), before) {
        (Some(finished), Some(before)) => (
            "CrashLoopBackOff",
            pods::after(finished.0, back_off(before.restart_count)),
        ),
        _ => ("ContainerCreating", later(start, script.ready_after)),
    };
    if starts > now {
        let message = last.map(|_| BACK_OFF_MESSAGE.to_owned());
        return (Stage::Waiting { reason, message }, Some(starts));
    }
    let since = whole_seconds(now);
    (
        Stage::Running { since },
        script.runs_for.map(|runs_for| later(since, runs_for)),
    )
}

fn back_off(restarts: i32) -> i64 {
    match u32::try_from(restarts) {
        Ok(restarts @ 1..) => {
            let doubled = FIRST_BACK_OFF_SECONDS.saturating_mul(2_i64.saturating_pow(restarts - 1));
            doubled.min(LAST_BACK_OFF_SECONDS)
        }
        _ => 0,
    }
}

pub(super) fn container_status(
    container: &Container,
    before: Option<&ContainerStatus>,
    script: &Script,
    start: Timestamp,
    now: Timestamp,
) -> (ContainerStatus, Option<Timestamp>) {
    let image = container.image.clone().unwrap_or_default();
    let (stage, wake_at) = stage(before, script, &image, start, now);
    let mut status = before.cloned().unwrap_or_else(|| ContainerStatus {
        name: container.name.clone(),
        image,
        ..ContainerStatus::default()
    });
    let was_waiting = !is_running(&status) && status.last_state.is_some();
    let mut current = ContainerState::default();
    match stage {
        Stage::Waiting { reason, message } => {
            current.waiting = Some(ContainerStateWaiting {
                reason: Some(reason.to_owned()),
                message,
            });
        }
        Stage::Running { since } => {
            current.running = Some(ContainerStateRunning {
                started_at: Some(time(since)),
            });
            status.restart_count += i32::from(was_waiting);
            status.container_id = Some(format!("simulated://{}", container.name));
            status.image_id.clone_from(&status.image);
        }
        Stage::Ended { started, finished } => {
            current.terminated = Some(ended(script.exit_code, started, finished));
        }
    }
    status.started = Some(current.running.is_some());
    status.ready = current.running.is_some() && !script.never_ready;
    // What has ended keeps the exit code that it ended with.
    let has_ended = |status: &ContainerStatus| {
        status
            .state
            .as_ref()
            .is_some_and(|state| state.terminated.is_some())
    };
    if !has_ended(&status) {
        status.state = Some(current);
    }
    (status, wake_at)
}

pub(super) fn is_running(status: &ContainerStatus) -> bool {
    status
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some())
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

/// Lets a container that has ended wait for its next start, if its pod's policy gives it one.
pub(super) fn restarted(
    mut status: ContainerStatus,
    policy: &str,
    now: Timestamp,
) -> (ContainerStatus, Option<Timestamp>) {
    let Some(ended) = status
        .state
        .as_ref()
        .and_then(|state| state.terminated.clone())
    else {
        return (status, None);
    };
    let stays = match policy {
        "Never" => true,
        "OnFailure" => ended.exit_code == 0,
        _ => false,
    };
    if stays {
        return (status, None);
    }
    let finished = ended.finished_at.as_ref().map_or(now, |time| time.0);
    let again = pods::after(finished, back_off(status.restart_count));
    status.last_state = Some(ContainerState {
        terminated: Some(ended),
        ..ContainerState::default()
    });
    let waiting = ContainerStateWaiting {
        reason: Some("CrashLoopBackOff".to_owned()),
        message: Some(BACK_OFF_MESSAGE.to_owned()),
    };
    status.state = Some(ContainerState {
        waiting: Some(waiting),
        ..ContainerState::default()
    });
    (status, Some(again))
}
