//! What holds for releases whatever happens, in a whole cluster: random specs, people, verdicts,
//! controllers that are killed, and an API server that fails.

mod routing;

use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Endpoints, Pod};
use kube::ResourceExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt as _, reflector};
use proptest::prelude::*;
use serde_json::{Value, json};
use verdict::api::{AnalysisRun, AnalysisTemplate, Phase, Rollout, RolloutPhase, RolloutStatus};
use verdict::apiserver::{Chaos, Fault, Rates};
use verdict::rollout::{Limits, labels, operations};

use crate::world::release::{a_rollout_with, addresses, is_ready, pods};
use crate::world::trouble::is_write;
use crate::world::{PROGRAM, Running, World, seconds};

/// A version whose pods never become ready.
const BROKEN: u8 = 3;

/// Something that happens to a release.
#[derive(Debug, Clone)]
enum Happening {
    Release(u8),
    Promote,
    Kill,
    // What follows may rightly take pods away or skip steps.
    PromoteFull,
    Abort,
    Retry,
    Verdict(Phase),
    Size(i32),
    Pause,
    Unpause,
}

/// Only the template changes, people wait for the pauses, and controllers die.
fn calm() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (1_u8..=BROKEN).prop_map(Happening::Release),
        2 => Just(Happening::Promote),
        1 => Just(Happening::Kill),
    ]
}

fn anything() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => calm(),
        1 => Just(Happening::PromoteFull),
        1 => Just(Happening::Abort),
        1 => Just(Happening::Retry),
        1 => (0_i32..9).prop_map(Happening::Size),
        1 => prop_oneof![Just(Happening::Pause), Just(Happening::Unpause)],
        2 => prop_oneof![Just(Phase::Successful), Just(Phase::Failed), Just(Phase::Inconclusive)]
            .prop_map(Happening::Verdict),
    ]
}

fn analysis() -> Value {
    json!({ "templates": [{ "templateName": "up" }] })
}

fn any_canary() -> impl Strategy<Value = Value> {
    let step = prop_oneof![
        (0_i32..=100).prop_map(|weight| json!({ "setWeight": weight })),
        Just(json!({ "pause": {} })),
        (0_i32..120).prop_map(|seconds| json!({ "pause": { "duration": seconds } })),
        Just(json!({ "analysis": analysis() })),
    ];
    let background = prop_oneof![Just(Value::Null), Just(analysis())];
    let some = || prop_oneof![(0_i32..4).prop_map(Value::from), Just(json!("30%"))];
    let parts = (
        prop::collection::vec(step, 0..5),
        background,
        some(),
        some(),
    );
    parts.prop_map(|(steps, analysis, surge, unavailable)| {
        let unavailable = if surge == json!(0) {
            json!(1)
        } else {
            unavailable
        };
        let limits = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
        let mut canary = json!({ "steps": steps, "analysis": analysis });
        json_patch::merge(&mut canary, &limits);
        json!({ "canary": canary })
    })
}

fn any_blue_green() -> impl Strategy<Value = Value> {
    let maybe = |seconds: std::ops::Range<i32>| prop::option::weighted(0.7, seconds);
    let analysis = || prop_oneof![Just(Value::Null), Just(analysis())];
    let parts = (
        (any::<bool>(), maybe(0..90), prop::option::of(0_i32..4)),
        (maybe(0..90), prop::option::of(0_i32..3), maybe(1..90)),
        (analysis(), analysis()),
    );
    parts.prop_map(
        |((auto, pause, few), (delay, limit, abort), (before, after))| {
            json!({ "blueGreen": {
            "activeService": "active",
            "previewService": "preview",
            "autoPromotionEnabled": auto,
            "autoPromotionSeconds": pause,
            "previewReplicaCount": few,
            "scaleDownDelaySeconds": delay,
            "scaleDownDelayRevisionLimit": limit,
            "abortScaleDownDelaySeconds": abort,
            "prePromotionAnalysis": before,
            "postPromotionAnalysis": after,
        } })
        },
    )
}

fn any_strategy() -> impl Strategy<Value = Value> {
    prop_oneof![any_canary(), any_blue_green()]
}

/// What a case of a law is about.
#[derive(Debug, Clone)]
struct Scene {
    strategy: Value,
    replicas: i32,
    /// Seconds, and what happens after them.
    happenings: Vec<(u64, Happening)>,
    /// The seed of what the API server does wrong; `None` for nothing.
    chaos: Option<u64>,
}

