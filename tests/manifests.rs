//! The plain manifests grant what the controllers ask for.

use std::collections::BTreeSet;
use std::process::Command;

use axum::http::StatusCode;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplate, Secret, Service};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, AnalysisTemplate, Experiment, Phase, Rollout, RolloutPhase};
use verdict::rollout::operations;

use crate::leader::Replica;
use crate::routing::registration;
use crate::world::release::a_rollout;
use crate::world::routers::together;
use crate::world::{PROGRAM, World, seconds};

const CONTROLLER: &str = include_str!("../deploy/manifests/controller.yaml");

/// What is granted and not part of the story: names that are taken, an analysis or an Experiment that
/// is stopped, cluster-wide templates, owning objects where that is guarded, routes by header of
/// APISIX, `TrafficSplits` of Rollouts that go on otherwise (others are collected with theirs), Services of
/// Experiments, Istio's subsets, and the Secret that names Istio's cluster.
const UNASKED: [&str; 15] = [
    "create apisixroutes",
    "delete apisixroutes",
    "delete trafficsplits",
    "get replicasets",
    "get services",
    "get analysisruns",
    "update analysisruns/finalizers",
    "get clusteranalysistemplates",
    "get experiments",
    "patch experiments",
    "update rollouts/finalizers",
    "get destinationrules",
    "list secrets",
    "patch destinationrules",
    "watch destinationrules",
];

/// Group, resource and verb.
type Grant = (String, String, String);

fn objects() -> Vec<Value> {
    let texts = CONTROLLER.split("\n---\n");
    texts
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect()
}

fn rules() -> Vec<PolicyRule> {
    let mut rules = Vec::new();
    for object in objects() {
        if object["kind"] == "ClusterRole" {
            let role: ClusterRole = serde_json::from_value(object).unwrap();
            rules.extend(role.rules.unwrap());
        } else if object["kind"] == "Role" {
            let role: Role = serde_json::from_value(object).unwrap();
            rules.extend(role.rules.unwrap());
        }
    }
    rules
}

fn granted() -> BTreeSet<Grant> {
    let mut granted = BTreeSet::new();
    for rule in rules() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let grant = |verb: &String| (group.clone(), resource.clone(), verb.clone());
                granted.extend(rule.verbs.iter().map(grant));
            }
        }
    }
    granted
}

/// Versions of a Rollout, with an Experiment, a plugin and an analysis between them that asks a web source with
/// a Secret and runs a Job, a Service for the stable one, and a run that is deleted when its time is
/// over.
async fn a_broad_story(world: &World) {
    let secret = json!({ "metadata": { "name": "stats" }, "stringData": { "token": "abc" } });
    world.create::<Secret>(secret).await;
    let web = json!({ "url": "http://stats.shop/rate",
        "headers": [{ "key": "Authorization", "value": "Bearer {{args.token}}" }] });
    let pod = json!({ "containers": [{ "name": "c", "image": "i" }], "restartPolicy": "Never" });
    let spec = json!({
        "args": [{ "name": "token",
            "valueFrom": { "secretKeyRef": { "name": "stats", "key": "token" } } }],
        "metrics": [
            { "name": "rate", "successCondition": "result > 0.9", "provider": { "web": web } },
            { "name": "smoke", "interval": "1m", "count": 12,
              "provider": { "job": { "spec": { "template": { "spec": pod } } } } },
        ],
    });
    let template = json!({ "metadata": { "name": "smoke" }, "spec": spec });
    world.create::<AnalysisTemplate>(template).await;
    let mut alone = spec;
    alone["ttlStrategy"] = json!({ "secondsAfterCompletion": 60 });
    let alone = json!({ "metadata": { "name": "alone" }, "spec": alone });
    world.create::<AnalysisRun>(alone).await;
    let phase = |run: &AnalysisRun| run.status.as_ref().and_then(|status| status.phase);
    let is_good = |run: &AnalysisRun| phase(run) == Some(Phase::Successful);
    world.until("alone", is_good).await;
    a_story_of_releases(world).await;
}

