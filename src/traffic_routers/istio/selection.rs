//! Which routes of a `VirtualService` lead to the Rollout.

use std::collections::BTreeSet;

use serde_json::Value;

use super::destinations::Sides;
use crate::api::{IstioVirtualService, TcpRoute, TlsRoute};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Tls,
    Tcp,
}

impl Protocol {
    const ALL: [Self; 3] = [Self::Http, Self::Tls, Self::Tcp];

    /// Its member of `spec`, its member of the Rollout, and as messages write it.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Http => ("http", "routes", "HTTP"),
            Self::Tls => ("tls", "tlsRoutes", "TLS"),
            Self::Tcp => ("tcp", "tcpRoutes", "TCP"),
        }
    }

    pub(super) fn routes(self, object: &Value) -> &[Value] {
        let routes = object["spec"][self.words().0].as_array();
        routes.map_or(&[], Vec::as_slice)
    }

    pub(super) fn routes_mut(self, object: &mut Value) -> Option<&mut Vec<Value>> {
        let spec = object.get_mut("spec")?;
        spec.get_mut(self.words().0)?.as_array_mut()
    }
}

/// The routes, by their places, and what is wrong with them.
pub(super) struct Selection {
    pub(super) routes: Vec<(Protocol, usize)>,
    pub(super) problems: Vec<String>,
}

impl Selection {
    /// The places of the HTTP routes.
    pub(super) fn http(&self) -> impl Iterator<Item = usize> {
        let routes = self.routes.iter();
        let http = routes.filter(|(protocol, _)| *protocol == Protocol::Http);
        http.map(|(_, index)| *index)
    }
}

/// Chooses the routes that the Rollout lists and, of a protocol of which it lists none, the only one.
/// Where it lists some of another protocol, that one need not lead to it.
pub(super) fn select(
    object: &Value,
    settings: &IstioVirtualService,
    managed: &[&str],
    sides: Sides,
) -> Selection {
    let (mut routes, mut problems) = (Vec::new(), Vec::new());
    if Protocol::ALL
        .iter()
        .all(|protocol| protocol.routes(object).is_empty())
    {
        let why = "Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService";
        problems.push(why.to_owned());
    }
    let lists = |protocol| match protocol {
        Protocol::Http => !settings.routes.is_empty(),
        Protocol::Tls => !settings.tls_routes.is_empty(),
        Protocol::Tcp => !settings.tcp_routes.is_empty(),
    };
    let lists_any = Protocol::ALL.into_iter().any(lists);
    for protocol in Protocol::ALL {
        let found = protocol.routes(object);
        let chosen = match protocol {
            _ if !lists(protocol) => only(protocol, found, managed),
            Protocol::Http => named(found, &settings.routes, managed),
            Protocol::Tls => matching(found, &settings.tls_routes, "TLS"),
            Protocol::Tcp => matching(found, &settings.tcp_routes, "TCP"),
        };
        let missing: Vec<_> = chosen
            .indices
            .iter()
            .flat_map(|index| sides.missing(&found[*index]))
            .chain(chosen.problems)
            .collect();
        if !lists(protocol) && lists_any && !missing.is_empty() {
            continue;
        }
        let (_, _, title) = protocol.words();
        problems.extend(
            missing.into_iter().map(|why| {
                format!("Istio VirtualService has invalid {title} routes. Error: {why}")
            }),
        );
        routes.extend(chosen.indices.into_iter().map(|index| (protocol, index)));
    }
    Selection { routes, problems }
}

/// Routes of one protocol.
#[derive(Default)]
struct Chosen {
    indices: Vec<usize>,
    problems: Vec<String>,
}

fn is_managed(route: &Value, managed: &[&str]) -> bool {
    route["name"]
        .as_str()
        .is_some_and(|name| managed.contains(&name))
}

fn only(protocol: Protocol, found: &[Value], managed: &[&str]) -> Chosen {
    let others = found.iter().enumerate();
    let others = others.filter(|(_, route)| !is_managed(route, managed));
    let indices: Vec<_> = others.map(|(index, _)| index).collect();
    if indices.len() == 1 || found.is_empty() {
        return Chosen {
            indices,
            problems: vec![],
        };
    }
    let (key, list, _) = protocol.words();
    let why = format!(
        "spec.{key}[] should be set in VirtualService and it must have exactly one route when \
         omitting spec.strategy.canary.trafficRouting.istio.virtualService.{list}"
    );
    Chosen {
        indices: vec![],
        problems: vec![why],
    }
}

fn named(found: &[Value], names: &[String], managed: &[&str]) -> Chosen {
    let mut chosen = Chosen::default();
    for name in names {
        match found.iter().position(|route| route["name"] == *name) {
            _ if managed.contains(&name.as_str()) => chosen.problems.push(format!(
                "HTTP Route '{name}' is one of the managedRoutes, which steps make and remove."
            )),
            Some(index) => chosen.indices.push(index),
            None => chosen.problems.push(format!(
                "HTTP Route '{name}' is not found in the defined Virtual Service."
            )),
        }
    }
    chosen
}

/// What a route is listed by.
trait Listed {
    fn matches(&self, port: i64, hosts: &BTreeSet<&str>) -> bool;
}

impl Listed for TlsRoute {
    fn matches(&self, port: i64, hosts: &BTreeSet<&str>) -> bool {
        let listed: BTreeSet<_> = self.sni_hosts.iter().map(String::as_str).collect();
        self.port.unwrap_or(0) == port && listed == *hosts
    }
}

impl Listed for TcpRoute {
    fn matches(&self, port: i64, _: &BTreeSet<&str>) -> bool {
        self.port.unwrap_or(0) == port
    }
}

/// # Source
/// `searchTlsRoute` and `searchTcpRoute` in `istio.go`
fn matching(found: &[Value], listed: &[impl Listed], title: &str) -> Chosen {
    let mut chosen = Chosen::default();
    for wanted in listed {
        let all = found.iter().enumerate();
        let matching: Vec<_> = all
            .filter(|(_, route)| {
                let matches = || route["match"].as_array().into_iter().flatten();
                let ports: BTreeSet<_> = matches()
                    .map(|one| one["port"].as_i64().unwrap_or(0))
                    .collect();
                let hosts = matches().filter_map(|one| one["sniHosts"].as_array());
                let hosts = hosts.flatten().filter_map(Value::as_str).collect();
                let port = ports.first().copied().unwrap_or(0);
                ports.len() <= 1 && wanted.matches(port, &hosts)
            })
            .map(|(index, _)| index)
            .collect();
        if matching.is_empty() {
            let why = format!("No matching {title} routes found in the defined Virtual Service.");
            chosen.problems.push(why);
        }
        chosen.indices.extend(matching);
    }
    chosen
}
