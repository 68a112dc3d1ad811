//! All that is wrong with a Rollout as it is written, for those who have no cluster at hand.

use super::plan::Plan;
use crate::api::{Problem, Rollout};

/// All that is wrong with a Rollout's spec, except what only the cluster can tell: whether the
/// workload that it refers to has a valid template.
#[must_use]
pub fn problems(rollout: &Rollout) -> Vec<Problem> {
    let refers = rollout.spec.workload_ref.is_some();
    let elsewhere = Problem::new("spec.workloadRef", "its template is not at hand");
    let before = if refers {
        vec![elsewhere.clone()]
    } else {
        Vec::new()
    };
    let mut problems = Plan::of(rollout, before).err().unwrap_or_default();
    problems.retain(|problem| *problem != elsewhere);
    if refers && !rollout.spec.template.fields().is_empty() {
        let why = "Internal error: template must be empty for workload reference rollout";
        problems.push(Problem::new("spec.template", why));
    }
    problems
}
