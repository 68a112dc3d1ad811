//! The door to AWS: the API of load balancers, asked with a signature.
//!
//! Only `Describe…` is ever asked. Credentials are found as the SDKs find them, kept until shortly
//! before their end, and shown nowhere.

mod credentials;
mod signature;
#[cfg(test)]
mod tests;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use tokio::sync::Mutex;

pub use credentials::Environment;

use crate::clock::Clock;
use crate::http::Http;
use crate::metric_providers::{Connection, Headers, HttpRequest};

use credentials::Credentials;
use signature::{Request, Scope, headers};

/// How AWS is asked.
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// The service, as signatures and hosts name it.
const SERVICE: &str = "elasticloadbalancing";
/// The version of its API.
const VERSION: &str = "2015-12-01";
/// How long it may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The API of AWS' load balancers. Cheap to clone; clones share credentials.
#[derive(Debug, Clone)]
pub struct Aws(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    environment: Environment,
    /// Must reach link-local addresses: credentials are there.
    http: Http,
    clock: Clock,
    credentials: Mutex<Option<Credentials>>,
}

impl Aws {
    /// A door that is used with the credentials that the environment leads to, through `http`, which
    /// must be allowed to reach link-local addresses.
    #[must_use]
    pub fn new(environment: Environment, http: Http, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            environment,
            http,
            clock,
            credentials: Mutex::default(),
        }))
    }

    /// Asks the API of load balancers.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn describe(
        &self,
        region: &str,
        action: &str,
        parameters: &[(String, String)],
    ) -> Result<Value, String> {
        let inner = &*self.0;
        let region = match region {
            "" => inner.environment.region.as_str(),
            region => region,
        };
        if region.is_empty() {
            return Err("the AWS region is not known: set AWS_REGION".to_owned());
        }
        let mut fields = vec![("Action", action), ("Version", VERSION)];
        let more = parameters.iter();
        fields.extend(more.map(|(name, value)| (name.as_str(), value.as_str())));
        let answer = inner.post(region, form(&fields)).await;
        let answer = answer.map_err(|why| format!("cannot {action} in {region}: {why}"))?;
        let result = answer.get(format!("{action}Result"));
        Ok(result.cloned().unwrap_or_default())
    }
}

impl Inner {
    async fn post(&self, region: &str, body: String) -> Result<Value, String> {
        let credentials = self.credentials().await?;
        let host = host(SERVICE, region);
        let request = Request {
            method: "POST",
            host: &host,
            path: "/",
            query: "",
            content_type: Some(FORM),
            body: &body,
        };
        let scope = Scope {
            region,
            service: SERVICE,
            now: self.clock.now(),
        };
        let mut all = Headers::default();
        all.set("Content-Type", FORM);
        for (name, value) in headers(&request, &scope, &credentials) {
            all.set(name, &value);
        }
        let request = HttpRequest {
            method: "POST".to_owned(),
            url: format!("https://{host}/"),
            headers: all,
            body: Some(body),
            connection: Connection {
                timeout: ANSWER_WITHIN,
                insecure: false,
                oauth2: None,
            },
        };
        let reply = self.http.send(&request).await?;
        match reply.status {
            200..300 => xml::read(&reply.body).ok_or_else(|| "the answer is not XML".to_owned()),
            status => {
                if matches!(status, 401 | 403) {
                    // They may have been withdrawn before their time.
                    *self.credentials.lock().await = None;
                }
                Err(format!("answered {status}{}", xml::refusal(&reply.body)))
            }
        }
    }

    async fn credentials(&self) -> Result<Credentials, String> {
        // Held while they are fetched, so that one fetches for all who wait.
        let mut kept = self.credentials.lock().await;
        if let Some(good) = kept.as_ref().filter(|kept| kept.are_good(self.clock.now())) {
            return Ok(good.clone());
        }
        let found = Credentials::find(&self.environment, &self.http).await?;
        Ok(kept.insert(found).clone())
    }
}

fn host(service: &str, region: &str) -> String {
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    format!("{service}.{region}.{domain}")
}

fn form(fields: &[(&str, &str)]) -> String {
    // `Url` is the encoder that is at hand.
    let Ok(mut url) = Url::parse("http://form") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}
