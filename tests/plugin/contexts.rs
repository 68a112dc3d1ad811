//! Which server is asked, as whom and in which namespace: kubeconfigs, and the flags of kubectl. Real
//! processes against servers that only take note.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;

use crate::kubectl::screen::words;
use crate::tools::Folder;

type Log = Arc<Mutex<String>>;

/// A server that takes note of who asks what, and has nothing.
async fn server(name: &'static str, log: &Log) -> String {
    let log = Arc::clone(log);
    let answer = async move |request: Request| {
        let who = who(request.headers());
        let (method, uri) = (request.method(), request.uri());
        let mut log = log.lock().unwrap();
        let _ = writeln!(log, "> {name} {method} {uri}{who}");
        Json(json!({
            "kind": "RolloutList", "apiVersion": "argoproj.io/v1alpha1",
            "metadata": { "resourceVersion": "1" }, "items": [],
        }))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    url
}

fn who(headers: &HeaderMap) -> String {
    let mut told = String::new();
    for name in [
        "authorization",
        "impersonate-user",
        "impersonate-group",
        "impersonate-uid",
    ] {
        for value in headers.get_all(name) {
            let _ = write!(told, "\n    {name}: {}", value.to_str().unwrap());
        }
    }
    told
}

fn kubeconfigs(folder: &Folder, east: &str, west: &str) {
    let head = "apiVersion: v1\nkind: Config\n";
    let both = format!(
        "{head}\
         clusters:\n\
         - {{name: east, cluster: {{server: '{east}'}}}}\n\
         - {{name: west, cluster: {{server: '{west}'}}}}\n\
         users:\n\
         - {{name: dev, user: {{token: of-dev}}}}\n\
         - {{name: admin, user: {{token: of-admin}}}}\n\
         contexts:\n\
         - {{name: test, context: {{cluster: east, user: dev}}}}\n\
         - {{name: live, context: {{cluster: west, user: admin, namespace: shop}}}}\n\
         current-context: test\n"
    );
    folder.write("both", &both);
    let more = format!(
        "{head}contexts:\n- {{name: more, context: {{cluster: west, user: dev, namespace: more}}}}\n\
         current-context: more\n"
    );
    folder.write("more", &more);
}

fn run(line: &str, folder: &Path, kubeconfig: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args(words(line))
        .current_dir(folder)
        .env("HOME", folder)
        .env("KUBECONFIG", kubeconfig)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"", "{line}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_and_kubeconfigs_say_who_asks_whom_and_where() {
    let log = Log::default();
    let (east, west) = (server("east", &log).await, server("west", &log).await);
    let folder = Folder::new("contexts");
    kubeconfigs(&folder, &east, &west);
    let lines = [
        ("both", "list rollouts"),
        ("both", "list rollouts -A"),
        ("both", "-n other list rollouts"),
        ("both", "list rollouts --context live"),
        ("both", "--context live list rollouts --namespace other"),
        ("both", "--context=live list rollouts --cluster east"),
        ("both", "list rollouts --cluster west"),
        ("both", "list rollouts --user admin"),
        (
            "both",
            "list rollouts --context live --user dev --cluster east -n a",
        ),
        (
            "both",
            "list rollouts --as jane --as-group ops --as-group dev --as-uid 7",
        ),
        ("both", "list rollouts --token of-nobody"),
        ("both", "list rollouts --server WEST"),
        ("more:both", "list rollouts"),
        ("both:more", "list rollouts"),
        ("both:more:none", "list rollouts --context more"),
        ("none", "list rollouts --kubeconfig both --context live"),
        (
            "none",
            "list rollouts --server EAST --token of-nobody -n bare",
        ),
    ];
    for (kubeconfig, line) in lines {
        let _ = writeln!(
            log.lock().unwrap(),
            "\n$ KUBECONFIG={kubeconfig} verdict {line}"
        );
        let line = line.replace("EAST", &east).replace("WEST", &west);
        let told = run(&line, folder.path(), kubeconfig);
        assert_eq!(told, "No resources found.\n", "{line}");
    }
    let log = log.lock().unwrap().clone();
    insta::assert_snapshot!(log);
}
