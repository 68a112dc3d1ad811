//! Stories of Rollouts: from a change of the template to the version that runs in the end. Verdicts
//! of analyses are given by the story.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use verdict::api::{AnalysisRun, AnalysisTemplate, Rollout, RolloutPhase, RolloutStatus};
use verdict::apiserver::{Fault, RequestSummary, Server};
use verdict::clock::Clock;
use verdict::cluster::{Cluster, Namespaced};
use verdict::controllers::{self, INSTANCE_ID_LABEL, Scope, Setup};
use verdict::rollout::labels;
use verdict::simulation::{self, Options};
use verdict::telemetry::{Metrics, Readiness};

const NAMESPACE: &str = "default";

/// How the controller's requests are known to the server.
const PROGRAM: &str = "verdict";

struct World {
    server: Server,
    client: Client,
    clock: Clock,
    _stop: DropGuard,
}

/// A controller that runs until it is killed: dropped.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl World {
    async fn new() -> Self {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(start);
        let server = Server::new(clock.clone());
        let client = server.client();
        let definitions = Api::<CustomResourceDefinition>::all(client.clone());
        for definition in verdict::api::crds::all() {
            definitions
                .create(&PostParams::default(), &definition)
                .await
                .unwrap();
        }
        let stop = CancellationToken::new();
        let options = Options::default();
        tokio::spawn(simulation::run(
            client.clone(),
            clock.clone(),
            options,
            stop.clone(),
        ));
        Self {
            server,
            client,
            clock,
            _stop: stop.drop_guard(),
        }
    }

    /// With version 1 of a Rollout running.
    async fn running(canary: Value) -> (Self, Running) {
        let world = Self::new().await;
        let running = world.start();
        world.create::<AnalysisTemplate>(a_template()).await;
        world.create::<Rollout>(a_rollout(canary)).await;
        world.until_phase(RolloutPhase::Healthy).await;
        (world, running)
    }

    fn start(&self) -> Running {
        self.start_in(Scope::default())
    }

    fn start_in(&self, scope: Scope) -> Running {
        let cluster = Cluster::new(self.server.client_as(PROGRAM), self.clock.clone());
        let (metrics, readiness) = (Metrics::new(), Readiness::default());
        let setup = Setup {
            cluster,
            scope,
            metrics,
            readiness,
        };
        let concurrency = controllers::rollout::DEFAULT_CONCURRENCY;
        let shutdown = CancellationToken::new();
        Running(tokio::spawn(controllers::rollout::run(
            setup,
            concurrency,
            shutdown,
        )))
    }

    fn api<K: Namespaced>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn create<K: Namespaced>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).unwrap();
        self.api()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    async fn list<K: Namespaced>(&self) -> Vec<K> {
        self.api().list(&ListParams::default()).await.unwrap().items
    }

    async fn merge(&self, patch: Value) {
        let patch = Patch::Merge(patch);
        self.api::<Rollout>()
            .patch("web", &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn merge_status(&self, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api::<Rollout>()
            .patch_status("web", &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// As `kubectl argo rollouts promote` of a paused Rollout.
    async fn promote(&self) {
        self.merge_status(json!({ "pauseConditions": null })).await;
    }

    async fn release(&self, image: &str) {
        let containers = json!([{ "name": "web", "image": image }]);
        self.merge(json!({ "spec": { "template": { "spec": { "containers": containers } } } }))
            .await;
    }

    async fn status(&self) -> RolloutStatus {
        self.api::<Rollout>()
            .get("web")
            .await
            .unwrap()
            .status
            .unwrap_or_default()
    }

    /// Waits, at most six virtual hours, until the status is as it should be.
    async fn until(&self, is_so: impl Fn(&RolloutStatus) -> bool) -> RolloutStatus {
        let last_chance = self.clock.now() + SignedDuration::from_hours(6);
        loop {
            let status = self.status().await;
            if is_so(&status) {
                return status;
            }
            assert!(
                self.clock.now() < last_chance,
                "never came to be so: {status:#?}"
            );
            seconds(1).await;
        }
    }

    async fn until_phase(&self, phase: RolloutPhase) -> RolloutStatus {
        let rollout = self.api::<Rollout>().get("web").await.unwrap();
        let generation = rollout.metadata.generation.unwrap().to_string();
        self.until(|status| status.phase == Some(phase) && status.observed_generation == generation)
            .await
    }

    /// Waits until the run of this name exists, and gives its verdict.
    async fn judge(&self, name: &str, phase: &str, message: &str) {
        let runs = self.api::<AnalysisRun>();
        while runs.get_opt(name).await.unwrap().is_none() {
            seconds(1).await;
        }
        let patch = Patch::Merge(json!({ "status": { "phase": phase, "message": message } }));
        runs.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Images of the pods that are ready, each with their number.
    async fn ready_pods(&self) -> Vec<(String, usize)> {
        let mut images: Vec<String> = self
            .list::<Pod>()
            .await
            .iter()
            .filter(|pod| {
                let conditions = pod
                    .status
                    .as_ref()
                    .and_then(|status| status.conditions.as_ref());
                let mut conditions = conditions.into_iter().flatten();
                conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
            })
            .filter_map(|pod| pod.spec.as_ref()?.containers.first()?.image.clone())
            .collect();
        images.sort();
        let chunks = images.chunk_by(|one, other| one == other);
        chunks.map(|same| (same[0].clone(), same.len())).collect()
    }

    async fn events(&self) -> Vec<String> {
        let mut events: Vec<Event> = self.list().await;
        events.retain(|event| event.involved_object.name.as_deref() == Some("web"));
        events.sort_by_key(|event| {
            let time = event.first_timestamp.as_ref().map(|time| time.0);
            (
                time,
                event
                    .resource_version()
                    .and_then(|version| version.parse::<u64>().ok()),
            )
        });
        events
            .into_iter()
            .filter_map(|event| event.reason)
            .collect()
    }

    async fn messages(&self, reason: &str) -> Vec<String> {
        let mut events: Vec<Event> = self.list().await;
        events.retain(|event| event.reason.as_deref() == Some(reason));
        events
            .into_iter()
            .filter_map(|event| event.message)
            .collect()
    }

    /// Watches over the number of ready pods from now on.
    fn guard(&self) -> Arc<AtomicUsize> {
        let fewest = Arc::new(AtomicUsize::new(usize::MAX));
        let (seen, pods) = (Arc::clone(&fewest), self.api::<Pod>());
        tokio::spawn(async move {
            while let Ok(list) = pods.list(&ListParams::default()).await {
                let ready = list.items.iter().filter(|pod| {
                    let status = pod.status.as_ref();
                    let conditions = status.and_then(|status| status.conditions.as_ref());
                    let mut conditions = conditions.into_iter().flatten();
                    conditions.any(|one| one.type_ == "Ready" && one.status == "True")
                });
                seen.fetch_min(ready.count(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        fewest
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "literals read better than references to them"
)]
fn a_rollout(canary: Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "web" },
        "spec": {
            "replicas": 10,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "web:1" }] },
            },
            "strategy": { "canary": canary },
        },
    })
}

fn a_template() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": { "name": "success-rate" },
        "spec": {
            "args": [{ "name": "version" }],
            "metrics": [{
                "name": "rate", "successCondition": "result > 0.9",
                "provider": { "web": { "url": "http://stats/{{args.version}}" } },
            }],
        },
    })
}

