//! `workloadRef`: the pod template of another object, and how far a Deployment makes room for the
//! Rollout's pods.
//!
//! Template and selector are taken into memory only; what is written is the generation that they
//! are of, on the Rollout. So everything else treats a change of the workload as one of the
//! template.
//!
//! # Scaling a Deployment down
//! Level-triggered: a Deployment that is scaled up later, by a tool that applies its manifest again
//! for example, makes room again.
//!
//! - `onsuccess`: to 0 whenever the Rollout is healthy.
//! - `progressively`: the same, and before that to what the Rollout's available pods leave of
//!   `spec.replicas`. If those are lost before the last pod of the Deployment has gone, it grows
//!   again, up to the size that it had: it is noted on the Deployment, which lets people find it,
//!   too. A Deployment at 0 is never scaled up: its template is a version that no canary has tested.
//!   With blue-green nothing is counted before the active Service selects a version of the Rollout:
//!   until then all traffic is the Deployment's.
//! - anything else: it is left alone. So to go back to the Deployment, set `never` and scale it up
//!   before the Rollout is deleted.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

use super::canonical;
use super::change::{Change, Target};
use super::decide::{Observed, Pass};
use super::labels;
use crate::api::{Problem, Rollout, RolloutPhase, ScaleDown, WorkloadRef};
use crate::traffic_routers::{Place, Resource};

const FIELD: &str = "spec.workloadRef";

/// What a Rollout may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkloadKind {
    /// `apps`
    Deployment,
    /// `apps`
    ReplicaSet,
    /// The core group.
    PodTemplate,
}

impl WorkloadKind {
    /// The kind that a reference names. Its version does not matter.
    #[must_use]
    pub fn of(reference: &WorkloadRef) -> Option<Self> {
        match (group(reference), reference.kind.as_str()) {
            ("apps", "Deployment") => Some(Self::Deployment),
            ("apps", "ReplicaSet") => Some(Self::ReplicaSet),
            ("", "PodTemplate") => Some(Self::PodTemplate),
            _ => None,
        }
    }

    /// How it is asked for.
    #[must_use]
    pub fn resource(self) -> Resource {
        let (group, plural) = match self {
            Self::Deployment => ("apps", "deployments"),
            Self::ReplicaSet => ("apps", "replicasets"),
            Self::PodTemplate => ("", "podtemplates"),
        };
        Resource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: self.as_str(),
            plural,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::PodTemplate => "PodTemplate",
        }
    }
}

fn group(reference: &WorkloadRef) -> &str {
    let (group, _) = reference.api_version.split_once('/').unwrap_or_default();
    group
}

/// What decisions need of an object that Rollouts refer to.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    kind: WorkloadKind,
    target: Target,
    generation: i64,
    template: Option<Map<String, Value>>,
    selector: Option<LabelSelector>,
    /// `spec.replicas`
    replicas: i32,
    /// Its size before it was scaled down.
    scaled_down_from: Option<i32>,
}

impl Workload {
    /// Where the object is that a Rollout refers to, if it refers to one.
    #[must_use]
    pub fn place(rollout: &Rollout) -> Option<Place> {
        let reference = rollout.spec.workload_ref.as_ref()?;
        let kind = WorkloadKind::of(reference)?;
        (!reference.name.is_empty()).then(|| Place {
            resource: kind.resource(),
            namespace: rollout.namespace().unwrap_or_default(),
            name: reference.name.clone(),
        })
    }

    /// Reads the object that a Rollout refers to. Fields that only newer clusters know are kept.
    #[must_use]
    pub fn read(rollout: &Rollout, object: &Value) -> Option<Self> {
        let kind = WorkloadKind::of(rollout.spec.workload_ref.as_ref()?)?;
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let template = match kind {
            WorkloadKind::Deployment | WorkloadKind::ReplicaSet => &spec["template"],
            WorkloadKind::PodTemplate => &object["template"],
        };
        let noted = metadata["annotations"][labels::SCALED_DOWN_FROM].as_str();
        let replicas = spec["replicas"].as_i64();
        Some(Self {
            kind,
            target: Target {
                name: text(&metadata["name"]).unwrap_or_default(),
                uid: text(&metadata["uid"]),
                resource_version: text(&metadata["resourceVersion"]),
            },
            generation: metadata["generation"].as_i64().unwrap_or(0),
            template: template.as_object().cloned(),
            selector: serde_json::from_value(spec["selector"].clone()).unwrap_or_default(),
            replicas: replicas
                .and_then(|count| i32::try_from(count).ok())
                .unwrap_or(1),
            scaled_down_from: noted.and_then(|text| text.parse().ok()),
        })
    }
}

