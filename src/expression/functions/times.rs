//! Functions of times and durations.

use std::rc::Rc;

use jiff::Zoned;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::super::datum::Datum;
use super::super::machine::{Answer, Machine};
use super::super::{go_duration, go_layout};
use super::numbers::exactly;

/// The layouts that `date` tries when none is given, in expr-lang's order.
const LAYOUTS: &[&str] = &[
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
];

pub(super) fn now<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    match arguments {
        [] => Ok(machine.present(TimeZone::UTC)),
        [Datum::Zone(zone)] => Ok(machine.present((**zone).clone())),
        _ => Err(format!(
            "invalid number of arguments (expected 0, got {})",
            arguments.len()
        )),
    }
}

pub(super) fn duration<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [text] = exactly(arguments)?;
    go_duration::parse(text.to_text()?).map(Datum::Duration)
}

pub(super) fn timezone<'a>(_: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let [name] = exactly(arguments)?;
    zone(name.to_text()?).map(|zone| Datum::Zone(Rc::new(zone)))
}

fn zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" | "Local" => Ok(TimeZone::UTC),
        name => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}")),
    }
}

/// `date(zone?, text, layout?, zone?)`
pub(super) fn date<'a>(machine: &mut Machine<'a>, arguments: &[Datum<'a>]) -> Answer<'a> {
    let (in_zone, arguments) = match arguments {
        [Datum::Zone(zone), rest @ ..] => (Some((**zone).clone()), rest),
        rest => (None, rest),
    };
    machine.budget.spend(LAYOUTS.len())?;
    let time = match arguments {
        [text] => {
            let text = text.to_text()?;
            LAYOUTS
                .iter()
                .find_map(|layout| go_layout::parse(layout, text, in_zone.as_ref()).ok())
                .ok_or_else(|| format!("invalid date {text}"))?
        }
        [text, layout] => go_layout::parse(layout.to_text()?, text.to_text()?, in_zone.as_ref())?,
        [text, layout, name] => {
            let zone = zone(name.to_text()?)?;
            go_layout::parse(layout.to_text()?, text.to_text()?, Some(&zone))?
        }
        other => {
            return Err(format!(
                "invalid number of arguments for date (got {})",
                other.len()
            ));
        }
    };
    Ok(Datum::Time(Rc::new(time)))
}

/// A time, a duration or a part of a time as `string()` writes it.
pub(super) fn shown(value: &Datum<'_>) -> Option<String> {
    match value {
        Datum::Time(time) => Some(strtime::format("%Y-%m-%d %H:%M:%S%.f %z %Z", &**time).ok()?),
        Datum::Duration(nanoseconds) => Some(go_duration::format(*nanoseconds)),
        Datum::Zone(zone) => Some(zone.iana_name().unwrap_or("UTC").to_owned()),
        Datum::Month(month) => {
            const NAMES: [&str; 12] = [
                "January",
                "February",
                "March",
                "April",
                "May",
                "June",
                "July",
                "August",
                "September",
                "October",
                "November",
                "December",
            ];
            let at = usize::try_from(*month).ok()?.checked_sub(1)?;
            NAMES.get(at).map(|name| (*name).to_owned())
        }
        Datum::Weekday(day) => {
            const NAMES: [&str; 7] = [
                "Sunday",
                "Monday",
                "Tuesday",
                "Wednesday",
                "Thursday",
                "Friday",
                "Saturday",
            ];
            NAMES
                .get(usize::try_from(*day).ok()?)
                .map(|name| (*name).to_owned())
        }
        _ => None,
    }
}

/// As JSON has it.
pub(super) fn rfc3339(time: &Zoned) -> String {
    go_layout::format("2006-01-02T15:04:05.999999999Z07:00", time).unwrap_or_default()
}
