//! Traefik: the weights of a `TraefikService`.
//!
//! # Source
//! `rollout/trafficrouting/traefik` of Argo Rollouts.

use serde_json::Value;

use super::object::{Known, Notice, Place, Query, Resource, Write};
use super::split::{Pair, Split, Subject};
use super::{FIELD, Router, Versions};
use crate::api::{Problem, TraefikTrafficRouting};

pub(super) struct Traefik<'a> {
    place: Place,
    services: Pair<'a>,
}

impl<'a> Traefik<'a> {
    pub(super) fn new(
        subject: &Subject<'a>,
        settings: &TraefikTrafficRouting,
        versions: &Versions,
    ) -> Self {
        let (group, version) = versions.traefik.clone();
        let resource = Resource {
            group,
            version,
            kind: "TraefikService",
            plural: "traefikservices",
        };
        Self {
            place: Place {
                resource,
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
            service["weight"] = weight.into();
        }
        let notice = Notice {
            reason: "UpdatedTraefikService",
            message: format!(
                "TraefikService `{}` set to desiredWeight '{}'",
                self.place.name,
                split.canary()
            ),
        };
        Ok(Write::update(self.place.clone(), before, after, notice)
            .into_iter()
            .collect())
    }
}
