//! Ambassador (Emissary): a second Mapping beside each, with a weight, for as long as the new version
//! gets something.
//!
//! # Source
//! `rollout/trafficrouting/ambassador` of Argo Rollouts.

use std::collections::BTreeSet;

use serde_json::Value;

use super::object::{Known, Notice, Place, Query, Resource, Write, member, set_weight};
use super::ports::PortUse;
use super::split::{Pair, Split, Subject, controller};
use super::{FIELD, Router, Versions};
use crate::api::{AmbassadorTrafficRouting, Problem};

pub(super) struct Ambassador<'a> {
    subject: Subject<'a>,
    mappings: Vec<Mapping>,
}

struct Mapping {
    base: Place,
    canary: Place,
}

impl<'a> Ambassador<'a> {
    pub(super) fn new(
        subject: &Subject<'a>,
        settings: &AmbassadorTrafficRouting,
        versions: &Versions,
    ) -> Self {
        let (group, version) = versions.ambassador.clone();
        let (kind, plural) = match group.as_str() {
            "x.getambassador.io" => ("AmbassadorMapping", "ambassadormappings"),
            _ => ("Mapping", "mappings"),
        };
        let resource = Resource {
            group,
            version,
            kind,
            plural,
        };
        let place = |name: String| Place {
            resource: resource.clone(),
            namespace: subject.namespace.to_owned(),
            name,
        };
        let mapping = |name: &String| Mapping {
            base: place(name.clone()),
            canary: place(canary_name(name)),
        };
        Self {
            subject: subject.clone(),
            mappings: settings.mappings.iter().map(mapping).collect(),
        }
    }

    /// Whether a second Mapping is the Rollout's, or one that Argo Rollouts made for it: those have no
    /// owner.
    fn is_ours(&self, second: &Value) -> bool {
        let leads_to_canary = || service(second).contains(&self.subject.canary.canary_service);
        self.subject.controls(second) || controller(second).is_none() && leads_to_canary()
    }

    /// The second Mapping with this weight, which is more than nothing.
    fn weighted(
        &self,
        known: &Known,
        mapping: &Mapping,
        weight: i32,
    ) -> Result<Option<Write>, String> {
        let name = &mapping.base.name;
        let Some(base) = known.get(&mapping.base) else {
            return Err(format!("Ambassador mapping \"{name}\" not found"));
        };
        if has_weight(base) {
            return Err(can_not_define_weight(name));
        }
        let place = mapping.canary.clone();
        let Some(before) = known.get(&place) else {
            let mut object = self.subject.object(&place);
            object["spec"] = base["spec"].clone();
            self.lead_to_canary(&mut object, base, weight);
            let notice = Some(notice(weight));
            return Ok(Some(Write::Create {
                place,
                object,
                notice,
            }));
        };
        if !self.is_ours(before) {
            let name = &place.name;
            return Err(format!(
                "Ambassador mapping \"{name}\" was not made for the Rollout"
            ));
        }
        let mut after = Value::clone(before);
        if !self.subject.controls(before) {
            let mut own = self.subject.object(&place);
            member(&mut after, "metadata")["ownerReferences"] =
                own["metadata"]["ownerReferences"].take();
        }
        self.lead_to_canary(&mut after, base, weight);
        Ok(Write::update(place, before, after, notice(weight)))
    }

    /// Labels are copied, as hosts may choose Mappings by them.
    fn lead_to_canary(&self, second: &mut Value, base: &Value, weight: i32) {
        if let Some(Value::Object(labels)) = base.pointer("/metadata/labels") {
            let copies = member(member(second, "metadata"), "labels");
            for (key, value) in labels {
                *member(copies, key) = value.clone();
            }
        }
        let services = self.subject.services();
        let led = service(base).replacen(services.stable, services.canary, 1);
        let spec = member(second, "spec");
        *member(spec, "service") = led.into();
        set_weight(spec, weight, None);
    }

    /// Nothing for the new version: the second Mapping goes.
    fn without(&self, known: &Known, mapping: &Mapping) -> Option<Write> {
        let found = known.get(&mapping.canary);
        let ours = found.filter(|found| self.is_ours(found))?;
        Some(Write::delete(mapping.canary.clone(), ours, notice(0)))
    }

