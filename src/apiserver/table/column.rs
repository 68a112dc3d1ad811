//! What a column of a built-in kind is.

use serde_json::{Value, json};

use super::row::Row;

/// One column of a built-in kind.
pub(in super::super) struct Column {
    pub(super) name: &'static str,
    pub(super) cell: Cell,
    /// Shown with `-o wide` only.
    pub(super) wide: bool,
}

/// What stands in a column.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    /// The name of the object.
    Name,
    Text(fn(Row<'_>) -> String),
    Number(fn(Row<'_>) -> i64),
    /// The text at a JSON pointer.
    TextAt(&'static str),
    /// The number at a JSON pointer.
    NumberAt(&'static str),
    /// A number in a column that Kubernetes says is of texts.
    Count(fn(Row<'_>) -> i64),
}

impl Cell {
    /// The type of the column, in the words of OpenAPI.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Name | Self::Text(_) | Self::TextAt(_) | Self::Count(_) => "string",
            Self::Number(_) | Self::NumberAt(_) => "integer",
        }
    }

    pub(super) fn value(self, row: Row<'_>) -> Value {
        match self {
            Self::Name => row.at("/metadata/name").clone(),
            Self::Text(cell) => json!(cell(row)),
            Self::Number(cell) | Self::Count(cell) => json!(cell(row)),
            Self::TextAt(pointer) => json!(row.text(pointer)),
            Self::NumberAt(pointer) => json!(row.number(pointer)),
        }
    }
}

/// A column of texts.
pub(super) const fn text(name: &'static str, cell: fn(Row<'_>) -> String) -> Column {
    column(name, Cell::Text(cell))
}

/// A column of the texts at a JSON pointer.
pub(super) const fn text_at(name: &'static str, pointer: &'static str) -> Column {
    column(name, Cell::TextAt(pointer))
}

/// A column of the numbers at a JSON pointer.
pub(super) const fn number_at(name: &'static str, pointer: &'static str) -> Column {
    column(name, Cell::NumberAt(pointer))
}

/// A column of texts that is shown with `-o wide` only.
pub(super) const fn wide(name: &'static str, cell: fn(Row<'_>) -> String) -> Column {
    Column {
        name,
        cell: Cell::Text(cell),
        wide: true,
    }
}

/// A column that is always shown.
pub(super) const fn column(name: &'static str, cell: Cell) -> Column {
    Column {
        name,
        cell,
        wide: false,
    }
}

pub(super) const NAME: Column = column("Name", Cell::Name);
pub(super) const AGE: Column = text("Age", |row| row.age("/metadata/creationTimestamp"));
