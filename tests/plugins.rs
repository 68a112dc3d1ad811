//! Plugins of both kinds, called for real.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::PostParams;

use serde_json::{Value, json};
use verdict::api::Rollout;
use verdict::apiserver::Server;
use verdict::clock::Clock;
use verdict::cluster::Cluster;
use verdict::http::{Http, LinkLocal};
use verdict::plugins::{PluginKind, Plugins, Question};

use crate::tools::Folder;

impl Folder {
    /// A program that does this.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.at(name);
        // Renamed into place: a file that is open for writing cannot be started.
        let written = self.at(&format!("{name}.new"));
        fs::write(&written, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&written, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(written, &path).unwrap();
        path.display().to_string()
    }
}

async fn with_configuration(http: Http, list: &str) -> Plugins {
    let clock = Clock::system();
    let server = Server::new(clock.clone());
    let client = server.client();
    let configuration =
        json!({"metadata": {"name": "argo-rollouts-config"}, "data": {"stepPlugins": list}});
    let configuration: ConfigMap = serde_json::from_value(configuration).unwrap();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "default");
    maps.create(&PostParams::default(), &configuration)
        .await
        .unwrap();
    let secret = json!({"metadata": {"name": "token"}, "stringData": {"X-Token": "hunter2\n"}});
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let secrets = Api::<Secret>::namespaced(client.clone(), "default");
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    Plugins::new(Cluster::new(client, clock), "default", http)
}

async fn ask(plugins: &Plugins, name: &str) -> Result<Value, String> {
    let rollout: Rollout = serde_json::from_value(json!({"metadata": {"name": "web"}})).unwrap();
    let body = json!({"settings": {"a": 1}});
    let question = Question {
        kind: PluginKind::Step,
        name,
        method: "Run",
        rollout: &rollout,
        body: body.as_object().unwrap(),
    };
    let answer = plugins.ask(question).await;
    answer.map(Value::from).map_err(|error| error.to_string())
}

fn network() -> Http {
    Http::new(LinkLocal::Refused).unwrap()
}

#[tokio::test]
async fn a_program_is_asked_by_its_standard_input() {
    let folder = Folder::new("program");
    let echo = folder.script("echo", r#"echo "{\"args\": \"$*\", \"call\": $(cat)}""#);
    let sum = hex_of(&echo);
    let fails = folder.script("fails", "echo no route >&2; exit 3");
    let refuses = folder.script("refuses", r#"echo '{"error": "not today"}'"#);
    let prattles = folder.script("prattles", "head -c 2000000 /dev/zero");
    let murmurs = folder.script("murmurs", "echo hello");
    let silent = folder.script("silent", "exec true");
    let go = folder.script("go", "# github.com/hashicorp/go-plugin");
    let list = format!(
        "
- {{name: org/echo, location: 'file://{echo}', args: [a, b], sha256: {sum}}}
- {{name: org/other, location: 'file://{echo}', sha256: abc}}
- {{name: org/fails, location: 'file://{fails}'}}
- {{name: org/refuses, location: 'file://{refuses}'}}
- {{name: org/prattles, location: 'file://{prattles}'}}
- {{name: org/murmurs, location: 'file://{murmurs}'}}
- {{name: org/silent, location: 'file://{silent}'}}
- {{name: org/go, location: 'file://{go}'}}
- {{name: org/missing, location: 'file:///nowhere/plugin'}}
- {{name: org/off, location: 'file:///nowhere/plugin', disabled: true}}
"
    );
    let plugins = with_configuration(network(), &list).await;
    let answer = ask(&plugins, "org/echo").await.unwrap();
    assert_eq!(answer["args"], "a b");
    assert_eq!(answer["call"]["method"], "Run");
    assert_eq!(answer["call"]["settings"], json!({"a": 1}));
    assert_eq!(answer["call"]["rollout"]["metadata"]["name"], "web");
    assert_eq!(ask(&plugins, "org/silent").await, Ok(json!({})));
    for (name, why) in [
        ("other", format!("its sha256 is {sum}, not abc")),
        ("fails", "ended with exit status: 3: no route".to_owned()),
        ("refuses", "plugin `org/refuses`: not today".to_owned()),
        ("prattles", "is bigger than 1 MiB".to_owned()),
        ("murmurs", "the answer is not a JSON object".to_owned()),
        (
            "go",
            "it is made for Argo Rollouts and speaks gob, not JSON".to_owned(),
        ),
        (
            "missing",
            "cannot start /nowhere/plugin: No such file".to_owned(),
        ),
        ("off", "plugin `org/off` is disabled".to_owned()),
        (
            "unknown",
            "plugin `org/unknown` is not configured".to_owned(),
        ),
    ] {
        let error = ask(&plugins, &format!("org/{name}")).await.unwrap_err();
        assert!(error.contains(&why), "{name}: {error}");
    }
}

fn hex_of(path: impl AsRef<Path>) -> String {
    use std::fmt::Write as _;
    let file = fs::read(path).unwrap();
    let mut text = String::new();
    for byte in ring::digest::digest(&ring::digest::SHA256, &file).as_ref() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

#[tokio::test]
async fn an_address_is_asked_by_post() {
    let answer = |headers: HeaderMap, body: String| async move {
        assert_eq!(headers["content-type"], "application/json");
        let call: Value = serde_json::from_str(&body).unwrap();
        json!({"token": headers["x-token"] == "hunter2", "method": call["method"]}).to_string()
    };
    let refuse = |headers: HeaderMap| async move {
        let token = headers["x-token"].to_str().unwrap().to_owned();
        (
            axum::http::StatusCode::FORBIDDEN,
            format!("token {token} is not welcome"),
        )
    };
    let router = Router::new()
        .route("/ok", post(answer))
        .route("/refuses", post(refuse));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let list = format!(
        "
- {{name: org/ok, location: 'http://{address}/ok', headersFrom: [{{secretRef: {{name: token}}}}]}}
- {{name: org/refuses, location: 'http://{address}/refuses', headersFrom: [{{secretRef: {{name: token}}}}]}}
- {{name: org/secret, location: 'http://{address}/ok', headersFrom: [{{secretRef: {{name: none}}}}]}}
- {{name: org/metadata, location: 'http://169.254.169.254/'}}
"
    );
    let plugins = with_configuration(network(), &list).await;
    assert_eq!(
        ask(&plugins, "org/ok").await,
        Ok(json!({"token": true, "method": "Run"}))
    );
    for (name, why) in [
        (
            "refuses",
            "plugin `org/refuses`: answered 403: token ***** is not welcome",
        ),
        ("secret", "Secret `default/none` not found"),
        ("metadata", "refused: 169.254.169.254 is a link-local"),
    ] {
        let error = ask(&plugins, &format!("org/{name}")).await.unwrap_err();
        assert!(error.contains(why), "{name}: {error}");
    }
}
