//! Functions of numbers.

use super::super::datum::{Datum, List};
use super::super::machine::{Answer, Machine};
use super::super::number::{format_float, parse_float, to_float, to_int};
use super::super::operators::compare;
use super::super::syntax::Binary;

/// The arguments as an array, however wrong their number is.
pub(super) fn exactly<'d, 'a, const N: usize>(
    arguments: &'d [Datum<'a>],
) -> Result<&'d [Datum<'a>; N], String> {
    arguments.try_into().map_err(|_| {
        let found = arguments.len();
        format!("invalid number of arguments (expected {N}, got {found})")
    })
}

pub(super) fn as_int<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    match argument {
        Datum::Int(int) => Ok(Datum::Int(*int)),
        Datum::Float(float) => Ok(Datum::Int(to_int(*float))),
        Datum::Text(text) => match text.parse() {
            Ok(int) => Ok(Datum::Int(int)),
            Err(error) => {
                let cause = match error.kind() {
                    std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                        "value out of range"
                    }
                    _ => "invalid syntax",
                };
                Err(format!("strconv.ParseInt: parsing {:?}: {cause}", &**text))
            }
        },
        other => Err(unsupported("asInt", other)),
    }
}

pub(super) fn as_float<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    match argument {
        Datum::Text(text) => parse_float(text)
            .map(Datum::Float)
            .ok_or_else(|| format!("strconv.ParseFloat: parsing {:?}: invalid syntax", &**text)),
        other => match other.as_number() {
            Some(float) => Ok(Datum::Float(float)),
            None => Err(unsupported("asFloat", other)),
        },
    }
}

fn unsupported(function: &str, argument: &Datum<'_>) -> String {
    format!("{function}() not supported on {}", argument.type_name())
}

pub(super) fn is_nan<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    real(arguments).map(|float| Datum::Bool(float.is_nan()))
}

pub(super) fn is_inf<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    real(arguments).map(|float| Datum::Bool(float.is_infinite()))
}

fn real(arguments: &[Datum<'_>]) -> Result<f64, String> {
    let [argument] = exactly(arguments)?;
    match argument {
        Datum::Float(float) => Ok(*float),
        other => Err(other.is_not("float64")),
    }
}

pub(super) fn abs<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    match argument {
        Datum::Int(int) => Ok(Datum::Int(int.wrapping_abs())),
        Datum::Float(float) => Ok(Datum::Float(float.abs())),
        other => Err(invalid("abs", other)),
    }
}

fn invalid(function: &str, argument: &Datum<'_>) -> String {
    format!(
        "invalid argument for {function} (type {})",
        argument.type_name()
    )
}

pub(super) fn ceil<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    rounded("ceil", arguments, f64::ceil)
}

pub(super) fn floor<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    rounded("floor", arguments, f64::floor)
}

pub(super) fn round<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    rounded("round", arguments, f64::round)
}

fn rounded<'a>(name: &str, arguments: &[Datum<'a>], how: fn(f64) -> f64) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let number = argument
        .as_number()
        .ok_or_else(|| invalid(name, argument))?;
    Ok(Datum::Float(how(number)))
}

pub(super) fn int<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    Ok(Datum::Int(match argument {
        Datum::Int(int) | Datum::Duration(int) => *int,
        Datum::Float(float) => to_int(*float),
        Datum::Month(number) | Datum::Weekday(number) => i64::from(*number),
        Datum::Text(text) => text
            .parse()
            .map_err(|_| format!("invalid operation: int({})", &**text))?,
        other => return Err(format!("invalid operation: int({})", other.type_name())),
    }))
}

pub(super) fn float<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    let float = match argument {
        Datum::Text(text) => {
            parse_float(text).ok_or_else(|| format!("invalid operation: float({})", &**text))?
        }
        other => other
            .as_number()
            .ok_or_else(|| format!("invalid operation: float({})", other.type_name()))?,
    };
    Ok(Datum::Float(float))
}

pub(super) fn max<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    extreme(machine, "max", Binary::Less, arguments)
}

pub(super) fn min<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    extreme(machine, "min", Binary::More, arguments)
}

/// A sole argument that is no list is the answer, whatever it is.
fn extreme<'a>(
    machine: &mut Machine<'a>,
    name: &str,
    replace_if: Binary,
    arguments: &[Datum<'a>],
) -> Answer<'a> {
    let mut best = Datum::Nil;
    for argument in arguments {
        match argument {
            Datum::List(list) => take_best(machine, name, replace_if, list, &mut best)?,
            Datum::Int(_) | Datum::Float(_) | Datum::Duration(_) => {
                keep_better(replace_if, &mut best, argument.clone())?;
            }
            other if arguments.len() == 1 => return Ok(other.clone()),
            other => return Err(invalid(name, other)),
        }
    }
    Ok(best)
}

