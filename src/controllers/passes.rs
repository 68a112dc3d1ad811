//! What the passes of all controllers have in common.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use kube::runtime::controller::Action;
use thiserror::Error;

/// The longest wait between tries of a pass that fails.
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_mins(1);

/// Work on one object panicked. That is a bug, and no reason to leave all others alone.
#[derive(Debug, Error)]
#[error("the work panicked; this is a bug")]
pub(super) struct Panicked;

/// Keeps a panic from ending the controller: the runtime hands those of a pass on to its caller,
/// and one in a task would leave its object waiting for ever.
pub(super) async fn contained<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .map_err(|_| Panicked)
}

/// Another pass at this time; without one, only a change brings it.
pub(super) fn wake(at: Option<Timestamp>, now: Timestamp) -> Action {
    at.map_or_else(Action::await_change, |at| Action::requeue(until(at, now)))
}

/// The wait until a time; none if it has passed.
pub(super) fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default()
}

/// The wait before the next try after a failure, before which so many had failed in a row.
pub(super) fn wait_after(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(6)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_of_its_own_work_only() {
        assert_eq!(contained(async { 1 }).await.unwrap(), 1);
        let panicked = contained(async { panic!("a bug") }).await;
        let Err(error): Result<(), Panicked> = panicked else {
            panic!("it went well")
        };
        assert_eq!(error.to_string(), "the work panicked; this is a bug");
    }

    #[test]
    fn tries_get_rarer_until_one_a_minute() {
        let waits = [0, 1, 2, 5, 6, u32::MAX].map(|failures| wait_after(failures).as_secs());
        assert_eq!(waits, [1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn a_time_that_has_passed_wakes_at_once() {
        let now: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
        let at = |text: &str| Some(text.parse().unwrap());
        for (time, expected) in [
            (None, Action::await_change()),
            (
                at("2026-08-01T10:00:30Z"),
                Action::requeue(Duration::from_secs(30)),
            ),
            (at("2026-08-01T09:00:00Z"), Action::requeue(Duration::ZERO)),
        ] {
            assert_eq!(wake(time, now), expected, "{time:?}");
        }
    }
}
