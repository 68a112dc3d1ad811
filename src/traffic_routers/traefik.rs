//! Traefik: the weights of a `TraefikService`.
//!
//! # Source
//! `rollout/trafficrouting/traefik` of Argo Rollouts.

use std::collections::BTreeSet;

use serde_json::Value;

use super::object::{Known, Notice, Place, Query, Resource, Write, set_weight};
use super::ports::PortUse;
use super::split::{Pair, Split, Subject};
use super::{FIELD, Router, Versions};
use crate::api::{Problem, TraefikTrafficRouting};

pub(super) struct Traefik<'a> {
    place: Place,
    services: Pair<'a>,
}

pub(super) fn resource(versions: &Versions) -> Resource {
    let (group, version) = versions.traefik.clone();
    Resource {
        group,
        version,
        kind: "TraefikService",
        plural: "traefikservices",
    }
}

impl<'a> Traefik<'a> {
    pub(super) fn new(
        subject: &Subject<'a>,
        settings: &TraefikTrafficRouting,
        versions: &Versions,
    ) -> Self {
        Self {
            place: Place {
                resource: resource(versions),
                namespace: subject.namespace.to_owned(),
                name: settings.weighted_traefik_service_name.clone(),
            },
            services: subject.services(),
        }
    }
}

impl Router for Traefik<'_> {
    fn name(&self) -> &'static str {
        "Traefik"
    }

    fn queries(&self, _: &Known) -> Vec<Query> {
        vec![Query::One(self.place.clone())]
    }

    fn problems(&self, known: &Known) -> Vec<Problem> {
        let field = format!("{FIELD}.traefik.weightedTraefikServiceName");
        let name = &self.place.name;
        let Some(object) = known.get(&self.place) else {
            return vec![Problem::invalid(field, name, "TraefikService not found")];
        };
        let Some(services) = object
            .pointer("/spec/weighted/services")
            .and_then(Value::as_array)
        else {
            let why = "spec.weighted.services was not found in traefik service manifest";
            return vec![Problem::invalid(field, name, why)];
        };
        let named = |wanted: &str| services.iter().any(|one| one["name"] == wanted);
        let Pair { canary, stable } = self.services;
        [("canary", canary), ("stable", stable)]
            .into_iter()
            .filter(|(_, service)| !named(service))
            .map(|(role, service)| {
                let why = format!("traefik {role} service `{service}` was not found");
                Problem::invalid(&field, name, why)
            })
            .collect()
    }

    fn ports(&self, known: &Known) -> BTreeSet<PortUse> {
        let field = format!("{FIELD}.traefik.weightedTraefikServiceName");
        let services = known.get(&self.place);
        let services = services.and_then(|object| object.pointer("/spec/weighted/services"));
        let services = services.and_then(Value::as_array).into_iter().flatten();
        let Pair { canary, stable } = self.services;
        let ours = services.filter(|one| one.get("kind").is_none_or(|kind| kind == "Service"));
        let ours = ours.filter_map(|one| {
            let name = one["name"].as_str()?;
            let port = PortUse::of(&field, &self.place.name, name, &one["port"]);
            port.filter(|_| [canary, stable].contains(&name))
        });
        ours.collect()
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        let Some(before) = known.get(&self.place) else {
            return Err(format!("TraefikService `{}` not found", self.place.name));
        };
        let mut after = Value::clone(before);
        let services = after.pointer_mut("/spec/weighted/services");
        for service in services.and_then(Value::as_array_mut).into_iter().flatten() {
            let weight = match service["name"].as_str() {
                Some(name) if name == self.services.canary => split.canary(),
                Some(name) if name == self.services.stable => split.stable(),
                _ => continue,
            };
            set_weight(service, weight, None);
        }
        let notice = Notice {
            reason: "UpdatedTraefikService",
            message: format!(
                "TraefikService `{}` set to desiredWeight '{}'",
                self.place.name,
                split.canary()
            ),
        };
        let write = Write::update(self.place.clone(), before, after, notice);
        Ok(write.into_iter().collect())
    }

    fn release(&self, known: &Known) -> Vec<Write> {
        self.route(known, &Split::undivided()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{World, a_split, any_split};

    const CANARY: &str = "
canaryService: shop-canary
stableService: shop-stable
trafficRouting: {traefik: {weightedTraefikServiceName: shop}}
";
    const SERVICE: &str = "
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: shop}
spec:
  weighted:
    sticky: {cookie: {name: side}}
    services:
    - {name: shop-stable, port: 80}
    - {name: legacy, port: 80, weight: 3}
    - {name: shop-canary, port: 80}
";

    #[test]
    fn the_weights_of_both_services_are_set() {
        let mut world = World::new(CANARY, SERVICE);
        let story = [
            ("20 percent", world.route(&a_split(20))),
            ("the same again", world.route(&a_split(20))),
            ("released", world.release()),
        ];
        insta::assert_snapshot!(World::story(&story));
    }

    #[test]
    fn what_is_missing_names_itself() {
        let without = |removed: &str| SERVICE.replace(removed, "else");
        let problems = [
            World::new(CANARY, "").problems(),
            World::new(CANARY, &without("weighted")).problems(),
            World::new(CANARY, &without("shop-stable")).problems(),
            World::new(CANARY, &without("services")).problems(),
            World::new(CANARY, SERVICE).problems(),
        ];
        insta::assert_snapshot!(problems.join("\n"));
        let missing = World::new(CANARY, "").writes(&a_split(20));
        assert_eq!(missing, Err("TraefikService `shop` not found".to_owned()));
    }

    proptest! {
        #[test]
        fn it_settles_and_leaves_the_rest_alone(splits in prop::collection::vec(any_split(), 1..5)) {
            let mut world = World::new(CANARY, SERVICE);
            for split in splits {
                world.settle(&split, 1);
                let services = &world.objects[0]["spec"]["weighted"]["services"];
                prop_assert_eq!(&services[0]["weight"], split.stable());
                prop_assert_eq!(&services[1]["weight"], 3);
                prop_assert_eq!(&services[2]["weight"], split.canary());
            }
        }
    }
}
