//! A canary's way: one pass after the other, until the new version is the stable one.

mod experiments;
mod plugins;
mod pods;
mod routers;
mod sizes;
mod steps;
mod traffic;

use super::decide::Pass;
use super::plan::Canary;
use crate::api::{PingPongSide, TrafficWeights};

pub use plugins::{PluginAnswer, PluginCall};
pub(super) use routers::{Routing, VERIFY_AGAIN};

impl Pass<'_> {
    /// One pass of an update that is under way, or over.
    pub(super) fn progress(&mut self, canary: &Canary<'_>) {
        self.hear_wishes();
        self.check_deadline();
        let paused = self.next.pause_conditions.len();
        self.attend_experiment();
        self.analyse(canary);
        if self.asks() {
            return;
        }
        if self.next.abort {
            self.go_back();
        }
        self.attend_plugins();
        self.route(canary);
        self.trim_history();
        let first = self.changes.len();
        let newly_paused = self.next.pause_conditions.len() > paused;
        let scaled = !newly_paused && self.scale(canary);
        let done = !newly_paused && !self.next.abort && self.is_step_done(canary, scaled);
        if !self.promote(canary) && !self.next.abort && done {
            self.complete_step();
        }
        self.switch_services_between(canary, first);
    }

    /// Pods come first, then Services select them, then weights move, then others go: no Service is
    /// left without pods, no weight leads to nobody, and a Service or router that cannot be changed
    /// keeps nobody from getting pods.
    fn switch_services_between(&mut self, canary: &Canary<'_>, first: usize) {
        let moves = self.changes.split_off(first);
        let (come, go): (Vec<_>, Vec<_>) =
            moves.into_iter().partition(|change| self.is_growth(change));
        self.changes.extend(come);
        self.switch_stable_service(canary);
        let routes = self.take_routes();
        if self.is_canary_left() {
            self.changes.extend(routes);
            self.switch_tested_services(canary);
        } else {
            self.switch_tested_services(canary);
            self.changes.extend(routes);
        }
        self.changes.extend(go);
    }

    /// Whether traffic goes away from the canary in this pass.
    fn is_canary_left(&self) -> bool {
        let weight = |weights: &Option<TrafficWeights>| {
            weights.as_ref().map_or(0, |weights| weights.canary.weight)
        };
        weight(&self.next.canary.weights) < weight(&self.old.canary.weights)
    }

    /// The effects of an abort, whoever asked for it.
    pub(super) fn go_back(&mut self) {
        self.next.pause_conditions.clear();
        let start = if self.is_rollback_to_stable() {
            self.end()
        } else {
            Some(0)
        };
        self.next.current_step_index = self.end().and(start);
    }

    /// Whether nothing of the update's trials counts: it is over, off, or has nothing to try.
    pub(super) fn is_beyond_trials(&self) -> bool {
        self.is_promoted()
            || self.next.abort
            || self.next.promote_full
            || self.skips_the_steps()
            || self.is_first_version()
    }

    /// The weight that the canary has now, as the steps ask for it.
    fn weight(&self, canary: &Canary<'_>) -> i32 {
        if self.next.promote_full || self.is_first_version() || self.is_promoted() {
            canary.whole()
        } else if self.next.abort {
            0
        } else {
            canary.weight(self.next.current_step_index)
        }
    }

    /// Makes the wanted version the stable one, if it is time. Tells whether it is.
    fn promote(&mut self, canary: &Canary<'_>) -> bool {
        let Some(reason) = self.reason_to_promote(canary) else {
            return false;
        };
        if self.become_stable(&reason) && canary.written.ping_pong.is_some() {
            let side = &mut self.next.canary.stable_ping_pong;
            *side = Some(match side {
                Some(PingPongSide::Ping) => PingPongSide::Pong,
                Some(PingPongSide::Pong | PingPongSide::Other(_)) | None => PingPongSide::Ping,
            });
        }
        true
    }

    fn reason_to_promote(&self, canary: &Canary<'_>) -> Option<String> {
        if self.is_first_version() {
            return Some("Initial deploy".into());
        }
        let new = self.revisions.new.as_ref()?;
        let enough = new.pods.available >= self.plan.replicas
            || (canary.threshold.is_some() && canary.is_far_enough(new.pods, self.plan.replicas));
        if self.next.abort || !enough || self.is_end_unverified(canary) {
            return None;
        }
        if self.is_routing_hindered() && !self.is_promoted() {
            return None;
        }
        if self.next.promote_full {
            return Some("Full promotion requested".into());
        }
        if self.is_promoted() {
            return Some("Fast rollback".into());
        }
        if self.is_rollback_within_window() {
            return Some("Rollback within window".into());
        }
        let steps = self.plan.step_count();
        let held = self.is_held();
        let over = self.end().is_none() || self.next.current_step_index == Some(steps);
        (over && !held).then(|| format!("Completed all {steps} canary steps"))
    }
}
