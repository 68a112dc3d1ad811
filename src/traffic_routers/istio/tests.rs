use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{World, a_split, any_split};
use super::super::{Route, Split, Version};
use super::reference;
use crate::api::PingPongSide;
use crate::api::labels::POD_TEMPLATE_HASH;

const BY_SERVICE: &str = "
canaryService: shop-canary
stableService: shop-stable
trafficRouting:
  istio: {virtualService: {name: shop, routes: [primary]}}
  managedRoutes: [{name: first}, {name: second}]
";

/// Of it only `primary` is the Rollout's, and of that one not `legacy`.
const SERVICES: &str = "
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  http:
  - match: [{uri: {prefix: /health}}]
    route: [{destination: {host: health}}]
  - name: primary
    timeout: 5s
    route:
    - destination: {host: shop-stable.shop.svc.cluster.local, port: {number: 8080}}
      headers: {request: {set: {side: stable}}}
      weight: 100
    - destination: {host: shop-canary}
    - destination: {host: legacy}
  - name: other
    route: [{destination: {host: other}}]
";

const BY_SUBSET: &str = "
trafficRouting:
  istio:
    virtualService: {name: shop}
    destinationRule:
      name: shop
      canarySubsetName: canary
      stableSubsetName: stable
      additionalSubsetNames: [legacy]
  managedRoutes: [{name: first}, {name: second}]
";

const SUBSETS: &str = "
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  subsets:
  - {name: canary, labels: {app: shop}, trafficPolicy: {tls: {mode: DISABLE}}}
  - {name: stable}
  - {name: legacy, labels: {v: old}}
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - route:
    - {destination: {host: shop, subset: stable}, weight: 90}
    - {destination: {host: shop, subset: canary}, weight: 0}
    - {destination: {host: shop, subset: legacy}, weight: 10}
";

fn by_header(split: Split, name: &str) -> Split {
    let matches = json!([
        {"headerName": "X-Canary", "headerValue": {"exact": "true"}},
        {"headerName": "X-Group", "headerValue": {"prefix": "beta"}},
    ]);
    split.and_header(name, &matches)
}

fn mirrored(split: Split, name: &str) -> Split {
    let requests = json!([{
        "method": {"exact": "GET"},
        "path": {"prefix": "/cart"},
        "headers": {"X-Env": {"regex": "^prod.*"}},
    }]);
    split.and_mirror(name, Some(35), &requests)
}

#[test]
fn weights_and_routes_by_service() {
    let mut world = World::new(BY_SERVICE, SERVICES);
    let both = |weight| mirrored(by_header(a_split(weight), "first"), "second");
    let story = [
        ("20 percent", world.route(&a_split(20))),
        ("a mirror", world.route(&mirrored(a_split(20), "second"))),
        ("a route by header before it", world.route(&both(20))),
        ("the same again", world.route(&both(20))),
        ("50 percent", world.route(&both(50))),
        (
            "an experiment, no mirror",
            world.route(&by_header(a_split(50), "first").and("shop-a", 5)),
        ),
        ("over", world.route(&a_split(0))),
        ("nothing left to give back", world.release()),
        (
            "again",
            world.route(&by_header(a_split(5).and("shop-a", 5), "second")),
        ),
        ("released", world.release()),
    ];
    insta::assert_snapshot!(World::story(&story));
}

#[test]
fn weights_and_labels_by_subset() {
    let mut world = World::new(BY_SUBSET, SUBSETS);
    let story = [
        ("nothing yet", world.route(&a_split(0))),
        ("20 percent", world.route(&a_split(20))),
        (
            "a route by header, a mirror",
            world.route(&mirrored(by_header(a_split(20), "first"), "second")),
        ),
        ("an experiment", world.route(&a_split(20).and("shop-a", 5))),
        ("released", world.release()),
    ];
    insta::assert_snapshot!(World::story(&story));
}

