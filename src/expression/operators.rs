//! What the operators do to values. Follows `vm/runtime` of expr-lang 1.17.8.

use jiff::{Span, Zoned};
use std::rc::Rc;

use super::datum::{Datum, Form, Keys, List, Map};
use super::machine::Budget;
use super::number::{to_float, to_int};
use super::syntax::Binary;

/// `==`: numbers by value, lists element by element, maps strictly. Unlike kinds are unequal.
#[expect(clippy::float_cmp, reason = "the language compares floats exactly")]
pub(super) fn equal(budget: &mut Budget, a: &Datum<'_>, b: &Datum<'_>) -> Result<bool, String> {
    budget.spend(1)?;
    Ok(match (a, b) {
        (Datum::Int(a), Datum::Int(b)) => a == b,
        (Datum::Float(a), Datum::Float(b)) => a == b,
        (Datum::Int(int), Datum::Float(float)) | (Datum::Float(float), Datum::Int(int)) => {
            to_float(*int) == *float
        }
        (Datum::List(a), Datum::List(b)) => match (a.form(), b.form()) {
            (Form::Pairs | Form::Pair, _) | (_, Form::Pairs | Form::Pair) => {
                same_lists(budget, a, b)?
            }
            (Form::Any, _) | (_, Form::Any) => equal_lists(budget, a, b)?,
            (a_form, b_form) => a_form == b_form && equal_lists(budget, a, b)?,
        },
        _ => same(budget, a, b)?,
    })
}

/// `==` of two whole numbers or two texts; anything else is an error.
pub(super) fn equal_exact(a: &Datum<'_>, b: &Datum<'_>) -> Result<bool, String> {
    match (a, b) {
        (Datum::Int(a), Datum::Int(b)) => Ok(a == b),
        (Datum::Text(a), Datum::Text(b)) => Ok(**a == **b),
        (Datum::Int(_), other) | (other, Datum::Int(_)) => Err(other.is_not("int")),
        (Datum::Text(_), other) | (other, _) => Err(other.is_not("string")),
    }
}

