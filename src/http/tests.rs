use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use futures::StreamExt as _;
use futures::future::join_all;
use serde_json::{Value, json};
use tower_http::compression::CompressionLayer;

use crate::metric_providers::{ClientCredentials, Headers, QueryMethod, QueryTime};

use super::*;

fn connection(seconds: f64) -> Connection {
    let timeout = Duration::from_secs_f64(seconds);
    Connection {
        timeout,
        insecure: false,
        oauth2: None,
    }
}

fn request(method: &str, url: impl Into<String>) -> HttpRequest {
    HttpRequest {
        method: method.to_owned(),
        url: url.into(),
        headers: Headers::default(),
        body: None,
        connection: connection(20.0),
    }
}

fn prometheus(address: impl Into<String>, time: QueryTime) -> PrometheusRequest {
    let mut headers = Headers::default();
    headers.set("X-Scope-OrgID", "team a");
    PrometheusRequest {
        address: address.into(),
        query: "sum(rate(a{b=\"c\"}[5m])) > 0".to_owned(),
        time,
        method: QueryMethod::Post,
        headers,
        connection: connection(20.0),
    }
}

/// Serves on loopback.
async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn network() -> Http {
    Http::new(LinkLocal::Refused).unwrap()
}

/// Tells what it got.
fn echo() -> Router {
    Router::new().fallback(
        |method: axum::http::Method, uri: axum::http::Uri, headers: HeaderMap, body: String| async move {
            let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            Json(json!({
                "method": method.as_str(),
                "path": uri.path(),
                "query": uri.query(),
                "body": body,
                "type": header("content-type"),
                "tenant": header("x-scope-orgid"),
                "authorization": header("authorization"),
            }))
        },
    )
}

fn json_of(reply: Result<HttpReply, String>) -> Value {
    serde_json::from_slice(&reply.unwrap().body).unwrap()
}

#[tokio::test]
async fn a_request_is_sent_as_it_is_over_the_network_and_within_the_process() {
    let url = format!("http://{}", serve(echo()).await);
    for (http, url) in [
        (network(), url),
        (Http::in_process(echo()), "http://any".to_owned()),
    ] {
        let mut request = request("PUT", format!("{url}/x?y=z%20"));
        request.headers.set("Content-Type", "text/x");
        request.headers.set("Authorization", "mine");
        request.body = Some("hello".to_owned());
        let expected = json!({
            "method": "PUT", "path": "/x", "query": "y=z%20", "body": "hello",
            "type": "text/x", "tenant": null, "authorization": "mine",
        });
        assert_eq!(json_of(http.send(&request).await), expected);
    }
}

#[tokio::test]
async fn a_prometheus_query_is_the_same_over_the_network_and_within_the_process() {
    let url = format!("http://{}/prom", serve(echo()).await);
    let (http, inside) = (network(), Http::in_process(echo()));
    let query = "query=sum%28rate%28a%7Bb%3D%22c%22%7D%5B5m%5D%29%29+%3E+0";
    let range = QueryTime::Range {
        start: 10,
        end: 70,
        step: Duration::from_millis(1500),
    };
    for (time, path, fields) in [
        (
            QueryTime::At(1_700_000_000),
            "/prom/api/v1/query",
            "&time=1700000000",
        ),
        (
            range,
            "/prom/api/v1/query_range",
            "&start=10&end=70&step=1.5",
        ),
    ] {
        for method in [QueryMethod::Post, QueryMethod::Get] {
            let sent = PrometheusRequest {
                method,
                ..prometheus(&url, time)
            };
            let got = json_of(http.query(&sent).await);
            let fields = json!(format!("{query}{fields}"));
            let (name, in_query, in_body) = match method {
                QueryMethod::Post => ("POST", json!(null), fields),
                QueryMethod::Get => ("GET", fields, json!("")),
            };
            assert_eq!(got["method"], name);
            assert_eq!(got["path"], path);
            assert_eq!(got["query"], in_query);
            assert_eq!(got["body"], in_body);
            assert_eq!(got["tenant"], "team a");
            let sent = PrometheusRequest {
                address: "http://any/prom".into(),
                ..sent
            };
            assert_eq!(json_of(inside.query(&sent).await), got);
        }
    }
}

