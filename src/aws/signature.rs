//! AWS Signature Version 4 of requests with a body.
//!
//! # Source
//! "Create a signed AWS API request" in the IAM user guide; the tests hold against its example and
//! the public test suite.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::digest::{SHA256, digest};
use ring::hmac::{HMAC_SHA256, Key, sign};

use super::credentials::Credentials;

/// What is signed.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) host: &'a str,
    /// Encoded, `/` at least.
    pub(super) path: &'a str,
    /// Encoded and sorted.
    pub(super) query: &'a str,
    pub(super) content_type: Option<&'a str>,
    pub(super) body: &'a str,
}

/// For whom it is signed.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) now: Timestamp,
}

/// The headers that a request must have beside those that were signed: names and values.
pub(super) fn headers(
    request: &Request<'_>,
    scope: &Scope<'_>,
    credentials: &Credentials,
) -> Vec<(&'static str, String)> {
    let now = scope.now.to_zoned(TimeZone::UTC);
    let (time, day) = (
        now.strftime("%Y%m%dT%H%M%SZ").to_string(),
        now.strftime("%Y%m%d").to_string(),
    );
    let token = credentials.session_token.as_ref();
    // Sorted by name.
    let mut signed = Vec::new();
    signed.extend(request.content_type.map(|kind| ("content-type", kind)));
    signed.push(("host", request.host));
    signed.push(("x-amz-date", time.as_str()));
    signed.extend(token.map(|token| ("x-amz-security-token", token.expose())));
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines = signed
        .iter()
        .map(|(name, value)| format!("{name}:{}", value.trim()));
    let lines = lines.collect::<Vec<_>>().join("\n");
    let Request {
        method,
        path,
        query,
        body,
        ..
    } = request;
    let canonical = format!(
        "{method}\n{path}\n{query}\n{lines}\n\n{names}\n{}",
        hash(body)
    );
    let Scope {
        region, service, ..
    } = scope;
    let credential_scope = format!("{day}/{region}/{service}/aws4_request");
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{credential_scope}\n{}",
        hash(&canonical)
    );
    let secret = format!("AWS4{}", credentials.secret_access_key.expose());
    let key = [day.as_str(), region, service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| authenticate(&key, part));
    let signature = hex(&authenticate(&key, &text));
    let id = &credentials.access_key_id;
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={id}/{credential_scope}, SignedHeaders={names}, Signature={signature}"
    );
    let mut headers = vec![("x-amz-date", time), ("authorization", authorization)];
    headers.extend(token.map(|token| ("x-amz-security-token", token.expose().to_owned())));
    headers
}

fn authenticate(key: &[u8], text: &str) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes())
        .as_ref()
        .to_vec()
}

fn hash(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Redacted;

    fn signature(request: &Request<'_>, service: &str, token: Option<&str>) -> String {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Redacted::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(Redacted::new),
            expires_at: None,
        };
        let scope = Scope {
            region: "us-east-1",
            service,
            now: "2015-08-30T12:36:00Z".parse().unwrap(),
        };
        let headers = headers(request, &scope, &credentials);
        let (_, authorization) = headers
            .iter()
            .find(|(name, _)| *name == "authorization")
            .unwrap();
        authorization
            .split_once("SignedHeaders=")
            .unwrap()
            .1
            .to_owned()
    }

    const PLAIN: Request<'_> = Request {
        method: "GET",
        host: "example.amazonaws.com",
        path: "/",
        query: "",
        content_type: None,
        body: "",
    };

    /// `get-vanilla`, `post-vanilla` and `post-x-www-form-urlencoded` of the public test suite.
    #[test]
    fn requests_are_signed_as_in_the_test_suite() {
        let post = Request {
            method: "POST",
            ..PLAIN
        };
        let form = Request {
            content_type: Some("application/x-www-form-urlencoded"),
            body: "Param1=value1",
            ..post
        };
        for (request, expected) in [
            (
                PLAIN,
                "host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                post,
                "host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                form,
                "content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            assert_eq!(signature(&request, "service", None), expected);
        }
    }

    #[test]
    fn the_example_of_the_user_guide_is_signed_alike() {
        let request = Request {
            host: "iam.amazonaws.com",
            query: "Action=ListUsers&Version=2010-05-08",
            content_type: Some("application/x-www-form-urlencoded; charset=utf-8"),
            ..PLAIN
        };
        assert_eq!(
            signature(&request, "iam", None),
            "content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn a_token_is_signed_too() {
        let signed = signature(&PLAIN, "service", Some("token"));
        assert!(signed.starts_with("host;x-amz-date;x-amz-security-token, "));
    }
}
