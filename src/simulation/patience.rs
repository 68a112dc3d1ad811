//! How long the simulation waits: for an answer, and before it tries again.

use std::time::Duration;

use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::runtime::utils::Backoff;
use tower::BoxError;

/// An answer that takes longer than this is not coming.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

/// The first and the longest wait after a failure.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A client whose requests fail when they are not answered in time. The stream of a watch may last.
pub(super) fn impatient(client: Client) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            let answer = tokio::time::timeout(LONGEST_ANSWER, client.send(request)).await;
            let answer: Result<Response<Body>, BoxError> = match answer {
                Ok(answer) => answer.map_err(BoxError::from),
                Err(_) => Err(format!("no answer within {LONGEST_ANSWER:?}").into()),
            };
            answer
        }
    });
    Client::new(service, "default")
}

/// The wait after this many failures in a row before: it doubles with each.
pub(super) fn retry_after(failures: u32) -> Duration {
    LAST_RETRY.min(FIRST_RETRY * 2_u32.saturating_pow(failures))
}

/// The waits of a watch that fails. There is nothing random in them.
#[derive(Debug, Default)]
pub(super) struct WatchBackoff {
    failures: u32,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = retry_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        Some(wait)
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = WatchBackoff::default();
        let waits: Vec<_> = backoff
            .by_ref()
            .take(10)
            .map(|wait| wait.as_millis())
            .collect();
        assert_eq!(&waits[..3], [200, 400, 800]);
        assert_eq!(waits[9], 30_000);
        backoff.reset();
        assert_eq!(backoff.next(), Some(FIRST_RETRY));
        assert_eq!(retry_after(u32::MAX), LAST_RETRY);
    }
}
