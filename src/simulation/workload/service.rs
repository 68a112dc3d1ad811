//! What the workload tells about itself as a whole: `/stats` and `/targets`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use jiff::SignedDuration;
use serde::Serialize;
use tokio::sync::watch;

use super::window::{LONGEST_WINDOW, Summary};
use super::{Endpoint, Statistics};

const DEFAULT_WINDOW: &str = "10s";

#[derive(Debug, Clone)]
struct Known {
    statistics: Arc<Statistics>,
    endpoints: watch::Receiver<Arc<[Endpoint]>>,
}

pub(super) fn router(
    statistics: Arc<Statistics>,
    endpoints: watch::Receiver<Arc<[Endpoint]>>,
) -> Router {
    Router::new()
        .route("/stats", get(stats))
        .route("/targets", get(targets))
        .with_state(Known {
            statistics,
            endpoints,
        })
}

/// A question about one version, read from a query string.
#[derive(Debug, PartialEq)]
struct Question {
    version: String,
    window: Duration,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    version: String,
    window_seconds: f64,
    #[serde(flatten)]
    summary: Summary,
}

async fn stats(
    State(known): State<Known>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Result<Json<Stats>, (StatusCode, String)> {
    let Question { version, window } =
        question(parameters).map_err(|problems| (StatusCode::BAD_REQUEST, problems))?;
    Ok(Json(Stats {
        summary: known.statistics.summary(&version, window),
        version,
        window_seconds: window.as_secs_f64(),
    }))
}

/// Reads the question; the error tells all that is wrong with it, a line each.
fn question(mut parameters: BTreeMap<String, String>) -> Result<Question, String> {
    let mut problems = Vec::new();
    let version = parameters.remove("version").unwrap_or_default();
    if version.is_empty() {
        problems.push("version: Required value: must be a pod template hash".to_owned());
    }
    let width = parameters.remove("window");
    let width = width.as_deref().unwrap_or(DEFAULT_WINDOW);
    let window = parse_window(width).unwrap_or_else(|| {
        problems.push(format!(
            "window: Invalid value: {width:?}: must be a time over 0s and up to {}s such as `10s`",
            LONGEST_WINDOW.as_secs()
        ));
        Duration::ZERO
    });
    for unknown in parameters.keys() {
        problems.push(format!(
            "{unknown}: Unknown parameter: known are `version` and `window`"
        ));
    }
    if problems.is_empty() {
        Ok(Question { version, window })
    } else {
        Err(problems.join("\n"))
    }
}

fn parse_window(text: &str) -> Option<Duration> {
    let window = Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?;
    (Duration::ZERO < window && window <= LONGEST_WINDOW).then_some(window)
}

/// One group of targets, as Prometheus' `http_sd_configs` wants them.
#[derive(Debug, Serialize)]
struct TargetGroup {
    targets: [String; 1],
    labels: BTreeMap<&'static str, String>,
}

async fn targets(State(known): State<Known>) -> Json<Vec<TargetGroup>> {
    let endpoints = known.endpoints.borrow().clone();
    let groups = endpoints.iter().map(|endpoint| TargetGroup {
        targets: [endpoint.address.to_string()],
        labels: BTreeMap::from([("pod", endpoint.name.clone())]),
    });
    Json(groups.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &[(&str, &str)]) -> Result<Question, String> {
        let parameters = query.iter().copied();
        question(
            parameters
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_question_names_a_version_and_a_window() {
        let question = |seconds| Question {
            version: "7d4".to_owned(),
            window: Duration::from_secs(seconds),
        };
        let cases = [("10s", 10), ("5m", 300), ("1m30s", 90)];
        for (window, seconds) in cases {
            let asked = asked(&[("version", "7d4"), ("window", window)]);
            assert_eq!(asked, Ok(question(seconds)), "{window}");
        }
        assert_eq!(asked(&[("version", "7d4")]), Ok(question(10)));
    }

    #[test]
    fn a_bad_question_is_answered_with_all_that_is_wrong() {
        let problems = asked(&[("version", ""), ("window", "ten"), ("percentile", "99")]);
        let expected = "version: Required value: must be a pod template hash\n\
            window: Invalid value: \"ten\": must be a time over 0s and up to 300s such as `10s`\n\
            percentile: Unknown parameter: known are `version` and `window`";
        assert_eq!(problems, Err(expected.to_owned()));
        for window in ["0s", "-1s", "301s", "10", "99999999999h"] {
            assert!(
                asked(&[("version", "7d4"), ("window", window)]).is_err(),
                "{window}"
            );
        }
    }
}
