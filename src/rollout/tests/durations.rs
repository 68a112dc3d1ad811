//! How long updates take.

use super::*;

use crate::api::{CompletionStatus, DurationStatus};

fn clock(world: &World) -> DurationStatus {
    world.status().duration.unwrap()
}

/// How updates ended, with their seconds and those that a person was waited for.
fn ended(world: &World) -> Vec<(&str, i64, i64)> {
    let ended = world.ended.iter();
    ended
        .map(|one| {
            (
                one.status.as_str(),
                one.took.as_secs(),
                one.waited.as_secs(),
            )
        })
        .collect()
}

fn paused() -> World {
    let mut world = World::running(steps(json!([{"setWeight": 20}, {"pause": {}},
        {"pause": {"duration": 100}}])));
    world.ended.clear();
    world.wait(1000);
    world.release("web:2");
    world.settle();
    world
}

#[test]
fn a_first_version_takes_until_its_pods_are_there() {
    let mut world = World::new(json!({}));
    world.pass();
    assert_eq!(clock(&world).rollout_started_at, Some(Time(world.now)));
    world.now += SignedDuration::from_secs(30);
    world.pass();
    assert_eq!(clock(&world).finished_at, None);
    world.settle();
    assert_eq!(
        clock(&world).completion_status,
        Some(CompletionStatus::Promoted)
    );
    assert_eq!(ended(&world), [("Promoted", 30, 0)]);
    world.wait(100);
    assert_eq!(ended(&world).len(), 1, "counted once");
}

#[test]
fn people_are_waited_for_at_a_pause_without_an_end() {
    let mut world = paused();
    assert_eq!(clock(&world).manual_pause_started_at, Some(Time(world.now)));
    world.wait(600);
    world.promote();
    world.settle();
    assert_eq!(clock(&world).total_manual_pause_duration_seconds, Some(600));
    assert_eq!(clock(&world).manual_pause_started_at, None);
    world.wait(100);
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(ended(&world), [("Promoted", 700, 600)]);
}

#[test]
fn steps_that_a_person_skips_are_told() {
    let mut world = paused();
    world.wait(10);
    world.change_status(|status| status.promote_full = true);
    world.settle();
    assert_eq!(ended(&world), [("FastPromoted", 10, 10)]);
}

#[test]
fn an_abort_ends_it_and_a_retry_begins_anew() {
    let mut world = paused();
    world.wait(50);
    world.abort();
    world.settle();
    assert_eq!(ended(&world), [("Aborted", 50, 50)]);
    world.wait(1000);
    assert_eq!(ended(&world).len(), 1);
    world.retry();
    let began = world.now;
    world.settle();
    assert_eq!(clock(&world).rollout_started_at, Some(Time(began)));
    assert_eq!(
        (clock(&world).finished_at, clock(&world).completion_status),
        (None, None)
    );
}

#[test]
fn another_version_takes_its_place() {
    let mut world = paused();
    world.wait(50);
    world.release("web:3");
    let began = world.now;
    world.settle();
    assert_eq!(ended(&world), [("Superseded", 50, 50)]);
    assert_eq!(clock(&world).rollout_started_at, Some(Time(began)));
    assert_eq!(clock(&world).total_manual_pause_duration_seconds, None);
}

#[test]
fn going_back_ends_the_same_update() {
    let mut world = paused();
    world.wait(50);
    world.release("web:1");
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    assert_eq!(ended(&world), [("FastRolledBack", 50, 50)]);
}

#[test]
fn a_rollout_that_others_have_moved_so_far_has_no_clock() {
    let mut world = World::running(json!({}));
    world.ended.clear();
    world.change_status(|status| status.duration = None);
    world.wait(100);
    assert_eq!(world.status().duration, None);
    world.release("web:2");
    world.settle();
    assert_eq!(ended(&world), [("Promoted", 0, 0)]);
}
