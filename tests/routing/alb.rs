//! Stories of AWS Load Balancer Controller: Services that take turns, and load balancers that are asked
//! whether they have the weights.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use axum::body::to_bytes;
use axum::extract::Request;
use kube::api::{Patch, PatchParams};
use verdict::aws::{Aws, Environment};
use verdict::http::Http;
use verdict::traffic_routers::Versions;

use super::*;
use crate::world::routers::{alb, alb_in_turns};

#[tokio::test(start_paused = true)]
async fn services_take_turns_and_none_is_led_elsewhere_while_it_has_traffic() {
    let router = alb_in_turns();
    let (world, _running) = running(&router).await;
    let parts = async || router.weights(&world).await;
    // The first version is behind `ping`: parts are those of `pong` and of `ping`.
    assert_eq!(parts().await, (0, 100));
    let first = world.fewest_pods_behind("ping");
    world.release("web:2").await;
    until_paused_at(&world, 20).await;
    assert_eq!(parts().await, (20, 80));
    assert_eq!(world.behind("pong").await, pods(&[("web:2", 2)]));
    world.operate(&operations::abort()).await;
    world.until_taken_back().await;
    assert_eq!(parts().await, (0, 100));
    assert_eq!(world.behind("ping").await, pods(&[("web:1", 10)]));
    world.merge_status(json!({ "abort": false })).await;
    until_paused_at(&world, 20).await;
    assert_eq!(first.load(Ordering::Relaxed), 10);
    promote(&world).await;
    until_paused_at(&world, 50).await;
    promote(&world).await;
    world.until_phase(RolloutPhase::Healthy).await;
    is_at_rest(&world).await;
    assert_eq!(parts().await, (100, 0));
    assert_eq!(world.behind("pong").await, pods(&[("web:2", 10)]));
    // Back to the other side.
    let second = world.fewest_pods_behind("pong");
    world.release("web:3").await;
    until_paused_at(&world, 20).await;
    assert_eq!(parts().await, (80, 20));
    assert_eq!(world.behind("ping").await, pods(&[("web:3", 2)]));
    world.operate(&operations::abort()).await;
    world.until_taken_back().await;
    is_at_rest(&world).await;
    assert_eq!(parts().await, (100, 0));
    assert_eq!(second.load(Ordering::Relaxed), 10);
}

const BALANCER: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/k8s-web/50dc";
const HOST: &str = "k8s-web-123.eu-west-1.elb.amazonaws.com";
const INGRESSES: [&str; 2] = ["alb", "alb-inner"];

/// A load balancer of both Ingresses. It has the weights that it is told, not those that it should
/// have.
#[derive(Clone, Default)]
struct Balancer {
    /// The new version's part.
    canary: Arc<Mutex<i64>>,
    /// Why nothing is answered.
    refusal: Arc<Mutex<Option<&'static str>>>,
}

impl Balancer {
    fn set(&self, canary: i64) {
        *self.canary.lock().unwrap() = canary;
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

/// Version 1 of `web` runs behind a load balancer that is asked for its weights.
async fn verified_by(balancer: &Balancer) -> (World, Running) {
    let router = alb();
    let world = installed(&router).await;
    for ingress in INGRESSES {
        let hosts = json!({ "loadBalancer": { "ingress": [{ "hostname": HOST }] } });
        let patch = Patch::Merge(json!({ "status": hosts }));
        let params = PatchParams::default();
        let ingresses = world.api_of(INGRESS);
        ingresses
            .patch_status(ingress, &params, &patch)
            .await
            .unwrap();
    }
    let keys = |name: &str| name.starts_with("AWS_").then(|| "key".to_owned());
    let http = Http::in_process(balancer.router());
    let tag = "ingress.k8s.aws/resource".to_owned();
    let versions = Versions {
        alb_verified_by_tag: Some(tag),
        ..Versions::default()
    };
    let running = World::start_rollouts_with(Setup {
        aws: Some(Aws::new(Environment::read(keys), http, world.clock.clone())),
        versions: versions.into(),
        ..world.setup_as(PROGRAM)
    });
    start(&world, &router).await;
    (world, running)
}

async fn until_unverified_at(world: &World, weight: i32) -> RolloutStatus {
    let is_so = |status: &RolloutStatus| {
        let weights = status.canary.weights.as_ref();
        weights.is_some_and(|it| it.canary.weight == weight && it.verified == Some(false))
    };
    world.until_status(is_so).await
}

#[tokio::test(start_paused = true)]
async fn a_weight_holds_its_step_until_the_load_balancer_has_it() {
    let balancer = Balancer::default();
    let (world, _running) = verified_by(&balancer).await;
    world.release("web:2").await;
    until_unverified_at(&world, 20).await;
    seconds(300).await;
    assert_eq!(world.status().await.current_step_index, Some(0));
    let told = world.messages("TargetGroupUnverified").await;
    let expected = "not verified: canary weight 20 not yet set (current: 0)";
    assert_eq!(told.len(), 2, "one for each Ingress: {told:?}");
    assert!(told.iter().all(|told| told.ends_with(expected)), "{told:?}");
    balancer.set(20);
    until_paused_at(&world, 20).await;
    let status = world.status().await;
    assert_eq!(status.canary.weights.unwrap().verified, Some(true));
    let albs: Vec<&str> = status.albs.iter().map(|alb| alb.ingress.as_str()).collect();
    assert_eq!(albs, INGRESSES);
    let group = status.alb.unwrap().canary_target_group.unwrap();
    assert_eq!(group.name, "alb-inner-canary");
    // To the end: nothing goes and nobody is promoted before it is confirmed.
    promote(&world).await;
    until_unverified_at(&world, 50).await;
    balancer.set(50);
    until_paused_at(&world, 50).await;
    promote(&world).await;
    until_unverified_at(&world, 100).await;
    seconds(300).await;
    let all = pods(&[("web:1", 10), ("web:2", 10)]);
    assert_eq!(world.ready_pods().await, all);
    balancer.set(100);
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(120).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:2", 10)]));
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_an_aborted_version_stay_while_the_load_balancer_leads_to_them() {
    let balancer = Balancer::default();
    let (world, _running) = verified_by(&balancer).await;
    world.release("web:2").await;
    until_unverified_at(&world, 20).await;
    balancer.set(20);
    until_paused_at(&world, 20).await;
    world.operate(&operations::abort()).await;
    seconds(300).await;
    assert_eq!(alb().weights(&world).await, (0, 100));
    let both = pods(&[("web:1", 10), ("web:2", 2)]);
    assert_eq!(world.ready_pods().await, both);
    balancer.set(0);
    seconds(120).await;
    assert_eq!(world.ready_pods().await, pods(&[("web:1", 10)]));
    is_at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_that_refuses_to_tell_is_told_once_and_asked_again() {
    let balancer = Balancer::default();
    let (world, _running) = verified_by(&balancer).await;
    *balancer.refusal.lock().unwrap() = Some("AccessDenied");
    world.release("web:2").await;
    until_unverified_at(&world, 20).await;
    seconds(300).await;
    let why = "ALB: cannot DescribeLoadBalancers in eu-west-1: answered 403: AccessDenied: not you";
    assert_eq!(world.messages("WeightVerifyError").await, [why]);
    let status = world.status().await;
    assert_eq!(status.current_step_index, Some(0));
    let mut waits = status.conditions.iter();
    assert!(
        waits.any(|it| it.message.contains(why)),
        "{:?}",
        status.conditions
    );
    *balancer.refusal.lock().unwrap() = None;
    balancer.set(20);
    until_paused_at(&world, 20).await;
}
