//! The rules that a spec is held to, one by one: `ValidateRollout` in
//! `pkg/apis/rollouts/validation/validation.go` of Argo Rollouts, with its words.

use super::*;
use crate::rollout::problems;

const CANARY: &str = "spec.strategy.canary";

/// What is wrong with a valid spec after this merge patch.
fn wrong(patch: &Value) -> Vec<String> {
    let mut rollout = serde_json::to_value(World::new(json!({})).rollout).unwrap();
    json_patch::merge(&mut rollout["spec"], patch);
    let found = problems(&serde_json::from_value(rollout).unwrap());
    found.iter().map(ToString::to_string).collect()
}

fn assert_wrong(cases: &[(Value, &str)]) {
    for (patch, expected) in cases {
        let found = wrong(patch);
        let field = expected.strip_prefix('.');
        let expected = field.map_or_else(|| (*expected).to_owned(), |it| format!("{CANARY}.{it}"));
        assert_eq!(found, [expected], "{patch}");
    }
}

fn assert_right(patches: &[Value]) {
    for patch in patches {
        assert_eq!(wrong(patch), Vec::<String>::new(), "{patch}");
    }
}

/// With a canary of this kind.
fn canary(canary: Value) -> Value {
    json!({"strategy": {"canary": canary}})
}

/// With these steps and this router; with Services where that needs them.
fn routed(steps: Value, routing: Value) -> Value {
    canary(json!({"steps": steps, "trafficRouting": routing,
        "canaryService": "canary", "stableService": "stable"}))
}

fn istio() -> Value {
    json!({"istio": {"virtualService": {"name": "web"}}, "managedRoutes": [{"name": "own"}]})
}

#[test]
fn numbers_and_names_of_a_rollout() {
    let negative = "must be greater than or equal to 0";
    assert_wrong(&[
        (
            json!({"replicas": -1}),
            &format!("spec.replicas: Invalid value: -1: {negative}"),
        ),
        (
            json!({"minReadySeconds": -1}),
            &format!("spec.minReadySeconds: Invalid value: -1: {negative}"),
        ),
        (
            json!({"revisionHistoryLimit": -1}),
            &format!("spec.revisionHistoryLimit: Invalid value: -1: {negative}"),
        ),
        (
            json!({"minReadySeconds": 20, "progressDeadlineSeconds": 20}),
            "spec.progressDeadlineSeconds: Invalid value: 20: must be greater than minReadySeconds",
        ),
        (
            json!({"selector": null}),
            "spec.selector: Required value: Rollout has missing field '.spec.selector'",
        ),
        (
            json!({"selector": {"matchLabels": null}}),
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        ),
        (
            json!({"strategy": {"canary": null}}),
            "spec.strategy: Required value: Rollout has missing field \
             '.spec.strategy.canary or .spec.strategy.blueGreen'",
        ),
        (
            json!({"strategy": {"blueGreen": {"activeService": "web"}}}),
            "spec.strategy: Invalid value: Multiple Strategies can not be listed",
        ),
    ]);
    assert_right(&[
        json!({"replicas": 0, "revisionHistoryLimit": 0, "progressDeadlineSeconds": 1}),
        json!({"strategy": {"canary": null, "blueGreen": {"activeService": "web"}}}),
    ]);
}

fn nginx() -> Value {
    json!({"nginx": {"stableIngress": "web"}})
}

fn plugin() -> Value {
    json!({"plugins": {"org/p": {}}})
}

