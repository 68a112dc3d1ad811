//! What was answered lately: a sliding window over single answers, and its statistics.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// The longest window that can be asked about; older answers are forgotten.
pub const LONGEST_WINDOW: Duration = Duration::from_mins(5);

#[derive(Debug, Clone, Copy)]
struct Answered {
    at: Instant,
    latency: Duration,
    failed: bool,
}

/// The answers of one version during the last [`LONGEST_WINDOW`], oldest first.
#[derive(Debug, Default)]
pub(super) struct Window {
    answers: VecDeque<Answered>,
}

/// What a version answered during a window. Without requests there is nothing to divide or rank:
/// shares and latencies are absent then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Answers given.
    pub requests: usize,
    /// Answers that were errors.
    pub errors: usize,
    /// Share of the answers that were no errors, from 0 to 1.
    pub success_rate: Option<f64>,
    /// Half of the answers took at most this long.
    pub p50_latency_seconds: Option<f64>,
    /// 99 of 100 answers took at most this long.
    pub p99_latency_seconds: Option<f64>,
}

impl Window {
    pub(super) fn record(&mut self, at: Instant, latency: Duration, failed: bool) {
        self.answers.push_back(Answered {
            at,
            latency,
            failed,
        });
        let outdated = self
            .answers
            .iter()
            .take_while(|answer| at.duration_since(answer.at) > LONGEST_WINDOW)
            .count();
        self.answers.drain(..outdated);
    }

    /// The answers of the last `width` before `now`.
    pub(super) fn summary(&self, now: Instant, width: Duration) -> Summary {
        let mut latencies = Vec::new();
        let mut errors = 0;
        for answer in self.answers.iter().rev() {
            if now.duration_since(answer.at) > width {
                break;
            }
            latencies.push(answer.latency);
            errors += usize::from(answer.failed);
        }
        latencies.sort_unstable();
        let requests = latencies.len();
        Summary {
            requests,
            errors,
            success_rate: share(requests - errors, requests),
            p50_latency_seconds: percentile(&latencies, 50),
            p99_latency_seconds: percentile(&latencies, 99),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a window holds far fewer than 2^52 answers"
)]
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Nearest rank: the smallest value that `percent` of all do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).map(Duration::as_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// 100 answers, one a second from `start` on, that took 1 to 100 ms; every fourth failed.
    fn a_window(start: Instant) -> Window {
        let mut window = Window::default();
        for i in 1..=100 {
            let latency = Duration::from_millis(u64::from(101 - i));
            window.record(start + SECOND * i, latency, i % 4 == 0);
        }
        window
    }

    #[test]
    fn a_summary_counts_divides_and_ranks() {
        let start = Instant::now();
        let whole = Summary {
            requests: 100,
            errors: 25,
            success_rate: Some(0.75),
            p50_latency_seconds: Some(0.05),
            p99_latency_seconds: Some(0.099),
        };
        let last_ten = Summary {
            requests: 11,
            errors: 3,
            success_rate: Some(8.0 / 11.0),
            p50_latency_seconds: Some(0.006),
            p99_latency_seconds: Some(0.011),
        };
        let none = Summary::default();
        let cases = [
            (100, 100, whole),
            (100, 10, last_ten), // both ends count
            (110, 20, last_ten), // ten quiet seconds behind it
            (200, 10, none),
        ];
        for (now, width, expected) in cases {
            let summary = a_window(start).summary(start + SECOND * now, SECOND * width);
            assert_eq!(summary, expected, "{width} s before {now} s");
        }
    }

    #[test]
    fn one_answer_is_every_percentile() {
        let now = Instant::now();
        let mut window = Window::default();
        window.record(now, SECOND, true);
        let summary = window.summary(now, SECOND);
        assert_eq!(summary.success_rate, Some(0.0));
        assert_eq!(summary.p50_latency_seconds, Some(1.0));
        assert_eq!(summary.p99_latency_seconds, Some(1.0));
    }

    #[test]
    fn old_answers_are_forgotten() {
        let start = Instant::now();
        let mut window = Window::default();
        for i in 0..1000 {
            window.record(start + SECOND * i, SECOND, false);
        }
        assert_eq!(window.answers.len(), 301);
    }

    #[test]
    fn without_requests_a_rate_is_null_in_json() {
        let json = serde_json::to_value(Summary::default()).unwrap();
        let expected = serde_json::json!({
            "requests": 0, "errors": 0, "successRate": null,
            "p50LatencySeconds": null, "p99LatencySeconds": null,
        });
        assert_eq!(json, expected);
    }
}
