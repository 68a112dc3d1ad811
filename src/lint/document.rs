//! YAML files as documents whose parts know their lines.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::stretch::Stretch;
use crate::api::Problem;

/// Where something stands in a file; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// A text that is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Where; none if that is not known.
    pub place: Option<Place>,
    /// What is wrong with it, with the place.
    pub message: String,
}

/// One object of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The file, as it was named.
    pub file: String,
    /// The object.
    pub value: Value,
    places: BTreeMap<String, Place>,
    /// All that the file holds.
    source: Arc<str>,
}

impl Document {
    /// Reads the documents of a file; empty ones are left out. JSON is YAML, too.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn read(file: &str, text: &str) -> Result<Vec<Self>, Malformed> {
        let options = serde_saphyr::options! { legacy_octal_numbers: true, };
        let nodes: Vec<Node> =
            serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
                // What follows the first line draws the place.
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                Malformed {
                    place: error.location().map(|at| Place {
                        line: at.line(),
                        column: at.column(),
                    }),
                    message: first.trim_start_matches("error: ").to_owned(),
                }
            })?;
        let source: Arc<str> = text.into();
        let documents = nodes.into_iter().flat_map(|node| {
            let mut places = BTreeMap::new();
            let value = node.taken(String::new(), &mut places);
            let document = Self {
                file: file.to_owned(),
                value,
                places,
                source: Arc::clone(&source),
            };
            document.unpacked()
        });
        Ok(documents
            .filter(|document| !document.value.is_null())
            .collect())
    }

    /// The items of a list, each with its places; what is no list is itself.
    fn unpacked(mut self) -> Vec<Self> {
        let is_list = self.text("/kind").ends_with("List");
        let Some(Value::Array(items)) = self.value.get_mut("items").filter(|_| is_list) else {
            return vec![self];
        };
        let items = std::mem::take(items).into_iter().enumerate();
        let item = |(index, value)| {
            let root = format!("items[{index}]");
            let places = self
                .places
                .range(root.clone()..)
                .map_while(|(path, place)| {
                    let within = path.strip_prefix(&root)?;
                    Some((within.trim_start_matches('.').to_owned(), *place))
                });
            Self {
                file: self.file.clone(),
                value,
                places: places.collect(),
                source: Arc::clone(&self.source),
            }
        };
        items.flat_map(|it| item(it).unpacked()).collect()
    }

    /// The text of a field at the top, or of one in its metadata.
    pub(super) fn text(&self, pointer: &str) -> &str {
        let value = self.value.pointer(pointer);
        value.and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is of a kind of an API group, in any version.
    pub(super) fn is(&self, group: &str, kind: &str) -> bool {
        let api_version = self.text("/apiVersion");
        let own = api_version.split_once('/').map_or("", |(group, _)| group);
        own == group && self.text("/kind") == kind
    }

    pub(super) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The place of a part such as `spec.steps[1].setWeight`, or of what it is in.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(*place);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }

    /// Where bytes of the text that is a part of it stand; none if the text is written elsewhere.
    pub(super) fn stretch(&self, path: &str, bytes: &Range<usize>) -> Option<Stretch> {
        let text = self.part(path)?.as_str()?;
        Stretch::of(&self.source, *self.places.get(path)?, text, bytes)
    }

    /// The value of a part.
    pub(super) fn part(&self, path: &str) -> Option<&Value> {
        Problem::part(&self.value, path)
    }
}

/// A value whose parts know their places.
struct Node(Spanned<Shape>);

enum Shape {
    Plain(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value; the places of its parts go to `places`.
    fn taken(self, path: String, places: &mut BTreeMap<String, Place>) -> Value {
        let location = self.0.referenced;
        let place = Place {
            line: location.line(),
            column: location.column(),
        };
        let value = match self.0.value {
            Shape::Plain(value) => value,
            Shape::List(items) => {
                let items = items.into_iter().enumerate();
                let items =
                    items.map(|(index, item)| item.taken(format!("{path}[{index}]"), places));
                Value::Array(items.collect())
            }
            Shape::Map(fields) => {
                let mut map = Map::new();
                for (name, field) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    let value = field.taken(format!("{path}{dot}{name}"), places);
                    map.insert(name, value);
                }
                Value::Object(map)
            }
        };
        places.insert(path, place);
        value
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shapes)
    }
}

