//! Small words that many fields share, with their parsers.

use std::fmt;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::reading::words;

words! {
    /// How far an AnalysisRun, a metric or a measurement has come.
    pub enum Phase {
        /// Not started.
        Pending = "Pending",
        /// Under way.
        Running = "Running",
        /// Done: the conditions hold.
        Successful = "Successful",
        /// Done: they do not.
        Failed = "Failed",
        /// Done: nothing could be measured.
        Error = "Error",
        /// Done: neither success nor failure.
        Inconclusive = "Inconclusive",
    }
}

impl Phase {
    /// Whether nothing more will happen: all but Pending and Running.
    #[must_use]
    pub fn is_completed(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Successful | Self::Failed | Self::Error | Self::Inconclusive => true,
        }
    }
}

/// Reads and writes a phase of which the empty text is "not started".
pub(crate) mod phase_or_empty {
    use serde::de::IntoDeserializer as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Phase;

    #[expect(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands fields over like this"
    )]
    pub(crate) fn serialize<S: Serializer>(
        phase: &Option<Phase>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(phase.map_or("", Phase::as_str))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Phase>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        Phase::deserialize(text.into_deserializer()).map(Some)
    }
}

/// A duration as Go writes it (`1h30m`, `300ms`), kept as written; empty means unset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct GoDuration(String);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not number and unit, repeated.
    #[error("`{0}` is no duration: expected numbers with units such as `90s` or `1h30m`")]
    Form(String),
    /// A number without a unit.
    #[error("`{0}` has a number without a unit: use ns, us, ms, s, m or h")]
    MissingUnit(String),
    /// A unit that Go does not know.
    #[error("`{text}` has the unknown unit `{unit}`: use ns, us, ms, s, m or h")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unit in it.
        unit: String,
    },
    /// Beyond 2^63 nanoseconds, about 292 years.
    #[error("`{0}` is longer than a duration can be (292 years)")]
    TooLong(String),
}

impl GoDuration {
    /// A duration with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_unset(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration; `None` when unset. It may be negative: Go allows that.
    pub fn get(&self) -> Result<Option<SignedDuration>, DurationError> {
        if self.is_unset() {
            return Ok(None);
        }
        parse_duration(&self.0).map(Some)
    }

    /// The duration; an unset one is an error.
    pub fn parse(&self) -> Result<SignedDuration, DurationError> {
        parse_duration(&self.0)
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for GoDuration {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Go's `time.ParseDuration`, with its limits: 2^63 nanoseconds, fractions cut to nanoseconds.
fn parse_duration(text: &str) -> Result<SignedDuration, DurationError> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(DurationError::Form(text.to_owned()));
    }
    let limit = i128::from(i64::MAX) + i128::from(negative);
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (group, after) = duration_group(text, rest)?;
        total = total.saturating_add(group);
        if total > limit {
            return Err(DurationError::TooLong(text.to_owned()));
        }
        rest = after;
    }
    let nanos = i64::try_from(if negative { -total } else { total })
        .map_err(|_| DurationError::TooLong(text.to_owned()))?;
    Ok(SignedDuration::from_nanos(nanos))
}

/// Reads one number and its unit from the start of `rest`: nanoseconds and what follows.
fn duration_group<'a>(text: &str, rest: &'a str) -> Result<(i128, &'a str), DurationError> {
    let digits_end = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let (whole, after) = rest.split_at(digits_end(rest));
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => after.split_at(digits_end(after)),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Form(text.to_owned()));
    }
    let unit_end = after
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(after.len());
    let (unit, after) = after.split_at(unit_end);
    let scale: i64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        "" => return Err(DurationError::MissingUnit(text.to_owned())),
        _ => {
            return Err(DurationError::UnknownUnit {
                text: text.to_owned(),
                unit: unit.to_owned(),
            });
        }
    };
    let whole: i128 = match whole {
        "" => 0,
        _ => whole
            .parse::<u64>()
            .map_err(|_| DurationError::TooLong(text.to_owned()))?
            .into(),
    };
    Ok((
        whole * i128::from(scale) + fraction_of(fraction, scale),
        after,
    ))
}

