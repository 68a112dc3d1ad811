//! What steps ask of the traffic that routers cannot do, or that does not add up.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt as _;

use crate::api::{CanaryStrategy, Problem, Rollout};
use crate::traffic_routers::{Subject, Versions, asked_in_vain};

/// What is hardly meant.
pub(super) fn check(rollout: &Rollout) -> Vec<Problem> {
    let Some(canary) = rollout.spec.strategy.canary.as_deref() else {
        return vec![];
    };
    let name = rollout.name_any();
    let subject = Subject {
        namespace: "",
        name: &name,
        owner: OwnerReference::default(),
        canary,
        stable_ping_pong: None,
    };
    let mut problems = Vec::new();
    for (index, step) in canary.steps.iter().enumerate() {
        let field = format!("spec.strategy.canary.steps[{index}]");
        for in_vain in asked_in_vain(&subject, &Versions::default(), step) {
            let field = format!("{field}.{}", in_vain.member);
            problems.push(Problem::new(field, in_vain.why));
        }
        problems.extend(excess(canary, index).map(|why| Problem::new(field, why)));
    }
    problems
}

/// That the parts of the new version and of a step's experiment are more than there is.
fn excess(canary: &CanaryStrategy, index: usize) -> Option<String> {
    let routing = canary.traffic_routing.as_deref()?;
    let whole = routing.max_traffic_weight.unwrap_or(100);
    let experiment = canary.steps.get(index)?.experiment.as_ref()?;
    let parts = experiment.templates.iter().filter_map(|it| it.weight);
    let mut before = canary.steps[..index].iter().rev();
    let new = before.find_map(|step| step.set_weight).unwrap_or(0);
    let sum = parts.fold(new, i32::saturating_add);
    (sum > whole).then(|| {
        format!(
            "the new version ({new}) and its experiment get {sum} of {whole}: nothing is left for the \
             stable version"
        )
    })
}
