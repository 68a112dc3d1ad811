//! Ingress NGINX: a second Ingress beside each one of the stable version, with the weight in its
//! annotations. It is there as long as an update needs it.
//!
//! # Source
//! `rollout/trafficrouting/nginx` of Argo Rollouts, where it stays for good.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::object::{Known, Notice, Place, Query, Resource, Write};
use super::ports::PortUse;
use super::split::{Pair, Split, Subject};
use super::{FIELD, Router, Versions};
use crate::api::{NginxTrafficRouting, Problem};

const DEFAULT_PREFIX: &str = "nginx.ingress.kubernetes.io";
/// How Ingresses named their class before `spec.ingressClassName`.
const CLASS: &str = "kubernetes.io/ingress.class";
const SUFFIX: &str = "-canary";
/// The longest name that an object may have.
const LONGEST_NAME: usize = 253;

pub(super) struct Nginx<'a> {
    subject: Subject<'a>,
    settings: &'a NginxTrafficRouting,
    classes: Vec<String>,
}

pub(super) fn resource() -> Resource {
    Resource {
        group: "networking.k8s.io".to_owned(),
        version: "v1".to_owned(),
        kind: "Ingress",
        plural: "ingresses",
    }
}

impl<'a> Nginx<'a> {
    pub(super) fn new(
        subject: &Subject<'a>,
        settings: &'a NginxTrafficRouting,
        versions: &Versions,
    ) -> Self {
        Self {
            subject: subject.clone(),
            settings,
            classes: versions.nginx_ingress_classes.clone(),
        }
    }

    fn place(&self, name: String) -> Place {
        Place {
            resource: resource(),
            namespace: self.subject.namespace.to_owned(),
            name,
        }
    }

    /// Each Ingress of the stable version, with the field that names it, and the one of the canary.
    fn ingresses(&self) -> Vec<Ingresses> {
        let one = (!self.settings.stable_ingress.is_empty())
            .then(|| ("stableIngress".to_owned(), &self.settings.stable_ingress));
        let several = (0..).zip(&self.settings.stable_ingresses);
        let several = several.map(|(index, name)| (format!("stableIngresses[{index}]"), name));
        one.into_iter()
            .chain(several)
            .map(|(field, stable)| Ingresses {
                field: format!("{FIELD}.nginx.{field}"),
                canary: self.place(self.canary_name(stable)),
                stable: self.place(stable.clone()),
            })
            .collect()
    }

    /// # Source
    /// `GetCanaryIngressName` in `utils/ingress/ingress.go` of Argo Rollouts.
    fn canary_name(&self, stable: &str) -> String {
        let name = format!("{}-{stable}", self.subject.name);
        let kept = name.chars().take(LONGEST_NAME - SUFFIX.len());
        kept.chain(SUFFIX.chars()).collect()
    }

    fn problem(&self, ingresses: &Ingresses, known: &Known) -> Option<Problem> {
        let name = &ingresses.stable.name;
        let invalid = |why: String| Some(Problem::invalid(&ingresses.field, name, why));
        let Some(stable) = known.get(&ingresses.stable) else {
            return invalid(ingresses.stable.missing());
        };
        // Ingresses without a class are served, too: NGINX may be the default.
        let class = stable["metadata"]["annotations"][CLASS].as_str();
        let class = class.or_else(|| stable["spec"]["ingressClassName"].as_str());
        let is_ours =
            |class: &&str| class.contains("nginx") || self.classes.iter().any(|it| it == class);
        if let Some(class) = class.filter(|class| !is_ours(class)) {
            return invalid(format!(
                "ingress `{name}` is of class `{class}`: expected {} (--nginx-ingress-classes), or a \
                 class that has nginx in its name",
                self.classes.join(", ")
            ));
        }
        match self.rules(stable) {
            Some(_) => None,
            None => invalid(self.unused(name)),
        }
    }

    fn unused(&self, name: &str) -> String {
        let service = self.subject.services().stable;
        format!("ingress `{name}` has no rules using service {service} backend")
    }

