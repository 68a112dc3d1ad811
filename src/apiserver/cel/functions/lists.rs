//! Lists: order, sums, places, sets, and lists of optionals.

use std::cmp::Ordering;

use cel::ExecutionError;
use cel::common::functions::Function;
use cel::common::types::{CelInt, CelList, CelMap, CelMapKey, CelOptional, CelString};
use cel::common::value::{CowVal, Val};

use super::{Answer, answer_bool, answer_int, argument, refused};

/// # Source
/// `library/lists.go` of Kubernetes; `ext/sets.go` and the optional library of cel-go.
#[rustfmt::skip]
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    (".isSorted(list(int)) -> bool", is_sorted),
    (".isSorted(list(uint)) -> bool", is_sorted),
    (".isSorted(list(double)) -> bool", is_sorted),
    (".isSorted(list(bool)) -> bool", is_sorted),
    (".isSorted(list(duration)) -> bool", is_sorted),
    (".isSorted(list(timestamp)) -> bool", is_sorted),
    (".isSorted(list(string)) -> bool", is_sorted),
    (".isSorted(list(bytes)) -> bool", is_sorted),
    (".sum(list(int)) -> int", sum),
    (".sum(list(uint)) -> uint", sum),
    (".sum(list(double)) -> double", sum),
    (".sum(list(duration)) -> duration", sum),
    (".min(list(int)) -> int", min),
    (".min(list(uint)) -> uint", min),
    (".min(list(double)) -> double", min),
    (".min(list(bool)) -> bool", min),
    (".min(list(duration)) -> duration", min),
    (".min(list(timestamp)) -> timestamp", min),
    (".min(list(string)) -> string", min),
    (".min(list(bytes)) -> bytes", min),
    (".max(list(int)) -> int", max),
    (".max(list(uint)) -> uint", max),
    (".max(list(double)) -> double", max),
    (".max(list(bool)) -> bool", max),
    (".max(list(duration)) -> duration", max),
    (".max(list(timestamp)) -> timestamp", max),
    (".max(list(string)) -> string", max),
    (".max(list(bytes)) -> bytes", max),
    (".indexOf(list(A), A) -> int", index_of),
    (".lastIndexOf(list(A), A) -> int", last_index_of),
    (".first(list(A)) -> optional(A)", first),
    (".last(list(A)) -> optional(A)", last),
    ("optional.unwrap(list(optional(A))) -> list(A)", unwrap),
    (".unwrapOpt(list(optional(A))) -> list(A)", unwrap),
    ("sets.contains(list(A), list(A)) -> bool", sets_contains),
    ("sets.equivalent(list(A), list(A)) -> bool", sets_equivalent),
    ("sets.intersects(list(A), list(A)) -> bool", sets_intersects),
    ("@keys(list(A)) -> list(int)", indices),
    ("@keys(map(A, B)) -> list(A)", keys),
    ("@insert(map(A, B), A, B) -> map(A, B)", insert),
    ("@merge(map(A, B), map(A, B)) -> map(A, B)", merge),
];

fn items<'a, 'v>(
    arguments: &'a [CowVal<'_, 'v>],
    index: usize,
) -> Result<&'a [Box<dyn Val + 'v>], ExecutionError> {
    argument::<CelList<'v>>(arguments, index).map(CelList::inner)
}

fn compare(a: &dyn Val, b: &dyn Val) -> Result<Ordering, ExecutionError> {
    let comparer = a.as_comparer();
    comparer
        .ok_or_else(|| ExecutionError::no_such_overload("compare", Vec::new()))?
        .compare(b)
}

fn is_sorted<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    for pair in items(&arguments, 0)?.windows(2) {
        if compare(&*pair[0], &*pair[1])? == Ordering::Greater {
            return answer_bool(false);
        }
    }
    answer_bool(true)
}

fn sum<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let mut items = items(&arguments, 0)?.iter();
    let Some(first) = items.next() else {
        return answer_int(0);
    };
    let mut sum = first.clone();
    for item in items {
        let adder = sum.as_adder();
        let adder = adder.ok_or_else(|| ExecutionError::no_such_overload("_+_", Vec::new()))?;
        let next = adder.add(&**item)?.into_owned();
        sum = next;
    }
    Ok(CowVal::Owned(sum))
}

fn min<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    extreme(&arguments, Ordering::Less, "min")
}

fn max<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    extreme(&arguments, Ordering::Greater, "max")
}

