//! Whether load balancers have the weights that Ingresses ask for.
//!
//! # Source
//! `VerifyWeight` in `rollout/trafficrouting/alb` of Argo Rollouts. There a load balancer that has
//! not been made yet counts as one with another weight, as here.

use super::super::object::{Findings, Known, Notice, Verification};
use super::super::split::Split;
use super::target_groups::{
    LoadBalancer, Open, TargetGroup, full_name, load_balancer, target_groups,
};
use super::{Alb, Named};
use crate::api::{AlbStatus, AwsResource};

impl Alb<'_> {
    /// Whether each Ingress' load balancers have these weights.
    pub(super) fn verified(&self, known: &Known, split: &Split, tag: &str) -> Verification {
        let percent = split.in_percent();
        let mut findings = Findings::default();
        for named in self.named() {
            let mut status = AlbStatus {
                ingress: named.place.name.clone(),
                ..AlbStatus::default()
            };
            let hosts = hosts(&named, known);
            findings.differs |= hosts.is_empty();
            for host in hosts {
                match look_at(&host, &named, known, tag) {
                    Ok(Some((balancer, groups))) => {
                        self.note(&named, &balancer, &groups, &mut status);
                        self.compare(&named, &groups, &percent, &mut findings);
                    }
                    Ok(None) => {
                        findings.differs = true;
                        findings.told.warnings.push(Notice {
                            reason: "LoadBalancerNotFound",
                            message: format!("Failed to find load balancer: {host}"),
                        });
                    }
                    Err(Open::Ask(query)) => findings.open.push(*query),
                    Err(Open::Failed(why)) => findings.failures.push(why),
                }
            }
            findings.told.albs.push(status);
        }
        findings.concluded()
    }

    /// How AWS Load Balancer Controller tags the target group of a Service.
    fn resource(&self, named: &Named, service: &str) -> String {
        let (namespace, ingress) = (&named.place.namespace, &named.place.name);
        format!(
            "{namespace}/{ingress}-{service}:{}",
            self.settings.service_port
        )
    }

    fn note(
        &self,
        named: &Named,
        balancer: &LoadBalancer,
        groups: &[TargetGroup],
        status: &mut AlbStatus,
    ) {
        let resource = |name: &str, arn: &str| AwsResource {
            name: name.to_owned(),
            arn: arn.to_owned(),
            full_name: full_name(arn),
            ..AwsResource::default()
        };
        let group = |service: &str| {
            let wanted = self.resource(named, service);
            let mut found = groups.iter();
            let found = found.find(|group| group.resource == wanted);
            found.map(|group| resource(&group.name, &group.arn))
        };
        status.load_balancer = Some(resource(&balancer.name, &balancer.arn));
        status.canary_target_group = group(self.services.canary);
        status.stable_target_group = group(self.services.stable);
    }

    fn compare(
        &self,
        named: &Named,
        groups: &[TargetGroup],
        split: &Split,
        findings: &mut Findings,
    ) {
        let additional = split.additional().iter();
        let additional = additional.map(|part| (part.service_name.as_str(), part.weight));
        for (service, wanted) in [(self.services.canary, split.canary())]
            .into_iter()
            .chain(additional)
        {
            let resource = self.resource(named, service);
            let found = groups.iter().find(|group| group.resource == resource);
            let weight = found.and_then(|group| group.weight);
            if weight != Some(wanted.into()) {
                findings.differs = true;
            }
            let (Some(group), Some(weight)) = (found, weight) else {
                continue;
            };
            let about = format!("Service {service} (TargetGroup {})", group.arn);
            if weight == i64::from(wanted) {
                findings.told.notices.push(Notice {
                    reason: "TargetGroupVerified",
                    message: format!("{about} verified: canary weight {wanted} set"),
                });
            } else {
                findings.told.warnings.push(Notice {
                    reason: "TargetGroupUnverified",
                    message: format!(
                        "{about} not verified: canary weight {wanted} not yet set (current: {weight})"
                    ),
                });
            }
        }
    }
}

/// The host names under which an Ingress is served.
fn hosts(named: &Named, known: &Known) -> Vec<String> {
    let served = known.get(&named.place);
    let served =
        served.and_then(|object| object.pointer("/status/loadBalancer/ingress")?.as_array());
    let hosts = served
        .into_iter()
        .flatten()
        .filter_map(|one| one["hostname"].as_str());
    hosts.map(str::to_owned).collect()
}

/// A load balancer, and its target groups for an Ingress.
fn look_at(
    host: &str,
    named: &Named,
    known: &Known,
    tag: &str,
) -> Result<Option<(LoadBalancer, Vec<TargetGroup>)>, Open> {
    let Some(balancer) = load_balancer(known, host)? else {
        return Ok(None);
    };
    let mut groups = target_groups(known, &balancer, tag)?;
    // A load balancer may serve other Ingresses, too.
    let ours = format!("{}/{}-", named.place.namespace, named.place.name);
    groups.retain(|group| group.resource.starts_with(&ours));
    Ok(Some((balancer, groups)))
}
