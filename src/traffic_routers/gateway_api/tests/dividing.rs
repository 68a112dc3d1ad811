//! Routes before and after, and the law of their changes.

use proptest::prelude::*;

use super::*;

#[test]
fn weights_move_and_go_back() {
    let canary = canary(&named());
    let mut world = World::http(&rules());
    insta::assert_snapshot!("http_before", world.yaml());
    assert_eq!(world.divide(&canary, &split(20)), 1);
    insta::assert_snapshot!("http_after_weight_20", world.yaml());
    assert_eq!(world.divide(&canary, &split(20)), 0, "nothing differs");
    assert_eq!(world.divide(&canary, &split(0)), 1);
    assert_eq!(world.object()["metadata"]["labels"], json!({"team": "web"}));
    assert_eq!(world.object()["metadata"]["annotations"], json!({}));
    assert_eq!(
        world.weights()[0],
        [
            ("shop-stable".to_owned(), 100),
            ("shop-canary".to_owned(), 0)
        ]
    );
}

#[test]
fn weights_are_parts_of_the_whole() {
    let canary = canary(&named());
    let mut world = World::http(&json!([both("/")]));
    let split = Split {
        whole: 1000,
        ..split(5)
    };
    world.divide(&canary, &split);
    assert_eq!(
        world.weights()[0],
        [
            ("shop-stable".to_owned(), 995),
            ("shop-canary".to_owned(), 5)
        ]
    );
}

#[test]
fn a_rule_that_is_named_is_the_only_one_that_is_divided() {
    let mut live = both("/");
    live["name"] = json!("live");
    let settings =
        json!({"httpRoutes": [{"name": "shop", "useHeaderRoutes": true, "ruleName": "api"}]});
    for settings in [
        json!({"httpRoute": "shop", "httpRouteRuleName": "api"}),
        settings,
    ] {
        let canary = canary(&settings);
        let mut world = World::http(&json!([live.clone(), rules()[1]]));
        let before = world.object()["spec"]["rules"][0].clone();
        assert_eq!(world.problems(&canary), [""; 0]);
        world.divide(&canary, &with_routes(split(20)));
        assert_eq!(world.names(), ["canary-header", "shadow", "live", "api"]);
        let rules = &world.object()["spec"]["rules"];
        assert_eq!(rules[2], before);
        assert_eq!(world.weights()[3][2], ("shop-canary".to_owned(), 20));
        assert_eq!(world.divide(&canary, &with_routes(split(20))), 0);
    }
}

#[test]
fn headers_and_mirrors_get_rules_of_their_own() {
    let canary = canary(&named());
    let mut world = World::http(&rules());
    world.divide(&canary, &with_routes(split(20)));
    insta::assert_snapshot!("http_after_header_and_mirror", world.yaml());
    assert_eq!(world.divide(&canary, &with_routes(split(20))), 0);
    world.divide(&canary, &with_routes(split(40)));
    let shadow = &world.weights()[2];
    assert_eq!(
        shadow[0],
        ("shop-stable".to_owned(), 60),
        "weights of mirrored rules, too"
    );
    world.divide(&canary, &split(0));
    let mut plain = World::http(&rules());
    plain.divide(&canary, &split(0));
    assert_eq!(world.object()["spec"], plain.object()["spec"]);
}

#[test]
fn routes_are_removed_even_if_their_names_are_forgotten() {
    let mut world = World::http(&rules());
    world.divide(&canary(&named()), &with_routes(split(20)));
    let without = canary_with(
        &named(),
        &json!({"steps": null, "trafficRouting": {"managedRoutes": null}}),
    );
    world.divide(&without, &split(20));
    assert_eq!(world.names(), ["-", "api", "-"]);
}

#[test]
fn rules_whose_names_a_server_drops_are_known_by_what_they_say() {
    let canary = canary(&named());
    let mut world = World::http(&json!([both("/")]));
    let drop_names = |world: &mut World| {
        let mut object = world.object().clone();
        for rule in object["spec"]["rules"].as_array_mut().unwrap() {
            rule.as_object_mut().unwrap().remove("name");
        }
        world
            .known
            .note(world.place.clone(), Some(Arc::new(object)));
    };
    world.divide(&canary, &with_routes(split(20)));
    drop_names(&mut world);
    assert_eq!(world.divide(&canary, &with_routes(split(20))), 0);
    world.divide(&canary, &with_routes(split(30)));
    assert_eq!(world.names().len(), 3);
    drop_names(&mut world);
    world.divide(&canary, &split(0));
    assert_eq!(world.names(), ["-"]);
}

#[test]
fn a_rule_that_a_person_made_for_the_new_version_stays() {
    let canary = canary(&named());
    let mut world = World::http(&rules());
    let qa = world.object()["spec"]["rules"][2].clone();
    for split in [with_routes(split(50)), split(100), split(0)] {
        world.divide(&canary, &split);
        let rules = world.object()["spec"]["rules"].as_array().unwrap();
        assert_eq!(rules.last(), Some(&qa));
    }
}

