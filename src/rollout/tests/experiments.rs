//! Experiments as steps.

use kube::ResourceExt as _;

use super::*;

fn an_experiment() -> Value {
    json!({"experiment": {
        "duration": "5m", "scaleDownDelaySeconds": 10,
        "templates": [
            {"name": "baseline", "specRef": "stable"},
            {"name": "trial", "specRef": "canary", "replicas": 2, "service": {"name": "trial"},
             "metadata": {"labels": {"role": "trial"}, "annotations": {"team": "shop"}}},
        ],
        "analyses": [{"name": "up", "templateName": "up", "requiredForCompletion": true,
            "args": [{"name": "stable", "valueFrom": {"podTemplateHashValue": "Stable"}}]}],
    }})
}

/// At the Experiment of the first step; its name.
fn at_experiment() -> (World, String) {
    let canary = steps(json!([an_experiment(), {"setWeight": 20}, {"pause": {}}]));
    let mut world = World::new(canary).with_template("up").started();
    world.release("web:2");
    world.settle();
    let name = format!("web-{}-2-0", world.status().current_pod_hash);
    (world, name)
}

#[test]
fn an_experiment_is_made_of_both_versions() {
    let (mut world, name) = at_experiment();
    let status = world.status();
    assert_eq!(status.canary.current_experiment, name);
    assert_eq!(
        world.told("ExperimentCreated"),
        [format!("Created Experiment '{name}'")]
    );
    let experiment = world.experiment(&name).clone();
    let owner = &experiment.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.controller),
        ("Rollout", Some(true))
    );
    assert_eq!(
        experiment.labels()[labels::POD_TEMPLATE_HASH],
        status.current_pod_hash
    );
    assert_eq!(experiment.annotations()[labels::REVISION], "2");
    let spec = &experiment.spec;
    assert_eq!(
        (spec.duration.as_str(), spec.scale_down_delay_seconds),
        ("5m", Some(10))
    );
    let analysis = &spec.analyses[0];
    assert!(analysis.required_for_completion);
    assert_eq!(analysis.args[0].value.as_ref(), Some(&status.stable_rs));
    let (baseline, trial) = (&spec.templates[0], &spec.templates[1]);
    for (template, image, hash) in [
        (baseline, "web:1", &status.stable_rs),
        (trial, "web:2", &status.current_pod_hash),
    ] {
        assert_eq!(
            template.template.json()["spec"]["containers"][0]["image"],
            image
        );
        let selector = template.selector.match_labels.as_ref().unwrap();
        assert_eq!(&selector[labels::POD_TEMPLATE_HASH], hash);
    }
    let template = trial.template.json();
    let labels = &template["metadata"]["labels"];
    assert_eq!(
        (&labels["role"], &labels["app"]),
        (&json!("trial"), &json!("web"))
    );
    assert_eq!(template["metadata"]["annotations"]["team"], "shop");
    assert_eq!(
        trial.selector.match_labels.as_ref().unwrap()["role"],
        "trial"
    );
    assert_eq!((baseline.replicas, trial.replicas), (None, Some(2)));
    assert_eq!(trial.service.as_ref().unwrap().name, "trial");
    assert_eq!(baseline.service, None);
    assert_eq!(world.pods(), pods(&[("web:1", 10)]), "no canary yet");
}

#[test]
fn a_step_waits_for_its_experiment() {
    let (mut world, name) = at_experiment();
    let wait = |state: &str| {
        format!(
            "Experiment: step 1/3 (experiment) waits for Experiment `{name}`, which {state}; since \
             2026-01-01T00:00:00Z"
        )
    };
    assert_eq!(world.waiting(), wait("no controller has taken up yet"));
    world.end_experiment(&name, Phase::Running, "");
    world.wait(3600);
    assert_eq!(world.waiting(), wait("is Running"));
    assert_eq!(world.status().current_step_index, Some(0));
    world.end_experiment(&name, Phase::Successful, "");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 8), ("web:2", 2)]));
    assert_eq!(world.status().canary.current_experiment, "");
    assert_eq!(
        world.told("RolloutStepCompleted")[0],
        "Rollout step 1/3 completed (experiment)"
    );
    assert!(
        !world.experiment(&name).spec.terminate,
        "it has ended by itself"
    );
}

#[test]
fn a_paused_rollout_keeps_the_experiment_that_has_succeeded() {
    let (mut world, name) = at_experiment();
    world.change_spec(|spec| spec.paused = true);
    world.end_experiment(&name, Phase::Successful, "");
    world.settle();
    world.change_spec(|spec| spec.paused = false);
    world.settle();
    assert_eq!(world.experiments.len(), 1);
    assert_eq!(world.status().current_step_index, Some(2));
}

