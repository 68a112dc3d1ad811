//! What holds of blue-green updates whatever happens, and wherever the controller is killed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

use super::*;
use crate::api::RolloutPhase;
use crate::rollout::Change;

#[derive(Debug, Clone)]
enum Happening {
    Release(u8),
    Pods(i32),
    Wait(i64),
    Abort,
    Retry,
    Promote,
    PromoteFull,
    Verdict(Phase),
    Size(i32),
    Hold(bool),
    /// The next pass ends after so many changes, and writes no status.
    Kill(usize),
    /// The next pass sees Services as they were before the last one.
    Outdated,
    /// Somebody takes the version out of the active Service's selector.
    Unselect,
    /// The pods of one version die.
    Die(u8),
}

/// What takes no pods away.
fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (1_u8..4).prop_map(Happening::Release),
        6 => (0_i32..6).prop_map(Happening::Pods),
        4 => (0_i64..100).prop_map(Happening::Wait),
        1 => Just(Happening::Abort),
        1 => Just(Happening::Retry),
        2 => Just(Happening::Promote),
        1 => Just(Happening::PromoteFull),
        4 => prop_oneof![
            3 => Just(Phase::Successful),
            1 => Just(Phase::Failed),
            1 => Just(Phase::Inconclusive)
        ]
        .prop_map(Happening::Verdict),
        1 => (0_i32..8).prop_map(Happening::Size),
        1 => any::<bool>().prop_map(Happening::Hold),
        2 => (0_usize..5).prop_map(Happening::Kill),
        1 => Just(Happening::Outdated),
        1 => Just(Happening::Unselect),
    ]
}

fn any_happening_or_death() -> impl Strategy<Value = Happening> {
    prop_oneof![9 => any_happening(), 1 => (1_u8..4).prop_map(Happening::Die)]
}

fn any_blue_green() -> impl Strategy<Value = Value> {
    let maybe = |numbers: std::ops::Range<i32>| {
        prop_oneof![Just(Value::Null), numbers.prop_map(Value::from)]
    };
    let analysis = || {
        prop_oneof![
            Just(Value::Null),
            Just(json!({"templates": [{"templateName": "up"}]}))
        ]
    };
    (
        (any::<bool>(), maybe(0..8), any::<bool>(), maybe(0..60)),
        (maybe(0..60), maybe(0..3), maybe(0..60)),
        (analysis(), analysis()),
    )
        .prop_map(|((previewed, few, auto, pause), delays, (before, after))| {
            json!({
                "activeService": "active",
                "previewService": if previewed { "preview" } else { "" },
                "previewReplicaCount": few,
                "autoPromotionEnabled": auto,
                "autoPromotionSeconds": pause,
                "scaleDownDelaySeconds": delays.0,
                "scaleDownDelayRevisionLimit": delays.1,
                "abortScaleDownDelaySeconds": delays.2,
                "prePromotionAnalysis": before,
                "postPromotionAnalysis": after,
            })
        })
}

fn a_world(strategy: Value) -> World {
    let mut world = World::with_strategy(json!({ "blueGreen": strategy }))
        .with_services(&["active", "preview"])
        .with_template("up");
    world.change_spec(|spec| spec.replicas = Some(5));
    world.started()
}

impl World {
    fn goes_through(&mut self, happening: &Happening) {
        let before = self.services.clone();
        match happening {
            Happening::Release(version) => self.release(&format!("web:{version}")),
            Happening::Pods(at_once) => self.kubelet(*at_once),
            Happening::Wait(seconds) => self.now += SignedDuration::from_secs(*seconds),
            Happening::Abort => self.change_status(|status| status.abort = true),
            Happening::Retry => self.change_status(|status| status.abort = false),
            Happening::Promote => self.promote(),
            Happening::PromoteFull => self.change_status(|status| status.promote_full = true),
            Happening::Verdict(phase) => {
                let open = self.runs.iter().find(|run| run.status.is_none());
                if let Some(name) = open.map(AnalysisRun::name_any) {
                    self.end_run(&name, *phase, "");
                }
            }
            Happening::Size(replicas) => {
                self.change_spec(|spec| spec.replicas = Some(*replicas));
            }
            Happening::Hold(held) => self.change_spec(|spec| spec.paused = *held),
            Happening::Kill(made) => return self.killed_pass(*made),
            Happening::Outdated => {
                self.pass();
                return self.outdated_pass(before);
            }
            Happening::Unselect => {
                let service = self.services.get_mut("active").unwrap();
                let selector = service.spec.as_mut().unwrap().selector.as_mut().unwrap();
                selector.remove(labels::POD_TEMPLATE_HASH);
            }
            Happening::Die(version) => self.die(&format!("web:{version}")),
        }
        self.pass();
    }

