//! A `VirtualService` as it should be.

use std::sync::Arc;

use serde_json::Value;

use super::super::object::{Notice, Place, Write};
use super::super::split::{Split, Subject};
use super::destinations::Sides;
use super::experiments;
use super::managed::Managed;
use super::selection::{Protocol, Selection, select};
use crate::api::IstioVirtualService;

pub(super) struct VirtualService<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) place: &'a Place,
    pub(super) settings: &'a IstioVirtualService,
    pub(super) sides: Sides<'a>,
    /// The host of the subsets, if there are any.
    pub(super) host: Option<&'a str>,
}

impl VirtualService<'_> {
    fn managed(&self) -> Vec<&str> {
        self.subject.managed_routes().collect()
    }

    pub(super) fn select(&self, object: &Value) -> Selection {
        select(object, self.settings, &self.managed(), self.sides)
    }

    pub(super) fn route(
        &self,
        before: &Arc<Value>,
        split: &Split,
    ) -> Result<Option<Write>, String> {
        let selection = self.select(before);
        if selection.problems.is_empty() {
            return Ok(self.written(before, split, &selection));
        }
        Err(selection.problems.join("; "))
    }

    /// All to the stable version, as far as the routes are still there.
    pub(super) fn release(&self, before: &Arc<Value>) -> Option<Write> {
        self.written(before, &Split::undivided(), &self.select(before))
    }

    fn written(&self, before: &Arc<Value>, split: &Split, selection: &Selection) -> Option<Write> {
        let mut after = Value::clone(before);
        let former = experiments::noted(before, self.subject);
        let mut is_shifted = false;
        for (protocol, index) in &selection.routes {
            let routes = protocol.routes_mut(&mut after);
            let route = routes.and_then(|routes| routes.get_mut(*index));
            is_shifted |= route.is_some_and(|route| self.sides.divide(route, split, &former));
        }
        self.manage(&mut after, split, selection);
        experiments::note(&mut after, self.subject, split);
        let message = self.message(before, &after, split, is_shifted);
        let notice = Notice {
            reason: "Updated VirtualService",
            message: format!("VirtualService `{}` {message}", self.place.name),
        };
        Write::update(self.place.clone(), before, after, notice)
    }

    fn manage(&self, object: &mut Value, split: &Split, selection: &Selection) {
        let Some(http) = Protocol::Http.routes_mut(object) else {
            return;
        };
        let indices: Vec<_> = selection.http().collect();
        let divided = indices.first().and_then(|index| http.get(*index)).cloned();
        // Without a divided route there is nothing that a route by header could go before.
        let wanted = divided.as_ref().map_or(&[][..], |_| &split.routes);
        let managed = Managed {
            names: &self.managed(),
            sides: self.sides,
            host: self.host,
            divided: &divided.unwrap_or_default(),
        };
        managed.manage(http, &indices, wanted);
    }

    /// What was done, as Argo Rollouts says each of it.
    fn message(&self, before: &Value, after: &Value, split: &Split, is_shifted: bool) -> String {
        let mut done = Vec::new();
        if is_shifted {
            done.push(format!("set to desiredWeight '{}'", split.canary()));
        }
        let route = |object: &Value, name: &str| {
            let mut routes = Protocol::Http.routes(object).iter();
            routes.find(|route| route["name"] == name).cloned()
        };
        let (mut removed, mut stay) = (false, false);
        for name in self.managed() {
            let (old, new) = (route(before, name), route(after, name));
            stay |= new.is_some();
            match new {
                None => removed |= old.is_some(),
                Some(new) if old.as_ref() != Some(&new) && !is_only_shifted(old, &new) => {
                    let kind = new.get("mirror").map_or("headerRoute", |_| "mirrorRoute");
                    done.push(format!("set {kind} '{name}'"));
                }
                Some(_) => {}
            }
        }
        if removed {
            let which = if stay {
                "a managed route."
            } else {
                "all managed routes."
            };
            done.push(format!("removed {which}"));
        }
        if done.is_empty() {
            done.push("put its routes in order".to_owned());
        }
        done.join(", ")
    }
}

/// Whether nothing but the weights of a mirror differs.
fn is_only_shifted(old: Option<Value>, new: &Value) -> bool {
    old.is_some_and(|mut old| {
        old["route"] = new["route"].clone();
        old == *new && new.get("mirror").is_some()
    })
}
