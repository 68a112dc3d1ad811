//! Every ready-made template parses, resolves with the arguments that it documents, and judges
//! what its source answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use verdict::analysis::{Merged, Prepared, TemplateKey, Templates, Wanted, merge};
use verdict::api::{AnalysisRun, AnalysisTemplate, AnalysisTemplateRef, Argument, Phase};
use verdict::lint::{self, Document, lint};

use crate::tools::tool;
use crate::world::World;

/// A template, the arguments that have no default, and how it must judge what was recorded.
struct Case {
    /// `prometheus/http-success-rate.yaml`
    file: String,
    args: Vec<(String, String)>,
    recorded: Vec<Recorded>,
    /// When the queries were asked, after the first sample.
    at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Recorded {
    verdict: Phase,
    /// By metric: the value that Prometheus answers, four digits after the point; null for none.
    #[serde(default)]
    values: BTreeMap<String, Option<String>>,
    /// What a web endpoint answers.
    reply: Option<Value>,
    /// How a Job's container ends.
    exit_code: Option<i32>,
    /// What Prometheus knew, as `promtool` writes series.
    series: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    args: BTreeMap<String, String>,
    #[serde(default)]
    at: String,
    cases: Vec<Recorded>,
}

/// Each template with its fixture. One without the other is a failure.
fn cases() -> Vec<Case> {
    let fixtures = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/analysis_templates"
    ));
    let files = fs::read_dir(fixtures).unwrap();
    let mut cases: Vec<Case> = files
        .map(|file| {
            let path = file.unwrap().path();
            let value: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let Fixture { args, at, cases } = serde_json::from_value(value).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            Case {
                file: name.replacen('-', "/", 1),
                args: args.into_iter().collect(),
                recorded: cases,
                at,
            }
        })
        .collect();
    cases.sort_by(|one, other| one.file.cmp(&other.file));
    cases
}

/// As Prometheus answers an instant query.
fn vector(value: Option<&str>) -> Value {
    let sample = |value: &str| json!({"metric": {}, "value": [1_785_578_400.781, value]});
    let samples: Vec<Value> = value.into_iter().map(sample).collect();
    json!({"status": "success", "data": {"resultType": "vector", "result": samples}})
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/analysis-templates"))
}

fn text(case: &Case) -> String {
    fs::read_to_string(folder().join(&case.file)).unwrap()
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
    let known: BTreeSet<String> = cases().into_iter().map(|case| case.file).collect();
    assert_eq!(files, known);
}