async fn a_story_of_releases(world: &World) {
    let gate = "[{name: shop/gate, location: 'http://gate.shop'}]";
    let plugins =
        json!({ "metadata": { "name": "argo-rollouts-config" }, "data": { "stepPlugins": gate } });
    world.create::<ConfigMap>(plugins).await;
    let labels = json!({ "app": "web" });
    let service = json!({ "metadata": { "name": "stable" },
        "spec": { "selector": labels, "ports": [{ "port": 80 }] } });
    world.create::<Service>(service).await;
    let rollout = json!({ "metadata": { "name": "web" }, "spec": {
        "replicas": 2, "selector": { "matchLabels": labels }, "revisionHistoryLimit": 0,
        "template": { "metadata": { "labels": labels },
            "spec": { "containers": [{ "name": "web", "image": "web:1" }] } },
        "strategy": { "canary": { "stableService": "stable",
            "stableMetadata": { "labels": { "role": "stable" } }, "steps": [
            { "experiment": { "templates": [{ "name": "a", "specRef": "canary" }] } },
            { "setWeight": 50 },
            { "plugin": { "name": "shop/gate" } },
            { "analysis": { "templates": [{ "templateName": "smoke" }] } },
        ] } },
    } });
    world.create::<Rollout>(rollout).await;
    let is_healthy = |image: &'static str| {
        move |rollout: &Rollout| {
            let status = rollout.status.as_ref();
            let observed = status.is_some_and(|status| {
                status.phase == Some(RolloutPhase::Healthy)
                    && status.observed_generation
                        == rollout.metadata.generation.unwrap_or(0).to_string()
            });
            observed && serde_json::to_string(rollout).unwrap().contains(image)
        }
    };
    world.until("web", is_healthy("web:1")).await;
    for image in ["web:2", "web:3"] {
        let containers = json!([{ "name": "web", "image": image }]);
        let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        world.merge::<Rollout>("web", patch).await;
        succeed_with_the_experiment(world).await;
        world.until("web", is_healthy(image)).await;
    }
    let restart = operations::restart(world.clock.now());
    world.merge::<Rollout>("web", restart).await;
    let is_restarted = |rollout: &Rollout| {
        let status = rollout.status.as_ref();
        status.is_some_and(|status| status.restarted_at.is_some())
    };
    world.until("web", is_restarted).await;
}

/// Rollouts that take their pod template from elsewhere.
async fn a_story_of_references(world: &World) {
    let labels = json!({ "app": "shop" });
    let selector = json!({ "matchLabels": labels });
    let template = json!({ "metadata": { "labels": labels },
        "spec": { "containers": [{ "name": "shop", "image": "shop:1" }] } });
    let spec = json!({ "selector": selector, "template": template });
    let deployment = json!({ "metadata": { "name": "shop" }, "spec": spec });
    world.create::<Deployment>(deployment).await;
    let alone = json!({ "metadata": { "name": "shop" }, "template": template });
    world.create::<PodTemplate>(alone).await;
    for (name, version, kind) in [("a", "apps/v1", "Deployment"), ("b", "v1", "PodTemplate")] {
        let rollout = json!({ "metadata": { "name": name }, "spec": {
            "selector": selector, "strategy": { "canary": {} }, "workloadRef": {
                "apiVersion": version, "kind": kind, "name": "shop", "scaleDown": "onsuccess" },
        } });
        world.create::<Rollout>(rollout).await;
        let is_healthy = |rollout: &Rollout| {
            let status = rollout.status.as_ref();
            status.is_some_and(|status| status.phase == Some(RolloutPhase::Healthy))
        };
        world.until(name, is_healthy).await;
    }
    let is_down = |deployment: &Deployment| deployment.spec.as_ref().unwrap().replicas == Some(0);
    world.until("shop", is_down).await;
}

