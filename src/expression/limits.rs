//! The plain limits that a condition sets, for charts and statistics.

use super::Value;
use super::syntax::{Binary, Expr, Kind, LogicOperator, Operation, Unary};

/// A limit that a value must keep for a condition to hold, such as `result[0] >= 0.95`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Which numbers of the value.
    pub of: Of,
    /// On which side of the limit they must be.
    pub side: Side,
    /// The limit.
    pub value: f64,
}

/// Which numbers of a value a limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The value is one number.
    Whole,
    /// The one at this place of the list.
    At(usize),
    /// Each of the list.
    Each,
}

/// On which side of a limit a good number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// At the limit or above.
    AtLeast,
    /// Above it.
    MoreThan,
    /// At the limit or below.
    AtMost,
    /// Below it.
    LessThan,
}

impl Side {
    /// The side where the condition does not hold.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::AtLeast => Self::LessThan,
            Self::MoreThan => Self::AtMost,
            Self::AtMost => Self::MoreThan,
            Self::LessThan => Self::AtLeast,
        }
    }

    /// As operator of a condition.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::MoreThan => ">",
            Self::AtMost => "<=",
            Self::LessThan => "<",
        }
    }

    /// Whether more is better.
    #[must_use]
    pub fn is_floor(self) -> bool {
        matches!(self, Self::AtLeast | Self::MoreThan)
    }

    fn of(operator: Binary, mirrored: bool) -> Option<Self> {
        let side = match operator {
            Binary::MoreOrEqual => Self::AtLeast,
            Binary::More => Self::MoreThan,
            Binary::LessOrEqual => Self::AtMost,
            Binary::Less => Self::LessThan,
            _ => return None,
        };
        Some(match (side, mirrored) {
            (side, false) => side,
            (Self::AtLeast, true) => Self::AtMost,
            (Self::MoreThan, true) => Self::LessThan,
            (Self::AtMost, true) => Self::AtLeast,
            (Self::LessThan, true) => Self::MoreThan,
        })
    }
}

/// The limits that must all be kept for the condition to hold. Empty if it is not of that form.
pub(super) fn limits(condition: &Expr) -> Vec<Limit> {
    match &*condition.kind {
        Kind::Binary(operator, (left, right)) => comparison(*operator, left, right, None),
        Kind::Comparisons(first, rest) => {
            let lefts = std::iter::once(first).chain(rest.iter().map(|(_, right)| right));
            let pairs = lefts.zip(rest);
            pairs
                .flat_map(|(left, (operator, right))| comparison(*operator, left, right, None))
                .collect()
        }
        Kind::Logic(logic) => {
            let each = || logic.operands.iter().map(limits);
            match logic.operator {
                LogicOperator::And => each().flatten().collect(),
                // `isNaN(result) || result < 1`: a guard, and the one limit.
                LogicOperator::Or => {
                    let mut found = each().filter(|limits| !limits.is_empty());
                    match (found.next(), found.next()) {
                        (Some(limits), None) => limits,
                        _ => Vec::new(),
                    }
                }
            }
        }
        Kind::Loop(walk) if walk.operation == Operation::All && is_result(&walk.list) => {
            match walk.predicate.as_ref().map(|predicate| &*predicate.kind) {
                Some(Kind::Binary(operator, (left, right))) => {
                    comparison(*operator, left, right, Some(Of::Each))
                }
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

fn comparison(operator: Binary, left: &Expr, right: &Expr, each: Option<Of>) -> Vec<Limit> {
    let subject = |expr: &Expr| match each {
        Some(of) => matches!(*expr.kind, Kind::Item).then_some(of),
        None => subject(expr),
    };
    let limit = |of: Option<Of>, value: Option<f64>, mirrored: bool| {
        Some(Limit {
            of: of?,
            side: Side::of(operator, mirrored)?,
            value: value?,
        })
    };
    let limit = limit(subject(left), number(right), false)
        .or_else(|| limit(subject(right), number(left), true));
    limit.into_iter().collect()
}

/// Which numbers of the value an expression is.
fn subject(expr: &Expr) -> Option<Of> {
    match &*expr.kind {
        Kind::Result => Some(Of::Whole),
        Kind::Element((list, index), _) if is_result(list) => match &*index.kind {
            Kind::Constant(Value::Int(index)) => usize::try_from(*index).ok().map(Of::At),
            _ => None,
        },
        Kind::Call(function, arguments) if matches!(function.name, "asFloat" | "float") => {
            arguments.first().and_then(subject)
        }
        _ => None,
    }
}

fn is_result(expr: &Expr) -> bool {
    matches!(*expr.kind, Kind::Result)
}

fn number(expr: &Expr) -> Option<f64> {
    match &*expr.kind {
        #[expect(clippy::cast_precision_loss, reason = "a limit on a chart")]
        Kind::Constant(Value::Int(number)) => Some(*number as f64),
        Kind::Constant(Value::Float(number)) => Some(*number),
        Kind::Unary(Unary::Negate, inner) => number(inner).map(|number| -number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Condition;

    fn limits(text: &str) -> String {
        let limits = Condition::parse(text).unwrap().limits();
        let each = limits.iter().map(|limit| {
            let symbol = limit.side.symbol();
            format!("{:?} {symbol} {}", limit.of, limit.value)
        });
        each.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn plain_limits_are_found_in_conditions() {
        let cases = [
            ("result[0] >= 0.95", "At(0) >= 0.95"),
            ("0.95 <= result[0]", "At(0) >= 0.95"),
            ("result < -5", "Whole < -5"),
            ("asFloat(result) <= 1", "Whole <= 1"),
            ("result[0] > 1 && result[1] < 2", "At(0) > 1, At(1) < 2"),
            ("1 < result < 3", "Whole > 1, Whole < 3"),
            ("isNaN(result[0]) || result[0] < 0.05", "At(0) < 0.05"),
            ("len(result) == 0 or result[0] < 0.05", "At(0) < 0.05"),
            ("all(result, # < 0.5)", "Each < 0.5"),
            ("all(result, {0.5 > #})", "Each < 0.5"),
            ("result[0] < 1 || result[0] > 3", ""),
            ("result.x > 1", ""),
            ("any(result, # > 1)", ""),
            ("len(result) == 0", ""),
            ("result[0] == 1", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(limits(text), expected, "{text}");
        }
    }
}
