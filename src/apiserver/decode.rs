//! Reads JSON and YAML; JSON with a note of the keys that stand twice.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads JSON; the second of two equal keys counts. Also answers the paths of such keys.
///
/// # Errors
/// What is wrong, in the words of Go's decoder where they are short.
pub(super) fn json(text: &[u8]) -> Result<(Value, Vec<String>), String> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(text);
    let seed = Reader {
        path: String::new(),
        duplicates: &mut duplicates,
    };
    let value = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| told(&error))?;
    Ok((value, duplicates))
}

fn told(error: &serde_json::Error) -> String {
    if error.is_eof() {
        "unexpected end of JSON input".to_owned()
    } else {
        error.to_string()
    }
}

/// Reads the one document of a YAML text.
pub(super) fn yaml(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true, };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

struct Reader<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn child(&mut self, path: String) -> Reader<'_> {
        Reader {
            path,
            duplicates: self.duplicates,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            match items.next_element_seed(self.child(path))? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let path = if self.path.is_empty() {
                name.clone()
            } else {
                format!("{}.{name}", self.path)
            };
            let value = entries.next_value_seed(self.child(path.clone()))?;
            if fields.insert(name, value).is_some() {
                self.duplicates.push(path);
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_stand_twice_are_told() {
        let (value, twice) = json(br#"{"a": {"b": [1, {"c": 1, "c": 2}], "b": null}}"#).unwrap();
        assert_eq!(value, json!({"a": {"b": null}}));
        assert_eq!(twice, ["a.b[1].c", "a.b"]);
    }

    #[test]
    fn numbers_and_texts_are_read_as_they_stand() {
        let text = br#"{"i": -1, "u": 18446744073709551615, "f": 1.5, "s": "a\nb", "t": true}"#;
        let plain: Value = serde_json::from_slice(text).unwrap();
        assert_eq!(json(text).unwrap().0, plain);
        assert_eq!(
            json(b"{\"a\":").unwrap_err(),
            "unexpected end of JSON input"
        );
    }
}
