//! What the embedded API server does a second, and what it takes in memory. Prints figures and
//! asserts nothing about them.
//!
//! In-process, requests go to the server's router one after the other, so the figures are the cost
//! of one request on one core. Over a socket, the server is a process of its own and eight
//! connections ask at once; memory is that process's.
#![expect(clippy::print_stdout, reason = "a benchmark tells what it measured")]

mod requests;
mod socket;

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures::StreamExt as _;
use tower::ServiceExt as _;
use verdict::apiserver::Server;
use verdict::clock::Clock;

use self::requests::{Ask, apply, create, get, list, merge, strategic, watch};

/// Objects that are there when most is measured.
const OBJECTS: usize = 10_000;

/// Requests of each kind.
const REQUESTS: usize = 5_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the operating system grants threads");
    if std::env::args().any(|argument| argument == socket::SERVE) {
        return runtime.block_on(socket::serve());
    }
    runtime.block_on(async {
        println!("in-process, one request after the other");
        in_process().await;
        println!("over a socket, {} connections", socket::CONNECTIONS);
        socket::measure().await;
    });
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// Prints how often something was done a second.
fn tell(what: &str, times: usize, took: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let rate = times as f64 / took.as_secs_f64();
    let each = took / u32::try_from(times).unwrap_or(u32::MAX);
    println!("{what:>38}: {rate:>9.0}/s, {each:>9.1?} each");
}

async fn send(router: &Router, ask: Ask) -> usize {
    let request = Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header("content-type", ask.media)
        .body(Body::from(ask.body))
        .expect("it is complete");
    let answer = router.clone().oneshot(request).await;
    let answer = answer.expect("it never fails");
    assert!(answer.status().is_success(), "{}", answer.status());
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
    body.expect("it is in memory").len()
}

async fn many(router: &Router, what: &str, times: usize, ask: impl Fn(usize) -> Ask) {
    let began = now();
    for index in 0..times {
        send(router, ask(index)).await;
    }
    tell(what, times, began.elapsed());
}

async fn in_process() {
    let server = Server::new(Clock::system());
    let router = server.router();
    many(&router, "creates", OBJECTS, create).await;
    many(&router, "gets", REQUESTS, get).await;
    many(&router, "merge patches", REQUESTS, merge).await;
    many(&router, "strategic merge patches", REQUESTS, strategic).await;
    many(&router, "applies", REQUESTS, apply).await;
    let size = send(&router, list("")).await;
    println!("{:>38}: {} KiB", "a list of all objects", size / 1024);
    many(&router, "lists of 10,000", 20, |_| list("")).await;
    many(&router, "lists of 10,000, 100 selected", 20, |_| {
        list("?labelSelector=hundred%3D7")
    })
    .await;
    for watches in [1, 100, 1_000] {
        watched(&router, watches).await;
    }
}

/// Changes objects while watches are open, each of which reads every event.
async fn watched(router: &Router, watches: usize) {
    let changes = 200_000 / (watches + 100);
    let mut open = Vec::new();
    for _ in 0..watches {
        open.push(events(router).await);
    }
    let began = now();
    for index in 0..changes {
        send(router, merge(index)).await;
    }
    let sent = began.elapsed();
    for events in &mut open {
        read(events, changes).await;
    }
    let what = format!("events, {watches} watches");
    tell(&what, changes * watches, began.elapsed());
    tell("  the changes alone", changes, sent);
}

async fn events(router: &Router) -> BodyDataStream {
    let ask = watch();
    let request = Request::builder().uri(ask.path).body(Body::empty());
    let request = request.expect("it is complete");
    let answer = router.clone().oneshot(request).await;
    answer
        .expect("it never fails")
        .into_body()
        .into_data_stream()
}

/// Reads so many lines.
async fn read(events: &mut BodyDataStream, count: usize) {
    let mut left = count;
    while left > 0 {
        let chunk = events.next().await.expect("the watch is open");
        let chunk = chunk.expect("it does not fail");
        left -= lines(&chunk).min(left);
    }
}

/// How many lines end here.
fn lines(chunk: &[u8]) -> usize {
    chunk.split(|byte| *byte == b'\n').count() - 1
}
