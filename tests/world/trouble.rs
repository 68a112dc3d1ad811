//! Stories told again and again with something going wrong at one write, which must not change how
//! they end.

use std::collections::BTreeSet;
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

/// Before and after the server has carried a write out.
pub(crate) const BEFORE_AND_AFTER: [Fault; 2] = [Fault::Status(503), Fault::AppliedThenSilence];

/// What goes wrong with one write of the controller, counted from 0.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    at: usize,
    fault: Fault,
    /// Whether the controller is killed then, and started again.
    kills: bool,
}

fn is_write(request: &RequestSummary) -> bool {
    request.user_agent == PROGRAM && ["create", "patch", "update", "delete"].contains(&request.verb)
}

/// Tells a story with trouble at every `step`th write, each kind of trouble in turn. It always has
/// to end as it does without any; returns how that is.
pub(crate) async fn ends_alike_whatever_fails(
    story: impl AsyncFn(&World),
    step: usize,
    kills: bool,
    faults: &[Fault],
) -> Value {
    let (expected, writes) = told(&story, None).await;
    assert!((30..200).contains(&writes), "{writes} writes");
    for (at, fault) in (0..writes).step_by(step).zip(faults.iter().cycle()) {
        let trouble = Trouble {
            at,
            fault: *fault,
            kills,
        };
        assert_eq!(told(&story, Some(trouble)).await.0, expected, "{trouble:?}");
    }
    expected
}

/// How a story ends, and after how many writes.
async fn told(story: &impl AsyncFn(&World), trouble: Option<Trouble>) -> (Value, usize) {
    let world = World::without_sources().await;
    let writes = Arc::new(AtomicUsize::new(0));
    let kill = Arc::new(Notify::new());
    let (count, signal) = (Arc::clone(&writes), Arc::clone(&kill));
    world.server.set_faults(move |request| {
        if !is_write(request) {
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
    let mut controller = world.start_rollouts();
    let mut telling = Box::pin(story(&world));
    loop {
        tokio::select! {
            () = &mut telling => break,
            () = kill.notified() => {
                controller.kill().await;
                seconds(5).await;
                controller = world.start_rollouts();
            }
        }
    }
    drop(telling);
    (outcome(&world).await, writes.load(Ordering::Relaxed))
}

/// Everything that must not depend on restarts and failures.
async fn outcome(world: &World) -> Value {
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
