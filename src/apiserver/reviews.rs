//! Access and token reviews: who somebody is, and what they may do.

use serde_json::{Value, json};

use super::core::Core;
use super::failure::Failure;
use super::rbac::{self, Attempt};
use super::tokens::{self, Unknown};
use super::users::User;

/// A kind of review: (group, plural, kind, namespaced).
pub(super) const KINDS: &[(&str, &str, &str, bool)] = &[
    (
        "authentication.k8s.io",
        "selfsubjectreviews",
        "SelfSubjectReview",
        false,
    ),
    (
        "authentication.k8s.io",
        "tokenreviews",
        "TokenReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        true,
    ),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "subjectaccessreviews",
        "SubjectAccessReview",
        false,
    ),
];

/// The kind of review that is posted to this resource.
pub(super) fn kind(group: &str, version: &str, plural: &str) -> Option<&'static str> {
    let found = KINDS
        .iter()
        .find(|(g, p, _, _)| *g == group && *p == plural && version == "v1");
    found.map(|(_, _, kind, _)| *kind)
}

/// Answers a review that a user sent.
pub(super) fn answer(core: &Core, kind: &str, user: &User, sent: &Value) -> Result<Value, Failure> {
    if !sent.is_object() {
        return Err(Failure::bad_request("a review is an object"));
    }
    let group = match kind {
        "SelfSubjectReview" | "TokenReview" => "authentication.k8s.io",
        _ => "authorization.k8s.io",
    };
    let mut review = json!({
        "kind": kind,
        "apiVersion": format!("{group}/v1"),
        "metadata": {},
    });
    let spec = &sent["spec"];
    if !spec.is_null() {
        review["spec"] = spec.clone();
    }
    review["status"] = match kind {
        "SelfSubjectReview" => {
            review["metadata"]["creationTimestamp"] = core.now();
            json!({"userInfo": user.info()})
        }
        "TokenReview" => token(core, spec),
        "SelfSubjectRulesReview" => rules(core, user, spec),
        "SelfSubjectAccessReview" => access(core, user, spec),
        _ => access(core, &User::of_review(spec), spec),
    };
    Ok(review)
}

fn access(core: &Core, user: &User, spec: &Value) -> Value {
    if user.is_master() {
        return json!({"allowed": true});
    }
    match rbac::reason(core, user, &Attempt::of_review(spec)) {
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    }
}

fn rules(core: &Core, user: &User, spec: &Value) -> Value {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    let rules = if user.is_master() {
        rbac::everything()
    } else {
        rbac::rules(core, user, namespace)
    };
    let (of_paths, of_resources): (Vec<Value>, Vec<Value>) = rules
        .into_iter()
        .partition(|rule| !rule["nonResourceURLs"].is_null());
    json!({
        "resourceRules": of_resources,
        "nonResourceRules": of_paths,
        "incomplete": false,
    })
}

fn token(core: &Core, spec: &Value) -> Value {
    let token = spec["token"].as_str().unwrap_or_default();
    match tokens::user(core, token) {
        Ok(user) => json!({"authenticated": true, "user": user.info()}),
        Err(Unknown::Foreign) => json!({"user": {}, "error": "invalid bearer token"}),
        Err(Unknown::Ended(why)) => {
            json!({"user": {}, "error": format!("[invalid bearer token, {why}]")})
        }
    }
}
