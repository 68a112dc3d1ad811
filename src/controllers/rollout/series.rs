//! What `/metrics` tells about Rollouts, read from the cache at each scrape. Names are Argo's, those
//! that it calls deprecated included.

use std::sync::Arc;

use kube::ResourceExt as _;
use kube::runtime::reflector::Store;

use crate::api::{ConditionType, Rollout};
use crate::telemetry::{Metrics, Sample, Series};

const INFO: Series = Series {
    name: "rollout_info",
    help: "A Rollout and its phase; always 1.",
    labels: &["namespace", "name", "strategy", "traffic_router", "phase"],
};

const PHASE: Series = Series {
    name: "rollout_phase",
    help: "1 for the phase that a Rollout is in, else 0; `rollout_info` has it as well.",
    labels: &["namespace", "name", "strategy", "phase"],
};

const PHASES: [&str; 6] = [
    "Completed",
    "Progressing",
    "Paused",
    "Timeout",
    "Error",
    "Abort",
];

/// The name of a gauge and what it reads from a Rollout.
type Count = (&'static str, &'static str, fn(&Rollout) -> i32);

const COUNTS: [Count; 4] = [
    (
        "rollout_info_replicas_available",
        "Available pods of a Rollout.",
        |rollout| {
            rollout
                .status
                .as_ref()
                .map_or(0, |status| status.available_replicas)
        },
    ),
    (
        "rollout_info_replicas_unavailable",
        "Pods of a Rollout that are not available.",
        |rollout| {
            let status = rollout.status.as_ref();
            status.map_or(0, |status| {
                status.replicas.saturating_sub(status.available_replicas)
            })
        },
    ),
    (
        "rollout_info_replicas_desired",
        "Pods that a Rollout should have.",
        |rollout| rollout.spec.replicas(),
    ),
    (
        "rollout_info_replicas_updated",
        "Pods of the wanted version.",
        |rollout| {
            rollout
                .status
                .as_ref()
                .map_or(0, |status| status.updated_replicas)
        },
    ),
];

/// Adds the series of the Rollouts in a cache.
pub(super) fn register(metrics: &Metrics, rollouts: Store<Rollout>) {
    for (name, help, count) in COUNTS {
        let series = Series {
            name,
            help,
            labels: &["namespace", "name"],
        };
        let rollouts = rollouts.clone();
        metrics.add_series(series, move || {
            each(&rollouts, |rollout| {
                vec![sample(rollout, &[], f64::from(count(rollout)))]
            })
        });
    }
    let phases = rollouts.clone();
    metrics.add_series(INFO, move || each(&rollouts, info));
    metrics.add_series(PHASE, move || each(&phases, phases_of));
}

fn each(rollouts: &Store<Rollout>, samples: impl Fn(&Rollout) -> Vec<Sample>) -> Vec<Sample> {
    let rollouts = rollouts.state();
    rollouts.iter().map(Arc::as_ref).flat_map(samples).collect()
}

fn sample(rollout: &Rollout, rest: &[&str], value: f64) -> Sample {
    let mut labels = vec![rollout.namespace().unwrap_or_default(), rollout.name_any()];
    labels.extend(rest.iter().map(|label| (*label).to_owned()));
    Sample { labels, value }
}

fn info(rollout: &Rollout) -> Vec<Sample> {
    let labels = [strategy(rollout), traffic_router(rollout), phase(rollout)];
    vec![sample(rollout, &labels, 1.0)]
}

fn phases_of(rollout: &Rollout) -> Vec<Sample> {
    let (strategy, now) = (strategy(rollout), phase(rollout));
    let samples = PHASES.iter().map(|phase| {
        let value = f64::from(u8::from(*phase == now));
        sample(rollout, &[strategy, phase], value)
    });
    samples.collect()
}

fn strategy(rollout: &Rollout) -> &'static str {
    let strategy = &rollout.spec.strategy;
    match (&strategy.canary, &strategy.blue_green) {
        (Some(_), _) => "canary",
        (None, Some(_)) => "blueGreen",
        (None, None) => "none",
    }
}

