//! Reads objects of built-in kinds that are sent as protobuf, as `kubectl create` and `kubectl auth`
//! do. Nothing is answered so: every such client takes JSON, too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::messages::{self, Field, Label};

/// What every protobuf body of Kubernetes begins with.
const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may stand in each other.
const DEEPEST: usize = 64;

/// Reads the object in a protobuf body.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(body: &[u8]) -> Result<Value, String> {
    let envelope = body
        .strip_prefix(MAGIC)
        .ok_or("it does not begin with `k8s`")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for part in parts(envelope) {
        match part? {
            (1, Wire::Bytes(type_meta)) => {
                for part in parts(type_meta) {
                    match part? {
                        (1, Wire::Bytes(text)) => api_version = text_of(text)?,
                        (2, Wire::Bytes(text)) => kind = text_of(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(object)) => raw = object,
            _ => {}
        }
    }
    let name = match kind.as_str() {
        "DeleteOptions" => "meta.v1.DeleteOptions".to_owned(),
        kind => messages::name(&api_version, kind),
    };
    if !messages::all().contains_key(name.as_str()) {
        return Err(format!("{api_version} {kind} is not known"));
    }
    let mut object = message(&name, raw, 0)?;
    object["apiVersion"] = Value::String(api_version);
    object["kind"] = Value::String(kind);
    Ok(object)
}

/// A value on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The numbered parts of a message.
fn parts(mut rest: &[u8]) -> impl Iterator<Item = Result<(u64, Wire<'_>), String>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = part(&mut rest);
        if part.is_none() {
            rest = &[];
        }
        Some(part.ok_or_else(|| "it ends in the middle".to_owned()))
    })
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let tag = varint(rest)?;
    let wire = match tag & 7 {
        0 => Wire::Number(varint(rest)?),
        1 => Wire::Number(u64::from_le_bytes(taken(rest, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Wire::Bytes(taken(rest, length)?)
        }
        5 => Wire::Number(u64::from(u32::from_le_bytes(
            taken(rest, 4)?.try_into().ok()?,
        ))),
        _ => return None,
    };
    Some((tag >> 3, wire))
}

fn taken<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *taken(rest, 1)?.first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn text_of(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Value, String> {
    if depth > DEEPEST {
        return Err("it is nested too deep".to_owned());
    }
    match name {
        "meta.v1.Time" | "meta.v1.MicroTime" => return time(bytes),
        "Quantity" => return Ok(first_text(bytes)?.map_or(Value::Null, Value::String)),
        "IntOrString" => return int_or_string(bytes),
        "meta.v1.FieldsV1" | "RawExtension" => {
            let text = first_text(bytes)?.unwrap_or_default();
            return Ok(serde_json::from_str(&text).unwrap_or_default());
        }
        _ => {}
    }
    let known = messages::all()
        .get(name)
        .ok_or_else(|| format!("{name} is not known"))?;
    let mut object = Map::new();
    for part in parts(bytes) {
        let (number, wire) = part?;
        let Some(field) = known.get(&number) else {
            continue;
        };
        add(&mut object, field, &wire, depth)?;
    }
    // Lists that stand for themselves: `ExtraValue`.
    if known.len() == 1 && name.ends_with(".ExtraValue") {
        return Ok(object.remove("items").unwrap_or_default());
    }
    Ok(Value::Object(object))
}

fn add(
    object: &mut Map<String, Value>,
    field: &Field,
    wire: &Wire<'_>,
    depth: usize,
) -> Result<(), String> {
    match (field.label, wire) {
        (Label::Map, Wire::Bytes(entry)) => {
            let (mut key, mut value) = (String::new(), Value::String(String::new()));
            for part in parts(entry) {
                match part? {
                    (1, Wire::Bytes(text)) => key = text_of(text)?,
                    (2, wire) => value = single(field.kind, &wire, depth)?,
                    _ => {}
                }
            }
            let map = object
                .entry(field.name)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Some(map) = map.as_object_mut() {
                map.insert(key, value);
            }
        }
        (Label::List, wire) => {
            let item = single(field.kind, wire, depth)?;
            let list = object
                .entry(field.name)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Some(list) = list.as_array_mut() {
                list.push(item);
            }
        }
        (_, wire) => {
            let value = single(field.kind, wire, depth)?;
            match value {
                Value::Object(fields) if field.is_inline() => object.extend(fields),
                value => {
                    object.insert(field.name.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

fn single(kind: &str, wire: &Wire<'_>, depth: usize) -> Result<Value, String> {
    Ok(match (kind, wire) {
        ("string", Wire::Bytes(bytes)) => Value::String(text_of(bytes)?),
        ("bytes", Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        ("bool", Wire::Number(number)) => Value::Bool(*number != 0),
        ("double", Wire::Number(number)) => {
            Number::from_f64(f64::from_bits(*number)).map_or(Value::Null, Value::Number)
        }
        (_, Wire::Number(number)) => Value::from(number.cast_signed()),
        (name, Wire::Bytes(bytes)) => message(name, bytes, depth + 1)?,
    })
}

fn first_text(bytes: &[u8]) -> Result<Option<String>, String> {
    for part in parts(bytes) {
        if let (1, Wire::Bytes(text)) = part? {
            return text_of(text).map(Some);
        }
    }
    Ok(None)
}

/// The seconds and nanoseconds of a time; one that is empty is none.
fn time(bytes: &[u8]) -> Result<Value, String> {
    let (mut seconds, mut nanoseconds) = (None, 0);
    for part in parts(bytes) {
        match part? {
            (1, Wire::Number(number)) => seconds = Some(number.cast_signed()),
            (2, Wire::Number(number)) => nanoseconds = i32::try_from(number).unwrap_or(0),
            _ => {}
        }
    }
    let time = seconds.and_then(|seconds| Timestamp::new(seconds, nanoseconds).ok());
    Ok(time.map_or(Value::Null, |time| Value::String(time.to_string())))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for part in parts(bytes) {
        match part? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(found)) => number = found.cast_signed(),
            (3, Wire::Bytes(found)) => text = text_of(found)?,
            _ => {}
        }
    }
    Ok(if is_text {
        Value::String(text)
    } else {
        Value::from(number)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// `kubectl create namespace vectors`, as it was sent.
    const NAMESPACE: &[u8] = b"k8s\0\n\x0f\n\x02v1\x12\tNamespace\x12\x1f\n\x17\n\x07vectors\x12\0\
        \x1a\0\"\0*\x002\x008\0B\0\x12\0\x1a\x02\n\0\x1a\0\"\0";

    #[test]
    fn what_kubectl_sends_is_read() {
        let object = read(NAMESPACE).unwrap();
        assert_eq!(object["kind"], "Namespace");
        assert_eq!(object["metadata"]["name"], "vectors");
        assert_eq!(object["metadata"]["creationTimestamp"], Value::Null);
    }

    #[test]
    fn numbers_texts_and_amounts_are_read() {
        assert_eq!(int_or_string(b"\x08\x01\x1a\x0325%").unwrap(), json!("25%"));
        assert_eq!(int_or_string(b"\x08\0\x10\x50").unwrap(), json!(80));
        assert_eq!(
            message("Quantity", b"\n\x04100m", 0).unwrap(),
            json!("100m")
        );
        let selector = message("core.v1.SecretKeySelector", b"\n\x03\n\x01s\x12\x01k", 0);
        assert_eq!(selector.unwrap(), json!({"name": "s", "key": "k"}));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(tail in prop::collection::vec(any::<u8>(), 0..200), cut in 0..60_usize) {
            let mut body = NAMESPACE[..cut.min(NAMESPACE.len())].to_vec();
            body.extend(tail);
            let _ = read(&body);
        }
    }
}
