//! Backtests over a scripted past: what ranges tell is what instants would have told.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::analysis::Secrets;
use crate::api::Phase;
use crate::metric_providers::{HttpReply, PrometheusRequest, QueryTime, Settings};

const FROM: i64 = 1_785_542_400;

/// A series: its value at a time, if it has one then.
type Past<'a> = &'a dyn Fn(i64) -> Option<f64>;

/// What a Prometheus with one series answers.
fn answer(past: Past<'_>, request: &PrometheusRequest) -> HttpReply {
    let text = |value: f64| {
        if value.is_nan() {
            "NaN".to_owned()
        } else {
            value.to_string()
        }
    };
    let (kind, result) = match request.time {
        QueryTime::At(at) => {
            let samples: Vec<Value> = past(at)
                .map(|value| json!({"metric": {}, "value": [at, text(value)]}))
                .into_iter()
                .collect();
            ("vector", samples)
        }
        QueryTime::Range { start, end, step } => {
            let step = i64::try_from(step.as_secs()).unwrap();
            assert!(
                (end - start) / step < 11_000,
                "more than Prometheus answers"
            );
            let times = (0..)
                .map(|index| start + index * step)
                .take_while(|at| *at <= end);
            let values: Vec<Value> = times
                .filter_map(|at| past(at).map(|value| json!([at, text(value)])))
                .collect();
            (
                "matrix",
                if values.is_empty() {
                    vec![]
                } else {
                    vec![json!({"metric": {}, "values": values})]
                },
            )
        }
    };
    reply(
        200,
        &json!({"status": "success", "data": {"resultType": kind, "result": result}}),
    )
}

fn reply(status: u16, body: &Value) -> HttpReply {
    HttpReply {
        status,
        retry_after: None,
        body: body.to_string().into_bytes().into(),
    }
}

fn metric(query: &str, changes: &Value) -> Value {
    let mut metric = json!({
        "name": "rate", "interval": "1m", "count": 5, "failureLimit": 1,
        "successCondition": "result[0] >= 0.95",
        "provider": {"prometheus": {"address": "http://prometheus", "query": query}},
    });
    for (field, value) in changes.as_object().unwrap() {
        metric[field] = value.clone();
    }
    metric
}

