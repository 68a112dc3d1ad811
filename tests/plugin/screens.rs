//! What `-w` draws on a terminal, wide and narrow, in each state of a release.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use serde_json::{Value, json};
use verdict::api::{AnalysisTemplate, Experiment, Rollout, RolloutPhase};

use super::desk::Desk;
use super::reading::{an_experiment, set_status};
use crate::world::release::a_rollout;
use crate::world::{Running, World, seconds};

/// A metric that is measured each minute: success from 0.95 on, failure below 0.5.
fn a_template() -> Value {
    let metric = json!({
        "name": "success-rate", "interval": "1m", "initialDelay": "10s",
        "successCondition": "result >= 0.95", "failureCondition": "result < 0.5",
        "provider": { "web": { "url": "http://stats/rate" } },
    });
    json!({ "metadata": { "name": "success-rate" }, "spec": { "metrics": [metric] } })
}

/// A world whose metrics answer these values one after the other, and the last one for ever. In it
/// runs a canary that is judged all the time.
async fn a_canary(rates: &'static [f64]) -> (World, Running) {
    let asked = AtomicUsize::new(0);
    let world = World::new(move |_| {
        let index = asked.fetch_add(1, Ordering::Relaxed);
        let rate = rates.get(index).or(rates.last()).unwrap();
        (StatusCode::OK, json!(rate))
    })
    .await;
    let running = world.start();
    world.create::<AnalysisTemplate>(a_template()).await;
    let steps = json!([
        { "setWeight": 25 }, { "pause": { "duration": "10m" } }, { "setWeight": 50 },
        { "pause": {} },
    ]);
    let analysis = json!({ "templates": [{ "templateName": "success-rate" }] });
    let mut rollout = a_rollout(json!({ "steps": steps, "analysis": analysis }));
    rollout["spec"]["replicas"] = json!(4);
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(600).await;
    (world, running)
}

/// Releases version 2, whose pods take their time.
async fn release(world: &World) {
    let annotations = json!({ "simulation.verdict.dev/ready-after": "30s" });
    let containers = json!([{ "name": "web", "image": "web:2" }]);
    let template = json!({
        "metadata": { "annotations": annotations }, "spec": { "containers": containers },
    });
    let spec = json!({ "spec": { "template": template } });
    world.merge::<Rollout>("web", spec).await;
}

/// The screens at a moment.
async fn look(desk: &mut Desk<'_>, what: &str) {
    desk.draw(what, 110, 40).await;
    desk.draw(what, 44, 20).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_release_that_goes_well() {
    let (world, _running) = a_canary(&[0.99, 0.97, 0.99, 0.96, 0.955, 0.98]).await;
    let mut desk = Desk::new(&world);
    look(&mut desk, "get rollout web -w").await;
    release(&world).await;
    seconds(15).await;
    look(&mut desk, "get rollout web -w").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(320).await;
    look(&mut desk, "get rollout web -w").await;
    world
        .until_status(|status| status.current_step_index == Some(3))
        .await;
    seconds(60).await;
    desk.draw("get rollout web -w", 110, 40).await;
    desk.run("promote web").await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    desk.draw("get rollout web -w", 110, 40).await;
    insta::assert_snapshot!(desk.transcript());
}

#[tokio::test(start_paused = true)]
async fn of_a_release_that_is_aborted() {
    let (world, _running) = a_canary(&[0.99, 0.97, 0.3]).await;
    release(&world).await;
    world.until_phase(RolloutPhase::Degraded).await;
    seconds(60).await;
    let mut desk = Desk::new(&world);
    look(&mut desk, "get rollout web -w").await;
    insta::assert_snapshot!(desk.transcript());
}

#[tokio::test(start_paused = true)]
async fn of_an_experiment() {
    let world = World::without_sources().await;
    an_experiment(&world).await;
    seconds(300).await;
    let mut desk = Desk::new(&world);
    look(&mut desk, "get experiment compare -w").await;
    let status = json!({ "phase": "Failed", "message": "Timed out: template 'next' has no pods" });
    set_status::<Experiment>(&world, "compare", status).await;
    look(&mut desk, "get experiment compare -w").await;
    desk.draw("get experiment compare -w -o wide", 110, 40)
        .await;
    insta::assert_snapshot!(desk.transcript());
}
