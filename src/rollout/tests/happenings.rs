//! What happens to a Rollout and its pods while a law is tried.

use super::*;
use crate::api::Experiment;

#[derive(Debug, Clone)]
pub(super) enum Happening {
    Release(u8),
    /// So many pods of each version become available.
    Pods(i32),
    /// Seconds go by.
    Wait(i64),
    Abort,
    Retry,
    Promote,
    PromoteFull,
    /// The first thing that is open is judged.
    Verdict(Phase),
    Size(i32),
    Hold(bool),
}

impl World {
    /// Without a pass of the controller.
    pub(super) fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Release(version) => self.release(&format!("web:{version}")),
            Happening::Pods(at_once) => self.kubelet(*at_once),
            Happening::Wait(seconds) => self.now += SignedDuration::from_secs(*seconds),
            Happening::Abort => self.abort(),
            Happening::Retry => self.retry(),
            Happening::Promote => self.promote(),
            Happening::PromoteFull => self.change_status(|status| status.promote_full = true),
            Happening::Verdict(phase) => {
                let run = self.runs.iter().find(|run| run.status.is_none());
                let trial = self.experiments.iter().find(|it| it.status.is_none());
                if let Some(name) = run.map(AnalysisRun::name_any) {
                    self.end_run(&name, *phase, "");
                } else if let Some(name) = trial.map(Experiment::name_any) {
                    self.end_experiment(&name, *phase, "");
                }
            }
            Happening::Size(replicas) => {
                self.change_spec(|spec| spec.replicas = Some(*replicas));
            }
            Happening::Hold(held) => self.change_spec(|spec| spec.paused = *held),
        }
    }
}
