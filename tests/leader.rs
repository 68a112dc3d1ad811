//! Stories of two replicas of the controllers, of which one leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use verdict::api::{AnalysisRun, Phase, Rollout, RolloutPhase};
use verdict::apiserver::{Fault, RequestSummary};
use verdict::controllers::leader::{Election, Leadership, Lost, Timing, lead};
use verdict::controllers::{self, Setup};

use crate::world::release::a_rollout;
use crate::world::{NAMESPACE, World, seconds};

const LEASE: &str = "argo-rollouts-controller-lock";
const REPLICAS: [&str; 2] = ["verdict-a", "verdict-b"];

/// The longest pause between two looks of one who stands by.
const RETRY: i64 = 3;

/// Of the run that goes on beside the release.
const MEASUREMENTS: i32 = 24;

/// One replica of the controllers, known to the server by its identity.
pub(crate) struct Replica {
    setup: Setup,
    task: JoinHandle<Result<(), Lost>>,
    shutdown: CancellationToken,
}

impl Replica {
    pub(crate) fn start(world: &World, identity: &str) -> Self {
        let setup = Setup {
            leadership: Leadership::campaigning(),
            ..world.setup_as(identity)
        };
        let election = Election {
            namespace: NAMESPACE.into(),
            name: LEASE.into(),
            identity: identity.into(),
            timing: Timing::default(),
        };
        let shutdown = CancellationToken::new();
        let controllers = controllers::run(setup.clone(), world.sources(&setup), shutdown.clone());
        let whole = setup.clone();
        let task = tokio::spawn(async move { lead(&whole, election, controllers).await });
        Self {
            setup,
            task,
            shutdown,
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// What it says when it has lost the Lease.
    async fn lost(self) -> String {
        self.task.await.unwrap().unwrap_err().to_string()
    }

    fn leads(&self) -> bool {
        let text = self.setup.metrics.text().unwrap();
        let told = |value: u8| {
            text.contains(&format!(
                "leader_election_master_status{{name=\"{LEASE}\"}} {value}\n"
            ))
        };
        assert_ne!(told(0), told(1), "{text}");
        told(1)
    }
}

/// A world, and all that is asked of its server from the start.
struct Story {
    world: World,
    log: Log,
}

/// When what was asked.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Timestamp, RequestSummary)>>>);

impl Log {
    fn note(&self, now: Timestamp, request: &RequestSummary) {
        self.0.lock().unwrap().push((now, request.clone()));
    }

    fn of(&self, replica: &str) -> Vec<(Timestamp, RequestSummary)> {
        let log = self.0.lock().unwrap();
        let own = log
            .iter()
            .filter(|(_, request)| request.user_agent == replica);
        own.cloned().collect()
    }

    /// Writes to anything but the Lease.
    fn writes(&self, replica: &str) -> Vec<Timestamp> {
        let writes = ["create", "update", "patch", "delete"];
        let own = self
            .of(replica)
            .into_iter()
            .filter(|(_, request)| request.resource != "leases" && writes.contains(&request.verb));
        own.map(|(time, _)| time).collect()
    }

    /// Verbs and resources.
    fn kinds(&self, replica: &str) -> BTreeSet<(&'static str, String)> {
        let own = self.of(replica).into_iter();
        own.map(|(_, request)| (request.verb, request.resource))
            .collect()
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl Story {
    /// `web` runs version 1, and a run takes a measurement every 10 s for four minutes.
    /// Of two replicas the first leads.
    async fn begin() -> (Self, Replica, Replica) {
        let story = Self {
            world: World::new(|_| (StatusCode::OK, json!(0.99))).await,
            log: Log::default(),
        };
        story.faults(|_| Fault::None);
        let first = Replica::start(&story.world, REPLICAS[0]);
        let steps = json!([{ "setWeight": 20 }, { "pause": { "duration": "2m" } }]);
        let rollout = a_rollout(json!({ "steps": steps }));
        story.world.create::<Rollout>(rollout).await;
        story.world.create::<AnalysisRun>(a_run()).await;
        let second = Replica::start(&story.world, REPLICAS[1]);
        story.world.until_phase(RolloutPhase::Healthy).await;
        assert!(first.leads() && !second.leads());
        (story, first, second)
    }

    fn faults(&self, decide: impl Fn(&RequestSummary) -> Fault + Send + Sync + 'static) {
        let (log, clock) = (self.log.clone(), self.world.clock.clone());
        self.world.server.set_faults(move |request| {
            log.note(clock.now(), request);
            decide(request)
        });
    }

    /// Version 2 is released, and waits for two minutes.
    async fn release(&self) {
        self.world.release("web:2").await;
        self.world.until_phase(RolloutPhase::Paused).await;
    }

    /// The pause ends and all measurements are taken, whoever leads. One that was not written down
    /// before its taker ended is taken again.
    async fn ends_well(&self) {
        self.world.until_phase(RolloutPhase::Healthy).await;
        let is_good = |run: &AnalysisRun| {
            let status = run.status.as_ref();
            status.and_then(|status| status.phase) == Some(Phase::Successful)
        };
        let run = self.world.until("steady", is_good).await;
        assert_eq!(run.status.unwrap().metric_results[0].count, MEASUREMENTS);
        let questions = self.world.questions();
        assert!((24..=25).contains(&questions), "{questions}");
    }

    /// No write of the second comes before the last of the first.
    fn assert_only_one_acts(&self) {
        let [first, second] = REPLICAS.map(|replica| self.log.writes(replica));
        let (last, next) = (first.last().unwrap(), second.first().unwrap());
        assert!(last < next, "{last} {next}");
    }

    async fn holder(&self) -> Option<String> {
        let lease: Lease = self.world.get(LEASE).await;
        lease.spec.unwrap().holder_identity
    }

    /// Waits until the second replica leads, and tells for how many seconds.
    async fn until_handed_over(&self) -> i64 {
        let began = self.world.clock.now();
        let is_second = |lease: &Lease| {
            let holder = lease
                .spec
                .as_ref()
                .and_then(|spec| spec.holder_identity.as_deref());
            holder == Some(REPLICAS[1])
        };
        self.world.until(LEASE, is_second).await;
        self.world.clock.now().duration_since(began).as_secs()
    }
}

fn a_run() -> Value {
    json!({
        "metadata": { "name": "steady" },
        "spec": { "metrics": [{
            "name": "rate", "interval": "10s", "count": MEASUREMENTS, "successCondition": "result > 0.9",
            "provider": { "web": { "url": "http://stats.shop/rate" } },
        }] },
    })
}

#[tokio::test(start_paused = true)]
async fn the_second_replica_stands_by_with_full_caches() {
    let (story, first, second) = Story::begin().await;
    for replica in [&first, &second] {
        assert!(replica.setup.readiness.missing().is_empty());
    }
    let watched = [
        "analysisruns",
        "experiments",
        "jobs",
        "replicasets",
        "rollouts",
        "services",
    ];
    let mut expected = BTreeSet::from([("get", "leases".to_owned())]);
    for resource in watched {
        expected.insert(("list", resource.to_owned()));
        expected.insert(("watch", resource.to_owned()));
    }
    assert_eq!(story.log.kinds(REPLICAS[1]), expected);
    let text = second.setup.metrics.text().unwrap();
    assert!(text.contains("rollout_info{name=\"web\""), "{text}");
    assert!(!text.contains("rollout_reconcile_count"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn one_that_stands_by_takes_over_at_once_from_a_leader_that_ends() {
    let (story, first, second) = Story::begin().await;
    story.release().await;
    first.stop().await;
    assert_eq!(story.holder().await, None);
    assert!(story.until_handed_over().await <= RETRY);
    assert!(second.leads());
    story.ends_well().await;
    story.assert_only_one_acts();
}

#[tokio::test(start_paused = true)]
async fn one_that_stands_by_takes_over_from_a_leader_that_died_once_its_lease_is_over() {
    let (story, first, _second) = Story::begin().await;
    story.release().await;
    first.kill().await;
    let waited = story.until_handed_over().await;
    assert!((12..=15 + RETRY).contains(&waited), "{waited}");
    story.ends_well().await;
    story.assert_only_one_acts();
    let lease: Lease = story.world.get(LEASE).await;
    assert_eq!(lease.spec.unwrap().lease_transitions, Some(1));
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_nobody_leads_is_made_up_for() {
    let (story, first, _second) = Story::begin().await;
    let world = &story.world;
    let service = json!({
        "metadata": { "name": "web" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    });
    world.create::<Service>(service).await;
    let strategy = json!({ "canary": { "stableService": "web" } });
    world
        .merge::<Rollout>("web", json!({ "spec": { "strategy": strategy } }))
        .await;
    let selects = |service: &Service| {
        let spec = service.spec.as_ref();
        spec.and_then(|spec| spec.selector.as_ref())
            .map_or(0, BTreeMap::len)
    };
    world
        .until::<Service>("web", |service| selects(service) == 2)
        .await;
    first.kill().await;
    world
        .delete::<Rollout>("web", PropagationPolicy::Background)
        .await;
    seconds(5).await;
    assert_eq!(story.log.writes(REPLICAS[1]), []);
    assert!(story.until_handed_over().await > 5);
    world
        .until::<Service>("web", |service| selects(service) == 1)
        .await;
    let writes = story.log.writes(REPLICAS[1]);
    assert!(writes.len() > 1, "{writes:?}");
    story.assert_only_one_acts();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_another_begins() {
    for (fault, why) in [
        (Fault::Status(503), "status 503"),
        (Fault::AppliedThenSilence, "no answer within"),
        (Fault::Delay(Duration::from_secs(6)), "no answer within"),
    ] {
        let (story, first, second) = Story::begin().await;
        story.release().await;
        story.faults(move |request| {
            if request.user_agent == REPLICAS[0] {
                fault
            } else {
                Fault::None
            }
        });
        let lost = first.lost().await;
        let ended = story.world.clock.now();
        assert!(lost.contains(why), "{lost}");
        assert!(!second.leads(), "{fault:?}");
        story.until_handed_over().await;
        story.ends_well().await;
        let began = story.log.writes(REPLICAS[1])[0];
        let between = began.duration_since(ended).as_secs();
        assert!(between >= 4, "{fault:?}: {between}");
        story.assert_only_one_acts();
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_renew_deadline_changes_nothing() {
    let (story, first, second) = Story::begin().await;
    story.release().await;
    for fault in [Fault::Status(500), Fault::AppliedThenStatus(504)] {
        story.faults(move |_| fault);
        seconds(7).await;
        story.faults(|_| Fault::None);
        seconds(20).await;
        assert!(first.leads() && !second.leads());
    }
    story.ends_well().await;
    assert_eq!(story.log.writes(REPLICAS[1]), []);
}

#[tokio::test(start_paused = true)]
async fn a_longer_outage_ends_the_leader_and_another_goes_on_after_it() {
    let (story, first, second) = Story::begin().await;
    story.release().await;
    story.faults(|_| Fault::Status(500));
    let lost = first.lost().await;
    let expected = format!("lost the Lease `{NAMESPACE}/{LEASE}`: not renewed for 10s: cannot ");
    assert!(lost.starts_with(&expected), "{lost}");
    seconds(60).await;
    assert!(!second.leads());
    story.faults(|_| Fault::None);
    // Its last renewal may be one that the second has not seen before.
    let waited = story.until_handed_over().await;
    assert!(waited <= 15 + RETRY, "{waited}");
    story.ends_well().await;
    story.assert_only_one_acts();
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_asked_but_for_the_lease() {
    let (story, _first, _second) = Story::begin().await;
    story.release().await;
    story.ends_well().await;
    seconds(60).await;
    story.log.forget();
    seconds(600).await;
    let asked = |replica| {
        let mut kinds = story.log.kinds(replica);
        kinds.retain(|(verb, _)| *verb != "watch");
        kinds
    };
    assert_eq!(asked(REPLICAS[0]), [("update", "leases".to_owned())].into());
    assert_eq!(asked(REPLICAS[1]), [("get", "leases".to_owned())].into());
    let renewals = story.log.of(REPLICAS[0]);
    let renewals = renewals
        .iter()
        .filter(|(_, request)| request.verb == "update")
        .count();
    assert!((299..=300).contains(&renewals), "{renewals}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_is_given_to_another_ends() {
    let (story, first, second) = Story::begin().await;
    story.release().await;
    let patch = json!({ "spec": { "holderIdentity": "somebody" } });
    story.world.merge::<Lease>(LEASE, patch).await;
    let expected = format!("lost the Lease `{NAMESPACE}/{LEASE}`: `somebody` holds it");
    assert_eq!(first.lost().await, expected);
    // Nobody renews it.
    story.until_handed_over().await;
    assert!(second.leads());
    story.ends_well().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_touched_is_kept_and_one_that_is_deleted_made_again() {
    let (story, first, second) = Story::begin().await;
    let patch = json!({ "metadata": { "labels": { "touched": "yes" } } });
    story.world.merge::<Lease>(LEASE, patch).await;
    seconds(20).await;
    assert!(first.leads());
    story
        .world
        .delete::<Lease>(LEASE, PropagationPolicy::Background)
        .await;
    seconds(20).await;
    assert_eq!(first.task.is_finished(), second.leads());
    let lease: Lease = story.world.get(LEASE).await;
    assert!(REPLICAS.contains(&lease.spec.unwrap().holder_identity.unwrap().as_str()));
}
