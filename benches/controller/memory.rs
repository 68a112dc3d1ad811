//! The memory of a `verdict controller` process that works on many runs: a program of its own,
//! beside a `verdict cluster`, over real sockets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::net::TcpListener;
use tokio::time::sleep;
use verdict::api::AnalysisRun;

/// A process that ends with its owner.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("the program starts"))
    }

    /// Memory that is in RAM, in KiB (Linux; 0 elsewhere).
    fn resident_kib(&self) -> u32 {
        let path = format!("/proc/{}/status", self.0.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Resident memory of the controller, in KiB: with no run, and once each of so many has been
/// measured three times.
pub(crate) async fn of(runs: u32, run: impl Fn(u32, &str) -> AnalysisRun) -> (u32, u32) {
    let source = serve_source().await;
    let kubeconfig = std::env::temp_dir().join(format!("verdict-bench-{}", std::process::id()));
    let at = kubeconfig.to_str().expect("the path is text");
    let _cluster = Process::start(&["cluster", "--kubeconfig", at]);
    let client = client(&kubeconfig).await;
    let controller = Process::start(&[
        "controller",
        "--controllers",
        "analysis",
        "--kubeconfig",
        at,
        "--loglevel",
        "error",
        "--metrics-port",
        "0",
        "--healthz-port",
        "0",
    ]);
    sleep(Duration::from_secs(3)).await;
    let idle = controller.resident_kib();
    let api = Api::<AnalysisRun>::namespaced(client, "default");
    for number in 0..runs {
        let run = run(number, &source);
        api.create(&PostParams::default(), &run)
            .await
            .expect("it is valid");
    }
    while !all_measured(&api, runs).await {
        sleep(Duration::from_secs(2)).await;
    }
    let busy = controller.resident_kib();
    let _ = fs::remove_file(PathBuf::from(at));
    (idle, busy)
}

async fn serve_source() -> String {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let router = Router::new().fallback(get(|| async { "0.99" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn client(kubeconfig: &Path) -> Client {
    loop {
        if let Ok(read) = Kubeconfig::read_from(kubeconfig) {
            let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
            return Client::try_from(config.expect("it is complete")).expect("it has a client");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn all_measured(api: &Api<AnalysisRun>, runs: u32) -> bool {
    let listed = api
        .list(&ListParams::default())
        .await
        .expect("they can be listed")
        .items;
    let measured = listed.iter().filter(|run| {
        let results = run.status.iter().flat_map(|status| &status.metric_results);
        results.map(|result| result.count).sum::<i32>() >= 3
    });
    u32::try_from(measured.count()) == Ok(runs)
}
