//! The commands that change something.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, Experiment, Rollout, RolloutPhase};
use verdict::cli::Program;

use super::desk::{Desk, a_world};
use crate::world::release::a_rollout;
use crate::world::{World, seconds};

#[tokio::test(start_paused = true)]
async fn a_release_is_steered_by_hand() {
    let (world, _running) = a_world(1.0).await;
    let mut desk = Desk::new(&world);
    desk.run("set image web web=web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    desk.run("pause web").await;
    desk.run("abort web").await;
    world.until_phase(RolloutPhase::Degraded).await;
    desk.run("retry rollout web").await;
    world
        .until_status(|status| status.phase == Some(RolloutPhase::Paused))
        .await;
    desk.run("promote web").await;
    desk.run("promote web --full").await;
    world.until_phase(RolloutPhase::Healthy).await;
    desk.run("promote web --full").await;
    desk.run("undo web --to-revision 2").await;
    desk.run("undo web").await;
    world.until_phase(RolloutPhase::Paused).await;
    desk.run("promote web --full").await;
    world.until_phase(RolloutPhase::Healthy).await;
    desk.run("undo web --to-revision 9").await;
    desk.run("restart web --in 1h30m").await;
    let rollout: Rollout = world.get("web").await;
    let wanted = rollout
        .spec
        .restart_at
        .unwrap()
        .0
        .duration_since(world.clock.now());
    assert!((5398..=5400).contains(&wanted.as_secs()), "{wanted}");
    let template = rollout.spec.template.json();
    let containers = &template["spec"]["containers"];
    assert_eq!(containers[0]["image"], "web:1");
    insta::assert_snapshot!(desk.transcript());
}

#[tokio::test(start_paused = true)]
async fn a_mistake_is_answered_in_one_sentence() {
    let (world, _running) = a_world(1.0).await;
    let lines = [
        "set image wbe web=web:2",
        "set image web wbe=web:2",
        "set image web web=web:2=3",
        "set image web",
        "set imge web web=1",
        "promote wbe",
        "promote web --skip-all-steps --skip-current-step",
        "promote",
        "abort web wbe",
        "pause",
        "restart web --in soon",
        "retry",
        "retry rollout wbe",
        "retry experiment wbe",
        "undo wbe",
        "terminate analysisrun wbe",
        "promot web",
        "promote web --fulll",
        "-n nowhere promote web",
        "status web --timeout 60",
        "status web --timeout",
        "get rollout web -o jsn",
        "get foo",
        "--loglevel loud status web",
        "completion tcsh",
    ];
    let mut desk = Desk::new(&world);
    desk.run_all(&lines).await;
    let mut ours = Desk::with(&world, Program::Verdict);
    ours.run_all(&["promote wbe", "promote", "status web --timeout 60"])
        .await;
    insta::assert_snapshot!(format!("{}{}", desk.transcript(), ours.transcript()));
}

#[tokio::test(start_paused = true)]
async fn many_rollouts_are_picked_by_their_labels() {
    let (world, _running) = a_world(1.0).await;
    for name in ["cart", "search"] {
        let mut rollout = a_rollout(json!({}));
        rollout["metadata"] = json!({ "name": name, "labels": { "team": "shop" } });
        for pointer in [
            "/spec/selector/matchLabels/app",
            "/spec/template/metadata/labels/app",
        ] {
            *rollout.pointer_mut(pointer).unwrap() = json!(name);
        }
        world.create::<Rollout>(rollout).await;
    }
    let healthy = |rollout: &Rollout| {
        rollout.status.as_ref().and_then(|status| status.phase) == Some(RolloutPhase::Healthy)
    };
    world.until("search", healthy).await;
    world.until("cart", healthy).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    let before: Rollout = world.get("web").await;
    let mut desk = Desk::new(&world);
    for line in [
        "promote -l team=shop --dry-run",
        "abort --all --dry-run",
        "restart -l team=shop --dry-run --in 5m",
        "promote web --full --dry-run",
    ] {
        desk.run(line).await;
    }
    let after: Rollout = world.get("web").await;
    assert_eq!(
        after.metadata.resource_version,
        before.metadata.resource_version
    );
    desk.run_all(&[
        "abort -l team=shop",
        "retry rollout --all",
        "promote -l team=none",
    ])
    .await;
    desk.run("promote web --all").await;
    insta::assert_snapshot!(desk.transcript());
}

#[tokio::test(start_paused = true)]
async fn runs_and_experiments_are_ended_and_begun_anew() {
    let world = World::without_sources().await;
    let run = json!({
        "metadata": { "name": "smoke" },
        "spec": { "metrics": [{ "name": "m", "provider": { "web": { "url": "http://a" } } }] },
    });
    world.create::<AnalysisRun>(run).await;
    let experiment = json!({ "metadata": { "name": "compare" }, "spec": { "templates": [] } });
    world.create::<Experiment>(experiment).await;
    let failed = Patch::Merge(json!({ "status": { "phase": "Failed" } }));
    let experiments = world.api::<Experiment>();
    experiments
        .patch("compare", &PatchParams::default(), &failed)
        .await
        .unwrap();
    let mut desk = Desk::new(&world);
    desk.run_all(&[
        "terminate ar smoke",
        "retry exp compare",
        "terminate experiment compare",
    ])
    .await;
    let run: AnalysisRun = world.get("smoke").await;
    let experiment: Experiment = world.get("compare").await;
    assert!(run.spec.terminate && experiment.spec.terminate);
    let phase = experiment.status.and_then(|status| status.phase);
    assert_eq!(phase, None, "it begins anew");
    insta::assert_snapshot!(desk.transcript());
}

#[tokio::test(start_paused = true)]
async fn an_image_of_a_referenced_deployment_is_set_there() {
    let world = World::without_sources().await;
    let containers = json!([{ "name": "web", "image": "web:1" }]);
    let deployment = json!({
        "metadata": { "name": "shop" },
        "spec": {
            "selector": { "matchLabels": { "app": "shop" } },
            "template": {
                "metadata": { "labels": { "app": "shop" } }, "spec": { "containers": containers },
            },
        },
    });
    world
        .create::<k8s_openapi::api::apps::v1::Deployment>(deployment)
        .await;
    let mut rollout = a_rollout(json!({}));
    rollout["spec"]["template"] = Value::Null;
    rollout["spec"]["workloadRef"] =
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" });
    world.create::<Rollout>(rollout).await;
    let mut desk = Desk::new(&world);
    desk.run("set image web *=web:2").await;
    seconds(5).await;
    let deployment: k8s_openapi::api::apps::v1::Deployment = world.get("shop").await;
    let template = deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(template.containers[0].image.as_deref(), Some("web:2"));
    insta::assert_snapshot!(desk.transcript());
}
