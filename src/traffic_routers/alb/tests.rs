//! Ingresses before and after.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{World, a_split, any_split};
use super::released;
use crate::api::PingPongSide;

const CANARY: &str = "
canaryService: shop-canary
stableService: shop-stable
trafficRouting:
  managedRoutes: [{name: first}, {name: second}]
  alb: {ingress: shop, servicePort: 80, rootService: shop-root}
";
const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  annotations: {alb.ingress.kubernetes.io/scheme: internet-facing}
spec:
  ingressClassName: alb
  rules:
  - host: shop.example.com
    http:
      paths:
      - {path: /static/*, pathType: ImplementationSpecific, backend: {service: {name: files, port: {number: 80}}}}
      - {path: /*, pathType: ImplementationSpecific, backend: {service: {name: shop-root, port: {name: use-annotation}}}}
  - host: other.example.com
    http:
      paths:
      - {path: /*, pathType: ImplementationSpecific, backend: {service: {name: other, port: {number: 80}}}}
";

fn header(value: &str) -> Value {
    json!([
        {"headerName": "X-Canary", "headerValue": {"exact": value}},
        {"headerName": "X-Canary", "headerValue": {"exact": "1"}},
        {"headerName": "X-Group", "headerValue": {"exact": "beta"}},
    ])
}

#[test]
fn the_weights_are_an_action() {
    let mut world = World::new(CANARY, INGRESS);
    let tried = a_split(20).and("shop-baseline", 5);
    let story = [
        ("10 percent", world.route(&a_split(10))),
        ("the same again", world.route(&a_split(10))),
        ("20 percent, and 5 for an experiment", world.route(&tried)),
        ("released", world.release()),
    ];
    insta::assert_snapshot!(World::story(&story));
}

#[test]
fn clients_may_stay_with_one_version() {
    let sticky = |text: &str| {
        CANARY.replace(
            "servicePort: 80",
            &format!("servicePort: 80, stickinessConfig: {text}"),
        )
    };
    let mut world = World::new(&sticky("{enabled: true, durationSeconds: 300}"), INGRESS);
    insta::assert_snapshot!(world.route(&a_split(10)));
    let mut off = World::new(&sticky("{enabled: false, durationSeconds: 0}"), INGRESS);
    assert!(!off.route(&a_split(10)).contains("Sticky"));
    let mut too_long = World::new(&sticky("{enabled: true, durationSeconds: 604801}"), INGRESS);
    assert_eq!(
        too_long.route(&a_split(10)),
        "error: TargetGroupStickinessConfig's duration must be between 1 and 604800 seconds (7 days)!\n"
    );
}

#[test]
fn routes_by_header_go_before_the_paths_of_the_service() {
    let mut world = World::new(CANARY, INGRESS);
    world.settle(&a_split(10), 1);
    let both = a_split(10)
        .and_header("first", &header("true"))
        .and_header("second", &header("yes"));
    let second = a_split(10).and_header("second", &header("yes"));
    let story = [
        ("the second", world.route(&second)),
        ("the first, too", world.route(&both)),
        ("the same again", world.route(&both)),
        ("none", world.route(&a_split(10))),
    ];
    insta::assert_snapshot!(World::story(&story));
    world.settle(&both, 1);
    world.release();
    let released = &world.objects[0];
    assert_eq!(
        released["spec"],
        World::new(CANARY, INGRESS).objects[0]["spec"]
    );
}

#[test]
fn services_take_turns_without_moving() {
    let canary = format!(
        "{}\npingPong: {{pingService: shop-ping, pongService: shop-pong}}\n",
        CANARY.trim_start_matches("\ncanaryService: shop-canary\nstableService: shop-stable")
    );
    let mut world = World::new(&canary, INGRESS);
    let mut action = |side| {
        world.stable_ping_pong = Some(side);
        world.settle(&a_split(10), 1);
        let annotations = &world.objects[0]["metadata"]["annotations"];
        annotations["alb.ingress.kubernetes.io/actions.shop-root"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let of = |canary: &str, stable: &str| {
        format!(
            r#"{{"Type":"forward","ForwardConfig":{{"TargetGroups":[{{"ServiceName":"{canary}","ServicePort":"80","Weight":10}},{{"ServiceName":"{stable}","ServicePort":"80","Weight":90}}]}}}}"#
        )
    };
    assert_eq!(action(PingPongSide::Ping), of("shop-pong", "shop-ping"));
    assert_eq!(action(PingPongSide::Pong), of("shop-ping", "shop-pong"));
}

#[test]
fn each_of_several_ingresses_is_divided() {
    let canary = CANARY.replace("ingress: shop", "ingresses: [shop, internal]");
    let internal = INGRESS.replace("name: shop\n", "name: internal\n");
    let mut world = World::new(&canary, &format!("{INGRESS}---\n{internal}"));
    world.settle(&a_split(10), 1);
    // One that needs no change does not keep the next from it.
    let annotations = world.objects[1]["metadata"]["annotations"]
        .as_object_mut()
        .unwrap();
    annotations
        .remove("alb.ingress.kubernetes.io/actions.shop-root")
        .unwrap();
    let told = world.route(&a_split(10));
    assert!(told.starts_with("update Ingress shop/internal\n"), "{told}");
    assert_eq!(told.matches("update").count(), 1);
}

#[test]
fn rollouts_share_an_ingress() {
    let other = json!({"api": ["alb.ingress.kubernetes.io/actions.api", "alb.ingress.kubernetes.io/actions.first", "alb.ingress.kubernetes.io/conditions.first"]});
    let shared = INGRESS.replace(
        "annotations: {",
        &format!("annotations: {{rollouts.argoproj.io/managed-alb-annotations: '{other}', "),
    );
    let mut world = World::new(CANARY, &shared);
    world.settle(&a_split(10), 1);
    let managed = |world: &World| -> Value {
        let annotations = &world.objects[0]["metadata"]["annotations"];
        let text = annotations["rollouts.argoproj.io/managed-alb-annotations"]
            .as_str()
            .unwrap();
        serde_json::from_str(text).unwrap()
    };
    assert_eq!(managed(&world)["api"], other["api"]);
    assert_eq!(
        managed(&world)["shop"],
        json!(["alb.ingress.kubernetes.io/actions.shop-root"])
    );
    assert_eq!(
        world.route(&a_split(10).and_header("first", &header("true"))),
        "error: annotation `alb.ingress.kubernetes.io/actions.first` of ingress `shop` is the Rollout `api`'s\n"
    );
    world.release();
    assert_eq!(managed(&world), other);
}

#[test]
fn each_annotation_is_given_up_by_itself() {
    let forward = |services: [&str; 2]| {
        let group =
            |service: &str| json!({"ServiceName": service, "ServicePort": "80", "Weight": 50});
        json!({"Type": "forward", "ForwardConfig": {"TargetGroups": services.map(group)}})
            .to_string()
    };
    let prefix = "alb.ingress.kubernetes.io";
    let ingress = json!({"metadata": {"annotations": {
        format!("{prefix}/actions.shop-root"): forward(["shop-canary", "shop-stable"]),
        format!("{prefix}/actions.shop-stable"): forward(["shop-stable", "shop-canary"]),
        format!("{prefix}/actions.broken"): "{",
        format!("{prefix}/actions.first"): forward(["shop-canary", "shop-canary"]),
        format!("{prefix}/conditions.first"): "[]",
        "rollouts.argoproj.io/managed-alb-actions": "old",
        "rollouts.argoproj.io/managed-alb-annotations": json!({"shop": [
            format!("{prefix}/actions.shop-root"), format!("{prefix}/actions.shop-stable"),
            format!("{prefix}/actions.broken"), format!("{prefix}/actions.first"),
            format!("{prefix}/conditions.first")]}).to_string(),
    }}});
    let after = released(&ingress, "shop");
    let group = |service: &str| {
        format!(
            r#"{{"Type":"forward","ForwardConfig":{{"TargetGroups":[{{"ServiceName":"{service}","ServicePort":"80","Weight":100}}]}}}}"#
        )
    };
    assert_eq!(
        after,
        json!({"metadata": {"annotations": {
            format!("{prefix}/actions.shop-root"): group("shop-stable"),
            format!("{prefix}/actions.shop-stable"): group("shop-stable"),
            format!("{prefix}/actions.broken"): "{",
        }}})
    );
}

#[test]
fn what_is_wrong_is_named() {
    let alb = |text: &str| CANARY.replace("ingress: shop, ", text);
    let problems = [
        World::new(CANARY, INGRESS).problems(),
        World::new(CANARY, "").problems(),
        World::new(CANARY, &INGRESS.replace("shop-root", "else")).problems(),
        World::new(
            CANARY,
            &INGRESS.replace("ingressClassName: alb", "ingressClassName: nginx"),
        )
        .problems(),
        World::new(&alb(""), INGRESS).problems(),
        World::new(&alb("ingress: shop, ingresses: [shop, none], "), INGRESS).problems(),
        World::new(
            &alb("ingress: shop, stickinessConfig: {enabled: true, durationSeconds: 0}, "),
            INGRESS,
        )
        .problems(),
    ];
    insta::assert_snapshot!(problems.join("\n--\n"));
}

proptest! {
    #[test]
    fn it_settles_and_leaves_the_rest_alone(splits in prop::collection::vec(any_split(), 1..5)) {
        let mut world = World::new(CANARY, INGRESS);
        let before = world.objects[0].clone();
        for split in splits {
            world.settle(&split, 1);
            prop_assert_eq!(&world.objects[0]["spec"]["rules"][1], &before["spec"]["rules"][1]);
        }
        world.settle(&a_split(0), 1);
        prop_assert_eq!(&world.objects[0]["spec"], &before["spec"]);
    }
}