    /// The rules that lead to the stable version, leading to the canary instead; none if there are
    /// none.
    fn rules(&self, stable: &Value) -> Option<Vec<Value>> {
        let Pair {
            canary,
            stable: from,
        } = self.subject.services();
        let rules = stable["spec"]["rules"].as_array();
        let rules = rules.into_iter().flatten().filter_map(|rule| {
            let mut rule = rule.clone();
            let paths = rule.pointer_mut("/http/paths")?.as_array_mut()?;
            let mut is_used = false;
            for path in paths {
                if let Some(name) = path.pointer_mut("/backend/service/name")
                    && *name == from
                {
                    *name = canary.into();
                    is_used = true;
                }
            }
            is_used.then_some(rule)
        });
        let rules: Vec<Value> = rules.collect();
        (!rules.is_empty()).then_some(rules)
    }

    fn spec(&self, stable: &Value) -> Option<Value> {
        let mut spec = json!({ "rules": self.rules(stable)? });
        for field in ["ingressClassName", "tls"] {
            if let Some(value) = stable["spec"].get(field) {
                spec[field] = value.clone();
            }
        }
        Some(spec)
    }

    fn prefix(&self) -> &str {
        match self.settings.annotation_prefix.as_str() {
            "" => DEFAULT_PREFIX,
            prefix => prefix,
        }
    }

    /// The annotations of a canary Ingress. Of those that it has, others' stay: ours begin with the
    /// prefix.
    fn annotations(&self, stable: &Value, before: &Value, weight: i32) -> Value {
        let prefix = self.prefix();
        let before = before["metadata"]["annotations"].as_object();
        let others = before.into_iter().flatten().filter(|(key, _)| {
            let name = key.strip_prefix(prefix);
            *key != CLASS && !name.is_some_and(|name| name.starts_with('/'))
        });
        let mut annotations: Map<String, Value> = others
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut set = |key: String, value: String| annotations.insert(key, value.into());
        if let Some(class) = stable["metadata"]["annotations"][CLASS].as_str() {
            set(CLASS.to_owned(), class.to_owned());
        }
        for (key, value) in &self.settings.additional_ingress_annotations {
            let key = if key.starts_with(prefix) {
                key.clone()
            } else {
                format!("{prefix}/{key}")
            };
            set(key, value.clone());
        }
        for (key, value) in &self.settings.canary_ingress_annotations {
            set(key.clone(), value.clone());
        }
        set(format!("{prefix}/canary"), "true".to_owned());
        set(format!("{prefix}/canary-weight"), weight.to_string());
        let routing = self.subject.canary.traffic_routing.as_deref();
        if let Some(whole) = routing.and_then(|routing| routing.max_traffic_weight) {
            set(format!("{prefix}/canary-weight-total"), whole.to_string());
        }
        annotations.into()
    }

    fn route_one(
        &self,
        ingresses: &Ingresses,
        known: &Known,
        weight: i32,
    ) -> Result<Option<Write>, String> {
        let Ingresses { stable, canary, .. } = ingresses;
        let name = &canary.name;
        let found = known.get(stable);
        let found = found.ok_or_else(|| stable.missing())?;
        let spec = self.spec(found).ok_or_else(|| self.unused(&stable.name))?;
        let Some(before) = known.get(canary) else {
            let mut object = self.subject.object(canary);
            object["spec"] = spec;
            object["metadata"]["annotations"] = self.annotations(found, &Value::Null, weight);
            return Ok(Some(Write::Create {
                place: canary.clone(),
                object,
                notice: Some(Notice {
                    reason: "CreatingCanaryIngress",
                    message: format!("Creating canary ingress `{name}` with weight `{weight}`"),
                }),
            }));
        };
        if !self.subject.controls(before) {
            return Err(format!(
                "canary ingress `{name}` controlled by different object"
            ));
        }
        let mut after = Value::clone(before);
        after["metadata"]["annotations"] = self.annotations(found, before, weight);
        after["spec"] = spec;
        let notice = Notice {
            reason: "PatchingCanaryIngress",
            message: format!("Updating Ingress `{name}` to desiredWeight '{weight}'"),
        };
        Ok(Write::update(canary.clone(), before, after, notice))
    }
}

/// An Ingress of the stable version, and the canary's beside it.
struct Ingresses {
    /// Where the stable version's is named.
    field: String,
    stable: Place,
    canary: Place,
}

