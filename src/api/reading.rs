//! How objects are read: tolerantly, and without losing what these types do not know.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use super::problem::Problem;

/// Fields that a type does not know, kept so that they are written back.
pub type Extra = BTreeMap<String, Value>;

/// A part of an object that could not be read and therefore counts as absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it stands, as Kubernetes writes it: `spec.metrics[0].interval`.
    pub path: String,
    /// What was expected there. The value itself is not repeated: it may be a Secret.
    pub expected: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: Invalid value: expected {}",
            self.path, self.expected
        )
    }
}

/// How many bad parts of one object are taken out before all of it counts as bad.
const MAX_BAD_PARTS: usize = 100;

/// Reads `value`, leaving out what cannot be read. `null` is the same as absent.
pub(crate) fn read<T>(root: &str, mut value: Value, unreadable: &mut Vec<Unreadable>) -> T
where
    T: DeserializeOwned + Default,
{
    if value.is_null() {
        return T::default();
    }
    if let Ok(read) = T::deserialize(&value) {
        return read;
    }
    for _ in 0..MAX_BAD_PARTS {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(read) => return read,
            Err(error) => error,
        };
        let path: Vec<Segment> = reachable(&value, error.path());
        if path.is_empty() {
            break;
        }
        if !discard(&mut value, &path).is_null() {
            unreadable.push(Unreadable {
                path: path_text(root, &path),
                expected: expected(&error.inner().to_string()),
            });
        }
    }
    unreadable.push(Unreadable {
        path: root.to_owned(),
        expected: "an object of this kind".to_owned(),
    });
    T::default()
}

/// Reads what only this program defines or reads: what it does not know is wrong, too. `T` denies
/// unknown fields. All that is wrong is told; the value is whole only if nothing is.
pub(crate) fn read_strictly<T>(root: &str, mut value: Value) -> (T, Vec<Problem>)
where
    T: DeserializeOwned + Default,
{
    let mut problems: Vec<Problem> = Vec::new();
    for _ in 0..MAX_BAD_PARTS {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(read) => return (read, problems),
            Err(error) => error,
        };
        let path: Vec<Segment> = reachable(&value, error.path());
        let field = path_text(root, &path);
        // What was discarded may be missed then.
        let is_known = |known: &Problem| known.field.starts_with(&field);
        if !problems.iter().any(is_known) {
            let why = format!("Invalid value: {}", error.inner());
            problems.push(Problem::new(field, why));
        }
        if path.is_empty() {
            break;
        }
        discard(&mut value, &path);
    }
    (T::default(), problems)
}

/// A path as Kubernetes writes it.
fn path_text(root: &str, path: &[Segment]) -> String {
    path.iter()
        .fold(root.to_owned(), |text, segment| match segment {
            Segment::Seq { index } => text + &format!("[{index}]"),
            Segment::Map { key } => text + "." + key,
            Segment::Enum { .. } | Segment::Unknown => text,
        })
}

/// The part of `path` that leads through `value`.
fn reachable(value: &Value, path: &Path) -> Vec<Segment> {
    let mut at = value;
    let mut steps = Vec::new();
    for segment in path {
        let next = match segment {
            Segment::Seq { index } => at.get(*index),
            Segment::Map { key } => at.get(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        let Some(next) = next else { break };
        steps.push(segment.clone());
        at = next;
    }
    steps
}

/// Takes out what stands at `path` and returns it. A list keeps its length at first, because
/// positions have a meaning (steps): its element becomes an empty object, which is mostly readable.
fn discard(value: &mut Value, path: &[Segment]) -> Value {
    let Some((last, parents)) = path.split_last() else {
        return Value::Null;
    };
    let mut at = value;
    for segment in parents {
        let next = match segment {
            Segment::Seq { index } => at.get_mut(*index),
            Segment::Map { key } => at.get_mut(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        let Some(next) = next else { return Value::Null };
        at = next;
    }
    match (last, at) {
        (Segment::Map { key }, Value::Object(fields)) => fields.remove(key).unwrap_or_default(),
        (Segment::Seq { index }, Value::Array(items)) if *index < items.len() => {
            let empty = Value::Object(Map::new());
            if items[*index] == empty {
                items.remove(*index);
                Value::Null
            } else {
                std::mem::replace(&mut items[*index], empty)
            }
        }
        _ => Value::Null,
    }
}

/// What serde would have liked, without the value that it got.
fn expected(message: &str) -> String {
    let by_serde = message.starts_with("invalid ") || message.starts_with("unknown variant ");
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if by_serde => expected.to_owned(),
        _ => "another form".to_owned(),
    }
}

/// Whether a field need not be written, as Go's `omitempty` says.
pub(crate) fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An object that is kept as it was written, whatever its fields, and can be looked at as a `T` when
/// needed. It is held as text, which takes a tenth of the memory: caches have thousands of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Preserved<T> {
    /// JSON; empty for an object without fields.
    text: Box<str>,
    kind: PhantomData<fn() -> T>,
}

impl<T> Preserved<T> {
    /// The fields of the object.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The object.
    #[must_use]
    pub fn json(&self) -> Value {
        Value::Object(self.fields())
    }
}

impl<T> fmt::Debug for Preserved<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T> Default for Preserved<T> {
    fn default() -> Self {
        Self::from(Map::new())
    }
}

impl<T> From<Map<String, Value>> for Preserved<T> {
    fn from(fields: Map<String, Value>) -> Self {
        let text = if fields.is_empty() {
            String::new()
        } else {
            Value::Object(fields).to_string()
        };
        Self {
            text: text.into(),
            kind: PhantomData,
        }
    }
}

impl<T> Serialize for Preserved<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Preserved<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::from)
    }
}

