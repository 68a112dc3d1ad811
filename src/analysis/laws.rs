//! What holds of every run, however it is written and whatever its sources answer.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::scripted::{Answer, World, metric, start};
use super::*;
use crate::api::{AnalysisRun, Phase};

fn answer() -> impl Strategy<Value = Answer> {
    use Answer::{E, F, I, J, N, S};
    prop::sample::select(vec![S, S, S, F, I, E, J, N])
}

fn number() -> impl Strategy<Value = Json> {
    prop_oneof![
        (-2..8_i32).prop_map(|n| json!(n)),
        Just(json!("2")),
        Just(json!("x"))
    ]
}

fn duration() -> impl Strategy<Value = Json> {
    let texts = ["0", "1s", "10s", "1m", "300ms", "-5s", "5", "2562047h", ""];
    prop::sample::select(texts.to_vec()).prop_map(|text| json!(text))
}

/// Some fields of a metric, valid or not.
fn changes() -> impl Strategy<Value = Json> {
    let numbers = [
        "count",
        "failureLimit",
        "inconclusiveLimit",
        "consecutiveErrorLimit",
        "consecutiveSuccessLimit",
    ];
    let number = (prop::sample::select(numbers.to_vec()), number());
    let time = (
        prop::sample::select(vec!["interval", "initialDelay"]),
        duration(),
    );
    vec(prop_oneof![number, time], 0..5).prop_map(|fields| {
        let mut changes = json!({"onNoData": "Skip"});
        for (field, value) in fields {
            changes[field] = value;
        }
        changes
    })
}

/// A metric that can be carried out and comes to an end.
fn sound() -> impl Strategy<Value = Json> {
    (
        1..4_i32,
        0..3_i32,
        0..3_i32,
        prop::sample::select(vec!["1s", "10s", "1m"]),
    )
        .prop_map(|(more, failures, inconclusive, interval)| {
            json!({
                "count": failures + inconclusive + more, "failureLimit": failures,
                "inconclusiveLimit": inconclusive, "interval": interval, "onNoData": "Skip",
            })
        })
}

fn names() -> [&'static str; 3] {
    ["a", "b", "c"]
}

fn world(metrics: &[Json], answers: &[Vec<Answer>], dry_run: Option<&str>) -> World {
    let metrics: Vec<Json> = names()
        .iter()
        .zip(metrics)
        .map(|(name, changes)| metric(name, changes.clone()))
        .collect();
    let mut spec = json!({"metrics": metrics});
    if let Some(name) = dry_run {
        spec["dryRun"] = json!([{"metricName": name}]);
    }
    let script: Vec<(&str, &[Answer])> = names()
        .into_iter()
        .zip(answers.iter().map(Vec::as_slice))
        .collect();
    World::new(spec, &script)
}

/// Counters agree with each other and, as long as nothing was dropped, with the measurements.
fn counters_agree(run: &AnalysisRun) {
    for result in run.status.iter().flat_map(|status| &status.metric_results) {
        assert_eq!(
            result.count,
            result.successful + result.failed + result.inconclusive
        );
        assert!(result.consecutive_success <= result.successful);
        assert!(result.consecutive_error <= result.error);
        if result.measurements.len() < 10 {
            let of = |phase| {
                let same = result
                    .measurements
                    .iter()
                    .filter(|m| m.phase == Some(phase))
                    .count();
                i32::try_from(same).unwrap()
            };
            assert_eq!(result.successful, of(Phase::Successful));
            assert_eq!(result.failed, of(Phase::Failed));
            assert_eq!(result.error, of(Phase::Error));
        }
    }
}

