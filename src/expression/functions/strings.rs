//! Functions of texts.

use std::rc::Rc;

use k8s_openapi::ByteString;

use super::super::Value;
use super::super::datum::{Datum, Form, Key, Keys, Map, Text};
use super::super::machine::{Answer, Machine};
use super::super::number::{from_count, to_float};
use super::numbers::exactly;
use super::{numbers, times};

/// Repetitions that `repeat` makes at most; expr-lang's limit.
const MAX_REPETITIONS: i64 = 1_000_000;

pub(super) fn type_of<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    Ok(Datum::Text(Text::Borrowed(match argument {
        Datum::Nil => "nil",
        Datum::Int(_) => "int",
        Datum::Float(_) => "float",
        Datum::List(_) => "array",
        Datum::Map(_) => "map",
        Datum::Zone(_) => "unknown",
        other => other.type_name(),
    })))
}

pub(super) fn string<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    if let Datum::Text(_) = argument {
        return Ok(argument.clone());
    }
    let mut out = String::new();
    write_value(machine, argument, &mut out)?;
    machine.text(out)
}

/// As Go's `%v` writes it: `[1 2]`, `map[a:1]`.
fn write_value<'a>(
    machine: &mut Machine<'a>,
    value: &Datum<'a>,
    out: &mut String,
) -> Result<(), String> {
    machine.budget.spend(1)?;
    match value {
        Datum::Nil => out.push_str("<nil>"),
        Datum::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Datum::Text(text) => {
            machine.budget.take(text.len() / 16)?;
            out.push_str(text);
        }
        Datum::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                write_value(machine, &item, out)?;
            }
            out.push(']');
        }
        Datum::Map(map) => {
            out.push_str("map[");
            for (at, (key, value)) in map.entries().iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                write_value(machine, key, out)?;
                out.push(':');
                write_value(machine, value, out)?;
            }
            out.push(']');
        }
        other => {
            let shown = numbers::shown(other).or_else(|| times::shown(other));
            out.push_str(&shown.unwrap_or_default());
        }
    }
    Ok(())
}

pub(super) fn to_json<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let json = json_of(machine, argument)?;
    let text = serde_json::to_string_pretty(&json).map_err(|error| error.to_string())?;
    // Go's encoder keeps what a browser might take for markup out of the text.
    let text = text
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e");
    machine.text(text)
}

fn json_of<'a>(machine: &mut Machine<'a>, value: &Datum<'a>) -> Result<serde_json::Value, String> {
    machine.budget.take(1)?;
    Ok(match value {
        Datum::Nil => serde_json::Value::Null,
        Datum::Bool(bool) => (*bool).into(),
        Datum::Int(int) | Datum::Duration(int) => (*int).into(),
        Datum::Float(float) => json_number(*float)?,
        Datum::Text(text) => {
            machine.budget.take(text.len() / 16)?;
            (**text).into()
        }
        Datum::List(list) => {
            let items = list.iter().map(|item| json_of(machine, &item));
            items.collect::<Result<Vec<_>, _>>()?.into()
        }
        Datum::Map(map) => json_object(machine, map)?,
        Datum::Month(number) | Datum::Weekday(number) => (*number).into(),
        Datum::Time(time) => times::rfc3339(time).into(),
        Datum::Zone(_) => serde_json::json!({}),
    })
}

fn json_number(float: f64) -> Result<serde_json::Value, String> {
    if !float.is_finite() {
        let shown = numbers::shown(&Datum::Float(float)).unwrap_or_default();
        return Err(format!("json: unsupported value: {shown}"));
    }
    let int = super::super::number::to_int(float);
    #[expect(clippy::float_cmp, reason = "asks whether nothing was cut off")]
    let is_whole = int != i64::MIN && to_float(int) == float;
    Ok(if is_whole { int.into() } else { float.into() })
}

fn json_object<'a>(machine: &mut Machine<'a>, map: &Map<'a>) -> Result<serde_json::Value, String> {
    let mut fields = serde_json::Map::new();
    for (key, value) in map.entries() {
        let Datum::Text(name) = key else {
            return Err("json: unsupported type: map[interface {}]interface {}".to_owned());
        };
        fields.insert(name.to_string(), json_of(machine, &value)?);
    }
    Ok(fields.into())
}