fn equal_lists(budget: &mut Budget, a: &List<'_>, b: &List<'_>) -> Result<bool, String> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b.iter()) {
        if !equal(budget, &a, &b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Go's deep equality: a whole number is never a float.
#[expect(clippy::float_cmp, reason = "the language compares floats exactly")]
fn same(budget: &mut Budget, a: &Datum<'_>, b: &Datum<'_>) -> Result<bool, String> {
    budget.spend(1)?;
    Ok(match (a, b) {
        (Datum::Nil, Datum::Nil) => true,
        (Datum::Bool(a), Datum::Bool(b)) => a == b,
        (Datum::Int(a), Datum::Int(b)) | (Datum::Duration(a), Datum::Duration(b)) => a == b,
        (Datum::Float(a), Datum::Float(b)) => a == b,
        (Datum::Text(a), Datum::Text(b)) => {
            budget.spend(a.len() / 64)?;
            **a == **b
        }
        (Datum::Time(a), Datum::Time(b)) => a.timestamp() == b.timestamp(),
        (Datum::Zone(a), Datum::Zone(b)) => a == b,
        (Datum::Month(a), Datum::Month(b)) | (Datum::Weekday(a), Datum::Weekday(b)) => a == b,
        (Datum::List(a), Datum::List(b)) => same_lists(budget, a, b)?,
        (Datum::Map(a), Datum::Map(b)) => same_maps(budget, a, b)?,
        _ => false,
    })
}

fn same_lists(budget: &mut Budget, a: &List<'_>, b: &List<'_>) -> Result<bool, String> {
    if a.form() != b.form() || a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b.iter()) {
        if !same(budget, &a, &b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_maps(budget: &mut Budget, a: &Map<'_>, b: &Map<'_>) -> Result<bool, String> {
    if a.keys() != b.keys() || a.len() != b.len() {
        return Ok(false);
    }
    for ((a_key, a_value), (b_key, b_value)) in a.entries().iter().zip(&b.entries()) {
        if !same(budget, a_key, b_key)? || !same(budget, a_value, b_value)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `<`, `<=`, `>`, `>=`: numbers, texts, times or durations; NaN is neither.
#[inline]
pub(super) fn compare(operator: Binary, a: &Datum<'_>, b: &Datum<'_>) -> Result<bool, String> {
    use std::cmp::Ordering::{Greater, Less};
    let order = match (a, b) {
        (Datum::Float(a), Datum::Float(b)) => a.partial_cmp(b),
        (Datum::Int(a), Datum::Int(b)) | (Datum::Duration(a), Datum::Duration(b)) => Some(a.cmp(b)),
        (Datum::Int(a), Datum::Float(b)) => to_float(*a).partial_cmp(b),
        (Datum::Float(a), Datum::Int(b)) => a.partial_cmp(&to_float(*b)),
        (Datum::Text(a), Datum::Text(b)) => Some((**a).cmp(&**b)),
        (Datum::Time(a), Datum::Time(b)) => Some(a.timestamp().cmp(&b.timestamp())),
        _ => return Err(invalid(operator.symbol(), a, b)),
    };
    Ok(match operator {
        Binary::Less => order == Some(Less),
        Binary::LessOrEqual => order.is_some_and(|order| order != Greater),
        Binary::More => order == Some(Greater),
        _ => order.is_some_and(|order| order != Less),
    })
}

fn invalid(symbol: &str, a: &Datum<'_>, b: &Datum<'_>) -> String {
    format!(
        "invalid operation: {} {symbol} {}",
        a.type_name(),
        b.type_name()
    )
}

/// `+`, except of texts, which need memory.
pub(super) fn add<'a>(a: &Datum<'a>, b: &Datum<'a>) -> Result<Datum<'a>, String> {
    Ok(match (a, b) {
        (Datum::Int(a), Datum::Int(b)) => Datum::Int(a.wrapping_add(*b)),
        (Datum::Duration(a), Datum::Duration(b)) => Datum::Duration(a.wrapping_add(*b)),
        (Datum::Time(time), Datum::Duration(by)) | (Datum::Duration(by), Datum::Time(time)) => {
            shifted(time, *by)?
        }
        _ => match (a.as_number(), b.as_number()) {
            (Some(a), Some(b)) => Datum::Float(a + b),
            _ => return Err(invalid("+", a, b)),
        },
    })
}

pub(super) fn subtract<'a>(a: &Datum<'a>, b: &Datum<'a>) -> Result<Datum<'a>, String> {
    Ok(match (a, b) {
        (Datum::Int(a), Datum::Int(b)) => Datum::Int(a.wrapping_sub(*b)),
        (Datum::Duration(a), Datum::Duration(b)) => Datum::Duration(a.wrapping_sub(*b)),
        (Datum::Time(time), Datum::Duration(by)) => shifted(time, by.wrapping_neg())?,
        (Datum::Time(a), Datum::Time(b)) => between(a, b),
        _ => match (a.as_number(), b.as_number()) {
            (Some(a), Some(b)) => Datum::Float(a - b),
            _ => return Err(invalid("-", a, b)),
        },
    })
}

pub(super) fn multiply<'a>(a: &Datum<'a>, b: &Datum<'a>) -> Result<Datum<'a>, String> {
    Ok(match (a, b) {
        (Datum::Int(a), Datum::Int(b)) => Datum::Int(a.wrapping_mul(*b)),
        (Datum::Duration(a), Datum::Duration(b) | Datum::Int(b))
        | (Datum::Int(a), Datum::Duration(b)) => Datum::Duration(a.wrapping_mul(*b)),
        (Datum::Duration(nanoseconds), Datum::Float(factor))
        | (Datum::Float(factor), Datum::Duration(nanoseconds)) => {
            Datum::Duration(to_int(to_float(*nanoseconds) * factor))
        }
        _ => match (a.as_number(), b.as_number()) {
            (Some(a), Some(b)) => Datum::Float(a * b),
            _ => return Err(invalid("*", a, b)),
        },
    })
}

/// `/`: always of floats; dividing by zero gives an infinity or NaN.
pub(super) fn divide<'a>(a: &Datum<'a>, b: &Datum<'a>) -> Result<Datum<'a>, String> {
    match (a.as_number(), b.as_number()) {
        (Some(dividend), Some(divisor)) => Ok(Datum::Float(dividend / divisor)),
        _ => Err(invalid("/", a, b)),
    }
}

/// `%`: of whole numbers only.
pub(super) fn modulo<'a>(a: &Datum<'a>, b: &Datum<'a>) -> Result<Datum<'a>, String> {
    match (a, b) {
        (Datum::Int(_), Datum::Int(0)) => Err("runtime error: integer divide by zero".to_owned()),
        (Datum::Int(a), Datum::Int(b)) => Ok(Datum::Int(a.wrapping_rem(*b))),
        _ => Err(invalid("%", a, b)),
    }
}

/// `**`
pub(super) fn power<'a>(a: &Datum<'a>, b: &Datum<'a>) -> Result<Datum<'a>, String> {
    let number = |datum: &Datum<'_>| {
        datum
            .as_number()
            .ok_or_else(|| format!("invalid operation: float({})", datum.type_name()))
    };
    Ok(Datum::Float(number(a)?.powf(number(b)?)))
}

pub(super) fn negate<'a>(a: &Datum<'a>) -> Result<Datum<'a>, String> {
    match a {
        Datum::Int(int) => Ok(Datum::Int(int.wrapping_neg())),
        Datum::Float(float) => Ok(Datum::Float(-float)),
        other => Err(format!("invalid operation: - {}", other.type_name())),
    }
}

/// `in`
pub(super) fn contains(
    budget: &mut Budget,
    needle: &Datum<'_>,
    haystack: &Datum<'_>,
) -> Result<bool, String> {
    match haystack {
        Datum::Nil => Ok(false),
        Datum::List(List::Range(first, length)) => Ok(in_range(needle, *first, *length)),
        Datum::List(list) => {
            for item in list.iter() {
                if equal(budget, &item, needle)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Datum::Map(map) => match (needle, map.keys()) {
            (Datum::Text(name), _) => Ok(map.field(name).is_some()),
            (Datum::Nil, Keys::Strings) => Ok(map.field("").is_some()),
            _ => Ok(map.get(needle)?.is_some()),
        },
        other => Err(format!(
            "operator \"in\" not defined on {}",
            other.type_name()
        )),
    }
}

fn in_range(needle: &Datum<'_>, first: i64, length: usize) -> bool {
    let int = match needle {
        Datum::Int(int) => *int,
        #[expect(clippy::float_cmp, reason = "a fraction is in no range of integers")]
        Datum::Float(float) if to_float(to_int(*float)) == *float => to_int(*float),
        _ => return false,
    };
    int.checked_sub(first)
        .and_then(|offset| usize::try_from(offset).ok())
        .is_some_and(|offset| offset < length)
}

/// A time, so many nanoseconds later.
pub(super) fn shifted<'a>(time: &Zoned, nanoseconds: i64) -> Result<Datum<'a>, String> {
    time.checked_add(Span::new().nanoseconds(nanoseconds))
        .map(|time| Datum::Time(Rc::new(time)))
        .map_err(|error| error.to_string())
}

/// The duration from one time to another, as long as a duration can be.
pub(super) fn between<'a>(later: &Zoned, earlier: &Zoned) -> Datum<'a> {
    let exact = later.timestamp().as_nanosecond() - earlier.timestamp().as_nanosecond();
    let bound = if exact > 0 { i64::MAX } else { i64::MIN };
    Datum::Duration(i64::try_from(exact).unwrap_or(bound))
}