#[test]
fn what_goes_with_a_router_only() {
    let needed = "Invalid value: Canary service and Stable service must to be set to use Traffic \
                  Routing";
    assert_wrong(&[
        (
            canary(json!({"scaleDownDelaySeconds": 1})),
            ".scaleDownDelaySeconds: Invalid value: Canary scaleDownDelaySeconds can only be used \
             with traffic routing",
        ),
        (
            canary(json!({"dynamicStableScale": true})),
            ".dynamicStableScale: Invalid value: Canary dynamicStableScale can only be used with \
             traffic routing",
        ),
        (
            canary(
                json!({"trafficRouting": plugin(), "dynamicStableScale": true,
                "scaleDownDelaySeconds": 1}),
            ),
            ".dynamicStableScale: Invalid value: Canary dynamicStableScale cannot be used with \
             scaleDownDelaySeconds",
        ),
        (
            canary(json!({"trafficRouting": nginx(), "stableService": "stable"})),
            &format!(".canaryService: {needed}"),
        ),
        (
            canary(json!({"trafficRouting": istio(), "canaryService": "canary"})),
            &format!(".stableService: {needed}"),
        ),
        (
            routed(json!([]), json!({"smi": {}, "maxTrafficWeight": 1000})),
            ".trafficRouting.maxTrafficWeight: Invalid value: Canary maxTrafficWeight in traffic \
             routing only supported in Nginx and Plugins",
        ),
    ]);
    let rule = json!({"name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable"});
    let subsets = json!({"istio": {"virtualService": {"name": "web"}, "destinationRule": rule}});
    let mut thousand = nginx();
    thousand["maxTrafficWeight"] = json!(1000);
    assert_right(&[
        canary(json!({"trafficRouting": plugin(), "scaleDownDelaySeconds": 1})),
        canary(json!({"trafficRouting": subsets})),
        routed(json!([{"setWeight": 1000}]), thousand),
    ]);
}

#[test]
fn services_take_turns_with_some_routers() {
    let turns = || json!({"pingService": "a", "pongService": "b"});
    let alb =
        |root: &str| json!({"alb": {"ingress": "web", "servicePort": 80, "rootService": root}});
    assert_wrong(&[
        (
            canary(json!({"trafficRouting": nginx(), "pingPong": turns(),
                "canaryService": "canary", "stableService": "stable"})),
            ".trafficRouting.alb: Invalid value: Ping-pong feature works with the ALB, Istio, and \
             plugin-based traffic routers only",
        ),
        (
            canary(json!({"trafficRouting": alb(""), "pingPong": turns()})),
            ".trafficRouting.alb.rootService: Invalid value: Root service field is required for \
             the configuration with ALB and ping-pong feature enabled",
        ),
    ]);
    assert_right(&[
        canary(json!({"trafficRouting": istio(), "pingPong": turns()})),
        canary(json!({"trafficRouting": alb("root"), "pingPong": turns()})),
    ]);
}

fn alb() -> Value {
    json!({"alb": {"ingress": "web", "servicePort": 80}, "managedRoutes": [{"name": "own"}]})
}

fn smi() -> Value {
    json!({"smi": {}, "managedRoutes": [{"name": "own"}]})
}

/// A step that leads requests with a header like this to the canary.
fn header(value: Value) -> Value {
    let matches = json!([{"headerName": "X", "headerValue": value}]);
    json!([{"setHeaderRoute": {"name": "own", "match": matches}}])
}

fn mirror(matches: Value) -> Value {
    json!([{"setMirrorRoute": {"name": "own", "match": matches}}])
}

const NO_MATCH: &str = "Invalid value: StringMatch value missed, match value must have one of the \
                        following: exact, regex, prefix";

