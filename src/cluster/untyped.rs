//! Objects as JSON: what people write and read whole, unknown fields included.

use kube::Api;
use kube::api::{ListParams, Patch, PostParams};
use kube::core::{ApiResource, DynamicObject, ObjectList};
use serde_json::Value;

use super::{Cluster, Error, FIELD_MANAGER, Namespaced, patch_params};

impl Cluster {
    /// Reads an object; that there is none is an error in the API server's words. An empty namespace
    /// is for kinds that have none.
    pub async fn read(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<DynamicObject, Error> {
        let read = self.untyped(kind, namespace).get(name).await;
        read.map_err(|source| Error::new("read", told(kind, namespace, name), &source))
    }

    /// Lists objects of one namespace, or of all.
    pub async fn find(
        &self,
        kind: &ApiResource,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<ObjectList<DynamicObject>, Error> {
        let found = self.untyped(kind, namespace.unwrap_or_default());
        found.list(params).await.map_err(|source| {
            Error::new(
                "list",
                told(kind, namespace.unwrap_or_default(), ""),
                &source,
            )
        })
    }

    /// Lists objects of a namespace that selectors pick.
    pub async fn select<K: Namespaced>(
        &self,
        namespace: &str,
        params: &ListParams,
    ) -> Result<Vec<K>, Error> {
        let listed = self.api::<K>(namespace).list(params).await;
        listed
            .map(|list| list.items)
            .map_err(|source| super::failed::<K>("list", namespace, "", &source))
    }

    /// Creates an object as it is written. An empty namespace is for kinds that have none.
    pub async fn create_untyped(
        &self,
        kind: &ApiResource,
        namespace: &str,
        object: &DynamicObject,
    ) -> Result<DynamicObject, Error> {
        let created = self.untyped(kind, namespace);
        let created = created.create(&posted(), object).await;
        created.map_err(|source| Error::new("create", told(kind, namespace, ""), &source))
    }

    /// Puts an object in the place of the one that was read: a newer one is a conflict.
    pub async fn replace_untyped(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        object: &DynamicObject,
    ) -> Result<DynamicObject, Error> {
        let api = self.untyped(kind, namespace);
        let replaced = api.replace(name, &posted(), object).await;
        replaced.map_err(|source| Error::new("replace", told(kind, namespace, name), &source))
    }

    /// Sends a JSON merge patch to an object.
    pub async fn merge_untyped(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<DynamicObject, Error> {
        let api = self.untyped(kind, namespace);
        let patched = api.patch(name, &patch_params(), &Patch::Merge(patch)).await;
        patched.map_err(|source| Error::new("patch", told(kind, namespace, name), &source))
    }

    /// Sends a merge patch to the status subresource, or `otherwise` to the object itself where its
    /// kind has no such subresource.
    pub async fn merge_status_untyped(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
        otherwise: &Value,
    ) -> Result<DynamicObject, Error> {
        let api = self.untyped(kind, namespace);
        let (params, patch) = (patch_params(), Patch::Merge(patch));
        match api.patch_status(name, &params, &patch).await {
            Ok(patched) => Ok(patched),
            Err(source) => {
                let what = told(kind, namespace, name);
                let error = Error::new("write the status of", what, &source);
                if !error.is_not_found() {
                    return Err(error);
                }
                // Either the object or the subresource is missing; a second answer tells which.
                self.merge_untyped(kind, namespace, name, otherwise).await
            }
        }
    }

    /// Sends a JSON patch (RFC 6902) to an object of a kind that is only known now.
    pub async fn json_patch_untyped(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        patch: json_patch::Patch,
    ) -> Result<DynamicObject, Error> {
        let api = self.untyped(kind, namespace);
        let patch = Patch::Json::<Value>(patch);
        let patched = api.patch(name, &patch_params(), &patch).await;
        patched.map_err(|source| Error::new("patch", told(kind, namespace, name), &source))
    }

    fn untyped(&self, kind: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), kind)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, kind)
        }
    }
}

fn posted() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    }
}

fn told(kind: &ApiResource, namespace: &str, name: &str) -> String {
    let kind = &kind.kind;
    match (namespace, name) {
        ("", "") => format!("{kind}s"),
        (namespace, "") => format!("{kind}s in `{namespace}`"),
        ("", name) => format!("{kind} `{name}`"),
        (namespace, name) => format!("{kind} `{namespace}/{name}`"),
    }
}
