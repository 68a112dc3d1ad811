//! Watches: the changes of a collection as a stream of lines.
//!
//! A watch holds no queue of its own. It is woken when its collection changes, reads what is new from the
//! collection's history, and keeps what it selects. Without changes it costs nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::failure::Failure;
use super::render::Rendering;
use super::resources::Resource;
use super::selectors::Selection;
use super::store::{Change, Object, Unavailable};

/// How often a watch that wants bookmarks gets one while its collection changes.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);

/// A watch without `timeoutSeconds` ends after this; a real server draws from 30 to 60 minutes.
const LONGEST: Duration = Duration::from_mins(45);

/// What a watch was asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) resource: Arc<Resource>,
    pub(super) namespace: Option<String>,
    pub(super) selection: Selection,
    pub(super) start: Start,
    pub(super) bookmarks: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) rendering: Rendering,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With all objects as additions, then what changes.
    Objects,
    /// As `Objects`, with a bookmark that marks the end of the additions.
    StreamedList,
    /// With what changes from now on.
    Now,
    /// With what changed after this version.
    After(u64),
}

/// An open watch.
struct Watcher {
    core: Arc<Core>,
    wanted: Wanted,
    /// The version up to which changes were looked at.
    seen: u64,
    /// The version that the client was last told.
    told: u64,
    lines: VecDeque<Bytes>,
    latest: watch::Receiver<u64>,
    deadline: Instant,
    next_bookmark: Instant,
    cut: CancellationToken,
    ended: bool,
}

/// The events of a watch, one JSON object a line.
pub(super) fn response(core: Arc<Core>, wanted: Wanted) -> Response {
    let watcher = Watcher::open(core, wanted);
    let lines = futures::stream::unfold(watcher, |mut watcher| async {
        let line = watcher.next().await?;
        Some((Ok::<_, Infallible>(line), watcher))
    });
    lines_response(Body::from_stream(lines))
}

/// A watch that only tells why it ends.
pub(super) fn refused(failure: &Failure) -> Response {
    lines_response(Body::from(error_line(failure)))
}

fn lines_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

impl Watcher {
    fn open(core: Arc<Core>, wanted: Wanted) -> Self {
        // Subscribe first: what changes while the objects are read wakes the watch again.
        let latest = core.store.subscribe(&wanted.resource.collection);
        let cut = core.watches_end();
        let now = Instant::now();
        let mut watcher = Self {
            seen: 0,
            told: 0,
            lines: VecDeque::new(),
            latest,
            deadline: now + wanted.timeout.unwrap_or(LONGEST),
            next_bookmark: now + BOOKMARK_EVERY,
            cut,
            ended: false,
            core,
            wanted,
        };
        watcher.begin();
        watcher
    }

    fn begin(&mut self) {
        match self.wanted.start {
            Start::After(revision) => self.seen = revision,
            Start::Now => self.seen = self.core.store.revision(),
            Start::Objects | Start::StreamedList => {
                let namespace = self.wanted.namespace.as_deref();
                let listed = self
                    .core
                    .store
                    .list(&self.wanted.resource.collection, namespace);
                self.seen = listed.revision;
                for object in listed.objects {
                    if self.wanted.selection.matches(&object.value) {
                        self.push("ADDED", &object);
                    }
                }
                if self.wanted.start == Start::StreamedList {
                    self.bookmark(json!({"k8s.io/initial-events-end": "true"}));
                }
            }
        }
        self.told = self.seen;
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.latest.borrow_and_update();
            self.read_changes();
            if self.lines.is_empty() && !self.ended {
                self.wait().await;
            }
        }
    }

    /// Waits until there may be something to say.
    async fn wait(&mut self) {
        let owes_bookmark = self.wanted.bookmarks && self.seen > self.told;
        let wake = if owes_bookmark {
            self.next_bookmark.min(self.deadline)
        } else {
            self.deadline
        };
        tokio::select! {
            biased;
            () = self.cut.cancelled() => self.ended = true,
            changed = self.latest.changed() => self.ended = changed.is_err(),
            () = sleep_until(wake) => {
                self.ended = wake == self.deadline;
                if self.wanted.bookmarks {
                    self.bookmark(Value::Null);
                }
            }
        }
    }

    fn read_changes(&mut self) {
        match self
            .core
            .store
            .changes(&self.wanted.resource.collection, self.seen)
        {
            Ok((revision, changes)) => {
                for change in &changes {
                    self.tell(change);
                }
                self.seen = self.seen.max(revision);
            }
            Err(Unavailable::Gone { forgotten }) => {
                let failure = Failure::watch_expired(self.seen, forgotten);
                self.lines.push_back(error_line(&failure));
                self.ended = true;
            }
            Err(Unavailable::Future { .. }) => {}
        }
    }

    fn selects(&self, object: &Value) -> bool {
        let namespace = self.wanted.namespace.as_deref();
        namespace.is_none_or(|name| object["metadata"]["namespace"] == name)
            && self.wanted.selection.matches(object)
    }

    fn tell(&mut self, change: &Change) {
        let before = change.before.as_ref().filter(|o| self.selects(&o.value));
        let after = change.after.as_ref().filter(|o| self.selects(&o.value));
        match (before, after) {
            (None, Some(after)) => self.push("ADDED", after),
            (Some(_), Some(after)) => self.push("MODIFIED", after),
            (Some(before), None) => {
                // The object as it last was in the selection, with the version of its leaving.
                let mut value = before.value.clone();
                value["metadata"]["resourceVersion"] = json!(change.revision.to_string());
                self.push("DELETED", &Object::new(value, change.revision));
            }
            (None, None) => {}
        }
    }

    fn push(&mut self, event: &str, object: &Object) {
        self.told = object.revision.max(self.told);
        let rendered = self.wanted.rendering.object(&self.wanted.resource, object);
        self.lines.push_back(line(event, &rendered));
    }

    fn bookmark(&mut self, annotations: Value) {
        let resource = &self.wanted.resource;
        let mut metadata = json!({
            "resourceVersion": self.seen.to_string(),
            "creationTimestamp": null,
        });
        if !annotations.is_null() {
            metadata["annotations"] = annotations;
        }
        let object = json!({
            "kind": resource.kind,
            "apiVersion": resource.stored_as,
            "metadata": metadata,
        });
        let rendered = self
            .wanted
            .rendering
            .object(resource, &Object::new(object, self.seen));
        self.lines.push_back(line("BOOKMARK", &rendered));
        self.told = self.seen;
        self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
    }
}

fn line(event: &str, object: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(object.len() + 32);
    text.extend_from_slice(b"{\"type\":\"");
    text.extend_from_slice(event.as_bytes());
    text.extend_from_slice(b"\",\"object\":");
    text.extend_from_slice(object);
    text.extend_from_slice(b"}\n");
    Bytes::from(text)
}

/// A failure as an event.
fn error_line(failure: &Failure) -> Bytes {
    line("ERROR", failure.status().to_string().as_bytes())
}
