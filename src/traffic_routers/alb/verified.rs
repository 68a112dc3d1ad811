//! What load balancers say, in a fake of their API.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::super::object::{Call, Known, Query, Verification, Verified};
use super::super::split::{Split, Subject};
use super::super::testing::a_split;
use super::super::{Versions, routers};
use crate::api::CanaryStrategy;

const BALANCER: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/k8s-shop/50dc";

fn group(service: &str) -> String {
    format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{service}/73e2")
}

/// What the API answers when these Services have these weights.
fn answer(call: &Call, weights: &[(&str, i32)]) -> Value {
    let Call::Elb {
        region,
        action,
        parameters,
    } = call
    else {
        panic!("{call:?}");
    };
    assert_eq!(region, "eu-west-1");
    let parameter = |name: &str| {
        parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let services = || weights.iter().map(|(service, _)| *service);
    match *action {
        "DescribeLoadBalancers" => {
            assert_eq!(parameter("Names.member.1"), Some("k8s-shop"));
            json!({"LoadBalancers": [{"LoadBalancerName": "k8s-shop", "LoadBalancerArn": BALANCER,
                "DNSName": "k8s-shop-123.eu-west-1.elb.amazonaws.com"}]})
        }
        // The second page has the rest.
        "DescribeTargetGroups" if parameter("Marker").is_none() => {
            let first = services().next().unwrap();
            json!({"TargetGroups": [{"TargetGroupName": first, "TargetGroupArn": group(first)}], "NextMarker": "2"})
        }
        "DescribeTargetGroups" => {
            let rest = services().skip(1);
            let rest = rest.map(
                |service| json!({"TargetGroupName": service, "TargetGroupArn": group(service)}),
            );
            json!({"TargetGroups": rest.collect::<Vec<_>>()})
        }
        "DescribeTags" => {
            let tags = services().map(|service| {
                json!({"ResourceArn": group(service), "Tags": [
                {"Key": "other", "Value": "x"},
                {"Key": "ingress.k8s.aws/resource", "Value": format!("shop/shop-{service}:80")}]})
            });
            json!({"TagDescriptions": tags.collect::<Vec<_>>()})
        }
        "DescribeListeners" => json!({"Listeners": [{"ListenerArn": "listener"}]}),
        "DescribeRules" => {
            let groups = weights.iter().map(|(service, weight)| json!({"TargetGroupArn": group(service), "Weight": weight.to_string()}));
            json!({"Rules": [{"Actions": [{"Type": "fixed-response"}]},
                {"Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups.collect::<Vec<_>>()}}]}]})
        }
        other => panic!("{other} is not asked"),
    }
}

fn canary() -> CanaryStrategy {
    serde_json::from_value(json!({
        "canaryService": "shop-canary", "stableService": "shop-stable",
        "trafficRouting": {"alb": {"ingress": "shop", "servicePort": 80}},
    }))
    .unwrap()
}

fn told(
    split: &Split,
    hosts: &Value,
    answer: impl Fn(&Call) -> Result<Value, String>,
) -> Verification {
    let canary = canary();
    let subject = Subject {
        namespace: "shop",
        name: "shop",
        owner: OwnerReference::default(),
        canary: &canary,
        stable_ping_pong: None,
    };
    let versions = Versions {
        alb_verified_by_tag: Some("ingress.k8s.aws/resource".to_owned()),
        ..Versions::default()
    };
    let routers = routers(&subject, &versions);
    let mut known = Known::default();
    for query in routers[0].queries(&known) {
        let Query::One(place) = query else {
            panic!("{query:?}")
        };
        known.note(
            place,
            Some(Arc::new(
                json!({"status": {"loadBalancer": {"ingress": hosts}}}),
            )),
        );
    }
    loop {
        match routers[0].verify(&known, split) {
            Verification::Ask(queries) => {
                assert!(!queries.is_empty());
                for query in queries {
                    let Query::Call(call) = query else {
                        panic!("{query:?}")
                    };
                    let answer = answer(&call);
                    known.note_answer(call, answer);
                }
            }
            told => return told,
        }
    }
}

fn host() -> Value {
    json!([{"hostname": "k8s-shop-123.eu-west-1.elb.amazonaws.com"}])
}

#[test]
fn weights_are_verified_when_the_load_balancer_has_them() {
    let split = a_split(20).and("shop-baseline", 5);
    let has = |canary, baseline| {
        let weights = [
            ("shop-canary", canary),
            ("shop-baseline", baseline),
            ("shop-stable", 75),
        ];
        match told(&split, &host(), move |call| Ok(answer(call, &weights))) {
            Verification::Told(told) => told,
            other => panic!("{other:?}"),
        }
    };
    let good = has(20, 5);
    assert!(good.is_verified && good.warnings.is_empty());
    let of = |service: &str| json!({"name": service, "arn": group(service), "fullName": format!("{service}/73e2")});
    let expected = json!([{
        "ingress": "shop",
        "loadBalancer": {"name": "k8s-shop", "arn": BALANCER, "fullName": "k8s-shop/50dc"},
        "canaryTargetGroup": of("shop-canary"),
        "stableTargetGroup": of("shop-stable"),
    }]);
    assert_eq!(serde_json::to_value(&good.albs).unwrap(), expected);
    let other = has(10, 5);
    assert!(!other.is_verified);
    assert_eq!(
        other.warnings[0].message,
        format!(
            "Service shop-canary (TargetGroup {}) not verified: canary weight 20 not yet set (current: 10)",
            group("shop-canary")
        )
    );
    assert!(!has(20, 0).is_verified, "experiments count, too");
}

#[test]
fn a_load_balancer_that_is_not_there_yet_is_not_verified() {
    let nothing = |_: &Call| -> Result<Value, String> { panic!("nothing to ask for") };
    let Verification::Told(Verified { is_verified, .. }) = told(&a_split(20), &json!([]), nothing)
    else {
        panic!("it is known");
    };
    assert!(!is_verified);
    let gone =
        |_: &Call| Err("answered 400: LoadBalancerNotFound: one or more not found".to_owned());
    let Verification::Told(told_of) = told(&a_split(20), &host(), gone) else {
        panic!("it is known");
    };
    assert!(!told_of.is_verified);
    assert_eq!(told_of.warnings[0].reason, "LoadBalancerNotFound");
}

#[test]
fn what_aws_refuses_is_no_verdict() {
    let refused = |_: &Call| Err("answered 403: AccessDenied: not you".to_owned());
    let why = "answered 403: AccessDenied: not you".to_owned();
    assert_eq!(
        told(&a_split(20), &host(), refused),
        Verification::Failed(why)
    );
}
