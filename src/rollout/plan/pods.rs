//! Which pods a Rollout is about: its selector and its template.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use serde_json::Value;

use crate::api::{Problem, RolloutSpec};

pub(super) fn check(spec: &RolloutSpec, problems: &mut Vec<Problem>) -> Option<Selector> {
    let selector = check_selector(spec.selector.as_ref(), problems);
    let template = spec.template.json();
    if let (Some(selector), Some(written)) = (&selector, &spec.selector) {
        let labels = string_map(template.pointer("/metadata/labels"));
        if !selector.matches(&labels) {
            let why = "`selector` does not match template `labels`";
            let value = serde_json::to_string(&labels).unwrap_or_default();
            let field = "spec.template.metadata.labels";
            problems.push(Problem::new(
                field,
                format!("Invalid value: {value}: {why}"),
            ));
        }
        debug_assert!(written.match_labels.is_some() || written.match_expressions.is_some());
    }
    if let Err(error) = spec.template.typed() {
        problems.push(Problem::new(
            "spec.template",
            format!("Invalid value: {error}"),
        ));
    }
    let containers = template
        .pointer("/spec/containers")
        .and_then(Value::as_array);
    let field = "spec.template.spec.containers";
    match containers.map(Vec::as_slice) {
        None | Some([]) => problems.push(Problem::required(field, "at least one container")),
        Some(containers) => {
            for (index, container) in containers.iter().enumerate() {
                for part in ["name", "image"] {
                    if container
                        .get(part)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .is_empty()
                    {
                        let field = format!("{field}[{index}].{part}");
                        problems.push(Problem::required(field, "it has none"));
                    }
                }
            }
        }
    }
    let restart = template
        .pointer("/spec/restartPolicy")
        .and_then(Value::as_str);
    if let Some(other) = restart.filter(|policy| !policy.is_empty() && *policy != "Always") {
        let why = format!("Unsupported value: \"{other}\": supported values: \"Always\"");
        problems.push(Problem::new("spec.template.spec.restartPolicy", why));
    }
    selector
}

pub(super) fn string_map(value: Option<&Value>) -> std::collections::BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn check_selector(
    written: Option<&LabelSelector>,
    problems: &mut Vec<Problem>,
) -> Option<Selector> {
    let Some(written) = written else {
        let why = "Rollout has missing field '.spec.selector'";
        problems.push(Problem::required("spec.selector", why));
        return None;
    };
    match Selector::try_from(written.clone()) {
        Ok(selector) if selector.selects_all() => {
            let why = "empty selector is invalid for deployment";
            problems.push(Problem::new(
                "spec.selector",
                format!("Invalid value: {{}}: {why}"),
            ));
            None
        }
        Ok(selector) => Some(selector),
        Err(error) => {
            problems.push(Problem::new(
                "spec.selector",
                format!("Invalid value: {error}"),
            ));
            None
        }
    }
}
