//! `provider: web`: any HTTP endpoint, read as JSON where it is JSON.

mod json_path;

use std::time::Duration;

use jiff::Timestamp;

use crate::api::WebMetric;
use crate::expression::Value;

use self::json_path::JsonPath;
use super::authentication::{self, Credentials};
use super::request::{Connection, HttpReply, HttpRequest, Request, shown};
use super::{Context, Reading, Step, refused, text, time_limit};

/// Argo's time limit of a request, also for 0 and less.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A request under way.
pub(super) struct Call {
    request: HttpRequest,
    path: JsonPath,
    warnings: Vec<String>,
    now: Timestamp,
}

impl Call {
    pub(super) fn new(metric: &WebMetric, context: &Context<'_>) -> Result<Self, String> {
        let mut problems = Vec::new();
        if metric.url.is_empty() {
            problems.push("url: required".to_owned());
        }
        let method = if metric.method.is_empty() {
            "GET"
        } else {
            &metric.method
        };
        let mut headers = authentication::headers(&metric.headers);
        let body = body(metric, method, &mut problems);
        if metric.json_body.is_some() {
            headers.set("Content-Type", "application/json");
        }
        let written = if metric.json_path.is_empty() {
            "{$}"
        } else {
            &metric.json_path
        };
        let path = JsonPath::parse(written).unwrap_or_else(|error| {
            problems.push(format!("jsonPath: {error}: {written}"));
            JsonPath::default()
        });
        let credentials = Credentials::of(metric.authentication.as_deref(), &mut problems);
        if credentials.sigv4 {
            problems.push("authentication.sigv4: not supported for `web`".to_owned());
        }
        credentials.add_basic(&mut headers);
        let timeout = timeout(metric, &mut problems);
        if !problems.is_empty() {
            return Err(format!("web: {}", problems.join("; ")));
        }
        let warnings = path.warning(written).into_iter().collect();
        let connection = Connection {
            timeout,
            insecure: metric.insecure,
            oauth2: credentials.oauth2,
        };
        let (method, url) = (method.to_owned(), metric.url.clone());
        let request = HttpRequest {
            method,
            url,
            headers,
            body,
            connection,
        };
        Ok(Self {
            request,
            path,
            warnings,
            now: context.now,
        })
    }

    pub(super) fn ask(&self) -> Step {
        Step::Ask(Request::Http(self.request.clone()))
    }

    pub(super) fn read(&self, reply: Result<HttpReply, String>) -> Reading {
        let source = format!("web {}", shown(&self.request.url));
        let reply = match reply {
            Ok(reply) => reply,
            Err(why) => return Reading::failed(format!("{source}: {why}")),
        };
        if !(200..300).contains(&reply.status) {
            return refused(&source, &reply, &text::excerpt(&reply.body), self.now);
        }
        match self.value(&reply.body) {
            Ok((value, text)) => Reading::value(value, text).with_warnings(&self.warnings),
            Err(why) => Reading::failed(format!("{source}: {why}")).with_warnings(&self.warnings),
        }
    }

    fn value(&self, body: &[u8]) -> Result<(Value, String), String> {
        match serde_json::from_slice::<serde_json::Value>(body) {
            Ok(json) => {
                let found = self.path.first(&json)?;
                let text = text::compact_json(&found);
                Ok((Value::from(found), text))
            }
            Err(error) if error.to_string().contains("recursion limit") => {
                Err("the JSON in the body is nested too deeply".to_owned())
            }
            // Argo takes any other body as a string, whatever the JSONPath.
            Err(_) => {
                let text = String::from_utf8_lossy(body).into_owned();
                Ok((Value::String(text.clone()), text))
            }
        }
    }
}

fn body(metric: &WebMetric, method: &str, problems: &mut Vec<String>) -> Option<String> {
    let json = metric
        .json_body
        .as_ref()
        .map(|json| serde_json::Value::from(json.clone()));
    let text = Some(&metric.body).filter(|body| !body.is_empty());
    if json.is_some() && text.is_some() {
        problems.push("use either body or jsonBody; both cannot exist for a web metric".to_owned());
    }
    if (json.is_some() || text.is_some()) && method == "GET" {
        problems.push("body/jsonBody can only be used with another method than GET".to_owned());
    }
    text.cloned().or_else(|| json.map(|json| json.to_string()))
}

fn timeout(metric: &WebMetric, problems: &mut Vec<String>) -> Duration {
    let written = metric.timeout_seconds.as_ref();
    let is_unset = written
        .and_then(|written| written.duration().ok())
        .is_some_and(|limit| limit.is_negative() || limit.is_zero());
    if is_unset {
        return TIME_LIMIT;
    }
    time_limit("timeoutSeconds", written, TIME_LIMIT, problems)
}

#[cfg(test)]
mod tests;
