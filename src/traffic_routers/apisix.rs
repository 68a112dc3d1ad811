//! Apache APISIX: the weights of the backends of an `ApisixRoute`, and an `ApisixRoute` of the
//! Rollout's own for each route by header.
//!
//! # Source
//! `rollout/trafficrouting/apisix` of Argo Rollouts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::object::{Known, Place, Query, Resource, Write, member, set_weight};
use super::ports::PortUse;
use super::split::{Pair, Route, Split, Subject};
use super::{Abilities, FIELD, Router};
use crate::api::{ApisixTrafficRouting, HeaderMatch, Problem, SetHeaderRoute};

/// Annotations that tell of the object that they stand on, not of the traffic.
const NOT_COPIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) struct Apisix<'a> {
    subject: Subject<'a>,
    /// None if the Rollout names no route.
    place: Option<Place>,
    rules: &'a [String],
}

impl<'a> Apisix<'a> {
    pub(super) fn new(subject: &Subject<'a>, settings: &'a ApisixTrafficRouting) -> Self {
        let route = settings.route.as_ref();
        Self {
            subject: subject.clone(),
            place: route.map(|route| place(subject, &route.name)),
            rules: route.map_or(&[], |route| &route.rules),
        }
    }

    /// Which rules divide the traffic, and where the Rollout names them. Without a list it is the one
    /// that is named as the route is.
    fn rules<'s>(&'s self, place: &'s Place) -> Vec<(String, &'s str)> {
        let field = format!("{FIELD}.apisix.route");
        if self.rules.is_empty() {
            return vec![(format!("{field}.name"), place.name.as_str())];
        }
        let rules = self.rules.iter().enumerate();
        rules
            .map(|(index, rule)| (format!("{field}.rules[{index}]"), rule.as_str()))
            .collect()
    }

    /// Does something to each rule that divides the traffic.
    fn each_rule(
        &self,
        place: &Place,
        object: &mut Value,
        mut change: impl FnMut(&mut Value),
    ) -> Result<(), String> {
        for (_, name) in self.rules(place) {
            self.check(object, name)?;
            let rules = object
                .pointer_mut("/spec/http")
                .and_then(Value::as_array_mut);
            let mut rules = rules.into_iter().flatten();
            rules.find(|rule| rule["name"] == name).map(&mut change);
        }
        Ok(())
    }

    fn check(&self, object: &Value, name: &str) -> Result<(), String> {
        let Some(rules) = object.pointer("/spec/http").and_then(Value::as_array) else {
            return Err("spec.http was not found in Apisix Route manifest".to_owned());
        };
        let Some(rule) = rules.iter().find(|rule| rule["name"] == name) else {
            return Err(format!("Apisix http route rule {name} not found"));
        };
        let Some(backends) = rule["backends"].as_array() else {
            return Err("Apisix http route backends not found".to_owned());
        };
        let Pair { canary, stable } = self.subject.services();
        let missing = |service: &&str| {
            let mut backends = backends.iter();
            !backends.any(|backend| backend["serviceName"] == *service)
        };
        match [canary, stable].into_iter().find(missing) {
            Some(service) => Err(format!("apisix route {service} backend was not found")),
            None => Ok(()),
        }
    }

    fn divide(&self, place: &Place, known: &Known, split: &Split) -> Result<Option<Write>, String> {
        let before = known.get(place).ok_or_else(|| place.missing())?;
        let mut after = Value::clone(before);
        let Pair { canary, stable } = self.subject.services();
        self.each_rule(place, &mut after, |rule| {
            for backend in rule["backends"].as_array_mut().into_iter().flatten() {
                match backend["serviceName"].as_str() {
                    Some(name) if name == canary => set_weight(backend, split.canary(), None),
                    Some(name) if name == stable => set_weight(backend, split.stable(), None),
                    Some(_) | None => false,
                };
            }
        })?;
        Ok(Write::update(place.clone(), before, after, None))
    }

    /// What an `ApisixRoute` of the Rollout's own holds: the rules of the divided one, narrowed to
    /// some headers and so many places before it.
    fn narrowed(
        &self,
        place: &Place,
        divided: &Value,
        route: &SetHeaderRoute,
        before: i64,
    ) -> Result<Value, String> {
        let mut own = divided.clone();
        let stable = self.subject.services().stable;
        let expressions: Vec<_> = route.matches.iter().flat_map(expressions).collect();
        self.each_rule(place, &mut own, |rule| {
            if let Some(backends) = rule["backends"].as_array_mut() {
                backends.retain(|backend| backend["serviceName"] != stable);
                for backend in backends.iter_mut().filter(|backend| backend.is_object()) {
                    set_weight(backend, 100, None);
                }
            }
            rule["priority"] = (rule["priority"].as_i64().unwrap_or(0) + before).into();
            let all = member(member(rule, "match"), "exprs");
            let mut written = all.as_array().cloned().unwrap_or_default();
            written.extend(expressions.iter().cloned());
            *all = written.into();
        })?;
        let names = self.rules(place);
        let ours = |rule: &Value| names.iter().any(|(_, name)| rule["name"] == *name);
        let mut spec = own["spec"].take();
        if let Some(rules) = spec["http"].as_array_mut() {
            rules.retain(ours);
        }
        Ok(spec)
    }

    fn header(
        &self,
        place: &Place,
        known: &Known,
        route: &SetHeaderRoute,
        before: i64,
    ) -> Result<Option<Write>, String> {
        let divided = known.get(place).ok_or_else(|| place.missing())?;
        let spec = self.narrowed(place, divided, route, before)?;
        let place = self::place(&self.subject, &route.name);
        let Some(found) = known.get(&place) else {
            let mut object = self.subject.object(&place);
            for key in ["labels", "annotations"] {
                if let Some(Value::Object(texts)) = divided["metadata"].get(key) {
                    let mut texts = texts.clone();
                    texts.remove(NOT_COPIED);
                    object["metadata"][key] = texts.into();
                }
            }
            object["spec"] = spec;
            return Ok(Some(Write::Create {
                place,
                object,
                notice: None,
            }));
        };
        if !self.subject.controls(found) {
            return Err(format!(
                "duplicate ApisixRoute [{}] already exists",
                route.name
            ));
        }
        let mut after = Value::clone(found);
        *member(&mut after, "spec") = spec;
        Ok(Write::update(place, found, after, None))
    }

    /// The end of the Rollout's own that should not be there.
    fn without<'s>(
        &'s self,
        known: &'s Known,
        kept: &'s [&str],
    ) -> impl Iterator<Item = Write> + 's {
        let names = self.subject.managed_routes();
        let names = names.filter(move |name| !kept.contains(name));
        names.filter_map(|name| {
            let place = place(&self.subject, name);
            let own = known.get(&place);
            let own = own.filter(|object| self.subject.controls(object))?;
            Some(Write::delete(place, own, None))
        })
    }
}

