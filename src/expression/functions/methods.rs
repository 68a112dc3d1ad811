//! Methods of times and durations, as Go has them: `duration("1h").Minutes()`.

use std::rc::Rc;

use jiff::tz::TimeZone;
use jiff::{Span, Zoned};

use super::super::datum::Datum;
use super::super::go_layout;
use super::super::machine::{Answer, Machine};
use super::super::number::to_float;
use super::super::operators::{between, shifted};
use super::super::types::Type;
use super::numbers::exactly;
use super::strings::fixed;
use super::times;

/// Seconds from Go's zero time (year 1) to 1970.
const ZERO_TO_UNIX_SECONDS: i128 = 62_135_596_800;

/// What a method of a type answers, if the type has it.
pub(in super::super) fn type_of(object: &Type, name: &str) -> Option<Type> {
    Some(match (object, name) {
        (_, "String") | (Type::Time, "Format") => Type::String,
        (Type::Duration, "Hours" | "Minutes" | "Seconds") => Type::Float,
        (Type::Duration, "Abs" | "Round" | "Truncate") | (Type::Time, "Sub") => Type::Duration,
        (Type::Duration, "Milliseconds" | "Microseconds" | "Nanoseconds")
        | (
            Type::Time,
            "Year" | "Day" | "Hour" | "Minute" | "Second" | "Nanosecond" | "YearDay" | "Unix"
            | "UnixMilli" | "UnixMicro" | "UnixNano" | "Compare",
        ) => Type::Int,
        (Type::Time, "Month") => Type::Month,
        (Type::Time, "Weekday") => Type::Weekday,
        (Type::Time, "Before" | "After" | "Equal" | "IsZero") => Type::Bool,
        (Type::Time, "Add" | "AddDate" | "UTC" | "Local" | "In" | "Truncate" | "Round") => {
            Type::Time
        }
        _ => return None,
    })
}

pub(in super::super) fn call<'a>(
    machine: &mut Machine<'a>,
    object: &Datum<'a>,
    name: &str,
    arguments: &[Datum<'a>],
) -> Answer<'a> {
    machine.budget.spend(1)?;
    let found = match object {
        Datum::Map(map) => {
            return Err(match map.field(name) {
                None | Some(Datum::Nil) => "invalid operation: cannot call nil".to_owned(),
                Some(other) => format!(
                    "invalid operation: cannot call non-function of type {}",
                    other.type_name()
                ),
            });
        }
        Datum::Time(_)
        | Datum::Duration(_)
        | Datum::Month(_)
        | Datum::Weekday(_)
        | Datum::Zone(_)
            if name == "String" =>
        {
            let [] = exactly(arguments)?;
            Some(fixed(times::shown(object).unwrap_or_default()))
        }
        Datum::Duration(nanoseconds) => of_duration(*nanoseconds, name, arguments)?,
        Datum::Time(time) => of_time(time, name, arguments)?,
        _ => None,
    };
    found.ok_or_else(|| format!("cannot fetch {name} from {}", object.type_name()))
}

fn of_duration<'a>(
    nanoseconds: i64,
    name: &str,
    arguments: &[Datum<'a>],
) -> Result<Option<Datum<'a>>, String> {
    if matches!(name, "Round" | "Truncate") {
        let [Datum::Duration(step)] = exactly(arguments)? else {
            return Err(format!("{name} needs a duration"));
        };
        let exact = i128::from(nanoseconds);
        let stepped = stepped(exact.abs(), *step, name == "Round") * exact.signum();
        let bound = if exact > 0 { i64::MAX } else { i64::MIN };
        return Ok(Some(Datum::Duration(
            i64::try_from(stepped).unwrap_or(bound),
        )));
    }
    let [] = exactly(arguments)?;
    let exact = to_float(nanoseconds);
    Ok(Some(match name {
        "Hours" => Datum::Float(exact / 3.6e12),
        "Minutes" => Datum::Float(exact / 6e10),
        "Seconds" => Datum::Float(exact / 1e9),
        "Milliseconds" => Datum::Int(nanoseconds / 1_000_000),
        "Microseconds" => Datum::Int(nanoseconds / 1_000),
        "Nanoseconds" => Datum::Int(nanoseconds),
        "Abs" => Datum::Duration(nanoseconds.saturating_abs()),
        _ => return Ok(None),
    }))
}

