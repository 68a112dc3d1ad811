//! Why a Rollout is where it is: what holds it, since when, what would move it, and what led here.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde::Serialize;

use super::AnalysisView;
use super::age::age;
use super::belongings::Belongings;
use super::pod;
use super::release::metric_rows;
use super::status::{self, icon};
use super::text::{Text, table};
use crate::api::{AnalysisRun, Rollout, RolloutPhase};
use crate::rollout::{labels, seen};

/// How many Events are told.
const EVENTS: usize = 12;

/// How many pods are told.
const PODS: usize = 5;

/// A kind of waiting that only an onlooker can see.
const UNSEEN: &str = "Unseen";

/// Why a Rollout is where it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Why {
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: RolloutPhase,
    /// What holds it, in one sentence; empty if nothing does.
    pub holds: String,
    /// What would move it: each a sentence, commands in backticks.
    pub moves: Vec<String>,
    /// The pods of the wanted version that are not ready, the oldest first.
    pub pods: Vec<Unready>,
    /// What led here, the latest last.
    pub events: Vec<Happened>,
    #[serde(skip)]
    analyses: Vec<AnalysisView>,
}

/// A pod that is not ready.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unready {
    /// Its name.
    pub name: String,
    /// In one word.
    pub status: String,
    /// How many of its containers are ready: `1/2`.
    pub ready: String,
    /// What the cluster says of it; empty if nothing.
    pub message: String,
}

/// An Event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Happened {
    /// When it was last seen.
    pub at: Option<Time>,
    /// Normal or Warning.
    #[serde(rename = "type")]
    pub event_type: String,
    /// In one word.
    pub reason: String,
    /// Kind and name of what it happened to.
    pub about: String,
    /// In a sentence.
    pub message: String,
}

impl Why {
    /// Explains a Rollout. Of `events` those about it, its ReplicaSets and its AnalysisRuns are told.
    /// `typed` is what people type to call the program.
    #[must_use]
    pub fn of(rollout: &Rollout, all: &Belongings, events: &[Event], typed: &str) -> Self {
        let view = all.view_of(rollout);
        let (phase, message) = seen(rollout);
        let unseen = unseen(rollout, &message);
        let waiting = view.waiting.as_ref().filter(|_| unseen.is_none());
        let kind = match waiting {
            Some(waiting) => waiting.kind.as_str(),
            None if unseen.is_some() => UNSEEN,
            None => "",
        };
        let holds = match (waiting, unseen) {
            (_, Some(unseen)) => unseen.to_owned(),
            (Some(waiting), None) => waiting.sentence.clone(),
            (None, None) if phase == RolloutPhase::Healthy => String::new(),
            (None, None) => message,
        };
        Self {
            name: rollout.name_any(),
            phase,
            holds,
            moves: moves(rollout, kind, phase, typed),
            pods: unready(rollout, all),
            events: told(rollout, all, events),
            analyses: view.analyses,
        }
    }

    /// The explanation as it is read.
    #[must_use]
    pub fn lines(&self, now: Timestamp) -> Vec<Text> {
        let head = Text::plain(format!("{} is ", self.name));
        let mut lines = vec![head.and(status::rollout(self.phase.as_str()).text())];
        let mut rows = Vec::new();
        let label = |index: usize, label: &'static str| if index == 0 { label } else { "" };
        if self.holds.is_empty() {
            rows.push(vec!["held by:".into(), "nothing".into()]);
        } else {
            rows.push(vec!["held by:".into(), self.holds.clone().into()]);
        }
        for (index, one) in self.moves.iter().enumerate() {
            rows.push(vec![label(index, "moved by:").into(), one.clone().into()]);
        }
        lines.extend(table(rows));
        if !self.pods.is_empty() {
            lines.extend([Text::default(), "Not ready:".into()]);
            let shown = self.pods.iter().take(PODS);
            lines.extend(table(shown.map(Unready::row).collect()));
            if self.pods.len() > PODS {
                lines.push(format!("and {} more", self.pods.len() - PODS).into());
            }
        }
        let metrics: Vec<_> = self.analyses.iter().flat_map(metric_rows).collect();
        if !metrics.is_empty() {
            lines.extend([Text::default(), "Measured:".into()]);
            lines.extend(table(metrics));
        }
        if !self.events.is_empty() {
            lines.extend([Text::default(), "What led here:".into()]);
            lines.extend(table(self.events.iter().map(|it| it.row(now)).collect()));
        }
        lines
    }
}

impl Unready {
    fn row(&self) -> Vec<Text> {
        vec![
            format!("□ {}", self.name).into(),
            status::pod(&self.status).text(),
            format!("ready:{}", self.ready).into(),
            self.message.clone().into(),
        ]
    }
}

/// What no controller has seen yet, if so.
fn unseen(rollout: &Rollout, message: &str) -> Option<&'static str> {
    let status = rollout.status.as_ref();
    if status.is_none_or(|status| status.observed_generation.is_empty()) {
        return Some("no controller has seen it since it was made");
    }
    message
        .starts_with("waiting for rollout spec")
        .then_some("no controller has seen its last change")
}

