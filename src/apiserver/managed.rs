//! `metadata.managedFields`: who owns which fields.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::core::Core;
use super::fields::{Fields, changed};
use super::request::WriteOptions;
use super::resources::Resource;
use super::writing::Part;

/// Who writes, and how.
#[derive(Debug, Clone, Copy)]
pub(super) enum Write<'a> {
    /// What changes belongs to the writer.
    Update {
        manager: &'a str,
        subresource: &'static str,
    },
    /// The owners are in the object already: server-side apply.
    Applied,
}

impl<'a> Write<'a> {
    pub(super) fn update(options: &'a WriteOptions, part: Part) -> Self {
        Self::Update {
            manager: &options.manager,
            subresource: part.subresource(),
        }
    }

    pub(super) fn scale(options: &'a WriteOptions) -> Self {
        Self::Update {
            manager: &options.manager,
            subresource: "scale",
        }
    }
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Owner {
    pub(super) manager: String,
    /// `Apply` or `Update`.
    pub(super) operation: String,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    pub(super) fields: Fields,
}

impl Owner {
    fn read(entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        Self {
            manager: text("manager"),
            operation: text("operation"),
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: Fields::from_json(&entry["fieldsV1"]),
        }
    }

    fn written(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }

    /// Applies before updates, then by time and name, as upstream sorts them.
    fn order(&self, other: &Self) -> Ordering {
        let key = |owner: &Self| {
            (
                owner.operation.clone(),
                owner.time.clone(),
                owner.manager.clone(),
                owner.api_version.clone(),
                owner.subresource.clone(),
            )
        };
        key(self).cmp(&key(other))
    }

    /// Whether a write of this kind belongs to this entry.
    pub(super) fn is(&self, manager: &str, operation: &str, subresource: &str) -> bool {
        self.manager == manager && self.operation == operation && self.subresource == subresource
    }
}

/// Who owns what in an object.
pub(super) fn owners(object: &Value) -> Vec<Owner> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries.into_iter().flatten().map(Owner::read).collect()
}

/// Writes owners into an object; those that own nothing are left out.
pub(super) fn set_owners(object: &mut Value, mut owners: Vec<Owner>) {
    owners.retain(|owner| !owner.fields.is_empty());
    owners.sort_by(Owner::order);
    let entries: Vec<Value> = owners.iter().map(Owner::written).collect();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        if entries.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), json!(entries));
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
    let Write::Update {
        manager,
        subresource,
    } = write
    else {
        return;
    };
    let schema = &resource.schema;
    let had = before
        .map(|before| Fields::of(schema, before))
        .unwrap_or_default();
    let has = Fields::of(schema, after);
    let taken = match before {
        // What no manager owns differs, too: only what is in the set counts.
        Some(before) => changed(schema, before, after).intersection(&has),
        None => has.clone(),
    };
    let gone = had.difference(&has);
    if taken.is_empty() && gone.is_empty() {
        return;
    }
    let mut owners = owners(after);
    let mut found = false;
    for owner in &mut owners {
        owner.fields = owner.fields.difference(&gone);
        let writer =
            owner.is(manager, "Update", subresource) && owner.api_version == resource.api_version();
        if !writer {
            owner.fields = owner.fields.difference(&taken);
            continue;
        }
        found = true;
        let mut fields = owner.fields.clone();
        fields.extend(&taken);
        if fields != owner.fields {
            owner.fields = fields;
            owner.time = now(core);
        }
    }
    if !found {
        owners.push(Owner {
            manager: manager.to_owned(),
            operation: "Update".to_owned(),
            api_version: resource.api_version(),
            subresource: subresource.to_owned(),
            time: now(core),
            fields: taken,
        });
    }
    set_owners(after, owners);
}

pub(super) fn now(core: &Core) -> String {
    super::core::seconds(core.clock.now())
}

/// Takes the times out of `managedFields`, so that writes can be compared.
pub(super) fn forget_times(object: &mut Value) {
    let entries = object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut);
    for entry in entries
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        entry.remove("time");
    }
}
