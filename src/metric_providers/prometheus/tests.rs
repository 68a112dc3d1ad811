use serde_json::{Value as Json, json};

use crate::expression::Value;

use super::super::tests::{context, message, metric, reply};
use super::super::{Action, Outcome, Provider, Reply, Settings};
use super::*;

const ADDRESS: &str = "http://me:pass@p:9090/base";

fn provider(fields: &Json) -> Result<Provider, String> {
    let mut written = json!({"address": ADDRESS, "query": "up"});
    for (name, value) in fields.as_object().unwrap() {
        written[name] = value.clone();
    }
    Provider::new(
        &metric(json!({"prometheus": written})),
        &context(&Settings::default()),
    )
}

fn asked(step: Step) -> PrometheusRequest {
    match step {
        Step::Ask(Request::Prometheus(request)) => request,
        other => panic!("no query: {other:?}"),
    }
}

fn request(fields: &Json) -> PrometheusRequest {
    asked(provider(fields).unwrap().start(Action::Run))
}

fn answered(status: u16, body: &str) -> Step {
    let mut provider = provider(&json!({})).unwrap();
    asked(provider.start(Action::Run));
    provider.next(Reply::Http(Ok(reply(status, body))))
}

fn success(result_type: &str, result: &Json) -> String {
    json!({"status": "success", "data": {"resultType": result_type, "result": result}}).to_string()
}

#[test]
fn a_query_is_asked_as_written() {
    let sent = request(&json!({"headers": [{"key": "X-Scope-OrgID", "value": "a"}]}));
    assert_eq!(sent.address, ADDRESS);
    assert_eq!(sent.query, "up");
    assert_eq!(sent.method, QueryMethod::Post);
    assert_eq!(sent.time, QueryTime::At(1_785_578_400));
    assert_eq!(
        sent.headers.iter().collect::<Vec<_>>(),
        [("X-Scope-OrgID", "a")]
    );
    assert_eq!(sent.connection.timeout, Duration::from_secs(30));
    assert!(!sent.connection.insecure && sent.connection.oauth2.is_none());
    let debug = format!("{:?}", provider(&json!({})).unwrap());
    assert!(!debug.contains("pass"), "{debug}");
    let metadata = provider(&json!({})).unwrap().metadata();
    assert_eq!(metadata["ResolvedPrometheusQuery"], "up");
}

