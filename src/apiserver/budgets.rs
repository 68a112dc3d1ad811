//! Disruption budgets: how many pods of a set must stay healthy.
//!
//! # Source
//! The disruption controller of Kubernetes, `getExpectedPodCount` and `countHealthyPods`.

use serde_json::Value;

/// What a budget wants, and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) healthy: i64,
    pub(super) wanted: i64,
    /// Pods that there should be.
    pub(super) expected: i64,
}

impl Health {
    /// Whether a healthy pod may go.
    pub(super) fn allows_disruption(self) -> bool {
        self.expected > 0 && self.healthy > self.wanted
    }

    /// Whether an unhealthy pod may go although no healthy one may.
    pub(super) fn allows_unhealthy(self) -> bool {
        self.wanted > 0 && self.healthy >= self.wanted
    }
}

/// The health of the pods that a budget is about. `scale` is how many of them their controllers want.
pub(super) fn health(budget: &Value, pods: &[&Value], scale: impl FnOnce() -> i64) -> Health {
    let count = |pods: usize| i64::try_from(pods).unwrap_or(i64::MAX);
    let spec = &budget["spec"];
    let (expected, wanted) = match (&spec["maxUnavailable"], &spec["minAvailable"]) {
        (Value::Null, Value::Null) => (count(pods.len()), 0),
        (Value::Null, least @ Value::Number(_)) => (count(pods.len()), amount(least, 0)),
        (Value::Null, least) => {
            let scale = scale();
            (scale, amount(least, scale))
        }
        (most, _) => {
            let scale = scale();
            (scale, (scale - amount(most, scale)).max(0))
        }
    };
    let is_healthy =
        |pod: &&&Value| is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null();
    Health {
        healthy: count(pods.iter().filter(is_healthy).count()),
        wanted,
        expected,
    }
}

/// A number, or a percentage of a whole, rounded up.
fn amount(value: &Value, whole: i64) -> i64 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
    match percent.and_then(|percent| percent.parse::<i64>().ok()) {
        Some(percent) => (whole.saturating_mul(percent) + 99).div_euclid(100),
        None => value.as_i64().unwrap_or(0),
    }
}

/// Whether a pod is ready.
pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_budget_is_met_while_enough_pods_are_ready() {
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let mut going = ready.clone();
        going["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let starting = json!({});
        // The controllers want five pods in each case.
        for (spec, pods, wanted, allowed) in [
            (json!({"minAvailable": 1}), vec![&ready], 1, false),
            (json!({"minAvailable": 1}), vec![&ready, &ready], 1, true),
            (json!({"minAvailable": 1}), vec![&ready, &going], 1, false),
            (json!({"minAvailable": "50%"}), vec![&ready; 3], 3, false),
            (json!({"minAvailable": "50%"}), vec![&ready; 4], 3, true),
            (json!({"maxUnavailable": 1}), vec![&ready; 5], 4, true),
            (
                json!({"maxUnavailable": 1}),
                vec![&ready, &starting],
                4,
                false,
            ),
            (json!({"maxUnavailable": "30%"}), vec![&ready; 4], 3, true),
            (json!({"maxUnavailable": 9}), vec![&ready; 1], 0, true),
        ] {
            let found = health(&json!({"spec": spec}), &pods, || 5);
            assert_eq!(
                (found.wanted, found.allows_disruption()),
                (wanted, allowed),
                "{spec}"
            );
        }
    }
}
