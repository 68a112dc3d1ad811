//! Four weeks of a template with four metrics, a sample each 15 s, 720 starts. Prometheus is played:
//! its answers have the size of real ones, and cost nothing but their making.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::fmt::Write as _;
use std::fs;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::Instant;
use verdict::analysis::Secrets;
use verdict::backtest::{Backtest, Step, Subject, Wanted};
use verdict::metric_providers::{HttpReply, PrometheusRequest, QueryTime, Settings};

const FROM: i64 = 1_785_542_400;
const STARTS: i64 = 720;
const DAYS: i64 = 28;

/// A value with all its digits, as a rate has them, and now and then a bad one.
fn value(metric: usize, at: i64) -> f64 {
    let turn = u32::try_from((at / 15) % 10_007).unwrap();
    let noise = f64::from(turn * 7919 % 10_007) / 10_007.0;
    let bad = (turn + u32::try_from(metric).unwrap()) % 997 < 12;
    if bad {
        0.9 + noise / 100.0
    } else {
        0.99 + noise / 100.0
    }
}

fn answer(request: &PrometheusRequest) -> HttpReply {
    let metric: usize = request.query.trim_start_matches('m').parse().unwrap();
    let body = match request.time {
        QueryTime::At(at) => format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{{\"metric\":{{}},\"value\":[{at},\"{}\"]}}]}}}}",
            value(metric, at)
        ),
        QueryTime::Range { start, end, step } => {
            let step = i64::try_from(step.as_secs()).unwrap();
            let mut body = String::from(
                "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[",
            );
            let mut at = start;
            while at <= end {
                let comma = if at == start { "" } else { "," };
                write!(body, "{comma}[{at},\"{}\"]", value(metric, at)).unwrap();
                at += step;
            }
            body.push_str("]}]}}");
            body
        }
    };
    HttpReply {
        status: 200,
        retry_after: None,
        body: body.into_bytes().into(),
    }
}

/// The most memory that the process has had, in MiB.
fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

fn subject(count: i64) -> Subject {
    let metrics: Vec<_> = (0..4)
        .map(|metric| {
            json!({
                "name": format!("metric-{metric}"), "interval": "15s", "count": count,
                "failureLimit": 2, "successCondition": "result[0] >= 0.95",
                "provider": {"prometheus": {"address": "http://prometheus", "query": format!("m{metric}")}},
            })
        })
        .collect();
    let run = json!({"metadata": {"name": "bench"}, "spec": {"metrics": metrics}});
    Subject {
        run: serde_json::from_value(run).unwrap(),
        secrets: Secrets::default(),
        settings: Settings::default(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(FROM + second).unwrap()
}

fn main() {
    // 20 measurements are a step of five minutes; 220 fill the time between two starts.
    for count in [20, 220] {
        let every = DAYS * 86_400 / STARTS / 15 * 15;
        let wanted = Wanted {
            from: at(0),
            to: at((STARTS - 1) * every),
            every: SignedDuration::from_secs(every),
            run_for: None,
            incidents: vec![],
            false_alarms: 0.01,
            now: at(DAYS * 86_400 + 3600),
        };
        let began = Instant::now();
        let mut backtest = Backtest::new(subject(count), wanted).unwrap();
        while let Step::Ask(fetches) = backtest.step() {
            for fetch in fetches {
                backtest.take(&fetch, Ok(answer(&fetch.request))).unwrap();
            }
        }
        let report = backtest.report();
        let page = report.html();
        println!(
            "backtest  {} starts x 4 metrics x {count} measurements: {:.2} s, peak {:.0} MiB, {} ranges and {} instants, page {} KiB",
            report.runs.total,
            began.elapsed().as_secs_f64(),
            peak_memory(),
            report.requests.ranges,
            report.requests.instants,
            page.len() / 1024,
        );
        assert_eq!(report.runs.total, usize::try_from(STARTS).unwrap());
        assert!(report.runs.failed > 0 && report.runs.successful > 0);
    }
}
