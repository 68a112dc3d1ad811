//! Which images run, and what they are to the Rollout.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt as _;

use super::belongings::Belongings;
use super::tags::tags;
use super::text::{Colour, Text};
use crate::api::{Experiment, Rollout};

/// Annotation of a ReplicaSet: the Experiment's template that it is of.
const TEMPLATE_NAME: &str = "experiment.argoproj.io/template-name";

/// Tags by image; more than one ReplicaSet may run it.
#[derive(Default)]
struct Images(BTreeMap<String, Vec<(String, Option<Colour>)>>);

/// The images of a Rollout's ReplicaSets and of its Experiments.
///
/// # Source
/// `Images` and `mergeImageAndTags` in `pkg/kubectl-argo-rollouts/info` of Argo Rollouts.
pub(super) fn of_rollout(rollout: &Rollout, all: &Belongings) -> Vec<Text> {
    let mut images = Images::default();
    for set in all.replica_sets_of(rollout) {
        let tags = tags(rollout, set).into_iter();
        let tags = tags.map(|tag| (tag.word().to_owned(), Some(tag.colour())));
        images.add(set, &tags.collect::<Vec<_>>());
    }
    for experiment in all.experiments_of(rollout) {
        images.add_experiment(experiment, all);
    }
    images.lines()
}

/// The images of an Experiment's ReplicaSets.
pub(super) fn of_experiment(experiment: &Experiment, all: &Belongings) -> Vec<Text> {
    let mut images = Images::default();
    images.add_experiment(experiment, all);
    images.lines()
}

/// The images of a ReplicaSet's regular containers.
pub(super) fn of_replica_set(set: &ReplicaSet) -> impl Iterator<Item = &str> {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let pod = template.and_then(|template| template.spec.as_ref());
    let containers = pod.into_iter().flat_map(|pod| &pod.containers);
    containers.filter_map(|container| container.image.as_deref())
}

impl Images {
    fn add_experiment(&mut self, experiment: &Experiment, all: &Belongings) {
        for set in all.replica_sets_of(experiment) {
            let template = set.annotations().get(TEMPLATE_NAME);
            let tag = template.map(|name| (format!("Σ:{name}"), None));
            self.add(set, &tag.into_iter().collect::<Vec<_>>());
        }
    }

    fn add(&mut self, set: &ReplicaSet, tags: &[(String, Option<Colour>)]) {
        let runs = set
            .status
            .as_ref()
            .is_some_and(|status| status.replicas > 0);
        if !runs {
            return;
        }
        for image in of_replica_set(set) {
            match self.0.get_mut(image) {
                None => drop(self.0.insert(image.to_owned(), tags.to_vec())),
                Some(known) => {
                    known.extend(tags.iter().cloned());
                    known.sort_by(|(one, _), (other, _)| one.cmp(other));
                    known.dedup();
                }
            }
        }
    }

    fn lines(self) -> Vec<Text> {
        let line = |(image, tags): (String, Vec<(String, Option<Colour>)>)| {
            if tags.is_empty() {
                return Text::plain(image);
            }
            let tags = tags.into_iter().map(|(tag, colour)| Text::of(tag, colour));
            let tags = Text::joined(tags.collect(), ", ");
            Text::plain(format!("{image} (")).and(tags).and(")")
        };
        self.0.into_iter().map(line).collect()
    }
}
