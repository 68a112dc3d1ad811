//! Giving ReplicaSets their pods, and deleting those that history need not keep.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::change::Change;
use super::decide::Pass;
use super::labels::{DESIRED_REPLICAS, SCALE_DOWN_DEADLINE};
use super::revisions::Member;

/// What becomes of the time at which a ReplicaSet is scaled down, as its annotation tells it. One
/// without pods has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    /// It stays as it is.
    Keep,
    /// It is no longer meant.
    Drop,
    /// It is this.
    Set(Timestamp),
}

impl Pass<'_> {
    /// Gives a ReplicaSet this number of pods, for as long as they are needed. Tells whether it had
    /// another.
    pub(super) fn resize(&mut self, member: &Member, replicas: i32) -> bool {
        self.resize_until(member, replicas, Deadline::Drop)
    }

    /// Gives a ReplicaSet this number of pods. Tells whether it had another.
    pub(super) fn resize_until(
        &mut self,
        member: &Member,
        replicas: i32,
        deadline: Deadline,
    ) -> bool {
        let resized = member.pods.wanted != replicas;
        let mut annotations = Map::new();
        if resized || member.desired() != Some(self.plan.replicas) {
            let desired = self.plan.replicas.to_string();
            annotations.insert(DESIRED_REPLICAS.into(), desired.into());
        }
        match deadline {
            Deadline::Set(time) if replicas > 0 => {
                annotations.insert(SCALE_DOWN_DEADLINE.into(), time.to_string().into());
            }
            Deadline::Keep if replicas > 0 => {}
            Deadline::Keep | Deadline::Drop | Deadline::Set(_) => {
                if member.deadline().is_some() {
                    annotations.insert(SCALE_DOWN_DEADLINE.into(), Value::Null);
                }
            }
        }
        if annotations.is_empty() {
            return false;
        }
        let mut patch = json!({ "metadata": { "annotations": annotations } });
        if resized {
            patch["spec"] = json!({ "replicas": replicas });
            self.tell_resized(member, replicas);
        }
        self.changes.push(Change::Scale(member.into(), patch));
        self.revisions.resized(&member.name, replicas);
        resized
    }

    fn tell_resized(&mut self, member: &Member, replicas: i32) {
        let direction = if replicas > member.pods.wanted {
            "up"
        } else {
            "down"
        };
        let message = format!(
            "Scaled {direction} ReplicaSet {} (revision {}) from {} to {replicas}",
            member.name, member.revision, member.pods.wanted
        );
        self.notify("ScalingReplicaSet", message);
    }

    /// Deletes old ReplicaSets beyond the history limit, with their AnalysisRuns.
    pub(super) fn trim_history(&mut self) {
        let others = self.revisions.others.iter().filter(|other| !other.leaving);
        let limit = usize::try_from(self.rollout.spec.revision_history_limit()).unwrap_or(0);
        let excess = others.clone().count().saturating_sub(limit);
        let unused =
            |other: &&Member| other.pods.wanted == 0 && other.replicas == 0 && other.up_to_date;
        let deleted: Vec<Member> = others.take(excess).filter(unused).cloned().collect();
        for old in deleted {
            self.changes.push(Change::DeleteReplicaSet((&old).into()));
        }
    }
}
