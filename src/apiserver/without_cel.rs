//! In place of `cel`, in a program that was built without it: rules are not evaluated, and whoever
//! registers some is told so.

use serde_json::Value;

use super::failure::{Cause, Verdict};
use super::schema::Schema;

/// The rules of one part of a schema: none.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules;

/// Compiles nothing.
#[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
pub(super) fn compile(_: &mut Schema, _: &Value, _: &str) -> Result<(), Vec<Cause>> {
    Ok(())
}

/// Finds nothing.
pub(super) fn check(_: &Schema, _: &Value, _: Option<&Value>) -> Verdict {
    Verdict::default()
}

/// What to say about a definition whose rules are not evaluated.
pub(super) fn shortfalls(definition: &Value) -> Vec<String> {
    let versions = definition["spec"]["versions"].as_array();
    let has_rules = |version: &Value| {
        let written = &version["schema"]["openAPIV3Schema"];
        Schema::parse(written).is_ok_and(|schema| schema.has_rules)
    };
    if !versions.into_iter().flatten().any(has_rules) {
        return Vec::new();
    }
    vec![
        "x-kubernetes-validations are not evaluated: this server was built without the feature \
         `cel`"
            .to_owned(),
    ]
}