fn take_best<'a>(
    machine: &mut Machine<'a>,
    name: &str,
    replace_if: Binary,
    list: &List<'a>,
    best: &mut Datum<'a>,
) -> Result<(), String> {
    machine.budget.spend(list.len())?;
    for item in list.iter() {
        match item {
            Datum::List(inner) => take_best(machine, name, replace_if, &inner, best)?,
            Datum::Int(_) | Datum::Float(_) => keep_better(replace_if, best, item)?,
            other => return Err(invalid(name, &other)),
        }
    }
    Ok(())
}

fn keep_better<'a>(
    replace_if: Binary,
    best: &mut Datum<'a>,
    candidate: Datum<'a>,
) -> Result<(), String> {
    if matches!(best, Datum::Nil) || compare(replace_if, best, &candidate)? {
        *best = candidate;
    }
    Ok(())
}

pub(super) fn mean<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let numbers = numbers(machine, "mean", arguments)?;
    if numbers.is_empty() {
        return Ok(Datum::Float(0.0));
    }
    let count = to_float(super::super::number::from_count(numbers.len()));
    Ok(Datum::Float(numbers.iter().sum::<f64>() / count))
}

pub(super) fn median<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let mut numbers = numbers(machine, "median", arguments)?;
    // NaN first, as Go sorts floats.
    numbers.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let middle = numbers.len() / 2;
    let upper = numbers.get(middle).copied();
    let lower = numbers.get(middle.wrapping_sub(1)).copied();
    Ok(Datum::Float(match (lower, upper) {
        (Some(lower), Some(upper)) if numbers.len() % 2 == 0 => f64::midpoint(lower, upper),
        (_, Some(upper)) => upper,
        (_, None) => 0.0,
    }))
}

/// All numbers in the arguments and in lists in them.
fn numbers<'a>(
    machine: &mut Machine<'a>,
    name: &str,
    arguments: &[Datum<'a>],
) -> Result<Vec<f64>, String> {
    let mut found = Vec::new();
    for argument in arguments {
        collect(machine, name, argument, &mut found)?;
    }
    Ok(found)
}

fn collect<'a>(
    machine: &mut Machine<'a>,
    name: &str,
    argument: &Datum<'a>,
    found: &mut Vec<f64>,
) -> Result<(), String> {
    machine.budget.spend(1)?;
    match argument {
        Datum::List(List::Floats(floats)) => {
            machine.budget.spend(floats.len())?;
            found.extend_from_slice(floats);
        }
        Datum::List(list) => {
            for item in list.iter() {
                collect(machine, name, &item, found)?;
            }
        }
        other => found.push(other.as_number().ok_or_else(|| invalid(name, other))?),
    }
    Ok(())
}

fn two_ints(name: &str, arguments: &[Datum<'_>]) -> Result<(i64, i64), String> {
    let [a, b] = exactly(arguments)?;
    Ok((whole(name, a)?, whole(name, b)?))
}

fn whole(name: &str, argument: &Datum<'_>) -> Result<i64, String> {
    match argument {
        Datum::Int(int) => Ok(*int),
        other => Err(format!(
            "cannot use {} as argument (type int) to call {name}",
            other.type_name()
        )),
    }
}

pub(super) fn bit_and<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    two_ints("bitand", arguments).map(|(a, b)| Datum::Int(a & b))
}

pub(super) fn bit_or<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    two_ints("bitor", arguments).map(|(a, b)| Datum::Int(a | b))
}

pub(super) fn bit_xor<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    two_ints("bitxor", arguments).map(|(a, b)| Datum::Int(a ^ b))
}

/// And-not, in spite of its name.
pub(super) fn bit_nand<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    two_ints("bitnand", arguments).map(|(a, b)| Datum::Int(a & !b))
}

pub(super) fn bit_not<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [argument] = exactly(arguments)?;
    whole("bitnot", argument).map(|int| Datum::Int(!int))
}

pub(super) fn shift_left<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let (int, by) = shift("bitshl", arguments)?;
    Ok(Datum::Int(int.checked_shl(by).unwrap_or(0)))
}

pub(super) fn shift_right<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let (int, by) = shift("bitshr", arguments)?;
    Ok(Datum::Int(int >> by.min(63)))
}

pub(super) fn shift_right_unsigned<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let (int, by) = shift("bitushr", arguments)?;
    let shifted = int.cast_unsigned().checked_shr(by).unwrap_or(0);
    Ok(Datum::Int(shifted.cast_signed()))
}

fn shift(name: &str, arguments: &[Datum<'_>]) -> Result<(i64, u32), String> {
    let (int, by) = two_ints(name, arguments)?;
    if by < 0 {
        return Err(format!(
            "invalid operation: negative shift count {by} (type int)"
        ));
    }
    Ok((int, u32::try_from(by).unwrap_or(u32::MAX)))
}

/// A number as `string()` writes it.
pub(super) fn shown(number: &Datum<'_>) -> Option<String> {
    match number {
        Datum::Int(int) => Some(int.to_string()),
        Datum::Float(float) => Some(format_float(*float)),
        _ => None,
    }
}
