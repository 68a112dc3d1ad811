//! How a router is to divide the traffic between the versions.
//!
//! A version never gets a greater share of the traffic than the share of its pods that can take it:
//! the canary's weight grows after its pods, and what goes back to the stable version goes as far as
//! its pods can take it.

use std::collections::BTreeMap;

use crate::api::{
    CanaryStrategy, ExperimentTemplateStatus, Phase, TrafficWeights, WeightDestination,
};
use crate::rollout::decide::Pass;
use crate::rollout::plan::Canary;
use crate::rollout::revisions::Member;
use crate::traffic_routers::{Route, Split, Subject, Version};

/// A weight for the canary, and what else follows from the moment of the update.
struct Desired {
    weight: i32,
    additional: Vec<WeightDestination>,
    routes: Vec<Route>,
}

impl Desired {
    fn without_routes(weight: i32) -> Self {
        Self {
            weight,
            additional: vec![],
            routes: vec![],
        }
    }
}

impl Member {
    /// Its pods, as routers need to know them.
    pub(in crate::rollout) fn version(&self) -> Version {
        Version {
            hash: self.hash.clone(),
            replica_set: self.name.clone(),
            wanted: self.pods.wanted,
            available: self.pods.available,
        }
    }
}

impl Pass<'_> {
    /// The weight that a version keeps although another is wanted by now, because nobody else can
    /// take its traffic yet: neither the stable version all of it, nor the wanted one this part.
    ///
    /// Argo Rollouts looks after that only where the stable template was applied again; elsewhere the
    /// first pod of the wanted version gets the whole part.
    pub(in crate::rollout) fn weight_left_behind(&self, canary: &Canary<'_>) -> Option<i32> {
        let part = &self.old.canary.weights.as_ref()?.canary;
        let serves = self
            .revisions
            .all()
            .any(|version| version.hash == part.pod_template_hash && version.pods.available > 0);
        let is_wanted = part.pod_template_hash == self.revisions.hash;
        if is_wanted || !serves || part.weight <= 0 || self.plan.replicas == 0 {
            return None;
        }
        let routed = self.routed(canary);
        let stable = self
            .stable_version()
            .map_or(0, |stable| stable.pods.lasting());
        let stays = (canary.whole() - routed.capacity(stable)).min(part.weight);
        let goes_on = !self.is_promoted() && !self.next.abort;
        let is_taken = goes_on && routed.capacity(self.available().canary) >= part.weight;
        (stays > 0 && !is_taken).then_some(stays)
    }

    /// Divides the traffic anew, as this moment of the update asks.
    pub(super) fn route(&mut self, canary: &Canary<'_>) {
        if !self.has_router() {
            self.next.canary.weights = None;
            return;
        }
        if self.stable_version().is_none() {
            // The first version serves alone.
            return;
        }
        let desired = self.desired(canary);
        let weights = self.divided(canary, &desired);
        let split = Split {
            is_idle: self.is_idle(&weights),
            whole: canary.whole(),
            weights,
            routes: desired.routes,
            versions: self.versions(),
        };
        self.direct(canary, &split);
    }

    fn versions(&self) -> Vec<Version> {
        self.revisions.all().map(Member::version).collect()
    }

    /// Whether the new version gets nothing, and will not for now: since the pass before this one, so
    /// that routers have led everybody away before what they need for it goes.
    fn is_idle(&self, weights: &TrafficWeights) -> bool {
        let before = self.old.canary.weights.as_ref();
        let before = before.map_or(0, |weights| weights.canary.weight);
        (self.is_promoted() || self.next.abort) && before == 0 && weights.canary.weight == 0
    }

    fn divided(&self, canary: &Canary<'_>, desired: &Desired) -> TrafficWeights {
        let before = self.old.canary.weights.as_ref();
        let weight = self.within_capacity(canary, desired.weight);
        let additional: i32 = desired.additional.iter().map(|part| part.weight).sum();
        let hash =
            |member: Option<&Member>| member.map(|member| member.hash.clone()).unwrap_or_default();
        let tested = before.filter(|_| self.weight_left_behind(canary).is_some());
        let tested = tested.map(|before| before.canary.pod_template_hash.clone());
        let new = hash(self.revisions.new.as_ref());
        TrafficWeights {
            canary: WeightDestination {
                weight,
                service_name: canary.written.canary_service.clone(),
                pod_template_hash: tested.unwrap_or(new),
                ..WeightDestination::default()
            },
            stable: WeightDestination {
                weight: (canary.whole() - weight - additional).max(0),
                service_name: canary.written.stable_service.clone(),
                pod_template_hash: hash(self.stable_version()),
                ..WeightDestination::default()
            },
            additional: desired.additional.clone(),
            ..TrafficWeights::default()
        }
    }

    /// A weight of the canary, changed so that what moves goes to pods that can take it.
    ///
    /// Argo Rollouts leaves all weights as they are as long as the stable version lacks one pod; a
    /// bad canary keeps its traffic then.
    fn within_capacity(&self, canary: &Canary<'_>, desired: i32) -> i32 {
        let recorded = self.old.canary.weights.as_ref();
        let current = recorded.map_or(0, |weights| weights.canary.weight);
        let serving = self.stable_version().map(|stable| stable.pods);
        let can_serve = self.available().canary > 0;
        // After the promotion both Services lead to the same pods.
        if desired >= current || !can_serve || self.is_promoted() {
            return desired;
        }
        let routed = self.routed(canary);
        let stays = canary.whole() - serving.map_or(0, |pods| routed.capacity(pods.lasting()));
        let needed = routed.pods(canary.whole() - desired);
        let enough = canary.threshold.is_some()
            && serving.is_some_and(|pods| canary.is_far_enough(pods, needed));
        if enough {
            desired
        } else {
            desired.max(stays.min(current))
        }
    }

    /// The weight and the routes of this moment: the first that fits.
    ///
    /// # Source
    /// `reconcileTrafficRouting` in `rollout/trafficrouting.go` of Argo Rollouts.
    fn desired(&self, canary: &Canary<'_>) -> Desired {
        let current = self.old.canary.weights.as_ref();
        let current = current.map_or(0, |weights| weights.canary.weight);
        let available = self.available();
        if let Some(weight) = self.weight_left_behind(canary) {
            return Desired::without_routes(weight);
        }
        if self.is_promoted() {
            return Desired::without_routes(0);
        }
        if self.next.abort {
            let weight = self.weight_on_the_way_back(canary, available.stable);
            return Desired::without_routes(weight);
        }
        if available.canary == 0 {
            return Desired {
                additional: self.experiment_parts(canary.written),
                ..Desired::without_routes(0)
            };
        }
        if self.next.promote_full {
            let dynamic = canary.written.dynamic_stable_scale;
            let capacity = self.routed(canary).capacity(available.canary);
            let weight = if dynamic {
                capacity.min(canary.whole())
            } else {
                current
            };
            return Desired::without_routes(weight);
        }
        self.desired_by_steps(canary, current)
    }

    fn desired_by_steps(&self, canary: &Canary<'_>, current: i32) -> Desired {
        let steps = self.plan.step_count();
        let Some(index) = self.next.current_step_index.filter(|_| steps > 0) else {
            // Without steps the promotion moves all traffic, by the stable Service.
            return Desired::without_routes(0);
        };
        let is_over = index >= steps;
        let wanted = self.weight(canary);
        let weight = if self.is_at_desired_counts(canary) {
            wanted
        } else {
            // Traffic comes after the pods, and goes before them.
            let before = canary.weight_before(index).min(wanted);
            // Steps that were skipped give no traffic to pods that are not there.
            let capacity = self.routed(canary).capacity(self.available().canary);
            if before > current {
                before.min(capacity).max(current)
            } else {
                before
            }
        };
        let additional = if is_over {
            vec![]
        } else {
            self.experiment_parts(canary.written)
        };
        Desired {
            weight,
            additional,
            routes: self.routes(canary.written, index),
        }
    }

    /// The weight while the traffic goes back to the stable version.
    ///
    /// # Source
    /// `calculateDesiredWeightOnAbortOrStableRollback` in `rollout/trafficrouting.go` of Argo
    /// Rollouts.
    fn weight_on_the_way_back(&self, canary: &Canary<'_>, stable: i32) -> i32 {
        if !canary.written.dynamic_stable_scale || self.plan.replicas == 0 {
            return 0;
        }
        let step = self.step_weight(canary);
        let capacity = self.routed(canary).capacity(stable);
        let stays = (canary.whole() - capacity).max(0);
        let Some(recorded) = &self.old.canary.weights else {
            return stays.max(step);
        };
        let current = recorded.canary.weight;
        if step <= 0 {
            stays.min(current)
        } else if capacity < canary.whole() - step {
            current
        } else {
            step.min(current)
        }
    }

    /// The parts of the traffic that the Experiment of the step at hand gets while it runs.
    fn experiment_parts(&self, written: &CanaryStrategy) -> Vec<WeightDestination> {
        let index = self
            .next
            .current_step_index
            .and_then(|index| usize::try_from(index).ok());
        let reached = index.and_then(|index| written.steps.get(..=index));
        let mut reached = reached.unwrap_or_default().iter().rev();
        let Some(step) = reached.find_map(|step| step.experiment.as_ref()) else {
            return vec![];
        };
        let name = &self.old.canary.current_experiment;
        let running = self
            .experiment_named(name)
            .and_then(|experiment| experiment.status.as_ref())
            .filter(|status| status.phase == Some(Phase::Running));
        let Some(status) = running else { return vec![] };
        let part = |template: &ExperimentTemplateStatus| {
            let written = step.templates.iter().find(|it| it.name == template.name)?;
            Some(WeightDestination {
                weight: written.weight?,
                service_name: template.service_name.clone(),
                pod_template_hash: template.pod_template_hash.clone(),
                ..WeightDestination::default()
            })
        };
        status.template_statuses.iter().filter_map(part).collect()
    }

    /// The routes that the steps up to the one at hand have set and not removed, in the order in
    /// which the spec manages them.
    ///
    /// Argo Rollouts sets a route while its step is the one at hand, so never when that step comes
    /// before the pods.
    fn routes(&self, written: &CanaryStrategy, index: i32) -> Vec<Route> {
        // The first version meets no users before it is stable.
        let reached = usize::try_from(index).ok().filter(|_| self.revision > 1);
        let reached = reached.map_or(0, |index| index + 1);
        let mut last: BTreeMap<&str, Option<Route>> = BTreeMap::new();
        for step in written.steps.iter().take(reached) {
            if let Some(route) = &step.set_header_route {
                let is_set = !route.matches.is_empty();
                last.insert(&route.name, is_set.then(|| Route::Header(route.clone())));
            }
            if let Some(route) = &step.set_mirror_route {
                let is_set = !route.matches.is_empty();
                last.insert(&route.name, is_set.then(|| Route::Mirror(route.clone())));
            }
        }
        let subject = Subject::of(self.rollout);
        let managed = subject.iter().flat_map(Subject::managed_routes);
        managed.filter_map(|name| last.remove(name)?).collect()
    }

    /// Whether a router does not confirm the weight that it was given.
    pub(in crate::rollout) fn is_weight_unverified(&self) -> bool {
        let weights = self.next.canary.weights.as_ref();
        weights.is_some_and(|weights| weights.verified == Some(false))
    }

    /// Whether all traffic is the canary's by now and the router does not confirm it: until then
    /// nothing may go.
    pub(super) fn is_end_unverified(&self, canary: &Canary<'_>) -> bool {
        let weights = self.next.canary.weights.as_ref();
        self.is_weight_unverified()
            && weights.is_some_and(|weights| weights.canary.weight == canary.whole())
    }
}
