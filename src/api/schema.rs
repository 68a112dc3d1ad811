//! From types to the structural schemas that Kubernetes accepts.

use schemars::Schema;
use serde_json::json;

/// The rule that a metric has one source. Every plugin counts.
pub(crate) fn exactly_one_provider(schema: &mut Schema) {
    let sources: Vec<String> = schema
        .get("properties")
        .and_then(|properties| properties.as_object())
        .into_iter()
        .flat_map(|properties| properties.keys())
        .map(|name| match name.as_str() {
            "plugin" => "(has(self.plugin) ? size(self.plugin) : 0)".to_owned(),
            _ => format!("(has(self.{name}) ? 1 : 0)"),
        })
        .collect();
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([{
            "rule": format!("{} == 1", sources.join(" + ")),
            "message": "exactly one source of the metric must be set",
        }]),
    );
}

/// The rule that a Rollout has one strategy.
pub(crate) fn exactly_one_strategy(schema: &mut Schema) {
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([{
            "rule": "has(self.canary) != has(self.blueGreen)",
            "message": "exactly one of canary and blueGreen must be set",
        }]),
    );
}

/// The rule that a selector stays as it is.
pub(crate) fn immutable_selector(schema: &mut Schema) {
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([{"rule": "self == oldSelf", "message": ".spec.selector is immutable"}]),
    );
}
