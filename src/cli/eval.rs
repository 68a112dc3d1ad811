//! `verdict eval`: one condition against one result.

use clap::ValueEnum;
use serde_json::Value as Json;

use super::{Exit, Output};
use crate::clock::Clock;
use crate::expression::{Condition, Error, Value};

/// Evaluate one condition against one result, as a measurement would
///
/// Prints `true` or `false`. Exits 0 if true, 1 if false, 2 if the condition cannot be evaluated:
/// then the measurement would be an Error, and stderr says why, with a caret under the place.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  verdict eval --kind floats --result '[0.99]' 'result[0] >= 0.95'
  verdict eval --result '{\"data\": {\"ok\": true}}' 'result.data.ok'
  verdict eval --kind float --result NaN 'isNaN(result) || result < 0.05'")]
pub(super) struct EvalArgs {
    /// How the metric source types its result: Prometheus answers a float for a scalar and floats
    /// for a vector, web endpoints any JSON (in which every number is a float).
    #[arg(long, value_enum, default_value_t = Kind::Json)]
    kind: Kind,

    /// The measured result, as JSON. Floats may also be NaN, +Inf or -Inf, in quotes inside a list.
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    result: String,

    /// The condition, as in `successCondition` or `failureCondition`.
    #[arg(allow_hyphen_values = true)]
    condition: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// One number.
    Float,
    /// A list of numbers.
    Floats,
    /// Any JSON.
    Json,
}

pub(super) fn run(args: &EvalArgs, output: &mut Output) -> Exit {
    let result = match read_result(args.kind, &args.result) {
        Ok(result) => result,
        Err(problem) => {
            output.talk(format_args!("error: {problem}"));
            return Exit::Unknown;
        }
    };
    match evaluate(&args.condition, &result, output) {
        Ok(answer) => {
            output.data(answer);
            if answer { Exit::Done } else { Exit::No }
        }
        Err(error) => {
            report(&error, &args.condition, &result, output);
            Exit::Unknown
        }
    }
}

fn evaluate(text: &str, result: &Value, output: &mut Output) -> Result<bool, Error> {
    let condition = Condition::parse(text)?;
    for warning in condition.warnings() {
        output.talk(format_args!(
            "warning: {warning}\n{}",
            indented(warning, text)
        ));
    }
    condition.evaluate(result, Clock::system().now())
}

fn report(error: &Error, condition: &str, result: &Value, output: &mut Output) {
    output.talk(format_args!(
        "error: {error}\n{}",
        indented(error, condition)
    ));
    if error.is_about_no_data() {
        let first = match result {
            Value::Nil => "(result ?? 0) < 1",
            _ => "len(result) == 0 || result[0] < 1",
        };
        output.talk(format_args!(
            "hint: the result is nil or empty; to allow for that, write for instance `{first}`"
        ));
    }
}

fn indented(error: &Error, condition: &str) -> String {
    let lines = error.caret(condition);
    let lines: Vec<String> = lines.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

fn read_result(kind: Kind, text: &str) -> Result<Value, String> {
    let json = || {
        serde_json::from_str::<Json>(text)
            .map_err(|error| format!("--result is not JSON: {error}: {text}"))
    };
    match kind {
        Kind::Json => json().map(Value::from),
        Kind::Float => match named_float(text.trim()) {
            Some(float) => Ok(Value::from(float)),
            None => float(&json()?).map(Value::from),
        },
        Kind::Floats => match json()? {
            Json::Array(items) => {
                let floats: Result<Vec<f64>, String> = items.iter().map(float).collect();
                floats.map(Value::from)
            }
            other => Err(format!("--result must be a list of numbers: {other}")),
        },
    }
}

fn float(json: &Json) -> Result<f64, String> {
    let found = match json {
        Json::String(text) => named_float(text),
        other => other.as_f64(),
    };
    found.ok_or_else(|| format!("--result must be a number, \"NaN\", \"+Inf\" or \"-Inf\": {json}"))
}

/// The floats that JSON lacks.
fn named_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}
