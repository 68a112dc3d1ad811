//! A version never gets a greater share of the traffic than its share of the pods that are ready,
//! whichever router divides it, and whatever happens.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use k8s_openapi::api::core::v1::Service;
use verdict::apiserver::Server;

use super::*;
use crate::world::routers::{self, Router, Selector};

fn any_router() -> impl Strategy<Value = Router> {
    let mut all = routers::all();
    all.extend([routers::istio_by_subset(), routers::alb_in_turns()]);
    prop::sample::select(all)
}

/// Steps, and what makes the shares of pods their author's business: `setCanaryScale` with a size of its
/// own, and `replicaProgressThreshold`.
fn any_routed_canary(is_dynamic: bool) -> impl Strategy<Value = Value> {
    let scale = prop_oneof![
        (0_i32..9).prop_map(|replicas| json!({ "replicas": replicas })),
        (0_i32..=100).prop_map(|weight| json!({ "weight": weight })),
    ];
    let step = prop_oneof![
        6 => (0_i32..=100).prop_map(|weight| json!({ "setWeight": weight })),
        2 => Just(json!({ "pause": {} })),
        2 => (0_i32..120).prop_map(|seconds| json!({ "pause": { "duration": seconds } })),
        2 => Just(json!({ "analysis": analysis() })),
        1 => Just(json!({ "setCanaryScale": { "matchTrafficWeight": true } })),
        1 => scale.prop_map(|scale| json!({ "setCanaryScale": scale })),
    ];
    let maybe = |numbers: Range<i32>| prop_oneof![Just(Value::Null), numbers.prop_map(Value::from)];
    let background = prop_oneof![Just(Value::Null), Just(analysis())];
    let threshold = prop_oneof![
        (0_i32..=100).prop_map(|value| json!({ "type": "Percentage", "value": value })),
        (0_i32..8).prop_map(|value| json!({ "type": "Pod", "value": value })),
    ];
    let threshold = prop_oneof![3 => Just(Value::Null), 1 => threshold];
    let parts = (
        prop::collection::vec(step, 0..5),
        (background, threshold),
        (maybe(0..60), maybe(1..60), maybe(1..4)),
    );
    parts.prop_map(
        move |(steps, (analysis, threshold), (delay, abort_delay, least))| {
            let mut canary = json!({ "steps": steps, "dynamicStableScale": is_dynamic });
            let more = json!({
                "analysis": analysis, "abortScaleDownDelaySeconds": abort_delay,
                "minPodsPerReplicaSet": least, "replicaProgressThreshold": threshold,
                "scaleDownDelaySeconds": if is_dynamic { Value::Null } else { delay },
            });
            json_patch::merge(&mut canary, &more);
            canary
        },
    )
}

/// Whether a canary leaves it to the weights how many pods share the traffic.
fn follows_the_weights(canary: &Value) -> bool {
    let steps = canary["steps"].as_array().unwrap();
    let scales = |step: &Value| {
        let scale = step.get("setCanaryScale");
        scale.is_some_and(|scale| scale["matchTrafficWeight"] != true)
    };
    !steps.iter().any(scales) && canary.get("replicaProgressThreshold").is_none()
}

/// All that may happen. There is always a pod to be had: of none nobody has a share.
fn with_some_pods() -> impl Strategy<Value = Happening> {
    anything().prop_map(|happening| match happening {
        Happening::Size(size) => Happening::Size(size.max(1)),
        other => other,
    })
}

/// Some routers divide another whole than 100.
fn divide_another_whole(canary: &mut Value) {
    canary["trafficRouting"]["maxTrafficWeight"] = json!(250);
    for step in canary["steps"].as_array_mut().unwrap() {
        if let Some(weight) = step["setWeight"].as_i64() {
            step["setWeight"] = json!(weight * 5 / 2);
        }
    }
}

fn routed(is_dynamic: bool) -> impl Strategy<Value = (Router, Scene)> {
    let scene = scene(any_routed_canary(is_dynamic), with_some_pods());
    (any_router(), scene, any::<bool>()).prop_map(|(router, mut scene, is_other)| {
        let steps = scene.strategy["steps"].clone();
        json_patch::merge(&mut scene.strategy, &router.canary(&steps));
        let routing = &scene.strategy["trafficRouting"];
        if is_other && (routing.get("nginx").is_some() || routing.get("plugins").is_some()) {
            divide_another_whole(&mut scene.strategy);
        }
        // As long as people hold it, pods of a version that was given up stay.
        scene.happenings.push((1, Happening::Unpause));
        let steps = std::mem::take(&mut scene.strategy);
        scene.strategy = json!({ "canary": steps });
        (router, scene)
    })
}

/// What an API server holds of some kinds, by their names in paths.
struct State(BTreeMap<String, Vec<Value>>);

impl State {
    fn of(server: &Server, kinds: &[&str]) -> Self {
        let mut text = Vec::new();
        server.snapshot().write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let mut state: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in text.lines().skip(1) {
            let collection = line.strip_prefix("{\"collection\":\"").unwrap();
            let kind = collection.split(['.', '"']).next().unwrap();
            if kinds.contains(&kind) {
                let mut line: Value = serde_json::from_str(line).unwrap();
                let object = line["object"].take();
                state.entry(kind.to_owned()).or_default().push(object);
            }
        }
        Self(state)
    }

