//! Stories of the steps of a canary that others carry out: Experiments and plugins. The Experiment's
//! own controller is played by the story.

use axum::http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use verdict::api::{AnalysisTemplate, Experiment, Rollout, RolloutPhase};
use verdict::apiserver::Fault;
use verdict::rollout::labels;

use crate::world::release::{a_rollout, pods};
use crate::world::trouble::{BEFORE_AND_AFTER, Trouble, ends_alike, outcome};
use crate::world::{PROGRAM, Running, World, seconds};

fn an_experiment() -> Value {
    json!({ "experiment": {
        "duration": "5m",
        "templates": [
            { "name": "baseline", "specRef": "stable" },
            { "name": "trial", "specRef": "canary", "replicas": 2 },
        ],
        "analyses": [{ "name": "rate", "templateName": "rate",
            "args": [{ "name": "version", "valueFrom": { "podTemplateHashValue": "Latest" } }] }],
    } })
}

async fn create_template(world: &World) {
    let web = json!({ "web": { "url": "http://stats/{{args.version}}" } });
    let metric = json!({ "name": "rate", "successCondition": "result > 0.9", "provider": web });
    let spec = json!({ "args": [{ "name": "version" }], "metrics": [metric] });
    let template = json!({ "metadata": { "name": "rate" }, "spec": spec });
    world.create::<AnalysisTemplate>(template).await;
}

/// A cluster in which version 1 of a canary with these steps runs.
async fn running(steps: Value) -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    create_template(&world).await;
    let canary = json!({ "steps": steps });
    world.create::<Rollout>(a_rollout(canary)).await;
    world.until_phase(RolloutPhase::Healthy).await;
    (world, running)
}

impl World {
    /// Waits until the Experiment that the Rollout waits for exists.
    async fn experiment(&self) -> Experiment {
        let status = self
            .until_status(|status| !status.canary.current_experiment.is_empty())
            .await;
        self.until(&status.canary.current_experiment, |_: &Experiment| true)
            .await
    }

