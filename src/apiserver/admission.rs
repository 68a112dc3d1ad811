//! What an object must be before it is stored, and what the server adds to it.

use base64::DecodeError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::cel;
use super::defaults;
use super::failure::{Cause, Failure, Verdict};
use super::messages;
use super::names;
use super::request::{FieldValidation, WriteOptions};
use super::resources::{Origin, Resource};
use super::rules;
use super::scale;
use super::schema::Schema;
use super::shaping;
use super::validation::{validate, validate_change};

/// Refuses an object of another kind than the resource has.
pub(super) fn check_kind(resource: &Resource, object: &mut Value) -> Result<(), Failure> {
    if !object.is_object() {
        let message = format!(
            "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal into Go value",
            resource.kind, resource.version, resource.kind
        );
        return Err(Failure::bad_request(message));
    }
    let wanted = resource.api_version();
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    if resource.origin == Origin::Custom && kind.is_empty() {
        return Err(Failure::bad_request(format!(
            "Object 'Kind' is missing in '{object}'"
        )));
    }
    if !kind.is_empty() && kind != resource.kind {
        return Err(wrong_kind(resource, &kind, &api_version));
    }
    if !api_version.is_empty() && api_version != wanted {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version \
             ({wanted})"
        )));
    }
    object["kind"] = json!(resource.kind);
    object["apiVersion"] = json!(wanted);
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    Ok(())
}

fn wrong_kind(resource: &Resource, kind: &str, api_version: &str) -> Failure {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let package = match resource.group.as_str() {
        "" => "core",
        group => group.split('.').next().unwrap_or_default(),
    };
    Failure::bad_request(match resource.origin {
        Origin::BuiltIn => format!(
            "{kind} in version \"{version}\" cannot be handled as a {wanted}: converting \
             ({version}.{kind}) to ({package}.{wanted}): unknown conversion",
            wanted = resource.kind
        ),
        Origin::Custom => format!(
            "the object provided is unrecognized (must be of type {}): {kind}",
            resource.kind
        ),
    })
}

/// Prunes and defaults an object in the version that was sent, and answers warnings about what was
/// lost.
pub(super) fn shape(
    resource: &Resource,
    object: &mut Value,
    duplicates: &[String],
    options: &WriteOptions,
) -> Result<Vec<String>, Failure> {
    // A status that will not be taken is not looked at, either.
    let unknown = shaping::shape(&resource.schema, object);
    if resource.origin == Origin::BuiltIn {
        check_types(resource, object)?;
        let name = messages::name(&resource.api_version(), &resource.kind);
        messages::omit_zeros(&name, object);
    }
    let problems: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .chain(
            duplicates
                .iter()
                .map(|path| format!("duplicate field \"{path}\"")),
        )
        .collect();
    match options.field_validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(problems),
        FieldValidation::Strict if problems.is_empty() => Ok(Vec::new()),
        FieldValidation::Strict => Err(Failure::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {kind}: strict decoding error: {}",
            resource.version,
            problems.join(", "),
            kind = resource.kind
        ))),
    }
}

/// What Go's decoder refuses before anything else is looked at.
fn check_types(resource: &Resource, object: &Value) -> Result<(), Failure> {
    let refused = |problem: String| {
        Failure::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {kind}: {problem}",
            resource.version,
            kind = resource.kind
        ))
    };
    for value in object["data"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, value)| value)
    {
        if resource.is("", "Secret")
            && let Some(Err(error)) = value.as_str().map(|text| STANDARD.decode(text))
        {
            let place = match error {
                DecodeError::InvalidByte(place, _) | DecodeError::InvalidLastSymbol(place, _) => {
                    place
                }
                DecodeError::InvalidLength(length) => length,
                DecodeError::InvalidPadding => value.as_str().map_or(0, str::len),
            };
            return Err(refused(format!(
                "illegal base64 data at input byte {place}"
            )));
        }
    }
    let causes = validate(&resource.schema, object);
    match causes
        .iter()
        .find(|cause| cause.reason == "FieldValueTypeInvalid")
    {
        None => Ok(()),
        Some(cause) => {
            let name = messages::name(&resource.api_version(), &resource.kind);
            let told = messages::type_problem(&name, object, &cause.field);
            Err(refused(told.unwrap_or_else(|| {
                format!("json: {}: {}", cause.field, cause.message)
            })))
        }
    }
}

