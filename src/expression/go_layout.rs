//! Times by Go layouts, which write the parts of a reference time: `2006-01-02 15:04`.

use jiff::Zoned;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone};

/// Parts of a layout, longer ones before those they begin with, and their `strtime` codes.
const PARTS: &[(&str, &str)] = &[
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("2006", "%Y"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("_2", "%e"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];

/// How a layout writes the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ZonePart {
    /// `+02:00` or `+0200`; `Z` for UTC if the flag is set.
    Offset { colon: bool, z: bool },
    /// `CEST`
    Abbreviation,
}

const ZONE_PARTS: &[(&str, ZonePart)] = &[
    (
        "Z07:00",
        ZonePart::Offset {
            colon: true,
            z: true,
        },
    ),
    (
        "Z0700",
        ZonePart::Offset {
            colon: false,
            z: true,
        },
    ),
    (
        "-07:00",
        ZonePart::Offset {
            colon: true,
            z: false,
        },
    ),
    (
        "-0700",
        ZonePart::Offset {
            colon: false,
            z: false,
        },
    ),
    ("MST", ZonePart::Abbreviation),
];

/// Reads a time; where the text names no zone it is in the one given, else in UTC.
pub(super) fn parse(layout: &str, text: &str, zone: Option<&TimeZone>) -> Result<Zoned, String> {
    let cannot =
        |cause: &dyn std::fmt::Display| format!("parsing time {text:?} as {layout:?}: {cause}");
    let zone_part = ZONE_PARTS.iter().find(|(part, _)| layout.ends_with(part));
    let (date_layout, date_text, zone) = match zone_part {
        Some((part, kind)) => {
            let (rest, zone) =
                split_zone(text, *kind).ok_or_else(|| cannot(&"cannot parse zone"))?;
            (&layout[..layout.len() - part.len()], rest, zone)
        }
        None => (layout, text, zone.cloned().unwrap_or(TimeZone::UTC)),
    };
    let format = strtime_format(date_layout, Purpose::Parse)?;
    let mut parts = BrokenDownTime::parse(&format, date_text).map_err(|error| cannot(&error))?;
    fill(&mut parts).map_err(|error| cannot(&error))?;
    let time = parts.to_datetime().map_err(|error| cannot(&error))?;
    time.to_zoned(zone).map_err(|error| cannot(&error))
}

/// What a layout leaves out is the beginning: year 0, January, the first, midnight.
fn fill(parts: &mut BrokenDownTime) -> Result<(), jiff::Error> {
    if parts.year().is_none() {
        parts.set_year(Some(0))?;
    }
    if parts.month().is_none() && parts.day_of_year().is_none() {
        parts.set_month(Some(1))?;
    }
    if parts.day().is_none() && parts.day_of_year().is_none() {
        parts.set_day(Some(1))?;
    }
    if parts.hour().is_none() {
        parts.set_hour(Some(0))?;
    }
    Ok(())
}

/// The zone at the end of a text, and what stands before it.
fn split_zone(text: &str, kind: ZonePart) -> Option<(&str, TimeZone)> {
    match kind {
        ZonePart::Abbreviation => {
            let rest = text.trim_end_matches(|c: char| c.is_ascii_uppercase());
            // An abbreviation says no offset; Go takes it for UTC where it does not know it.
            (3..=5)
                .contains(&(text.len() - rest.len()))
                .then_some((rest, TimeZone::UTC))
        }
        ZonePart::Offset { z: true, .. } if text.ends_with('Z') => {
            Some((&text[..text.len() - 1], TimeZone::UTC))
        }
        ZonePart::Offset { colon, .. } => {
            let at = text.len().checked_sub(if colon { 6 } else { 5 })?;
            let (rest, offset) = (text.get(..at)?, text.get(at..)?);
            let negative = offset.starts_with('-');
            let digits = offset.strip_prefix(['-', '+'])?;
            let (hours, minutes) = if colon {
                digits.split_once(':')?
            } else {
                digits.split_at_checked(2)?
            };
            let number = |digits: &str| -> Option<i32> {
                digits
                    .bytes()
                    .all(|b| b.is_ascii_digit())
                    .then(|| digits.parse().ok())?
            };
            let seconds = number(hours)? * 3600 + number(minutes)? * 60;
            let offset = Offset::from_seconds(if negative { -seconds } else { seconds }).ok()?;
            Some((rest, TimeZone::fixed(offset)))
        }
    }
}

/// Writes a time.
pub(super) fn format(layout: &str, time: &Zoned) -> Result<String, String> {
    let format = strtime_format(layout, Purpose::Format(time.offset() == Offset::UTC))?;
    strtime::format(&format, time).map_err(|error| error.to_string())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Parse,
    /// Of a time, in UTC or not.
    Format(bool),
}

fn strtime_format(layout: &str, purpose: Purpose) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        if let Some((code, length)) = zone_code(rest, purpose)? {
            out.push_str(code);
            rest = &rest[length..];
        } else if let Some((code, length)) = fraction_code(rest, &out) {
            out.push_str(&code);
            rest = &rest[length..];
        } else if let Some((part, code)) = PARTS.iter().find(|(part, _)| rest.starts_with(part)) {
            out.push_str(code);
            rest = &rest[part.len()..];
            let is_seconds = code.ends_with('S');
            if purpose == Purpose::Parse && is_seconds && fraction_code(rest, &out).is_none() {
                out.push_str("%.f"); // Go reads a fraction even where the layout has none
            }
        } else {
            out.push(c);
            if c == '%' {
                out.push('%');
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    Ok(out)
}

fn zone_code(rest: &str, purpose: Purpose) -> Result<Option<(&'static str, usize)>, String> {
    let Some((part, kind)) = ZONE_PARTS.iter().find(|(part, _)| rest.starts_with(part)) else {
        return Ok(None);
    };
    let Purpose::Format(is_utc) = purpose else {
        return Err(format!("the zone {part} must be the last part of a layout"));
    };
    let code = match kind {
        ZonePart::Abbreviation => "%Z",
        ZonePart::Offset { z: true, .. } if is_utc => "Z",
        ZonePart::Offset { colon: true, .. } => "%:z",
        ZonePart::Offset { colon: false, .. } => "%z",
    };
    Ok(Some((code, part.len())))
}

/// `.000` and `.999` after seconds.
fn fraction_code(rest: &str, before: &str) -> Option<(String, usize)> {
    let digits = rest.strip_prefix(['.', ','])?;
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let nines = digits.len() - digits.trim_start_matches('9').len();
    match (before.ends_with('S'), zeros, nines) {
        (true, 1..=9, _) => Some((format!("%.{zeros}f"), 1 + zeros)),
        (true, _, 1..=9) => Some(("%.f".to_owned(), 1 + nines)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(layout: &str, text: &str) -> Option<String> {
        let time = parse(layout, text, None).ok()?;
        Some(time.timestamp().to_string())
    }

    #[test]
    fn times_are_read_by_layout() {
        let rfc3339 = "2006-01-02T15:04:05Z07:00";
        let cases = [
            ("2006-01-02", "2023-08-14", Some("2023-08-14T00:00:00Z")),
            (
                rfc3339,
                "2023-01-01T00:00:00Z",
                Some("2023-01-01T00:00:00Z"),
            ),
            (
                rfc3339,
                "2023-01-01T00:00:00.25+02:00",
                Some("2022-12-31T22:00:00.25Z"),
            ),
            (rfc3339, "2023-01-01T00:00:00", None),
            ("15:04:05", "10:30:00", Some("0000-01-01T10:30:00Z")),
            (
                "02 Jan 06 15:04 MST",
                "14 Aug 23 10:00 UTC",
                Some("2023-08-14T10:00:00Z"),
            ),
            (
                "Jan _2, 2006 at 3:04pm",
                "Aug  4, 2023 at 3:05pm",
                Some("2023-08-04T15:05:00Z"),
            ),
            (
                "2006-01-02 15:04:05.000 -0700",
                "2023-08-14 00:00:00.125 -0130",
                Some("2023-08-14T01:30:00.125Z"),
            ),
            ("2006-01-02", "2023-13-14", None),
            ("2006-01-02", "", None),
        ];
        for (layout, text, expected) in cases {
            assert_eq!(utc(layout, text).as_deref(), expected, "{text} as {layout}");
        }
    }

    #[test]
    fn times_are_written_by_layout() {
        let time = parse("2006-01-02T15:04:05Z07:00", "2023-08-04T15:05:06.5Z", None).unwrap();
        let cases = [
            ("2006-01-02", "2023-08-04"),
            ("Monday, January 2 2006", "Friday, August 4 2023"),
            ("3:04:05.000 PM", "3:05:06.500 PM"),
            ("2006-01-02T15:04:05.999Z07:00", "2023-08-04T15:05:06.5Z"),
            ("100% of 06", "800% of 23"),
        ];
        for (layout, expected) in cases {
            assert_eq!(format(layout, &time).unwrap(), expected, "{layout}");
        }
    }
}
