//! Objects as rows, the way `kubectl get` shows them.

mod column;
mod columns;
mod events;
mod networking;
mod pods;
mod row;
mod scaling;
mod workloads;

use std::borrow::Cow;

use jiff::Timestamp;
use jsonpath_rust::JsonPath as _;
use serde_json::{Value, json};

use super::resources::{self, Origin, Resource};
use row::{Row, age};

/// The columns of a table.
#[derive(Clone, Copy)]
pub(super) enum Columns<'a> {
    BuiltIn(&'static [column::Column]),
    /// Those that a CustomResourceDefinition adds to the name.
    Custom(&'a [resources::Column]),
}

impl<'a> Columns<'a> {
    /// The columns that objects of a resource have.
    pub(super) fn of(resource: &'a Resource) -> Self {
        match resource.origin {
            Origin::BuiltIn => Self::BuiltIn(columns::of(resource)),
            Origin::Custom => Self::Custom(&resource.columns),
        }
    }

    /// The columns of a Scale.
    pub(super) fn of_scale() -> Self {
        Self::BuiltIn(columns::SCALE)
    }

    fn definitions(self) -> Vec<Value> {
        match self {
            Self::BuiltIn(columns) => columns.iter().map(built_in_definition).collect(),
            Self::Custom(columns) => std::iter::once(&column::NAME)
                .map(built_in_definition)
                .chain(columns.iter().map(custom_definition))
                .collect(),
        }
    }

    fn cells(self, row: Row<'_>) -> Vec<Value> {
        match self {
            Self::BuiltIn(columns) => columns.iter().map(|c| c.cell.value(row)).collect(),
            Self::Custom(columns) => std::iter::once(column::NAME.cell.value(row))
                .chain(columns.iter().map(|column| custom_cell(column, row)))
                .collect(),
        }
    }
}

/// A `Table` of objects; `carried` says what a row carries of its object.
pub(super) fn table(
    columns: Columns<'_>,
    metadata: &Value,
    objects: &[Cow<'_, Value>],
    carried: &dyn Fn(&Value) -> Value,
    now: Timestamp,
) -> Value {
    let rows = objects.iter().map(|object| {
        let mut row = json!({"cells": columns.cells(Row { object, now })});
        let carried = carried(object);
        if !carried.is_null() {
            row["object"] = carried;
        }
        row
    });
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns.definitions(),
        "rows": rows.collect::<Vec<_>>(),
    })
}

fn built_in_definition(column: &column::Column) -> Value {
    let is_name = matches!(column.cell, column::Cell::Name);
    json!({
        "name": column.name,
        "type": column.cell.kind(),
        "format": if is_name { "name" } else { "" },
        "description": "",
        "priority": u8::from(column.wide),
    })
}

fn custom_definition(column: &resources::Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

fn custom_cell(column: &resources::Column, row: Row<'_>) -> Value {
    let path = format!("${}", column.path);
    let found = row.object.query(&path).unwrap_or_default();
    let found: Vec<&Value> = found.into_iter().filter(|value| !value.is_null()).collect();
    let Some(first) = found.first() else {
        return Value::Null;
    };
    match column.kind.as_str() {
        "date" => first
            .as_str()
            .map_or(Value::Null, |time| json!(age(time, row.now))),
        "integer" => first.as_i64().map_or(Value::Null, Value::from),
        "number" => first.as_f64().map_or(Value::Null, Value::from),
        "boolean" => first.as_bool().map_or(Value::Null, Value::from),
        _ => {
            let texts = found.into_iter().map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            json!(texts.collect::<Vec<_>>().join(" "))
        }
    }
}
