//! AWS Load Balancer Controller: actions in the annotations of Ingresses.
//!
//! An Ingress names as its backend a Service and, as its port, `use-annotation`; the controller reads
//! the action of that name. Several Rollouts may share an Ingress, and an annotation of it says who
//! has written what.
//!
//! # Source
//! `rollout/trafficrouting/alb` and `ingress/alb.go` of Argo Rollouts. There, routes by header go
//! before the paths of all rules; here only before those that lead to the Rollout's Service.

mod action;
mod ingress;
mod target_groups;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod verified;
mod verify;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use self::action::{Action, TargetGroup, conditions, wrong_stickiness};
use self::ingress::Ingress;
use super::object::{Known, Notice, Place, Query, Resource, Verification, Write};
use super::ports::PortUse;
use super::split::{Pair, Route, Split, Subject};
use super::{Abilities, FIELD, Router, Versions};
use crate::api::{AlbTrafficRouting, Problem, SetHeaderRoute};

const DEFAULT_PREFIX: &str = "alb.ingress.kubernetes.io";
/// How Ingresses named their class before `spec.ingressClassName`.
const CLASS: &str = "kubernetes.io/ingress.class";

pub(super) struct Alb<'a> {
    subject: Subject<'a>,
    settings: &'a AlbTrafficRouting,
    services: Pair<'a>,
    classes: Vec<String>,
    /// The tag that says whose a target group is; none if weights are not verified.
    tag: Option<String>,
}

/// An Ingress that the Rollout names.
struct Named {
    field: String,
    place: Place,
}

impl<'a> Alb<'a> {
    pub(super) fn new(
        subject: &Subject<'a>,
        settings: &'a AlbTrafficRouting,
        versions: &Versions,
    ) -> Self {
        Self {
            subject: subject.clone(),
            settings,
            services: subject.services_in_turn(),
            classes: versions.alb_ingress_classes.clone(),
            tag: versions.alb_verified_by_tag.clone(),
        }
    }

    /// The Service that Ingresses name, and so the name of the action.
    fn root(&self) -> &str {
        match self.settings.root_service.as_str() {
            "" => self.services.stable,
            root => root,
        }
    }

    fn key(&self, kind: &str, name: &str) -> String {
        let prefix = match self.settings.annotation_prefix.as_str() {
            "" => DEFAULT_PREFIX,
            prefix => prefix,
        };
        format!("{prefix}/{kind}.{name}")
    }

    fn named(&self) -> Vec<Named> {
        let one = (!self.settings.ingress.is_empty())
            .then(|| ("ingress".to_owned(), &self.settings.ingress));
        let several = (0..).zip(&self.settings.ingresses);
        let several = several.map(|(index, name)| (format!("ingresses[{index}]"), name));
        let named = one.into_iter().chain(several);
        named
            .map(|(field, name)| Named {
                field: format!("{FIELD}.alb.{field}"),
                place: Place {
                    resource: resource(),
                    namespace: self.subject.namespace.to_owned(),
                    name: name.clone(),
                },
            })
            .collect()
    }

    fn problem(&self, named: &Named, known: &Known) -> Option<Problem> {
        let name = &named.place.name;
        let invalid = |why: String| Some(Problem::invalid(&named.field, name, why));
        let Some(object) = known.get(&named.place) else {
            return invalid(named.place.missing());
        };
        // Ingresses without a class are served, too: ALB may be the default.
        let class = object["metadata"]["annotations"][CLASS].as_str();
        let class = class.or_else(|| object["spec"]["ingressClassName"].as_str());
        let is_ours =
            |class: &&str| class.contains("alb") || self.classes.iter().any(|it| it == class);
        if let Some(class) = class.filter(|class| !is_ours(class)) {
            return invalid(format!(
                "ingress `{name}` is of class `{class}`: expected {} (--alb-ingress-classes), or a \
                 class that has alb in its name",
                self.classes.join(", ")
            ));
        }
        let ingress = self.ingress(object);
        if !ingress.leads_to(self.root()) {
            let root = self.root();
            return invalid(format!(
                "ingress `{name}` has no rules using service {root} backend"
            ));
        }
        None
    }

