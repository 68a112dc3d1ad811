//! Anti-affinity: pods of a new version keep off the nodes of the stable one's.
//!
//! A term is put into the ReplicaSet's template. It is no part of the version: neither the hash nor
//! the comparison of templates sees it.

use serde_json::{Value, json};

use super::labels;
use super::revisions::Member;
use crate::api::{AntiAffinity, Rollout, RolloutSpec, RolloutStatus};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The rule of a strategy, if it asks for something.
pub(super) fn rule(spec: &RolloutSpec) -> Option<&AntiAffinity> {
    let canary = spec.strategy.canary.as_ref();
    let blue_green = spec.strategy.blue_green.as_ref();
    let rule = canary.map_or_else(
        || blue_green.and_then(|both| both.anti_affinity.as_ref()),
        |canary| canary.anti_affinity.as_ref(),
    );
    rule.filter(|rule| rule.preferred.is_some() || rule.required.is_some())
}

/// Puts the term into the template of a version that is not the stable one.
///
/// # Source
/// `GenerateReplicaSetAffinity` in `utils/replicaset/replicaset.go` of Argo Rollouts.
pub(super) fn inject(template: &mut Value, rollout: &Rollout, hash: &str, stable: &str) {
    let Some(rule) = rule(&rollout.spec).filter(|_| !stable.is_empty() && stable != hash) else {
        return;
    };
    let term = json!({
        "labelSelector": { "matchExpressions": [
            { "key": labels::POD_TEMPLATE_HASH, "operator": "In", "values": [stable] },
        ] },
        "namespaces": [rollout.metadata.namespace],
        "topologyKey": HOSTNAME,
    });
    let (list, entry) = match &rule.preferred {
        Some(preferred) => {
            let entry = json!({ "weight": preferred.weight, "podAffinityTerm": term });
            (PREFERRED, entry)
        }
        None => (REQUIRED, term),
    };
    let list = &mut template["spec"]["affinity"]["podAntiAffinity"][list];
    match list {
        Value::Array(entries) => entries.push(entry),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            *list = json!([entry]);
        }
    }
}

/// The hash that a term of ours keeps off; `None` for what others have written.
fn avoided(entry: &Value) -> Option<&str> {
    let term = entry.get("podAffinityTerm").unwrap_or(entry);
    let expressions = term
        .pointer("/labelSelector/matchExpressions")?
        .as_array()?;
    let [only] = expressions.as_slice() else {
        return None;
    };
    let ours = only["key"] == labels::POD_TEMPLATE_HASH && term["topologyKey"] == HOSTNAME;
    let hash = only.pointer("/values/0")?.as_str()?;
    ours.then_some(hash)
}

fn list<'a>(template: &'a Value, name: &str) -> &'a [Value] {
    let list = template.pointer(&format!("/spec/affinity/podAntiAffinity/{name}"));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Takes injected terms out of a template. Those that `written` has as well are its own.
pub(super) fn strip(template: &mut Value, written: &Value) {
    let mut stripped = false;
    for name in [REQUIRED, PREFERRED] {
        let entries = list(template, name);
        let mut kept = entries.to_vec();
        kept.retain(|entry| avoided(entry).is_none() || list(written, name).contains(entry));
        if kept.len() < entries.len() {
            stripped = true;
            template["spec"]["affinity"]["podAntiAffinity"][name] = kept.into();
        }
    }
    if !stripped {
        return;
    }
    // What only held the term goes with it.
    remove_if_empty(
        &mut template["spec"]["affinity"]["podAntiAffinity"],
        REQUIRED,
    );
    remove_if_empty(
        &mut template["spec"]["affinity"]["podAntiAffinity"],
        PREFERRED,
    );
    remove_if_empty(&mut template["spec"]["affinity"], "podAntiAffinity");
    remove_if_empty(&mut template["spec"], "affinity");
}

fn remove_if_empty(object: &mut Value, field: &str) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let is_empty = object.get(field).is_some_and(|value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    });
    if is_empty {
        object.remove(field);
    }
}

