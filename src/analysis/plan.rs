//! One metric as it is carried out: every number and duration understood.

use jiff::SignedDuration;

use crate::api::{ErrorRetry, GoDuration, IntOrText, Metric, Problem};

/// Wait after an Error, and after any measurement of a metric without `interval`. As Argo's.
pub(crate) const DEFAULT_WAIT: SignedDuration = SignedDuration::from_secs(10);

/// Times in a status have whole seconds, so two measurements are at least this far apart.
pub(crate) const SHORTEST_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// The longest wait between Errors when they are spaced further and further.
const DEFAULT_LONGEST_ERROR_WAIT: SignedDuration = SignedDuration::from_mins(5);

const DEFAULT_CONSECUTIVE_ERROR_LIMIT: i32 = 4;

/// How many measurements are kept unless a rule says otherwise.
pub(crate) const DEFAULT_RETENTION: usize = 10;

/// How a metric is measured and when it is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricPlan {
    /// Its name.
    pub name: String,
    /// Whether it is left out of the verdict.
    pub dry_run: bool,
    /// How many measurements are kept; at least 1.
    pub retention: usize,
    /// How many measurements are taken, Errors not counted; `None` for no end.
    pub count: Option<i32>,
    /// Time from the end of a measurement to the next.
    pub interval: Option<SignedDuration>,
    /// Time from the start of the run to the first measurement.
    pub initial_delay: Option<SignedDuration>,
    /// What ends it before its count.
    pub limits: Limits,
    /// Time from an Error to the next measurement.
    pub error_wait: ErrorWait,
}

/// What ends a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failed measurements that are tolerated; `None` for all.
    pub failure: Option<i32>,
    /// Inconclusive measurements that are tolerated.
    pub inconclusive: i32,
    /// Errors in a row that are tolerated.
    pub consecutive_error: i32,
    /// Successful measurements in a row that end it as Successful; 0 for off.
    pub consecutive_success: i32,
}

/// Time from an Error to the next measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorWait {
    first: SignedDuration,
    factor: i32,
    max: SignedDuration,
}

impl ErrorWait {
    /// The wait after so many Errors in a row.
    pub(crate) fn after(self, errors: i32) -> SignedDuration {
        let mut wait = self.first;
        if self.factor > 1 {
            for _ in 1..errors {
                wait = wait.saturating_mul(self.factor);
                if wait >= self.max {
                    break;
                }
            }
        }
        wait.min(self.max)
    }
}

/// Reads a metric whose arguments are filled in. Problems are reported below `at`, in the order
/// of the rules of Argo's `ValidateMetric`, and what could not be read takes its default.
pub(crate) fn plan(metric: &Metric, at: &str, problems: &mut Vec<Problem>) -> MetricPlan {
    let mut reader = Reader { at, problems };
    let limits = reader.limits(metric);
    let count = reader.number("count", metric.count.as_ref(), 0);
    reader.at_least(0, "count", count, "must be >= 0; 0 is the same as unset");
    reader.count_fits(count, limits);
    if count > 1 && metric.interval.is_unset() {
        let why = format!("must be set when count ({count}) is greater than 1");
        reader
            .problems
            .push(Problem::required(format!("{at}.interval"), why));
    }
    let interval = reader.duration("interval", &metric.interval);
    let initial_delay = reader.duration("initialDelay", &metric.initial_delay);
    MetricPlan {
        name: metric.name.clone(),
        dry_run: false,
        retention: DEFAULT_RETENTION,
        count: effective_count(count, interval),
        interval,
        initial_delay,
        limits,
        error_wait: reader.error_wait(metric.error_retry.as_ref()),
    }
}

/// How many measurements end a metric. Without `interval` there is one; with it, and without
/// `count`, there is no end.
fn effective_count(count: i32, interval: Option<SignedDuration>) -> Option<i32> {
    match (count, interval) {
        (0, None) => Some(1),
        (0, Some(_)) => None,
        (count, _) => Some(count),
    }
}

