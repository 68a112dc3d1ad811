//! Many objects in a table.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::age::{age, human_duration};
use super::text::{Text, table};
use super::tree::tally;
use super::weights::set_weight;
use super::{Detail, images_of_template, page, status, waiting};
use crate::api::{AnalysisRun, Experiment, Phase, Rollout};
use crate::rollout::seen;

/// A column: its title, and the least width of its cells.
type Column = (&'static str, usize);

const NAMESPACE: Column = ("NAMESPACE", 9);
const NAME: Column = ("NAME", 10);

/// What rows begin with, and how much they tell.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    /// When it was printed, if that is wanted.
    pub timestamp: Option<Timestamp>,
    /// Whether objects of several namespaces are listed.
    pub namespaces: bool,
    /// How much is told of each.
    pub detail: Detail,
}

/// The cells of one object, with those that rows begin with.
pub type Row = Vec<String>;

impl Listing {
    fn columns(self, own: &[Column], wide: &[Column]) -> Vec<Column> {
        let mut columns = Vec::new();
        columns.extend(self.timestamp.map(|_| ("TIMESTAMP", 20)));
        columns.extend(self.namespaces.then_some(NAMESPACE));
        columns.extend(own);
        columns.extend(
            (self.detail == Detail::Wide)
                .then_some(wide)
                .into_iter()
                .flatten(),
        );
        columns
    }

    fn row(self, namespace: Option<String>, own: Vec<String>, wide: Vec<String>) -> Row {
        let mut row = Vec::new();
        row.extend(
            self.timestamp
                .map(|now| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        );
        row.extend(self.namespaces.then(|| namespace.unwrap_or_default()));
        row.extend(own);
        row.extend(
            (self.detail == Detail::Wide)
                .then_some(wide)
                .into_iter()
                .flatten(),
        );
        row
    }

    /// The columns of Rollouts.
    ///
    /// # Source
    /// `pkg/kubectl-argo-rollouts/cmd/list/rollouts.go` of Argo Rollouts.
    #[must_use]
    pub fn of_rollouts(self) -> Vec<Column> {
        let own = [
            NAME,
            ("STRATEGY", 9),
            ("STATUS", 12),
            ("STEP", 4),
            ("SET-WEIGHT", 10),
            ("READY", 5),
            ("DESIRED", 7),
            ("UP-TO-DATE", 10),
            ("AVAILABLE", 9),
        ];
        self.columns(&own, &[("AGE", 3), ("IMAGES", 6), ("WAITS", 5)])
    }

    /// The cells of a Rollout.
    #[must_use]
    pub fn rollout(self, rollout: &Rollout, now: Timestamp) -> Row {
        let status = rollout.status.clone().unwrap_or_default();
        let or =
            |text: &str, instead: &str| if text.is_empty() { instead } else { text }.to_owned();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let own = vec![
            rollout.name_any(),
            or(page::strategy(rollout), "unknown"),
            seen(rollout).0.to_string(),
            or_dash(page::step(rollout)),
            or_dash(set_weight(rollout).map(|weight| weight.to_string())),
            format!("{}/{}", status.ready_replicas, status.replicas),
            rollout.spec.replicas().to_string(),
            status.updated_replicas.to_string(),
            status.available_replicas.to_string(),
        ];
        let created = rollout.metadata.creation_timestamp.as_ref();
        let wide = vec![
            created.map(|created| age(created, now)).unwrap_or_default(),
            images_of_template(rollout),
            or_dash(waiting(&status).map(|waiting| waiting.sentence)),
        ];
        self.row(rollout.namespace(), own, wide)
    }

    /// The columns of Experiments.
    ///
    /// # Source
    /// `pkg/kubectl-argo-rollouts/cmd/list/experiments.go` of Argo Rollouts.
    #[must_use]
    pub fn of_experiments(self) -> Vec<Column> {
        let own = [
            NAME,
            ("STATUS", 6),
            ("DURATION", 8),
            ("REMAINING", 9),
            ("AGE", 3),
        ];
        self.columns(&own, &[("MESSAGE", 7)])
    }

    /// The cells of an Experiment.
    #[must_use]
    pub fn experiment(self, experiment: &Experiment, now: Timestamp) -> Row {
        let status = experiment.status.clone().unwrap_or_default();
        let duration = experiment.spec.duration.get().ok().flatten();
        let is_over = status.phase.is_some_and(Phase::is_completed);
        let end = status.available_at.zip(duration);
        let left =
            end.map(|(since, duration)| since.0.as_second() + duration.as_secs() - now.as_second());
        let left = left.filter(|left| *left > 0 && !is_over);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let created = experiment.metadata.creation_timestamp.as_ref();
        let own = vec![
            experiment.name_any(),
            status
                .phase
                .map_or(String::new(), |phase| phase.to_string()),
            or_dash(duration.map(|it| human_duration(it.as_secs()))),
            or_dash(left.map(human_duration)),
            created.map(|created| age(created, now)).unwrap_or_default(),
        ];
        self.row(experiment.namespace(), own, vec![status.message])
    }

    /// The columns of AnalysisRuns.
    #[must_use]
    pub fn of_analysis_runs(self) -> Vec<Column> {
        let own = [NAME, ("STATUS", 6), ("MEASURED", 8), ("AGE", 3)];
        self.columns(&own, &[("MESSAGE", 7)])
    }

    /// The cells of an AnalysisRun.
    #[must_use]
    pub fn analysis_run(self, run: &AnalysisRun, now: Timestamp) -> Row {
        let status = run.status.clone().unwrap_or_default();
        let created = run.metadata.creation_timestamp.as_ref();
        let measured = tally(run).shown(super::Paint::None, super::Letters::All);
        let own = vec![
            run.name_any(),
            status::phase(status.phase).word,
            if measured.is_empty() {
                "-".into()
            } else {
                measured
            },
            created.map(|created| age(created, now)).unwrap_or_default(),
        ];
        self.row(run.namespace(), own, vec![status.message])
    }
}

/// The rows under their titles, or without them.
#[must_use]
pub fn lines(columns: &[Column], titled: bool, rows: &[Row]) -> Vec<Text> {
    let title: Row = columns
        .iter()
        .map(|(title, _)| (*title).to_owned())
        .collect();
    let all = titled.then_some(&title).into_iter().chain(rows);
    let cells = all.map(|row| {
        let cells = row.iter().zip(columns);
        cells
            .map(|(cell, (_, width))| Text::plain(format!("{cell:<width$}")))
            .collect()
    });
    table(cells.collect())
}
