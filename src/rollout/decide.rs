//! The next move of a Rollout: Observed in, Decision out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::canary::{PluginAnswer, PluginCall, Routing};
use super::change::{Change, Decision, Notice, Want};
use super::duration::Ended;
use super::hash::steps_hash;
use super::plan::{Plan, Strategy};
use super::replica_set::ReplicaSet;
use super::revisions::{self, Member, Revisions};
use super::waiting::{Reason, Waiting};
use super::workload::{self, Workload};
use super::{analyses, labels, status};
use crate::analysis::Templates;
use crate::api::{
    AnalysisRun, AnalysisTemplateRef, BlueGreenStatus, CanaryStatus, ConditionType, Experiment,
    PauseCondition, PauseReason, Problem, Rollout, RolloutStatus,
};
use crate::traffic_routers::{Known, Versions};

/// All that a decision about one Rollout may depend on, the time included.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The Rollout.
    pub rollout: Arc<Rollout>,
    /// ReplicaSets of its namespace that it owns or that nobody owns.
    pub replica_sets: Vec<Arc<ReplicaSet>>,
    /// AnalysisRuns that it owns.
    pub analysis_runs: Vec<Arc<AnalysisRun>>,
    /// Experiments that it owns.
    pub experiments: Vec<Arc<Experiment>>,
    /// The Services that its spec names ([`named_services`](super::named_services)) and that are
    /// there, by name.
    pub services: BTreeMap<String, Arc<Service>>,
    /// The object that its `workloadRef` names, if that is there.
    pub workload: Option<Workload>,
    /// Templates that were looked up because a decision asked for them.
    pub templates: Templates,
    /// The pods that its selector picks, if a decision asked for them.
    pub pods: Option<Vec<Pod>>,
    /// What plugins have said, because a decision asked; none of those that there are not.
    pub plugins: BTreeMap<PluginCall, Option<PluginAnswer>>,
    /// What decisions asked for and could not be read, and why: they do without.
    pub unread: BTreeMap<Want, String>,
    /// What is known of the objects that divide the traffic, because decisions asked.
    pub routers: Known,
    /// Of which versions those are.
    pub versions: Arc<Versions>,
    /// The time of this pass.
    pub now: Timestamp,
}

/// How soon a Rollout that names missing templates is looked at again. Argo's back-off ends there.
const INVALID_REFERENCES: SignedDuration = SignedDuration::from_secs(10);

/// Decides the next move of a Rollout. Total: an invalid spec is a decision too.
#[must_use]
pub fn decide(observed: &Observed) -> Decision {
    let old = observed.rollout.status.clone().unwrap_or_default();
    if observed.rollout.metadata.deletion_timestamp.is_some() {
        return Decision::only(old);
    }
    let (rollout, problems) = workload::resolved(observed);
    match Plan::of(&rollout, problems) {
        Ok(plan) => Pass::new(observed, &rollout, &plan, old).run(),
        Err(problems) => invalid(observed, &old, &problems, None),
    }
}

/// What is to be written and told when the ReplicaSet of a new version could not be created: the
/// rest of the decision is off.
#[must_use]
pub fn creation_failed(observed: &Observed, name: &str, why: &str) -> Decision {
    let (status, notice) = status::creation_failed(&observed.rollout, name, why, observed.now);
    Decision {
        notices: vec![notice],
        ..Decision::only(status)
    }
}

/// What keeps a pass from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A change to the Rollout or to what it owns or names cannot be made.
    Change,
    /// One to what divides the traffic cannot.
    Router,
    /// Something that the decision depends on cannot be read.
    Reading,
    /// Nothing can.
    Blindness,
}

/// What is to be written and told when a pass could not be brought to its end: nothing of the
/// decision but what holds without it, such as an abort or a deadline that has passed.
#[must_use]
pub fn hindered(observed: &Observed, obstacle: Obstacle, why: &str) -> Decision {
    let old = observed.rollout.status.clone().unwrap_or_default();
    let (rollout, problems) = workload::resolved(observed);
    match Plan::of(&rollout, problems) {
        Ok(plan) if obstacle != Obstacle::Blindness => {
            Pass::new(observed, &rollout, &plan, old).hindered(obstacle, why)
        }
        // Neither the pods that there are nor what is to be done is known.
        Ok(_) | Err(_) => {
            let (status, notice) = status::hindered(&old, obstacle.reason(), why, observed.now);
            Decision {
                notices: notice.into_iter().collect(),
                ..Decision::only(status)
            }
        }
    }
}

