//! The API of AWS' load balancers, as stories play it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use axum::body::to_bytes;
use axum::extract::Request;
use verdict::aws::{Aws, Environment};
use verdict::http::Http;
use verdict::traffic_routers::Versions;

use super::*;
use crate::world::routers::Kind;

/// Which target group is filled with the pods of which Service.
pub(super) const BINDING: Kind = Kind(
    "elbv2.k8s.aws/v1beta1",
    "TargetGroupBinding",
    "targetgroupbindings",
);

const BALANCER: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/k8s-web/50dc";
pub(super) const HOST: &str = "k8s-web-123.eu-west-1.elb.amazonaws.com";
pub(super) const INGRESSES: [&str; 2] = ["alb", "alb-inner"];

/// A load balancer of both Ingresses. It has the weights that it is told, not those that it should
/// have.
#[derive(Clone, Default)]
pub(super) struct Balancer {
    /// The new version's part.
    canary: Arc<Mutex<i64>>,
    /// Why nothing is answered.
    refusal: Arc<Mutex<Option<&'static str>>>,
    /// Address and port of what is registered in its target groups.
    targets: Arc<Mutex<Vec<(String, i32)>>>,
}

impl Balancer {
    pub(super) fn set(&self, canary: i64) {
        *self.canary.lock().unwrap() = canary;
    }

    pub(super) fn refuse(&self, why: Option<&'static str>) {
        *self.refusal.lock().unwrap() = why;
    }

    pub(super) fn register(&self, targets: &[(String, i32)]) {
        *self.targets.lock().unwrap() = targets.to_vec();
    }

    /// Controllers that ask it for everything that can be asked.
    pub(super) fn setup(&self, world: &World) -> Setup {
        let keys = |name: &str| name.starts_with("AWS_").then(|| "key".to_owned());
        let http = Http::in_process(self.router());
        let versions = Versions {
            alb_verified_by_tag: Some("ingress.k8s.aws/resource".to_owned()),
            target_group_bindings: Some(("elbv2.k8s.aws".to_owned(), "v1beta1".to_owned())),
            ..Versions::default()
        };
        Setup {
            aws: Some(Aws::new(Environment::read(keys), http, world.clock.clone())),
            versions: versions.into(),
            ..world.setup_as(PROGRAM)
        }
    }

    /// Each target group: Ingress, Service and weight.
    fn groups(&self) -> Vec<(&'static str, &'static str, i64)> {
        let canary = *self.canary.lock().unwrap();
        let of = |ingress| {
            [
                (ingress, "canary", canary),
                (ingress, "stable", 100 - canary),
            ]
        };
        INGRESSES.into_iter().flat_map(of).collect()
    }

    fn answer(&self, action: &str) -> Value {
        let arn = |ingress: &str, service: &str| {
            format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{ingress}-{service}/1")
        };
        let groups = self.groups();
        match action {
            "DescribeLoadBalancers" => json!({ "LoadBalancers": [{
                "LoadBalancerName": "k8s-web", "LoadBalancerArn": BALANCER, "DNSName": HOST,
            }] }),
            "DescribeTargetGroups" => {
                let named = groups.iter().map(|(ingress, service, _)| {
                    let name = format!("{ingress}-{service}");
                    json!({ "TargetGroupName": name, "TargetGroupArn": arn(ingress, service) })
                });
                json!({ "TargetGroups": named.collect::<Vec<_>>() })
            }
            "DescribeTags" => {
                let tagged = groups.iter().map(|(ingress, service, _)| {
                    let resource = format!("default/{ingress}-{service}:80");
                    let tag = json!({ "Key": "ingress.k8s.aws/resource", "Value": resource });
                    json!({ "ResourceArn": arn(ingress, service), "Tags": [tag] })
                });
                json!({ "TagDescriptions": tagged.collect::<Vec<_>>() })
            }
            "DescribeListeners" => json!({ "Listeners": [{ "ListenerArn": "listener" }] }),
            "DescribeRules" => {
                let parts = groups.iter().map(|(ingress, service, weight)| {
                    json!({ "TargetGroupArn": arn(ingress, service), "Weight": weight })
                });
                let parts = json!({ "TargetGroups": parts.collect::<Vec<_>>() });
                json!({ "Rules": [{ "Actions": [{ "ForwardConfig": parts }] }] })
            }
            "DescribeTargetHealth" => {
                let targets = self.targets.lock().unwrap();
                let described = targets.iter().map(|(address, port)| {
                    let target = json!({ "Id": address, "Port": port });
                    json!({ "Target": target, "TargetHealth": { "State": "unhealthy" } })
                });
                json!({ "TargetHealthDescriptions": described.collect::<Vec<_>>() })
            }
            other => panic!("{other} is not asked"),
        }
    }

    fn router(&self) -> axum::Router {
        let balancer = self.clone();
        axum::Router::new().fallback(move |request: Request| {
            let balancer = balancer.clone();
            async move {
                let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let mut fields = body.split('&').filter_map(|field| field.split_once('='));
                let (_, action) = fields.find(|(name, _)| *name == "Action").unwrap();
                if let Some(why) = *balancer.refusal.lock().unwrap() {
                    let error = json!({ "Error": { "Code": why, "Message": "not you" } });
                    return (axum::http::StatusCode::FORBIDDEN, element("E", &error));
                }
                let mut answer = BTreeMap::new();
                answer.insert(format!("{action}Result"), balancer.answer(action));
                (axum::http::StatusCode::OK, element("R", &json!(answer)))
            }
        })
    }
}

/// JSON as AWS writes it: the items of a list are `member`s.
fn element(name: &str, value: &Value) -> String {
    let mut inner = String::new();
    match value {
        Value::Array(items) => inner.extend(items.iter().map(|item| element("member", item))),
        Value::Object(fields) => inner.extend(fields.iter().map(|(key, it)| element(key, it))),
        Value::String(text) => inner.push_str(text),
        other => write!(inner, "{other}").unwrap(),
    }
    format!("<{name}>{inner}</{name}>")
}
