//! A Rollout or an Experiment and all that it owns, as a tree.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::age::{age, human_duration};
use super::belongings::{Belongings, revision};
use super::images;
use super::pod;
use super::status::{self, Status, icon};
use super::tags::{Tag, in_table, tags};
use super::text::{Text, table};
use crate::api::{AnalysisRun, Experiment, Rollout};
use crate::rollout::{labels, seen};

/// How much is told of each object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// As Argo's plugin tells it.
    Usual,
    /// With images and nodes.
    Wide,
}

/// An object and what it owns.
struct Node {
    icon: char,
    name: Text,
    kind: &'static str,
    /// None of a revision, which is no object.
    status: Option<Status>,
    created: Option<Time>,
    info: Text,
    image: String,
    runs_on: String,
    children: Vec<Node>,
}

impl Node {
    fn new(icon: char, kind: &'static str, name: impl Into<Text>) -> Self {
        Self {
            icon,
            name: name.into(),
            kind,
            status: None,
            created: None,
            info: Text::default(),
            image: String::new(),
            runs_on: String::new(),
            children: Vec::new(),
        }
    }
}

/// The table under the header of a Rollout.
pub(super) fn of_rollout(
    rollout: &Rollout,
    all: &Belongings,
    now: Timestamp,
    detail: Detail,
) -> Vec<Text> {
    let (phase, _) = seen(rollout);
    let mut root = Node::new('⟳', "Rollout", rollout.name_any());
    root.status = Some(status::rollout(phase.as_str()));
    root.created
        .clone_from(&rollout.metadata.creation_timestamp);
    let sets = all.replica_sets_of(rollout);
    let experiments = all.experiments_of(rollout);
    let runs = all.runs_of(rollout);
    let numbers = sets.iter().map(|it| revision(*it));
    let numbers = numbers.chain(experiments.iter().map(|it| revision(*it)));
    let numbers: BTreeSet<i64> = numbers.chain(runs.iter().map(|it| revision(*it))).collect();
    for number in numbers.into_iter().rev() {
        let mut node = Node::new('#', "", format!("revision:{number}"));
        let of = sets.iter().filter(|it| revision(**it) == number);
        node.children.extend(of.map(|set| {
            let tags = in_table(tags(rollout, set));
            replica_set(set, &tags, all, now)
        }));
        let of = experiments.iter().filter(|it| revision(**it) == number);
        node.children.extend(of.map(|it| experiment(it, all, now)));
        let of = runs.iter().filter(|it| revision(**it) == number);
        node.children.extend(of.map(|run| analysis_run(run)));
        root.children.push(node);
    }
    rows(&root, now, detail)
}

/// The table under the header of an Experiment.
pub(super) fn of_experiment(
    of: &Experiment,
    all: &Belongings,
    now: Timestamp,
    detail: Detail,
) -> Vec<Text> {
    rows(&experiment(of, all, now), now, detail)
}

fn experiment(experiment: &Experiment, all: &Belongings, now: Timestamp) -> Node {
    let phase = status::experiment(experiment);
    let name = Text::of(experiment.name_any(), status::name_colour(phase));
    let mut node = Node::new('Σ', "Experiment", name);
    node.status = Some(status::phase(phase));
    node.created
        .clone_from(&experiment.metadata.creation_timestamp);
    let sets = all.replica_sets_of(experiment).into_iter();
    node.children
        .extend(sets.map(|set| replica_set(set, &[], all, now)));
    let runs = all.runs_of(experiment).into_iter();
    node.children.extend(runs.map(analysis_run));
    node
}

fn replica_set(set: &ReplicaSet, tags: &[Tag], all: &Belongings, now: Timestamp) -> Node {
    let name = Text::of(set.name_any(), tags.first().map(|tag| tag.colour()));
    let mut node = Node::new('⧉', "ReplicaSet", name);
    node.status = Some(status::replica_set(set));
    node.created.clone_from(&set.metadata.creation_timestamp);
    let mut info: Vec<Text> = tags.iter().map(|tag| tag.text()).collect();
    info.extend(delay(set, now).map(Text::plain));
    node.info = Text::joined(info, ",");
    node.image = images::of_replica_set(set).collect::<Vec<_>>().join(",");
    for owned in all.pods_of(set) {
        let state = pod::state(owned);
        let mut child = Node::new('□', "Pod", owned.name_any());
        child.status = Some(status::pod(&state.word));
        child.created.clone_from(&owned.metadata.creation_timestamp);
        let mut info = format!("ready:{}/{}", state.ready, state.containers);
        if state.restarts > 0 {
            info = format!("{info},restarts:{}", state.restarts);
        }
        child.info = Text::plain(info);
        let node_name = owned.spec.as_ref().and_then(|spec| spec.node_name.clone());
        child.runs_on = node_name.unwrap_or_default();
        node.children.push(child);
    }
    node
}

