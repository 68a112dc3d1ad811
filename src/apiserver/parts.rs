//! What a write may rely on, and what it leaves as it was.

use serde_json::{Value, json};

use super::failure::Failure;
use super::resources::Resource;
use super::writing::Part;

/// Refuses a write to another object of that name, or to another version of it, than the client saw.
pub(super) fn check_preconditions(
    resource: &Resource,
    before: &Value,
    object: &Value,
) -> Result<(), Failure> {
    let (stored, sent) = (&before["metadata"], &object["metadata"]);
    let name = stored["name"].as_str().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let uid = text(&sent["uid"]);
    if !uid.is_empty() && sent["uid"] != stored["uid"] {
        let namespace = text(&stored["namespace"]);
        let place = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        let group = match resource.group.as_str() {
            "" => String::new(),
            group => format!("{group}/"),
        };
        let problem = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{group}{}/{place}{name}, \
             ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: \
             {uid}, UID in object meta: {}",
            resource.plural,
            text(&stored["uid"])
        );
        return Err(Failure::conflict(resource, name, &problem));
    }
    let version = text(&sent["resourceVersion"]);
    if !version.is_empty() && version != "0" && sent["resourceVersion"] != stored["resourceVersion"]
    {
        return Err(Failure::modified(resource, name));
    }
    Ok(())
}

/// Leaves the parts that this write is not about as they were.
pub(super) fn take_part(resource: &Resource, part: Part, before: &Value, object: &mut Value) {
    match part {
        Part::Main if resource.status => copy_field(before, object, &["status"]),
        Part::Main => {}
        Part::Status => {
            let mut kept = before.clone();
            copy_field(object, &mut kept, &["status"]);
            copy_field(object, &mut kept, &["metadata", "managedFields"]);
            *object = kept;
        }
        Part::Finalize => {
            let mut kept = before.clone();
            copy_field(object, &mut kept, &["spec", "finalizers"]);
            *object = kept;
        }
    }
}

/// Makes a field of `to` what it is in `from`, absence included.
fn copy_field(from: &Value, to: &mut Value, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let found = path.iter().try_fold(from, |value, name| value.get(*name));
    let mut parent = to;
    for name in parents {
        parent = &mut parent[*name];
    }
    if parent.is_null() && found.is_some() {
        *parent = json!({});
    }
    match (found, parent.as_object_mut()) {
        (Some(value), Some(fields)) => {
            fields.insert((*last).to_owned(), value.clone());
        }
        (None, Some(fields)) => {
            fields.remove(*last);
        }
        (_, None) => {}
    }
}

/// What no client changes.
pub(super) fn keep_identity(before: &Value, object: &mut Value) {
    for name in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "namespace",
        "selfLink",
    ] {
        copy_field(before, object, &["metadata", name]);
    }
    if object["metadata"]["managedFields"]
        .as_array()
        .is_none_or(Vec::is_empty)
    {
        copy_field(before, object, &["metadata", "managedFields"]);
    }
}
