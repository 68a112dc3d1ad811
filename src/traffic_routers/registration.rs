//! Whether AWS has registered all pods of a version: the one before it must not go as long as the load
//! balancer does not know who comes after it.
//!
//! AWS Load Balancer Controller notes in `TargetGroupBindings` which target groups it fills with the
//! pods of which Service.
//!
//! # Source
//! `VerifyTargetGroupBinding` in `utils/aws/aws.go` of Argo Rollouts. There, pods are read from
//! Endpoints, which name a thousand at most, and may still be those of the version before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use serde_json::Value;

use super::object::{Call, Findings, Known, Notice, Query, Resource, Verification};
use super::split::Version;

/// So long is the beginning that a pod's name has from its `ReplicaSet`: the API server cuts the rest.
const LONGEST_BEGINNING: usize = 58;

/// Address and port, and the pod behind them.
type Targets = BTreeMap<(IpAddr, i64), String>;

/// Whether all pods of a version, which the Service selects, are registered in the target groups that
/// `TargetGroupBindings` of this group and version bind to the Service; not applicable if none does so
/// by the addresses of pods. Whether the load balancer finds them healthy is not asked.
#[must_use]
pub fn registered(
    known: &Known,
    service: &Service,
    version: &Version,
    (group, binding_version): &(String, String),
) -> Verification {
    let name = service.name_any();
    let bindings = selected(
        service,
        (group, binding_version),
        ("TargetGroupBinding", "targetgroupbindings"),
        String::new(),
    );
    let bindings = match found(known, bindings) {
        Ok(bindings) => bindings,
        Err(open) => return open,
    };
    let bound: Vec<&Value> = bindings
        .into_iter()
        .filter(|binding| {
            let spec = &binding["spec"];
            spec["serviceRef"]["name"] == name.as_str() && spec["targetType"] == "ip"
        })
        .collect();
    if bound.is_empty() {
        return Verification::NotApplicable;
    }
    let slices = selected(
        service,
        ("discovery.k8s.io", "v1"),
        ("EndpointSlice", "endpointslices"),
        format!("kubernetes.io/service-name={name}"),
    );
    let slices = match found(known, slices) {
        Ok(slices) => slices,
        Err(open) => return open,
    };
    let mut findings = Findings::default();
    for binding in bound {
        match wanted(service, &slices, binding) {
            Err(why) => findings.failures.push(why),
            Ok(wanted) if !are_all_of(&wanted, version) => findings.differs = true,
            Ok(wanted) => compare(known, &name, binding, &wanted, &mut findings),
        }
    }
    findings.concluded()
}

fn selected(
    service: &Service,
    (group, version): (&str, &str),
    (kind, plural): (&'static str, &'static str),
    selector: String,
) -> Query {
    Query::Selected {
        resource: Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            kind,
            plural,
        },
        namespace: service.namespace().unwrap_or_default(),
        selector,
    }
}

/// The objects that a query picks, or what has to come before that.
fn found(known: &Known, query: Query) -> Result<Vec<&Value>, Verification> {
    if let Some(why) = known.why_unavailable(&query) {
        return Err(Verification::Failed(why.to_owned()));
    }
    if !known.answers(&query) {
        return Err(Verification::Ask(vec![query]));
    }
    let picked = known.picked(&query).iter();
    let objects = picked.filter_map(|place| known.get(place));
    Ok(objects.map(|object| &**object).collect())
}

/// What is to be registered: the pods behind the port of the Service that a binding names, by its number
/// or its name.
fn wanted(service: &Service, slices: &[&Value], binding: &Value) -> Result<Targets, String> {
    let bound = &binding["spec"]["serviceRef"]["port"];
    let mut ports = service.spec.iter().flat_map(|spec| &spec.ports).flatten();
    let port = ports
        .find(|port| *bound == port.port || port.name.as_ref().is_some_and(|name| bound == name));
    let Some(port) = port else {
        return Err(format!(
            "TargetGroupBinding `{}` binds port {bound} of Service `{}`, which has none of that",
            binding["metadata"]["name"].as_str().unwrap_or_default(),
            service.name_any()
        ));
    };
    let name = port.name.as_deref().unwrap_or_default();
    let family = match binding["spec"]["ipAddressType"].as_str() {
        Some("ipv6") => "IPv6",
        Some(_) | None => "IPv4",
    };
    let of_family = slices.iter().filter(|slice| slice["addressType"] == family);
    Ok(of_family.flat_map(|slice| targets(slice, name)).collect())
}

/// The pods of a slice that take requests at the port of this name.
fn targets(slice: &Value, port: &str) -> Vec<((IpAddr, i64), String)> {
    let mut ports = slice["ports"].as_array().into_iter().flatten();
    // Slices name their ports as the Service does.
    let named = ports.find(|one| one["name"].as_str().unwrap_or_default() == port);
    let Some(number) = named.and_then(|one| one["port"].as_i64()) else {
        return vec![];
    };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
    let target = |endpoint: &Value| {
        let address = endpoint["addresses"][0].as_str()?.parse().ok()?;
        let pod = endpoint["targetRef"]["name"].as_str().unwrap_or_default();
        Some(((address, number), pod.to_owned()))
    };
    ready.filter_map(target).collect()
}

