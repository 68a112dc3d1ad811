//! Every ready-made template parses, resolves with the arguments that it documents, and judges
//! what its source answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};
use verdict::analysis::{Merged, Prepared, TemplateKey, Templates, Wanted, merge};
use verdict::api::{AnalysisRun, AnalysisTemplate, AnalysisTemplateRef, Argument, Phase};

use crate::world::World;

/// A template, the arguments that have no default, and what its verdict on a reply must be.
struct Case {
    file: &'static str,
    args: &'static [(&'static str, &'static str)],
    verdicts: Vec<(Value, Phase)>,
}

const OF_A_REVISION: &[(&str, &str)] = &[
    ("service-name", "web"),
    ("pod-template-hash", "7d4b9c"),
    ("prometheus-address", "http://prometheus.monitoring:9090"),
];

fn cases() -> Vec<Case> {
    vec![
        Case {
            file: "prometheus/http-success-rate.yaml",
            args: OF_A_REVISION,
            verdicts: vec![
                (vector(&["0.9987"]), Phase::Successful),
                (vector(&["0.5"]), Phase::Failed),
                (vector(&["0"]), Phase::Failed),
                (vector(&[]), Phase::Error),
                (vector(&["NaN"]), Phase::Error),
            ],
        },
        Case {
            file: "prometheus/http-p99-latency.yaml",
            args: OF_A_REVISION,
            verdicts: vec![
                (vector(&["0.2475"]), Phase::Successful),
                (vector(&["2.5"]), Phase::Failed),
                (vector(&["+Inf"]), Phase::Failed),
                (vector(&[]), Phase::Error),
                (vector(&["NaN"]), Phase::Error),
            ],
        },
        Case {
            file: "web/json-ratio.yaml",
            args: &[("url", "http://stats.shop/web")],
            verdicts: vec![
                (json!({ "successRate": 0.9987 }), Phase::Successful),
                (json!({ "successRate": 0.5 }), Phase::Failed),
                (json!({ "successRate": null }), Phase::Error),
                (json!({}), Phase::Error),
            ],
        },
    ]
}

/// As Prometheus answers an instant query.
fn vector(values: &[&str]) -> Value {
    let samples: Vec<Value> = values
        .iter()
        .map(|value| json!({ "metric": {}, "value": [1_785_578_400.781, value] }))
        .collect();
    json!({ "status": "success", "data": { "resultType": "vector", "result": samples } })
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/analysis-templates"))
}

fn text(case: &Case) -> String {
    fs::read_to_string(folder().join(case.file)).unwrap()
}

fn template(case: &Case) -> AnalysisTemplate {
    let value: Value = serde_saphyr::from_str(&text(case)).unwrap();
    let template: AnalysisTemplate = serde_json::from_value(value.clone()).unwrap();
    let again = serde_json::to_value(&template).unwrap();
    assert_eq!(again, value, "{}: not all of it was understood", case.file);
    template
}

/// The run that somebody starts who gives the template's arguments.
fn run(case: &Case) -> AnalysisRun {
    let template = template(case);
    let name = template.metadata.name.unwrap();
    let references = [AnalysisTemplateRef {
        template_name: name.clone(),
        ..AnalysisTemplateRef::default()
    }];
    let args: Vec<Argument> = case
        .args
        .iter()
        .map(|(name, value)| serde_json::from_value(json!({ "name": name, "value": value })))
        .collect::<Result<_, _>>()
        .unwrap();
    let mut templates = Templates::default();
    let key = TemplateKey::from(&references[0]);
    templates.insert(key, Some(Arc::new(template.spec)));
    let wanted = Wanted {
        field: "templates",
        templates: &references,
        args: &args,
        dry_run: &[],
        measurement_retention: &[],
    };
    let Merged { spec, warnings } = merge(&wanted, &templates).unwrap();
    assert!(warnings.is_empty(), "{}: {warnings:?}", case.file);
    AnalysisRun::new(&name, spec)
}

#[test]
fn every_template_has_a_case() {
    let mut files = BTreeSet::new();
    for provider in fs::read_dir(folder()).unwrap() {
        let provider = provider.unwrap();
        for file in fs::read_dir(provider.path()).unwrap() {
            let (folder, file) = (provider.file_name(), file.unwrap().file_name());
            files.insert(format!("{}/{}", folder.display(), file.display()));
        }
    }
    let known: BTreeSet<String> = cases().iter().map(|case| case.file.to_owned()).collect();
    assert_eq!(files, known);
}

#[test]
fn every_template_says_what_it_asks_and_what_its_arguments_mean() {
    for case in cases() {
        let (file, text) = (case.file, text(&case));
        for heading in ["# Question ", "# Source ", "# Value ", "# Judged "] {
            let is_there = text.lines().any(|line| line.starts_with(heading));
            assert!(is_there, "{file}: no line `{heading}…`");
        }
        let template = template(&case);
        let stem = Path::new(file).file_stem().unwrap().to_str();
        assert_eq!(template.metadata.name.as_deref(), stem, "{file}");
        for argument in &template.spec.args {
            let written = format!("  - name: {} ", argument.name);
            let line = text.lines().find(|line| line.starts_with(&written));
            let is_told = line.is_some_and(|line| line.contains(" # "));
            assert!(is_told, "{file}: `{}` is not explained", argument.name);
        }
        let required = template.spec.args.iter().filter(|arg| arg.value.is_none());
        let required: Vec<&str> = required.map(|arg| arg.name.as_str()).collect();
        let given: Vec<&str> = case.args.iter().map(|(name, _)| *name).collect();
        assert_eq!(required, given, "{file}");
    }
}

#[test]
fn every_template_resolves_without_a_warning() {
    for case in cases() {
        let run = run(&case);
        let prepared = Prepared::new(&run).unwrap();
        assert!(prepared.warnings().is_empty(), "{}", case.file);
        let endless = verdict::analysis::endless(&run.spec, "spec");
        assert!(endless.is_empty(), "{}: {endless:?}", case.file);
    }
}

#[tokio::test(start_paused = true)]
async fn every_template_judges_what_its_source_answers() {
    for case in cases() {
        for (reply, expected) in &case.verdicts {
            let answer = reply.clone();
            let world = World::new(move |_| (StatusCode::OK, answer.clone())).await;
            let _running = world.start();
            let run = serde_json::to_value(run(&case)).unwrap();
            let name = run["metadata"]["name"].as_str().unwrap();
            world.create::<AnalysisRun>(run.clone()).await;
            let phase = |run: &AnalysisRun| run.status.as_ref().and_then(|status| status.phase);
            let is_ended = |run: &AnalysisRun| phase(run).is_some_and(Phase::is_completed);
            let ended = world.until(name, is_ended).await;
            assert_eq!(phase(&ended), Some(*expected), "{} {reply}", case.file);
            let asked = world.asked.lock().unwrap();
            for (_, value) in case.args.iter().filter(|(_, value)| !value.contains(':')) {
                assert!(asked[0].contains(value), "{}: {asked:?}", case.file);
            }
            assert!(!asked[0].contains("args."), "{}: {asked:?}", case.file);
        }
    }
}
