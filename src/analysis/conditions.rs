//! A metric's conditions, read once, and what they say of a value.

use jiff::Timestamp;

use super::args::SECRET_PLACEHOLDER;
use crate::api::{Metric, NoDataPolicy, Phase, Problem};
use crate::expression::{self, Condition, Limit, Value};

/// Said of a measurement that was judged with NaN by conditions which do not provide for it.
const NAN_UNPROVIDED_FOR: &str =
    "the value is NaN, for which no comparison holds: set onNaN to say what it means";

/// How a metric judges its values.
#[derive(Debug)]
pub(crate) struct Conditions {
    success: Option<Written>,
    failure: Option<Written>,
    on_no_data: Option<NoDataPolicy>,
    on_nan: Option<NoDataPolicy>,
}

#[derive(Debug)]
struct Written {
    field: &'static str,
    text: String,
    read: Result<Condition, expression::Error>,
}

/// What a value comes to. Pending stands for a measurement that is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) phase: Phase,
    pub(crate) message: String,
}

impl Judgement {
    fn plain(phase: Phase) -> Self {
        Self {
            phase,
            message: String::new(),
        }
    }

    fn error(message: String) -> Self {
        Self {
            phase: Phase::Error,
            message,
        }
    }
}

impl Written {
    fn new(field: &'static str, text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        Some(Self {
            field,
            text: text.to_owned(),
            read: Condition::parse(text),
        })
    }

    fn holds(&self, value: &Value, now: Timestamp) -> Result<bool, Judgement> {
        let failed = |error: &expression::Error| Judgement::error(self.failure(error));
        let condition = self.read.as_ref().map_err(failed)?;
        condition
            .evaluate(value, now)
            .map_err(|error| failed(&error))
    }

    fn failure(&self, error: &expression::Error) -> String {
        error.measurement_message(self.field, &self.text)
    }

    fn problem(&self, at: &str, error: &expression::Error, why: String) -> Problem {
        Problem::invalid(format!("{at}.{}", self.field), &self.text, why).at(error.span())
    }
}

impl Conditions {
    /// Reads the conditions of a metric whose arguments are filled in.
    pub(crate) fn of(metric: &Metric) -> Self {
        Self {
            success: Written::new("successCondition", &metric.success_condition),
            failure: Written::new("failureCondition", &metric.failure_condition),
            on_no_data: metric.on_no_data,
            on_nan: metric.on_nan,
        }
    }

    /// The conditions of the metric `at` that could not be read. One into which a Secret is filled in
    /// cannot be told before.
    pub(crate) fn unreadable(&self, at: &str) -> impl Iterator<Item = Problem> {
        let known = self
            .both()
            .filter(|written| !written.text.contains(SECRET_PLACEHOLDER));
        known.filter_map(move |written| {
            let error = written.read.as_ref().err()?;
            Some(written.problem(at, error, written.failure(error)))
        })
    }

    /// What is legal in them but hardly meant.
    pub(crate) fn odd(&self, at: &str) -> impl Iterator<Item = Problem> {
        self.both().flat_map(move |written| {
            let odd = written.read.as_ref().map_or(&[][..], Condition::warnings);
            odd.iter()
                .map(move |odd| written.problem(at, odd, odd.to_string()))
        })
    }

    /// The plain limits that a good value keeps.
    pub(crate) fn limits(&self) -> Vec<Limit> {
        let of = |written: &Option<Written>| -> Vec<Limit> {
            let read = written.as_ref().and_then(|it| it.read.as_ref().ok());
            read.map(Condition::limits).unwrap_or_default()
        };
        let mut limits = of(&self.success);
        // A failure that takes several limits to be broken is not kept off by one of them.
        if let [limit] = of(&self.failure).as_slice() {
            let side = limit.side.other();
            limits.push(Limit { side, ..*limit });
        }
        limits
    }

    /// Whether a condition may look at where in a list a number stands, and not only at which
    /// numbers there are. In doubt it does.
    pub(crate) fn mind_order(&self) -> bool {
        const PLACES: [&str; 12] = [
            "result[", "result?", "result |", "#index", "first", "last", "take", "find", "get",
            "reduce", "reverse", "indexOf",
        ];
        self.both()
            .any(|written| PLACES.iter().any(|place| written.text.contains(place)))
    }

    fn both(&self) -> impl Iterator<Item = &Written> {
        self.success.iter().chain(&self.failure)
    }

    /// What a value comes to.
    ///
    /// A policy that is written decides without the conditions. Without one they decide, as in
    /// Argo: no data is an Error unless a condition provides for it, and NaN fails every
    /// comparison, which the message then says.
    ///
    /// # Source
    /// `EvaluateResult` in `utils/evaluate/evaluate.go`.
    pub(crate) fn judge(&self, value: &Value, now: Timestamp) -> Judgement {
        if value.is_nil_or_empty()
            && let Some(policy) = self.on_no_data
        {
            return by_policy(policy, "the source has no data", "onNoData");
        }
        let nan = has_nan(value);
        if nan && let Some(policy) = self.on_nan {
            return by_policy(policy, "the value is NaN", "onNaN");
        }
        let mut judgement = self.by_conditions(value, now).unwrap_or_else(|error| error);
        if nan && judgement.message.is_empty() && !self.both().any(Written::minds_nan) {
            judgement.message = NAN_UNPROVIDED_FOR.into();
        }
        judgement
    }

