//! A controller that is refused one of its writes, or killed at it.

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::sync::Notify;
use verdict::api::AnalysisRun;
use verdict::apiserver::{Fault, RequestSummary};
use verdict::rollout::labels;

use super::{PROGRAM, World, seconds};

/// What goes wrong with one write of the controller, counted from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    at: usize,
    fault: Fault,
    /// Whether the controller is killed then, and started again.
    kills: bool,
}

/// Before and after the server has carried a write out.
pub(crate) const BEFORE_AND_AFTER: [Fault; 2] = [Fault::Status(503), Fault::AppliedThenSilence];

/// Ways in which a request fails without anybody being killed.
pub(crate) const REFUSALS: [Fault; 3] = [
    Fault::Status(409),
    Fault::Status(500),
    Fault::AppliedThenStatus(504),
];

/// Whether a request changes something.
pub(crate) fn is_write(request: &RequestSummary) -> bool {
    ["create", "patch", "update", "delete"].contains(&request.verb)
}

impl World {
    /// Tells a story in which the controller of Rollouts runs and `trouble` befalls it. Returns how
    /// many writes it has made.
    pub(crate) async fn tell(
        &self,
        trouble: Option<Trouble>,
        mut story: Pin<Box<impl Future<Output = ()>>>,
    ) -> usize {
        let writes = Arc::new(AtomicUsize::new(0));
        let kill = Arc::new(Notify::new());
        let (count, signal) = (Arc::clone(&writes), Arc::clone(&kill));
        self.server.set_faults(move |request| {
            if request.user_agent != PROGRAM || !is_write(request) {
                return Fault::None;
            }
            let number = count.fetch_add(1, Ordering::Relaxed);
            let Some(trouble) = trouble.filter(|trouble| trouble.at == number) else {
                return Fault::None;
            };
            if trouble.kills {
                signal.notify_one();
            }
            trouble.fault
        });
        let mut controller = self.start_rollouts();
        loop {
            tokio::select! {
                () = &mut story => break,
                () = kill.notified() => {
                    controller.kill().await;
                    seconds(5).await;
                    controller = self.start_rollouts();
                }
            }
        }
        writes.load(Ordering::Relaxed)
    }
}

/// Tells a story without trouble, then with trouble at every `step`th write, each of `faults` in
/// turn: it must end alike. `writes` says how many there are about.
pub(crate) async fn ends_alike(
    (step, kills, faults): (usize, bool, &[Fault]),
    writes: Range<usize>,
    tell: impl AsyncFn(Option<Trouble>) -> (Value, usize),
) {
    let (expected, count) = Box::pin(tell(None)).await;
    assert!(writes.contains(&count), "{count} writes");
    for (at, fault) in (0..count).step_by(step).zip(faults.iter().cycle()) {
        let trouble = Trouble {
            at,
            fault: *fault,
            kills,
        };
        let (outcome, _) = Box::pin(tell(Some(trouble))).await;
        assert_eq!(outcome, expected, "{trouble:?}");
    }
}

/// What a story ends with: everything that must not depend on restarts and failures.
pub(crate) async fn outcome(world: &World) -> Value {
    let status = world.status().await;
    let mut sets: Vec<Value> = (world.list::<ReplicaSet>().await.iter())
        .map(|set| {
            json!({
                "name": set.name_any(),
                "replicas": set.spec.as_ref().unwrap().replicas,
                "revision": set.annotations()[labels::REVISION],
            })
        })
        .collect();
    sets.sort_by_key(Value::to_string);
    let runs = world.list::<AnalysisRun>().await;
    let runs: BTreeSet<String> = runs.iter().map(AnalysisRun::name_any).collect();
    let conditions: BTreeSet<String> = (status.conditions.iter())
        .map(|one| format!("{} {:?} {}", one.condition_type, one.status, one.reason))
        .collect();
    let services: BTreeSet<String> = (world.list::<Service>().await.iter())
        .map(|service| {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone());
            format!("{} {selector:?}", service.name_any())
        })
        .collect();
    json!({
        "phase": status.phase, "message": status.message, "step": status.current_step_index,
        "stable": status.stable_rs, "pods": world.ready_pods().await, "sets": sets, "runs": runs,
        "conditions": conditions, "services": services, "blueGreen": status.blue_green,
    })
}