struct Reader<'a> {
    at: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn limits(&mut self, metric: &Metric) -> Limits {
        let streak = metric.consecutive_success_limit.as_ref();
        let streak = self.number("consecutiveSuccessLimit", streak, 0);
        self.at_least(0, "consecutiveSuccessLimit", streak, "must be >= 0");
        let failure = self.number("failureLimit", metric.failure_limit.as_ref(), 0);
        self.at_least(
            -1,
            "failureLimit",
            failure,
            "must be >= 0, or -1 to disable it",
        );
        if streak == 0 && failure == -1 {
            let why = "must not be disabled (-1) while consecutiveSuccessLimit is disabled (0)";
            self.refuse("failureLimit", failure, why);
        }
        let inconclusive = self.number("inconclusiveLimit", metric.inconclusive_limit.as_ref(), 0);
        self.at_least(0, "inconclusiveLimit", inconclusive, "must be >= 0");
        let errors = metric.consecutive_error_limit.as_ref();
        let errors = self.number(
            "consecutiveErrorLimit",
            errors,
            DEFAULT_CONSECUTIVE_ERROR_LIMIT,
        );
        self.at_least(0, "consecutiveErrorLimit", errors, "must be >= 0");
        Limits {
            failure: (failure >= 0).then_some(failure),
            inconclusive,
            consecutive_error: errors,
            consecutive_success: streak,
        }
    }

    fn refuse(&mut self, field: &str, value: impl std::fmt::Display, why: &str) {
        self.problems
            .push(Problem::invalid(format!("{}.{field}", self.at), value, why));
    }

    fn number(&mut self, field: &str, written: Option<&IntOrText>, default: i32) -> i32 {
        let Some(written) = written else {
            return default;
        };
        written.int().unwrap_or_else(|error| {
            self.refuse(field, written, &error.to_string());
            default
        })
    }

    fn at_least(&mut self, least: i32, field: &str, number: i32, why: &str) {
        if number < least {
            self.refuse(field, number, why);
        }
    }

    /// A count that is reached before the limits could be: such a metric cannot be decided.
    fn count_fits(&mut self, count: i32, limits: Limits) {
        if count <= 0 {
            return;
        }
        let streak = limits.consecutive_success;
        match limits.failure {
            Some(failure) if i64::from(count) < i64::from(failure) + i64::from(streak) => {
                let why = format!(
                    "must be >= failureLimit ({failure}) + consecutiveSuccessLimit ({streak})"
                );
                self.refuse("count", count, &why);
            }
            None if count < streak => {
                self.refuse(
                    "count",
                    count,
                    &format!("must be >= consecutiveSuccessLimit ({streak})"),
                );
            }
            Some(_) | None => {}
        }
        if count < limits.inconclusive {
            let why = format!("must be >= inconclusiveLimit ({})", limits.inconclusive);
            self.refuse("count", count, &why);
        }
    }

    /// A duration that is not negative; zero is taken as the shortest wait there is.
    fn duration(&mut self, field: &str, written: &GoDuration) -> Option<SignedDuration> {
        match written.get() {
            Ok(Some(duration)) if duration.is_negative() => {
                self.refuse(field, written, "must not be negative");
                None
            }
            Ok(duration) => duration,
            Err(error) => {
                self.refuse(field, written, &error.to_string());
                // It was set: what depends on that is judged as if it could be read.
                Some(DEFAULT_WAIT)
            }
        }
    }

    fn error_wait(&mut self, written: Option<&ErrorRetry>) -> ErrorWait {
        let Some(written) = written else {
            return ErrorWait {
                first: DEFAULT_WAIT,
                factor: 1,
                max: SignedDuration::MAX,
            };
        };
        let first = self
            .duration("errorRetry.interval", &written.interval)
            .unwrap_or(DEFAULT_WAIT);
        let factor = written.factor.unwrap_or(1);
        if !(1..=100).contains(&factor) {
            self.refuse("errorRetry.factor", factor, "must be between 1 and 100");
        }
        let max = self.duration("errorRetry.max", &written.max);
        if max.is_some_and(|max| max < first) {
            let why = format!("must not be shorter than errorRetry.interval ({first:#})");
            self.refuse("errorRetry.max", &written.max, &why);
        }
        let default = if factor > 1 {
            DEFAULT_LONGEST_ERROR_WAIT.max(first)
        } else {
            first
        };
        ErrorWait {
            first,
            factor,
            max: max.unwrap_or(default),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(changes: &Value) -> (MetricPlan, Vec<String>) {
        let mut metric = json!({"name": "m", "provider": {"web": {"url": "http://a"}}});
        for (field, value) in changes.as_object().unwrap() {
            metric[field] = value.clone();
        }
        let metric: Metric = serde_json::from_value(metric).unwrap();
        let mut problems = Vec::new();
        let plan = plan(&metric, "m", &mut problems);
        (plan, problems.iter().map(ToString::to_string).collect())
    }

    fn assert_refused(cases: &[(Value, &str)]) {
        for (changes, expected) in cases {
            let (_, problems) = read(changes);
            assert_eq!(problems.len(), 1, "{changes}: {problems:?}");
            assert!(problems[0].starts_with(expected), "{changes}: {problems:?}");
        }
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let with = |count: i32, failure: i32, streak: i32| {
            json!({
                "count": count, "interval": "1s", "failureLimit": failure,
                "consecutiveSuccessLimit": streak,
            })
        };
        assert_refused(&[
            (
                json!({"consecutiveSuccessLimit": -1}),
                "m.consecutiveSuccessLimit: Invalid value",
            ),
            (
                json!({"failureLimit": -2}),
                "m.failureLimit: Invalid value: \"-2\": must be >= 0",
            ),
            (
                json!({"failureLimit": -1}),
                "m.failureLimit: Invalid value: \"-1\": must not be",
            ),
            (
                json!({"inconclusiveLimit": "-1"}),
                "m.inconclusiveLimit: Invalid value: \"-1\"",
            ),
            (
                json!({"consecutiveErrorLimit": -1}),
                "m.consecutiveErrorLimit: Invalid value",
            ),
            (
                json!({"failureLimit": "25%"}),
                "m.failureLimit: Invalid value: \"25%\"",
            ),
            (
                with(2, 3, 0),
                "m.count: Invalid value: \"2\": must be >= failureLimit (3) + ",
            ),
            (
                with(5, 3, 3),
                "m.count: Invalid value: \"5\": must be >= failureLimit (3) + ",
            ),
            (
                with(2, -1, 3),
                "m.count: Invalid value: \"2\": must be >= consecutiveSuccessLimit",
            ),
            (
                json!({"count": 1, "inconclusiveLimit": 2}),
                "m.count: Invalid value: \"1\"",
            ),
        ]);
    }

    #[test]
    fn counts_and_times_that_make_no_sense_are_refused() {
        assert_refused(&[
            (json!({"count": 2}), "m.interval: Required value"),
            (json!({"count": "abc"}), "m.count: Invalid value: \"abc\""),
            (
                json!({"count": "5.0", "interval": "1s"}),
                "m.count: Invalid value: \"5.0\"",
            ),
            (json!({"count": -1}), "m.count: Invalid value: \"-1\""),
            (
                json!({"count": 2_147_483_648_i64}),
                "m.count: Invalid value",
            ),
            (json!({"interval": "5"}), "m.interval: Invalid value: \"5\""),
            (
                json!({"interval": "-5s"}),
                "m.interval: Invalid value: \"-5s\": must not be neg",
            ),
            (
                json!({"initialDelay": "1d"}),
                "m.initialDelay: Invalid value: \"1d\"",
            ),
            (
                json!({"initialDelay": "-1s"}),
                "m.initialDelay: Invalid value",
            ),
            (
                json!({"errorRetry": {"interval": "-1s"}}),
                "m.errorRetry.interval: Invalid value",
            ),
            (
                json!({"errorRetry": {"factor": 0}}),
                "m.errorRetry.factor: Invalid value",
            ),
            (
                json!({"errorRetry": {"max": "1s"}}),
                "m.errorRetry.max: Invalid value",
            ),
        ]);
    }

    #[test]
    fn what_argo_accepts_is_accepted() {
        let cases = [
            json!({}),
            json!({"count": "+5", "interval": "1h30m"}),
            json!({"count": 0}),
            json!({"count": 1, "failureLimit": 1}),
            json!({"failureLimit": -1, "consecutiveSuccessLimit": 4}),
            json!({"failureLimit": i32::MAX, "consecutiveSuccessLimit": i32::MAX}),
            json!({"interval": "0"}),
            json!({"count": 3, "interval": "300ms", "inconclusiveLimit": 3}),
            json!({"errorRetry": {"interval": "1m", "factor": 2, "max": "10m"}}),
            json!({"errorRetry": {"interval": "10m", "factor": 2}}),
        ];
        for changes in cases {
            let (_, problems) = read(&changes);
            assert!(problems.is_empty(), "{changes}: {problems:?}");
        }
    }

    #[test]
    fn the_count_depends_on_the_interval() {
        let cases = [
            (json!({}), Some(1)),
            (json!({"count": 0}), Some(1)),
            (json!({"count": 1}), Some(1)),
            (json!({"interval": "1s"}), None),
            (json!({"interval": "1s", "count": 0}), None),
            (json!({"interval": "1s", "count": "7"}), Some(7)),
        ];
        for (changes, count) in cases {
            assert_eq!(read(&changes).0.count, count, "{changes}");
        }
    }

    #[test]
    fn errors_are_spaced_as_configured() {
        let cases = [
            (json!(null), [10, 10, 10, 10]),
            (json!({"interval": "30s"}), [30, 30, 30, 30]),
            (json!({"interval": "1m", "factor": 2}), [60, 120, 240, 300]),
            (json!({"factor": 10, "max": "1h"}), [10, 100, 1000, 3600]),
            (json!({"factor": 100}), [10, 300, 300, 300]),
        ];
        for (written, seconds) in cases {
            let (plan, _) = read(&json!({"errorRetry": written}));
            let waits = [1, 2, 3, 4].map(|errors| plan.error_wait.after(errors).as_secs());
            assert_eq!(waits, seconds, "{written}");
            assert!(plan.error_wait.after(i32::MAX) <= SignedDuration::from_hours(1));
        }
    }
}
