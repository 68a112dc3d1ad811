//! Routers of traffic in a story: their kinds, their objects, and how they divide the traffic.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{NAMESPACE, World};

/// A kind of object: API version, kind, and its name in paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

impl Kind {
    fn resource(self) -> ApiResource {
        let (group, version) = self.0.split_once('/').unwrap();
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: self.0.to_owned(),
            kind: self.1.to_owned(),
            plural: self.2.to_owned(),
        }
    }

    /// A definition with any fields; none for what every cluster has.
    pub(crate) fn definition(self) -> Option<CustomResourceDefinition> {
        let Self(api_version, kind, plural) = self;
        let (group, version) = api_version.split_once('/').unwrap();
        let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let version = json!({
            "name": version, "served": true, "storage": true, "subresources": { "status": {} },
            "schema": { "openAPIV3Schema": any },
        });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{plural}.{group}"),
                // Groups of Kubernetes ask for it, Gateway API's among them.
                "annotations": { "api-approved.kubernetes.io": "unapproved, for a test" },
            },
            "spec": {
                "group": group, "scope": "Namespaced", "versions": [version],
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase() },
            },
        });
        (group != "networking.k8s.io").then(|| serde_json::from_value(definition).unwrap())
    }
}

/// Where the labels are by which a version's pods are found: kind in paths, name and JSON pointer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selector(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

/// Most routers lead to a Service.
const fn service(name: &'static str) -> Selector {
    Selector("services", name, "/spec/selector")
}

/// A router as a story uses it.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub(crate) name: &'static str,
    /// The Services that the strategy names.
    pub(crate) services: Value,
    /// How it finds the pods of the new and of the stable version.
    pub(crate) selectors: [Selector; 2],
    /// `trafficRouting`
    pub(crate) routing: Value,
    /// What there is before the Rollout comes: all to the stable version.
    pub(crate) objects: Vec<(Kind, Value)>,
    /// The kinds that it writes.
    pub(crate) kinds: Vec<Kind>,
    /// The weights of the new and of the stable version, from all objects of those kinds.
    pub(crate) weights: fn(&[Value]) -> (i64, i64),
}

pub(crate) const INGRESS: Kind = Kind("networking.k8s.io/v1", "Ingress", "ingresses");
pub(crate) const TRAEFIK: Kind = Kind("traefik.io/v1alpha1", "TraefikService", "traefikservices");

fn two_services() -> Value {
    json!({ "canaryService": "canary", "stableService": "stable" })
}

pub(crate) fn traefik() -> Router {
    let services = json!([
        { "name": "stable", "port": 80, "weight": 100 }, { "name": "canary", "port": 80, "weight": 0 },
    ]);
    let object =
        json!({ "metadata": { "name": "web" }, "spec": { "weighted": { "services": services } } });
    Router {
        name: "traefik",
        services: two_services(),
        selectors: [service("canary"), service("stable")],
        routing: json!({ "traefik": { "weightedTraefikServiceName": "web" } }),
        objects: vec![(TRAEFIK, object)],
        kinds: vec![TRAEFIK],
        weights: |objects| {
            let services = &objects[0]["spec"]["weighted"]["services"];
            let weight = |at: usize| services[at]["weight"].as_i64().unwrap();
            (weight(1), weight(0))
        },
    }
}

pub(crate) fn nginx() -> Router {
    let backend = json!({ "service": { "name": "stable", "port": { "number": 80 } } });
    let path = json!({ "path": "/", "pathType": "Prefix", "backend": backend });
    let rules = json!([{ "host": "web.example.com", "http": { "paths": [path] } }]);
    let spec = json!({ "ingressClassName": "nginx", "rules": rules });
    Router {
        name: "nginx",
        services: two_services(),
        selectors: [service("canary"), service("stable")],
        routing: json!({ "nginx": { "stableIngress": "web" } }),
        objects: vec![(
            INGRESS,
            json!({ "metadata": { "name": "web" }, "spec": spec }),
        )],
        kinds: vec![INGRESS],
        weights: |objects| {
            let annotation = |name: &str| {
                let key = format!("nginx.ingress.kubernetes.io/{name}");
                let annotations = objects.iter().map(|it| &it["metadata"]["annotations"]);
                { annotations }.find_map(|all| all[&key].as_str()?.parse::<i64>().ok())
            };
            let canary = annotation("canary-weight").unwrap_or(0);
            (
                canary,
                annotation("canary-weight-total").unwrap_or(100) - canary,
            )
        },
    }
}

