//! A cluster that has trouble: what passes is waited out, what lasts is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use verdict::apiserver::Fault;
use verdict::cli::Program;

use super::desk::{Desk, a_world};
use crate::world::World;

/// Faults of what a person asks with one of these verbs, the first ones, or all without a number.
fn spoil(
    world: &World,
    verbs: &'static [&'static str],
    faults: &'static [Fault],
    times: Option<usize>,
) {
    let count = AtomicUsize::new(0);
    world.server.set_faults(move |request| {
        if request.program() != "kubectl-argo-rollouts" || !verbs.contains(&request.verb) {
            return Fault::None;
        }
        let number = count.fetch_add(1, Ordering::Relaxed);
        if times.is_some_and(|times| number >= times) {
            return Fault::None;
        }
        faults[number % faults.len()]
    });
}

const READS: &[&str] = &["get", "list"];
const PASSING: &[Fault] = &[
    Fault::Status(503),
    Fault::Status(500),
    Fault::Cut,
    Fault::Status(429),
];

#[tokio::test(start_paused = true)]
async fn passing_trouble_is_waited_out() {
    let (world, _running) = a_world(1.0).await;
    let desk = Desk::with(&world, Program::Verdict);
    let usual = desk.call("list rollouts").await.out;
    for line in [
        "list rollouts",
        "get rollout web",
        "why web",
        "status web",
        "get rollout web -o json",
    ] {
        spoil(&world, READS, PASSING, Some(4));
        let answer = desk.call(line).await;
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{line}");
        if line == "list rollouts" {
            assert_eq!(answer.out, usual);
        }
    }
    let refused: &[Fault] = &[Fault::Status(409), Fault::Status(429), Fault::Status(503)];
    for line in [
        "pause web",
        "promote web",
        "abort web",
        "retry rollout web",
        "restart web",
    ] {
        spoil(&world, &["patch"], refused, Some(3));
        let answer = desk.call(line).await;
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{line}");
    }
    spoil(
        &world,
        &["update"],
        &[Fault::Status(409), Fault::AppliedThenCut],
        Some(4),
    );
    let answer = desk.call("set image web web=web:2").await;
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
}

#[tokio::test(start_paused = true)]
async fn lasting_trouble_is_told() {
    let (world, _running) = a_world(1.0).await;
    let mut desk = Desk::with(&world, Program::Verdict);
    spoil(&world, READS, &[Fault::Status(500)], None);
    desk.run("get rollout web").await;
    spoil(&world, READS, &[Fault::Cut], None);
    desk.run("list rollouts").await;
    for fault in [&[Fault::AppliedThenStatus(500)], &[Fault::AppliedThenCut]] {
        spoil(&world, &["patch"], fault, Some(1));
        desk.run("promote web").await;
    }
    spoil(&world, &["update"], &[Fault::Status(409)], None);
    desk.run("set image web web=web:2").await;
    spoil(&world, &["watch"], &[Fault::Status(503)], None);
    desk.run("list rollouts -w").await;
    desk.run("wait web --for paused --timeout 5m").await;
    desk.run("get rollout web -w -o name --timeout-seconds 60")
        .await;
    spoil(&world, &["watch"], &[Fault::Status(403)], None);
    for line in [
        "list rollouts -w",
        "get rollout web -w",
        "wait web --for paused",
    ] {
        desk.run(line).await;
    }
    insta::assert_snapshot!(desk.transcript());
}