    fn die(&mut self, version: &str) {
        for set in self
            .replica_sets
            .iter_mut()
            .filter(|set| image(set) == version)
        {
            if let Some(status) = &mut set.status {
                status.available_replicas = Some(0);
            }
        }
    }

    fn killed_pass(&mut self, made: usize) {
        let changes = self.decide().changes;
        for change in changes.into_iter().take(made) {
            self.make(change);
        }
    }

    /// A pass whose patch of a Service is refused when the Service has changed since.
    fn outdated_pass(&mut self, before: BTreeMap<String, Service>) {
        let now = std::mem::replace(&mut self.services, before.clone());
        let decision = self.decide();
        self.services = now;
        for change in decision.changes {
            if let Change::SwitchService(target, _) = &change
                && self.services[&target.name] != before[&target.name]
            {
                return;
            }
            self.make(change);
        }
        self.rollout.status = Some(decision.status);
    }

    /// Available pods behind the active Service; none while it selects pods of all versions.
    fn serving(&self) -> Option<i32> {
        let active = self.behind("active");
        let set = self.replica_sets.iter().find(|set| image(set) == active)?;
        Some(set.status.as_ref()?.available_replicas.unwrap_or(0))
    }

    /// Until no event and no time changes anything.
    fn come_to_rest(&mut self) {
        self.settle();
        for _ in 0..50 {
            let Some(next) = self.wake_at else { return };
            self.now = self.now.max(next);
            self.settle();
        }
        panic!("wakes for ever: {:?}", self.status());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn users_never_lose_pods_to_a_decision(
        strategy in any_blue_green(),
        happenings in prop::collection::vec(any_happening(), 0..60),
    ) {
        let mut world = a_world(strategy);
        let mut enough = 5;
        for happening in happenings {
            if let Happening::Size(replicas) = happening {
                enough = enough.min(replicas);
            }
            world.goes_through(&happening);
            world.kubelet(0);
            if let Some(serving) = world.serving() {
                prop_assert!(serving >= enough, "{serving} of {enough} after {happening:?}");
                enough = enough.max(serving.min(world.rollout.spec.replicas()));
            } else {
                prop_assert!(matches!(happening, Happening::Unselect | Happening::Kill(_)));
            }
        }
    }

    #[test]
    fn whatever_happens_it_comes_to_rest_where_it_should(
        strategy in any_blue_green(),
        happenings in prop::collection::vec(any_happening_or_death(), 0..60),
    ) {
        let keeps_aborted = strategy["abortScaleDownDelaySeconds"] == 0;
        let has_preview = strategy["previewService"] != "";
        let mut world = a_world(strategy);
        for happening in happenings {
            world.goes_through(&happening);
        }
        world.come_to_rest();
        // A decision that was carried out is not taken again.
        let status = world.status();
        prop_assert!(world.decide().changes.is_empty());
        prop_assert_eq!(&world.decide().status, &status);
        let named = |hash: &str| {
            let set = world.replica_sets.iter().find(|set| {
                set.labels()[labels::POD_TEMPLATE_HASH] == hash
            });
            set.map(image).unwrap()
        };
        let (stable, wanted) = (named(&status.stable_rs), named(&status.current_pod_hash));
        let served = world.behind("active");
        let is_held = world.rollout.spec.paused || !status.pause_conditions.is_empty();
        let is_asked = world.runs.iter().any(|run| run.status.is_none() && !run.spec.terminate);
        let is_healthy = status.phase == Some(RolloutPhase::Healthy);
        prop_assert_eq!(world.waiting().is_empty(), is_healthy, "{:?}", status);
        if status.abort {
            prop_assert_ne!(&stable, &wanted);
            prop_assert_eq!(&served, &stable);
            if !is_held && !keeps_aborted && world.rollout.spec.replicas() > 0 {
                let expected = pods(&[(&stable, world.rollout.spec.replicas())]);
                prop_assert_eq!(world.pods(), expected, "stable only");
            }
        } else if !is_held && !is_asked {
            prop_assert_eq!(status.phase, Some(RolloutPhase::Healthy), "{:?}", status);
            prop_assert_eq!((&served, &stable), (&wanted, &wanted));
            if has_preview {
                prop_assert_eq!(world.behind("preview"), wanted);
            }
            prop_assert!(world.pods().len() <= 1, "{:?}", world.pods());
        }
        prop_assert_eq!(world.serving(), Some(world.rollout.spec.replicas()));
    }
}