proptest! {
    // Every case is a whole run; Prepared is made anew in every pass of the driver.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The driver checks after every pass that deciding again changes nothing.
    #[test]
    fn runs_settle_and_their_counters_agree(
        metrics in vec(changes(), 1..4),
        answers in vec(vec(answer(), 1..6), 3),
        terminate_after in 0..8_usize,
    ) {
        let mut world = world(&metrics, &answers, None);
        for pass in 0..12 {
            world.run.spec.terminate = pass >= terminate_after;
            world.pass();
            counters_agree(&world.run);
            world.now += SignedDuration::from_secs(7);
        }
        prop_assert!(world.phase().is_some_and(Phase::is_completed), "{:?}", world.run.status);
    }

    #[test]
    fn a_dry_run_metric_never_changes_the_verdict(
        metrics in vec(sound(), 2),
        noise in changes(),
        answers in vec(vec(answer(), 1..6), 3),
    ) {
        let mut without = world(&metrics, &answers, None);
        let ended = without.run_for(2000).phase();
        let mut all = metrics;
        all.push(noise);
        let mut with = world(&all, &answers, Some("c"));
        if Prepared::new(&with.run).is_ok() {
            let verdict = with.run_for(2000).phase();
            if ended.is_some_and(Phase::is_completed) && verdict.is_some_and(Phase::is_completed) {
                prop_assert_eq!(ended, verdict);
                prop_assert_eq!(without.message(), with.message());
            }
        }
    }

    #[test]
    fn the_order_in_which_sources_answer_does_not_matter(
        metrics in vec(sound(), 3),
        answers in vec(vec(answer(), 1..6), 3),
        order in Just(vec![0_usize, 1, 2]).prop_shuffle(),
    ) {
        let first = world(&metrics, &answers, None);
        let prepared = Prepared::new(&first.run).unwrap();
        let measured = first.all_measured(&prepared);
        let shuffled: Vec<Measured> = order.iter().map(|at| measured[*at].clone()).collect();
        let status = |measured: &[Measured]| decide(&Observed {
            run: &first.run,
            prepared: Ok(&prepared),
            measured,
            in_flight: &BTreeSet::new(),
            woken: &BTreeSet::new(),
            now: start(),
        });
        prop_assert_eq!(status(&measured), status(&shuffled));
    }

    #[test]
    fn no_spec_makes_it_panic(
        changes in changes(),
        pattern in ".{0,6}",
        text in ".{0,12}",
        limit in any::<i32>(),
        seconds in any::<i32>(),
    ) {
        let mut spec = json!({
            "metrics": [metric("a", changes)],
            "dryRun": [{"metricName": pattern}],
            "measurementRetention": [{"metricName": "*", "limit": limit}],
            "args": [{"name": text, "value": text}],
            "ttlStrategy": {"secondsAfterCompletion": seconds},
        });
        spec["metrics"][0]["failureCondition"] = json!(format!("{text}{{{{ args.{text}"));
        spec["metrics"][0]["name"] = json!(text);
        let mut world = World::new(spec, &[]);
        for _ in 0..3 {
            world.pass();
            world.now += SignedDuration::from_hours(1);
        }
    }
}

/// A status that anybody may have written.
fn status() -> impl Strategy<Value = Json> {
    let phase =
        || prop::sample::select(vec!["", "Pending", "Running", "Successful", "Failed", "x"]);
    let time = || {
        prop::sample::select(vec![
            json!(null),
            json!("2026-08-01T09:59:00Z"),
            json!("2026-08-01T10:00:00Z"),
            json!("9999-12-30T22:00:00Z"),
            json!("soon"),
        ])
    };
    let measurement = (phase(), time(), time(), time()).prop_map(|(phase, began, ended, resume)| {
        json!({"phase": phase, "startedAt": began, "finishedAt": ended, "resumeAt": resume})
    });
    let result = (
        prop::sample::select(names().to_vec()),
        phase(),
        vec(measurement, 0..13),
        any::<[i32; 5]>(),
    );
    let result = result.prop_map(
        |(name, phase, measurements, [count, failed, error, row, streak])| {
            json!({
                "name": name, "phase": phase, "measurements": measurements, "count": count,
                "failed": failed, "error": error, "consecutiveError": row,
                "consecutiveSuccess": streak,
            })
        },
    );
    (phase(), vec(result, 0..4), time(), time()).prop_map(|(phase, results, began, ended)| {
        json!({
            "phase": phase, "metricResults": results, "startedAt": began, "completedAt": ended,
        })
    })
}

proptest! {
    #[test]
    fn no_status_makes_it_panic_or_spin(
        metrics in vec(changes(), 1..4),
        answers in vec(vec(answer(), 1..6), 3),
        status in status(),
    ) {
        let mut world = world(&metrics, &answers, None);
        let object = json!({"metadata": {"name": "run"}, "spec": world.run.spec, "status": status});
        world.run = serde_json::from_value(object).unwrap();
        for _ in 0..4 {
            world.pass();
            world.now += SignedDuration::from_secs(7);
        }
    }
}
