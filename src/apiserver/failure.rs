//! Refusals: the `Status` bodies that Kubernetes answers with.

use serde_json::{Value, json};

use super::resources::{self, Resource};

/// A request that was not carried out, as the `Status` that the client reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) details: Option<Value>,
}

/// One reason why an object is invalid.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cause {
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) field: String,
}

/// What was found about an object: what it is refused for, and what the client is only told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Verdict {
    pub(super) causes: Vec<Cause>,
    pub(super) warnings: Vec<String>,
}

impl Cause {
    fn new(reason: &'static str, field: impl Into<String>, message: String) -> Self {
        Self {
            reason,
            message,
            field: field.into(),
        }
    }

    pub(super) fn invalid(field: impl Into<String>, value: &Value, problem: &str) -> Self {
        let message = format!("Invalid value: {value}: {problem}");
        Self::new("FieldValueInvalid", field, message)
    }

    /// A value that is too large to be told, such as one that breaks a CEL rule.
    #[cfg(feature = "cel")]
    pub(super) fn invalid_unnamed(field: impl Into<String>, problem: &str) -> Self {
        let message = format!("Invalid value: {problem}");
        Self::new("FieldValueInvalid", field, message)
    }

    /// A value that Go writes as JSON, in which it escapes what HTML would read.
    #[cfg(feature = "cel")]
    pub(super) fn invalid_go(field: impl Into<String>, json: &str, problem: &str) -> Self {
        let json = json
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026");
        let message = format!("Invalid value: {json}: {problem}");
        Self::new("FieldValueInvalid", field, message)
    }

    #[cfg(feature = "cel")]
    pub(super) fn internal(field: impl Into<String>, problem: &str) -> Self {
        Self::new("InternalError", field, format!("Internal error: {problem}"))
    }

    pub(super) fn wrong_type(field: &str, found: &str, wanted: &str) -> Self {
        let message = format!(
            "Invalid value: \"{found}\": {field} in body must be of type {wanted}: \"{found}\""
        );
        Self::new("FieldValueTypeInvalid", field, message)
    }

    pub(super) fn required(field: impl Into<String>, problem: &str) -> Self {
        let message = match problem {
            "" => "Required value".to_owned(),
            problem => format!("Required value: {problem}"),
        };
        Self::new("FieldValueRequired", field, message)
    }

    pub(super) fn forbidden(field: impl Into<String>, problem: &str) -> Self {
        Self::new(
            "FieldValueForbidden",
            field,
            format!("Forbidden: {problem}"),
        )
    }

