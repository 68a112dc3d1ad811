//! From the answer to a range query to the answers that instant queries would have got.

use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::metric_providers::HttpReply;

/// What a range query brought: for each series its sample at each step, if it has one there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunk {
    pub(super) start: i64,
    /// Seconds.
    pub(super) step: i64,
    pub(super) points: usize,
    series: Vec<Vec<Sample>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sample {
    None,
    Number(f64),
    /// A native histogram, which is no number.
    Histogram,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    #[serde(default)]
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, IgnoredAny)>,
}

/// What an instant query answered, as far as it matters for others.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Instant {
    Scalar(f64),
    /// Numbers in their order; histograms are NaN.
    Vector(Vec<f64>),
    /// Text, or the samples of a range.
    Other(String),
}

/// Reads the answer to a range query.
///
/// # Errors
/// What it is instead.
pub(super) fn chunk(body: &[u8], start: i64, step: i64, points: usize) -> Result<Chunk, String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| format!("not an answer of Prometheus: {error}"))?;
    let all: Vec<Series> = serde_json::from_value(answer.data.result)
        .map_err(|error| format!("not the answer to a range query: {error}"))?;
    let series = all.into_iter().map(|series| {
        let mut samples = vec![Sample::None; points];
        let mut put = |at: f64, sample: Sample| {
            if let Some(slot) = index(at, start, step).and_then(|index| samples.get_mut(index)) {
                *slot = sample;
            }
        };
        for (at, _) in &series.histograms {
            put(*at, Sample::Histogram);
        }
        for (at, text) in &series.values {
            let number: f64 = text.parse().map_err(|_| format!("not a number: {text}"))?;
            put(*at, Sample::Number(number));
        }
        Ok(samples)
    });
    Ok(Chunk {
        start,
        step,
        points,
        series: series.collect::<Result<_, String>>()?,
    })
}

/// Prometheus writes times as seconds, with milliseconds where there are any.
#[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
fn index(at: f64, start: i64, step: i64) -> Option<usize> {
    usize::try_from((at.round() as i64 - start) / step).ok()
}

impl Chunk {
    fn samples_at(&self, at: i64) -> Option<impl Iterator<Item = Sample>> {
        let offset = at - self.start;
        if offset < 0 || offset % self.step != 0 {
            return None;
        }
        let index = usize::try_from(offset / self.step).ok()?;
        let samples = self.series.iter().map(move |samples| samples[index]);
        (index < self.points).then(|| samples.filter(|sample| *sample != Sample::None))
    }

    /// How many series have a sample at a time; `None` if the chunk does not have that time.
    pub(super) fn count_at(&self, at: i64) -> Option<usize> {
        self.samples_at(at).map(Iterator::count)
    }

    /// What an instant query answers at a time that the chunk has.
    pub(super) fn answer_at(&self, at: i64, is_scalar: bool) -> Option<HttpReply> {
        let samples = self.samples_at(at)?;
        let mut body = String::from("{\"status\":\"success\",\"data\":{\"resultType\":");
        if is_scalar {
            // A scalar has a value at all times.
            let Some(Sample::Number(number)) = self.samples_at(at)?.next() else {
                return None;
            };
            let _ = write!(body, "\"scalar\",\"result\":[{at},\"{}\"]", text(number));
        } else {
            body.push_str("\"vector\",\"result\":[");
            for (index, sample) in samples.enumerate() {
                if index > 0 {
                    body.push(',');
                }
                let _ = match sample {
                    Sample::Number(number) => {
                        write!(
                            body,
                            "{{\"metric\":{{}},\"value\":[{at},\"{}\"]}}",
                            text(number)
                        )
                    }
                    Sample::Histogram | Sample::None => {
                        write!(body, "{{\"metric\":{{}},\"histogram\":[{at},{{}}]}}")
                    }
                };
            }
            body.push(']');
        }
        body.push_str("}}");
        Some(HttpReply {
            status: 200,
            retry_after: None,
            body: body.into_bytes().into(),
        })
    }
}

/// As Prometheus writes numbers.
fn text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number.to_string()
}

