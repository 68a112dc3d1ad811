//! The Job of a measurement.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::{API_VERSION, JobMetric};

use super::super::Context;
use super::super::request::JobName;

/// Argo's label on Jobs and pods.
pub(super) const RUN_UID: &str = "analysisrun.argoproj.io/uid";
pub(super) const RUN_NAME: &str = "analysisrun.argoproj.io/name";
pub(super) const RUN_NAMESPACE: &str = "analysisrun.argoproj.io/namespace";
pub(super) const METRIC_NAME: &str = "analysisrun.argoproj.io/metric-name";

/// A Job's name is a label of its pods, which cannot be longer.
const LONGEST_NAME: usize = 63;

/// A Job that is cleaned up sooner after its end might vanish before its outcome is seen.
const SHORTEST_TTL_SECONDS: i32 = 300;

/// The Job of one measurement. Its name is the same at every try.
pub(super) fn job(metric: &JobMetric, context: &Context<'_>) -> Result<Job, String> {
    let spec = metric
        .spec
        .typed()
        .map_err(|error| format!("spec: {error}"))?;
    let run = context.run;
    let placement = &context.settings.jobs;
    let namespace = placement.namespace.as_deref().unwrap_or(run.namespace);
    let written = metric.metadata.clone().unwrap_or_default();
    let mut labels = written.labels;
    labels.insert(RUN_UID.to_owned(), run.uid.to_owned());
    let mut annotations = written.annotations;
    for (key, value) in [
        (RUN_NAME, run.name),
        (RUN_NAMESPACE, run.namespace),
        (METRIC_NAME, context.metric),
    ] {
        annotations.insert(key.to_owned(), value.to_owned());
    }
    // An owner must stand in the same namespace of the same cluster, or the Job would be collected.
    let is_owned = namespace == run.namespace && !placement.other_cluster;
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(name(run.uid, context.metric, context.attempt)),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: is_owned.then(|| vec![owner(context)]),
            ..ObjectMeta::default()
        },
        spec: Some(labelled(spec, run.uid)),
        status: None,
    })
}

fn owner(context: &Context<'_>) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: "AnalysisRun".to_owned(),
        name: context.run.name.to_owned(),
        uid: context.run.uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn labelled(mut spec: JobSpec, uid: &str) -> JobSpec {
    let pods = spec.template.metadata.get_or_insert_default();
    pods.labels
        .get_or_insert_default()
        .insert(RUN_UID.to_owned(), uid.to_owned());
    if let Some(ttl) = &mut spec.ttl_seconds_after_finished {
        *ttl = (*ttl).max(SHORTEST_TTL_SECONDS);
    }
    spec
}

/// `<run uid>.<metric>.<number>`, as Argo names it where that is a name. Otherwise the metric is
/// shortened to what a name may hold, with a hash, so that two metrics never share a Job.
fn name(uid: &str, metric: &str, attempt: u64) -> String {
    let argo = format!("{uid}.{metric}.{attempt}");
    if argo.len() <= LONGEST_NAME && is_subdomain(metric) {
        return argo;
    }
    let hash = format!("{:08x}", fnv1a(metric.as_bytes()));
    let room = LONGEST_NAME.saturating_sub(format!("{uid}.-{hash}.{attempt}").len());
    let allowed = metric.chars().map(|c| c.to_ascii_lowercase());
    let allowed: String = allowed
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let short = allowed[..allowed.len().min(room)].trim_matches('-');
    let dash = if short.is_empty() { "" } else { "-" };
    format!("{uid}.{short}{dash}{hash}.{attempt}")
}

/// Whether dots part it into pieces of lower-case letters, digits and inner dashes.
fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|piece| {
        let mut allowed = piece
            .bytes()
            .map(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        !piece.is_empty()
            && !piece.starts_with('-')
            && !piece.ends_with('-')
            && allowed.all(|allowed| allowed)
    })
}

/// # Source
/// FNV-1a with 32 bits, as Kubernetes hashes names. It must never change: names are computed.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

pub(super) fn name_of(job: &Job) -> JobName {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    JobName {
        namespace: part(&job.metadata.namespace),
        name: part(&job.metadata.name),
    }
}

/// Whether `found` is the Job that `wanted` describes: of the same run by its owner, or by its
/// label where Jobs have no owner.
pub(super) fn belongs_to(found: &Job, wanted: &Job) -> bool {
    let owner = |job: &Job| {
        let owners = job.metadata.owner_references.as_deref().unwrap_or_default();
        owners
            .iter()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone())
    };
    let label = |job: &Job| job.metadata.labels.as_ref()?.get(RUN_UID).cloned();
    let metric = |job: &Job| job.metadata.annotations.as_ref()?.get(METRIC_NAME).cloned();
    owner(found) == owner(wanted)
        && label(found) == label(wanted)
        && metric(found) == metric(wanted)
}

/// Selects all Jobs of a run.
#[must_use]
pub fn run_selector(run_uid: &str) -> String {
    format!("{RUN_UID}={run_uid}")
}

/// Picks the Job's pods, as the API server has set it.
pub(super) fn selector(job: &Job) -> Option<String> {
    let labels: &BTreeMap<String, String> = job
        .spec
        .as_ref()?
        .selector
        .as_ref()?
        .match_labels
        .as_ref()?;
    let terms: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    (!terms.is_empty()).then(|| terms.join(","))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "0c9e2b1c-8a6f-4a3c-9d55-3f0b8f1c7a5e";

    #[test]
    fn a_name_is_argos_where_it_fits() {
        for (metric, attempt, expected) in [
            ("smoke", 1, format!("{UID}.smoke.1")),
            ("a.b-c", 12, format!("{UID}.a.b-c.12")),
            (
                "exactly-twenty-four-lett",
                1,
                format!("{UID}.exactly-twenty-four-lett.1"),
            ),
        ] {
            assert_eq!(name(UID, metric, attempt), expected);
        }
    }

    #[test]
    fn metrics_with_a_long_common_beginning_have_jobs_of_their_own() {
        let one = name(UID, "integration-tests-of-the-shop", 1);
        let other = name(UID, "integration-tests-of-the-depot", 1);
        assert_ne!(one, other);
        assert!(one.starts_with(&format!("{UID}.integration-tes-")), "{one}");
    }

    proptest! {
        #[test]
        fn any_metric_has_a_valid_name(metric in "\\PC{0,80}", attempt in 1..100_000_u64) {
            let name = name(UID, &metric, attempt);
            prop_assert!(name.len() <= LONGEST_NAME, "{}", name);
            prop_assert!(is_subdomain(&name), "{}", name);
        }
    }
}
