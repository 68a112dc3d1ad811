//! What commands send: noted, tried by the server, and not done.

use std::sync::{Arc, Mutex};

use axum::http::request::Parts;
use axum::http::{Method, Request, Uri};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tower::{BoxError, service_fn};

use crate::world::NAMESPACE;

/// The writes that went over a wire.
#[derive(Clone, Default)]
pub(super) struct Wire(Arc<Mutex<Vec<String>>>);

impl Wire {
    /// A client whose writes change nothing: the server tries them, as `--dry-run=server`.
    pub(super) fn client(&self, client: Client) -> Client {
        let wire = self.clone();
        let ask = service_fn(move |request: Request<Body>| {
            let (client, wire) = (client.clone(), wire.clone());
            async move {
                let (mut parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                if parts.method != Method::GET {
                    wire.0.lock().unwrap().push(told(&parts, &body));
                    parts.uri = dry(&parts.uri);
                }
                let request = Request::from_parts(parts, Body::from(body.to_vec()));
                client.send(request).await.map_err(BoxError::from)
            }
        });
        Client::new(ask, NAMESPACE)
    }

    /// What was sent since it was asked last.
    pub(super) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// `PATCH rollouts/web/status merge-patch {"status":{"abort":true}}`; of a whole object its images.
fn told(parts: &Parts, body: &[u8]) -> String {
    let path = parts.uri.path();
    let (_, object) = path
        .split_once("/namespaces/default/")
        .unwrap_or(("", path));
    let kind = parts.headers["content-type"].to_str().unwrap();
    let kind = kind
        .trim_start_matches("application/")
        .trim_end_matches("+json");
    let body: Value = serde_json::from_slice(body).unwrap();
    let told = match body.pointer("/spec/template/spec/containers") {
        Some(containers) if parts.method == Method::PUT => format!("with {containers}"),
        _ => body.to_string(),
    };
    format!("{} {object} {kind} {told}", parts.method)
}

fn dry(uri: &Uri) -> Uri {
    let separator = if uri.query().is_some() { '&' } else { '?' };
    format!("{uri}{separator}dryRun=All").parse().unwrap()
}
