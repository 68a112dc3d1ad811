//! How long a container that has ended waits for its next start.
//!
//! # Source
//! The kubelet's `doBackOff`: the first restart comes at once, then the wait is 10 s and doubles up
//! to five minutes; a container that has run for ten minutes starts anew.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

const FIRST: i64 = 10;
const LAST: i64 = 300;
const FORGIVEN_AFTER: i64 = 2 * LAST;

/// The wait after a run of some seconds, in seconds, given the wait before that run.
fn after(run: i64, wait_before: Option<i64>) -> i64 {
    let Some(before) = wait_before.filter(|_| run < FORGIVEN_AFTER) else {
        return 0;
    };
    // The restart may have been late: what counts is the wait that it was meant to have.
    let waits = std::iter::successors(Some(FIRST), |wait| Some((wait * 2).min(LAST)));
    let mut waits = waits.take(7);
    waits.find(|wait| *wait > before).unwrap_or(LAST)
}

fn seconds_between(earlier: Option<Timestamp>, later: Option<Timestamp>) -> Option<i64> {
    Some(later?.duration_since(earlier?).as_secs())
}

/// The wait of a container after the run that `ended` tells of.
pub(super) fn wait(before: &ContainerStatus, ended: &ContainerStateTerminated) -> i64 {
    let at = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    let (started, finished) = (at(&ended.started_at), at(&ended.finished_at));
    let last = before
        .last_state
        .as_ref()
        .and_then(|last| last.terminated.as_ref());
    let wait_before = last.and_then(|last| seconds_between(at(&last.finished_at), started));
    let run = seconds_between(started, finished).unwrap_or_default();
    after(run, wait_before)
}

/// What a waiting container says, and what its wait is read from again.
pub(super) fn message(pod: &Pod, container: &str, wait: i64) -> String {
    let wait = spelled(wait);
    format!(
        "back-off {wait} restarting failed container={container} pod={}_{}({})",
        pod.name_any(),
        pod.namespace().unwrap_or_default(),
        pod.uid().unwrap_or_default()
    )
}

/// `10s`, `1m20s`, `5m0s`, as Go writes durations.
fn spelled(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

/// The wait that [`message`] tells, in seconds; none if the message is another.
pub(super) fn told(message: &str) -> i64 {
    let wait = message
        .strip_prefix("back-off ")
        .and_then(|rest| rest.split(' ').next())
        .and_then(|wait| wait.parse::<SignedDuration>().ok());
    wait.map(|wait| wait.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut wait = None;
        let waits: Vec<_> = std::iter::repeat_with(|| {
            let next = after(1, wait);
            wait = Some(next);
            next
        })
        .take(9)
        .collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_late_restart_does_not_make_the_next_wait_longer() {
        assert_eq!(after(1, Some(13)), 20);
        assert_eq!(after(1, Some(3)), 10);
        assert_eq!(after(1, Some(9_999)), 300);
    }

    #[test]
    fn a_long_run_is_forgiven() {
        assert_eq!(after(599, Some(160)), 300);
        assert_eq!(after(600, Some(160)), 0);
    }

    #[test]
    fn the_wait_is_read_from_what_is_told() {
        let pod = Pod::default();
        for wait in [10, 80, 300] {
            assert_eq!(told(&message(&pod, "web", wait)), wait);
        }
        assert_eq!(told("something else"), 0);
    }
}
