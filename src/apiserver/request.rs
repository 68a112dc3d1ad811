//! What a request asks for, read from its path, query and body.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::{HeaderMap, Method, Uri, header};
use futures::StreamExt as _;
use serde_json::Value;

use super::decode;
use super::failure::{Cause, Failure};
use super::protobuf;
use super::resources::Resource;

/// How Go clients send objects of built-in kinds.
pub(super) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The largest body that is taken; a real API server's limit.
const LARGEST_BODY: usize = 3 * 1024 * 1024;

/// How much of a body that is too large is read to the end. A client that could not send all that it
/// wants to would not read the refusal.
const LARGEST_DISCARDED: usize = 16 * LARGEST_BODY;

/// How long a body may take; a real API server's limit for a whole request.
const BODY_WITHIN: Duration = Duration::from_mins(1);

/// A request for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) plural: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    /// Reads `/api/v1/namespaces/n/pods/p/status` and the like; `None` for other paths.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(percent_decoded)
            .collect();
        let group = match parts.first()?.as_str() {
            "api" => String::new(),
            "apis" if parts.len() > 1 => parts.remove(1),
            _ => return None,
        };
        let mut parts = parts.into_iter().skip(1);
        let version = parts.next()?;
        let rest: Vec<String> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            [first, namespace, plural, ..]
                if first == "namespaces" && !is_namespace_part(plural) =>
            {
                (Some(namespace.clone()), &rest[2..])
            }
            _ => (None, rest.as_slice()),
        };
        let mut rest = rest.iter().cloned();
        let target = Self {
            group,
            version,
            namespace,
            plural: rest.next()?,
            name: rest.next(),
            subresource: rest.next(),
        };
        rest.next().is_none().then_some(target)
    }

    /// Where the object that is named stands on its collection.
    pub(super) fn key(&self) -> (String, String) {
        (
            self.namespace.clone().unwrap_or_default(),
            self.name.clone().unwrap_or_default(),
        )
    }

    /// The verb in the words of RBAC.
    pub(super) fn verb(&self, method: &Method, query: &Parameters) -> &'static str {
        let named = self.name.is_some();
        match method.as_str() {
            "GET" | "HEAD" if query.is_true("watch") => "watch",
            "GET" | "HEAD" if named => "get",
            "GET" | "HEAD" => "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if named => "delete",
            "DELETE" => "deletecollection",
            _ => "",
        }
    }
}

/// `namespaces/x/status` is about the namespace, not about a resource `status` in it.
fn is_namespace_part(part: &str) -> bool {
    matches!(part, "status" | "finalize")
}

fn percent_decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|code| std::str::from_utf8(code).ok())
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The query of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Self {
        Query::try_from_uri(uri).map_or_else(|_| Self::default(), |Query(pairs)| Self(pairs))
    }

    /// The value of a parameter; empty when it is absent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1" | "True")
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }
}

/// What to do about fields that are unknown or stand twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// How a write is to be done.
#[derive(Debug, Clone)]
pub(super) struct WriteOptions {
    pub(super) dry_run: bool,
    pub(super) field_validation: FieldValidation,
    /// Owns the fields that are written.
    pub(super) manager: String,
    pub(super) force: bool,
}

impl WriteOptions {
    pub(super) fn of(query: &Parameters, headers: &HeaderMap) -> Result<Self, Failure> {
        let dry_run = match query.text("dryRun") {
            "" => false,
            "All" => true,
            other => {
                let known = [Value::from("All")];
                let cause = Cause::unsupported("dryRun", &Value::from(other), &known);
                return Err(Failure::invalid_options("CreateOptions", &[cause]));
            }
        };
        let field_validation = match query.text("fieldValidation") {
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            "" | "Warn" => FieldValidation::Warn,
            other => {
                let known = ["", "Ignore", "Strict", "Warn"].map(Value::from);
                let cause = Cause::unsupported("fieldValidation", &Value::from(other), &known);
                return Err(Failure::invalid_options("CreateOptions", &[cause]));
            }
        };
        Ok(Self {
            dry_run,
            field_validation,
            manager: manager(query, headers),
            force: query.is_true("force"),
        })
    }
}