    fn problem(&self, known: &Known, mapping: &Mapping) -> Option<String> {
        let Some(base) = known.get(&mapping.base) else {
            return Some(mapping.base.missing());
        };
        let name = &mapping.base.name;
        let stable = &self.subject.canary.stable_service;
        if has_weight(base) {
            return Some(can_not_define_weight(name));
        }
        (!service(base).contains(stable.as_str())).then(|| {
            format!(
                "Ambassador mapping \"{name}\" leads to `{}`, not to the stable Service `{stable}`",
                service(base)
            )
        })
    }
}

impl Router for Ambassador<'_> {
    fn name(&self) -> &'static str {
        "Ambassador"
    }

    fn queries(&self, _: &Known) -> Vec<Query> {
        let places = |mapping: &Mapping| [mapping.base.clone(), mapping.canary.clone()];
        let places = self.mappings.iter().flat_map(places);
        places.map(Query::One).collect()
    }

    fn problems(&self, known: &Known) -> Vec<Problem> {
        let field = format!("{FIELD}.ambassador.mappings");
        if self.mappings.is_empty() {
            let why = "Invalid value: null: must provide at least one mapping";
            return vec![Problem::new(field, why)];
        }
        let mappings = self.mappings.iter().enumerate();
        let problem = |(index, mapping): (usize, &Mapping)| {
            let why = self.problem(known, mapping)?;
            let field = format!("{field}[{index}]");
            Some(Problem::invalid(field, &mapping.base.name, why))
        };
        mappings.filter_map(problem).collect()
    }

    fn ports(&self, known: &Known) -> BTreeSet<PortUse> {
        let Pair { canary, stable } = self.subject.services();
        let mut ports = BTreeSet::new();
        for (index, mapping) in self.mappings.iter().enumerate() {
            let field = format!("{FIELD}.ambassador.mappings[{index}]");
            let led = known
                .get(&mapping.base)
                .and_then(|base| port(service(base)));
            // The second Mapping has the same port.
            for service in [canary, stable] {
                let port = led.map(Value::from);
                let port =
                    port.and_then(|it| PortUse::of(&field, &mapping.base.name, service, &it));
                ports.extend(port);
            }
        }
        ports
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        let mappings = self.mappings.iter();
        let write = |mapping| match split.in_percent().canary() {
            weight if weight > 0 => self.weighted(known, mapping, weight),
            _ => Ok(self.without(known, mapping)),
        };
        mappings
            .filter_map(|mapping| write(mapping).transpose())
            .collect()
    }

    fn release(&self, known: &Known) -> Vec<Write> {
        let mappings = self.mappings.iter();
        mappings
            .filter_map(|mapping| self.without(known, mapping))
            .collect()
    }
}

/// # Source
/// `buildCanaryMappingName`
fn canary_name(name: &str) -> String {
    let begin: String = name.chars().take(246).collect();
    format!("{begin}-canary")
}

fn service(mapping: &Value) -> &str {
    mapping["spec"]["service"].as_str().unwrap_or_default()
}

/// `http://shop.web:8080` → 8080; none if a Mapping leaves it to the scheme.
fn port(service: &str) -> Option<i64> {
    let (_, port) = service.rsplit_once(':')?;
    port.parse().ok()
}

fn has_weight(mapping: &Value) -> bool {
    mapping["spec"]["weight"].as_i64().unwrap_or(0) != 0
}

fn can_not_define_weight(name: &str) -> String {
    format!("Ambassador mapping \"{name}\" can not define weight")
}

