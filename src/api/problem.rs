//! What is wrong with a spec, and where: all of it at once.

use std::fmt;
use std::ops::Range;

use serde_json::Value;

/// One thing that is wrong, as Kubernetes writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `metrics[0].interval`.
    pub field: String,
    /// What, and what was expected.
    pub message: String,
    /// The bytes of the text in that field that it is about; none if it is about all of it.
    pub span: Option<Range<usize>>,
}

impl Problem {
    pub(crate) fn invalid(
        field: impl Into<String>,
        value: impl fmt::Display,
        why: impl fmt::Display,
    ) -> Self {
        Self::new(field, format!("Invalid value: \"{value}\": {why}"))
    }

    /// Kubernetes quotes texts, and no numbers.
    pub(crate) fn invalid_number(
        field: impl Into<String>,
        number: impl Into<i64>,
        why: impl fmt::Display,
    ) -> Self {
        Self::new(field, format!("Invalid value: {}: {why}", number.into()))
    }

    pub(crate) fn required(field: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(field, format!("Required value: {why}"))
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: impl fmt::Display) -> Self {
        Self::new(field, format!("Duplicate value: \"{value}\""))
    }

    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            span: None,
        }
    }

    /// With the part of the field's text that it is about.
    pub(crate) fn at(self, span: impl Into<Option<Range<usize>>>) -> Self {
        Self {
            span: span.into(),
            ..self
        }
    }

    /// What stands in the field of a problem with this object.
    pub(crate) fn part<'v>(object: &'v Value, field: &str) -> Option<&'v Value> {
        let steps = field
            .split(['.', '['])
            .map(|step| step.trim_end_matches(']'));
        let mut steps = steps.filter(|step| !step.is_empty());
        steps.try_fold(object, |at, step| match at.as_array() {
            Some(items) => items.get(step.parse::<usize>().ok()?),
            None => at.get(step),
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// All problems in one line.
pub(crate) fn joined(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
