//! The static types by which a condition is checked against the value at hand.

use super::Value;

/// The type of an expression, as far as it is known without evaluating.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    /// Known only when evaluated.
    Any,
    Nil,
    Bool,
    Int,
    Float,
    String,
    Bytes,
    Time,
    Duration,
    Zone,
    Month,
    Weekday,
    List(Box<Type>, Items),
    Map(Fields),
}

/// The Go type of a list, on which assigning depends; the element type may be known more exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Items {
    Any,
    Floats,
    Strings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fields {
    /// Any value by name.
    ByName,
    /// Any value by any key: `fromPairs`.
    ByAny,
    /// Lists by any key: `groupBy`.
    Groups,
}

impl Type {
    /// The type of a measured value: what its JSON holds is known only when evaluated.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Nil => Self::Nil,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) => Self::Int,
            Value::Float(_) => Self::Float,
            Value::String(_) => Self::String,
            Value::Bytes(_) => Self::Bytes,
            Value::Floats(_) => Self::List(Box::new(Self::Float), Items::Floats),
            Value::List(_) => Self::list_of(Self::Any),
            Value::Map(_) => Self::Map(Fields::ByName),
        }
    }

    /// The type of a constant: all of it is known.
    pub(super) fn of_constant(value: &Value) -> Self {
        match value {
            Value::List(items) => Self::list(items.iter().map(Self::of_constant)),
            other => Self::of(other),
        }
    }

    pub(super) fn list_of(element: Self) -> Self {
        Self::List(Box::new(element), Items::Any)
    }

    /// The type of a list written out: the element type is known if all are of one kind.
    pub(super) fn list(elements: impl Iterator<Item = Self>) -> Self {
        let mut last: Option<Self> = None;
        let mut alike = true;
        for element in elements {
            alike &= last.is_none_or(|last| {
                std::mem::discriminant(&last) == std::mem::discriminant(&element)
            });
            last = Some(element);
        }
        Self::list_of(last.filter(|_| alike).unwrap_or(Self::Any))
    }

    pub(super) fn is_any(&self) -> bool {
        *self == Self::Any
    }

    pub(super) fn is_bool_or_any(&self) -> bool {
        matches!(self, Self::Bool | Self::Any)
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Float)
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::List(..) | Self::Bytes)
    }

    /// The type of the elements of a list, or of the values of a map.
    pub(super) fn element(&self) -> Self {
        match self {
            Self::List(element, _) => (**element).clone(),
            Self::Bytes => Self::Int,
            Self::Map(Fields::Groups) => Self::list_of(Self::Any),
            _ => Self::Any,
        }
    }

    /// The type of the keys of a map.
    pub(super) fn key(&self) -> Self {
        match self {
            Self::Map(Fields::ByName) => Self::String,
            _ => Self::Any,
        }
    }

    /// Whether Go lets a value of this type be assigned to a variable of the other.
    pub(super) fn is_assignable_to(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Any) | (Self::Nil, Self::List(..) | Self::Map(_) | Self::Bytes) => true,
            (Self::Any | Self::Nil, _) => false,
            (Self::List(_, a), Self::List(_, b)) => a == b,
            (a, b) => a == b,
        }
    }

    /// Whether `==` between the two can be anything but a mistake.
    pub(super) fn is_comparable_to(&self, other: &Self) -> bool {
        matches!(self, Self::Any | Self::Nil)
            || matches!(other, Self::Any | Self::Nil)
            || self.is_number() && other.is_number()
            || self.is_list() && other.is_list()
            || self.is_assignable_to(other)
    }

    /// Whether both are known and of the wanted kind, or one is not known and the other is.
    pub(super) fn both_may_be(&self, other: &Self, wanted: impl Fn(&Self) -> bool) -> bool {
        (self.is_any() || wanted(self)) && (other.is_any() || wanted(other))
    }
}

/// The name that Go gives the type.
impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Any => "interface {}",
            Self::Nil => "nil",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float64",
            Self::String => "string",
            Self::Bytes => "[]uint8",
            Self::Time => "time.Time",
            Self::Duration => "time.Duration",
            Self::Zone => "*time.Location",
            Self::Month => "time.Month",
            Self::Weekday => "time.Weekday",
            Self::List(_, Items::Any) => "[]interface {}",
            Self::List(_, Items::Floats) => "[]float64",
            Self::List(_, Items::Strings) => "[]string",
            Self::Map(Fields::ByName) => "map[string]interface {}",
            Self::Map(Fields::ByAny) => "map[interface {}]interface {}",
            Self::Map(Fields::Groups) => "map[interface {}][]interface {}",
        })
    }
}
