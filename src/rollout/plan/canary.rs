//! A canary's spec as it is understood.

use super::{CANARY, Step, WHOLE, check_arguments, unsupported};
use crate::analysis::Problem;
use crate::api::{
    CanaryStep, CanaryStrategy, IntOrPercent, ReplicaProgressThreshold, RolloutAnalysis, Rounding,
};
use crate::rollout::replicas::Limits;

/// What a valid canary asks for.
#[derive(Debug)]
pub(in crate::rollout) struct Canary<'a> {
    pub(in crate::rollout) written: &'a CanaryStrategy,
    pub(in crate::rollout) limits: Limits,
    pub(in crate::rollout) steps: Vec<Step<'a>>,
    pub(in crate::rollout) background: Option<&'a RolloutAnalysis>,
    pub(in crate::rollout) threshold: Option<&'a ReplicaProgressThreshold>,
}

impl<'a> Canary<'a> {
    /// Understands a canary, or adds all that is wrong with it to `problems`.
    pub(super) fn of(
        written: &'a CanaryStrategy,
        replicas: i32,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let limits = check_limits(written, replicas, problems);
        let steps = check_canary(written, problems);
        Some(Self {
            written,
            limits: limits?,
            steps,
            background: written
                .analysis
                .as_ref()
                .filter(|a| !a.templates.is_empty()),
            threshold: written
                .replica_progress_threshold
                .as_ref()
                .filter(|threshold| threshold.value >= 0),
        })
    }

    /// The weight that the steps up to and including `index` have set.
    pub(in crate::rollout) fn weight(&self, index: Option<i32>) -> i32 {
        let count = i32::try_from(self.steps.len()).unwrap_or(i32::MAX);
        let Some(index) = index.filter(|index| *index < count) else {
            return WHOLE;
        };
        let reached = usize::try_from(index).map_or(0, |index| index + 1);
        let weights = self.steps.iter().take(reached).rev();
        let mut weights = weights.filter_map(|step| match step {
            Step::SetWeight(weight) => Some(*weight),
            Step::Pause(_) | Step::Analysis(_) => None,
        });
        weights.next().unwrap_or(0)
    }
}

fn check_limits(
    canary: &CanaryStrategy,
    replicas: i32,
    problems: &mut Vec<Problem>,
) -> Option<Limits> {
    let (surge, unavailable) = (canary.max_surge.as_ref(), canary.max_unavailable.as_ref());
    let before = problems.len();
    for (field, value) in [("maxSurge", surge), ("maxUnavailable", unavailable)] {
        let pods = value.map_or(Ok(0), |value| value.of(100, Rounding::Up));
        if let Err(error) = pods {
            let field = format!("{CANARY}.{field}");
            problems.push(Problem::invalid(
                field,
                value.map(ToString::to_string).unwrap_or_default(),
                error,
            ));
        }
    }
    let nothing = |value: Option<&IntOrPercent>| {
        value.is_some_and(|value| value.of(100, Rounding::Up) == Ok(0))
    };
    if nothing(surge) && nothing(unavailable) {
        let why = "MaxSurge and MaxUnavailable both can not be zero";
        problems.push(Problem::invalid(format!("{CANARY}.maxSurge"), 0, why));
    }
    if problems.len() > before {
        return None;
    }
    Limits::resolve(replicas, surge, unavailable).ok()
}

fn check_canary<'a>(canary: &'a CanaryStrategy, problems: &mut Vec<Problem>) -> Vec<Step<'a>> {
    let at = |field: &str| format!("{CANARY}.{field}");
    let routed = canary.traffic_routing.is_some();
    if routed {
        problems.push(unsupported(at("trafficRouting"), "traffic routing"));
    }
    check_services(canary, problems);
    if !routed {
        for (field, written) in [
            (
                "scaleDownDelaySeconds",
                canary.scale_down_delay_seconds.is_some(),
            ),
            ("dynamicStableScale", canary.dynamic_stable_scale),
        ] {
            if written {
                let why = "Invalid value: it needs trafficRouting";
                problems.push(Problem::new(at(field), why));
            }
        }
    }
    if let Some(analysis) = &canary.analysis {
        check_arguments(analysis, &at("analysis"), problems);
    }
    canary
        .steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| {
            check_step(step, &at(&format!("steps[{index}]")), routed, problems)
        })
        .collect()
}

