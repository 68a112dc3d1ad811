//! `why`, `wait`, `get analysisrun`, and watches: what people ask while a release goes on.

use verdict::api::{Rollout, RolloutPhase};
use verdict::cli::Program;

use super::desk::{Desk, a_world};
use crate::world::seconds;

#[tokio::test(start_paused = true)]
async fn an_abort_is_explained_by_its_measurements() {
    let (world, _running) = a_world(0.7).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    let mut desk = Desk::with(&world, Program::Verdict);
    desk.run("promote web").await;
    world.until_phase(RolloutPhase::Degraded).await;
    seconds(60).await;
    desk.run_all(&["why web", "list analysisruns -o wide"])
        .await;
    let run = desk.call("list analysisruns -o name").await.out;
    let run = run.trim().rsplit('/').next().unwrap().to_owned();
    desk.run(&format!("get analysisrun {run} -o wide")).await;
    desk.run(&format!("get analysisrun {run} -o name")).await;
    let json = desk
        .call(&format!("get analysisrun {run} -o json"))
        .await
        .out;
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["status"]["phase"], "Failed");
    let why = desk.call("why web -o json").await.out;
    let why: serde_json::Value = serde_json::from_str(&why).unwrap();
    assert_eq!(why["phase"], "Degraded");
    assert!(
        why["moves"][0]
            .as_str()
            .unwrap()
            .contains("retry rollout web"),
        "{why}"
    );
    let yaml = desk.call("get rollout web -o yaml").await.out;
    let read: Rollout = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(read.metadata.name.as_deref(), Some("web"));
    insta::assert_snapshot!(desk.transcript());
}

#[tokio::test(start_paused = true)]
async fn goals_are_waited_for() {
    let (world, _running) = a_world(0.7).await;
    world.release("web:2").await;
    let mut desk = Desk::with(&world, Program::Verdict);
    for line in [
        "wait web --for step=1 --timeout 10m",
        "wait web --for paused --for healthy",
        "wait web --for healthy --timeout 1m",
        "wait wbe --for healthy",
        "wait web --for sick",
        "promote web",
        "wait web --for healthy --timeout 1h",
        "wait web --for degraded",
    ] {
        desk.run(line).await;
    }
    insta::assert_snapshot!(desk.transcript());
}

#[tokio::test(start_paused = true)]
async fn what_is_watched_is_told_again_when_it_changes() {
    let (world, _running) = a_world(1.0).await;
    let desk = Desk::new(&world);
    let release = async {
        seconds(10).await;
        world.release("web:2").await;
        world.until_phase(RolloutPhase::Paused).await;
    };
    let watch = desk.call("get rollout web -w --timeout-seconds 60");
    let list = desk.call_until("list rollouts -w", 60);
    let status = desk.call("status web --timeout 60s");
    let (answer, rows, healthy, ()) = tokio::join!(watch, list, status, release);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    let pages: Vec<&str> = answer.out.split("Name:            web\n").skip(1).collect();
    let status = |page: &&str| page.lines().nth(1).unwrap().to_owned();
    let told: Vec<String> = pages.iter().map(status).collect();
    assert_eq!(told.first().unwrap(), "Status:          ✔ Healthy");
    assert_eq!(told.last().unwrap(), "Status:          ॥ Paused");
    assert!(
        pages.len() < 20,
        "only changes are told, not seconds: {}",
        pages.len()
    );
    assert!(!answer.out.contains('\u{1b}'), "no terminal is drawn on");
    let rows: Vec<&str> = rows.out.lines().collect();
    assert!(
        rows[0].starts_with("NAME") && rows[1].contains("Healthy"),
        "{rows:?}"
    );
    assert!(rows.last().unwrap().contains("Paused"), "{rows:?}");
    assert_eq!(rows.iter().filter(|row| row.starts_with("NAME")).count(), 1);
    assert_eq!((healthy.out.as_str(), healthy.code), ("Healthy\n", 0));
    let answer = desk.call("status web --timeout 60s").await;
    assert_eq!(answer.out, "Paused - CanaryPauseStep\n");
    let expected = "Error: Rollout status watch exceeded timeout\n";
    assert_eq!((answer.err.as_str(), answer.code), (expected, 1));
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_its_object() {
    let (world, _running) = a_world(1.0).await;
    let desk = Desk::new(&world);
    let delete = async {
        seconds(10).await;
        let policy = kube::api::PropagationPolicy::Background;
        world.delete::<Rollout>("web", policy).await;
    };
    let watch = desk.call("get rollout web -w");
    let wait = desk.call("wait web --for paused");
    let (watched, waited, ()) = tokio::join!(watch, wait, delete);
    for answer in [watched, waited] {
        assert!(
            answer
                .err
                .starts_with("Error: rollout.argoproj.io \"web\" not found"),
            "{}",
            answer.err
        );
        assert_eq!(answer.code, 1);
    }
}
