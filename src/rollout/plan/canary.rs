//! A canary's spec as it is understood.

use super::{CANARY, Step, WHOLE, check_arguments, steps};
use crate::api::{
    CanaryStep, CanaryStrategy, IntOrPercent, Problem, ProgressType, ReplicaProgressThreshold,
    RolloutAnalysis, Rounding, SetCanaryScale,
};
use crate::rollout::replicas::{Limits, Pods};
use crate::rollout::scale_down::Delay;

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

    /// Whether a canary that is to have `desired` pods has enough that are available.
    ///
    /// # Source
    /// `ReplicaProgressThresholdMet` in `utils/replicaset/canary.go` of Argo Rollouts.
    pub(in crate::rollout) fn is_far_enough(&self, pods: Pods, desired: i32) -> bool {
        match self.threshold {
            None => pods.wanted == desired && pods.available == desired,
            Some(threshold) if threshold.progress_type == ProgressType::Percent => {
                let available = i64::from(pods.available) * 100;
                desired == 0 || available >= i64::from(desired) * i64::from(threshold.value)
            }
            Some(threshold) => pods.available >= threshold.value,
        }
    }

    /// How long old versions stay when a router leads nobody to them any more.
    pub(in crate::rollout) fn delay(&self) -> Delay {
        let written = self.written;
        Delay::of(
            written.scale_down_delay_seconds,
            written.scale_down_delay_revision_limit,
        )
    }

    /// The weight of all traffic, or of all pods.
    pub(in crate::rollout) fn whole(&self) -> i32 {
        whole(self.written)
    }

    /// Whether something else than the number of pods divides the traffic.
    pub(in crate::rollout) fn is_routed(&self) -> bool {
        self.written.traffic_routing.is_some()
    }

    /// The weight that the steps up to and including `index` have set.
    pub(in crate::rollout) fn weight(&self, index: Option<i32>) -> i32 {
        match self.reached(index) {
            Some(steps) => steps
                .iter()
                .rev()
                .find_map(|step| step.set_weight)
                .unwrap_or(0),
            None => self.whole(),
        }
    }

    /// The weight that the steps before `index` have set, the last one's after all of them.
    pub(in crate::rollout) fn weight_before(&self, index: i32) -> i32 {
        let before = usize::try_from(index).unwrap_or_default();
        let steps = self.written.steps.iter().take(before).rev();
        steps.clone().find_map(|step| step.set_weight).unwrap_or(0)
    }

    /// The size that the steps up to and including `index` have set for the canary.
    ///
    /// # Source
    /// `UseSetCanaryScale` in `utils/replicaset/canary.go` of Argo Rollouts.
    pub(in crate::rollout) fn scale(&self, index: Option<i32>) -> Option<&'a SetCanaryScale> {
        let mut steps = self.reached(index)?.iter().rev();
        let scale = steps.find_map(|step| step.set_canary_scale.as_ref())?;
        (self.is_routed() && !scale.match_traffic_weight).then_some(scale)
    }

    /// The steps up to and including `index`; none without one, and when all are done.
    fn reached(&self, index: Option<i32>) -> Option<&'a [CanaryStep]> {
        let index = usize::try_from(index?).unwrap_or_default();
        self.written.steps.get(..=index)
    }
}

/// The weight of all traffic: `maxTrafficWeight`, or 100.
pub(super) fn whole(canary: &CanaryStrategy) -> i32 {
    let routing = canary.traffic_routing.as_ref();
    routing
        .and_then(|routing| routing.max_traffic_weight)
        .unwrap_or(WHOLE)
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
        problems.push(Problem::invalid_number(
            format!("{CANARY}.maxSurge"),
            0,
            why,
        ));
    }
    if problems.len() > before {
        return None;
    }
    Limits::resolve(replicas, surge, unavailable).ok()
}

fn check_canary<'a>(canary: &'a CanaryStrategy, problems: &mut Vec<Problem>) -> Vec<Step<'a>> {
    let at = |field: &str| format!("{CANARY}.{field}");
    check_services(canary, problems);
    check_routing(canary, problems);
    if let Some(analysis) = &canary.analysis {
        check_arguments(&analysis.args, &at("analysis"), problems);
    }
    steps::check(canary, problems)
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
    if !stable.is_empty() && tested == stable {
        let field = format!("{CANARY}.stableService");
        problems.push(Problem::invalid(field, stable, twice("stable and canary")));
    }
    let Some(turns) = &canary.ping_pong else {
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

/// # Source
/// `requireCanaryStableServices` and `ValidateRolloutStrategyCanary` in
/// `pkg/apis/rollouts/validation/validation.go` of Argo Rollouts.
fn check_routing(canary: &CanaryStrategy, problems: &mut Vec<Problem>) {
    let at = |field: &str| format!("{CANARY}.{field}");
    let mut refuse = |field: &str, why: &str| {
        problems.push(Problem::new(at(field), format!("Invalid value: {why}")));
    };
    let Some(routing) = &canary.traffic_routing else {
        if canary.scale_down_delay_seconds.is_some() {
            let why = "Canary scaleDownDelaySeconds can only be used with traffic routing";
            refuse("scaleDownDelaySeconds", why);
        }
        if canary.dynamic_stable_scale {
            let why = "Canary dynamicStableScale can only be used with traffic routing";
            refuse("dynamicStableScale", why);
        }
        return;
    };
    if canary.scale_down_delay_seconds.is_some() && canary.dynamic_stable_scale {
        let why = "Canary dynamicStableScale cannot be used with scaleDownDelaySeconds";
        refuse("dynamicStableScale", why);
    }
    let plugged = !routing.plugins.is_empty();
    if routing.max_traffic_weight.is_some() && routing.nginx.is_none() && !plugged {
        let why = "Canary maxTrafficWeight in traffic routing only supported in Nginx and Plugins";
        refuse("trafficRouting.maxTrafficWeight", why);
    }
    let takes_turns = canary.ping_pong.is_some();
    if takes_turns && routing.alb.is_none() && routing.istio.is_none() && !plugged {
        let why = "Ping-pong feature works with the ALB, Istio, and plugin-based traffic routers \
            only";
        refuse("trafficRouting.alb", why);
    }
    let balancer = routing.alb.as_ref();
    if takes_turns && balancer.is_some_and(|balancer| balancer.root_service.is_empty()) {
        let why = "Root service field is required for the configuration with ALB and ping-pong \
            feature enabled";
        refuse("trafficRouting.alb.rootService", why);
    }
    let istio = routing.istio.as_ref();
    let by_hosts = istio.is_some_and(|istio| istio.destination_rule.is_none());
    let needs_services = (!takes_turns && (balancer.is_some() || by_hosts))
        || routing.smi.is_some()
        || routing.apisix.is_some()
        || routing.ambassador.is_some()
        || routing.nginx.is_some()
        || routing.app_mesh.is_some()
        || routing.traefik.is_some();
    for (field, service) in [
        ("stableService", &canary.stable_service),
        ("canaryService", &canary.canary_service),
    ] {
        if needs_services && service.is_empty() {
            let why = "Canary service and Stable service must to be set to use Traffic Routing";
            refuse(field, why);
        }
    }
}
