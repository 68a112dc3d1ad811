//! For a person, who would only type the same again: what a moment's trouble has spoilt is asked
//! again, a few times.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use tokio::time::Sleep;
use tower::retry::{Policy, Retry};
use tower::{BoxError, service_fn};

/// How often something is asked again. With the pauses below that takes some four seconds.
const TRIES: u32 = 5;

/// The first pause; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause that is not the server's own wish.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A server that wants to be left alone for longer has said no, for a person.
const LONGEST_WISH: u64 = 10;

/// A client that asks again what it may ask twice, as kubectl does and a little more.
///
/// # Guarantees
/// A write is sent again only if the server says that it was not carried out: too much to do, not
/// ready, or another write came between. What might have been done is never done twice.
///
/// # Panics
/// Never: the first pause is shorter than the longest.
///
/// # Source
/// `rest/with_retry.go` of client-go, which leaves out answers to reads that name no time to wait.
#[must_use]
pub fn persistent(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let ask = service_fn(move |request| whole(client.clone(), request));
    let pauses = RetryPolicy::new(FIRST_PAUSE, LONGEST_PAUSE, TRIES, true)
        .expect("the first pause is shorter than the longest");
    Client::new(Retry::new(Persistence(pauses), ask), namespace)
}

/// An answer with all of its body, but for watches: a connection may be cut in the middle.
async fn whole(client: Client, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let query = request.uri().query().unwrap_or_default();
    let is_watch = query.split('&').any(|pair| pair == "watch=true");
    let answer = client.send(request).await.map_err(cause)?;
    if is_watch {
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let body = body.collect_bytes().await.map_err(cause)?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn cause(error: kube::Error) -> BoxError {
    match error {
        kube::Error::Service(cause) => cause,
        other => other.into(),
    }
}

/// kube's policy knows when and how often to ask again, but takes too much for harmless, and knows
/// nothing of connections.
#[derive(Clone)]
struct Persistence(RetryPolicy);

impl Policy<Request<Body>, Response<Body>, BoxError> for Persistence {
    type Future = Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<Body>, BoxError>,
    ) -> Option<Sleep> {
        let wish = match result {
            Ok(answer) => {
                let wish = answer.headers().get(RETRY_AFTER);
                may_repeat(request.method(), answer.status(), wish).then(|| wish.cloned())
            }
            Err(error) => (is_read(request.method()) && is_cut(&**error)).then_some(None),
        }?;
        let mut passing = Response::new(());
        *passing.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        passing
            .headers_mut()
            .extend(wish.map(|wish| (RETRY_AFTER, wish)));
        self.0.retry(request, &mut Ok(passing))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let policy: &mut dyn Policy<_, Response<()>, _, Future = Sleep> = &mut self.0;
        policy.clone_request(request)
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether what was answered so may be asked again.
fn may_repeat(method: &Method, status: StatusCode, wish: Option<&HeaderValue>) -> bool {
    let seconds = wish.and_then(|wish| wish.to_str().ok()?.parse::<u64>().ok());
    if seconds.is_some_and(|seconds| seconds > LONGEST_WISH) {
        return false;
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => is_read(method) || seconds.is_some(),
        // The patches of people have no precondition: they hold for the newer object, too.
        StatusCode::CONFLICT => *method == Method::PATCH,
        status => is_read(method) && status.is_server_error(),
    }
}

/// Whether a connection has ended before the answer has. One that did not come about is no matter of
/// a moment.
pub(super) fn is_cut(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|error| {
        let ended = [
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::UnexpectedEof,
        ];
        let io = error.downcast_ref::<io::Error>();
        let http = error.downcast_ref::<hyper::Error>();
        io.is_some_and(|error| ended.contains(&error.kind()))
            || http
                .is_some_and(|error| error.is_incomplete_message() || error.is_body_write_aborted())
    })
}

/// An error, and what has caused it.
pub(super) fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| {
        (*error).source()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::header::HeaderMap;

    use super::*;

    /// What happens to one request.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Answer(u16),
        /// With the time to wait.
        Wish(u16, u64),
        Error(io::ErrorKind),
    }

    use Fate::{Answer, Error, Wish};

    /// A server that does this to one request after the other, and then answers 200. Tells how it was
    /// answered in the end, after how many requests, in how many milliseconds.
    async fn asked(method: Method, fates: &[Fate]) -> (Result<u16, String>, usize, u128) {
        let left: Arc<Mutex<Vec<Fate>>> =
            Arc::new(Mutex::new(fates.iter().rev().copied().collect()));
        let times = Arc::new(Mutex::new(0));
        let count = Arc::clone(&times);
        let server = service_fn(move |_: Request<Body>| {
            *count.lock().unwrap() += 1;
            let fate = left.lock().unwrap().pop().unwrap_or(Answer(200));
            let (status, wish) = match fate {
                Answer(status) => (status, None),
                Wish(status, seconds) => (status, Some(seconds)),
                Error(kind) => {
                    return std::future::ready(Err(BoxError::from(io::Error::from(kind))));
                }
            };
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            let wishes = wish.map(|wish| (RETRY_AFTER, HeaderValue::from(wish)));
            *answer.headers_mut() = HeaderMap::from_iter(wishes);
            std::future::ready(Ok(answer))
        });
        let client = persistent(Client::new(server, "default"));
        let request = Request::builder()
            .method(method)
            .uri("/api")
            .body(Body::from(b"{}".to_vec()));
        let began = tokio::time::Instant::now();
        let answer = client.send(request.unwrap()).await;
        let told = answer.map(|answer| answer.status().as_u16());
        let times = *times.lock().unwrap();
        (
            told.map_err(|error| error.to_string()),
            times,
            began.elapsed().as_millis(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_asked_twice_is_asked_again() {
        const CUT: Fate = Error(io::ErrorKind::ConnectionReset);
        let cases = [
            (Method::GET, vec![], 200, 1),
            (
                Method::GET,
                vec![Answer(500), Answer(502), Answer(503), CUT],
                200,
                5,
            ),
            (Method::GET, vec![Answer(500); 9], 500, 6),
            (Method::GET, vec![Answer(404)], 404, 1),
            (Method::GET, vec![Wish(429, 1)], 200, 2),
            (Method::GET, vec![Wish(429, 60)], 429, 1),
            (
                Method::PATCH,
                vec![Wish(429, 1), Wish(503, 1), Answer(409)],
                200,
                4,
            ),
            (Method::PATCH, vec![Answer(500)], 500, 1),
            (Method::PATCH, vec![Answer(503)], 503, 1),
            (Method::PATCH, vec![Wish(504, 1)], 504, 1),
            (Method::PUT, vec![Answer(409)], 409, 1),
            (Method::POST, vec![Answer(409)], 409, 1),
            (Method::POST, vec![Answer(429)], 200, 2),
        ];
        for (method, fates, status, times) in cases {
            let (told, asked, _) = asked(method.clone(), &fates).await;
            assert_eq!((told, asked), (Ok(status), times), "{method} {fates:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_connection_is_made_again_for_reads_only() {
        let cases = [
            (Method::GET, io::ErrorKind::ConnectionReset, 2),
            (Method::GET, io::ErrorKind::UnexpectedEof, 2),
            (Method::GET, io::ErrorKind::ConnectionRefused, 1),
            (Method::PATCH, io::ErrorKind::ConnectionReset, 1),
        ];
        for (method, kind, times) in cases {
            let (told, asked, _) = asked(method.clone(), &[Error(kind)]).await;
            assert_eq!(
                (told.is_ok(), asked),
                (times > 1, times),
                "{method} {kind:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_the_wish_of_the_server_is_heard() {
        let (_, _, waited) = asked(Method::GET, &[Answer(500); 9]).await;
        assert!((3_000..6_000).contains(&waited), "{waited} ms");
        let (_, _, waited) = asked(Method::PATCH, &[Wish(429, 3), Wish(429, 4)]).await;
        assert!((7_000..7_100).contains(&waited), "{waited} ms");
    }
}
