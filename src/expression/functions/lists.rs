//! Functions of lists and maps, and of the result as a whole.
#![expect(clippy::unnecessary_wraps, reason = "all functions have one signature")]

use std::collections::BTreeMap;

use super::super::Value;
use super::super::datum::{self, Datum, Form, Key, Keys, List, Map};
use super::super::loops::is_descending;
use super::super::machine::{Answer, Machine};
use super::super::number::from_count;
use super::super::operators::equal;
use super::numbers::exactly;

/// Asks about the whole result, whatever the argument is, as Argo Rollouts does.
pub(super) fn is_nil<'a>(machine: &mut Machine<'a>, _: &[Datum<'a>]) -> Answer<'a> {
    Ok(Datum::Bool(matches!(machine.result, Value::Nil)))
}

/// Answers the whole result, whatever the first argument is, as Argo Rollouts does.
pub(super) fn default<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [_, default] = exactly(arguments)?;
    Ok(match machine.result {
        Value::Nil => default.clone(),
        result => Datum::from(result),
    })
}

/// Characters of a text, elements of a list, entries of a map.
pub(super) fn len<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let length = match argument {
        Datum::Text(text) => {
            machine.budget.spend(text.len() / 64)?;
            text.chars().count()
        }
        Datum::List(list) => list.len(),
        Datum::Map(map) => map.len(),
        other => {
            let found = other.type_name();
            return Err(format!("invalid argument for len (type {found})"));
        }
    };
    Ok(Datum::Int(from_count(length)))
}

pub(super) fn get<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [object, key] = exactly(arguments)?;
    Ok(match object {
        Datum::List(list) => {
            let place = list.place(key.to_index()?).ok();
            place
                .and_then(|place| list.get(place))
                .unwrap_or(Datum::Nil)
        }
        Datum::Text(text) => match datum::place(key.to_index()?, text.len()) {
            Ok(place) => Datum::Int(i64::from(text.as_bytes()[place])),
            Err(_) => Datum::Nil,
        },
        Datum::Map(map) => map.get(key)?.unwrap_or(Datum::Nil),
        _ => Datum::Nil,
    })
}

pub(super) fn first<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    end(arguments, 0)
}

pub(super) fn last<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    end(arguments, -1)
}

/// The element at an end; nil of whatever has none.
fn end<'a>(arguments: &[Datum<'a>], index: i64) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let found = match argument {
        Datum::List(list) => list.place(index).ok().and_then(|place| list.get(place)),
        Datum::Text(text) => datum::place(index, text.len())
            .ok()
            .map(|place| Datum::Int(i64::from(text.as_bytes()[place]))),
        _ => None,
    };
    Ok(found.unwrap_or(Datum::Nil))
}

/// The argument as a list, or why the function cannot.
fn list<'d, 'a>(argument: &'d Datum<'a>, verb: &str) -> Result<&'d List<'a>, String> {
    match argument {
        Datum::List(list) => Ok(list),
        other => Err(format!("cannot {verb} {}", other.type_name())),
    }
}

fn map<'d, 'a>(argument: &'d Datum<'a>, verb: &str) -> Result<&'d Map<'a>, String> {
    match argument {
        Datum::Map(map) => Ok(map),
        other => Err(format!("cannot {verb} {}", other.type_name())),
    }
}

pub(super) fn take<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [from, count] = exactly(arguments)?;
    let length = list(from, "take from")?.len();
    let Datum::Int(count) = count else {
        return Err(format!("cannot take {} elements", count.type_name()));
    };
    let count = usize::try_from(*count)
        .map_err(|_| format!("slice bounds out of range [:{count}]"))?
        .min(length);
    machine.cut(from, 0, count)
}

pub(super) fn keys<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let entries = map(argument, "get keys from")?.entries();
    machine.list(entries.into_iter().map(|(key, _)| key).collect(), Form::Any)
}

pub(super) fn values<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let entries = map(argument, "get values from")?.entries();
    machine.list(
        entries.into_iter().map(|(_, value)| value).collect(),
        Form::Any,
    )
}

pub(super) fn to_pairs<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let mut pairs = Vec::new();
    for (key, value) in map(argument, "make pairs of")?.entries() {
        pairs.push(machine.list(vec![key, value], Form::Pair)?);
    }
    machine.list(pairs, Form::Pairs)
}

pub(super) fn from_pairs<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let mut entries = BTreeMap::new();
    for pair in list(argument, "make a map of")?.iter() {
        let pair = list(&pair, "make a pair of")?;
        let (Some(key), Some(value), 2) = (pair.get(0), pair.get(1), pair.len()) else {
            return Err(format!("invalid pair length {}", pair.len()));
        };
        entries.insert(Key::try_from(key)?, value);
    }
    machine.map(entries, Keys::Any)
}

pub(super) fn reverse<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let items = list(argument, "reverse")?.iter().rev().collect();
    machine.list(items, Form::Any)
}

pub(super) fn uniq<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let mut kept: Vec<Datum<'a>> = Vec::new();
    for item in list(argument, "uniq")?.iter() {
        let mut is_new = true;
        for earlier in &kept {
            if equal(&mut machine.budget, &item, earlier)? {
                is_new = false;
                break;
            }
        }
        if is_new {
            kept.push(item);
        }
    }
    machine.list(kept, Form::Any)
}

pub(super) fn concat<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let mut items = Vec::new();
    for argument in arguments {
        let list = list(argument, "concat")?;
        machine.budget.spend(list.len())?;
        items.extend(list.iter());
    }
    machine.list(items, Form::Any)
}

pub(super) fn flatten<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let mut items = Vec::new();
    flatten_into(machine, list(argument, "flatten")?, &mut items)?;
    machine.list(items, Form::Any)
}

fn flatten_into<'a>(
    machine: &mut Machine<'a>,
    list: &List<'a>,
    items: &mut Vec<Datum<'a>>,
) -> Result<(), String> {
    machine.budget.spend(list.len())?;
    for item in list.iter() {
        match item {
            Datum::List(inner) => flatten_into(machine, &inner, items)?,
            other => items.push(other),
        }
    }
    Ok(())
}

/// What is no list sorts to an empty one, as in the reference.
pub(super) fn sort<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let descending = is_descending(arguments.get(1))?;
    let keyed = match arguments.first() {
        Some(Datum::List(list)) => list.iter().map(|item| (item.clone(), item)).collect(),
        _ => Vec::new(),
    };
    machine.sorted(keyed, descending)
}