/// A Rollout with the template and the selector of the workload that it refers to, or why it cannot
/// have them.
pub(super) fn resolved(observed: &Observed) -> (Cow<'_, Rollout>, Vec<Problem>) {
    let written = &*observed.rollout;
    let Some(reference) = &written.spec.workload_ref else {
        if !written
            .annotations()
            .contains_key(labels::WORKLOAD_GENERATION)
        {
            return (Cow::Borrowed(written), vec![]);
        }
        let mut rollout = written.clone();
        rollout
            .annotations_mut()
            .remove(labels::WORKLOAD_GENERATION);
        return (Cow::Owned(rollout), vec![]);
    };
    let mut problems = Vec::new();
    if !is_blank(written.spec.template.json()) {
        let why = "Invalid value: template must be empty for workload reference rollout";
        problems.push(Problem::new("spec.template", why));
    }
    let found = find(observed, reference);
    let (workload, template) = match found {
        Ok(found) if problems.is_empty() => found,
        Ok(_) => return (Cow::Borrowed(written), problems),
        Err(problem) => {
            problems.push(problem);
            return (Cow::Borrowed(written), problems);
        }
    };
    let mut rollout = written.clone();
    rollout.spec.template = template.clone().into();
    if rollout.spec.selector.is_none() {
        rollout.spec.selector.clone_from(&workload.selector);
    }
    let generation = workload.generation.to_string();
    let annotations = rollout.annotations_mut();
    annotations.insert(labels::WORKLOAD_GENERATION.into(), generation);
    (Cow::Owned(rollout), vec![])
}

/// Whether nothing is said by a template; Go's controllers may have written its empty parts.
fn is_blank(template: Value) -> bool {
    let text = |template| canonical::pod_template(&template);
    text(template) == text(json!({}))
}

fn find<'a>(
    observed: &'a Observed,
    reference: &WorkloadRef,
) -> Result<(&'a Workload, &'a Map<String, Value>), Problem> {
    let name = &reference.name;
    let Some(kind) = WorkloadKind::of(reference) else {
        let kind = format!("{}/{}", group(reference), reference.kind);
        let why = format!(
            "workload of type {kind} is not supported: supported are apps/Deployment, \
             apps/ReplicaSet and PodTemplate"
        );
        return Err(Problem::invalid(FIELD, kind, why));
    };
    if name.is_empty() {
        let why = format!("which {} is meant", kind.as_str());
        return Err(Problem::required(format!("{FIELD}.name"), why));
    }
    let invalid = |why: &str| {
        let why = format!("{} '{name}' {why}", kind.as_str());
        Problem::invalid(format!("{FIELD}.name"), name, why)
    };
    let workload = observed.workload.as_ref();
    let workload = workload.ok_or_else(|| invalid("not found"))?;
    let template = workload.template.as_ref();
    Ok((
        workload,
        template.ok_or_else(|| invalid("has no pod template"))?,
    ))
}

impl Pass<'_> {
    /// Lets the Deployment that the Rollout refers to make room. The status is settled.
    pub(super) fn make_room(&mut self) {
        let reference = self.rollout.spec.workload_ref.as_ref();
        let Some((reference, workload)) = reference.zip(self.observed.workload.as_ref()) else {
            return;
        };
        let now = workload.replicas;
        let Some(replicas) = self.left_to(workload, &reference.scale_down) else {
            return;
        };
        if workload.kind != WorkloadKind::Deployment || replicas == now {
            return;
        }
        let from = workload.scaled_down_from.unwrap_or(0).max(now).to_string();
        let patch = json!({
            "metadata": { "annotations": { labels::SCALED_DOWN_FROM: from } },
            "spec": { "replicas": replicas },
        });
        let target = workload.target.clone();
        let direction = if replicas < now { "down" } else { "up" };
        let message = format!(
            "Scaled {direction} Deployment {} from {now} to {replicas}",
            target.name
        );
        self.changes.push(Change::ScaleDeployment(target, patch));
        self.notify("ScalingDeployment", message);
    }

    /// How many pods a Deployment is to have; `None` to leave it alone.
    fn left_to(&self, deployment: &Workload, scale_down: &ScaleDown) -> Option<i32> {
        let is_healthy = self.next.phase == Some(RolloutPhase::Healthy);
        match scale_down {
            ScaleDown::OnSuccess | ScaleDown::Progressively if is_healthy => Some(0),
            ScaleDown::Progressively if deployment.replicas > 0 => {
                let serving = self.serving();
                let from = deployment.scaled_down_from;
                // Before the first pod there is nothing to make room for.
                (serving > 0 || from.is_some()).then(|| {
                    let most = from.unwrap_or(0).max(deployment.replicas);
                    (self.plan.replicas - serving).clamp(0, most)
                })
            }
            ScaleDown::Progressively
            | ScaleDown::OnSuccess
            | ScaleDown::Never
            | ScaleDown::Other(_) => None,
        }
    }

    /// The Rollout's pods that get traffic which the Deployment's pods got before.
    fn serving(&self) -> i32 {
        let spec = &self.rollout.spec;
        let switches = spec.strategy.canary.is_none() && spec.strategy.blue_green.is_some();
        if switches && self.next.blue_green.active_selector.is_empty() {
            0
        } else {
            self.next.available_replicas
        }
    }
}
