//! Stories of several Rollouts whose traffic one object divides.

use super::*;
use crate::world::routers::{ROOT_ACTION, action_of_alb, alb, http_route, istio, parts_at_alb};

/// One object for the Rollouts `web` and `api`.
struct Shared {
    router: Router,
    /// `trafficRouting` of `api`.
    other: Value,
    /// The parts of `web`'s stable and new version, then those of `api`'s.
    weights: fn(&[Value]) -> [i64; 4],
    /// Routes that steps have set.
    set: fn(&[Value]) -> usize,
    /// Names of the routes by header that steps of `web` and of `api` set; empty where none can be.
    routes: [&'static str; 2],
}

fn part_of_traefik(object: &Value, name: &str) -> i64 {
    let services = object["spec"]["weighted"]["services"].as_array().unwrap();
    let service = services.iter().find(|it| it["name"] == name).unwrap();
    service["weight"].as_i64().unwrap()
}

fn by_traefik() -> Shared {
    let service = |name: &str, weight: i32| json!({ "name": name, "port": 80, "weight": weight });
    let services = json!([
        service("stable", 100),
        service("canary", 0),
        service("api-stable", 100),
        service("api-canary", 0),
    ]);
    let mut router = traefik();
    router.objects[0].1["spec"]["weighted"]["services"] = services;
    Shared {
        other: router.routing.clone(),
        router,
        weights: |objects| {
            let names = ["stable", "canary", "api-stable", "api-canary"];
            names.map(|name| part_of_traefik(&objects[0], name))
        },
        set: |_| 0,
        routes: [""; 2],
    }
}

/// The weights of two routes with two parts each, the last ones of a list.
fn of_both(routes: &Value, parts: &str, name: fn(&Value) -> &Value) -> [i64; 4] {
    let routes = routes.as_array().unwrap();
    let part = |wanted: &str| {
        let all = routes.iter().map(|route| route[parts].as_array().unwrap());
        let divided = all.filter(|parts| parts.len() == 2);
        let mut all = divided.flatten();
        let found = all.find(|part| *name(part) == wanted).unwrap();
        found["weight"].as_i64().unwrap()
    };
    ["stable", "canary", "api-stable", "api-canary"].map(part)
}

fn by_istio() -> Shared {
    let destination =
        |host: &str, weight: i32| json!({ "destination": { "host": host }, "weight": weight });
    let route = |name: &str, prefix: &str| {
        let (stable, canary) = (format!("{prefix}stable"), format!("{prefix}canary"));
        let uri = json!({ "prefix": format!("/{name}") });
        let route = [destination(&stable, 100), destination(&canary, 0)];
        json!({ "name": name, "match": [{ "uri": uri }], "route": route })
    };
    let mut router = istio();
    router.objects[0].1["spec"]["http"] = json!([route("api", "api-"), route("web", "")]);
    let settings = |route: &str| json!({ "istio": { "virtualService": { "name": "web", "routes": [route] } } });
    router.routing = settings("web");
    Shared {
        router,
        other: settings("api"),
        weights: |objects| {
            of_both(&objects[0]["spec"]["http"], "route", |part| {
                &part["destination"]["host"]
            })
        },
        set: |objects| objects[0]["spec"]["http"].as_array().unwrap().len() - 2,
        routes: ["testers"; 2],
    }
}

fn by_http_route() -> Shared {
    let backend = |name: &str, weight: i32| json!({ "name": name, "port": 80, "weight": weight });
    let path = json!({ "path": { "type": "PathPrefix", "value": "/api" } });
    let rules = json!([
        { "matches": [path], "backendRefs": [backend("api-stable", 100), backend("api-canary", 0)] },
        { "backendRefs": [backend("stable", 100), backend("canary", 0)] },
    ]);
    let mut router = http_route();
    router.objects[0].1["spec"]["rules"] = rules;
    Shared {
        other: router.routing.clone(),
        router,
        weights: |objects| {
            of_both(
                &objects[0]["spec"]["rules"],
                "backendRefs",
                |part| &part["name"],
            )
        },
        set: |objects| objects[0]["spec"]["rules"].as_array().unwrap().len() - 2,
        routes: ["testers"; 2],
    }
}

fn by_nginx() -> Shared {
    let path = |path: &str, service: &str| {
        let backend = json!({ "service": { "name": service, "port": { "number": 80 } } });
        json!({ "path": path, "pathType": "Prefix", "backend": backend })
    };
    let mut router = nginx();
    let paths = json!([path("/api", "api-stable"), path("/", "stable")]);
    router.objects[0].1["spec"]["rules"][0]["http"]["paths"] = paths;
    Shared {
        other: router.routing.clone(),
        router,
        weights: |objects| {
            let canary = |name: &str| {
                let mut found = objects.iter();
                let found = found.find(|object| object["metadata"]["name"] == name);
                let annotations = found.map(|found| &found["metadata"]["annotations"]);
                let weight =
                    annotations.map(|all| &all["nginx.ingress.kubernetes.io/canary-weight"]);
                weight.map_or(0, |weight| weight.as_str().unwrap().parse().unwrap())
            };
            let (web, api) = (canary("web-web-canary"), canary("api-web-canary"));
            [100 - web, web, 100 - api, api]
        },
        set: |_| 0,
        routes: [""; 2],
    }
}

/// An Ingress with a path and an action for each: names of actions are those of annotations, so each
/// Rollout has its own.
fn by_alb() -> Shared {
    const OTHER_ACTION: &str = "alb.ingress.kubernetes.io/actions.api-root";
    let mut router = alb();
    router.objects.truncate(1);
    let ingress = &mut router.objects[0].1;
    ingress["metadata"]["annotations"][OTHER_ACTION] = action_of_alb("api-stable").into();
    let paths = ingress["spec"]["rules"][0]["http"]["paths"].as_array_mut();
    let paths = paths.unwrap();
    let mut path = paths[0].clone();
    path["path"] = "/api/*".into();
    path["backend"]["service"]["name"] = "api-root".into();
    paths.insert(0, path);
    let settings =
        |root: &str| json!({ "alb": { "ingress": "alb", "servicePort": 80, "rootService": root } });
    router.routing = settings("root");
    Shared {
        router,
        other: settings("api-root"),
        weights: |objects| {
            let parts = |action, services| parts_at_alb(&objects[0], action, services).unwrap();
            let (stable, canary) = parts(ROOT_ACTION, ["stable", "canary"]);
            let (other_stable, other) = parts(OTHER_ACTION, ["api-stable", "api-canary"]);
            [stable, canary, other_stable, other]
        },
        set: |objects| {
            let paths = &objects[0]["spec"]["rules"][0]["http"]["paths"];
            paths.as_array().unwrap().len() - 2
        },
        routes: ["testers", "api-testers"],
    }
}

fn a_canary_of(routing: &Value, prefix: &str, route: &str) -> Value {
    let mut steps = vec![json!({ "setWeight": 20 })];
    let mut routing = routing.clone();
    if !route.is_empty() {
        let matches = json!([{ "headerName": "X-Tester", "headerValue": { "exact": "yes" } }]);
        steps.push(json!({ "setHeaderRoute": { "name": route, "match": matches } }));
        routing["managedRoutes"] = json!([{ "name": route }]);
    }
    steps.push(json!({ "pause": {} }));
    json!({
        "canaryService": format!("{prefix}canary"), "stableService": format!("{prefix}stable"),
        "trafficRouting": routing, "steps": steps,
    })
}

impl Shared {
    /// Both Rollouts run. Returns the objects as they were before, too.
    async fn begin(&self) -> (World, Running, Vec<Value>) {
        let world = installed(&self.router).await;
        let services = ["api-canary", "api-stable", "api-root"];
        world.create_services(&services).await;
        let before = self.router.written(&world).await;
        let running = world.start_rollouts();
        let [route, other_route] = self.routes;
        let web = a_rollout(a_canary_of(&self.router.routing, "", route));
        world.create::<Rollout>(web).await;
        let mut api = a_rollout(a_canary_of(&self.other, "api-", other_route));
        api["metadata"]["name"] = json!("api");
        let labels = json!({ "app": "web", "part": "api" });
        api["spec"]["selector"]["matchLabels"] = labels.clone();
        api["spec"]["template"]["metadata"]["labels"] = labels;
        world.create::<Rollout>(api).await;
        for name in ["web", "api"] {
            world.until(name, is_in(RolloutPhase::Healthy)).await;
        }
        seconds(1).await;
        (world, running, before)
    }
}

fn is_in(phase: RolloutPhase) -> impl Fn(&Rollout) -> bool {
    move |rollout| {
        let status = rollout.status.as_ref();
        status.is_some_and(|status| status.phase == Some(phase))
    }
}

#[tokio::test(start_paused = true)]
async fn rollouts_that_share_an_object_do_not_overwrite_each_other() {
    for shared in [
        by_traefik(),
        by_istio(),
        by_http_route(),
        by_nginx(),
        by_alb(),
    ] {
        let (world, _running, before) = shared.begin().await;
        let (router, name) = (&shared.router, shared.router.name);
        let containers = json!([{ "name": "web", "image": "web:2" }]);
        let template = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        for rollout in ["web", "api"] {
            world.merge::<Rollout>(rollout, template.clone()).await;
        }
        for rollout in ["web", "api"] {
            world.until(rollout, is_in(RolloutPhase::Paused)).await;
        }
        seconds(1).await;
        let told = async || {
            let objects = router.objects(&world).await;
            ((shared.weights)(&objects), (shared.set)(&objects))
        };
        let one = usize::from(!shared.routes[0].is_empty());
        assert_eq!(told().await, ([80, 20, 80, 20], 2 * one), "{name}");
        is_at_rest(&world).await;
        world.operate(&operations::abort()).await;
        world.until_taken_back().await;
        seconds(60).await;
        assert_eq!(told().await, ([100, 0, 80, 20], one), "{name}");
        is_at_rest(&world).await;
        let policy = PropagationPolicy::Background;
        world.delete::<Rollout>("api", policy.clone()).await;
        seconds(60).await;
        assert_eq!(told().await, ([100, 0, 100, 0], 0), "{name}");
        world.delete::<Rollout>("web", policy).await;
        seconds(60).await;
        assert_eq!(router.written(&world).await, before, "{name}");
    }
}
