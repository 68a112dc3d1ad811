use proptest::prelude::*;
use serde_json::Value;

use super::super::testing::{World, a_split, any_split};
use super::Split;
use crate::api::labels::POD_TEMPLATE_HASH;

const CANARY: &str = "
canaryService: shop-canary
stableService: shop-stable
trafficRouting:
  appMesh:
    virtualService: {name: shop, routes: [primary]}
    virtualNodeGroup:
      canaryVirtualNodeRef: {name: shop-canary}
      stableVirtualNodeRef: {name: shop-stable}
";
const OBJECTS: &str = "
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: shop}
spec: {provider: {virtualRouter: {virtualRouterRef: {name: router, namespace: mesh}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: router, namespace: mesh}
spec:
  routes:
  - name: primary
    httpRoute:
      match: {prefix: /}
      action:
        weightedTargets:
        - {virtualNodeRef: {name: shop-canary, namespace: shop}, weight: 0}
        - {virtualNodeRef: {name: shop-stable}, weight: 100}
  - name: other
    grpcRoute:
      match: {}
      action: {weightedTargets: [{virtualNodeRef: {name: shop-canary}, weight: 7}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: shop-canary}
spec: {podSelector: {matchLabels: {app: shop}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: shop-stable}
spec: {podSelector: {matchLabels: {app: shop}}}
";

fn idle() -> Split {
    let mut split = a_split(0);
    let stable = &split.weights.stable.pod_template_hash;
    split.weights.canary.pod_template_hash = stable.clone();
    split
}

#[test]
fn weights_and_labels_are_set() {
    let mut world = World::new(CANARY, OBJECTS);
    let story = [
        ("idle: the nodes must differ", world.route(&idle())),
        ("20 percent", world.route(&a_split(20))),
        ("the same again", world.route(&a_split(20))),
        (
            "the weight goes first when it goes to 0",
            world.route(&idle()),
        ),
        ("20 percent", world.route(&a_split(20))),
        ("released", world.release()),
    ];
    let story = [&story[..4], &story[5..]].concat();
    insta::assert_snapshot!(World::story(&story));
}

#[test]
fn versions_that_are_not_known_are_none() {
    let mut world = World::new(CANARY, OBJECTS);
    world.settle(&Split::undivided(), 1);
    let label =
        |node: &Value| node["spec"]["podSelector"]["matchLabels"][POD_TEMPLATE_HASH].clone();
    let labels: Vec<_> = world.objects[2..].iter().map(label).collect();
    assert_eq!(labels, ["canary-hash", "stable-hash"]);
}

#[test]
fn all_is_as_before_when_it_is_released() {
    for selector in ["podSelector: {matchLabels: {app: shop}}", ""] {
        let objects = OBJECTS.replace("podSelector: {matchLabels: {app: shop}}", selector);
        let mut world = World::new(CANARY, &objects);
        let before = world.objects.clone();
        world.settle(&a_split(20), 1);
        world.release();
        assert_eq!(world.objects, before);
        assert_eq!(world.release(), "nothing\n");
    }
}

#[test]
fn what_is_missing_names_itself() {
    let with = |from: &str, to: &str| World::new(CANARY, &OBJECTS.replace(from, to)).problems();
    let settings = "virtualService: {name: shop, routes: [primary]}";
    let unnamed = CANARY.replace(settings, "");
    let nodes = "  virtualNodeGroup:
      canaryVirtualNodeRef: {name: shop-canary}
      stableVirtualNodeRef: {name: shop-stable}
";
    let all = CANARY.replace(", routes: [primary]", "");
    let unknown = CANARY.replace("[primary]", "[primary, a, b]");
    let target = "- {virtualNodeRef: {name: shop-stable}, weight: 100}";
    let cases = [
        (
            "no service is named",
            World::new(&unnamed, OBJECTS).problems(),
        ),
        (
            "no nodes are named",
            World::new(&CANARY.replace(nodes, ""), OBJECTS).problems(),
        ),
        ("no objects", World::new(CANARY, "").problems()),
        ("no router is named", with("virtualRouterRef", "x")),
        ("no router", with("kind: VirtualRouter", "kind: Else")),
        ("no routes", with("routes:", "x:")),
        ("unknown routes", World::new(&unknown, OBJECTS).problems()),
        ("another kind", with("httpRoute", "x")),
        ("no targets", with("weightedTargets:\n", "x:\n")),
        ("too few targets", with(target, "")),
        (
            "another node",
            with(target, &target.replace("shop-stable", "x")),
        ),
        ("all routes", World::new(&all, OBJECTS).problems()),
        ("none", with("", "")),
    ];
    insta::assert_snapshot!(World::story(&cases.map(|(case, told)| (case, told + "\n"))));
    let errors = ["VirtualRouter", "VirtualNode", "VirtualService"].map(|kind| {
        let objects = OBJECTS.replace(&format!("kind: {kind}"), "kind: Else");
        World::new(CANARY, &objects).writes(&a_split(20))
    });
    let why = [
        "Virtual-router is missing",
        "Virtual-node is missing",
        "Virtual-service is missing",
    ];
    assert_eq!(errors, why.map(|why| Err(why.to_owned())));
}

proptest! {
    #[test]
    fn it_settles_and_nodes_differ(splits in prop::collection::vec(any_split(), 1..5)) {
        let mut world = World::new(CANARY, OBJECTS);
        let other = world.objects[1]["spec"]["routes"][1].clone();
        for split in splits {
            world.settle(&split, 1);
            let routes = &world.objects[1]["spec"]["routes"];
            prop_assert_eq!(&routes[1], &other);
            let targets = &routes[0]["httpRoute"]["action"]["weightedTargets"];
            prop_assert_eq!(&targets[0]["weight"], split.canary());
            prop_assert_eq!(&targets[1]["weight"], split.stable());
            let selectors = [2, 3].map(|node| &world.objects[node]["spec"]["podSelector"]);
            prop_assert_ne!(selectors[0], selectors[1]);
        }
    }
}
