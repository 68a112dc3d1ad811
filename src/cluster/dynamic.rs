//! Objects of kinds that are only known now: their whole JSON, without `managedFields`.

use kube::api::{DeleteParams, ListParams, Patch, PostParams, Preconditions, TypeMeta};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{Cluster, Error, FIELD_MANAGER, patch_params};
use crate::traffic_routers::{Place, Resource};

/// A kind as the client library names it.
#[must_use]
pub fn api_resource(resource: &Resource) -> ApiResource {
    ApiResource {
        group: resource.group.clone(),
        version: resource.version.clone(),
        api_version: resource.api_version(),
        kind: resource.kind.to_owned(),
        plural: resource.plural.to_owned(),
    }
}

/// The JSON of an object. In a list, the API server leaves out what all have in common.
#[must_use]
pub fn whole(resource: &Resource, mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    let api_resource = api_resource(resource);
    object.types.get_or_insert(TypeMeta {
        api_version: api_resource.api_version,
        kind: api_resource.kind,
    });
    serde_json::to_value(object).unwrap_or_default()
}

fn failed(verb: &'static str, place: &Place, source: &kube::Error) -> Error {
    let Place {
        resource,
        namespace,
        name,
    } = place;
    let object = format!("{} `{namespace}/{name}`", resource.kind);
    Error::new(verb, object, source)
}

/// The group of Istio's objects, which may be in a cluster of their own.
const ISTIO: &str = "networking.istio.io";

impl Cluster {
    /// For watches of a kind.
    #[must_use]
    pub fn client_of(&self, resource: &Resource) -> Client {
        let istio = self.istio.as_ref().filter(|_| resource.group == ISTIO);
        istio.map_or_else(|| self.client(), |istio| Client::clone(istio))
    }

    fn api_of(&self, resource: &Resource, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client_of(resource), namespace, &api_resource(resource))
    }

    /// Reads the object at a place, `None` if there is none.
    ///
    /// # Errors
    /// Also where there is no such kind.
    pub async fn read_at(&self, place: &Place) -> Result<Option<Value>, Error> {
        let api = self.api_of(&place.resource, &place.namespace);
        match api.get(&place.name).await {
            Ok(object) => Ok(Some(whole(&place.resource, object))),
            Err(source) => {
                let error = failed("read", place, &source);
                if error.is_not_found() && !error.is_unknown_kind() {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Lists the objects of a kind in a namespace that a label selector picks.
    pub async fn read_selected(
        &self,
        resource: &Resource,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>, Error> {
        let params = ListParams::default().labels(selector);
        let listed = self.api_of(resource, namespace).list(&params).await;
        let listed = listed.map_err(|source| {
            let objects = format!("{} in `{namespace}`", resource.plural);
            Error::new("list", objects, &source)
        })?;
        let objects = listed.items.into_iter();
        Ok(objects.map(|object| whole(resource, object)).collect())
    }

    /// Namespace and name of all objects of a kind that bear an annotation, in one namespace or in
    /// all.
    pub async fn annotated(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        annotation: &str,
    ) -> Result<Vec<Place>, Error> {
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => self.api_of(resource, namespace),
            None => Api::all_with(self.client_of(resource), &api_resource(resource)),
        };
        let listed = api.list_metadata(&ListParams::default()).await;
        let listed =
            listed.map_err(|source| Error::new("list", resource.plural.to_owned(), &source))?;
        let bears = listed.items.into_iter().filter(|object| {
            let annotations = object.metadata.annotations.as_ref();
            annotations.is_some_and(|annotations| annotations.contains_key(annotation))
        });
        let places = bears.map(|object| Place {
            resource: resource.clone(),
            namespace: object.metadata.namespace.unwrap_or_default(),
            name: object.metadata.name.unwrap_or_default(),
        });
        Ok(places.collect())
    }

    /// Makes an object; one that is there already is an error.
    pub async fn make(&self, place: &Place, object: &Value) -> Result<Value, Error> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..<_>::default()
        };
        let refused = |source: &kube::Error| failed("create", place, source);
        let object = serde_json::from_value(object.clone());
        let object = object.map_err(|source| refused(&kube::Error::SerdeError(source)))?;
        let api = self.api_of(&place.resource, &place.namespace);
        let made = api.create(&params, &object).await;
        made.map(|made| whole(&place.resource, made))
            .map_err(|source| refused(&source))
    }

    /// Changes an object: exactly what differs, and only in the version that was found. A newer one
    /// is a conflict.
    pub async fn change(
        &self,
        place: &Place,
        before: &Value,
        after: &Value,
    ) -> Result<Value, Error> {
        let mut patch = json_patch::diff(before, after);
        let held = json!([{
            "op": "replace", "path": "/metadata/resourceVersion",
            "value": before["metadata"]["resourceVersion"],
        }]);
        let held: json_patch::Patch = serde_json::from_value(held).unwrap_or_default();
        patch.0.extend(held.0);
        let api = self.api_of(&place.resource, &place.namespace);
        let patch = Patch::Json::<()>(patch);
        let changed = api.patch(&place.name, &patch_params(), &patch).await;
        changed
            .map(|changed| whole(&place.resource, changed))
            .map_err(|source| failed("patch", place, &source))
    }

    /// Deletes the object that was found. One that is gone already is done, too.
    pub async fn remove(&self, place: &Place, before: &Value) -> Result<(), Error> {
        let text = |field: &str| before["metadata"][field].as_str().map(str::to_owned);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: text("uid"),
                resource_version: text("resourceVersion"),
            }),
            ..DeleteParams::default()
        };
        let api = self.api_of(&place.resource, &place.namespace);
        match api.delete(&place.name, &params).await {
            Ok(_) => Ok(()),
            Err(source) => {
                let error = failed("delete", place, &source);
                if error.is_not_found() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }
}
