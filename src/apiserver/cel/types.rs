//! The types of CEL, and the type that a structural schema gives its values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::apiserver::schema::{Schema, Shape};

/// The type of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    /// What is already refused; fits everywhere, so that it is told once.
    Error,
    /// Known only when the rule is evaluated, as an integer or text.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Object(Object),
    Optional(Arc<Type>),
    /// The type of a type; `None` for any.
    Named(Option<Arc<Type>>),
    /// A type that only its own functions look into, such as a quantity.
    Opaque(&'static str),
    /// A type that is not known yet, by its number.
    Variable(usize),
}

/// The fields of an object, by their names in CEL. Two are the same type if they come from the same
/// place of a schema.
#[derive(Debug, Clone)]
pub(super) struct Object(Arc<BTreeMap<String, Type>>);

impl Object {
    pub(super) fn field(&self, name: &str) -> Option<&Type> {
        self.0.get(name)
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Type {
    pub(super) fn list(items: Self) -> Self {
        Self::List(Arc::new(items))
    }

    pub(super) fn map(keys: Self, values: Self) -> Self {
        Self::Map(Arc::new(keys), Arc::new(values))
    }

    pub(super) fn optional(inner: Self) -> Self {
        Self::Optional(Arc::new(inner))
    }

    pub(super) fn object(fields: BTreeMap<String, Self>) -> Self {
        Self::Object(Object(Arc::new(fields)))
    }

    /// Whether nothing is known about the type that could be wrong.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// What an optional holds, and whether it is one.
    pub(super) fn unwrapped(&self) -> (&Self, bool) {
        match self {
            Self::Optional(inner) => (inner, true),
            other => (other, false),
        }
    }
}

/// As cel-go's `FormatCELType` writes types.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("!error!"),
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(items) => write!(f, "list({items})"),
            Self::Map(keys, values) => write!(f, "map({keys}, {values})"),
            Self::Object(_) => f.write_str("object"),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Named(None) => f.write_str("type"),
            Self::Named(Some(inner)) => write!(f, "type({inner})"),
            Self::Opaque(name) => f.write_str(name),
            Self::Variable(number) => write!(f, "_var{number}"),
        }
    }
}

/// The types of a schema's values and of what they hold.
///
/// # Source
/// `SchemaDeclType` of `k8s.io/apiserver/pkg/cel/common`: fields without a type are not exposed,
/// and neither are lists and maps of such.
pub(super) fn declared(schema: &Schema, children: &Children) -> Option<Type> {
    if schema.shape == Shape::IntOrString {
        return Some(Type::Dyn);
    }
    Some(match schema.shape {
        Shape::Array => Type::list(children.items.clone()?),
        Shape::Object if schema.additional.is_some() => {
            Type::map(Type::String, children.additional.clone()?)
        }
        Shape::Object => Type::object(children.fields.clone()),
        Shape::String => match schema.format() {
            "byte" => Type::Bytes,
            "duration" => Type::Duration,
            "date" | "date-time" => Type::Timestamp,
            _ => Type::String,
        },
        Shape::Boolean => Type::Bool,
        Shape::Number => Type::Double,
        Shape::Integer => Type::Int,
        Shape::Any | Shape::IntOrString | Shape::Quantity => return None,
    })
}

/// The types of what a value holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Children {
    /// By escaped name.
    pub(super) fields: BTreeMap<String, Type>,
    pub(super) items: Option<Type>,
    pub(super) additional: Option<Type>,
}

impl Children {
    /// Adds what every object has at its root, whether its schema says so or not.
    pub(super) fn add_object_fields(&mut self) {
        let named = ["name", "generateName"].map(|name| (name.to_owned(), Type::String));
        let fields = [
            ("apiVersion", Type::String),
            ("kind", Type::String),
            ("metadata", Type::object(named.into())),
        ];
        self.fields
            .extend(fields.map(|(name, kind)| (name.to_owned(), kind)));
    }
}