/// Reads the answer to an instant query; `None` if it is no success.
pub(super) fn instant(reply: &HttpReply) -> Option<Instant> {
    let answer: Answer = serde_json::from_slice(&reply.body).ok()?;
    let number = |sample: &serde_json::Value| {
        let text = sample.get("value")?.get(1)?.as_str()?;
        text.parse().ok()
    };
    Some(match answer.data.kind.as_str() {
        "scalar" => {
            let text = answer.data.result.get(1)?.as_str()?;
            Instant::Scalar(text.parse().ok()?)
        }
        "vector" => {
            let samples = answer.data.result.as_array()?.iter();
            Instant::Vector(
                samples
                    .map(|sample| number(sample).unwrap_or(f64::NAN))
                    .collect(),
            )
        }
        other => Instant::Other(other.to_owned()),
    })
}

impl Instant {
    /// Whether both say the same, in any order. Sums over several series may differ in the last
    /// digits, as their order is not defined.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let near = |(a, b): (&f64, &f64)| {
            a.total_cmp(b).is_eq()
                || (a.is_nan() && b.is_nan())
                || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
        };
        match (self, other) {
            (Self::Scalar(one), Self::Scalar(other)) => near((one, other)),
            (Self::Vector(one), Self::Vector(other)) => {
                let sorted = |numbers: &[f64]| {
                    let mut sorted = numbers.to_vec();
                    sorted.sort_by(f64::total_cmp);
                    sorted
                };
                let (one, other) = (sorted(one), sorted(other));
                one.len() == other.len() && one.iter().zip(&other).all(near)
            }
            (Self::Scalar(_) | Self::Vector(_) | Self::Other(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn matrix(series: &Value) -> Chunk {
        let body = json!({"status": "success", "data": {"resultType": "matrix", "result": series}});
        chunk(body.to_string().as_bytes(), 600, 60, 4).unwrap()
    }

    #[test]
    fn each_step_is_cut_into_the_answer_of_its_time() {
        let chunk = matrix(&json!([
            {"metric": {"a": "1"}, "values": [[600, "0.5"], [660, "NaN"], [780, "+Inf"]]},
            {"metric": {"a": "2"}, "values": [[780.0, "1e-7"]], "histograms": [[720, {}]]},
        ]));
        let at = |at: i64| chunk.answer_at(at, false).and_then(|reply| instant(&reply));
        let vector = |numbers: &[f64]| Some(Instant::Vector(numbers.to_vec()));
        assert_eq!(at(600), vector(&[0.5]));
        assert!(
            at(660)
                .unwrap()
                .agrees_with(&Instant::Vector(vec![f64::NAN]))
        );
        assert_eq!(at(780), vector(&[f64::INFINITY, 1e-7]));
        assert_eq!((at(540), at(601), at(840)), (None, None, None));
        let reply = chunk.answer_at(720, false).unwrap();
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert!(body["data"]["result"][0]["histogram"].is_array(), "{body}");
        assert_eq!(
            (chunk.count_at(720), chunk.count_at(780)),
            (Some(1), Some(2))
        );
    }

    #[test]
    fn no_series_is_an_empty_vector() {
        let reply = matrix(&json!([])).answer_at(660, false).unwrap();
        assert_eq!(instant(&reply), Some(Instant::Vector(vec![])));
    }

    #[test]
    fn a_scalar_stays_one() {
        let chunk = matrix(&json!([{"metric": {}, "values": [[600, "3"], [660, "4"]]}]));
        let reply = chunk.answer_at(660, true).unwrap();
        assert_eq!(instant(&reply), Some(Instant::Scalar(4.0)));
    }

    #[test]
    fn answers_agree_in_any_order_and_to_the_ninth_digit() {
        let vector = |numbers: &[f64]| Instant::Vector(numbers.to_vec());
        assert!(vector(&[1.0, 2.0]).agrees_with(&vector(&[2.0, 1.0 + 1e-12])));
        assert!(!vector(&[1.0]).agrees_with(&vector(&[1.001])));
        assert!(!vector(&[1.0]).agrees_with(&vector(&[1.0, 1.0])));
        assert!(!vector(&[1.0]).agrees_with(&Instant::Scalar(1.0)));
    }
}
