//! `-o`: what commands tell in place of their sentences.

use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, Experiment, Rollout, RolloutPhase};
use verdict::cli::Program;

use super::desk::{Desk, a_template, a_world};
use crate::tools::Folder;
use crate::world::release::a_rollout;
use crate::world::{World, seconds};

/// Documents that stand one after the other.
fn documents(text: &str) -> Vec<Value> {
    let json = serde_json::Deserializer::from_str(text).into_iter();
    match json.collect::<Result<Vec<Value>, _>>() {
        Ok(documents) => documents,
        Err(_) => serde_saphyr::from_multiple(text).unwrap(),
    }
}

/// The objects that the server has now.
async fn there(desk: &Desk<'_>, names: &[&str]) -> Vec<Value> {
    let mut found = Vec::new();
    for name in names {
        let told = desk.call(&format!("get {name} -o json")).await.out;
        found.append(&mut documents(&told));
    }
    found
}

/// A command tells the objects as they are after it, in each form.
async fn tells_what_it_left(desk: &Desk<'_>, line: &str, names: &[&str]) {
    for form in ["json", "yaml"] {
        let answer = desk.call(&format!("{line} -o {form}")).await;
        assert_eq!(answer.code, 0, "{line}: {}", answer.err);
        assert_eq!(documents(&answer.out), there(desk, names).await, "{line}");
    }
    let told = desk.call(&format!("{line} -o name")).await.out;
    let name = |name: &&str| name.replacen(' ', ".argoproj.io/", 1) + "\n";
    assert_eq!(told, names.iter().map(name).collect::<String>(), "{line}");
}

