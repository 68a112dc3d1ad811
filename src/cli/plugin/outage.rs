//! Watches that do not come about: tried again, told once, given up where that cannot help.

use std::time::Duration;

use kube::runtime::watcher;
use tokio::time::Instant;

use super::Error;

/// Longer than the longest pause between two tries: an outage of which nothing was heard for so long
/// is over, as far as a watch without changes can tell.
const MEMORY: Duration = Duration::from_mins(2);

/// The cluster cannot be watched at the moment.
///
/// A watch that is cut, or whose version is forgotten, is taken up again without a word: that is how
/// watches are.
#[derive(Debug, Clone, Default)]
pub(super) struct Outage {
    /// When it failed last, and why.
    last: Option<(Instant, String)>,
    /// How often it failed in a row.
    times: u32,
}

impl Outage {
    /// Takes note of a failure; answers what there is to tell, if it is the first.
    ///
    /// # Errors
    /// One that no second try changes.
    pub(super) fn note(&mut self, failure: &watcher::Error) -> Result<Option<String>, Error> {
        match failure {
            watcher::Error::InitialListFailed(_) | watcher::Error::WatchStartFailed(_) => {}
            watcher::Error::WatchError(_)
            | watcher::Error::WatchFailed(_)
            | watcher::Error::NoResourceVersion => return Ok(None),
        }
        let error = crate::cluster::Error::of_watch("the cluster", failure);
        if error.is_refusal() || error.is_not_found() {
            return Err(error.into());
        }
        let is_first = self.told().is_none();
        let text = format!("cannot watch the cluster: {}", error.message());
        self.times = if is_first { 1 } else { self.times + 1 };
        self.last = Some((Instant::now(), text));
        Ok(self.told().filter(|_| is_first))
    }

    /// Why to give up, if it has failed more than this many times in a row.
    pub(super) fn beyond(&self, times: u32) -> Option<Error> {
        let (_, text) = self.last.as_ref()?;
        (self.times > times).then(|| Error::new(text.clone()).hint("is the cluster still there?"))
    }

    /// Something arrived.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// What there is to tell now.
    pub(super) fn told(&self) -> Option<String> {
        let (at, text) = self.last.as_ref()?;
        let ago = at.elapsed();
        (ago < MEMORY).then(|| match ago.as_secs() {
            0..5 => format!("{text}; it is tried again"),
            seconds => format!("{text}; so it was {seconds}s ago, and it is tried again"),
        })
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16) -> watcher::Error {
        let status = Status {
            code,
            message: "no".into(),
            ..Status::default()
        };
        watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(status)))
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_until_it_is_over() {
        let mut outage = Outage::default();
        let told = |told: Result<Option<String>, Error>| told.unwrap().is_some();
        assert!(told(outage.note(&refused(503))));
        assert!(!told(outage.note(&refused(503))));
        assert_eq!(
            (outage.beyond(1).is_some(), outage.beyond(2).is_some()),
            (true, false)
        );
        outage.end();
        assert!(told(outage.note(&refused(500))));
        tokio::time::sleep(MEMORY).await;
        assert_eq!(outage.told(), None);
        assert!(told(outage.note(&refused(500))));
        assert_eq!(outage.times, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_not_tried_for_ever() {
        let mut outage = Outage::default();
        for code in [401, 403, 404] {
            assert!(outage.note(&refused(code)).is_err(), "{code}");
        }
        let gone = watcher::Error::NoResourceVersion;
        assert_eq!(outage.note(&gone), Ok(None), "watches end now and then");
    }
}
