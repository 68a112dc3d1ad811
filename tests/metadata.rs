//! Stories of ephemeral metadata: labels and annotations that pods have as long as their version
//! has a role.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use verdict::api::{Rollout, RolloutPhase};
use verdict::rollout::labels;

use crate::world::release::a_rollout;
use crate::world::trouble::{BEFORE_AND_AFTER, REFUSALS, Trouble, ends_alike};
use crate::world::{Running, World, seconds};

/// The template's own label `tier` is another one while a version is tested.
fn a_canary() -> Value {
    json!({
        "steps": [{ "setWeight": 20 }, { "pause": {} }],
        "canaryMetadata": {
            "labels": { "role": "canary", "tier": "test" }, "annotations": { "queue": "preview" },
        },
        "stableMetadata": { "labels": { "role": "stable" } },
    })
}

fn a_rollout_with_roles() -> Value {
    let mut rollout = a_rollout(a_canary());
    rollout["spec"]["template"]["metadata"]["labels"]["tier"] = json!("web");
    rollout
}

async fn running(rollout: Value) -> (World, Running) {
    let world = World::without_sources().await;
    let running = world.start_rollouts();
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    (world, running)
}

/// What is told of an object's metadata here: `role/tier/queue`.
fn roles(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> String {
    let entry = |entries: &BTreeMap<String, String>, key| entries.get(key).cloned();
    let all = [
        entry(labels, "role"),
        entry(labels, "tier"),
        entry(annotations, "queue"),
    ];
    all.map(|entry| entry.unwrap_or("-".into())).join("/")
}

/// The roles of all pods, by image.
async fn pods(world: &World) -> Vec<String> {
    let pods = world.list::<Pod>().await;
    let roles = pods.iter().map(|pod| {
        let image = pod.spec.as_ref().unwrap().containers[0].image.clone();
        format!(
            "{} {}",
            image.unwrap(),
            roles(pod.labels(), pod.annotations())
        )
    });
    roles.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The roles in the templates of all ReplicaSets, by image, with the note about them.
async fn templates(world: &World) -> Vec<String> {
    let sets = world.list::<ReplicaSet>().await;
    let roles = sets.iter().map(|set| {
        let template = set.spec.as_ref().unwrap().template.as_ref().unwrap();
        let image = template.spec.as_ref().unwrap().containers[0].image.clone();
        let metadata = template.metadata.clone().unwrap();
        let note = set.annotations().get(labels::EPHEMERAL_METADATA);
        let roles = roles(
            &metadata.labels.unwrap_or_default(),
            &metadata.annotations.unwrap_or_default(),
        );
        let note = note.map_or("", String::as_str);
        format!("{} {roles} {note}", image.unwrap())
            .trim_end()
            .to_owned()
    });
    roles.collect::<BTreeSet<_>>().into_iter().collect()
}

async fn pod_names(world: &World) -> BTreeSet<String> {
    world.names::<Pod>().await.into_iter().collect()
}

async fn promote(world: &World) {
    world.merge_status(json!({ "pauseConditions": null })).await;
}

const STABLE: &str = r#"{"labels":{"role":"stable"}}"#;
const CANARY: &str = r#"{"annotations":{"queue":"preview"},"labels":{"role":"canary","tier":"test"},"replaced":{"labels":{"tier":"web"}}}"#;

#[tokio::test(start_paused = true)]
async fn pods_have_the_metadata_of_their_versions_role() {
    let (world, _running) = running(a_rollout_with_roles()).await;
    assert_eq!(pods(&world).await, ["web:1 stable/web/-"]);
    let expected = format!("web:1 stable/web/- {STABLE}");
    assert_eq!(templates(&world).await, [expected.as_str()]);

    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(60).await;
    assert_eq!(
        pods(&world).await,
        ["web:1 stable/web/-", "web:2 canary/test/preview"]
    );
    let tested = format!("web:2 canary/test/preview {CANARY}");
    assert_eq!(templates(&world).await, [expected, tested]);

    promote(&world).await;
    world
        .until_status(|status| status.updated_replicas == 10)
        .await;
    let made = pod_names(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    assert_eq!(pods(&world).await, ["web:2 stable/web/-"]);
    assert!(
        pod_names(&world).await.is_subset(&made),
        "no pod was replaced"
    );
    let expected = format!("web:2 stable/web/- {STABLE}");
    assert_eq!(templates(&world).await, ["web:1 -/web/-", &expected]);
}

#[tokio::test(start_paused = true)]
async fn pods_are_asked_for_when_a_role_changes_and_only_then() {
    let (world, _running) = running(a_rollout_with_roles()).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(60).await;
    world.server.forget_accesses();
    seconds(3600).await;
    assert_eq!(world.requests(), 0, "{:?}", world.server.accesses());
    promote(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    let accesses = world.server.accesses();
    let about_pods = |verb| {
        let ours = accesses.iter().filter(move |(access, _)| {
            access.program == crate::world::PROGRAM
                && access.resource == "pods"
                && access.verb == verb
        });
        ours.map(|(_, count)| count).sum::<u64>()
    };
    assert_eq!((about_pods("list"), about_pods("patch")), (1, 10));
    world.server.forget_accesses();
    seconds(3600).await;
    assert_eq!(world.requests(), 0, "{:?}", world.server.accesses());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_given_up_loses_its_role() {
    let (world, _running) = running(a_rollout_with_roles()).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    world.release("web:3").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(60).await;
    let expected = [
        format!("web:1 stable/web/- {STABLE}"),
        "web:2 -/web/-".to_owned(),
        format!("web:3 canary/test/preview {CANARY}"),
    ];
    assert_eq!(templates(&world).await, expected);
    // Back to the version that was given up, which is tested again.
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    seconds(60).await;
    assert_eq!(
        pods(&world).await,
        ["web:1 stable/web/-", "web:2 canary/test/preview"]
    );
}

#[tokio::test(start_paused = true)]
async fn metadata_that_is_no_longer_wanted_goes_and_other_takes_its_place() {
    let (world, _running) = running(a_rollout_with_roles()).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    let change = json!({ "canaryMetadata": { "labels": { "role": null, "team": "shop" } } });
    let change = json!({ "spec": { "strategy": { "canary": change } } });
    world.merge::<Rollout>("web", change).await;
    seconds(60).await;
    assert_eq!(
        pods(&world).await,
        ["web:1 stable/web/-", "web:2 -/test/preview"]
    );
    let none = json!({ "canaryMetadata": null, "stableMetadata": null });
    let none = json!({ "spec": { "strategy": { "canary": none } } });
    world.merge::<Rollout>("web", none).await;
    seconds(60).await;
    assert_eq!(pods(&world).await, ["web:1 -/web/-", "web:2 -/web/-"]);
    assert_eq!(templates(&world).await, ["web:1 -/web/-", "web:2 -/web/-"]);
    let team = world.list::<Pod>().await;
    assert!(team.iter().all(|pod| !pod.labels().contains_key("team")));
}

#[tokio::test(start_paused = true)]
async fn labels_that_others_give_to_pods_stay() {
    let (world, _running) = running(a_rollout_with_roles()).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    for name in pod_names(&world).await {
        let label = Patch::Merge(json!({ "metadata": { "labels": { "mesh": "on" } } }));
        let pods = world.api::<Pod>();
        pods.patch(&name, &PatchParams::default(), &label)
            .await
            .unwrap();
    }
    let labelled = pod_names(&world).await;
    promote(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(60).await;
    let mut seen = 0;
    for pod in world.list::<Pod>().await {
        let was_there = labelled.contains(&pod.name_any());
        seen += usize::from(was_there);
        assert_eq!(
            pod.labels().get("mesh").map(String::as_str),
            was_there.then_some("on")
        );
    }
    assert_eq!(seen, 2);
}

#[tokio::test(start_paused = true)]
async fn labels_that_the_selector_looks_at_are_refused() {
    let world = World::without_sources().await;
    let _running = world.start_rollouts();
    let mut canary = a_canary();
    canary["canaryMetadata"]["labels"]["app"] = json!("other");
    canary["antiAffinity"] = json!({
        "preferredDuringSchedulingIgnoredDuringExecution": { "weight": 101 },
        "requiredDuringSchedulingIgnoredDuringExecution": {},
    });
    world.create::<Rollout>(a_rollout(canary)).await;
    let message = world.until_phase(RolloutPhase::Degraded).await.message;
    for expected in [
        "spec.strategy.canary.canaryMetadata.labels: Invalid value: {\"app\":\"other\",\"role\":\
         \"canary\",\"tier\":\"test\"}: with them, `selector` does not match template `labels`",
        "AntiAffinity must have exactly one strategy listed",
        "spec.strategy.canary.antiAffinity.weight: Invalid value: 101: AntiAffinity weight must \
         be between 1-100",
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

/// A version is promoted, the next is given up, and the metadata is changed.
async fn three_roles(trouble: Option<Trouble>) -> (Value, usize) {
    let world = World::without_sources().await;
    let story = Box::pin(async {
        let mut rollout = a_rollout_with_roles();
        rollout["spec"]["replicas"] = json!(3);
        world.create::<Rollout>(rollout).await;
        world.until_phase(RolloutPhase::Healthy).await;
        world.release("web:2").await;
        world.until_phase(RolloutPhase::Paused).await;
        promote(&world).await;
        world.until_phase(RolloutPhase::Healthy).await;
        world.release("web:3").await;
        world.until_phase(RolloutPhase::Paused).await;
        let change = json!({ "stableMetadata": { "labels": { "role": "best" } } });
        let change = json!({ "spec": { "strategy": { "canary": change } } });
        world.merge::<Rollout>("web", change).await;
        seconds(200).await;
    });
    let writes = world.tell(trouble, story).await;
    let outcome = json!({ "pods": pods(&world).await, "templates": templates(&world).await });
    (outcome, writes)
}

#[tokio::test(start_paused = true)]
async fn killed_at_some_writes_no_pod_keeps_the_metadata_of_another_role() {
    ends_alike((7, true, &BEFORE_AND_AFTER), 30..200, three_roles).await;
    ends_alike((9, false, &REFUSALS), 30..200, three_roles).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes a minute: run with --ignored after a change of the controller"]
async fn killed_at_any_write_no_pod_keeps_the_metadata_of_another_role() {
    for fault in BEFORE_AND_AFTER {
        ends_alike((1, true, &[fault]), 30..200, three_roles).await;
    }
}
