//! What the guides in `docs/` show works.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;
use verdict::api::Rollout;
use verdict::traffic_routers::{Known, Query, Split, Subject, Versions, Write, routers};

/// All objects in the YAML blocks of a guide.
fn objects(guide: &str) -> Vec<Value> {
    let blocks = guide.split("```yaml\n").skip(1);
    let texts = blocks.filter_map(|block| block.split("```").next());
    let documents = texts.flat_map(|text| text.split("---\n"));
    let objects = documents.map(|text| serde_saphyr::from_str(text).unwrap());
    objects
        .filter(|object: &Value| object.get("apiVersion").is_some())
        .collect()
}

/// The route of a guide after its Rollout has given this weight to the new version.
fn divided(guide: &str, weight: i32) -> Value {
    let objects = objects(guide);
    let find = |kind: &str, name: &str| {
        let mut found = objects.iter();
        found.find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    };
    let rollout: Rollout =
        serde_json::from_value(find("Rollout", "shop").unwrap().clone()).unwrap();
    let canary = rollout.spec.strategy.canary.as_ref().unwrap();
    let subject = Subject {
        namespace: "shop",
        name: "shop",
        owner: OwnerReference::default(),
        canary,
        stable_ping_pong: None,
    };
    let routers = routers(&subject, &Versions::default());
    let [router] = routers.as_slice() else {
        panic!("one router");
    };
    let mut known = Known::default();
    for query in router.queries(&known) {
        let Query::One(place) = query else {
            panic!("{query:?}");
        };
        let found = find(place.resource.kind, &place.name);
        known.note(place, found.cloned().map(Arc::new));
    }
    assert_eq!(router.problems(&known), []);
    let mut split = Split::undivided();
    split.weights.canary.weight = weight;
    let writes = router.route(&known, &split).unwrap();
    let [Write::Update { after, .. }] = writes.as_slice() else {
        panic!("{writes:?}");
    };
    after.clone()
}

#[test]
fn the_gateway_api_divides_as_its_guide_says() {
    let route = divided(include_str!("../docs/gateway-api.md"), 5);
    let backends = &route["spec"]["rules"][0]["backendRefs"];
    assert_eq!(
        (&backends[0]["weight"], &backends[1]["weight"]),
        (&95.into(), &5.into())
    );
}

#[test]
fn linkerd_divides_as_its_guide_says() {
    let route = divided(include_str!("../docs/linkerd.md"), 5);
    insta::assert_snapshot!(serde_saphyr::to_string(&route).unwrap());
}