struct Shapes;

impl<'de> Visitor<'de> for Shapes {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Plain(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Plain(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Plain(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        Ok(Shape::Plain(value.into()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Plain(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Plain(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Shape, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Shape::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "\
kind: A
spec:
  steps:
  - setWeight: 20
  - pause: {}
---
---
{\"kind\": \"B\", \"n\": 1.5}
";

    #[test]
    fn parts_know_their_lines() {
        let documents = Document::read("f.yaml", TEXT).unwrap();
        let values: Vec<&Value> = documents.iter().map(|document| &document.value).collect();
        let steps = json!([{ "setWeight": 20 }, { "pause": {} }]);
        let expected = [
            json!({ "kind": "A", "spec": { "steps": steps } }),
            json!({ "kind": "B", "n": 1.5 }),
        ];
        assert_eq!(values, expected.iter().collect::<Vec<_>>());
        let line = |path: &str| documents[0].place(path).unwrap().line;
        assert_eq!(line("spec.steps[0].setWeight"), 4);
        assert_eq!(
            line("spec.steps[1].pause.duration"),
            5,
            "the nearest that is there"
        );
        assert_eq!(documents[1].place("n").unwrap().line, 8);
        assert_eq!(
            documents[0].part("spec.steps[0].setWeight"),
            Some(&json!(20))
        );
    }

    #[test]
    fn items_of_lists_know_their_lines() {
        let text = "\
kind: List
items:
- kind: A
  spec: {n: 1}
- kind: BList
  items:
  - {kind: B, spec: {n: 2}}
  - kind: C
    items: [{n: 3}]
---
kind: D
items: []
";
        let documents = Document::read("f.yaml", text).unwrap();
        let kinds: Vec<&str> = documents.iter().map(|it| it.text("/kind")).collect();
        assert_eq!(kinds, ["A", "B", "C", "D"]);
        let line = |index: usize, path: &str| documents[index].place(path).unwrap().line;
        assert_eq!([line(0, "spec.n"), line(1, "spec.n")], [4, 7]);
        assert_eq!(
            [line(0, ""), line(2, "items[0].n"), line(3, "kind")],
            [3, 9, 11]
        );
        let many = "- {kind: A}\n".repeat(12);
        let documents = Document::read("f", &format!("kind: List\nitems:\n{many}")).unwrap();
        assert_eq!(documents[1].place("kind").unwrap().line, 4);
        assert_eq!(documents[11].place("kind").unwrap().line, 14);
    }

    #[test]
    fn a_part_of_a_text_is_found_in_its_file() {
        let text = "kind: A\nspec:\n  é: \"a \\\n    b c\"\n  n: [x, 'b c']\n  m: *x\n";
        let text = text.replace("n: [x", "n: [&x x");
        let document = &Document::read("f.yaml", &text).unwrap()[0];
        let found = |path: &str, bytes| {
            let Stretch {
                start,
                end,
                excerpt,
            } = document.stretch(path, &bytes)?;
            Some(((start.line, start.column), (end.line, end.column), excerpt))
        };
        let expected = ((4, 5), (4, 8), "    b c\"\n    ^^^".to_owned());
        assert_eq!(found("spec.é", 2..5), Some(expected));
        let expected = (
            (5, 14),
            (5, 15),
            "  n: [&x x, 'b c']\n             ^".to_owned(),
        );
        assert_eq!(found("spec.n[1]", 0..1), Some(expected));
        let (start, end, _) = found("spec.n[1]", 3..3).unwrap();
        assert_eq!((start, end), ((5, 17), (5, 17)));
        assert_eq!(found("spec.m", 0..1), None);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        assert!(Document::read("f.yaml", "a: 1\na: 2\n").is_err());
        assert!(Document::read("f.yaml", "a: [1\n").is_err());
    }
}
