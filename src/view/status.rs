//! How an object is, in one word and one icon.

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::text::{Colour, Text};
use crate::api::{Experiment, Phase};

/// An icon in its colour.
#[must_use]
pub(super) fn icon(icon: char) -> Text {
    let colour = match icon {
        '◷' | '?' => Some(Colour::Yellow),
        '◌' => Some(Colour::Blue),
        '⚠' | '✖' => Some(Colour::Red),
        '✔' => Some(Colour::Green),
        _ => None,
    };
    Text::of(icon.to_string(), colour)
}

/// An icon and a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) icon: char,
    pub(super) word: String,
}

impl Status {
    fn new(icon: char, word: impl Into<String>) -> Self {
        Self {
            icon,
            word: word.into(),
        }
    }

    pub(super) fn text(&self) -> Text {
        icon(self.icon).and(format!(" {}", self.word))
    }
}

/// Of a Rollout's phase.
pub(super) fn rollout(phase: &str) -> Status {
    let icon = match phase {
        "Healthy" => '✔',
        "Degraded" => '✖',
        "Progressing" => '◌',
        "Paused" => '॥',
        "Error" | "InvalidSpec" => '⚠',
        "Unknown" => '?',
        "ScaledDown" => '•',
        _ => ' ',
    };
    Status::new(icon, phase)
}

/// Of the phase of an Experiment, an AnalysisRun or a Job.
pub(super) fn phase(phase: Option<Phase>) -> Status {
    let icon = match phase {
        Some(Phase::Successful) => '✔',
        Some(Phase::Failed) => '✖',
        Some(Phase::Error) => '⚠',
        Some(Phase::Inconclusive) => '?',
        Some(Phase::Running) => '◌',
        Some(Phase::Pending) => '◷',
        None => ' ',
    };
    Status::new(icon, phase.map_or("", Phase::as_str))
}

/// The phase of an Experiment.
pub(super) fn experiment(experiment: &Experiment) -> Option<Phase> {
    experiment.status.as_ref().and_then(|status| status.phase)
}

/// Names of what is under way are blue.
pub(super) fn name_colour(phase: Option<Phase>) -> Option<Colour> {
    match phase {
        Some(Phase::Pending | Phase::Running) => Some(Colour::Blue),
        Some(Phase::Successful | Phase::Failed | Phase::Error | Phase::Inconclusive) | None => None,
    }
}

/// Of a ReplicaSet.
///
/// # Source
/// `getReplicaSetCondition` in `pkg/kubectl-argo-rollouts/info/replicaset_info.go`.
pub(super) fn replica_set(set: &ReplicaSet) -> Status {
    let status = set.status.clone().unwrap_or_default();
    let wanted = set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let seen = status.observed_generation.unwrap_or_default();
    let mut conditions = status.conditions.iter().flatten();
    if set.metadata.generation.unwrap_or_default() > seen {
        Status::new('◌', "Progressing")
    } else if conditions.any(|it| it.type_ == "ReplicaFailure" && it.status == "True") {
        Status::new('✖', "ReplicaFailure")
    } else if status.available_replicas.unwrap_or_default() < wanted {
        Status::new('◌', "Progressing")
    } else if wanted == 0 {
        Status::new('•', "ScaledDown")
    } else {
        Status::new('✔', "Healthy")
    }
}

/// Of a pod, from its word.
///
/// # Source
/// `getPodIcon` in `pkg/kubectl-argo-rollouts/info/pod_info.go`.
pub(super) fn pod(word: &str) -> Status {
    let icon = match word {
        _ if word.starts_with("Init:") => '◌',
        _ if word.starts_with("Signal:") || word.starts_with("ExitCode:") => '✖',
        _ if word.ends_with("Error") || word.starts_with("Err") => '⚠',
        "Pending" | "Terminating" | "ContainerCreating" => '◌',
        "Running" | "Completed" => '✔',
        "Failed" | "InvalidImageName" | "CrashLoopBackOff" => '✖',
        "ImagePullBackOff" | "RegistryUnavailable" => '⚠',
        "Unknown" => '?',
        _ => ' ',
    };
    Status::new(icon, word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_replica_set_is_as_its_pods_are() {
        let failing = json!([{ "type": "ReplicaFailure", "status": "True" }]);
        let cases = [
            (2, json!({ "observedGeneration": 1 }), "Progressing"),
            (
                1,
                json!({ "observedGeneration": 1, "conditions": failing }),
                "ReplicaFailure",
            ),
            (
                1,
                json!({ "observedGeneration": 1, "availableReplicas": 1 }),
                "Progressing",
            ),
            (
                1,
                json!({ "observedGeneration": 1, "availableReplicas": 2 }),
                "Healthy",
            ),
        ];
        for (generation, status, expected) in cases {
            let mut status = status;
            status["replicas"] = json!(2);
            let set = json!({
                "metadata": { "generation": generation },
                "spec": { "replicas": 2, "selector": {} }, "status": status,
            });
            let set = serde_json::from_value(set).unwrap();
            assert_eq!(replica_set(&set).word, expected);
        }
        let none = json!({ "spec": { "replicas": 0, "selector": {} } });
        let none = serde_json::from_value(none).unwrap();
        assert_eq!(replica_set(&none), Status::new('•', "ScaledDown"));
    }

    #[test]
    fn the_icon_of_a_pod_says_how_serious_its_word_is() {
        let cases = [
            ("Init:0/1", '◌'),
            ("Init:Error", '◌'),
            ("ExitCode:1", '✖'),
            ("ErrImagePull", '⚠'),
            ("Error", '⚠'),
            ("Running", '✔'),
            ("CrashLoopBackOff", '✖'),
            ("ImagePullBackOff", '⚠'),
            ("Terminating", '◌'),
            ("Evicted", ' '),
        ];
        for (word, icon) in cases {
            assert_eq!(pod(word).icon, icon, "{word}");
        }
    }
}
