//! The steps of a canary as they are understood: what must be waited for before the next one.

use super::canary::whole;
use super::{CANARY, Step, check_arguments};
use crate::api::{
    CanaryStep, CanaryStrategy, ExperimentStep, Problem, RolloutPause, SetCanaryScale,
    SetHeaderRoute, SetMirrorRoute, SpecRef, StringMatch, TrafficRouting,
};

/// Understands the steps, or adds all that is wrong with them to `problems`.
pub(super) fn check<'a>(canary: &'a CanaryStrategy, problems: &mut Vec<Problem>) -> Vec<Step<'a>> {
    let routing = canary.traffic_routing.as_deref();
    let takes_routes =
        |step: &CanaryStep| step.set_header_route.is_some() || step.set_mirror_route.is_some();
    if routing.is_some_and(|routing| routing.managed_routes.is_none())
        && canary.steps.iter().any(takes_routes)
    {
        let field = format!("{CANARY}.trafficRouting.managedRoutes");
        let why = format!("Rollout has missing field '{field}'");
        problems.push(Problem::required(field, why));
    }
    let steps = canary.steps.iter().enumerate();
    steps
        .filter_map(|(index, step)| {
            let mut check = Check {
                field: format!("{CANARY}.steps[{index}]"),
                whole: whole(canary),
                routing,
                problems,
            };
            check.members(step);
            check.kind(step)
        })
        .collect()
}

struct Check<'c> {
    field: String,
    whole: i32,
    routing: Option<&'c TrafficRouting>,
    problems: &'c mut Vec<Problem>,
}