/// Of several routers the last one counts. Argo has no word for those after `AppMesh`.
fn traffic_router(rollout: &Rollout) -> &'static str {
    let canary = rollout.spec.strategy.canary.as_ref();
    let Some(routing) = canary.and_then(|canary| canary.traffic_routing.as_ref()) else {
        return "";
    };
    let routers = [
        (routing.alb.is_some(), "ALB"),
        (routing.ambassador.is_some(), "Ambassador"),
        (routing.istio.is_some(), "Istio"),
        (routing.nginx.is_some(), "Nginx"),
        (routing.smi.is_some(), "SMI"),
        (routing.app_mesh.is_some(), "AppMesh"),
        (routing.traefik.is_some(), "Traefik"),
        (routing.apisix.is_some(), "APISIX"),
        (!routing.plugins.is_empty(), "Plugin"),
    ];
    let last = routers.iter().rev().find(|(is_set, _)| *is_set);
    last.map_or("", |(_, name)| name)
}

/// The phase as metrics name it, which is not that of the status.
///
/// # Source
/// `calculatePhase` in Argo Rollouts' `controller/metrics/rollout.go`.
fn phase(rollout: &Rollout) -> &'static str {
    let conditions = rollout.status.iter().flat_map(|status| &status.conditions);
    let mut phase = "Progressing";
    for condition in conditions {
        match condition.condition_type {
            ConditionType::InvalidSpec => return "InvalidSpec",
            ConditionType::Progressing => {
                phase = match condition.reason.as_str() {
                    "NewReplicaSetAvailable" => "Completed",
                    "RolloutPaused" => "Paused",
                    "ReplicaSetCreateError" => "Error",
                    "ProgressDeadlineExceeded" => "Timeout",
                    "RolloutAborted" => "Abort",
                    _ => "Progressing",
                };
            }
            _ => {}
        }
    }
    phase
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rollout(spec: &Value, conditions: &Value) -> Rollout {
        let status = json!({ "conditions": conditions });
        serde_json::from_value(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": { "namespace": "shop", "name": "web" }, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    fn condition(of: &str, reason: &str) -> Value {
        json!({ "type": of, "status": "True", "reason": reason, "message": "" })
    }

    #[test]
    fn the_phase_is_read_from_the_conditions() {
        for (reason, expected) in [
            ("NewReplicaSetAvailable", "Completed"),
            ("RolloutPaused", "Paused"),
            ("ReplicaSetCreateError", "Error"),
            ("ProgressDeadlineExceeded", "Timeout"),
            ("RolloutAborted", "Abort"),
            ("ReplicaSetUpdated", "Progressing"),
        ] {
            let progress = condition("Progressing", reason);
            let seen = rollout(&json!({}), &json!([condition("Available", "x"), progress]));
            assert_eq!(phase(&seen), expected);
            let invalid = condition("InvalidSpec", "InvalidSpec");
            let seen = rollout(&json!({}), &json!([progress, invalid]));
            assert_eq!(phase(&seen), "InvalidSpec");
        }
        assert_eq!(phase(&rollout(&json!({}), &json!([]))), "Progressing");
    }

    #[test]
    fn each_rollout_is_told_by_strategy_router_and_phase() {
        let routing = json!({ "istio": {}, "smi": {} });
        let canary = json!({ "strategy": { "canary": { "trafficRouting": routing } } });
        let blue_green = json!({ "strategy": { "blueGreen": { "activeService": "web" } } });
        for (spec, labels) in [
            (canary, ["canary", "SMI", "Paused"]),
            (blue_green, ["blueGreen", "", "Paused"]),
            (json!({}), ["none", "", "Paused"]),
        ] {
            let seen = rollout(&spec, &json!([condition("Progressing", "RolloutPaused")]));
            let told = info(&seen);
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].labels[2..], labels);
            let phases = phases_of(&seen);
            assert_eq!(phases.len(), PHASES.len());
            let held = phases.iter().filter(|sample| sample.value > 0.0);
            let held: Vec<&str> = held.map(|sample| sample.labels[3].as_str()).collect();
            assert_eq!(held, ["Paused"]);
        }
    }
}
