//! The door to everything else over HTTP: time-outs, size limits, TLS, refused addresses, redaction.
//!
//! Metric sources are asked here, and nowhere else. Equal questions in flight are asked once, and
//! one host gets a bounded number of them at a time. An error says why there is no answer; which
//! source was asked is added by whoever asked it.

mod addresses;
mod exchange;
mod tokens;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use reqwest::{StatusCode, Url};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::metric_providers::{Connection, HttpReply, HttpRequest, PrometheusRequest, shown};

use addresses::Guard;
use exchange::Transport;
use tokens::Tokens;

/// A bigger answer is no metric; it is dropped when this much of it has come.
pub const MOST_REPLY_BYTES: usize = 4 << 20;

/// Requests to one host at a time; others wait, within their time limit.
const MOST_PER_HOST: usize = 16;

/// The door could not be built.
#[derive(Debug, Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct Error(#[from] reqwest::Error);

/// Whether metric requests may reach link-local and instance-metadata addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LinkLocal {
    /// A template must not read the node's credentials.
    #[default]
    Refused,
    /// The operator wants it.
    Allowed,
}

/// The door. Cheap to clone; clones share connections, tokens and what is in flight.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    transport: Transport,
    guard: Guard,
    tokens: Tokens,
    flights: Mutex<HashMap<Question, WeakShared<Flight>>>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

type Flight = BoxFuture<'static, Result<HttpReply, String>>;

/// What is asked, in full: equal questions get the same answer.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Question {
    Http(HttpRequest),
    Prometheus(PrometheusRequest),
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// A door to the network. Proxies come from the environment.
    pub fn new(link_local: LinkLocal) -> Result<Self, Error> {
        let guard = Guard::new(link_local);
        Ok(Self::over(Transport::network(guard)?, guard))
    }

    /// A door behind which `router` answers for every host, without a socket.
    #[must_use]
    pub fn in_process(router: Router) -> Self {
        Self::over(Transport::InProcess(router), Guard::new(LinkLocal::Refused))
    }

    /// The same, with link-local addresses.
    #[cfg(test)]
    pub(crate) fn in_process_unguarded(router: Router) -> Self {
        Self::over(Transport::InProcess(router), Guard::new(LinkLocal::Allowed))
    }

    fn over(transport: Transport, guard: Guard) -> Self {
        let (tokens, flights, hosts) = <_>::default();
        Self(Arc::new(Inner {
            transport,
            guard,
            tokens,
            flights,
            hosts,
        }))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Why there is no answer. An answer of any status is one.
    pub async fn send(&self, request: &HttpRequest) -> Result<HttpReply, String> {
        let question = Question::Http(request.clone());
        // Two equal POSTs may well be meant to have two effects.
        if matches!(request.method.as_str(), "GET" | "HEAD") {
            self.shared(question).await
        } else {
            self.0.within_time(&question).await
        }
    }

    /// Asks Prometheus.
    ///
    /// # Errors
    /// Why there is no answer. An answer of any status is one.
    pub async fn query(&self, request: &PrometheusRequest) -> Result<HttpReply, String> {
        self.shared(Question::Prometheus(request.clone())).await
    }

    /// Joins an equal question that is in flight, or asks.
    fn shared(&self, question: Question) -> Shared<Flight> {
        let mut flights = lock(&self.0.flights);
        if let Some(flight) = flights.get(&question).and_then(WeakShared::upgrade) {
            return flight;
        }
        let landing = Landing {
            inner: self.0.clone(),
            question: question.clone(),
        };
        let flight = async move { landing.inner.within_time(&landing.question).await };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(question, weak);
        }
        flight
    }
}

/// Takes a flight off the board, however it ends.
struct Landing {
    inner: Arc<Inner>,
    question: Question,
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.inner.flights).remove(&self.question);
    }
}

impl Inner {
    async fn within_time(&self, question: &Question) -> Result<HttpReply, String> {
        let limit = question.connection().timeout;
        let late = || format!("no answer within {}s", limit.as_secs_f64());
        if limit.is_zero() {
            return Err(late());
        }
        tokio::time::timeout(limit, self.answer(question))
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn answer(&self, question: &Question) -> Result<HttpReply, String> {
        let url = self.guard.checked(question.address())?;
        let slots = self.slots_of(&url);
        let _slot = slots
            .acquire()
            .await
            .map_err(|_| "the controller is stopping".to_owned())?;
        let Some(client) = &question.connection().oauth2 else {
            return self.exchange(question, None).await;
        };
        let token = self.tokens.get(self, question.connection(), client).await?;
        let reply = self.exchange(question, Some(&token)).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        // The token may have been withdrawn before its time.
        self.tokens.forget(client, &token);
        let token = self.tokens.get(self, question.connection(), client).await?;
        self.exchange(question, Some(&token)).await
    }

    async fn exchange(
        &self,
        question: &Question,
        token: Option<&str>,
    ) -> Result<HttpReply, String> {
        match question {
            Question::Http(request) => self.transport.send(request, token).await,
            Question::Prometheus(request) => self.transport.query(request, token).await,
        }
    }

    fn slots_of(&self, url: &Url) -> Arc<Semaphore> {
        let host = url.origin().ascii_serialization();
        let mut hosts = lock(&self.hosts);
        if !hosts.contains_key(&host) {
            hosts.retain(|_, slots| Arc::strong_count(slots) > 1);
        }
        hosts
            .entry(host)
            .or_insert_with(|| Arc::new(Semaphore::new(MOST_PER_HOST)))
            .clone()
    }
}

impl Question {
    fn address(&self) -> &str {
        match self {
            Self::Http(request) => &request.url,
            Self::Prometheus(request) => &request.address,
        }
    }

    fn connection(&self) -> &Connection {
        match self {
            Self::Http(request) => &request.connection,
            Self::Prometheus(request) => &request.connection,
        }
    }
}

/// Nothing that is done under these locks can leave the data half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