pub(crate) fn istio() -> Router {
    let kind = Kind(
        "networking.istio.io/v1alpha3",
        "VirtualService",
        "virtualservices",
    );
    let route = json!([
        { "destination": { "host": "stable" }, "weight": 100 },
        { "destination": { "host": "canary" }, "weight": 0 },
    ]);
    let spec = json!({ "hosts": ["web"], "http": [{ "name": "primary", "route": route }] });
    Router {
        name: "istio",
        services: two_services(),
        selectors: [service("canary"), service("stable")],
        routing: json!({ "istio": { "virtualService": { "name": "web" } } }),
        objects: vec![(kind, json!({ "metadata": { "name": "web" }, "spec": spec }))],
        kinds: vec![kind],
        weights: |objects| {
            let route = &last(&objects[0]["spec"]["http"])["route"];
            let weight = |at: usize| route[at]["weight"].as_i64().unwrap();
            (weight(1), weight(0))
        },
    }
}

/// Istio by the subsets of one Service.
pub(crate) fn istio_by_subset() -> Router {
    let kind = |kind, plural| Kind("networking.istio.io/v1alpha3", kind, plural);
    let virtual_service = kind("VirtualService", "virtualservices");
    let rule = kind("DestinationRule", "destinationrules");
    let destination = |subset: &str| json!({ "host": "web", "subset": subset });
    let route = json!([
        { "destination": destination("stable"), "weight": 100 },
        { "destination": destination("canary"), "weight": 0 },
    ]);
    let spec = json!({ "hosts": ["web"], "http": [{ "name": "primary", "route": route }] });
    let subset = |name: &str| json!({ "name": name, "labels": { "app": "web" } });
    let subsets = json!({ "host": "web", "subsets": [subset("canary"), subset("stable")] });
    let named = |spec: Value| json!({ "metadata": { "name": "web" }, "spec": spec });
    let selector = |pointer| Selector("destinationrules", "web", pointer);
    let settings = json!({
        "virtualService": { "name": "web" },
        "destinationRule": {
            "name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable",
        },
    });
    Router {
        name: "istio by subset",
        services: json!({}),
        selectors: [
            selector("/spec/subsets/0/labels"),
            selector("/spec/subsets/1/labels"),
        ],
        routing: json!({ "istio": settings }),
        objects: vec![(virtual_service, named(spec)), (rule, named(subsets))],
        kinds: vec![virtual_service],
        ..istio()
    }
}

fn last(list: &Value) -> &Value {
    list.as_array().unwrap().last().unwrap()
}

/// The annotation with the action of the Service that an Ingress names.
pub(crate) const ROOT_ACTION: &str = "alb.ingress.kubernetes.io/actions.root";

