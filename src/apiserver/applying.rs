//! Server-side apply.

use serde_json::Value;

use super::core::Core;
use super::failure::{Cause, Failure};
use super::managed::Write;
use super::request::{Target, WriteOptions};
use super::resources::Resource;
use super::writing::{self, Part, Sent, Written};

/// Makes an object have the fields that a manager wants it to have.
pub(super) fn apply(
    core: &Core,
    resource: &Resource,
    target: &Target,
    part: Part,
    applied: &Value,
    named: bool,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    if !named {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(Failure::invalid_options("PatchOptions", &[cause]));
    }
    let sent = Sent {
        object: applied.clone(),
        duplicates: Vec::new(),
    };
    let how = Write::applied(options);
    if core.object(resource, &target.key()).is_none() {
        return writing::create(core, resource, target, sent, options, how);
    }
    writing::change(core, resource, target, part, options, how, |before| {
        let mut object = before.clone();
        json_patch::merge(&mut object, &sent.object);
        Ok(Sent {
            object,
            duplicates: Vec::new(),
        })
    })
}
