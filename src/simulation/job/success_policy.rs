//! Which successes are enough for an indexed Job: `successPolicy`.
//!
//! # Source
//! `success_policy.go` of the Kubernetes Job controller.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{JobSpec, SuccessPolicyRule};

use super::super::pods::count;
use super::indexes;

/// The first rule that the completed places fulfil, as the Job tells it.
pub(super) fn fulfilled(spec: &JobSpec, completed: &BTreeSet<i32>) -> Option<String> {
    let places = indexes::places(spec)?;
    let rules = &spec.success_policy.as_ref()?.rules;
    let is_enough =
        |rule: &SuccessPolicyRule| !completed.is_empty() && fits(rule, completed, places);
    let number = rules.iter().position(is_enough)?;
    Some(format!("Matched rules at index {number}"))
}

fn fits(rule: &SuccessPolicyRule, completed: &BTreeSet<i32>, places: i32) -> bool {
    let Some(named) = &rule.succeeded_indexes else {
        let least = rule.succeeded_count;
        return least.is_some_and(|least| count(completed.len()) >= least);
    };
    let named = indexes::read(named, places);
    let found = named.intersection(completed).count();
    match rule.succeeded_count {
        Some(least) => count(found) >= least,
        None => found == named.len(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_asks_for_places_or_for_how_many_of_them() {
        let cases = [
            (json!([{"succeededIndexes": "0,2-3"}]), "0,2", None),
            (json!([{"succeededIndexes": "0,2-3"}]), "0-3", Some(0)),
            (json!([{"succeededCount": 2}]), "4", None),
            (json!([{"succeededCount": 2}]), "4,7", Some(0)),
            (
                json!([{"succeededIndexes": "0-4", "succeededCount": 2}]),
                "4,7",
                None,
            ),
            (
                json!([{"succeededIndexes": "0-4", "succeededCount": 2}]),
                "1,4",
                Some(0),
            ),
            (
                json!([{"succeededIndexes": "0"}, {"succeededCount": 1}]),
                "5",
                Some(1),
            ),
            (json!([{"succeededCount": 0}]), "", None),
        ];
        for (rules, completed, expected) in cases {
            let spec = json!({"completionMode": "Indexed", "completions": 10, "template": {},
                "successPolicy": {"rules": rules}});
            let spec: JobSpec = serde_json::from_value(spec).unwrap();
            let told = fulfilled(&spec, &indexes::read(completed, 10));
            let expected = expected.map(|number: usize| format!("Matched rules at index {number}"));
            assert_eq!(told, expected, "{rules} with {completed}");
        }
    }
}