impl Obstacle {
    fn reason(self) -> Reason {
        match self {
            Self::Change => Reason::CannotAct,
            Self::Router => Reason::TrafficRouting,
            Self::Reading | Self::Blindness => Reason::CannotObserve,
        }
    }
}

/// Nothing moves until the spec is valid.
fn invalid(
    observed: &Observed,
    old: &RolloutStatus,
    problems: &[Problem],
    wake_at: Option<Timestamp>,
) -> Decision {
    let (status, notice) = status::invalid(&observed.rollout, old, problems, observed.now);
    Decision {
        notices: notice.into_iter().collect(),
        wake_at,
        ..Decision::only(status)
    }
}

/// One pass over a valid Rollout: what was, and what it becomes.
pub(super) struct Pass<'a> {
    pub(super) observed: &'a Observed,
    /// With the template and selector of the workload that it refers to.
    pub(super) rollout: &'a Rollout,
    pub(super) plan: &'a Plan<'a>,
    /// The status as it was read.
    pub(super) old: RolloutStatus,
    /// The status as it becomes.
    pub(super) next: RolloutStatus,
    pub(super) revisions: Revisions,
    /// The wanted version's revision.
    pub(super) revision: i64,
    pub(super) changes: Vec<Change>,
    pub(super) notices: Vec<Notice>,
    /// What is to be looked up. Private: only `ask` knows what cannot be.
    wants: BTreeSet<Want>,
    /// Why something cannot be read that this pass asks for.
    pub(super) unread: Option<String>,
    /// Why an analysis cannot be started.
    pub(super) problems: Vec<Problem>,
    pub(super) wake_at: Option<Timestamp>,
    /// Why the update is aborted in this pass.
    pub(super) abort_cause: Option<String>,
    /// What keeps a Rollout from where it should be, where nothing else tells.
    pub(super) waits_for: Option<Waiting>,
    /// What its traffic routers have to say.
    pub(super) routing: Routing,
    /// The update that ends in this pass.
    pub(super) ended: Option<Ended>,
    /// What this pass has found on its way.
    pub(super) turn: Turn,
}

/// What kind of pass it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// On with the steps.
    Ordinary,
    /// Another template or other steps: from the start.
    Reset,
    /// The same, with a version that has no ReplicaSet yet.
    ResetWithNewReplicaSet,
}

impl<'a> Pass<'a> {
    fn new(
        observed: &'a Observed,
        rollout: &'a Rollout,
        plan: &'a Plan<'a>,
        old: RolloutStatus,
    ) -> Self {
        let revisions = Revisions::of(rollout, &plan.selector, &observed.replica_sets, &old);
        let revision = revisions.new_revision();
        Self {
            observed,
            rollout,
            plan,
            next: old.clone(),
            old,
            revisions,
            revision,
            changes: vec![],
            notices: vec![],
            wants: BTreeSet::new(),
            unread: None,
            problems: vec![],
            wake_at: None,
            abort_cause: None,
            waits_for: None,
            routing: Routing::default(),
            ended: None,
            turn: Turn::Ordinary,
        }
    }

