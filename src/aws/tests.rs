//! Credentials from all the places, and what is asked with them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::*;
use crate::analysis::Redacted;

/// What was asked: method, host and path, and the header that says who asks.
type Asked = Arc<Mutex<Vec<String>>>;

/// AWS, as far as it is asked here, and what it was asked.
fn aws(environment: Environment) -> (Aws, Asked) {
    let asked = Asked::default();
    let noting = Arc::clone(&asked);
    let router = Router::new().fallback(move |request: Request| {
        let noting = Arc::clone(&noting);
        async move { answer(&request, &noting) }
    });
    // The guard is of the network: in the process, credentials are asked for as anything else.
    let http = Http::in_process_unguarded(router);
    let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    (Aws::new(environment, http, clock), asked)
}

fn answer(request: &Request, noting: &Asked) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let header = |name: &str| {
        let value = request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    };
    let who = [header("authorization"), header("x-aws-ec2-metadata-token")].concat();
    let who = who.split(", ").next().unwrap_or_default().to_owned();
    let place = format!("{}{}", uri.host().unwrap_or_default(), uri.path());
    let said = format!("{method} {place} {who}");
    noting.lock().unwrap().push(said.trim().to_owned());
    let credentials = json!({"AccessKeyId": "FOUND", "SecretAccessKey": "s", "Token": "t", "Expiration": "2026-01-01T01:00:00Z"});
    let path = "/latest/meta-data/iam/security-credentials/";
    match place.as_str() {
        "169.254.169.254/latest/api/token" => "session".into_response(),
        place if place == format!("169.254.169.254{path}") => "node-role".into_response(),
        place if place.ends_with("/node-role") || place.contains("credentials") => credentials.to_string().into_response(),
        place if place.starts_with("sts.") => "<R><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASSUMED</AccessKeyId>\
            <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration>\
            </Credentials></AssumeRoleWithWebIdentityResult></R>".into_response(),
        "elasticloadbalancing.eu-west-1.amazonaws.com/" =>
            "<R><DescribeTagsResult><TagDescriptions><member><ResourceArn>a</ResourceArn></member></TagDescriptions></DescribeTagsResult></R>".into_response(),
        _ => (StatusCode::FORBIDDEN, "<E><Error><Code>AccessDenied</Code><Message>not you</Message></Error></E>").into_response(),
    }
}

async fn describe(aws: &Aws) -> Result<Value, String> {
    let parameters = [("ResourceArns.member.1".to_owned(), "a".to_owned())];
    aws.describe("eu-west-1", "DescribeTags", &parameters).await
}

/// With keys, a role, a pod's identity and a container's endpoint.
fn environments(file: &str) -> [Environment; 4] {
    let of_key = Environment {
        access_key_id: "KEY".to_owned(),
        secret_access_key: Redacted::new("s"),
        ..Environment::default()
    };
    let of_role = Environment {
        role_arn: "arn:aws:iam::1:role/verdict".to_owned(),
        web_identity_token_file: file.to_owned(),
        region: "eu-west-1".to_owned(),
        ..Environment::default()
    };
    let of_pod = Environment {
        container_uri: "http://169.254.170.23/v1/credentials".to_owned(),
        container_token_file: file.to_owned(),
        ..Environment::default()
    };
    let of_container = Environment {
        container_relative_uri: "/v2/credentials/x".to_owned(),
        ..Environment::default()
    };
    [of_key, of_role, of_pod, of_container]
}

#[tokio::test]
async fn credentials_are_found_in_all_the_places_and_kept() {
    let folder = std::env::temp_dir().join(format!("verdict-aws-{}", std::process::id()));
    std::fs::write(&folder, "web-token\n").unwrap();
    let file = folder.display().to_string();
    let [of_key, of_role, of_pod, of_container] = environments(&file);
    let signed = |id: &str| {
        format!(
            "POST elasticloadbalancing.eu-west-1.amazonaws.com/ AWS4-HMAC-SHA256 Credential={id}/20260101/eu-west-1/elasticloadbalancing/aws4_request"
        )
    };
    let roles = "169.254.169.254/latest/meta-data/iam/security-credentials/";
    let cases = [
        (of_key, vec![signed("KEY")]),
        (
            of_role,
            vec![
                "POST sts.eu-west-1.amazonaws.com/".to_owned(),
                signed("ASSUMED"),
            ],
        ),
        (
            of_pod,
            vec![
                "GET 169.254.170.23/v1/credentials web-token".to_owned(),
                signed("FOUND"),
            ],
        ),
        (
            of_container,
            vec![
                "GET 169.254.170.2/v2/credentials/x".to_owned(),
                signed("FOUND"),
            ],
        ),
        (
            Environment::default(),
            vec![
                "PUT 169.254.169.254/latest/api/token".to_owned(),
                format!("GET {roles} session"),
                format!("GET {roles}node-role session"),
                signed("FOUND"),
            ],
        ),
    ];
    for (environment, mut expected) in cases {
        let (aws, asked) = aws(environment);
        let answer = describe(&aws).await;
        assert_eq!(
            answer,
            Ok(json!({"TagDescriptions": [{"ResourceArn": "a"}]}))
        );
        describe(&aws).await.unwrap();
        expected.extend(expected.last().cloned());
        assert_eq!(*asked.lock().unwrap(), expected, "credentials are kept");
    }
    std::fs::remove_file(folder).unwrap();
}

#[tokio::test]
async fn what_goes_wrong_is_said_without_secrets() {
    let key = Environment {
        access_key_id: "KEY".to_owned(),
        secret_access_key: Redacted::new("hunter2"),
        ..Environment::default()
    };
    let (refused, _) = aws(key.clone());
    assert_eq!(
        refused.describe("us-east-1", "DescribeTags", &[]).await,
        Err("cannot DescribeTags in us-east-1: answered 403: AccessDenied: not you".to_owned())
    );
    assert_eq!(
        refused.describe("", "DescribeTags", &[]).await,
        Err("the AWS region is not known: set AWS_REGION".to_owned())
    );
    let (nobody, _) = aws(Environment {
        is_metadata_disabled: true,
        ..Environment::default()
    });
    assert_eq!(
        describe(&nobody).await,
        Err(
            "cannot DescribeTags in eu-west-1: there are no AWS credentials in the environment"
                .to_owned()
        )
    );
    let (no_file, _) = aws(Environment {
        role_arn: "arn:aws:iam::1:role/verdict".to_owned(),
        web_identity_token_file: "/nowhere".to_owned(),
        ..Environment::default()
    });
    let error = describe(&no_file).await.unwrap_err();
    assert!(
        error.contains(
            "cannot assume role arn:aws:iam::1:role/verdict by web identity: cannot read /nowhere: "
        ),
        "{error}"
    );
    assert!(!format!("{key:?}").contains("hunter2"));
}