#[test]
fn every_template_says_what_it_asks_and_what_its_arguments_mean() {
    for case in cases() {
        let (file, text) = (&case.file, text(&case));
        for heading in [
            "# Question ",
            "# Source ",
            "# Value ",
            "# Judged ",
            "# Why ",
        ] {
            let is_there = text.lines().any(|line| line.starts_with(heading));
            assert!(is_there, "{file}: no line `{heading}…`");
        }
        let template = template(&case);
        let stem = Path::new(file.as_str()).file_stem().unwrap().to_str();
        assert_eq!(template.metadata.name.as_deref(), stem, "{file}");
        for argument in &template.spec.args {
            let written = format!("  - name: {} ", argument.name);
            let line = text.lines().find(|line| line.starts_with(&written));
            let is_told = line.is_some_and(|line| line.contains(" # "));
            assert!(is_told, "{file}: `{}` is not explained", argument.name);
        }
        let required = template.spec.args.iter().filter(|arg| arg.value.is_none());
        let required: BTreeSet<&str> = required.map(|arg| arg.name.as_str()).collect();
        let given: BTreeSet<&str> = case.args.iter().map(|(name, _)| name.as_str()).collect();
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

#[test]
fn lint_has_nothing_to_say_of_any_template() {
    for case in cases() {
        let documents = Document::read(&case.file, &text(&case)).unwrap();
        assert_eq!(documents.len(), 1, "{}", case.file);
        let findings = lint(&documents, &lint::templates(&documents), false);
        assert!(findings.is_empty(), "{}: {findings:?}", case.file);
    }
}

/// What the source of a run answers: to each query of Prometheus the value that its metric had.
fn answers(run: &AnalysisRun, recorded: &Recorded) -> impl Fn(&str) -> Value + use<> {
    let prepared = Prepared::new(run).unwrap();
    let by_query: BTreeMap<String, Value> = (prepared.metrics())
        .filter_map(|metric| {
            let query = metric.provider.prometheus.as_ref()?.query.clone();
            let value = recorded.values.get(&metric.name)?;
            Some((query, vector(value.as_deref())))
        })
        .collect();
    let reply = recorded.reply.clone();
    move |asked: &str| {
        let query = asked.split_once("query=").map(|(_, form)| {
            let url = reqwest::Url::parse(&format!("http://form/?query={form}")).unwrap();
            url.query_pairs().next().unwrap().1.into_owned()
        });
        match (query, &reply) {
            (Some(query), None) => by_query[&query].clone(),
            (_, Some(reply)) => reply.clone(),
            (None, None) => panic!("nothing was recorded for {asked}"),
        }
    }
}

/// The run as it is made, its Job's pods told how to end.
fn object(case: &Case, recorded: &Recorded) -> Value {
    let mut object = serde_json::to_value(run(case)).unwrap();
    if let Some(code) = recorded.exit_code {
        let annotation = json!({"simulation.verdict.dev/exit-code": code.to_string()});
        let template = &mut object["spec"]["metrics"][0]["provider"]["job"]["spec"]["template"];
        template["metadata"] = json!({"annotations": annotation});
    }
    object
}

#[tokio::test(start_paused = true)]
async fn every_template_judges_what_its_source_answers() {
    for case in cases() {
        let mut verdicts = BTreeSet::new();
        for recorded in &case.recorded {
            let answer = answers(&run(&case), recorded);
            let world = World::new(move |asked| (StatusCode::OK, answer(asked))).await;
            let _running = world.start();
            let object = object(&case, recorded);
            let name = object["metadata"]["name"].as_str().unwrap();
            world.create::<AnalysisRun>(object.clone()).await;
            let phase = |run: &AnalysisRun| run.status.as_ref().and_then(|status| status.phase);
            let is_ended = |run: &AnalysisRun| phase(run).is_some_and(Phase::is_completed);
            let ended = world.until(name, is_ended).await;
            let said = ended.status.as_ref().map(|status| status.message.clone());
            assert_eq!(
                phase(&ended),
                Some(recorded.verdict),
                "{} {recorded:?}: {said:?}",
                case.file
            );
            verdicts.insert(recorded.verdict.as_str());
            for asked in world.asked.lock().unwrap().iter() {
                assert!(!asked.contains("args."), "{}: {asked}", case.file);
            }
        }
        let both = ["Successful", "Failed"]
            .iter()
            .all(|phase| verdicts.contains(phase));
        assert!(both, "{} is judged one way only: {verdicts:?}", case.file);
    }
}

/// A query and its recorded value, as a test of `promtool`. NaN is not equal to itself: of it there
/// must be one.
fn expected(query: &str, value: Option<&str>, at: &str) -> Value {
    let (expression, samples) = match value {
        None => (query.to_owned(), vec![]),
        Some("NaN") => (
            format!("count(({query}) unless (({query}) == ({query})))"),
            vec![1.0],
        ),
        Some(value) => (
            format!("round({query}, 0.0001)"),
            vec![value.parse::<f64>().unwrap()],
        ),
    };
    let samples: Vec<Value> = (samples.into_iter())
        .map(|value| json!({"labels": "{}", "value": value}))
        .collect();
    json!({"expr": expression, "eval_time": at, "exp_samples": samples})
}

/// The recorded values are what the queries give for the recorded series.
#[test]
fn what_was_recorded_is_what_prometheus_answers() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let mut tests = Vec::new();
    for case in cases() {
        let run = run(&case);
        let prepared = Prepared::new(&run).unwrap();
        for recorded in &case.recorded {
            let Some(series) = &recorded.series else {
                continue;
            };
            let input: Vec<Value> = series
                .iter()
                .map(|(series, values)| json!({"series": series, "values": values}))
                .collect();
            let expressions: Vec<Value> = (prepared.metrics())
                .map(|metric| {
                    let query = &metric.provider.prometheus.as_ref().unwrap().query;
                    expected(query, recorded.values[&metric.name].as_deref(), &case.at)
                })
                .collect();
            tests.push(
                json!({"interval": "1m", "input_series": input, "promql_expr_test": expressions}),
            );
        }
    }
    assert!(tests.len() > 30);
    let file = json!({"evaluation_interval": "1m", "tests": tests}).to_string();
    let path = std::env::temp_dir().join(format!("verdict-templates-{}.yaml", std::process::id()));
    fs::write(&path, file).unwrap();
    let output = Command::new(promtool)
        .args(["test", "rules"])
        .arg(&path)
        .output()
        .unwrap();
    fs::remove_file(&path).unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
}