fn subject(metrics: &[Value]) -> Subject {
    let run = json!({"metadata": {"name": "web"}, "spec": {"metrics": metrics}});
    Subject {
        run: serde_json::from_value(run).unwrap(),
        secrets: Secrets::default(),
        settings: Settings::default(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(FROM + second).unwrap()
}

fn wanted(hours: i64) -> Wanted {
    Wanted {
        from: at(0),
        to: at(hours * 3600),
        every: SignedDuration::from_hours(1),
        run_for: None,
        incidents: vec![],
        false_alarms: 0.01,
        now: at(hours * 3600 + 7200),
    }
}

fn driven(mut backtest: Backtest, source: impl Fn(&PrometheusRequest) -> HttpReply) -> Report {
    for _ in 0..200 {
        let Step::Ask(fetches) = backtest.step() else {
            return backtest.report();
        };
        for fetch in fetches {
            backtest.take(&fetch, Ok(source(&fetch.request))).unwrap();
        }
    }
    panic!("it asks for ever");
}

fn backtest(metrics: &[Value], wanted: Wanted, past: Past<'_>) -> Report {
    let backtest = Backtest::new(subject(metrics), wanted).unwrap();
    driven(backtest, |request| answer(past, request))
}

fn phases(report: &Report) -> Vec<(Timestamp, Phase)> {
    report
        .starts
        .iter()
        .map(|start| (start.end, start.phase))
        .collect()
}

/// Bad between the third and the fifth hour, silent in the tenth.
fn troubled(at: i64) -> Option<f64> {
    match (at - FROM) / 3600 {
        3..=4 => Some(0.5),
        10 => None,
        _ => Some(0.99),
    }
}

#[test]
fn a_month_of_hourly_starts_takes_few_requests() {
    let report = backtest(&[metric("x", &json!({}))], wanted(24 * 28), &troubled);
    assert_eq!(report.runs.total, 24 * 28 + 1);
    assert_eq!((report.runs.failed, report.runs.error), (2, 1));
    // 28 days of minutes are 4 ranges of 11,000, retries after Errors one more; a type, two checks.
    assert_eq!((report.requests.ranges, report.requests.instants), (5, 3));
    let ends: Vec<i64> = (report.starts.iter())
        .filter(|start| start.phase != Phase::Successful)
        .map(|start| start.end.as_second() - start.at.as_second())
        .collect();
    // The second failure decides; five Errors are 10 s apart.
    assert_eq!(ends, [60, 60, 40]);
    assert_eq!(report.clusters[0].runs, 2);
    assert_eq!(report.decided[0].limit, "failureLimit (1)");
}

#[test]
fn incidents_turn_failures_into_hits() {
    let incident =
        |from: i64, to: i64| json!({"from": at(from).to_string(), "to": at(to).to_string()});
    let incidents = Incident::list(json!([
        incident(3 * 3600, 5 * 3600 - 1),
        incident(10 * 3600, 11 * 3600),
        incident(20 * 3600 + 600, 20 * 3600 + 700),
    ]));
    let wanted = Wanted {
        incidents: incidents.unwrap(),
        ..wanted(48)
    };
    let report = backtest(&[metric("x", &json!({}))], wanted, &troubled);
    assert_eq!(report.false_alarm_rate, Some(0.0));
    let detection = report.detection.clone().unwrap();
    let seen: Vec<_> = (detection.incidents.iter())
        .map(|seen| (seen.exposed, seen.failed, seen.seconds_to_detect))
        .collect();
    assert_eq!(seen, [(2, 2, Some(60)), (2, 0, None), (0, 0, None)]);
    assert_eq!((detection.detected, detection.exposed), (1, 4));
    assert!(!report.is_as_wanted());
}

#[test]
fn what_sorts_or_is_fixed_in_time_is_asked_at_each_time() {
    for query in ["topk(1, x)", "x @ end()"] {
        let report = backtest(&[metric(query, &json!({}))], wanted(5), &troubled);
        assert_eq!(
            (report.requests.ranges, report.runs.failed),
            (0, 2),
            "{query}"
        );
        assert!(report.metrics[0].asked_at_each_time.is_some());
    }
    let range = json!({"start": "now() - duration(\"5m\")", "end": "now()", "step": "1m"});
    let mut of_range = metric("x", &json!({"successCondition": "all(result, # >= 0.95)"}));
    of_range["provider"]["prometheus"]["rangeQuery"] = range;
    let report = backtest(&[of_range], wanted(5), &troubled);
    // The values of five minutes before the start count, too.
    assert_eq!((report.requests.ranges, report.runs.failed), (0, 3));
}

#[test]
fn a_server_that_answers_ranges_otherwise_is_not_trusted() {
    let skewed = |request: &PrometheusRequest| {
        let past = |at: i64| {
            troubled(at).map(|value| {
                value + f64::from(u8::from(matches!(request.time, QueryTime::Range { .. })))
            })
        };
        answer(&past, request)
    };
    let wanted = wanted(12);
    let backtest = Backtest::new(subject(&[metric("x", &json!({}))]), wanted.clone()).unwrap();
    let report = driven(backtest, skewed);
    assert!(
        report.metrics[0]
            .asked_at_each_time
            .as_ref()
            .unwrap()
            .contains("otherwise")
    );
    let honest = self::backtest(&[metric("x", &json!({}))], wanted, &troubled);
    assert_eq!(phases(&report), phases(&honest));
}

#[test]
fn ranges_that_are_too_much_are_halved() {
    let narrow = |request: &PrometheusRequest| match request.time {
        QueryTime::Range { start, end, step }
            if (end - start) / 60 > 700 || step.as_secs() < 60 =>
        {
            reply(
                422,
                &json!({"status": "error", "errorType": "execution", "error": "too many samples"}),
            )
        }
        _ => answer(&troubled, request),
    };
    let backtest = Backtest::new(subject(&[metric("x", &json!({}))]), wanted(48)).unwrap();
    let report = driven(backtest, narrow);
    let honest = self::backtest(&[metric("x", &json!({}))], wanted(48), &troubled);
    assert_eq!(phases(&report), phases(&honest));
}

#[test]
fn a_query_that_cannot_be_read_is_asked_once() {
    let refuses = |_: &PrometheusRequest| {
        reply(
            400,
            &json!({"status": "error", "errorType": "bad_data", "error": "parse error"}),
        )
    };
    let backtest = Backtest::new(subject(&[metric("x(", &json!({}))]), wanted(48)).unwrap();
    let report = driven(backtest, refuses);
    assert_eq!((report.requests.instants, report.requests.ranges), (1, 0));
    assert_eq!(report.runs.error, 49);
}

#[test]
fn a_server_that_is_not_there_ends_it() {
    let mut backtest = Backtest::new(subject(&[metric("x", &json!({}))]), wanted(1)).unwrap();
    let Step::Ask(fetches) = backtest.step() else {
        panic!("asks nothing")
    };
    let refused = backtest.take(&fetches[0], Err("cannot connect".to_owned()));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "prometheus http://prometheus: cannot connect"
    );
}

#[test]
fn what_has_no_past_or_no_end_is_refused() {
    let web = json!({"name": "w", "provider": {"web": {"url": "http://a"}}});
    let endless = metric("x", &json!({"count": 0}));
    let refused = |metrics: &[Value]| {
        Backtest::new(subject(metrics), wanted(1))
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(
        refused(std::slice::from_ref(&web)),
        Refused::NoPast("w".to_owned())
    );
    assert_eq!(
        refused(std::slice::from_ref(&endless)),
        Refused::Endless("rate".to_owned())
    );
    let background = Wanted {
        run_for: Some(SignedDuration::from_mins(30)),
        ..wanted(12)
    };
    let report = backtest(&[endless, web], background, &troubled);
    assert_eq!(
        (
            report.runs.failed,
            report.runs.error,
            report.runs.successful
        ),
        (2, 1, 10)
    );
    assert_eq!(report.left_out, ["w"]);
}

#[test]
fn the_suggested_changes_keep_the_wanted_rate() {
    // Every ninth hour one minute is bad, every tenth two.
    let past = |at: i64| {
        let (hour, minute) = ((at - FROM) / 3600, (at - FROM) / 60 % 60);
        let bad = (hour % 9 == 1 && minute == 2) || (hour % 10 == 1 && minute < 2);
        Some(if bad { 0.9 } else { 0.97 })
    };
    let month = || Wanted {
        false_alarms: 0.15,
        ..wanted(24 * 7)
    };
    let limits = |failure: i32, in_a_row: i32| json!({"failureLimit": failure, "consecutiveSuccessLimit": in_a_row});
    for (strict, lenient) in [
        (limits(0, 0), limits(1, 0)),
        (limits(-1, 5), limits(-1, 3)),
        (limits(-1, 4), limits(-1, 3)),
    ] {
        let report = backtest(&[metric("x", &strict)], month(), &past);
        assert!(report.false_alarm_rate.unwrap() > 0.15);
        let suggested = report.metrics[0].suggestion.clone().unwrap();
        let field = |limit: Option<i32>, field: &str| limit.map(|_| lenient[field].clone());
        let failure = suggested.failure_limit;
        let in_a_row = suggested.consecutive_success_limit;
        assert_eq!(failure.map(Value::from), field(failure, "failureLimit"));
        assert_eq!(
            in_a_row.map(Value::from),
            field(in_a_row, "consecutiveSuccessLimit")
        );
        assert!(failure.is_some() != in_a_row.is_some());
        let mut moved = strict.clone();
        moved["successCondition"] = format!("result[0] {}", suggested.threshold.unwrap()).into();
        for change in [lenient, moved] {
            let again = backtest(&[metric("x", &change)], month(), &past);
            assert!(again.false_alarm_rate.unwrap() <= 0.15, "{change}");
        }
    }
}

#[test]
fn the_report_reads_well() {
    let incident = json!([{"from": at(3 * 3600).to_string(), "to": at(5 * 3600).to_string(), "name": "outage <1>"}]);
    let wanted = Wanted {
        incidents: Incident::list(incident).unwrap(),
        ..wanted(24)
    };
    let report = backtest(&[metric("x", &json!({}))], wanted, &troubled);
    insta::assert_snapshot!(report.text());
    let page = report.html();
    assert!(page.contains("outage &lt;1&gt;") && !page.contains("outage <1>"));
    for outside in ["http://", "https://", "<script", "url(", "@import"] {
        assert!(!page.contains(outside), "the page needs `{outside}`");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The law of exactness: a past with gaps and jumps, any schedule.
    #[test]
    fn ranges_tell_what_instants_tell(
        values in prop::collection::vec(prop::option::weighted(0.8, 0.8..1.0_f64), 8),
        interval in 1..200_i64,
        delay in 0..200_i64,
        every in 300..4000_i64,
        count in 1..6,
        width in 7..900_i64,
    ) {
        let past = |at: i64| values[usize::try_from((at - FROM) / width).unwrap() % values.len()];
        let changes = json!({
            "interval": format!("{interval}s"), "initialDelay": format!("{delay}s"), "count": count,
        });
        let wanted = Wanted { every: SignedDuration::from_secs(every), ..wanted(3) };
        let ranges = backtest(&[metric("x", &changes)], wanted.clone(), &past);
        let instants = backtest(&[metric("x @ 1", &changes)], wanted, &past);
        prop_assert_eq!(&ranges.starts, &instants.starts);
        prop_assert_eq!(ranges.metrics[0].measurements, instants.metrics[0].measurements);
        let by_time = |report: &Report| -> BTreeMap<i64, u64> {
            report.metrics[0].points.iter().map(|(at, number)| (*at, number.to_bits())).collect()
        };
        prop_assert_eq!(by_time(&ranges), by_time(&instants));
    }
}
