//! Values during an evaluation: borrowed from the result and the condition wherever possible.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::Zoned;
use jiff::tz::TimeZone;

use super::{Value, number};

/// A value. Cloning it never copies what it refers to.
#[derive(Debug, Clone)]
pub(super) enum Datum<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text<'a>),
    List(List<'a>),
    Map(Map<'a>),
    Time(Rc<Zoned>),
    /// Nanoseconds.
    Duration(i64),
    Zone(Rc<TimeZone>),
    /// 1 is January.
    Month(i8),
    /// 0 is Sunday.
    Weekday(i8),
}

#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Owned(Rc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum List<'a> {
    Values(&'a [Value]),
    Floats(&'a [f64]),
    Bytes(&'a [u8]),
    /// The integers from the first on, so many.
    Range(i64, usize),
    Owned(Rc<OwnedList<'a>>),
}

/// A list made during the evaluation.
#[derive(Debug)]
pub(super) struct OwnedList<'a> {
    pub(super) items: Vec<Datum<'a>>,
    pub(super) form: Form,
    pub(super) depth: u16,
}

/// The Go type of a list, on which equality depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `[]any`
    Any,
    Ints,
    Floats,
    Strings,
    Bytes,
    /// What `toPairs` makes, and one of them: equal to no literal.
    Pairs,
    Pair,
}

#[derive(Debug, Clone)]
pub(super) enum Map<'a> {
    Values(&'a BTreeMap<String, Value>),
    Owned(Rc<OwnedMap<'a>>),
}

/// A map made during the evaluation.
#[derive(Debug)]
pub(super) struct OwnedMap<'a> {
    pub(super) entries: BTreeMap<Key<'a>, Datum<'a>>,
    pub(super) keys: Keys,
    pub(super) depth: u16,
}

/// Which keys a map may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    Strings,
    Any,
}

/// What can be a key. A whole number and an equal float are different keys, as in Go.
#[derive(Debug, Clone)]
pub(super) enum Key<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text<'a>),
    /// Nanoseconds.
    Duration(i64),
}

impl Key<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Nil => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::Text(_) => 4,
            Self::Duration(_) => 5,
        }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) | (Self::Duration(a), Self::Duration(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => (**a).cmp(&**b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key<'_> {}

impl<'a> From<&'a Value> for Datum<'a> {
    #[inline]
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Nil => Self::Nil,
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Int(int) => Self::Int(*int),
            Value::Float(float) => Self::Float(*float),
            Value::String(text) => Self::Text(Text::Borrowed(text)),
            Value::Bytes(bytes) => Self::List(List::Bytes(bytes)),
            Value::Floats(floats) => Self::List(List::Floats(floats)),
            Value::List(values) => Self::List(List::Values(values)),
            Value::Map(fields) => Self::Map(Map::Values(fields)),
        }
    }
}

impl Datum<'_> {
    /// The name that Go gives the type, for messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(list) => list.form().type_name(),
            Self::Map(map) => match map.keys() {
                Keys::Strings => "map[string]interface {}",
                Keys::Any => "map[interface {}]interface {}",
            },
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Zone(_) => "*time.Location",
            Self::Month(_) => "time.Month",
            Self::Weekday(_) => "time.Weekday",
        }
    }

    /// As a float, if it is a number.
    #[inline]
    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(number::to_float(*int)),
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// As an index or a bound: floats are cut.
    #[inline]
    pub(super) fn to_index(&self) -> Result<i64, String> {
        match self {
            Self::Int(int) => Ok(*int),
            Self::Float(float) => Ok(number::to_int(*float)),
            other => Err(format!("invalid operation: int({})", other.type_name())),
        }
    }

    pub(super) fn to_bool(&self) -> Result<bool, String> {
        match self {
            Self::Bool(bool) => Ok(*bool),
            other => Err(other.is_not("bool")),
        }
    }

    pub(super) fn to_text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.is_not("string")),
        }
    }

    /// The message of a value that is not of the needed type.
    pub(super) fn is_not(&self, wanted: &str) -> String {
        let found = match self {
            Self::Nil => "nil",
            other => other.type_name(),
        };
        format!("interface conversion: interface {{}} is {found}, not {wanted}")
    }

    /// Levels of lists and maps made during the evaluation. What is borrowed is shallow anyway.
    pub(super) fn depth(&self) -> u16 {
        match self {
            Self::List(List::Owned(list)) => list.depth,
            Self::Map(Map::Owned(map)) => map.depth,
            _ => 0,
        }
    }
}

impl Form {
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Any => "[]interface {}",
            Self::Ints => "[]int",
            Self::Floats => "[]float64",
            Self::Strings => "[]string",
            Self::Bytes => "[]uint8",
            Self::Pairs => "[][2]interface {}",
            Self::Pair => "[2]interface {}",
        }
    }
}