fn scene(
    strategy: impl Strategy<Value = Value>,
    happening: impl Strategy<Value = Happening>,
) -> impl Strategy<Value = Scene> {
    let happenings = prop::collection::vec((0_u64..90, happening), 1..14);
    let chaos = prop::option::weighted(0.7, any::<u64>());
    (strategy, 1_i32..8, happenings, chaos).prop_map(|(strategy, replicas, happenings, chaos)| {
        Scene {
            strategy,
            replicas,
            happenings,
            chaos,
        }
    })
}

/// What was seen of a release, and what was wrong with it.
#[derive(Debug, Default)]
struct Seen {
    /// Step and phase, one entry for each change of them.
    path: Vec<(Option<i32>, Option<RolloutPhase>)>,
    last: Option<Rollout>,
    wrong: Vec<String>,
}

/// A release on its stage.
struct Play {
    world: World,
    running: Option<Running>,
    seen: Arc<Mutex<Seen>>,
    /// Pods that must be ready at every moment; with blue-green, behind the active Service.
    least: Arc<Mutex<usize>>,
    /// Called before each write, whoever makes it.
    look: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Play {
    /// Version 1 runs; then the API server begins to fail.
    async fn begin(scene: &Scene) -> Self {
        Self::begin_in(World::without_sources().await, scene).await
    }

    async fn begin_in(world: World, scene: &Scene) -> Self {
        world.create_services(&["active", "preview"]).await;
        let metrics = json!([{ "name": "up", "provider": { "web": { "url": "http://x" } } }]);
        let template = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
            "metadata": { "name": "up" }, "spec": { "metrics": metrics },
        });
        world.create::<AnalysisTemplate>(template).await;
        let mut rollout = a_rollout_with(scene.strategy.clone());
        rollout["spec"]["replicas"] = json!(scene.replicas);
        let running = Some(world.start_rollouts());
        world.create::<Rollout>(rollout).await;
        world.until_phase(RolloutPhase::Healthy).await;
        let play = Self {
            running,
            seen: Arc::default(),
            least: Arc::default(),
            look: None,
            world,
        };
        play.follow_rollout();
        if scene.strategy.get("blueGreen").is_some() {
            play.follow_users();
        } else {
            play.follow_pods();
        }
        play.fail(scene.chaos);
        play
    }

    /// Lets the API server fail as this seed says, or not at all.
    fn fail(&self, chaos: Option<u64>) {
        let chaos = chaos.map(|seed| Chaos::new(seed, Rates::default()).unwrap());
        let look = self.look.clone();
        self.world.server.set_faults(move |request| {
            if let Some(look) = look.as_ref().filter(|_| is_write(request)) {
                look();
            }
            match &chaos {
                // Kubernetes' own controllers and the people have a better connection.
                Some(chaos) if request.program() == PROGRAM => chaos.fault(request),
                Some(_) | None => Fault::None,
            }
        });
    }

    fn follow_rollout(&self) {
        let seen = Arc::clone(&self.seen);
        let events = watcher(self.world.api::<Rollout>(), watcher::Config::default());
        tokio::spawn(events.for_each(move |event| {
            if let Ok(Event::Apply(rollout) | Event::InitApply(rollout)) = event {
                seen.lock().unwrap().take(rollout);
            }
            std::future::ready(())
        }));
    }

    fn follow_pods(&self) {
        let (seen, least) = (Arc::clone(&self.seen), Arc::clone(&self.least));
        let (cache, writer) = reflector::store::<Pod>();
        let events = watcher(self.world.api::<Pod>(), watcher::Config::default()).reflect(writer);
        tokio::spawn(events.for_each(move |event| {
            if matches!(event, Ok(Event::Apply(_) | Event::Delete(_))) {
                let stays = |pod: &Arc<Pod>| pod.metadata.deletion_timestamp.is_none();
                let pods = cache.state();
                let ready = pods
                    .iter()
                    .filter(|pod| is_ready(pod) && stays(pod))
                    .count();
                expect(ready, &least, &seen);
            }
            std::future::ready(())
        }));
    }

    fn follow_users(&self) {
        let (seen, least) = (Arc::clone(&self.seen), Arc::clone(&self.least));
        let active = watcher::Config::default().fields("metadata.name=active");
        let events = watcher(self.world.api::<Endpoints>(), active);
        tokio::spawn(events.for_each(move |event| {
            if let Ok(Event::Apply(endpoints) | Event::InitApply(endpoints)) = event {
                expect(addresses(&endpoints).count(), &least, &seen);
            }
            std::future::ready(())
        }));
    }

    async fn happen(&mut self, happening: &Happening) {
        let world = &self.world;
        let rollout: Rollout = world.get("web").await;
        match happening {
            Happening::Release(version) => self.release(*version).await,
            Happening::Promote => world.operate(&operations::promote(&rollout)).await,
            Happening::PromoteFull => world.operate(&operations::promote_full()).await,
            Happening::Abort => world.operate(&operations::abort()).await,
            Happening::Retry => world.merge_status(json!({ "abort": false })).await,
            Happening::Verdict(phase) => self.judge(*phase).await,
            Happening::Size(replicas) => {
                let patch = json!({ "spec": { "replicas": replicas } });
                drop(world.merge::<Rollout>("web", patch).await);
            }
            Happening::Pause => drop(world.merge::<Rollout>("web", operations::pause()).await),
            Happening::Unpause => {
                drop(world.merge::<Rollout>("web", operations::unpause()).await);
            }
            Happening::Kill => {
                if let Some(running) = self.running.take() {
                    running.kill().await;
                }
                self.running = Some(self.world.start_rollouts());
            }
        }
    }

    async fn release(&self, version: u8) {
        let broken = (version == BROKEN).then_some("true");
        let metadata = json!({
            "annotations": { "simulation.verdict.dev/never-ready": broken },
        });
        let containers = json!([{ "name": "web", "image": format!("web:{version}") }]);
        let template = json!({ "metadata": metadata, "spec": { "containers": containers } });
        let patch = json!({ "spec": { "template": template } });
        self.world.merge::<Rollout>("web", patch).await;
    }

    /// Gives a verdict to a run that is open, if there is one.
    async fn judge(&self, phase: Phase) {
        let mut runs = self.world.list::<AnalysisRun>().await;
        runs.retain(|run| run.status.is_none() && !run.spec.terminate);
        if let Some(run) = runs.first() {
            self.world.judge(&run.name_any(), phase.as_str(), "").await;
        }
    }

    async fn play(&mut self, happenings: &[(u64, Happening)]) {
        for (wait, happening) in happenings {
            seconds(*wait).await;
            self.happen(happening).await;
        }
    }

    /// The API server works again; on until nothing moves any more.
    async fn settle(&self) -> RolloutStatus {
        self.fail(None);
        seconds(2 * 3600).await;
        self.world.server.forget_accesses();
        seconds(3600).await;
        let asked = self.world.server.accesses();
        let mut asked = asked.keys().filter(|access| access.program == PROGRAM);
        let asked: Vec<_> = asked
            .by_ref()
            .filter(|access| access.verb != "watch")
            .collect();
        if !asked.is_empty() {
            self.wrong(format!("asked at rest: {asked:?}"));
        }
        let status = self.world.status().await;
        if status.abort && status.stable_rs == status.current_pod_hash {
            self.wrong("aborted, and nothing to go back to".to_owned());
        }
        if status.abort {
            self.expect_only_stable(&status).await;
        }
        status
    }

    /// Whether users stay with a version that was given up: because the stable one, which was made
    /// that when no pods were wanted, does not work.
    async fn users_are_spared(&self, status: &RolloutStatus) -> bool {
        let pods = self.world.list::<Pod>().await;
        let mut ready = pods.iter().filter(|pod| is_ready(pod));
        let active = &status.blue_green.active_selector;
        // Without an active Service all pods serve.
        let served = if active.is_empty() {
            &status.current_pod_hash
        } else {
            active
        };
        *served != status.stable_rs
            && ready.all(|pod| pod.labels()[labels::POD_TEMPLATE_HASH] == *served)
    }

    async fn expect_only_stable(&self, status: &RolloutStatus) {
        let rollout: Rollout = self.world.get("web").await;
        let found = self.world.list::<Pod>().await;
        let stable = |pod: &&Pod| pod.labels()[labels::POD_TEMPLATE_HASH] == status.stable_rs;
        let stable = found.iter().filter(stable).count();
        let others = found.len() - stable;
        let wanted = usize::try_from(rollout.spec.replicas()).unwrap();
        let fits = if !self.users_are_spared(status).await {
            (stable, others) == (wanted, 0)
        } else if rollout.spec.strategy.blue_green.is_some() {
            (stable, others) == (wanted, wanted)
        } else {
            // The stable version gets what surge leaves.
            stable <= wanted && others <= wanted
        };
        if !fits {
            self.wrong(format!(
                "{stable} pods are stable, {others} are not, {wanted} are wanted"
            ));
        }
    }

    fn wrong(&self, problem: String) {
        self.seen.lock().unwrap().wrong.push(problem);
    }

    /// The law that all scenes have in common.
    async fn has_no_problems(&mut self, scene: &Scene) -> Result<(), TestCaseError> {
        self.play(&scene.happenings).await;
        self.settle().await;
        prop_assert_eq!(self.problems(), Vec::<String>::new());
        Ok(())
    }

    fn problems(&self) -> Vec<String> {
        self.seen.lock().unwrap().wrong.clone()
    }
}

