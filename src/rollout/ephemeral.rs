//! Ephemeral metadata: labels and annotations that pods have as long as their version has a role.
//!
//! ```text
//! template and note ──▶ seen by the ReplicaSet controller ──▶ pods ──▶ note without `previous`
//! ```
//!
//! A note on the ReplicaSet says what was put into its template, what the template itself says
//! instead, and, until the last pod is up to date, what pods may have from before. Template and
//! note change in one write, before any pod does; `previous` goes in a write of its own, after the
//! last pod. Killed between any two writes, the next pass finds what is left to do; at rest, a look
//! at the note tells that it is nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::change::{Change, Target, Want};
use super::decide::Pass;
use super::labels;
use super::replica_set::ReplicaSet;
use super::revisions::Member;
use crate::api::{LabelsAndAnnotations, RolloutSpec};

/// Where an entry stands in `metadata`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Labels,
    Annotations,
}

impl Place {
    const ALL: [Self; 2] = [Self::Labels, Self::Annotations];

    fn as_str(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }
}

/// Labels and annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entries(BTreeMap<(Place, String), String>);

impl Entries {
    /// Those of an object's `metadata`.
    fn of(metadata: &Value) -> Self {
        let places = Place::ALL.into_iter().flat_map(|place| {
            let entries = metadata.get(place.as_str()).and_then(Value::as_object);
            let entries = entries.into_iter().flatten();
            entries.filter_map(move |(key, value)| {
                Some(((place, key.clone()), value.as_str()?.to_owned()))
            })
        });
        Self(places.collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn json(&self) -> Value {
        let mut json = json!({});
        for ((place, key), value) in &self.0 {
            json[place.as_str()][key] = value.as_str().into();
        }
        json
    }
}

/// Those that pods of a role get.
fn entries(written: Option<&LabelsAndAnnotations>) -> Entries {
    let Some(written) = written else {
        return Entries::default();
    };
    let labels = written.labels.iter().map(|entry| (Place::Labels, entry));
    let annotations = written.annotations.iter();
    let annotations = annotations.map(|entry| (Place::Annotations, entry));
    let all = labels.chain(annotations);
    Entries(
        all.map(|(place, (key, value))| ((place, key.clone()), value.clone()))
            .collect(),
    )
}

/// What the pods of a version are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Released, and not stable yet.
    Tested,
    Stable,
    Old,
}

impl Role {
    /// The role of the wanted version, whose hash this is.
    pub(super) fn of_wanted(hash: &str, stable: &str) -> Self {
        if stable.is_empty() || stable == hash {
            Self::Stable
        } else {
            Self::Tested
        }
    }

    /// The metadata that a strategy gives to pods of this role.
    pub(super) fn metadata(self, spec: &RolloutSpec) -> Entries {
        let (tested, stable) = match (&spec.strategy.canary, &spec.strategy.blue_green) {
            (Some(canary), _) => (&canary.canary_metadata, &canary.stable_metadata),
            (None, Some(both)) => (&both.preview_metadata, &both.active_metadata),
            (None, None) => return Entries::default(),
        };
        match self {
            Self::Tested => entries(tested.as_ref()),
            Self::Stable => entries(stable.as_ref()),
            Self::Old => Entries::default(),
        }
    }
}

/// What is noted about a ReplicaSet's template.
///
/// # Source
/// The annotation `rollout.argoproj.io/ephemeral-metadata` of Argo Rollouts, which has `injected`
/// alone and ignores the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Note {
    /// What was put into the template.
    injected: Entries,
    /// What the template itself says under the same keys.
    replaced: Entries,
    /// What pods may have from before, beside that; `None` when all are up to date.
    previous: Option<Entries>,
}

impl Note {
    fn read(text: Option<&String>) -> Self {
        let json = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let json = json.unwrap_or_default();
        Self {
            injected: Entries::of(&json),
            replaced: json.get("replaced").map(Entries::of).unwrap_or_default(),
            previous: json.get("previous").map(Entries::of),
        }
    }

    /// The annotation; nothing to note is none.
    fn text(&self) -> Option<String> {
        let mut json = self.injected.json();
        if !self.replaced.is_empty() {
            json["replaced"] = self.replaced.json();
        }
        if let Some(previous) = &self.previous {
            json["previous"] = previous.json();
        }
        (json != json!({})).then(|| json.to_string())
    }

