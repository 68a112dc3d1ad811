//! The consequence that an AnalysisRun carries itself, for targets that nothing else of ours moves.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::reading::{words, written};
use super::values::Phase;

written! {
    /// What happens to a Rollout or Deployment when this run ends. Applied exactly once.
    pub struct Gate {
        required {
            /// What is moved; in the namespace of the run.
            target: GateTarget,
        }
        optional {
            /// When the run is Successful. Default: Promote for a Rollout, None for a Deployment.
            #[schemars(extend("enum" = ["Promote", "PromoteFull", "None"]))]
            on_success: Option<GateAction>,
            /// When the run is Failed. Default: Abort for a Rollout, Undo for a Deployment.
            #[schemars(extend("enum" = ["Abort", "Undo", "Pause", "None"]))]
            on_failure: Option<GateAction>,
            /// When the run is Inconclusive. Default: Pause.
            #[schemars(extend("enum" = ["Pause", "None"]))]
            on_inconclusive: Option<GateAction>,
            /// When the run is in Error: nothing could be measured. Default: Pause.
            #[schemars(extend("enum" = ["Abort", "Undo", "Pause", "None"]))]
            on_error: Option<GateAction>,
        }
    }
}

impl Gate {
    /// What is to be done when the run has ended in `phase`, defaults filled in.
    #[must_use]
    pub fn action(&self, phase: Phase) -> GateAction {
        let (success, failure) = match self.target.kind {
            GateTargetKind::Rollout => (GateAction::Promote, GateAction::Abort),
            GateTargetKind::Deployment => (GateAction::None, GateAction::Undo),
        };
        match phase {
            Phase::Successful => self.on_success.unwrap_or(success),
            Phase::Failed => self.on_failure.unwrap_or(failure),
            Phase::Inconclusive => self.on_inconclusive.unwrap_or(GateAction::Pause),
            Phase::Error => self.on_error.unwrap_or(GateAction::Pause),
            Phase::Pending | Phase::Running => GateAction::None,
        }
    }
}

written! {
    /// The object that a gate moves.
    pub struct GateTarget {
        required {
            /// Rollout or Deployment.
            kind: GateTargetKind,
            /// Its name.
            name: String,
        }
    }
}

words! {
    /// The kinds that a gate can move.
    #[derive(Default)]
    pub enum GateTargetKind {
        /// A Rollout, whichever controller runs it.
        #[default]
        Rollout = "Rollout",
        /// A plain Deployment.
        Deployment = "Deployment",
    }
}

words! {
    /// What a gate does to its target.
    pub enum GateAction {
        /// End the current pause (Rollout).
        Promote = "Promote",
        /// Skip all remaining steps (Rollout).
        PromoteFull = "PromoteFull",
        /// Go back to the stable revision (Rollout).
        Abort = "Abort",
        /// Go back to the previous revision (Deployment).
        Undo = "Undo",
        /// Stop where it stands.
        Pause = "Pause",
        /// Nothing.
        None = "None",
    }
}

written! {
    /// What a gate has done.
    pub struct GateStatus {
        optional {
            /// The target's revision when the run began; a verdict never touches another one.
            target_revision: Option<String>,
            /// The verdict that was acted on.
            phase: Option<Phase>,
            /// What was to be done.
            action: Option<GateAction>,
            /// How that went. Absent until the run has ended.
            outcome: Option<GateOutcome>,
            /// The facts of the target that the action changes, as they were when it was announced.
            observed: String,
            /// Why, in one sentence, when it was not applied.
            message: String,
            /// When the outcome was reached.
            at: Option<Time>,
        }
    }
}

words! {
    /// How a gate's action went.
    pub enum GateOutcome {
        /// It is about to be done: recorded before, so that a restart does not do it twice.
        Pending = "Pending",
        /// The target was patched.
        Applied = "Applied",
        /// The target was in no state that the action fits; nothing was changed.
        Refused = "Refused",
        /// The patch was not accepted; nothing was changed.
        Failed = "Failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_acts_by_what_it_says_or_by_its_target() {
        let rollout = Gate::default();
        let mut deployment = Gate::default();
        deployment.target.kind = GateTargetKind::Deployment;
        let written = Gate {
            on_success: Some(GateAction::PromoteFull),
            on_error: Some(GateAction::None),
            ..Gate::default()
        };
        let cases = [
            (&rollout, Phase::Successful, GateAction::Promote),
            (&rollout, Phase::Failed, GateAction::Abort),
            (&rollout, Phase::Inconclusive, GateAction::Pause),
            (&rollout, Phase::Error, GateAction::Pause),
            (&rollout, Phase::Running, GateAction::None),
            (&deployment, Phase::Successful, GateAction::None),
            (&deployment, Phase::Failed, GateAction::Undo),
            (&written, Phase::Successful, GateAction::PromoteFull),
            (&written, Phase::Error, GateAction::None),
        ];
        for (gate, phase, action) in cases {
            assert_eq!(gate.action(phase), action, "{gate:?} {phase}");
        }
    }
}
