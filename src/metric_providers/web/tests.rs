use serde_json::{Value as Json, json};

use super::super::tests::{context, message, metric, reply};
use super::super::{Action, Outcome, Provider, Reply, Settings};
use super::*;

fn provider(fields: &Json) -> Result<Provider, String> {
    let mut written = json!({"url": "https://me:pass@host/path?token=t"});
    for (name, value) in fields.as_object().unwrap() {
        written[name] = value.clone();
    }
    Provider::new(
        &metric(json!({"web": written})),
        &context(&Settings::default()),
    )
}

fn request(fields: &Json) -> HttpRequest {
    match provider(fields).unwrap().start(Action::Run) {
        Step::Ask(Request::Http(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

fn answered(fields: &Json, status: u16, body: &str) -> Step {
    let mut provider = provider(fields).unwrap();
    provider.start(Action::Run);
    provider.next(Reply::Http(Ok(reply(status, body))))
}

#[test]
fn a_request_is_sent_as_written() {
    let sent = request(&json!({}));
    assert_eq!((sent.method.as_str(), sent.body.as_deref()), ("GET", None));
    assert_eq!(sent.url, "https://me:pass@host/path?token=t");
    assert_eq!(sent.headers.iter().count(), 0);
    assert_eq!(sent.connection.timeout, Duration::from_secs(10));
    let debug = format!("{sent:?} {:?}", provider(&json!({})).unwrap());
    assert!(
        !debug.contains("pass") && !debug.contains("token"),
        "{debug}"
    );
    let sent = request(&json!({
        "method": "POST",
        "jsonBody": {"b": [1, null], "a": "x"},
        "headers": [{"key": "content-type", "value": "text/x"}, {"key": "X-A", "value": "1"}],
        "timeoutSeconds": 3,
        "insecure": true,
    }));
    assert_eq!(sent.body.as_deref(), Some(r#"{"a":"x","b":[1,null]}"#));
    let headers: Vec<_> = sent.headers.iter().collect();
    assert_eq!(
        headers,
        [("X-A", "1"), ("Content-Type", "application/json")]
    );
    assert_eq!(sent.connection.timeout, Duration::from_secs(3));
    assert!(sent.connection.insecure);
    let sent = request(&json!({"method": "purge", "body": "text"}));
    assert_eq!(
        (sent.method.as_str(), sent.body.as_deref()),
        ("purge", Some("text"))
    );
}

#[test]
fn a_time_limit_of_nothing_is_the_default() {
    for (written, expected) in [(json!(0), 10.0), (json!(-5), 10.0), (json!("250ms"), 0.25)] {
        let sent = request(&json!({"timeoutSeconds": written}));
        assert_eq!(sent.connection.timeout, Duration::from_secs_f64(expected));
    }
}

#[test]
fn the_ways_to_identify_are_honoured() {
    let basic = json!({"username": "u", "password": "p"});
    let sent = request(&json!({"authentication": {"basicAuth": basic}}));
    assert_eq!(
        sent.headers.iter().collect::<Vec<_>>(),
        [("Authorization", "Basic dTpw")]
    );
    let oauth2 = json!({"tokenUrl": "http://t", "clientId": "i", "clientSecret": "s"});
    let sent = request(&json!({"authentication": {"oauth2": oauth2, "basicAuth": basic}}));
    assert!(
        sent.connection
            .oauth2
            .is_some_and(|client| client.scope.is_empty())
    );
    assert!(!sent.headers.has("authorization"));
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let error = provider(&json!({
        "url": "",
        "body": "x",
        "jsonBody": {},
        "jsonPath": "{a}",
        "timeoutSeconds": "soon",
        "authentication": {"sigv4": {"region": "x"}, "basicAuth": {"username": "u"}},
    }))
    .unwrap_err();
    for expected in [
        "url: required",
        "either body or jsonBody",
        "another method than GET",
        "jsonPath: has an unrecognized identifier `a`",
        "timeoutSeconds: `soon`",
        "sigv4: not supported",
        "basicAuth.password: missing",
    ] {
        assert!(error.contains(expected), "{expected} in {error}");
    }
}

#[test]
fn an_answer_is_read_as_in_argo() {
    for (body, path, text, value) in [
        (r#"{"a":null}"#, "{$.a}", "null", Value::Nil),
        ("null", "{$}", "null", Value::Nil),
        (r#"{"a":1.50}"#, "{$.a}", "1.5", Value::Float(1.5)),
        (r#"{"a":[1,2]}"#, "{$.a[*]}", "1", Value::Float(1.0)),
        (r#""hello""#, "", r#""hello""#, Value::from("hello")),
        ("hello", "", "hello", Value::from("hello")),
        ("hello", "{$.a}", "hello", Value::from("hello")),
        ("", "{$.a}", "", Value::from("")),
        (r#"{"a":true}"#, "{.a}", "true", Value::Bool(true)),
        (
            r#"{"a":"<&>"}"#,
            "{.a}",
            r#""\u003c\u0026\u003e""#,
            Value::from("<&>"),
        ),
        (r#"{"a":1}"#, "$.a", r#""$.a""#, Value::from("$.a")),
    ] {
        let step = answered(&json!({"jsonPath": path}), 200, body);
        let Step::Done(Reading {
            outcome:
                Outcome::Value {
                    value: got,
                    text: shown,
                },
            metadata,
        }) = step
        else {
            panic!("{body} {path}: {step:?}");
        };
        assert_eq!((shown.as_str(), got), (text, value), "{body} {path}");
        assert_eq!(metadata.contains_key("warnings"), path == "$.a");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    for (path, status, body, expected) in [
        (
            "{$.b}",
            200,
            r#"{"a":1}"#,
            "web https://host/path: could not find JSONPath in body",
        ),
        (
            "{$}",
            404,
            "no\nsuch page",
            "web https://host/path: received non 2xx response code: 404: no such page",
        ),
        (
            "{$}",
            304,
            "",
            "web https://host/path: received non 2xx response code: 304",
        ),
        (
            "{$}",
            200,
            deep.as_str(),
            "web https://host/path: the JSON in the body is nested too deeply",
        ),
    ] {
        let step = answered(&json!({"jsonPath": path}), status, body);
        assert_eq!(message(&step), expected);
    }
}

#[test]
fn a_source_that_answers_at_once_is_never_in_flight() {
    let mut call = provider(&json!({})).unwrap();
    assert!(matches!(call.start(Action::Resume), Step::Ask(_)));
    let Step::Done(reading) = call.start(Action::Terminate) else {
        panic!("not done")
    };
    assert!(matches!(reading.outcome, Outcome::Settled { .. }));
}
