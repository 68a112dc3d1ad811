//! Names for objects that are made under a prefix.
//!
//! Kubernetes lets the API server complete such a name. Here the name is chosen before it is asked,
//! and stays the same until it is certain that it was used: when an answer gets lost, the next try
//! finds what the first one made, and there is never one object too many.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::hash;

/// The longest prefix that leaves room in a label.
///
/// # Source
/// `maxGeneratedNameLength` of Kubernetes' `storage/names`.
const LONGEST_PREFIX: usize = 58;

/// The names that owners give to what they make.
#[derive(Debug)]
pub(super) struct Names {
    /// Tells this run from an earlier one, whose names are not to come again.
    run: Timestamp,
    /// How many names each owner has used, by its uid.
    used: BTreeMap<String, u64>,
}

impl Names {
    pub(super) fn new(run: Timestamp) -> Self {
        Self {
            run,
            used: BTreeMap::new(),
        }
    }

    /// The next name under `prefix`, the same until it is used.
    pub(super) fn next(&self, prefix: &str, owner: &str) -> String {
        let prefix: String = prefix.chars().take(LONGEST_PREFIX).collect();
        let used = self.used.get(owner).copied().unwrap_or_default();
        let text = format!("{} {owner} {used}", self.run);
        format!("{prefix}{}", hash::letters(hash::fnv1a(text.as_bytes())))
    }

    /// The next name of `owner` will be another.
    pub(super) fn use_up(&mut self, owner: &str) {
        *self.used.entry(owner.to_owned()).or_default() += 1;
    }

    /// `owner` makes nothing any more.
    pub(super) fn forget(&mut self, owner: &str) {
        self.used.remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_until_it_is_used() {
        let mut names = Names::new("2026-01-01T00:00:00Z".parse().unwrap());
        let first = names.next("web-", "u");
        assert!(first.starts_with("web-") && first.len() == 9, "{first}");
        assert_eq!(names.next("web-", "u"), first);
        assert_ne!(names.next("web-", "v"), first);
        names.use_up("u");
        assert_ne!(names.next("web-", "u"), first);
        let later = Names::new("2026-01-01T00:00:01Z".parse().unwrap());
        assert_ne!(later.next("web-", "u"), first);
    }

    #[test]
    fn a_long_prefix_is_cut() {
        let names = Names::new(Timestamp::UNIX_EPOCH);
        assert_eq!(names.next(&"a".repeat(100), "u").len(), 63);
    }
}
