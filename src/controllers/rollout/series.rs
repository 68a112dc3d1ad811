//! What `/metrics` tells about Rollouts, read from the cache at each scrape. Names are Argo's.

use std::sync::Arc;

use kube::ResourceExt as _;
use kube::runtime::reflector::Store;

use crate::api::{Rollout, RolloutPhase};
use crate::telemetry::{Metrics, Sample, Series};

const INFO: Series = Series {
    name: "rollout_info",
    help: "A Rollout and its phase; always 1.",
    labels: &["namespace", "name", "strategy", "traffic_router", "phase"],
};

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
                sample(rollout, &[], f64::from(count(rollout)))
            })
        });
    }
    metrics.add_series(INFO, move || each(&rollouts, info));
}

fn each(rollouts: &Store<Rollout>, one: impl Fn(&Rollout) -> Sample) -> Vec<Sample> {
    rollouts.state().iter().map(Arc::as_ref).map(one).collect()
}

fn sample(rollout: &Rollout, rest: &[&str], value: f64) -> Sample {
    let mut labels = vec![rollout.namespace().unwrap_or_default(), rollout.name_any()];
    labels.extend(rest.iter().map(|label| (*label).to_owned()));
    Sample { labels, value }
}

fn info(rollout: &Rollout) -> Sample {
    let strategy = match (
        &rollout.spec.strategy.canary,
        &rollout.spec.strategy.blue_green,
    ) {
        (Some(_), _) => "canary",
        (None, Some(_)) => "blueGreen",
        (None, None) => "none",
    };
    let phase = rollout.status.as_ref().and_then(|status| status.phase);
    sample(
        rollout,
        &[strategy, "", phase.map_or("", RolloutPhase::as_str)],
        1.0,
    )
}
