//! How a request identifies itself.

use k8s_openapi::ByteString;

use crate::api::{Authentication, BasicAuth, Header, OAuth2, SigV4};

use super::request::{ClientCredentials, Headers};

const AUTHORIZATION: &str = "Authorization";

/// What `authentication` comes to.
#[derive(Default)]
pub(super) struct Credentials {
    pub(super) oauth2: Option<ClientCredentials>,
    /// The value of `Authorization`.
    pub(super) basic: Option<String>,
    /// Amazon's signature is asked for.
    pub(super) sigv4: bool,
}

impl Credentials {
    /// Understands what is written; what is wrong with it goes to `problems`.
    pub(super) fn of(written: Option<&Authentication>, problems: &mut Vec<String>) -> Self {
        let Some(written) = written else {
            return Self::default();
        };
        Self {
            oauth2: written
                .oauth2
                .as_ref()
                .and_then(|oauth2| client(oauth2, problems)),
            basic: written
                .basic_auth
                .as_ref()
                .and_then(|basic| header(basic, problems)),
            sigv4: written.sigv4.as_ref().is_some_and(is_set),
        }
    }

    /// Adds Basic authentication, unless another one is in place.
    pub(super) fn add_basic(&self, headers: &mut Headers) {
        if let (None, Some(basic)) = (&self.oauth2, &self.basic)
            && !headers.has(AUTHORIZATION)
        {
            headers.set(AUTHORIZATION, basic);
        }
    }
}

/// Headers as written; a later one replaces an earlier one.
pub(super) fn headers(written: &[Header]) -> Headers {
    let mut headers = Headers::default();
    for header in written {
        headers.set(&header.key, &header.value);
    }
    headers
}

/// Whether the template itself sets `Authorization`.
pub(super) fn is_authorized(headers: &Headers) -> bool {
    headers.has(AUTHORIZATION)
}

fn is_set(sigv4: &SigV4) -> bool {
    [&sigv4.region, &sigv4.profile, &sigv4.role_arn]
        .iter()
        .any(|field| !field.is_empty())
}

fn client(oauth2: &OAuth2, problems: &mut Vec<String>) -> Option<ClientCredentials> {
    if oauth2.token_url.is_empty() {
        return None;
    }
    let missing: Vec<&str> = [
        ("clientId", &oauth2.client_id),
        ("clientSecret", &oauth2.client_secret),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_empty())
    .map(|(name, _)| name)
    .collect();
    if !missing.is_empty() {
        problems.push(format!(
            "authentication.oauth2: missing mandatory parameter for OAuth2: {}",
            missing.join(", ")
        ));
        return None;
    }
    Some(ClientCredentials {
        token_url: oauth2.token_url.clone(),
        client_id: oauth2.client_id.clone(),
        client_secret: oauth2.client_secret.clone(),
        scope: oauth2.scopes.join(" "),
        headers: Headers::default(),
    })
}

fn header(basic: &BasicAuth, problems: &mut Vec<String>) -> Option<String> {
    let missing = match (basic.username.is_empty(), basic.password.is_empty()) {
        (true, true) => return None,
        (false, false) => {
            let text = format!("{}:{}", basic.username, basic.password);
            return Some(format!("Basic {}", base64(text.into_bytes())));
        }
        (true, false) => "username",
        (false, true) => "password",
    };
    problems.push(format!(
        "authentication.basicAuth.{missing}: missing for basic authentication"
    ));
    None
}

/// Kubernetes' own byte strings are base64 as JSON, so no other crate is needed for it.
pub(crate) fn base64(bytes: Vec<u8>) -> String {
    match serde_json::to_value(ByteString(bytes)) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> BasicAuth {
        BasicAuth {
            username: username.into(),
            password: password.into(),
            ..BasicAuth::default()
        }
    }

    #[test]
    fn basic_authentication_needs_both_parts() {
        for (username, password, expected, problem) in [
            ("", "", None, ""),
            (
                "Aladdin",
                "open sesame",
                Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
                "",
            ),
            ("me", "", None, "basicAuth.password"),
            ("", "secret", None, "basicAuth.username"),
        ] {
            let mut problems = Vec::new();
            let value = header(&basic(username, password), &mut problems);
            assert_eq!(value.as_deref(), expected);
            assert_eq!(problems.is_empty(), problem.is_empty());
            assert!(problems.concat().contains(problem) && !problems.concat().contains("secret"));
        }
    }

    #[test]
    fn client_credentials_name_what_is_missing() {
        let oauth2 = OAuth2 {
            token_url: "http://t".into(),
            ..OAuth2::default()
        };
        let mut problems = Vec::new();
        assert!(client(&oauth2, &mut problems).is_none());
        assert!(
            problems[0].contains("clientId, clientSecret"),
            "{problems:?}"
        );
        let unused = OAuth2 {
            client_id: "x".into(),
            ..OAuth2::default()
        };
        assert!(client(&unused, &mut Vec::new()).is_none());
    }
}
