//! A Kubernetes API server in memory, as an axum `Router`.
//!
//! ```text
//! serving ─→ asked ─→ listing ─→ watching  reads
//!    │         ├──→ writing ←─ patching, applying, deleting
//!    │         │       │ admission: shaping, validation, cel, defaults, rules, crd, managed
//!    │         └──→ eviction, tokens       what is posted and not stored
//!    ├──→ reviews ─→ rbac                  who may do what
//!    └──→ documents ─→ discovery, openapi
//!               ↓
//!             store                        objects, versions, changes
//! ```
//!
//! Requests are answered without waiting for anything: a write is done when its answer is sent, and
//! its event is there for every watch. Only watches wait, for changes.

mod accepted_names;
mod admission;
mod applying;
mod asked;
mod budgets;
mod built_in;
#[cfg(feature = "cel")]
mod cel;
#[cfg(not(feature = "cel"))]
#[path = "without_cel.rs"]
mod cel;
mod chaos;
mod connections;
mod core;
mod crd;
mod decode;
mod defaults;
mod definition;
mod definition_versions;
mod deleting;
mod discovery;
mod documents;
mod events;
mod eviction;
mod failure;
mod faults;
mod field_paths;
mod fields;
mod formats;
mod go_regex;
mod kinds;
mod listing;
mod managed;
mod messages;
mod names;
mod openapi;
mod openapi_schema;
mod parts;
mod patching;
mod pods;
mod protobuf;
mod rbac;
mod render;
mod request;
mod resources;
mod reviews;
mod rules;
mod scale;
mod schema;
mod selectors;
mod services;
mod serving;
mod shaping;
mod snapshot;
mod store;
mod strategic;
mod structural;
mod table;
mod tokens;
mod traffic;
mod users;
mod validation;
mod watching;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, Request, header};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::clock::Clock;

pub use chaos::{Chaos, Rates, TooMuch};
pub use connections::serve;
pub use snapshot::{Snapshot, Unreadable};
pub use traffic::{Access, Fault, RequestSummary};

use self::core::Core;
use self::managed::Write;
use self::request::{FieldValidation, Target, WriteOptions};
use self::store::Store;
use self::writing::{Part, Sent};

/// Why an object was not stored, in the server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

/// Namespaces that exist from the start.
const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

/// A Kubernetes API server. Clones are the same server.
#[derive(Debug, Clone)]
pub struct Server {
    core: Arc<Core>,
}

impl Server {
    /// A server with nothing but the namespaces and roles that every cluster has.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self::of(Core::new(clock, Store::new()))
    }

    /// A server as another one was. What led there is forgotten: watches from earlier versions are
    /// answered 410.
    #[must_use]
    pub fn restored(clock: Clock, snapshot: &Snapshot) -> Self {
        let core = Core::new(clock, Store::restored(snapshot));
        crd::restored(&core);
        Self::of(core)
    }

    fn of(core: Core) -> Self {
        let server = Self {
            core: Arc::new(core),
        };
        for name in NAMESPACES {
            server.add_namespace(name);
        }
        for role in rbac::defaults() {
            if !server.has_cluster_wide(&role) {
                // Cannot be refused: nothing of that name is there.
                let _ = server.create(role);
            }
        }
        server
    }

    /// Whether there is an object of the same kind and name in no namespace.
    fn has_cluster_wide(&self, object: &Value) -> bool {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let registry = self.core.registry();
        let mut resources = registry.all();
        let resource = resources.find(|resource| {
            object["apiVersion"] == resource.api_version() && object["kind"] == resource.kind
        });
        let key = (String::new(), name.to_owned());
        resource.is_some_and(|resource| self.core.object(resource, &key).is_some())
    }

    /// Makes a namespace unless it is there.
    fn add_namespace(&self, name: &str) {
        let collection: Arc<str> = "namespaces".into();
        let key = (String::new(), name.to_owned());
        if self.core.store.get(&collection, &key).is_some() {
            return;
        }
        let namespace: Value = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "uid": self.core.next_uid(),
                "creationTimestamp": self.core.now(),
                "labels": {"kubernetes.io/metadata.name": name},
            },
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        // Nobody else has the server yet.
        let _ = self.core.store.create(&collection, key, namespace);
    }

    /// Stores an object as a client's create would.
    ///
    /// # Errors
    /// What the server refuses it for.
    pub fn create(&self, object: Value) -> Result<Value, Refusal> {
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let registry = self.core.registry();
        let resource = registry
            .all()
            .find(|resource| resource.api_version() == api_version && resource.kind == kind)
            .ok_or_else(|| Refusal(format!("{api_version} {kind} is not served")))?;
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or("default");
        let target = Target {
            group: resource.group.clone(),
            version: resource.version.clone(),
            namespace: resource.namespaced.then(|| namespace.to_owned()),
            plural: resource.plural.clone(),
            name: None,
            subresource: None,
        };
        let options = WriteOptions {
            dry_run: false,
            field_validation: FieldValidation::Ignore,
            manager: "verdict".to_owned(),
            force: false,
        };
        let sent = Sent {
            object,
            duplicates: Vec::new(),
        };
        let how = Write::update(&options, Part::Main);
        writing::create(&self.core, resource, &target, sent, &options, how)
            .map(|written| written.object.value.clone())
            .map_err(|failure| Refusal(failure.message))
    }

    /// The server as a `tower` service, to be called in-process or served on a socket.
    pub fn router(&self) -> Router {
        Router::new()
            .fallback(serving::answer)
            .with_state(self.core.clone())
    }

    /// A client that calls the server in-process. Needs a Tokio runtime.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.router(), "default")
    }

    /// As [`Server::client`], with a name by which records and faults know it.
    ///
    /// # Panics
    /// If the name cannot stand in an HTTP header.
    #[must_use]
    pub fn client_as(&self, program: &str) -> Client {
        let agent = HeaderValue::from_str(program).expect("a program has a printable name");
        let service = self.router().map_request(move |mut request: Request<_>| {
            request
                .headers_mut()
                .insert(header::USER_AGENT, agent.clone());
            request
        });
        Client::new(service, "default")
    }

    /// Has `decide` say what is done with each request from now on, in place of what was set
    /// before.
    pub fn set_faults(&self, decide: impl Fn(&RequestSummary) -> Fault + Send + Sync + 'static) {
        self.core.traffic.set_faults(Some(Arc::new(decide)));
    }

    /// Answers all requests as always again.
    pub fn clear_faults(&self) {
        self.core.traffic.set_faults(None);
    }

    /// How often which program asked for what.
    #[must_use]
    pub fn accesses(&self) -> BTreeMap<Access, u64> {
        self.core.traffic.seen()
    }

    /// Forgets what was asked so far.
    pub fn forget_accesses(&self) {
        self.core.traffic.forget();
    }

    /// Ends all open watches, as a restarting server does.
    pub fn end_watches(&self) {
        self.core.end_watches();
    }

    /// Forgets past changes: watches from earlier versions are answered 410, as after a
    /// compaction.
    pub fn forget_history(&self) {
        self.core.store.forget_history();
    }

    /// The version of the latest change.
    #[must_use]
    pub fn resource_version(&self) -> u64 {
        self.core.store.revision()
    }

    /// The version of the latest change, whenever there is one.
    #[must_use]
    pub fn resource_versions(&self) -> watch::Receiver<u64> {
        self.core.store.versions()
    }

    /// All that the server holds now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.core.store.snapshot()
    }
}
