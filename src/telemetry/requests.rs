//! Counts requests to the API server, as Argo Rollouts does.

use std::future::Future;
use std::task::{Context, Poll};

use axum::http::{Method, Request, Response, Uri};
use prometheus::{IntCounterVec, Opts};
use tower::{Layer, Service};

/// Stands for the name of an object: series of names that come and go would grow for ever.
const NO_NAME: &str = "N/A";

/// What is asked for, as the labels tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked<'a> {
    verb: &'static str,
    kind: &'a str,
    namespace: &'a str,
}

/// A tower layer that counts what passes through it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CountRequests {
    requests: IntCounterVec,
}

impl CountRequests {
    pub(super) fn new() -> Self {
        let options = Opts::new(
            "controller_clientset_k8s_request_total",
            "Requests to the API server.",
        );
        let labels = ["kind", "namespace", "name", "verb", "status_code"];
        Self {
            requests: IntCounterVec::new(options, &labels).expect("the name and labels are valid"),
        }
    }

    pub(super) fn collector(&self) -> IntCounterVec {
        self.requests.clone()
    }

    /// `status` is 0 if there was no answer.
    fn count(&self, method: &Method, uri: &Uri, status: u16) {
        let Asked {
            verb,
            kind,
            namespace,
        } = asked(method, uri);
        let status = status.to_string();
        self.requests
            .with_label_values(&[kind, namespace, NO_NAME, verb, &status])
            .inc();
    }
}

impl<S> Layer<S> for CountRequests {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counting {
            inner,
            count: self.clone(),
        }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub struct Counting<S> {
    inner: S,
    count: CountRequests,
}

impl<S, In, Out> Service<Request<In>> for Counting<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let count = self.count.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            count.count(&method, &uri, status);
            answer
        })
    }
}

/// Reads a request's path: `/api/VERSION/…` or `/apis/GROUP/VERSION/…`, then `namespaces/NAME`, if
/// any, the plural name of the kind, and the object, if one is named.
fn asked<'a>(method: &Method, uri: &'a Uri) -> Asked<'a> {
    let mut parts = uri.path().trim_matches('/').split('/');
    let skipped = match parts.next() {
        Some("api") => parts.next(),
        Some("apis") => parts.next().and(parts.next()),
        _ => None,
    };
    let parts: Vec<&str> = parts.collect();
    let (namespace, kind, named) = match (skipped, &parts[..]) {
        (Some(_), ["namespaces", namespace, kind, rest @ ..]) => (*namespace, *kind, rest),
        (Some(_), [kind, rest @ ..]) => ("", *kind, rest),
        _ => {
            return Asked {
                verb: "Unknown",
                kind: "Unknown",
                namespace: "Unknown",
            };
        }
    };
    let is_watch = uri
        .query()
        .is_some_and(|query| query.split('&').any(|one| one == "watch=true"));
    let verb = match *method {
        Method::GET if is_watch => "Watch",
        Method::GET if named.is_empty() => "List",
        Method::GET => "Get",
        Method::POST => "Create",
        Method::PUT => "Update",
        Method::PATCH => "Patch",
        Method::DELETE => "Delete",
        _ => "Unknown",
    };
    Asked {
        verb,
        kind,
        namespace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_by_its_verb_kind_and_namespace() {
        let rollouts = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts";
        let one = format!("{rollouts}/web");
        for (method, path, expected) in [
            (Method::GET, one.clone(), ("Get", "rollouts", "shop")),
            (
                Method::GET,
                rollouts.to_owned(),
                ("List", "rollouts", "shop"),
            ),
            (
                Method::GET,
                format!("{rollouts}?limit=500&watch=true"),
                ("Watch", "rollouts", "shop"),
            ),
            (
                Method::POST,
                rollouts.to_owned(),
                ("Create", "rollouts", "shop"),
            ),
            (
                Method::PATCH,
                format!("{one}/status"),
                ("Patch", "rollouts", "shop"),
            ),
            (Method::PUT, one.clone(), ("Update", "rollouts", "shop")),
            (Method::DELETE, one, ("Delete", "rollouts", "shop")),
            (
                Method::GET,
                "/apis/apps/v1/replicasets".into(),
                ("List", "replicasets", ""),
            ),
            (
                Method::GET,
                "/api/v1/namespaces/shop".into(),
                ("Get", "namespaces", ""),
            ),
            (
                Method::GET,
                "/api/v1/pods?limit=1".into(),
                ("List", "pods", ""),
            ),
            (
                Method::GET,
                "/version".into(),
                ("Unknown", "Unknown", "Unknown"),
            ),
            (
                Method::GET,
                "/api".into(),
                ("Unknown", "Unknown", "Unknown"),
            ),
        ] {
            let uri: Uri = path.parse().unwrap();
            let Asked {
                verb,
                kind,
                namespace,
            } = asked(&method, &uri);
            assert_eq!((verb, kind, namespace), expected, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn requests_are_counted_with_their_answers() {
        use tower::ServiceExt as _;

        let count = CountRequests::new();
        let answers = tower::service_fn(|_: Request<()>| async {
            Ok::<_, std::convert::Infallible>(Response::builder().status(409).body(()).unwrap())
        });
        let service = count.layer(answers);
        let request = Request::put("/api/v1/namespaces/shop/services/web")
            .body(())
            .unwrap();
        service.oneshot(request).await.unwrap();
        let counter = count.collector();
        let told = counter.with_label_values(&["services", "shop", "N/A", "Update", "409"]);
        assert_eq!(told.get(), 1);
    }
}
