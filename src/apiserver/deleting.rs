//! Deletes objects, or marks them as to be deleted while something holds them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::core::{Core, seconds};
use super::crd;
use super::failure::Failure;
use super::request::{Parameters, Target};
use super::resources::Resource;
use super::schema::strings;
use super::store::Object;
use super::writing::{commit, is_finished};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// How an object is to be deleted.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// `Background`, `Foreground`, `Orphan`, or what the object says already.
    propagation: Option<String>,
    grace_seconds: Option<i64>,
    uid: Option<String>,
    resource_version: Option<String>,
    dry_run: bool,
}

impl Options {
    /// Reads `DeleteOptions`; the body counts more than the query.
    pub(super) fn of(query: &Parameters, body: &Value) -> Result<Self, Failure> {
        let text = |value: &Value| value.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        let asked = |name: &str| text(&body[name]).or_else(|| text(&Value::from(query.text(name))));
        let orphans = body["orphanDependents"]
            .as_bool()
            .map(|orphan| if orphan { "Orphan" } else { "Background" }.to_owned());
        let propagation = asked("propagationPolicy").or(orphans);
        if let Some(policy) = &propagation
            && !matches!(policy.as_str(), "Background" | "Foreground" | "Orphan")
        {
            let known = ["Background", "Foreground", "Orphan"].map(Value::from);
            let cause = super::failure::Cause::unsupported(
                "propagationPolicy",
                &Value::from(policy.as_str()),
                &known,
            );
            return Err(Failure::invalid_options("DeleteOptions", &[cause]));
        }
        let grace_seconds = body["gracePeriodSeconds"]
            .as_i64()
            .or_else(|| query.text("gracePeriodSeconds").parse().ok());
        Ok(Self {
            propagation,
            grace_seconds,
            uid: text(&body["preconditions"]["uid"]),
            resource_version: text(&body["preconditions"]["resourceVersion"]),
            dry_run: query.text("dryRun") == "All" || strings(body.get("dryRun")).len() == 1,
        })
    }
}

/// What became of an object that was deleted.
#[derive(Debug)]
pub(super) enum Deleted {
    /// It is gone; this is how it was.
    Gone(Arc<Object>),
    /// It stays until its finalizers or its grace period end.
    Waiting(Arc<Object>),
}

/// Deletes one object.
pub(super) fn delete(
    core: &Core,
    resource: &Resource,
    target: &Target,
    options: &Options,
) -> Result<Deleted, Failure> {
    let key = target.key();
    loop {
        let Some(before) = core.object(resource, &key) else {
            return Err(Failure::not_found(resource, &key.1));
        };
        check_preconditions(resource, &key.1, &before.value, options)?;
        let mut after = before.value.clone();
        set_propagation(&mut after, options.propagation.as_deref());
        crd::before_delete(core, resource, &mut after);
        mark(core, resource, &mut after, options);
        let finished = is_finished(resource, &after);
        if options.dry_run {
            let object = Arc::new(Object::new(after, before.revision));
            return Ok(if finished {
                Deleted::Gone(before)
            } else {
                Deleted::Waiting(object)
            });
        }
        if after == before.value {
            return Ok(Deleted::Waiting(before));
        }
        let Ok(object) = commit(core, resource, &key, &before, after) else {
            continue;
        };
        crd::after_delete(core, resource, &object.value);
        return Ok(if finished {
            Deleted::Gone(before)
        } else {
            Deleted::Waiting(object)
        });
    }
}

fn check_preconditions(
    resource: &Resource,
    name: &str,
    object: &Value,
    options: &Options,
) -> Result<(), Failure> {
    let metadata = &object["metadata"];
    let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
    if let Some(uid) = &options.uid
        && *uid != text("uid")
    {
        let problem = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The \
             object might have been deleted and then recreated",
            text("uid")
        );
        return Err(Failure::precondition(resource, name, &problem));
    }
    if let Some(version) = &options.resource_version
        && *version != text("resourceVersion")
    {
        let problem = format!(
            "the ResourceVersion in the precondition ({version}) does not match the \
             ResourceVersion in record ({}). The object might have been modified",
            text("resourceVersion")
        );
        return Err(Failure::precondition(resource, name, &problem));
    }
    Ok(())
}

/// Says by finalizers what the garbage collector is to do with what the object owns.
fn set_propagation(object: &mut Value, policy: Option<&str>) {
    let Some(policy) = policy else { return };
    let mut finalizers = strings(object["metadata"].get("finalizers"));
    finalizers.retain(|name| name != FOREGROUND && name != ORPHAN);
    match policy {
        "Foreground" => finalizers.push(FOREGROUND.to_owned()),
        "Orphan" => finalizers.push(ORPHAN.to_owned()),
        _ => {}
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        } else {
            metadata.insert("finalizers".to_owned(), json!(finalizers));
        }
    }
}

/// Marks an object as to be deleted.
fn mark(core: &Core, resource: &Resource, object: &mut Value, options: &Options) {
    let grace = grace_seconds(resource, object, options);
    let metadata = &mut object["metadata"];
    let shorter = metadata["deletionGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|old| grace < old);
    if metadata["deletionTimestamp"].is_null() || shorter {
        let wait = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let end = core
            .clock
            .now()
            .checked_add(wait)
            .unwrap_or(jiff::Timestamp::MAX);
        metadata["deletionTimestamp"] = json!(seconds(end));
        metadata["deletionGracePeriodSeconds"] = json!(grace);
        if let Some(generation) = metadata["generation"].as_i64() {
            metadata["generation"] = json!(generation + 1);
        }
    }
    if resource.is("", "Namespace") {
        object["status"] = json!({"phase": "Terminating"});
    }
}

/// How long an object stays at least: pods that run on a node are stopped first, by the kubelet,
/// which then deletes them with a grace period of 0.
fn grace_seconds(resource: &Resource, pod: &Value, options: &Options) -> i64 {
    let on_node = pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    let ended = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if !resource.is("", "Pod") || !on_node || ended {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(30);
    options.grace_seconds.unwrap_or(own).max(0)
}

/// What a delete answers when the object is gone.
pub(super) fn success(resource: &Resource, object: &Value) -> Value {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut details = resource.details(name);
    details["uid"] = object["metadata"]["uid"].clone();
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    })
}

/// Kinds whose removal is answered with the object instead of a `Status`.
pub(super) fn answers_object(resource: &Resource) -> bool {
    ["Pod", "Service", "ServiceAccount"]
        .iter()
        .any(|kind| resource.is("", kind))
}
