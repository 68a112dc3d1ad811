//! The AnalysisRuns of a Rollout: which exist, what their verdicts mean, and which are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};
use serde_json::Value;

use super::change::Change;
use super::decide::Pass;
use super::history::{Fate, Past};
use super::labels;
use super::plan::{Canary, Step, Use};
use crate::analysis::{Merged, Wanted, endless, merge};
use crate::api::{
    AnalysisRun, AnalysisRunSlot, Argument, PauseReason, Phase, PodTemplateHash, Problem,
    RolloutAnalysis, RolloutArgument, RolloutStatus,
};

impl Use {
    /// The value of the label `rollout-type`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Step(_) => "Step",
            Self::PrePromotion => "PrePromotion",
            Self::PostPromotion => "PostPromotion",
        }
    }

    fn name_suffix(self) -> String {
        match self {
            Self::Background => String::new(),
            Self::Step(index) => format!("-{index}"),
            Self::PrePromotion => "-pre".to_owned(),
            Self::PostPromotion => "-post".to_owned(),
        }
    }

    /// How an abort names it.
    fn title(self) -> &'static str {
        match self {
            Self::Background => "Background analysis",
            Self::Step(_) => "Step-based analysis",
            Self::PrePromotion => "Blue/green pre-promotion analysis",
            Self::PostPromotion => "Blue/green post-promotion analysis",
        }
    }
}

/// Whose outcome an update waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// That of the runs that the status names.
    Named,
    /// Nobody's.
    None,
}

/// The places of AnalysisRuns in a status.
pub(super) fn slots(status: &RolloutStatus) -> impl Iterator<Item = &AnalysisRunSlot> {
    let (canary, blue_green) = (&status.canary, &status.blue_green);
    let slots = [
        &canary.current_step_analysis_run_status,
        &canary.current_background_analysis_run_status,
        &blue_green.pre_promotion_analysis_run_status,
        &blue_green.post_promotion_analysis_run_status,
    ];
    slots.into_iter().flatten()
}

/// Names of the AnalysisRuns whose verdict a status waits for: one that no cache knows may still
/// exist. Those that nobody has seen yet are not among them, and after an abort none is.
pub fn awaited_runs(status: &RolloutStatus) -> impl Iterator<Item = &str> {
    let is_open = |phase: Phase| !phase.is_completed() && !status.abort;
    let open = slots(status).filter(move |slot| slot.status.is_some_and(is_open));
    open.map(|slot| slot.name.as_str())
}

