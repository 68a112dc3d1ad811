//! Who asks AWS: credentials, from where the SDKs look for them and in their order.
//!
//! 1. `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`;
//! 2. a web identity token, for a role (IAM roles for service accounts);
//! 3. a container's endpoint (EKS Pod Identity, ECS);
//! 4. the instance's metadata (version 2).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::xml;
use crate::analysis::Redacted;
use crate::http::Http;
use crate::metric_providers::{Connection, Headers, HttpReply, HttpRequest};

/// How long one of these services may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Credentials are renewed this long before their end.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// Where ECS has a container's credentials.
const CONTAINER: &str = "http://169.254.170.2";
/// Where an instance has its metadata.
const METADATA: &str = "http://169.254.169.254/latest";

/// What the process is told by its environment. Empty texts are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Redacted,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Redacted,
    /// `AWS_REGION`, or `AWS_DEFAULT_REGION`
    pub region: String,
    /// `AWS_ROLE_ARN`
    pub role_arn: String,
    /// `AWS_ROLE_SESSION_NAME`
    pub role_session_name: String,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`
    pub web_identity_token_file: String,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`
    pub container_uri: String,
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`
    pub container_relative_uri: String,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`
    pub container_token: Redacted,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`
    pub container_token_file: String,
    /// `AWS_EC2_METADATA_DISABLED`
    pub is_metadata_disabled: bool,
}

impl Environment {
    /// Reads the environment.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| variable(name).unwrap_or_default();
        let region = text("AWS_REGION");
        Self {
            access_key_id: text("AWS_ACCESS_KEY_ID"),
            secret_access_key: Redacted::new(text("AWS_SECRET_ACCESS_KEY")),
            session_token: Redacted::new(text("AWS_SESSION_TOKEN")),
            region: if region.is_empty() {
                text("AWS_DEFAULT_REGION")
            } else {
                region
            },
            role_arn: text("AWS_ROLE_ARN"),
            role_session_name: text("AWS_ROLE_SESSION_NAME"),
            web_identity_token_file: text("AWS_WEB_IDENTITY_TOKEN_FILE"),
            container_uri: text("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
            container_relative_uri: text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            container_token: Redacted::new(text("AWS_CONTAINER_AUTHORIZATION_TOKEN")),
            container_token_file: text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            is_metadata_disabled: text("AWS_EC2_METADATA_DISABLED").eq_ignore_ascii_case("true"),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Redacted,
    pub(super) session_token: Option<Redacted>,
    /// None: never.
    pub(super) expires_at: Option<Timestamp>,
}

impl Credentials {
    pub(super) fn are_good(&self, now: Timestamp) -> bool {
        self.expires_at
            .is_none_or(|end| now.duration_until(end) > MARGIN)
    }

    /// Finds credentials.
    ///
    /// # Errors
    /// Why there are none, without any secret.
    pub(super) async fn find(from: &Environment, http: &Http) -> Result<Self, String> {
        if !from.access_key_id.is_empty() && !from.secret_access_key.expose().is_empty() {
            let token = Some(from.session_token.clone());
            return Ok(Self {
                access_key_id: from.access_key_id.clone(),
                secret_access_key: from.secret_access_key.clone(),
                session_token: token.filter(|token| !token.expose().is_empty()),
                expires_at: None,
            });
        }
        if !from.web_identity_token_file.is_empty() && !from.role_arn.is_empty() {
            return assume_role(from, http).await.map_err(|why| {
                format!(
                    "cannot assume role {} by web identity: {why}",
                    from.role_arn
                )
            });
        }
        if !from.container_uri.is_empty() || !from.container_relative_uri.is_empty() {
            let found = of_container(from, http).await;
            return found.map_err(|why| format!("cannot get the container's credentials: {why}"));
        }
        if from.is_metadata_disabled {
            return Err("there are no AWS credentials in the environment".to_owned());
        }
        let found = of_instance(http).await;
        found.map_err(|why| format!("cannot get the instance's credentials: {why}"))
    }
}

/// What containers and instances answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken")]
    token: String,
    expiration: Timestamp,
}

impl From<Answer> for Credentials {
    fn from(answer: Answer) -> Self {
        Self {
            access_key_id: answer.access_key_id,
            secret_access_key: Redacted::new(answer.secret_access_key),
            session_token: Some(Redacted::new(answer.token)),
            expires_at: Some(answer.expiration),
        }
    }
}

fn understood(answer: Value) -> Result<Credentials, String> {
    // What serde says of it could repeat it.
    let answer: Answer =
        serde_json::from_value(answer).map_err(|_| "the answer is not understood".to_owned())?;
    Ok(answer.into())
}

async fn assume_role(from: &Environment, http: &Http) -> Result<Credentials, String> {
    let token = read(&from.web_identity_token_file).await?;
    let host = match from.region.as_str() {
        "" => "sts.amazonaws.com".to_owned(),
        region => super::host("sts", region),
    };
    let session = match from.role_session_name.as_str() {
        "" => "verdict",
        name => name,
    };
    let body = super::form(&[
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", &from.role_arn),
        ("RoleSessionName", session),
        ("WebIdentityToken", token.expose()),
    ]);
    let mut headers = Headers::default();
    headers.set("Content-Type", super::FORM);
    let reply = ask(
        http,
        "POST",
        &format!("https://{host}/"),
        headers,
        Some(body),
    )
    .await?;
    let answer = xml::read(&reply.body).ok_or("the answer is not XML")?;
    let found = answer.pointer("/AssumeRoleWithWebIdentityResult/Credentials");
    understood(found.cloned().unwrap_or_default())
}

async fn of_container(from: &Environment, http: &Http) -> Result<Credentials, String> {
    let url = match from.container_relative_uri.as_str() {
        "" => from.container_uri.clone(),
        path => format!("{CONTAINER}{path}"),
    };
    let mut headers = Headers::default();
    let token = match from.container_token_file.as_str() {
        "" => from.container_token.clone(),
        file => read(file).await?,
    };
    if !token.expose().is_empty() {
        headers.set("Authorization", token.expose());
    }
    let reply = ask(http, "GET", &url, headers, None).await?;
    understood(serde_json::from_slice(&reply.body).unwrap_or_default())
}

async fn of_instance(http: &Http) -> Result<Credentials, String> {
    let mut headers = Headers::default();
    headers.set("X-aws-ec2-metadata-token-ttl-seconds", "300");
    let token = ask(http, "PUT", &format!("{METADATA}/api/token"), headers, None).await?;
    let mut headers = Headers::default();
    headers.set("X-aws-ec2-metadata-token", &text(&token));
    let roles = format!("{METADATA}/meta-data/iam/security-credentials/");
    let role = ask(http, "GET", &roles, headers.clone(), None).await?;
    let role = text(&role);
    let role = role.lines().next().unwrap_or_default();
    let reply = ask(http, "GET", &format!("{roles}{role}"), headers, None).await?;
    understood(serde_json::from_slice(&reply.body).unwrap_or_default())
}

fn text(reply: &HttpReply) -> String {
    String::from_utf8_lossy(&reply.body).trim().to_owned()
}

/// A file with a token. It changes as the token is renewed.
async fn read(file: &str) -> Result<Redacted, String> {
    let path = file.to_owned();
    let found = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    let found = found.map_err(|error| error.to_string())?;
    let text = found.map_err(|error| format!("cannot read {file}: {error}"))?;
    Ok(Redacted::new(text.trim()))
}

async fn ask(
    http: &Http,
    method: &str,
    url: &str,
    headers: Headers,
    body: Option<String>,
) -> Result<HttpReply, String> {
    let request = HttpRequest {
        method: method.to_owned(),
        url: url.to_owned(),
        headers,
        body,
        connection: Connection {
            timeout: ANSWER_WITHIN,
            insecure: false,
            oauth2: None,
        },
    };
    let reply = http
        .send(&request)
        .await
        .map_err(|why| format!("{url}: {why}"))?;
    match reply.status {
        200..300 => Ok(reply),
        status => Err(format!(
            "{url} answered {status}{}",
            xml::refusal(&reply.body)
        )),
    }
}