    fn all(&self, kind: &str) -> &[Value] {
        self.0.get(kind).map_or(&[], Vec::as_slice)
    }

    /// Pods that are ready and stay, among those that a selector finds.
    fn ready_pods(&self, selector: Selector) -> i64 {
        let Selector(kind, name, labels) = selector;
        let mut named = self.all(kind).iter();
        let named = named.find(|object| object["metadata"]["name"] == name);
        let labels = named.and_then(|object| object.pointer(labels)?.as_object());
        let labels = labels.unwrap();
        let is_found = |pod: &&Value| {
            let found = &pod["metadata"]["labels"];
            let pod: Pod = serde_json::from_value((*pod).clone()).unwrap();
            let stays = pod.metadata.deletion_timestamp.is_none();
            stays && is_ready(&pod) && labels.iter().all(|(key, value)| found[key] == *value)
        };
        self.all("pods")
            .iter()
            .filter(is_found)
            .count()
            .try_into()
            .unwrap()
    }
}

/// Looks whether the law holds. Shares are of the fewest pods that the Rollout was ever to have: those of
/// another size come one by one. Where its author says how many pods a version has, it has some as long as
/// it gets anything.
fn watch(router: &Router, play: &Play, scene: &Scene) -> Arc<dyn Fn() + Send + Sync> {
    let (router, server) = (router.clone(), play.world.server.clone());
    let (seen, last) = (Arc::clone(&play.seen), AtomicU64::new(0));
    let fewest = AtomicI64::new(scene.replicas.into());
    let is_strict = follows_the_weights(&scene.strategy["canary"]);
    Arc::new(move || {
        let version = server.resource_version();
        if last.swap(version, Ordering::Relaxed) == version {
            return;
        }
        let divided = router.kinds.iter().map(|kind| kind.2);
        let selecting = router.selectors.iter().map(|selector| selector.0);
        let kinds: Vec<&str> = divided
            .clone()
            .chain(selecting)
            .chain(["pods", "rollouts"])
            .collect();
        let state = State::of(&server, &kinds);
        let wanted = &state.all("rollouts")[0]["spec"]["replicas"];
        let wanted = wanted.as_i64().unwrap_or(1);
        let fewest = fewest.fetch_min(wanted, Ordering::Relaxed).min(wanted);
        let objects: Vec<Value> = divided.flat_map(|kind| state.all(kind)).cloned().collect();
        let (one, other) = (router.weights)(&objects);
        for (weight, selector) in [one, other].into_iter().zip(router.selectors) {
            let ready = state.ready_pods(selector);
            let needed = if is_strict {
                weight * fewest
            } else {
                weight.min(1)
            };
            if needed > ready * (one + other) {
                let problem = format!(
                    "{weight} of {} by {selector:?} with {ready} of {fewest} pods",
                    one + other
                );
                seen.lock().unwrap().wrong.push(problem);
            }
        }
    })
}

async fn holds((router, scene): &(Router, Scene)) -> Result<(), TestCaseError> {
    let world = World::without_sources().await;
    router.install(&world).await;
    let services = ["canary", "stable", "ping", "pong", "root", "web"];
    world.create_services(&services).await;
    let mut play = Play::begin_in(world, scene).await;
    play.look = Some(watch(router, &play, scene));
    play.fail(scene.chaos);
    let held = play.has_no_problems(scene).await;
    play.world.server.clear_faults();
    held
}

/// A canary without pods is given all of the traffic.
#[tokio::test(start_paused = true)]
async fn a_share_that_no_pods_can_take_is_seen() {
    let router = routers::traefik();
    let canary = router.canary(&json!([{ "setWeight": 20 }]));
    let scene = Scene {
        strategy: json!({ "canary": canary }),
        replicas: 4,
        happenings: vec![],
        chaos: None,
    };
    let world = World::without_sources().await;
    router.install(&world).await;
    world.create_services(&["canary", "stable"]).await;
    let mut play = Play::begin_in(world, &scene).await;
    play.look = Some(watch(&router, &play, &scene));
    play.fail(None);
    play.running.take().unwrap().kill().await;
    let selector = json!({ labels::POD_TEMPLATE_HASH: "another" });
    let patch = json!({ "spec": { "selector": selector } });
    play.world.merge::<Service>("canary", patch).await;
    assert_eq!(play.problems(), Vec::<String>::new());
    let service = |name: &str, weight: i32| json!({ "name": name, "weight": weight });
    let services = json!([service("stable", 99), service("canary", 1)]);
    let patch = json!({ "spec": { "weighted": { "services": services } } });
    play.world.patch(routers::TRAEFIK, "web", patch).await;
    play.release(2).await;
    assert_eq!(play.problems().len(), 1);
    play.world.server.clear_faults();
}

proptest! {
    #![proptest_config(cases(6))]

    #[test]
    fn no_version_gets_more_of_the_traffic_than_it_has_of_the_ready_pods(play in routed(false)) {
        on_stage(holds(&play))?;
    }

    #[test]
    fn nor_beside_a_stable_version_that_shrinks_as_its_traffic_does(play in routed(true)) {
        on_stage(holds(&play))?;
    }
}
