//! The door to plugins: traffic routers and steps that other programs carry out.
//!
//! A plugin of Argo Rollouts is a Go program that speaks Go's own gob encoding, which nothing else
//! speaks. Here a plugin is an address that takes POST requests, or a program that is started for
//! each call; both get a JSON object and answer with one (`docs/plugins.md`). The configuration is
//! read at each call: a plugin that is broken, or missing, matters to those who use it.

mod definition;
mod program;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::analysis::{Redacted, Redactor};
use crate::api::Rollout;
use crate::cluster::Cluster;
use crate::http::Http;
use crate::metric_providers::{Connection, Headers, HttpRequest};

use definition::{Definition, Door};

/// Where plugins are configured, in the controller's namespace.
const CONFIGURATION: &str = "argo-rollouts-config";

/// How long a plugin may take to answer. Who needs more answers that it is still at work.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What of a failure's body is shown.
const MOST_SHOWN: usize = 200;

/// What kind of plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginKind {
    /// Divides traffic.
    TrafficRouter,
    /// Carries out a step.
    Step,
}

impl PluginKind {
    fn key(self) -> &'static str {
        match self {
            Self::TrafficRouter => "trafficRouterPlugins",
            Self::Step => "stepPlugins",
        }
    }
}

/// Why a plugin did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The configuration does not have it.
    #[error("plugin `{0}` is not configured")]
    Unknown(String),
    /// The configuration switches it off.
    #[error("plugin `{0}` is disabled")]
    Disabled(String),
    /// It, or its configuration, is broken.
    #[error("plugin `{name}`: {why}")]
    Broken {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
}

/// The plugins of a controller. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Plugins(Option<Arc<Configured>>);

#[derive(Debug)]
struct Configured {
    cluster: Cluster,
    namespace: String,
    http: Http,
}

/// What a plugin is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What kind of plugin.
    pub kind: PluginKind,
    /// Its name.
    pub name: &'a str,
    /// What it is to do.
    pub method: &'a str,
    /// For which Rollout.
    pub rollout: &'a Rollout,
    /// What it is told beside the Rollout.
    pub body: &'a Map<String, Value>,
}

impl Plugins {
    /// Those that the configuration in this namespace names.
    #[must_use]
    pub fn new(cluster: Cluster, namespace: impl Into<String>, http: Http) -> Self {
        let namespace = namespace.into();
        Self(Some(Arc::new(Configured {
            cluster,
            namespace,
            http,
        })))
    }

    /// Asks a plugin.
    ///
    /// # Errors
    /// Why it did not answer.
    pub async fn ask(&self, question: Question<'_>) -> Result<Map<String, Value>, Failure> {
        let name = question.name.to_owned();
        let Some(configured) = &self.0 else {
            return Err(Failure::Unknown(name));
        };
        let found = configured.definition(question.kind, question.name).await;
        let definition = match found {
            Ok(Some(definition)) => definition,
            Ok(None) => return Err(Failure::Unknown(name)),
            Err(why) => return Err(Failure::Broken { name, why }),
        };
        if definition.is_disabled && question.kind == PluginKind::Step {
            return Err(Failure::Disabled(name));
        }
        let answer = configured.ask(&definition, question).await;
        answer.map_err(|why| Failure::Broken { name, why })
    }
}

impl Configured {
    async fn definition(&self, kind: PluginKind, name: &str) -> Result<Option<Definition>, String> {
        let found = self
            .cluster
            .get::<ConfigMap>(&self.namespace, CONFIGURATION)
            .await;
        let found = found.map_err(|error| error.to_string())?;
        let data = found.and_then(|found| found.data).unwrap_or_default();
        match data.get(kind.key()) {
            Some(list) => definition::find(kind.key(), list, name),
            None => Ok(None),
        }
    }

    async fn ask(
        &self,
        definition: &Definition,
        question: Question<'_>,
    ) -> Result<Map<String, Value>, String> {
        let mut call = question.body.clone();
        call.insert("method".to_owned(), question.method.into());
        call.insert("rollout".to_owned(), json!(question.rollout));
        let call = Value::from(call).to_string();
        let answer = match &definition.door {
            Door::Program(program) => program.ask(call.into_bytes(), ANSWER_WITHIN).await?,
            Door::Http { url, headers_from } => self.post(url, headers_from, call).await?,
        };
        understood(&answer)
    }

    async fn post(&self, url: &str, from: &[String], call: String) -> Result<Vec<u8>, String> {
        let mut headers = Headers::default();
        headers.set("Content-Type", "application/json");
        let mut secrets = Vec::new();
        for name in from {
            for (header, value) in self.secret(name).await? {
                headers.set(&header, value.expose());
                secrets.push(value);
            }
        }
        let request = HttpRequest {
            method: "POST".to_owned(),
            url: url.to_owned(),
            headers,
            body: Some(call),
            connection: Connection {
                timeout: ANSWER_WITHIN,
                insecure: false,
                oauth2: None,
            },
        };
        let redactor = Redactor::new(&secrets);
        let reply = self.http.send(&request).await;
        let reply = reply.map_err(|why| redactor.redact(&why).into_owned())?;
        if (200..300).contains(&reply.status) {
            return Ok(reply.body.to_vec());
        }
        let body = String::from_utf8_lossy(&reply.body);
        let body = redactor.redact(body.trim());
        let shown: String = body.chars().take(MOST_SHOWN).collect();
        Err(format!("answered {}: {shown}", reply.status))
    }

    async fn secret(&self, name: &str) -> Result<Vec<(String, Redacted)>, String> {
        let found = self.cluster.get::<Secret>(&self.namespace, name).await;
        let found = found.map_err(|error| error.to_string())?;
        let found = found.ok_or_else(|| format!("Secret `{}/{name}` not found", self.namespace))?;
        let entries = found.data.unwrap_or_default().into_iter();
        entries
            .map(|(key, value)| {
                let text = String::from_utf8(value.0)
                    .map_err(|_| format!("key `{key}` of Secret `{name}` is not text"))?;
                Ok((key, Redacted::new(text.trim())))
            })
            .collect()
    }
}

/// An answer, if it is no error.
fn understood(answer: &[u8]) -> Result<Map<String, Value>, String> {
    let text = String::from_utf8_lossy(answer);
    let answer: Map<String, Value> = match text.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text)
            .map_err(|error| format!("the answer is not a JSON object: {error}"))?,
    };
    match answer.get("error").and_then(Value::as_str) {
        Some(why) if !why.is_empty() => Err(why.to_owned()),
        _ => Ok(answer),
    }
}
