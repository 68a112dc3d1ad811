//! Values of a template's arguments.

use std::path::Path;

use serde_json::Value;

use super::{Error, files};
use crate::api::Argument;

/// Reads `NAME=VALUE`.
pub(super) fn parse(text: &str) -> Result<Argument, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(argument(name, value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Reads a file of values.
pub(super) fn read(path: &Path) -> Result<Vec<Argument>, Error> {
    let mut all = Vec::new();
    for document in files::documents(path)? {
        let read = of(document).map_err(|why| Error::Content {
            path: path.to_owned(),
            why,
        })?;
        all.extend(read);
    }
    Ok(all)
}

fn of(document: Value) -> Result<Vec<Argument>, String> {
    match document {
        Value::Null => Ok(Vec::new()),
        Value::Object(map) => {
            let values = map.into_iter().map(|(name, value)| {
                let text = match value {
                    Value::String(text) => text,
                    // Arguments are texts; YAML reads `count: 5` as a number.
                    Value::Number(_) | Value::Bool(_) => value.to_string(),
                    Value::Null | Value::Array(_) | Value::Object(_) => {
                        return Err(format!("`{name}` must be a text, a number, true or false"));
                    }
                };
                Ok(argument(&name, text))
            });
            values.collect()
        }
        list @ Value::Array(_) => serde_json::from_value(list)
            .map_err(|error| format!("not a list of arguments: {error}")),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err("expected a map of names and values, or a list as under `args:`".to_owned())
        }
    }
}

fn argument(name: &str, value: String) -> Argument {
    Argument {
        name: name.to_owned(),
        value: Some(value),
        ..Argument::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_a_map_or_a_list() {
        let pairs = |document: Value| -> Result<Vec<(String, Option<String>)>, String> {
            let read = of(document)?.into_iter();
            Ok(read.map(|arg| (arg.name, arg.value)).collect())
        };
        let (a, b) = (
            ("a".to_owned(), Some("1".to_owned())),
            ("b".to_owned(), Some("true".to_owned())),
        );
        assert_eq!(pairs(json!({"a": 1, "b": true})), Ok(vec![a.clone(), b]));
        assert_eq!(pairs(json!([{"name": "a", "value": "1"}])), Ok(vec![a]));
        assert_eq!(pairs(json!(null)), Ok(vec![]));
        for wrong in [json!("a=1"), json!({"a": [1]}), json!([1])] {
            assert!(pairs(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_may_have_equals_signs() {
        assert_eq!(parse("q=a=b").unwrap().value.as_deref(), Some("a=b"));
        assert!(parse("=x").is_err() && parse("x").is_err());
    }
}
