//! Traffic routers that other programs carry out.
//!
//! A plugin is told all of how the traffic is to be divided, in each pass: what it has made of it
//! before is not known. `docs/plugins.md` has the protocol.

use serde_json::{Value, json};

use super::object::{Call, Known, Query, Verification, Verified, Write};
use super::split::{Route, Split, Subject};
use super::{Abilities, Router};
use crate::api::Problem;

pub(super) struct Plugin<'a> {
    name: String,
    settings: Value,
    subject: Subject<'a>,
}

impl<'a> Plugin<'a> {
    pub(super) fn new(subject: &Subject<'a>, name: &str, settings: &Value) -> Self {
        Self {
            name: name.to_owned(),
            settings: settings.clone(),
            subject: subject.clone(),
        }
    }

    fn call(&self, method: &'static str, split: &Split) -> Call {
        let services = self.subject.services_or_turns();
        let routes = split.routes.iter().map(|route| match route {
            Route::Header(route) => json!({"setHeaderRoute": route}),
            Route::Mirror(route) => json!({"setMirrorRoute": route}),
        });
        let managed: Vec<&str> = self.subject.managed_routes().collect();
        let body = json!({
            "settings": self.settings,
            "services": {"canary": services.canary, "stable": services.stable},
            "weights": split.weights,
            "maxTrafficWeight": split.whole,
            "routes": routes.collect::<Vec<_>>(),
            "managedRoutes": managed,
            "idle": split.is_idle,
        });
        Call::Plugin {
            plugin: self.name.clone(),
            method,
            body: body.to_string(),
        }
    }
}

impl Router for Plugin<'_> {
    fn name(&self) -> &'static str {
        "Plugin"
    }

    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn queries(&self, _: &Known) -> Vec<Query> {
        vec![]
    }

    /// What is wrong with it shows when it is told something: it may be away for a while.
    fn problems(&self, _: &Known) -> Vec<Problem> {
        vec![]
    }

    fn route(&self, _: &Known, split: &Split) -> Result<Vec<Write>, String> {
        Ok(vec![Write::Call(self.call("Route", split))])
    }

    fn verify(&self, known: &Known, split: &Split) -> Verification {
        let call = self.call("Verify", split);
        match known.answer(&call) {
            None => Verification::Ask(vec![Query::Call(call)]),
            Some(Err(why)) => Verification::Failed(why.to_owned()),
            Some(Ok(answer)) => match &answer["verified"] {
                Value::Null => Verification::NotApplicable,
                Value::Bool(is_verified) => Verification::Told(Verified {
                    is_verified: *is_verified,
                    ..Verified::default()
                }),
                other => {
                    let name = &self.name;
                    let why =
                        format!("plugin `{name}`: `verified` must be true, false or null: {other}");
                    Verification::Failed(why)
                }
            },
        }
    }

    fn release(&self, _: &Known) -> Vec<Write> {
        vec![Write::Call(self.call("Release", &Split::undivided()))]
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::super::testing::a_split;
    use super::super::{Versions, routers};
    use super::*;
    use crate::api::CanaryStrategy;

    fn canary() -> CanaryStrategy {
        serde_json::from_value(json!({
            "canaryService": "shop-canary", "stableService": "shop-stable",
            "trafficRouting": {
                "plugins": {"org/b": {}, "org/a": {"listener": "main"}},
                "managedRoutes": [{"name": "first"}],
            },
        }))
        .unwrap()
    }

    fn subject(canary: &CanaryStrategy) -> Subject<'_> {
        Subject {
            namespace: "shop",
            name: "shop",
            owner: OwnerReference::default(),
            canary,
            stable_ping_pong: None,
        }
    }

    #[test]
    fn a_plugin_is_told_all_of_it() {
        let canary = canary();
        let subject = subject(&canary);
        let routers = routers(&subject, &Versions::default());
        let header = json!([{"headerName": "X", "headerValue": {"exact": "1"}}]);
        let split = a_split(20)
            .and("shop-baseline", 5)
            .and_header("first", &header);
        let writes = routers[0].route(&Known::default(), &split).unwrap();
        let [
            Write::Call(Call::Plugin {
                plugin,
                method,
                body,
            }),
        ] = writes.as_slice()
        else {
            panic!("{writes:?}");
        };
        assert_eq!((plugin.as_str(), *method), ("org/a", "Route"));
        let body: Value = serde_json::from_str(body).unwrap();
        insta::assert_snapshot!(serde_saphyr::to_string(&body).unwrap());
    }

    #[test]
    fn a_plugin_says_whether_it_has_come_about() {
        let canary = canary();
        let subject = subject(&canary);
        let routers = routers(&subject, &Versions::default());
        let split = a_split(20);
        let mut known = Known::default();
        let Verification::Ask(asked) = routers[1].verify(&known, &split) else {
            panic!("it is asked first");
        };
        let [Query::Call(call)] = asked.as_slice() else {
            panic!("{asked:?}");
        };
        for (answer, expected) in [
            (Ok(json!({})), Verification::NotApplicable),
            (
                Ok(json!({"verified": true})),
                Verification::Told(Verified {
                    is_verified: true,
                    ..Verified::default()
                }),
            ),
            (
                Ok(json!({"verified": false})),
                Verification::Told(Verified::default()),
            ),
            (
                Ok(json!({"verified": 1})),
                Verification::Failed(
                    "plugin `org/b`: `verified` must be true, false or null: 1".to_owned(),
                ),
            ),
            (
                Err("away".to_owned()),
                Verification::Failed("away".to_owned()),
            ),
        ] {
            known.note_answer(call.clone(), answer);
            assert_eq!(routers[1].verify(&known, &split), expected);
        }
    }
}