    fn run(mut self) -> Decision {
        let plan = self.plan;
        let canary = self.rollout.spec.strategy.canary.as_ref();
        let step_hash = canary.map_or_else(String::new, |canary| {
            steps_hash(&serde_json::to_value(&canary.steps).unwrap_or_default())
        });
        let other_template = self.revisions.hash != self.old.current_pod_hash;
        let stored = &self.old.current_step_hash;
        let may_differ = stored.is_empty() || !revisions::is_unchanged(self.rollout, &self.old);
        let other_steps = may_differ && step_hash != *stored;
        if other_template || other_steps {
            self.turn = Turn::Reset;
        }
        if let Some(refusal) = self.refusal() {
            return refusal;
        }
        if let Some(why) = self.unread_template() {
            return self.hindered(Obstacle::Reading, &why);
        }
        self.tidy_ownership();
        self.sync_rollout();
        self.sync_new_replica_set();
        self.sync_ephemeral_metadata();
        self.restart();
        self.next.current_pod_hash.clone_from(&self.revisions.hash);
        self.next.current_step_hash = step_hash;
        match &plan.strategy {
            Strategy::Canary(_) => self.next.blue_green = BlueGreenStatus::default(),
            Strategy::BlueGreen(_) => self.next.canary = CanaryStatus::default(),
        }
        match (self.turn, &plan.strategy) {
            (Turn::Ordinary, Strategy::Canary(canary)) => self.progress(canary),
            (Turn::Ordinary, Strategy::BlueGreen(plan)) => self.progress_blue_green(plan),
            (Turn::Reset | Turn::ResetWithNewReplicaSet, _) => self.reset(),
        }
        if self.problems.is_empty() {
            self.finish()
        } else {
            self.refuse(&self.problems)
        }
    }

    /// Refuses a spec whose templates cannot be used. Nobody tells when they change.
    fn refuse(&self, problems: &[Problem]) -> Decision {
        let wake_at = self.observed.now.checked_add(INVALID_REFERENCES).ok();
        invalid(self.observed, &self.old, problems, wake_at)
    }

    fn hindered(mut self, obstacle: Obstacle, why: &str) -> Decision {
        // Nothing begins.
        self.turn = Turn::Ordinary;
        self.hear_wishes();
        self.check_deadline();
        if self.next.abort {
            self.go_back();
        }
        self.waits_for = Some(Waiting::new(obstacle.reason(), why));
        status::settle(&mut self);
        // What is new in the spec has not been followed yet.
        self.next
            .observed_generation
            .clone_from(&self.old.observed_generation);
        Decision {
            notices: self.notices,
            ended: self.ended,
            wake_at: self.wake_at,
            ..Decision::only(self.next)
        }
    }

    fn finish(mut self) -> Decision {
        if let Some(why) = self.unread.take() {
            let waiting = Waiting::new(Obstacle::Reading.reason(), why);
            self.waits_for.get_or_insert(waiting);
        }
        status::settle(&mut self);
        self.make_room();
        Decision {
            changes: self.changes,
            status: self.next,
            notices: self.notices,
            ended: self.ended,
            wake_at: self.wake_at,
            wants: self.wants,
        }
    }

    /// What the spec names must be there: Services and what divides the traffic at all times, and
    /// before anything moves for a new version or new steps, all that analyses need.
    fn refusal(&mut self) -> Option<Decision> {
        let mut named = self.service_problems();
        named.extend(self.router_problems());
        let mut problems = self.template_problems();
        if self.asks() || (named.is_empty() && problems.is_empty()) {
            return None;
        }
        if problems.is_empty() {
            // These are watched.
            return Some(invalid(self.observed, &self.old, &named, None));
        }
        problems.splice(0..0, named);
        Some(self.refuse(&problems))
    }

    /// Whether all that the spec names is looked at before anything moves: for a new version, new
    /// steps, and a spec that was invalid.
    fn is_judged_afresh(&self) -> bool {
        let was_invalid = (self.old.conditions.iter())
            .any(|condition| condition.condition_type == ConditionType::InvalidSpec);
        self.turn != Turn::Ordinary || was_invalid
    }

    /// Why a template cannot be read without which nothing may move.
    fn unread_template(&self) -> Option<String> {
        let mut unread = self.observed.unread.iter();
        let template = unread.find(|(want, _)| matches!(want, Want::Template(_)));
        let (_, why) = template.filter(|_| self.is_judged_afresh())?;
        Some(why.clone())
    }

    fn template_problems(&mut self) -> Vec<Problem> {
        if !self.is_judged_afresh() {
            return vec![];
        }
        let mut problems = Vec::new();
        for (usage, analysis) in self.plan.analyses() {
            if self.are_looked_up(&analysis.templates) {
                let found = analyses::run_spec(self, usage, analysis);
                problems.extend(found.err().unwrap_or_default());
            }
        }
        problems.extend(self.experiment_problems());
        problems
    }