    pub(super) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(
            "FieldValueDuplicate",
            field,
            format!("Duplicate value: {value}"),
        )
    }

    /// As [`Cause::duplicate`], for a value that is too large to be told.
    #[cfg(feature = "cel")]
    pub(super) fn duplicate_unnamed(field: impl Into<String>) -> Self {
        Self::new("FieldValueDuplicate", field, "Duplicate value".to_owned())
    }

    pub(super) fn unsupported(field: impl Into<String>, value: &Value, known: &[Value]) -> Self {
        let known: Vec<String> = known.iter().map(Value::to_string).collect();
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            known.join(", ")
        );
        Self::new("FieldValueNotSupported", field, message)
    }

    pub(super) fn too_long(field: impl Into<String>, limit: u64) -> Self {
        let bytes = if limit == 1 { "byte" } else { "bytes" };
        let message = format!("Too long: may not be more than {limit} {bytes}");
        Self::new("FieldValueTooLong", field, message)
    }

    pub(super) fn too_many(field: impl Into<String>, found: usize, limit: u64) -> Self {
        let items = if limit == 1 { "item" } else { "items" };
        let message = format!("Too many: {found}: must have at most {limit} {items}");
        Self::new("FieldValueTooMany", field, message)
    }
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self {
            code,
            reason,
            message,
            details: None,
        }
    }

    fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).with_details(resource.details(name))
    }

    pub(super) fn namespace_not_found(name: &str) -> Self {
        Self::new(404, "NotFound", format!("namespaces \"{name}\" not found"))
            .with_details(json!({"name": name, "kind": "namespaces"}))
    }

    pub(super) fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let problem = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut details = resource.details(name);
        details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        let message = format!(
            "{} \"{name}\" is forbidden: {problem}",
            resource.qualified()
        );
        Self::new(403, "Forbidden", message).with_details(details)
    }

    pub(super) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).with_details(resource.details(name))
    }

    pub(super) fn conflict(resource: &Resource, name: &str, problem: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {problem}",
            resource.qualified()
        );
        Self::new(409, "Conflict", message).with_details(resource.details(name))
    }

    pub(super) fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and \
             try again",
        )
    }

    /// A precondition of a delete, which names the kind where other conflicts name the resource.
    pub(super) fn precondition(resource: &Resource, name: &str, problem: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {problem}",
            resource.qualified_kind()
        );
        Self::new(409, "Conflict", message).with_details(resource.kind_details(name))
    }

    /// A server-side apply that would take fields from other managers: (manager, field) pairs.
    pub(super) fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let plural = if conflicts.len() == 1 { "" } else { "s" };
        let listed = match conflicts {
            [(manager, field)] => format!("conflict with {manager}: {field}"),
            many => many
                .iter()
                .fold("conflicts:".to_owned(), |text, (manager, field)| {
                    format!("{text}\nconflict with {manager}:\n- {field}")
                }),
        };
        let message = format!(
            "Apply failed with {} conflict{plural}: {listed}",
            conflicts.len()
        );
        let causes: Vec<Value> = conflicts
            .iter()
            .map(|(manager, field)| {
                json!({
                    "reason": "FieldManagerConflict",
                    "message": format!("conflict with {manager}"),
                    "field": field,
                })
            })
            .collect();
        Self::new(409, "Conflict", message).with_details(json!({"causes": causes}))
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into())
    }

    /// An object that breaks rules; all of them are told.
    pub(super) fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        let details = resource.kind_details(name);
        Self::invalid_as(&resource.qualified_kind(), name, details, causes)
    }

    /// As [`Failure::invalid`], but named by the resource instead of the kind.
    pub(super) fn invalid_resource(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_as(&resource.qualified(), name, resource.details(name), causes)
    }

    /// Options of a request that break rules.
    pub(super) fn invalid_options(kind: &str, causes: &[Cause]) -> Self {
        let details = json!({"group": "meta.k8s.io", "kind": kind});
        Self::invalid_as(&format!("{kind}.meta.k8s.io"), "", details, causes)
    }

    pub(super) fn invalid_as(what: &str, name: &str, mut details: Value, causes: &[Cause]) -> Self {
        let mut told: Vec<String> = Vec::new();
        for cause in causes {
            let text = format!("{}: {}", cause.field, cause.message);
            if !told.contains(&text) {
                told.push(text);
            }
        }
        let told = match told.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        details["causes"] = causes
            .iter()
            .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
            .collect();
        Self::new(
            422,
            "Invalid",
            format!("{what} \"{name}\" is invalid: {told}"),
        )
        .with_details(details)
    }

    /// What somebody may not do; without a resource it is about a path.
    pub(super) fn forbidden(plural: &str, group: &str, name: &str, problem: &str) -> Self {
        if plural.is_empty() {
            return Self::new(403, "Forbidden", format!("forbidden: {problem}"))
                .with_details(json!({}));
        }
        let qualified = resources::qualify(plural, group);
        let about = match name {
            "" => qualified,
            name => format!("{qualified} \"{name}\""),
        };
        Self::new(403, "Forbidden", format!("{about} is forbidden: {problem}"))
            .with_details(resources::details(name, group, plural))
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized".to_owned())
    }

    /// An eviction that a disruption budget does not allow.
    pub(super) fn disruption(budget: &str, wanted: i64, healthy: i64) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let cause = format!(
            "The disruption budget {budget} needs {wanted} healthy pods and has {healthy} currently"
        );
        Self::new(429, "TooManyRequests", message.to_owned()).with_details(json!({
            "causes": [{"reason": "DisruptionBudget", "message": cause}],
        }))
    }

    /// What only a container runtime could answer.
    pub(super) fn not_played(resource: &Resource, name: &str, subresource: &str) -> Self {
        let message = format!(
            "`{}/{subresource}` of `{name}` cannot be had: this cluster is simulated and runs no \
             containers",
            resource.plural
        );
        Self::new(501, "", message).with_details(resource.details(name))
    }

    /// A JSON patch that does not apply.
    pub(super) fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message.to_owned()).with_details(json!({}))
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message.to_owned()).with_details(json!({}))
    }

    pub(super) fn unknown_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message.to_owned()).with_details(json!({}))
    }

    pub(super) fn unsupported_media(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: \
             {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message.into())
    }

    pub(super) fn internal_error(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message.into())
    }

    /// A watch from a version after which changes are forgotten: the first that is kept follows
    /// `forgotten`.
    pub(super) fn watch_expired(wanted: u64, forgotten: u64) -> Self {
        let message = format!("too old resource version: {wanted} ({forgotten})");
        Self::new(410, "Expired", message)
    }

    /// A list of a state that is forgotten.
    pub(super) fn list_expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list \
                       result. You can start a new list without the continue parameter.";
        Self::new(410, "Expired", message.to_owned())
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// A body that did not come in time.
    pub(super) fn too_slow() -> Self {
        let message = "Timeout: request did not complete within the allotted timeout".to_owned();
        Self::new(504, "Timeout", message)
    }

    pub(super) fn panicked() -> Self {
        Self::internal_error("this request made the server panic; its standard error says where")
    }

    /// A resourceVersion that this server has not reached.
    pub(super) fn version_too_large(wanted: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        Self::new(504, "Timeout", message).with_details(json!({
            "causes": [{
                "reason": "ResourceVersionTooLarge",
                "message": "Too large resource version",
            }],
            "retryAfterSeconds": 1,
        }))
    }

    /// An answer that a story scripted or chaos drew.
    pub(super) fn scripted(code: u16) -> Self {
        let reason = match code {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "Unknown",
        };
        let failure = Self::new(
            code,
            reason,
            format!("a fault made on purpose: status {code}"),
        );
        match code {
            429 | 503 => failure.with_details(json!({"retryAfterSeconds": 1})),
            _ => failure,
        }
    }

    /// The body of the answer.
    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}
