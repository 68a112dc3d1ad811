//! Routes and Rollouts to try.

mod checking;
mod dividing;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::super::object::{Known, Place, Query, Verification, Write};
use super::super::split::{Route, Split, Subject};
use super::super::{Versions, routers};
use super::route_kind::{Api, LINKERD, RouteKind, V1, V1ALPHA2, service};
use crate::api::{CanaryStrategy, TrafficWeights, WeightDestination};

/// A canary with these settings of its routes.
fn canary(settings: &Value) -> CanaryStrategy {
    canary_with(settings, &json!({}))
}

fn canary_with(settings: &Value, more: &Value) -> CanaryStrategy {
    let mut canary = json!({
        "canaryService": "shop-canary", "stableService": "shop-stable",
        "trafficRouting": {
            "plugins": {"argoproj-labs/gatewayAPI": settings},
            "managedRoutes": [{"name": "canary-header"}, {"name": "shadow"}],
        },
        "steps": [
            {"setHeaderRoute": serde_json::to_value(by_header()).unwrap()},
            {"setMirrorRoute": serde_json::to_value(mirror()).unwrap()},
        ],
    });
    json_patch::merge(&mut canary, more);
    serde_json::from_value(canary).unwrap()
}

fn by_header() -> crate::api::SetHeaderRoute {
    serde_json::from_value(json!({"name": "canary-header", "match": [
        {"headerName": "X-Canary", "headerValue": {"exact": "true"}},
        {"headerName": "X-Group", "headerValue": {"prefix": "beta.1"}},
    ]}))
    .unwrap()
}

fn mirror() -> crate::api::SetMirrorRoute {
    serde_json::from_value(json!({"name": "shadow", "percentage": 35, "match": [
        {"method": {"exact": "GET"}, "path": {"prefix": "/cart"}},
    ]}))
    .unwrap()
}

fn subject<'a>(name: &'a str, canary: &'a CanaryStrategy) -> Subject<'a> {
    Subject {
        namespace: "shop",
        name,
        owner: OwnerReference::default(),
        canary,
        stable_ping_pong: None,
    }
}

fn split(weight: i32) -> Split {
    let mut weights = TrafficWeights::default();
    weights.canary.weight = weight;
    weights.stable.weight = 100 - weight;
    Split {
        weights,
        whole: 100,
        is_idle: weight == 0,
        ..Split::undivided()
    }
}

fn with_experiment(mut split: Split, service: &str, weight: i32) -> Split {
    split.weights.additional.push(WeightDestination {
        service_name: service.to_owned(),
        weight,
        ..WeightDestination::default()
    });
    split
}

fn with_routes(mut split: Split) -> Split {
    split.routes = vec![Route::Header(by_header()), Route::Mirror(mirror())];
    split
}

fn reference(service: &str) -> Value {
    json!({"group": "", "kind": "Service", "name": service, "port": 80, "weight": 1})
}

/// As a server would give it back.
fn http_route(rules: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "shop", "labels": {"team": "web"}, "generation": 3},
        "spec": {
            "parentRefs": [
                {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"},
                {"group": "", "kind": "Service", "name": "shop", "port": 80},
            ],
            "hostnames": ["shop.example.com"],
            "rules": rules,
        },
    })
}

fn both(path: &str) -> Value {
    json!({
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "timeouts": {"request": "10s"},
        "backendRefs": [reference("shop-stable"), reference("shop-canary")],
    })
}

/// Rules of all sorts: two that are divided, and one that a person made for the new version.
fn rules() -> Value {
    json!([
        both("/"),
        {
            "name": "api",
            "matches": [
                {"path": {"type": "PathPrefix", "value": "/cart/api"}, "method": "GET"},
                {"path": {"type": "Exact", "value": "/health"}},
            ],
            "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "X-Api", "value": "1"}]}}],
            "backendRefs": [reference("shop-stable"), reference("legacy"), reference("shop-canary")],
        },
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"type": "Exact", "name": "X-Qa", "value": "yes"}]}],
            "backendRefs": [reference("shop-canary")],
        },
    ])
}

struct World {
    known: Known,
    place: Place,
}

impl World {
    fn with(kind: RouteKind, api: Api, object: Value) -> Self {
        let place = kind.place(api, "shop", "shop");
        let mut known = Known::default();
        for api in kind.apis() {
            known.note(kind.place(*api, "shop", "shop"), None);
        }
        known.note(place.clone(), Some(Arc::new(object)));
        Self { known, place }
    }

    fn http(rules: &Value) -> Self {
        Self::with(RouteKind::Http, V1, http_route(rules))
    }

    fn object(&self) -> &Value {
        self.known.get(&self.place).unwrap()
    }

    fn problems(&self, canary: &CanaryStrategy) -> Vec<String> {
        let all = routers(&subject("web", canary), &Versions::default());
        let problems = all.iter().flat_map(|router| router.problems(&self.known));
        problems.map(|problem| problem.to_string()).collect()
    }

    /// Divides, and tells how many writes that took.
    fn divide_for(&mut self, rollout: &str, canary: &CanaryStrategy, split: &Split) -> usize {
        let subject = subject(rollout, canary);
        let routers = routers(&subject, &Versions::default());
        let writes = routers[0].route(&self.known, split).unwrap();
        self.take(writes)
    }

    fn divide(&mut self, canary: &CanaryStrategy, split: &Split) -> usize {
        self.divide_for("web", canary, split)
    }

    fn take(&mut self, writes: Vec<Write>) -> usize {
        let count = writes.len();
        for write in writes {
            let Write::Update { place, after, .. } = write else {
                panic!("routes are only changed: {write:?}");
            };
            self.known.note(place, Some(Arc::new(after)));
        }
        count
    }

    fn weights(&self) -> Vec<Vec<(String, i64)>> {
        let rules = self.object()["spec"]["rules"].as_array().unwrap();
        let weight = |it: &Value| {
            (
                it["name"].as_str().unwrap().to_owned(),
                it["weight"].as_i64().unwrap(),
            )
        };
        rules
            .iter()
            .map(|rule| {
                rule["backendRefs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(weight)
                    .collect()
            })
            .collect()
    }

    fn names(&self) -> Vec<&str> {
        let rules = self.object()["spec"]["rules"].as_array().unwrap();
        rules
            .iter()
            .map(|rule| rule["name"].as_str().unwrap_or("-"))
            .collect()
    }

    fn yaml(&self) -> String {
        let mut object = self.object().clone();
        for field in ["apiVersion", "kind"] {
            object.as_object_mut().unwrap().remove(field);
        }
        serde_saphyr::to_string(&object).unwrap()
    }
}

fn named() -> Value {
    json!({"httpRoute": "shop"})
}
