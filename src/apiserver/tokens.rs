//! Tokens of service accounts: what `kubectl create token` gives.
//!
//! They are JSON Web Tokens, signed with a key that a server draws when it starts.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::core::{Core, seconds};
use super::failure::{Cause, Failure};
use super::rbac::{self, Attempt};
use super::request::Target;
use super::resources::Resource;
use super::users::User;

/// Who signs the tokens, and whom they are for unless others are named.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// How long a token lasts for which no time is asked, and the shortest and longest time.
const SECONDS: i64 = 3600;
const FEWEST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;

/// Signs tokens, and knows its own.
pub(super) struct Tokens {
    key: hmac::Key,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// Why a token does not say who somebody is.
pub(super) enum Unknown {
    /// It is none of this server's.
    Foreign,
    /// It was this server's, but its time is over or its account is gone.
    Ended(&'static str),
}

impl Tokens {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self {
            key: key.expect("the system gives random numbers"),
        }
    }

    fn signed(&self, claims: &Value) -> String {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let head = json!({"alg": "HS256", "typ": "JWT"});
        let text = format!("{}.{}", encode(&head), encode(claims));
        let signature = hmac::sign(&self.key, text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// What a token claims, if this server signed it.
    fn claims(&self, token: &str) -> Option<Value> {
        let (text, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, text.as_bytes(), &signature).ok()?;
        let (_, claims) = text.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

/// Answers a `TokenRequest` for a service account.
pub(super) fn answer(
    core: &Core,
    accounts: &Resource,
    target: &Target,
    sent: &Value,
) -> Result<Value, Failure> {
    let (namespace, name) = target.key();
    let account = core
        .object(accounts, &target.key())
        .ok_or_else(|| Failure::not_found(accounts, &name))?;
    let spec = &sent["spec"];
    let asked = spec["expirationSeconds"].as_i64().unwrap_or(SECONDS);
    check_time(asked, &name)?;
    let audiences = super::schema::strings(spec.get("audiences"));
    let audiences = if audiences.is_empty() {
        vec![ISSUER.to_owned()]
    } else {
        audiences
    };
    let now = core.clock.now();
    let end = Timestamp::from_second(now.as_second() + asked).unwrap_or(Timestamp::MAX);
    let token = core.tokens.signed(&json!({
        "iss": ISSUER,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "aud": audiences,
        "iat": now.as_second(),
        "nbf": now.as_second(),
        "exp": end.as_second(),
        "jti": core.next_uid(),
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": account.value["metadata"]["uid"]},
        },
    }));
    Ok(json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": core.now()},
        "spec": {
            "audiences": audiences,
            "expirationSeconds": asked,
            "boundObjectRef": spec["boundObjectRef"],
        },
        "status": {"token": token, "expirationTimestamp": seconds(end)},
    }))
}

fn check_time(asked: i64, name: &str) -> Result<(), Failure> {
    let problem = match asked {
        ..FEWEST_SECONDS => "may not specify a duration less than 10 minutes",
        FEWEST_SECONDS..=MOST_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let cause = Cause::invalid("spec.expirationSeconds", &asked.into(), problem);
    Err(Failure::invalid_as(
        "TokenRequest.authentication.k8s.io",
        name,
        json!({"group": "authentication.k8s.io", "kind": "TokenRequest", "name": name}),
        &[cause],
    ))
}

/// The service account that a token is of.
pub(super) fn user(core: &Core, token: &str) -> Result<User, Unknown> {
    let claims = core.tokens.claims(token).ok_or(Unknown::Foreign)?;
    if claims["exp"].as_i64().unwrap_or(0) <= core.clock.now().as_second() {
        return Err(Unknown::Ended("service account token has expired"));
    }
    let about = &claims["kubernetes.io"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = text(&about["namespace"]);
    let name = text(&about["serviceaccount"]["name"]);
    let uid = text(&about["serviceaccount"]["uid"]);
    let key = (namespace.clone(), name.clone());
    let account = core.store.get("serviceaccounts", &key);
    if account.is_none_or(|account| account.value["metadata"]["uid"] != uid.as_str()) {
        return Err(Unknown::Ended("service account has been deleted"));
    }
    Ok(User::service_account(&namespace, &name, &uid))
}

/// Who a request comes from: a service account by its token, or the one user of this server; and
/// whom that user plays, if it may.
pub(super) fn authenticate(core: &Core, headers: &HeaderMap) -> Result<User, Failure> {
    let bearer = headers.get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let asking = match bearer.map(|token| user(core, token)) {
        Some(Ok(account)) => account,
        Some(Err(Unknown::Ended(_))) => return Err(Failure::unauthorized()),
        // Whoever stands in front of this server has let the request in.
        Some(Err(Unknown::Foreign)) | None => User::admin(),
    };
    let Some(played) = User::played(headers)? else {
        return Ok(asking);
    };
    let attempt = Attempt {
        verb: "impersonate".to_owned(),
        resource: "users".to_owned(),
        name: played.name.clone(),
        ..Attempt::default()
    };
    rbac::check(core, &asking, &attempt)?;
    Ok(played)
}
