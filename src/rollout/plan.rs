//! A Rollout's spec as it is understood, or everything that is wrong with it.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use serde_json::Value;

use super::replicas::Limits;
use crate::analysis::Problem;
use crate::api::{
    AntiAffinity, CanaryStep, CanaryStrategy, ReplicaProgressThreshold, Rollout, RolloutAnalysis,
    RolloutSpec,
};

/// What a valid canary Rollout asks for.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) replicas: i32,
    pub(super) selector: Selector,
    pub(super) limits: Limits,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) background: Option<&'a RolloutAnalysis>,
    pub(super) threshold: Option<&'a ReplicaProgressThreshold>,
}

/// One step of a canary.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// Give the canary this percentage of the pods.
    SetWeight(i32),
    /// Wait this long, or for a person.
    Pause(Option<SignedDuration>),
    /// Run an analysis and wait for its success.
    Analysis(&'a RolloutAnalysis),
}

/// The weight that means all pods.
pub(super) const WHOLE: i32 = 100;

const CANARY: &str = "spec.strategy.canary";

impl<'a> Plan<'a> {
    /// Understands a spec, or lists all that is wrong with it.
    pub(super) fn of(rollout: &'a Rollout) -> Result<Self, Vec<Problem>> {
        let spec = &rollout.spec;
        let mut problems = Vec::new();
        for part in rollout
            .unreadable
            .iter()
            .filter(|part| part.path.starts_with("spec"))
        {
            let why = format!("Invalid value: expected {}", part.expected);
            problems.push(Problem::new(part.path.clone(), why));
        }
        check_numbers(spec, &mut problems);
        let selector = check_pods(spec, &mut problems);
        let canary = check_strategy(spec, &mut problems);
        let replicas = spec.replicas().max(0);
        let limits = canary.and_then(|canary| check_limits(canary, replicas, &mut problems));
        let steps = canary
            .map(|canary| check_canary(canary, &mut problems))
            .unwrap_or_default();
        match (selector, canary, limits) {
            (Some(selector), Some(canary), Some(limits)) if problems.is_empty() => Ok(Self {
                replicas,
                selector,
                limits,
                steps,
                background: canary.analysis.as_ref().filter(|a| !a.templates.is_empty()),
                threshold: canary
                    .replica_progress_threshold
                    .as_ref()
                    .filter(|threshold| threshold.value >= 0),
            }),
            _ => Err(problems),
        }
    }

    /// The number of steps.
    pub(super) fn step_count(&self) -> i32 {
        i32::try_from(self.steps.len()).unwrap_or(i32::MAX)
    }

    /// The step at `index`; none after the last.
    pub(super) fn step(&self, index: Option<i32>) -> Option<Step<'a>> {
        usize::try_from(index?)
            .ok()
            .and_then(|index| self.steps.get(index))
            .copied()
    }

    /// The weight that the steps up to and including `index` have set.
    pub(super) fn weight(&self, index: Option<i32>) -> i32 {
        let Some(index) = index.filter(|index| *index < self.step_count()) else {
            return WHOLE;
        };
        let reached = usize::try_from(index).map_or(0, |index| index + 1);
        let weights = self
            .steps
            .iter()
            .take(reached)
            .rev()
            .filter_map(|step| match step {
                Step::SetWeight(weight) => Some(*weight),
                Step::Pause(_) | Step::Analysis(_) => None,
            });
        weights.into_iter().next().unwrap_or(0)
    }

    /// Every analysis that the spec names, with what it is used for.
    pub(super) fn analyses(&self) -> Vec<(Use, &'a RolloutAnalysis)> {
        let steps = (0..)
            .zip(&self.steps)
            .filter_map(|(index, step)| match step {
                Step::Analysis(analysis) => Some((Use::Step(index), *analysis)),
                Step::SetWeight(_) | Step::Pause(_) => None,
            });
        let background = self.background.map(|analysis| (Use::Background, analysis));
        steps.chain(background).collect()
    }
}

/// What a Rollout uses an AnalysisRun for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Background,
    /// The step of this index.
    Step(i32),
}

impl Use {
    /// Where its templates are named.
    pub(super) fn field(self) -> String {
        match self {
            Self::Background => format!("{CANARY}.analysis.templates"),
            Self::Step(index) => format!("{CANARY}.steps[{index}].analysis.templates"),
        }
    }
}