#[tokio::test]
async fn a_user_in_the_address_of_prometheus_is_sent_as_basic_authentication() {
    let url = format!("http://me:pass@{}", serve(echo()).await);
    let got = json_of(network().query(&prometheus(url, QueryTime::At(1))).await);
    assert_eq!(got["authorization"], "Basic bWU6cGFzcw==");
}

#[tokio::test]
async fn a_source_that_hangs_is_left_in_time() {
    let hanging = Router::new()
        .route(
            "/head",
            get(|| async { std::future::pending::<()>().await }),
        )
        .route(
            "/body",
            get(|| async {
                Body::from_stream(futures::stream::pending::<Result<String, String>>())
            }),
        );
    let url = format!("http://{}", serve(hanging).await);
    for path in ["/head", "/body"] {
        let mut request = request("GET", format!("{url}{path}"));
        request.connection = connection(0.1);
        assert_eq!(
            network().send(&request).await.unwrap_err(),
            "no answer within 0.1s"
        );
    }
    let mut at_once = request("GET", url);
    at_once.connection = connection(0.0);
    assert_eq!(
        network().send(&at_once).await.unwrap_err(),
        "no answer within 0s"
    );
}

#[tokio::test]
async fn fifty_megabytes_are_not_taken_in() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let chunks = move || {
        let counter = counter.clone();
        let chunk = futures::stream::iter(0..50).map(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, String>(vec![b'x'; 1 << 20])
        });
        async { Body::from_stream(chunk) }
    };
    let bomb = || async { "x".repeat(50 << 20) };
    let router = Router::new()
        .route("/big", get(chunks))
        .route("/bomb", get(bomb).layer(CompressionLayer::new()));
    let url = format!("http://{}", serve(router.clone()).await);
    for (http, url) in [
        (network(), url),
        (Http::in_process(router), "http://any".to_owned()),
    ] {
        for path in ["/big", "/bomb"] {
            let error = http
                .send(&request("GET", format!("{url}{path}")))
                .await
                .unwrap_err();
            assert_eq!(error, "the answer is bigger than 4 MiB", "{path}");
        }
    }
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 50, "{sent} MiB were sent in two requests");
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    let text = "compressed ".repeat(100);
    let expected = text.clone();
    let router = Router::new()
        .route("/", get(move || async move { text }))
        .layer(CompressionLayer::new());
    let url = format!("http://{}/", serve(router).await);
    let reply = network().send(&request("GET", url)).await.unwrap();
    assert_eq!(&*reply.body, expected.as_bytes());
}

