//! What a Rollout waits for, in one sentence: object, value, limit and since when. The condition
//! `Waiting` carries it; a Rollout that waits for nothing has none.

mod sentences;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::change::Notice;
use super::status;
use crate::api::{ConditionStatus, ConditionType, RolloutStatus};

pub(super) use sentences::of;

/// The kinds of waiting: the reason of the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// For another spec.
    Invalid,
    /// For a change that the cluster refuses or fails to make.
    CannotAct,
    /// For something that cannot be read.
    CannotObserve,
    /// For somebody to retry, or to apply another template.
    Aborted,
    /// For `spec.paused` to be false.
    PausedByUser,
    /// For somebody to decide what an analysis or an Experiment could not.
    Inconclusive,
    /// For pods that did not come in time.
    Late,
    /// For pods that cannot be made.
    ReplicaFailure,
    /// For a time, or for somebody to promote.
    Pause,
    /// For an AnalysisRun.
    Analysis,
    /// For an Experiment.
    Experiment,
    /// For a plugin.
    Plugin,
    /// For a plugin that there is not.
    PluginUnusable,
    /// For a router to divide the traffic.
    TrafficRouting,
    /// For the router to confirm a weight, or that it knows all pods.
    Router,
    /// For a restart: its time, or its pods.
    Restart,
    /// For pods to come or go.
    Pods,
    /// For a Service to select other pods.
    Service,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::CannotAct => "CannotAct",
            Self::CannotObserve => "CannotObserve",
            Self::Aborted => "Aborted",
            Self::PausedByUser => "PausedByUser",
            Self::Inconclusive => "Inconclusive",
            Self::Late => "Late",
            Self::ReplicaFailure => "ReplicaFailure",
            Self::Pause => "Pause",
            Self::Analysis => "Analysis",
            Self::Experiment => "Experiment",
            Self::Plugin => "Plugin",
            Self::PluginUnusable => "PluginUnusable",
            Self::TrafficRouting => "TrafficRoutingError",
            Self::Router => "Router",
            Self::Restart => "Restart",
            Self::Pods => "Pods",
            Self::Service => "Service",
        }
    }
}

/// Why a Rollout does not move.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    reason: Reason,
    /// Without an end: it goes on with since when.
    what: String,
    since: Option<Time>,
}

impl Waiting {
    /// Since it began to wait for this.
    pub(super) fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self {
            reason,
            what: what.into(),
            since: None,
        }
    }

    /// Since a time that is known otherwise.
    fn since(mut self, time: Option<&Time>) -> Self {
        self.since = time.cloned();
        self
    }
}

fn obstacle(reason: Reason, what: &str) -> Notice {
    let (reason, message) = if reason == Reason::TrafficRouting {
        (reason.as_str(), what.to_owned())
    } else {
        let message = format!("Reconciliation failed with error: {what}");
        ("ReconciliationError", message)
    };
    Notice {
        warning: true,
        reason: reason.to_owned(),
        message,
    }
}

/// Writes into the status what is waited for. Returns what there is to tell: each kind of waiting
/// once, each obstacle once.
pub(super) fn record(
    status: &mut RolloutStatus,
    now: &Time,
    waiting: Option<Waiting>,
) -> Option<Notice> {
    let before = status::condition(status, &ConditionType::Waiting).cloned();
    let Some(Waiting {
        reason,
        what,
        since,
    }) = waiting
    else {
        status
            .conditions
            .retain(|condition| condition.condition_type != ConditionType::Waiting);
        return None;
    };
    let same = before.filter(|before| before.reason == reason.as_str());
    let since = since
        .or_else(|| same.as_ref()?.last_transition_time.clone())
        .unwrap_or_else(|| now.clone());
    let message = format!("{what}; since {}", since.0);
    if same.is_none() {
        // Another kind of waiting begins now, although the condition was true before.
        status
            .conditions
            .retain(|condition| condition.condition_type != ConditionType::Waiting);
    }
    let said = status::Said {
        condition_type: ConditionType::Waiting,
        status: ConditionStatus::True,
        reason: reason.as_str(),
        message: message.clone(),
    };
    status::set(status, now.clone(), status::Fresh::No, said);
    match reason {
        // Told as what they are, and by what moves pods.
        Reason::Invalid | Reason::Aborted | Reason::Pods => None,
        Reason::CannotAct
        | Reason::CannotObserve
        | Reason::PluginUnusable
        | Reason::TrafficRouting => {
            let known = same.is_some_and(|same| same.message.starts_with(&what));
            (!known).then(|| obstacle(reason, &what))
        }
        Reason::PausedByUser
        | Reason::Inconclusive
        | Reason::Late
        | Reason::ReplicaFailure
        | Reason::Pause
        | Reason::Analysis
        | Reason::Experiment
        | Reason::Plugin
        | Reason::Router
        | Reason::Restart
        | Reason::Service => same.is_none().then(|| Notice {
            warning: false,
            reason: "RolloutWaiting".into(),
            message,
        }),
    }
}
