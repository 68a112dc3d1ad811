//! The annotations that a ReplicaSet takes from its Rollout.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use super::labels;
use crate::api::Rollout;

/// Annotations that a ReplicaSet does not take from its Rollout.
const OWN: [&str; 8] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "notified.notifications.argoproj.io",
    labels::REVISION,
    labels::REVISION_HISTORY,
    labels::DESIRED_REPLICAS,
    labels::EPHEMERAL_METADATA,
    labels::TEMPLATE_MARK,
    labels::COPIED_ANNOTATIONS,
];

/// Annotations that a ReplicaSet takes from its Rollout.
fn copied(rollout: &Rollout) -> BTreeMap<String, String> {
    let annotations = rollout.annotations().iter();
    let copied = annotations.filter(|(key, _)| !OWN.contains(&key.as_str()));
    copied
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Whose annotations they are cannot be told from the ReplicaSet: their keys are noted there.
fn keys(annotations: &BTreeMap<String, String>) -> Option<String> {
    let keys: Vec<&str> = annotations.keys().map(String::as_str).collect();
    (!keys.is_empty()).then(|| keys.join(","))
}

/// The annotations of a new ReplicaSet.
pub(super) fn of_new(rollout: &Rollout) -> BTreeMap<String, String> {
    let mut annotations = copied(rollout);
    let keys = keys(&annotations);
    annotations.extend(keys.map(|keys| (labels::COPIED_ANNOTATIONS.to_owned(), keys)));
    annotations
}

/// What has changed about the annotations that a ReplicaSet takes from its Rollout: those that the
/// Rollout has no longer go, those of others stay.
pub(super) fn changed(
    rollout: &Rollout,
    present: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<String>> {
    let copied = copied(rollout);
    let noted = present.get(labels::COPIED_ANNOTATIONS);
    let gone = noted.iter().flat_map(|keys| keys.split(','));
    let gone = gone.filter(|key| {
        let is_there = present.contains_key(*key);
        is_there && !copied.contains_key(*key) && !OWN.contains(key)
    });
    let mut changed: BTreeMap<String, Option<String>> =
        gone.map(|key| (key.to_owned(), None)).collect();
    let other = copied.iter();
    let other = other.filter(|(key, value)| present.get(*key) != Some(value));
    changed.extend(other.map(|(key, value)| (key.clone(), Some(value.clone()))));
    let keys = keys(&copied);
    if !changed.is_empty() && noted != keys.as_ref() {
        changed.insert(labels::COPIED_ANNOTATIONS.to_owned(), keys);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a, V> = &'a [(&'a str, V)];
    /// What the Rollout has, what its ReplicaSet has, and what changes there.
    type Case<'a> = (
        Pairs<'a, &'a str>,
        Pairs<'a, &'a str>,
        Pairs<'a, Option<&'a str>>,
    );

    fn annotations(all: Pairs<&str>) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        all.iter().map(owned).collect()
    }

    fn a_rollout(all: Pairs<&str>) -> Rollout {
        let mut rollout: Rollout =
            serde_json::from_value(serde_json::json!({ "spec": {} })).unwrap();
        rollout.metadata.annotations = Some(annotations(all));
        rollout
    }

    #[test]
    fn what_is_written_for_others_is_not_taken() {
        let rollout = a_rollout(&[
            ("team", "shop"),
            (labels::REVISION, "3"),
            ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
        ]);
        let expected = [(labels::COPIED_ANNOTATIONS, "team"), ("team", "shop")];
        assert_eq!(of_new(&rollout), annotations(&expected));
        assert!(of_new(&a_rollout(&[])).is_empty());
    }

    #[test]
    fn annotations_come_and_go_with_those_of_the_rollout() {
        let noted = labels::COPIED_ANNOTATIONS;
        let none: Pairs<Option<&str>> = &[];
        let both = [("a", "1"), ("b", "2"), (noted, "a,b"), ("other", "x")];
        let by_argo = [("a", "1"), ("b", "2")];
        let tampered = [
            (labels::REVISION, "3"),
            (noted, "rollout.argoproj.io/revision"),
        ];
        let cases: [Case<'_>; 7] = [
            (&[("a", "1"), ("b", "2")], &both, none),
            (&[("a", "9"), ("b", "2")], &both, &[("a", Some("9"))]),
            (&[("a", "1")], &both, &[("b", None), (noted, Some("a"))]),
            (&[], &both, &[("a", None), ("b", None), (noted, None)]),
            // Nothing was noted: whatever the Rollout lacks is somebody else's.
            (&[("a", "1")], &by_argo, none),
            (
                &[("a", "9")],
                &by_argo,
                &[("a", Some("9")), (noted, Some("a"))],
            ),
            (&[], &tampered, none),
        ];
        for (wanted, present, expected) in cases {
            let changed = changed(&a_rollout(wanted), &annotations(present));
            let changed: Vec<_> = (changed.iter())
                .map(|(key, value)| (key.as_str(), value.as_deref()))
                .collect();
            assert_eq!(changed, expected, "{wanted:?} {present:?}");
        }
    }
}
