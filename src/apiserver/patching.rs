//! JSON patch, merge patch and strategic merge patch.

use axum::http::HeaderMap;
use serde_json::Value;

use super::decode;
use super::failure::Failure;
use super::request::media_type;
use super::resources::{Origin, Resource};
use super::strategic;

/// A patch as it was sent.
#[derive(Debug)]
pub(super) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

impl Patch {
    /// Reads the body of a PATCH by its content type.
    pub(super) fn read(
        resource: &Resource,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, Failure> {
        let object = |text: &[u8]| match decode::json(text) {
            Ok((value, _)) if value.is_object() => Ok(value),
            Ok(_) => Err(Failure::bad_request(
                "error decoding patch: it is no object",
            )),
            Err(problem) => Err(Failure::bad_request(format!(
                "error decoding patch: {problem}"
            ))),
        };
        match media_type(headers) {
            "application/json-patch+json" => read_json_patch(body).map(Self::Json),
            "application/merge-patch+json" => object(body).map(Self::Merge),
            "application/strategic-merge-patch+json" if resource.origin == Origin::BuiltIn => {
                object(body).map(Self::Strategic)
            }
            "application/apply-patch+yaml" => decode::yaml(body)
                .map(Self::Apply)
                .map_err(|e| Failure::bad_request(format!("error decoding YAML: {e}"))),
            _ => Err(Failure::unsupported_media(match resource.origin {
                Origin::Custom => {
                    "application/json-patch+json, application/merge-patch+json, \
                     application/apply-patch+yaml"
                }
                Origin::BuiltIn => {
                    "application/json-patch+json, application/merge-patch+json, \
                     application/strategic-merge-patch+json, application/apply-patch+yaml"
                }
            })),
        }
    }

    /// The object after the patch. An apply patch is not one to an object alone.
    pub(super) fn apply(&self, resource: &Resource, before: &Value) -> Result<Value, Failure> {
        let mut object = before.clone();
        match self {
            Self::Json(patch) => {
                json_patch::patch(&mut object, patch).map_err(|_| Failure::unprocessable())?;
            }
            Self::Merge(patch) => json_patch::merge(&mut object, patch),
            Self::Strategic(patch) => strategic::merge(&resource.schema, &mut object, patch),
            // Of a Scale, which nobody owns by itself.
            Self::Apply(wanted) => json_patch::merge(&mut object, wanted),
        }
        Ok(object)
    }
}

fn read_json_patch(body: &[u8]) -> Result<json_patch::Patch, Failure> {
    let refused = |problem: &str| Failure::bad_request(format!("error decoding patch: {problem}"));
    let (value, _) = decode::json(body).map_err(|problem| refused(&problem))?;
    if !value.is_array() {
        return Err(refused(&format!(
            "json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
            super::validation::type_of(&value)
        )));
    }
    serde_json::from_value(value).map_err(|problem| refused(&problem.to_string()))
}
