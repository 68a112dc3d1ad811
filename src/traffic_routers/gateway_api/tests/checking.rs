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
    let tcp = |api| Query::Selected {
        resource: RouteKind::Tcp.resource(api),
        namespace: "edge".to_owned(),
        selector: "app=shop,tier notin (x,y),!old".to_owned(),
    };
    let open = |known: &Known| -> Vec<Query> {
        let queries = all[0].queries(known).into_iter();
        queries.filter(|query| !known.answers(query)).collect()
    };
    let http = |name| RouteKind::Http.place(V1, "edge", name);
    let expected = vec![Query::One(http("a")), Query::One(http("b")), tcp(V1)];
    assert_eq!(open(&known), expected);
    for query in expected {
        match query {
            Query::One(place) => known.note(place, None),
            selected => known.note_selected(selected, vec![]),
        }
    }
    // Neither is one of Linkerd's.
    let linkerd = |name| RouteKind::Http.place(LINKERD, "edge", name);
    let next = [
        Query::One(linkerd("a")),
        Query::One(linkerd("b")),
        tcp(V1ALPHA2),
    ];
    assert_eq!(open(&known), next);
    known.note(linkerd("a"), None);
    known.note(linkerd("b"), None);
    let route = || {
        Arc::new(json!({"spec": {"rules": [
        {"backendRefs": [reference("shop-stable"), reference("shop-canary")]}]}}))
    };
    let place = RouteKind::Tcp.place(V1ALPHA2, "edge", "x");
    known.note_selected(tcp(V1ALPHA2), vec![(place, route())]);
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
    known.note(linkerd("b"), Some(route()));
    assert_eq!(all[0].problems(&known), []);
    assert_eq!(all[0].route(&known, &split(1)).unwrap().len(), 3);
}

#[test]
fn what_is_wrong_is_named() {
    let mut one_version = rules();
    one_version.as_array_mut().unwrap().drain(..2);
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
        (
            json!({"httpRoute": "shop", "httpRouteRuleName": "none"}),
            json!({}),
            rules(),
        ),
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
fn ports_are_those_of_rules_that_are_divided() {
    let mut elsewhere = both("/else");
    elsewhere["backendRefs"][0]["kind"] = json!("ServiceImport");
    elsewhere["backendRefs"][1]["port"] = json!(81);
    let mut alone = both("/alone");
    alone["backendRefs"].as_array_mut().unwrap().pop();
    alone["backendRefs"][0]["port"] = json!(82);
    let world = World::http(&json!([both("/"), elsewhere, alone]));
    let canary = canary(&named());
    let subject = subject("web", &canary);
    let ports = routers(&subject, &Versions::default())[0].ports(&world.known);
    let ports: Vec<_> = ports
        .iter()
        .map(|it| format!("{} {}", it.service, it.port))
        .collect();
    assert_eq!(
        ports,
        ["shop-canary 80", "shop-canary 81", "shop-stable 80"]
    );
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
        let world = World::with(RouteKind::Http, V1, route);
        let canary = canary(&named());
        let subject = subject("web", &canary);
        let told = routers(&subject, &Versions::default())[0].verify(&world.known, &split(20));
        let Verification::Told(told) = told else {
            panic!("{told:?}")
        };
        assert_eq!(told.is_verified, is_verified, "{parents}");
    }
}