/// `0.<digits>` of a unit, in nanoseconds, cut.
///
/// # Source
/// Go's `time.leadingFraction`: digits count while they fit 63 bits, then binary floating point.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "as Go computes it"
)]
fn fraction_of(digits: &str, scale: i64) -> i128 {
    let (mut value, mut divisor) = (0_i64, 1.0_f64);
    for digit in digits.bytes() {
        let longer = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i64::from(digit - b'0')));
        let Some(longer) = longer else { break };
        value = longer;
        divisor *= 10.0;
    }
    (value as f64 * (scale as f64 / divisor)) as i128
}

/// A number that may be written as text, so that `"{{args.count}}"` can stand in its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IntOrText {
    /// Written as a number.
    Int(i64),
    /// Written as text.
    Text(String),
}

/// Why a text or number is not what a field wants.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NumberError {
    /// Not a whole number.
    #[error("`{0}` is no whole number")]
    NotWhole(String),
    /// Not a 32-bit number.
    #[error("`{0}` is out of range (-2147483648 to 2147483647)")]
    Range(String),
    /// Not a percentage.
    #[error("`{0}` is no percentage such as `25%`")]
    NotPercent(String),
}

impl IntOrText {
    /// The number. Argo reads an unreadable text as 0; here it is an error.
    pub fn int(&self) -> Result<i32, NumberError> {
        match self {
            Self::Int(number) => {
                i32::try_from(*number).map_err(|_| NumberError::Range(number.to_string()))
            }
            Self::Text(text) => whole_number(text),
        }
    }

    /// A time: a whole number counts seconds, other text is a Go duration.
    pub fn duration(&self) -> Result<SignedDuration, DurationError> {
        match self {
            Self::Int(seconds) => Ok(SignedDuration::from_secs(*seconds)),
            Self::Text(text) => match text.parse::<i64>() {
                Ok(seconds) => Ok(SignedDuration::from_secs(seconds)),
                Err(_) => parse_duration(text),
            },
        }
    }
}

/// Go's `strconv.Atoi`: an optional sign and digits.
fn whole_number(text: &str) -> Result<i32, NumberError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::NotWhole(text.to_owned()));
    }
    text.parse()
        .map_err(|_| NumberError::Range(text.to_owned()))
}

impl Default for IntOrText {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl From<i32> for IntOrText {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<&str> for IntOrText {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for IntOrText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.pad(text),
        }
    }
}

impl Serialize for IntOrText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = IntOrText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a string")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<IntOrText, E> {
                Ok(IntOrText::Int(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<IntOrText, E> {
                i64::try_from(number)
                    .map(IntOrText::Int)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IntOrText, E> {
                Ok(IntOrText::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for IntOrText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IntOrText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true})
    }
}

/// A whole number of percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub i32);

/// What happens to a part of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// It counts as one.
    Up,
    /// It does not count.
    Down,
}

