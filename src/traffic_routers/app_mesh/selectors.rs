//! What a virtual node selected before a Rollout let it select the pods of one version.

use serde_json::{Map, Value};

use super::super::object::member;
use crate::api::labels::POD_TEMPLATE_HASH;

/// Annotation of a node: its pod selector as it was before, as JSON; `null` if it had none.
const BEFORE: &str = "rollouts.verdict.dev/pod-selector-before";

fn hash(selector: &Value) -> Option<&Value> {
    selector["matchLabels"].get(POD_TEMPLATE_HASH)
}

/// A selector without the label that picks one version.
fn without_hash(selector: &Value) -> Value {
    let mut selector = selector.clone();
    let labels = selector.get_mut("matchLabels");
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.remove(POD_TEMPLATE_HASH);
    }
    selector
}

/// Notes on a node what it selects, unless that is noted already. A version in it that is one of
/// `former` was set by a controller, this one or Argo's: it is no part of what its author wrote.
pub(super) fn note(node: &mut Value, former: &[&str]) {
    if !node["metadata"]["annotations"][BEFORE].is_null() {
        return;
    }
    let selector = node["spec"].get("podSelector").cloned();
    let selector = selector.unwrap_or_default();
    let is_former = |hash: &Value| hash.as_str().is_some_and(|hash| former.contains(&hash));
    let selector = if hash(&selector).is_some_and(is_former) {
        without_hash(&selector)
    } else {
        selector
    };
    let annotations = member(member(node, "metadata"), "annotations");
    *member(annotations, BEFORE) = selector.to_string().into();
}

/// Lets a node select what it did before. What somebody has changed in its selector since stays.
pub(super) fn restore(node: &mut Value) {
    let noted = node["metadata"]["annotations"][BEFORE].as_str();
    let Some(before) = noted.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return;
    };
    if let Some(annotations) = node.pointer_mut("/metadata/annotations") {
        annotations.as_object_mut().map(|all| all.remove(BEFORE));
        if *annotations == Value::Object(Map::new()) {
            node["metadata"]
                .as_object_mut()
                .map(|all| all.remove("annotations"));
        }
    }
    let found = without_hash(&node["spec"]["podSelector"]);
    let mut written = without_hash(&before);
    if found["matchLabels"] == Value::Object(Map::new()) && written["matchLabels"].is_null() {
        // The label alone had made them.
        *member(&mut written, "matchLabels") = Value::Object(Map::new());
    }
    let spec = member(node, "spec");
    if found != written {
        spec["podSelector"] = found;
        if let Some(hash) = hash(&before) {
            spec["podSelector"]["matchLabels"][POD_TEMPLATE_HASH] = hash.clone();
        }
    } else if before.is_null() {
        spec.as_object_mut()
            .map(|fields| fields.remove("podSelector"));
    } else {
        spec["podSelector"] = before;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(selector: &Value) -> Value {
        let mut node = json!({"metadata": {"name": "shop"}, "spec": {}});
        if !selector.is_null() {
            node["spec"]["podSelector"] = selector.clone();
        }
        node
    }

    fn select(node: &mut Value, hash: &str) {
        note(node, &["1", "2", "canary-hash"]);
        let selector = member(member(node, "spec"), "podSelector");
        *member(member(selector, "matchLabels"), POD_TEMPLATE_HASH) = hash.into();
    }

    #[test]
    fn a_node_selects_again_what_it_did_before() {
        let by_hash = |hash: &str| json!({"matchLabels": {"app": "shop", POD_TEMPLATE_HASH: hash}});
        let app = json!({"matchLabels": {"app": "shop"}});
        for (before, expected) in [
            (app.clone(), app.clone()),
            (Value::Null, Value::Null),
            (json!({}), json!({})),
            (json!({"matchLabels": {}}), json!({"matchLabels": {}})),
            // What its author wrote there holds its place.
            (by_hash("canary-tbd"), by_hash("canary-tbd")),
            // Argo Rollouts had set it.
            (by_hash("1"), app.clone()),
            (by_hash("canary-hash"), app.clone()),
        ] {
            let mut changed = node(&before);
            select(&mut changed, "1");
            select(&mut changed, "2");
            restore(&mut changed);
            assert_eq!(changed, node(&expected), "{before}");
            restore(&mut changed);
            assert_eq!(changed, node(&expected), "{before}");
        }
    }

    #[test]
    fn what_somebody_has_changed_meanwhile_stays() {
        let mut changed = node(&json!({"matchLabels": {"app": "shop"}}));
        changed["metadata"]["annotations"] = json!({"note": "one"});
        select(&mut changed, "2");
        changed["spec"]["podSelector"]["matchLabels"]["tier"] = json!("front");
        restore(&mut changed);
        let mut expected = node(&json!({"matchLabels": {"app": "shop", "tier": "front"}}));
        expected["metadata"]["annotations"] = json!({"note": "one"});
        assert_eq!(changed, expected);
    }
}
