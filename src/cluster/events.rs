//! Kubernetes Events: what happened, told once on the object that it happened to.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde_json::json;
use tracing::warn;

use super::{Cluster, Created, Error};

/// The component that Argo Rollouts names in its Events; tools filter by it.
const COMPONENT: &str = "rollouts-controller";

/// How an Event is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

impl EventType {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Something that happened to an object, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// How it is to be taken.
    pub event_type: EventType,
    /// One word in upper camel case, from a closed set: scripts filter by it.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

impl Event {
    /// An Event of type Normal.
    #[must_use]
    pub fn normal(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            event_type: EventType::Normal,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// An Event of type Warning.
    #[must_use]
    pub fn warning(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            event_type: EventType::Warning,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

impl Cluster {
    /// Records an Event on `object`.
    ///
    /// The Event's name is computed from what it says, so that saying it again (after a restart,
    /// too) counts the one that is there instead of making another. A failure is logged and never
    /// stops a pass: Events inform, they carry no state.
    pub async fn record<K: Resource<DynamicType = ()>>(&self, object: &K, event: &Event) {
        let regarding = object.object_ref(&());
        if let Err(error) = self.try_record(regarding, event).await {
            warn!(%error, reason = event.reason, "cannot record an Event");
        }
    }

    async fn try_record(&self, regarding: ObjectReference, event: &Event) -> Result<(), Error> {
        let now = Time(whole_seconds(self.clock().now()));
        let made = core_event(regarding, event, now.clone());
        if let Created::New(_) = self.create(&made).await? {
            return Ok(());
        }
        let namespace = made.metadata.namespace.unwrap_or_default();
        let name = made.metadata.name.unwrap_or_default();
        let count = self
            .get::<CoreEvent>(&namespace, &name)
            .await?
            .and_then(|seen| seen.count);
        let again = json!({ "count": count.unwrap_or(1).saturating_add(1), "lastTimestamp": now });
        self.merge::<CoreEvent>(&namespace, &name, &again)
            .await
            .map(drop)
    }
}

fn whole_seconds(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn core_event(regarding: ObjectReference, event: &Event, now: Time) -> CoreEvent {
    let namespace = regarding
        .namespace
        .clone()
        .unwrap_or_else(|| "default".into());
    CoreEvent {
        metadata: ObjectMeta {
            name: Some(event_name(&regarding, event)),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: regarding,
        type_: Some(event.event_type.as_str().into()),
        reason: Some(event.reason.clone()),
        message: Some(event.message.clone()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource {
            component: Some(COMPONENT.into()),
            host: None,
        }),
        reporting_component: Some(COMPONENT.into()),
        ..CoreEvent::default()
    }
}

/// `<object>.<16 hex digits of what it says>`, as client-go forms it, with what is said in the
/// place of the time.
fn event_name(regarding: &ObjectReference, event: &Event) -> String {
    let mut hasher = DefaultHasher::new();
    (&regarding.kind, &regarding.uid, event).hash(&mut hasher);
    format!(
        "{}.{:016x}",
        regarding.name.as_deref().unwrap_or_default(),
        hasher.finish()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regarding(uid: &str) -> ObjectReference {
        ObjectReference {
            kind: Some("Rollout".into()),
            name: Some("web".into()),
            namespace: Some("shop".into()),
            uid: Some(uid.into()),
            ..ObjectReference::default()
        }
    }

    #[test]
    fn saying_the_same_of_the_same_object_has_the_same_name() {
        let event = Event::normal("RolloutCompleted", "Rollout completed");
        assert_eq!(
            event_name(&regarding("1"), &event),
            event_name(&regarding("1"), &event)
        );
        assert_ne!(
            event_name(&regarding("1"), &event),
            event_name(&regarding("2"), &event)
        );
        let other = Event::warning("RolloutCompleted", "Rollout completed");
        assert_ne!(
            event_name(&regarding("1"), &event),
            event_name(&regarding("1"), &other)
        );
    }

    #[test]
    fn an_event_stands_in_the_namespace_of_its_object() {
        let now = Time("2026-01-01T00:00:00Z".parse().unwrap());
        let made = core_event(regarding("1"), &Event::normal("A", "b"), now);
        assert_eq!(made.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(
            made.source.unwrap().component.as_deref(),
            Some("rollouts-controller")
        );
    }
}
