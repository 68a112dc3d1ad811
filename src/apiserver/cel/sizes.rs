//! How large the values of a schema can be: what the cost of a rule is estimated from.
//!
//! # Source
//! `pkg/cel/common/schemas.go` of Kubernetes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::apiserver::schema::{Checks, Schema, Shape};

/// The largest request in bytes; nothing in an object is larger.
const REQUEST: u64 = 3 * 1024 * 1024;

/// How large values are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sizes {
    /// Letters, items or entries at most; 0 for what has none.
    pub(super) most: u64,
    /// Bytes of JSON at least.
    least_bytes: u64,
    /// By escaped name.
    fields: BTreeMap<String, Arc<Sizes>>,
    /// Of items or of the values of a map.
    inner: Option<Arc<Sizes>>,
    is_map: bool,
}

impl Sizes {
    fn simple(least_bytes: u64) -> Self {
        Self::text(0, least_bytes)
    }

    fn text(most: u64, least_bytes: u64) -> Self {
        Self {
            most,
            least_bytes,
            ..Self::default()
        }
    }

    /// The size of what is found along a path.
    pub(super) fn at(&self, path: &[String]) -> Option<u64> {
        let Some((step, rest)) = path.split_first() else {
            return Some(self.most);
        };
        match step.as_str() {
            "@items" | "@values" => self.inner.as_ref()?.at(rest),
            // Keys are texts of which nothing is said.
            "@keys" if self.is_map => Self::simple(2).at(rest),
            name => self.fields.get(name)?.at(rest),
        }
    }

    /// How often such a value fits into a request.
    pub(super) fn most_in_request(&self) -> u64 {
        REQUEST / (self.least_bytes + 1)
    }
}

/// What a value holds.
#[derive(Debug, Clone, Default)]
pub(super) struct InnerSizes {
    /// By escaped name, with the name itself.
    pub(super) fields: BTreeMap<String, (String, Arc<Sizes>)>,
    pub(super) inner: Option<Arc<Sizes>>,
}

impl InnerSizes {
    /// Adds what every object has at its root.
    pub(super) fn add_object_fields(&mut self) {
        let text = || Arc::new(Sizes::text(REQUEST - 2, 2));
        let named = ["name", "generateName"].map(|name| (name.to_owned(), text()));
        let metadata = Sizes {
            least_bytes: 2,
            fields: named.into(),
            ..Sizes::default()
        };
        for (name, sizes) in [
            ("apiVersion", text()),
            ("kind", text()),
            ("metadata", Arc::new(metadata)),
        ] {
            self.fields
                .insert(name.to_owned(), (name.to_owned(), sizes));
        }
    }
}

/// The sizes of a schema's values.
pub(super) fn of(schema: &Schema, inner: InnerSizes) -> Sizes {
    let nothing = Checks::default();
    let checks = schema.checks.as_deref().unwrap_or(&nothing);
    let letters = checks.max_length.map(|most| most.saturating_mul(4));
    match schema.shape {
        Shape::IntOrString => Sizes::text(letters.unwrap_or(REQUEST - 2), 1),
        Shape::Array => {
            let items = inner.inner.unwrap_or_default();
            Sizes {
                most: checks
                    .max_items
                    .unwrap_or((REQUEST - 2) / (items.least_bytes + 1)),
                least_bytes: 2,
                inner: Some(items),
                ..Sizes::default()
            }
        }
        Shape::Object if schema.additional.is_some() => {
            let values = inner.inner.unwrap_or_default();
            Sizes {
                most: checks
                    .max_properties
                    .unwrap_or((REQUEST - 2) / (values.least_bytes + 6)),
                least_bytes: 2,
                inner: Some(values),
                is_map: true,
                ..Sizes::default()
            }
        }
        Shape::Object => {
            let needed = inner.fields.values().filter(|(name, _)| {
                let property = schema.properties.get(name);
                schema.required.contains(name) && property.is_some_and(|p| p.default.is_none())
            });
            let bytes = needed.map(|(name, sizes)| name.len() as u64 + sizes.least_bytes + 4);
            Sizes {
                least_bytes: 2 + bytes.sum::<u64>(),
                fields: inner
                    .fields
                    .into_iter()
                    .map(|(escaped, (_, sizes))| (escaped, sizes))
                    .collect(),
                ..Sizes::default()
            }
        }
        Shape::String => match schema.format() {
            "byte" => Sizes::text(checks.max_length.unwrap_or(REQUEST - 2), 2),
            "duration" => Sizes::text(32, 3),
            "date" => Sizes::text(12, 12),
            "date-time" => Sizes::text(32, 21),
            _ => Sizes::text(
                letters.or_else(|| longest(checks)).unwrap_or(REQUEST - 2),
                2,
            ),
        },
        Shape::Boolean => Sizes::simple(4),
        Shape::Number | Shape::Integer => Sizes::simple(1),
        Shape::Any | Shape::Quantity => Sizes::default(),
    }
}

/// The longest of the texts that are allowed.
fn longest(checks: &Checks) -> Option<u64> {
    let texts = checks.one_of_values.as_ref().filter(|v| !v.is_empty())?;
    let lengths = texts.iter().filter_map(|text| text.as_str()).map(str::len);
    Some(lengths.max().unwrap_or(0) as u64)
}