/// An action that leads to one Service.
pub(crate) fn action_of_alb(stable: &str) -> String {
    let group = json!({ "ServiceName": stable, "ServicePort": "80", "Weight": 100 });
    let forward = json!({ "TargetGroups": [group] });
    // In the order in which actions are written.
    format!(r#"{{"Type":"forward","ForwardConfig":{forward}}}"#)
}

/// An Ingress whose action leads to one Service.
fn ingress_of_alb(name: &str, stable: &str) -> (Kind, Value) {
    let port = json!({ "name": "use-annotation" });
    let backend = json!({ "service": { "name": "root", "port": port } });
    let path = json!({ "path": "/*", "pathType": "ImplementationSpecific", "backend": backend });
    let rules = json!([{ "host": "web.example.com", "http": { "paths": [path] } }]);
    let object = json!({
        "metadata": { "name": name, "annotations": { ROOT_ACTION: action_of_alb(stable) } },
        "spec": { "ingressClassName": "alb", "rules": rules },
    });
    (INGRESS, object)
}

/// The parts that an action of an Ingress gives to these Services.
pub(crate) fn parts_at_alb(
    ingress: &Value,
    action: &str,
    services: [&str; 2],
) -> Option<(i64, i64)> {
    let action = ingress["metadata"]["annotations"][action].as_str()?;
    let action: Value = serde_json::from_str(action).unwrap();
    let groups = action["ForwardConfig"]["TargetGroups"].as_array().unwrap();
    let part = |service: &str| {
        let mut named = groups.iter().filter(|it| it["ServiceName"] == service);
        named.next().map_or(0, |it| it["Weight"].as_i64().unwrap())
    };
    Some((part(services[0]), part(services[1])))
}

/// AWS Load Balancer Controller, with two Ingresses.
pub(crate) fn alb() -> Router {
    let settings = json!({
        "ingresses": ["alb", "alb-inner"], "servicePort": 80, "rootService": "root",
    });
    Router {
        name: "alb",
        services: two_services(),
        selectors: [service("canary"), service("stable")],
        routing: json!({ "alb": settings }),
        objects: vec![
            ingress_of_alb("alb", "stable"),
            ingress_of_alb("alb-inner", "stable"),
        ],
        kinds: vec![INGRESS],
        weights: |objects| {
            let of = |ingress| parts_at_alb(ingress, ROOT_ACTION, ["canary", "stable"]);
            let parts: Vec<_> = objects.iter().filter_map(of).collect();
            assert_eq!(parts[0], parts[1], "all its Ingresses are divided alike");
            parts[0]
        },
    }
}

/// AWS Load Balancer Controller with Services that take turns: the parts of `pong` and of `ping`, which
/// is the first version's.
pub(crate) fn alb_in_turns() -> Router {
    Router {
        name: "alb in turns",
        services: json!({ "pingPong": { "pingService": "ping", "pongService": "pong" } }),
        selectors: [service("pong"), service("ping")],
        objects: vec![
            ingress_of_alb("alb", "ping"),
            ingress_of_alb("alb-inner", "ping"),
        ],
        weights: |objects| {
            let of = |ingress| parts_at_alb(ingress, ROOT_ACTION, ["pong", "ping"]);
            objects.iter().find_map(of).unwrap()
        },
        ..alb()
    }
}

fn smi() -> Router {
    Router {
        name: "smi",
        services: two_services(),
        selectors: [service("canary"), service("stable")],
        routing: json!({ "smi": {} }),
        objects: vec![],
        kinds: vec![Kind(
            "split.smi-spec.io/v1alpha1",
            "TrafficSplit",
            "trafficsplits",
        )],
        weights: |objects| {
            let backends = objects[0]["spec"]["backends"].as_array().unwrap();
            let weight = |service: &str| {
                let backend = backends.iter().find(|it| it["service"] == service).unwrap();
                let weight = &backend["weight"];
                let text = weight.as_str().map(|text| text.parse().unwrap());
                text.or(weight.as_i64()).unwrap()
            };
            (weight("canary"), weight("stable"))
        },
    }
}

pub(crate) fn ambassador() -> Router {
    let kind = Kind("getambassador.io/v2", "Mapping", "mappings");
    let spec = json!({ "prefix": "/", "service": "stable:80" });
    Router {
        name: "ambassador",
        services: two_services(),
        selectors: [service("canary"), service("stable")],
        routing: json!({ "ambassador": { "mappings": ["web"] } }),
        objects: vec![(kind, json!({ "metadata": { "name": "web" }, "spec": spec }))],
        kinds: vec![kind],
        weights: |objects| {
            let weight = objects.iter().find_map(|it| it["spec"]["weight"].as_i64());
            (weight.unwrap_or(0), 100 - weight.unwrap_or(0))
        },
    }
}

fn app_mesh() -> Router {
    let kind = |kind, plural| Kind("appmesh.k8s.aws/v1beta2", kind, plural);
    let service = kind("VirtualService", "virtualservices");
    let router = kind("VirtualRouter", "virtualrouters");
    let node = kind("VirtualNode", "virtualnodes");
    let named = |name: &str, spec: Value| json!({ "metadata": { "name": name }, "spec": spec });
    let provider = json!({ "virtualRouter": { "virtualRouterRef": { "name": "web" } } });
    let target =
        |name: &str, weight: i32| json!({ "virtualNodeRef": { "name": name }, "weight": weight });
    let targets = json!([target("canary", 0), target("stable", 100)]);
    let route = json!({ "match": { "prefix": "/" }, "action": { "weightedTargets": targets } });
    let all = json!([{ "name": "primary", "httpRoute": route }]);
    let pods = json!({ "podSelector": { "matchLabels": { "app": "web" } } });
    let nodes = json!({
        "canaryVirtualNodeRef": { "name": "canary" }, "stableVirtualNodeRef": { "name": "stable" },
    });
    Router {
        name: "appMesh",
        services: two_services(),
        selectors: ["canary", "stable"]
            .map(|node| Selector("virtualnodes", node, "/spec/podSelector/matchLabels")),
        routing: json!({ "appMesh": {
            "virtualService": { "name": "web" }, "virtualNodeGroup": nodes,
        } }),
        objects: vec![
            (service, named("web", json!({ "provider": provider }))),
            (router, named("web", json!({ "routes": all }))),
            (node, named("canary", pods.clone())),
            (node, named("stable", pods)),
        ],
        // What its nodes select follows the versions, and stays with the last one.
        kinds: vec![router],
        weights: |objects| {
            let route = &objects[0]["spec"]["routes"][0]["httpRoute"];
            let targets = &route["action"]["weightedTargets"];
            let weight = |at: usize| targets[at]["weight"].as_i64().unwrap();
            (weight(0), weight(1))
        },
    }
}

pub(crate) fn apisix() -> Router {
    let kind = Kind("apisix.apache.org/v2", "ApisixRoute", "apisixroutes");
    let backends = json!([
        { "serviceName": "stable", "servicePort": 80, "weight": 100 },
        { "serviceName": "canary", "servicePort": 80, "weight": 0 },
    ]);
    let spec =
        json!({ "http": [{ "name": "web", "match": { "paths": ["/*"] }, "backends": backends }] });
    Router {
        name: "apisix",
        services: two_services(),
        selectors: [service("canary"), service("stable")],
        routing: json!({ "apisix": { "route": { "name": "web" } } }),
        objects: vec![(kind, json!({ "metadata": { "name": "web" }, "spec": spec }))],
        kinds: vec![kind],
        weights: |objects| {
            let of = |object: &&Value| object["metadata"]["name"] == "web";
            let divided = objects.iter().find(of).unwrap();
            let backends = &divided["spec"]["http"][0]["backends"];
            let weight = |at: usize| backends[at]["weight"].as_i64().unwrap();
            (weight(1), weight(0))
        },
    }
}

/// Gateway API, by a kind of route and the setting that names it.
fn gateway(name: &'static str, kind: Kind, setting: &str) -> Router {
    let backends = json!([
        { "name": "stable", "port": 80, "weight": 100 }, { "name": "canary", "port": 80, "weight": 0 },
    ]);
    let parents = json!([{ "name": "public" }, { "name": "inner", "sectionName": "web" }]);
    let spec = json!({ "parentRefs": parents, "rules": [{ "backendRefs": backends }] });
    Router {
        name,
        services: two_services(),
        selectors: [service("canary"), service("stable")],
        routing: json!({ "plugins": { "argoproj-labs/gatewayAPI": { setting: "web" } } }),
        objects: vec![(kind, json!({ "metadata": { "name": "web" }, "spec": spec }))],
        kinds: vec![kind],
        weights: |objects| {
            let backends = &last(&objects[0]["spec"]["rules"])["backendRefs"];
            let weight = |at: usize| backends[at]["weight"].as_i64().unwrap();
            (weight(1), weight(0))
        },
    }
}

pub(crate) const HTTP_ROUTE: Kind = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes");

pub(crate) fn http_route() -> Router {
    gateway("httpRoute", HTTP_ROUTE, "httpRoute")
}

pub(crate) fn grpc_route() -> Router {
    let kind = Kind("gateway.networking.k8s.io/v1", "GRPCRoute", "grpcroutes");
    gateway("grpcRoute", kind, "grpcRoute")
}

/// Linkerd, by the kind of route that it brings itself. The Gateway API's is installed, too.
fn linkerd() -> Router {
    let kind = Kind("policy.linkerd.io/v1beta3", "HTTPRoute", "httproutes");
    let mut router = gateway("linkerd", kind, "httpRoute");
    router.kinds.push(HTTP_ROUTE);
    let settings = json!({ "httpRoutes": [{ "name": "mesh" }] });
    router.routing = json!({ "plugins": { "argoproj-labs/gatewayAPI": settings } });
    let route = &mut router.objects[0].1;
    route["metadata"]["name"] = json!("mesh");
    route["spec"]["parentRefs"] = json!([{ "group": "core", "kind": "Service", "name": "web" }]);
    router
}

fn tcp_route() -> Router {
    let kind = Kind("gateway.networking.k8s.io/v1", "TCPRoute", "tcproutes");
    gateway("tcpRoute", kind, "tcpRoute")
}

/// In the version that was the only one for long: another one is looked for first.
pub(crate) fn tcp_route_before_v1() -> Router {
    let version = "gateway.networking.k8s.io/v1alpha2";
    let kind = Kind(version, "TCPRoute", "tcproutes");
    gateway("tcpRoute", kind, "tcpRoute")
}

fn tls_route() -> Router {
    let kind = Kind("gateway.networking.k8s.io/v1", "TLSRoute", "tlsroutes");
    gateway("tlsRoute", kind, "tlsRoute")
}

/// All of them.
pub(crate) fn all() -> Vec<Router> {
    vec![
        istio(),
        nginx(),
        smi(),
        ambassador(),
        app_mesh(),
        traefik(),
        apisix(),
        alb(),
        http_route(),
        grpc_route(),
        tcp_route(),
        tls_route(),
        linkerd(),
    ]
}

/// One Rollout with all of them: its routing, and the objects.
pub(crate) fn together() -> Router {
    let mut together = traefik();
    for router in all() {
        json_patch::merge(&mut together.routing, &router.routing);
        if router.name != together.name {
            together.objects.extend(router.objects);
            together.kinds.extend(router.kinds);
        }
    }
    together
}

impl Router {
    /// A canary with these steps.
    pub(crate) fn canary(&self, steps: &Value) -> Value {
        let mut canary = json!({ "trafficRouting": self.routing, "steps": steps });
        json_patch::merge(&mut canary, &self.services);
        canary
    }

    /// Its kinds and its objects.
    pub(crate) async fn install(&self, world: &World) {
        let read = self.objects.iter().map(|(kind, _)| kind);
        for kind in self.kinds.iter().chain(read) {
            world.define(*kind).await;
        }
        for (kind, object) in &self.objects {
            world.put(*kind, object.clone()).await;
        }
    }

    /// All objects of its kinds.
    pub(crate) async fn objects(&self, world: &World) -> Vec<Value> {
        let mut all = Vec::new();
        for kind in &self.kinds {
            all.extend(world.all(*kind).await);
        }
        all
    }

    /// The weights of the new and of the stable version.
    pub(crate) async fn weights(&self, world: &World) -> (i64, i64) {
        (self.weights)(&self.objects(world).await)
    }

    /// The objects as they were written, without what the server adds.
    pub(crate) async fn written(&self, world: &World) -> Vec<Value> {
        let objects = self.objects(world).await.into_iter();
        let written = objects.map(|mut object| {
            let metadata = object["metadata"].as_object_mut().unwrap();
            for field in ["resourceVersion", "generation", "managedFields"] {
                metadata.remove(field);
            }
            object.as_object_mut().unwrap().remove("status");
            object
        });
        written.collect()
    }
}

impl World {
    /// Installs a kind, if it is not there.
    pub(crate) async fn define(&self, kind: Kind) {
        let Some(definition) = kind.definition() else {
            return;
        };
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        let made = definitions
            .create(&PostParams::default(), &definition)
            .await;
        if let Err(kube::Error::Api(refusal)) = made {
            assert!(refusal.is_already_exists(), "{refusal:?}");
        }
    }

    pub(crate) fn api_of(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), NAMESPACE, &kind.resource())
    }

    /// Makes an object.
    pub(crate) async fn put(&self, kind: Kind, mut object: Value) {
        object["apiVersion"] = kind.0.into();
        object["kind"] = kind.1.into();
        let object = serde_json::from_value(object).unwrap();
        let params = PostParams::default();
        self.api_of(kind).create(&params, &object).await.unwrap();
    }

    pub(crate) async fn patch(&self, kind: Kind, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        let params = PatchParams::default();
        self.api_of(kind)
            .patch(name, &params, &patch)
            .await
            .unwrap();
    }

    /// All objects of a kind.
    pub(crate) async fn all(&self, kind: Kind) -> Vec<Value> {
        let objects = self.api_of(kind).list(&<_>::default()).await.unwrap();
        let objects = objects.items.iter();
        objects
            .map(|it| serde_json::to_value(it).unwrap())
            .collect()
    }
}
