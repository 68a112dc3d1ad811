//! `verdict cluster` as a process: chaos, limits, its end.

use std::path::{Path, PathBuf};

use futures::future::join_all;
use kube::config::Kubeconfig;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::processes::{Program, until};

/// A folder of a test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("verdict-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running `verdict cluster`.
struct Cluster {
    /// With the token.
    url: String,
    program: Program,
}

impl Cluster {
    async fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let kubeconfig = folder.at("kubeconfig");
        let mut all = vec!["cluster", "--kubeconfig", text(&kubeconfig)];
        all.extend(arguments);
        let program = Program::start(&all);
        let read = until(|| Kubeconfig::read_from(&kubeconfig).ok()).await;
        let cluster = read.clusters[0].cluster.as_ref().unwrap();
        Self {
            url: cluster.server.clone().unwrap(),
            program,
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn http() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A connection of its own for each request: one that was cut is not tried again unseen.
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(0);
    builder.build().unwrap()
}

/// What a program is answered to one request: a status, with how long to wait, or that the
/// connection was cut.
async fn answer(http: &Client, cluster: &Cluster, program: &str, index: usize) -> String {
    let path = format!("api/v1/namespaces/default/configmaps/{index}");
    let request = http
        .request(Method::GET, format!("{}/{path}", cluster.url))
        .header("user-agent", format!("{program}/1.0"));
    let Ok(response) = request.send().await else {
        return "cut".to_owned();
    };
    let wait = response.headers().get("retry-after");
    let wait = wait.map_or("", |wait| wait.to_str().unwrap()).to_owned();
    let status = response.status().as_u16();
    match response.bytes().await {
        Ok(_) => format!("{status} {wait}").trim().to_owned(),
        Err(_) => "cut".to_owned(),
    }
}

/// The answers to requests about so many things, all asked at once.
async fn answers(cluster: &Cluster, program: &str) -> Vec<String> {
    let http = http();
    join_all((0..300).map(|index| answer(&http, cluster, program, index))).await
}

#[tokio::test]
async fn chaos_is_the_same_for_the_same_seed_and_leaves_kubectl_alone() {
    let folder = Folder::new("chaos");
    let cluster = Cluster::start(&folder, &["--chaos", "1"]).await;
    let first = answers(&cluster, "mine").await;
    for kind in ["404", "429 1", "500", "503 1", "cut"] {
        assert!(first.iter().any(|told| told == kind), "{kind}: {first:?}");
    }
    let calm = answers(&cluster, "kubectl").await;
    assert!(calm.iter().all(|told| told == "404"), "{calm:?}");
    drop(cluster);
    std::fs::remove_file(folder.at("kubeconfig")).unwrap();
    let again = Cluster::start(&folder, &["--chaos", "1"]).await;
    assert_eq!(answers(&again, "mine").await, first);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_limit_told() {
    let folder = Folder::new("limits");
    let cluster = Cluster::start(&folder, &[]).await;
    let url = format!("{}/api/v1/namespaces/default/configmaps", cluster.url);
    for (size, status) in [
        (3 * 1024 * 1024, 400),
        (3 * 1024 * 1024 + 1, 413),
        (40 << 20, 413),
    ] {
        let request = http().post(&url).body(vec![b' '; size]);
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{size}");
        if status == 413 {
            let told: Value = response.json().await.unwrap();
            assert_eq!(told["reason"], "RequestEntityTooLarge");
            assert_eq!(
                told["message"],
                "Request entity too large: limit is 3145728"
            );
        }
    }
}

#[tokio::test]
async fn a_cluster_ends_although_clients_are_connected() {
    let folder = Folder::new("ending");
    let mut cluster = Cluster::start(&folder, &[]).await;
    let (http, url) = (http(), cluster.url.clone());
    let address = url.strip_prefix("http://").unwrap();
    let (address, token) = address.split_once('/').unwrap();
    // One that never finishes its request, one that does not read what it is told.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let mut deaf = TcpStream::connect(address).await.unwrap();
    let get = format!("GET /{token}/openapi/v2 HTTP/1.1\r\nhost: x\r\n\r\n");
    for _ in 0..20 {
        deaf.write_all(get.as_bytes()).await.unwrap();
    }
    let watch = format!("{url}/api/v1/namespaces?watch=true&resourceVersion=0");
    let watch = http.get(watch).send().await.unwrap();
    assert_eq!(cluster.program.terminate().await.code(), Some(0));
    assert!(watch.bytes().await.is_ok(), "a watch ends in good order");
}
