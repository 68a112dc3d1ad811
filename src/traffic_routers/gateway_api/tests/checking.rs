//! What is looked for, what is wrong with it, and what its parents say of it.

use super::*;

#[test]
fn routes_are_found_by_name_and_by_label_in_the_versions_that_there_are() {
    let canary = canary(&json!({
        "namespace": "edge",
        "httpRoutes": [{"name": "a"}, {"name": "b", "useHeaderRoutes": true}],
        "tcpRouteSelector": {"matchLabels": {"app": "shop"}, "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["x", "y"]}, {"key": "old", "operator": "DoesNotExist"}]},
    }));
    let subject = subject("web", &canary);
    let all = routers(&subject, &Versions::default());
    let mut known = Known::default();
    let tcp = |version| Query::Selected {
        resource: RouteKind::Tcp.resource(version),
        namespace: "edge".to_owned(),
        selector: "app=shop,tier notin (x,y),!old".to_owned(),
    };
    let open = |known: &Known| -> Vec<Query> {
        let queries = all[0].queries(known).into_iter();
        queries.filter(|query| !known.answers(query)).collect()
    };
    let http = |name| RouteKind::Http.place("v1", "edge", name);
    let services = ["shop-canary", "shop-stable"].map(|name| Query::One(service("shop", name)));
    let mut expected = vec![Query::One(http("a")), Query::One(http("b")), tcp("v1")];
    expected.extend(services);
    assert_eq!(open(&known), expected);
    for query in expected {
        match query {
            Query::One(place) => known.note(place, None),
            selected => known.note_selected(selected, vec![]),
        }
    }
    assert_eq!(open(&known), [tcp("v1alpha2")]);
    let route = || {
        Arc::new(json!({"spec": {"rules": [
        {"backendRefs": [reference("shop-stable"), reference("shop-canary")]}]}}))
    };
    let place = RouteKind::Tcp.place("v1alpha2", "edge", "x");
    known.note_selected(tcp("v1alpha2"), vec![(place, route())]);
    known.note(http("a"), Some(route()));
    assert_eq!(open(&known), []);
    let problems: Vec<String> = all[0]
        .problems(&known)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        problems,
        [
            "spec.strategy.canary.trafficRouting.plugins[argoproj-labs/gatewayAPI].httpRoutes[1].name: Invalid value: \"b\": httproutes.gateway.networking.k8s.io \"b\" not found"
        ]
    );
    known.note(http("b"), Some(route()));
    assert_eq!(all[0].problems(&known), []);
    assert_eq!(all[0].route(&known, &split(1)).unwrap().len(), 3);
}

#[test]
fn what_is_wrong_is_named() {
    let mut one_version = rules();
    one_version.as_array_mut().unwrap().drain(..2);
    let mut other_port = both("/");
    other_port["backendRefs"][0]["port"] = json!(81);
    let parted = json!([
        {"backendRefs": [reference("shop-stable")]}, {"backendRefs": [reference("shop-canary")]}]);
    let cases = [
        (named(), json!({}), rules()),
        (json!({}), json!({}), rules()),
        (
            json!({"httpRoute": 5, "grpcRoutes": [{"nam": "x"}, {"name": "y", "useHeaderRoutes": "yes"}], "extra": 1}),
            json!({}),
            rules(),
        ),
        (
            json!({"httpRouteSelector": {"matchLabels": {"app": "none"}}}),
            json!({}),
            rules(),
        ),
        (
            named(),
            json!({"canaryService": "", "pingPong": null}),
            rules(),
        ),
        (named(), json!({}), one_version),
        (named(), json!({}), parted),
        (named(), json!({}), json!([other_port])),
        (
            named(),
            json!({"steps": [
                {"setHeaderRoute": {"name": "canary-header", "match": [
                    {"headerName": "A", "headerValue": {"exact": "1"}}, {"headerName": "a", "headerValue": {"exact": "2"}}]}},
                {"setMirrorRoute": {"name": "shadow", "match": [{"method": {"prefix": "G"}}]}},
            ]}),
            rules(),
        ),
    ];
    let mut told = String::new();
    for (settings, more, rules) in cases {
        let problems = World::http(&rules).problems(&canary_with(&settings, &more));
        told.extend([problems.join("\n").as_str(), "\n--\n"]);
    }
    insta::assert_snapshot!("problems", told);
}

#[test]
fn a_route_that_all_its_parents_refuse_divides_nothing() {
    let condition = |generation: i32, status: &str| {
        json!({"conditions": [
            {"type": "Accepted", "status": "True", "observedGeneration": generation},
            {"type": "ResolvedRefs", "status": status, "observedGeneration": generation}]})
    };
    for (parents, is_verified) in [
        (json!(null), true),
        (json!([]), true),
        (json!([condition(3, "True")]), true),
        (json!([condition(3, "False")]), false),
        (json!([condition(2, "False")]), false),
        (json!([condition(3, "False"), condition(3, "True")]), true),
    ] {
        let mut route = http_route(&rules());
        route["status"]["parents"] = parents.clone();
        let world = World::with(RouteKind::Http, "v1", route);
        let canary = canary(&named());
        let subject = subject("web", &canary);
        let told = routers(&subject, &Versions::default())[0].verify(&world.known, &split(20));
        let Verification::Told(told) = told else {
            panic!("{told:?}")
        };
        assert_eq!(told.is_verified, is_verified, "{parents}");
    }
}
