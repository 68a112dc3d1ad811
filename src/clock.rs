//! The time of day. Under a paused Tokio clock it follows that clock, so that a story of two hours
//! runs in milliseconds.

use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells the time of day.
///
/// The first reading fixes the pair of wall clock and Tokio instant; later readings add what has
/// passed on Tokio's clock. Real and paused runs therefore use the same code.
#[derive(Debug, Clone)]
pub struct Clock {
    origin: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that shows the wall clock's time now. One a process, so that all agree.
    #[must_use]
    pub fn system() -> Self {
        static SYSTEM: OnceLock<Clock> = OnceLock::new();
        SYSTEM
            .get_or_init(|| {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the one place that reads the time"
                )]
                let origin = Timestamp::now();
                Self {
                    origin,
                    started: Instant::now(),
                }
            })
            .clone()
    }

    /// A clock that starts at `origin` and moves with Tokio's clock.
    #[must_use]
    pub fn starting_at(origin: Timestamp) -> Self {
        Self {
            origin,
            started: Instant::now(),
        }
    }

    /// The time of day, to the nanosecond.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let elapsed =
            SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX);
        self.origin.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_follows_a_paused_clock() {
        let origin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(origin);
        tokio::time::sleep(Duration::from_hours(2)).await;
        assert_eq!(clock.now().to_string(), "2026-01-01T02:00:00Z");
    }
}
