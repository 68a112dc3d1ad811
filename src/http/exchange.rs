//! One request and its answer, over the network or within the process.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response};
use prometheus_http_query::Client as PrometheusClient;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Url};
use tower::ServiceExt as _;

use crate::metric_providers::{
    Headers, HttpReply, HttpRequest, PrometheusRequest, QueryMethod, QueryTime,
};

use super::MOST_REPLY_BYTES;
use super::addresses::Guard;

/// How long Argo waits for a connection.
const CONNECT_TIME_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Where requests go.
pub(super) enum Transport {
    Network { verified: Client, insecure: Client },
    InProcess(Router),
}

impl Transport {
    pub(super) fn network(guard: Guard) -> Result<Self, reqwest::Error> {
        // Another part of the program may have been first; then its choice is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |insecure| {
            Client::builder()
                .user_agent(concat!("verdict/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIME_LIMIT)
                .dns_resolver(guard)
                .redirect(guard.redirects())
                .referer(false)
                .tls_danger_accept_invalid_certs(insecure)
                .build()
        };
        Ok(Self::Network {
            verified: client(false)?,
            insecure: client(true)?,
        })
    }

    /// Sends a request, with `token` if there is one.
    pub(super) async fn send(
        &self,
        request: &HttpRequest,
        token: Option<&str>,
    ) -> Result<HttpReply, String> {
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| format!("not a method: {}", request.method))?;
        let headers = header_map(&request.headers, token)?;
        let body = request.body.clone();
        let response = match self.client(request.connection.insecure) {
            Ok(client) => {
                let builder = client.request(method, &request.url).headers(headers);
                let builder = match body {
                    Some(body) => builder.body(body),
                    None => builder,
                };
                builder
                    .send()
                    .await
                    .map(in_common)
                    .map_err(|error| reason(&error))?
            }
            Err(router) => {
                let mut built = Request::builder().method(method).uri(&request.url);
                if let Some(all) = built.headers_mut() {
                    *all = headers;
                }
                let body = body.map_or_else(Body::empty, Body::from);
                let built = built.body(body).map_err(|error| error.to_string())?;
                infallible(router.clone().oneshot(built).await)
            }
        };
        read(response).await
    }

    /// Asks Prometheus, with `token` if there is one.
    pub(super) async fn query(
        &self,
        request: &PrometheusRequest,
        token: Option<&str>,
    ) -> Result<HttpReply, String> {
        let Ok(client) = self.client(request.connection.insecure) else {
            return self.send(&as_form(request), token).await;
        };
        let client = PrometheusClient::from(client.clone(), &request.address)
            .map_err(|error| error.to_string())?;
        let headers = header_map(&request.headers, token)?;
        let sent = match request.time {
            QueryTime::At(time) => {
                let mut query = client.query(&request.query).at(time);
                for (name, value) in &headers {
                    query = query.header(name, value.clone());
                }
                match request.method {
                    QueryMethod::Post => query.post_raw().await,
                    QueryMethod::Get => query.get_raw().await,
                }
            }
            QueryTime::Range { start, end, step } => {
                let mut query = client.query_range(&request.query, start, end, step.as_secs_f64());
                for (name, value) in &headers {
                    query = query.header(name, value.clone());
                }
                match request.method {
                    QueryMethod::Post => query.post_raw().await,
                    QueryMethod::Get => query.get_raw().await,
                }
            }
        };
        read(sent.map(in_common).map_err(|error| reason(&error))?).await
    }

    fn client(&self, insecure: bool) -> Result<&Client, &Router> {
        match self {
            Self::Network {
                insecure: client, ..
            } if insecure => Ok(client),
            Self::Network { verified, .. } => Ok(verified),
            Self::InProcess(router) => Err(router),
        }
    }
}

/// The request that `prometheus-http-query` would send, for when there is no network.
fn as_form(request: &PrometheusRequest) -> HttpRequest {
    let (path, time) = match request.time {
        QueryTime::At(time) => ("query", vec![("time", time.to_string())]),
        QueryTime::Range { start, end, step } => (
            "query_range",
            vec![
                ("start", start.to_string()),
                ("end", end.to_string()),
                ("step", step.as_secs_f64().to_string()),
            ],
        ),
    };
    let url = format!("{}/api/v1/{path}", request.address);
    let mut fields = vec![("query", request.query.clone())];
    fields.extend(time);
    let form = form(&fields);
    let mut headers = request.headers.clone();
    let (method, url, body) = match request.method {
        QueryMethod::Get => ("GET", format!("{url}?{form}"), None),
        QueryMethod::Post => {
            headers.set("Content-Type", "application/x-www-form-urlencoded");
            ("POST", url, Some(form))
        }
    };
    let connection = request.connection.clone();
    HttpRequest {
        method: method.to_owned(),
        url,
        headers,
        body,
        connection,
    }
}

/// Fields as a form or a query string.
pub(super) fn form(fields: &[(&str, String)]) -> String {
    // `Url` is the encoder that is at hand.
    let Ok(mut url) = Url::parse("http://form") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

fn header_map(headers: &Headers, token: Option<&str>) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter() {
        let header = HeaderName::try_from(name).map_err(|_| format!("not a header: {name}"))?;
        let value = HeaderValue::try_from(value)
            .map_err(|_| format!("the value of header {name} has characters that none may have"))?;
        map.insert(header, value);
    }
    if let Some(token) = token {
        let value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| "the token has characters that no header may have".to_owned())?;
        map.insert(AUTHORIZATION, value);
    }
    Ok(map)
}

fn in_common(response: reqwest::Response) -> Response<Body> {
    Response::from(response).map(Body::new)
}

fn infallible(response: Result<Response<Body>, std::convert::Infallible>) -> Response<Body> {
    match response {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn read(response: Response<Body>) -> Result<HttpReply, String> {
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let status = response.status().as_u16();
    let body: Bytes = to_bytes(response.into_body(), MOST_REPLY_BYTES)
        .await
        .map_err(|error| too_big(&error).unwrap_or_else(|| reason(&error)))?;
    Ok(HttpReply {
        status,
        retry_after,
        body: body.as_ref().into(),
    })
}

fn too_big(error: &axum::Error) -> Option<String> {
    let is_limit = chain(error).any(|error| error.to_string() == "length limit exceeded");
    is_limit.then(|| format!("the answer is bigger than {} MiB", MOST_REPLY_BYTES >> 20))
}

/// Why there is no answer, from the error at the bottom: those above repeat the address.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let said = |error: &reqwest::Error| {
        if error.is_timeout() {
            Some("no connection in time")
        } else if error.is_redirect() {
            Some("cannot follow a redirect")
        } else if error.is_connect() {
            Some("cannot connect")
        } else {
            None
        }
    };
    let what = chain(error)
        .filter_map(|error| error.downcast_ref())
        .find_map(said);
    let bottom = chain(error)
        .filter(|error| !error.is::<reqwest::Error>())
        .last();
    match (what, bottom) {
        (Some(what), Some(bottom)) => format!("{what}: {bottom}"),
        (Some(what), None) => what.to_owned(),
        (None, Some(bottom)) => format!("no answer: {bottom}"),
        (None, None) => "the request cannot be sent".to_owned(),
    }
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}
