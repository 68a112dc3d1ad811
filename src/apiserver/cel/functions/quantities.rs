//! Amounts such as `100m` and `2Gi`.

use std::cmp::Ordering;

use cel::ExecutionError;
use cel::common::functions::Function;
use cel::common::types::{CelDouble, Type};
use cel::common::value::CowVal;

use super::{Answer, Inner, answer_bool, answer_int, held, inner, number, refused, text};

pub(super) static QUANTITY: Type = Type::new_unspecified_type("kubernetes.Quantity");

/// # Source
/// `library/quantity.go` of Kubernetes.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("quantity(string) -> Quantity", quantity),
    ("isQuantity(string) -> bool", is_quantity),
    (".isInteger(Quantity) -> bool", is_integer),
    (".asInteger(Quantity) -> int", as_integer),
    (".asApproximateFloat(Quantity) -> double", as_float),
    ("sign(Quantity) -> int", sign),
    (".sign(Quantity) -> int", sign),
    (".add(Quantity, Quantity) -> Quantity", add),
    (".add(Quantity, int) -> Quantity", add_int),
    (".sub(Quantity, Quantity) -> Quantity", sub),
    (".sub(Quantity, int) -> Quantity", sub_int),
    (".isGreaterThan(Quantity, Quantity) -> bool", is_greater),
    (".isLessThan(Quantity, Quantity) -> bool", is_less),
    (".compareTo(Quantity, Quantity) -> int", compare),
];

/// The parts of one that are told apart: a thousand millionth, as in Kubernetes.
const NANO: i128 = 1_000_000_000;

/// An amount, in thousand millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(i128);

impl Inner for Quantity {
    fn kind() -> &'static Type {
        &QUANTITY
    }
}

impl Quantity {
    /// Reads an amount. Less than a thousand millionth is rounded up; more than 2⁶³-1 is that.
    ///
    /// # Source
    /// `ParseQuantity` of `k8s.io/apimachinery/pkg/api/resource`.
    pub(super) fn parse(written: &str) -> Option<Self> {
        let (negative, rest) = match written.as_bytes().first()? {
            b'-' => (true, &written[1..]),
            b'+' => (false, &written[1..]),
            _ => (false, written),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (digits, suffix) = rest.split_at(end);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        if part.contains('.') || (whole.is_empty() && part.is_empty()) {
            return None;
        }
        let (twos, tens) = scale(suffix)?;
        let amount = Self::scaled(whole, part, twos, tens);
        Some(Self(if negative { -amount } else { amount }))
    }

    /// The value of the digits times 2^`twos` times 10^`tens`.
    fn scaled(whole: &str, part: &str, twos: u32, tens: i32) -> i128 {
        const MOST: i128 = i64::MAX as i128 * NANO;
        let part = part.trim_end_matches('0');
        let digits = format!("{whole}{part}");
        let digits = digits.trim_start_matches('0');
        // More digits than any amount has; the value is at its limit or lost in rounding.
        let Ok(mut value) = digits
            .get(..digits.len().min(30))
            .unwrap_or("0")
            .parse::<i128>()
        else {
            return 0;
        };
        let cut = digits.len().saturating_sub(30);
        let size = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        let mut power = tens.saturating_add(9).saturating_sub(size(part.len()));
        power = power.saturating_add(size(cut));
        let mut inexact = cut > 0;
        value = match value.checked_mul(1 << twos) {
            Some(value) => value,
            None => return MOST,
        };
        while power > 0 && value != 0 {
            value = match value.checked_mul(10) {
                Some(value) if value <= MOST => value,
                _ => return MOST,
            };
            power -= 1;
        }
        while power < 0 && value != 0 {
            inexact |= value % 10 != 0;
            value /= 10;
            power += 1;
        }
        if inexact {
            value += 1;
        }
        value.min(MOST)
    }

    fn whole(self) -> Option<i64> {
        (self.0 % NANO == 0).then(|| i64::try_from(self.0 / NANO).ok())?
    }

    fn signum(self) -> i64 {
        order(self.0.cmp(&0))
    }
}

/// The powers of two and ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        exponent => (0, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

fn order(ordering: Ordering) -> i64 {
    match ordering {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }
}

fn of(arguments: &[CowVal<'_, '_>], index: usize) -> Result<Quantity, ExecutionError> {
    inner::<Quantity>(arguments, index).copied()
}

fn quantity<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let parsed = Quantity::parse(text(&arguments, 0)?);
    parsed.map(held).ok_or_else(|| {
        refused(
            "quantities must match the regular expression \
             '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        )
    })
}

fn is_quantity<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(Quantity::parse(text(&arguments, 0)?).is_some())
}

fn is_integer<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(of(&arguments, 0)?.whole().is_some())
}

fn as_integer<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let whole = of(&arguments, 0)?.whole();
    answer_int(whole.ok_or_else(|| refused("cannot convert value to integer"))?)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the function promises no more than nearly the amount"
)]
fn as_float<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let amount = of(&arguments, 0)?.0;
    Ok(CowVal::owned(CelDouble::from(amount as f64 / NANO as f64)))
}

fn sign<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_int(of(&arguments, 0)?.signum())
}

fn whole(arguments: &[CowVal<'_, '_>]) -> Result<Quantity, ExecutionError> {
    number(arguments, 1).map(|number| Quantity(i128::from(number) * NANO))
}

fn add<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    Ok(held(sum(of(&arguments, 0)?, of(&arguments, 1)?)))
}

fn add_int<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    Ok(held(sum(of(&arguments, 0)?, whole(&arguments)?)))
}

fn sub<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let other = Quantity(-of(&arguments, 1)?.0);
    Ok(held(sum(of(&arguments, 0)?, other)))
}

fn sub_int<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let other = Quantity(-whole(&arguments)?.0);
    Ok(held(sum(of(&arguments, 0)?, other)))
}

fn sum(a: Quantity, b: Quantity) -> Quantity {
    Quantity(a.0.saturating_add(b.0))
}

fn is_greater<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(of(&arguments, 0)? > of(&arguments, 1)?)
}

fn is_less<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(of(&arguments, 0)? < of(&arguments, 1)?)
}

fn compare<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_int(order(of(&arguments, 0)?.cmp(&of(&arguments, 1)?)))
}