#[tokio::test]
async fn a_redirect_is_followed_but_not_to_metadata() {
    let router = Router::new()
        .route("/there", get(|| async { "there" }))
        .route("/ok", get(|| async { Redirect::temporary("/there") }))
        .route(
            "/bad",
            get(|| async { Redirect::temporary("http://169.254.169.254/latest") }),
        )
        .route("/loop", get(|| async { Redirect::temporary("/loop") }));
    let url = format!("http://{}", serve(router).await);
    let http = network();
    let reply = http
        .send(&request("GET", format!("{url}/ok")))
        .await
        .unwrap();
    assert_eq!(&*reply.body, b"there");
    for (path, expected) in [
        (
            "/bad",
            "cannot follow a redirect: refused: 169.254.169.254 is a link-local or \
             instance-metadata address",
        ),
        ("/loop", "cannot follow a redirect: more than 10 redirects"),
    ] {
        let error = http
            .send(&request("GET", format!("{url}{path}")))
            .await
            .unwrap_err();
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn a_source_that_is_not_there_is_told_without_secrets() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let http = network();
    let web = http
        .send(&request(
            "GET",
            format!("http://me:secret@{closed}/?token=secret"),
        ))
        .await;
    let query = prometheus(format!("http://me:secret@{closed}"), QueryTime::At(1));
    let mut header = request("GET", "http://a");
    header.headers.set("X-Key", "secret\n");
    for (error, expected) in [
        (web.unwrap_err(), "cannot connect: "),
        (http.query(&query).await.unwrap_err(), "cannot connect: "),
        (
            http.send(&header).await.unwrap_err(),
            "the value of header X-Key has characters",
        ),
        (
            http.send(&request("G T", "http://a")).await.unwrap_err(),
            "not a method: G T",
        ),
    ] {
        assert!(
            error.contains(expected) && !error.contains("secret"),
            "{error}"
        );
    }
}

/// Counts requests, and answers when it is told to.
fn counting(count: Arc<AtomicUsize>, open: Arc<tokio::sync::Notify>) -> Router {
    Router::new().fallback(any(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let open = open.clone();
        async move {
            open.notified().await;
            number.to_string()
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn equal_questions_in_flight_are_asked_once() {
    let (count, open) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(tokio::sync::Notify::new()),
    );
    let http = Http::in_process(counting(count.clone(), open.clone()));
    let same = request("GET", "http://a/x");
    let mut other = same.clone();
    other.headers.set("X-Scope-OrgID", "other");
    let asked = join_all((0..100).map(|_| http.send(&same)));
    let posts = join_all((0..2).map(|_| {
        let post = request("POST", "http://a/x");
        let http = http.clone();
        async move { http.send(&post).await }
    }));
    let opener = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(
            count.load(Ordering::SeqCst),
            4,
            "one GET, one other, two POSTs"
        );
        open.notify_waiters();
    };
    let (replies, _, _, ()) = tokio::join!(asked, http.send(&other), posts, opener);
    let first = replies[0].clone().unwrap();
    assert!(replies.iter().all(|reply| reply.as_ref() == Ok(&first)));
    // What has landed is asked anew.
    open.notify_one();
    let again = http.send(&same).await.unwrap();
    assert_ne!(again, first);
    assert!(lock(&http.0.flights).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_nobody_waits_for_is_forgotten() {
    let (count, open) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(tokio::sync::Notify::new()),
    );
    let http = Http::in_process(counting(count.clone(), open.clone()));
    let same = request("GET", "http://a/x");
    for _ in 0..3 {
        let _ = tokio::time::timeout(Duration::from_secs(1), http.send(&same)).await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert!(lock(&http.0.flights).is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_host_gets_a_bounded_number_of_requests_at_a_time() {
    let (count, open) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(tokio::sync::Notify::new()),
    );
    let http = Http::in_process(counting(count.clone(), open.clone()));
    let asked = join_all((0..40).map(|number| {
        let http = http.clone();
        let host = if number < 30 { "a" } else { "b" };
        async move {
            http.send(&request("GET", format!("http://{host}/{number}")))
                .await
        }
    }));
    let opener = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(count.load(Ordering::SeqCst), 16 + 10);
        for _ in 0..3 {
            open.notify_waiters();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (replies, ()) = tokio::join!(asked, opener);
    assert!(replies.iter().all(Result::is_ok));
}

/// A token server and a source that takes its tokens.
#[derive(Clone, Default)]
struct Issuer {
    issued: Arc<AtomicUsize>,
    tried: Arc<AtomicUsize>,
    form_only: bool,
    withdrawn: Arc<AtomicUsize>,
}

async fn issue(
    State(issuer): State<Issuer>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    issuer.tried.fetch_add(1, Ordering::SeqCst);
    let basic = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap());
    let right = if issuer.form_only {
        form.get("client_id").is_some_and(|id| id == "me:1")
            && form
                .get("client_secret")
                .is_some_and(|secret| secret == "s e")
    } else {
        basic == Some("Basic bWUlM0ExOnMrZQ==")
    };
    if !right || form["grant_type"] != "client_credentials" || form["scope"] != "a b" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let number = issuer.issued.fetch_add(1, Ordering::SeqCst) + 1;
    Json(json!({"access_token": format!("t{number}"), "expires_in": "60"})).into_response()
}

async fn guarded(State(issuer): State<Issuer>, headers: HeaderMap) -> Response {
    let token = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap().to_owned());
    let withdrawn = format!("Bearer t{}", issuer.withdrawn.load(Ordering::SeqCst));
    if token.as_ref() == Some(&withdrawn) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    token.unwrap_or_default().into_response()
}

fn issuer_router(issuer: Issuer) -> Router {
    Router::new()
        .route("/token", post(issue))
        .route("/data", get(guarded))
        .with_state(issuer)
}

fn with_token() -> HttpRequest {
    let mut request = request("GET", "http://any/data");
    request.connection.oauth2 = Some(ClientCredentials {
        token_url: "http://any/token".into(),
        client_id: "me:1".into(),
        client_secret: "s e".into(),
        scope: "a b".into(),
        headers: Headers::default(),
    });
    request
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_until_shortly_before_its_end() {
    let issuer = Issuer::default();
    let http = Http::in_process(issuer_router(issuer.clone()));
    let mut used = Vec::new();
    for wait in [0, 0, 49, 2] {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let reply = http.send(&with_token()).await.unwrap();
        used.push(String::from_utf8_lossy(&reply.body).into_owned());
    }
    assert_eq!(used, ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"]);
    // A token that the source no longer takes is replaced at once.
    issuer.withdrawn.store(2, Ordering::SeqCst);
    assert_eq!(&*http.send(&with_token()).await.unwrap().body, b"Bearer t3");
    assert_eq!(issuer.tried.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn the_way_that_a_token_server_wants_is_remembered() {
    let issuer = Issuer {
        form_only: true,
        ..Issuer::default()
    };
    let http = Http::in_process(issuer_router(issuer.clone()));
    for _ in 0..3 {
        assert_eq!(http.send(&with_token()).await.unwrap().status, 200);
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    assert_eq!(
        issuer.tried.load(Ordering::SeqCst),
        4,
        "Basic was tried once"
    );
}

#[tokio::test]
async fn a_token_that_is_not_given_is_told_without_secrets() {
    let http = Http::in_process(issuer_router(Issuer::default()));
    let mut request = with_token();
    request.connection.oauth2.as_mut().unwrap().client_secret = "wrong-secret".into();
    let error = http.send(&request).await.unwrap_err();
    assert_eq!(
        error,
        "cannot get a token from http://any/token: answered 401"
    );
    request.connection.oauth2.as_mut().unwrap().token_url = "http://169.254.169.254/token".into();
    let error = http.send(&request).await.unwrap_err();
    assert!(error.contains("refused: 169.254.169.254"), "{error}");
}

#[tokio::test]
async fn retry_after_and_any_status_are_answers() {
    let busy = || async {
        (
            StatusCode::TOO_MANY_REQUESTS,
            [(header::RETRY_AFTER, "7")],
            "busy",
        )
    };
    let http = Http::in_process(Router::new().fallback(busy));
    let reply = http.send(&request("GET", "http://any/")).await.unwrap();
    assert_eq!(
        (reply.status, reply.retry_after.as_deref()),
        (429, Some("7"))
    );
    assert_eq!(&*reply.body, b"busy");
}

#[tokio::test]
async fn metadata_is_refused_within_the_process_too() {
    let http = Http::in_process(echo());
    let error = http
        .send(&request("GET", "http://169.254.169.254/"))
        .await
        .unwrap_err();
    assert!(error.starts_with("refused: "), "{error}");
    let address = "http://metadata.google.internal";
    let error = http
        .query(&prometheus(address, QueryTime::At(1)))
        .await
        .unwrap_err();
    assert!(error.starts_with("refused: "), "{error}");
}