    fn ingress(&self, object: &Value) -> Ingress<'a> {
        Ingress {
            object: object.clone(),
            rollout: self.subject.name,
        }
    }

    fn group(&self, service: &str, weight: i32) -> TargetGroup {
        TargetGroup {
            service_name: service.to_owned(),
            service_port: self.settings.service_port.to_string(),
            weight: weight.into(),
        }
    }

    fn forward(&self, groups: Vec<TargetGroup>) -> String {
        Action::forward(groups, self.settings.stickiness_config.as_ref()).text()
    }

    fn weights(&self, split: &Split) -> String {
        let mut groups = vec![self.group(self.services.canary, split.canary())];
        let additional = split.additional().iter();
        groups.extend(additional.map(|part| self.group(&part.service_name, part.weight)));
        groups.push(self.group(self.services.stable, split.stable()));
        self.forward(groups)
    }

    /// An Ingress as it should be.
    fn divided(&self, before: &Value, split: &Split) -> Result<Value, String> {
        let mut ingress = self.ingress(before);
        if !ingress.leads_to(self.root()) {
            return Err(format!(
                "ingress does not have service `{}` in rules",
                self.root()
            ));
        }
        let routes = by_header(split);
        let mut wanted = vec![(self.key("actions", self.root()), self.weights(split))];
        for route in &routes {
            let action = self.forward(vec![self.group(self.services.canary, 100)]);
            wanted.push((self.key("actions", &route.name), action));
            wanted.push((self.key("conditions", &route.name), conditions(route)));
        }
        for (key, _) in &wanted {
            if let Some(other) = ingress.other_writer(key) {
                let name = before["metadata"]["name"].as_str().unwrap_or_default();
                return Err(format!(
                    "annotation `{key}` of ingress `{name}` is the Rollout `{other}`'s"
                ));
            }
        }
        let mut former = ingress.written();
        former.retain(|key| !wanted.iter().any(|(wanted, _)| wanted == key));
        ingress.give_up(&former);
        let keys = wanted.iter().map(|(key, _)| key.clone()).collect();
        for (key, text) in wanted {
            ingress.annotate(&key, text);
        }
        ingress.set_written(keys);
        let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        if !names.is_empty() {
            let root = self.root().to_owned();
            ingress.put_before(&root, &names);
        }
        Ok(ingress.object)
    }
}

pub(super) fn resource() -> Resource {
    Resource {
        group: "networking.k8s.io".to_owned(),
        version: "v1".to_owned(),
        kind: "Ingress",
        plural: "ingresses",
    }
}

fn update(named: Named, before: &Arc<Value>, after: Value, weight: i32) -> Option<Write> {
    let notice = Notice {
        reason: "PatchingALBIngress",
        message: format!(
            "Updating Ingress `{}` to desiredWeight '{weight}'",
            named.place.name
        ),
    };
    Write::update(named.place, before, after, notice)
}

/// The routes by header; a load balancer cannot mirror.
fn by_header(split: &Split) -> Vec<&SetHeaderRoute> {
    let routes = split.routes.iter();
    routes
        .filter_map(|route| match route {
            Route::Header(route) => Some(route),
            Route::Mirror(_) => None,
        })
        .collect()
}

impl Router for Alb<'_> {
    fn name(&self) -> &'static str {
        "ALB"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            mirrors: false,
            ..Abilities::ALL
        }
    }

    fn queries(&self, _: &Known) -> Vec<Query> {
        let named = self.named().into_iter();
        named.map(|named| Query::One(named.place)).collect()
    }

    fn problems(&self, known: &Known) -> Vec<Problem> {
        let mut problems = Vec::new();
        let field = format!("{FIELD}.alb");
        let (one, several) = (&self.settings.ingress, &self.settings.ingresses);
        if one.is_empty() == several.is_empty() {
            let which = if one.is_empty() { "Neither" } else { "Both" };
            let why = format!(
                "Internal error: Either Ingress or Ingresses must be configured. {which} are configured."
            );
            problems.push(Problem::new(&field, why));
        }
        if let Some(why) = wrong_stickiness(self.settings.stickiness_config.as_ref()) {
            let seconds = self
                .settings
                .stickiness_config
                .as_ref()
                .map_or(0, |it| it.duration_seconds);
            let field = format!("{field}.stickinessConfig.durationSeconds");
            problems.push(Problem::invalid(field, seconds, why));
        }
        let named = self.named();
        problems.extend(named.iter().filter_map(|named| self.problem(named, known)));
        problems
    }

    /// Whether there is a Service for the name of the action does not matter: nobody looks for it.
    fn ports(&self, _: &Known) -> BTreeSet<PortUse> {
        let field = format!("{FIELD}.alb.servicePort");
        let port = self.settings.service_port;
        let Pair { canary, stable } = self.services;
        let ports = [canary, stable]
            .map(|service| PortUse::of(&field, &port.to_string(), service, &port.into()));
        ports.into_iter().flatten().collect()
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        if let Some(why) = wrong_stickiness(self.settings.stickiness_config.as_ref()) {
            return Err(why.to_owned());
        }
        let percent = split.in_percent();
        let mut writes = Vec::new();
        for named in self.named() {
            let before = known
                .get(&named.place)
                .ok_or_else(|| named.place.missing())?;
            let after = self.divided(before, &percent)?;
            writes.extend(update(named, before, after, split.canary()));
        }
        Ok(writes)
    }

    fn verify(&self, known: &Known, split: &Split) -> Verification {
        let tag = self.tag.as_ref();
        tag.map_or(Verification::NotApplicable, |tag| {
            self.verified(known, split, tag)
        })
    }

    fn release(&self, known: &Known) -> Vec<Write> {
        let released = self.named().into_iter().filter_map(|named| {
            let before = known.get(&named.place)?;
            let after = released(before, self.subject.name);
            update(named, before, after, 0)
        });
        released.collect()
    }
}

/// An Ingress without what a Rollout has written into it.
pub(super) fn released(ingress: &Value, rollout: &str) -> Value {
    let mut ingress = Ingress {
        object: ingress.clone(),
        rollout,
    };
    let written = ingress.written();
    ingress.give_up(&written);
    ingress.set_written(vec![]);
    ingress.object
}
