//! Answers requests: finds out what they are about and hands them on.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;

use super::asked::Asked;
use super::core::Core;
use super::documents;
use super::failure::Failure;
use super::faults;
use super::listing;
use super::rbac::{self, Attempt};
use super::request::{self, Parameters, Target, user_agent};
use super::reviews;
use super::tokens;
use super::traffic::RequestSummary;
use super::users::User;

/// Answers one request. One that makes the server panic harms no other: what is stored is whole at
/// any moment.
pub(super) async fn answer(State(core): State<Arc<Core>>, request: Request) -> Response {
    let answered = AssertUnwindSafe(carry_out(core, request)).catch_unwind();
    answered
        .await
        .unwrap_or_else(|_| refusal(&Failure::panicked()))
}

async fn carry_out(core: Arc<Core>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match request::read(body).await {
        Ok(body) => body,
        Err(failure) => return refusal(&failure),
    };
    let user = match tokens::authenticate(&core, &parts.headers) {
        Ok(user) => user,
        Err(failure) => return refusal(&failure),
    };
    let path = parts.uri.path();
    let Some(target) = Target::parse(path) else {
        return match rbac::check(&core, &user, &Attempt::at(&parts.method, path)) {
            Ok(()) => documents::document(&core, &parts).unwrap_or_else(no_page),
            Err(failure) => refusal(&failure),
        };
    };
    let query = Parameters::of(&parts.uri);
    let summary = summary(&parts, &target, &query);
    core.traffic.note(&summary);
    if let Err(failure) = rbac::check(&core, &user, &Attempt::of(&summary)) {
        return refusal(&failure);
    }
    let watch_from = summary.from_version.filter(|_| summary.verb == "watch");
    let fault = core.traffic.fault(|| named(summary, &parts, &body));
    faults::answer(fault, watch_from, || {
        route(&core, &user, &parts, &target, &query, &body)
    })
    .await
}

fn summary(parts: &Parts, target: &Target, query: &Parameters) -> RequestSummary {
    RequestSummary {
        verb: target.verb(&parts.method, query),
        group: target.group.clone(),
        resource: match &target.subresource {
            Some(subresource) => format!("{}/{subresource}", target.plural),
            None => target.plural.clone(),
        },
        namespace: target.namespace.clone().unwrap_or_default(),
        name: target.name.clone().unwrap_or_default(),
        user_agent: user_agent(&parts.headers).to_owned(),
        from_version: listing::from_version(query),
    }
}

/// A create with the name that stands in its body.
fn named(mut summary: RequestSummary, parts: &Parts, body: &Bytes) -> RequestSummary {
    if summary.verb == "create" && summary.name.is_empty() {
        let sent = request::plain_body(&parts.headers, body).unwrap_or_default();
        let metadata = &sent["metadata"];
        let name = metadata["name"].as_str().filter(|name| !name.is_empty());
        let name = name.or(metadata["generateName"].as_str());
        name.unwrap_or_default().clone_into(&mut summary.name);
    }
    summary
}

fn route(
    core: &Arc<Core>,
    user: &User,
    parts: &Parts,
    target: &Target,
    query: &Parameters,
    body: &Bytes,
) -> Response {
    let registry = core.registry();
    if let Some(kind) = reviews::kind(&target.group, &target.version, &target.plural)
        && parts.method == Method::POST
    {
        let sent = request::plain_body(&parts.headers, body);
        let review = sent.and_then(|sent| reviews::answer(core, kind, user, &sent));
        return match review {
            Ok(review) => json_response(StatusCode::CREATED, review.to_string().into()),
            Err(failure) => refusal(&failure),
        };
    }
    let Some(resource) = registry.find(&target.group, &target.version, &target.plural) else {
        let known = registry
            .in_version(&target.group, &target.version)
            .next()
            .is_some();
        return if known {
            refusal(&Failure::unknown_resource())
        } else {
            no_page()
        };
    };
    let misplaced = target.namespace.is_some() && !resource.namespaced
        || target.namespace.is_none() && target.name.is_some() && resource.namespaced;
    if misplaced {
        return refusal(&Failure::unknown_resource());
    }
    let request = Asked {
        core,
        parts,
        target,
        query,
        body,
        resource,
    };
    request.answer().unwrap_or_else(|failure| refusal(&failure))
}

/// An object as a response.
pub(super) fn json_response(code: StatusCode, text: Bytes) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// A refusal as a response.
pub(super) fn refusal(failure: &Failure) -> Response {
    let code = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let status = failure.status();
    let mut response = json_response(code, status.to_string().into());
    if let Some(seconds) = status["details"]["retryAfterSeconds"].as_u64() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn no_page() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}