impl Check<'_> {
    fn refuse(&mut self, part: &str, why: &str) {
        let field = format!("{}{part}", self.field);
        self.problems
            .push(Problem::new(field, format!("Invalid value: {why}")));
    }

    /// What a step waits for. Where several members are set, this one goes before the next, as in
    /// Argo.
    ///
    /// # Source
    /// `completedCurrentCanaryStep` in `rollout/canary.go` of Argo Rollouts.
    fn kind<'a>(&mut self, step: &'a CanaryStep) -> Option<Step<'a>> {
        let alone = [
            step.set_weight.is_some(),
            step.pause.is_some(),
            step.experiment.is_some(),
            step.analysis.is_some(),
        ];
        let others = [
            step.set_canary_scale.is_some(),
            step.set_header_route.is_some(),
            step.set_mirror_route.is_some(),
            step.plugin.is_some(),
        ];
        let count = |members: &[bool; 4]| members.iter().filter(|set| **set).count();
        if count(&alone) > 1 || count(&alone) + count(&others) == 0 {
            let why = "Step must have one of the following set: experiment, setWeight, \
                setCanaryScale, plugin or pause";
            self.refuse("", why);
            return None;
        }
        if let Some(pause) = &step.pause {
            self.pause(pause)
        } else if step.set_canary_scale.is_some() {
            Some(Step::SetCanaryScale)
        } else if step.set_weight.is_some() {
            Some(Step::SetWeight)
        } else if let Some(experiment) = &step.experiment {
            Some(Step::Experiment(experiment))
        } else if let Some(analysis) = &step.analysis {
            Some(Step::Analysis(analysis))
        } else if step.set_header_route.is_some() {
            Some(Step::SetHeaderRoute)
        } else if step.set_mirror_route.is_some() {
            Some(Step::SetMirrorRoute)
        } else {
            step.plugin.as_ref().map(Step::Plugin)
        }
    }

    fn pause<'a>(&mut self, pause: &RolloutPause) -> Option<Step<'a>> {
        let fits = |seconds: i64| (0..=i64::from(i32::MAX)).contains(&seconds);
        let wait = pause.wait().ok();
        let wait = wait.filter(|wait| wait.is_none_or(|wait| fits(wait.as_secs())));
        if wait.is_none() {
            let written = pause.duration.as_ref().map(ToString::to_string);
            let field = format!("{}.pause.duration", self.field);
            let why = "Duration needs to be greater than 0";
            self.problems
                .push(Problem::invalid(field, written.unwrap_or_default(), why));
        }
        wait.map(Step::Pause)
    }

    fn members(&mut self, step: &CanaryStep) {
        if let Some(weight) = step.set_weight
            && !(0..=self.whole).contains(&weight)
        {
            let why = format!("SetWeight needs to be between 0 and {}", self.whole);
            let field = format!("{}.setWeight", self.field);
            self.problems
                .push(Problem::invalid_number(field, weight, why));
        }
        if step.set_canary_scale.is_some() && self.routing.is_none() {
            let why = "SetCanaryScale requires TrafficRouting to be set";
            self.refuse(".setCanaryScale", why);
        }
        if let Some(route) = &step.set_header_route {
            self.header_route(route);
        }
        if let Some(route) = &step.set_mirror_route {
            self.mirror_route(route);
        }
        if let Some(experiment) = &step.experiment {
            self.experiment(experiment);
        }
        if let Some(analysis) = &step.analysis {
            let field = format!("{}.analysis", self.field);
            if analysis.templates.is_empty() {
                let why = "an analysis without templates would never end";
                self.problems
                    .push(Problem::required(format!("{field}.templates"), why));
            }
            check_arguments(&analysis.args, &field, self.problems);
        }
    }

    fn header_route(&mut self, route: &SetHeaderRoute) {
        let able = |routing: &&TrafficRouting| {
            let built_in = routing.istio.is_some() || routing.apisix.is_some();
            built_in || routing.alb.is_some() || !routing.plugins.is_empty()
        };
        let Some(routing) = self.routing.filter(able) else {
            let why = "SetHeaderRoute requires TrafficRouting, supports Istio and ALB and Apisix";
            self.refuse(".setHeaderRoute", why);
            return;
        };
        self.managed(".setHeaderRoute", &route.name, routing);
        for (index, header) in route.matches.iter().enumerate() {
            let field = format!(".setHeaderRoute.match[{index}]");
            let value = &header.header_value;
            let only_exact =
                !value.exact.is_empty() && value.prefix.is_empty() && value.regex.is_empty();
            if routing.alb.is_none() {
                self.text_match(&field, value);
            } else if !only_exact {
                let why = "SetHeaderRoute match value invalid. ALB supports 'exact' value only";
                self.refuse(&field, why);
            }
        }
    }

    fn mirror_route(&mut self, route: &SetMirrorRoute) {
        let able =
            |routing: &&TrafficRouting| routing.istio.is_some() || !routing.plugins.is_empty();
        let Some(routing) = self.routing.filter(able) else {
            let why = "SetMirrorRoute requires TrafficRouting, supports Istio and Plugins";
            self.refuse(".setMirrorRoute", why);
            return;
        };
        self.managed(".setMirrorRoute", &route.name, routing);
        for (index, request) in route.matches.iter().enumerate() {
            for value in request.method.iter().chain(&request.path) {
                self.text_match(&format!(".setMirrorRoute.match[{index}]"), value);
            }
        }
    }

    /// A route that steps set must be one that the controller may manage.
    fn managed(&mut self, part: &str, name: &str, routing: &TrafficRouting) {
        let Some(managed) = &routing.managed_routes else {
            return;
        };
        if !managed.iter().any(|route| route.name == name) {
            let why = "Steps define a route that does not exist in \
                spec.strategy.canary.trafficRouting.managedRoutes";
            let field = format!("{}{part}", self.field);
            self.problems.push(Problem::invalid(field, name, why));
        }
    }

    fn text_match(&mut self, part: &str, value: &StringMatch) {
        let ways = [&value.exact, &value.prefix, &value.regex];
        match ways.into_iter().filter(|way| !way.is_empty()).count() {
            0 => {
                let why = "StringMatch value missed, match value must have one of the following: \
                    exact, regex, prefix";
                self.refuse(part, why);
            }
            1 => {}
            _ => {
                let why = "StringMatch match value must have exactly one of the following: exact, \
                    regex, prefix";
                self.refuse(part, why);
            }
        }
    }

    fn experiment(&mut self, step: &ExperimentStep) {
        let able = |routing: &TrafficRouting| {
            let built_in = routing.smi.is_some() || routing.istio.is_some();
            built_in || routing.alb.is_some() || !routing.plugins.is_empty()
        };
        let why = match self.routing {
            None => {
                Some("Experiment template weight cannot be set unless TrafficRouting is enabled")
            }
            Some(routing) if !able(routing) => Some(
                "Experiment template weight is only available for TrafficRouting with SMI, ALB, \
                 Istio and Plugins at this time",
            ),
            Some(_) => None,
        };
        for (index, template) in step.templates.iter().enumerate() {
            let field = format!("{}.experiment.templates[{index}]", self.field);
            if let (Some(weight), Some(why)) = (template.weight, why) {
                let problem = Problem::invalid_number(format!("{field}.weight"), weight, why);
                self.problems.push(problem);
            }
            if let SpecRef::Other(word) = &template.spec_ref {
                let why = format!(
                    "Unsupported value: \"{word}\": supported values: \"canary\", \"stable\""
                );
                self.problems
                    .push(Problem::new(format!("{field}.specRef"), why));
            }
        }
        for (index, analysis) in step.analyses.iter().enumerate() {
            let field = format!("{}.experiment.analyses[{index}]", self.field);
            check_arguments(&analysis.args, &field, self.problems);
        }
    }
}