impl Percent {
    /// Reads `25%`. A bare `25` is read alike, as Argo does.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        whole_number(text.strip_suffix('%').unwrap_or(text))
            .map(Self)
            .map_err(|_| NumberError::NotPercent(text.to_owned()))
    }

    /// This share of `total`, within what an `i32` holds.
    #[must_use]
    pub fn of(self, total: i32, rounding: Rounding) -> i32 {
        let hundredths = i64::from(self.0) * i64::from(total);
        let down = hundredths.div_euclid(100);
        let share = match rounding {
            Rounding::Up => down + i64::from(hundredths.rem_euclid(100) != 0),
            Rounding::Down => down,
        };
        i32::try_from(share).unwrap_or(if share > 0 { i32::MAX } else { i32::MIN })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A number of pods or, as text, a percentage of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct IntOrPercent(pub IntOrText);

impl IntOrPercent {
    /// The number of pods out of `total`. Every text is a percentage, with or without `%`.
    pub fn of(&self, total: i32, rounding: Rounding) -> Result<i32, NumberError> {
        match &self.0 {
            IntOrText::Int(_) => self.0.int(),
            IntOrText::Text(text) => Ok(Percent::parse(text)?.of(total, rounding)),
        }
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases: [(&str, Option<i128>); 34] = [
            ("5m", Some(300_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1h1h", Some(7_200_000_000_000)),
            ("300ms", Some(300_000_000)),
            ("-5s", Some(-5_000_000_000)),
            ("+5s", Some(5_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("1us", Some(1_000)),
            ("1µs", Some(1_000)),
            ("1μs", Some(1_000)),
            ("0.5ns", Some(0)),
            ("0.3333333333333333333h", Some(1_200_000_000_000)),
            ("9223372036854775807ns", Some(i128::from(i64::MAX))),
            ("-9223372036854775808ns", Some(i128::from(i64::MIN))),
            ("9223372036854775808ns", None),
            ("2562048h", None),
            ("99999999999999999999h", None),
            ("5", None),
            ("1d", None),
            ("5M", None),
            (" 5m", None),
            ("5m ", None),
            ("", None),
            ("-", None),
            (".", None),
            (".s", None),
            ("s", None),
            ("1e3s", None),
            ("1h 30m", None),
            ("--5s", None),
        ];
        for (text, nanos) in cases {
            let got = GoDuration::new(text).parse().ok();
            assert_eq!(got.map(|duration| duration.as_nanos()), nanos, "{text:?}");
        }
        assert_eq!(GoDuration::default().get(), Ok(None));
    }

    #[test]
    fn a_number_in_text_is_read_strictly() {
        let cases = [
            ("5", Ok(5)),
            ("+5", Ok(5)),
            ("-1", Ok(-1)),
            ("007", Ok(7)),
            ("5.0", Err("`5.0` is no whole number")),
            (" 5", Err("` 5` is no whole number")),
            ("25%", Err("`25%` is no whole number")),
            ("", Err("`` is no whole number")),
            ("+-5", Err("`+-5` is no whole number")),
            (
                "2147483648",
                Err("`2147483648` is out of range (-2147483648 to 2147483647)"),
            ),
        ];
        for (text, expected) in cases {
            let got = IntOrText::from(text)
                .int()
                .map_err(|error| error.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{text:?}");
        }
        assert!(IntOrText::Int(1 << 31).int().is_err());
    }

    #[test]
    fn a_share_of_pods_rounds_as_asked() {
        let cases = [
            ("25%", 10, Rounding::Up, Some(3)),
            ("25%", 10, Rounding::Down, Some(2)),
            ("25", 10, Rounding::Up, Some(3)),
            ("100%", i32::MAX, Rounding::Up, Some(i32::MAX)),
            ("1000%", i32::MAX, Rounding::Up, Some(i32::MAX)),
            ("0%", 10, Rounding::Up, Some(0)),
            ("x%", 10, Rounding::Up, None),
        ];
        for (text, total, rounding, expected) in cases {
            let got = IntOrPercent(text.into()).of(total, rounding).ok();
            assert_eq!(got, expected, "{text} of {total}");
        }
        assert_eq!(IntOrPercent(7.into()).of(3, Rounding::Up), Ok(7));
    }

    #[test]
    fn a_time_limit_may_be_seconds_or_a_duration() {
        for (written, seconds) in [("30", 30), ("30s", 30), ("1m", 60)] {
            let duration = IntOrText::from(written).duration();
            assert_eq!(duration, Ok(SignedDuration::from_secs(seconds)));
        }
        assert!(IntOrText::from("{{args.timeout}}").duration().is_err());
    }

    proptest! {
        #[test]
        fn a_duration_parser_never_panics(text in "[-+.0-9a-zµ ]{0,24}") {
            let _ = GoDuration::new(text).parse();
        }

        #[test]
        fn whole_units_add_up(h in 0_i64..1000, m in 0_i64..1000, ms in 0_i64..100_000) {
            let parsed = GoDuration::new(format!("{h}h{m}m{ms}ms")).parse();
            prop_assert_eq!(parsed, Ok(SignedDuration::from_millis((h * 60 + m) * 60_000 + ms)));
        }
    }
}
