//! The same over a socket, against a server in a process of its own, and the memory of that.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use reqwest::{Client, Method, Response};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use verdict::apiserver::Server;
use verdict::clock::Clock;

use super::requests::{Ask, apply, create, get, list, merge, strategic, watch};
use super::{OBJECTS, REQUESTS, lines, now, tell};

/// Connections that ask at once.
pub(crate) const CONNECTIONS: usize = 8;

/// The argument with which this program is the server.
pub(crate) const SERVE: &str = "serve";

/// Serves an API server with nothing beside it, and says where.
pub(crate) async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    println!("http://{address}");
    let router = Server::new(Clock::system()).router();
    verdict::apiserver::serve(listener, router, CancellationToken::new()).await;
}

/// A server in a process of its own, which ends with its owner.
struct Cluster {
    process: Child,
    url: String,
    http: Client,
}

impl Cluster {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut process = Command::new(program)
            .arg(SERVE)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut url = String::new();
        let mut said = BufReader::new(process.stdout.as_mut().expect("it is piped"));
        said.read_line(&mut url).expect("it says where it listens");
        Self {
            process,
            url: url.trim().to_owned(),
            http: Client::builder()
                .no_proxy()
                .build()
                .expect("it needs nothing"),
        }
    }

    async fn send(&self, ask: Ask) -> Response {
        let method = Method::from_bytes(ask.method.as_bytes()).expect("it is a method");
        let request = self
            .http
            .request(method, format!("{}{}", self.url, ask.path))
            .header("content-type", ask.media)
            .body(ask.body);
        let response = request.send().await.expect("the cluster answers");
        assert!(response.status().is_success(), "{}", response.status());
        response
    }

    /// Asks so often, on all connections at once.
    async fn many(&self, what: &str, times: usize, ask: impl Fn(usize) -> Ask) {
        let next = AtomicUsize::new(0);
        let began = now();
        let connection = || async {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= times {
                    break;
                }
                let response = self.send(ask(index)).await;
                response.bytes().await.expect("the answer is whole");
            }
        };
        join_all((0..CONNECTIONS).map(|_| connection())).await;
        tell(what, times, began.elapsed());
    }

    /// Memory that is in RAM, in KiB (Linux; 0 elsewhere).
    fn resident_kib(&self) -> usize {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn measure() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = Arc::new(Cluster::start());
    let empty = cluster.resident_kib();
    println!("{:>38}: {empty} KiB resident", "an empty server");
    cluster.many("creates", OBJECTS, create).await;
    let full = cluster.resident_kib();
    let each = (full - empty) * 1024 / OBJECTS;
    println!(
        "{:>38}: {full} KiB resident, {each} bytes each",
        "10,000 objects"
    );
    cluster.many("gets", REQUESTS, get).await;
    cluster.many("merge patches", REQUESTS, merge).await;
    cluster
        .many("strategic merge patches", REQUESTS, strategic)
        .await;
    cluster.many("applies", REQUESTS, apply).await;
    cluster.many("lists of 10,000", 20, |_| list("")).await;
    let before = cluster.resident_kib();
    println!("{:>38}: {before} KiB resident", "after all these");
    let read = Arc::new(AtomicUsize::new(0));
    let watches = (0..1_000).map(|_| open(&cluster, &read));
    let watches = join_all(watches).await;
    let open = cluster.resident_kib();
    let each = (open.saturating_sub(before)) * 1024 / watches.len();
    println!(
        "{:>38}: {open} KiB resident, {each} bytes each",
        "1,000 open watches"
    );
    let began = now();
    for index in 0..100 {
        cluster.send(merge(index)).await;
    }
    while read.load(Ordering::Relaxed) < 100 * watches.len() {
        sleep(Duration::from_millis(1)).await;
    }
    tell(
        "events, 1,000 watches",
        100 * watches.len(),
        began.elapsed(),
    );
    let after = cluster.resident_kib();
    println!("{:>38}: {after} KiB resident", "after these events");
}

/// Opens a watch whose events are counted.
async fn open(cluster: &Arc<Cluster>, read: &Arc<AtomicUsize>) -> tokio::task::JoinHandle<()> {
    let response = cluster.send(watch()).await;
    let read = Arc::clone(read);
    tokio::spawn(async move {
        let mut chunks = response.bytes_stream();
        while let Some(Ok(chunk)) = chunks.next().await {
            read.fetch_add(lines(&chunk), Ordering::Relaxed);
        }
    })
}