#[test]
fn the_address_is_the_metrics_or_else_the_controllers() {
    for (written, default, expected) in [
        ("", Some("http://default:9090/"), Ok("http://default:9090")),
        (
            "https://own",
            Some("http://default:9090"),
            Ok("https://own"),
        ),
        ("http://p/base//", None, Ok("http://p/base")),
        ("", None, Err("is not configured")),
        ("", Some(""), Err("is not configured")),
        ("host:9090", None, Err("is not is url format")),
        ("//host:9090", None, Err("is not is url format")),
        ("http://", None, Err("is not is url format")),
        ("http://:9090", None, Err("is not is url format")),
        ("", Some("prometheus"), Err("is not is url format")),
    ] {
        let settings = Settings {
            prometheus_address: default.map(str::to_owned),
            ..Settings::default()
        };
        let written = json!({"prometheus": {"address": written, "query": "up"}});
        let made = Provider::new(&metric(written), &context(&settings));
        match (made, expected) {
            (Ok(mut made), Ok(address)) => {
                assert_eq!(asked(made.start(Action::Run)).address, address);
            }
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (made, expected) => panic!("{made:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn a_range_is_understood() {
    let range = json!({
        "start": "now() - duration(\"30m\")", "end": "now()", "step": "1m30s",
    });
    let expected = QueryTime::Range {
        start: 1_785_576_600,
        end: 1_785_578_400,
        step: Duration::from_secs(90),
    };
    assert_eq!(request(&json!({"rangeQuery": range})).time, expected);
    let broken = json!({"rangeQuery": {"start": "", "end": "1", "step": "0s"}, "timeout": -1});
    let error = provider(&broken).unwrap_err();
    for expected in [
        "rangeQuery.start",
        "rangeQuery.end",
        "rangeQuery.step",
        "timeout",
    ] {
        assert!(error.contains(expected), "{expected} in {error}");
    }
}

#[test]
fn the_time_limit_is_a_number_or_a_text() {
    for (written, expected) in [
        (json!(5), 5.0),
        (json!("45"), 45.0),
        (json!("1m30s"), 90.0),
        (json!("500ms"), 0.5),
        (json!(0), 0.0),
    ] {
        let sent = request(&json!({"timeout": written}));
        assert_eq!(sent.connection.timeout, Duration::from_secs_f64(expected));
    }
    assert!(
        provider(&json!({"timeout": "soon"}))
            .unwrap_err()
            .contains("timeout: `soon`")
    );
}

#[test]
fn authentication_is_layered_as_in_argo() {
    let basic = json!({"username": "u", "password": "p"});
    let oauth2 = json!({
        "tokenUrl": "http://t", "clientId": "i", "clientSecret": "s", "scopes": ["a", "b"],
    });
    let own = json!([{"key": "authorization", "value": "own"}]);
    for (fields, header, has_client) in [
        (
            json!({"authentication": {"basicAuth": basic}}),
            Some("Basic dTpw"),
            false,
        ),
        (
            json!({"authentication": {"basicAuth": basic, "oauth2": oauth2}}),
            None,
            true,
        ),
        (
            json!({"authentication": {"basicAuth": basic, "oauth2": oauth2}, "headers": own}),
            Some("own"),
            false,
        ),
    ] {
        let sent = request(&fields);
        assert_eq!(
            sent.headers.iter().next().map(|(_, value)| value),
            header,
            "{fields}"
        );
        assert_eq!(sent.connection.oauth2.is_some(), has_client, "{fields}");
    }
    let headers = json!([{"key": "X-A", "value": "1"}]);
    let sent = request(&json!({"authentication": {"oauth2": oauth2}, "headers": headers}));
    let client = sent.connection.oauth2.unwrap();
    assert_eq!(
        (client.scope.as_str(), client.headers.has("x-a")),
        ("a b", true)
    );
}

#[test]
fn a_signature_is_never_silently_left_out() {
    let sigv4 = json!({"sigv4": {"region": "eu-central-1"}});
    let amazon = "https://aps-workspaces.eu-central-1.amazonaws.com/workspaces/ws-1";
    let fields = json!({"address": amazon, "authentication": sigv4});
    assert!(
        provider(&fields)
            .unwrap_err()
            .contains("sigv4: not supported yet")
    );
    let mut elsewhere = provider(&json!({"authentication": sigv4})).unwrap();
    asked(elsewhere.start(Action::Run));
    let answer = reply(200, &success("vector", &json!([])));
    let Step::Done(reading) = elsewhere.next(Reply::Http(Ok(answer))) else {
        panic!("not done")
    };
    assert!(reading.metadata["warnings"].contains("sigv4 is ignored"));
}

#[test]
fn values_are_read_and_written_exactly() {
    let sample = |value: &str| json!({"metric": {"a": "b"}, "value": [1.5, value]});
    let series = |values: &[&str]| {
        let values: Vec<Json> = values.iter().map(|value| json!([1, value])).collect();
        json!({"metric": {}, "values": values})
    };
    for (result_type, result, floats, text) in [
        ("scalar", json!([1.5, "0.1"]), None, "0.1"),
        (
            "scalar",
            json!([1, "1e+21"]),
            None,
            "1000000000000000000000",
        ),
        ("scalar", json!([1, "NaN"]), None, "NaN"),
        ("scalar", json!([1, "+Inf"]), None, "+Inf"),
        ("scalar", json!([1, "-Inf"]), None, "-Inf"),
        ("vector", json!([]), Some(vec![]), "[]"),
        (
            "vector",
            json!([sample("0.95"), sample("1")]),
            Some(vec![0.95, 1.0]),
            "[0.95,1]",
        ),
        (
            "matrix",
            json!([series(&["1", "2"]), series(&[]), series(&["3e-7"])]),
            Some(vec![1.0, 2.0, 3e-7]),
            "[1,2,0.0000003]",
        ),
    ] {
        let step = answered(200, &success(result_type, &result));
        let Step::Done(Reading {
            outcome: Outcome::Value { value, text: got },
            metadata,
        }) = step
        else {
            panic!("no value: {step:?}");
        };
        assert_eq!(got, text);
        match (floats, value) {
            (Some(floats), value) => assert_eq!(value, Value::Floats(floats)),
            (None, Value::Float(_)) => {}
            (None, other) => panic!("not a float: {other:?}"),
        }
        assert!(metadata.is_empty());
    }
}

#[test]
fn warnings_are_told() {
    let body = json!({
        "status": "success", "warnings": ["w1", "w2"], "infos": ["i"],
        "data": {"resultType": "vector", "result": []},
    });
    let Step::Done(reading) = answered(200, &body.to_string()) else {
        panic!("not done")
    };
    assert_eq!(reading.metadata["warnings"], "\"w1\", \"w2\"");
}

fn says(status: u16, body: &str, expected: &str) {
    let step = answered(status, body);
    let message = message(&step);
    assert!(
        message.starts_with("prometheus http://p:9090/base: "),
        "{message}"
    );
    assert!(message.contains(expected), "{message}");
}

#[test]
fn what_is_no_number_is_an_error_that_says_so() {
    let histogram = json!([1, {"count": "1", "sum": "1", "buckets": []}]);
    let sample = json!([{"metric": {}, "histogram": histogram}]);
    let series = json!([{"metric": {}, "histograms": [histogram]}]);
    says(
        200,
        &success("string", &json!([1, "x"])),
        "the result is a string",
    );
    says(200, &success("vector", &sample), "native histograms");
    says(200, &success("matrix", &series), "native histograms");
    says(
        200,
        &success("scalar", &json!([1, "many"])),
        "not a number: many",
    );
    says(
        200,
        &success("tensor", &json!([])),
        "the answer is not one of Prometheus",
    );
    says(200, "<html>\nLogin", "not one of Prometheus: <html> Login");
    says(200, r#"{"status":"success"}"#, "the answer has no data");
}

#[test]
fn what_prometheus_refuses_is_told_in_its_words() {
    let refusal = |kind: &str, error: &str| {
        json!({"status": "error", "errorType": kind, "error": error}).to_string()
    };
    says(
        400,
        &refusal("bad_data", "parse error: x"),
        ": bad_data: parse error: x",
    );
    says(
        422,
        &refusal("execution", "too many samples"),
        ": execution: too many samples",
    );
    says(
        503,
        &refusal("timeout", "too slow"),
        "non 2xx response code: 503: timeout: too slow",
    );
    says(
        502,
        "Bad Gateway",
        "received non 2xx response code: 502: Bad Gateway",
    );
    says(500, "", "received non 2xx response code: 500");
}

#[test]
fn a_server_that_refuses_post_is_asked_by_get_once() {
    for status in [403, 405, 501] {
        let mut provider = provider(&json!({})).unwrap();
        let first = asked(provider.start(Action::Run));
        let second = asked(provider.next(Reply::Http(Ok(reply(status, "no")))));
        assert_eq!(
            second,
            PrometheusRequest {
                method: QueryMethod::Get,
                ..first
            }
        );
        let step = provider.next(Reply::Http(Ok(reply(status, "no"))));
        assert!(message(&step).ends_with(&format!("code: {status}: no")));
    }
}

#[test]
fn no_answer_and_too_many_requests_are_told() {
    let mut hanging = provider(&json!({})).unwrap();
    asked(hanging.start(Action::Run));
    let step = hanging.next(Reply::Http(Err("no answer within 30s".into())));
    assert_eq!(
        message(&step),
        "prometheus http://p:9090/base: no answer within 30s"
    );
    let mut busy = provider(&json!({})).unwrap();
    asked(busy.start(Action::Run));
    let answer = HttpReply {
        retry_after: Some("120".into()),
        ..reply(429, "slow down")
    };
    let Step::Done(reading) = busy.next(Reply::Http(Ok(answer))) else {
        panic!("not done")
    };
    let Outcome::Failed {
        message,
        retry_after,
    } = reading.outcome
    else {
        panic!("not failed")
    };
    assert!(message.ends_with("429: slow down"), "{message}");
    assert_eq!(retry_after, Some(Duration::from_mins(2)));
}
