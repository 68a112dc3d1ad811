//! Creates and changes objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::admission;
use super::core::Core;
use super::crd;
use super::defaults;
use super::failure::{Cause, Failure};
use super::managed::{self, Write};
use super::parts::{check_preconditions, keep_identity, take_part};
use super::render::{as_stored, in_version};
use super::request::{Target, WriteOptions};
use super::resources::{Origin, Resource};
use super::store::{Key, Object, Refused, key_of};

/// How often a name is generated before the attempt is given up.
const NAME_ATTEMPTS: usize = 8;

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Main,
    Status,
    /// `spec.finalizers` of a Namespace.
    Finalize,
}

impl Part {
    /// The subresource that stands for this part in paths and `managedFields`.
    pub(super) fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Finalize => "finalize",
        }
    }
}

/// The object after a write.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) created: bool,
    pub(super) object: Arc<Object>,
    pub(super) warnings: Vec<String>,
}

/// An object as a client sent it, with the paths of keys that stood twice.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) object: Value,
    pub(super) duplicates: Vec<String>,
}

/// Stores a new object.
pub(super) fn create(
    core: &Core,
    resource: &Resource,
    target: &Target,
    sent: Sent,
    options: &WriteOptions,
    how: Write<'_>,
) -> Result<Written, Failure> {
    let mut object = sent.object;
    admission::check_kind(resource, &mut object)?;
    check_place(resource, target, &mut object)?;
    if object["metadata"]["resourceVersion"]
        .as_str()
        .is_some_and(|v| !v.is_empty())
    {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(Failure::internal(message));
    }
    check_namespace(core, resource, target, &object)?;
    let mut warnings = admission::shape(resource, &mut object, &sent.duplicates, options)?;
    let mut object = as_stored(resource, object);
    identify(core, &mut object);
    admission::complete_new(resource, &mut object);
    crd::complete(core, resource, Part::Main, &mut object, None);
    let told = warnings.len();
    for attempt in 1.. {
        let generated = generate_name(core, &mut object);
        warnings.truncate(told);
        warnings.extend(admission::check(resource, &object, None)?);
        warnings.extend(crd::warnings(resource, &object, None));
        let mut made = object.clone();
        defaults::fill_from_identity(resource, &mut made);
        managed::record(core, resource, None, &mut made, how);
        let key = key_of(&made);
        if options.dry_run {
            if core.object(resource, &key).is_some() {
                return Err(Failure::already_exists(resource, &key.1));
            }
            let object = Arc::new(Object::new(made, 0));
            return Ok(Written {
                created: true,
                object,
                warnings,
            });
        }
        match core.store.create(&resource.collection, key.clone(), made) {
            Ok(object) => {
                crd::stored(core, resource, &object.value);
                return Ok(Written {
                    created: true,
                    object,
                    warnings,
                });
            }
            Err(_) if generated && attempt < NAME_ATTEMPTS => {
                object["metadata"]["name"] = Value::Null;
            }
            Err(_) => return Err(Failure::already_exists(resource, &key.1)),
        }
    }
    Err(Failure::internal("no name could be generated"))
}

/// Sets name and namespace from the path, or refuses those that differ from it.
fn check_place(resource: &Resource, target: &Target, object: &mut Value) -> Result<(), Failure> {
    let metadata = &mut object["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or_default();
    match &target.namespace {
        Some(wanted) if namespace.is_empty() => metadata["namespace"] = json!(wanted),
        Some(wanted) if namespace != wanted => {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        None if !resource.namespaced => {
            if let Some(fields) = metadata.as_object_mut() {
                fields.remove("namespace");
            }
        }
        _ => {}
    }
    let metadata = &mut object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    match &target.name {
        Some(wanted) if name.is_empty() => metadata["name"] = json!(wanted),
        Some(wanted) if name != wanted => {
            return Err(Failure::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({wanted})"
            )));
        }
        _ => {}
    }
    Ok(())
}

