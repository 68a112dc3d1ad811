//! Numbers as Go converts, reads and writes them.

/// A whole number as a float, rounded if need be.
#[expect(clippy::cast_precision_loss, reason = "Go rounds here too")]
pub(super) fn to_float(int: i64) -> f64 {
    int as f64
}

/// A float cut toward zero; NaN and what does not fit become the smallest integer, as on amd64.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked first"
)]
pub(super) fn to_int(float: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&float) {
        float as i64
    } else {
        i64::MIN
    }
}

/// A count as an integer of the language.
pub(super) fn from_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads a float as Go's `strconv.ParseFloat` does.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let (sign, unsigned) = match text.strip_prefix(['-', '+']) {
        Some(rest) if text.starts_with('-') => (-1.0, rest),
        Some(rest) => (1.0, rest),
        None => (1.0, text),
    };
    let word = unsigned.to_ascii_lowercase();
    match word.as_str() {
        "inf" | "infinity" => return Some(sign * f64::INFINITY),
        "nan" if unsigned.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    if !word.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !underscores_fit(&word) {
        return None;
    }
    let plain = word.replace('_', "");
    let parsed = match plain.strip_prefix("0x") {
        Some(hex) => parse_hex(hex),
        None => plain.parse().ok(),
    };
    parsed
        .filter(|float| float.is_finite())
        .map(|float| sign * float)
}

/// An underscore stands between digits, or between `0x` and a digit.
fn underscores_fit(word: &str) -> bool {
    let is_hex = word.starts_with("0x");
    let digit = |c: u8| c.is_ascii_digit() || is_hex && c.is_ascii_hexdigit();
    let bytes = word.as_bytes();
    (0..bytes.len()).filter(|at| bytes[*at] == b'_').all(|at| {
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let after = bytes.get(at + 1).copied();
        (before.is_some_and(digit) || is_hex && at == 2) && after.is_some_and(digit)
    })
}

/// `1.8p4`, after its `0x`: hexadecimal digits and a binary exponent, which is required.
fn parse_hex(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once('p')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut mantissa: u64 = 0;
    let mut shift: i32 = 0;
    for (at, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = digit.to_digit(16)?;
        let is_fraction = at >= whole.len();
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            shift = shift.checked_sub(if is_fraction { 4 } else { 0 })?;
        } else {
            mantissa |= u64::from(digit != 0); // beyond 60 bits only rounding can notice
            shift = shift.checked_add(if is_fraction { 0 } else { 4 })?;
        }
    }
    let exponent: i32 = exponent.parse().ok()?;
    let power = shift.saturating_add(exponent).clamp(-2000, 2000);
    #[expect(
        clippy::cast_precision_loss,
        reason = "rounding to the nearest float is the point"
    )]
    let float = mantissa as f64;
    // In two steps, so that neither power leaves the range on its own.
    Some(float * 2f64.powi(power / 2) * 2f64.powi(power - power / 2))
}

/// Writes a float as Go's `%v` does: shortest, with an exponent below 1e-4 and from 1e6 on.
pub(super) fn format_float(float: f64) -> String {
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float == 0.0 || (-4..6).contains(&exponent) {
        format!("{float}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_as_go_reads_them() {
        let cases = [
            ("1e3", Some(1000.0)),
            ("0.98", Some(0.98)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+5", Some(5.0)),
            ("-Inf", Some(f64::NEG_INFINITY)),
            ("infinity", Some(f64::INFINITY)),
            ("0x1p4", Some(16.0)),
            ("-0X1.8p1", Some(-3.0)),
            ("0x1fffffffffffffp-3", Some(1_125_899_906_842_623.9)),
            ("0x123456789abcdef01p0", Some(2.098_829_547_942_064_5e19)),
            ("0x1p-1074", Some(5e-324)),
            ("1_000.5", Some(1000.5)),
            ("0x_1p0", Some(1.0)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("0x1", None),
            ("1e400", None),
            (" 1", None),
            ("1,000", None),
            ("+NaN", None),
            ("", None),
            (".", None),
            ("--1", None),
            ("+-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_float(text), expected, "{text}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        let cases = [
            (5.0, "5"),
            (0.1, "0.1"),
            (1e-5, "1e-05"),
            (123_456.0, "123456"),
            (4_294_967_296.0, "4.294967296e+09"),
            (1.5e21, "1.5e+21"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (-2.5, "-2.5"),
        ];
        for (float, expected) in cases {
            assert_eq!(format_float(float), expected);
        }
    }

    #[test]
    fn floats_that_fit_no_integer_become_the_smallest() {
        let cases = [
            (1.9, 1),
            (-1.9, -1),
            (f64::NAN, i64::MIN),
            (f64::INFINITY, i64::MIN),
            (1e19, i64::MIN),
        ];
        for (float, expected) in cases {
            assert_eq!(to_int(float), expected);
        }
    }
}