/// The pods of the wanted version that are not ready.
fn unready(rollout: &Rollout, all: &Belongings) -> Vec<Unready> {
    let status = rollout.status.as_ref();
    let wanted = status.map_or("", |status| status.current_pod_hash.as_str());
    let is_wanted = |set: &&ReplicaSet| {
        set.labels()
            .get(labels::POD_TEMPLATE_HASH)
            .map(String::as_str)
            == Some(wanted)
    };
    let sets = all.replica_sets_of(rollout).into_iter().filter(is_wanted);
    let pods = sets.flat_map(|set| all.pods_of(set));
    let pods = pods.map(|pod| (pod, pod::state(pod)));
    let unready = pods.filter(|(_, state)| state.ready < state.containers);
    let told = unready.map(|(pod, state)| Unready {
        name: pod.name_any(),
        status: state.word,
        ready: format!("{}/{}", state.ready, state.containers),
        message: pod::complaint(pod),
    });
    told.collect()
}

impl Happened {
    fn row(&self, now: Timestamp) -> Vec<Text> {
        let sign = if self.event_type == "Warning" {
            icon('⚠')
        } else {
            " ".into()
        };
        let ago = self.at.as_ref().map(|at| age(at, now)).unwrap_or_default();
        vec![
            ago.into(),
            sign.and(format!(" {}", self.reason)),
            self.about.clone().into(),
            self.message.clone().into(),
        ]
    }
}

/// What would move a Rollout, by the kind of its waiting (`rollout::waiting::Reason`); without one,
/// as under Argo's controller, by its phase.
fn moves(rollout: &Rollout, kind: &str, phase: RolloutPhase, typed: &str) -> Vec<String> {
    let name = rollout.name_any();
    let promote = format!("`{typed} promote {name}` goes on");
    let abort = format!("`{typed} abort {name}` goes back to the stable version");
    let skip = format!("`{typed} promote {name}` skips it");
    let retry = format!("`{typed} retry rollout {name}` takes the release up again");
    let other = "another pod template begins another release".to_owned();
    // There are no steps to skip: only all that is left.
    let skip = if rollout.spec.strategy.blue_green.is_some() {
        format!("`{typed} promote {name} --full` skips it")
    } else {
        skip
    };
    let pods = format!(
        "`kubectl get pods -n {}` shows them",
        rollout.namespace().unwrap_or_default()
    );
    match kind {
        UNSEEN => vec![
            "a controller that is responsible for it: is one running? `kubectl get pods -A` tells"
                .into(),
        ],
        "Invalid" => vec!["a correct spec; `lint` finds all mistakes of a file".into()],
        "CannotAct" => {
            vec!["it is tried again by itself; what the cluster refuses must change".into()]
        }
        "CannotObserve" => {
            vec!["it is tried again by itself, until the controller can read it".into()]
        }
        "Aborted" => vec![retry, other],
        "PausedByUser" | "Pause" => vec![promote, abort],
        "Inconclusive" => vec![format!("{promote} all the same"), abort],
        "Late" | "ReplicaFailure" => vec![format!("pods that become available; {pods}"), abort],
        "Analysis" => vec!["the verdict of the AnalysisRun".into(), skip, abort],
        "Experiment" => vec!["the end of the Experiment".into(), skip, abort],
        "Plugin" => vec!["the end of the plugin's work".into(), skip, abort],
        "PluginUnusable" => vec!["a controller that has the plugin".into(), skip, abort],
        "Router" => vec!["the router, when it confirms the weight".into(), abort],
        "Restart" => vec!["its time, and pods that become available".into()],
        "Pods" => vec![format!("pods that become available; {pods}")],
        "Service" => vec!["the Service, when it selects the other pods".into()],
        _ => match phase {
            RolloutPhase::Healthy => vec![other],
            RolloutPhase::Paused => vec![promote, abort],
            RolloutPhase::Degraded => vec![retry, other],
            RolloutPhase::Progressing => vec!["it moves by itself".into()],
        },
    }
}

fn told(rollout: &Rollout, all: &Belongings, events: &[Event]) -> Vec<Happened> {
    let mut about: Vec<String> = rollout.uid().into_iter().collect();
    about.extend(
        all.replica_sets_of(rollout)
            .iter()
            .filter_map(|it| it.uid()),
    );
    about.extend(
        all.runs_of(rollout)
            .iter()
            .filter_map(|it| AnalysisRun::uid(it)),
    );
    let is_meant = |event: &&Event| {
        let uid = event.involved_object.uid.as_ref();
        uid.is_some_and(|uid| about.contains(uid))
    };
    // Times have whole seconds. Within one, later versions are later in every cluster that is known.
    let version = |event: &Event| {
        let version = event.metadata.resource_version.as_ref();
        version.and_then(|version| version.parse::<u64>().ok())
    };
    let told = events.iter().filter(is_meant);
    let mut told: Vec<(Option<u64>, Happened)> = told
        .map(|event| (version(event), happened(event)))
        .collect();
    told.sort_by_key(|(version, it)| (it.at.as_ref().map(|at| at.0), *version));
    let latest = told.split_off(told.len().saturating_sub(EVENTS));
    latest.into_iter().map(|(_, it)| it).collect()
}

fn happened(event: &Event) -> Happened {
    let object = &event.involved_object;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let micro = event.event_time.as_ref().map(|time| Time(time.0));
    let last = event.last_timestamp.clone().or(micro);
    Happened {
        at: last.or_else(|| event.metadata.creation_timestamp.clone()),
        event_type: text(&event.type_),
        reason: text(&event.reason),
        about: format!(
            "{}/{}",
            text(&object.kind).to_lowercase(),
            text(&object.name)
        ),
        message: text(&event.message),
    }
}
