//! How a version answers: what its pods' annotations say, and the sequence of answers they mean.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::SignedDuration;
use tokio::time::Instant;

/// Pod annotation: median latency of an answer, e.g. `20ms`. Default: 10ms.
pub const LATENCY: &str = "simulation.verdict.dev/latency";
/// Pod annotation: share of answers that are errors, from 0 to 1, e.g. `"0.25"`. Default: 0.
pub const ERROR_RATE: &str = "simulation.verdict.dev/error-rate";
/// Pod annotation: requests a second that it can take, e.g. `"5"`; more are refused with HTTP 503.
/// Default: any number.
pub const CAPACITY: &str = "simulation.verdict.dev/capacity";

const DEFAULT_LATENCY: Duration = Duration::from_millis(10);
/// Longer than any client waits: enough to play a version that hangs.
const LONGEST_LATENCY: Duration = Duration::from_hours(1);
const WHOLE: u64 = 1_000_000;

/// How a version answers requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behaviour {
    /// Median time until the answer; single answers lie within 10 % of it.
    pub latency: Duration,
    /// Share of the answers that are errors (HTTP 500), from 0 to 1, exact to a millionth.
    pub error_rate: f64,
    /// Requests a second that an instance takes; more are refused (HTTP 503). None: any number.
    pub capacity: Option<u32>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency: DEFAULT_LATENCY,
            error_rate: 0.0,
            capacity: None,
        }
    }
}

/// All that is wrong with the annotations that script a behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidBehaviour {
    problems: Vec<String>,
}

impl fmt::Display for InvalidBehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl Behaviour {
    /// Reads what a pod's annotations script. What is not scripted has its default.
    ///
    /// # Errors
    ///
    /// Names every annotation that cannot be read, with what was expected.
    pub fn from_annotations(
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, InvalidBehaviour> {
        let mut behaviour = Self::default();
        let mut problems = Vec::new();
        let mut problem = |name: &str, value: &str, expected: &str| {
            problems.push(format!(
                "metadata.annotations[{name}]: Invalid value: {value:?}: {expected}"
            ));
        };
        if let Some(text) = annotations.get(LATENCY) {
            match parse_latency(text) {
                Some(latency) => behaviour.latency = latency,
                None => problem(LATENCY, text, "must be a time up to 1h such as `20ms`"),
            }
        }
        if let Some(text) = annotations.get(ERROR_RATE) {
            match parse_share(text) {
                Some(share) => behaviour.error_rate = share,
                None => problem(ERROR_RATE, text, "must be a number from 0 to 1"),
            }
        }
        if let Some(text) = annotations.get(CAPACITY) {
            match text.parse() {
                Ok(capacity) => behaviour.capacity = Some(capacity),
                Err(_) => problem(CAPACITY, text, "must be a number of requests a second"),
            }
        }
        if problems.is_empty() {
            Ok(behaviour)
        } else {
            Err(InvalidBehaviour { problems })
        }
    }
}

fn parse_latency(text: &str) -> Option<Duration> {
    let latency = Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?;
    (latency <= LONGEST_LATENCY).then_some(latency)
}

fn parse_share(text: &str) -> Option<f64> {
    let share: f64 = text.parse().ok()?;
    (0.0..=1.0).contains(&share).then_some(share)
}

/// What a single request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) after: Duration,
    pub(super) code: StatusCode,
}

/// The sequence of answers of one instance.
///
/// # Guarantees
///
/// The errors are spread evenly: any `n` answers in a row hold `n * error_rate` of them, rounded up
/// or down. Nothing is drawn at random, so that what is measured is known beforehand.
#[derive(Debug)]
pub(super) struct Script {
    /// Millionths of an error that are owed; a whole one is paid at once.
    owed: u64,
    /// Place within the spread of latencies, in millionths.
    place: u64,
    /// Requests that can be taken now, at most those of a second; none before the first.
    room: Option<(Instant, f64)>,
}