#[test]
fn a_failed_experiment_aborts_and_a_retry_makes_another() {
    let (mut world, name) = at_experiment();
    world.end_experiment(
        &name,
        Phase::Failed,
        "Template 'trial' exceeded its deadline",
    );
    world.settle();
    assert_eq!(
        world.summary(),
        "Degraded RolloutAborted: Rollout aborted update to revision 2: Experiment analysis phase \
         is error/failed: Template 'trial' exceeded its deadline"
    );
    assert_eq!(world.status().canary.current_experiment, "");
    world.retry();
    world.settle();
    let again = format!("{name}-1");
    assert_eq!(world.status().canary.current_experiment, again);
    world.end_experiment(&again, Phase::Successful, "");
    world.settle();
    assert_eq!(world.summary(), "Paused CanaryPauseStep");
}

#[test]
fn an_inconclusive_experiment_holds_everything_until_a_person_decides() {
    let (mut world, name) = at_experiment();
    world.end_experiment(&name, Phase::Inconclusive, "");
    world.settle();
    assert_eq!(world.summary(), "Paused InconclusiveExperiment");
    assert_eq!(
        world.waiting(),
        format!(
            "Inconclusive: Experiment `{name}` was inconclusive at step 1/3 (experiment): promote \
             or abort; since 2026-01-01T00:00:00Z"
        )
    );
    world.wait(3600);
    assert_eq!(world.experiments.len(), 1, "one decision per Experiment");
    world.promote();
    world.settle();
    let again = format!("{name}-1");
    assert_eq!(world.status().canary.current_experiment, again);
    assert_eq!(world.status().current_step_index, Some(0));
    world.end_experiment(&again, Phase::Successful, "");
    world.settle();
    assert_eq!(world.status().current_step_index, Some(2));
}

#[test]
fn an_experiment_that_nobody_asks_for_any_more_is_stopped() {
    let aborts: [fn(&mut World); 4] = [
        World::abort,
        |world| world.change_status(|status| status.promote_full = true),
        |world| world.change_status(|status| status.current_step_index = Some(1)),
        |world| world.release("web:3"),
    ];
    for ends in aborts {
        let (mut world, name) = at_experiment();
        ends(&mut world);
        world.settle();
        assert!(world.experiment(&name).spec.terminate);
        assert_ne!(world.status().canary.current_experiment, name);
    }
}

#[test]
fn an_experiment_that_somebody_deleted_is_made_again() {
    let (mut world, name) = at_experiment();
    world.experiments.clear();
    world.settle();
    assert_eq!(
        (world.experiments.len(), world.experiment(&name).name_any()),
        (1, name)
    );
}

#[test]
fn an_experiment_waits_for_the_version_that_it_needs() {
    let (mut world, name) = at_experiment();
    world.experiments.clear();
    world.replica_sets.retain(|set| image(set) != "web:1");
    world.pass();
    assert_eq!(
        world.waiting(),
        format!(
            "Experiment: a version that Experiment `{name}` needs has no ReplicaSet; since \
             2026-01-01T00:00:00Z"
        )
    );
    assert!(world.experiments.is_empty());
}

#[test]
fn history_keeps_the_newest_experiments() {
    let (mut world, name) = at_experiment();
    world.change_spec(|spec| {
        let limits = json!({"successfulRunHistoryLimit": 1, "unsuccessfulRunHistoryLimit": 0});
        spec.analysis = serde_json::from_value(limits).unwrap();
    });
    world.end_experiment(&name, Phase::Successful, "");
    world.settle();
    assert_eq!(world.experiments.len(), 1);
    world.wait(1);
    world.release("web:3");
    world.settle();
    let next = world.status().canary.current_experiment;
    world.end_experiment(&next, Phase::Successful, "");
    world.settle();
    let names: Vec<String> = world
        .experiments
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect();
    assert_eq!(names, [next]);
}

#[test]
fn templates_of_experiments_must_be_there() {
    let mut world = World::new(steps(json!([an_experiment()])));
    world.pass();
    assert!(
        world.summary().ends_with(
            "spec.strategy.canary.steps[0].experiment.analyses[0].templateName: Invalid value: \
             \"up\": AnalysisTemplate 'up' not found"
        ),
        "{}",
        world.summary()
    );
}
