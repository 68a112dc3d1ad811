//! Leader election: of several replicas one acts, the others stand by with full caches.
//!
//! ```text
//! campaign ──▶ Lease        create, read, replace: who holds it leads
//!     └──────▶ Leadership   asked by every pass: may it be made?
//! ```
//!
//! A replica that loses the Lease ends its process: so whatever it has under way ends with it, in
//! the time before the Lease is another's, and Kubernetes starts it anew as one that stands by.

mod election;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::Setup;
use crate::cluster::{self, Cluster, Created};
use crate::telemetry::{Metrics, Sample, Series};

use election::{Next, Seen};

pub use election::{Timing, TimingError};

/// The name is that of Kubernetes' own controllers, which dashboards know.
const STATUS: Series = Series {
    name: "leader_election_master_status",
    help: "1 on the replica that leads, 0 on those that stand by.",
    labels: &["name"],
};

/// Which Lease is campaigned for, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who campaigns: no two processes may share it.
    pub identity: String,
    /// How long a Lease holds and how it is kept.
    pub timing: Timing,
}

/// Until when this process leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    None,
    Until(Timestamp),
    Always,
}

/// Whether this process may act. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership {
    term: Arc<watch::Sender<Term>>,
}

impl Leadership {
    /// Of the only controller that there is.
    #[must_use]
    pub fn undisputed() -> Self {
        Self::with(Term::Always)
    }

    /// Of a controller that does not act before [`lead`] has got the Lease.
    #[must_use]
    pub fn campaigning() -> Self {
        Self::with(Term::None)
    }

    fn with(term: Term) -> Self {
        Self {
            term: Arc::new(watch::Sender::new(term)),
        }
    }

    /// Whether this process may act now. The time decides: one that was frozen does not go on as if
    /// nothing had happened.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        match *self.term.borrow() {
            Term::None => false,
            Term::Until(end) => now < end,
            Term::Always => true,
        }
    }

    /// Yields once, when this process begins to lead.
    pub(super) fn begins(&self) -> impl Stream<Item = ()> + Send + use<> {
        let term = Arc::clone(&self.term);
        stream::once(async move {
            // The sender lives as long as this does.
            let _ = term.subscribe().wait_for(|term| *term != Term::None).await;
        })
    }
}

/// Why a process no longer leads. It has to end.
#[derive(Debug, Error)]
pub enum Lost {
    /// The Lease could not be renewed in time.
    #[error("lost the Lease `{lease}`: not renewed for {:?}: {why}", .deadline)]
    NotRenewed {
        /// Its namespace and name.
        lease: String,
        /// The time within which it had to be renewed.
        deadline: Duration,
        /// What became of the last try.
        why: String,
    },
    /// Another has it.
    #[error("lost the Lease `{lease}`: `{holder}` holds it")]
    Taken {
        /// Its namespace and name.
        lease: String,
        /// The new holder.
        holder: String,
    },
}

/// Runs `controllers`, which watch from the start and act while this process holds the Lease. When
/// they have ended, the Lease is released, so that another may take it at once.
///
/// # Errors
/// When the Lease is lost. `controllers` is dropped then, wherever it is.
pub async fn lead(
    setup: &Setup,
    election: Election,
    controllers: impl Future<Output = ()>,
) -> Result<(), Lost> {
    let mut campaign = Campaign::new(setup, election);
    show(&setup.metrics, &campaign);
    tokio::select! {
        lost = campaign.run() => return Err(lost),
        () = controllers => {}
    }
    campaign.release().await;
    Ok(())
}

fn show(metrics: &Metrics, campaign: &Campaign) {
    let (leadership, clock) = (
        campaign.leadership.clone(),
        campaign.cluster.clock().clone(),
    );
    let name = campaign.election.name.clone();
    metrics.add_series(STATUS, move || {
        vec![Sample {
            labels: vec![name.clone()],
            value: f64::from(u8::from(leadership.is_held(clock.now()))),
        }]
    });
}

/// What a try has led to.
enum Outcome {
    /// We hold the Lease.
    Held,
    /// Another holds it, until then at least.
    Waiting(Timestamp),
}

/// One process's tries for a Lease.
struct Campaign {
    cluster: Cluster,
    leadership: Leadership,
    election: Election,
    /// The Lease as it was last seen.
    seen: Option<Seen>,
    /// Whether it must be read before it can be written.
    must_look: bool,
    /// Tries so far.
    tries: u64,
    /// What has been said last, so that it is said once.
    said: Said,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Leading,
    /// Somebody else leads.
    Waiting(String),
    Failed,
}

impl Campaign {
    fn new(setup: &Setup, election: Election) -> Self {
        Self {
            cluster: setup.cluster.clone(),
            leadership: setup.leadership.clone(),
            election,
            seen: None,
            must_look: true,
            tries: 0,
            said: Said::Nothing,
        }
    }

    fn now(&self) -> Timestamp {
        self.cluster.clock().now()
    }

    /// The end of the term, if there was one.
    fn end(&self) -> Option<Timestamp> {
        match *self.leadership.term.borrow() {
            Term::Until(end) => Some(end),
            Term::None | Term::Always => None,
        }
    }

    fn lease(&self) -> String {
        format!("{}/{}", self.election.namespace, self.election.name)
    }