    /// Lets an Experiment come so far.
    async fn conclude(&self, experiment: &Experiment, phase: &str, message: &str) {
        let patch = Patch::Merge(json!({ "status": { "phase": phase, "message": message } }));
        self.api::<Experiment>()
            .patch(&experiment.name_any(), &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_for_its_experiment() {
    let steps = json!([an_experiment(), { "setWeight": 20 }, { "pause": {} }]);
    let (world, _running) = running(steps).await;
    world.release("web:2").await;
    let experiment = world.experiment().await;
    let status = world.status().await;
    let name = experiment.name_any();
    assert_eq!(name, format!("web-{}-2-0", status.current_pod_hash));
    let image = |index: usize| {
        let template = experiment.spec.templates[index].template.json();
        template["spec"]["containers"][0]["image"].clone()
    };
    assert_eq!((image(0), image(1)), (json!("web:1"), json!("web:2")));
    let args = &experiment.spec.analyses[0].args;
    assert_eq!(args[0].value.as_ref(), Some(&status.current_pod_hash));
    seconds(60).await;
    let waiting = world.waits_for().await;
    let expected =
        format!("Experiment: step 1/3 (experiment) waits for Experiment `{name}`, which no");
    assert!(waiting.starts_with(&expected), "{waiting}");
    // Nobody waits for its pods, nor for ever for its end: that is up to the Experiment.
    world.conclude(&experiment, "Running", "").await;
    seconds(3600).await;
    let waiting = world.waits_for().await;
    assert!(waiting.contains(", which is Running; since "), "{waiting}");
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    world.conclude(&experiment, "Successful", "").await;
    world.until_phase(RolloutPhase::Paused).await;
    let expected = pods(&[("web:1", 8), ("web:2", 2)]);
    assert_eq!(world.ready_pods().await, expected);
    assert_eq!(
        world.messages("ExperimentCreated").await,
        [format!("Created Experiment '{name}'")]
    );
    let waiting = world.waits_for().await;
    let expected = "Pause: step 3/3 (pause) waits for somebody to promote it; since ";
    assert!(waiting.starts_with(expected), "{waiting}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_experiment_takes_the_update_back_and_a_retry_makes_another() {
    let steps = json!([{ "setWeight": 20 }, an_experiment()]);
    let (world, _running) = running(steps).await;
    world.release("web:2").await;
    let first = world.experiment().await;
    world.conclude(&first, "Failed", "too slow").await;
    let status = world.until_taken_back().await;
    assert_eq!(
        status.message,
        "RolloutAborted: Rollout aborted update to revision 2: Experiment analysis phase is \
         error/failed: too slow"
    );
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    world.merge_status(json!({ "abort": false })).await;
    let second = world.experiment().await;
    assert_eq!(second.name_any(), format!("{}-1", first.name_any()));
    world.conclude(&second, "Successful", "").await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
}

#[tokio::test(start_paused = true)]
async fn an_experiment_that_nobody_asks_for_any_more_is_stopped_and_forgotten_with_its_version() {
    let (world, _running) = running(json!([an_experiment()])).await;
    let limit = json!({ "spec": { "revisionHistoryLimit": 0 } });
    world.merge::<Rollout>("web", limit).await;
    world.release("web:2").await;
    let first = world.experiment().await.name_any();
    world.merge_status(json!({ "abort": true })).await;
    let is_stopped = |experiment: &Experiment| experiment.spec.terminate;
    world.until(&first, is_stopped).await;
    world.release("web:3").await;
    let second = world
        .until_status(|status| !status.canary.current_experiment.is_empty())
        .await;
    seconds(60).await;
    let left = world.names::<Experiment>().await;
    assert_eq!(left, [second.canary.current_experiment]);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_carries_out_a_step_and_undoes_it_on_abort() {
    let world = World::new(|question| {
        let is_begun = question.contains("\"status\":{\"at\":1}");
        let phase = if is_begun { "Successful" } else { "Running" };
        let answer = json!({ "phase": phase, "message": "checked", "requeueAfter": "45s", "status": { "at": 1 } });
        (StatusCode::OK, answer)
    })
    .await;
    let running = world.start_rollouts();
    let gate = "[{name: shop/gate, location: 'http://gate.shop/call'}]";
    let plugins =
        json!({ "metadata": { "name": "argo-rollouts-config" }, "data": { "stepPlugins": gate } });
    world.create::<ConfigMap>(plugins).await;
    let steps =
        json!([{ "plugin": { "name": "shop/gate", "config": { "a": 1 } } }, { "pause": {} }]);
    world
        .create::<Rollout>(a_rollout(json!({ "steps": steps })))
        .await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:2").await;
    world
        .until_status(|status| status.current_step_index == Some(1))
        .await;
    let asked = |world: &World| -> Vec<String> {
        let asked = world.asked.lock().unwrap();
        let methods = asked.iter().map(|question| {
            let body = &question[question.find('{').unwrap()..];
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["settings"], json!({ "a": 1 }));
            body["method"].as_str().unwrap().to_owned()
        });
        methods.collect()
    };
    assert_eq!(asked(&world), ["Run", "Run"]);
    world.merge_status(json!({ "abort": true })).await;
    world.until_phase(RolloutPhase::Degraded).await;
    assert_eq!(asked(&world), ["Run", "Run", "Abort"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_not_configured_is_named_and_a_person_may_skip_it() {
    let steps =
        json!([{ "plugin": { "name": "shop/approve" } }, { "setWeight": 20 }, { "pause": {} }]);
    let (world, _running) = running(steps).await;
    world.release("web:2").await;
    world
        .until_status(|status| status.current_step_index == Some(0))
        .await;
    seconds(3600).await;
    let waiting = world.waits_for().await;
    let expected = "PluginUnusable: step 1: plugin `shop/approve` is not configured; since ";
    assert!(waiting.starts_with(expected), "{waiting}");
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    let told = world.messages("ReconciliationError").await;
    assert_eq!(told.len(), 1, "told once: {told:?}");
    // As `kubectl argo rollouts promote` skips a step.
    let next = json!({ "pauseConditions": null, "currentStepIndex": 1 });
    world.merge_status(next).await;
    world.until_phase(RolloutPhase::Paused).await;
    let expected = pods(&[("web:1", 8), ("web:2", 2)]);
    assert_eq!(world.ready_pods().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_cluster_refuses_is_told_and_keeps_no_abort_from_being_seen() {
    let (world, _running) = running(json!([an_experiment()])).await;
    world.server.set_faults(|request| {
        let is_refused = request.user_agent == PROGRAM
            && request.verb == "create"
            && request.resource == "experiments";
        if is_refused {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    world.release("web:2").await;
    seconds(60).await;
    let waiting = world.waits_for().await;
    let expected = "CannotAct: cannot create Experiment `default/web-";
    assert!(waiting.starts_with(expected), "{waiting}");
    assert_eq!(world.messages("ReconciliationError").await.len(), 1);
    world.merge_status(json!({ "abort": true })).await;
    let status = world.until_taken_back().await;
    assert_eq!(status.phase, Some(RolloutPhase::Degraded));
    let waiting = world.waits_for().await;
    assert!(waiting.starts_with("Aborted: "), "{waiting}");
    assert!(world.list::<Experiment>().await.is_empty());
}

/// A good release with an Experiment, then a bad one.
async fn two_releases(trouble: Option<Trouble>) -> (Value, usize) {
    let world = World::without_sources().await;
    let story = Box::pin(async {
        create_template(&world).await;
        let steps = json!([{ "setWeight": 40 }, an_experiment()]);
        let mut rollout = a_rollout(json!({ "steps": steps }));
        rollout["spec"]["replicas"] = json!(2);
        world.create::<Rollout>(rollout).await;
        world.until_phase(RolloutPhase::Healthy).await;
        for (image, verdict, phase) in [
            ("web:2", "Successful", RolloutPhase::Healthy),
            ("web:3", "Failed", RolloutPhase::Degraded),
        ] {
            world.release(image).await;
            let experiment = world.experiment().await;
            assert_eq!(
                experiment.annotations()[labels::REVISION],
                image.trim_start_matches("web:")
            );
            world.conclude(&experiment, verdict, "").await;
            world
                .until_status(|status| status.phase == Some(phase))
                .await;
        }
        seconds(120).await;
    });
    let writes = world.tell(trouble, story).await;
    let mut outcome = outcome(&world).await;
    assert_eq!(outcome["phase"], "Degraded");
    outcome["experiments"] = json!(world.names::<Experiment>().await);
    (outcome, writes)
}

#[tokio::test(start_paused = true)]
async fn killed_at_some_writes_it_ends_alike() {
    ends_alike((5, true, &BEFORE_AND_AFTER), 20..100, two_releases).await;
}
