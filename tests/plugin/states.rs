//! What each command tells and sends, in each state that a release may be in.

use axum::http::StatusCode;
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, AnalysisTemplate, Rollout, RolloutPhase};
use verdict::cli::Program;

use super::desk::{Desk, a_template};
use crate::world::release::{a_rollout, a_rollout_with};
use crate::world::{Running, World, seconds};

const LOOKS: [&str; 6] = [
    "get rollout web",
    "list rollouts",
    "list rollouts -o wide",
    "list analysisruns -o wide",
    "why web",
    "status web --watch=false",
];

const ACTS: [&str; 14] = [
    "set image web web=web:3",
    "promote web",
    "promote web --full",
    "promote web --skip-current-step",
    "promote web --skip-all-steps",
    "promote --all",
    "pause web",
    "abort web",
    "abort --all",
    "retry rollout web",
    "retry rollout --all",
    "undo web",
    "undo web --to-revision 1",
    "restart web --in 10m",
];

/// They take a second each.
const WAITS: [&str; 4] = [
    "status web --timeout 1s",
    "wait web --for healthy --timeout 1s",
    "wait web --for paused --timeout 1s",
    "wait web --for degraded --timeout 1s",
];

/// What is told of `web`, and what is sent about it.
async fn told(world: &World) -> String {
    let mut desk = Desk::with(world, Program::Verdict);
    desk.run_all(&LOOKS).await;
    let runs = world.names::<AnalysisRun>().await;
    for run in &runs {
        desk.run(&format!("get analysisrun {run} -o wide")).await;
    }
    tells_the_object_itself(world, &desk).await;
    for line in ACTS {
        desk.try_out(line).await;
    }
    for run in &runs {
        desk.try_out(&format!("terminate analysisrun {run}")).await;
    }
    desk.run_all(&WAITS).await;
    desk.transcript()
}

/// With `-o` a command tells what the server has; `wide` adds columns on the right.
async fn tells_the_object_itself(world: &World, desk: &Desk<'_>) {
    let rollout: Rollout = world.get("web").await;
    let mut expected = serde_json::to_value(&rollout).unwrap();
    expected["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    for line in ["get rollout web -o", "list rollouts -o"] {
        let json = desk.call(&format!("{line} json")).await.out;
        let json: Value = serde_json::from_str(&json).unwrap();
        let yaml = desk.call(&format!("{line} yaml")).await.out;
        let yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(json, yaml);
        let object = json.pointer("/items/0").unwrap_or(&json);
        assert_eq!(
            serde_json::from_value::<Rollout>(object.clone()).unwrap(),
            serde_json::from_value(expected.clone()).unwrap()
        );
        let name = desk.call(&format!("{line} name")).await.out;
        assert_eq!(name, "rollout.argoproj.io/web\n");
    }
    let usual = desk.call("get rollout web").await.out;
    let wide = desk.call("get rollout web -o wide").await.out;
    for (usual, wide) in usual.lines().zip(wide.lines()) {
        assert!(wide.starts_with(usual.trim_end()), "{wide}\n{usual}");
    }
}

/// Success from 0.95 on, failure below 0.5, and nothing is known between them.
fn a_strict_template() -> Value {
    let mut template = a_template();
    template["spec"]["metrics"][0]["failureCondition"] = json!("result < 0.5");
    template["spec"]["metrics"][0]["failureLimit"] = json!(0);
    // Two controllers do not act in the same second.
    template["spec"]["metrics"][0]["initialDelay"] = json!("10s");
    template
}

/// A world whose metrics answer this, with version 1 of a Rollout of this strategy running.
async fn a_world(strategy: Value, status: StatusCode, answer: f64) -> (World, Running) {
    let world = World::new(move |_| (status, json!(answer))).await;
    let running = world.start();
    world.create_services(&["active", "preview"]).await;
    world.create::<AnalysisTemplate>(a_strict_template()).await;
    let mut rollout = a_rollout_with(strategy);
    rollout["spec"]["replicas"] = json!(4);
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(600).await;
    (world, running)
}

fn an_analysis() -> Value {
    json!({ "templates": [{ "templateName": "success-rate" }] })
}

/// A quarter, a pause for a person, an analysis, half.
async fn a_canary(answer: f64) -> (World, Running) {
    let steps = json!([
        { "setWeight": 25 }, { "pause": {} }, { "analysis": an_analysis() }, { "setWeight": 50 },
    ]);
    a_world(
        json!({ "canary": { "steps": steps } }),
        StatusCode::OK,
        answer,
    )
    .await
}

