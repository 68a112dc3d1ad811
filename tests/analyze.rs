//! `verdict analyze` as people and CI jobs use it: the real program against real sources.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use axum::Router;
use axum::extract::{Form, Path as Segment};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use regex::Regex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::processes::{Program, until};
use crate::tools::{Folder, tool};

/// A web source: `/ratio/0.5` answers `{"ratio": 0.5}`, `/whoami` the `Authorization` that it got.
/// `POST /api/v1/query` answers the query itself as a vector of one value.
async fn source() -> String {
    let ratio = |Segment(ratio): Segment<f64>| async move { axum::Json(json!({"ratio": ratio})) };
    let whoami = |headers: HeaderMap| async move {
        let sent = headers
            .get("Authorization")
            .map(|it| it.to_str().unwrap().to_owned());
        axum::Json(json!({"sent": sent}))
    };
    let query = |Form(form): Form<Vec<(String, String)>>| async move {
        let query = form
            .into_iter()
            .find(|(name, _)| name == "query")
            .unwrap()
            .1;
        let sample = json!({"metric": {}, "value": [1, query]});
        axum::Json(
            json!({"status": "success", "data": {"resultType": "vector", "result": [sample]}}),
        )
    };
    let router = Router::new()
        .route("/ratio/{ratio}", get(ratio))
        .route("/whoami", get(whoami))
        .route("/api/v1/query", post(query));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

fn template(name: &str, metrics: &Value, args: &Value) -> String {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": {"name": name}, "spec": {"metrics": metrics, "args": args},
    })
    .to_string()
}

/// A metric that asks the web source, with `interval: 1s` if it is measured more than once.
fn ratio(name: &str, path: &str, changes: &Value) -> Value {
    let mut metric = json!({
        "name": name, "successCondition": "result >= {{args.minimum}}",
        "provider": {"web": {"url": format!("{{{{args.source}}}}/{path}"), "jsonPath": "{$.ratio}"}},
    });
    json_patch::merge(&mut metric, changes);
    metric
}

const ARGS: &str = r#"[{"name": "source"}, {"name": "minimum", "value": "0.95"}]"#;

fn args() -> Value {
    serde_json::from_str(ARGS).unwrap()
}

