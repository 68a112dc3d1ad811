//! One change to the cluster, as data, and the only function that makes one.

use std::fmt::{self, Display};

use jiff::Timestamp;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
    PropagationPolicy,
};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::merge_patch;

/// Who Kubernetes says wrote a field.
const FIELD_MANAGER: &str = "simulation";

/// What one pass found to do.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// Made in this order. The first failure ends the pass; the next pass decides afresh.
    pub(super) changes: Vec<Change>,
    /// When time alone may change this decision; `None` if only an event can.
    pub(super) wake_at: Option<Timestamp>,
}

impl Decision {
    /// Changes that time has no part in.
    pub(super) fn now(changes: Vec<Change>) -> Self {
        Self {
            changes,
            wake_at: None,
        }
    }
}

/// The earlier of two moments of which either may be absent.
pub(super) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// One object: this one, not a later one of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: ApiResource,
    /// Empty for kinds that have no namespace.
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// The version that it must still have, so that nobody else's change is lost. `None`: any.
    pub(super) version: Option<String>,
}

impl Target {
    /// The object itself.
    pub(super) fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            resource: ApiResource::erase::<K>(&()),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            version: None,
        }
    }

    /// The object as it was seen: if it has changed since, the change is refused.
    pub(super) fn as_seen<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            version: object.resource_version(),
            ..Self::of(object)
        }
    }
}

/// One change to the cluster.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Make an object.
    Create {
        resource: ApiResource,
        namespace: String,
        object: Value,
    },
    /// Send a merge patch to an object.
    Patch { target: Target, patch: Value },
    /// Send a merge patch to an object's status.
    Status { target: Target, patch: Value },
    /// Delete an object; with a policy and a grace period other than its kind's if they are set.
    Delete {
        target: Target,
        grace_seconds: Option<u32>,
        propagation: Option<PropagationPolicy>,
    },
    /// Let an empty namespace go.
    Finalize { namespace: String },
}

impl Change {
    /// Makes `object`.
    pub(super) fn create<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Self {
        Self::Create {
            resource: ApiResource::erase::<K>(&()),
            namespace: object.namespace().unwrap_or_default(),
            object: as_json(object),
        }
    }

    /// Sends `patch` to `object`.
    pub(super) fn patch<K: Resource<DynamicType = ()>>(object: &K, patch: Value) -> Self {
        Self::Patch {
            target: Target::of(object),
            patch,
        }
    }

    /// Turns the status of `object` from `old` into `new`; `None` if they are equal.
    pub(super) fn status<K: Resource<DynamicType = ()>, S: Serialize>(
        object: &K,
        old: &S,
        new: &S,
    ) -> Option<Self> {
        let difference = merge_patch(&as_json(old), &as_json(new))?;
        Some(Self::Status {
            target: Target::of(object),
            patch: json!({ "status": difference }),
        })
    }

    /// Deletes `object` as its kind is deleted by default.
    pub(super) fn delete<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::Delete {
            target: Target::of(object),
            grace_seconds: None,
            propagation: None,
        }
    }

    /// Deletes `object` at once, however long it may take to stop.
    pub(super) fn remove<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::Delete {
            target: Target::of(object),
            grace_seconds: Some(0),
            propagation: None,
        }
    }

    /// Whether this makes objects or takes them away, as a report about too few or too many of
    /// them tells of.
    pub(super) fn is_of_number(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Delete { .. })
    }
}

fn as_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("an object has only string keys")
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create {
                resource, object, ..
            } => {
                let metadata = &object["metadata"];
                let name = metadata["name"]
                    .as_str()
                    .or(metadata["generateName"].as_str());
                write!(f, "create {} `{}`", resource.kind, name.unwrap_or_default())
            }
            Self::Patch { target, .. } => {
                write!(f, "patch {} `{}`", target.resource.kind, target.name)
            }
            Self::Status { target, .. } => {
                write!(
                    f,
                    "write the status of {} `{}`",
                    target.resource.kind, target.name
                )
            }
            Self::Delete { target, .. } => {
                write!(f, "delete {} `{}`", target.resource.kind, target.name)
            }
            Self::Finalize { namespace } => write!(f, "finalize Namespace `{namespace}`"),
        }
    }
}

/// What a change left behind.
pub(super) enum Made {
    /// The object as it is now.
    Object(ApiResource, Box<DynamicObject>),
    /// The object that was to be made is there already, perhaps by an earlier try whose answer was
    /// lost.
    There(ApiResource, Box<DynamicObject>),
    /// The object of this uid is gone or going.
    Doomed(Target),
    /// There was nothing to be changed.
    Nothing,
}