/// A count of nanoseconds cut, or rounded half up, to a multiple of a step.
fn stepped(nanoseconds: i128, step: i64, round: bool) -> i128 {
    if step <= 0 {
        return nanoseconds;
    }
    let step = i128::from(step);
    let over = nanoseconds.rem_euclid(step);
    if round && over * 2 >= step {
        nanoseconds - over + step
    } else {
        nanoseconds - over
    }
}

fn of_time<'a>(
    time: &Rc<Zoned>,
    name: &str,
    arguments: &[Datum<'a>],
) -> Result<Option<Datum<'a>>, String> {
    if arguments.is_empty() {
        return Ok(part(time, name));
    }
    let answer = match (name, arguments) {
        ("Add", [Datum::Duration(by)]) => shifted(time, *by)?,
        ("Sub", [Datum::Time(other)]) => between(time, other),
        ("Before", [Datum::Time(other)]) => Datum::Bool(time.timestamp() < other.timestamp()),
        ("After", [Datum::Time(other)]) => Datum::Bool(time.timestamp() > other.timestamp()),
        ("Equal", [Datum::Time(other)]) => Datum::Bool(time.timestamp() == other.timestamp()),
        ("Compare", [Datum::Time(other)]) => {
            Datum::Int(time.timestamp().cmp(&other.timestamp()) as i64)
        }
        ("Format", [Datum::Text(layout)]) => fixed(go_layout::format(layout, time)?),
        ("In", [Datum::Zone(zone)]) => in_zone(time, (**zone).clone()),
        ("AddDate", [Datum::Int(years), Datum::Int(months), Datum::Int(days)]) => {
            moved(time, *years, *months, *days)?
        }
        ("Truncate" | "Round", [Datum::Duration(step)]) => {
            let since_zero =
                time.timestamp().as_nanosecond() + ZERO_TO_UNIX_SECONDS * 1_000_000_000;
            let by = stepped(since_zero, *step, name == "Round") - since_zero;
            shifted(time, i64::try_from(by).unwrap_or(0))?
        }
        _ => {
            let found: Vec<&str> = arguments.iter().map(Datum::type_name).collect();
            return Err(format!("cannot call {name} with ({})", found.join(", ")));
        }
    };
    Ok(Some(answer))
}

fn part<'a>(time: &Rc<Zoned>, name: &str) -> Option<Datum<'a>> {
    let stamp = time.timestamp();
    Some(match name {
        "Year" => Datum::Int(i64::from(time.year())),
        "Month" => Datum::Month(time.month()),
        "Day" => Datum::Int(i64::from(time.day())),
        "Hour" => Datum::Int(i64::from(time.hour())),
        "Minute" => Datum::Int(i64::from(time.minute())),
        "Second" => Datum::Int(i64::from(time.second())),
        "Nanosecond" => Datum::Int(i64::from(time.subsec_nanosecond())),
        "YearDay" => Datum::Int(i64::from(time.day_of_year())),
        "Weekday" => Datum::Weekday(time.weekday().to_sunday_zero_offset()),
        "Unix" => Datum::Int(
            stamp
                .as_nanosecond()
                .div_euclid(1_000_000_000)
                .try_into()
                .ok()?,
        ),
        "UnixMilli" => Datum::Int(
            stamp
                .as_nanosecond()
                .div_euclid(1_000_000)
                .try_into()
                .ok()?,
        ),
        "UnixMicro" => Datum::Int(stamp.as_nanosecond().div_euclid(1_000).try_into().ok()?),
        "UnixNano" => Datum::Int(stamp.as_nanosecond().try_into().ok()?),
        "IsZero" => Datum::Bool(stamp.as_nanosecond() == -ZERO_TO_UNIX_SECONDS * 1_000_000_000),
        "UTC" | "Local" => in_zone(time, TimeZone::UTC),
        _ => return None,
    })
}

fn in_zone<'a>(time: &Zoned, zone: TimeZone) -> Datum<'a> {
    Datum::Time(Rc::new(time.with_time_zone(zone)))
}

fn moved<'a>(time: &Zoned, years: i64, months: i64, days: i64) -> Answer<'a> {
    Span::new()
        .try_years(years)
        .and_then(|span| span.try_months(months))
        .and_then(|span| span.try_days(days))
        .and_then(|span| time.checked_add(span))
        .map(|time| Datum::Time(Rc::new(time)))
        .map_err(|error| error.to_string())
}
