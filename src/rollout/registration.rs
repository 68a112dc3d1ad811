//! Whether AWS knows the pods of a version that serves alone from now on, before the one before it
//! loses its own.

use kube::ResourceExt as _;

use crate::api::CanaryStrategy;
use crate::rollout::canary::VERIFY_AGAIN;
use crate::rollout::change::Want;
use crate::rollout::decide::Pass;
use crate::rollout::revisions::Member;
use crate::rollout::waiting::{Reason, Waiting};
use crate::traffic_routers::{Subject, Verification, registered};

impl Pass<'_> {
    /// Whether the pods of a promoted canary are registered with the load balancer, as far as that
    /// counts: before versions before it get the time at which their pods go.
    ///
    /// # Source
    /// `shouldVerifyTargetGroup` in `rollout/service.go` of Argo Rollouts, which goes on asking when
    /// all is done.
    pub(super) fn is_promoted_canary_registered(&mut self, written: &CanaryStrategy) -> bool {
        let routing = written.traffic_routing.as_deref();
        let mut others = self.revisions.others.iter();
        let counts = others.any(|other| other.pods.wanted > 0 && other.deadline().is_none());
        if !self.is_promoted() || !counts || routing.is_none_or(|it| it.alb.is_none()) {
            return true;
        }
        let subject = Subject::of(self.rollout);
        let service = subject.map(|subject| subject.services_in_turn().stable.to_owned());
        service.is_none_or(|service| self.is_registered(&service))
    }

    /// Whether all pods of the wanted version are registered where AWS leads the requests for a
    /// Service to. Where AWS is not asked, they are.
    pub(super) fn is_registered(&mut self, service: &str) -> bool {
        let observed = self.observed;
        let Some(bindings) = &observed.versions.target_group_bindings else {
            return true;
        };
        let new = self.revisions.new.as_ref().map(Member::version);
        let Some((service, new)) = observed.services.get(service).zip(new) else {
            return true;
        };
        if self.selected_by(&service.name_any()) != Some(new.hash.as_str()) {
            // It is to be switched in this pass; its change brings another one.
            return false;
        }
        let (reason, why) = match registered(&observed.routers, service, &new, bindings) {
            Verification::NotApplicable => return true,
            Verification::Ask(queries) => {
                self.ask(queries.into_iter().map(Want::Router));
                return false;
            }
            Verification::Told(told) if told.is_verified => {
                for notice in told.notices {
                    self.notify(notice.reason, notice.message);
                }
                return true;
            }
            Verification::Told(told) => {
                let missing: Vec<String> = (told.warnings.into_iter())
                    .map(|notice| notice.message)
                    .collect();
                ("TargetGroupUnverified", missing.join("; "))
            }
            Verification::Failed(why) => ("TargetGroupVerifyError", why),
        };
        self.wait_for_registration(reason, why, &new.replica_set);
        false
    }

    fn wait_for_registration(&mut self, reason: &str, why: String, replica_set: &str) {
        let what = if why.is_empty() {
            format!("a Service does not lead to all pods of ReplicaSet `{replica_set}` yet")
        } else {
            if !self.is_known_to_wait_for(&why) {
                self.warn(reason, why.clone());
            }
            why
        };
        self.waits_for = Some(Waiting::new(Reason::Router, what));
        if let Ok(again) = self.observed.now.checked_add(VERIFY_AGAIN) {
            self.wake_at(again);
        }
    }
}
