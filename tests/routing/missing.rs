//! Stories of routers whose objects are not there: each is named, and waited for.

use k8s_openapi::api::core::v1::Service;

use super::*;

/// The end of what is said of a router without its objects.
const TABLE: [(&str, &str); 13] = [
    (
        "istio",
        r#"istio.virtualService.name: Invalid value: "web": virtualservices.networking.istio.io "web" not found"#,
    ),
    (
        "nginx",
        r#"nginx.stableIngress: Invalid value: "web": ingresses.networking.k8s.io "web" not found"#,
    ),
    (
        "ambassador",
        r#"ambassador.mappings[0]: Invalid value: "web": mappings.getambassador.io "web" not found"#,
    ),
    (
        "appMesh",
        r#"appMesh.virtualService.name: Invalid value: "web": virtualservices.appmesh.k8s.aws "web" not found"#,
    ),
    (
        "traefik",
        r#"traefik.weightedTraefikServiceName: Invalid value: "web": TraefikService not found"#,
    ),
    (
        "apisix",
        r#"apisix.route.name: Invalid value: "web": apisixroutes.apisix.apache.org "web" not found"#,
    ),
    (
        "alb",
        r#"alb.ingresses[0]: Invalid value: "alb": ingresses.networking.k8s.io "alb" not found"#,
    ),
    (
        "istio by subset",
        r#"istio.destinationRule.name: Invalid value: "web": destinationrules.networking.istio.io "web" not found"#,
    ),
    (
        "httpRoute",
        r#"plugins[argoproj-labs/gatewayAPI].httpRoute: Invalid value: "web": httproutes.gateway.networking.k8s.io "web" not found"#,
    ),
    (
        "grpcRoute",
        r#"plugins[argoproj-labs/gatewayAPI].grpcRoute: Invalid value: "web": grpcroutes.gateway.networking.k8s.io "web" not found"#,
    ),
    (
        "tcpRoute",
        r#"plugins[argoproj-labs/gatewayAPI].tcpRoute: Invalid value: "web": tcproutes.gateway.networking.k8s.io "web" not found"#,
    ),
    (
        "tlsRoute",
        r#"plugins[argoproj-labs/gatewayAPI].tlsRoute: Invalid value: "web": tlsroutes.gateway.networking.k8s.io "web" not found"#,
    ),
    (
        "linkerd",
        r#"plugins[argoproj-labs/gatewayAPI].httpRoutes[0].name: Invalid value: "mesh": httproutes.policy.linkerd.io "mesh" not found"#,
    ),
];

#[tokio::test(start_paused = true)]
async fn what_a_router_needs_and_is_not_there_is_named_and_waited_for() {
    let routers = routers::all()
        .into_iter()
        .chain([routers::istio_by_subset()]);
    // A TrafficSplit is made where there is none.
    let routers: Vec<Router> = routers
        .filter(|router| !router.objects.is_empty())
        .collect();
    assert_eq!(routers.len(), TABLE.len());
    for router in routers {
        let name = router.name;
        let (_, expected) = TABLE.iter().find(|row| row.0 == name).unwrap();
        let world = World::without_sources().await;
        world.create_services(&SERVICES).await;
        for (kind, _) in &router.objects {
            world.define(*kind).await;
        }
        let _running = world.start_rollouts();
        world.create::<Rollout>(a_rollout(a_canary(&router))).await;
        let message = world.until_phase(RolloutPhase::Degraded).await.message;
        let field = "spec.strategy.canary.trafficRouting.";
        assert!(
            message.contains(&format!("{field}{expected}")),
            "{name}: {message}"
        );
        router.install(&world).await;
        world.until_phase(RolloutPhase::Healthy).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_ingress_of_another_class_is_told_from_what_was_expected() {
    let alb = routers::alb();
    for (router, class, expected) in [
        (
            nginx(),
            "alb",
            "is of class `alb`: expected nginx (--nginx-ingress-classes)",
        ),
        (
            alb,
            "nginx",
            "is of class `nginx`: expected alb (--alb-ingress-classes)",
        ),
    ] {
        let mut other = router;
        for (_, ingress) in &mut other.objects {
            ingress["spec"]["ingressClassName"] = json!(class);
        }
        let world = installed(&other).await;
        let _running = world.start_rollouts();
        world.create::<Rollout>(a_rollout(a_canary(&other))).await;
        let message = world.until_phase(RolloutPhase::Degraded).await.message;
        assert!(message.contains(expected), "{message}");
    }
}

/// A router whose objects lead to port 81, which the Services have not.
fn at_another_port(router: &Router) -> Router {
    let text = |value: &Value| value.to_string().replace("80", "81");
    let mut other = router.clone();
    other.routing = serde_json::from_str(&text(&router.routing)).unwrap();
    for (_, object) in &mut other.objects {
        *object = serde_json::from_str(&text(object)).unwrap();
    }
    other
}

#[tokio::test(start_paused = true)]
async fn a_port_that_a_service_has_not_is_named_and_waited_for() {
    let by_ports = [
        nginx(),
        traefik(),
        routers::apisix(),
        routers::ambassador(),
        routers::alb(),
        routers::http_route(),
    ];
    for router in by_ports {
        let (router, name) = (at_another_port(&router), router.name);
        let world = installed(&router).await;
        let _running = world.start_rollouts();
        world.create::<Rollout>(a_rollout(a_canary(&router))).await;
        let message = world.until_phase(RolloutPhase::Degraded).await.message;
        let expected = "Service `canary` has no port 81";
        assert!(message.contains(expected), "{name}: {message}");
        let ports = json!({ "spec": { "ports": [{ "port": 81, "targetPort": 8080 }] } });
        world.merge::<Service>("canary", ports.clone()).await;
        let is_next = |status: &RolloutStatus| status.message.contains("Service `stable` has no");
        world.until_status(is_next).await;
        world.merge::<Service>("stable", ports).await;
        world.until_phase(RolloutPhase::Healthy).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_installed_holds_a_router_that_makes_its_object() {
    let world = World::without_sources().await;
    world.create_services(&["canary", "stable"]).await;
    let mut all = routers::all().into_iter();
    let router = all.find(|it| it.name == "smi").unwrap();
    let _running = world.start_rollouts();
    start(&world, &router).await;
    seconds(300).await;
    let waiting = world.waits_for().await;
    let expected = "TrafficRoutingError: SMI: the cluster has no trafficsplits of \
        split.smi-spec.io/v1alpha1: is it installed?; since ";
    assert!(waiting.starts_with(expected), "{waiting}");
    let told = world.messages("TrafficRoutingError").await;
    assert_eq!(told.len(), 1, "told once: {told:?}");
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    router.install(&world).await;
    world.until_status(|status| weight(status) == Some(0)).await;
    assert_eq!(world.waits_for().await, "");
    assert_eq!(router.weights(&world).await, (0, 100));
}