fn expect(ready: usize, least: &Mutex<usize>, seen: &Mutex<Seen>) {
    let least = *least.lock().unwrap();
    if ready < least {
        let problem = format!("{ready} ready pods, at least {least} are due");
        seen.lock().unwrap().wrong.push(problem);
    }
}

impl Seen {
    fn take(&mut self, rollout: Rollout) {
        let status = rollout.status.clone().unwrap_or_default();
        let now = (status.current_step_index, status.phase);
        if self.path.last() != Some(&now) {
            self.path.push(now);
        }
        if let Some(last) = self.last.replace(rollout)
            && let Some(rollout) = &self.last
            && let Some(problem) = jump(&last, rollout)
        {
            self.wrong.push(problem);
        }
    }
}

/// What is wrong with the way from one step to the next: they come one by one, except after an
/// abort, for another template, and where all that is left is skipped.
fn jump(before: &Rollout, after: &Rollout) -> Option<String> {
    let (old, new) = (before.status.as_ref()?, after.status.as_ref()?);
    let (from, to) = (old.current_step_index?, new.current_step_index?);
    let steps = &after.spec.strategy.canary.as_ref()?.steps;
    let other = old.current_pod_hash != new.current_pod_hash;
    let end = i32::try_from(steps.len()).ok()?;
    let skips = old.promote_full || new.stable_rs == new.current_pod_hash;
    let fits = to == from
        || to == from + 1
        || (to == 0 && (new.abort || old.abort || other))
        || (to == end && (skips || other));
    (!fits).then(|| format!("from step {from} to {to}"))
}

