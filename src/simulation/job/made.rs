//! The pods of a Job as they are made.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::super::change::{Change, Target};
use super::super::pods;
use super::indexes::INDEX;

/// The finalizer of a pod that does not stand in the status yet.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// The environment variable that tells a container its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// Whether a pod waits until it is counted.
pub(in crate::simulation) fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|name| name == TRACKING)
}

/// Lets a pod go that needs to be counted no more.
pub(in crate::simulation) fn untrack(pod: &Pod) -> Change {
    let finalizers = pod.finalizers().iter();
    let kept: Vec<_> = finalizers.filter(|name| *name != TRACKING).collect();
    let kept = if kept.is_empty() {
        Value::Null
    } else {
        json!(kept)
    };
    Change::Patch {
        target: Target::as_seen(pod),
        patch: json!({"metadata": {"finalizers": kept}}),
    }
}

/// The labels by which the pods of a Job are known.
fn labels(job: &Job) -> BTreeMap<String, String> {
    let (uid, name) = (job.uid().unwrap_or_default(), job.name_any());
    let labels = [
        ("batch.kubernetes.io/controller-uid", uid.clone()),
        ("batch.kubernetes.io/job-name", name.clone()),
        ("controller-uid", uid),
        ("job-name", name),
    ];
    labels
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// The selector that the API server would have filled in.
pub(super) fn selector(job: &Job) -> LabelSelector {
    let mut labels = labels(job);
    labels.retain(|key, _| key == "batch.kubernetes.io/controller-uid");
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

/// A new pod; `index` is its place in an indexed Job.
pub(super) fn pod(job: &Job, spec: &JobSpec, index: Option<i32>) -> Pod {
    let mut pod = pods::from_template(job, &spec.template);
    if spec.manual_selector != Some(true) {
        pod.labels_mut().extend(labels(job));
    }
    if !is_tracked(&pod) {
        pod.finalizers_mut().push(TRACKING.to_owned());
    }
    let Some(index) = index else {
        return pod;
    };
    let (name, index) = (job.name_any(), index.to_string());
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    pod.labels_mut().insert(INDEX.to_owned(), index.clone());
    pod.annotations_mut()
        .insert(INDEX.to_owned(), index.clone());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(format!("{name}-{index}"));
    let init = spec.init_containers.iter_mut().flatten();
    for container in init.chain(&mut spec.containers) {
        tell_index(container);
    }
    pod
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables
        .iter()
        .any(|variable| variable.name == INDEX_VARIABLE)
    {
        return;
    }
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: format!("metadata.labels['{INDEX}']"),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    });
}
