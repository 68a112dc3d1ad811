//! What went wrong, and where in the text.

use std::fmt::Write as _;
use std::ops::Range;

/// Why a condition could not be read or evaluated.
///
/// Displays as the engine's message alone, without the place, as Argo Rollouts writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Details>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    message: String,
    span: Option<Range<usize>>,
    no_data: bool,
}

impl Error {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            message: message.into(),
            span: None,
            no_data: false,
        }))
    }

    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        let mut error = Self::new(message);
        error.0.span = Some(span);
        error
    }

    pub(super) fn with_no_data(mut self) -> Self {
        self.0.no_data = true;
        self
    }

    /// The bytes of the text that the error is about.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        self.0.span.clone()
    }

    /// True if the value had no data (nil or an empty list) and evaluating it is what failed,
    /// so that the missing data is the likely cause. Never true of a syntax error.
    #[must_use]
    pub fn is_about_no_data(&self) -> bool {
        self.0.no_data
    }

    /// The line of the text that the error is about, and a line of carets under the place:
    ///
    /// ```text
    /// result[2] > 0
    ///       ^^^
    /// ```
    ///
    /// Empty if the error has no place.
    #[must_use]
    pub fn caret(&self, source: &str) -> String {
        let span = self.0.span.as_ref();
        span.map(|span| caret(source, span)).unwrap_or_default()
    }

    /// The message of a measurement whose condition failed: `could not evaluate
    /// successCondition "…": …`. `which` is `successCondition` or `failureCondition`.
    ///
    /// With an empty result it keeps Argo's words and adds the true cause.
    #[must_use]
    pub fn measurement_message(&self, which: &str, condition: &str) -> String {
        let mut message = format!("could not evaluate {which} \"{condition}\": ");
        if self.0.no_data {
            message.push_str("metric result is nil or empty: ");
        }
        let _ = write!(message, "{self}");
        message
    }
}

/// The line of a text in which these bytes are, and a line of carets under them, as far as that line
/// goes.
#[must_use]
pub fn caret(source: &str, bytes: &Range<usize>) -> String {
    let start = floor_boundary(source, bytes.start);
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[start..]
        .find('\n')
        .map_or(source.len(), |at| start + at);
    let end = floor_boundary(source, bytes.end).clamp(start, line_end);
    let indent: String = source[line_start..start]
        .chars()
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let carets = source[start..end].chars().count().max(1);
    format!(
        "{}\n{indent}{}",
        source[line_start..line_end].trim_end(),
        "^".repeat(carets)
    )
}

fn floor_boundary(source: &str, at: usize) -> usize {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let cases = [
            ("result[2] > 0", 6..9, "result[2] > 0\n      ^^^"),
            ("é == x", 6..7, "é == x\n     ^"),
            ("a\n\tb + c\nd", 3..8, "\tb + c\n\t^^^^^"),
            ("a ==", 4..4, "a ==\n    ^"),
            ("a", 40..50, "a\n ^"),
        ];
        for (source, span, expected) in cases {
            assert_eq!(Error::at(span, "no").caret(source), expected, "{source}");
        }
    }

    #[test]
    fn an_empty_result_is_named_beside_the_true_cause() {
        let error = Error::new("index out of range: 0 (array length is 0)");
        assert_eq!(
            error.measurement_message("successCondition", "result[0] > 1"),
            "could not evaluate successCondition \"result[0] > 1\": \
             index out of range: 0 (array length is 0)"
        );
        assert_eq!(
            error
                .with_no_data()
                .measurement_message("failureCondition", "result[0] > 1"),
            "could not evaluate failureCondition \"result[0] > 1\": metric result is nil or empty: \
             index out of range: 0 (array length is 0)"
        );
    }
}
