//! A Rollout and all it owns, as people see it.
//!
//! ```text
//! Rollout, ReplicaSets, AnalysisRuns ─ RolloutView::of ─► RolloutView ─ news ─► Lines ─► text
//! Rollout, Belongings ─ rollout_page ─► Texts ─ shown ─► text
//! many objects ─ Listing ─► Rows ─ lines ─► Texts
//! ```
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod age;
mod analysis;
mod belongings;
mod goal;
mod images;
mod junit;
mod line;
mod listing;
mod live;
mod news;
mod page;
mod pod;
mod release;
mod report;
mod spark;
mod status;
mod tags;
mod text;
mod tree;
mod weights;
mod why;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt as _;

use crate::api::{
    AnalysisRun, CanaryStep, ConditionType, IntOrText, Rollout, RolloutAnalysis, RolloutPhase,
    RolloutStatus,
};
use crate::rollout::labels;

pub use age::{age, human_duration};
pub use analysis::{AnalysisView, MetricView};
pub use belongings::Belongings;
pub use goal::{Goal, Progress};
pub use line::{Letters, Line, Mark, Paint};
pub use listing::{Listing, Row, lines};
pub use live::Live;
pub use news::{analysis_news, news};
pub use page::{analysis_run_page, experiment_page, rollout_page};
pub use release::{release_lines, warning};
pub use report::AnalysisReport;
pub use spark::sparkline;
pub use text::{Colour, Text, table};
pub use tree::Detail;
pub use why::{Happened, Unready, Why};

/// Where a Rollout stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RolloutView {
    /// How it is; `None` before the controller's first pass.
    pub phase: Option<RolloutPhase>,
    /// Why, in one sentence; empty when there is nothing to explain.
    pub message: String,
    /// What it waits for, if anything.
    pub waiting: Option<WaitingView>,
    /// The number of the wanted version; empty before the controller's first pass.
    pub revision: String,
    /// The step at hand; `None` without steps, and when all are done.
    pub step: Option<StepView>,
    /// The pods of the wanted version, while it is not the stable one.
    pub canary: Option<VersionView>,
    /// The pods of the stable version; `None` before there is one.
    pub stable: Option<VersionView>,
    /// Where users are, with blue-green; `None` with a canary, whose versions share them.
    pub switch: Option<SwitchView>,
    /// The analyses of the wanted version, in the order of their creation.
    pub analyses: Vec<AnalysisView>,
}

/// The version that users of a blue-green Rollout reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchView {
    /// The active Service.
    pub service: String,
    /// The pod template hash that it selects; empty while it selects the pods of all versions.
    pub hash: String,
}

/// What a Rollout waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingView {
    /// Which kind of waiting, in one word.
    pub kind: String,
    /// Object, value, limit and since when, in one sentence.
    pub sentence: String,
}

/// A step of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepView {
    /// Its number, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// What it does, as in the spec: `setWeight: 20`.
    pub what: String,
}

/// The pods of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionView {
    /// Its pod template hash.
    pub hash: String,
    /// How many pods it is to have.
    pub wanted: i32,
    /// How many are ready.
    pub ready: i32,
}

impl RolloutView {
    /// Sums up a Rollout. Of `replica_sets` and `runs` those that it owns are looked at.
    #[must_use]
    pub fn of(
        rollout: &Rollout,
        replica_sets: &[Arc<ReplicaSet>],
        runs: &[Arc<AnalysisRun>],
    ) -> Self {
        let status = rollout.status.clone().unwrap_or_default();
        let (current, stable) = (&status.current_pod_hash, &status.stable_rs);
        let version = |hash: &String| {
            let owned = replica_sets.iter().filter(|set| owns(rollout, &***set));
            Some(hash)
                .filter(|hash| !hash.is_empty())
                .map(|hash| VersionView::of(hash, owned.map(|set| &**set)))
        };
        let mut owned: Vec<_> = runs
            .iter()
            .filter(|run| owns(rollout, &***run))
            .filter(|run| run.labels().get(labels::POD_TEMPLATE_HASH) == Some(current))
            .collect();
        owned.sort_by_key(|run| (run.creation_timestamp(), run.name_any()));
        let revision = rollout.annotations().get(labels::REVISION).cloned();
        Self {
            phase: status.phase,
            message: status.message.clone(),
            waiting: waiting(&status),
            revision: revision.unwrap_or_default(),
            step: step(rollout, &status),
            canary: version(current).filter(|_| current != stable),
            stable: version(stable),
            switch: rollout
                .spec
                .strategy
                .blue_green
                .as_ref()
                .map(|spec| SwitchView {
                    service: spec.active_service.clone(),
                    hash: status.blue_green.active_selector.clone(),
                }),
            analyses: owned.into_iter().map(|run| AnalysisView::of(run)).collect(),
        }
    }

