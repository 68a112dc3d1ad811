//! `replicaProgressThreshold`: with how many pods a step is done that asks for more.

use super::*;

impl World {
    /// Releases a version whose pods become available one by one; returns how many are when this
    /// holds.
    fn until(&mut self, holds: impl Fn(&Self) -> bool) -> i32 {
        self.release("web:2");
        for _ in 0..100 {
            while self.pass() {}
            if holds(self) {
                let mut all = self.replica_sets.iter();
                let new = all.find(|set| image(set) == "web:2").unwrap();
                let status = new.status.as_ref();
                return status.and_then(|it| it.available_replicas).unwrap_or(0);
            }
            self.kubelet(1);
        }
        panic!("it never does: {:?}", self.status());
    }
}

fn with(threshold: &Value) -> World {
    let mut canary = steps(json!([{"setWeight": 50}, {"pause": {}}]));
    canary["replicaProgressThreshold"] = threshold.clone();
    World::routed(canary).started()
}

#[test]
fn a_step_and_the_promotion_wait_for_as_many_pods_as_asked() {
    // The step asks for 5 of 10 pods: with how many is it done, and with how many all of it?
    let cases = [
        (Value::Null, 5, 10),
        (json!({"type": "Percent", "value": 100}), 5, 10),
        (json!({"type": "Percent", "value": 61}), 4, 7),
        (json!({"type": "Percent", "value": 60}), 3, 6),
        (json!({"type": "Percent", "value": 1}), 1, 1),
        (json!({"type": "Pods", "value": 2}), 2, 2),
        (json!({"type": "Percent", "value": -1}), 5, 10),
    ];
    for (threshold, at_step, at_end) in cases {
        let mut world = with(&threshold);
        let is_paused = |world: &World| world.summary() == "Paused CanaryPauseStep";
        assert_eq!(world.until(is_paused), at_step, "{threshold}");
        world.promote();
        let is_promoted = |world: &World| {
            let status = world.status();
            status.stable_rs == status.current_pod_hash
        };
        assert_eq!(world.until(is_promoted), at_end, "{threshold}");
    }
}

#[test]
fn more_pods_than_the_step_asks_for_never_come() {
    let mut world = with(&json!({"type": "Pods", "value": 7}));
    world.release("web:2");
    world.settle();
    assert_eq!(world.pods(), pods(&[("web:1", 10), ("web:2", 5)]));
    assert_eq!(world.status().current_step_index, Some(0));
    assert!(world.summary().starts_with("Progressing"));
}