fn an_analysis() -> Value {
    json!({
        "templates": [{ "templateName": "success-rate" }],
        "args": [{ "name": "version", "valueFrom": { "podTemplateHashValue": "Latest" } }],
    })
}

fn pods(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
    expected
        .iter()
        .map(|(image, pods)| ((*image).to_owned(), *pods))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_first_version_becomes_healthy_without_steps() {
    let (world, _running) =
        World::running(json!({ "steps": [{ "setWeight": 20 }, { "pause": {} }] })).await;
    let status = world.status().await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    assert_eq!(status.stable_rs, status.current_pod_hash);
    assert_eq!(
        (status.current_step_index, status.hpa_replicas),
        (Some(2), 10)
    );
    assert_eq!(
        world.events().await,
        [
            "RolloutUpdated",
            "NewReplicaSetCreated",
            "ScalingReplicaSet",
            "RolloutCompleted"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_good_version_goes_through_all_steps() {
    let (world, _running) = World::running(json!({
        "steps": [{ "setWeight": 20 }, { "pause": { "duration": "10m" } },
            { "analysis": an_analysis() }, { "setWeight": 50 }],
        "analysis": an_analysis(),
    }))
    .await;
    let fewest = world.guard();
    world.release("web:2").await;
    let status = world.until_phase(RolloutPhase::Paused).await;
    let paused_at = world.clock.now();
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 8), ("web:2", 2)])
    );
    let hash = status.current_pod_hash;
    let background = world
        .api::<AnalysisRun>()
        .get(&format!("web-{hash}-2"))
        .await
        .unwrap();
    assert_eq!(
        background.spec.args[0].value.as_deref(),
        Some(hash.as_str())
    );
    world
        .judge(&format!("web-{hash}-2-2"), "Successful", "")
        .await;
    let waited = world.clock.now().duration_since(paused_at);
    assert!((599..=602).contains(&waited.as_secs()), "{waited}");
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    assert!(fewest.load(Ordering::Relaxed) >= 8, "{fewest:?}");
    let mut steps = world.messages("RolloutStepCompleted").await;
    steps.sort();
    assert_eq!(
        steps,
        [
            "Rollout step 1/4 completed (setWeight: 20)",
            "Rollout step 2/4 completed (pause: 10m)",
            "Rollout step 3/4 completed (analysis)",
            "Rollout step 4/4 completed (setWeight: 50)",
        ]
    );
    let background = world
        .api::<AnalysisRun>()
        .get(&background.name_any())
        .await
        .unwrap();
    assert!(background.spec.terminate, "nobody asks any more");
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_is_aborted_and_stable_keeps_its_pods() {
    let steps = json!([{ "setWeight": 50 }, { "analysis": an_analysis() }]);
    let (world, _running) = World::running(json!({ "steps": steps })).await;
    let fewest = world.guard();
    world.release("web:2").await;
    let hash = world
        .until(|status| status.current_step_index == Some(1))
        .await
        .current_pod_hash;
    assert_eq!(
        world.ready_pods().await,
        pods(&[("web:1", 5), ("web:2", 5)])
    );
    let why = "Metric \"rate\" assessed Failed due to failed (1) > failureLimit (0)";
    world.judge(&format!("web-{hash}-2-1"), "Failed", why).await;
    let status = world
        .until(|status| status.abort && status.replicas == 10)
        .await;
    assert_eq!(status.phase, Some(RolloutPhase::Degraded));
    assert_eq!(
        status.message,
        format!(
            "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase \
             error/failed: {why}"
        )
    );
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    assert!(fewest.load(Ordering::Relaxed) >= 8, "{fewest:?}");

    // Retried: a fresh run, which is good.
    world.merge_status(json!({ "abort": false })).await;
    world
        .judge(&format!("web-{hash}-2-1.1"), "Successful", "")
        .await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
    assert_eq!(world.list::<AnalysisRun>().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_end_waits_for_a_person() {
    let steps = json!([{ "setWeight": 20 }, { "pause": {} }]);
    let (world, _running) = World::running(json!({ "steps": steps })).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(24 * 3600).await;
    let status = world.status().await;
    assert_eq!(
        (status.message.as_str(), status.current_step_index),
        ("CanaryPauseStep", Some(1))
    );
    world.promote().await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_version_comes_back_as_a_new_revision() {
    let (world, _running) = World::running(json!({})).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:1").await;
    world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    let sets = world.list::<ReplicaSet>().await;
    let revisions: Vec<(&str, Option<&str>)> = sets
        .iter()
        .map(|set| {
            let annotation = |key: &str| set.annotations().get(key).map(String::as_str);
            (
                annotation(labels::REVISION).unwrap(),
                annotation(labels::REVISION_HISTORY),
            )
        })
        .collect();
    assert_eq!(sets.len(), 2);
    assert!(revisions.contains(&("3", Some("1"))) && revisions.contains(&("2", None)));
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_asked() {
    let steps = json!([{ "setWeight": 20 }, { "pause": {} }]);
    let (world, _running) = World::running(json!({ "steps": steps })).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    for _ in 0..2 {
        seconds(60).await;
        world.server.forget_accesses();
        seconds(3600).await;
        let asked = world.server.accesses();
        let asked: Vec<_> = asked
            .keys()
            .filter(|access| access.program == PROGRAM && access.verb != "watch")
            .collect();
        assert!(asked.is_empty(), "{asked:?}");
        world.promote().await;
        world.until_phase(RolloutPhase::Healthy).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_of_another_controller_is_left_alone() {
    let world = World::new().await;
    let _running = world.start_in(Scope {
        instance_id: Some("blue".into()),
        namespace: None,
    });
    let mut rollout = a_rollout(json!({}));
    world.create::<Rollout>(rollout.clone()).await;
    rollout["metadata"] = json!({ "name": "ours", "labels": { INSTANCE_ID_LABEL: "blue" } });
    world.create::<Rollout>(rollout).await;
    seconds(60).await;
    let ours = world.api::<Rollout>().get("ours").await.unwrap();
    assert_eq!(ours.status.unwrap().phase, Some(RolloutPhase::Healthy));
    assert_eq!(world.status().await, RolloutStatus::default());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_followed_is_said_and_nothing_is_touched() {
    let world = World::new().await;
    let _running = world.start();
    let mut rollout = a_rollout(json!({}));
    rollout["spec"]["strategy"] = json!({ "blueGreen": { "activeService": "web" } });
    world.create::<Rollout>(rollout).await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    let problem = "spec.strategy.blueGreen: Unsupported value: the blue-green strategy is not \
        supported yet";
    let expected = format!("InvalidSpec: The Rollout \"web\" is invalid: {problem}");
    assert_eq!(status.message, expected);
    assert_eq!(world.events().await, ["InvalidSpec"]);
    assert!(world.list::<ReplicaSet>().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_template_that_comes_late_is_found() {
    let world = World::new().await;
    let _running = world.start();
    let steps = json!([{ "analysis": an_analysis() }]);
    world
        .create::<Rollout>(a_rollout(json!({ "steps": steps })))
        .await;
    let status = world.until_phase(RolloutPhase::Degraded).await;
    assert!(
        status
            .message
            .contains("AnalysisTemplate 'success-rate' not found"),
        "{status:?}"
    );
    world.create::<AnalysisTemplate>(a_template()).await;
    world.until_phase(RolloutPhase::Healthy).await;
}

/// What a story ends with: everything that must not depend on restarts and failures.
async fn outcome(world: &World) -> Value {
    let status = world.status().await;
    let mut sets: Vec<Value> = (world.list::<ReplicaSet>().await.iter())
        .map(|set| {
            json!({
                "name": set.name_any(),
                "replicas": set.spec.as_ref().unwrap().replicas,
                "revision": set.annotations()[labels::REVISION],
            })
        })
        .collect();
    sets.sort_by_key(Value::to_string);
    let mut runs: Vec<String> = world
        .list::<AnalysisRun>()
        .await
        .iter()
        .map(AnalysisRun::name_any)
        .collect();
    runs.sort();
    let conditions: Vec<String> = (status.conditions.iter())
        .map(|one| format!("{} {:?} {}", one.condition_type, one.status, one.reason))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    json!({
        "phase": status.phase, "message": status.message, "step": status.current_step_index,
        "stable": status.stable_rs, "pods": world.ready_pods().await, "sets": sets, "runs": runs,
        "conditions": conditions,
    })
}

fn is_write(request: &RequestSummary) -> bool {
    request.user_agent == PROGRAM && ["create", "patch", "update", "delete"].contains(&request.verb)
}

/// What goes wrong with one write of the controller, counted from 0.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    at: usize,
    fault: Fault,
    /// Whether the controller is killed then, and started again.
    kills: bool,
}

/// A good release with a pause and an analysis, then a bad one.
async fn two_releases(trouble: Option<Trouble>) -> (Value, usize) {
    let world = World::new().await;
    let writes = Arc::new(AtomicUsize::new(0));
    let kill = Arc::new(Notify::new());
    let (count, signal) = (Arc::clone(&writes), Arc::clone(&kill));
    world.server.set_faults(move |request| {
        if !is_write(request) {
            return Fault::None;
        }
        let number = count.fetch_add(1, Ordering::Relaxed);
        let Some(trouble) = trouble.filter(|trouble| trouble.at == number) else {
            return Fault::None;
        };
        if trouble.kills {
            signal.notify_one();
        }
        trouble.fault
    });
    let mut running = world.start();
    let story = async {
        world.create::<AnalysisTemplate>(a_template()).await;
        let steps = json!([{ "setWeight": 20 }, { "pause": { "duration": 60 } },
            { "analysis": an_analysis() }]);
        let mut rollout = a_rollout(json!({ "steps": steps }));
        rollout["spec"]["replicas"] = json!(3);
        world.create::<Rollout>(rollout).await;
        world.until_phase(RolloutPhase::Healthy).await;
        for (image, verdict, phase) in [
            ("web:2", "Successful", RolloutPhase::Healthy),
            ("web:3", "Failed", RolloutPhase::Degraded),
        ] {
            world.release(image).await;
            let status = world
                .until(|status| status.current_step_index == Some(2))
                .await;
            let revision = image.trim_start_matches("web:");
            let name = format!("web-{}-{revision}-2", status.current_pod_hash);
            world.judge(&name, verdict, "").await;
            world.until(|status| status.phase == Some(phase)).await;
        }
        seconds(120).await;
    };
    let mut story = std::pin::pin!(story);
    loop {
        tokio::select! {
            () = &mut story => break,
            () = kill.notified() => {
                drop(running);
                seconds(5).await;
                running = world.start();
            }
        }
    }
    (outcome(&world).await, writes.load(Ordering::Relaxed))
}

/// Tells the story with trouble at every `step`th write, each kind of trouble in turn.
async fn ends_alike_whatever_fails(step: usize, kills: bool, faults: &[Fault]) {
    let (expected, writes) = two_releases(None).await;
    assert_eq!(expected["phase"], "Degraded");
    assert!((30..200).contains(&writes), "{writes} writes");
    for (at, fault) in (0..writes).step_by(step).zip(faults.iter().cycle()) {
        let trouble = Trouble {
            at,
            fault: *fault,
            kills,
        };
        assert_eq!(two_releases(Some(trouble)).await.0, expected, "{trouble:?}");
    }
}

/// Before and after the server has carried a write out.
const BEFORE_AND_AFTER: [Fault; 2] = [Fault::Status(503), Fault::AppliedThenSilence];

#[tokio::test(start_paused = true)]
async fn killed_at_some_writes_it_ends_alike() {
    ends_alike_whatever_fails(5, true, &BEFORE_AND_AFTER).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes a minute: run with --ignored after a change of the controller"]
async fn killed_at_any_write_it_ends_alike() {
    for fault in BEFORE_AND_AFTER {
        ends_alike_whatever_fails(1, true, &[fault]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failing_requests_only_delay() {
    let faults = [
        Fault::Status(409),
        Fault::Status(500),
        Fault::AppliedThenStatus(504),
    ];
    ends_alike_whatever_fails(4, false, &faults).await;
}
