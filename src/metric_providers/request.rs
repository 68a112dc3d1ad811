//! What a provider asks, and what comes back: plain values, so that asking can be tested without
//! a network.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

/// What a provider wants to know next.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Any HTTP request.
    Http(HttpRequest),
    /// A Prometheus query.
    Prometheus(PrometheusRequest),
    /// Something about a Job.
    Job(JobRequest),
}

/// The answer to a [`Request`], or why there is none, without naming the source.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To [`Request::Http`] and [`Request::Prometheus`].
    Http(Result<HttpReply, String>),
    /// To [`Request::Job`].
    Job(Result<JobReply, String>),
}

/// How a source is reached.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// For the whole exchange, the wait for a free slot and a token included.
    pub timeout: Duration,
    /// The server's certificate is not checked.
    pub insecure: bool,
    /// A token is to be fetched and sent along.
    pub oauth2: Option<ClientCredentials>,
}

/// An OAuth 2.0 client that may ask for tokens.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCredentials {
    /// Where tokens are issued.
    pub token_url: String,
    /// Who asks.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Separated by spaces; empty for none.
    pub scope: String,
    /// Headers that the token request carries, too.
    pub headers: Headers,
}

/// An HTTP request. Its `Debug` shows no header, body, query or user.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpRequest {
    /// Any token.
    pub method: String,
    /// Absolute.
    pub url: String,
    /// In the order in which they were written.
    pub headers: Headers,
    /// `None` sends none.
    pub body: Option<String>,
    /// How to reach the source.
    pub connection: Connection,
}

/// A question to Prometheus' HTTP API. Its `Debug` shows no header.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PrometheusRequest {
    /// Base URL without a slash at the end.
    pub address: String,
    /// In PromQL.
    pub query: String,
    /// Of which time.
    pub time: QueryTime,
    /// POST, or GET for servers that refuse it.
    pub method: QueryMethod,
    /// In the order in which they were written.
    pub headers: Headers,
    /// How to reach the server.
    pub connection: Connection,
}

/// The time that a Prometheus query is about, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueryTime {
    /// One moment. Whole seconds let equal queries of several runs be asked once.
    At(i64),
    /// A range.
    Range {
        /// First moment.
        start: i64,
        /// Last moment.
        end: i64,
        /// Time between two moments.
        step: Duration,
    },
}

/// How a query is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueryMethod {
    /// As a form; long queries fit.
    Post,
    /// In the URL.
    Get,
}

/// Names and values of headers. A later one replaces an earlier one of the same name.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Headers(Vec<(String, String)>);

/// What a server answered.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// `Retry-After` as sent.
    pub retry_after: Option<String>,
    /// Decompressed.
    pub body: Arc<[u8]>,
}

/// Something to do with Jobs of one namespace.
#[derive(Debug, Clone, PartialEq)]
pub enum JobRequest {
    /// Make this Job, unless one of its name is there.
    Create(Box<Job>),
    /// Read a Job from the API server, not from a cache.
    Get(JobName),
    /// List the pods that a label selector picks.
    Pods {
        /// Where.
        namespace: String,
        /// `key=value,…`
        selector: String,
    },
    /// Delete a Job, its pods first.
    Delete(JobName),
}

/// Where a Job stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The answer to a [`JobRequest`].
#[derive(Debug, Clone, PartialEq)]
pub enum JobReply {
    /// It was made.
    Created,
    /// A Job of that name is there, untouched.
    AlreadyThere,
    /// The Job, `None` if there is none.
    Job(Option<Box<Job>>),
    /// The pods.
    Pods(Vec<Pod>),
    /// It is gone or going.
    Deleted,
}

impl Headers {
    /// Sets a header; one of the same name (in any case) is replaced.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Whether a header of that name is set.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, shown(&self.url))
    }
}

impl fmt::Debug for PrometheusRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {} {:?}",
            self.method,
            shown(&self.address),
            self.time
        )
    }
}

impl fmt::Debug for HttpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

/// An address as it may be shown: without user, password, query and fragment.
#[must_use]
pub fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return url
            .rsplit_once('@')
            .map_or(url, |(_, rest)| rest)
            .to_owned();
    };
    let (authority, path) = rest
        .find('/')
        .map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        for (url, expected) in [
            ("http://a:9090/x/y", "http://a:9090/x/y"),
            ("https://me:pass@a/x?token=t#f", "https://a/x"),
            ("https://me:p@ss@a", "https://a"),
            ("http://a?x=http://u:p@b/", "http://a"),
            ("http://a/x@y", "http://a/x@y"),
            ("me:pass@a", "a"),
            ("", ""),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn a_header_replaces_one_of_the_same_name() {
        let mut headers = Headers::default();
        headers.set("X-A", "1");
        headers.set("Other", "2");
        headers.set("x-a", "3");
        assert_eq!(
            headers.iter().collect::<Vec<_>>(),
            [("Other", "2"), ("x-a", "3")]
        );
    }
}
