//! Plugins as steps.

use super::*;
use crate::api::{PluginOperation, PluginPhase, StepPluginStatus};
use crate::rollout::PluginAnswer;

const PLUGIN: &str = "org/gate";

fn says(phase: PluginPhase, message: &str) -> PluginAnswer {
    PluginAnswer::Says {
        phase: Some(phase),
        message: message.into(),
        again_after: SignedDuration::ZERO,
        status: Some(json!({"seen": message})),
    }
}

/// At the plugin of the first step, which answers like this.
fn at_plugin(answer: Option<PluginAnswer>) -> World {
    let canary = steps(
        json!([{"plugin": {"name": PLUGIN, "config": {"a": 1}}}, {"setWeight": 20},
        {"pause": {}}]),
    );
    let mut world = World::running(canary);
    world.plugins.extend(answer.map(|answer| (PLUGIN, answer)));
    world.release("web:2");
    world.settle();
    world
}

fn entries(world: &World) -> Vec<StepPluginStatus> {
    world.status().canary.step_plugin_statuses
}

fn phases(world: &World) -> Vec<(String, String)> {
    let text = |entry: &StepPluginStatus| {
        let phase = entry.phase.as_ref().map(ToString::to_string);
        (entry.operation.to_string(), phase.unwrap_or_default())
    };
    entries(world).iter().map(text).collect()
}

fn left(world: &World) -> i64 {
    world.wake_at.unwrap().duration_since(world.now).as_secs()
}

#[test]
fn a_plugin_that_is_not_configured_is_said_and_asked_for_again() {
    let mut world = at_plugin(None);
    assert_eq!(world.status().current_step_index, Some(0));
    let sentence = "step 1: plugin `org/gate` is not configured";
    assert_eq!(
        world.waiting(),
        format!("PluginUnusable: {sentence}; since 2026-01-01T00:00:00Z")
    );
    assert_eq!(left(&world), 30);
    world.wait(30);
    world.wait(30);
    let told = format!("Reconciliation failed with error: {sentence}");
    assert_eq!(world.told("ReconciliationError"), [told], "once");
    assert_eq!(world.status().current_step_index, Some(0));
    assert!(entries(&world).is_empty());
    world
        .plugins
        .insert(PLUGIN, says(PluginPhase::Successful, ""));
    world.wait(30);
    assert_eq!(world.status().current_step_index, Some(2));
}

#[test]
fn a_plugin_is_asked_until_it_is_done() {
    let mut world = at_plugin(Some(says(PluginPhase::Running, "half")));
    let entry = &entries(&world)[0];
    assert_eq!(
        (entry.executions, entry.backoff.as_str(), left(&world)),
        (1, "30s", 30)
    );
    assert_eq!(entry.status, Some(json!({"seen": "half"})));
    assert!(world.waiting().starts_with(
        "Plugin: step 1/3 (plugin: org/gate) waits for plugin `org/gate`, which is Running (half)"
    ));
    let asked = world.asked.len();
    world.wait(29);
    assert_eq!(world.asked.len(), asked, "not before its time");
    world
        .plugins
        .insert(PLUGIN, PluginAnswer::Broken("no route".into()));
    world.wait(1);
    let entry = &entries(&world)[0];
    assert_eq!(
        (entry.phase.clone(), entry.executions),
        (Some(PluginPhase::Error), 2)
    );
    assert_eq!(
        entry.status,
        Some(json!({"seen": "half"})),
        "what it remembers stays"
    );
    world
        .plugins
        .insert(PLUGIN, says(PluginPhase::Successful, "all"));
    world.wait(30);
    let entry = &entries(&world)[0];
    assert!(entry.finished_at.is_some());
    assert_eq!(
        world.told("StepPluginTransition"),
        [
            "Step plugin org/gate (step 1) transitioned to Running",
            "Step plugin org/gate (step 1) transitioned to Error",
        ]
    );
    assert_eq!(world.status().current_step_index, Some(2));
    let asked = world.asked.len();
    world.promote();
    world.settle();
    assert_eq!(
        (world.summary().as_str(), world.asked.len()),
        ("Healthy", asked)
    );
}

#[test]
fn a_plugin_may_ask_for_more_time() {
    for (wanted, given) in [(60, 60), (10, 30), (11, 11)] {
        let answer = PluginAnswer::Says {
            phase: None,
            message: String::new(),
            again_after: SignedDuration::from_secs(wanted),
            status: None,
        };
        assert_eq!(left(&at_plugin(Some(answer))), given);
    }
}

#[test]
fn a_plugin_that_fails_aborts_and_a_retry_asks_it_afresh() {
    let mut world = at_plugin(Some(says(PluginPhase::Failed, "too slow")));
    assert_eq!(
        world.summary(),
        "Degraded RolloutAborted: Rollout aborted update to revision 2: Step Plugin 1 (org/gate) \
         failed: too slow"
    );
    assert_eq!(phases(&world), [("Run".to_owned(), "Failed".to_owned())]);
    world
        .plugins
        .insert(PLUGIN, says(PluginPhase::Successful, ""));
    world.retry();
    world.settle();
    assert_eq!(world.status().current_step_index, Some(2));
}

#[test]
fn an_abort_undoes_plugins_in_reverse_order() {
    let gate = |name: &str| json!({"plugin": {"name": name}});
    let canary = steps(json!([gate("org/a"), {"setWeight": 20}, gate("org/b"), {"pause": {}}]));
    let mut world = World::running(canary);
    world
        .plugins
        .insert("org/a", says(PluginPhase::Successful, ""));
    world
        .plugins
        .insert("org/b", says(PluginPhase::Running, ""));
    world.release("web:2");
    world.settle();
    world.asked.clear();
    world.abort();
    world.settle();
    let asked: Vec<(&str, &PluginOperation)> = world
        .asked
        .iter()
        .map(|call| (call.name.as_str(), &call.operation))
        .collect();
    assert_eq!(
        asked,
        [
            ("org/b", &PluginOperation::Abort),
            ("org/a", &PluginOperation::Abort)
        ]
    );
    let text = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(
        phases(&world),
        [
            text("Run", "Successful"),
            text("Run", "Running"),
            // What takes longer cannot be waited for.
            text("Abort", "Failed"),
            text("Abort", "Successful"),
        ]
    );
    assert!(
        world
            .told("StepPluginTransition")
            .contains(&"Step plugin org/b (step 3) aborted (Failed)")
    );
}

#[test]
fn a_full_promotion_stops_the_plugin_that_runs() {
    let mut world = at_plugin(Some(says(PluginPhase::Running, "")));
    world
        .plugins
        .insert(PLUGIN, says(PluginPhase::Successful, ""));
    world.change_status(|status| status.promote_full = true);
    world.settle();
    assert_eq!(world.summary(), "Healthy");
    let text = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(
        phases(&world),
        [text("Run", "Running"), text("Terminate", "Successful")]
    );
}

#[test]
fn a_plugin_that_is_switched_off_is_passed_over() {
    let world = at_plugin(Some(PluginAnswer::Disabled));
    assert_eq!(world.status().current_step_index, Some(2));
    assert!(entries(&world)[0].disabled);
    assert!(world.told("StepPluginTransition").is_empty());
}

#[test]
fn an_unknown_phase_is_said() {
    let world = at_plugin(Some(says(PluginPhase::Other("Perhaps".into()), "")));
    assert!(
        world
            .waiting()
            .contains("plugin `org/gate` answered with the unknown phase `Perhaps`"),
        "{}",
        world.waiting()
    );
    assert_eq!(world.status().current_step_index, Some(0));
}