/// Plays a case under a clock of its own.
fn on_stage<F: Future<Output = Result<(), TestCaseError>>>(play: F) -> Result<(), TestCaseError> {
    let stage = tokio::runtime::Builder::new_current_thread();
    let stage = { stage }.enable_all().start_paused(true).build();
    stage.unwrap().block_on(play)
}

/// A few cases; more with `PROPTEST_CASES`.
pub(crate) fn cases(few: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if config.cases == 256 {
        few
    } else {
        config.cases
    };
    ProptestConfig { cases, ..config }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn while_only_the_template_changes_enough_pods_are_ready(scene in scene(any_canary(), calm())) {
        on_stage(async {
            let mut play = Play::begin(&scene).await;
            let rollout: Rollout = play.world.get("web").await;
            let canary = rollout.spec.strategy.canary.unwrap();
            let (surge, missing) = (canary.max_surge, canary.max_unavailable);
            let limits = Limits::resolve(scene.replicas, surge.as_ref(), missing.as_ref()).unwrap();
            let least = usize::try_from(scene.replicas - limits.unavailable).unwrap();
            *play.least.lock().unwrap() = least;
            play.has_no_problems(&scene).await
        })?;
    }

    #[test]
    fn while_only_the_template_changes_users_of_blue_green_reach_all_pods(
        scene in scene(any_blue_green(), calm()),
    ) {
        on_stage(async {
            let mut play = Play::begin(&scene).await;
            *play.least.lock().unwrap() = usize::try_from(scene.replicas).unwrap();
            play.has_no_problems(&scene).await
        })?;
    }

    #[test]
    fn whatever_happens_it_settles_step_by_step(scene in scene(any_strategy(), anything())) {
        on_stage(async {
            let mut play = Play::begin(&scene).await;
            play.has_no_problems(&scene).await
        })?;
    }

    #[test]
    fn a_failed_verdict_ends_in_the_stable_version(
        before in scene(any_canary(), anything()),
        weight in 1_i32..100,
    ) {
        on_stage(async {
            let steps = json!([{ "setWeight": weight }, { "analysis": analysis() }]);
            let strategy = json!({ "canary": { "steps": steps } });
            let scene = Scene { strategy, ..before };
            let mut play = Play::begin(&scene).await;
            play.play(&scene.happenings).await;
            // People are done; a good version comes, and is judged to be bad.
            play.happen(&Happening::Unpause).await;
            play.happen(&Happening::Size(scene.replicas)).await;
            play.happen(&Happening::Release(8)).await;
            let slot = |status: &RolloutStatus| {
                status.canary.current_step_analysis_run_status.clone()
            };
            let rollout: Rollout = play.world.get("web").await;
            let generation = rollout.metadata.generation.unwrap().to_string();
            let asked = |status: &RolloutStatus| {
                status.observed_generation == generation
                    && status.current_step_index == Some(1)
                    && slot(status).is_some()
            };
            let status = play.world.until_status(asked).await;
            let (stable, run) = (status.stable_rs.clone(), slot(&status).unwrap().name);
            play.world.judge(&run, Phase::Failed.as_str(), "").await;
            let status = play.settle().await;
            prop_assert!(status.abort, "{:?}", status);
            prop_assert_eq!(status.stable_rs, stable);
            prop_assert_eq!(play.problems(), Vec::<String>::new());
            Ok(())
        })?;
    }

    #[test]
    fn a_failed_verdict_about_blue_green_ends_in_the_stable_version(
        before in scene(any_blue_green(), anything()),
        is_served in any::<bool>(),
    ) {
        on_stage(async {
            let when = if is_served { "postPromotionAnalysis" } else { "prePromotionAnalysis" };
            let strategy = json!({ "blueGreen": {
                "activeService": "active", "previewService": "preview", when: analysis(),
            } });
            let scene = Scene { strategy, ..before };
            let mut play = Play::begin(&scene).await;
            play.play(&scene.happenings).await;
            play.happen(&Happening::Unpause).await;
            play.happen(&Happening::Size(scene.replicas)).await;
            play.happen(&Happening::Release(8)).await;
            let slot = |status: &RolloutStatus| {
                let status = status.blue_green.clone();
                status.pre_promotion_analysis_run_status
                    .or(status.post_promotion_analysis_run_status)
            };
            let rollout: Rollout = play.world.get("web").await;
            let generation = rollout.metadata.generation.unwrap().to_string();
            let asked = |status: &RolloutStatus| {
                status.observed_generation == generation && slot(status).is_some()
            };
            let status = play.world.until_status(asked).await;
            let (stable, run) = (status.stable_rs.clone(), slot(&status).unwrap().name);
            play.world.judge(&run, Phase::Failed.as_str(), "").await;
            let status = play.settle().await;
            prop_assert!(status.abort, "{:?}", status);
            prop_assert_eq!(&status.stable_rs, &stable);
            let active = if play.users_are_spared(&status).await {
                &status.current_pod_hash
            } else {
                &stable
            };
            prop_assert_eq!(&status.blue_green.active_selector, active);
            prop_assert_eq!(play.problems(), Vec::<String>::new());
            Ok(())
        })?;
    }

    #[test]
    fn the_same_history_makes_the_same_release(scene in scene(any_strategy(), anything())) {
        let mut paths = Vec::new();
        for _ in 0..2 {
            on_stage(async {
                let mut play = Play::begin(&scene).await;
                play.play(&scene.happenings).await;
                let status = play.settle().await;
                let path = play.seen.lock().unwrap().path.clone();
                paths.push((path, status, play.world.ready_pods().await));
                Ok(())
            })?;
        }
        prop_assert_eq!(&paths[0], &paths[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_holds_nothing_up() {
    let scene = Scene {
        strategy: json!({ "canary": {} }),
        replicas: 4,
        happenings: vec![],
        chaos: None,
    };
    let play = Play::begin(&scene).await;
    let silent = Arc::new(Mutex::new(3));
    play.world.server.set_faults(move |request| {
        let mut left = silent.lock().unwrap();
        if request.program() != PROGRAM || *left == 0 || request.verb == "watch" {
            return Fault::None;
        }
        *left -= 1;
        Fault::AppliedThenSilence
    });
    play.release(2).await;
    play.world.until_phase(RolloutPhase::Healthy).await;
    assert_eq!(play.world.ready_pods().await, pods(&[("web:2", 4)]));
    assert_eq!(play.problems(), Vec::<String>::new());
}
