//! The ports at which objects of routers lead to the Services of a Rollout: a Service without such a
//! port gets no traffic, and most controllers say so where nobody looks.

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::api::Problem;

/// A port at which an object leads to a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortUse {
    /// The field of the Rollout that names the object, or the port.
    pub field: String,
    /// What stands there.
    pub value: String,
    /// A Service of the Rollout.
    pub service: String,
    /// The port: its number or its name.
    pub port: String,
}

impl PortUse {
    /// A port as an object has it; none if that names no port.
    pub(super) fn of(field: &str, value: &str, service: &str, port: &Value) -> Option<Self> {
        let port = match port {
            Value::String(name) => name.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!service.is_empty() && !port.is_empty()).then(|| Self {
            field: field.to_owned(),
            value: value.to_owned(),
            service: service.to_owned(),
            port,
        })
    }

    /// That the Service has no such port. Some controllers know a port by what pods call it, too, and
    /// requests for a Service without an address of its own go to any port of its pods.
    #[must_use]
    pub fn problem(&self, service: &Service) -> Option<Problem> {
        let spec = service.spec.as_ref()?;
        let is_headless = spec.cluster_ip.as_deref() == Some("None");
        let mut ports = spec.ports.iter().flatten();
        if is_headless || ports.any(|port| self.is(port)) {
            return None;
        }
        let why = format!("Service `{}` has no port {}", self.service, self.port);
        Some(Problem::invalid(&self.field, &self.value, why))
    }

    fn is(&self, port: &ServicePort) -> bool {
        let target = match &port.target_port {
            Some(IntOrString::Int(number)) => Some(number.to_string()),
            Some(IntOrString::String(name)) => Some(name.clone()),
            None => None,
        };
        let known = [Some(port.port.to_string()), port.name.clone(), target];
        known.into_iter().flatten().any(|name| name == self.port)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::World;
    use super::*;

    const SERVICES: &str =
        "{canaryService: canary, stableService: stable, trafficRouting: ROUTING}";

    /// What a router with these settings, its object and that object's ports are.
    const TABLE: [(&str, &str, &str); 6] = [
        (
            "{nginx: {stableIngress: shop}}",
            "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
  - http:
      paths:
      - {path: /, backend: {service: {name: stable, port: {number: 80}}}}
      - {path: /api, backend: {service: {name: stable, port: {name: api}}}}
      - {path: /else, backend: {service: {name: else, port: {number: 7}}}}
",
            "nginx.stableIngress=shop: canary 80, canary api, stable 80, stable api",
        ),
        (
            "{alb: {ingress: shop, servicePort: 443, rootService: root}}",
            "",
            "alb.servicePort=443: canary 443, stable 443",
        ),
        (
            "{istio: {virtualService: {name: shop, routes: [a]}}}",
            "apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: shop}
spec:
  http:
  - name: a
    route:
    - destination: {host: stable, port: {number: 80}}
    - destination: {host: canary.shop.svc.cluster.local, port: {number: 81}}
    - destination: {host: else, port: {number: 7}}
  - name: b
    route: [{destination: {host: stable, port: {number: 8}}}]
",
            "istio.virtualService.name=shop: canary 81, stable 80",
        ),
        (
            "{ambassador: {mappings: [shop]}}",
            "apiVersion: getambassador.io/v2
kind: Mapping
metadata: {name: shop}
spec: {service: 'http://stable.shop:8080'}
",
            "ambassador.mappings[0]=shop: canary 8080, stable 8080",
        ),
        (
            "{traefik: {weightedTraefikServiceName: shop}}",
            "apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: shop}
spec:
  weighted:
    services:
    - {name: stable, port: web}
    - {name: canary, kind: Service, port: 80}
    - {name: else, port: 7}
",
            "traefik.weightedTraefikServiceName=shop: canary 80, stable web",
        ),
        (
            "{apisix: {route: {name: shop}}}",
            "apiVersion: apisix.apache.org/v2
kind: ApisixRoute
metadata: {name: shop}
spec:
  http:
  - name: shop
    backends: [{serviceName: stable, servicePort: 80}, {serviceName: canary, servicePort: http}]
  - name: other
    backends: [{serviceName: stable, servicePort: 7}]
",
            "apisix.route.name=shop: canary http, stable 80",
        ),
    ];

    #[test]
    fn ports_are_those_at_which_objects_lead_to_the_services() {
        for (routing, object, expected) in TABLE {
            let world = World::new(&SERVICES.replace("ROUTING", routing), object);
            assert_eq!(world.ports(), expected);
        }
        let mapping = TABLE[3].1.replace("'http://stable.shop:8080'", "stable");
        let settings = SERVICES.replace("ROUTING", TABLE[3].0);
        assert_eq!(World::new(&settings, &mapping).ports(), "");
    }

    #[test]
    fn a_port_is_known_by_its_number_its_name_and_what_pods_call_it() {
        let ports = json!([{"name": "http", "port": 80, "targetPort": "web"}]);
        let service = |spec: Value| serde_json::from_value(json!({ "spec": spec })).unwrap();
        let problem = |port: Value, service: &Service| {
            let port = PortUse::of("field", "object", "web", &port).unwrap();
            port.problem(service).map(|problem| problem.to_string())
        };
        let normal: Service = service(json!({ "ports": ports }));
        for known in [json!(80), json!("80"), json!("http"), json!("web")] {
            assert_eq!(problem(known, &normal), None);
        }
        for (unknown, named) in [(json!(81), "81"), (json!("https"), "https")] {
            let why =
                format!("field: Invalid value: \"object\": Service `web` has no port {named}");
            assert_eq!(problem(unknown, &normal), Some(why));
        }
        let headless = service(json!({ "ports": ports, "clusterIP": "None" }));
        assert_eq!(problem(json!(81), &headless), None);
        assert_eq!(PortUse::of("field", "object", "", &json!(80)), None);
        assert_eq!(PortUse::of("field", "object", "web", &Value::Null), None);
    }
}
