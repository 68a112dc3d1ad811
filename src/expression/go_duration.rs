//! Durations as Go reads and writes them: `1h30m`.

/// Units, longest first, and their nanoseconds.
const UNITS: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration; answers nanoseconds.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    read(text).ok_or_else(|| format!("time: invalid duration {text:?}"))
}

fn read(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return Some(0);
    }
    if unsigned.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, after) = unit(after)?;
        let whole: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        total = total.checked_add(whole.checked_mul(unit)?)?;
        total = total.checked_add(part(fraction, unit))?;
        rest = after;
    }
    let signed = if text.starts_with('-') { -total } else { total };
    i64::try_from(signed).ok()
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn unit(text: &str) -> Option<(i128, &str)> {
    let end = text
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (_, nanoseconds) = UNITS.iter().find(|(unit, _)| *unit == name)?;
    Some((*nanoseconds, rest))
}

/// What the digits after the dot are worth; those beyond a nanosecond are cut.
fn part(fraction: &str, unit: i128) -> i128 {
    let (mut digits, mut divisor) = (0, 1);
    for digit in fraction.chars().take(18).filter_map(|c| c.to_digit(10)) {
        divisor *= 10;
        digits = digits * 10 + i128::from(digit);
    }
    digits * unit / divisor
}

/// Writes nanoseconds: `1h30m0s`, `1.5s`, `20ms`.
pub(super) fn format(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let small = [
        (1_000, "ns", 1),
        (1_000_000, "µs", 1_000),
        (1_000_000_000, "ms", 1_000_000),
    ];
    if total == 0 {
        return "0s".to_owned();
    }
    if let Some((_, name, unit)) = small.into_iter().find(|(below, _, _)| total < *below) {
        return format!("{sign}{}{name}", decimal(total, unit));
    }
    let seconds = decimal(total % 60_000_000_000, 1_000_000_000);
    let minutes = total / 60_000_000_000;
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// So many of a unit, with as many digits after the dot as it takes.
fn decimal(total: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let (whole, fraction) = (total / unit, total % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_in_go() {
        let cases = [
            ("0", Some("0s")),
            ("1h30m", Some("1h30m0s")),
            ("90s", Some("1m30s")),
            ("1.5s", Some("1.5s")),
            ("-1.5h", Some("-1h30m0s")),
            (".5m", Some("30s")),
            ("20ms", Some("20ms")),
            ("1us1ns", Some("1.001µs")),
            ("100ns", Some("100ns")),
            ("2540400h10m10.000000000s", Some("2540400h10m10s")),
            ("", None),
            ("5", None),
            ("1 h", None),
            ("1d", None),
            ("h", None),
            (".s", None),
            ("-", None),
            ("9999999h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).ok().map(format).as_deref(), expected, "{text}");
        }
    }
}
