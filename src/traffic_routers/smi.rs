//! Service Mesh Interface: a `TrafficSplit` that is the Rollout's own. Linkerd reads it too.
//!
//! # Source
//! `rollout/trafficrouting/smi` of Argo Rollouts.

use serde_json::{Value, json};

use super::object::{Known, Notice, Place, Query, Resource, Write, member};
use super::split::{Split, Subject};
use super::{Abilities, Router, Versions};
use crate::api::{Problem, SmiTrafficRouting};

pub(super) struct Smi<'a> {
    subject: Subject<'a>,
    place: Place,
    /// The Service that clients use.
    root: &'a str,
}

impl<'a> Smi<'a> {
    pub(super) fn new(
        subject: &Subject<'a>,
        settings: &'a SmiTrafficRouting,
        versions: &Versions,
    ) -> Self {
        let or = |written: &'a str, default: &'a str| match written {
            "" => default,
            written => written,
        };
        Self {
            subject: subject.clone(),
            place: Place {
                resource: Resource {
                    group: "split.smi-spec.io".to_owned(),
                    version: versions.smi.clone(),
                    kind: "TrafficSplit",
                    plural: "trafficsplits",
                },
                namespace: subject.namespace.to_owned(),
                name: or(&settings.traffic_split_name, subject.name).to_owned(),
            },
            root: or(&settings.root_service, &subject.canary.stable_service),
        }
    }

    /// The weight as the version of the kind writes it: a quantity in the first, then a number.
    fn weight(&self, weight: i32) -> Result<Value, String> {
        match self.place.resource.version.as_str() {
            "v1alpha1" => Ok(weight.to_string().into()),
            "v1alpha2" | "v1alpha3" => Ok(weight.into()),
            version => Err(format!(
                "Unsupported TrafficSplit API version `{version}`: \
                 must be v1alpha1, v1alpha2 or v1alpha3"
            )),
        }
    }

    /// The new version, the experiments, the stable version.
    fn backends(&self, split: &Split) -> Result<Vec<Value>, String> {
        let services = self.subject.services();
        let mut parts = vec![(services.canary, split.canary())];
        let experiments = split.additional().iter();
        parts.extend(experiments.map(|part| (part.service_name.as_str(), part.weight)));
        parts.push((services.stable, split.stable()));
        parts
            .into_iter()
            .filter(|(service, _)| !service.is_empty())
            .map(|(service, weight)| {
                Ok(json!({"service": service, "weight": self.weight(weight)?}))
            })
            .collect()
    }
}

/// Whether two lists divide alike, however the weights are written.
fn divide_alike(found: &Value, wanted: &[Value]) -> bool {
    let number = |weight: &Value| match weight {
        Value::String(quantity) => quantity.parse().ok(),
        weight => weight.as_f64(),
    };
    let found = found.as_array().map_or(&[][..], Vec::as_slice);
    found.len() == wanted.len()
        && found.iter().zip(wanted).all(|(found, wanted)| {
            found["service"] == wanted["service"]
                && number(&found["weight"]) == number(&wanted["weight"])
        })
}

impl Router for Smi<'_> {
    fn name(&self) -> &'static str {
        "SMI"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            experiments: true,
            ..Abilities::default()
        }
    }

    fn queries(&self, _: &Known) -> Vec<Query> {
        vec![Query::One(self.place.clone())]
    }

    /// The object is made where it is missing.
    fn problems(&self, _: &Known) -> Vec<Problem> {
        vec![]
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        let backends = self.backends(split)?;
        let name = &self.place.name;
        let Some(before) = known.get(&self.place) else {
            let mut object = self.subject.object(&self.place);
            object["spec"] = json!({"service": self.root, "backends": backends});
            return Ok(vec![Write::Create {
                place: self.place.clone(),
                object,
                notice: Some(Notice {
                    reason: "TrafficSplitCreated",
                    message: format!("TrafficSplit `{name}` created"),
                }),
            }]);
        };
        if !self.subject.controls(before) {
            return Err(format!("Rollout does not own TrafficSplit `{name}`"));
        }
        let mut after = Value::clone(before);
        let spec = member(&mut after, "spec");
        if !divide_alike(member(spec, "backends"), &backends) {
            spec["backends"] = backends.into();
        }
        spec["service"] = self.root.into();
        let write = Write::update(self.place.clone(), before, after, None);
        Ok(write.into_iter().collect())
    }

    fn release(&self, known: &Known) -> Vec<Write> {
        let found = known.get(&self.place);
        let own = found.filter(|object| self.subject.controls(object));
        own.map(|object| Write::delete(self.place.clone(), object, None))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{World, a_split, any_split};
    use super::*;

    const CANARY: &str = "
canaryService: shop-canary
stableService: shop-stable
trafficRouting: {smi: {rootService: shop-root}}
";

    fn world(version: &str, objects: &str) -> World {
        let mut world = World::new(CANARY, objects);
        version.clone_into(&mut world.versions.smi);
        world
    }

    #[test]
    fn a_split_of_the_rollouts_own_is_made_and_kept() {
        for version in ["v1alpha1", "v1alpha2", "v1alpha3"] {
            let mut world = world(version, "");
            let mut story = vec![("first", world.route(&a_split(0)))];
            world.objects[0]["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "x"}]);
            story.push(("20 percent", world.route(&a_split(20))));
            story.push(("the same again", world.route(&a_split(20))));
            let experiment = a_split(20).and("shop-a", 5);
            story.push(("an experiment", world.route(&experiment)));
            story.push(("over", world.route(&Split::undivided())));
            story.push(("released", world.release()));
            insta::assert_snapshot!(format!("smi_{version}"), World::story(&story));
        }
    }

    #[test]
    fn the_stable_service_is_the_root_and_the_rollouts_name_the_splits_unless_named() {
        let named = |smi: &str| {
            let canary = CANARY.replace("{rootService: shop-root}", smi);
            let mut world = World::new(&canary, "");
            world.route(&a_split(20));
            let object = &world.objects[0];
            (
                object["metadata"]["name"].clone(),
                object["spec"]["service"].clone(),
            )
        };
        assert_eq!(named("{}"), (json!("shop"), json!("shop-stable")));
        assert_eq!(
            named("{trafficSplitName: split, rootService: root}"),
            (json!("split"), json!("root"))
        );
    }

    #[test]
    fn what_another_owns_is_not_touched() {
        let foreign = "
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: shop}
spec: {service: shop-root, backends: []}
";
        let mut world = world("v1alpha1", foreign);
        let refused = world.writes(&a_split(20));
        assert_eq!(
            refused,
            Err("Rollout does not own TrafficSplit `shop`".to_owned())
        );
        assert_eq!(world.release(), "nothing\n");
        world.versions.smi = "v2".to_owned();
        let unknown = world.writes(&a_split(20)).unwrap_err();
        assert!(unknown.starts_with("Unsupported TrafficSplit API version `v2`"));
    }

    proptest! {
        #[test]
        fn it_settles_and_weighs_the_whole(splits in prop::collection::vec(any_split(), 1..5)) {
            let mut world = world("v1alpha2", "");
            for split in splits {
                world.settle(&split, 1);
                let backends = world.objects[0]["spec"]["backends"].as_array().unwrap();
                let sum: i64 = backends.iter().map(|part| part["weight"].as_i64().unwrap()).sum();
                prop_assert_eq!(sum, 100);
                prop_assert_eq!(&backends[0]["weight"], split.canary());
            }
        }
    }
}