impl<T: DeserializeOwned> Preserved<T> {
    /// The object as its Kubernetes type. Fields that the type does not know are left out.
    pub fn typed(&self) -> Result<T, serde_json::Error> {
        T::deserialize(self.json())
    }
}

impl<T: Serialize> Preserved<T> {
    /// Keeps `typed` as it serializes; nothing is kept of a value that is not an object.
    #[must_use]
    pub fn of(typed: &T) -> Self {
        match serde_json::to_value(typed) {
            Ok(Value::Object(fields)) => Self::from(fields),
            _ => Self::default(),
        }
    }
}

impl<T> JsonSchema for Preserved<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Preserved".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// A type as it stands in YAML: `required` fields are always written (and required by the schema),
/// `optional` ones only when set. All may be missing when read; unknown ones are kept in `extra`.
macro_rules! written {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(required { $($(#[$required_meta:meta])* $required:ident: $required_type:ty,)+ })?
            $(optional { $($(#[$optional_meta:meta])* $optional:ident: $optional_type:ty,)+ })?
        }
    ) => {
        #[derive(Debug, Clone, Default, PartialEq)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        $(#[$meta])*
        pub struct $name {
            $($(
                $(#[$required_meta])*
                pub $required: $required_type,
            )+)?
            $($(
                $(#[$optional_meta])*
                #[serde(skip_serializing_if = "crate::api::reading::unset")]
                pub $optional: $optional_type,
            )+)?
            /// Fields that are not known here.
            #[serde(flatten)]
            #[schemars(skip)]
            pub extra: crate::api::Extra,
        }
    };
}

/// A closed set of words. Another word is unreadable, which leaves the field unset.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$word_meta:meta])* $word:ident = $text:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$word_meta])* #[serde(rename = $text)] $word,)+
        }

        impl $name {
            /// The word as it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "enum": [$($text),+]})
            }
        }
    };
}

/// Words that Argo knows but its schema does not enforce: another one is kept as `Other`, and
/// whoever decides says what it means.
macro_rules! open_words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$word_meta:meta])* $word:ident = $text:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$word_meta])* $word,)+
            /// Another word, as written.
            Other(String),
        }

        impl $name {
            /// The word as it is written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self { $(Self::$word => $text,)+ Self::Other(text) => text }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() { $($text => Self::$word,)+ _ => Self::Other(text) }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(String::new())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer).map(Self::from)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string"})
            }
        }
    };
}

pub(crate) use {open_words, words, written};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    written! {
        #[expect(unreachable_pub, reason = "only these tests use it")]
        /// A sample.
        pub struct Sample {
            required {
                /// A name.
                name: String,
            }
            optional {
                /// A limit.
                limit: Option<i32>,
                /// More of the same.
                parts: Vec<Sample>,
                /// Words.
                tags: Vec<String>,
            }
        }
    }

    fn read_sample(value: Value) -> (Value, Vec<String>) {
        let mut unreadable = Vec::new();
        let sample: Sample = read("spec", value, &mut unreadable);
        let unreadable = unreadable.iter().map(ToString::to_string).collect();
        (serde_json::to_value(sample).unwrap(), unreadable)
    }

    #[test]
    fn a_bad_part_counts_as_absent_and_is_named() {
        let cases = [
            (json!({"name": "a", "limit": 0, "x": {"y": null}}), None, ""),
            (
                json!({"name": "a", "parts": [{"name": "b", "limit": "secret"}, {"name": "c"}]}),
                Some(json!({"name": "a", "parts": [{"name": "b"}, {"name": "c"}]})),
                "spec.parts[0].limit: Invalid value: expected i32",
            ),
            (
                json!({"name": "a", "parts": ["b", {"name": "c"}]}),
                Some(json!({"name": "a", "parts": [{"name": ""}, {"name": "c"}]})),
                "spec.parts[0]: Invalid value: expected struct Sample",
            ),
            (
                json!({"name": "a", "tags": ["b", 1, "c"]}),
                Some(json!({"name": "a", "tags": ["b", "c"]})),
                "spec.tags[1]: Invalid value: expected a string",
            ),
            (
                json!({"name": null, "parts": null, "limit": null, "tags": null}),
                Some(json!({"name": ""})),
                "",
            ),
            (
                json!("text"),
                Some(json!({"name": ""})),
                "spec: Invalid value: expected an object of this kind",
            ),
        ];
        for (written, read, problem) in cases {
            let (got, problems) = read_sample(written.clone());
            assert_eq!(got, read.unwrap_or_else(|| written.clone()), "{written}");
            assert_eq!(problems.join("\n"), problem, "{written}");
        }
    }
}
