//! Routes by header and mirrors, before the routes whose weights are set.

use serde_json::{Map, Value, json};

use super::super::split::Route;
use super::destinations::{Role, Sides, service};
use crate::api::{HeaderMatch, RouteMatch, SetHeaderRoute, SetMirrorRoute};

/// The routes that steps may set, in one `VirtualService`.
pub(super) struct Managed<'a> {
    /// Their names.
    pub(super) names: &'a [&'a str],
    pub(super) sides: Sides<'a>,
    /// The host of the subsets, if there are any.
    pub(super) host: Option<&'a str>,
    /// The first of the routes whose weights are set, with its weights.
    pub(super) divided: &'a Value,
}

impl Managed<'_> {
    /// Whether a route is of this Rollout: it has such a name and leads to it. Another Rollout may
    /// use the same name for its own.
    fn is_ours(&self, route: &Value) -> bool {
        let name = route["name"].as_str();
        let leads_here = |entry: &Value| {
            let Sides { services, .. } = self.sides;
            let by_service = [services.canary, services.stable].map(Some);
            by_service.contains(&service(entry))
                || self.sides.role(entry) != Role::Other
                    && self
                        .host
                        .is_none_or(|host| entry["destination"]["host"] == host)
        };
        name.is_some_and(|name| self.names.contains(&name))
            && route["route"]
                .as_array()
                .into_iter()
                .flatten()
                .any(leads_here)
    }

    /// Brings these routes about, and no others of the Rollout. They stay where they are if they
    /// are in order there and before the routes whose weights are set (`divided`); else they go
    /// to the front.
    pub(super) fn manage(&self, http: &mut Vec<Value>, divided: &[usize], wanted: &[Route]) {
        let names: Vec<_> = wanted.iter().map(|route| Some(route.name())).collect();
        let limit = divided.iter().min().copied().unwrap_or(http.len());
        let found = http.iter().enumerate();
        let found = found.filter(|(_, route)| self.is_ours(route));
        let stay: Vec<_> = found
            .filter(|(_, route)| names.contains(&route["name"].as_str()))
            .map(|(index, route)| (index, route["name"].as_str()))
            .collect();
        let in_order = stay.iter().map(|(_, name)| name).eq(&names)
            && stay.iter().all(|(index, _)| *index < limit);
        if in_order {
            let places: Vec<_> = stay.into_iter().map(|(index, _)| index).collect();
            for (index, route) in places.into_iter().zip(wanted) {
                http[index] = self.written(http[index].take(), route);
            }
            let names: Vec<_> = wanted.iter().map(Route::name).collect();
            let stays = |name: &Value| name.as_str().is_some_and(|name| names.contains(&name));
            http.retain(|route| stays(&route["name"]) || !self.is_ours(route));
            return;
        }
        let before: Vec<_> = http.extract_if(.., |route| self.is_ours(route)).collect();
        let routes = wanted.iter().map(|route| {
            let found = before.iter().find(|found| found["name"] == route.name());
            self.written(found.cloned().unwrap_or_else(|| json!({})), route)
        });
        http.splice(0..0, routes);
    }

    /// A route as it should be; what else was set in it stays.
    fn written(&self, mut found: Value, route: &Route) -> Value {
        let mut set = |fields: Value| {
            if let (Some(found), Value::Object(fields)) = (found.as_object_mut(), fields) {
                found.extend(fields);
                found.retain(|_, value| !value.is_null());
            }
        };
        match route {
            Route::Header(route) => set(self.header(route)),
            Route::Mirror(route) => set(self.mirror(route)),
        }
        found
    }

    /// The new version, on the port that the divided route uses.
    fn canary(&self) -> Value {
        let Sides { services, rule } = self.sides;
        let mut destination = json!({"host": self.host.unwrap_or(services.canary)});
        let port = &self.divided["route"][0]["destination"]["port"]["number"];
        if port.as_i64().is_some_and(|port| port > 0) {
            destination["port"] = json!({"number": port});
        }
        if let Some(rule) = rule.filter(|rule| !rule.canary_subset_name.is_empty()) {
            destination["subset"] = rule.canary_subset_name.as_str().into();
        }
        destination
    }

    fn header(&self, route: &SetHeaderRoute) -> Value {
        let matches = route.matches.iter().map(
            |HeaderMatch {
                 header_name,
                 header_value,
                 ..
             }| { json!({"headers": {header_name: header_value}}) },
        );
        json!({
            "name": route.name,
            "match": matches.collect::<Vec<_>>(),
            "route": [{"weight": 100, "destination": self.canary()}],
            "mirror": null,
            "mirrorPercentage": null,
        })
    }

    fn mirror(&self, route: &SetMirrorRoute) -> Value {
        let matches = route.matches.iter().map(requests);
        json!({
            "name": route.name,
            "match": matches.collect::<Vec<_>>(),
            "route": self.divided["route"],
            "mirror": self.canary(),
            "mirrorPercentage": {"value": route.percentage.unwrap_or(100)},
        })
    }
}

fn requests(of: &RouteMatch) -> Value {
    let mut requests = Map::new();
    for (key, condition) in [("method", &of.method), ("uri", &of.path)] {
        if let Some(condition) = condition {
            requests.insert(key.to_owned(), json!(condition));
        }
    }
    if !of.headers.is_empty() {
        requests.insert("headers".to_owned(), json!(of.headers));
    }
    requests.into()
}