fn check_namespace(
    core: &Core,
    resource: &Resource,
    target: &Target,
    object: &Value,
) -> Result<(), Failure> {
    let Some(namespace) = target.namespace.as_deref().filter(|_| resource.namespaced) else {
        return Ok(());
    };
    let key = (String::new(), namespace.to_owned());
    let Some(found) = core.store.get("namespaces", &key) else {
        return Err(Failure::namespace_not_found(namespace));
    };
    if found.value["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(Failure::namespace_terminating(resource, name, namespace))
}

/// Gives a new object what only the server may give.
fn identify(core: &Core, object: &mut Value) {
    let metadata = &mut object["metadata"];
    if let Some(fields) = metadata.as_object_mut() {
        for name in [
            "resourceVersion",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
        ] {
            fields.remove(name);
        }
    }
    metadata["uid"] = json!(core.next_uid());
    metadata["creationTimestamp"] = core.now();
}

/// Completes `generateName`; answers whether the name is of the server's choice.
fn generate_name(core: &Core, object: &mut Value) -> bool {
    let metadata = &mut object["metadata"];
    let prefix = metadata["generateName"].as_str().unwrap_or_default();
    if prefix.is_empty()
        || metadata["name"]
            .as_str()
            .is_some_and(|name| !name.is_empty())
    {
        if metadata["name"].is_null()
            && let Some(fields) = metadata.as_object_mut()
        {
            fields.remove("name");
        }
        return false;
    }
    // The longest prefix that leaves room in a label (upstream's maxGeneratedNameLength).
    let prefix: String = prefix.chars().take(58).collect();
    metadata["name"] = json!(format!("{prefix}{}", core.next_suffix()));
    true
}

/// Replaces an object with what a client sent.
pub(super) fn replace(
    core: &Core,
    resource: &Resource,
    target: &Target,
    part: Part,
    sent: &Sent,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    let unversioned = sent.object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .is_empty();
    let how = Write::update(options, part);
    change(core, resource, target, part, options, how, |before| {
        if unversioned && !resource.unconditional {
            return Err(unconditional(resource, target));
        }
        Ok(Sent {
            object: sent.object.clone(),
            duplicates: if before.is_null() {
                Vec::new()
            } else {
                sent.duplicates.clone()
            },
        })
    })
}

fn unconditional(resource: &Resource, target: &Target) -> Failure {
    let problem = "must be specified for an update";
    let zero = if resource.origin == Origin::Custom {
        json!(0)
    } else {
        json!("")
    };
    let cause = Cause::invalid("metadata.resourceVersion", &zero, problem);
    let name = target.name.as_deref().unwrap_or_default();
    Failure::invalid_resource(resource, name, &[cause])
}

/// Changes an object: `make` says what it is to be, from what it is now (in the version of
/// `resource`). Tries again when another write came between, as long as none of the two named a
/// version.
pub(super) fn change(
    core: &Core,
    resource: &Resource,
    target: &Target,
    part: Part,
    options: &WriteOptions,
    how: Write<'_>,
    mut make: impl FnMut(&Value) -> Result<Sent, Failure>,
) -> Result<Written, Failure> {
    let key = target.key();
    loop {
        let Some(before) = core.object(resource, &key) else {
            return Err(Failure::not_found(resource, &key.1));
        };
        let view = in_version(resource, &before.value);
        let sent = make(&view)?;
        let changed = changed(core, resource, target, part, &before, sent, options, how)?;
        let (after, warnings) = changed;
        if same(&before.value, &after) || options.dry_run {
            let object = if options.dry_run {
                Arc::new(Object::new(after, before.revision))
            } else {
                before
            };
            return Ok(Written {
                created: false,
                object,
                warnings,
            });
        }
        match commit(core, resource, &key, &before, after) {
            Ok(object) => {
                return Ok(Written {
                    created: false,
                    object,
                    warnings,
                });
            }
            Err(Refused::Raced | Refused::Exists) => {}
        }
    }
}

/// Whether a write leaves everything but the times of its managers as it was.
fn same(before: &Value, after: &Value) -> bool {
    if before == after {
        return true;
    }
    let without_managers = |object: &Value| {
        let mut object = object.clone();
        managed::forget_times(&mut object);
        object
    };
    without_managers(before) == without_managers(after)
}

/// Stores the new state, or removes an object that nothing holds any more.
pub(super) fn commit(
    core: &Core,
    resource: &Resource,
    key: &Key,
    before: &Arc<Object>,
    after: Value,
) -> Result<Arc<Object>, Refused> {
    if is_finished(resource, &after) {
        core.store.remove(&resource.collection, key, before)?;
        crd::removed(core, resource, &after);
        return Ok(Arc::new(Object::new(after, before.revision)));
    }
    let object = core
        .store
        .replace(&resource.collection, key, before, after)?;
    crd::stored(core, resource, &object.value);
    Ok(object)
}

/// Whether an object is being deleted and nothing holds it.
pub(super) fn is_finished(resource: &Resource, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    !metadata["deletionTimestamp"].is_null()
        && empty(&metadata["finalizers"])
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && (!resource.is("", "Namespace") || empty(&object["spec"]["finalizers"]))
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one write, used here only"
)]
fn changed(
    core: &Core,
    resource: &Resource,
    target: &Target,
    part: Part,
    before: &Object,
    sent: Sent,
    options: &WriteOptions,
    how: Write<'_>,
) -> Result<(Value, Vec<String>), Failure> {
    let mut object = sent.object;
    admission::check_kind(resource, &mut object)?;
    check_place(resource, target, &mut object)?;
    check_preconditions(resource, &before.value, &object)?;
    let mut warnings = admission::shape(resource, &mut object, &sent.duplicates, options)?;
    let mut object = as_stored(resource, object);
    take_part(resource, part, &before.value, &mut object);
    keep_identity(&before.value, &mut object);
    if resource.origin == Origin::BuiltIn {
        defaults::fill(resource, &mut object);
        defaults::carry_over(resource, &before.value, &mut object);
    }
    crd::complete(core, resource, part, &mut object, Some(&before.value));
    if resource.generation && admission::changes_what_is_wanted(resource, &before.value, &object) {
        let generation = before.value["metadata"]["generation"].as_i64().unwrap_or(0);
        object["metadata"]["generation"] = json!(generation + 1);
    }
    warnings.extend(admission::check(resource, &object, Some(&before.value))?);
    warnings.extend(crd::warnings(resource, &object, Some(&before.value)));
    managed::record(core, resource, Some(&before.value), &mut object, how);
    Ok((object, warnings))
}
