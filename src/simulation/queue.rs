//! What is to be looked at, now or at a given time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::patience::retry_after;
use super::view::Key;

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Which kinds the API server serves.
    Discover,
    /// The kubelet's view of a pod.
    Pod(Key),
    ReplicaSet(Key),
    Deployment(Key),
    Job(Key),
    /// The Endpoints of a Service.
    Endpoints(Key),
    /// A node of our own.
    Node(String),
    /// What a namespace always has, or that it goes.
    Namespace(String),
    /// The owners and finalizers of the object with this uid.
    Garbage(String),
    /// Whether the object with this uid exists.
    Verify(String),
}

/// Work in the order in which it came, each piece once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<Work>,
    queued: BTreeSet<Work>,
    due: BTreeMap<Work, Timestamp>,
    timers: BTreeSet<(Timestamp, Work)>,
    failures: BTreeMap<Work, u32>,
}

impl Queue {
    /// Looks at `work` as soon as possible.
    pub(super) fn push(&mut self, work: Work) {
        if self.queued.insert(work.clone()) {
            self.ready.push_back(work);
        }
    }

    /// The next work that is due. As long as the cluster is not known, that is only to ask what
    /// there is.
    pub(super) fn pop(&mut self, now: Timestamp, is_informed: bool) -> Option<Work> {
        while let Some((due, work)) = self.timers.first()
            && *due <= now
        {
            let work = work.clone();
            self.set_timer(&work, None);
            self.push(work);
        }
        let next = if is_informed {
            0
        } else {
            let mut ready = self.ready.iter();
            ready.position(|work| *work == Work::Discover)?
        };
        let work = self.ready.remove(next)?;
        self.queued.remove(&work);
        Some(work)
    }

    /// When the next work comes due by time.
    pub(super) fn next_due(&self, is_informed: bool) -> Option<Timestamp> {
        if is_informed {
            self.timers.first().map(|(due, _)| *due)
        } else {
            self.due.get(&Work::Discover).copied()
        }
    }

    /// `work` was done; time alone may change it at `wake_at`.
    pub(super) fn done(&mut self, work: &Work, wake_at: Option<Timestamp>) {
        self.failures.remove(work);
        self.set_timer(work, wake_at);
    }

    /// `work` could not be done; the wait doubles with each failure in a row.
    ///
    /// # Returns
    /// How long it waits.
    pub(super) fn failed(&mut self, work: &Work, now: Timestamp) -> Duration {
        let failures = self.failures.entry(work.clone()).or_default();
        let wait = retry_after(*failures);
        *failures = failures.saturating_add(1);
        self.set_timer(work, now.checked_add(wait).ok());
        wait
    }

    fn set_timer(&mut self, work: &Work, due: Option<Timestamp>) {
        let before = match due {
            Some(due) => self.due.insert(work.clone(), due),
            None => self.due.remove(work),
        };
        if let Some(before) = before {
            self.timers.remove(&(before, work.clone()));
        }
        if let Some(due) = due {
            self.timers.insert((due, work.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn work_comes_once_and_in_order() {
        let mut queue = Queue::default();
        for name in ["b", "a", "b"] {
            queue.push(Work::Namespace(name.to_owned()));
        }
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop(at(0), true)).collect();
        assert_eq!(
            popped,
            ["b", "a"].map(|name| Work::Namespace(name.to_owned()))
        );
    }

    #[test]
    fn a_later_timer_replaces_an_earlier_one() {
        let mut queue = Queue::default();
        queue.done(&Work::Discover, Some(at(5)));
        queue.done(&Work::Discover, Some(at(9)));
        assert_eq!(queue.next_due(true), Some(at(9)));
        assert_eq!(queue.pop(at(8), true), None);
        assert_eq!(queue.pop(at(9), true), Some(Work::Discover));
        assert_eq!(queue.next_due(true), None);
    }

    #[test]
    fn until_the_cluster_is_known_only_its_kinds_are_asked_for() {
        let mut queue = Queue::default();
        queue.push(Work::Node("a".to_owned()));
        queue.push(Work::Discover);
        assert_eq!(queue.pop(at(0), false), Some(Work::Discover));
        assert_eq!(queue.pop(at(0), false), None);
        queue.done(&Work::Node("b".to_owned()), Some(at(1)));
        queue.failed(&Work::Discover, at(5));
        assert_eq!(
            queue.next_due(false),
            at(5).checked_add(SignedDuration::from_millis(200)).ok()
        );
        assert_eq!(queue.pop(at(5), true), Some(Work::Node("a".to_owned())));
    }

    #[test]
    fn failures_wait_longer_each_time_and_are_forgotten() {
        let mut queue = Queue::default();
        let waits: Vec<_> = (0..10)
            .map(|_| queue.failed(&Work::Discover, at(0)).as_millis())
            .collect();
        assert_eq!(&waits[..3], [200, 400, 800]);
        assert_eq!(waits[9], 30_000);
        queue.done(&Work::Discover, None);
        queue.failed(&Work::Discover, at(0));
        assert_eq!(
            queue.next_due(true),
            at(0).checked_add(SignedDuration::from_millis(200)).ok()
        );
    }
}