/// Whether a Service that has just been switched leads to a version by now: to all of its pods, and to
/// no others.
fn are_all_of(targets: &Targets, version: &Version) -> bool {
    let mut beginning = format!("{}-", version.replica_set);
    beginning.truncate(LONGEST_BEGINNING);
    let pods: BTreeSet<&String> = targets.values().collect();
    let enough = usize::try_from(version.available).is_ok_and(|available| pods.len() >= available);
    enough && pods.iter().all(|pod| pod.starts_with(&beginning))
}

fn compare(
    known: &Known,
    service: &str,
    binding: &Value,
    wanted: &Targets,
    findings: &mut Findings,
) {
    let arn = binding["spec"]["targetGroupARN"]
        .as_str()
        .unwrap_or_default();
    let call = Call::Elb {
        region: arn.split(':').nth(3).unwrap_or_default().to_owned(),
        action: "DescribeTargetHealth",
        parameters: vec![("TargetGroupArn".to_owned(), arn.to_owned())],
    };
    let answer = match known.answer(&call) {
        None => return findings.open.push(Query::Call(call)),
        Some(Err(why)) => return findings.failures.push(why.to_owned()),
        Some(Ok(answer)) => answer,
    };
    let described = answer["TargetHealthDescriptions"].as_array();
    let target = |one: &Value| {
        let (id, port) = (&one["Target"]["Id"], &one["Target"]["Port"]);
        Some((id.as_str()?.parse().ok()?, port.as_str()?.parse().ok()?))
    };
    let found: BTreeSet<(IpAddr, i64)> =
        described.into_iter().flatten().filter_map(target).collect();
    let all = wanted.len();
    let registered = wanted
        .keys()
        .filter(|target| found.contains(target))
        .count();
    let about = format!("Service {service} (TargetGroup {arn})");
    if registered == all {
        findings.told.notices.push(Notice {
            reason: "TargetGroupVerified",
            message: format!("{about} verified: {registered} endpoints registered"),
        });
    } else {
        findings.differs = true;
        findings.told.warnings.push(Notice {
            reason: "TargetGroupUnverified",
            message: format!("{about} not verified: {registered}/{all} endpoints registered"),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::Place;
    use super::*;

    const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/web/1";

    fn service() -> Service {
        let ports = json!([
            {"name": "http", "port": 80, "targetPort": "web"}, {"name": "admin", "port": 81},
        ]);
        let service = json!({
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": ports},
        });
        serde_json::from_value(service).unwrap()
    }

    fn endpoint(pod: &str, address: &str, ready: &Value) -> Value {
        json!({
            "addresses": [address], "conditions": {"ready": ready}, "targetRef": {"name": pod},
        })
    }

    fn slice(family: &str, endpoints: &[Value]) -> Value {
        json!({
            "addressType": family, "endpoints": endpoints,
            "ports": [{"name": "admin", "port": 9000}, {"name": "http", "port": 8080}],
        })
    }

    /// Two pods of a version that take requests, and one that does not yet.
    fn slices() -> Vec<Value> {
        vec![
            slice("IPv4", &[endpoint("web-2-a", "10.0.0.1", &json!(true))]),
            slice(
                "IPv4",
                &[
                    endpoint("web-2-b", "10.0.0.2", &Value::Null),
                    endpoint("web-2-c", "10.0.0.3", &json!(false)),
                ],
            ),
            slice(
                "IPv6",
                &[
                    endpoint("web-2-a", "2001:db8::1", &json!(true)),
                    endpoint("web-2-b", "2001:db8::2", &json!(true)),
                ],
            ),
        ]
    }

    /// What is told when AWS answers this.
    fn told(bindings: &[Value], slices: &[Value], answer: &Result<Value, String>) -> Verification {
        let bindings_version = ("elbv2.k8s.aws".to_owned(), "v1beta1".to_owned());
        let version = Version {
            hash: "2".to_owned(),
            replica_set: "web-2".to_owned(),
            wanted: 3,
            available: 2,
        };
        let mut known = Known::default();
        loop {
            let open = match registered(&known, &service(), &version, &bindings_version) {
                Verification::Ask(open) => open,
                told => return told,
            };
            for query in open {
                match &query {
                    Query::Selected {
                        resource,
                        namespace,
                        selector,
                    } => {
                        assert_eq!(namespace, "shop");
                        let objects = match resource.kind {
                            "TargetGroupBinding" => bindings,
                            _ => slices,
                        };
                        let is_all = selector.is_empty();
                        assert!(is_all || selector == "kubernetes.io/service-name=web");
                        let found = objects.iter().enumerate().map(|(index, object)| {
                            let place = Place {
                                resource: resource.clone(),
                                namespace: namespace.clone(),
                                name: index.to_string(),
                            };
                            (place, Arc::new(object.clone()))
                        });
                        let found = found.collect();
                        known.note_selected(query, found);
                    }
                    Query::Call(
                        call @ Call::Elb {
                            region, parameters, ..
                        },
                    ) => {
                        let asked = (region.as_str(), parameters[0].1.as_str());
                        assert_eq!(asked, ("eu-west-1", ARN));
                        known.note_answer(call.clone(), answer.clone());
                    }
                    other => panic!("{other:?} is not asked"),
                }
            }
        }
    }

    fn binding(service: &str, kind: &str, port: &Value) -> Value {
        let service = json!({"name": service, "port": port});
        json!({
            "metadata": {"name": "bound"},
            "spec": {"serviceRef": service, "targetType": kind, "targetGroupARN": ARN},
        })
    }

    fn targets(list: &[(&str, &str)]) -> Value {
        let target = |(id, port): &(&str, &str)| json!({"Target": {"Id": id, "Port": port}});
        let targets: Vec<Value> = list.iter().map(target).collect();
        json!({"TargetHealthDescriptions": targets})
    }

    #[test]
    fn all_pods_that_take_requests_must_be_registered() {
        let both = Ok(targets(&[
            ("10.0.0.2", "8080"),
            ("10.0.0.1", "8080"),
            ("10.9.9.9", "1"),
        ]));
        let other_port = Ok(targets(&[("10.0.0.2", "9000"), ("10.0.0.1", "8080")]));
        // As AWS may write it.
        let v6 = Ok(targets(&[
            ("2001:0db8::1", "8080"),
            ("2001:db8:0::2", "8080"),
        ]));
        let by_v6 = |mut binding: Value| {
            binding["spec"]["ipAddressType"] = json!("ipv6");
            binding
        };
        let by = |port: Value| binding("web", "ip", &port);
        for (binding, answer, expected) in [
            (by(json!(80)), &both, "2/2"),
            (by(json!("http")), &both, "2/2"),
            (by(json!(80)), &other_port, "1/2"),
            (by(json!("admin")), &both, "0/2"),
            (by(json!(81)), &other_port, "1/2"),
            (by_v6(by(json!(80))), &v6, "2/2"),
            (by_v6(by(json!(80))), &both, "0/2"),
            (by(json!(80)), &Ok(Value::Null), "0/2"),
        ] {
            let told = told(&[binding], &slices(), answer);
            let Verification::Told(told) = told else {
                panic!("{told:?}");
            };
            assert_eq!(told.is_verified, expected == "2/2", "{expected}");
            let about = format!("Service web (TargetGroup {ARN})");
            let (notice, message) = if told.is_verified {
                (
                    &told.notices[0],
                    format!("{about} verified: 2 endpoints registered"),
                )
            } else {
                let message = format!("{about} not verified: {expected} endpoints registered");
                (&told.warnings[0], message)
            };
            assert_eq!(notice.message, message);
        }
    }

    #[test]
    fn a_service_that_leads_elsewhere_yet_proves_nothing() {
        let nobody = Err("nobody is asked".to_owned());
        let v4 = |endpoints: &[Value]| slice("IPv4", endpoints);
        let ready = |pod: &str, address: &str| endpoint(pod, address, &json!(true));
        for slices in [
            vec![],
            vec![v4(&[])],
            // The version before it.
            vec![v4(&[
                ready("web-1-a", "10.0.0.1"),
                ready("web-1-b", "10.0.0.2"),
            ])],
            // Both, for a moment.
            vec![v4(&[
                ready("web-1-a", "10.0.0.1"),
                ready("web-2-b", "10.0.0.2"),
            ])],
            // Not yet all of it.
            vec![v4(&[ready("web-2-a", "10.0.0.1")])],
        ] {
            let told = told(&[binding("web", "ip", &json!(80))], &slices, &nobody);
            let Verification::Told(told) = told else {
                panic!("{told:?}");
            };
            assert!(!told.is_verified, "{slices:?}");
            assert_eq!((told.notices.len(), told.warnings.len()), (0, 0));
        }
    }

    #[test]
    fn what_is_bound_otherwise_needs_nothing() {
        let nobody = Err("nobody is asked".to_owned());
        let others = [
            binding("api", "ip", &json!(80)),
            binding("web", "instance", &json!(80)),
        ];
        for bindings in [&others[..], &[]] {
            let told = told(bindings, &slices(), &nobody);
            assert_eq!(told, Verification::NotApplicable);
        }
    }

    #[test]
    fn what_cannot_be_told_is_no_verdict() {
        let refused = Err("answered 403: AccessDenied: not you".to_owned());
        let told = |binding| told(&[binding], &slices(), &refused);
        assert_eq!(
            told(binding("web", "ip", &json!(80))),
            Verification::Failed("answered 403: AccessDenied: not you".to_owned())
        );
        for (port, named) in [(json!(90), "90"), (json!("web"), "\"web\"")] {
            let why = format!(
                "TargetGroupBinding `bound` binds port {named} of Service `web`, which has none of that"
            );
            assert_eq!(told(binding("web", "ip", &port)), Verification::Failed(why));
        }
    }
}
