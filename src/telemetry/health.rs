//! `/healthz`, `/readyz` and `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Metrics;

/// What has to be there before the controller is of use. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    waiting: Arc<Mutex<BTreeMap<String, Wait>>>,
}

/// One thing that is waited for.
#[derive(Debug, Default)]
struct Wait {
    /// How often.
    times: usize,
    /// Why the last try was in vain.
    why: Option<String>,
}

impl Readiness {
    /// From now on `what` is waited for, once more.
    pub fn wait_for(&self, what: &str) {
        self.lock().entry(what.to_owned()).or_default().times += 1;
    }

    /// `what` is not there yet, and why.
    pub fn failed(&self, what: &str, why: String) {
        if let Some(wait) = self.lock().get_mut(what) {
            wait.why = Some(why);
        }
    }

    /// `what` is on its way: that a try was in vain is over.
    pub fn heard(&self, what: &str) {
        if let Some(wait) = self.lock().get_mut(what) {
            wait.why = None;
        }
    }

    /// `what` is there, once.
    pub fn reached(&self, what: &str) {
        let mut waiting = self.lock();
        match waiting.get_mut(what) {
            Some(wait) if wait.times > 1 => wait.times -= 1,
            _ => drop(waiting.remove(what)),
        }
    }

    /// What is still waited for, in alphabetical order.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Whether the last try for any of it was in vain. What only takes long has not failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.lock().values().any(|wait| wait.why.is_some())
    }

    /// What is missing, with what is known of why: `Service (cannot list Services: forbidden)`.
    #[must_use]
    pub fn reasons(&self) -> String {
        let waiting = self.lock();
        let told = waiting.iter().map(|(what, wait)| match &wait.why {
            Some(why) => format!("{what} ({why})"),
            None => what.clone(),
        });
        told.collect::<Vec<_>>().join(", ")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Wait>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/healthz` answers `ok` as long as the process can answer; `/readyz` answers 200 once nothing
/// is waited for, else 503 and what is missing.
pub fn health_router(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route(
            "/readyz",
            get(move || async move {
                let missing = readiness.reasons();
                if missing.is_empty() {
                    (StatusCode::OK, "ok".to_owned())
                } else {
                    let told = format!("waiting for: {missing}");
                    (StatusCode::SERVICE_UNAVAILABLE, told)
                }
            }),
        )
}

/// `/metrics` in Prometheus' text format.
pub fn metrics_router(metrics: Metrics) -> Router {
    Router::new().route(
        "/metrics",
        get(move || async move {
            match metrics.text() {
                Ok(text) => {
                    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
                }
                Err(error) => {
                    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
                }
            }
        }),
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn status(router: Router, path: &str) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn it_is_ready_when_nothing_is_waited_for() {
        let readiness = Readiness::default();
        readiness.wait_for("AnalysisRun");
        readiness.wait_for("AnalysisRun");
        let router = health_router(readiness.clone());
        assert_eq!(
            status(router.clone(), "/readyz").await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(status(router.clone(), "/healthz").await, StatusCode::OK);
        readiness.reached("AnalysisRun");
        assert_eq!(readiness.missing(), ["AnalysisRun"]);
        readiness.failed("AnalysisRun", "cannot list them: forbidden".to_owned());
        readiness.failed("Job", "nobody waits for it".to_owned());
        let why = "AnalysisRun (cannot list them: forbidden)";
        assert_eq!(readiness.reasons(), why);
        assert!(readiness.has_failed());
        readiness.heard("AnalysisRun");
        assert!(!readiness.has_failed());
        assert_eq!(readiness.reasons(), "AnalysisRun");
        readiness.reached("AnalysisRun");
        assert_eq!(status(router, "/readyz").await, StatusCode::OK);
    }
}
