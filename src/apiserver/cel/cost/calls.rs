//! What functions cost, by the sizes of what they are given.
//!
//! # Source
//! `functionCost` of `checker/cost.go` and `ext` of cel-go; `EstimateCallCost` of
//! `pkg/cel/library/cost.go` of Kubernetes.

use cel::common::ast::operators;

use super::range::Range;
use crate::apiserver::cel::types::Type;

/// What it costs to read a letter.
const LETTER: f64 = 0.1;

/// What a letter of a regular expression adds.
const PATTERN_LETTER: f64 = 0.25;

/// What it costs to make a list.
pub(super) const LIST: u64 = 10;

/// A call of a function.
pub(super) struct Asked<'a> {
    pub(super) name: &'a str,
    /// The type and size of what it is called on.
    pub(super) target: Option<(Type, Range)>,
    /// How large the items of a list are that it is called on.
    pub(super) items: Option<Range>,
    pub(super) kinds: Vec<Type>,
    pub(super) sizes: Vec<Range>,
    /// Arguments that are whole numbers written in the rule.
    pub(super) numbers: Vec<Option<u64>>,
}

/// What a call costs beside its arguments, and how large its result is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Call {
    pub(super) cost: Range,
    pub(super) size: Option<Range>,
}

impl Call {
    fn of(cost: Range) -> Self {
        Self { cost, size: None }
    }

    fn sized(cost: Range, size: Range) -> Self {
        Self {
            cost,
            size: Some(size),
        }
    }

    /// Making a list of that many items, each of which costs something.
    fn list(each: f64, size: Range) -> Self {
        let cost = size.by(each).plus(Range::exactly(LIST + 1));
        Self::sized(cost, size)
    }
}

/// What the call costs.
pub(super) fn cost(asked: &Asked<'_>) -> Call {
    operator(asked)
        .or_else(|| on_list(asked))
        .or_else(|| on_text(asked))
        .or_else(|| conversion(asked))
        .unwrap_or(Call::of(Range::ONE))
}

fn operator(asked: &Asked<'_>) -> Option<Call> {
    let [a, b] = asked.sizes[..] else {
        return None;
    };
    let kind = &asked.kinds[0];
    Some(match asked.name {
        operators::IN if matches!(asked.kinds[1], Type::List(_) | Type::Dyn) => Call::of(b),
        operators::ADD => match kind {
            Type::String | Type::Bytes | Type::Dyn => {
                let size = a.plus(b);
                Call::sized(size.by(LETTER), size)
            }
            Type::List(_) => Call::sized(Range::ONE, a.plus(b)),
            _ => return None,
        },
        operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
            if matches!(kind, Type::String | Type::Bytes) =>
        {
            compared(a, b)
        }
        operators::EQUALS | operators::NOT_EQUALS if !matches!(kind, Type::Opaque(_)) => {
            compared(a, b)
        }
        _ => return None,
    })
}

/// Comparing two values: as far as the shorter reaches.
fn compared(a: Range, b: Range) -> Call {
    let most = a.most.min(b.most);
    Call::of(Range::between(u64::from(most > 0), most).by(LETTER))
}

fn on_list(asked: &Asked<'_>) -> Option<Call> {
    if let ("contains" | "intersects" | "equivalent", [a, b]) = (asked.name, &asked.sizes[..])
        && asked.target.is_none()
    {
        let both = if asked.name == "equivalent" { 2.0 } else { 1.0 };
        return Some(Call::of(a.times(*b).by(both).plus(Range::ONE)));
    }
    if let ("range", Some(count)) = (asked.name, asked.numbers.first()) {
        let size = count.map_or(Range::exactly(u64::MAX), Range::exactly);
        return Some(Call::list(1.0, size));
    }
    let (Type::List(kind), size) = asked.target.as_ref()? else {
        return None;
    };
    let number = |index: usize| asked.numbers.get(index).copied().flatten();
    Some(match asked.name {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            let mut each = Range::ONE;
            if matches!(**kind, Type::String | Type::Bytes) {
                each = each.plus(asked.items.unwrap_or(Range::UNKNOWN).by(LETTER));
            }
            Call::of(size.times(each))
        }
        "join" => {
            let mut joined = size.times(asked.items.unwrap_or(Range::UNKNOWN));
            if let [separator] = asked.sizes[..] {
                let gaps = |items: u64| items.saturating_sub(1);
                let gaps = Range::between(gaps(size.least), gaps(size.most));
                joined = joined.plus(separator.times(gaps));
            }
            Call::sized(joined.by(LETTER), joined)
        }
        "slice" => {
            let end = number(1).unwrap_or(size.most);
            Call::list(
                1.0,
                Range::exactly(end.saturating_sub(number(0).unwrap_or(0))),
            )
        }
        "reverse" => Call::list(1.0, *size),
        "flatten" => match asked.numbers[..] {
            [Some(depth)] => Call::list(f64::from(u32::try_from(depth).unwrap_or(u32::MAX)), *size),
            [None] => Call::list(f64::MAX, *size),
            _ => Call::list(1.0, *size),
        },
        "distinct" | "sort" | "@sortByAssociatedKeys" => {
            Call::sized(Call::list(2.0, size.times(*size)).cost, *size)
        }
        _ => return None,
    })
}

