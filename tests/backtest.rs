//! `verdict backtest` against a real Prometheus with four weeks of data and two known incidents.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::process::Command;
use verdict::simulation::prometheus::Prometheus;

use crate::tools::{Folder, tool};

/// 2024-03-01T00:00:00Z
const FROM: i64 = 1_709_251_200;
const DAYS: i64 = 28;
const SCRAPE: i64 = 60;

/// Begin and end of the incidents, in seconds after `FROM`.
const INCIDENTS: [(i64, i64); 2] = [
    (5 * 86_400 + 36_000, 5 * 86_400 + 45_000),
    (19 * 86_400 + 7_300, 19 * 86_400 + 10_100),
];

/// For these seconds nothing was scraped.
const SILENCE: (i64, i64) = (12 * 86_400, 12 * 86_400 + 5_400);

/// The share of errors among the requests of a minute.
fn error_share(second: i64) -> f64 {
    let is_incident = INCIDENTS
        .iter()
        .any(|(from, to)| (*from..*to).contains(&second));
    let minute = second / 60;
    match minute % 2221 {
        _ if is_incident => 0.3,
        // Short, and too much for the rate of five minutes.
        0..=2 => 0.2,
        _ => f64::from(u8::try_from(minute * 7 % 11).unwrap()) / 1000.0,
    }
}

/// Counters of good and bad requests and a latency, as a service would have told them.
fn open_metrics() -> String {
    let (mut good, mut bad) = (0.0, 0.0);
    let [mut goods, mut bads, mut latencies] = [String::new(), String::new(), String::new()];
    for second in (0..DAYS * 86_400).step_by(usize::try_from(SCRAPE).unwrap()) {
        let share = error_share(second);
        good += 600.0 * (1.0 - share);
        bad += 600.0 * share;
        if (SILENCE.0..SILENCE.1).contains(&second) {
            continue;
        }
        let at = FROM + second;
        let _ = writeln!(goods, "http_requests_total{{code=\"200\"}} {good} {at}");
        let _ = writeln!(bads, "http_requests_total{{code=\"500\"}} {bad} {at}");
        for pod in ["a", "b"] {
            let _ = writeln!(
                latencies,
                "latency_seconds{{pod=\"{pod}\"}} {} {at}",
                0.1 + share
            );
        }
    }
    format!(
        "# TYPE http_requests counter\n{goods}{bads}# TYPE latency_seconds gauge\n{latencies}# EOF\n"
    )
}

struct World {
    folder: Folder,
    prometheus: Prometheus,
}

async fn world(test: &str, promtool: &Path, program: &Path) -> World {
    let folder = Folder::new(&format!("backtest-{test}"));
    let (samples, blocks) = (folder.at("samples.om"), folder.at("blocks"));
    fs::write(&samples, open_metrics()).unwrap();
    // Few blocks: it reads all samples for each.
    let made = Command::new(promtool)
        .args([
            "tsdb",
            "create-blocks-from",
            "--max-block-duration=200h",
            "--quiet",
            "openmetrics",
        ])
        .args([&samples, &blocks])
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let prometheus = Prometheus::over(program, &blocks).await.unwrap();
    World { folder, prometheus }
}

const RATE: &str =
    "sum(rate(http_requests_total{code!~\"5..\"}[5m])) / sum(rate(http_requests_total[5m]))";

fn template(metrics: &Value) -> String {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": {"name": "rates"}, "spec": {"metrics": metrics},
    })
    .to_string()
}

fn prometheus_metric(name: &str, query: &str, condition: &str) -> Value {
    json!({
        "name": name, "interval": "1m", "count": 5, "failureLimit": 1, "successCondition": condition,
        "provider": {"prometheus": {"address": "http://prometheus.invalid", "query": query}},
    })
}

fn time(second: i64) -> String {
    jiff::Timestamp::from_second(FROM + second)
        .unwrap()
        .to_string()
}

