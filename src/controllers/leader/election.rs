//! Who leads: decided from the Lease, who asks and the time.
//!
//! Times that another machine wrote are never compared with our own: a holder counts as gone when
//! its Lease has not changed before our eyes for as long as it holds. So clocks may differ.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use thiserror::Error;

/// How long a Lease holds and how it is kept.
///
/// The holder gives up after `renew_deadline`, while nobody may take its place before
/// `lease_duration`: the time between is for requests that are still under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait since the last renewal that they saw. Default: 15 s.
    pub lease_duration: Duration,
    /// How long after its last renewal the holder stops. Default: 10 s.
    pub renew_deadline: Duration,
    /// The wait between tries. Default: 2 s.
    pub retry_period: Duration,
}

impl Default for Timing {
    /// Those of Argo Rollouts, and of Kubernetes' own controllers.
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Times with which two could lead at once, or nobody for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TimingError {
    /// Others would take the Lease while its holder still acts.
    #[error("the lease duration must be longer than the renew deadline")]
    Overlap,
    /// One missed renewal would end the leadership.
    #[error("the renew deadline must be longer than two retry periods")]
    OneTry,
    /// Tries without a pause.
    #[error("the retry period must not be zero")]
    NoPause,
}

impl Timing {
    /// Whether these times keep two from leading at once.
    pub fn check(self) -> Result<(), TimingError> {
        if self.lease_duration <= self.renew_deadline {
            Err(TimingError::Overlap)
        } else if self.renew_deadline <= self.retry_period * 2 {
            Err(TimingError::OneTry)
        } else if self.retry_period.is_zero() {
            Err(TimingError::NoPause)
        } else {
            Ok(())
        }
    }

    /// Until when a holder may act that began its last renewal then.
    pub(super) fn acts_until(self, renewed: Timestamp) -> Timestamp {
        after(renewed, self.renew_deadline)
    }

    /// Kubernetes keeps whole seconds; rounded up, so that nobody waits too short.
    fn lease_seconds(self) -> i32 {
        let part = u64::from(self.lease_duration.subsec_nanos() > 0);
        i32::try_from(self.lease_duration.as_secs().saturating_add(part)).unwrap_or(i32::MAX)
    }
}

/// A Lease as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) lease: Lease,
    /// Since when it has been seen to be like that.
    pub(super) since: Timestamp,
}

impl Seen {
    /// What is known after another look.
    pub(super) fn again(before: Option<Self>, lease: Lease, now: Timestamp) -> Self {
        let unchanged = before.filter(|before| before.lease.spec == lease.spec);
        let since = unchanged.map_or(now, |before| before.since);
        Self { lease, since }
    }

    /// Who holds it.
    pub(super) fn holder(&self) -> Option<&str> {
        let spec = self.lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
        holder.filter(|holder| !holder.is_empty())
    }

    /// When its holder counts as gone.
    fn expires(&self, timing: Timing) -> Timestamp {
        let spec = self.lease.spec.as_ref();
        let written = spec.and_then(|spec| spec.lease_duration_seconds);
        let written = written.and_then(|seconds| u64::try_from(seconds).ok());
        after(
            self.since,
            written.map_or(timing.lease_duration, Duration::from_secs),
        )
    }
}

/// What to do about the Lease.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Write it like this; once that is done, we hold it.
    Write(Box<Lease>),
    /// Another holds it, until then at least.
    Wait(Timestamp),
}

/// Decides what `me` does about the Lease as it was last seen, if there is one.
pub(super) fn next(seen: Option<&Seen>, me: &str, timing: Timing, now: Timestamp) -> Next {
    let expires = seen
        .filter(|seen| seen.holder().is_some_and(|holder| holder != me))
        .map(|seen| seen.expires(timing))
        .filter(|expires| now < *expires);
    match expires {
        Some(expires) => Next::Wait(expires),
        None => Next::Write(Box::new(claimed(seen, me, timing, now))),
    }
}