#[test]
fn routes_by_header() {
    let needs =
        "Invalid value: SetHeaderRoute requires TrafficRouting, supports Istio and ALB and Apisix";
    assert_wrong(&[
        (
            canary(json!({"steps": header(json!({"exact": "1"}))})),
            &format!(".steps[0].setHeaderRoute: {needs}"),
        ),
        (
            routed(header(json!({"exact": "1"})), smi()),
            &format!(".steps[0].setHeaderRoute: {needs}"),
        ),
        (
            routed(header(json!({"prefix": "1"})), alb()),
            ".steps[0].setHeaderRoute.match[0]: Invalid value: SetHeaderRoute match value invalid. \
             ALB supports 'exact' value only",
        ),
        (
            routed(header(json!({})), istio()),
            &format!(".steps[0].setHeaderRoute.match[0]: {NO_MATCH}"),
        ),
        (
            routed(header(json!({"exact": "1", "regex": "1"})), istio()),
            ".steps[0].setHeaderRoute.match[0]: Invalid value: StringMatch match value must have \
             exactly one of the following: exact, regex, prefix",
        ),
        (
            routed(
                header(json!({"exact": "1"})),
                json!({"istio": {"virtualService": {"name": "web"}}}),
            ),
            ".trafficRouting.managedRoutes: Required value: Rollout has missing field \
             'spec.strategy.canary.trafficRouting.managedRoutes'",
        ),
    ]);
    assert_right(&[
        routed(header(json!({"exact": "1"})), alb()),
        // Accepted by Argo, too: the step is done when the pods are there.
        routed(
            json!([{"setCanaryScale": {"weight": 1}, "setHeaderRoute": {"name": "own"}}]),
            istio(),
        ),
    ]);
}

#[test]
fn mirrors_and_other_steps_that_need_a_router() {
    let experiment = || json!([{"experiment": {"templates": [{"name": "a", "specRef": "canary", "weight": 20}]}}]);
    assert_wrong(&[
        (
            canary(json!({"steps": [{"setCanaryScale": {"replicas": 1}}]})),
            ".steps[0].setCanaryScale: Invalid value: SetCanaryScale requires TrafficRouting to be \
             set",
        ),
        (
            routed(mirror(json!([{"path": {"prefix": "/"}}])), alb()),
            ".steps[0].setMirrorRoute: Invalid value: SetMirrorRoute requires TrafficRouting, \
             supports Istio and Plugins",
        ),
        (
            routed(
                mirror(json!([{"method": {}, "path": {"prefix": "/"}}])),
                istio(),
            ),
            &format!(".steps[0].setMirrorRoute.match[0]: {NO_MATCH}"),
        ),
        (
            routed(json!([{"setMirrorRoute": {"name": "other"}}]), istio()),
            ".steps[0].setMirrorRoute: Invalid value: \"other\": Steps define a route that does not \
             exist in spec.strategy.canary.trafficRouting.managedRoutes",
        ),
        (
            canary(json!({"steps": experiment()})),
            ".steps[0].experiment.templates[0].weight: Invalid value: 20: Experiment template \
             weight cannot be set unless TrafficRouting is enabled",
        ),
        (
            routed(experiment(), nginx()),
            ".steps[0].experiment.templates[0].weight: Invalid value: 20: Experiment template \
             weight is only available for TrafficRouting with SMI, ALB, Istio and Plugins at this \
             time",
        ),
    ]);
    let headers = json!({"X": {}});
    assert_right(&[
        routed(mirror(json!([{"headers": headers}])), istio()),
        routed(experiment(), smi()),
    ]);
}

#[test]
fn an_argument_refers_to_what_can_be_read() {
    let template = json!([{"templateName": "up"}]);
    let refers = |path: &str| {
        let argument = json!({"name": "a", "valueFrom": {"fieldRef": {"fieldPath": path}}});
        canary(json!({"analysis": {"templates": template, "args": [argument]}}))
    };
    let found = wrong(&refers("metadata.generation"));
    let expected = "spec.strategy.canary.analysis.args[0].valueFrom.fieldRef.fieldPath: Invalid \
                    value: \"metadata.generation\": Analyses arguments must refer to valid object \
                    metadata supported by downwardAPI: ";
    assert!(
        matches!(&found[..], [one] if one.starts_with(expected)),
        "{found:?}"
    );
    assert_right(&[
        refers("metadata.labels['app']"),
        // Whether that is there is found out when the run is made.
        refers("spec.replicas"),
    ]);
}
