//! `verdict cluster` as a process: chaos, limits, its end, and what it keeps.

use std::path::Path;
use std::process::Command;

use futures::future::join_all;
use kube::config::Kubeconfig;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::processes::{Program, until};
use crate::tools::Folder;

/// A running `verdict cluster`.
struct Cluster {
    /// With the token.
    url: String,
    program: Program,
}

impl Cluster {
    async fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let kubeconfig = folder.at("kubeconfig");
        // One that was killed leaves it behind.
        let _ = std::fs::remove_file(&kubeconfig);
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

/// Sends one JSON request; answers status and body.
async fn ask(cluster: &Cluster, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = http().request(method, format!("{}{path}", cluster.url));
    let response = request.body(body.to_string()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

async fn get(cluster: &Cluster, path: &str) -> Value {
    let (status, object) = ask(cluster, Method::GET, path, &Value::Null).await;
    assert_eq!(status, 200, "{path}: {object}");
    object
}

async fn create(cluster: &Cluster, path: &str, object: &Value) -> Value {
    let (status, made) = ask(cluster, Method::POST, path, object).await;
    assert_eq!(status, 201, "{made}");
    made
}

fn version(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str().unwrap();
    version.parse().unwrap()
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const RUNS: &str = "/apis/argoproj.io/v1alpha1/namespaces/default/analysisruns";

fn a_config_map(name: &str, size: usize) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": "x".repeat(size)}})
}

/// What a watch from a version tells first, as the code of the failure that it is.
async fn failure_of_watch(cluster: &Cluster, from: u64) -> Value {
    let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1&resourceVersion={from}");
    let told = http().get(format!("{}{path}", cluster.url)).send().await;
    let told = told.unwrap().text().await.unwrap();
    let event: Value = serde_json::from_str(&told).unwrap_or_default();
    event["object"]["code"].clone()
}

#[tokio::test]
async fn a_kept_cluster_goes_on_where_it_ended() {
    let folder = Folder::new("kept");
    let file = folder.at("state");
    let arguments = ["--data", text(&file)];
    let mut cluster = Cluster::start(&folder, &arguments).await;
    let first = create(&cluster, CONFIG_MAPS, &a_config_map("first", 1)).await;
    let run = create(
        &cluster,
        RUNS,
        &json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
            "metadata": {"name": "run"}, "spec": {"metrics": []},
        }),
    )
    .await;
    assert_eq!(cluster.program.terminate().await.code(), Some(0));
    let token = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let old_token = token(&cluster.url);

    let cluster = Cluster::start(&folder, &arguments).await;
    assert_eq!(token(&cluster.url), old_token);
    assert_eq!(get(&cluster, &format!("{CONFIG_MAPS}/first")).await, first);
    assert_eq!(get(&cluster, &format!("{RUNS}/run")).await, run);
    let list = get(&cluster, CONFIG_MAPS).await;
    let next = create(&cluster, CONFIG_MAPS, &a_config_map("next", 1)).await;
    assert!(version(&next) > version(&list));
    assert_ne!(next["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(
        failure_of_watch(&cluster, version(&list)).await,
        Value::Null
    );
    assert_eq!(failure_of_watch(&cluster, version(&first)).await, 410);
}

#[tokio::test]
async fn a_cluster_that_is_killed_while_it_saves_keeps_what_was_saved() {
    let folder = Folder::new("killed");
    let (file, new) = (folder.at("state"), folder.at("state.new"));
    let mut seen = 0;
    for round in 0..3 {
        let mut cluster = Cluster::start(&folder, &["--data", text(&file)]).await;
        for earlier in 0..round {
            let path = format!("{CONFIG_MAPS}/round-{earlier}");
            get(&cluster, &path).await;
        }
        let name = format!("round-{round}");
        let made = create(&cluster, CONFIG_MAPS, &a_config_map(&name, 500_000)).await;
        assert!(version(&made) > seen, "a version was given twice");
        let is_saved = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&name));
        until(|| is_saved().then_some(())).await;
        // Something more to save, which may be lost; again where it was saved between two looks.
        for attempt in 0.. {
            let lost = format!("lost-{round}-{attempt}");
            let made = create(&cluster, CONFIG_MAPS, &a_config_map(&lost, 500_000)).await;
            seen = version(&made);
            let is_saved = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&lost));
            if until(|| {
                new.exists()
                    .then_some(true)
                    .or_else(|| is_saved().then_some(false))
            })
            .await
            {
                break;
            }
        }
        cluster.program.0.kill().unwrap();
        cluster.program.0.wait().unwrap();
        let cluster = Cluster::start(&folder, &["--data", text(&file)]).await;
        get(&cluster, &format!("{CONFIG_MAPS}/{name}")).await;
    }
}

#[tokio::test]
async fn a_file_that_is_in_use_or_of_another_program_is_refused() {
    let folder = Folder::new("refused");
    let file = folder.at("state");
    let other = folder.at("other");
    std::fs::write(&other, "something else").unwrap();
    let _cluster = Cluster::start(&folder, &["--data", text(&file)]).await;
    for (path, told) in [
        (&file, "is in use"),
        (&other, "is not the state of a cluster"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(["cluster", "--data", text(path)])
            .args(["--kubeconfig", text(&folder.at("second"))])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "something else");
}