fn notice(weight: i32) -> Notice {
    Notice {
        reason: "CanaryMappingWeightUpdate",
        message: format!("Set canary mapping weight to {weight}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::testing::{World, a_split, any_split};
    use super::*;

    const CANARY: &str = "
canaryService: shop-canary
stableService: shop-stable
trafficRouting: {ambassador: {mappings: [shop, search]}}
";
    const MAPPINGS: &str = "
apiVersion: getambassador.io/v2
kind: Mapping
metadata: {name: shop, labels: {host: example}, annotations: {note: one}}
spec: {prefix: /shop, service: 'http://shop-stable:80', timeout_ms: 500}
---
apiVersion: getambassador.io/v2
kind: Mapping
metadata: {name: search}
spec: {prefix: /search, service: shop-stable}
";

    #[test]
    fn second_mappings_live_as_long_as_the_new_version_gets_something() {
        let mut world = World::new(CANARY, MAPPINGS);
        let mut story = vec![
            ("nothing yet", world.route(&a_split(0))),
            ("20 percent", world.route(&a_split(20))),
        ];
        world.objects[2]["spec"]["regex_rewrite"] = json!({"pattern": "kept"});
        story.push(("50 percent", world.route(&a_split(50))));
        story.push(("the same again", world.route(&a_split(50))));
        story.push(("nothing any more", world.route(&a_split(0))));
        world.route(&a_split(5));
        story.push(("released", world.release()));
        insta::assert_snapshot!(World::story(&story));
    }

    #[test]
    fn other_groups_have_other_names() {
        let name = "x.getambassador.io/v3alpha1";
        let objects = MAPPINGS
            .replace("getambassador.io/v2", name)
            .replace("Mapping", "AmbassadorMapping");
        let mut world = World::new(CANARY, &objects);
        world.versions.ambassador = ("x.getambassador.io".to_owned(), "v3alpha1".to_owned());
        world.settle(&a_split(20), 1);
        assert_eq!(world.objects[2]["kind"], "AmbassadorMapping");
        assert_eq!(canary_name(&"x".repeat(300)).len(), 253);
    }

    /// Argo Rollouts makes them without an owner.
    #[test]
    fn what_argo_rollouts_made_is_adopted_and_what_others_made_is_not() {
        let second = |metadata: &str, service: &str| {
            let second = format!(
                "---\napiVersion: getambassador.io/v2\nkind: Mapping\n\
                 metadata: {{name: shop-canary, {metadata}}}\n\
                 spec: {{prefix: /shop, service: {service}, weight: 10}}\n"
            );
            World::new(CANARY, &(MAPPINGS.to_owned() + &second))
        };
        let mut adopted = second("labels: {a: b}", "shop-canary");
        insta::assert_snapshot!(adopted.route(&a_split(10)));
        let refused = "Ambassador mapping \"shop-canary\" was not made for the Rollout";
        let owner = "ownerReferences: [{controller: true, uid: other}]";
        for mut foreign in [second(owner, "shop-canary"), second("", "else")] {
            assert_eq!(foreign.writes(&a_split(10)), Err(refused.to_owned()));
            assert_eq!(foreign.writes(&a_split(0)), Ok(vec![]));
            assert_eq!(foreign.release(), "nothing\n");
        }
    }

    #[test]
    fn what_is_missing_names_itself() {
        let with = |from: &str, to: &str| World::new(CANARY, &MAPPINGS.replace(from, to));
        let none = CANARY.replace("[shop, search]", "[]");
        let problems = [
            World::new(&none, MAPPINGS).problems(),
            World::new(CANARY, "").problems(),
            with("timeout_ms: 500", "weight: 5").problems(),
            with("service: shop-stable", "service: shop").problems(),
            World::new(CANARY, MAPPINGS).problems(),
        ];
        insta::assert_snapshot!(problems.join("\n"));
        let weighted = with("timeout_ms: 500", "weight: 5").writes(&a_split(5));
        let why = "Ambassador mapping \"shop\" can not define weight";
        assert_eq!(weighted, Err(why.to_owned()));
    }

    proptest! {
        #[test]
        fn it_settles_and_leaves_the_mappings_alone(
            splits in prop::collection::vec(any_split(), 1..5),
        ) {
            let mut world = World::new(CANARY, MAPPINGS);
            let bases = world.objects.clone();
            for split in splits {
                world.settle(&split, 1);
                prop_assert_eq!(&world.objects[..2], &bases[..]);
                let seconds = if split.canary() > 0 { 2 } else { 0 };
                prop_assert_eq!(world.objects.len(), 2 + seconds);
            }
        }
    }
}