impl Router for Nginx<'_> {
    fn name(&self) -> &'static str {
        "Nginx"
    }

    fn queries(&self, _: &Known) -> Vec<Query> {
        let ingresses = self.ingresses().into_iter();
        let places = ingresses.flat_map(|it| [it.stable, it.canary]);
        places.map(Query::One).collect()
    }

    fn problems(&self, known: &Known) -> Vec<Problem> {
        let settings = self.settings;
        let (one, several) = (&settings.stable_ingress, &settings.stable_ingresses);
        if one.is_empty() == several.is_empty() {
            let which = if one.is_empty() { "Neither" } else { "Both" };
            let why = format!(
                "Invalid value: Either StableIngress or StableIngresses must be configured. {which} \
                 are configured."
            );
            return vec![Problem::new(format!("{FIELD}.nginx"), why)];
        }
        let ingresses = self.ingresses();
        let problems = ingresses.iter().filter_map(|it| self.problem(it, known));
        problems.collect()
    }

    fn ports(&self, known: &Known) -> BTreeSet<PortUse> {
        let Pair { canary, stable } = self.subject.services();
        let mut ports = BTreeSet::new();
        for Ingresses {
            field,
            stable: place,
            ..
        } in self.ingresses()
        {
            let object = known.get(&place).map(|object| &object["spec"]["rules"]);
            let rules = object.and_then(Value::as_array).into_iter().flatten();
            let paths = rules.filter_map(|rule| rule.pointer("/http/paths")?.as_array());
            let backends = paths.flatten().map(|path| &path["backend"]["service"]);
            for backend in backends.filter(|backend| backend["name"] == stable) {
                let port = ["number", "name"].map(|by| &backend["port"][by]);
                let port = port.into_iter().find(|port| !port.is_null());
                // The second Ingress has the same ports.
                for service in [canary, stable] {
                    let port =
                        port.and_then(|port| PortUse::of(&field, &place.name, service, port));
                    ports.extend(port);
                }
            }
        }
        ports
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        if split.is_idle {
            return Ok(self.release(known));
        }
        let mut writes = Vec::new();
        for ingresses in self.ingresses() {
            writes.extend(self.route_one(&ingresses, known, split.canary())?);
        }
        Ok(writes)
    }

    fn release(&self, known: &Known) -> Vec<Write> {
        let ours = self.ingresses().into_iter().filter_map(|ingresses| {
            let before = known.get(&ingresses.canary)?;
            let name = &ingresses.canary.name;
            let notice = Notice {
                reason: "DeletingCanaryIngress",
                message: format!("Deleting canary ingress `{name}`"),
            };
            self.subject.controls(before).then(|| Write::Delete {
                place: ingresses.canary.clone(),
                before: before.clone(),
                notice: Some(notice),
            })
        });
        ours.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Split;
    use super::super::testing::{World, a_split, any_split};

    const CANARY: &str = "
canaryService: shop-canary
stableService: shop-stable
trafficRouting:
  nginx:
    stableIngress: shop-web
    additionalIngressAnnotations: {canary-by-header: X-Canary}
    canaryIngressAnnotations: {example.com/team: shop}
";
    const SEVERAL: &str = "
canaryService: shop-canary
stableService: shop-stable
trafficRouting:
  maxTrafficWeight: 1000
  nginx:
    annotationPrefix: example.org
    stableIngresses: [shop-web, shop-api]
";
    const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop-web
  labels: {app: shop}
  annotations: {nginx.ingress.kubernetes.io/rewrite-target: /}
spec:
  ingressClassName: nginx
  defaultBackend: {service: {name: shop-stable, port: {number: 80}}}
  tls: [{hosts: [shop.example.com], secretName: shop-tls}]
  rules:
  - host: shop.example.com
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: shop-stable, port: {number: 80}}}
      - path: /static
        pathType: Prefix
        backend: {resource: {apiGroup: example.com, kind: Bucket, name: static}}
      - path: /help
        pathType: Prefix
        backend: {service: {name: help, port: {name: http}}}
  - host: empty.example.com
  - host: help.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: help, port: {name: http}}}}
