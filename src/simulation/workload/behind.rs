//! Which pods requests reach: those behind a Service, or behind an Ingress and its canary.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::select;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Makes an Ingress the canary of another one with the same host and path.
///
/// # Source
/// Ingress NGINX, as are the other annotations: "Annotations", section "Canary".
const CANARY: &str = "nginx.ingress.kubernetes.io/canary";
const WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";
const TOTAL: &str = "nginx.ingress.kubernetes.io/canary-weight-total";
const DEFAULT_TOTAL: u32 = 100;

/// Where requests come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// A Service: all of its pods get the same.
    Service(&'static str),
    /// An Ingress, as Ingress NGINX understands it: its first path, and the canary of that.
    Ingress(&'static str),
}

/// The pods that requests reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind(Vec<Backend>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Backend {
    weight: u32,
    pods: BTreeSet<String>,
}

impl Behind {
    /// How many pods get requests.
    #[must_use]
    pub fn reached(&self) -> usize {
        let reached = self.0.iter().filter(|backend| backend.weight > 0);
        let pods: BTreeSet<&String> = reached.flat_map(|backend| &backend.pods).collect();
        pods.len()
    }
}

/// Whose turn it is: backends by weight, and the pods of each in a round.
///
/// # Source
/// The smooth weighted round robin of nginx's upstreams.
#[derive(Debug, Default)]
pub(super) struct Turns {
    owed: Vec<i64>,
    rounds: Vec<usize>,
}

impl Turns {
    /// The pod that the next request goes to.
    pub(super) fn next<'a>(&mut self, behind: &'a Behind) -> Option<&'a str> {
        let backends = &behind.0;
        self.owed.resize(backends.len(), 0);
        self.rounds.resize(backends.len(), 0);
        for (owed, backend) in self.owed.iter_mut().zip(backends) {
            *owed += i64::from(backend.weight);
        }
        let weighed = backends.iter().enumerate().filter(|(_, it)| it.weight > 0);
        let (index, backend) = weighed.rev().max_by_key(|(index, _)| self.owed[*index])?;
        let total: i64 = backends.iter().map(|it| i64::from(it.weight)).sum();
        self.owed[index] -= total;
        let round = &mut self.rounds[index];
        *round = round.wrapping_add(1);
        let pod = backend
            .pods
            .iter()
            .nth(round.checked_rem(backend.pods.len())?);
        pod.map(String::as_str)
    }
}

/// Follows what is behind an entrance until `stop`.
pub async fn follow_entrance(
    client: Client,
    namespace: &str,
    entrance: Entrance,
    behind: watch::Sender<Behind>,
    stop: CancellationToken,
) {
    let (endpoints, first) = follow::<Endpoints>(&client, namespace);
    let (ingresses, second) = follow::<Ingress>(&client, namespace);
    let mut changes = pin!(select(first, second));
    while let Some(Some(())) = stop.run_until_cancelled(changes.next()).await {
        let now = entrance.behind(&endpoints.state(), &ingresses.state());
        behind.send_if_modified(|known| {
            let is_new = *known != now;
            *known = now;
            is_new
        });
    }
}

/// A kind's objects, and a stream that has an item for each of their changes.
fn follow<K>(
    client: &Client,
    namespace: &str,
) -> (Store<K>, impl futures::Stream<Item = ()> + use<K>)
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let changes = watcher(api, watcher::Config::default()).default_backoff();
    (store, changes.reflect(writer).map(|_| ()))
}

impl Entrance {
    fn behind(self, endpoints: &[Arc<Endpoints>], ingresses: &[Arc<Ingress>]) -> Behind {
        let backend = |service: &str, weight| Backend {
            weight,
            pods: (endpoints.iter())
                .filter(|it| it.name_any() == service)
                .flat_map(|it| pods(it))
                .collect(),
        };
        let name = match self {
            Self::Service(service) => return Behind(vec![backend(service, 1)]),
            Self::Ingress(name) => name,
        };
        let Some(stable) = ingresses.iter().find(|ingress| ingress.name_any() == name) else {
            return Behind::default();
        };
        let canary = ingresses.iter().find(|other| is_canary_of(other, stable));
        let weighed =
            canary.map(|canary| (backend(service(canary), weight(canary)), total(canary)));
        // A canary without pods gets nothing, whatever its weight.
        match weighed.filter(|(canary, _)| !canary.pods.is_empty()) {
            None => Behind(vec![backend(service(stable), 1)]),
            Some((canary, total)) => {
                let rest = total.saturating_sub(canary.weight);
                Behind(vec![backend(service(stable), rest), canary])
            }
        }
    }
}

fn pods(endpoints: &Endpoints) -> impl Iterator<Item = String> + '_ {
    let subsets = endpoints.subsets.iter().flatten();
    let addresses = subsets.flat_map(|subset| subset.addresses.iter().flatten());
    addresses.filter_map(|address| address.target_ref.as_ref()?.name.clone())
}

/// The host and the path that an Ingress begins with.
fn first_path(ingress: &Ingress) -> Option<(Option<&str>, &HTTPIngressPath)> {
    let rule = ingress.spec.as_ref()?.rules.as_ref()?.first()?;
    let path = rule.http.as_ref()?.paths.first()?;
    Some((rule.host.as_deref(), path))
}

