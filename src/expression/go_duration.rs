//! Durations as Go reads and writes them: `1h30m`.

use crate::api::GoDuration;

/// Reads a duration; answers nanoseconds. The error is Go's.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let read = GoDuration::new(text).parse().ok();
    read.and_then(|duration| i64::try_from(duration.as_nanos()).ok())
        .ok_or_else(|| format!("time: invalid duration {text:?}"))
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
