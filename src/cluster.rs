//! The door to Kubernetes: read, create, patch, write status, record Events.
//!
//! Every request goes through here, so that every failure reads alike: what could not be done, to
//! what, and why. Nothing here decides.

mod dynamic;
mod events;
mod persistence;
mod status;
mod untyped;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::Body;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;
use tower::{BoxError, service_fn};

use crate::clock::Clock;

pub use dynamic::{api_resource, whole};
pub use events::{Event, EventType};
pub use kube::api::PropagationPolicy;
pub use persistence::persistent;
pub use status::merge_patch;

use status::Subresources;

/// How long the API server may take to answer: whoever waits for ever holds up all that follows. A
/// server ends what takes longer than a minute by itself (`--request-timeout`).
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// Who Kubernetes says wrote a field.
pub const FIELD_MANAGER: &str = "verdict";

/// A kind that lives in a namespace and is known at compile time.
pub trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// A request that Kubernetes did not fulfil.
#[derive(Debug, Error)]
#[error("cannot {verb} {object}: {reason}")]
pub struct Error {
    verb: &'static str,
    object: String,
    reason: String,
    code: Option<u16>,
    status_reason: String,
    /// It is not known whether the request was carried out.
    is_open: bool,
}

impl Error {
    fn new(verb: &'static str, object: String, source: &kube::Error) -> Self {
        let (reason, code, status_reason) = match source {
            kube::Error::Api(status) => {
                let reason = if status.message.is_empty() {
                    format!("the API server answered {}", status.code)
                } else {
                    status.message.clone()
                };
                (reason, Some(status.code), status.reason.clone())
            }
            kube::Error::Service(cause) => (whole_story(&**cause), None, String::new()),
            other => (other.to_string(), None, String::new()),
        };
        let is_open = match source {
            kube::Error::Api(status) => status.code >= 500 && status.code != 503,
            other => persistence::is_cut(other) || is_silence(other),
        };
        Self {
            verb,
            object,
            reason,
            code,
            status_reason,
            is_open,
        }
    }

    /// Why `objects` cannot be watched.
    #[must_use]
    pub fn of_watch(objects: &str, error: &watcher::Error) -> Self {
        let objects = objects.to_owned();
        match error {
            watcher::Error::InitialListFailed(source) => Self::new("list", objects, source),
            watcher::Error::WatchStartFailed(source) | watcher::Error::WatchFailed(source) => {
                Self::new("watch", objects, source)
            }
            watcher::Error::WatchError(status) => {
                Self::new("watch", objects, &kube::Error::Api(status.clone()))
            }
            watcher::Error::NoResourceVersion => Self {
                verb: "watch",
                object: objects,
                reason: error.to_string(),
                code: None,
                status_reason: String::new(),
                is_open: false,
            },
        }
    }

    /// Why, in the words of the API server if it answered.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.reason
    }

    /// The object has changed since it was read.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code == Some(409) && !self.is_already_there()
    }

    /// An object of that name exists.
    #[must_use]
    pub fn is_already_there(&self) -> bool {
        self.code == Some(409) && self.status_reason == "AlreadyExists"
    }

    /// There is no such object, kind or subresource.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code == Some(404)
    }

    /// There is not even such a kind. Where there is one, the answer says that the object is missing.
    #[must_use]
    pub fn is_unknown_kind(&self) -> bool {
        let is_nothing_there = "the server could not find the requested resource";
        self.is_not_found() && (self.status_reason != "NotFound" || self.reason == is_nothing_there)
    }

    /// The request itself is wrong or not allowed: to repeat it will not help.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.code, Some(400 | 401 | 403 | 405 | 413 | 415 | 422))
    }

    /// Whoever asks may not.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.code == Some(403)
    }

    /// What failed was a write of which it is not known whether it was carried out.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        self.is_open && !matches!(self.verb, "read" | "list" | "watch")
    }

    /// Names the failure in metrics: a closed set, unlike the message.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.code {
            None => "Unreachable",
            Some(404) => "NotFound",
            Some(409) => "Conflict",
            Some(401 | 403) => "Forbidden",
            Some(429) => "TooManyRequests",
            Some(500..) => "ServerError",
            Some(_) => "Refused",
        }
    }
}

/// An error and its causes: that a connection failed says little without the reason.
fn whole_story(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = persistence::causes(error).map(ToString::to_string);
    let first = causes.next().unwrap_or_default();
    causes.fold(first, |told, text| {
        if told.contains(&text) {
            told
        } else {
            format!("{told}: {text}")
        }
    })
}

/// The API server did not answer in time. Whether it did what was asked is not known.
#[derive(Debug, Error)]
#[error("the API server did not answer within {} s", ANSWER_WITHIN.as_secs())]
struct Silence;

fn is_silence(error: &(dyn std::error::Error + 'static)) -> bool {
    persistence::causes(error).any(<dyn std::error::Error + 'static>::is::<Silence>)
}

/// A client whose requests end, answered or not. Watches, too, must begin to be answered.
fn impatient(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let ask = service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            match tokio::time::timeout(ANSWER_WITHIN, client.send(request)).await {
                Ok(Err(kube::Error::Service(cause))) => Err(cause),
                Ok(answer) => answer.map_err(BoxError::from),
                Err(_) => Err(Silence.into()),
            }
        }
    });
    Client::new(ask, namespace)
}