/// A Rollout whose traffic all routers divide.
async fn a_story_of_routers(world: &World) {
    let router = together();
    router.install(world).await;
    world.create_services(&["canary", "stable"]).await;
    let rollout = a_rollout(json!({
        "canaryService": "canary", "stableService": "stable", "trafficRouting": router.routing,
        "steps": [{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 60 }],
    }));
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    world.release("web:2").await;
    world.until_phase(RolloutPhase::Paused).await;
    world.merge_status(json!({ "pauseConditions": null })).await;
    world.until_phase(RolloutPhase::Healthy).await;
    // What an update held is given back, and what one holds whose Rollout goes.
    seconds(60).await;
    world.release("web:3").await;
    world.until_phase(RolloutPhase::Paused).await;
    let policy = PropagationPolicy::Background;
    world.delete::<Rollout>("web", policy).await;
    seconds(60).await;
}

/// What the controllers ask for while a story is told.
async fn asked_for(world: &World, story: impl Future<Output = ()>) -> BTreeSet<Grant> {
    let replica = Replica::start(world, PROGRAM);
    story.await;
    replica.stop().await;
    asked_in(world)
}

fn asked_in(world: &World) -> BTreeSet<Grant> {
    let accesses = world.server.accesses();
    let ours = accesses.keys().filter(|access| access.program == PROGRAM);
    ours.map(|access| {
        let (group, resource) = (access.group.clone(), access.resource.clone());
        (group, resource, access.verb.to_owned())
    })
    .collect()
}

async fn succeed_with_the_experiment(world: &World) {
    let status = world
        .until_status(|status| !status.canary.current_experiment.is_empty())
        .await;
    let name = status.canary.current_experiment;
    world.until(&name, |_: &Experiment| true).await;
    let patch = Patch::Merge(json!({ "status": { "phase": "Successful" } }));
    world
        .api::<Experiment>()
        .patch(&name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_role_grants_what_the_controllers_ask_for() {
    let world = World::new(|question| {
        let is_plugin = question.contains("\"method\":\"Run\"");
        let answer = if is_plugin {
            json!({ "phase": "Successful" })
        } else {
            json!(0.99)
        };
        (StatusCode::OK, answer)
    })
    .await;
    let stories = async {
        a_broad_story(&world).await;
        a_story_of_references(&world).await;
    };
    let mut asked = Box::pin(asked_for(&world, stories)).await;
    let world = World::without_sources().await;
    let story = Box::pin(asked_for(&world, a_story_of_routers(&world)));
    asked.extend(story.await);
    asked.extend(asked_in(&registration::a_late_registration().await));
    let granted = granted();
    let missing: Vec<&Grant> = asked.difference(&granted).collect();
    assert!(missing.is_empty(), "not granted: {missing:?}");
    let unasked: BTreeSet<String> = granted
        .difference(&asked)
        .map(|(_, resource, verb)| format!("{verb} {resource}"))
        .collect();
    let expected = UNASKED.map(str::to_owned);
    assert_eq!(unasked, BTreeSet::from(expected));
}

/// A Lease of another name cannot be kept.
#[test]
fn the_leases_that_the_controllers_campaign_for_are_granted_by_name() {
    let named = rules()
        .into_iter()
        .filter(|rule| rule.resources.iter().flatten().eq(["leases"]))
        .find_map(|rule| rule.resource_names)
        .unwrap();
    let help = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args(["controller", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let told: BTreeSet<&str> = help
        .split('`')
        .filter(|word| word.ends_with("-controller-lock"))
        .collect();
    assert_eq!(
        named.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        told
    );
}

#[test]
fn nothing_is_granted_by_a_pattern_and_the_container_is_confined() {
    assert!(
        granted()
            .iter()
            .all(|(_, resource, verb)| resource != "*" && verb != "*")
    );
    let objects = objects();
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment");
    let pod = &deployment.unwrap()["spec"]["template"]["spec"];
    let confined = &pod["containers"][0]["securityContext"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(confined["readOnlyRootFilesystem"], true);
    assert_eq!(confined["allowPrivilegeEscalation"], false);
}