/// The field manager that was named, or the program that asks.
fn manager(query: &Parameters, headers: &HeaderMap) -> String {
    let named = query.text("fieldManager");
    if !named.is_empty() {
        return named.to_owned();
    }
    let agent = user_agent(headers);
    let program = agent.split('/').next().unwrap_or_default();
    if program.is_empty() {
        "unknown"
    } else {
        program
    }
    .chars()
    .take(128)
    .collect()
}

/// The body of a request.
pub(super) async fn read(body: Body) -> Result<Bytes, Failure> {
    let read = tokio::time::timeout(BODY_WITHIN, read_to_end(body)).await;
    read.unwrap_or_else(|_| Err(Failure::too_slow()))
}

async fn read_to_end(body: Body) -> Result<Bytes, Failure> {
    let mut chunks = body.into_data_stream();
    let mut text = Vec::new();
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Failure::bad_request("the body of the request broke off"))?;
        size += chunk.len();
        if size <= LARGEST_BODY {
            text.extend_from_slice(&chunk);
        } else if size > LARGEST_DISCARDED {
            break;
        }
    }
    if size > LARGEST_BODY {
        return Err(Failure::too_large(LARGEST_BODY));
    }
    Ok(text.into())
}

/// The `User-Agent` of a request.
pub(super) fn user_agent(headers: &HeaderMap) -> &str {
    let agent = headers.get(header::USER_AGENT);
    agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default()
}

/// A media type without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let content = headers.get(header::CONTENT_TYPE);
    let content = content.and_then(|c| c.to_str().ok()).unwrap_or_default();
    content.split(';').next().unwrap_or_default().trim()
}

/// Reads a body of a kind that is not stored: options and reviews. None is an empty object.
pub(super) fn plain_body(headers: &HeaderMap, body: &[u8]) -> Result<Value, Failure> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let read = match media_type(headers) {
        PROTOBUF => protobuf::read(body),
        "application/yaml" => decode::yaml(body),
        _ => decode::json(body).map(|(value, _)| value),
    };
    read.map_err(Failure::bad_request)
}

/// Reads an object that a client sent, with the paths of keys that stand twice.
pub(super) fn body(
    resource: &Resource,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Value, Vec<String>), Failure> {
    let known = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    let unrecognized = |problem: &str| {
        let begin = String::from_utf8_lossy(&body[..body.len().min(100)]);
        Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; \
             {problem} ({begin})",
            resource.kind,
        ))
    };
    match media_type(headers) {
        "" | "application/json" | "*/*" => decode::json(body)
            .map_err(|problem| unrecognized(&format!("json parse error: {problem}"))),
        "application/yaml" => decode::yaml(body)
            .map(|value| (value, Vec::new()))
            .map_err(|problem| unrecognized(&format!("yaml parse error: {problem}"))),
        PROTOBUF => protobuf::read(body)
            .map(|value| (value, Vec::new()))
            .map_err(|problem| Failure::bad_request(format!("cannot read protobuf: {problem}"))),
        _ => Err(Failure::unsupported_media(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_are_about() {
        let told = |path: &str| {
            Target::parse(path).map(|t| {
                format!(
                    "{}|{}|{}|{}|{}|{}",
                    t.group,
                    t.version,
                    t.namespace.unwrap_or_default(),
                    t.plural,
                    t.name.unwrap_or_default(),
                    t.subresource.unwrap_or_default()
                )
            })
        };
        for (path, expected) in [
            ("/api/v1/namespaces/n/pods/p/status", "|v1|n|pods|p|status"),
            ("/api/v1/namespaces/n", "|v1||namespaces|n|"),
            (
                "/api/v1/namespaces/n/finalize",
                "|v1||namespaces|n|finalize",
            ),
            ("/api/v1/namespaces", "|v1||namespaces||"),
            ("/api/v1/pods", "|v1||pods||"),
            (
                "/apis/apps/v1/namespaces/n/deployments",
                "apps|v1|n|deployments||",
            ),
            ("/apis/a.b/v1/things/x%3Ay", "a.b|v1||things|x:y|"),
        ] {
            assert_eq!(told(path).as_deref(), Some(expected), "{path}");
        }
        for path in [
            "/api",
            "/api/v1",
            "/apis/apps/v1",
            "/healthz",
            "/api/v1/a/b/c/d/e/f",
        ] {
            assert_eq!(told(path), None, "{path}");
        }
    }
}
