//! The routers of a canary: what they have to know, what they write, and what becomes of the update
//! when one of them cannot.
//!
//! The order of changes keeps traffic away from pods that are not there:
//!
//! ```text
//! pods come → Services lead to them → weights move → Services leave → pods go
//! ```
//!
//! A router that cannot divide the traffic holds what needs it: the step at hand, the promotion, and
//! the pods that the weights keep. All else goes on: other routers, verdicts, an abort, deadlines.

use jiff::SignedDuration;

use crate::api::{ConditionType, Problem, TrafficWeights, WeightDestination};
use crate::rollout::change::{Change, Want};
use crate::rollout::decide::Pass;
use crate::rollout::plan::{Canary, Step};
use crate::rollout::status;
use crate::rollout::waiting::{Reason, Waiting};
use crate::traffic_routers::{
    self, Holder, InVain, Known, PortUse, Query, Router, Split, Subject, Verification, Verified,
    Write,
};

/// How soon a weight is looked at again that its router does not confirm. Argo's
/// `ROLLOUT_VERIFY_RETRY_INTERVAL`.
pub(in crate::rollout) const VERIFY_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What the routers of a pass have to say.
#[derive(Debug, Default)]
pub(in crate::rollout) struct Routing {
    /// To be made when the new version's pods and Services are there.
    writes: Vec<Change>,
    /// Why one of them cannot divide the traffic.
    obstacle: Option<String>,
    /// Why some of them cannot tell how it is divided by now.
    untold: Vec<String>,
}

/// What routers tell of how the traffic is divided by now.
#[derive(Default)]
struct Told {
    /// Whether all that can tell confirm it; none: nobody can tell.
    verified: Option<bool>,
    detail: Verified,
    /// Why some of them cannot tell now.
    failures: Vec<String>,
}

impl Told {
    fn add(&mut self, mut one: Verified) {
        self.verified = Some(self.verified.unwrap_or(true) && one.is_verified);
        self.detail.albs.append(&mut one.albs);
        self.detail.notices.append(&mut one.notices);
        self.detail.warnings.append(&mut one.warnings);
    }

    fn fail(&mut self, router: &dyn Router, why: &str) {
        self.failures.push(format!("{}: {why}", router.name()));
        self.add(Verified::default());
    }
}