pub(super) fn from_json<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let text = argument.to_text()?;
    machine.budget.take(text.len() / 16)?;
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("invalid JSON: {error}"))?;
    decoded(machine, json.into())
}

fn decoded<'a>(machine: &mut Machine<'a>, value: Value) -> Answer<'a> {
    match value {
        Value::Nil => Ok(Datum::Nil),
        Value::Bool(bool) => Ok(Datum::Bool(bool)),
        Value::Int(int) => Ok(Datum::Int(int)),
        Value::Float(float) => Ok(Datum::Float(float)),
        Value::String(text) => machine.text(text),
        Value::Bytes(_) | Value::Floats(_) => Err("not JSON".to_owned()),
        Value::List(values) => {
            let items = values.into_iter().map(|value| decoded(machine, value));
            let items = items.collect::<Result<_, _>>()?;
            machine.list(items, Form::Any)
        }
        Value::Map(fields) => {
            let mut entries = std::collections::BTreeMap::new();
            for (name, value) in fields {
                let name = Key::Text(Text::Owned(name.into()));
                entries.insert(name, decoded(machine, value)?);
            }
            machine.map(entries, Keys::Strings)
        }
    }
}

/// One text in, one text out. The work is paid for by its length.
fn mapped<'a>(
    machine: &mut Machine<'a>,
    arguments: &[Datum<'a>],
    how: impl Fn(&str) -> String,
) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let mapped = how(argument.to_text()?);
    machine.text(mapped)
}

/// Two texts in, the second with a default.
fn mapped_by<'a>(
    machine: &mut Machine<'a>,
    arguments: &[Datum<'a>],
    by_default: &str,
    how: impl for<'t> Fn(&'t str, &str) -> &'t str,
) -> Answer<'a> {
    let (text, by) = match arguments {
        [text] => (text.to_text()?, by_default),
        other => {
            let [text, by] = exactly(other)?;
            (text.to_text()?, by.to_text()?)
        }
    };
    let mapped = how(text, by).to_owned();
    machine.text(mapped)
}

pub(super) fn trim<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    if arguments.len() == 1 {
        return mapped(machine, arguments, |text| text.trim().to_owned());
    }
    mapped_by(machine, arguments, "", |text, cutset| {
        text.trim_matches(|c| cutset.contains(c))
    })
}

pub(super) fn trim_prefix<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    mapped_by(machine, arguments, " ", |text, prefix| {
        text.strip_prefix(prefix).unwrap_or(text)
    })
}

pub(super) fn trim_suffix<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    mapped_by(machine, arguments, " ", |text, suffix| {
        text.strip_suffix(suffix).unwrap_or(text)
    })
}

pub(super) fn upper<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    mapped(machine, arguments, |text| {
        text.chars().map(|c| sole(c.to_uppercase(), c)).collect()
    })
}

pub(super) fn lower<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    mapped(machine, arguments, |text| {
        text.chars().map(|c| sole(c.to_lowercase(), c)).collect()
    })
}

/// Go maps a character to one character or not at all: `ß` stays.
fn sole(mut mapped: impl Iterator<Item = char>, original: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => original,
    }
}

pub(super) fn split<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    split_with(machine, arguments, false)
}

pub(super) fn split_after<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    split_with(machine, arguments, true)
}

/// Go's `SplitN`: a limit of 0 gives nothing, a negative one everything.
fn split_with<'a>(
    machine: &mut Machine<'a>,
    arguments: &[Datum<'a>],
    keep_separator: bool,
) -> Answer<'a> {
    let (text, separator, limit) = match arguments {
        [text, separator] => (text.to_text()?, separator.to_text()?, -1),
        other => {
            let [text, separator, limit] = exactly(other)?;
            (text.to_text()?, separator.to_text()?, limit.to_index()?)
        }
    };
    let limit = match limit {
        0 => return machine.list(Vec::new(), Form::Strings),
        negative if negative < 0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    machine.budget.spend(text.len() / 16)?;
    let mut parts = Vec::new();
    let mut rest = text;
    while parts.len() + 1 < limit {
        let cut = if separator.is_empty() {
            rest.chars().next().map(|c| (c.len_utf8(), c.len_utf8()))
        } else {
            let found = rest.find(separator);
            found.map(|at| (at, at + separator.len()))
        };
        let Some((end, next)) = cut else { break };
        parts.push(&rest[..if keep_separator { next } else { end }]);
        rest = &rest[next..];
    }
    if !(separator.is_empty() && rest.is_empty()) {
        parts.push(rest);
    }
    let mut items = Vec::with_capacity(parts.len());
    for part in parts {
        items.push(machine.text(part.to_owned())?);
    }
    machine.list(items, Form::Strings)
}