    /// Tries until the Lease is got, and keeps it until it is lost.
    async fn run(&mut self) -> Lost {
        let timing = self.election.timing;
        loop {
            let end = self.end();
            // A request that is never answered must leave time for another.
            let patience = self.at_most(timing.renew_deadline / 2);
            let outcome = match timeout(patience, self.attempt()).await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {patience:?}")),
            };
            self.tries += 1;
            self.must_look = !matches!(outcome, Ok(Outcome::Held));
            if let (Some(_), Ok(Outcome::Waiting(_))) = (end, &outcome) {
                return self.taken();
            }
            if self.is_over(end) {
                return self.not_renewed(outcome.err());
            }
            let pause = match &outcome {
                Ok(Outcome::Held) => timing.retry_period,
                Ok(Outcome::Waiting(until)) => self.pause().min(self.until(*until)),
                Err(_) => self.pause(),
            };
            self.tell(&outcome);
            sleep(self.at_most(pause)).await;
            if self.is_over(self.end()) {
                return self.not_renewed(outcome.err());
            }
        }
    }

    fn pause(&self) -> Duration {
        let Election {
            identity, timing, ..
        } = &self.election;
        election::pause(timing.retry_period, identity, self.tries)
    }

    /// A wait that does not go beyond the end of the term.
    fn at_most(&self, wait: Duration) -> Duration {
        self.end().map_or(wait, |end| wait.min(self.until(end)))
    }

    fn until(&self, time: Timestamp) -> Duration {
        Duration::try_from(time.duration_since(self.now())).unwrap_or_default()
    }

    /// One try, of two requests at most.
    async fn attempt(&mut self) -> Result<Outcome, cluster::Error> {
        if self.must_look {
            self.look().await?;
        }
        let Election {
            identity, timing, ..
        } = &self.election;
        // What counts is when the renewal was sent: it may arrive at any time after.
        let began = self.now();
        match election::next(self.seen.as_ref(), identity, *timing, began) {
            Next::Wait(until) => Ok(Outcome::Waiting(until)),
            Next::Write(lease) => {
                let Some(lease) = self.write(*lease).await? else {
                    return Ok(Outcome::Waiting(began));
                };
                self.seen = Some(Seen::again(None, lease, began));
                let end = Term::Until(timing.acts_until(began));
                self.leadership.term.send_replace(end);
                Ok(Outcome::Held)
            }
        }
    }

    async fn look(&mut self) -> Result<(), cluster::Error> {
        let Election {
            namespace, name, ..
        } = &self.election;
        let lease = self.cluster.get::<Lease>(namespace, name).await?;
        let now = self.now();
        let before = self.seen.take();
        self.seen = lease.map(|lease| Seen::again(before, lease, now));
        Ok(())
    }

    /// Writes the Lease; `None` if another has just made it.
    async fn write(&self, mut lease: Lease) -> Result<Option<Lease>, cluster::Error> {
        if self.seen.is_some() {
            return self.cluster.replace(&lease).await.map(Some);
        }
        lease.metadata = ObjectMeta {
            namespace: Some(self.election.namespace.clone()),
            name: Some(self.election.name.clone()),
            ..ObjectMeta::default()
        };
        match self.cluster.create(&lease).await? {
            Created::New(lease) => Ok(Some(lease)),
            Created::AlreadyThere => Ok(None),
        }
    }

    /// Whether a term is over that was to last until `end`. A renewal that comes later does not save
    /// it: passes may have been left out meanwhile.
    fn is_over(&self, end: Option<Timestamp>) -> bool {
        end.is_some_and(|end| end <= self.now())
    }

    fn taken(&self) -> Lost {
        Lost::Taken {
            lease: self.lease(),
            holder: self.holder(),
        }
    }

    fn not_renewed(&self, failure: Option<String>) -> Lost {
        Lost::NotRenewed {
            lease: self.lease(),
            deadline: self.election.timing.renew_deadline,
            why: failure.unwrap_or_else(|| "this process stood still".to_owned()),
        }
    }

    fn holder(&self) -> String {
        let holder = self.seen.as_ref().and_then(Seen::holder);
        holder.unwrap_or("nobody").to_owned()
    }

    /// Says what is another than before.
    fn tell(&mut self, outcome: &Result<Outcome, String>) {
        let (lease, said) = (self.lease(), std::mem::take(&mut self.said));
        self.said = match outcome {
            Ok(Outcome::Held) => Said::Leading,
            Ok(Outcome::Waiting(_)) => Said::Waiting(self.holder()),
            Err(_) => Said::Failed,
        };
        if self.said == said {
            return;
        }
        match outcome {
            Ok(Outcome::Held) => info!(lease, identity = self.election.identity, "leading"),
            Ok(Outcome::Waiting(_)) => info!(lease, holder = self.holder(), "standing by"),
            Err(error) => warn!(lease, error, "cannot get or renew the Lease"),
        }
    }

    /// Gives the Lease up, if it is ours.
    async fn release(&mut self) {
        if self.end().is_none() {
            return;
        }
        self.leadership.term.send_replace(Term::None);
        let patience = self.election.timing.renew_deadline / 2;
        match timeout(patience, self.try_release()).await {
            Ok(Ok(())) => info!(lease = self.lease(), "released the Lease"),
            Ok(Err(error)) => warn!(%error, "cannot release the Lease"),
            Err(_) => warn!(lease = self.lease(), "cannot release the Lease: no answer"),
        }
    }

    async fn try_release(&mut self) -> Result<(), cluster::Error> {
        // A renewal may have been under way: what is known of the Lease may be outdated.
        self.look().await?;
        let seen = self.seen.as_ref();
        let me = &self.election.identity;
        match seen.and_then(|seen| election::released(seen, me, self.now())) {
            Some(lease) => self.cluster.replace(&lease).await.map(drop),
            None => Ok(()),
        }
    }
}