/// Makes one change.
pub(super) async fn make(client: &Client, change: &Change) -> Result<Made, kube::Error> {
    match change {
        Change::Create {
            resource,
            namespace,
            object,
        } => create(client, resource, namespace, object).await,
        Change::Patch { target, patch } => {
            let api = api(client, &target.resource, &target.namespace);
            let patch = Patch::Merge(of_target(target, patch));
            let patched = api.patch(&target.name, &patch_params(), &patch).await;
            changed(target, patched)
        }
        Change::Status { target, patch } => {
            let api = api(client, &target.resource, &target.namespace);
            let patch = Patch::Merge(of_target(target, patch));
            let patched = api
                .patch_status(&target.name, &patch_params(), &patch)
                .await;
            changed(target, patched)
        }
        Change::Delete {
            target,
            grace_seconds,
            propagation,
        } => {
            let params = DeleteParams {
                grace_period_seconds: *grace_seconds,
                propagation_policy: propagation.clone(),
                preconditions: Some(Preconditions {
                    uid: Some(target.uid.clone()),
                    resource_version: target.version.clone(),
                }),
                ..DeleteParams::default()
            };
            delete(client, target, &params).await
        }
        Change::Finalize { namespace } => finalize(client, namespace).await,
    }
}

/// A patch that is refused for another object of the same name, and for another version if the
/// target has one.
fn of_target(target: &Target, patch: &Value) -> Value {
    let mut patch = patch.clone();
    patch["metadata"]["uid"] = json!(target.uid);
    if let Some(version) = &target.version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    patch
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn changed(
    target: &Target,
    answer: Result<DynamicObject, kube::Error>,
) -> Result<Made, kube::Error> {
    match answer {
        Ok(object) => Ok(Made::Object(target.resource.clone(), Box::new(object))),
        Err(error) if is_not_found(&error) => Ok(Made::Doomed(target.clone())),
        Err(error) => Err(error),
    }
}

async fn create(
    client: &Client,
    resource: &ApiResource,
    namespace: &str,
    object: &Value,
) -> Result<Made, kube::Error> {
    let api = api(client, resource, namespace);
    let object: DynamicObject =
        serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let refused = match api.create(&params, &object).await {
        Ok(made) => return Ok(Made::Object(resource.clone(), Box::new(made))),
        Err(refused) => refused,
    };
    match &refused {
        // The namespace is gone or going, and all that is in it.
        kube::Error::Api(status) if status.code == 404 || is_terminating(status) => {
            Ok(Made::Nothing)
        }
        kube::Error::Api(status) if status.reason == "AlreadyExists" => {
            let found = api.get_opt(&object.name_any()).await?.ok_or(refused)?;
            Ok(Made::There(resource.clone(), Box::new(found)))
        }
        _ => Err(refused),
    }
}

/// Whether something cannot be made because its namespace is about to go.
fn is_terminating(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .into_iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
}

async fn delete(
    client: &Client,
    target: &Target,
    params: &DeleteParams,
) -> Result<Made, kube::Error> {
    let api = api(client, &target.resource, &target.namespace);
    let left = match api.delete(&target.name, params).await {
        Ok(answer) => answer.left(),
        Err(error) if is_not_found(&error) => None,
        Err(error) => return Err(error),
    };
    Ok(
        match left.filter(|object| object.metadata.deletion_timestamp.is_some()) {
            Some(object) => Made::Object(target.resource.clone(), Box::new(object)),
            None => Made::Doomed(target.clone()),
        },
    )
}

/// Empties `spec.finalizers` of a namespace, which only its own subresource may do.
async fn finalize(client: &Client, name: &str) -> Result<Made, kube::Error> {
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let Some(mut namespace) = api.get_opt(name).await? else {
        return Ok(Made::Nothing);
    };
    namespace.data["spec"]["finalizers"] = json!([]);
    let finalized = api
        .replace_subresource("finalize", name, &PostParams::default(), &namespace)
        .await;
    match finalized {
        Ok(object) => Ok(Made::Object(resource, Box::new(object))),
        Err(error) if is_not_found(&error) => Ok(Made::Nothing),
        Err(error) => Err(error),
    }
}

fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// The objects of a kind in a namespace, or of one that has no namespaces.
pub(super) fn api(client: &Client, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
    if namespace.is_empty() {
        Api::all_with(client.clone(), resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, resource)
    }
}