#[test]
fn every_protocol_and_several_virtual_services() {
    let canary = "
canaryService: shop-canary
stableService: shop-stable
trafficRouting:
  istio:
    virtualServices:
    - {name: a, tlsRoutes: [{port: 443, sniHosts: [y.example.com, x.example.com]}]}
    - {name: b.mesh, tcpRoutes: [{port: 3306}]}
    - {name: c}
";
    let both = "[{destination: {host: shop-stable}}, {destination: {host: shop-canary}}]";
    let service = |name: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n\
             metadata: {name}\nspec:\n{spec}\n---\n"
        )
    };
    let tls = format!(
        "  http: [{{route: {both}}}]\n  tls:\n\
         \x20 - {{match: [{{port: 443, sniHosts: [x.example.com]}}], route: {both}}}\n\
         \x20 - match: [{{port: 443, sniHosts: [x.example.com]}}, {{port: 443, sniHosts: [y.example.com]}}]\n\
         \x20   route: {both}\n  tcp: [{{route: [{{destination: {{host: other}}}}]}}]"
    );
    let tcp = format!(
        "  tcp:\n  - {{match: [{{port: 3306}}, {{port: 3307}}], route: {both}}}\n\
         \x20 - {{match: [{{port: 3306}}], route: {both}}}"
    );
    let all = format!(
        "  http: [{{route: {both}}}]\n  tls: [{{match: [{{sniHosts: [c]}}], route: {both}}}]\n  tcp: [{{route: {both}}}]"
    );
    let objects = service("{name: a}", &tls)
        + &service("{name: b, namespace: mesh}", &tcp)
        + &service("{name: c}", &all);
    let mut world = World::new(canary, &objects);
    assert_eq!(world.problems(), "none");
    insta::assert_snapshot!(world.route(&a_split(30)));
}

#[test]
fn services_that_take_turns() {
    let canary = "
pingPong: {pingService: ping, pongService: pong}
trafficRouting: {istio: {virtualService: {name: shop}}}
";
    let objects = SERVICES
        .replace("shop-stable", "ping")
        .replace("shop-canary", "pong")
        .replace(
            "  - name: other\n    route: [{destination: {host: other}}]\n",
            "",
        )
        .replace(
            "  - match: [{uri: {prefix: /health}}]\n    route: [{destination: {host: health}}]\n",
            "",
        );
    let weights = |canary: &str, side| {
        let mut world = World::new(canary, &objects);
        world.stable_ping_pong = side;
        world.settle(&a_split(20), 1);
        let route = &world.objects[0]["spec"]["http"][0]["route"];
        (route[0]["weight"].clone(), route[1]["weight"].clone())
    };
    let table = [
        (Some(PingPongSide::Ping), (80, 20)),
        (Some(PingPongSide::Pong), (20, 80)),
        (None, (20, 80)),
    ];
    for (side, (ping, pong)) in table {
        assert_eq!(
            weights(canary, side.clone()),
            (json!(ping), json!(pong)),
            "{side:?}"
        );
    }
    // Named Services go before those that take turns.
    let named = format!("canaryService: ping\nstableService: pong{canary}");
    let side = Some(PingPongSide::Ping);
    assert_eq!(weights(&named, side), (json!(20), json!(80)));
}

#[test]
fn weights_of_more_than_a_hundred_become_percent() {
    let mut world = World::new(BY_SERVICE, SERVICES);
    let table = [(1, 1), (250, 25), (999, 99), (1000, 100), (0, 0)];
    for (part, percent) in table {
        let mut split = a_split(part);
        split.whole = 1000;
        world.route(&split);
        let route = &world.objects[0]["spec"]["http"][1]["route"];
        let canary = route[1]["weight"].as_i64().unwrap_or(0);
        assert_eq!(
            (canary, &route[0]["weight"]),
            (percent, &json!(100 - percent)),
            "{part}"
        );
    }
}

