//! What an update has started and no longer asks for: what is stopped, and what history keeps.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt as _};

use super::change::Target;
use super::decide::Pass;
use super::labels;
use crate::api::{AnalysisRun, Experiment, Phase};

/// An AnalysisRun or an Experiment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Past {
    pub(super) target: Target,
    phase: Option<Phase>,
    /// The version that it was about.
    hash: Option<String>,
    created: Option<Time>,
    /// Whether it was told to stop.
    is_stopped: bool,
    /// Whether it is being deleted.
    is_leaving: bool,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Stop,
    Delete,
}

impl Past {
    pub(super) fn of(run: &Arc<AnalysisRun>) -> Self {
        let phase = run.status.as_ref().and_then(|status| status.phase);
        Self::with(&**run, phase, run.spec.terminate)
    }

    pub(super) fn of_experiment(experiment: &Arc<Experiment>) -> Self {
        let phase = experiment.status.as_ref().and_then(|status| status.phase);
        Self::with(&**experiment, phase, experiment.spec.terminate)
    }

    fn with(object: &impl Resource, phase: Option<Phase>, is_stopped: bool) -> Self {
        Self {
            // A merge patch of `terminate` and a delete by uid hold for any version of the object.
            target: Target {
                name: object.name_any(),
                uid: object.uid(),
                resource_version: None,
            },
            phase,
            hash: object.labels().get(labels::POD_TEMPLATE_HASH).cloned(),
            created: object.creation_timestamp(),
            is_stopped,
            is_leaving: object.meta().deletion_timestamp.is_some(),
        }
    }

    /// Whether nothing more needs to be done to end it.
    pub(super) fn is_over(&self) -> bool {
        self.phase.is_some_and(Phase::is_completed) || self.is_stopped
    }
}

impl Pass<'_> {
    /// What becomes of those that nobody asks for: they are stopped, and of those that have ended
    /// the newest stay, as many as the spec says.
    ///
    /// # Source
    /// `FilterAnalysisRunsToDelete` in `utils/analysis/filter.go` of Argo Rollouts.
    pub(super) fn fates_of_past(&self, mut past: Vec<Past>) -> Vec<(Target, Fate)> {
        past.retain(|it| !it.is_leaving);
        past.sort_by_key(|it| Reverse((it.created.clone(), it.target.name.clone())));
        let limits = self.rollout.spec.analysis.as_ref();
        let limit = |limit: Option<i32>| usize::try_from(limit.unwrap_or(5)).unwrap_or(0);
        let mut successes = limit(limits.and_then(|limits| limits.successful_run_history_limit));
        let mut failures = limit(limits.and_then(|limits| limits.unsuccessful_run_history_limit));
        let keep_one = |left: &mut usize| {
            let kept = *left > 0;
            *left = left.saturating_sub(1);
            kept
        };
        let fate = |it: Past| {
            let kept = self.has_version(it.hash.as_ref())
                && match it.phase {
                    Some(Phase::Successful) => keep_one(&mut successes),
                    Some(Phase::Failed | Phase::Error | Phase::Inconclusive) => {
                        keep_one(&mut failures)
                    }
                    Some(Phase::Pending | Phase::Running) | None => true,
                };
            let fate = if !kept {
                Fate::Delete
            } else if it.is_over() {
                Fate::Keep
            } else {
                Fate::Stop
            };
            (it.target, fate)
        };
        past.into_iter().map(fate).collect()
    }

    /// Whether a version still exists.
    fn has_version(&self, hash: Option<&String>) -> bool {
        hash.is_some_and(|hash| {
            let mut all = self.revisions.all();
            all.any(|member| member.hash == *hash && !member.leaving)
        })
    }
}
