//! Quantities such as `500m` and `1Gi`, brought to the one form that Kubernetes writes.

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Exponent,
    Binary,
}

/// The smallest part that a quantity counts is a billionth.
const NANO: i128 = 1_000_000_000;

/// The canonical form of a quantity, `None` if the text is none.
///
/// # Source
/// `k8s.io/apimachinery/pkg/api/resource`: parsing rounds up to billionths and stops at 2^63-1;
/// writing drops powers of ten (of 1024 for binary suffixes) as far as the suffixes reach.
pub(super) fn canonical(text: &str) -> Option<String> {
    let (nanos, format) = parse(text)?;
    if nanos == 0 {
        return Some("0".to_owned());
    }
    let whole = nanos % NANO == 0;
    let small = nanos.abs() < 1024 * NANO;
    Some(match format {
        Format::Binary if whole && !small => binary(nanos / NANO),
        Format::Binary | Format::Decimal => decimal(nanos, Format::Decimal),
        Format::Exponent => decimal(nanos, Format::Exponent),
    })
}

/// A quantity in billionths, `None` if the text is none.
pub(crate) fn nanos(text: &str) -> Option<i128> {
    parse(text).map(|(nanos, _)| nanos)
}

fn parse(text: &str) -> Option<(i128, Format)> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number_end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (base, exponent, format) = scale(suffix)?;
    // More digits than these lie beyond the limits on either side.
    let whole = whole.trim_start_matches('0');
    let limit = i128::from(i64::MAX) * NANO;
    let (digits, extra) = (
        format!("{whole}{}", &fraction[..fraction.len().min(18)]),
        fraction.len().min(18),
    );
    if digits.len() > 37 {
        return Some((if negative { -limit } else { limit }, format));
    }
    let digits: i128 = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    let nanos = in_nanos(digits, extra, base, exponent).min(limit);
    Some((if negative { -nanos } else { nanos }, format))
}

/// `digits * 10^-extra * base^exponent` in billionths, rounded up; saturating.
fn in_nanos(digits: i128, extra: usize, base: i128, exponent: i32) -> i128 {
    let mut value = digits;
    let mut divisor = 10_i128.pow(u32::try_from(extra).unwrap_or(18));
    for factor in std::iter::repeat_n(base, exponent.unsigned_abs() as usize) {
        if exponent > 0 {
            value = value.saturating_mul(factor);
        } else {
            divisor = divisor.saturating_mul(factor);
        }
    }
    let common = greatest_common_divisor(NANO, divisor);
    let (numerator, divisor) = (NANO / common, divisor / common);
    let scaled = value.saturating_mul(numerator);
    scaled / divisor + i128::from(scaled % divisor != 0)
}

fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

fn scale(suffix: &str) -> Option<(i128, i32, Format)> {
    let decimal = |exponent| Some((10, exponent, Format::Decimal));
    let binary = |exponent| Some((1024, exponent, Format::Binary));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        other => {
            let exponent: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some((10, exponent.clamp(-60, 60), Format::Exponent))
        }
    }
}

fn binary(mut whole: i128) -> String {
    let mut power = 0;
    while whole % 1024 == 0 && power < 6 {
        whole /= 1024;
        power += 1;
    }
    format!("{whole}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power])
}

fn decimal(nanos: i128, format: Format) -> String {
    let (mut mantissa, mut thousands) = (nanos, 0);
    while mantissa % 1000 == 0 && thousands < 9 {
        mantissa /= 1000;
        thousands += 1;
    }
    let suffix = match (format, thousands) {
        (Format::Exponent, 3) => String::new(),
        (Format::Exponent, _) => format!("e{}", (thousands - 3) * 3),
        (Format::Decimal | Format::Binary, _) => {
            let index = usize::try_from(thousands).unwrap_or_default();
            ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][index].to_owned()
        }
    };
    format!("{mantissa}{suffix}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_have_one_form() {
        let cases = [
            ("0.5", Some("500m")),
            ("1000m", Some("1")),
            ("1024Mi", Some("1Gi")),
            ("1.5Gi", Some("1536Mi")),
            ("1Gi", Some("1Gi")),
            ("1000Mi", Some("1000Mi")),
            ("512", Some("512")),
            ("0", Some("0")),
            ("0Gi", Some("0")),
            ("-1500m", Some("-1500m")),
            ("100k", Some("100k")),
            ("100000", Some("100k")),
            ("1e3", Some("1e3")),
            ("12e6", Some("12e6")),
            ("1.5e3", Some("1500")),
            ("0.5Ki", Some("512")),
            ("1Ki", Some("1Ki")),
            ("0.1Mi", Some("104857600m")),
            ("1n", Some("1n")),
            ("0.1n", Some("1n")),
            ("9223372036854775807", Some("9223372036854775807")),
            (
                "99999999999999999999999999999999999999999",
                Some("9223372036854775807"),
            ),
            (".5", Some("500m")),
            ("1.", Some("1")),
            ("+1", Some("1")),
            ("", None),
            ("1x", None),
            ("1.2.3", None),
            ("m", None),
            ("1e", None),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(text in "[-+]?[0-9]{0,20}(\\.[0-9]{0,12})?(|n|u|m|k|M|G|Ki|Mi|Gi|Ei|e3|e-9|E)") {
            if let Some(once) = canonical(&text) {
                prop_assert_eq!(canonical(&once), Some(once.clone()), "{}", text);
            }
        }
    }
}