#[test]
fn rollouts_share_a_route_without_fighting() {
    let (ours, theirs) = (
        canary(&named()),
        canary_with(
            &named(),
            &json!({"canaryService": "api-canary", "stableService": "api-stable"}),
        ),
    );
    let mut world = World::http(&json!([
        both("/"),
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
            "backendRefs": [reference("api-stable"), reference("api-canary")],
        },
    ]));
    let (mine, other) = (with_routes(split(20)), with_routes(split(70)));
    world.divide_for("web", &ours, &mine);
    world.divide_for("api", &theirs, &other);
    assert_eq!(world.divide_for("web", &ours, &mine), 0);
    assert_eq!(world.divide_for("api", &theirs, &other), 0);
    // The mirror is of `/cart` only, and nothing below `/api` is.
    assert_eq!(
        world.names(),
        ["canary-header-1", "canary-header", "shadow", "-", "-"]
    );
    let annotations = &world.object()["metadata"]["annotations"];
    assert_eq!(
        annotations["rollouts.argoproj.io/gatewayapi-active-rollouts"],
        "shop/api,shop/web"
    );
    world.divide_for("web", &ours, &split(0));
    let label = |world: &World| {
        world.object()["metadata"]["labels"]["rollouts.argoproj.io/gatewayapi-canary"].clone()
    };
    assert_eq!(label(&world), "in-progress", "the other is under way");
    assert_eq!(world.names().len(), 3);
    world.divide_for("api", &theirs, &split(0));
    assert_eq!(label(&world), Value::Null);
    assert_eq!(world.names(), ["-", "-"]);
}

#[test]
fn experiments_get_their_part_and_leave_again() {
    let canary = canary(&named());
    let mut world = World::http(&json!([both("/")]));
    let tried = with_experiment(split(20), "web-abc-1-baseline", 5);
    let subject = subject("web", &canary);
    let asked = routers(&subject, &Versions::default())[0].queries_for(&world.known, &tried);
    assert_eq!(asked, [Query::One(service("shop", "web-abc-1-baseline"))]);
    let ports =
        json!({"spec": {"ports": [{"name": "admin", "port": 9}, {"name": "http", "port": 8000}]}});
    world
        .known
        .note(service("shop", "web-abc-1-baseline"), Some(Arc::new(ports)));
    world.divide(&canary, &tried);
    insta::assert_snapshot!("http_after_experiment", world.yaml());
    assert_eq!(world.divide(&canary, &tried), 0);
    world.divide(
        &canary,
        &with_experiment(split(20), "web-abc-1-baseline", 10),
    );
    assert_eq!(
        world.weights()[0]
            .iter()
            .map(|part| part.1)
            .collect::<Vec<_>>(),
        [70, 20, 10]
    );
    world.divide(&canary, &split(20));
    assert_eq!(
        world.weights()[0]
            .iter()
            .map(|part| part.1)
            .collect::<Vec<_>>(),
        [80, 20]
    );
}

#[test]
fn every_kind_of_route_is_divided() {
    for (kind, setting, version) in [
        (RouteKind::Grpc, "grpcRoute", V1),
        (RouteKind::Tcp, "tcpRoute", V1ALPHA2),
        (RouteKind::Tcp, "tcpRoute", V1),
        (RouteKind::Tls, "tlsRoute", V1ALPHA2),
    ] {
        let route = json!({
            "metadata": {"name": "shop"},
            "spec": {"rules": [{"backendRefs": [reference("shop-stable"), reference("shop-canary")]}]},
        });
        let mut world = World::with(kind, version, route);
        let canary = canary_with(&json!({setting: "shop"}), &json!({"steps": null}));
        assert_eq!(world.problems(&canary), [""; 0]);
        world.divide(&canary, &split(20));
        assert_eq!(
            world.weights()[0][1],
            ("shop-canary".to_owned(), 20),
            "{kind:?}"
        );
        let mut by_header_only = split(20);
        by_header_only.routes = vec![Route::Header(by_header())];
        world.divide(&canary, &by_header_only);
        let expected = if kind == RouteKind::Grpc {
            vec!["canary-header", "-"]
        } else {
            vec!["-"]
        };
        assert_eq!(world.names(), expected, "{kind:?}");
        if kind == RouteKind::Grpc {
            insta::assert_snapshot!("grpc_after_header", world.yaml());
        }
    }
}

#[test]
fn a_released_route_leads_to_the_stable_version_alone() {
    let canary = canary(&named());
    let mut world = World::http(&rules());
    world.divide(
        &canary,
        &with_experiment(with_routes(split(40)), "web-x", 5),
    );
    let subject = subject("web", &canary);
    let writes = routers(&subject, &Versions::default())[0].release(&world.known);
    assert_eq!(world.take(writes), 1);
    let mut idle = World::http(&rules());
    idle.divide(&canary, &split(0));
    assert_eq!(world.object()["spec"], idle.object()["spec"]);
    assert_eq!(world.object()["metadata"]["annotations"], json!({}));
}

proptest! {
    #[test]
    fn divided_again_nothing_differs(
        weights in prop::collection::vec((0..=100i32, any::<bool>(), 0..20i32), 1..5),
    ) {
        let canary = canary(&named());
        let mut world = World::http(&rules());
        for (weight, has_routes, tried) in weights {
            let mut wanted = split(weight.min(100 - tried));
            if tried > 0 {
                wanted = with_experiment(wanted, "web-x", tried);
            }
            if has_routes {
                wanted = with_routes(wanted);
            }
            world.divide(&canary, &wanted);
            prop_assert_eq!(world.divide(&canary, &wanted), 0);
            let divided = world.weights();
            let rule = &divided[divided.len() - 3];
            prop_assert_eq!(rule.iter().map(|part| part.1).sum::<i64>(), 100);
        }
        // However it went, in the end it is as if nothing had been.
        world.divide(&canary, &split(0));
        let mut plain = World::http(&rules());
        plain.divide(&canary, &split(0));
        prop_assert_eq!(&world.object()["spec"], &plain.object()["spec"]);
    }
}
