//! The places of an indexed Job, as `status.completedIndexes` writes them: `0,2-4`.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// The annotation and the label of a pod that name its index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The number of places of an indexed Job; `None` if it is not indexed.
pub(super) fn places(spec: &JobSpec) -> Option<i32> {
    let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
    is_indexed.then(|| spec.completions.unwrap_or_default())
}

/// The index of a pod; `None` if there is none below `places`.
pub(super) fn index(pod: &Pod, places: i32) -> Option<i32> {
    let index: i32 = pod.annotations().get(INDEX)?.parse().ok()?;
    (0..places).contains(&index).then_some(index)
}

/// Reads indexes; parts that are none are left out.
pub(super) fn read(text: &str, places: i32) -> BTreeSet<i32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: i32 = first.parse().ok()?;
        let last: i32 = last.parse().ok()?;
        Some(first..=last.min(places - 1))
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Writes indexes: three and more in a row as a range.
pub(super) fn write(indexes: &BTreeSet<i32>) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let range = |(first, last): (i32, i32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    let ranges: Vec<_> = ranges.into_iter().map(range).collect();
    ranges.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_become_ranges() {
        let cases = [
            ("", ""),
            ("3", "3"),
            ("0,1", "0,1"),
            ("0,1,2", "0-2"),
            ("0,2-4,6", "0,2-4,6"),
            ("x,1,2-y", "1"),
            ("8-99", "8,9"),
        ];
        for (text, expected) in cases {
            assert_eq!(write(&read(text, 10)), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(indexes in prop::collection::btree_set(0..40i32, 0..40)) {
            prop_assert_eq!(read(&write(&indexes), 40), indexes);
        }
    }
}
