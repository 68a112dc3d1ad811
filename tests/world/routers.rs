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
            "name": version, "served": true, "storage": true,
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

/// A router as a story uses it.
pub(crate) struct Router {
    pub(crate) name: &'static str,
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

pub(crate) fn traefik() -> Router {
    let services = json!([
        { "name": "stable", "port": 80, "weight": 100 }, { "name": "canary", "port": 80, "weight": 0 },
    ]);
    let object =
        json!({ "metadata": { "name": "web" }, "spec": { "weighted": { "services": services } } });
    Router {
        name: "traefik",
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
        routing: json!({ "nginx": { "stableIngress": "web" } }),
        objects: vec![(
            INGRESS,
            json!({ "metadata": { "name": "web" }, "spec": spec }),
        )],
        kinds: vec![INGRESS],
        weights: |objects| {
            let annotations = |object: &Value| object["metadata"]["annotations"].clone();
            let mut canaries = objects.iter().map(annotations);
            let weight = "nginx.ingress.kubernetes.io/canary-weight";
            let canary = canaries.find_map(|it| it[weight].as_str()?.parse().ok());
            (canary.unwrap_or(0), 100 - canary.unwrap_or(0))
        },
    }
}

fn istio() -> Router {
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
        routing: json!({ "istio": { "virtualService": { "name": "web" } } }),
        objects: vec![(kind, json!({ "metadata": { "name": "web" }, "spec": spec }))],
        kinds: vec![kind],
        weights: |objects| {
            let route = &objects[0]["spec"]["http"][0]["route"];
            let weight = |at: usize| route[at]["weight"].as_i64().unwrap();
            (weight(1), weight(0))
        },
    }
}

fn smi() -> Router {
    Router {
        name: "smi",
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

fn ambassador() -> Router {
    let kind = Kind("getambassador.io/v2", "Mapping", "mappings");
    let spec = json!({ "prefix": "/", "service": "stable:80" });
    Router {
        name: "ambassador",
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

fn apisix() -> Router {
    let kind = Kind("apisix.apache.org/v2", "ApisixRoute", "apisixroutes");
    let backends = json!([
        { "serviceName": "stable", "servicePort": 80, "weight": 100 },
        { "serviceName": "canary", "servicePort": 80, "weight": 0 },
    ]);
    let spec =
        json!({ "http": [{ "name": "web", "match": { "paths": ["/*"] }, "backends": backends }] });
    Router {
        name: "apisix",
        routing: json!({ "apisix": { "route": { "name": "web" } } }),
        objects: vec![(kind, json!({ "metadata": { "name": "web" }, "spec": spec }))],
        kinds: vec![kind],
        weights: |objects| {
            let backends = &objects[0]["spec"]["http"][0]["backends"];
            let weight = |at: usize| backends[at]["weight"].as_i64().unwrap();
            (weight(1), weight(0))
        },
    }
}

fn gateway() -> Router {
    let kind = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes");
    let backends = json!([
        { "name": "stable", "port": 80, "weight": 100 }, { "name": "canary", "port": 80, "weight": 0 },
    ]);
    let spec =
        json!({ "parentRefs": [{ "name": "gate" }], "rules": [{ "backendRefs": backends }] });
    Router {
        name: "gatewayAPI",
        routing: json!({ "plugins": { "argoproj-labs/gatewayAPI": { "httpRoute": "web" } } }),
        objects: vec![(kind, json!({ "metadata": { "name": "web" }, "spec": spec }))],
        kinds: vec![kind],
        weights: |objects| {
            let backends = &objects[0]["spec"]["rules"][0]["backendRefs"];
            let weight = |at: usize| backends[at]["weight"].as_i64().unwrap();
            (weight(1), weight(0))
        },
    }
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
        gateway(),
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