pub(super) fn replace<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let (text, old, new, limit) = match arguments {
        [text, old, new] => (text, old, new, -1),
        other => {
            let [text, old, new, limit] = exactly(other)?;
            (text, old, new, limit.to_index()?)
        }
    };
    let (text, old, new) = (text.to_text()?, old.to_text()?, new.to_text()?);
    machine.budget.spend(text.len() / 16)?;
    // No more than this can be replaced, and that is what must fit.
    let most = match old.len() {
        0 => text.len() + 1,
        length => text.len() / length,
    };
    let times = usize::try_from(limit).unwrap_or(usize::MAX).min(most);
    machine.budget.take(times.saturating_mul(new.len()) / 16)?;
    machine.text(text.replacen(old, new, times))
}

pub(super) fn repeat<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [text, times] = exactly(arguments)?;
    let (text, times) = (text.to_text()?, times.to_index()?);
    if times > MAX_REPETITIONS {
        return Err("memory budget exceeded".to_owned());
    }
    let times = usize::try_from(times).map_err(|_| {
        format!("invalid argument for repeat (expected positive integer, got {times})")
    })?;
    machine.budget.take(text.len().saturating_mul(times))?;
    machine.text(text.repeat(times))
}

pub(super) fn join<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let glue = match arguments.get(1) {
        Some(glue) => glue.to_text()?,
        None => "",
    };
    let Some(Datum::List(list)) = arguments.first() else {
        let found = arguments.first().map_or("nothing", Datum::type_name);
        return Err(format!("invalid argument for join (type {found})"));
    };
    let mut joined = String::new();
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            joined.push_str(glue);
        }
        let text = item.to_text()?;
        machine.budget.take((text.len() + glue.len()) / 16)?;
        machine.budget.spend(1)?;
        joined.push_str(text);
    }
    machine.text(joined)
}

fn two<'d>(arguments: &'d [Datum<'_>]) -> Result<(&'d str, &'d str), String> {
    let [text, part] = exactly(arguments)?;
    Ok((text.to_text()?, part.to_text()?))
}

fn place(found: Option<usize>) -> Datum<'static> {
    Datum::Int(found.map_or(-1, from_count))
}

/// In bytes.
pub(super) fn index_of<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let (text, part) = two(arguments)?;
    machine.budget.spend(text.len() / 64)?;
    Ok(place(text.find(part)))
}

/// In bytes.
pub(super) fn last_index_of<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let (text, part) = two(arguments)?;
    machine.budget.spend(text.len() / 64)?;
    Ok(place(text.rfind(part)))
}

pub(super) fn has_prefix<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    two(arguments).map(|(text, prefix)| Datum::Bool(text.starts_with(prefix)))
}

pub(super) fn has_suffix<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    two(arguments).map(|(text, suffix)| Datum::Bool(text.ends_with(suffix)))
}

// Kubernetes' byte strings are base64 in JSON, which spares a dependency.
pub(super) fn to_base64<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let bytes = ByteString(argument.to_text()?.as_bytes().to_vec());
    match serde_json::to_value(bytes) {
        Ok(serde_json::Value::String(text)) => machine.text(text),
        _ => Err("cannot write base64".to_owned()),
    }
}

pub(super) fn from_base64<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let text = argument.to_text()?.replace(['\r', '\n'], "");
    machine.budget.take(text.len() / 16)?;
    let bytes: ByteString = serde_json::from_value(text.into())
        .map_err(|error| format!("illegal base64 data: {error}"))?;
    machine.text(String::from_utf8_lossy(&bytes.0).into_owned())
}

/// A text that is the program's own, for the methods of times.
pub(super) fn fixed<'a>(text: String) -> Datum<'a> {
    Datum::Text(Text::Owned(Rc::from(text)))
}
