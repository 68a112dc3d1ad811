//! What routers can do with the traffic beside dividing it between two versions, and what steps ask of
//! those that cannot.

use super::{Subject, Versions, routers};
use crate::api::CanaryStep;

/// What a router can do beside dividing traffic between two versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Lead requests with some headers to the new version.
    pub headers: bool,
    /// Send copies of requests to the new version.
    pub mirrors: bool,
    /// Give experiments a part.
    pub experiments: bool,
}

impl Abilities {
    /// Everything.
    pub(super) const ALL: Self = Self {
        headers: true,
        mirrors: true,
        experiments: true,
    };
}

/// What a step asks of a router in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InVain {
    /// The member of the step that asks, e.g. `setHeaderRoute`.
    pub member: &'static str,
    /// What has no effect, and where.
    pub why: String,
}

/// What a step asks of routers that cannot do it. Such a router divides by weight as always; that
/// none can is refused elsewhere.
#[must_use]
pub fn asked_in_vain(subject: &Subject<'_>, versions: &Versions, step: &CanaryStep) -> Vec<InVain> {
    let header = step.set_header_route.as_ref();
    let header = header.filter(|route| !route.matches.is_empty());
    let mirror = step.set_mirror_route.as_ref();
    let mirror = mirror.filter(|route| !route.matches.is_empty());
    let experiment = step.experiment.as_ref();
    let is_weighted =
        experiment.is_some_and(|it| it.templates.iter().any(|it| it.weight.is_some()));
    let mut in_vain = Vec::new();
    for router in routers(subject, versions) {
        let (name, can) = (router.name(), router.abilities());
        let mut add = |member, why: String| in_vain.push(InVain { member, why });
        if let Some(route) = header.filter(|_| !can.headers) {
            let route = &route.name;
            let why =
                format!("{name} cannot lead requests by header: `{route}` has no effect there");
            add("setHeaderRoute", why);
        }
        if let Some(route) = mirror.filter(|_| !can.mirrors) {
            let route = &route.name;
            let why = format!("{name} cannot mirror requests: `{route}` has no effect there");
            add("setMirrorRoute", why);
        }
        if is_weighted && !can.experiments {
            let why = format!(
                "{name} cannot give experiments a part: their weights have no effect there"
            );
            add("experiment", why);
        }
    }
    in_vain
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::CanaryStrategy;

    /// `h`, `m` and `e` for what a router can do with headers, mirrors and experiments.
    fn abilities(routing: &Value) -> String {
        let canary: CanaryStrategy = serde_json::from_value(json!({
            "canaryService": "canary", "stableService": "stable", "trafficRouting": routing,
        }))
        .unwrap();
        let subject = Subject {
            namespace: "shop",
            name: "shop",
            owner: OwnerReference::default(),
            canary: &canary,
            stable_ping_pong: None,
        };
        let matches = json!([{"headerName": "A", "headerValue": {"exact": "1"}}]);
        let step = serde_json::from_value(json!({
            "setHeaderRoute": {"name": "a", "match": matches},
            "setMirrorRoute": {"name": "b", "match": [{"method": {"exact": "GET"}}]},
            "experiment": {"templates": [{"name": "c", "specRef": "canary", "weight": 5}]},
        }))
        .unwrap();
        let in_vain = asked_in_vain(&subject, &Versions::default(), &step);
        let is_able = |member: &&(char, &str)| in_vain.iter().all(|it| it.member != member.1);
        let members = [
            ('h', "setHeaderRoute"),
            ('m', "setMirrorRoute"),
            ('e', "experiment"),
        ];
        members
            .iter()
            .filter(is_able)
            .map(|member| member.0)
            .collect()
    }

    #[test]
    fn each_router_can_what_it_is_said_to() {
        let gateway = |kind: &str| json!({"plugins": {"argoproj-labs/gatewayAPI": {kind: "web"}}});
        let table = [
            (json!({"istio": {"virtualService": {"name": "web"}}}), "hme"),
            (json!({"nginx": {"stableIngress": "web"}}), ""),
            (json!({"alb": {"ingress": "web", "servicePort": 80}}), "he"),
            (json!({"smi": {}}), "e"),
            (json!({"ambassador": {"mappings": ["web"]}}), ""),
            (json!({"appMesh": {}}), ""),
            (
                json!({"traefik": {"weightedTraefikServiceName": "web"}}),
                "",
            ),
            (json!({"apisix": {"route": {"name": "web"}}}), "h"),
            (json!({"plugins": {"org/other": {}}}), "hme"),
            (gateway("httpRoute"), "hme"),
            (gateway("grpcRoute"), "hme"),
            (gateway("tcpRoute"), "e"),
            (gateway("tlsRoute"), "e"),
        ];
        for (routing, expected) in table {
            assert_eq!(abilities(&routing), expected, "{routing}");
        }
    }
}