    /// The ready pods of the wanted version among all that are ready, in percent; `None` when no
    /// pod is ready. As long as nothing routes the traffic, this is its share of it, too.
    #[must_use]
    pub fn canary_share(&self) -> Option<i32> {
        let ready = |version: &Option<VersionView>| version.as_ref().map_or(0, |it| it.ready);
        let canary = ready(&self.canary);
        let all = canary + ready(&self.stable);
        (all > 0).then(|| (100 * canary + all / 2) / all)
    }

    /// Whether the wanted version has become the stable one and all is well.
    #[must_use]
    pub fn is_promoted(&self) -> bool {
        self.phase == Some(RolloutPhase::Healthy) && self.canary.is_none()
    }
}

impl VersionView {
    fn of<'a>(hash: &str, replica_sets: impl Iterator<Item = &'a ReplicaSet>) -> Self {
        let mut version = Self {
            hash: hash.to_owned(),
            wanted: 0,
            ready: 0,
        };
        let own = replica_sets.filter(|set| {
            set.labels()
                .get(labels::POD_TEMPLATE_HASH)
                .map(String::as_str)
                == Some(hash)
        });
        for set in own {
            version.wanted += set
                .spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(1);
            version.ready += set
                .status
                .as_ref()
                .and_then(|it| it.ready_replicas)
                .unwrap_or(0);
        }
        version
    }
}

/// The images that a Rollout's own pod template names.
fn images_of_template(rollout: &Rollout) -> String {
    let template = rollout.spec.template.json();
    let containers = template.get("spec").map(|pod| &pod["containers"]);
    let containers = containers.and_then(|list| list.as_array());
    let images = containers.into_iter().flatten();
    let images: Vec<&str> = images.filter_map(|it| it["image"].as_str()).collect();
    images.join(",")
}

fn waiting(status: &RolloutStatus) -> Option<WaitingView> {
    let mut conditions = status.conditions.iter();
    let told = conditions.find(|condition| condition.condition_type == ConditionType::Waiting)?;
    Some(WaitingView {
        kind: told.reason.clone(),
        sentence: told.message.clone(),
    })
}

fn owns(rollout: &Rollout, object: &impl kube::Resource) -> bool {
    let owners = object.owner_references();
    let uid = rollout.metadata.uid.as_deref().unwrap_or_default();
    owners.iter().any(|owner| owner.uid == uid)
}

/// The step at hand. A promoted Rollout has none, whatever index its status has kept.
fn step(rollout: &Rollout, status: &RolloutStatus) -> Option<StepView> {
    let steps = &rollout.spec.strategy.canary.as_ref()?.steps;
    if status.current_pod_hash == status.stable_rs || status.abort {
        return None;
    }
    let index = usize::try_from(status.current_step_index?).ok()?;
    Some(StepView {
        number: index + 1,
        of: steps.len(),
        what: what(steps.get(index)?),
    })
}

/// What a step does, in the words of the spec.
fn what(step: &CanaryStep) -> String {
    if let Some(weight) = step.set_weight {
        return format!("setWeight: {weight}");
    }
    if let Some(pause) = &step.pause {
        return match &pause.duration {
            None => "pause until promoted".to_owned(),
            Some(IntOrText::Int(seconds)) => format!("pause: {seconds}s"),
            Some(IntOrText::Text(duration)) => format!("pause: {duration}"),
        };
    }
    if let Some(analysis) = &step.analysis {
        return format!("analysis: {}", template_names(analysis));
    }
    let others = [
        (step.experiment.is_some(), "experiment"),
        (step.set_canary_scale.is_some(), "setCanaryScale"),
        (step.set_header_route.is_some(), "setHeaderRoute"),
        (step.set_mirror_route.is_some(), "setMirrorRoute"),
        (step.plugin.is_some(), "plugin"),
    ];
    let named = others.into_iter().find(|(is_it, _)| *is_it);
    named.map_or("an unknown step", |(_, name)| name).to_owned()
}

fn template_names(analysis: &RolloutAnalysis) -> String {
    let names = analysis
        .templates
        .iter()
        .map(|it| it.template_name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