";

    fn idle() -> Split {
        Split::undivided()
    }

    #[test]
    fn a_second_ingress_is_there_as_long_as_an_update_needs_it() {
        let mut world = World::new(CANARY, INGRESS);
        let story = [
            ("at rest", world.route(&idle())),
            ("20 percent", world.route(&a_split(20))),
            ("the same again", world.route(&a_split(20))),
            ("50 percent", world.route(&a_split(50))),
            ("at rest again", world.route(&idle())),
            ("and again", world.route(&idle())),
        ];
        insta::assert_snapshot!(World::story(&story));
    }

    #[test]
    fn each_of_several_ingresses_gets_one_with_the_weight_of_all() {
        let second = INGRESS.replace("shop-web", "shop-api");
        let second = second.replace("  ingressClassName: nginx\n", "");
        let second = second.replace(
            "nginx.ingress.kubernetes.io/rewrite-target: /",
            "kubernetes.io/ingress.class: internal-nginx",
        );
        let mut world = World::new(SEVERAL, &format!("{INGRESS}---\n{second}"));
        let mut split = a_split(200);
        split.whole = 1000;
        let story = [
            ("200 of 1000", world.route(&split)),
            ("released", world.release()),
        ];
        insta::assert_snapshot!(World::story(&story));
    }

    #[test]
    fn what_is_ours_follows_the_settings_and_others_things_stay() {
        let mut world = World::new(CANARY, INGRESS);
        world.settle(&a_split(20), 1);
        let canary = world.objects.last_mut().unwrap();
        canary["metadata"]["labels"] = json!({"seen": "yes"});
        let annotations = &mut canary["metadata"]["annotations"];
        annotations["nginx.ingress.kubernetes.io/canary-by-cookie"] = json!("stale");
        annotations["example.net/note"] = json!("kept");
        canary["spec"]["tls"] = json!([]);
        let told = world.route(&a_split(20));
        insta::assert_snapshot!(told);
    }

    #[test]
    fn an_ingress_of_somebody_else_is_left_alone() {
        let theirs = INGRESS.replace("name: shop-web", "name: shop-shop-web-canary");
        let mut world = World::new(CANARY, &format!("{INGRESS}---\n{theirs}"));
        let expected = "canary ingress `shop-shop-web-canary` controlled by different object";
        assert_eq!(world.writes(&a_split(20)), Err(expected.to_owned()));
        assert_eq!(world.release(), "nothing\n");
        assert_eq!(world.route(&idle()), "nothing\n");
    }

    #[test]
    fn what_is_wrong_names_itself() {
        let both = CANARY.replace("stableIngress:", "stableIngresses: [a]\n    stableIngress:");
        let neither = CANARY.replace("stableIngress: shop-web", "stableIngress: ''");
        let class = |class: &str| INGRESS.replace("ingressClassName: nginx", class);
        let problems = [
            World::new(CANARY, "").problems(),
            World::new(SEVERAL, INGRESS).problems(),
            World::new(&both, INGRESS).problems(),
            World::new(&neither, INGRESS).problems(),
            World::new(CANARY, &INGRESS.replace("shop-stable", "other")).problems(),
            World::new(CANARY, &class("ingressClassName: alb")).problems(),
            World::new(CANARY, &class("ingressClassName: nginx-internal")).problems(),
            World::new(CANARY, &class("x: y")).problems(),
        ];
        insta::assert_snapshot!(problems.join("\n"));
    }

    #[test]
    fn a_name_is_as_long_as_one_may_be() {
        let long = "a".repeat(253);
        let canary = CANARY.replace("shop-web", &long);
        let mut world = World::new(&canary, &INGRESS.replace("shop-web", &long));
        world.settle(&a_split(20), 1);
        let name = world.objects.last().unwrap()["metadata"]["name"].as_str();
        let name = name.unwrap();
        assert_eq!((name.len(), name.ends_with("a-canary")), (253, true));
    }

    proptest! {
        #[test]
        fn it_settles_and_leaves_the_stable_ingress_alone(
            splits in prop::collection::vec(any_split(), 1..5),
        ) {
            let mut world = World::new(CANARY, INGRESS);
            let stable = world.objects[0].clone();
            for split in splits {
                world.settle(&split, 1);
                prop_assert_eq!(&world.objects[0], &stable);
                let annotations = &world.objects[1]["metadata"]["annotations"];
                let weight = &annotations["nginx.ingress.kubernetes.io/canary-weight"];
                prop_assert_eq!(weight, &split.canary().to_string());
            }
            world.settle(&idle(), 1);
            prop_assert_eq!(world.objects, vec![stable]);
        }
    }
}
