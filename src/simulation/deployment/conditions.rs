//! The status of a Deployment: its counts and what its conditions say.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet,
};
use kube::ResourceExt as _;

use super::super::pods::{after, some, time};
use super::bounds::Bounds;
use super::revisions::{Family, replicas, wanted};

/// The condition of a ReplicaSet, and so of its Deployment, whose pods cannot be made or deleted.
const FAILURE: &str = "ReplicaFailure";

/// What the pass did that the Progressing condition tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The new ReplicaSet was there.
    There,
    /// It was made in this pass.
    Made(String),
    /// It cannot be made yet.
    NotYet,
    /// It could not be made: its name, and why.
    Refused(String, String),
}

impl Found {
    /// What was found, if a change was refused.
    pub(super) fn unless(self, refusal: Option<&String>) -> Self {
        match (self, refusal) {
            (Self::Made(name), Some(why)) => Self::Refused(name, why.clone()),
            (found, _) => found,
        }
    }
}

/// The status as it should be, and when it may change by time alone.
pub(super) fn status(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    family: &Family,
    found: &Found,
    now: Timestamp,
) -> (DeploymentStatus, Option<Timestamp>) {
    let old = deployment.status.clone().unwrap_or_default();
    let mut new = counts(deployment, &old, family);
    let minimum = replicas(spec) - Bounds::of(spec).unavailable;
    let available = if new.available_replicas.unwrap_or_default() >= minimum {
        Says::new(
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        let message = "Deployment does not have minimum availability.";
        Says::new("False", "MinimumReplicasUnavailable", message)
    };
    set(&mut new, "Available", available, now);
    set_failure(&mut new, family);
    let deadline = spec.progress_deadline_seconds.unwrap_or(600);
    if deadline == i32::MAX {
        let conditions = new.conditions.get_or_insert_default();
        conditions.retain(|condition| condition.type_ != "Progressing");
        return (new, None);
    }
    let subject = match &family.new {
        Some(replica_set) => format!("ReplicaSet \"{}\"", replica_set.name_any()),
        None => format!("Deployment \"{}\"", deployment.name_any()),
    };
    let turn = progress(spec, found, &subject, [&old, &new], now);
    let waits = turn.as_ref().is_none_or(|says| says.waits);
    if let Some(says) = turn {
        set(&mut new, "Progressing", says, now);
    }
    let current = condition(&new, "Progressing");
    let due = current
        .filter(|current| waits && may_time_out(current))
        .map(|current| after(updated(current).unwrap_or(now), i64::from(deadline)));
    (new, due)
}

/// The status with its counts up to date.
pub(super) fn counts(
    deployment: &Deployment,
    old: &DeploymentStatus,
    family: &Family,
) -> DeploymentStatus {
    let sum = |count: fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> i32| {
        let statuses = family.all().filter_map(|set| set.status.as_ref());
        let total: i32 = statuses.map(count).sum();
        some(usize::try_from(total).unwrap_or_default())
    };
    let available = sum(|status| status.available_replicas.unwrap_or_default());
    let total: i32 = family.all().map(|set| wanted(set)).sum();
    let missing = total - available.unwrap_or_default();
    let updated = family.new.as_ref().and_then(|new| new.status.as_ref());
    let updated = updated.map(|status| status.replicas).unwrap_or_default();
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: sum(|status| status.replicas),
        updated_replicas: some(usize::try_from(updated).unwrap_or_default()),
        ready_replicas: sum(|status| status.ready_replicas.unwrap_or_default()),
        available_replicas: available,
        unavailable_replicas: some(usize::try_from(missing).unwrap_or_default()),
        ..old.clone()
    }
}

/// Whether all pods are of the new version and available.
pub(super) fn is_complete(spec: &DeploymentSpec, status: &DeploymentStatus) -> bool {
    let target = some(usize::try_from(replicas(spec)).unwrap_or_default());
    status.updated_replicas == target
        && status.replicas == target
        && status.available_replicas == target
}

fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .as_deref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// What a condition is to say.
struct Says {
    status: &'static str,
    reason: &'static str,
    message: String,
    /// Whether the progress deadline runs.
    waits: bool,
}

impl Says {
    fn new(status: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
            waits: status != "False",
        }
    }
}

fn updated(condition: &DeploymentCondition) -> Option<Timestamp> {
    condition.last_update_time.as_ref().map(|time| time.0)
}

fn may_time_out(condition: &DeploymentCondition) -> bool {
    !matches!(
        condition.reason.as_deref(),
        Some("ProgressDeadlineExceeded" | "NewReplicaSetAvailable" | "DeploymentPaused")
    )
}

