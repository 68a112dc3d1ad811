//! What people wait for a Rollout to be.

use std::fmt;
use std::str::FromStr;

use crate::api::{Rollout, RolloutPhase};
use crate::rollout::seen;

/// What a Rollout is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// In this phase.
    Phase(RolloutPhase),
    /// At this step, as `get rollout` numbers it, or beyond.
    Step(i32),
}

/// How far a Rollout is from a goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is there.
    Reached,
    /// It may still come there.
    UnderWay,
    /// It will not come there unless somebody does something.
    Lost(String),
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let step = text.strip_prefix("step=").map(str::parse::<i32>);
        match (text.to_ascii_lowercase().as_str(), step) {
            ("healthy", _) => Ok(Self::Phase(RolloutPhase::Healthy)),
            ("paused", _) => Ok(Self::Phase(RolloutPhase::Paused)),
            ("degraded", _) => Ok(Self::Phase(RolloutPhase::Degraded)),
            (_, Some(Ok(step))) if step >= 0 => Ok(Self::Step(step)),
            _ => Err("expected healthy, paused, degraded or step=N".to_owned()),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phase(phase) => f.write_str(&phase.to_string().to_lowercase()),
            Self::Step(step) => write!(f, "at step {step}"),
        }
    }
}

impl Goal {
    /// How far the Rollout is from it.
    #[must_use]
    pub fn progress(self, rollout: &Rollout) -> Progress {
        let (phase, message) = seen(rollout);
        let reached = match self {
            Self::Phase(wanted) => phase == wanted,
            Self::Step(step) => {
                let status = rollout.status.as_ref();
                let index = status.and_then(|status| status.current_step_index);
                let is_of_this_spec = !message.starts_with("waiting for rollout spec");
                is_of_this_spec && phase != RolloutPhase::Degraded && index >= Some(step)
            }
        };
        if reached {
            return Progress::Reached;
        }
        match phase {
            RolloutPhase::Degraded => Progress::Lost(message),
            RolloutPhase::Healthy | RolloutPhase::Progressing | RolloutPhase::Paused => {
                Progress::UnderWay
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_goal_is_reached_or_lost_or_neither() {
        let rollout = |phase: &str, index: i32, observed: &str| -> Rollout {
            serde_json::from_value(json!({
                "metadata": { "generation": 2 },
                "spec": { "strategy": { "canary": { "steps": [{}, {}] } } },
                "status": {
                    "phase": phase, "message": "why", "currentStepIndex": index,
                    "observedGeneration": observed,
                },
            }))
            .unwrap()
        };
        let lost = Progress::Lost("why".into());
        let cases = vec![
            ("healthy", rollout("Healthy", 2, "2"), Progress::Reached),
            ("Healthy", rollout("Healthy", 2, "1"), Progress::UnderWay),
            ("healthy", rollout("Paused", 1, "2"), Progress::UnderWay),
            ("healthy", rollout("Degraded", 0, "2"), lost.clone()),
            ("paused", rollout("Paused", 1, "2"), Progress::Reached),
            ("degraded", rollout("Degraded", 0, "2"), Progress::Reached),
            ("step=1", rollout("Progressing", 1, "2"), Progress::Reached),
            ("step=1", rollout("Progressing", 0, "2"), Progress::UnderWay),
            ("step=1", rollout("Healthy", 2, "1"), Progress::UnderWay),
            ("step=1", rollout("Degraded", 1, "2"), lost),
        ];
        for (goal, rollout, expected) in cases {
            let goal: Goal = goal.parse().unwrap();
            assert_eq!(goal.progress(&rollout), expected, "{goal}");
        }
        for text in ["", "step", "step=", "step=-1", "step=x", "sick"] {
            assert!(text.parse::<Goal>().is_err(), "{text}");
        }
    }
}
