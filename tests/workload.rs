//! The simulated workload under real load, as its metrics show it. Real sockets, real clock:
//! everything here waits for conditions, with a deadline, and never for a time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use verdict::simulation::prometheus::Prometheus;
use verdict::simulation::workload::{
    Behaviour, Endpoint, Load, MetricLabels, PodSelection, Seen, Workload, follow_pods,
};

use crate::tools::tool;

const DEADLINE: Duration = Duration::from_mins(1);

/// Polls until there is an answer that fits; fails with the last one otherwise.
async fn eventually<T: std::fmt::Debug>(
    what: &str,
    mut ask: impl AsyncFnMut() -> T,
    fits: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = ask().await;
        if fits(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: still {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn labels(hash: &str) -> MetricLabels {
    MetricLabels {
        service: "web".to_owned(),
        version: hash.to_owned(),
        pod_template_hash: hash.to_owned(),
    }
}

fn behaviour(millis: u64, error_rate: f64) -> Behaviour {
    Behaviour {
        latency: Duration::from_millis(millis),
        error_rate,
        ..Behaviour::default()
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn get_json(url: &str, query: &[(&str, &str)]) -> Value {
    let response = client().get(url).query(query).send().await.unwrap();
    response.json().await.unwrap()
}

/// Three instances of `good`, which never fails, and one of `bad`, which fails every other time.
async fn two_versions() -> Workload {
    let workload = Workload::start().await.unwrap();
    for name in ["good-1", "good-2", "good-3"] {
        let behaviour = behaviour(5, 0.0);
        workload
            .start_instance(name, labels("good"), behaviour)
            .await
            .unwrap();
    }
    workload
        .start_instance("bad-1", labels("bad"), behaviour(5, 0.5))
        .await
        .unwrap();
    workload
}

/// The load on a workload until it is dropped.
struct Running {
    load: Arc<Load>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(workload: &Workload, per_second: u32) -> Self {
        let per_second = NonZeroU32::new(per_second).unwrap();
        let load = Arc::new(Load::new(workload, per_second).unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (load, stop) = (load.clone(), stop.clone());
            async move { load.run(stop).await }
        });
        Self { load, stop, task }
    }

    async fn stop(self) -> Arc<Load> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.load
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_shared_by_instances_and_fails_as_scripted() {
    let workload = two_versions().await;
    let running = Running::start(&workload, 400);
    eventually(
        "200 requests to `bad`",
        async || {
            running
                .load
                .seen()
                .get("bad")
                .map_or(0, |seen| seen.requests)
        },
        |requests| *requests >= 200,
    )
    .await;
    let seen = running.stop().await.seen();

    let (good, bad) = (seen["good"], seen["bad"]);
    let unanswered = bad.timed_out + bad.cut_off;
    assert_eq!((good.failed(), unanswered), (0, 0));
    assert!(good.requests.abs_diff(3 * bad.requests) <= 3, "{seen:?}");
    assert!((2 * bad.errors).abs_diff(bad.requests) <= 1, "{seen:?}");

    let stats = get_json(
        &workload.stats_url(),
        &[("version", "bad"), ("window", "5m")],
    )
    .await;
    assert_eq!(stats["requests"], bad.requests);
    assert_eq!(stats["errors"], bad.errors);
    assert_eq!(stats["windowSeconds"], 300.0);
    let p99 = stats["p99LatencySeconds"].as_f64().unwrap();
    assert!((0.0045..2.0).contains(&p99), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_leave_and_come_lose_no_request() {
    let workload = two_versions().await;
    let running = Running::start(&workload, 400);
    let requests = async |hash| {
        let load = running.load.seen();
        load.get(hash).map_or(0, |seen| seen.requests)
    };
    eventually("old", async || requests("good").await, |n| *n >= 50).await;
    for (leaves, comes) in [
        ("good-1", "new-1"),
        ("good-2", "new-2"),
        ("good-3", "new-3"),
    ] {
        workload
            .start_instance(comes, labels("new"), behaviour(5, 0.0))
            .await
            .unwrap();
        workload.stop_instance(leaves);
    }
    eventually("new", async || requests("new").await, |n| *n >= 300).await;
    let seen = running.stop().await.seen();
    let unanswered = |seen: &Seen| seen.timed_out + seen.cut_off;
    assert!(seen.values().all(|seen| unanswered(seen) == 0), "{seen:?}");
}

#[tokio::test]
async fn the_workload_tells_about_itself() {
    let workload = two_versions().await;
    let unknown = get_json(&workload.stats_url(), &[("version", "none")]).await;
    assert_eq!(unknown["requests"], 0);
    assert_eq!(unknown["successRate"], Value::Null);

    let asked = [("window", "0s")];
    let refused = client().get(workload.stats_url()).query(&asked).send();
    let refused = refused.await.unwrap();
    assert_eq!(refused.status(), 400);
    let text = refused.text().await.unwrap();
    assert!(text.contains("version: Required value"), "{text}");
    assert!(text.contains("window: Invalid value: \"0s\""), "{text}");

    let targets = get_json(&workload.targets_url(), &[]).await;
    let expected: Vec<Value> = workload
        .endpoints()
        .iter()
        .map(|e| json!({"targets": [e.address.to_string()], "labels": {"pod": e.name}}))
        .collect();
    assert_eq!(targets, Value::from(expected));
}

#[tokio::test]
async fn an_instance_changes_its_behaviour_and_leaves() {
    let workload = two_versions().await;
    let address = workload.endpoints()[0].address;
    assert_eq!(workload.endpoints()[0].name, "bad-1");
    let fails = async || {
        let response = client().get(format!("http://{address}/")).send().await;
        response.unwrap().status() == 500
    };
    let same = workload
        .start_instance("bad-1", labels("bad"), behaviour(1, 1.0))
        .await
        .unwrap();
    assert_eq!(same, address);
    assert!(fails().await && fails().await);

    assert!(workload.stop_instance("bad-1"));
    assert!(!workload.stop_instance("bad-1"));
    assert!(workload.endpoints().iter().all(|e| e.name != "bad-1"));
    eventually(
        "a stopped instance refuses",
        async || {
            client()
                .get(format!("http://{address}/"))
                .send()
                .await
                .is_err()
        },
        |refused| *refused,
    )
    .await;
}

/// The value of a query with one number as its answer.
async fn number(prometheus: &Prometheus, query: &str) -> Option<f64> {
    let url = format!("{}/api/v1/query", prometheus.url());
    let answer = get_json(&url, &[("query", query)]).await;
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"]["result"][0]["value"][1]
        .as_str()
        .map(|text| text.parse().unwrap())
}

fn success_rate(hash: &str) -> String {
    let of = |more: &str| {
        format!(r#"sum(rate(http_requests_total{{pod_template_hash="{hash}"{more}}}[5s]))"#)
    };
    format!("{} / {}", of(r#",code!~"5.*""#), of(""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_sees_the_scripted_rates() {
    let Some(program) = tool("prometheus") else {
        return;
    };
    let workload = two_versions().await;
    workload
        .start_instance("idle-1", labels("idle"), behaviour(5, 0.0))
        .await
        .unwrap();
    let prometheus = Prometheus::start(&program, &workload.targets_url())
        .await
        .unwrap();
    // Counters that do not move: a rate of 0 / 0.
    eventually(
        "no requests give NaN",
        async || number(&prometheus, &success_rate("idle")).await,
        |rate| rate.is_some_and(f64::is_nan),
    )
    .await;
    assert_eq!(number(&prometheus, &success_rate("unknown")).await, None);
    workload.stop_instance("idle-1");

    let running = Running::start(&workload, 200);
    for (hash, expected) in [("good", 1.0), ("bad", 0.5)] {
        eventually(
            hash,
            async || number(&prometheus, &success_rate(hash)).await,
            |rate| rate.is_some_and(|rate| (rate - expected).abs() < 0.02),
        )
        .await;
    }
    let p99 = "histogram_quantile(0.99, sum by (le) \
        (rate(http_request_duration_seconds_bucket{service=\"web\"}[5s])))";
    let p99 = eventually(
        "p99 latency",
        async || number(&prometheus, p99).await,
        Option::is_some,
    )
    .await;
    assert!(
        p99.is_some_and(|p99| (0.001..2.0).contains(&p99)),
        "{p99:?}"
    );
    running.stop().await;
}

/// Just enough of an API server to list and watch pods.
#[derive(Clone)]
struct Pods {
    listed: Arc<Mutex<Vec<Value>>>,
    events: broadcast::Sender<Value>,
}

fn a_pod(name: &str, error_rate: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "resourceVersion": "1",
            "labels": {"app": "web", "rollouts-pod-template-hash": "7d4"},
            "annotations": {"simulation.verdict.dev/error-rate": error_rate},
        },
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

async fn pods(State(pods): State<Pods>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    assert_eq!(query["labelSelector"], "app=web");
    if query.get("watch").is_some_and(|watch| watch == "true") {
        let lines = BroadcastStream::new(pods.events.subscribe())
            .map(|event| Ok::<_, Infallible>(Bytes::from(format!("{}\n", event.unwrap()))));
        return Body::from_stream(lines).into_response();
    }
    let items = pods.listed.lock().unwrap().clone();
    let list = json!({
        "apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": items,
    });
    Json(list).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_follow_pods() {
    let (events, _) = broadcast::channel(16);
    let listed = Arc::new(Mutex::new(vec![
        a_pod("web-1", "0", "True"),
        a_pod("web-2", "0", "False"),
        a_pod("web-3", "often", "True"),
    ]));
    let state = Pods {
        listed: listed.clone(),
        events: events.clone(),
    };
    let router = Router::new()
        .route("/api/v1/namespaces/shop/pods", get(pods))
        .with_state(state);
    let workload = Arc::new(Workload::start().await.unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let (workload, stop) = (workload.clone(), stop.clone());
        let selection = PodSelection {
            namespace: "shop".to_owned(),
            label_selector: "app=web".to_owned(),
        };
        async move {
            let client = kube::Client::new(router, "default");
            follow_pods(client, &selection, &workload, stop).await;
        }
    });
    let mut endpoints = workload.watch_endpoints();
    let mut until = async |expected: &[&str]| {
        let names = |e: &Arc<[Endpoint]>| e.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        let reached = endpoints.wait_for(|e| names(e) == expected);
        let reached = tokio::time::timeout(DEADLINE, reached).await;
        assert!(reached.is_ok(), "never {expected:?}");
    };
    let tell = async |kind: &str, pod: Value| {
        eventually("a watch", async || events.receiver_count(), |n| *n > 0).await;
        events.send(json!({"type": kind, "object": pod})).unwrap();
    };
    until(&["web-1"]).await;
    tell("MODIFIED", a_pod("web-2", "0", "True")).await;
    until(&["web-1", "web-2"]).await;
    let mut leaving = a_pod("web-1", "0", "True");
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    tell("MODIFIED", leaving).await;
    until(&["web-2"]).await;
    tell("ADDED", a_pod("web-4", "0", "True")).await;
    until(&["web-2", "web-4"]).await;
    tell("DELETED", a_pod("web-2", "0", "True")).await;
    until(&["web-4"]).await;

    // The watch breaks; meanwhile web-4 went and web-5 came.
    *listed.lock().unwrap() = vec![a_pod("web-5", "0", "True")];
    let expired = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired",
        "message": "too old resource version"});
    tell("ERROR", expired).await;
    until(&["web-5"]).await;

    stop.cancel();
    task.await.unwrap();
}