impl<'a> Pass<'a> {
    fn routers(&self) -> Vec<Box<dyn Router + 'a>> {
        let subject = Subject::of(self.rollout);
        let versions = &self.observed.versions;
        subject.map_or_else(Vec::new, |it| traffic_routers::routers(&it, versions))
    }

    /// Whether there is a router at all: `trafficRouting: {}` names none.
    pub(super) fn has_router(&self) -> bool {
        !self.routers().is_empty()
    }

    /// Whether all routers divide the traffic as they are told.
    pub(super) fn is_routing_hindered(&self) -> bool {
        self.routing.obstacle.is_some()
    }

    /// Asks for those that are not answered yet. Tells whether all are.
    fn are_answered(&mut self, queries: Vec<Query>) -> bool {
        let observed = self.observed;
        let known = &observed.routers;
        let open = queries.into_iter().filter(|query| !known.answers(query));
        let open: Vec<Want> = open.map(Want::Router).collect();
        let all = open.is_empty();
        self.ask(open);
        all
    }

    /// Why one of them cannot be answered.
    fn why_unread(&self, queries: &[Query]) -> Option<&'a String> {
        let observed = self.observed;
        let unread = |query: &Query| observed.unread.get(&Want::Router(query.clone()));
        queries.iter().find_map(unread)
    }

    /// What is wrong with the objects that the routers are to change. Asks for those.
    pub(in crate::rollout) fn router_problems(&mut self) -> Vec<Problem> {
        let observed = self.observed;
        let known = &observed.routers;
        let mut problems = Vec::new();
        for router in self.routers() {
            let queries = router.queries(known);
            let unavailable = queries
                .iter()
                .find_map(|query| known.why_unavailable(query));
            if !self.are_answered(queries) {
                continue;
            }
            // One version of a kind may do without another.
            let mut found = router.problems(known);
            if found.is_empty() {
                found = self.unknown_ports(&*router);
            }
            match unavailable.filter(|_| !found.is_empty()) {
                Some(why) => {
                    let why = format!("Invalid value: {}: {why}", router.name());
                    problems.push(Problem::new("spec.strategy.canary.trafficRouting", why));
                }
                None => problems.extend(found),
            }
        }
        problems
    }

    /// Ports at which a router's objects lead to Services that have no such port.
    fn unknown_ports(&self, router: &dyn Router) -> Vec<Problem> {
        let observed = self.observed;
        let ports = router.ports(&observed.routers).into_iter();
        let problem = |port: PortUse| port.problem(observed.services.get(&port.service)?);
        ports.filter_map(problem).collect()
    }

    /// Has the routers divide the traffic like this.
    pub(super) fn direct(&mut self, canary: &Canary<'_>, split: &Split) {
        let Some(holder) = Subject::of(self.rollout).map(|subject| Holder::of(&subject)) else {
            return;
        };
        let observed = self.observed;
        let known = holder.without_former(&observed.routers, &observed.versions);
        let (mut writes, mut told) = (Vec::new(), Told::default());
        let is_verifiable = self.is_to_verify(canary, &split.weights);
        for router in self.routers() {
            let mut queries = router.queries(&known);
            queries.extend(router.queries_for(&known, split));
            if let Some(why) = self.why_unread(&queries) {
                self.hinder(&*router, why);
            }
            if !self.are_answered(queries) {
                continue;
            }
            match router.route(&known, split) {
                Ok(wanted) => {
                    if let Some(why) = cannot_be_made(&wanted, &known) {
                        self.hinder(&*router, why);
                        continue;
                    }
                    if is_verifiable {
                        let is_made = wanted.iter().all(|write| write.place().is_none());
                        self.verify(&*router, split, is_made, &mut told);
                    }
                    writes.extend(wanted);
                }
                Err(why) => self.hinder(&*router, &why),
            }
        }
        let idle = split.is_idle.then_some(&*observed.versions);
        let noted = holder.noted(&observed.routers, &known, writes, idle);
        let writes = noted
            .into_iter()
            .map(|write| Change::Route(Box::new(write)));
        self.routing.writes = writes.collect();
        match self.routing.obstacle.clone() {
            Some(why) => self.waits_for = Some(Waiting::new(Reason::TrafficRouting, why)),
            None => self.record(split, is_verifiable.then_some(told)),
        }
    }

    /// Notes that a router cannot divide the traffic.
    fn hinder(&mut self, router: &dyn Router, why: &str) {
        let why = format!("{}: {why}", router.name());
        self.routing.obstacle.get_or_insert(why);
    }

    /// Writes down how the traffic is divided, once all routers do so.
    fn record(&mut self, split: &Split, told: Option<Told>) {
        let weights = &split.weights;
        let before = self.old.canary.weights.as_ref();
        let same = before.is_some_and(|before| {
            (&before.canary, &before.stable, &before.additional)
                == (&weights.canary, &weights.stable, &weights.additional)
        });
        let verified_before = before.filter(|_| same).and_then(|before| before.verified);
        if !same {
            // Another version with the same weight as the one before is no news.
            let difference = difference(before, weights);
            if !difference.is_empty() {
                let message = format!("Traffic weight updated {difference}");
                self.notify("TrafficWeightUpdated", message);
            }
            self.warn_of_excess(split);
        }
        let mut weights = weights.clone();
        weights.verified = verified_before;
        if let Some(told) = told {
            weights.verified = told.verified;
            self.tell_verified(told, verified_before);
        }
        self.next.canary.weights = Some(weights);
    }

    /// Says that the parts are more than there is. They are set as they are wanted: what they come to
    /// is each one's share of their sum.
    fn warn_of_excess(&mut self, Split { weights, whole, .. }: &Split) {
        let parts = weights.additional.iter().chain([&weights.canary]);
        let sum: i32 = parts.map(|part| part.weight).sum();
        if sum > *whole {
            let message = format!(
                "The new version and experiments get {sum} of {whole}: nothing is left for the stable \
                 version"
            );
            self.warn("TrafficWeightExceeded", message);
        }
    }

    fn tell_verified(&mut self, told: Told, before: Option<bool>) {
        self.next.alb = told.detail.albs.last().cloned();
        self.next.albs = told.detail.albs;
        if told.verified == Some(false)
            && let Ok(again) = self.observed.now.checked_add(VERIFY_AGAIN)
        {
            self.wake_at(again);
        }
        for why in &told.failures {
            if !self.is_known_to_wait_for(why) {
                self.warn("WeightVerifyError", why.clone());
            }
        }
        self.routing.untold = told.failures;
        // That a weight is not confirmed is known before anybody has been asked about it.
        if told.verified == before && self.next.albs == self.old.albs {
            return;
        }
        for notice in told.detail.notices {
            self.notify(notice.reason, notice.message);
        }
        for notice in told.detail.warnings {
            self.warn(notice.reason, notice.message);
        }
    }

    /// Whether that is what the Rollout waits for since a pass before this one.
    pub(in crate::rollout) fn is_known_to_wait_for(&self, why: &str) -> bool {
        let waiting = status::condition(&self.old, &ConditionType::Waiting);
        waiting.is_some_and(|waiting| waiting.message.contains(why))
    }

    /// Why some routers cannot tell how the traffic is divided by now.
    pub(in crate::rollout) fn why_untold(&self) -> String {
        self.routing.untold.join("; ")
    }

    /// Says what a step asks of routers that cannot do it.
    pub(super) fn tell_what_is_asked_in_vain(&mut self, index: i32) {
        let subject = Subject::of(self.rollout);
        let index = usize::try_from(index).ok();
        let step = index.and_then(|index| subject.as_ref()?.canary.steps.get(index));
        let versions = &self.observed.versions;
        let asked = subject.as_ref().zip(step);
        let asked = asked.map(|(it, step)| traffic_routers::asked_in_vain(it, versions, step));
        for InVain { why, .. } in asked.into_iter().flatten() {
            self.warn("TrafficRoutingUnsupported", why);
        }
    }

    /// The writes of this pass.
    pub(super) fn take_routes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.routing.writes)
    }

    /// Whether the routers' word is needed now: at the step of a weight and at the end, and after an
    /// abort as long as pods could still be needed.
    fn is_to_verify(&self, canary: &Canary<'_>, weights: &TrafficWeights) -> bool {
        if self.is_promoted() {
            return false;
        }
        if self.next.abort {
            let new = self.revisions.new.as_ref();
            return new.is_some_and(|new| new.pods.wanted > 0);
        }
        let step = self.plan.step(self.next.current_step_index);
        matches!(step, Some(Step::SetWeight)) || weights.canary.weight == canary.whole()
    }

    /// Hears whether a router has divided the traffic. What is only to be written now has not come
    /// about.
    fn verify(&mut self, router: &dyn Router, split: &Split, is_made: bool, told: &mut Told) {
        let observed = self.observed;
        match router.verify(&observed.routers, split) {
            Verification::NotApplicable => {}
            _ if !is_made => told.add(Verified::default()),
            Verification::Ask(queries) => match self.why_unread(&queries) {
                Some(why) => told.fail(router, why),
                None => {
                    self.are_answered(queries);
                }
            },
            Verification::Failed(why) => told.fail(router, &why),
            Verification::Told(verified) => told.add(verified),
        }
    }
}

/// Why an object cannot be made: nobody can tell whether it is there, or its kind is not.
fn cannot_be_made<'k>(writes: &[Write], known: &'k Known) -> Option<&'k str> {
    let made = writes.iter().filter_map(|write| match write {
        Write::Create { place, .. } => Some(Query::One(place.clone())),
        Write::Update { .. } | Write::Delete { .. } | Write::Call(_) => None,
    });
    { made }.find_map(|query| known.why_unavailable(&query))
}

fn difference(before: Option<&TrafficWeights>, now: &TrafficWeights) -> String {
    let Some(before) = before else {
        return format!("to {}", now.canary.weight);
    };
    let (from, to) = (before.canary.weight, now.canary.weight);
    let mut parts = Vec::new();
    if from != to {
        parts.push(format!("from {from} to {to}"));
    }
    if before.additional != now.additional {
        let one = |part: &WeightDestination| {
            format!(
                "{{{} {} {}}}",
                part.weight, part.service_name, part.pod_template_hash
            )
        };
        let all: Vec<String> = now.additional.iter().map(one).collect();
        parts.push(format!("additional: [{}]", all.join(" ")));
    }
    parts.join(", ")
}
