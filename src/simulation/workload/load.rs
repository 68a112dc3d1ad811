//! Load on the workload: real requests at a steady rate, spread as a Service or an Ingress spreads
//! them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::behind::Turns;
use super::{Behind, Endpoint, Error, Workload, held};
use crate::simulation::loopback;

/// Patience of a client, and of the end of the load with requests still on their way.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A request that finds this many unanswered is not sent: hanging versions must not pile up
/// connections until the process has no more.
const MOST_IN_FLIGHT: usize = 512;

/// What the load saw of one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that were sent and have ended, one way or another.
    pub requests: u64,
    /// Answers with a 5xx status.
    pub errors: u64,
    /// Requests without an answer within 2 s.
    pub timed_out: u64,
    /// Requests that were refused or cut off.
    pub cut_off: u64,
}

impl Seen {
    /// Requests without the answer that they were sent for.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.errors + self.timed_out + self.cut_off
    }

    /// Each number changed by `change` from that of `other`.
    pub(in crate::simulation) fn with(self, other: Self, change: fn(u64, u64) -> u64) -> Self {
        Self {
            requests: change(self.requests, other.requests),
            errors: change(self.errors, other.errors),
            timed_out: change(self.timed_out, other.timed_out),
            cut_off: change(self.cut_off, other.cut_off),
        }
    }
}

/// Sends requests to a workload's endpoints in turn, so that a version's share of the traffic is
/// its share of the instances, or what an Ingress gives it.
#[derive(Debug)]
pub struct Load {
    client: reqwest::Client,
    endpoints: watch::Receiver<Arc<[Endpoint]>>,
    /// Those that are sent to; none: all.
    behind: Option<watch::Receiver<Behind>>,
    per_second: NonZeroU32,
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
    lateness: Mutex<Duration>,
}

impl Load {
    /// Enough for a rate over 10 s to be good to a percent, and next to nothing for the machine.
    pub const DEFAULT_PER_SECOND: NonZeroU32 = NonZeroU32::new(50).expect("50 is not 0");

    /// Load of this many requests a second; none is sent before [`Load::run`].
    pub fn new(workload: &Workload, per_second: NonZeroU32) -> Result<Self, Error> {
        Ok(Self {
            client: loopback::client(TIMEOUT).map_err(Error::Client)?,
            endpoints: workload.watch_endpoints(),
            behind: None,
            per_second,
            seen: Arc::default(),
            lateness: Mutex::default(),
        })
    }

    /// The same load, on the pods behind an entrance only.
    #[must_use]
    pub fn through(self, behind: watch::Receiver<Behind>) -> Self {
        Self {
            behind: Some(behind),
            ..self
        }
    }

    /// What was seen so far, by pod template hash.
    #[must_use]
    pub fn seen(&self) -> BTreeMap<String, Seen> {
        held(&self.seen).clone()
    }

    /// The longest that a request was sent after its time: more than a moment only on a machine that
    /// has no time for the load, and so none for those that answer it.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        *held(&self.lateness)
    }

    /// Sends until `stop`, then waits for what is on its way.
    pub async fn run(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.per_second.get());
        // A late tick is made up for, so that the rate holds; what may be in flight bounds it.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut in_flight = JoinSet::new();
        let mut turns = Turns::default();
        let mut turn = 0_usize;
        while let Some(due) = stop.run_until_cancelled(ticks.tick()).await {
            let late = due.elapsed();
            {
                let mut lateness = held(&self.lateness);
                *lateness = late.max(*lateness);
            }
            while in_flight.try_join_next().is_some() {}
            turn = turn.wrapping_add(1);
            let Some(endpoint) = self.endpoint(turn, &mut turns) else {
                continue;
            };
            if in_flight.len() >= MOST_IN_FLIGHT {
                continue;
            }
            in_flight.spawn(send(self.client.clone(), endpoint, self.seen.clone()));
        }
        while in_flight.join_next().await.is_some() {}
    }

    /// Whose turn it is.
    fn endpoint(&self, turn: usize, turns: &mut Turns) -> Option<Endpoint> {
        let endpoints = self.endpoints.borrow();
        let Some(behind) = &self.behind else {
            return endpoints.get(turn.checked_rem(endpoints.len())?).cloned();
        };
        let behind = behind.borrow();
        let pod = turns.next(&behind)?;
        endpoints
            .iter()
            .find(|endpoint| endpoint.name == pod)
            .cloned()
    }
}

async fn send(
    client: reqwest::Client,
    endpoint: Endpoint,
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
) {
    let url = format!("http://{}/", endpoint.address);
    let status = ask(&client, &url).await;
    let mut seen = held(&seen);
    let seen = seen.entry(endpoint.labels.pod_template_hash).or_default();
    seen.requests += 1;
    match status {
        Ok(status) => seen.errors += u64::from(status.is_server_error()),
        Err(error) if error.is_timeout() => seen.timed_out += 1,
        Err(_) => seen.cut_off += 1,
    }
}

/// Reads the whole answer, so that its connection can be used again.
async fn ask(client: &reqwest::Client, url: &str) -> reqwest::Result<reqwest::StatusCode> {
    let response = client.get(url).send().await?;
    let status = response.status();
    response.bytes().await?;
    Ok(status)
}