fn unsupported(field: impl Into<String>, what: &str) -> Problem {
    Problem::new(
        field,
        format!("Unsupported value: {what} is not supported yet"),
    )
}

fn check_numbers(spec: &RolloutSpec, problems: &mut Vec<Problem>) {
    let mut not_negative = |field: &str, value: i32| {
        if value < 0 {
            problems.push(Problem::invalid(
                field,
                value,
                "must be greater than or equal to 0",
            ));
        }
    };
    not_negative("spec.replicas", spec.replicas());
    not_negative("spec.minReadySeconds", spec.min_ready_seconds());
    not_negative("spec.revisionHistoryLimit", spec.revision_history_limit());
    not_negative(
        "spec.progressDeadlineSeconds",
        spec.progress_deadline_seconds(),
    );
    let deadline = spec.progress_deadline_seconds();
    if deadline <= spec.min_ready_seconds() {
        let why = "must be greater than minReadySeconds";
        problems.push(Problem::invalid(
            "spec.progressDeadlineSeconds",
            deadline,
            why,
        ));
    }
}

fn check_pods(spec: &RolloutSpec, problems: &mut Vec<Problem>) -> Option<Selector> {
    if spec.workload_ref.is_some() {
        problems.push(unsupported(
            "spec.workloadRef",
            "a reference to another workload",
        ));
        return None;
    }
    let selector = check_selector(spec.selector.as_ref(), problems);
    let template = Value::Object(spec.template.json.clone());
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

fn string_map(value: Option<&Value>) -> std::collections::BTreeMap<String, String> {
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

fn check_strategy<'a>(
    spec: &'a RolloutSpec,
    problems: &mut Vec<Problem>,
) -> Option<&'a CanaryStrategy> {
    match (&spec.strategy.canary, &spec.strategy.blue_green) {
        (Some(canary), None) => Some(canary),
        (Some(canary), Some(_)) => {
            let why = "Multiple Strategies can not be listed";
            problems.push(Problem::new(
                "spec.strategy",
                format!("Invalid value: {why}"),
            ));
            Some(canary)
        }
        (None, Some(_)) => {
            problems.push(unsupported(
                "spec.strategy.blueGreen",
                "the blue-green strategy",
            ));
            None
        }
        (None, None) => {
            let why =
                "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'";
            problems.push(Problem::required("spec.strategy", why));
            None
        }
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
        let pods = value.map_or(Ok(0), |value| value.of(100, crate::api::Rounding::Up));
        if let Err(error) = pods {
            let field = format!("{CANARY}.{field}");
            problems.push(Problem::invalid(
                field,
                value.map(ToString::to_string).unwrap_or_default(),
                error,
            ));
        }
    }
    let nothing = |value: Option<&crate::api::IntOrPercent>| {
        value.is_some_and(|value| value.of(100, crate::api::Rounding::Up) == Ok(0))
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
    for (field, written) in [
        ("canaryService", !canary.canary_service.is_empty()),
        ("stableService", !canary.stable_service.is_empty()),
        ("pingPong", canary.ping_pong.is_some()),
        ("canaryMetadata", canary.canary_metadata.is_some()),
        ("stableMetadata", canary.stable_metadata.is_some()),
    ] {
        if written {
            problems.push(unsupported(at(field), "this"));
        }
    }
    if canary
        .anti_affinity
        .as_ref()
        .is_some_and(|rule| *rule != AntiAffinity::default())
    {
        problems.push(unsupported(at("antiAffinity"), "this"));
    }
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

fn check_arguments(analysis: &RolloutAnalysis, field: &str, problems: &mut Vec<Problem>) {
    for (index, argument) in analysis.args.iter().enumerate() {
        let source = argument.value_from.as_ref();
        let path = source
            .and_then(|source| source.field_ref.as_ref())
            .map(|path| &path.field_path);
        let Some(path) = path.filter(|path| path.starts_with("metadata")) else {
            continue;
        };
        // Whether the path is one that can be read does not depend on the object.
        if let Err(why) = crate::analysis::field(&Value::Null, path) {
            let field = format!("{field}.args[{index}].valueFrom.fieldRef.fieldPath");
            problems.push(Problem::invalid(field, path, why));
        }
    }
}