/// What became of a request to create an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created<K> {
    /// It was made.
    New(K),
    /// An object of that name is there already, untouched.
    AlreadyThere,
}

/// The API server, as this program uses it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    clock: Clock,
    subresources: Arc<Subresources>,
    /// Where Istio's objects are, if not here.
    istio: Option<Arc<Client>>,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    /// A door that uses `client`; `clock` dates the Events.
    #[must_use]
    pub fn new(client: Client, clock: Clock) -> Self {
        Self {
            client: impatient(client),
            clock,
            subresources: Arc::default(),
            istio: None,
        }
    }

    /// As this, but with Istio's objects in the cluster that `client` reaches.
    #[must_use]
    pub fn with_istio_by(self, client: Client) -> Self {
        let istio = Some(Arc::new(impatient(client)));
        Self { istio, ..self }
    }

    /// For watches, which the controllers run themselves.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The time of day.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Reads an object, `None` if there is none.
    pub async fn get<K: Namespaced>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, Error> {
        let api = self.api::<K>(namespace);
        api.get_opt(name)
            .await
            .map_err(|source| failed::<K>("read", namespace, name, &source))
    }

    /// Reads an object of a kind that has no namespace, `None` if there is none.
    pub async fn get_global<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::all(self.client.clone());
        api.get_opt(name)
            .await
            .map_err(|source| failed::<K>("read", "", name, &source))
    }

    /// Lists the objects of a namespace that a label selector picks.
    pub async fn list<K: Namespaced>(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<K>, Error> {
        let api = self.api::<K>(namespace);
        let listed = api
            .list(&kube::api::ListParams::default().labels(selector))
            .await;
        listed
            .map(|list| list.items)
            .map_err(|source| failed::<K>("list", namespace, "", &source))
    }

    /// Creates an object; one of the same name is left as it is and reported.
    pub async fn create<K: Namespaced>(&self, object: &K) -> Result<Created<K>, Error> {
        let namespace = object.namespace().unwrap_or_default();
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..<_>::default()
        };
        match self.api::<K>(&namespace).create(&params, object).await {
            Ok(created) => Ok(Created::New(created)),
            Err(source) => {
                let error = failed::<K>("create", &namespace, &object.name_any(), &source);
                if error.is_already_there() {
                    Ok(Created::AlreadyThere)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Puts an object in the place of the one that was read: with its `resourceVersion`, a newer one
    /// is a conflict. Only for objects that nobody else writes fields of.
    pub async fn replace<K: Namespaced>(&self, object: &K) -> Result<K, Error> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..<_>::default()
        };
        let api = self.api::<K>(&namespace);
        api.replace(&name, &params, object)
            .await
            .map_err(|source| failed::<K>("replace", &namespace, &name, &source))
    }

    /// Sends a JSON merge patch to an object. A `metadata.resourceVersion` in it is a precondition.
    pub async fn merge<K: Namespaced>(
        &self,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<K, Error> {
        let api = self.api::<K>(namespace);
        api.patch(name, &patch_params(), &Patch::Merge(patch))
            .await
            .map_err(|source| failed::<K>("patch", namespace, name, &source))
    }

    /// Sends a JSON patch (RFC 6902) to an object.
    pub async fn json_patch<K: Namespaced>(
        &self,
        namespace: &str,
        name: &str,
        patch: json_patch::Patch,
    ) -> Result<K, Error> {
        let api = self.api::<K>(namespace);
        api.patch(name, &patch_params(), &Patch::Json::<()>(patch))
            .await
            .map_err(|source| failed::<K>("patch", namespace, name, &source))
    }

    /// Deletes the object that has this uid. One that is gone already is done, too.
    pub async fn delete<K: Namespaced>(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        propagation: PropagationPolicy,
    ) -> Result<(), Error> {
        let params = DeleteParams {
            propagation_policy: Some(propagation),
            preconditions: uid.map(|uid| Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api::<K>(namespace).delete(name, &params).await {
            Ok(_) => Ok(()),
            Err(source) => {
                let error = failed::<K>("delete", namespace, name, &source);
                if error.is_not_found() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Evicts the pod that has this uid, if its disruption budgets allow that now. One that is gone
    /// already is done, too.
    pub async fn evict(&self, namespace: &str, name: &str, uid: Option<&str>) -> Result<(), Error> {
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": name, "namespace": namespace },
            "deleteOptions": { "preconditions": { "uid": uid } },
        });
        let api = self.api::<Pod>(namespace);
        let params = PostParams::default();
        let evicted = api.create_subresource::<_, Value>("eviction", name, &params, &eviction);
        let evicted = evicted.await;
        match evicted {
            Ok(_) => Ok(()),
            Err(source) => {
                let error = failed::<Pod>("evict", namespace, name, &source);
                // With another uid it is another pod.
                if error.is_not_found() || error.is_conflict() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    fn api<K: Namespaced>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    }
}

fn failed<K: Resource<DynamicType = ()>>(
    verb: &'static str,
    namespace: &str,
    name: &str,
    source: &kube::Error,
) -> Error {
    let kind = K::kind(&());
    let object = match (namespace, name) {
        ("", name) => format!("{kind} `{name}`"),
        (namespace, "") => format!("{kind}s in `{namespace}`"),
        (namespace, name) => format!("{kind} `{namespace}/{name}`"),
    };
    Error::new(verb, object, source)
}