impl<'a> List<'a> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Floats(floats) => floats.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Range(_, length) => *length,
            Self::Owned(list) => list.items.len(),
        }
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<Datum<'a>> {
        match self {
            Self::Values(values) => values.get(at).map(Datum::from),
            Self::Floats(floats) => floats.get(at).map(|float| Datum::Float(*float)),
            Self::Bytes(bytes) => bytes.get(at).map(|byte| Datum::Int(i64::from(*byte))),
            Self::Range(first, length) => {
                (at < *length).then(|| Datum::Int(first.wrapping_add(number::from_count(at))))
            }
            Self::Owned(list) => list.items.get(at).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Datum<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    pub(super) fn form(&self) -> Form {
        match self {
            Self::Values(_) => Form::Any,
            Self::Floats(_) => Form::Floats,
            Self::Bytes(_) => Form::Bytes,
            Self::Range(..) => Form::Ints,
            Self::Owned(list) => list.form,
        }
    }

    /// The place that an index means: negative ones count from the end.
    #[inline]
    pub(super) fn place(&self, index: i64) -> Result<usize, String> {
        place(index, self.len())
    }
}

/// The place in something of this length that an index means.
#[inline]
pub(super) fn place(index: i64, length: usize) -> Result<usize, String> {
    let from_start = if index < 0 {
        index.wrapping_add(number::from_count(length))
    } else {
        index
    };
    usize::try_from(from_start)
        .ok()
        .filter(|place| *place < length)
        .ok_or_else(|| format!("index out of range: {from_start} (array length is {length})"))
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Values(fields) => fields.len(),
            Self::Owned(map) => map.entries.len(),
        }
    }

    pub(super) fn keys(&self) -> Keys {
        match self {
            Self::Values(_) => Keys::Strings,
            Self::Owned(map) => map.keys,
        }
    }

    /// The value under a name, if there.
    #[inline]
    pub(super) fn field(&self, name: &str) -> Option<Datum<'a>> {
        match self {
            Self::Values(fields) => fields.get(name).map(Datum::from),
            Self::Owned(map) => map
                .entries
                .iter()
                .find(|(key, _)| matches!(key, Key::Text(text) if &**text == name))
                .map(|(_, value)| value.clone()),
        }
    }

    /// The value under a key, if there. A map by strings refuses other keys.
    pub(super) fn get(&self, key: &Datum<'a>) -> Result<Option<Datum<'a>>, String> {
        match (self.keys(), key) {
            (_, Datum::Text(name)) => Ok(self.field(name)),
            (Keys::Strings, Datum::Nil) => Ok(self.field("")),
            (Keys::Strings, other) => Err(other.is_not("string")),
            (Keys::Any, other) => {
                let key = Key::try_from(other.clone())?;
                Ok(match self {
                    Self::Values(_) => None,
                    Self::Owned(map) => map.entries.get(&key).cloned(),
                })
            }
        }
    }

    pub(super) fn entries(&self) -> Vec<(Datum<'a>, Datum<'a>)> {
        match self {
            Self::Values(fields) => fields
                .iter()
                .map(|(name, value)| (Datum::Text(Text::Borrowed(name)), value.into()))
                .collect(),
            Self::Owned(map) => map
                .entries
                .iter()
                .map(|(key, value)| (key.clone().into(), value.clone()))
                .collect(),
        }
    }
}

impl<'a> TryFrom<Datum<'a>> for Key<'a> {
    type Error = String;

    fn try_from(datum: Datum<'a>) -> Result<Self, String> {
        Ok(match datum {
            Datum::Nil => Self::Nil,
            Datum::Bool(bool) => Self::Bool(bool),
            Datum::Int(int) => Self::Int(int),
            Datum::Float(float) => Self::Float(float),
            Datum::Text(text) => Self::Text(text),
            Datum::Duration(nanoseconds) => Self::Duration(nanoseconds),
            other @ (Datum::List(_)
            | Datum::Map(_)
            | Datum::Time(_)
            | Datum::Zone(_)
            | Datum::Month(_)
            | Datum::Weekday(_)) => {
                return Err(format!("hash of unhashable type {}", other.type_name()));
            }
        })
    }
}

impl<'a> From<Key<'a>> for Datum<'a> {
    fn from(key: Key<'a>) -> Self {
        match key {
            Key::Nil => Self::Nil,
            Key::Bool(bool) => Self::Bool(bool),
            Key::Int(int) => Self::Int(int),
            Key::Float(float) => Self::Float(float),
            Key::Text(text) => Self::Text(text),
            Key::Duration(nanoseconds) => Self::Duration(nanoseconds),
        }
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        self
    }
}
