//! What a Job's `podFailurePolicy` says of a pod that has failed.
//!
//! # Source
//! `matchPodFailurePolicy` of the Kubernetes Job controller.

use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

/// What a failed pod means for its Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// One failure more.
    Counts,
    /// Nothing.
    Ignored,
    /// One failure more, and the end of its place in the Job.
    FailsIndex,
    /// The end, and why.
    FailsJob(String),
}

/// The first rule that fits decides.
pub(super) fn meaning(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Meaning {
    let rules = policy.map(|policy| policy.rules.as_slice());
    let mut rules = rules.unwrap_or_default().iter().enumerate();
    let found = rules.find_map(|(number, rule)| Some((number, rule, cause(rule, pod)?)));
    let Some((number, rule, cause)) = found else {
        return Meaning::Counts;
    };
    match rule.action.as_str() {
        "Ignore" => Meaning::Ignored,
        "FailIndex" => Meaning::FailsIndex,
        "FailJob" => Meaning::FailsJob(format!("{cause} matching FailJob rule at index {number}")),
        _ => Meaning::Counts,
    }
}

/// Why a rule is about a pod; `None` if it is not.
fn cause(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let place = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let status = pod.status.as_ref()?;
    if let Some(requirement) = &rule.on_exit_codes {
        let containers = status.container_statuses.iter().flatten();
        let mut containers = containers.chain(status.init_container_statuses.iter().flatten());
        return containers.find_map(|container| {
            let code = exit_code(container, requirement)?;
            let name = &container.name;
            Some(format!(
                "Container {name} for pod {place} failed with exit code {code}"
            ))
        });
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|condition| {
        let fits = |pattern: &PodFailurePolicyOnPodConditionsPattern| {
            pattern.type_ == condition.type_ && pattern.status == condition.status
        };
        patterns.iter().any(fits)
    });
    found.map(|condition| format!("Pod {place} has condition {}", condition.type_))
}

/// The exit code of a container that a rule is about.
fn exit_code(
    container: &ContainerStatus,
    requirement: &PodFailurePolicyOnExitCodesRequirement,
) -> Option<i32> {
    let name = requirement.container_name.as_ref();
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let is_listed = requirement.values.contains(&code);
    let fits = match requirement.operator.as_str() {
        "In" => is_listed,
        "NotIn" => !is_listed,
        _ => false,
    };
    (name.is_none_or(|name| *name == container.name) && code != 0 && fits).then_some(code)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(exit_code: i32) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "default"},
            "status": {
                "phase": "Failed",
                "conditions": [{"type": "DisruptionTarget", "status": "True"}],
                "containerStatuses": [{"name": "main", "ready": false, "restartCount": 0,
                    "image": "", "imageID": "", "state": {"terminated": {"exitCode": exit_code}}}],
            },
        }))
        .unwrap()
    }

    fn said(rules: &Value, exit_code: i32) -> Meaning {
        let policy: PodFailurePolicy = serde_json::from_value(json!({ "rules": rules })).unwrap();
        meaning(Some(&policy), &pod(exit_code))
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let codes = |action: &str, operator: &str, values: &[i32]| json!({"action": action, "onExitCodes": {"operator": operator, "values": values}});
        let disrupted = json!({"action": "Ignore", "onPodConditions": [
            {"type": "DisruptionTarget", "status": "True"},
        ]});
        let fails = "Container main for pod default/p failed with exit code 3 matching FailJob \
                     rule at index 0";
        let fails = Meaning::FailsJob(fails.to_owned());
        let cases = [
            (json!([]), 3, Meaning::Counts),
            (json!([codes("FailJob", "In", &[3])]), 3, fails),
            (json!([codes("FailJob", "In", &[4])]), 3, Meaning::Counts),
            (
                json!([codes("FailIndex", "In", &[3])]),
                3,
                Meaning::FailsIndex,
            ),
            (json!([codes("Ignore", "NotIn", &[4])]), 3, Meaning::Ignored),
            (json!([codes("Ignore", "NotIn", &[4])]), 0, Meaning::Counts),
            (
                json!([codes("Count", "In", &[3]), disrupted]),
                3,
                Meaning::Counts,
            ),
            (
                json!([codes("FailJob", "In", &[4]), disrupted]),
                3,
                Meaning::Ignored,
            ),
        ];
        for (rules, exit_code, expected) in cases {
            assert_eq!(said(&rules, exit_code), expected, "{rules}");
        }
        assert_eq!(meaning(None, &pod(1)), Meaning::Counts);
    }

    #[test]
    fn a_rule_may_be_about_one_container() {
        let rules = json!([{"action": "Ignore", "onExitCodes": {
            "containerName": "other", "operator": "In", "values": [3]}}]);
        assert_eq!(said(&rules, 3), Meaning::Counts);
    }
}