fn on_text(asked: &Asked<'_>) -> Option<Call> {
    let (kind, on) = asked.target.as_ref()?;
    let address = Range::between(4, 16);
    Some(match (asked.name, &asked.sizes[..]) {
        ("startsWith" | "endsWith", [text]) => Call::of(text.by(LETTER)),
        ("format" | "indexOf" | "lastIndexOf", _) => Call::of(on.by(LETTER)),
        ("contains", [part]) => Call::of(on.by(LETTER).times(part.by(LETTER))),
        ("matches" | "find" | "findAll", [pattern, ..]) => {
            let letters = on.plus(Range::ONE).by(LETTER);
            let cost = letters.times(pattern.by(PATTERN_LETTER));
            let found = Range::between(0, on.most);
            let size = (asked.name != "matches").then_some(found);
            Call { cost, size }
        }
        ("lowerAscii" | "upperAscii" | "substring" | "trim", _) => Call::sized(on.by(LETTER), *on),
        ("replace", [part, with, ..]) => {
            Call::sized(on.by(2.0 * LETTER), replaced(*on, *part, *with))
        }
        ("split", _) => {
            let limit = asked.numbers.get(1).copied().flatten();
            let most = limit.unwrap_or(on.most);
            Call::sized(on.by(2.0 * LETTER), Range::between(0, most))
        }
        ("validate", [text]) => Call::of(text.by(LETTER).by(128.0 * PATTERN_LETTER)),
        ("containsIP" | "containsCIDR", [other]) if matches!(kind, Type::Opaque(_)) => {
            let mut cost = address.plus(address).by(LETTER);
            if asked.name == "containsCIDR" {
                cost = cost.plus(address.by(LETTER)).plus(Range::ONE);
            }
            if matches!(asked.kinds[0], Type::String) {
                cost = cost.plus(other.by(LETTER));
            }
            Call::of(cost)
        }
        _ => return None,
    })
}

/// How long a text is in which parts were replaced.
fn replaced(text: Range, part: Range, with: Range) -> Range {
    let length = |text: u64, part: u64, with: u64, same: bool| {
        let (count, kept) = match part {
            0 => (text.saturating_add(1), text),
            _ if same => (0, text),
            part => (text.div_ceil(part), 0),
        };
        count.saturating_mul(with).saturating_add(kept)
    };
    Range {
        least: length(text.least, part.most, with.least, part.most <= with.least),
        most: length(text.most, part.least, with.most, with.most <= part.least),
    }
}

fn conversion(asked: &Asked<'_>) -> Option<Call> {
    if asked.target.is_some() {
        return None;
    }
    let text = *asked.sizes.first()?;
    Some(match asked.name {
        "url" => Call::sized(text.by(LETTER), text),
        // Of macros: as many as the list or map has.
        "@keys" => Call::sized(Range::ONE, text),
        "quantity" | "isQuantity" | "semver" | "isSemver" | "cidr" | "isIP" | "isCIDR" | "ip" => {
            Call::of(text.by(LETTER))
        }
        "isCanonical" => Call::of(text.by(2.0 * LETTER)),
        "quote" => {
            let size = text.times(Range::between(1, 2)).plus(Range::exactly(2));
            Call::sized(text.by(LETTER), size)
        }
        "bytes" if matches!(asked.kinds[0], Type::String) => {
            Call::sized(text.by(LETTER), text.times(Range::between(1, 4)))
        }
        "string" if matches!(asked.kinds[0], Type::Bytes) => {
            Call::sized(text.by(LETTER), Range::between(text.least / 4, text.most))
        }
        _ => return None,
    })
}
