//! The programs as people start them: a cluster, a controller against it, signals and probes. Real
//! processes and sockets; everything is waited for, nothing is timed.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::time::{sleep, timeout};
use verdict::api::{AnalysisRun, Phase};

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A program that is killed with its owner.
pub(crate) struct Program(pub(crate) Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verdict"));
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Asks the program to end, as Kubernetes does, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let asked = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        assert!(asked.unwrap().success());
        until(|| self.0.try_wait().unwrap()).await
    }
}

/// Waits until something is to be seen.
pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            match look() {
                Some(seen) => return seen,
                None => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(PATIENCE, wait).await.unwrap()
}

async fn answers(url: &str) -> Option<(u16, String)> {
    let reply = reqwest::get(url).await.ok()?;
    Some((reply.status().as_u16(), reply.text().await.ok()?))
}

/// A controller with its probes on ports that were free a moment ago; another process may have
/// taken one since, and then other ports are tried.
pub(crate) async fn start_controller(kubeconfig: &str) -> (Program, u16, u16) {
    for _ in 0..5 {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (health, metrics) = (free(), free());
        let ports = [&health, &metrics].map(|held| held.local_addr().unwrap().port());
        drop((health, metrics));
        let [health, metrics] = ports.map(|port| port.to_string());
        let mut program = Program::start(&[
            "controller",
            "--kubeconfig",
            kubeconfig,
            "--healthz-port",
            &health,
            "--metrics-port",
            &metrics,
        ]);
        let url = format!("http://127.0.0.1:{health}/readyz");
        let wait = async {
            loop {
                if program.0.try_wait().unwrap().is_some() {
                    return false;
                }
                if answers(&url).await.is_some_and(|(status, _)| status == 200) {
                    return true;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(PATIENCE, wait).await.unwrap() {
            return (program, ports[0], ports[1]);
        }
    }
    panic!("the controller ended five times before it was ready");
}

async fn client(kubeconfig: &PathBuf) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = until(|| Kubeconfig::read_from(kubeconfig).ok()).await;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

#[tokio::test]
async fn a_controller_serves_a_cluster_and_ends_when_it_is_told_to() {
    let folder = std::env::temp_dir().join(format!("verdict-processes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let kubeconfig = folder.join("kubeconfig");
    let at = kubeconfig.to_str().unwrap();
    let mut cluster = Program::start(&["cluster", "--kubeconfig", at]);
    let client = client(&kubeconfig).await;
    let (mut controller, health, metrics) = start_controller(at).await;

    let source = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", source.local_addr().unwrap());
    let router = Router::new().fallback(get(|| async { "0.99" }));
    tokio::spawn(async move { axum::serve(source, router).await });
    let api = Api::<AnalysisRun>::namespaced(client, "default");
    let run = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": {"name": "smoke"},
        "spec": {"metrics": [{
            "name": "rate", "successCondition": "result >= 0.95", "provider": {"web": {"url": url}},
        }]},
    });
    api.create(
        &PostParams::default(),
        &serde_json::from_value(run).unwrap(),
    )
    .await
    .unwrap();
    let is_successful = |run: Option<&AnalysisRun>| {
        let status = run.and_then(|run| run.status.as_ref());
        status.and_then(|status| status.phase) == Some(Phase::Successful)
    };
    timeout(PATIENCE, await_condition(api, "smoke", is_successful))
        .await
        .unwrap()
        .unwrap();

    let healthy = answers(&format!("http://127.0.0.1:{health}/healthz")).await;
    assert_eq!(healthy, Some((200, "ok".to_owned())));
    let (_, text) = answers(&format!("http://127.0.0.1:{metrics}/metrics"))
        .await
        .unwrap();
    let told = r#"analysis_run_info{name="smoke",namespace="default",phase="Successful"} 1"#;
    assert!(text.contains(told), "{text}");
    assert_eq!(controller.terminate().await.code(), Some(0));
    assert_eq!(cluster.terminate().await.code(), Some(0));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Whether the controller with its metrics on this port leads.
async fn leads(metrics: u16) -> bool {
    let text = answers(&format!("http://127.0.0.1:{metrics}/metrics")).await;
    let (_, text) = text.unwrap();
    text.contains("leader_election_master_status{name=\"argo-rollouts-controller-lock\"} 1\n")
}

#[tokio::test]
async fn of_two_controllers_one_leads_and_the_other_takes_over_when_it_ends() {
    let folder = std::env::temp_dir().join(format!("verdict-replicas-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let kubeconfig = folder.join("kubeconfig");
    let at = kubeconfig.to_str().unwrap();
    let _cluster = Program::start(&["cluster", "--kubeconfig", at]);
    let client = client(&kubeconfig).await;
    let leases = Api::<Lease>::namespaced(client, "argo-rollouts");
    let (mut first, _, first_metrics) = start_controller(at).await;
    let is_held = |lease: Option<&Lease>| lease.is_some();
    let wait = await_condition(leases.clone(), "argo-rollouts-controller-lock", is_held);
    timeout(PATIENCE, wait).await.unwrap().unwrap();
    // The other is ready as well: its caches are full.
    let (mut second, _, second_metrics) = start_controller(at).await;
    assert!(leads(first_metrics).await && !leads(second_metrics).await);
    assert_eq!(first.terminate().await.code(), Some(0));
    let wait = async {
        while !leads(second_metrics).await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(second.terminate().await.code(), Some(0));
    let lease = leases.get("argo-rollouts-controller-lock").await.unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity, None, "it was released");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_controller_that_finds_no_cluster_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args(["controller", "--kubeconfig", "/nowhere/kubeconfig"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("error: cannot read the kubeconfig"), "{said}");
}
