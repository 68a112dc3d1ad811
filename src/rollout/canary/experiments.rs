//! The Experiment of a step: what it runs, what its outcome means, and when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Map, Value, json};

use crate::api::{
    AnalysisTemplateRef, Experiment, ExperimentAnalysis, ExperimentSpec, ExperimentStep,
    ExperimentStepTemplate, ExperimentTemplate, LabelsAndAnnotations, PauseReason, Phase, Problem,
    SpecRef, TemplateService,
};
use crate::rollout::analyses::arguments;
use crate::rollout::change::Change;
use crate::rollout::decide::Pass;
use crate::rollout::history::{Fate, Past};
use crate::rollout::labels;
use crate::rollout::plan::Step;
use crate::rollout::replica_set::ReplicaSet;
use crate::rollout::waiting::{Reason, Waiting};

impl Pass<'_> {
    /// Starts, judges, stops and deletes Experiments, as this moment of a canary asks.
    ///
    /// # Source
    /// `reconcileExperiments` in `rollout/experiment.go` of Argo Rollouts. There, one that was
    /// inconclusive is forgotten at once and another is started while the Rollout is paused.
    pub(super) fn attend_experiment(&mut self) {
        let current = if self.is_beyond_trials() {
            None
        } else {
            self.current_experiment()
        };
        let current = current.filter(|_| !self.next.abort);
        let experiments = self.observed.experiments.iter().map(Past::of_experiment);
        let others = experiments.filter(|it| Some(&it.target.name) != current.as_ref());
        for (experiment, fate) in self.fates_of_past(others.collect()) {
            match fate {
                Fate::Keep => {}
                Fate::Stop => self.changes.push(Change::StopExperiment(experiment)),
                Fate::Delete => self.changes.push(Change::DeleteExperiment(experiment)),
            }
        }
        self.next.canary.current_experiment = current.unwrap_or_default();
    }

    /// Whether the Experiment of the step at hand has succeeded.
    pub(super) fn is_experiment_successful(&self) -> bool {
        let experiment = self.experiment_named(&self.next.canary.current_experiment);
        experiment.is_some_and(|experiment| phase(experiment) == Some(Phase::Successful))
    }

    pub(in crate::rollout) fn experiment_named(&self, name: &str) -> Option<&Arc<Experiment>> {
        let mut experiments = self.observed.experiments.iter();
        experiments.find(|experiment| experiment.name_any() == name)
    }

    /// The name of the Experiment that the step at hand waits for; none if it waits for none.
    fn current_experiment(&mut self) -> Option<String> {
        let recorded = Some(self.next.canary.current_experiment.clone());
        let recorded = recorded.filter(|name| !name.is_empty());
        if self.is_paused_for(&PauseReason::InconclusiveAnalysis) {
            return recorded;
        }
        let index = self.next.current_step_index?;
        let Some(Step::Experiment(step)) = self.plan.step(Some(index)) else {
            return None;
        };
        let Some(recorded) = recorded.filter(|name| self.is_of_step(name, index)) else {
            return Some(self.named_experiment(index));
        };
        let found = self.experiment_named(&recorded).map(Arc::clone);
        let Some(found) = found.filter(|it| it.metadata.deletion_timestamp.is_none()) else {
            self.start_experiment(step, index, &recorded);
            return Some(recorded);
        };
        match phase(&found) {
            Some(Phase::Failed | Phase::Error) => {
                let status = found.status.as_ref();
                let why = status.map_or("", |status| status.message.as_str());
                let cause = "Experiment analysis phase is error/failed";
                self.abort(match why {
                    "" => cause.to_owned(),
                    why => format!("{cause}: {why}"),
                });
                None
            }
            // Somebody has let the Rollout go on: it is asked once more.
            Some(Phase::Inconclusive) if self.is_resumed() => Some(self.named_experiment(index)),
            Some(Phase::Inconclusive) => {
                self.pause(PauseReason::InconclusiveExperiment);
                Some(recorded)
            }
            Some(Phase::Successful | Phase::Pending | Phase::Running) | None => Some(recorded),
        }
    }

    /// Whether the controller had paused the Rollout and somebody has cleared that.
    fn is_resumed(&self) -> bool {
        self.old.controller_pause && self.old.pause_conditions.is_empty()
    }

    /// The name of an Experiment that is yet to be made. As with AnalysisRuns, the status has it
    /// before: an Experiment under the recorded name is the one that is asked.
    pub(super) fn named_experiment(&self, index: i32) -> String {
        let base = self.first_name(index);
        let later = (1_u32..).map(|attempt| format!("{base}-{attempt}"));
        let mut names = std::iter::once(base.clone()).chain(later);
        let free = names.find(|name| self.experiment_named(name).is_none());
        free.unwrap_or(base)
    }

    fn first_name(&self, index: i32) -> String {
        format!(
            "{}-{}-{}-{index}",
            self.rollout.name_any(),
            self.revisions.hash,
            self.revision
        )
    }

    fn is_of_step(&self, name: &str, index: i32) -> bool {
        let attempt = name.strip_prefix(&self.first_name(index));
        attempt.is_some_and(|attempt| attempt.is_empty() || attempt.starts_with('-'))
    }

    fn start_experiment(&mut self, step: &ExperimentStep, index: i32, name: &str) {
        match self.experiment_spec(step, index) {
            Ok(Some(spec)) => {
                let experiment = Experiment {
                    metadata: self.experiment_metadata(name.to_owned()),
                    ..Experiment::new("", spec)
                };
                self.changes
                    .push(Change::StartExperiment(Box::new(experiment)));
                self.notify("ExperimentCreated", format!("Created Experiment '{name}'"));
                self.tell_what_is_asked_in_vain(index);
            }
            Ok(None) => {
                let what = format!("a version that Experiment `{name}` needs has no ReplicaSet");
                self.waits_for = Some(Waiting::new(Reason::Experiment, what));
            }
            Err(problems) => self.problems.extend(problems),
        }
    }

    fn experiment_metadata(&self, name: String) -> ObjectMeta {
        let hash = (
            labels::POD_TEMPLATE_HASH.to_owned(),
            self.revisions.hash.clone(),
        );
        // The label of the instance, if there is one, is one of the Rollout's.
        let labels = self.rollout.labels().clone().into_iter().chain([hash]);
        let revision = (labels::REVISION.to_owned(), self.revision.to_string());
        ObjectMeta {
            name: Some(name),
            namespace: self.rollout.namespace(),
            labels: Some(labels.collect()),
            annotations: Some(BTreeMap::from([revision])),
            owner_references: self
                .rollout
                .controller_owner_ref(&())
                .map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    /// What a step's Experiment is to do; none while a version that it needs is missing.
    ///
    /// # Source
    /// `GetExperimentFromTemplate` in `rollout/experiment.go` of Argo Rollouts.
    fn experiment_spec(
        &self,
        step: &ExperimentStep,
        index: i32,
    ) -> Result<Option<ExperimentSpec>, Vec<Problem>> {
        let mut analyses = Vec::new();
        for (number, analysis) in step.analyses.iter().enumerate() {
            let field = format!("{}.analyses[{number}]", experiment_field(index));
            analyses.push(ExperimentAnalysis {
                name: analysis.name.clone(),
                template_name: analysis.template_name.clone(),
                cluster_scope: analysis.cluster_scope,
                args: arguments(self, &field, &analysis.args)?,
                required_for_completion: analysis.required_for_completion,
                ..ExperimentAnalysis::default()
            });
        }
        let templates = step.templates.iter().map(|template| {
            let version = match template.spec_ref {
                SpecRef::Stable => self.revisions.stable.as_ref(),
                SpecRef::Canary | SpecRef::Other(_) => self.revisions.new.as_ref(),
            };
            Some(experiment_template(template, version?.object.as_ref()?))
        });
        let Some(templates) = templates.collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        Ok(Some(ExperimentSpec {
            templates,
            duration: step.duration.clone(),
            progress_deadline_seconds: self.rollout.spec.progress_deadline_seconds,
            analyses,
            scale_down_delay_seconds: step.scale_down_delay_seconds,
            dry_run: step.dry_run.clone(),
            analysis_run_metadata: step.analysis_run_metadata.clone(),
            ..ExperimentSpec::default()
        }))
    }

    /// What is wrong with the analyses of the Experiments in the steps: their templates must be
    /// there. Argo Rollouts finds that out only when the Experiment runs.
    pub(in crate::rollout) fn experiment_problems(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for index in 0..self.plan.step_count() {
            let Some(Step::Experiment(step)) = self.plan.step(Some(index)) else {
                continue;
            };
            for (number, analysis) in step.analyses.iter().enumerate() {
                let named = [AnalysisTemplateRef {
                    template_name: analysis.template_name.clone(),
                    cluster_scope: analysis.cluster_scope,
                    ..AnalysisTemplateRef::default()
                }];
                let field = format!(
                    "{}.analyses[{number}].templateName",
                    experiment_field(index)
                );
                if self.are_looked_up(&named) {
                    let found = self.observed.templates.collect(&named, &field);
                    problems.extend(found.err().unwrap_or_default());
                }
            }
        }
        problems
    }
}

fn experiment_field(index: i32) -> String {
    format!("spec.strategy.canary.steps[{index}].experiment")
}

fn phase(experiment: &Experiment) -> Option<Phase> {
    experiment.status.as_ref()?.phase
}

fn experiment_template(step: &ExperimentStepTemplate, version: &ReplicaSet) -> ExperimentTemplate {
    let spec = &version.spec;
    let mut template = spec.template.json();
    let selector = step.selector.as_ref().unwrap_or(&spec.selector);
    let mut selector: LabelSelector = selector.clone();
    if let Some(LabelsAndAnnotations {
        labels,
        annotations,
        ..
    }) = &step.metadata
    {
        let added = json!({ "metadata": { "labels": labels, "annotations": annotations } });
        json_patch::merge(&mut template, &added);
        if !labels.is_empty() {
            selector
                .match_labels
                .get_or_insert_default()
                .extend(labels.clone());
        }
    }
    let named = step.service.as_ref().map(|service| service.name.clone());
    let service = (step.weight.is_some() || named.is_some()).then(|| TemplateService {
        name: named.unwrap_or_default(),
        ..TemplateService::default()
    });
    let json: Map<String, Value> = template.as_object().cloned().unwrap_or_default();
    ExperimentTemplate {
        name: step.name.clone(),
        replicas: step.replicas,
        min_ready_seconds: spec.min_ready_seconds,
        selector,
        template: json.into(),
        service,
        ..ExperimentTemplate::default()
    }
}
