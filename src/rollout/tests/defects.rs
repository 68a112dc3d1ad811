//! Defects of Argo Rollouts that are not repeated here. Most are told of beside their subjects.

use super::*;
use crate::api::{ConditionStatus, RolloutStatus};
use crate::rollout::status::{Fresh, Said, set};

/// <https://github.com/argoproj/argo-rollouts/issues/4261>
#[test]
fn an_undecided_canary_follows_its_size() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::new(analysed(&analysis))
        .with_template("up")
        .started();
    world.release("web:2");
    world.settle();
    let name = world.runs[0].name_any();
    world.end_run(&name, Phase::Inconclusive, "");
    world.settle();
    assert_eq!(world.summary(), "Paused InconclusiveAnalysisRun");
    world.change_spec(|spec| spec.replicas = Some(20));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 16), ("web:2", 4)]));
    world.change_spec(|spec| spec.replicas = Some(5));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 4), ("web:2", 1)]));
    assert_eq!(world.summary(), "Paused InconclusiveAnalysisRun");
}

/// <https://github.com/argoproj/argo-rollouts/issues/4541>
#[test]
fn a_canary_of_no_pods_is_updated_and_serves_as_soon_as_it_has_some() {
    let mut canary = steps(json!([{"setWeight": 20}, {"pause": {}}]));
    canary["stableService"] = "stable".into();
    canary["canaryService"] = "canary".into();
    let mut world = World::new(canary)
        .with_services(&["stable", "canary"])
        .started();
    world.change_spec(|spec| spec.replicas = Some(0));
    world.settle();
    assert_eq!(world.behind("stable"), "web:1");
    world.release("web:2");
    world.settle();
    assert_eq!(world.summary(), "Paused CanaryPauseStep");
    world.promote();
    world.settle();
    assert_eq!((world.summary(), world.pods()), ("Healthy".into(), vec![]));
    world.change_spec(|spec| spec.replicas = Some(3));
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:2", 3)]));
    assert_eq!((world.behind("stable"), world.behind("canary")), {
        let both = "web:2".to_owned();
        (both.clone(), both)
    });
}

#[test]
fn a_condition_tells_the_latest_cause() {
    let at = |second: i64| Time(jiff::Timestamp::from_second(second).unwrap());
    let mut status = RolloutStatus::default();
    for (second, message) in [(10, "one"), (20, "other"), (30, "other")] {
        let said = Said {
            condition_type: ConditionType::Progressing,
            status: ConditionStatus::False,
            reason: "RolloutAborted",
            message: message.to_owned(),
        };
        set(&mut status, at(second), Fresh::No, said);
    }
    let [told] = &status.conditions[..] else {
        panic!("{:?}", status.conditions)
    };
    assert_eq!(told.message, "other");
    assert_eq!(told.last_update_time, Some(at(20)));
    assert_eq!(told.last_transition_time, Some(at(10)));
}
