//! Making nodes: limits, constants, and the shortcuts of expr-lang's optimiser that can be seen.
//!
//! Its optimiser stops some walks early, so that a later element which would be an error goes
//! unnoticed. Conditions that work because of it must go on working.

use regex::RegexBuilder;

use super::super::syntax::{Binary, Expr, Kind, Logic, LogicOperator, Loop, Operation, Unary};
use super::super::{Error, Value};
use super::{MAX_DEPTH, MAX_NODES, Parsed, Parser};

/// Bytes that a compiled pattern may take.
const MAX_PATTERN_SIZE: usize = 1 << 20;

impl Parser<'_> {
    /// A node that begins at `start` and ends where the last token did.
    pub(super) fn node(&mut self, kind: Kind, start: usize) -> Parsed {
        self.nodes += 1;
        let depth = kind.depth_below() + 1;
        let limit = if self.nodes > MAX_NODES {
            format!("expression exceeds maximum allowed nodes ({MAX_NODES})")
        } else if depth > MAX_DEPTH {
            format!("expression is nested too deeply (more than {MAX_DEPTH} levels)")
        } else {
            return Ok(Expr {
                kind: Box::new(kind),
                span: (narrow(start), narrow(self.last_end.max(start))),
                depth,
            });
        };
        Err(Error::at(start..self.last_end.max(start), limit))
    }

    pub(super) fn constant(&mut self, value: Value, start: usize) -> Parsed {
        self.node(Kind::Constant(value), start)
    }

    /// `not x` over what stands before: `a not in b`.
    pub(super) fn negation(&mut self, inner: Expr, start: usize) -> Parsed {
        self.node(Kind::Unary(Unary::Not, inner), start)
    }

    pub(super) fn unary(&mut self, operator: Unary, inner: Expr, start: usize) -> Parsed {
        let value = match (operator, &*inner.kind) {
            (Unary::Negate, Kind::Constant(Value::Int(int))) => Value::Int(int.wrapping_neg()),
            (Unary::Negate, Kind::Constant(Value::Float(float))) => Value::Float(-float),
            (Unary::Plus, Kind::Constant(number @ (Value::Int(_) | Value::Float(_)))) => {
                number.clone()
            }
            _ => return self.node(Kind::Unary(operator, inner), start),
        };
        self.constant(value, start)
    }

    pub(super) fn binary(
        &mut self,
        operator: Binary,
        left: Expr,
        right: Expr,
        start: usize,
    ) -> Parsed {
        let kind = match (operator, &*right.kind) {
            (Binary::Modulo, Kind::Constant(Value::Int(0)))
                if matches!(*left.kind, Kind::Constant(Value::Int(_))) =>
            {
                return Err(Error::at(start..self.last_end, "integer divide by zero"));
            }
            (Binary::Matches, Kind::Constant(Value::String(pattern))) => {
                let regex = RegexBuilder::new(pattern)
                    .size_limit(MAX_PATTERN_SIZE)
                    .build()
                    .map_err(|error| Error::at(right.span(), pattern_message(&error)))?;
                Kind::Matches(left, regex)
            }
            (Binary::In, Kind::Constant(Value::List(items))) => match all_strings(items) {
                Some(words) => Kind::OneOf(left, words),
                None => Kind::Binary(operator, (left, right)),
            },
            _ => Kind::Binary(operator, (left, right)),
        };
        self.node(kind, start)
    }

    /// A single comparison. `count(xs, p) > 2` may stop at the third.
    pub(super) fn comparison(
        &mut self,
        operator: Binary,
        mut left: Expr,
        right: Expr,
        start: usize,
    ) -> Parsed {
        if let (Kind::Loop(each), Kind::Constant(Value::Int(number))) =
            (&mut *left.kind, &*right.kind)
            && each.operation == Operation::Count
            && each.predicate.is_some()
        {
            let enough = match operator {
                Binary::More | Binary::LessOrEqual => number.saturating_add(1),
                _ => *number,
            };
            let any_will_do = enough == 1 && matches!(operator, Binary::More | Binary::MoreOrEqual);
            each.limit = Some(enough).filter(|enough| *enough > 1 || any_will_do);
        }
        self.node(Kind::Binary(operator, (left, right)), start)
    }

    pub(super) fn logic(
        &mut self,
        operator: LogicOperator,
        left: Expr,
        right: Expr,
        start: usize,
    ) -> Parsed {
        let (left, right) = match self.combined(operator, left, right, start)? {
            Ok(combined) => return Ok(combined),
            Err(apart) => apart,
        };
        let mut operands = match *left.kind {
            Kind::Logic(logic) if logic.operator == operator => logic.operands,
            kind => vec![Expr {
                kind: Box::new(kind),
                ..left
            }],
        };
        operands.push(right);
        let settles = |operand: &Expr| constant_bool(operand) == Some(operator.decisive());
        let decided = if operands.iter().any(settles) {
            Some(operator.decisive())
        } else if operands
            .iter()
            .all(|operand| constant_bool(operand).is_some())
        {
            Some(!operator.decisive())
        } else {
            None
        };
        let logic = Logic {
            operator,
            operands,
            decided,
        };
        self.node(Kind::Logic(logic), start)
    }

    /// `all(x, p) and all(x, q)` walks once: `all(x, p and q)`.
    fn combined(
        &mut self,
        operator: LogicOperator,
        left: Expr,
        right: Expr,
        start: usize,
    ) -> Result<Result<Expr, (Expr, Expr)>, Error> {
        let inner = match (operator, &*left.kind, &*right.kind) {
            (operator, Kind::Loop(a), Kind::Loop(b))
                if a.operation == b.operation
                    && self.source[a.list.span()] == self.source[b.list.span()] =>
            {
                match (operator, a.operation) {
                    (LogicOperator::And, Operation::All) => LogicOperator::And,
                    (LogicOperator::Or, Operation::Any) | (LogicOperator::And, Operation::None) => {
                        LogicOperator::Or
                    }
                    _ => return Ok(Err((left, right))),
                }
            }
            _ => return Ok(Err((left, right))),
        };
        let (Kind::Loop(first), Kind::Loop(second)) = (*left.kind, *right.kind) else {
            return Err(Error::new("unexpected token"));
        };
        let (Some(p), Some(q)) = (first.predicate, second.predicate) else {
            return Err(Error::new("expected at least 2 arguments"));
        };
        let predicate_start = p.span().start;
        let predicate = self.logic(inner, p, q, predicate_start)?;
        let each = Loop {
            predicate: Some(predicate),
            ..first
        };
        self.node(Kind::Loop(each), start).map(Ok)
    }
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The last line of the explanation; the others draw the pattern.
pub(in super::super) fn pattern_message(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    let cause = last.strip_prefix("error: ").unwrap_or(last);
    format!("error parsing regexp: {cause}")
}

fn all_strings(items: &[Value]) -> Option<Vec<String>> {
    let strings = items.iter().map(|item| match item {
        Value::String(text) => Some(text.clone()),
        _ => None,
    });
    strings
        .collect::<Option<Vec<_>>>()
        .filter(|all| !all.is_empty())
}

/// The truth of what is constant, as far as expr-lang folds it.
fn constant_bool(expr: &Expr) -> Option<bool> {
    match &*expr.kind {
        Kind::Constant(Value::Bool(bool)) => Some(*bool),
        Kind::Logic(logic) => logic.decided,
        Kind::Unary(Unary::Not, inner) => constant_bool(inner).map(|bool| !bool),
        Kind::Binary(Binary::Equal, pair) => match (&*pair.0.kind, &*pair.1.kind) {
            (Kind::Constant(Value::Int(a)), Kind::Constant(Value::Int(b))) => Some(a == b),
            (Kind::Constant(Value::String(a)), Kind::Constant(Value::String(b))) => Some(a == b),
            (Kind::Constant(Value::Bool(a)), Kind::Constant(Value::Bool(b))) => Some(a == b),
            _ => None,
        },
        _ => None,
    }
}