/// A step as Argo Rollouts names it in Events.
///
/// # Source
/// `CanaryStepString` in `utils/rollout/rolloututil.go` of Argo Rollouts.
pub(in crate::rollout) fn text(step: &CanaryStep) -> String {
    if let Some(weight) = step.set_weight {
        format!("setWeight: {weight}")
    } else if let Some(pause) = &step.pause {
        let duration = pause.duration.as_ref();
        duration.map_or_else(
            || "pause".to_owned(),
            |duration| format!("pause: {duration}"),
        )
    } else if step.experiment.is_some() {
        "experiment".to_owned()
    } else if step.analysis.is_some() {
        "analysis".to_owned()
    } else if let Some(text) = step.set_canary_scale.as_ref().and_then(scale_text) {
        text
    } else if let Some(plugin) = &step.plugin {
        format!("plugin: {}", plugin.name)
    } else if let Some(route) = &step.set_header_route {
        format!("setHeaderRoute: {}", route.name)
    } else if let Some(route) = &step.set_mirror_route {
        format!("setMirrorRoute: {}", route.name)
    } else {
        "invalid".to_owned()
    }
}

fn scale_text(scale: &SetCanaryScale) -> Option<String> {
    if let Some(weight) = scale.weight {
        Some(format!("setCanaryScale{{weight: {weight}}}"))
    } else if scale.match_traffic_weight {
        Some("setCanaryScale{matchTrafficWeight: true}".to_owned())
    } else {
        let replicas = scale.replicas?;
        Some(format!("setCanaryScale{{replicas: {replicas}}}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_named_as_argo_names_them() {
        let cases = [
            (json!({"setWeight": 20}), "setWeight: 20"),
            (json!({"pause": {}}), "pause"),
            (json!({"pause": {"duration": "1h"}}), "pause: 1h"),
            (json!({"experiment": {"templates": []}}), "experiment"),
            (json!({"analysis": {}}), "analysis"),
            (
                json!({"setCanaryScale": {"weight": 5, "replicas": 1}}),
                "setCanaryScale{weight: 5}",
            ),
            (
                json!({"setCanaryScale": {"matchTrafficWeight": true}}),
                "setCanaryScale{matchTrafficWeight: true}",
            ),
            (
                json!({"setCanaryScale": {"replicas": 3}}),
                "setCanaryScale{replicas: 3}",
            ),
            (json!({"setCanaryScale": {}}), "invalid"),
            (json!({"plugin": {"name": "org/p"}}), "plugin: org/p"),
            (
                json!({"setHeaderRoute": {"name": "h"}}),
                "setHeaderRoute: h",
            ),
            (
                json!({"setMirrorRoute": {"name": "m"}}),
                "setMirrorRoute: m",
            ),
        ];
        for (step, expected) in cases {
            let step: CanaryStep = serde_json::from_value(step).unwrap();
            assert_eq!(text(&step), expected);
        }
    }
}
