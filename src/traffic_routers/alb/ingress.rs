//! An Ingress that is divided: its annotations and paths, and which of them are whose.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::action::Action;

/// Annotation of an Ingress: which of its annotations which Rollout has written.
const MANAGED: &str = "rollouts.argoproj.io/managed-alb-annotations";
/// What Argo Rollouts wrote before that.
const MANAGED_BEFORE: &str = "rollouts.argoproj.io/managed-alb-actions";
/// The port of a backend that an annotation describes.
const USE_ANNOTATION: &str = "use-annotation";

/// An Ingress on its way to what it should be.
pub(super) struct Ingress<'a> {
    pub(super) object: Value,
    /// The Rollout that changes it.
    pub(super) rollout: &'a str,
}

impl Ingress<'_> {
    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.object["metadata"]["annotations"][key].as_str()
    }

    pub(super) fn annotate(&mut self, key: &str, text: String) {
        self.object["metadata"]["annotations"][key] = text.into();
    }

    fn remove_annotation(&mut self, key: &str) {
        let annotations = self.object.pointer_mut("/metadata/annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove(key);
        }
    }

    fn managed(&self) -> BTreeMap<String, Vec<String>> {
        let managed = self.annotation(MANAGED);
        managed
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// The annotations that the Rollout has written.
    pub(super) fn written(&self) -> Vec<String> {
        self.managed().remove(self.rollout).unwrap_or_default()
    }

    /// Who else has written an annotation.
    pub(super) fn other_writer(&self, key: &str) -> Option<String> {
        let mut managed = self.managed().into_iter();
        let other = managed.find(|(rollout, keys)| {
            rollout != self.rollout && keys.iter().any(|written| written == key)
        });
        other.map(|(rollout, _)| rollout)
    }

    /// Remembers which annotations the Rollout has written.
    pub(super) fn set_written(&mut self, keys: Vec<String>) {
        let mut managed = self.managed();
        if keys.is_empty() {
            managed.remove(self.rollout);
        } else {
            managed.insert(self.rollout.to_owned(), keys);
        }
        if managed.is_empty() {
            self.remove_annotation(MANAGED);
        } else {
            self.annotate(MANAGED, json!(managed).to_string());
        }
        self.remove_annotation(MANAGED_BEFORE);
    }

    /// Gives up annotations that the Rollout has written, each by itself: a route by header goes,
    /// and what was divided goes to one Service.
    ///
    /// # Source
    /// `ingress/alb.go` of Argo Rollouts, which gives up all or nothing.
    pub(super) fn give_up(&mut self, keys: &[String]) {
        let names = |kind: &str| -> BTreeSet<String> {
            let names = keys.iter().filter_map(|key| key.split_once(kind));
            names.map(|(_, name)| name.to_owned()).collect()
        };
        let by_header = names("/conditions.");
        for key in keys {
            let name = key.split_once("/actions.").map(|(_, name)| name);
            let divided = name.filter(|name| !by_header.contains(*name));
            if let Some(name) = divided {
                let action = self.annotation(key).and_then(Action::read);
                if let Some(undivided) = action.and_then(|action| action.undivided(name)) {
                    self.annotate(key, undivided.text());
                }
            } else {
                self.remove_annotation(key);
            }
        }
        for name in by_header {
            for paths in self.all_paths() {
                paths.retain(|path| !is_described_by(path, &name));
            }
        }
    }

    fn all_paths(&mut self) -> impl Iterator<Item = &mut Vec<Value>> {
        let rules = self
            .object
            .pointer_mut("/spec/rules")
            .and_then(Value::as_array_mut);
        let rules = rules.into_iter().flatten();
        rules.filter_map(|rule| rule.pointer_mut("/http/paths")?.as_array_mut())
    }

    /// Whether requests are led to a Service, by a rule: that of last resort does not count.
    pub(super) fn leads_to(&self, service: &str) -> bool {
        let rules = self.object["spec"]["rules"]
            .as_array()
            .into_iter()
            .flatten();
        let mut paths = rules
            .filter_map(|rule| rule.pointer("/http/paths").and_then(Value::as_array))
            .flatten();
        paths.any(|path| service_of(path) == Some(service))
    }

    /// Puts a path for each route before those that lead to `root`, the first route first. Where they are
    /// there already they stay, for another Rollout may have put its own before them.
    pub(super) fn put_before(&mut self, root: &str, routes: &[&str]) {
        for paths in self.all_paths() {
            let of_root = paths.iter().position(|path| service_of(path) == Some(root));
            let Some(of_root) = of_root else { continue };
            let place = |route: &&str| paths.iter().position(|path| is_described_by(path, route));
            let places: Option<Vec<usize>> = routes.iter().map(place).collect();
            if places.is_some_and(|places| places.is_sorted() && places.last() < Some(&of_root)) {
                continue;
            }
            let (known, others): (Vec<Value>, Vec<Value>) = std::mem::take(paths)
                .into_iter()
                .partition(|path| routes.iter().any(|route| is_described_by(path, route)));
            let of_route = |route: &&str| {
                let mut known = known.iter().filter(|path| is_described_by(path, route));
                known.next().cloned().unwrap_or_else(|| path_of(route))
            };
            paths.extend(routes.iter().map(of_route));
            paths.extend(others);
        }
    }
}

fn service_of(path: &Value) -> Option<&str> {
    path.pointer("/backend/service/name")?.as_str()
}

/// Whether an action of this name describes where a path leads.
fn is_described_by(path: &Value, action: &str) -> bool {
    let port = path.pointer("/backend/service/port/name");
    service_of(path) == Some(action) && port.is_some_and(|port| port == USE_ANNOTATION)
}

fn path_of(route: &str) -> Value {
    json!({
        "path": "/*",
        "pathType": "ImplementationSpecific",
        "backend": {"service": {"name": route, "port": {"name": USE_ANNOTATION}}},
    })
}