    /// What the template itself says under a key, if it has `found` there now.
    fn own<'a>(
        &'a self,
        key: &(Place, String),
        found: &'a Entries,
        written: &'a Entries,
    ) -> Option<&'a String> {
        if self.injected.0.contains_key(key) {
            let kept = self.replaced.0.get(key);
            kept.or_else(|| written.0.get(key))
        } else {
            found.0.get(key)
        }
    }

    /// A merge patch of `metadata` that gives `wanted` instead of what is noted to who has `found`.
    fn patch(&self, wanted: &Entries, found: &Entries) -> Value {
        let previous = self.previous.iter().flat_map(|previous| previous.0.keys());
        let keys = self.injected.0.keys().chain(wanted.0.keys());
        let mut patch = json!({});
        for key in keys.chain(previous) {
            let value = wanted.0.get(key).or_else(|| self.replaced.0.get(key));
            if value != found.0.get(key) {
                patch[key.0.as_str()][&key.1] = json!(value);
            }
        }
        patch
    }
}

/// Puts `wanted` into a new template; returns the annotation that notes it.
pub(super) fn inject(template: &mut Value, wanted: &Entries) -> Option<String> {
    let found = Entries::of(&template["metadata"]);
    let mut note = Note {
        injected: wanted.clone(),
        ..Note::default()
    };
    let mut replaced = found.0;
    replaced.retain(|key, _| wanted.0.contains_key(key));
    note.replaced = Entries(replaced);
    for ((place, key), value) in &wanted.0 {
        template["metadata"][place.as_str()][key] = value.as_str().into();
    }
    note.text()
}

/// Takes out of a template what an annotation says was put into it.
pub(super) fn strip(template: &mut Value, annotation: Option<&String>) {
    let note = Note::read(annotation);
    if note.injected.is_empty() {
        return;
    }
    let found = Entries::of(&template["metadata"]);
    let patch = note.patch(&Entries::default(), &found);
    json_patch::merge(&mut template["metadata"], &patch);
}

/// What is to be done about one ReplicaSet.
enum Due {
    Nothing,
    /// Only its template and the note.
    Template(Value),
    /// Its pods, as far as they are known, and then the note.
    Pods(Note),
}

fn due(member: &Member, object: &ReplicaSet, wanted: &Entries, written: &Entries) -> Due {
    let mut note = Note::read(member.annotations.get(labels::EPHEMERAL_METADATA));
    let template = object.spec.template.json();
    let found = Entries::of(template.get("metadata").unwrap_or(&Value::Null));
    let keys = wanted.0.keys().chain(note.injected.0.keys());
    let keys = keys.chain(note.previous.iter().flat_map(|previous| previous.0.keys()));
    let own = keys.filter_map(|key| {
        let own = note.own(key, &found, written)?;
        Some((key.clone(), own.clone()))
    });
    note.replaced = Entries(own.collect());
    let patch = note.patch(wanted, &found);
    let has_pods = member.pods.wanted > 0 || member.replicas > 0 || !member.up_to_date;
    if note.injected == *wanted && patch == json!({}) {
        return match note.previous {
            None => Due::Nothing,
            Some(_) if has_pods => Due::Pods(note),
            Some(_) => Due::Template(json!({ "metadata": noted(&note.settled()) })),
        };
    }
    let mut previous = note.previous.take().unwrap_or_default();
    previous
        .0
        .extend(std::mem::replace(&mut note.injected, wanted.clone()).0);
    note.previous = Some(previous);
    let note = if has_pods { note } else { note.settled() };
    Due::Template(json!({
        "metadata": noted(&note), "spec": { "template": { "metadata": patch } }
    }))
}

impl Note {
    /// As it is when all pods are up to date.
    fn settled(mut self) -> Self {
        self.previous = None;
        let injected = &self.injected.0;
        self.replaced.0.retain(|key, _| injected.contains_key(key));
        self
    }
}

/// A merge patch of `metadata` that writes the note down.
fn noted(note: &Note) -> Value {
    json!({ "annotations": { labels::EPHEMERAL_METADATA: note.text() } })
}

