//! A `verdict controller` process beside a cluster that this program serves: what it takes, and what
//! it asks for.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use verdict::api::crds;
use verdict::apiserver::{Access, Server};
use verdict::clock::Clock;

/// The name by which requests of this program are known.
const US: &str = "bench";

/// Ticks of `/proc/PID/stat` in a second, on every Linux that there is.
const TICKS: u32 = 100;

/// How long nothing may happen before the controller counts as quiet.
const QUIET: Duration = Duration::from_secs(5);

/// A cluster without workload controllers, served on a loopback port.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) client: Client,
    kubeconfig: PathBuf,
}

impl Served {
    pub(crate) async fn start() -> Self {
        let server = Server::new(Clock::system());
        for definition in crds::all() {
            let definition = serde_json::to_value(definition).expect("it has only string keys");
            server.create(definition).expect("it is valid");
        }
        let client = server.client_as(US);
        let namespace = json!({ "metadata": { "name": "argo-rollouts" } });
        let namespace: Namespace = serde_json::from_value(namespace).expect("it is a namespace");
        Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .expect("it is new");
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = server.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let kubeconfig = std::env::temp_dir().join(format!("verdict-bench-{}", std::process::id()));
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{ "name": "bench", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "bench", "user": {} }],
            "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench" } }],
        });
        fs::write(&kubeconfig, text.to_string()).expect("the temporary folder can be written to");
        Self {
            server,
            client,
            kubeconfig,
        }
    }

    /// Starts a controller process.
    pub(crate) fn controller(&self, arguments: &[&str]) -> Process {
        let child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .arg("controller")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args([
                "--loglevel",
                "error",
                "--metrics-port",
                "0",
                "--healthz-port",
                "0",
            ])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Process(child.expect("the program starts"))
    }

    /// What controllers have asked for so far, but for watches and the Lease.
    pub(crate) fn asked(&self) -> Vec<(Access, u64)> {
        let accesses = self.server.accesses().into_iter();
        accesses
            .filter(|(access, _)| access.program != US)
            .filter(|(access, _)| access.verb != "watch" && access.resource != "leases")
            .collect()
    }

    fn requests(&self) -> u64 {
        self.asked().iter().map(|(_, times)| times).sum()
    }

    /// Waits until `process` asks for nothing and computes hardly anything. Returns the time until
    /// it had done the last of it.
    pub(crate) async fn until_quiet(&self, process: &Process) -> Duration {
        let began = Instant::now();
        let (mut seen, mut last) = ((0, 0), began);
        while last.elapsed() < QUIET {
            sleep(Duration::from_millis(100)).await;
            let now = (self.requests(), process.ticks());
            // The Lease alone takes a tick now and then.
            if now.0 != seen.0 || now.1 > seen.1 + 1 {
                last = Instant::now();
            }
            seen = now;
        }
        last.duration_since(began)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.kubeconfig);
    }
}

/// A process that ends with its owner. What it takes is told on Linux, and 0 elsewhere.
pub(crate) struct Process(Child);

impl Process {
    /// Memory that is in RAM, in KiB.
    pub(crate) fn resident_kib(&self) -> u32 {
        let path = format!("/proc/{}/status", self.0.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or_default()
    }

    /// Processor time so far.
    pub(crate) fn processor_time(&self) -> Duration {
        Duration::from_secs(1) * self.ticks() / TICKS
    }

    fn ticks(&self) -> u32 {
        let path = format!("/proc/{}/stat", self.0.id());
        let stat = fs::read_to_string(path).unwrap_or_default();
        // The name, in brackets, may hold spaces.
        let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let user_and_system = fields.get(11..13).unwrap_or_default();
        user_and_system
            .iter()
            .filter_map(|ticks| ticks.parse::<u32>().ok())
            .sum()
    }
}

impl Process {
    /// Ends it as Kubernetes does: its Lease is free for the next one.
    pub(crate) async fn end(mut self) {
        let id = i32::try_from(self.0.id()).expect("it is a process id");
        let pid = Pid::from_raw(id).expect("it is a process id");
        kill_process(pid, Signal::TERM).expect("it runs");
        while self.0.try_wait().expect("it is a child").is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
