//! Stories of routes that steps set by header and mirror, beside a division by weight.

use super::*;
use crate::world::routers::{alb, apisix, grpc_route, http_route, istio, istio_by_subset};

/// A router that knows such routes.
struct Case {
    router: Router,
    /// All routes of its first object, or all its objects, in the order in which they are tried.
    routes: fn(&[Value]) -> Vec<String>,
    /// The route that is divided.
    divided: &'static str,
    mirrors: bool,
}

fn names(list: &Value, pointer: &str) -> Vec<String> {
    let name = |entry: &Value| {
        let name = entry.pointer(pointer).and_then(Value::as_str);
        name.unwrap_or("nameless").to_owned()
    };
    list.as_array().unwrap().iter().map(name).collect()
}

fn of_istio(objects: &[Value]) -> Vec<String> {
    names(&objects[0]["spec"]["http"], "/name")
}

fn of_gateway(objects: &[Value]) -> Vec<String> {
    names(&objects[0]["spec"]["rules"], "/name")
}

fn of_alb(objects: &[Value]) -> Vec<String> {
    let paths = &objects[0]["spec"]["rules"][0]["http"]["paths"];
    names(paths, "/backend/service/name")
}

fn of_apisix(objects: &[Value]) -> Vec<String> {
    let mut all = objects.to_vec();
    all.sort_by_key(|object| -object["spec"]["http"][0]["priority"].as_i64().unwrap_or(0));
    names(&all.into(), "/metadata/name")
}

fn cases() -> Vec<Case> {
    let case = |router, routes, divided, mirrors| Case {
        router,
        routes,
        divided,
        mirrors,
    };
    vec![
        case(istio(), of_istio, "primary", true),
        case(istio_by_subset(), of_istio, "primary", true),
        case(http_route(), of_gateway, "nameless", true),
        case(grpc_route(), of_gateway, "nameless", true),
        case(alb(), of_alb, "root", false),
        case(apisix(), of_apisix, "web", false),
    ]
}

impl Case {
    /// Two routes come, the first one goes, the weight grows; a pause after each.
    fn canary(&self) -> Value {
        let matches = json!([{ "headerName": "X-Tester", "headerValue": { "exact": "yes" } }]);
        let testers = json!({ "setHeaderRoute": { "name": "testers", "match": matches } });
        let requests = json!([{ "headers": { "X-Env": { "exact": "prod" } } }]);
        let shadow = json!({ "setMirrorRoute": { "name": "shadow", "match": requests } });
        let without = json!({ "setHeaderRoute": { "name": "testers" } });
        let pause = json!({ "pause": {} });
        let (first, more) = (json!({ "setWeight": 20 }), json!({ "setWeight": 50 }));
        let mut steps = vec![first, testers, pause.clone()];
        if self.mirrors {
            steps.extend([shadow, pause.clone()]);
        }
        steps.extend([without, pause.clone(), more, pause]);
        let mut canary = self.router.canary(&steps.into());
        canary["trafficRouting"]["managedRoutes"] =
            json!([{ "name": "testers" }, { "name": "shadow" }]);
        canary
    }

    /// After which steps there is a pause, and which routes there are then.
    fn stops(&self) -> Vec<(i32, Vec<&'static str>)> {
        let divided = self.divided;
        if self.mirrors {
            return vec![
                (2, vec!["testers", divided]),
                (4, vec!["testers", "shadow", divided]),
                (6, vec!["shadow", divided]),
                (8, vec!["shadow", divided]),
            ];
        }
        let first = (2, vec!["testers", divided]);
        vec![first, (4, vec![divided]), (6, vec![divided])]
    }

    async fn begin(&self) -> (World, Running, Vec<Value>) {
        let world = installed(&self.router).await;
        let before = self.router.written(&world).await;
        let running = world.start_rollouts();
        world.create::<Rollout>(a_rollout(self.canary())).await;
        world.until_phase(RolloutPhase::Healthy).await;
        seconds(1).await;
        (world, running, before)
    }

    async fn until_stop(&self, world: &World, (step, routes): &(i32, Vec<&str>)) {
        let is_there = |status: &RolloutStatus| {
            status.phase == Some(RolloutPhase::Paused) && status.current_step_index == Some(*step)
        };
        world.until_status(is_there).await;
        seconds(1).await;
        let found = (self.routes)(&self.router.objects(world).await);
        assert_eq!(&found, routes, "{} at step {step}", self.router.name);
    }
}

#[tokio::test(start_paused = true)]
async fn steps_set_routes_by_header_and_mirror_and_an_abort_takes_them_away() {
    for case in cases() {
        let (world, _running, _) = case.begin().await;
        let (router, name) = (&case.router, case.router.name);
        let before = router.written(&world).await;
        world.release("web:2").await;
        let stops = case.stops();
        for (index, stop) in stops.iter().enumerate() {
            case.until_stop(&world, stop).await;
            let weight = if index + 1 == stops.len() { 50 } else { 20 };
            let weights = router.weights(&world).await;
            assert_eq!(weights, (weight, 100 - weight), "{name} at {stop:?}");
            if index + 1 < stops.len() {
                promote(&world).await;
            }
        }
        is_at_rest(&world).await;
        world.operate(&operations::abort()).await;
        world.until_taken_back().await;
        is_at_rest(&world).await;
        assert_eq!(router.written(&world).await, before, "{name}");
        world.merge_status(json!({ "abort": false })).await;
        case.until_stop(&world, &stops[0]).await;
        world.operate(&operations::promote_full()).await;
        world.until_phase(RolloutPhase::Healthy).await;
        is_at_rest(&world).await;
        assert_eq!(router.weights(&world).await, (0, 100), "{name}");
        let found = (case.routes)(&router.objects(&world).await);
        assert_eq!(found, [case.divided], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn routes_that_steps_have_set_go_with_their_rollout() {
    for case in cases() {
        let (world, _running, before) = case.begin().await;
        world.release("web:2").await;
        case.until_stop(&world, &case.stops()[0]).await;
        let policy = PropagationPolicy::Background;
        world.delete::<Rollout>("web", policy).await;
        seconds(60).await;
        let after = case.router.written(&world).await;
        assert_eq!(after, before, "{}", case.router.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_that_cannot_do_what_a_step_asks_is_named() {
    let mut both = istio();
    let other = nginx();
    both.routing["nginx"] = other.routing["nginx"].clone();
    both.objects.extend(other.objects);
    let case = Case {
        router: both,
        routes: of_istio,
        divided: "primary",
        mirrors: true,
    };
    let (world, _running, _) = case.begin().await;
    world.release("web:2").await;
    case.until_stop(&world, &case.stops()[0]).await;
    promote(&world).await;
    case.until_stop(&world, &case.stops()[1]).await;
    let mut told = world.messages("TrafficRoutingUnsupported").await;
    told.sort();
    let expected = [
        "Nginx cannot lead requests by header: `testers` has no effect there",
        "Nginx cannot mirror requests: `shadow` has no effect there",
    ];
    assert_eq!(told, expected);
}