fn is_canary_of(other: &Ingress, stable: &Ingress) -> bool {
    let place = |ingress| first_path(ingress).map(|(host, path)| (host, path.path.as_deref()));
    let is_canary = other
        .annotations()
        .get(CANARY)
        .is_some_and(|text| text == "true");
    is_canary && place(other) == place(stable)
}

fn service(ingress: &Ingress) -> &str {
    let service = first_path(ingress).and_then(|(_, path)| path.backend.service.as_ref());
    service.map_or("", |service| &service.name)
}

fn number(ingress: &Ingress, annotation: &str) -> Option<u32> {
    ingress.annotations().get(annotation)?.parse().ok()
}

fn weight(canary: &Ingress) -> u32 {
    number(canary, WEIGHT).unwrap_or(0).min(total(canary))
}

fn total(canary: &Ingress) -> u32 {
    number(canary, TOTAL).unwrap_or(DEFAULT_TOTAL)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    fn endpoints(service: &str, pods: &[&str]) -> Arc<Endpoints> {
        let addresses = pods
            .iter()
            .map(|pod| json!({"ip": "10.0.0.1", "targetRef": {"name": pod}}));
        let subsets = json!([{"addresses": addresses.collect::<Vec<_>>()}]);
        let object = json!({"metadata": {"name": service}, "subsets": subsets});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn ingress(name: &str, service: &str, path: &str, annotations: &Value) -> Arc<Ingress> {
        let backend = json!({"service": {"name": service, "port": {"number": 80}}});
        let paths = json!([{"path": path, "pathType": "Prefix", "backend": backend}]);
        let object = json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"rules": [{"host": "a.example.com", "http": {"paths": paths}}]},
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    /// The requests that each pod gets of a hundred.
    fn of_a_hundred(entrance: Entrance, ingresses: &[Arc<Ingress>]) -> BTreeMap<String, u32> {
        let endpoints = [
            endpoints("stable", &["s1", "s2"]),
            endpoints("canary", &["c1"]),
            endpoints("empty", &[]),
        ];
        let behind = entrance.behind(&endpoints, ingresses);
        let mut turns = Turns::default();
        let mut counts = BTreeMap::new();
        for pod in (0..100).filter_map(|_| turns.next(&behind)) {
            *counts.entry(pod.to_owned()).or_default() += 1;
        }
        assert_eq!(counts.len(), behind.reached());
        counts
    }

    #[test]
    fn a_canary_gets_its_weight() {
        let none = json!({});
        let stable = ingress("web", "stable", "/", &none);
        let canary = |service: &str, path: &str, weight: &str| {
            let annotations = json!({CANARY: "true", WEIGHT: weight});
            vec![
                stable.clone(),
                ingress("web-canary", service, path, &annotations),
            ]
        };
        let of_a_thousand = json!({CANARY: "true", WEIGHT: "250", TOTAL: "1000"});
        let of_a_thousand = ingress("web-canary", "canary", "/", &of_a_thousand);
        let other = ingress("other", "canary", "/", &json!({WEIGHT: "50"}));
        let cases = [
            (vec![stable.clone()], (50, 50, 0)),
            (canary("canary", "/", "20"), (40, 40, 20)),
            (canary("canary", "/", "0"), (50, 50, 0)),
            (canary("canary", "/", "100"), (0, 0, 100)),
            (canary("canary", "/elsewhere", "20"), (50, 50, 0)),
            (canary("empty", "/", "20"), (50, 50, 0)),
            (vec![stable.clone(), of_a_thousand], (37, 38, 25)),
            (vec![stable.clone(), other], (50, 50, 0)),
            (vec![], (0, 0, 0)),
        ];
        for (ingresses, (first, second, third)) in cases {
            let counts = of_a_hundred(Entrance::Ingress("web"), &ingresses);
            let of = |pod: &str| counts.get(pod).copied().unwrap_or(0);
            let stable = [of("s1"), of("s2")];
            assert_eq!(stable.iter().sum::<u32>(), first + second, "{ingresses:?}");
            assert!(stable[0].abs_diff(stable[1]) <= 1);
            assert_eq!(of("c1"), third, "{ingresses:?}");
        }
        let service = of_a_hundred(Entrance::Service("stable"), &[]);
        assert_eq!(
            service,
            BTreeMap::from([("s1".to_owned(), 50), ("s2".to_owned(), 50)])
        );
    }

    #[test]
    fn a_weight_is_spread_evenly() {
        let pods = |name: &str| BTreeSet::from([name.to_owned()]);
        let behind = Behind(vec![
            Backend {
                weight: 75,
                pods: pods("s"),
            },
            Backend {
                weight: 25,
                pods: pods("c"),
            },
        ]);
        let mut turns = Turns::default();
        let order: Vec<&str> = (0..8).filter_map(|_| turns.next(&behind)).collect();
        assert_eq!(order, ["s", "s", "c", "s", "s", "s", "c", "s"]);
    }
}