impl Pass<'_> {
    /// Starts, judges, stops and deletes AnalysisRuns, as this moment of a canary asks.
    pub(super) fn analyse(&mut self, plan: &Canary<'_>) {
        let canary = &self.old.canary;
        let (background, step) = (
            canary.current_background_analysis_run_status.clone(),
            canary.current_step_analysis_run_status.clone(),
        );
        let (background, step) = if self.is_beyond_trials() {
            (None, None)
        } else {
            // Both before either is acted upon: a verdict in the background must not hide the
            // step's.
            (
                self.background_analysis(plan, background),
                self.step_analysis(step),
            )
        };
        if self.asks() {
            return;
        }
        let (background, step) = if self.next.abort {
            self.changes
                .retain(|change| !matches!(change, Change::StartAnalysis(_)));
            (None, None)
        } else {
            (background, step)
        };
        self.next.canary.current_background_analysis_run_status = background;
        self.next.canary.current_step_analysis_run_status = step;
        self.stop_and_forget_others(Awaited::Named);
    }

    /// Whether the analysis of the step at hand has succeeded.
    pub(super) fn is_step_analysis_successful(&self) -> bool {
        let slot = self.next.canary.current_step_analysis_run_status.as_ref();
        slot.is_some_and(|slot| slot.status == Some(Phase::Successful))
    }

    fn background_analysis(
        &mut self,
        plan: &Canary<'_>,
        slot: Option<AnalysisRunSlot>,
    ) -> Option<AnalysisRunSlot> {
        let analysis = plan.background?;
        let start = analysis.starting_step.unwrap_or(0);
        if self
            .next
            .current_step_index
            .is_some_and(|index| index < start)
        {
            return None;
        }
        if self.is_paused_for(&PauseReason::InconclusiveAnalysis) {
            return slot;
        }
        Some(self.attend(Use::Background, analysis, slot))
    }

    fn step_analysis(&mut self, slot: Option<AnalysisRunSlot>) -> Option<AnalysisRunSlot> {
        // A pause that the background has just asked for counts in the next pass.
        if !self.old.pause_conditions.is_empty() {
            return slot;
        }
        let index = self.next.current_step_index?;
        let Some(Step::Analysis(analysis)) = self.plan.step(Some(index)) else {
            return None;
        };
        let slot = slot.filter(|slot| {
            let run = self.run_named(&slot.name);
            let label = run.and_then(|run| run.labels().get(labels::STEP_INDEX));
            label.is_none_or(|label| *label == index.to_string())
        });
        Some(self.attend(Use::Step(index), analysis, slot))
    }

    pub(super) fn run_named(&self, name: &str) -> Option<&Arc<AnalysisRun>> {
        self.observed
            .analysis_runs
            .iter()
            .find(|run| run.name_any() == name)
    }

    /// Starts a run if one is needed, and acts upon the verdict of the one there is.
    ///
    /// A run gets its name in the status before it is made. So whatever is lost on the way, a run
    /// under the recorded name is the one that is asked, even if it ended before anybody looked.
    pub(super) fn attend(
        &mut self,
        usage: Use,
        analysis: &RolloutAnalysis,
        slot: Option<AnalysisRunSlot>,
    ) -> AnalysisRunSlot {
        let Some(slot) = slot else {
            return self.named_slot(usage);
        };
        let Some(run) = self.run_named(&slot.name).cloned() else {
            self.start(usage, analysis, &slot.name);
            return slot;
        };
        if self.is_spent(&slot, &run) {
            return self.named_slot(usage);
        }
        let now = self.look_at(usage, &run, slot.status);
        match now.status {
            Some(Phase::Failed | Phase::Error) => {
                let mut cause = format!("{} phase error/failed", usage.title());
                if !now.message.is_empty() {
                    cause = format!("{cause}: {}", now.message);
                }
                self.abort(cause);
            }
            Some(Phase::Inconclusive) => self.pause(PauseReason::InconclusiveAnalysis),
            Some(Phase::Pending | Phase::Running | Phase::Successful) | None => {}
        }
        now
    }

    /// Notes how a run whose verdict means nothing any more stands, if it was ever made.
    pub(super) fn note(
        &mut self,
        usage: Use,
        slot: Option<AnalysisRunSlot>,
    ) -> Option<AnalysisRunSlot> {
        let slot = slot?;
        match self.run_named(&slot.name).cloned() {
            Some(run) => Some(self.look_at(usage, &run, slot.status)),
            None => Some(slot).filter(|slot| slot.status.is_some()),
        }
    }

    /// How a run stands; an Event tells what has changed.
    fn look_at(
        &mut self,
        usage: Use,
        run: &AnalysisRun,
        previous: Option<Phase>,
    ) -> AnalysisRunSlot {
        let status = run.status.clone().unwrap_or_default();
        let now = AnalysisRunSlot {
            name: run.name_any(),
            status: status.phase,
            message: status.message,
            ..AnalysisRunSlot::default()
        };
        if now.status != previous {
            self.tell(usage, &now, previous);
        }
        now
    }

    /// Whether a run's verdict was acted upon, and a person wants another: after an abort, or when
    /// going on after an inconclusive run.
    fn is_spent(&self, slot: &AnalysisRunSlot, run: &AnalysisRun) -> bool {
        let retried = self.old.aborted_at.is_some();
        let recorded = slot.status == Some(Phase::Inconclusive);
        let phase = run.status.as_ref().and_then(|status| status.phase);
        retried || (recorded && phase == Some(Phase::Inconclusive))
    }

    /// The place in the status of a run that is yet to be made.
    pub(super) fn named_slot(&self, usage: Use) -> AnalysisRunSlot {
        let base = format!(
            "{}-{}-{}{}",
            self.rollout.name_any(),
            self.revisions.hash,
            self.revision,
            usage.name_suffix()
        );
        let later = (1_u32..).map(|attempt| format!("{base}.{attempt}"));
        let mut names = std::iter::once(base.clone()).chain(later);
        let name = names.find(|name| self.run_named(name).is_none());
        AnalysisRunSlot {
            name: name.unwrap_or(base),
            ..AnalysisRunSlot::default()
        }
    }

    fn start(&mut self, usage: Use, analysis: &RolloutAnalysis, name: &str) {
        if !self.are_looked_up(&analysis.templates) {
            return;
        }
        match run_spec(self, usage, analysis) {
            Ok(Merged { spec, warnings }) => {
                let run = AnalysisRun {
                    metadata: self.run_metadata(name.to_owned(), usage, analysis),
                    ..AnalysisRun::new("", spec)
                };
                self.changes.push(Change::StartAnalysis(Box::new(run)));
                for oddity in warnings {
                    self.warn("AnalysisSpecWarning", oddity.to_string());
                }
            }
            Err(problems) => self.problems.extend(problems),
        }
    }

    /// # Source
    /// `newAnalysisRunFromRollout` in `rollout/analysis.go` of Argo Rollouts: later labels win.
    fn run_metadata(&self, name: String, usage: Use, analysis: &RolloutAnalysis) -> ObjectMeta {
        let mut run_labels = BTreeMap::from([
            (
                labels::POD_TEMPLATE_HASH.to_owned(),
                self.revisions.hash.clone(),
            ),
            (labels::ROLLOUT_TYPE.to_owned(), usage.as_str().to_owned()),
        ]);
        if let Use::Step(index) = usage {
            run_labels.insert(labels::STEP_INDEX.to_owned(), index.to_string());
        }
        if let Some(id) = self.rollout.labels().get(labels::INSTANCE_ID) {
            run_labels.insert(labels::INSTANCE_ID.to_owned(), id.clone());
        }
        let mut annotations =
            BTreeMap::from([(labels::REVISION.to_owned(), self.revision.to_string())]);
        if let Some(metadata) = &analysis.analysis_run_metadata {
            run_labels.extend(metadata.labels.clone());
            annotations.extend(metadata.annotations.clone());
        }
        let selector = self.rollout.spec.selector.as_ref();
        run_labels.extend(
            selector
                .and_then(|s| s.match_labels.clone())
                .unwrap_or_default(),
        );
        ObjectMeta {
            name: Some(name),
            namespace: self.rollout.namespace(),
            labels: Some(run_labels),
            annotations: Some(annotations),
            owner_references: self
                .rollout
                .controller_owner_ref(&())
                .map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    fn tell(&mut self, usage: Use, slot: &AnalysisRunSlot, previous: Option<Phase>) {
        let Some(phase) = slot.status else { return };
        let message = format!(
            "{} Analysis Run '{}' Status New: '{}' Previous: '{}'",
            usage.as_str(),
            slot.name,
            phase.as_str(),
            previous.map_or("NoPreviousStatus", Phase::as_str),
        );
        let reason = format!("AnalysisRun{}", phase.as_str());
        if matches!(phase, Phase::Failed | Phase::Error) {
            self.warn(&reason, message);
        } else {
            self.notify(&reason, message);
        }
    }

    /// Runs whose outcome is not awaited are stopped; of those that the status does not name and
    /// that have ended, the newest stay.
    pub(super) fn stop_and_forget_others(&mut self, awaited: Awaited) {
        let current: Vec<&str> = slots(&self.next).map(|slot| slot.name.as_str()).collect();
        let runs = self.observed.analysis_runs.iter().map(Past::of);
        let (named, others): (Vec<Past>, Vec<Past>) =
            runs.partition(|run| current.contains(&run.target.name.as_str()));
        if awaited == Awaited::None {
            let open = named.into_iter().filter(|run| !run.is_over());
            self.changes
                .extend(open.map(|run| Change::StopAnalysis(run.target)));
        }
        for (run, fate) in self.fates_of_past(others) {
            match fate {
                Fate::Keep => {}
                Fate::Stop => self.changes.push(Change::StopAnalysis(run)),
                Fate::Delete => self.changes.push(Change::DeleteAnalysis(run)),
            }
        }
    }
}

/// The spec of the run that an analysis asks for. All templates must have been looked up.
pub(super) fn run_spec(
    pass: &Pass<'_>,
    usage: Use,
    analysis: &RolloutAnalysis,
) -> Result<Merged, Vec<Problem>> {
    let field = usage.field();
    let args = arguments(pass, field.trim_end_matches(".templates"), &analysis.args)?;
    let wanted = Wanted {
        field: &field,
        templates: &analysis.templates,
        args: &args,
        dry_run: &analysis.dry_run,
        measurement_retention: &analysis.measurement_retention,
    };
    let merged = merge(&wanted, &pass.observed.templates)?;
    // All but the background, which is stopped when the update ends, are waited for.
    let problems = match usage {
        Use::Step(_) | Use::PrePromotion | Use::PostPromotion => endless(&merged.spec, &field),
        Use::Background => Vec::new(),
    };
    if problems.is_empty() {
        Ok(merged)
    } else {
        Err(problems)
    }
}

/// The values that a Rollout gives to the arguments of an analysis, which `field` names.
pub(super) fn arguments(
    pass: &Pass<'_>,
    field: &str,
    written: &[RolloutArgument],
) -> Result<Vec<Argument>, Vec<Problem>> {
    let (mut args, mut problems) = (Vec::new(), Vec::new());
    // Serialized at most once, and only for who refers to a field.
    let mut object: Option<Value> = None;
    for (index, argument) in written.iter().enumerate() {
        let source = argument.value_from.as_ref();
        let hash = source.and_then(|source| source.pod_template_hash_value.as_ref());
        let path = source
            .and_then(|source| source.field_ref.as_ref())
            .map(|path| &path.field_path);
        let value = match (hash, path) {
            (Some(PodTemplateHash::Stable), _) => Ok(pass.old.stable_rs.clone()),
            (Some(PodTemplateHash::Latest | PodTemplateHash::Other(_)), _) => {
                Ok(pass.revisions.hash.clone())
            }
            (None, Some(path)) => {
                let object = object
                    .get_or_insert_with(|| serde_json::to_value(pass.rollout).unwrap_or_default());
                crate::analysis::field(object, path)
            }
            (None, None) => Ok(argument.value.clone()),
        };
        match value {
            Ok(value) => args.push(Argument {
                name: argument.name.clone(),
                value: Some(value),
                ..Argument::default()
            }),
            Err(why) => {
                let at = format!("{field}.args[{index}].valueFrom.fieldRef.fieldPath");
                problems.push(Problem::new(at, format!("Invalid value: {why}")));
            }
        }
    }
    if problems.is_empty() {
        Ok(args)
    } else {
        Err(problems)
    }
}