impl World {
    fn write(&self, name: &str, content: &str) -> String {
        let path = self.folder.at(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    async fn backtest(&self, metrics: &Value, more: &[&str]) -> (i32, Value, String) {
        let file = self.write("template.yaml", &template(metrics));
        let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args([
                "backtest",
                &file,
                "--prometheus",
                self.prometheus.url(),
                "-o",
                "json",
            ])
            .args(["--from", &time(3600)])
            .args(more)
            .env("NO_PROXY", "*")
            .env_remove("ARGO_ROLLOUTS_PROMETHEUS_ADDRESS")
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|_| panic!("no report: {stderr}"));
        (output.status.code().unwrap(), report, stderr)
    }

    /// The first number that a query answers at a time, if any.
    async fn ask(&self, client: &reqwest::Client, query: &str, at: i64) -> Option<f64> {
        let url = format!("{}/api/v1/query", self.prometheus.url());
        let form = [("query", query.to_owned()), ("time", at.to_string())];
        let answer: Value = client
            .post(&url)
            .form(&form)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"]["result"][0]["value"][1]
            .as_str()
            .map(|text| text.parse().unwrap())
    }

    /// The verdict of a run by the rules alone: five measurements a minute apart, two bad ones are a
    /// failure; no data is repeated after ten seconds, five times in a row are an error.
    async fn by_hand(&self, client: &reqwest::Client, start: i64) -> &'static str {
        let (mut at, mut taken, mut failed, mut errors) = (start, 0, 0, 0);
        loop {
            match self.ask(client, RATE, at).await {
                None => {
                    errors += 1;
                    at += 10;
                }
                Some(rate) => {
                    errors = 0;
                    taken += 1;
                    failed += u32::from(rate < 0.95 || rate.is_nan());
                    at += 60;
                }
            }
            match (failed, errors, taken) {
                (2.., _, _) => return "Failed",
                (_, 5.., _) => return "Error",
                (_, _, 5..) => return "Successful",
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_prometheus_is_judged_as_instant_queries_judge_it() {
    let (Some(program), Some(promtool)) = (tool("prometheus"), tool("promtool")) else {
        return;
    };
    let world = Arc::new(world("month", &promtool, &program).await);
    let incidents = INCIDENTS.map(|(from, to)| json!({"from": time(from), "to": time(to)}));
    let incidents = world.write("incidents.yaml", &json!(incidents).to_string());
    let page = world.folder.at("report.html").display().to_string();
    let end = time(DAYS * 86_400 - 3600);
    let metrics = json!([prometheus_metric("success-rate", RATE, "result[0] >= 0.95")]);
    let more = [
        "--to",
        &end,
        "--incidents",
        &incidents,
        "--html",
        &page,
        "--false-alarms",
        "5%",
    ];
    let (code, report, stderr) = world.backtest(&metrics, &more).await;
    assert_eq!(code, 0, "{stderr}");

    let starts = report["starts"].as_array().unwrap();
    assert_eq!(starts.len(), 24 * 28 - 1);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let times = (0..).zip(starts).map(|(hour, _)| FROM + 3600 + 3600 * hour);
    let by_hand: Vec<&str> = futures::stream::iter(times.collect::<Vec<i64>>())
        .map(|start| world.by_hand(&client, start))
        .buffered(8)
        .collect()
        .await;
    let replayed: Vec<&str> = starts
        .iter()
        .map(|start| start["phase"].as_str().unwrap())
        .collect();
    assert_eq!(replayed, by_hand);
    for phase in ["Successful", "Failed", "Error"] {
        assert!(by_hand.contains(&phase), "nothing ends as {phase}");
    }

    let healthy = || (starts.iter().zip(&by_hand)).filter(|(start, _)| start["incident"].is_null());
    let failed = healthy().filter(|(_, phase)| **phase == "Failed").count();
    assert!(failed > 0, "there are no false alarms to count");
    let counted = (
        report["healthy"]["failed"].as_u64(),
        report["healthy"]["total"].as_u64(),
    );
    assert_eq!(
        counted,
        (Some(failed as u64), Some(healthy().count() as u64))
    );
    let detection = &report["detection"];
    assert_eq!(detection["detected"], 2, "{detection}");
    for incident in detection["incidents"].as_array().unwrap() {
        let seconds = incident["secondsToDetect"].as_i64().unwrap();
        assert!((0..=3600 + 60).contains(&seconds), "{incident}");
    }
    // Four ranges of minutes, one or two of ten seconds for the silence, one query for the type,
    // two checks.
    let requests = &report["requests"];
    let asked = requests["ranges"].as_u64().unwrap() + requests["instants"].as_u64().unwrap();
    assert!(asked <= 10, "{requests}");
    let page = fs::read_to_string(&page).unwrap();
    assert!(page.contains("2 of 2") && page.contains("success-rate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn scalars_several_series_and_the_end_of_time_are_exact_too() {
    let (Some(program), Some(promtool)) = (tool("prometheus"), tool("promtool")) else {
        return;
    };
    let world = world("exact", &promtool, &program).await;
    let metrics = json!([
        prometheus_metric("scalar", "scalar(sum(latency_seconds))", "result < 0.5"),
        prometheus_metric("all", "latency_seconds", "all(result, # < 0.25)"),
        prometheus_metric("first", "latency_seconds", "result[0] < 0.25"),
        prometheus_metric(
            "modifier",
            "max(latency_seconds @ end())",
            "result[0] < 0.25"
        ),
        prometheus_metric("sorted", "sort_desc(latency_seconds)", "result[0] < 0.25"),
        prometheus_metric(
            "subquery",
            "max_over_time(max(latency_seconds)[10m:1m])",
            "result[0] < 0.25"
        ),
    ]);
    let (from, to) = (time(INCIDENTS[0].0 - 7200), time(INCIDENTS[0].1));
    let more = ["--from", &from, "--to", &to];
    let file = world.write("all.yaml", &template(&metrics));
    let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args([
            "backtest",
            &file,
            "--prometheus",
            world.prometheus.url(),
            "-o",
            "json",
        ])
        .args(more)
        .env("NO_PROXY", "*")
        .output()
        .await
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for metric in report["metrics"].as_array().unwrap() {
        let measurements = &metric["measurements"];
        assert_eq!(measurements["error"], 0, "{metric}");
        assert!(measurements["successful"].as_u64() > Some(0), "{metric}");
    }
    let reasons: Vec<bool> = (report["metrics"].as_array().unwrap().iter())
        .map(|metric| metric["askedAtEachTime"].is_string())
        .collect();
    assert_eq!(reasons, [false, false, false, true, true, false]);
    assert_eq!(report["runs"]["failed"], 3, "{}", report["runs"]);
}
