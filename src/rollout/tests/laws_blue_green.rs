//! What holds of blue-green updates whatever happens, and wherever the controller is killed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

use super::*;
use crate::api::RolloutPhase;
use crate::rollout::Change;

#[derive(Debug, Clone)]
enum Event {
    Usual(Happening),
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
fn any_event() -> impl Strategy<Value = Event> {
    let usual = prop_oneof![
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
    ];
    prop_oneof![
        24 => usual.prop_map(Event::Usual),
        2 => (0_usize..5).prop_map(Event::Kill),
        1 => Just(Event::Outdated),
        1 => Just(Event::Unselect),
    ]
}

fn any_event_or_death() -> impl Strategy<Value = Event> {
    prop_oneof![9 => any_event(), 1 => (1_u8..4).prop_map(Event::Die)]
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
    fn goes_through(&mut self, event: &Event) {
        match event {
            Event::Usual(happening) => self.happen(happening),
            Event::Kill(made) => return self.killed_pass(*made),
            Event::Outdated => {
                let before = self.services.clone();
                self.pass();
                return self.outdated_pass(before);
            }
            Event::Unselect => {
                let service = self.services.get_mut("active").unwrap();
                let selector = service.spec.as_mut().unwrap().selector.as_mut().unwrap();
                selector.remove(labels::POD_TEMPLATE_HASH);
            }
            Event::Die(version) => self.die(&format!("web:{version}")),
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
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let mut world = a_world(strategy);
        let mut enough = 5;
        for event in events {
            if let Event::Usual(Happening::Size(replicas)) = event {
                enough = enough.min(replicas);
            }
            world.goes_through(&event);
            world.kubelet(0);
            if let Some(serving) = world.serving() {
                prop_assert!(serving >= enough, "{serving} of {enough} after {event:?}");
                enough = enough.max(serving.min(world.rollout.spec.replicas()));
            } else {
                prop_assert!(matches!(event, Event::Unselect | Event::Kill(_)));
            }
        }
    }

    #[test]
    fn whatever_happens_it_comes_to_rest_where_it_should(
        strategy in any_blue_green(),
        events in prop::collection::vec(any_event_or_death(), 0..60),
    ) {
        let keeps_aborted = strategy["abortScaleDownDelaySeconds"] == 0;
        let has_preview = strategy["previewService"] != "";
        let mut world = a_world(strategy);
        for event in events {
            world.goes_through(&event);
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
