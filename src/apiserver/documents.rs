//! Paths that are about no resource: health, version, and what is served.

use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::core::Core;
use super::discovery;
use super::openapi;
use super::resources::Registry;

/// The version that the server says it has: that of the built-in types' schemas.
const VERSION: (&str, &str, &str) = ("1", "33", "v1.33.0");

/// How discovery is asked for all groups at once.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The document at a path, if there is one.
pub(super) fn document(core: &Core, parts: &Parts) -> Option<Response> {
    let path = parts.uri.path().trim_end_matches('/');
    let registry = core.registry();
    match path {
        "/openapi/v2" => return Some(openapi::version_2(core, &registry, &parts.headers)),
        "" => return Some(json_response(&json!({"paths": paths(&registry)}))),
        "/version" => return Some(json_response(&version())),
        _ => {}
    }
    if let Some(told) = health(path, parts.uri.query().unwrap_or_default()) {
        return Some(told.into_response());
    }
    if let Some(told) = openapi::version_3(core, &registry, path) {
        return Some(json_response(&told));
    }
    let accept = parts.headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    let aggregated = accept.is_some_and(|accept| accept.split(',').any(|a| a.trim() == AGGREGATED));
    let told = discovery::document(&registry, path, aggregated)?;
    let mut response = json_response(&told);
    if aggregated && matches!(path, "/api" | "/apis") {
        let value = HeaderValue::from_static(AGGREGATED);
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    Some(response)
}

fn json_response(told: &Value) -> Response {
    let content = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::OK, content, told.to_string()).into_response()
}

fn version() -> Value {
    let (major, minor, version) = VERSION;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": version,
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// A server that answers is well.
fn health(path: &str, query: &str) -> Option<String> {
    let name = path.strip_prefix('/')?;
    let name = name.strip_suffix("/ping").unwrap_or(name);
    if !matches!(name, "healthz" | "livez" | "readyz") {
        return None;
    }
    let verbose = query
        .split('&')
        .any(|part| part.split('=').next() == Some("verbose"));
    Some(if verbose {
        format!("[+]ping ok\n{name} check passed\n")
    } else {
        "ok".to_owned()
    })
}

/// All paths that have a document.
fn paths(registry: &Registry) -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in discovery::groups(registry) {
        paths.push(format!("/apis/{}", group.name));
        let versions = group.versions.iter();
        paths.extend(versions.map(|version| format!("/apis/{}/{version}", group.name)));
    }
    let others = [
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ];
    paths.extend(others.map(str::to_owned));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_answers_is_well() {
        for (path, query, told) in [
            ("/healthz", "", Some("ok")),
            ("/livez/ping", "", Some("ok")),
            (
                "/readyz",
                "verbose",
                Some("[+]ping ok\nreadyz check passed\n"),
            ),
            ("/healthz/x", "", None),
            ("/api", "", None),
        ] {
            assert_eq!(health(path, query).as_deref(), told, "{path}");
        }
    }
}
