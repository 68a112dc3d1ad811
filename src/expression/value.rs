//! What a metric source answered.

use std::collections::BTreeMap;

/// A measured value: what `result` stands for in a condition.
///
/// Evaluation borrows from it and never copies it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// No data.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number. Sources that answer in JSON never give one: their numbers are floats.
    Int(i64),
    /// A number, possibly NaN or infinite.
    Float(f64),
    /// A text.
    String(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// Numbers only, as Prometheus answers a vector or a range.
    Floats(Vec<f64>),
    /// Values of any kind.
    List(Vec<Value>),
    /// Named values.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// True if there is no data: nil or an empty list.
    #[must_use]
    pub fn is_nil_or_empty(&self) -> bool {
        match self {
            Self::Nil => true,
            Self::Floats(floats) => floats.is_empty(),
            Self::List(values) => values.is_empty(),
            Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::String(_)
            | Self::Bytes(_)
            | Self::Map(_) => false,
        }
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

impl From<Vec<f64>> for Value {
    fn from(floats: Vec<f64>) -> Self {
        Self::Floats(floats)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

/// Every JSON number becomes a float, as Argo Rollouts decodes it.
impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(bool) => Self::Bool(bool),
            serde_json::Value::Number(number) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => {
                Self::List(items.into_iter().map(Self::from).collect())
            }
            serde_json::Value::Object(fields) => Self::Map(
                fields
                    .into_iter()
                    .map(|(name, value)| (name, Self::from(value)))
                    .collect(),
            ),
        }
    }
}