    /// Whether all templates that these lead to have been looked up; if not, asks for them.
    pub(super) fn are_looked_up(&mut self, templates: &[AnalysisTemplateRef]) -> bool {
        let missing = self.observed.templates.missing(templates);
        let complete = missing.is_empty();
        self.ask(missing.into_iter().map(Want::Template));
        complete
    }

    /// Asks for what is to be looked up. What cannot be read is not asked for again: what needs it
    /// waits, all else goes on.
    pub(super) fn ask(&mut self, wants: impl IntoIterator<Item = Want>) {
        for want in wants {
            match self.observed.unread.get(&want) {
                Some(why) => {
                    self.unread.get_or_insert_with(|| why.clone());
                }
                None => {
                    self.wants.insert(want);
                }
            }
        }
    }

    /// Whether something is to be looked up before this pass can decide.
    pub(super) fn asks(&self) -> bool {
        !self.wants.is_empty()
    }

    /// Takes in ReplicaSets that the selector picks, and gives up those that it no longer does.
    fn tidy_ownership(&mut self) {
        let Some(own) = self.rollout.controller_owner_ref(&()) else {
            return;
        };
        for stranger in &self.revisions.strangers {
            let others = stranger.owners.iter().filter(|owner| owner.uid != own.uid);
            let owners: Vec<_> = others.collect();
            let patch = json!({ "metadata": { "ownerReferences": owners } });
            self.changes
                .push(Change::PatchReplicaSet(stranger.into(), patch));
        }
        for orphan in &self.revisions.orphans {
            let owners: Vec<_> = orphan.owners.iter().chain([&own]).collect();
            let patch = json!({ "metadata": { "ownerReferences": owners } });
            self.changes
                .push(Change::PatchReplicaSet(orphan.into(), patch));
        }
    }

    fn sync_rollout(&mut self) {
        if self.rollout.spec.replicas.is_none() {
            self.changes.push(Change::DefaultReplicas);
        }
        let written = self.observed.rollout.annotations();
        let mut annotations = BTreeMap::new();
        if written.get(labels::REVISION) != Some(&self.revision.to_string()) {
            annotations.insert(labels::REVISION.to_owned(), self.revision.to_string());
            let message = format!("Rollout updated to revision {}", self.revision);
            self.notify("RolloutUpdated", message);
        }
        let generation = self
            .rollout
            .annotations()
            .get_key_value(labels::WORKLOAD_GENERATION);
        if let Some((key, generation)) = generation
            && written.get(key) != Some(generation)
        {
            annotations.insert(key.clone(), generation.clone());
        }
        if !annotations.is_empty() {
            self.changes.push(Change::Annotate(annotations));
        }
    }

    fn sync_new_replica_set(&mut self) {
        if let Some(new) = self.revisions.new.clone() {
            let overdue = revisions::overdue(self.rollout, &self.old, &new, self.revision);
            if let Some(patch) = overdue {
                self.patch_replica_set(&new, patch);
            }
            if let Some(new) = &mut self.revisions.new {
                new.revision = self.revision;
            }
            return;
        }
        let hash = self.revisions.hash.clone();
        let created = revisions::created(self.rollout, &self.old, &hash, self.revision);
        let planned = revisions::planned(&created, &hash, self.revision);
        let message = format!(
            "Created ReplicaSet {} (revision {})",
            planned.name, self.revision
        );
        self.revisions.new = Some(planned);
        self.changes
            .push(Change::CreateReplicaSet(Box::new(created)));
        self.turn = Turn::ResetWithNewReplicaSet;
        self.notify("NewReplicaSetCreated", message);
    }

    /// Patches a ReplicaSet. The pass may change it once more: each patch makes a new version of it.
    pub(super) fn patch_replica_set(&mut self, member: &Member, patch: Value) {
        let revisions = &mut self.revisions;
        let all = revisions.new.iter_mut().chain(&mut revisions.stable);
        let mut all = all.chain(&mut revisions.others);
        let Some(member) = all.find(|other| other.name == member.name) else {
            return;
        };
        self.changes
            .push(Change::PatchReplicaSet((&*member).into(), patch));
        member.resource_version = None;
    }

