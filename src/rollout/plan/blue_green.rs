//! A blue-green spec as it is understood.

use jiff::SignedDuration;

use super::{BLUE_GREEN, check_arguments};
use crate::api::{BlueGreenStrategy, Problem, RolloutAnalysis, RolloutSpec, Rounding};
use crate::rollout::scale_down::{Delay, wait_after_abort};

/// What a valid blue-green strategy asks for.
#[derive(Debug)]
pub(in crate::rollout) struct BlueGreen<'a> {
    /// The Service that users reach.
    pub(in crate::rollout) active: &'a str,
    /// The Service of the new version, if there is one.
    pub(in crate::rollout) preview: Option<&'a str>,
    /// How many pods the new version has before anybody has agreed to it; none: all.
    pub(in crate::rollout) preview_pods: Option<i32>,
    /// What the switch waits for when the new version is up and judged.
    pub(in crate::rollout) consent: Consent,
    pub(in crate::rollout) before: Option<&'a RolloutAnalysis>,
    pub(in crate::rollout) after: Option<&'a RolloutAnalysis>,
    /// How long old versions stay.
    pub(in crate::rollout) delay: Delay,
    /// Whether that is the default: then they stay for the analysis after the switch, too.
    pub(in crate::rollout) is_default_delay: bool,
    /// How long the new version stays after an abort; none: for good.
    pub(in crate::rollout) abort_delay: Option<SignedDuration>,
}

/// What lets the active Service be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rollout) enum Consent {
    Given,
    /// Nobody has objected for so long.
    After(SignedDuration),
    /// A person has to give it.
    Asked,
}

impl<'a> BlueGreen<'a> {
    /// Understands a blue-green strategy, and adds all that is wrong with it to `problems`.
    pub(super) fn of(
        written: &'a BlueGreenStrategy,
        spec: &RolloutSpec,
        problems: &mut Vec<Problem>,
    ) -> Self {
        check_services(written, problems);
        check_numbers(written, spec, problems);
        check_analyses(written, problems);
        let consent = match written.auto_promotion_seconds.unwrap_or(0) {
            _ if written.auto_promotion_enabled == Some(false) => Consent::Asked,
            wait @ 1.. => Consent::After(SignedDuration::from_secs(wait.into())),
            _ => Consent::Given,
        };
        let delay = written.scale_down_delay_seconds;
        Self {
            active: &written.active_service,
            preview: Some(written.preview_service.as_str()).filter(|name| !name.is_empty()),
            preview_pods: written.preview_replica_count,
            consent,
            before: written.pre_promotion_analysis.as_ref(),
            after: written.post_promotion_analysis.as_ref(),
            delay: Delay::of(delay, written.scale_down_delay_revision_limit),
            is_default_delay: delay.is_none(),
            abort_delay: wait_after_abort(written.abort_scale_down_delay_seconds),
        }
    }
}

fn at(field: &str) -> String {
    format!("{BLUE_GREEN}.{field}")
}

/// # Source
/// `ValidateRolloutStrategyBlueGreen` in `pkg/apis/rollouts/validation/validation.go` of Argo
/// Rollouts.
fn check_services(written: &BlueGreenStrategy, problems: &mut Vec<Problem>) {
    let active = &written.active_service;
    if active.is_empty() {
        let why = "it is the Service that users reach";
        problems.push(Problem::required(at("activeService"), why));
    } else if *active == written.preview_service {
        let why = "This rollout uses the same service for the active and preview services, but two \
            different services are required.";
        problems.push(Problem::invalid(at("activeService"), active, why));
    }
}

fn check_numbers(written: &BlueGreenStrategy, spec: &RolloutSpec, problems: &mut Vec<Problem>) {
    let history = spec.revision_history_limit();
    let waiting = written.scale_down_delay_revision_limit;
    if let Some(limit) = waiting.filter(|limit| history < *limit) {
        let why = "This rollout's revision history limit can not be smaller than the rollout's \
            scale down limit";
        let field = at("scaleDownDelayRevisionLimit");
        problems.push(Problem::invalid_number(field, limit, why));
    }
    if let Some(count) = written.preview_replica_count.filter(|count| *count < 0) {
        let why = "must be greater than or equal to 0";
        let field = at("previewReplicaCount");
        problems.push(Problem::invalid_number(field, count, why));
    }
    if let Some(missing) = &written.max_unavailable
        && let Err(error) = missing.of(100, Rounding::Down)
    {
        problems.push(Problem::invalid(at("maxUnavailable"), missing, error));
    }
}

fn check_analyses(written: &BlueGreenStrategy, problems: &mut Vec<Problem>) {
    for (field, analysis) in [
        ("prePromotionAnalysis", &written.pre_promotion_analysis),
        ("postPromotionAnalysis", &written.post_promotion_analysis),
    ] {
        let Some(analysis) = analysis else { continue };
        let field = at(field);
        if analysis.templates.is_empty() {
            let why = "an analysis without templates would never end";
            problems.push(Problem::required(format!("{field}.templates"), why));
        }
        check_arguments(&analysis.args, &field, problems);
    }
}
