//! How Prometheus answers.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::expression::Value;

use super::super::request::HttpReply;
use super::super::{Reading, refused, text};

/// The envelope of every answer of the HTTP API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    #[serde(default)]
    data: Option<serde_json::Value>,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Point),
    Vector(Vec<Sample>),
    Matrix(Vec<Series>),
    String(IgnoredAny),
}

/// Time and value.
#[derive(Deserialize)]
struct Point(IgnoredAny, String);

#[derive(Deserialize)]
struct Sample {
    value: Option<Point>,
    histogram: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    values: Vec<Point>,
    #[serde(default)]
    histograms: Vec<IgnoredAny>,
}

/// The reading of an answer. `earlier` are warnings about the request.
pub(super) fn read(source: &str, reply: &HttpReply, earlier: &[String], now: Timestamp) -> Reading {
    let Ok(answer) = serde_json::from_slice::<Answer>(&reply.body) else {
        let excerpt = text::excerpt(&reply.body);
        return if is_success(reply) {
            Reading::failed(format!(
                "{source}: the answer is not one of Prometheus: {excerpt}"
            ))
        } else {
            refused(source, reply, &excerpt, now)
        };
    };
    if answer.status != "success" || !is_success(reply) {
        let said = format!("{}: {}", answer.error_type, answer.error);
        return if is_success(reply) || matches!(reply.status, 400 | 422) {
            Reading::failed(format!("{source}: {said}"))
        } else {
            refused(source, reply, &said, now)
        };
    }
    let mut warnings = earlier.to_vec();
    warnings.extend(answer.warnings);
    match answer
        .data
        .ok_or_else(|| "the answer has no data".to_owned())
        .and_then(value_of)
    {
        Ok((value, text)) => Reading::value(value, text),
        Err(why) => Reading::failed(format!("{source}: {why}")),
    }
    .with_warnings(&warnings)
}

fn is_success(reply: &HttpReply) -> bool {
    (200..300).contains(&reply.status)
}

fn value_of(data: serde_json::Value) -> Result<(Value, String), String> {
    let data = serde_json::from_value(data)
        .map_err(|error| format!("the answer is not one of Prometheus: {error}"))?;
    let numbers = match data {
        Data::Scalar(point) => {
            let number = number(&point)?;
            return Ok((Value::from(number), text::shortest_decimal(number)));
        }
        Data::Vector(samples) => samples.iter().map(sample).collect::<Result<Vec<_>, _>>()?,
        Data::Matrix(series) => matrix(&series)?,
        Data::String(_) => {
            return Err("the result is a string, but a number was expected".to_owned());
        }
    };
    let text = text::list(&numbers);
    Ok((Value::from(numbers), text))
}

fn sample(sample: &Sample) -> Result<f64, String> {
    match (&sample.value, &sample.histogram) {
        (Some(point), None) => number(point),
        (_, Some(_)) => Err(native_histogram()),
        (None, None) => Err("a sample of the result has no value".to_owned()),
    }
}

fn matrix(series: &[Series]) -> Result<Vec<f64>, String> {
    if series.iter().any(|series| !series.histograms.is_empty()) {
        return Err(native_histogram());
    }
    series
        .iter()
        .flat_map(|series| &series.values)
        .map(number)
        .collect()
}

fn native_histogram() -> String {
    "the result has native histograms, which are no numbers: use `histogram_quantile`, \
     `histogram_avg`, `histogram_count` or the like"
        .to_owned()
}

fn number(Point(_, text): &Point) -> Result<f64, String> {
    text.parse()
        .map_err(|_| format!("a sample of the result is not a number: {text}"))
}