/// The first pass takes the traffic away; only then the subset is led to a version without pods.
#[test]
fn a_subset_keeps_its_version_until_no_traffic_is_left_in_it() {
    let label = |world: &World| {
        let subsets = &world.objects[0]["spec"]["subsets"];
        subsets[0]["labels"][POD_TEMPLATE_HASH]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut world = World::new(BY_SUBSET, SUBSETS);
    world.settle(&a_split(20), 1);
    let mut newer = a_split(0);
    newer.weights.canary.pod_template_hash = "newer".to_owned();
    world.route(&newer);
    assert_eq!(label(&world), "844b76f7fc");
    assert_eq!(world.objects[1]["spec"]["http"][0]["route"][1]["weight"], 0);
    world.settle(&newer, 1);
    assert_eq!(label(&world), "newer");
}

#[test]
fn a_subset_is_not_led_to_a_version_with_fewer_available_pods() {
    let promoted = |old: i32, new: (i32, i32), canary: i32| {
        let mut world = World::new(BY_SUBSET, SUBSETS);
        world.settle(&a_split(0), 1);
        let mut split = a_split(canary);
        let version = |hash: &str, (available, wanted)| Version {
            hash: hash.to_owned(),
            replica_set: format!("shop-{hash}"),
            wanted,
            available,
        };
        split.versions = vec![version("7dc666b946", (old, 5)), version("newer", new)];
        let side = match canary {
            0 => &mut split.weights.stable,
            _ => &mut split.weights.canary,
        };
        "newer".clone_into(&mut side.pod_template_hash);
        world.writes(&split).map(|writes| !writes.is_empty())
    };
    let waits = Err(
        "delaying destination rule switch: ReplicaSet shop-newer not fully available".to_owned(),
    );
    let table = [
        ("all are available", promoted(5, (5, 5), 0), Ok(true)),
        ("some are missing", promoted(5, (4, 5), 0), waits),
        ("none is wanted yet", promoted(5, (0, 0), 0), Ok(true)),
        (
            "the old one serves no better",
            promoted(4, (4, 5), 0),
            Ok(true),
        ),
        ("neither serves", promoted(0, (0, 5), 0), Ok(true)),
        (
            "the new version's had no version that serves",
            promoted(5, (1, 5), 20),
            Ok(true),
        ),
    ];
    for (case, found, expected) in table {
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn references_may_name_a_namespace() {
    let table = [
        ("shop", ("shop", None)),
        ("shop.mesh", ("shop", Some("mesh"))),
        ("shop.v1.mesh", ("shop.v1", Some("mesh"))),
        ("shop.mesh.cluster.local", ("shop", Some("mesh"))),
    ];
    for (text, expected) in table {
        assert_eq!(reference(text), expected);
    }
}

#[test]
fn what_is_missing_names_itself() {
    let routed = |istio: &str, objects: &str| {
        let from = "{virtualService: {name: shop, routes: [primary]}}";
        World::new(&BY_SERVICE.replace(from, istio), objects).problems()
    };
    let named =
        |virtual_service: &str| routed(&format!("{{virtualService: {virtual_service}}}"), SERVICES);
    let by_subset =
        |from: &str, to: &str| World::new(BY_SUBSET, &SUBSETS.replace(from, to)).problems();
    let cases = [
        ("neither", routed("{}", SERVICES)),
        (
            "both",
            routed(
                "{virtualService: {name: shop}, virtualServices: [{name: shop}]}",
                SERVICES,
            ),
        ),
        ("no object", named("{name: else.mesh}")),
        (
            "no routes",
            routed(
                "{virtualServices: [{name: shop}]}",
                &SERVICES.replace("http:", "h:"),
            ),
        ),
        (
            "two unknown routes",
            named("{name: shop, routes: [a, primary, b]}"),
        ),
        (
            "a route of somebody else",
            named("{name: shop, routes: [other]}"),
        ),
        ("a managed route", named("{name: shop, routes: [first]}")),
        ("several routes", named("{name: shop}")),
        (
            "unknown ports",
            named("{name: shop, tlsRoutes: [{port: 1}], tcpRoutes: [{port: 2}]}"),
        ),
        ("no rule", by_subset("DestinationRule", "Else")),
        ("no subset", by_subset("name: stable", "name: else")),
        (
            "no destination",
            by_subset("subset: canary", "subset: else"),
        ),
        ("none", named("{name: shop, routes: [primary]}")),
        ("none", by_subset("", "")),
    ];
    insta::assert_snapshot!(World::story(&cases.map(|(case, told)| (case, told + "\n"))));
    let unknown = World::new(BY_SERVICE, "").writes(&a_split(20));
    assert_eq!(unknown, Err("VirtualService `shop` not found".to_owned()));
    let invalid = World::new(BY_SERVICE, &SERVICES.replace("shop-canary", "x"));
    let why = "Istio VirtualService has invalid HTTP routes. \
               Error: Canary Service 'shop-canary' not found in route";
    assert_eq!(invalid.writes(&a_split(20)), Err(why.to_owned()));
}

/// All but what the Rollout may change.
fn foreign(world: &World) -> Value {
    let mut objects = world.objects.clone();
    for object in &mut objects {
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.remove("annotations");
        if let Some(http) = object["spec"]["http"].as_array_mut() {
            http.retain(|route| route["name"] != "first" && route["name"] != "second");
            for entry in http
                .iter_mut()
                .flat_map(|route| route["route"].as_array_mut().unwrap())
            {
                let host = entry["destination"]["host"].as_str().unwrap().to_owned();
                if host.starts_with("shop") && entry["destination"]["subset"] != "legacy" {
                    entry.as_object_mut().unwrap().remove("weight");
                }
            }
        }
        let subsets = object["spec"]["subsets"].as_array_mut();
        for subset in subsets.into_iter().flatten() {
            if let Some(labels) = subset["labels"].as_object_mut() {
                labels.remove(POD_TEMPLATE_HASH);
            }
            if subset["labels"] == json!({}) {
                subset.as_object_mut().unwrap().remove("labels");
            }
            subset
                .as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null());
        }
    }
    objects.into()
}

fn http(world: &World) -> &Vec<Value> {
    let mut objects = world.objects.iter();
    objects
        .find_map(|object| object["spec"]["http"].as_array())
        .unwrap()
}

proptest! {
    #[test]
    fn it_settles_weighs_the_whole_and_gives_all_back(
        splits in prop::collection::vec(any_split(), 1..6),
        by_subset in any::<bool>(),
    ) {
        let by_service = (BY_SERVICE, SERVICES);
        let (canary, objects) = if by_subset { (BY_SUBSET, SUBSETS) } else { by_service };
        let mut world = World::new(canary, objects);
        let before = foreign(&world);
        for split in splits {
            world.settle(&split, 2);
            let http = http(&world);
            let names = http.iter().filter_map(|route| route["name"].as_str());
            let managed: Vec<_> = names.filter(|name| ["first", "second"].contains(name)).collect();
            let wanted: Vec<_> = split.routes.iter().map(Route::name).collect();
            prop_assert_eq!(managed, wanted);
            let divided = http.iter().find(|route| route["name"] == "primary").or(http.last());
            let weights = divided.unwrap()["route"].as_array().unwrap();
            let weights = weights.iter().map(|entry| entry["weight"].as_i64().unwrap_or(0));
            prop_assert!((100..=110).contains(&weights.sum::<i64>()), "{:?}", http);
        }
        world.release();
        prop_assert_eq!(foreign(&world), before);
        prop_assert!(world.objects.iter().all(|object| object["metadata"]["annotations"].is_null()));
    }

    /// Two Rollouts with the same names of managed routes, each with its own route of one object.
    #[test]
    fn rollouts_that_share_an_object_leave_each_other_alone(
        splits in prop::collection::vec((any_split(), any_split()), 1..5),
    ) {
        let other = BY_SERVICE
            .replace("shop-", "cart-")
            .replace("primary", "other");
        let shared = SERVICES.replace(
            "route: [{destination: {host: other}}]",
            "route: [{destination: {host: cart-stable}}, {destination: {host: cart-canary}}]",
        );
        let mut shop = World::new(BY_SERVICE, &shared);
        let mut cart = World::new(&other, "");
        cart.name = "cart";
        let before = shop.objects.clone();
        for (split, cart_split) in splits {
            let mut cart_split = cart_split;
            for part in &mut cart_split.weights.additional {
                part.service_name = part.service_name.replace("shop", "cart");
            }
            shop.settle(&split, 1);
            cart.objects = shop.objects.clone();
            cart.settle(&cart_split, 1);
            shop.objects = cart.objects.clone();
            prop_assert_eq!(shop.writes(&split), Ok(vec![]));
        }
        shop.release();
        cart.objects = shop.objects;
        cart.release();
        for (route, found) in before[0]["spec"]["http"].as_array().unwrap().iter().zip(http(&cart)) {
            prop_assert_eq!(&route["name"], &found["name"]);
            let count = |route: &Value| route["route"].as_array().unwrap().len();
            prop_assert_eq!(count(route), count(found));
        }
        prop_assert_eq!(http(&cart).len(), 3);
    }
}