    fn by_conditions(&self, value: &Value, now: Timestamp) -> Result<Judgement, Judgement> {
        let success = self
            .success
            .as_ref()
            .map(|written| written.holds(value, now))
            .transpose()?;
        let failure = self
            .failure
            .as_ref()
            .map(|written| written.holds(value, now))
            .transpose()?;
        Ok(Judgement::plain(match (success, failure) {
            (_, Some(true)) | (Some(false), None) => Phase::Failed,
            (Some(true) | None, Some(false) | None) => Phase::Successful,
            (Some(false), Some(false)) => Phase::Inconclusive,
        }))
    }
}

impl Written {
    fn minds_nan(&self) -> bool {
        self.text.contains("isNaN")
    }
}

fn by_policy(policy: NoDataPolicy, what: &str, field: &str) -> Judgement {
    let phase = match policy {
        NoDataPolicy::Error => Phase::Error,
        NoDataPolicy::Inconclusive => Phase::Inconclusive,
        NoDataPolicy::Success => Phase::Successful,
        NoDataPolicy::Failure => Phase::Failed,
        NoDataPolicy::Skip => Phase::Pending,
    };
    Judgement {
        phase,
        message: format!("{what} ({field}: {policy})"),
    }
}

/// Whether a number in the value, or in the list that it is, is NaN.
fn has_nan(value: &Value) -> bool {
    match value {
        Value::Float(float) => float.is_nan(),
        Value::Floats(floats) => floats.iter().any(|float| float.is_nan()),
        Value::List(values) => values
            .iter()
            .any(|value| matches!(value, Value::Float(float) if float.is_nan())),
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::Map(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn conditions(written: &Json) -> Conditions {
        let mut metric = written.clone();
        metric["name"] = json!("m");
        Conditions::of(&serde_json::from_value(metric).unwrap())
    }

    fn judged(written: &Json, value: impl Into<Value>) -> (Phase, String) {
        let Judgement { phase, message } =
            conditions(written).judge(&value.into(), Timestamp::UNIX_EPOCH);
        (phase, message)
    }

    #[test]
    fn two_conditions_make_a_phase() {
        use Phase::{Error, Failed, Inconclusive, Successful};
        let cases = [
            ("", "", Successful),
            ("true", "", Successful),
            ("false", "", Failed),
            ("", "true", Failed),
            ("", "false", Successful),
            ("true", "false", Successful),
            ("false", "true", Failed),
            ("true", "true", Failed),
            ("false", "false", Inconclusive),
            ("result[0] > 1", "true", Error),
            ("true", "result[0] > 1", Error),
            ("result", "", Error),
            (" ", "", Error),
            ("nonsense(", "", Error),
        ];
        for (success, failure, expected) in cases {
            let written = json!({"successCondition": success, "failureCondition": failure});
            let (phase, message) = judged(&written, 5.0);
            assert_eq!(phase, expected, "{written}: {message}");
            assert_eq!(
                message.is_empty(),
                expected != Error,
                "{written}: {message}"
            );
        }
    }

    #[test]
    fn a_written_policy_decides_about_no_data_and_nan() {
        use Phase::{Error, Failed, Inconclusive, Pending, Successful};
        let policies = [
            ("Error", Error),
            ("Inconclusive", Inconclusive),
            ("Success", Successful),
            ("Failure", Failed),
            ("Skip", Pending),
        ];
        for (policy, expected) in policies {
            let written = json!({
                "successCondition": "result[0] >= 0.95", "onNoData": policy, "onNaN": policy,
            });
            for value in [vec![], vec![f64::NAN], vec![1.0, f64::NAN]] {
                let (phase, message) = judged(&written, value);
                assert_eq!(phase, expected, "{policy}");
                assert!(message.contains(policy), "{message}");
            }
            assert_eq!(judged(&written, vec![0.99]), (Successful, String::new()));
        }
    }

    #[test]
    fn without_a_policy_the_conditions_decide_as_in_argo() {
        let cases = [
            (
                json!({"successCondition": "len(result) == 0"}),
                vec![],
                Phase::Successful,
                "",
            ),
            (
                json!({"successCondition": "result[0] >= 0.95"}),
                vec![],
                Phase::Error,
                "metric result is nil or empty: ",
            ),
            (
                json!({"successCondition": "result[0] >= 0.95"}),
                vec![f64::NAN],
                Phase::Failed,
                "the value is NaN",
            ),
            (
                json!({"failureCondition": "result[0] > 0.05"}),
                vec![f64::NAN],
                Phase::Successful,
                "the value is NaN",
            ),
            (
                json!({"successCondition": "isNaN(result[0]) || result[0] > 1"}),
                vec![f64::NAN],
                Phase::Successful,
                "",
            ),
        ];
        for (written, value, phase, part) in cases {
            let (got, message) = judged(&written, value);
            assert_eq!(got, phase, "{written}");
            assert!(message.contains(part), "{written}: {message}");
            assert_eq!(message.is_empty(), part.is_empty(), "{written}: {message}");
        }
    }

    #[test]
    fn a_condition_that_cannot_be_read_is_named() {
        let conditions =
            conditions(&json!({"successCondition": "result >", "failureCondition": "true"}));
        let unreadable: Vec<_> = conditions.unreadable("metrics[0]").collect();
        assert_eq!(unreadable.len(), 1);
        assert_eq!(unreadable[0].field, "metrics[0].successCondition");
        assert_eq!(unreadable[0].span, Some(8..8));
    }
}