/// How long the pods of an old version still run.
fn delay(set: &ReplicaSet, now: Timestamp) -> Option<String> {
    let deadline = set.annotations().get(labels::SCALE_DOWN_DEADLINE)?;
    if deadline.is_empty() {
        return None;
    }
    let left = deadline
        .parse::<Timestamp>()
        .map(|deadline| deadline.as_second() - now.as_second());
    Some(match left {
        Err(_) => "delay:".to_owned(),
        Ok(..0) => "delay:passed".to_owned(),
        Ok(left) => format!("delay:{}", human_duration(left)),
    })
}

fn analysis_run(run: &AnalysisRun) -> Node {
    let status = run.status.clone().unwrap_or_default();
    let name = Text::of(run.name_any(), status::name_colour(status.phase));
    let mut node = Node::new('α', "AnalysisRun", name);
    node.status = Some(status::phase(status.phase));
    node.created.clone_from(&run.metadata.creation_timestamp);
    node.info = tally(run);
    let measurements = status.metric_results.into_iter();
    for measurement in measurements.flat_map(|result| result.measurements) {
        let Some(name) = measurement.metadata.get("job-name") else {
            continue;
        };
        let name = Text::of(name, status::name_colour(measurement.phase));
        let mut job = Node::new('⊞', "Job", name);
        job.status = Some(status::phase(measurement.phase));
        job.created = measurement.started_at;
        node.children.push(job);
    }
    node
}

/// How the measurements of a run have ended, in numbers.
pub(super) fn tally(run: &AnalysisRun) -> Text {
    let results = run.status.iter().flat_map(|status| &status.metric_results);
    let (mut successful, mut failed, mut inconclusive, mut error) = (0, 0, 0, 0);
    for result in results {
        successful += result.successful;
        failed += result.failed;
        inconclusive += result.inconclusive;
        error += result.error;
    }
    let counts = [
        ('✔', successful),
        ('✖', failed),
        ('?', inconclusive),
        ('⚠', error),
    ];
    let told = counts.into_iter().filter(|(_, count)| *count > 0);
    let told = told.map(|(sign, count)| icon(sign).and(format!(" {count}")));
    Text::joined(told.collect(), ",")
}

fn rows(root: &Node, now: Timestamp, detail: Detail) -> Vec<Text> {
    let mut header = vec!["NAME", "KIND", "STATUS", "AGE", "INFO"];
    if detail == Detail::Wide {
        header.extend(["IMAGES", "NODE"]);
    }
    let mut rows = vec![header.into_iter().map(Text::from).collect()];
    add(root, "", "", now, detail, &mut rows);
    table(rows)
}

/// Adds the row of a node after `prefix`, and those of its children, which begin with `indent`.
fn add(
    node: &Node,
    prefix: &str,
    indent: &str,
    now: Timestamp,
    detail: Detail,
    rows: &mut Vec<Vec<Text>>,
) {
    let name = Text::plain(format!("{prefix}{} ", node.icon)).and(node.name.clone());
    let age = node.created.as_ref().map(|created| age(created, now));
    let mut row = vec![
        name,
        node.kind.into(),
        node.status.as_ref().map_or(" ".into(), Status::text),
        age.unwrap_or_default().into(),
        node.info.clone(),
    ];
    if detail == Detail::Wide {
        row.extend([node.image.clone().into(), node.runs_on.clone().into()]);
    }
    rows.push(row);
    for (index, child) in node.children.iter().enumerate() {
        let (branch, below) = if index + 1 == node.children.len() {
            ("└──", "   ")
        } else {
            ("├──", "│  ")
        };
        let prefix = format!("{indent}{branch}");
        add(
            child,
            &prefix,
            &format!("{indent}{below}"),
            now,
            detail,
            rows,
        );
    }
}