/// A merge patch of a pod; `None` if it has what it should.
fn pod_patch(pod: &Pod, note: &Note) -> Option<Value> {
    let found = json!({ "labels": pod.metadata.labels, "annotations": pod.metadata.annotations });
    let patch = note.patch(&note.injected, &Entries::of(&found));
    (patch != json!({})).then(|| json!({ "metadata": patch }))
}

impl Pass<'_> {
    /// Gives the templates and pods of all versions the metadata of their roles.
    pub(super) fn sync_ephemeral_metadata(&mut self) {
        let revisions = &self.revisions;
        let wanted = Role::of_wanted(&revisions.hash, &self.old.stable_rs);
        let roles = (revisions.new.iter().map(|new| (new, wanted)))
            .chain(revisions.stable.iter().map(|stable| (stable, Role::Stable)))
            .chain(revisions.others.iter().map(|other| (other, Role::Old)));
        let roles: Vec<(Member, Role)> =
            roles.map(|(member, role)| (member.clone(), role)).collect();
        let template = self.rollout.spec.template.json();
        let written = Entries::of(template.get("metadata").unwrap_or(&Value::Null));
        for (member, role) in roles {
            let Some(object) = member.object.clone().filter(|_| !member.leaving) else {
                continue;
            };
            let is_wanted = member.hash == self.revisions.hash;
            let written = if is_wanted {
                &written
            } else {
                &Entries::default()
            };
            match due(
                &member,
                &object,
                &role.metadata(&self.rollout.spec),
                written,
            ) {
                Due::Template(patch) => self.patch_replica_set(&member, patch),
                Due::Pods(note) if member.up_to_date => self.bring_pods_up_to_date(&member, note),
                // With a note on them: pods may still be made from the template as it was.
                Due::Nothing | Due::Pods(_) => {}
            }
        }
    }

    fn bring_pods_up_to_date(&mut self, member: &Member, note: Note) {
        let Some(pods) = &self.observed.pods else {
            self.ask([Want::Pods(self.plan.selector.to_string())]);
            return;
        };
        let staying = pods
            .iter()
            .filter(|pod| member.owns(pod) && pod.metadata.deletion_timestamp.is_none());
        let patches: Vec<(Target, Value)> = staying
            .filter_map(|pod| Some((Target::any_version(pod), pod_patch(pod, &note)?)))
            .collect();
        if !patches.is_empty() {
            self.changes.push(Change::PatchPods(patches));
        }
        self.patch_replica_set(member, json!({ "metadata": noted(&note.settled()) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(labels: &[(&str, &str)]) -> Entries {
        let labels = labels
            .iter()
            .map(|(key, value)| ((Place::Labels, (*key).to_owned()), (*value).to_owned()));
        Entries(labels.collect())
    }

    #[test]
    fn what_is_injected_can_be_taken_out() {
        let written = json!({ "metadata": { "labels": { "app": "web", "tier": "web" } } });
        let mut template = written.clone();
        let note = inject(
            &mut template,
            &labels(&[("role", "canary"), ("tier", "test")]),
        );
        let expected = json!({ "app": "web", "role": "canary", "tier": "test" });
        assert_eq!(template["metadata"]["labels"], expected);
        strip(&mut template, note.as_ref());
        assert_eq!(template, written);
        assert_eq!(inject(&mut template, &Entries::default()), None);
        assert_eq!(template, written);
    }

    #[test]
    fn a_note_of_argo_is_one_of_ours() {
        let text = r#"{"labels":{"role":"stable"},"annotations":{"a":"1"}}"#.to_owned();
        let note = Note::read(Some(&text));
        assert_eq!((note.injected.0.len(), note.previous), (2, None));
        let mut template = json!({ "metadata": { "labels": { "app": "web", "role": "stable" } } });
        strip(&mut template, Some(&text));
        assert_eq!(
            template,
            json!({ "metadata": { "labels": { "app": "web" } } })
        );
        let broken = "{".to_owned();
        assert_eq!(Note::read(Some(&broken)), Note::default());
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let note = Note {
            injected: labels(&[("role", "canary")]),
            replaced: labels(&[("role", "web")]),
            previous: Some(labels(&[])),
        };
        assert_eq!(Note::read(note.text().as_ref()), note);
        assert_eq!(Note::default().text(), None);
    }
}