/// All rules that a whole object must keep, `before` being what it replaces. Answers what the
/// client is warned of.
pub(super) fn check(
    resource: &Resource,
    object: &Value,
    before: Option<&Value>,
) -> Result<Vec<String>, Failure> {
    let mut causes = names::check(resource, object);
    let mut warnings = Vec::new();
    match resource.origin {
        Origin::Custom => {
            let verdict = check_custom(resource, object, before);
            causes.extend(verdict.causes);
            warnings = verdict.warnings;
        }
        Origin::BuiltIn => {
            let found = validate(&resource.schema, object)
                .into_iter()
                .filter(is_of_go_type);
            // The rules of kinds tell better what is wrong where they know.
            let told = rules::check(resource, object, before);
            let found = found.filter(|cause| told.iter().all(|rule| rule.field != cause.field));
            causes.extend(found.collect::<Vec<_>>());
            causes.extend(told);
        }
    }
    if let Some(before) = before {
        causes.extend(check_finalizers(object, before));
    }
    if causes.is_empty() {
        return Ok(warnings);
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(Failure::invalid(resource, name, &causes))
}

/// What the schemas of built-in kinds say and a real server checks, too.
fn is_of_go_type(cause: &Cause) -> bool {
    matches!(
        cause.reason,
        "FieldValueRequired" | "FieldValueNotSupported"
    ) && !cause.field.starts_with("status")
}

fn check_custom(resource: &Resource, object: &Value, before: Option<&Value>) -> Verdict {
    let mut causes = validate_change(&resource.schema, object, before);
    causes.extend(scale::check(resource, object));
    let mut warnings = Vec::new();
    if resource.schema.has_rules && !causes.iter().any(blocks_rules) {
        let verdict = cel::check(&resource.schema, object, before);
        causes.extend(verdict.causes);
        warnings = verdict.warnings;
    } else if resource.schema.has_rules {
        causes.push(Cause {
            reason: "FieldValueInvalid",
            message: "Invalid value: null: some validation rules were not checked because the \
                      object was invalid; correct the existing errors to complete validation"
                .to_owned(),
            field: "<nil>".to_owned(),
        });
    }
    Verdict { causes, warnings }
}

/// Problems with which CEL rules are not evaluated, as in upstream's `hasBlockingErr`.
fn blocks_rules(cause: &Cause) -> bool {
    matches!(
        cause.reason,
        "FieldValueNotSupported"
            | "FieldValueRequired"
            | "FieldValueTooLong"
            | "FieldValueTooMany"
            | "FieldValueTypeInvalid"
    )
}

/// An object that is being deleted takes no new finalizers.
fn check_finalizers(object: &Value, before: &Value) -> Vec<Cause> {
    if before["metadata"]["deletionTimestamp"].is_null() {
        return Vec::new();
    }
    let list = |object: &Value| super::schema::strings(object["metadata"].get("finalizers"));
    let old = list(before);
    let added: Vec<String> = list(object)
        .into_iter()
        .filter(|name| !old.contains(name))
        .map(|name| format!("\"{name}\""))
        .collect();
    if added.is_empty() {
        return Vec::new();
    }
    let problem = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers \
         []string{{{}}}",
        added.join(", ")
    );
    let cause = Cause::forbidden("metadata.finalizers", &problem);
    // Upstream checks metadata once for every object and once for the kind, and tells it twice.
    vec![cause.clone(), cause]
}

/// What the server itself writes into a new object.
pub(super) fn complete_new(resource: &Resource, object: &mut Value) {
    if resource.status
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    if resource.generation {
        object["metadata"]["generation"] = json!(1);
    }
    if resource.origin == Origin::BuiltIn {
        defaults::fill(resource, object);
        defaults::start(resource, object);
    }
}

/// Whether the change is one that `metadata.generation` counts.
pub(super) fn changes_what_is_wanted(resource: &Resource, before: &Value, after: &Value) -> bool {
    if resource.origin == Origin::BuiltIn {
        // A PodTemplate has no spec.
        return before["spec"] != after["spec"] || before["template"] != after["template"];
    }
    let wanted = |object: &Value| {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(name, _)| {
                name.as_str() != "metadata" && !(resource.status && *name == "status")
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Vec<_>>()
    };
    wanted(before) != wanted(after)
}

/// The schema of a custom resource with what every object has. What it says about names stays.
pub(super) fn with_object_fields(mut schema: Schema) -> Schema {
    let text = || {
        std::sync::Arc::new(Schema {
            shape: super::schema::Shape::String,
            ..Schema::default()
        })
    };
    schema.properties.insert("apiVersion".to_owned(), text());
    schema.properties.insert("kind".to_owned(), text());
    let mut metadata = super::built_in::object_meta();
    if let Some(declared) = schema.properties.remove("metadata") {
        let merged = std::sync::Arc::make_mut(&mut metadata);
        merged.has_rules = declared.has_rules;
        merged.rules = declared.rules.clone();
        merged.properties.extend(declared.properties.clone());
    }
    schema.properties.insert("metadata".to_owned(), metadata);
    schema
}
