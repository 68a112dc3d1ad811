//! What holds of canaries behind a router, whatever happens.

use super::*;
use crate::api::WeightDestination;

/// What takes no pods away.
fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => (1_u8..4).prop_map(Happening::Release),
        6 => (0_i32..4).prop_map(Happening::Pods),
        3 => (0_i64..60).prop_map(Happening::Wait),
        1 => Just(Happening::Abort),
        1 => Just(Happening::Retry),
        2 => Just(Happening::Promote),
        1 => Just(Happening::PromoteFull),
        1 => any::<bool>().prop_map(Happening::Hold),
    ]
}

/// Without `setCanaryScale` and `replicaProgressThreshold`: what a person asks for with them is theirs.
fn any_routed_canary() -> impl Strategy<Value = Value> {
    let step = prop_oneof![
        3 => (0_i32..101).prop_map(|weight| json!({ "setWeight": weight })),
        1 => Just(json!({"pause": {}})),
        1 => (0_i32..60).prop_map(|seconds| json!({"pause": {"duration": seconds}})),
    ];
    let maybe = |numbers: std::ops::Range<i32>| {
        prop_oneof![Just(Value::Null), numbers.prop_map(Value::from)]
    };
    (
        prop::collection::vec(step, 0..5),
        any::<bool>(),
        (maybe(0..60), maybe(0..60), maybe(1..4)),
    )
        .prop_map(|(steps, dynamic, (delay, abort_delay, least))| {
            let delay = if dynamic { Value::Null } else { delay };
            json!({"steps": steps, "dynamicStableScale": dynamic, "scaleDownDelaySeconds": delay,
                "abortScaleDownDelaySeconds": abort_delay, "minPodsPerReplicaSet": least})
        })
}

impl World {
    /// Whether the pods behind a Service can take its part of the traffic.
    fn can_take(&self, part: &WeightDestination) -> bool {
        let behind = self.behind(&part.service_name);
        let set = self.replica_sets.iter().find(|set| image(set) == behind);
        let pods = set.and_then(|set| set.status.as_ref()?.available_replicas);
        part.weight * self.rollout.spec.replicas() <= pods.unwrap_or(0) * 100
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_version_gets_more_of_the_traffic_than_its_pods_can_take(
        canary in any_routed_canary(),
        happenings in prop::collection::vec(any_happening(), 0..60),
    ) {
        let mut world = World::routed(canary).started();
        for happening in happenings {
            world.happen(&happening);
            world.pass();
            world.kubelet(0);
            let Some(weights) = world.status().canary.weights else { continue };
            let told = world.router("TraefikService", "web").unwrap();
            let told = &told["spec"]["weighted"]["services"];
            prop_assert_eq!(&told[0]["weight"], weights.stable.weight);
            prop_assert_eq!(&told[1]["weight"], weights.canary.weight);
            for part in [&weights.canary, &weights.stable] {
                prop_assert!(
                    world.can_take(part),
                    "{:?} with {:?} after {:?}", part, world.pods(), happening
                );
            }
        }
    }
}