async fn a_blue_green(change: Value, answer: f64) -> (World, Running) {
    let mut plan = json!({ "activeService": "active", "previewService": "preview" });
    json_patch::merge(&mut plan, &change);
    a_world(json!({ "blueGreen": plan }), StatusCode::OK, answer).await
}

impl World {
    /// Releases version 2, whose pods are told how to behave.
    async fn release_that(&self, behaviour: &str, value: &str) {
        let annotations = json!({ format!("simulation.verdict.dev/{behaviour}"): value });
        let containers = json!([{ "name": "web", "image": "web:2" }]);
        let template = json!({
            "metadata": { "annotations": annotations }, "spec": { "containers": containers },
        });
        self.merge::<Rollout>("web", json!({ "spec": { "template": template } }))
            .await;
    }

    /// Releases version 2 and lets it go on at its pause.
    async fn release_and_promote(&self) {
        self.release("web:2").await;
        self.until_phase(RolloutPhase::Paused).await;
        self.merge_status(json!({ "pauseConditions": null })).await;
        self.until_status(|status| status.current_step_index == Some(2))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn canary_01_that_no_controller_has_seen() {
    let world = World::without_sources().await;
    world.create::<Rollout>(a_rollout(json!({}))).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_02_whose_first_version_comes_up() {
    let world = World::without_sources().await;
    let _running = world.start();
    let mut rollout = a_rollout(json!({ "steps": [{ "setWeight": 25 }, { "pause": {} }] }));
    rollout["spec"]["replicas"] = json!(2);
    let annotations = json!({ "simulation.verdict.dev/ready-after": "5m" });
    rollout["spec"]["template"]["metadata"]["annotations"] = annotations;
    world.create::<Rollout>(rollout).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_03_that_is_healthy() {
    let (world, _running) = a_canary(1.0).await;
    let yaml = Desk::new(&world).call("get rollout web -o yaml").await.out;
    let mut desk = Desk::with(&world, Program::Verdict);
    desk.run("get rollout web -o yaml").await;
    assert_eq!(
        yaml.lines().next(),
        Some("apiVersion: argoproj.io/v1alpha1")
    );
    insta::assert_snapshot!(desk.transcript() + &told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_04_whose_new_pods_are_not_ready_yet() {
    let (world, _running) = a_canary(1.0).await;
    world.release_that("ready-after", "5m").await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_05_that_is_paused_until_somebody_promotes_it() {
    let (world, _running) = a_canary(1.0).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(600).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_06_that_is_paused_for_a_time_and_judged_meanwhile() {
    let steps =
        json!([{ "setWeight": 25 }, { "pause": { "duration": "1h" } }, { "setWeight": 50 }]);
    let canary = json!({ "steps": steps, "analysis": an_analysis() });
    let (world, _running) = a_world(json!({ "canary": canary }), StatusCode::OK, 1.0).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(100).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_07_that_somebody_has_paused() {
    let (world, _running) = a_canary(1.0).await;
    world.release_that("ready-after", "5m").await;
    seconds(60).await;
    world
        .merge::<Rollout>("web", json!({ "spec": { "paused": true } }))
        .await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_08_whose_step_is_being_judged() {
    let (world, _running) = a_canary(1.0).await;
    world.release_and_promote().await;
    seconds(75).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_09_whose_judgement_is_inconclusive() {
    let (world, _running) = a_canary(0.7).await;
    world.release_and_promote().await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_10_that_was_judged_bad() {
    let (world, _running) = a_canary(0.3).await;
    world.release_and_promote().await;
    world.until_phase(RolloutPhase::Degraded).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_11_whose_metrics_cannot_be_had() {
    let steps = json!([{ "setWeight": 25 }, { "analysis": an_analysis() }]);
    let canary = json!({ "canary": { "steps": steps } });
    let (world, _running) = a_world(canary, StatusCode::BAD_GATEWAY, 1.0).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Degraded).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_12_that_somebody_has_aborted() {
    let (world, _running) = a_canary(1.0).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    world.merge_status(json!({ "abort": true })).await;
    world.until_phase(RolloutPhase::Degraded).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_13_whose_new_pods_never_get_ready() {
    let (world, _running) = a_canary(1.0).await;
    let limit = json!({ "spec": { "progressDeadlineSeconds": 120 } });
    world.merge::<Rollout>("web", limit).await;
    world.release_that("image-pull-error", "true").await;
    world.until_phase(RolloutPhase::Degraded).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_14_whose_spec_is_invalid() {
    let (world, _running) = a_canary(1.0).await;
    let steps = json!([{ "setWeight": 120 }, { "pause": { "duration": "soon" } }]);
    let canary = json!({ "steps": steps, "maxSurge": 0, "maxUnavailable": 0 });
    let spec = json!({ "strategy": { "canary": canary } });
    world.merge::<Rollout>("web", json!({ "spec": spec })).await;
    world.until_phase(RolloutPhase::Degraded).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_15_that_is_promoted() {
    let (world, _running) = a_canary(1.0).await;
    world.release_and_promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_16_that_goes_back_to_an_earlier_version() {
    let (world, _running) = a_canary(1.0).await;
    world.release_and_promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    let undone = Desk::new(&world).call("undo web").await;
    assert_eq!(undone.out, "rollout 'web' undo\n");
    world.until_phase(RolloutPhase::Paused).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn canary_17_whose_change_no_controller_has_seen() {
    let (world, running) = a_canary(1.0).await;
    running.stop().await;
    world.release("web:2").await;
    seconds(600).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn blue_green_01_that_waits_for_somebody_to_promote_it() {
    let (world, _running) = a_blue_green(json!({ "autoPromotionEnabled": false }), 1.0).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(60).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn blue_green_02_that_is_judged_before_the_switch() {
    let plan = json!({ "prePromotionAnalysis": an_analysis() });
    let (world, _running) = a_blue_green(plan, 1.0).await;
    world.release("web:2").await;
    seconds(75).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn blue_green_03_that_was_judged_bad_before_the_switch() {
    let plan = json!({ "prePromotionAnalysis": an_analysis() });
    let (world, _running) = a_blue_green(plan, 0.3).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Degraded).await;
    seconds(10).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn blue_green_04_whose_old_pods_still_run() {
    let (world, _running) = a_blue_green(json!({}), 1.0).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(5).await;
    insta::assert_snapshot!(told(&world).await);
}

#[tokio::test(start_paused = true)]
async fn blue_green_05_that_is_judged_after_the_switch() {
    let plan = json!({ "postPromotionAnalysis": an_analysis() });
    let (world, _running) = a_blue_green(plan, 1.0).await;
    world.release("web:2").await;
    seconds(75).await;
    insta::assert_snapshot!(told(&world).await);
}

/// A metric of a web source.
fn measuring(path: &str) -> Value {
    json!([{
        "name": "rate", "successCondition": "result >= 0.95", "failureCondition": "result < 0.5",
        "count": 2, "interval": "1m",
        "provider": { "web": { "url": format!("http://stats/{path}") } },
    }])
}

#[tokio::test(start_paused = true)]
async fn analysis_runs_in_all_their_phases() {
    let world = World::new(|asked| match asked.split(' ').next() {
        Some("http://stats/good") => (StatusCode::OK, json!(1.0)),
        Some("http://stats/bad") => (StatusCode::OK, json!(0.3)),
        Some("http://stats/unclear") => (StatusCode::OK, json!(0.7)),
        _ => (StatusCode::BAD_GATEWAY, json!("no route to the shop")),
    })
    .await;
    let running = world.start();
    let names = ["good", "bad", "unclear", "broken", "ended", "under-way"];
    for name in names {
        let path = match name {
            "ended" | "under-way" => "good",
            path => path,
        };
        let mut metrics = measuring(path);
        if name == "under-way" || name == "ended" {
            metrics[0].as_object_mut().unwrap().remove("count");
        }
        let run = json!({ "metadata": { "name": name }, "spec": { "metrics": metrics } });
        world.create::<AnalysisRun>(run).await;
    }
    seconds(90).await;
    let end = json!({ "spec": { "terminate": true } });
    world.merge::<AnalysisRun>("ended", end).await;
    seconds(90).await;
    running.stop().await;
    let run = json!({ "metadata": { "name": "new" }, "spec": { "metrics": measuring("good") } });
    world.create::<AnalysisRun>(run).await;
    let mut desk = Desk::with(&world, Program::Verdict);
    desk.run_all(&["list analysisruns", "list ar -A -o wide", "list ar -o name"])
        .await;
    for name in names.into_iter().chain(["new"]) {
        desk.run(&format!("get ar {name} -o wide")).await;
        desk.try_out(&format!("terminate ar {name}")).await;
    }
    insta::assert_snapshot!(desk.transcript());
}