/// The Lease as `me` holds it.
fn claimed(seen: Option<&Seen>, me: &str, timing: Timing, now: Timestamp) -> Lease {
    let mut lease = seen.map(|seen| seen.lease.clone()).unwrap_or_default();
    let is_mine = seen.and_then(Seen::holder) == Some(me);
    let before = lease.spec.take().unwrap_or_default();
    let transitions = before.lease_transitions.unwrap_or(0);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(timing.lease_seconds()),
        acquire_time: before
            .acquire_time
            .filter(|_| is_mine)
            .or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(match seen {
            Some(_) if !is_mine => transitions.saturating_add(1),
            _ => transitions,
        }),
        preferred_holder: before.preferred_holder,
        strategy: before.strategy,
    });
    lease
}

/// The Lease as its holder leaves it; `None` if another holds it.
///
/// # Source
/// `release` in client-go's leader election: no holder, and a duration of one second.
pub(super) fn released(seen: &Seen, me: &str, now: Timestamp) -> Option<Lease> {
    if seen.holder() != Some(me) {
        return None;
    }
    let mut lease = seen.lease.clone();
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = None;
    spec.lease_duration_seconds = Some(1);
    spec.acquire_time = Some(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
    Some(lease)
}

/// The pause before a try, up to a fifth longer than the period: no two who wait stay in step.
pub(super) fn pause(period: Duration, me: &str, tries: u64) -> Duration {
    let mut hasher = DefaultHasher::new();
    (me, tries).hash(&mut hasher);
    let thousandths = u32::try_from(hasher.finish() % 200).expect("less than 200");
    period + period * thousandths / 1000
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        start
            .checked_add(jiff::SignedDuration::from_secs(seconds))
            .unwrap()
    }

    /// Held by `holder` and seen unchanged since second 100; what it says of the time is an hour
    /// off.
    fn held(holder: Option<&str>) -> Seen {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            acquire_time: Some(MicroTime(at(3600))),
            renew_time: Some(MicroTime(at(3660))),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        };
        Seen {
            lease: Lease {
                spec: Some(spec),
                ..Lease::default()
            },
            since: at(100),
        }
    }

    #[test]
    fn who_may_hold_it_when() {
        let without_duration = {
            let mut seen = held(Some("b"));
            seen.lease.spec.as_mut().unwrap().lease_duration_seconds = None;
            seen
        };
        for (seen, now, expected) in [
            (None, 100, Ok(0)),
            (Some(held(None)), 100, Ok(4)),
            (Some(held(Some(""))), 100, Ok(4)),
            (Some(held(Some("a"))), 100, Ok(3)),
            (Some(held(Some("a"))), 900, Ok(3)),
            (Some(held(Some("b"))), 100, Err(115)),
            (Some(held(Some("b"))), 114, Err(115)),
            (Some(held(Some("b"))), 115, Ok(4)),
            (Some(without_duration), 114, Err(115)),
        ] {
            let next = next(seen.as_ref(), "a", Timing::default(), at(now));
            let found = match next {
                Next::Wait(until) => Err(until),
                Next::Write(lease) => {
                    let spec = lease.spec.unwrap();
                    assert_eq!(spec.holder_identity.as_deref(), Some("a"));
                    assert_eq!(spec.lease_duration_seconds, Some(15));
                    assert_eq!(spec.renew_time, Some(MicroTime(at(now))));
                    let kept = seen.as_ref().and_then(Seen::holder) == Some("a");
                    let acquired = if kept { at(3600) } else { at(now) };
                    assert_eq!(spec.acquire_time, Some(MicroTime(acquired)));
                    Ok(spec.lease_transitions.unwrap())
                }
            };
            assert_eq!(found, expected.map_err(at), "{seen:?} at {now}");
        }
    }

    #[test]
    fn only_a_change_of_the_lease_starts_its_time_anew() {
        let before = held(Some("b"));
        let mut touched = before.lease.clone();
        touched.metadata.resource_version = Some("7".into());
        let again = Seen::again(Some(before.clone()), touched, at(110));
        assert_eq!(again.since, at(100));
        let mut renewed = before.lease.clone();
        renewed.spec.as_mut().unwrap().renew_time = Some(MicroTime(at(0)));
        let again = Seen::again(Some(before), renewed.clone(), at(110));
        assert_eq!(again.since, at(110));
        assert_eq!(Seen::again(None, renewed, at(120)).since, at(120));
    }

    #[test]
    fn a_released_lease_is_free_and_another_s_is_left_alone() {
        let lease = released(&held(Some("a")), "a", at(200)).unwrap();
        let seen = Seen::again(None, lease, at(200));
        assert_eq!(seen.holder(), None);
        assert!(matches!(
            next(Some(&seen), "b", Timing::default(), at(200)),
            Next::Write(_)
        ));
        assert_eq!(released(&held(Some("b")), "a", at(200)), None);
        assert_eq!(released(&held(None), "a", at(200)), None);
    }

    #[test]
    fn times_that_let_two_lead_are_refused() {
        let timing = |lease, renew, retry| Timing {
            lease_duration: Duration::from_secs(lease),
            renew_deadline: Duration::from_secs(renew),
            retry_period: Duration::from_secs(retry),
        };
        assert_eq!(Timing::default().check(), Ok(()));
        assert_eq!(timing(10, 10, 2).check(), Err(TimingError::Overlap));
        assert_eq!(timing(15, 4, 2).check(), Err(TimingError::OneTry));
        assert_eq!(timing(15, 10, 0).check(), Err(TimingError::NoPause));
        let odd = Timing {
            lease_duration: Duration::from_millis(15_001),
            ..Timing::default()
        };
        assert_eq!(odd.lease_seconds(), 16);
    }

    #[test]
    fn pauses_differ_a_little() {
        let period = Duration::from_secs(2);
        let pauses: Vec<_> = (0..20).map(|tries| pause(period, "a", tries)).collect();
        assert!(
            pauses
                .iter()
                .all(|one| (period..period.mul_f32(1.2)).contains(one))
        );
        assert_ne!(pauses[0], pauses[1]);
        assert_ne!(pause(period, "a", 0), pause(period, "b", 0));
    }

    /// What becomes of a request, and when.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Answered,
        /// It is carried out, and nobody hears of it.
        NotHeard,
        Lost,
    }

    /// One try: how long after the try before, by whom, its fate, and how long each way takes.
    type Try = (i64, bool, Fate, i64, i64);

    fn a_try() -> impl Strategy<Value = Try> {
        let fate = prop_oneof![
            4 => Just(Fate::Answered),
            1 => Just(Fate::NotHeard),
            1 => Just(Fate::Lost),
        ];
        (0..8_000i64, any::<bool>(), fate, 0..400i64, 0..400i64)
    }

    fn milliseconds(time: i64, skew: i64) -> Timestamp {
        Timestamp::from_millisecond(1_767_225_600_000 + time + skew).unwrap()
    }

    proptest! {
        /// However tries are spread, lost or late, and whatever the two clocks show.
        #[test]
        fn never_do_two_lead_at_once(tries in prop::collection::vec(a_try(), 1..60),
                                     skew in -100_000_000..100_000_000i64) {
            let timing = Timing::default();
            let mut stored: Option<Lease> = None;
            let mut seen: [Option<Seen>; 2] = [None, None];
            // Real milliseconds until which each acts.
            let mut acts_until = [i64::MIN; 2];
            let mut time = 0;
            for (wait, second, fate, there, back) in tries {
                time += wait;
                let (who, me, skew) = if second { (1, "b", skew) } else { (0, "a", 0) };
                let other = acts_until[1 - who];
                let began = time;
                if let Some(lease) = stored.clone() {
                    let now = milliseconds(time, skew);
                    seen[who] = Some(Seen::again(seen[who].take(), lease, now));
                }
                let next = next(seen[who].as_ref(), me, timing, milliseconds(began, skew));
                let Next::Write(lease) = next else { continue };
                time += there;
                if matches!(fate, Fate::Lost) { continue; }
                // Tries do not overlap here, so that the version is always right; a wrong one only
                // makes the write fail.
                stored = Some(*lease);
                time += back;
                if matches!(fate, Fate::Answered) {
                    let now = milliseconds(time, skew);
                    seen[who] = Some(Seen::again(None, stored.clone().unwrap(), now));
                    acts_until[who] = timing.acts_until(milliseconds(began, 0)).as_millisecond()
                        - 1_767_225_600_000;
                    prop_assert!(other < time, "the other acts until {other}, now {time}");
                }
            }
        }
    }
}