/// A merge patch of the wanted version's ReplicaSet whose term keeps off a version that is stable
/// no more; `None` if its template is right.
pub(super) fn overdue(rollout: &Rollout, new: &Member, status: &RolloutStatus) -> Option<Value> {
    let stable = status.stable_rs.as_str();
    if stable.is_empty() || stable == new.hash {
        return None;
    }
    rule(&rollout.spec)?;
    let written = rollout.spec.template.json();
    let found = new.object.as_ref()?.spec.template.json();
    let injected = [REQUIRED, PREFERRED].into_iter().flat_map(|name| {
        let own = list(&written, name);
        list(&found, name)
            .iter()
            .filter(move |entry| !own.contains(entry))
    });
    let outdated = injected.filter_map(avoided).any(|hash| hash != stable);
    if !outdated {
        return None;
    }
    let mut template = written;
    inject(&mut template, rollout, &new.hash, stable);
    let lists = [REQUIRED, PREFERRED].map(|name| (name, list(&template, name)));
    let lists = lists.map(|(name, list)| {
        (
            name.to_owned(),
            if list.is_empty() {
                Value::Null
            } else {
                list.into()
            },
        )
    });
    let lists: Value = lists.into_iter().collect::<serde_json::Map<_, _>>().into();
    Some(
        json!({ "spec": { "template": { "spec": { "affinity": { "podAntiAffinity": lists } } } } }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_rollout(anti_affinity: &Value, template: &Value) -> Rollout {
        serde_json::from_value(
            json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": {
            "strategy": { "canary": { "antiAffinity": anti_affinity } }, "template": template } }),
        )
        .unwrap()
    }

    fn other_terms() -> Value {
        json!([{ "labelSelector": { "matchLabels": { "app": "db" } }, "topologyKey": "zone" }])
    }

    #[test]
    fn what_is_injected_can_be_taken_out() {
        let preferred = json!({ PREFERRED: { "weight": 7 } });
        let own = json!({ "podAntiAffinity": { REQUIRED: other_terms() } });
        let bare = json!({ "nodeAffinity": {} });
        for rule in [preferred, json!({ REQUIRED: {} })] {
            for affinity in [Value::Null, own.clone(), bare.clone()] {
                let mut written = json!({ "spec": { "containers": [] } });
                if !affinity.is_null() {
                    written["spec"]["affinity"] = affinity;
                }
                let rollout = a_rollout(&rule, &written);
                let mut template = written.clone();
                inject(&mut template, &rollout, "two", "one");
                assert_ne!(template, written);
                let terms = [REQUIRED, PREFERRED].map(|name| list(&template, name).to_vec());
                let avoided: Vec<&str> = terms.iter().flatten().filter_map(avoided).collect();
                assert_eq!(avoided, ["one"]);
                strip(&mut template, &written);
                assert_eq!(template, written);
            }
        }
    }

    #[test]
    fn the_term_is_argos() {
        let rollout = a_rollout(&json!({ PREFERRED: { "weight": 7 } }), &json!({}));
        let mut template = json!({ "spec": {} });
        inject(&mut template, &rollout, "two", "one");
        let term = json!({
            "labelSelector": { "matchExpressions": [{
                "key": "rollouts-pod-template-hash", "operator": "In", "values": ["one"] }] },
            "namespaces": ["shop"], "topologyKey": "kubernetes.io/hostname",
        });
        let expected = json!([{ "weight": 7, "podAffinityTerm": term }]);
        assert_eq!(list(&template, PREFERRED), expected.as_array().unwrap());
    }

    #[test]
    fn without_another_stable_version_there_is_nothing_to_keep_off() {
        let rollout = a_rollout(&json!({ REQUIRED: {} }), &json!({}));
        for stable in ["", "two"] {
            let mut template = json!({ "spec": {} });
            inject(&mut template, &rollout, "two", stable);
            assert_eq!(template, json!({ "spec": {} }));
        }
    }

    #[test]
    fn a_term_that_the_rollout_itself_has_stays() {
        let rollout = a_rollout(&json!({ REQUIRED: {} }), &json!({}));
        let mut written = json!({ "spec": {} });
        inject(&mut written, &rollout, "two", "one");
        let mut template = written.clone();
        inject(&mut template, &rollout, "three", "two");
        assert_eq!(list(&template, REQUIRED).len(), 2);
        strip(&mut template, &written);
        assert_eq!(template, written);
    }
}
