//! How long pods stay that the update needs no more: those of old versions after the switch, those
//! of the new version after an abort.

use jiff::{SignedDuration, Timestamp};

/// What becomes of a ReplicaSet's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They stay, and nothing says for how long.
    Stay,
    /// They stay until this time, which is to be written down.
    BeginToWait(Timestamp),
    /// They stay until this time, which is written down.
    Wait(Timestamp),
    /// They go.
    Go,
}

/// How long old versions stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delay {
    /// From when nothing needs them; none: they go at once.
    pub(super) wait: SignedDuration,
    /// How many of them may wait; the oldest of too many go at once.
    pub(super) versions: usize,
}

/// Seconds that pods stay where a spec does not say. Argo's `DefaultScaleDownDelaySeconds` and
/// `DefaultAbortScaleDownDelaySeconds`.
const USUAL_SECONDS: i32 = 30;

/// How long the new version stays after an abort, as a spec says it; none: until somebody decides.
pub(super) fn wait_after_abort(written: Option<i32>) -> Option<SignedDuration> {
    let seconds = written.unwrap_or(USUAL_SECONDS);
    (seconds != 0).then(|| SignedDuration::from_secs(seconds.into()))
}

impl Delay {
    /// How long old versions stay, as a spec says it.
    pub(super) fn of(seconds: Option<i32>, versions: Option<i32>) -> Self {
        Self {
            wait: SignedDuration::from_secs(seconds.unwrap_or(USUAL_SECONDS).into()),
            versions: versions.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(0)),
        }
    }

    /// What becomes of old versions that have pods, the newest first. `deadlines` are the times
    /// that are written down.
    ///
    /// # Source
    /// `scaleDownDelayHelper` in `rollout/replicaset.go` of Argo Rollouts, but for a wait of 0
    /// seconds, with which nothing ever goes there.
    pub(super) fn fates<'d>(
        &self,
        deadlines: impl Iterator<Item = Option<&'d String>>,
        now: Timestamp,
    ) -> Vec<Fate> {
        let mut waiting = 0;
        deadlines
            .map(|deadline| {
                if waiting >= self.versions {
                    return Fate::Go;
                }
                let fate = deadline.map_or_else(|| begin(self.wait, now), |text| end(text, now));
                // One whose time is over counts, too, as long as it has pods.
                waiting += usize::from(fate != Fate::Go || deadline.is_some());
                fate
            })
            .collect()
    }
}

/// What becomes of the new version's pods after an abort.
///
/// `wait` counts from when the stable version has taken over; none: the pods stay until somebody
/// decides.
pub(super) fn after_abort(
    deadline: Option<&String>,
    wait: Option<SignedDuration>,
    stable_has_taken_over: bool,
    now: Timestamp,
) -> Fate {
    match (wait, deadline) {
        (Some(_), Some(deadline)) => end(deadline, now),
        (Some(wait), None) if stable_has_taken_over => begin(wait, now),
        (None | Some(_), _) => Fate::Stay,
    }
}

fn begin(wait: SignedDuration, now: Timestamp) -> Fate {
    if !wait.is_positive() {
        return Fate::Go;
    }
    now.checked_add(wait).map_or(Fate::Stay, Fate::BeginToWait)
}

/// A time that cannot be read is over.
fn end(deadline: &str, now: Timestamp) -> Fate {
    let deadline = deadline.parse::<Timestamp>().ok();
    deadline
        .filter(|deadline| now < *deadline)
        .map_or(Fate::Go, Fate::Wait)
}

/// Whether a time that is written down is still to come.
pub(super) fn is_to_come(deadline: &str, now: Timestamp) -> bool {
    end(deadline, now) != Fate::Go
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        now() + SignedDuration::from_secs(seconds)
    }

    fn fates(wait: i64, versions: usize, deadlines: &[Option<&str>]) -> Vec<Fate> {
        let delay = Delay {
            wait: SignedDuration::from_secs(wait),
            versions,
        };
        let deadlines: Vec<Option<String>> = deadlines
            .iter()
            .map(|deadline| deadline.map(str::to_owned))
            .collect();
        delay.fates(deadlines.iter().map(Option::as_ref), now())
    }

    const OVER: Option<&str> = Some("2026-01-01T00:00:00Z");
    const SOON: Option<&str> = Some("2026-01-01T00:00:07Z");
    const UNREADABLE: Option<&str> = Some("soon");

    #[test]
    fn old_versions_wait_for_their_time() {
        use Fate::{BeginToWait, Go, Wait};
        let soon = Wait(at(7));
        assert_eq!(
            fates(30, usize::MAX, &[None, SOON, OVER, UNREADABLE]),
            [BeginToWait(at(30)), soon, Go, Go]
        );
        assert_eq!(fates(0, usize::MAX, &[None, SOON]), [Go, soon]);
        assert_eq!(fates(-1, usize::MAX, &[None]), [Go]);
    }

    #[test]
    fn the_oldest_of_too_many_go_at_once() {
        use Fate::{BeginToWait, Go, Wait};
        assert_eq!(fates(30, 1, &[None, SOON]), [BeginToWait(at(30)), Go]);
        assert_eq!(fates(30, 1, &[SOON, None]), [Wait(at(7)), Go]);
        assert_eq!(fates(30, 1, &[OVER, SOON]), [Go, Go]);
        assert_eq!(fates(30, 0, &[SOON, None]), [Go, Go]);
        let both = [BeginToWait(at(30)), Wait(at(7)), Go];
        assert_eq!(fates(30, 2, &[None, SOON, None]), both);
    }

    #[test]
    fn a_new_version_stays_after_an_abort_until_stable_has_taken_over_and_its_time_is_over() {
        use Fate::{BeginToWait, Go, Stay, Wait};
        let wait = |seconds| Some(SignedDuration::from_secs(seconds));
        let cases = [
            (None, wait(30), false, Stay),
            (None, wait(30), true, BeginToWait(at(30))),
            (SOON, wait(30), true, Wait(at(7))),
            (SOON, wait(30), false, Wait(at(7))),
            (OVER, wait(30), true, Go),
            (None, None, true, Stay),
            (OVER, None, true, Stay),
            // Far more than Argo's resync period.
            (None, wait(86_400), true, BeginToWait(at(86_400))),
        ];
        for (deadline, wait, taken_over, expected) in cases {
            let deadline = deadline.map(str::to_owned);
            let fate = after_abort(deadline.as_ref(), wait, taken_over, now());
            assert_eq!(fate, expected, "{deadline:?} {wait:?} {taken_over}");
        }
    }
}
