//! Access and token reviews: the one user of this server may do everything.

use serde_json::{Value, json};

use super::core::Core;
use super::failure::Failure;

/// Who every request comes from.
const USER: &str = "admin";

/// The group that may do everything.
const MASTERS: &str = "system:masters";

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

/// Answers a review.
pub(super) fn answer(core: &Core, kind: &str, sent: &Value) -> Result<Value, Failure> {
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
    if let Some(spec) = sent.get("spec") {
        review["spec"] = spec.clone();
    }
    review["status"] = match kind {
        "SelfSubjectReview" => {
            review["metadata"]["creationTimestamp"] = core.now();
            json!({"userInfo": {
                "username": USER,
                "uid": USER,
                "groups": [MASTERS, "system:authenticated"],
            }})
        }
        "TokenReview" => json!({"user": {}, "error": "invalid bearer token"}),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        "SelfSubjectAccessReview" => json!({"allowed": true}),
        _ => json!({"allowed": is_admin(&sent["spec"])}),
    };
    Ok(review)
}

/// Whether a review is about the user who may do everything.
fn is_admin(spec: &Value) -> bool {
    let in_masters = spec["groups"]
        .as_array()
        .is_some_and(|groups| groups.iter().any(|group| group == MASTERS));
    spec["user"] == USER || in_masters
}