fn extreme<'b, 'v>(arguments: &[CowVal<'b, 'v>], wanted: Ordering, name: &str) -> Answer<'b, 'v> {
    let mut items = items(arguments, 0)?.iter();
    let mut best = items
        .next()
        .ok_or_else(|| refused(format!("{name} called on empty list")))?;
    for item in items {
        if compare(&**item, &**best)? == wanted {
            best = item;
        }
    }
    Ok(CowVal::Owned(best.clone()))
}

fn index_of<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let items = items(&arguments, 0)?;
    let place = items.iter().position(|item| item.equals(&*arguments[1]));
    answer_int(place.map_or(-1, as_int))
}

fn last_index_of<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let items = items(&arguments, 0)?;
    let place = items.iter().rposition(|item| item.equals(&*arguments[1]));
    answer_int(place.map_or(-1, as_int))
}

fn as_int(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

fn first<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    items(&arguments, 0).map(|items| optional(items.first().cloned()))
}

fn last<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    items(&arguments, 0).map(|items| optional(items.last().cloned()))
}

fn optional<'b, 'v>(value: Option<Box<dyn Val + 'v>>) -> CowVal<'b, 'v> {
    CowVal::owned(value.map_or_else(CelOptional::none, CelOptional::of))
}

/// What the optionals of a list hold.
fn unwrap<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let mut held: Vec<Box<dyn Val + 'v>> = Vec::new();
    for item in items(&arguments, 0)? {
        let optional = item.downcast_ref::<CelOptional<'v>>();
        let optional = optional.ok_or_else(|| ExecutionError::no_such_overload("", Vec::new()))?;
        if let Some(value) = optional.option() {
            held.push(value.clone_as_boxed());
        }
    }
    Ok(CowVal::owned(CelList::from(held)))
}

fn has(list: &[Box<dyn Val + '_>], item: &dyn Val) -> bool {
    list.iter().any(|other| other.equals(item))
}

fn sets_contains<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (set, part) = (items(&arguments, 0)?, items(&arguments, 1)?);
    answer_bool(part.iter().all(|item| has(set, &**item)))
}

fn sets_equivalent<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (a, b) = (items(&arguments, 0)?, items(&arguments, 1)?);
    answer_bool(a.iter().all(|item| has(b, &**item)) && b.iter().all(|item| has(a, &**item)))
}

fn sets_intersects<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (a, b) = (items(&arguments, 0)?, items(&arguments, 1)?);
    answer_bool(a.iter().any(|item| has(b, &**item)))
}

/// The places of a list, for macros that name both place and item.
fn indices<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let count = items(&arguments, 0)?.len();
    let boxed = |place: usize| -> Box<dyn Val + 'v> { Box::new(CelInt::from(as_int(place))) };
    Ok(CowVal::owned(CelList::from(
        (0..count).map(boxed).collect::<Vec<_>>(),
    )))
}

/// The keys of a map, in order.
fn keys<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let map = argument::<CelMap<'v>>(&arguments, 0)?;
    let mut keys: Vec<&CelMapKey<'v>> = map.inner().keys().collect();
    keys.sort();
    let boxed = |key: &CelMapKey<'v>| -> Box<dyn Val + 'v> {
        match key.clone() {
            CelMapKey::Bool(key) => Box::new(key),
            CelMapKey::Int(key) => Box::new(key),
            CelMapKey::String(key) => Box::new(key),
            CelMapKey::UInt(key) => Box::new(key),
        }
    };
    Ok(CowVal::owned(CelList::from(
        keys.into_iter().map(boxed).collect::<Vec<_>>(),
    )))
}

fn insert<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let mut entries = argument::<CelMap<'v>>(&arguments, 0)?.inner().clone();
    let key = CelMapKey::try_from(arguments[1].clone())?;
    if entries.contains_key(&key) {
        return Err(repeated(&key));
    }
    entries.insert(key, arguments[2].clone().into_owned());
    Ok(CowVal::owned(CelMap::from(entries)))
}

fn merge<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let mut entries = argument::<CelMap<'v>>(&arguments, 0)?.inner().clone();
    for (key, value) in argument::<CelMap<'v>>(&arguments, 1)?.inner() {
        if entries.insert(key.clone(), value.clone()).is_some() {
            return Err(repeated(key));
        }
    }
    Ok(CowVal::owned(CelMap::from(entries)))
}

fn repeated(key: &CelMapKey<'_>) -> ExecutionError {
    let told = match key {
        CelMapKey::String(key) => CelString::inner(key).to_owned(),
        CelMapKey::Int(key) => key.inner().to_string(),
        CelMapKey::UInt(key) => key.inner().to_string(),
        CelMapKey::Bool(key) => key.inner().to_string(),
    };
    refused(format!("insert failed: key {told} already exists"))
}
