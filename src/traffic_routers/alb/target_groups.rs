//! What AWS says of a load balancer: its target groups, their tags and their weights.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::object::{Call, Known, Query};

/// Something that AWS has to be asked first, or why it does not answer.
#[derive(Debug)]
pub(super) enum Open {
    Ask(Box<Query>),
    Failed(String),
}

/// A load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoadBalancer {
    pub(super) name: String,
    pub(super) arn: String,
}

/// A target group of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetGroup {
    pub(super) name: String,
    pub(super) arn: String,
    /// By its tag, e.g. `shop/web-shop-canary:80`.
    pub(super) resource: String,
    /// In the last rule that leads to it; none if no rule gives it one.
    pub(super) weight: Option<i64>,
}

/// Tags are asked for so many at a time, as the API allows.
const TAGS_AT_ONCE: usize = 20;

/// The load balancer behind a host name; none if there is none.
pub(super) fn load_balancer(known: &Known, host: &str) -> Result<Option<LoadBalancer>, Open> {
    let Some((name, region)) = name_and_region(host) else {
        return Ok(None);
    };
    let asked = [("Names.member.1".to_owned(), name.to_owned())];
    let found = match all(
        known,
        region,
        "DescribeLoadBalancers",
        "LoadBalancers",
        &asked,
    ) {
        // It is refused to describe what is not there.
        Err(Open::Failed(why)) if why.contains("LoadBalancerNotFound") => return Ok(None),
        found => found?,
    };
    let is_meant = |found: &&Value| text(found, "DNSName").eq_ignore_ascii_case(host);
    Ok(found.iter().find(is_meant).map(|found| LoadBalancer {
        name: text(found, "LoadBalancerName"),
        arn: text(found, "LoadBalancerArn"),
    }))
}

/// The target groups of a load balancer; their resource is in the tag of this key.
pub(super) fn target_groups(
    known: &Known,
    balancer: &LoadBalancer,
    tag: &str,
) -> Result<Vec<TargetGroup>, Open> {
    let region = region_of(&balancer.arn);
    let of_balancer = [("LoadBalancerArn".to_owned(), balancer.arn.clone())];
    let groups = all(
        known,
        region,
        "DescribeTargetGroups",
        "TargetGroups",
        &of_balancer,
    )?;
    let arns: Vec<String> = groups
        .iter()
        .map(|group| text(group, "TargetGroupArn"))
        .collect();
    let resources = resources(known, region, &arns, tag)?;
    let weights = weights(known, region, &of_balancer)?;
    let group = |group: &Value| {
        let arn = text(group, "TargetGroupArn");
        TargetGroup {
            name: text(group, "TargetGroupName"),
            resource: resources.get(&arn).cloned().unwrap_or_default(),
            weight: weights.get(&arn).copied(),
            arn,
        }
    };
    Ok(groups.iter().map(group).collect())
}

fn resources(
    known: &Known,
    region: &str,
    arns: &[String],
    tag: &str,
) -> Result<BTreeMap<String, String>, Open> {
    let mut resources = BTreeMap::new();
    for some in arns.chunks(TAGS_AT_ONCE) {
        let numbered = (1..).zip(some);
        let asked: Vec<(String, String)> = numbered
            .map(|(number, arn)| (format!("ResourceArns.member.{number}"), arn.clone()))
            .collect();
        for described in all(known, region, "DescribeTags", "TagDescriptions", &asked)? {
            let tags = list(&described, "Tags");
            if let Some(found) = tags.iter().find(|found| text(found, "Key") == tag) {
                resources.insert(text(&described, "ResourceArn"), text(found, "Value"));
            }
        }
    }
    Ok(resources)
}

/// The weight of each target group, by the last rule that leads to it.
fn weights(
    known: &Known,
    region: &str,
    of_balancer: &[(String, String)],
) -> Result<BTreeMap<String, i64>, Open> {
    let mut weights = BTreeMap::new();
    for listener in all(known, region, "DescribeListeners", "Listeners", of_balancer)? {
        let asked = [("ListenerArn".to_owned(), text(&listener, "ListenerArn"))];
        for rule in all(known, region, "DescribeRules", "Rules", &asked)? {
            for action in list(&rule, "Actions") {
                for group in list(&action["ForwardConfig"], "TargetGroups") {
                    if let Ok(weight) = text(group, "Weight").parse() {
                        weights.insert(text(group, "TargetGroupArn"), weight);
                    }
                }
            }
        }
    }
    Ok(weights)
}

/// What follows the second slash of a load balancer's ARN, the first one of a target group's.
pub(super) fn full_name(arn: &str) -> String {
    let slashes = if arn.contains(":loadbalancer/") { 2 } else { 1 };
    let name = arn.splitn(slashes + 1, '/').nth(slashes);
    name.unwrap_or_default().to_owned()
}

/// All items of a list that may have several pages.
fn all(
    known: &Known,
    region: &str,
    action: &'static str,
    key: &str,
    parameters: &[(String, String)],
) -> Result<Vec<Value>, Open> {
    let mut items = Vec::new();
    let mut marker = String::new();
    loop {
        let mut parameters = parameters.to_vec();
        if !marker.is_empty() {
            parameters.push(("Marker".to_owned(), marker));
        }
        let call = Call::Elb {
            region: region.to_owned(),
            action,
            parameters,
        };
        let page = match known.answer(&call) {
            None => return Err(Open::Ask(Box::new(Query::Call(call)))),
            Some(Err(why)) => return Err(Open::Failed(why.to_owned())),
            Some(Ok(page)) => page,
        };
        items.extend_from_slice(list(page, key));
        marker = text(page, "NextMarker");
        if marker.is_empty() {
            return Ok(items);
        }
    }
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// `internal-k8s-shop-0a1b-123.eu-west-1.elb.amazonaws.com` → `k8s-shop-0a1b`, `eu-west-1`.
fn name_and_region(host: &str) -> Option<(&str, &str)> {
    let mut labels = host.split('.');
    let first = labels.next()?;
    let (region, service) = (labels.next()?, labels.next()?);
    // In China it is the other way round.
    let region = if service == "elb" { region } else { service };
    let name = first.strip_prefix("internal-").unwrap_or(first);
    let (name, number) = name.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((name, region))
}

fn region_of(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_hosts_and_arns() {
        for (host, expected) in [
            (
                "k8s-shop-0a1b-123.eu-west-1.elb.amazonaws.com",
                Some(("k8s-shop-0a1b", "eu-west-1")),
            ),
            (
                "internal-k8s-shop-123.us-east-1.elb.amazonaws.com",
                Some(("k8s-shop", "us-east-1")),
            ),
            (
                "k8s-shop-123.elb.cn-north-1.amazonaws.com.cn",
                Some(("k8s-shop", "cn-north-1")),
            ),
            ("shop.example.com", None),
            ("localhost", None),
        ] {
            assert_eq!(name_and_region(host), expected, "{host}");
        }
        let balancer = "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/k8s-shop/50dc";
        assert_eq!(full_name(balancer), "k8s-shop/50dc");
        let group = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/k8s-canary/73e2";
        assert_eq!(full_name(group), "k8s-canary/73e2");
        assert_eq!(region_of(group), "eu-west-1");
    }
}
