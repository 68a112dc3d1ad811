//! What a strategy gives to the pods of a version because of its role.

use kube::core::{Selector, SelectorExt as _};

use super::pods::string_map;
use super::{BLUE_GREEN, CANARY};
use crate::api::{AntiAffinity, LabelsAndAnnotations, Problem, RolloutSpec};
use crate::rollout::labels;

pub(super) fn check(spec: &RolloutSpec, selector: Option<&Selector>, problems: &mut Vec<Problem>) {
    if let Some(canary) = &spec.strategy.canary {
        let mut check = |field: &str, metadata: Option<&LabelsAndAnnotations>| {
            let field = format!("{CANARY}.{field}.labels");
            check_labels(spec, selector, metadata, &field, problems);
        };
        check("canaryMetadata", canary.canary_metadata.as_ref());
        check("stableMetadata", canary.stable_metadata.as_ref());
        check_anti_affinity(canary.anti_affinity.as_ref(), CANARY, problems);
    }
    if let Some(both) = &spec.strategy.blue_green {
        let mut check = |field: &str, metadata: Option<&LabelsAndAnnotations>| {
            let field = format!("{BLUE_GREEN}.{field}.labels");
            check_labels(spec, selector, metadata, &field, problems);
        };
        check("previewMetadata", both.preview_metadata.as_ref());
        check("activeMetadata", both.active_metadata.as_ref());
        check_anti_affinity(both.anti_affinity.as_ref(), BLUE_GREEN, problems);
    }
}

/// A label that the selector looks at cannot come and go: the pods would lose their ReplicaSet.
fn check_labels(
    spec: &RolloutSpec,
    selector: Option<&Selector>,
    metadata: Option<&LabelsAndAnnotations>,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    let Some(metadata) = metadata else { return };
    if let Some(hash) = metadata.labels.get(labels::POD_TEMPLATE_HASH) {
        let field = format!("{field}[{}]", labels::POD_TEMPLATE_HASH);
        problems.push(Problem::invalid(field, hash, "the controller sets it"));
    }
    let mut merged = string_map(spec.template.json().pointer("/metadata/labels"));
    if selector.is_none_or(|selector| !selector.matches(&merged)) {
        return;
    }
    merged.extend(metadata.labels.clone());
    if selector.is_some_and(|selector| !selector.matches(&merged)) {
        let value = serde_json::to_string(&metadata.labels).unwrap_or_default();
        let why = "with them, `selector` does not match template `labels`";
        problems.push(Problem::new(
            field,
            format!("Invalid value: {value}: {why}"),
        ));
    }
}

/// # Source
/// `ValidateRolloutStrategyAntiAffinity` in `pkg/apis/rollouts/validation/validation.go` of Argo
/// Rollouts.
fn check_anti_affinity(rule: Option<&AntiAffinity>, strategy: &str, problems: &mut Vec<Problem>) {
    let Some(rule) = rule else { return };
    let field = format!("{strategy}.antiAffinity");
    let (preferred, required) = (rule.preferred.as_ref(), rule.required.is_some());
    if preferred.is_some() == required {
        let value = format!(
            "antiAffinity.PreferredDuringSchedulingIgnoredDuringExecution: {} \
             antiAffinity.RequiredDuringSchedulingIgnoredDuringExecution: {required}",
            preferred.is_some()
        );
        let why = "AntiAffinity must have exactly one strategy listed";
        problems.push(Problem::invalid(field.clone(), value, why));
    }
    if let Some(weight) = preferred.map(|preferred| preferred.weight)
        && !(1..=100).contains(&weight)
    {
        let why = "AntiAffinity weight must be between 1-100";
        problems.push(Problem::invalid_number(
            format!("{field}.weight"),
            weight,
            why,
        ));
    }
}
