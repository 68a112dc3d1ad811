//! What holds whatever happens.

use super::*;
use crate::api::RolloutPhase;

fn happening(others: bool) -> BoxedStrategy<Happening> {
    let calm = prop_oneof![
        (1_u8..4).prop_map(Happening::Release),
        (0_i32..4).prop_map(Happening::Pods),
        (0_i64..400).prop_map(Happening::Wait),
        Just(Happening::Promote),
    ];
    if !others {
        return calm.boxed();
    }
    prop_oneof![
        calm,
        Just(Happening::Abort),
        Just(Happening::Retry),
        Just(Happening::PromoteFull),
        prop_oneof![
            Just(Phase::Successful),
            Just(Phase::Failed),
            Just(Phase::Inconclusive)
        ]
        .prop_map(Happening::Verdict),
        (0_i32..12).prop_map(Happening::Size),
    ]
    .boxed()
}

fn any_canary() -> impl Strategy<Value = Value> {
    let step = prop_oneof![
        (0_i32..101).prop_map(|weight| json!({ "setWeight": weight })),
        Just(json!({"pause": {}})),
        (0_i32..300).prop_map(|seconds| json!({"pause": {"duration": seconds}})),
        Just(json!({"analysis": {"templates": [{"templateName": "up"}]}})),
        Just(json!({"experiment": {"templates": [{"name": "a", "specRef": "canary"}]}})),
    ];
    let background = prop_oneof![
        Just(Value::Null),
        Just(json!({"templates": [{"templateName": "up"}], "startingStep": 1})),
    ];
    let pods = || prop_oneof![(0_i32..4).prop_map(Value::from), Just(json!("30%"))];
    (
        prop::collection::vec(step, 0..5),
        background,
        pods(),
        pods(),
        any::<bool>(),
    )
        .prop_map(|(steps, analysis, surge, unavailable, has_roles)| {
            let unavailable = if surge == json!(0) {
                json!(1)
            } else {
                unavailable
            };
            let mut canary = json!({"steps": steps, "analysis": analysis, "maxSurge": surge,
                "maxUnavailable": unavailable});
            if has_roles {
                canary["canaryMetadata"] = json!({"labels": {"role": "canary"}});
                canary["stableMetadata"] = json!({"annotations": {"role": "stable"}});
                canary["antiAffinity"] =
                    json!({"requiredDuringSchedulingIgnoredDuringExecution": {}});
            }
            canary
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn while_only_the_template_changes_no_more_pods_are_missing_than_allowed(
        canary in any_canary(),
        replicas in 1_i32..12,
        happenings in prop::collection::vec(happening(false), 0..40),
    ) {
        let mut world = World::new(canary).with_template("up");
        world.change_spec(|spec| spec.replicas = Some(replicas));
        world.settle();
        let canary = world.rollout.spec.strategy.canary.clone().unwrap();
        let limits = Limits::resolve(
            replicas, canary.max_surge.as_ref(), canary.max_unavailable.as_ref()).unwrap();
        for happening in happenings {
            world.happen(&happening);
            world.pass();
            world.kubelet(0);
            prop_assert!(world.available() >= replicas - limits.unavailable, "{:?}", world.pods());
        }
    }

    #[test]
    fn whatever_happens_it_settles_where_it_should(
        canary in any_canary(),
        happenings in prop::collection::vec(happening(true), 0..40),
    ) {
        let mut world = World::new(canary).with_template("up");
        world.settle();
        for happening in happenings {
            world.happen(&happening);
            world.pass();
        }
        world.settle();
        let status = world.status();
        // A decision that was carried out is not taken again.
        prop_assert!(world.decide().changes.is_empty());
        prop_assert_eq!(&world.decide().status, &status);
        let current = world.replica_sets.iter().filter(|set| {
            [&status.stable_rs, &status.current_pod_hash].contains(&&set.labels()[labels::POD_TEMPLATE_HASH])
        });
        let current: Vec<String> = current.map(image).collect();
        for (image, _) in world.pods() {
            prop_assert!(current.contains(&image), "{} in {:?}", image, world.pods());
        }
        let is_healthy = status.phase == Some(RolloutPhase::Healthy);
        prop_assert_eq!(world.waiting().is_empty(), is_healthy, "{:?}", status);
        if status.abort {
            prop_assert!(world.pods().len() <= 1, "stable only: {:?}", world.pods());
            prop_assert_ne!(&status.stable_rs, &status.current_pod_hash);
        }
    }
}