/// # Source
/// `ValidateRolloutStrategyCanary` in `pkg/apis/rollouts/validation/validation.go` of Argo Rollouts.
fn check_services(canary: &CanaryStrategy, problems: &mut Vec<Problem>) {
    let (tested, stable) = (&canary.canary_service, &canary.stable_service);
    let twice = |both: &str| {
        format!(
            "This rollout uses the same service for the {both} services, but two different \
             services are required."
        )
    };
    let Some(turns) = &canary.ping_pong else {
        if !stable.is_empty() && tested == stable {
            let field = format!("{CANARY}.stableService");
            problems.push(Problem::invalid(field, stable, twice("stable and canary")));
        }
        return;
    };
    let (one, other) = (&turns.ping_service, &turns.pong_service);
    for (field, name) in [("pingService", one), ("pongService", other)] {
        if name.is_empty() {
            let why = "Ping service and Pong service must to be set to use Ping-Pong feature";
            problems.push(Problem::invalid(
                format!("{CANARY}.pingPong.{field}"),
                name,
                why,
            ));
        }
    }
    if !one.is_empty() && one == other {
        let field = format!("{CANARY}.pingPong.pingService");
        problems.push(Problem::invalid(field, one, twice("ping and pong")));
    }
}

fn check_step<'a>(
    step: &'a CanaryStep,
    field: &str,
    routed: bool,
    problems: &mut Vec<Problem>,
) -> Option<Step<'a>> {
    if let Some(problem) = unusable(step, field, routed) {
        problems.push(problem);
        return None;
    }
    match (step.set_weight, &step.pause, &step.analysis) {
        (Some(weight), None, None) => {
            if !(0..=WHOLE).contains(&weight) {
                let why = format!("SetWeight needs to be between 0 and {WHOLE}");
                problems.push(Problem::invalid(format!("{field}.setWeight"), weight, why));
            }
            Some(Step::SetWeight(weight))
        }
        (None, Some(pause), None) => {
            let wait = pause.wait().ok().filter(|wait| {
                wait.is_none_or(|wait| (0..=i64::from(i32::MAX)).contains(&wait.as_secs()))
            });
            if wait.is_none() {
                let written = pause
                    .duration
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let why = "Duration needs to be greater than 0";
                problems.push(Problem::invalid(
                    format!("{field}.pause.duration"),
                    written,
                    why,
                ));
            }
            Some(Step::Pause(wait.flatten()))
        }
        (None, None, Some(analysis)) => {
            if analysis.templates.is_empty() {
                let why = "an analysis without templates would never end";
                problems.push(Problem::required(
                    format!("{field}.analysis.templates"),
                    why,
                ));
            }
            check_arguments(analysis, &format!("{field}.analysis"), problems);
            Some(Step::Analysis(analysis))
        }
        _ => {
            let why = "Step must have one of the following set: experiment, setWeight, \
                setCanaryScale, plugin or pause";
            problems.push(Problem::new(field, format!("Invalid value: {why}")));
            None
        }
    }
}

/// Kinds of steps that need what is not there.
fn unusable(step: &CanaryStep, field: &str, routed: bool) -> Option<Problem> {
    let without_routing = |part: &str, why: &str| {
        let field = format!("{field}.{part}");
        if routed {
            unsupported(field, "this step")
        } else {
            Problem::new(field, format!("Invalid value: {why}"))
        }
    };
    if step.experiment.is_some() {
        return Some(unsupported(
            format!("{field}.experiment"),
            "an experiment as a step",
        ));
    }
    if step.plugin.is_some() {
        return Some(unsupported(format!("{field}.plugin"), "a plugin as a step"));
    }
    if step.set_canary_scale.is_some() {
        let why = "SetCanaryScale requires TrafficRouting to be set";
        return Some(without_routing("setCanaryScale", why));
    }
    if step.set_header_route.is_some() {
        let why = "SetHeaderRoute requires TrafficRouting, supports Istio and ALB and Apisix";
        return Some(without_routing("setHeaderRoute", why));
    }
    if step.set_mirror_route.is_some() {
        let why = "SetMirrorRoute requires TrafficRouting, supports Istio and Plugins";
        return Some(without_routing("setMirrorRoute", why));
    }
    None
}