fn verdict(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verdict"));
    command
        .arg("analyze")
        .args(arguments)
        .env("NO_PROXY", "*")
        .env_remove("ARGO_ROLLOUTS_PROMETHEUS_ADDRESS")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn analyze(arguments: &[&str]) -> Ended {
    let output = verdict(arguments).output().await.unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Without what differs from run to run.
fn steady(text: &str) -> String {
    let changes = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?", "TIME"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r#"time="[0-9.]+""#, "time=\"T\""),
        (r"after (\d+\w+ ?)+:", "after T:"),
        (r"[0-9a-f]{8}-[0-9a-f-]{27}", "UUID"),
    ];
    changes
        .iter()
        .fold(text.to_owned(), |text, (pattern, stands_for)| {
            let pattern = Regex::new(pattern).unwrap();
            pattern.replace_all(&text, *stands_for).into_owned()
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_the_verdict() {
    let source = format!("source={}", source().await);
    let folder = Folder::new("analyze-exit");
    let inconclusive = json!({"failureCondition": "result < 0.9"});
    let cases = [
        (ratio("m", "ratio/0.99", &json!({})), 0, "Successful"),
        (ratio("m", "ratio/0.5", &json!({})), 1, "Failed"),
        (
            ratio("m", "nowhere", &json!({"consecutiveErrorLimit": 0})),
            2,
            "Error",
        ),
        (ratio("m", "ratio/0.93", &inconclusive), 3, "Inconclusive"),
    ];
    for (metric, code, word) in cases {
        let file = folder.write("t.yaml", &template("t", &json!([metric]), &args()));
        let ended = analyze(&[&file, "--arg", &source]).await;
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(ended.stdout.starts_with(word), "{}", ended.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_line_by_line_and_reported_in_every_form() {
    let source = format!("source={}", source().await);
    let folder = Folder::new("analyze-forms");
    let twice = |limit: i32| json!({"interval": "1s", "count": 2, "failureLimit": limit});
    let metrics = json!([
        ratio("good", "ratio/0.99", &twice(0)),
        ratio("bad", "ratio/0.5123456789", &twice(0)),
        ratio("bad-but-dry", "ratio/0.5", &json!({})),
    ]);
    let mut written: Value = serde_json::from_str(&template("t", &metrics, &args())).unwrap();
    written["spec"]["dryRun"] = json!([{"metricName": "dry"}]);
    let file = folder.write("t.yaml", &written.to_string());
    let (junit, markdown, json) = (
        folder.write("j", ""),
        folder.write("m", ""),
        folder.write("r", ""),
    );
    let forms = [
        format!("junit={junit}"),
        format!("markdown={markdown}"),
        format!("json={json}"),
    ];
    let ended = analyze(&[
        &file, "--arg", &source, "-o", "text", "-o", &forms[0], "-o", &forms[1], "-o", &forms[2],
    ])
    .await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let mut lines: Vec<&str> = ended.stderr.lines().collect();
    // Measurements of one moment come back in any order.
    lines.sort_unstable();
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let all = format!(
        "{}\n---\n{}\n---\n{}\n---\n{}",
        lines.join("\n"),
        ended.stdout,
        read(&markdown),
        read(&junit)
    );
    insta::assert_snapshot!(steady(&all));
    let run: Value = serde_json::from_str(&read(&json)).unwrap();
    assert_eq!(run["kind"], "AnalysisRun");
    assert_eq!(run["status"]["phase"], "Failed");
}

/// A template with mistakes of all kinds.
fn all_wrong(folder: &Folder) -> String {
    let metrics = json!([
        { "name": "", "count": "x", "onNoData": "Panic" },
        ratio("m", "x", &json!({ "successCondition": "result[0] >= {{args.typo}} )" })),
        ratio("m", "x", &json!({ "successCondition": "result[0] >" })),
    ]);
    folder.write("all.yaml", &template("t", &metrics, &args()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_said_at_once_and_in_full() {
    let folder = Folder::new("analyze-refused");
    let secret = json!({"secretKeyRef": {"name": "vault", "key": "token"}});
    let header = json!([{"key": "Authorization", "value": "{{args.token}}"}]);
    let web = json!({"url": "http://127.0.0.1:1", "headers": header});
    let with_secret = json!([{"name": "m", "provider": {"web": web}}]);
    let args_of_it = json!([{"name": "token", "valueFrom": secret}]);
    let job = json!([{"name": "smoke", "provider": {"job": {"spec": {}}}}]);
    let none = json!([]);
    let files = [
        folder.write("secret.yaml", &template("t", &with_secret, &args_of_it)),
        folder.write("job.yaml", &template("t", &job, &none)),
        folder.write(
            "args.yaml",
            &template("t", &json!([ratio("m", "x", &json!({}))]), &args()),
        ),
        folder.write(
            "invalid.yaml",
            &template("t", &json!([{"name": "", "count": "x"}]), &none),
        ),
        folder.write(
            "other.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n",
        ),
        folder.write("text.yaml", "hello"),
    ];
    let mut log = String::new();
    for (file, more) in [
        (&files[0], vec![]),
        (
            &files[0],
            vec!["--secret", "vault/token=env:NO_SUCH_VARIABLE"],
        ),
        (&files[1], vec![]),
        (&files[2], vec![]),
        (&files[2], vec!["--arg", "source=a", "--arg", "minimun=1"]),
        (&files[2], vec!["--arg", "source=a", "--metric", "^latency"]),
        (&files[3], vec![]),
        (&all_wrong(&folder), vec!["--arg", "typo=1"]),
        (&files[4], vec![]),
        (&files[5], vec![]),
    ] {
        let ended = analyze(&[&[file.as_str()], more.as_slice()].concat()).await;
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (2, ""),
            "{}",
            ended.stderr
        );
        let name = Path::new(file)
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let _ = writeln!(log, "$ {name} {}\n{}", more.join(" "), ended.stderr);
    }
    let folder = folder.path().display().to_string();
    insta::assert_snapshot!(log.replace(&folder, "FOLDER"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_the_source_and_nobody_else() {
    let source = format!("source={}", source().await);
    let folder = Folder::new("analyze-secrets");
    let file = folder.write("token", "s3cret-of-the-vault\n");
    let secret = json!({"secretKeyRef": {"name": "vault", "key": "token"}});
    let args = json!([{"name": "source"}, {"name": "token", "valueFrom": secret}]);
    let header = json!([{"key": "Authorization", "value": "{{args.token}}"}]);
    let web = json!({"url": "{{args.source}}/whoami", "headers": header, "jsonPath": "{$.sent}"});
    let condition = "result == \"s3cret-of-the-vault\"";
    let metrics = json!([{"name": "m", "successCondition": condition, "provider": {"web": web}}]);
    let template = folder.write("t.yaml", &template("t", &metrics, &args));
    for from in [
        format!("vault/token=file:{file}"),
        "vault/token=env:TOKEN_OF_TEST".to_owned(),
    ] {
        let mut command = verdict(&[&template, "--arg", &source, "--secret", &from, "-o", "json"]);
        command.env("TOKEN_OF_TEST", "s3cret-of-the-vault");
        let output = command.output().await.unwrap();
        assert_eq!(output.status.code(), Some(0));
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        // The condition itself is written in the template.
        assert!(
            !said
                .replace(condition, "")
                .replace("result == \\\"s3cret-of-the-vault\\\"", "")
                .contains("s3cret"),
            "{said}"
        );
        assert!(said.contains("*****"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_refer_to_each_other_are_one_run() {
    let source = source().await;
    let folder = Folder::new("analyze-several");
    let part = template(
        "part",
        &json!([ratio("part", "ratio/1", &json!({}))]),
        &args(),
    );
    let mut whole: Value = serde_json::from_str(&template(
        "whole",
        &json!([{
            "name": "query", "successCondition": "result[0] == 7",
            "provider": {"prometheus": {"address": "http://nowhere.invalid", "query": "7"}},
        }]),
        &json!([]),
    ))
    .unwrap();
    whole["spec"]["templates"] = json!([{"templateName": "part"}]);
    let both = folder.write("both.yaml", &format!("{whole}\n---\n{part}\n"));
    let values = folder.write(
        "values.yaml",
        &format!("source: {source}\nminimum: 1.5\nunused: x\n"),
    );
    let mut arguments = vec![
        both.as_str(),
        "--args-from",
        &values,
        "--prometheus",
        &source,
    ];
    let ended = analyze(&arguments).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("warning: args[2]: Invalid value: \"unused\""),
        "{}",
        ended.stderr
    );
    arguments.extend(["--arg", "minimum=1"]);
    let ended = analyze(&arguments).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("query") && ended.stdout.contains("part"),
        "{}",
        ended.stdout
    );
    arguments.extend(["--metric", "^part$"]);
    let ended = analyze(&arguments).await;
    assert!(
        !ended.stdout.contains("query") && ended.code == 0,
        "{}",
        ended.stdout
    );
}

/// Starts a run and waits until it has told of a measurement.
async fn under_way(
    arguments: &[&str],
) -> (
    tokio::process::Child,
    BufReader<tokio::process::ChildStderr>,
) {
    let mut child = verdict(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("measured  ") {
        line.clear();
        assert!(
            stderr.read_line(&mut line).await.unwrap() > 0,
            "it ended without a measurement"
        );
    }
    (child, stderr)
}

async fn interrupted(arguments: &[&str]) -> (i32, String) {
    let (child, mut stderr) = under_way(arguments).await;
    let id = child.id().unwrap().to_string();
    let kill = Command::new("kill")
        .args(["-INT", &id])
        .status()
        .await
        .unwrap();
    assert!(kill.success());
    let drained = tokio::spawn(async move {
        let mut rest = String::new();
        let _ = tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut rest).await;
    });
    let output = child.wait_with_output().await.unwrap();
    drained.await.unwrap();
    let code = output.status.code();
    (
        code.unwrap_or_else(|| panic!("{}", output.status)),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_run_in_order() {
    let source = format!("source={}", source().await);
    let folder = Folder::new("analyze-interrupt");
    let long = json!({"interval": "1s", "count": 1000});
    let endless = json!({"interval": "1s"});
    for (changes, code, told) in [
        (
            long,
            3,
            "Inconclusive after T: t: stopped before it was decided (a signal): 1 of 1",
        ),
        (
            endless,
            0,
            "Successful after T: t: held until it was stopped: a signal",
        ),
    ] {
        let metrics = json!([ratio("m", "ratio/1", &changes)]);
        let file = folder.write("t.yaml", &template("t", &metrics, &args()));
        let (got, stdout) = interrupted(&[&file, "--arg", &source]).await;
        assert_eq!(got, code, "{stdout}");
        assert!(steady(&stdout).starts_with(told), "{stdout}");
    }
}

fn job(name: &str, script: &str, more: &Value) -> Value {
    let container = json!({"name": "c", "image": "busybox", "command": ["sh", "-c", script]});
    let pod = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]});
    let mut spec = json!({"template": {"spec": pod}});
    json_patch::merge(&mut spec, more);
    json!({"name": name, "provider": {"job": {"spec": spec}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_be_a_process() {
    let folder = Folder::new("analyze-exec");
    let none = json!({});
    let cases = [
        (job("smoke", "test 1 = 1", &none), 0, ""),
        (
            job("smoke", "echo the shop is closed >&2; exit 3", &none),
            1,
            "exit status: 3; it said: the shop is closed",
        ),
        (
            job("smoke", "sleep 600", &json!({"activeDeadlineSeconds": 1})),
            1,
            "DeadlineExceeded",
        ),
    ];
    for (metric, code, told) in cases {
        let file = folder.write("t.yaml", &template("t", &json!([metric]), &json!([])));
        let ended = analyze(&[&file, "--jobs", "exec"]).await;
        assert_eq!(ended.code, code, "{} {}", ended.stdout, ended.stderr);
        assert!(
            ended.stderr.contains("warning: --jobs exec runs commands"),
            "{}",
            ended.stderr
        );
        assert!(ended.stdout.contains(told), "{}", ended.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_ends_with_the_run_that_it_belongs_to() {
    let source = format!("source={}", source().await);
    let folder = Folder::new("analyze-exec-end");
    let ended = folder.at("ended");
    // A child of the shell, too, must go.
    let script = format!(
        "trap 'touch {}; exit 1' TERM; sleep 600 & wait",
        ended.display()
    );
    let metrics = json!([
        job("smoke", &script, &json!({})),
        ratio("m", "ratio/1", &json!({"interval": "1s", "count": 1000})),
    ]);
    let file = folder.write("t.yaml", &template("t", &metrics, &args()));
    let (code, stdout) = interrupted(&[&file, "--arg", &source, "--jobs", "exec"]).await;
    assert_eq!(code, 3, "{stdout}");
    assert!(stdout.contains("Metric Terminated"), "{stdout}");
    assert!(ended.exists(), "the process was not asked to end");
}

/// A job of a CI system: it fails where the analysis does, and leaves a JUnit file and a summary.
#[tokio::test(flavor = "multi_thread")]
async fn a_ci_job_gates_on_the_verdict_and_keeps_junit() {
    let Some(shell) = tool("bash") else { return };
    let url = source().await;
    let folder = Folder::new("analyze-ci");
    for (value, code) in [("0.99", 0), ("0.5", 1)] {
        let metrics = json!([
            ratio(
                "success-rate",
                &format!("ratio/{value}"),
                &json!({"interval": "1s", "count": 2})
            ),
            ratio("other <rate>", "ratio/1", &json!({})),
        ]);
        let file = folder.write("t.yaml", &template("shop", &metrics, &args()));
        let workspace = folder.at(&format!("workspace-{code}"));
        fs::create_dir_all(&workspace).unwrap();
        let status = Command::new(&shell)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ci/analyze.sh"))
            .args([&file, &url])
            .current_dir(&workspace)
            .env("VERDICT", env!("CARGO_BIN_EXE_verdict"))
            .env("GITHUB_STEP_SUMMARY", workspace.join("summary.md"))
            .env("NO_PROXY", "*")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await
            .unwrap();
        assert_eq!(status.code(), Some(code));
        let xml = fs::File::open(workspace.join("analysis.xml")).unwrap();
        let suites = junit_parser::from_reader(std::io::BufReader::new(xml)).unwrap();
        assert_eq!(
            (suites.tests, suites.failures, suites.errors),
            (2, u64::from(code == 1), 0)
        );
        let suite = &suites.suites[0];
        let names: Vec<&str> = suite
            .cases
            .iter()
            .map(|case| case.original_name.as_str())
            .collect();
        assert_eq!(
            (suite.name.as_str(), names),
            ("shop", vec!["success-rate", "other <rate>"])
        );
        if code == 1 {
            let failure = suite.cases[0].status.failure_as_ref();
            assert!(
                failure.message.starts_with("failed (1) > failureLimit (0)"),
                "{failure:?}"
            );
        }
        let summary = fs::read_to_string(workspace.join("summary.md")).unwrap();
        assert!(summary.contains("| success-rate | `0."), "{summary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_run_in_a_cluster_and_is_left_there_if_it_failed() {
    let folder = Folder::new("analyze-cluster");
    let kubeconfig = folder.at("kubeconfig");
    let at = kubeconfig.to_str().unwrap();
    let _cluster = Program::start(&["cluster", "--kubeconfig", at]);
    until(|| Kubeconfig::read_from(&kubeconfig).ok()).await;
    for (code, left) in [(0, 0), (1, 1)] {
        let annotations = json!({"simulation.verdict.dev/exit-code": code.to_string()});
        let template = json!({"metadata": {"annotations": annotations}});
        let metric = job(
            "smoke",
            "true",
            &json!({"template": template, "backoffLimit": 0}),
        );
        let file = folder.write("t.yaml", &self::template("t", &json!([metric]), &json!([])));
        let arguments = ["--jobs", "cluster", "--kubeconfig", at, "-n", "default"];
        let ended = analyze(&[&[file.as_str()], arguments.as_slice()].concat()).await;
        assert_eq!(ended.code, code, "{} {}", ended.stdout, ended.stderr);
        let read = Kubeconfig::read_from(&kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(read, &options).await;
        let client = Client::try_from(config.unwrap()).unwrap();
        let jobs = Api::<Job>::namespaced(client, "default");
        let jobs = jobs.list(&ListParams::default()).await.unwrap().items;
        let staying = jobs
            .iter()
            .filter(|job| job.metadata.deletion_timestamp.is_none());
        assert_eq!(staying.count(), left, "{jobs:?}");
    }
}
