//! What is not followed.

use super::*;

#[test]
fn a_missing_template_stops_an_update_before_it_begins() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::running(json!({}));
    world.change_spec(|spec| {
        spec.strategy.canary = Some(Box::new(
            serde_json::from_value(analysed(&analysis)).unwrap(),
        ));
    });
    world.release("web:2");
    world.settle();
    let message = "The Rollout \"web\" is invalid: spec.strategy.canary.steps[1].analysis.templates: \
        Invalid value: \"up\": AnalysisTemplate 'up' not found";
    assert_eq!(world.summary(), format!("Degraded InvalidSpec: {message}"));
    assert_eq!(world.pods(), pods(&[("web:1", 10)]));
    assert_eq!(
        world.wake_at.unwrap().duration_since(world.now),
        SignedDuration::from_secs(10)
    );
    let mut world = world.with_template("up");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
    assert_eq!(world.condition(&ConditionType::InvalidSpec), "");
}

#[test]
fn a_step_does_not_wait_for_what_never_ends() {
    let analysis = json!({"templates": [{"templateName": "up"}]});
    let mut world = World::running(json!({})).with_template("up");
    world.known[0].1.metrics[0].interval = serde_json::from_value(json!("1m")).unwrap();
    let cases = [
        (
            steps(json!([{"setWeight": 20}, {"analysis": analysis}])),
            true,
        ),
        (
            json!({"steps": [{"setWeight": 20}, {"pause": {}}], "analysis": analysis}),
            false,
        ),
    ];
    for (canary, is_refused) in cases {
        world.change_spec(|spec| {
            spec.strategy.canary = Some(Box::new(serde_json::from_value(canary).unwrap()));
        });
        world.release("web:2");
        world.settle();
        let message = "The Rollout \"web\" is invalid: \
            spec.strategy.canary.steps[1].analysis.templates: Invalid value: \"up\": the metric runs \
            indefinitely: set count, or consecutiveSuccessLimit";
        let expected = if is_refused {
            format!("Degraded InvalidSpec: {message}")
        } else {
            "Paused CanaryPauseStep".to_owned()
        };
        assert_eq!(world.summary(), expected);
        assert_eq!(world.runs.len(), usize::from(!is_refused));
    }
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let mut world = World::new(json!({"maxSurge": 0, "maxUnavailable": "0%", "steps": [
        {"setWeight": 120}, {"pause": {"duration": "soon"}}, {}, {"setCanaryScale": {"weight": 1}},
        {"analysis": {}}, {"setWeight": 1, "pause": {}}]}));
    world.change_spec(|spec| {
        spec.replicas = Some(-1);
        spec.progress_deadline_seconds = Some(0);
        let mut template = spec.template.fields();
        template["metadata"] = json!({"labels": {"app": "other"}});
        template["spec"]["restartPolicy"] = json!("Never");
        spec.template = template.into();
    });
    world.pass();
    let message = world.status().message;
    for expected in [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        "spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds",
        "spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not match",
        "spec.template.spec.restartPolicy: Unsupported value: \"Never\"",
        "spec.strategy.canary.maxSurge: Invalid value: 0: MaxSurge and MaxUnavailable",
        "steps[0].setWeight: Invalid value: 120: SetWeight needs to be between 0 and 100",
        "steps[1].pause.duration: Invalid value: \"soon\": Duration needs to be greater than 0",
        "steps[2]: Invalid value: Step must have one of the following set",
        "steps[3].setCanaryScale: Invalid value: SetCanaryScale requires TrafficRouting",
        "steps[4].analysis.templates: Required value",
        "steps[5]: Invalid value: Step must have one of the following set",
    ] {
        assert!(message.contains(expected), "{expected}\nin {message}");
    }
    assert!(world.replica_sets.is_empty());
    assert_eq!(world.told("InvalidSpec").len(), 1);
    assert!(!world.pass(), "said once");
}

#[test]
fn an_object_that_divides_the_traffic_must_be_there() {
    let mut world = World::routed(json!({"maxSurge": "many"}));
    world.routers.clear();
    world.pass();
    let message = world.status().message;
    assert!(message.contains("maxSurge: Invalid value"), "{message}");
    world.change_spec(|spec| spec.strategy.canary.as_mut().unwrap().max_surge = None);
    world.pass();
    let message = world.status().message;
    let expected = "spec.strategy.canary.trafficRouting.traefik.weightedTraefikServiceName: \
        Invalid value: \"web\": TraefikService not found";
    assert!(message.contains(expected), "{message}");
    assert!(world.replica_sets.is_empty());
}

#[test]
fn absent_replicas_are_written_as_one() {
    let mut world = World::new(json!({}));
    world.change_spec(|spec| spec.replicas = None);
    world.settle();
    assert_eq!(world.rollout.spec.replicas, Some(1));
    assert_eq!(world.pods(), pods(&[("web:1", 1)]));
}

#[test]
fn a_rollout_that_is_deleted_is_left_alone() {
    let mut world = World::running(json!({}));
    world.release("web:2");
    world.rollout.metadata.deletion_timestamp = Some(Time(world.now));
    assert!(!world.pass());
}
