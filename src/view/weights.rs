//! How much of the traffic the canary has, and how much it is to have.

use crate::api::{Rollout, RolloutStatus};

/// Two weights, of at most [`Weights::whole`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weights {
    pub(super) set: i32,
    pub(super) actual: i32,
}

/// What the steps ask for, and what there is; none without a canary. `canary` is the number of its
/// available pods.
///
/// # Source
/// `NewRolloutInfo` in `pkg/kubectl-argo-rollouts/info/rollout_info.go` of Argo Rollouts.
pub(super) fn weights(rollout: &Rollout, canary: i32) -> Option<Weights> {
    let status = rollout.status.clone().unwrap_or_default();
    let whole = whole(rollout)?;
    let set = set(rollout, &status, whole);
    let is_routed = is_routed(rollout);
    let actual = if step(rollout, &status).is_none() {
        whole
    } else if status.available_replicas == 0 {
        0
    } else if is_routed {
        let weights = status.canary.weights.as_ref();
        weights.map_or(set, |weights| weights.canary.weight)
    } else {
        canary.saturating_mul(whole) / status.available_replicas
    };
    Some(Weights { set, actual })
}

/// What the steps ask for; none without a canary.
pub(super) fn set_weight(rollout: &Rollout) -> Option<i32> {
    let status = rollout.status.clone().unwrap_or_default();
    Some(set(rollout, &status, whole(rollout)?))
}

fn set(rollout: &Rollout, status: &RolloutStatus, whole: i32) -> i32 {
    if status.abort {
        return 0;
    }
    let Some(index) = step(rollout, status) else {
        return whole;
    };
    let canary = rollout.spec.strategy.canary.as_ref();
    let reached = canary.and_then(|canary| canary.steps.get(..=index));
    let mut reached = reached.into_iter().flatten().rev();
    reached.find_map(|step| step.set_weight).unwrap_or(0)
}

/// The step at hand; none when there are none, and when all are done.
fn step(rollout: &Rollout, status: &RolloutStatus) -> Option<usize> {
    let steps = rollout.spec.strategy.canary.as_ref()?.steps.len();
    let index = status.current_step_index.unwrap_or(0);
    usize::try_from(index).ok().filter(|index| *index < steps)
}

fn whole(rollout: &Rollout) -> Option<i32> {
    let canary = rollout.spec.strategy.canary.as_ref()?;
    let routing = canary.traffic_routing.as_ref();
    Some(routing.and_then(|it| it.max_traffic_weight).unwrap_or(100))
}

fn is_routed(rollout: &Rollout) -> bool {
    let canary = rollout.spec.strategy.canary.as_ref();
    canary.is_some_and(|canary| canary.traffic_routing.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(changes: &Value, canary: i32) -> (i32, i32) {
        let mut rollout = json!({
            "spec": { "strategy": { "canary": {
                "steps": [{ "setWeight": 20 }, { "pause": {} }, { "setWeight": 50 }] } } },
            "status": { "availableReplicas": 11, "currentStepIndex": 1 },
        });
        json_patch::merge(&mut rollout, changes);
        let rollout = serde_json::from_value(rollout).unwrap();
        let weights = weights(&rollout, canary).unwrap();
        assert_eq!(set_weight(&rollout), Some(weights.set));
        (weights.set, weights.actual)
    }

    #[test]
    fn weights_are_those_of_argo() {
        let routed = |weights: &Value| {
            json!({
                "spec": { "strategy": { "canary": { "trafficRouting": { "nginx": {}, "maxTrafficWeight": 1000 } } } },
                "status": { "canary": { "weights": weights } },
            })
        };
        let told = json!({ "canary": { "weight": 15 }, "stable": { "weight": 985 } });
        let cases = [
            (json!({}), (20, 27)),
            (json!({ "status": { "currentStepIndex": null } }), (20, 27)),
            (json!({ "status": { "currentStepIndex": 3 } }), (100, 100)),
            (json!({ "status": { "abort": true } }), (0, 27)),
            (json!({ "status": { "availableReplicas": 0 } }), (20, 0)),
            (
                json!({ "spec": { "strategy": { "canary": { "steps": null } } } }),
                (100, 100),
            ),
            (routed(&told), (20, 15)),
            (routed(&Value::Null), (20, 20)),
        ];
        for (changes, expected) in cases {
            assert_eq!(of(&changes, 3), expected, "{changes}");
        }
        let blue = json!({ "spec": { "strategy": { "blueGreen": {} } } });
        let blue = serde_json::from_value(blue).unwrap();
        assert_eq!((weights(&blue, 0), set_weight(&blue)), (None, None));
    }
}
