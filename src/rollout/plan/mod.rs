//! A Rollout's spec as it is understood, or everything that is wrong with it.

mod blue_green;
mod canary;
mod pods;
mod roles;
mod steps;

use jiff::SignedDuration;
use kube::core::Selector;
use serde_json::Value;

use crate::api::{
    ExperimentStep, PluginStep, Problem, Rollout, RolloutAnalysis, RolloutArgument, RolloutSpec,
};

pub(super) use blue_green::{BlueGreen, Consent};
pub(super) use canary::Canary;

/// What a valid Rollout asks for.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) replicas: i32,
    pub(super) selector: Selector,
    pub(super) strategy: Strategy<'a>,
}

/// How one version replaces another.
#[derive(Debug)]
pub(super) enum Strategy<'a> {
    Canary(Canary<'a>),
    BlueGreen(BlueGreen<'a>),
}

/// One step of a canary, by what it waits for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// Give the canary this share of the pods or of the traffic.
    SetWeight,
    /// Wait this long, or for a person.
    Pause(Option<SignedDuration>),
    /// Give the canary another size than its share asks for.
    SetCanaryScale,
    /// Run an Experiment and wait for its success.
    Experiment(&'a ExperimentStep),
    /// Run an analysis and wait for its success.
    Analysis(&'a RolloutAnalysis),
    /// Send requests with some headers to the canary.
    SetHeaderRoute,
    /// Send copies of requests to the canary.
    SetMirrorRoute,
    /// Run a plugin.
    Plugin(&'a PluginStep),
}

/// The weight that means all pods.
pub(super) const WHOLE: i32 = 100;

const CANARY: &str = "spec.strategy.canary";
const BLUE_GREEN: &str = "spec.strategy.blueGreen";

impl<'a> Plan<'a> {
    /// Understands a spec, or lists all that is wrong with it. `problems` is why its template could
    /// not be found.
    pub(super) fn of(
        rollout: &'a Rollout,
        mut problems: Vec<Problem>,
    ) -> Result<Self, Vec<Problem>> {
        let spec = &rollout.spec;
        let has_template = problems.is_empty();
        let unreadable = rollout.unreadable.iter();
        for part in unreadable.filter(|part| part.path.starts_with("spec")) {
            let why = format!("Invalid value: expected {}", part.expected);
            problems.push(Problem::new(part.path.clone(), why));
        }
        check_numbers(spec, &mut problems);
        let selector = has_template
            .then(|| pods::check(spec, &mut problems))
            .flatten();
        roles::check(spec, selector.as_ref(), &mut problems);
        let replicas = spec.replicas().max(0);
        let strategy = check_strategy(spec, replicas, &mut problems);
        match (selector, strategy) {
            (Some(selector), Some(strategy)) if problems.is_empty() => Ok(Self {
                replicas,
                selector,
                strategy,
            }),
            _ => Err(problems),
        }
    }

    /// The steps; none without a canary.
    fn steps(&self) -> &[Step<'a>] {
        match &self.strategy {
            Strategy::Canary(canary) => &canary.steps,
            Strategy::BlueGreen(_) => &[],
        }
    }

    /// The number of steps.
    pub(super) fn step_count(&self) -> i32 {
        i32::try_from(self.steps().len()).unwrap_or(i32::MAX)
    }

    /// The step at `index`; none after the last.
    pub(super) fn step(&self, index: Option<i32>) -> Option<Step<'a>> {
        let index = usize::try_from(index?).ok()?;
        self.steps().get(index).copied()
    }

    /// The step at `index` as Argo Rollouts names it.
    pub(super) fn step_text(&self, index: i32) -> String {
        let Strategy::Canary(canary) = &self.strategy else {
            return String::new();
        };
        let step = usize::try_from(index).ok();
        let step = step.and_then(|index| canary.written.steps.get(index));
        step.map(steps::text).unwrap_or_default()
    }

    /// Every analysis that the spec names, with what it is used for.
    pub(super) fn analyses(&self) -> Vec<(Use, &'a RolloutAnalysis)> {
        let steps = (0..).zip(self.steps());
        let steps = steps.filter_map(|(index, step)| match step {
            Step::Analysis(analysis) => Some((Use::Step(index), *analysis)),
            Step::SetWeight
            | Step::Pause(_)
            | Step::SetCanaryScale
            | Step::Experiment(_)
            | Step::SetHeaderRoute
            | Step::SetMirrorRoute
            | Step::Plugin(_) => None,
        });
        let others = match &self.strategy {
            Strategy::Canary(canary) => vec![(Use::Background, canary.background)],
            Strategy::BlueGreen(plan) => vec![
                (Use::PrePromotion, plan.before),
                (Use::PostPromotion, plan.after),
            ],
        };
        let others = others.into_iter();
        let others = others.filter_map(|(usage, analysis)| Some((usage, analysis?)));
        steps.chain(others).collect()
    }
}

/// What a Rollout uses an AnalysisRun for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Background,
    /// The step of this index.
    Step(i32),
    /// Before the active Service is switched.
    PrePromotion,
    /// After that.
    PostPromotion,
}

impl Use {
    /// Where its templates are named.
    pub(super) fn field(self) -> String {
        match self {
            Self::Background => format!("{CANARY}.analysis.templates"),
            Self::Step(index) => format!("{CANARY}.steps[{index}].analysis.templates"),
            Self::PrePromotion => format!("{BLUE_GREEN}.prePromotionAnalysis.templates"),
            Self::PostPromotion => format!("{BLUE_GREEN}.postPromotionAnalysis.templates"),
        }
    }
}

fn check_numbers(spec: &RolloutSpec, problems: &mut Vec<Problem>) {
    let mut not_negative = |field: &str, value: i32| {
        if value < 0 {
            problems.push(Problem::invalid_number(
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
        problems.push(Problem::invalid_number(
            "spec.progressDeadlineSeconds",
            deadline,
            why,
        ));
    }
}

fn check_strategy<'a>(
    spec: &'a RolloutSpec,
    replicas: i32,
    problems: &mut Vec<Problem>,
) -> Option<Strategy<'a>> {
    match (&spec.strategy.canary, &spec.strategy.blue_green) {
        (Some(canary), blue_green) => {
            if blue_green.is_some() {
                let why = "Invalid value: Multiple Strategies can not be listed";
                problems.push(Problem::new("spec.strategy", why));
            }
            Canary::of(canary, replicas, problems).map(Strategy::Canary)
        }
        (None, Some(blue_green)) => {
            let plan = BlueGreen::of(blue_green, spec, problems);
            Some(Strategy::BlueGreen(plan))
        }
        (None, None) => {
            let why =
                "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'";
            problems.push(Problem::required("spec.strategy", why));
            None
        }
    }
}

fn check_arguments(args: &[RolloutArgument], field: &str, problems: &mut Vec<Problem>) {
    for (index, argument) in args.iter().enumerate() {
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
            let why = format!(
                "Analyses arguments must refer to valid object metadata supported by downwardAPI: {why}"
            );
            problems.push(Problem::invalid(field, path, why));
        }
    }
}
