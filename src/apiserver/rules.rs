//! The rules of built-in kinds that their schemas do not say: those that our users run into.

use serde_json::Value;

use super::failure::Cause;
use super::resources::Resource;

/// All rules of the kind that `object` breaks.
pub(super) fn check(resource: &Resource, object: &Value, before: Option<&Value>) -> Vec<Cause> {
    match resource.kind.as_str() {
        "Deployment" | "ReplicaSet" => check_workload(object, before),
        "Job" => check_job(object, before),
        "ConfigMap" | "Secret" => check_immutable(object, before),
        "CustomResourceDefinition" => super::definition::problems(object, before),
        _ => Vec::new(),
    }
}

fn check_workload(object: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &object["spec"];
    let selector = &spec["selector"];
    let labels = &spec["template"]["metadata"]["labels"];
    let matches = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .all(|(name, value)| labels.get(name) == Some(value));
    if !selector.is_object() {
        causes.push(Cause::required("spec.selector", ""));
    } else if selector["matchLabels"].is_null() && selector["matchExpressions"].is_null() {
        let problem = "empty selector is invalid for deployment";
        causes.push(Cause::invalid("spec.selector", selector, problem));
    } else if !matches {
        let problem = "`selector` does not match template `labels`";
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            labels,
            problem,
        ));
    }
    if let Some(replicas) = spec["replicas"].as_i64().filter(|n| *n < 0) {
        let problem = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &replicas.into(), problem));
    }
    if let Some(before) = before
        && before["spec"]["selector"] != *selector
    {
        causes.push(Cause::invalid(
            "spec.selector",
            selector,
            "field is immutable",
        ));
    }
    check_pod_spec(&spec["template"]["spec"], "spec.template.spec", &mut causes);
    causes
}

fn check_pod_spec(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    let containers = spec["containers"].as_array();
    if containers.is_none_or(Vec::is_empty) {
        causes.push(Cause::required(format!("{at}.containers"), ""));
    }
    for (index, container) in containers.into_iter().flatten().enumerate() {
        if container["name"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(
                format!("{at}.containers[{index}].name"),
                "",
            ));
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(
                format!("{at}.containers[{index}].image"),
                "",
            ));
        }
    }
}

fn check_job(object: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &object["spec"];
    let pod = &spec["template"]["spec"];
    match pod["restartPolicy"].as_str() {
        Some("OnFailure" | "Never") => {}
        None => {
            let problem = "valid values: \"OnFailure\", \"Never\"";
            causes.push(Cause::required("spec.template.spec.restartPolicy", problem));
        }
        Some(_) => {
            let known = ["OnFailure", "Never"].map(Value::from);
            let at = "spec.template.spec.restartPolicy";
            causes.push(Cause::unsupported(at, &pod["restartPolicy"], &known));
        }
    }
    check_pod_spec(pod, "spec.template.spec", &mut causes);
    if let Some(before) = before {
        for field in ["template", "selector", "completionMode"] {
            if before["spec"][field] != spec[field] {
                let at = format!("spec.{field}");
                causes.push(Cause::invalid(at, &spec[field], "field is immutable"));
            }
        }
    }
    causes
}

fn check_immutable(object: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let Some(before) = before.filter(|b| b["immutable"] == true) else {
        return causes;
    };
    for field in ["immutable", "data", "binaryData"] {
        if before[field] != object[field] {
            let problem = "field is immutable when `immutable` is set";
            causes.push(Cause::forbidden(field, problem));
        }
    }
    causes
}
