//! Writes Events beside the work, as client-go's recorder does: what is said again is counted, one
//! object gets only so many, and what has not been said for an hour is gone.
//!
//! Unlike client-go's it does not draw similar Events together, and tries no write again.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

use super::pods::whole_seconds;
use crate::cluster::Event;

/// Events that one component may write about one object at once: client-go's default.
const BURST: f64 = 25.0;

/// Seconds until it may write one more.
const REFILL_SECONDS: f64 = 300.0;

/// How long an Event stays: the API server's default.
const STAYS_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Who tells something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub(super) component: &'static str,
    /// The node, if it has one.
    pub(super) host: Option<String>,
}

impl Source {
    pub(super) const fn of(component: &'static str) -> Self {
        Self {
            component,
            host: None,
        }
    }
}

/// Something to be told about an object.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) regarding: ObjectReference,
    pub(super) source: Source,
    pub(super) event: Event,
}

/// Where Events are handed in.
#[derive(Debug)]
pub(super) struct Recorder(Option<mpsc::UnboundedSender<(Timestamp, Told)>>);

impl Recorder {
    /// One that writes beside the work, until it is dropped.
    pub(super) fn new(client: Client) -> Self {
        let (sender, mut told) = mpsc::unbounded_channel();
        let mut writer = Writer::new(client);
        tokio::spawn(async move {
            while let Some((at, told)) = told.recv().await {
                if let Err(error) = writer.write(at, &told).await {
                    let reason = &told.event.reason;
                    debug!(reason, %error, "an Event could not be written");
                }
            }
        });
        Self(Some(sender))
    }

    /// One that writes nothing.
    pub(super) fn silent() -> Self {
        Self(None)
    }

    /// Whether it is of use to tell anything.
    pub(super) fn listens(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn tell(&self, at: Timestamp, told: impl IntoIterator<Item = Told>) {
        let Some(sender) = &self.0 else {
            return;
        };
        for told in told {
            // It is only gone when all is about to end.
            let _ = sender.send((at, told));
        }
    }
}

/// What makes two Events the same.
type Identity = (String, Option<String>, Source, Event);

fn identity(told: &Told) -> Identity {
    let Told {
        regarding,
        source,
        event,
    } = told;
    let uid = regarding.uid.clone().unwrap_or_default();
    let place = regarding.field_path.clone();
    (uid, place, source.clone(), event.clone())
}

/// An Event that was written.
#[derive(Debug, Clone)]
struct Written {
    namespace: String,
    name: String,
    count: i32,
    last: Timestamp,
}

struct Writer {
    client: Client,
    written: HashMap<Identity, Written>,
    /// When which was said, in order.
    said: VecDeque<(Timestamp, Identity)>,
    allowances: HashMap<(String, &'static str), Allowance>,
    last_number: i128,
}

/// How much may still be written.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    left: f64,
    since: Timestamp,
}

impl Allowance {
    fn full(since: Timestamp) -> Self {
        Self { left: BURST, since }
    }

    fn grown(self, now: Timestamp) -> Self {
        let waited = now.duration_since(self.since).as_secs_f64();
        Self {
            left: (self.left + waited / REFILL_SECONDS).min(BURST),
            since: now,
        }
    }

    /// Takes one, if there is one.
    fn take(&mut self, now: Timestamp) -> bool {
        *self = self.grown(now);
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }
}

impl Writer {
    fn new(client: Client) -> Self {
        Self {
            client,
            written: HashMap::new(),
            said: VecDeque::new(),
            allowances: HashMap::new(),
            last_number: 0,
        }
    }

    async fn write(&mut self, now: Timestamp, told: &Told) -> Result<(), kube::Error> {
        self.expire(now).await?;
        let about = (
            told.regarding.uid.clone().unwrap_or_default(),
            told.source.component,
        );
        let allowance = self.allowances.entry(about);
        if !allowance.or_insert(Allowance::full(now)).take(now) {
            return Ok(());
        }
        let identity = identity(told);
        let written = match self.written.get(&identity).cloned() {
            Some(written) => self.again(written, now).await?,
            None => None,
        };
        let written = match written {
            Some(written) => written,
            None => self.first(told, now).await?,
        };
        self.said.push_back((now, identity.clone()));
        self.written.insert(identity, written);
        Ok(())
    }

    /// Takes away what has not been said for long, and forgets what it is about.
    async fn expire(&mut self, now: Timestamp) -> Result<(), kube::Error> {
        while let Some((at, _)) = self.said.front()
            && now.duration_since(*at) >= STAYS_FOR
            && let Some((at, identity)) = self.said.pop_front()
        {
            if self.written.get(&identity).is_none_or(|old| old.last > at) {
                continue;
            }
            if let Some(old) = self.written.remove(&identity) {
                let (api, params) = (self.api(&old.namespace), DeleteParams::default());
                ignore_absence(api.delete(&old.name, &params).await.map(drop))?;
            }
            let is_full = |allowance: &Allowance| allowance.grown(now).left >= BURST;
            self.allowances.retain(|_, allowance| !is_full(allowance));
        }
        Ok(())
    }

    fn api(&self, namespace: &str) -> Api<CoreEvent> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Counts what is said again; `None` if it has been deleted meanwhile.
    async fn again(
        &self,
        written: Written,
        now: Timestamp,
    ) -> Result<Option<Written>, kube::Error> {
        let count = written.count + 1;
        let patch = json!({"count": count, "lastTimestamp": Time(whole_seconds(now))});
        let api = self.api(&written.namespace);
        let params = PatchParams::default();
        let patched = api
            .patch(&written.name, &params, &Patch::Merge(patch))
            .await;
        let is_there = match patched {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 404 => false,
            Err(error) => return Err(error),
        };
        Ok(is_there.then_some(Written {
            count,
            last: now,
            ..written
        }))
    }

    async fn first(&mut self, told: &Told, now: Timestamp) -> Result<Written, kube::Error> {
        // The time as a number, as client-go names Events; a higher one if that is given away.
        self.last_number = now.as_nanosecond().max(self.last_number + 1);
        let of = told.regarding.name.as_deref().unwrap_or_default();
        let name = format!("{of}.{:016x}", self.last_number);
        let namespace = told.regarding.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let event = as_object(told, &namespace, &name, now);
        let api = self.api(&namespace);
        api.create(&PostParams::default(), &event).await?;
        Ok(Written {
            namespace,
            name,
            count: 1,
            last: now,
        })
    }
}

fn ignore_absence(outcome: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        outcome => outcome,
    }
}

fn as_object(told: &Told, namespace: &str, name: &str, now: Timestamp) -> CoreEvent {
    let component = told.source.component.to_owned();
    let now = Time(whole_seconds(now));
    CoreEvent {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: told.regarding.clone(),
        type_: Some(told.event.event_type.as_str().to_owned()),
        reason: Some(told.event.reason.clone()),
        message: Some(told.event.message.clone()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource {
            component: Some(component.clone()),
            host: told.source.host.clone(),
        }),
        reporting_component: Some(component),
        reporting_instance: told.source.host.clone(),
        ..CoreEvent::default()
    }
}