/// What the Progressing condition says from now on; `None` if it stays as it is.
fn progress(
    spec: &DeploymentSpec,
    found: &Found,
    subject: &str,
    [old, new]: [&DeploymentStatus; 2],
    now: Timestamp,
) -> Option<Says> {
    if let Found::Made(name) = found {
        let message = format!("Created new replica set \"{name}\"");
        return Some(Says::new("True", "NewReplicaSetCreated", message));
    }
    if let Found::Refused(name, why) = found {
        let message = format!("Failed to create new replica set \"{name}\": {why}");
        return Some(Says::new("False", "ReplicaSetCreateError", message));
    }
    let before = condition(new, "Progressing");
    let reason = before.and_then(|condition| condition.reason.as_deref());
    match (spec.paused == Some(true), reason) {
        (true, Some("DeploymentPaused" | "ProgressDeadlineExceeded")) => return None,
        (true, _) => {
            return Some(Says::new(
                "Unknown",
                "DeploymentPaused",
                "Deployment is paused",
            ));
        }
        (false, Some("DeploymentPaused")) => {
            return Some(Says::new(
                "Unknown",
                "DeploymentResumed",
                "Deployment is resumed",
            ));
        }
        (false, _) => {}
    }
    if reason == Some("NewReplicaSetAvailable") && new.replicas == new.updated_replicas {
        return None;
    }
    if is_complete(spec, new) && *found == Found::There {
        let message = format!("{subject} has successfully progressed.");
        return Some(Says::new("True", "NewReplicaSetAvailable", message));
    }
    if before.is_none() && *found == Found::There && !has_moved(old, new) {
        let message = subject.replacen("ReplicaSet", "Found new replica set", 1);
        return Some(Says::new("True", "FoundNewReplicaSet", message));
    }
    let Some(before) = before.filter(|_| !has_moved(old, new)) else {
        let message = format!("{subject} is progressing.");
        return Some(Says::new("True", "ReplicaSetUpdated", message));
    };
    let deadline = i64::from(spec.progress_deadline_seconds.unwrap_or(600));
    let is_late = after(updated(before).unwrap_or(now), deadline) <= now;
    (is_late && may_time_out(before)).then(|| {
        let message = format!("{subject} has timed out progressing.");
        Says::new("False", "ProgressDeadlineExceeded", message)
    })
}

/// Whether an update has come nearer to its end since the last status.
fn has_moved(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let of = |count: Option<i32>| count.unwrap_or_default();
    let outdated = |status: &DeploymentStatus| of(status.replicas) - of(status.updated_replicas);
    of(new.updated_replicas) > of(old.updated_replicas)
        || outdated(new) < outdated(old)
        || of(new.ready_replicas) > of(old.ready_replicas)
        || of(new.available_replicas) > of(old.available_replicas)
}

/// Tells the failure of a ReplicaSet, of the new one first.
fn set_failure(status: &mut DeploymentStatus, family: &Family) {
    let failure = |set: &Arc<ReplicaSet>| {
        let conditions = set.status.as_ref()?.conditions.as_deref()?;
        let mut failures = conditions
            .iter()
            .filter(|condition| condition.type_ == FAILURE);
        failures.next().cloned()
    };
    let mut sets = family.new.iter().chain(&family.old);
    let found = sets.find_map(failure);
    let conditions = status.conditions.get_or_insert_default();
    let told = conditions
        .iter()
        .find(|condition| condition.type_ == FAILURE);
    let is_told = told
        .zip(found.as_ref())
        .is_some_and(|(told, found)| told.status == found.status && told.reason == found.reason);
    if is_told {
        return;
    }
    conditions.retain(|condition| condition.type_ != FAILURE);
    conditions.extend(found.map(|found| DeploymentCondition {
        type_: FAILURE.to_owned(),
        status: found.status,
        reason: found.reason,
        message: found.message,
        last_update_time: found.last_transition_time.clone(),
        last_transition_time: found.last_transition_time,
    }));
}

/// Sets a condition; Available is left as it is if it says the same already, Progressing tells when
/// there was progress last.
fn set(status: &mut DeploymentStatus, kind: &str, says: Says, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let before = conditions
        .iter_mut()
        .find(|condition| condition.type_ == kind);
    let same = before
        .as_ref()
        .filter(|before| before.status == says.status);
    let is_same = same.is_some_and(|same| same.reason.as_deref() == Some(says.reason));
    if is_same && kind == "Available" {
        return;
    }
    let since = same.and_then(|same| same.last_transition_time.clone());
    let condition = DeploymentCondition {
        type_: kind.to_owned(),
        status: says.status.to_owned(),
        reason: Some(says.reason.to_owned()),
        message: Some(says.message),
        last_update_time: Some(time(now)),
        last_transition_time: since.or_else(|| Some(time(now))),
    };
    match before {
        Some(before) => *before = condition,
        None => conditions.push(condition),
    }
}