fn place(subject: &Subject, name: &str) -> Place {
    Place {
        resource: Resource {
            group: "apisix.apache.org".to_owned(),
            version: "v2".to_owned(),
            kind: "ApisixRoute",
            plural: "apisixroutes",
        },
        namespace: subject.namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn expressions(header: &HeaderMatch) -> Vec<Value> {
    let value = &header.header_value;
    let prefix = match value.prefix.as_str() {
        "" => String::new(),
        prefix => format!("^{prefix}.*"),
    };
    let conditions = [
        ("Equal", &value.exact),
        ("RegexMatch", &value.regex),
        ("RegexMatch", &prefix),
    ];
    let set = conditions.into_iter().filter(|(_, text)| !text.is_empty());
    set.map(|(op, text)| {
        let subject = json!({"scope": "Header", "name": header.header_name});
        json!({"subject": subject, "op": op, "value": text})
    })
    .collect()
}

impl Router for Apisix<'_> {
    fn name(&self) -> &'static str {
        "Apisix"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            headers: true,
            ..Abilities::default()
        }
    }

    fn queries(&self, _: &Known) -> Vec<Query> {
        let own = self.subject.managed_routes();
        let own = own.map(|name| place(&self.subject, name));
        self.place
            .iter()
            .cloned()
            .chain(own)
            .map(Query::One)
            .collect()
    }

    fn problems(&self, known: &Known) -> Vec<Problem> {
        let field = format!("{FIELD}.apisix.route");
        let Some(place) = &self.place else {
            return vec![Problem::required(field, "the ApisixRoute must be named")];
        };
        let Some(object) = known.get(place) else {
            let field = format!("{field}.name");
            return vec![Problem::invalid(field, &place.name, place.missing())];
        };
        let rules = self.rules(place).into_iter();
        rules
            .filter_map(|(field, name)| {
                let why = self.check(object, name).err()?;
                Some(Problem::invalid(field, name, why))
            })
            .collect()
    }

    fn ports(&self, known: &Known) -> BTreeSet<PortUse> {
        let Some((place, object)) = self
            .place
            .as_ref()
            .and_then(|it| Some((it, known.get(it)?)))
        else {
            return BTreeSet::new();
        };
        let Pair { canary, stable } = self.subject.services();
        let mut ports = BTreeSet::new();
        for (field, name) in self.rules(place) {
            let rules = object["spec"]["http"].as_array().into_iter().flatten();
            let rules = rules.filter(|rule| rule["name"] == name);
            let backends = rules.filter_map(|rule| rule["backends"].as_array());
            for backend in backends.flatten() {
                let service = backend["serviceName"].as_str().unwrap_or_default();
                if [canary, stable].contains(&service) {
                    ports.extend(PortUse::of(&field, name, service, &backend["servicePort"]));
                }
            }
        }
        ports
    }

    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String> {
        let Some(place) = &self.place else {
            return Err("the ApisixRoute must be named".to_owned());
        };
        let routes: Vec<_> = split.routes.iter().filter_map(by_header).collect();
        let mut writes = Vec::from_iter(self.divide(place, known, split)?);
        for (before, route) in (1..).zip(routes.iter().rev()) {
            writes.extend(self.header(place, known, route, before)?);
        }
        let kept: Vec<_> = routes.iter().map(|route| route.name.as_str()).collect();
        writes.extend(self.without(known, &kept));
        Ok(writes)
    }

    fn release(&self, known: &Known) -> Vec<Write> {
        let undivided = |place| self.divide(place, known, &Split::undivided());
        let divided = self.place.as_ref().map(undivided);
        let divided = divided.and_then(Result::ok).flatten();
        divided
            .into_iter()
            .chain(self.without(known, &[]))
            .collect()
    }
}

