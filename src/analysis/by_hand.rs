//! An AnalysisRun that a person starts from a template.

use serde_json::{Map, Value, json};
use thiserror::Error;

/// Label of what one of several controllers is responsible for.
const INSTANCE_ID: &str = "argo-rollouts.argoproj.io/controller-instance-id";

/// What a person says about the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByHand {
    /// Its whole name.
    pub name: Option<String>,
    /// The beginning of its name. Default: the template's name and a dash.
    pub generate_name: Option<String>,
    /// Its namespace.
    pub namespace: String,
    /// Values of arguments, by name.
    pub arguments: Vec<(String, String)>,
    /// Which controller it is for.
    pub instance_id: Option<String>,
}

/// Why there can be no run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ByHandError {
    /// Nothing to make a name of.
    #[error("name is invalid")]
    Name,
    /// An argument without a value.
    #[error("args.{0} was not resolved")]
    Unresolved(String),
}

/// A run, and arguments that its template does not declare: they are left out.
///
/// # Source
/// `kubectl argo rollouts create analysisrun` and `NewAnalysisRunFromUnstructured` in
/// `utils/analysis/helpers.go` of Argo Rollouts.
pub fn run_from_template(
    template: &Value,
    by_hand: &ByHand,
) -> Result<(Value, Vec<String>), ByHandError> {
    let own_name = template["metadata"]["name"].as_str().unwrap_or_default();
    let (name, generate_name) = match (&by_hand.name, &by_hand.generate_name) {
        (Some(name), _) => (name.clone(), String::new()),
        (None, Some(start)) => (String::new(), start.clone()),
        (None, None) if own_name.is_empty() => return Err(ByHandError::Name),
        (None, None) => (String::new(), format!("{own_name}-")),
    };
    if name.is_empty() && generate_name.is_empty() {
        return Err(ByHandError::Name);
    }
    let mut run = template.clone();
    run["kind"] = json!("AnalysisRun");
    let (args, dropped) = arguments(&template["spec"]["args"], &by_hand.arguments)?;
    if !args.is_empty() {
        run["spec"]["args"] = Value::Array(args);
    }
    if !run["metadata"].is_object() {
        run["metadata"] = Value::Object(Map::new());
    }
    let metadata = &mut run["metadata"];
    metadata["name"] = name.into();
    metadata["generateName"] = generate_name.into();
    metadata["namespace"] = by_hand.namespace.as_str().into();
    if let Some(id) = &by_hand.instance_id {
        metadata["labels"] = json!({ INSTANCE_ID: id });
    }
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("resourceVersion");
    }
    Ok((run, dropped))
}

/// The template's arguments with the values that are given, and the names that it does not know.
fn arguments(
    declared: &Value,
    given: &[(String, String)],
) -> Result<(Vec<Value>, Vec<String>), ByHandError> {
    let Some(declared) = declared.as_array() else {
        let all = given.iter();
        let all = all.map(|(name, value)| json!({ "name": name, "value": value }));
        return Ok((all.collect(), Vec::new()));
    };
    let mut args = declared.clone();
    let mut dropped = Vec::new();
    for (name, value) in given {
        match args.iter_mut().find(|arg| arg["name"] == name.as_str()) {
            Some(arg) => *arg = json!({ "name": name, "value": value }),
            None => dropped.push(name.clone()),
        }
    }
    let open = args
        .iter()
        .find(|arg| arg["value"].is_null() && arg["valueFrom"].is_null());
    match open {
        Some(open) => {
            let name = open["name"].as_str().unwrap_or_default();
            Err(ByHandError::Unresolved(name.to_owned()))
        }
        None => Ok((args, dropped)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_template() -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
            "metadata": { "name": "rate", "resourceVersion": "7", "labels": { "a": "b" } },
            "spec": { "metrics": [], "args": [
                { "name": "service" }, { "name": "limit", "value": "1" },
                { "name": "token", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } },
            ] },
        })
    }

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn a_run_has_the_templates_arguments_and_the_values_that_are_given() {
        let by_hand = ByHand {
            namespace: "shop".into(),
            arguments: given(&[("service", "web"), ("limit", "2"), ("typo", "x")]),
            ..ByHand::default()
        };
        let (run, dropped) = run_from_template(&a_template(), &by_hand).unwrap();
        assert_eq!(dropped, ["typo"]);
        assert_eq!(run["kind"], "AnalysisRun");
        let metadata = json!({ "name": "", "generateName": "rate-", "namespace": "shop",
            "labels": { "a": "b" } });
        assert_eq!(run["metadata"], metadata);
        assert_eq!(
            run["spec"]["args"][0],
            json!({ "name": "service", "value": "web" })
        );
        assert_eq!(run["spec"]["args"][1]["value"], "2");
        assert_eq!(run["spec"]["args"][2], a_template()["spec"]["args"][2]);
    }

    #[test]
    fn a_template_without_arguments_takes_all_that_are_given() {
        let mut template = a_template();
        template["spec"] = json!({ "metrics": [] });
        let by_hand = ByHand {
            name: Some("now".into()),
            arguments: given(&[("a", "1")]),
            instance_id: Some("x".into()),
            ..ByHand::default()
        };
        let (run, dropped) = run_from_template(&template, &by_hand).unwrap();
        assert!(dropped.is_empty());
        assert_eq!(run["spec"]["args"], json!([{ "name": "a", "value": "1" }]));
        assert_eq!(run["metadata"]["name"], "now");
        assert_eq!(run["metadata"]["generateName"], "");
        assert_eq!(run["metadata"]["labels"], json!({ INSTANCE_ID: "x" }));
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = run_from_template(&a_template(), &ByHand::default()).unwrap_err();
        assert_eq!(refused.to_string(), "args.service was not resolved");
        let refused = run_from_template(&json!({ "spec": {} }), &ByHand::default()).unwrap_err();
        assert_eq!(refused.to_string(), "name is invalid");
    }
}