/// A world in which nobody acts any more: a release of `web` is paused.
async fn a_still_world() -> World {
    let (world, running) = a_world(1.0).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    running.stop().await;
    let other = a_rollout(json!({}));
    let labels = json!({ "name": "api", "labels": { "team": "core" } });
    world
        .create::<Rollout>(json!({ "metadata": labels, "spec": other["spec"] }))
        .await;
    let run = json!({ "metadata": { "name": "smoke" }, "spec": { "metrics": [] } });
    world.create::<AnalysisRun>(run).await;
    let experiment = json!({ "metadata": { "name": "compare" }, "spec": { "templates": [] } });
    world.create::<Experiment>(experiment).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_command_that_changes_something_tells_the_object_as_the_server_answers() {
    let world = a_still_world().await;
    let desk = Desk::with(&world, Program::Verdict);
    let web: &[&str] = &["rollout web"];
    let both: &[&str] = &["rollout api", "rollout web"];
    for (line, names) in [
        ("set image web web=web:3", web),
        ("undo web --to-revision 1", web),
        ("pause web", web),
        ("promote web", web),
        ("promote web --skip-current-step", web),
        ("promote web --full", web),
        ("abort web", web),
        ("retry rollout web", web),
        ("restart web --in 10m", web),
        ("pause api web", both),
        ("restart --all", both),
        ("terminate analysisrun smoke", &["analysisrun smoke"]),
        ("terminate experiment compare", &["experiment compare"]),
        ("retry experiment compare", &["experiment compare"]),
    ] {
        tells_what_it_left(&desk, line, names).await;
    }
    let wide = desk.call("pause web -o wide").await.out;
    assert_eq!(wide, "rollout 'web' paused\n");
    let nothing_to_do = desk.call("undo web --to-revision 1 -o json").await;
    assert_eq!(documents(&nothing_to_do.out), there(&desk, web).await);
    assert!(nothing_to_do.err.starts_with("skipped rollback"));
}

#[tokio::test(start_paused = true)]
async fn what_was_waited_for_is_told() {
    let (world, _running) = a_world(1.0).await;
    let desk = Desk::with(&world, Program::Verdict);
    tells_what_it_left(&desk, "wait web --for healthy", &["rollout web"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_trial_tells_what_would_be() {
    let world = a_still_world().await;
    let desk = Desk::with(&world, Program::Verdict);
    let before = there(&desk, &["rollout web"]).await;
    for (line, pointer, value) in [
        ("abort web", "/status/abort", json!(true)),
        ("promote web", "/status/pauseConditions", Value::Null),
        ("promote web --full", "/status/promoteFull", json!(true)),
        ("retry rollout web", "/status/abort", json!(false)),
        ("restart web --in 1h", "/spec/restartAt", Value::Null),
    ] {
        let answer = desk.call(&format!("{line} --dry-run -o json")).await;
        let mut told = documents(&answer.out).remove(0);
        let changed = told.pointer(pointer).unwrap_or(&Value::Null);
        let is_some_time = pointer == "/spec/restartAt" && changed.is_string();
        assert!(*changed == value || is_some_time, "{line}: {changed}");
        told["spec"] = before[0]["spec"].clone();
        told["status"] = before[0]["status"].clone();
        assert_eq!(told, before[0], "{line}: the rest is as it was");
    }
    let name = desk.call("abort --all --dry-run -o name").await;
    assert_eq!(name.out, "rollout.argoproj.io/web\n");
    let expected = "2 selected: 1 would be aborted, 1 skipped, 0 failed\n";
    let skipped = name.err.strip_suffix(expected).unwrap();
    assert!(skipped.starts_with("rollout 'api' skipped: "), "{skipped}");
    assert_eq!(there(&desk, &["rollout web"]).await, before);
    let missing = desk.call("abort wbe --dry-run").await;
    assert_eq!((missing.out.as_str(), missing.code), ("", 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_created_is_told_one_document_after_the_other() {
    let world = World::without_sources().await;
    let folder = Folder::new("forms");
    let rollout = folder.write("rollout.json", &a_rollout(json!({})).to_string());
    let template = folder.write("template.json", &a_template().to_string());
    let desk = Desk::new(&world);
    let line = format!("create -f {rollout} -f {template} -o yaml");
    let answer = desk.call(&line);
    let told = documents(&answer.await.out);
    let kinds: Vec<&Value> = told.iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["Rollout", "AnalysisTemplate"]);
    let answer = desk.call("create ar --from success-rate --name smoke -o name");
    assert_eq!(answer.await.out, "analysisrun.argoproj.io/smoke\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_watched_is_told_one_document_after_the_other() {
    let world = a_still_world().await;
    let desk = Desk::new(&world);
    let change = async {
        seconds(10).await;
        world
            .merge::<Rollout>("web", json!({ "spec": { "replicas": 9 } }))
            .await;
        seconds(10).await;
        world
            .delete::<Rollout>("api", PropagationPolicy::Background)
            .await;
    };
    let replicas = |text: &str| -> Vec<(String, i64)> {
        let told = documents(text).into_iter().map(|object| {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            (name, object["spec"]["replicas"].as_i64().unwrap())
        });
        told.collect()
    };
    let (list, json, get, ()) = tokio::join!(
        desk.call_until("list rollouts -w -o yaml", 60),
        desk.call_until("list rollouts -l team=shop -w -o json", 60),
        desk.call("get rollout web -w --timeout-seconds 60 -o yaml"),
        change,
    );
    let of = |name: &str, replicas| (name.to_owned(), replicas);
    let expected = [of("api", 10), of("web", 5), of("web", 9)];
    assert_eq!(replicas(&list.out), expected);
    assert_eq!(replicas(&json.out), expected[1..]);
    assert_eq!(replicas(&get.out), expected[1..]);
}

#[tokio::test(start_paused = true)]
async fn a_version_is_told_as_kubectl_tells_its_own() {
    let world = World::without_sources().await;
    let desk = Desk::new(&world);
    let json = documents(&desk.call("version -o json").await.out);
    let yaml = documents(&desk.call("version -o yaml").await.out);
    assert_eq!(json, yaml);
    let names: Vec<&String> = json[0]["clientVersion"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    let expected = [
        "buildDate",
        "compiler",
        "gitCommit",
        "gitTreeState",
        "gitVersion",
        "goVersion",
        "platform",
    ];
    assert_eq!(names, expected);
    let short = documents(&desk.call("version --short -o json").await.out);
    assert!(short[0]["clientVersion"]["gitVersion"].is_string());
    let refused = desk.call("version -o name").await;
    assert!(refused.err.contains("json, yaml"), "{}", refused.err);
}