fn by_header(route: &Route) -> Option<&SetHeaderRoute> {
    match route {
        Route::Header(route) => Some(route),
        Route::Mirror(_) => None,
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
trafficRouting:
  apisix: {route: {name: shop, rules: [rule1]}}
  managedRoutes: [{name: first}, {name: second}]
";
    const ROUTE: &str = "
apiVersion: apisix.apache.org/v2
kind: ApisixRoute
metadata:
  name: shop
  labels: {team: shop}
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}', note: one}
spec:
  ingressClassName: apisix
  http:
  - name: rule1
    priority: 3
    match: {hosts: [shop.example.com], paths: [/*]}
    backends:
    - {serviceName: shop-stable, servicePort: 80}
    - {serviceName: shop-canary, servicePort: 80}
  - name: other
    match: {paths: [/other]}
    backends: [{serviceName: other, servicePort: 80}]
";

    #[test]
    fn weights_are_set_and_routes_by_header_are_made() {
        let mut world = World::new(CANARY, ROUTE);
        let first = json!([
            {"headerName": "X-Canary", "headerValue": {"exact": "true"}},
            {"headerName": "X-Group", "headerValue": {"prefix": "beta"}},
        ]);
        let second = json!([{"headerName": "X-Other", "headerValue": {"regex": "^a.b$"}}]);
        let one = a_split(20).and_header("first", &first);
        let both = one.clone().and_header("second", &second);
        let mirror = a_split(20).and_mirror("first", None, &json!([{}]));
        let story = [
            ("20 percent", world.route(&a_split(20))),
            ("a route by header", world.route(&one)),
            ("two", world.route(&both)),
            ("the same again", world.route(&both)),
            ("no mirrors here", world.route(&mirror)),
            ("two again", world.route(&both)),
            ("over", world.route(&a_split(0))),
            ("two again", world.route(&both)),
            ("released", world.release()),
        ];
        let story = [&story[..5], &story[6..7], &story[8..]].concat();
        insta::assert_snapshot!(World::story(&story));
    }

    #[test]
    fn what_another_made_is_not_touched() {
        let foreign = "---\napiVersion: apisix.apache.org/v2\nkind: ApisixRoute\nmetadata: {name: first}\nspec: {}\n";
        let mut world = World::new(CANARY, &(ROUTE.to_owned() + foreign));
        let split = a_split(20).and_header("first", &json!([]));
        let refused = "duplicate ApisixRoute [first] already exists";
        assert_eq!(world.writes(&split), Err(refused.to_owned()));
        world.settle(&a_split(20), 1);
        world.release();
        assert_eq!(world.objects.len(), 2);
    }

    #[test]
    fn what_is_missing_names_itself() {
        let with = |from: &str, to: &str| World::new(CANARY, &ROUTE.replace(from, to)).problems();
        let unlisted = CANARY.replace(", rules: [rule1]", "");
        let unnamed = CANARY.replace("{route: {name: shop, rules: [rule1]}}", "{}");
        let problems = [
            World::new(&unnamed, ROUTE).problems(),
            World::new(CANARY, "").problems(),
            with("http:", "tcp:"),
            with("rule1", "rule2"),
            with("backends:\n", "no:\n"),
            with("serviceName: shop-canary", "serviceName: x"),
            with("serviceName: shop-stable", "serviceName: x"),
            World::new(&unlisted, ROUTE).problems(),
            with("", ""),
        ];
        insta::assert_snapshot!(problems.join("\n"));
        let missing = World::new(CANARY, "").writes(&a_split(20)).unwrap_err();
        assert_eq!(missing, "apisixroutes.apisix.apache.org \"shop\" not found");
    }

    proptest! {
        #[test]
        fn it_settles_and_leaves_other_rules_alone(
            splits in prop::collection::vec(any_split(), 1..5),
        ) {
            let mut world = World::new(CANARY, ROUTE);
            let other = world.objects[0]["spec"]["http"][1].clone();
            for split in splits {
                world.settle(&split, 1);
                let rules = &world.objects[0]["spec"]["http"];
                prop_assert_eq!(&rules[0]["backends"][0]["weight"], split.stable());
                prop_assert_eq!(&rules[0]["backends"][1]["weight"], split.canary());
                prop_assert_eq!(&rules[1], &other);
                let routes = split.routes.iter().filter_map(by_header).count();
                prop_assert_eq!(world.objects.len(), 1 + routes);
            }
        }
    }
}
