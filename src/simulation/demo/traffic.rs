//! Which share of the users' requests each version really gets.

use std::collections::{BTreeMap, VecDeque};

use crate::simulation::workload::Seen;
use crate::view::{Line, Mark};

/// Samples that a share looks back over, beside the newest.
const WINDOW: usize = 2;
/// A share that differs less is the same: a round over five pods is seldom complete.
const NOTABLE: u64 = 5;
/// A share that has moved less since the last sample stands.
const SETTLED: u64 = 3;

/// What the load has seen, sample by sample.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// What the version that is released is called.
    name: &'static str,
    samples: VecDeque<BTreeMap<String, Seen>>,
    /// The canary's share, percent, in the latest sample.
    latest: u64,
    told: u64,
    canary: Option<String>,
}

impl Traffic {
    pub(super) fn of(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Takes a sample; a line once the canary's share has changed and settled.
    pub(super) fn sample(
        &mut self,
        seen: BTreeMap<String, Seen>,
        canary: Option<&str>,
    ) -> Option<Line> {
        self.samples.push_back(seen);
        if self.samples.len() > WINDOW + 1 {
            self.samples.pop_front();
        }
        if self.canary.as_deref() != canary {
            // Another release: nothing goes to its canary yet.
            self.canary = canary.map(str::to_owned);
            self.told = 0;
        }
        let all = self.lately(None);
        let canary = canary
            .map(|hash| self.lately(Some(hash)))
            .unwrap_or_default();
        if all.requests == 0 {
            return None;
        }
        let share = percent(canary.requests, all.requests);
        let settled = share.abs_diff(self.latest) < SETTLED;
        self.latest = share;
        if !settled || share.abs_diff(self.told) < NOTABLE {
            return None;
        }
        self.told = share;
        if canary.requests == 0 {
            let text = "all requests go to the stable version";
            return Some(Line::new(Mark::Plain, "traffic", text));
        }
        let failed = percent(canary.failed(), canary.requests);
        let name = self.name;
        let text =
            format!("{share} % of the requests go to the {name}; it fails {failed} % of them");
        Some(Line::new(Mark::Plain, "traffic", text))
    }

    /// What was seen within the window, of one version or of all.
    fn lately(&self, hash: Option<&str>) -> Seen {
        let total = |sample: Option<&BTreeMap<String, Seen>>| {
            let counted = sample.into_iter().flatten();
            let counted = counted.filter(|(name, _)| hash.is_none_or(|hash| hash == *name));
            counted.fold(Seen::default(), |sum, (_, seen)| {
                sum.with(*seen, u64::saturating_add)
            })
        };
        let (from, to) = (total(self.samples.front()), total(self.samples.back()));
        to.with(from, u64::saturating_sub)
    }
}

/// `part` of `whole`, rounded; 0 of nothing.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    (100 * part + whole / 2).checked_div(whole).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(stable: u64, canary: u64, errors: u64) -> BTreeMap<String, Seen> {
        let of = |requests, errors| Seen {
            requests,
            errors,
            ..Seen::default()
        };
        BTreeMap::from([
            ("s".to_owned(), of(stable, 0)),
            ("c".to_owned(), of(canary, errors)),
        ])
    }

    #[test]
    fn a_share_is_told_once_it_has_settled() {
        let mut traffic = Traffic::of("canary");
        let mut told = |stable, canary, errors, hash| {
            traffic
                .sample(seen(stable, canary, errors), hash)
                .map(|line| line.text)
        };
        assert_eq!(told(50, 0, 0, None), None);
        assert_eq!(told(100, 0, 0, None), None, "nothing has changed");
        assert_eq!(told(140, 10, 3, Some("c")), None, "it is on its way");
        let settled = "20 % of the requests go to the canary; it fails 30 % of them";
        assert_eq!(told(180, 20, 6, Some("c")), None, "it is still moving");
        assert_eq!(told(220, 30, 9, Some("c")).as_deref(), Some(settled));
        assert_eq!(told(260, 40, 12, Some("c")), None, "it is the same");
        assert_eq!(told(310, 40, 12, Some("c")), None);
        assert_eq!(told(360, 40, 12, Some("c")), None, "it moves back");
        let back = "all requests go to the stable version";
        assert_eq!(told(410, 40, 12, Some("c")).as_deref(), Some(back));
    }
}