    /// Another template or other steps: everything starts again; pods move in the next pass.
    fn reset(&mut self) {
        let next = &mut self.next;
        next.pause_conditions.clear();
        next.controller_pause = false;
        next.abort = false;
        next.aborted_at = None;
        next.promote_full = false;
        next.canary.current_step_analysis_run_status = None;
        next.canary.current_background_analysis_run_status = None;
        next.canary.step_plugin_statuses.clear();
        next.canary.current_experiment.clear();
        next.blue_green.pre_promotion_analysis_run_status = None;
        next.blue_green.post_promotion_analysis_run_status = None;
        next.blue_green.scale_up_preview_check_point = false;
        self.drop_passed_deadline();
        let steps = self.plan.step_count();
        self.next.current_step_index = (steps > 0).then_some(0);
        if steps == 0 {
            return;
        }
        if self.is_rollback_to_stable() {
            self.next.current_step_index = Some(steps);
            self.notify("SkipSteps", "Rollback to stable ReplicaSets".to_owned());
        } else if self.is_rollback_within_window()
            && self
                .revisions
                .new
                .as_ref()
                .is_some_and(|new| new.pods.wanted > 0)
        {
            self.next.current_step_index = Some(steps);
            let message = "Rollback to active ReplicaSets within RollbackWindow";
            self.notify("SkipSteps", message.to_owned());
        }
    }

    /// Whether the wanted version is the stable one.
    pub(super) fn is_rollback_to_stable(&self) -> bool {
        !self.old.stable_rs.is_empty() && self.revisions.hash == self.old.stable_rs
    }

    /// Whether the wanted version is the stable one, or older than that.
    pub(super) fn is_rollback(&self) -> bool {
        let created = |member: &Option<Member>| member.as_ref().and_then(|one| one.created);
        let (new, stable) = (
            created(&self.revisions.new),
            created(&self.revisions.stable),
        );
        self.is_rollback_to_stable() || new.zip(stable).is_some_and(|(new, stable)| new < stable)
    }

    /// Whether the first version is on its way: there is nothing to go back to.
    pub(super) fn is_first_version(&self) -> bool {
        self.old.stable_rs.is_empty()
    }

    /// Whether a person or an undecided analysis holds everything where it is.
    pub(super) fn is_held(&self) -> bool {
        self.rollout.spec.paused
            || self.is_paused_for(&PauseReason::InconclusiveAnalysis)
            || self.is_paused_for(&PauseReason::InconclusiveExperiment)
    }

    /// Whether there is a pause for this reason.
    pub(super) fn is_paused_for(&self, reason: &PauseReason) -> bool {
        self.next
            .pause_conditions
            .iter()
            .any(|condition| condition.reason == *reason)
    }

    /// Pauses, unless that reason is there already.
    pub(super) fn pause(&mut self, reason: PauseReason) {
        if self.is_paused_for(&reason) {
            return;
        }
        self.notify("RolloutPaused", format!("Rollout is paused ({reason})"));
        let start_time = Some(self.time());
        let condition = PauseCondition {
            reason,
            start_time,
            ..PauseCondition::default()
        };
        self.next.pause_conditions.push(condition);
        self.next.controller_pause = true;
    }

    /// Goes back to the stable version.
    pub(super) fn abort(&mut self, cause: String) {
        self.next.abort = true;
        self.next.promote_full = false;
        self.abort_cause.get_or_insert(cause);
    }

    /// Looks again at that time at the latest.
    pub(super) fn wake_at(&mut self, time: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(time, |earlier| earlier.min(time)));
    }

    /// Now, as Kubernetes writes it.
    pub(super) fn time(&self) -> Time {
        whole_seconds(self.observed.now)
    }

    pub(super) fn notify(&mut self, reason: &str, message: String) {
        self.notices.push(Notice {
            warning: false,
            reason: reason.to_owned(),
            message,
        });
    }

    pub(super) fn warn(&mut self, reason: &str, message: String) {
        self.notices.push(Notice {
            warning: true,
            reason: reason.to_owned(),
            message,
        });
    }
}

/// A time in whole seconds.
pub(super) fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
