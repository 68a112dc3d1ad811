//! OpenAPI version 2 as protobuf, the one form in which `kubectl` reads it.
//!
//! # Source
//! `OpenAPIv2.proto` of google/gnostic-models. What has no field there is left out.

use serde_json::{Map, Value};

/// The media type of such a document.
pub(super) const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// How `kubectl` asks for it, which is no media type: there is no `@` in one.
const ASKED_AS: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Whether such a document is what is accepted.
pub(super) fn is_accepted(accept: &str) -> bool {
    accept.split(',').any(|part| {
        let part = part.split(';').next().unwrap_or_default().trim();
        part == MEDIA_TYPE || part == ASKED_AS
    })
}

/// Encodes a document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, &document["swagger"]);
    message.inner(2, |info| {
        info.text(1, &document["info"]["title"]);
        info.text(2, &document["info"]["version"]);
    });
    message.inner(8, |paths| {
        paths.named(2, &document["paths"], path_item);
    });
    message.inner(9, |definitions| {
        definitions.named(1, &document["definitions"], schema);
    });
    message.0
}

fn path_item(message: &mut Message, item: &Value) {
    let methods = [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ];
    for (number, method) in methods {
        if let Some(told) = item.get(method) {
            message.inner(number, |message| operation(message, told));
        }
    }
}

fn operation(message: &mut Message, told: &Value) {
    message.text(5, &told["operationId"]);
    for parameter in told["parameters"].as_array().into_iter().flatten() {
        // A parameter that stands itself and not by reference, that is no body, and in the query.
        message.inner(8, |item| {
            item.inner(1, |message| {
                message.inner(2, |message| {
                    message.inner(3, |query| {
                        query.text(2, &parameter["in"]);
                        query.text(4, &parameter["name"]);
                        query.text(6, &parameter["type"]);
                    });
                });
            });
        });
    }
    message.inner(9, |responses| {
        responses.named(1, &told["responses"], |message, told| {
            message.inner(1, |response| response.text(1, &told["description"]));
        });
    });
    message.extensions(13, told);
}

fn schema(message: &mut Message, told: &Value) {
    for (number, name) in [
        (1, "$ref"),
        (2, "format"),
        (3, "title"),
        (4, "description"),
        (13, "pattern"),
    ] {
        message.text(number, &told[name]);
    }
    for (number, name) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        message.double(number, &told[name]);
    }
    for (number, name) in [
        (11, "maxLength"),
        (12, "minLength"),
        (14, "maxItems"),
        (15, "minItems"),
        (17, "maxProperties"),
        (18, "minProperties"),
    ] {
        message.number(number, told[name].as_u64());
    }
    for (number, name) in [
        (8, "exclusiveMaximum"),
        (10, "exclusiveMinimum"),
        (16, "uniqueItems"),
    ] {
        message.number(number, told[name].as_bool().map(u64::from));
    }
    message.any(5, &told["default"]);
    for name in told["required"].as_array().into_iter().flatten() {
        message.text(19, name);
    }
    for value in told["enum"].as_array().into_iter().flatten() {
        message.any(20, value);
    }
    match &told["additionalProperties"] {
        Value::Bool(allowed) => message.inner(21, |item| item.number(2, Some(u64::from(*allowed)))),
        values @ Value::Object(_) => {
            message.inner(21, |item| item.inner(1, |message| schema(message, values)));
        }
        _ => {}
    }
    if told["type"].is_string() {
        message.inner(22, |item| item.text(1, &told["type"]));
    }
    if told["items"].is_object() {
        message.inner(23, |item| {
            item.inner(1, |message| schema(message, &told["items"]));
        });
    }
    if told["properties"].is_object() {
        message.inner(25, |properties| {
            properties.named(1, &told["properties"], schema);
        });
    }
    message.extensions(31, told);
}

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            // The low seven bits, and that more follow.
            self.0.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or(0));
    }

    fn bytes(&mut self, number: u64, bytes: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, number: u64, text: &Value) {
        if let Some(text) = text.as_str() {
            self.bytes(number, text.as_bytes());
        }
    }

    fn number(&mut self, number: u64, value: Option<u64>) {
        if let Some(value) = value {
            self.varint(number << 3);
            self.varint(value);
        }
    }

    fn double(&mut self, number: u64, value: &Value) {
        if let Some(value) = value.as_f64() {
            self.varint(number << 3 | 1);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn inner(&mut self, number: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(number, &inner.0);
    }

    /// Each entry of a map, as a message with a name and a value.
    fn named(&mut self, number: u64, map: &Value, write: impl Fn(&mut Self, &Value)) {
        for (name, value) in map.as_object().into_iter().flatten() {
            self.inner(number, |entry| {
                entry.bytes(1, name.as_bytes());
                entry.inner(2, |message| write(message, value));
            });
        }
    }

    /// A free value, as YAML, which JSON is.
    fn any(&mut self, number: u64, value: &Value) {
        if !value.is_null() {
            self.inner(number, |any| any.bytes(2, value.to_string().as_bytes()));
        }
    }

    /// What stands under names that begin with `x-`.
    fn extensions(&mut self, number: u64, told: &Value) {
        let fields = told.as_object().into_iter().flatten();
        let extensions: Map<String, Value> = fields
            .filter(|(name, _)| name.starts_with("x-"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in extensions {
            self.inner(number, |entry| {
                entry.bytes(1, name.as_bytes());
                entry.any(2, &value);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_written_field_by_field() {
        let document = json!({
            "swagger": "2.0",
            "info": {"title": "T", "version": "1"},
            "paths": {},
            "definitions": {"a": {"type": "string", "x-y": [1]}},
        });
        let kind = b"\xb2\x01\x08\x0a\x06string";
        let extension = b"\xfa\x01\x0c\x0a\x03x-y\x12\x05\x12\x03[1]";
        let schema = [&kind[..], &extension[..]].concat();
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let mut entry = b"\x0a\x01a\x12".to_vec();
        entry.push(length(&schema));
        entry.extend(&schema);
        let mut definitions = vec![0x0a, length(&entry)];
        definitions.extend(&entry);
        let mut wanted = b"\x0a\x032.0\x12\x06\x0a\x01T\x12\x011\x42\0\x4a".to_vec();
        wanted.push(length(&definitions));
        wanted.extend(&definitions);
        assert_eq!(encode(&document), wanted);
    }
}