impl Script {
    /// Instances with different seeds do not fail in step.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            owed: seed % WHOLE,
            place: seed / WHOLE % WHOLE,
            room: None,
        }
    }

    pub(super) fn next(&mut self, behaviour: &Behaviour, now: Instant) -> Answer {
        if behaviour
            .capacity
            .is_some_and(|capacity| !self.takes_one(capacity, now))
        {
            return Answer {
                after: Duration::ZERO,
                code: StatusCode::SERVICE_UNAVAILABLE,
            };
        }
        self.owed += millionths(behaviour.error_rate);
        let failed = self.owed >= WHOLE;
        if failed {
            self.owed -= WHOLE;
        }
        // Steps of the golden ratio cover the spread evenly, however many are taken.
        self.place = (self.place + 618_034) % WHOLE;
        let spread = u32::try_from(self.place).unwrap_or(0);
        Answer {
            after: behaviour
                .latency
                .mul_f64(0.9 + 0.2 * f64::from(spread) / 1e6),
            code: if failed {
                StatusCode::INTERNAL_SERVER_ERROR
            } else {
                StatusCode::OK
            },
        }
    }

    /// Whether there is room for one more request.
    fn takes_one(&mut self, capacity: u32, now: Instant) -> bool {
        let most = f64::from(capacity);
        let (since, left) = self.room.unwrap_or((now, most));
        let room = most.min(left + now.duration_since(since).as_secs_f64() * most);
        let takes = room >= 1.0;
        self.room = Some((now, if takes { room - 1.0 } else { room }));
        takes
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the clamped product lies between 0 and a million"
)]
fn millionths(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn annotations(latency: &str, error_rate: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (LATENCY.to_owned(), latency.to_owned()),
            (ERROR_RATE.to_owned(), error_rate.to_owned()),
            ("team".to_owned(), "payments".to_owned()),
        ])
    }

    #[test]
    fn more_than_an_instance_can_take_is_refused() {
        let behaviour = Behaviour {
            capacity: Some(5),
            ..Behaviour::default()
        };
        // Requests a second, and how many of them are refused in the tenth second.
        for (per_second, expected) in [(4, 0), (5, 0), (10, 5), (50, 45)] {
            let (mut script, began) = (Script::new(7), Instant::now());
            let answers = (0..10 * per_second).map(|number| {
                let now = began + Duration::from_secs(1) * number / per_second;
                script.next(&behaviour, now).code
            });
            let last = answers.skip((9 * per_second) as usize);
            let refused = last.filter(|code| *code == StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(refused.count(), expected, "{per_second} a second");
        }
    }

    #[test]
    fn annotations_script_a_version() {
        let cases = [
            ("20ms", "0.25", 20_000, 0.25),
            ("1.5s", "0", 1_500_000, 0.0),
            ("1m30s", "1", 90_000_000, 1.0),
            ("1h", "1e-3", 3_600_000_000, 0.001),
            ("250us", ".5", 250, 0.5),
        ];
        for (latency, error_rate, micros, share) in cases {
            let expected = Behaviour {
                latency: Duration::from_micros(micros),
                error_rate: share,
                capacity: None,
            };
            let read = Behaviour::from_annotations(&annotations(latency, error_rate));
            assert_eq!(read, Ok(expected), "{latency} {error_rate}");
        }
        assert_eq!(
            Behaviour::from_annotations(&BTreeMap::new()),
            Ok(Behaviour::default())
        );
    }

    #[test]
    fn a_capacity_is_a_number() {
        let read = |text: &str| {
            let annotations = BTreeMap::from([(CAPACITY.to_owned(), text.to_owned())]);
            Behaviour::from_annotations(&annotations).map(|behaviour| behaviour.capacity)
        };
        assert_eq!(read("12"), Ok(Some(12)));
        let problem = "metadata.annotations[simulation.verdict.dev/capacity]: Invalid value: \
            \"much\": must be a number of requests a second";
        assert_eq!(read("much").unwrap_err().to_string(), problem);
    }

    #[test]
    fn all_unreadable_annotations_are_named() {
        let error = Behaviour::from_annotations(&annotations("soon", "25%")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "metadata.annotations[simulation.verdict.dev/latency]: Invalid value: \"soon\": must be a \
             time up to 1h such as `20ms`; metadata.annotations[simulation.verdict.dev/error-rate]: \
             Invalid value: \"25%\": must be a number from 0 to 1"
        );
        for latency in ["", "20", "-1s", "2h", "99999999999h"] {
            assert!(
                Behaviour::from_annotations(&annotations(latency, "0")).is_err(),
                "{latency}"
            );
        }
        for error_rate in ["", "-0.1", "1.01", "NaN", "inf"] {
            assert!(
                Behaviour::from_annotations(&annotations("1s", error_rate)).is_err(),
                "{error_rate}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_error_rate_is_exact_over_every_window(
            seed: u64,
            percent in 0_u32..=100,
            skipped in 0_usize..300,
            hundreds in 1_u32..5,
        ) {
            let behaviour = Behaviour { error_rate: f64::from(percent) / 100.0, ..Behaviour::default() };
            let mut script = Script::new(seed);
            for _ in 0..skipped {
                script.next(&behaviour, Instant::now());
            }
            let failed = (0..hundreds * 100).filter(|_| script.next(&behaviour, Instant::now()).code.is_server_error()).count();
            prop_assert_eq!(failed, usize::try_from(hundreds * percent).unwrap());
        }

        #[test]
        fn latencies_lie_evenly_around_the_median(seed: u64, millis in 1_u64..3_600_000) {
            let behaviour = Behaviour { latency: Duration::from_millis(millis), ..Behaviour::default() };
            let mut script = Script::new(seed);
            let answers: Vec<Duration> = (0..100).map(|_| script.next(&behaviour, Instant::now()).after).collect();
            let (low, high) = (behaviour.latency.mul_f64(0.899), behaviour.latency.mul_f64(1.101));
            prop_assert!(answers.iter().all(|after| (low..high).contains(after)));
            let below = answers.iter().filter(|after| **after < behaviour.latency).count();
            prop_assert!((45..=55).contains(&below), "{below} of 100 below the median");
        }
    }
}
