//! Writing status: through the subresource, or, where a CRD has none, through the object itself.

use std::any::TypeId;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use kube::ResourceExt as _;
use kube::api::Patch;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Cluster, Error, Namespaced, failed, patch_params};

/// Kinds that were seen to have no status subresource (Argo's AnalysisRun and Experiment).
#[derive(Default)]
pub(super) struct Subresources {
    missing: Mutex<HashSet<TypeId>>,
}

impl Subresources {
    fn is_missing<K: 'static>(&self) -> bool {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.contains(&TypeId::of::<K>())
    }

    fn set_missing<K: 'static>(&self) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.insert(TypeId::of::<K>());
    }
}

impl Cluster {
    /// Writes the difference between two statuses of `object`, if there is one. Without an old one,
    /// the new one is written whole: a schema may require fields that are empty.
    ///
    /// The write holds only if the object is still the one that was read; a newer one is a conflict.
    ///
    /// # Returns
    /// The object as it is now, `None` if there was nothing to write.
    pub async fn write_status<K: Namespaced, S: Serialize + Sync>(
        &self,
        object: &K,
        old: &S,
        new: &S,
    ) -> Result<Option<K>, Error> {
        let Some(difference) = merge_patch(&as_json(old), &as_json(new)) else {
            return Ok(None);
        };
        let namespace = object.namespace().unwrap_or_default();
        let patch = json!({
            "metadata": { "resourceVersion": object.resource_version() },
            "status": difference,
        });
        self.patch_status(&namespace, &object.name_any(), &patch, &patch)
            .await
            .map(Some)
    }

    /// Sends a merge patch to the status subresource, or `otherwise` to the object itself where its
    /// kind has no such subresource.
    pub async fn patch_status<K: Namespaced>(
        &self,
        namespace: &str,
        name: &str,
        patch: &Value,
        otherwise: &Value,
    ) -> Result<K, Error> {
        if self.subresources.is_missing::<K>() {
            return self.merge(namespace, name, otherwise).await;
        }
        let api = self.api::<K>(namespace);
        match api
            .patch_status(name, &patch_params(), &Patch::Merge(patch))
            .await
        {
            Ok(written) => Ok(written),
            Err(source) => {
                let error = failed::<K>("write the status of", namespace, name, &source);
                if !error.is_not_found() {
                    return Err(error);
                }
                // Either the object or the subresource is missing; a second answer tells which.
                let written = self.merge(namespace, name, otherwise).await?;
                self.subresources.set_missing::<K>();
                Ok(written)
            }
        }
    }
}

fn as_json(status: &impl Serialize) -> Value {
    serde_json::to_value(status).expect("a status has only string keys")
}

/// The JSON merge patch (RFC 7386) that turns `old` into `new`; `None` if they are equal.
#[must_use]
pub fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return Some(new.clone());
    };
    let removed = old.keys().filter(|key| !new.contains_key(*key));
    let mut patch: Map<String, Value> = removed.map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in new {
        let before = old.get(key).unwrap_or(&Value::Null);
        if let Some(changed) = merge_patch(before, value) {
            patch.insert(key.clone(), changed);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without_nulls() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_patch_turns_the_old_into_the_new(old in without_nulls(), new in without_nulls()) {
            let mut patched = old.clone();
            if let Some(patch) = merge_patch(&old, &new) {
                json_patch::merge(&mut patched, &patch);
            }
            prop_assert_eq!(patched, new);
        }
    }

    #[test]
    fn equal_values_need_no_patch() {
        assert_eq!(merge_patch(&json!({"a": [1]}), &json!({"a": [1]})), None);
    }

    #[test]
    fn only_what_differs_is_in_the_patch() {
        let old = json!({"phase": "Running", "gone": 1, "deep": {"same": 1, "other": 2}});
        let new = json!({"phase": "Failed", "deep": {"same": 1, "other": 3}});
        let expected = json!({"phase": "Failed", "gone": null, "deep": {"other": 3}});
        assert_eq!(merge_patch(&old, &new), Some(expected));
    }
}
