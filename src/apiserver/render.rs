//! How objects are told: in which version, and whole, as metadata, or as a table.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use crate::clock::Clock;

use super::events;
use super::resources::Resource;
use super::store::Object;
use super::table::{self, Columns};

/// The form of an answer, as `Accept` and the query ask for it.
#[derive(Debug, Clone)]
pub(super) struct Rendering {
    form: Form,
    include: Include,
    pub(super) yaml: bool,
    clock: Clock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Metadata,
    Table,
}

/// What a table's rows carry beside their cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Include {
    None,
    Metadata,
    Object,
}

impl Rendering {
    /// What the request asks for.
    pub(super) fn of(headers: &HeaderMap, include: &str, clock: &Clock) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
        let first = accept.unwrap_or_default().split(',').find_map(form);
        let (form, yaml) = first.unwrap_or((Form::Whole, false));
        let include = match include {
            "None" => Include::None,
            "Object" => Include::Object,
            _ => Include::Metadata,
        };
        Self {
            form,
            include,
            yaml,
            clock: clock.clone(),
        }
    }

    /// One object as JSON text.
    pub(super) fn object(&self, resource: &Resource, object: &Object) -> Bytes {
        match self.form {
            Form::Whole if is_stored_form(resource) => object.json().clone(),
            Form::Whole => Bytes::from(in_version(resource, &object.value).to_string()),
            Form::Metadata => Bytes::from(metadata_only(&object.value).to_string()),
            Form::Table => {
                let metadata = json!({"resourceVersion": object.revision.to_string()});
                let value = in_version(resource, &object.value);
                Bytes::from(self.table(Columns::of(resource), &metadata, &[value]))
            }
        }
    }

    /// A Scale as JSON text.
    pub(super) fn scale(&self, scale: &Value) -> Bytes {
        match self.form {
            Form::Whole => scale.to_string().into(),
            Form::Metadata => metadata_only(scale).to_string().into(),
            Form::Table => {
                let metadata = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
                let scale = [Cow::Borrowed(scale)];
                self.table(Columns::of_scale(), &metadata, &scale).into()
            }
        }
    }

    /// A list as JSON text.
    pub(super) fn list<'a>(
        &self,
        resource: &Resource,
        metadata: &Value,
        objects: impl Iterator<Item = &'a Object>,
    ) -> Bytes {
        if self.form == Form::Table {
            let values: Vec<Cow<'_, Value>> =
                objects.map(|o| in_version(resource, &o.value)).collect();
            return Bytes::from(self.table(Columns::of(resource), metadata, &values));
        }
        let (kind, api_version) = match self.form {
            Form::Metadata => ("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned()),
            _ => (resource.list_kind.as_str(), resource.api_version()),
        };
        let head = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        let mut text = head.to_string();
        text.pop();
        let mut text = text.into_bytes();
        text.extend_from_slice(b",\"items\":[");
        for (index, object) in objects.enumerate() {
            if index > 0 {
                text.push(b',');
            }
            text.extend_from_slice(&self.object(resource, object));
        }
        text.extend_from_slice(b"]}");
        Bytes::from(text)
    }

    fn table(&self, columns: Columns<'_>, metadata: &Value, objects: &[Cow<'_, Value>]) -> String {
        let carried = |object: &Value| match self.include {
            Include::None => Value::Null,
            Include::Metadata => metadata_only(object),
            Include::Object => object.clone(),
        };
        table::table(columns, metadata, objects, &carried, self.clock.now()).to_string()
    }
}

/// The first media type that can be given, of those that are accepted.
fn form(accepted: &str) -> Option<(Form, bool)> {
    let mut parts = accepted.split(';').map(str::trim);
    let yaml = match parts.next()? {
        "application/json" | "*/*" | "application/*" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let form = match parts.find_map(|part| part.strip_prefix("as=")) {
        None => Form::Whole,
        Some("Table") => Form::Table,
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Form::Metadata,
        Some(_) => return None,
    };
    Some((form, yaml))
}

fn is_stored_form(resource: &Resource) -> bool {
    resource.stored_as == resource.api_version()
}

/// An object as the version of `resource` has it.
pub(super) fn in_version<'a>(resource: &Resource, stored: &'a Value) -> Cow<'a, Value> {
    if is_stored_form(resource) {
        return Cow::Borrowed(stored);
    }
    if resource.is("events.k8s.io", "Event") {
        return Cow::Owned(events::to_new(stored));
    }
    let mut value = stored.clone();
    value["apiVersion"] = json!(resource.api_version());
    Cow::Owned(value)
}

/// The reverse of [`in_version`].
pub(super) fn as_stored(resource: &Resource, mut value: Value) -> Value {
    if is_stored_form(resource) {
        return value;
    }
    if resource.is("events.k8s.io", "Event") {
        return events::to_core(&value);
    }
    value["apiVersion"] = json!(resource.stored_as);
    value
}

fn metadata_only(object: &Value) -> Value {
    let mut partial = Map::new();
    partial.insert("kind".to_owned(), json!("PartialObjectMetadata"));
    partial.insert("apiVersion".to_owned(), json!("meta.k8s.io/v1"));
    partial.insert("metadata".to_owned(), object["metadata"].clone());
    Value::Object(partial)
}
