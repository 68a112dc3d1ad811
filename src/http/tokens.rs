//! OAuth 2.0 tokens by client credentials, kept until they expire.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::metric_providers::{
    ClientCredentials, Connection, HttpReply, HttpRequest, base64, shown,
};

use super::exchange::form;
use super::{Inner, lock};

/// A token is renewed this long before its end, so that it does not end on its way.
const MARGIN: Duration = Duration::from_secs(10);

/// For servers that do not say when a token ends.
const DEFAULT_LIFE: Duration = Duration::from_mins(5);

/// Clients that are remembered; more are asked for anew.
const MOST_CLIENTS: usize = 1_000;

/// The tokens that are in use.
#[derive(Default)]
pub(super) struct Tokens {
    clients: Mutex<HashMap<ClientCredentials, Arc<Client>>>,
}

/// What is known of one client. Its lock is held while a token is fetched, so that one is fetched
/// for all who wait.
#[derive(Default)]
struct Client {
    token: tokio::sync::Mutex<Option<Token>>,
    style: Mutex<Option<Style>>,
}

struct Token {
    text: String,
    ends_at: Option<Instant>,
}

/// How a client identifies itself to the token server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Basic,
    Form,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl Tokens {
    /// A token that is good for now.
    pub(super) async fn get(
        &self,
        door: &Inner,
        connection: &Connection,
        credentials: &ClientCredentials,
    ) -> Result<String, String> {
        let client = self.client(credentials);
        let mut token = client.token.lock().await;
        let now = Instant::now();
        if let Some(token) = &*token
            && token.ends_at.is_none_or(|end| now + MARGIN < end)
        {
            return Ok(token.text.clone());
        }
        let fetched = client
            .fetch(door, connection, credentials)
            .await
            .map_err(|why| {
                format!(
                    "cannot get a token from {}: {why}",
                    shown(&credentials.token_url)
                )
            })?;
        Ok(token.insert(fetched).text.clone())
    }

    /// Drops a token that the source did not take.
    pub(super) fn forget(&self, credentials: &ClientCredentials, refused: &str) {
        let client = self.client(credentials);
        if let Ok(mut token) = client.token.try_lock()
            && token.as_ref().is_some_and(|token| token.text == refused)
        {
            *token = None;
        }
    }

    fn client(&self, credentials: &ClientCredentials) -> Arc<Client> {
        let mut clients = lock(&self.clients);
        if clients.len() >= MOST_CLIENTS && !clients.contains_key(credentials) {
            clients.clear();
        }
        clients.entry(credentials.clone()).or_default().clone()
    }
}

impl Client {
    /// Asks as it worked the last time; at first with Basic, then in the form.
    async fn fetch(
        &self,
        door: &Inner,
        connection: &Connection,
        credentials: &ClientCredentials,
    ) -> Result<Token, String> {
        let known = *lock(&self.style);
        let styles = match known {
            Some(Style::Form) => [Style::Form, Style::Basic],
            Some(Style::Basic) | None => [Style::Basic, Style::Form],
        };
        let mut first_error = None;
        for style in styles {
            match ask(door, connection, credentials, style).await {
                Ok(token) => {
                    *lock(&self.style) = Some(style);
                    return Ok(token);
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_default())
    }
}

async fn ask(
    door: &Inner,
    connection: &Connection,
    credentials: &ClientCredentials,
    style: Style,
) -> Result<Token, String> {
    door.guard.checked(&credentials.token_url)?;
    let asked_at = Instant::now();
    let request = request(connection, credentials, style);
    let reply = door.transport.send(&request, None).await?;
    read(&reply, asked_at)
}

fn request(connection: &Connection, credentials: &ClientCredentials, style: Style) -> HttpRequest {
    let ClientCredentials {
        token_url,
        client_id,
        client_secret,
        scope,
        headers,
    } = credentials;
    let mut headers = headers.clone();
    headers.set("Content-Type", "application/x-www-form-urlencoded");
    let mut fields = vec![("grant_type", "client_credentials".to_owned())];
    if !scope.is_empty() {
        fields.push(("scope", scope.clone()));
    }
    match style {
        Style::Basic => {
            // RFC 6749, 2.3.1: both parts are form-encoded first.
            let encoded = |text: &str| form(&[("", text.to_owned())])[1..].to_owned();
            let pair = format!("{}:{}", encoded(client_id), encoded(client_secret));
            headers.set(
                "Authorization",
                &format!("Basic {}", base64(pair.into_bytes())),
            );
        }
        Style::Form => {
            fields.push(("client_id", client_id.clone()));
            fields.push(("client_secret", client_secret.clone()));
        }
    }
    HttpRequest {
        method: "POST".to_owned(),
        url: token_url.clone(),
        headers,
        body: Some(form(&fields)),
        connection: Connection {
            oauth2: None,
            ..connection.clone()
        },
    }
}

fn read(reply: &HttpReply, asked_at: Instant) -> Result<Token, String> {
    if !(200..300).contains(&reply.status) {
        return Err(format!("answered {}", reply.status));
    }
    // What is wrong with the answer is not told: it may hold a token.
    let answer: Answer = serde_json::from_slice(&reply.body)
        .map_err(|_| "the answer has no access_token".to_owned())?;
    // Some servers write the number as text.
    let seconds = answer.expires_in.and_then(|life| {
        life.as_f64()
            .or_else(|| life.as_str().and_then(|text| text.parse().ok()))
    });
    let life = match seconds {
        Some(seconds) if seconds > 0.0 => {
            Duration::try_from_secs_f64(seconds).unwrap_or(DEFAULT_LIFE)
        }
        Some(_) | None => DEFAULT_LIFE,
    };
    Ok(Token {
        text: answer.access_token,
        ends_at: asked_at.checked_add(life),
    })
}
