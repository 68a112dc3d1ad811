//! The static rules: what is a mistake whatever the values are, even in a branch not taken.
//!
//! Follows `checker/checker.go` of expr-lang 1.17.8. Names are resolved by the parser already.

use super::Error;
use super::syntax::{Binary, Expr, Kind, Loop, Operation, Slice, Span, Unary};
use super::types::{Fields, Type};

/// Checks a tree for results of a type, and notes in it what the types decide.
/// Answers the type of the whole.
pub(super) fn check(root: &mut Expr, slots: usize, result: Type) -> Result<Type, Error> {
    let mut checker = Checker {
        result,
        locals: vec![Type::Any; slots],
        items: Vec::new(),
    };
    checker.visit(root)
}

type Checked = Result<Type, Error>;

struct Checker {
    result: Type,
    locals: Vec<Type>,
    /// The element types of the lists being walked, innermost last.
    items: Vec<Type>,
}

impl Checker {
    fn visit(&mut self, expr: &mut Expr) -> Checked {
        let span = expr.span;
        match &mut *expr.kind {
            Kind::Constant(value) => Ok(Type::of_constant(value)),
            Kind::Result => Ok(self.result.clone()),
            Kind::Environment | Kind::Accumulator => Ok(Type::Any),
            Kind::Local(slot) => Ok(self.locals.get(*slot).cloned().unwrap_or(Type::Any)),
            Kind::Item => Ok(self.items.last().cloned().unwrap_or(Type::Any)),
            Kind::Index => Ok(Type::Int),
            Kind::Unary(operator, inner) => self.unary(span, *operator, inner),
            Kind::Binary(operator, pair) => {
                let (left, right) = self.pair(pair)?;
                if left == right && matches!(left, Type::Int | Type::String) {
                    *operator = operator.exact();
                }
                binary(span, *operator, left, right)
            }
            Kind::Comparisons(first, rest) => self.comparisons(first, rest),
            Kind::Logic(logic) => self.logic(span, logic.operator.symbol(), &mut logic.operands),
            Kind::Matches(text, _) => {
                binary(span, Binary::Matches, self.visit(text)?, Type::String)
            }
            Kind::OneOf(needle, _) => {
                let words = Type::list_of(Type::String);
                binary(span, Binary::In, self.visit(needle)?, words)
            }
            Kind::Field(object, name, _) => field(span, &self.visit(object)?, name),
            Kind::Element(pair, _) => {
                let (object, index) = self.pair(pair)?;
                element(span, &object, &index)
            }
            Kind::Chain(inner) => self.visit(inner),
            Kind::Slice(slice) => self.slice(slice),
            Kind::Call(function, arguments) => {
                let checked = function.check(&self.all(arguments)?);
                checked.map_err(|message| located(span, message))
            }
            Kind::Method(object, name, arguments, _) => {
                let object = self.visit(object)?;
                self.all(arguments)?;
                method(span, &object, name)
            }
            Kind::CallValue(callee, arguments) => self.call_value(callee, arguments),
            Kind::Loop(each) => self.each(each),
            Kind::Let(slot, pair) => self.declaration(*slot, pair),
            Kind::Sequence(all) => Ok(self.all(all)?.pop().unwrap_or(Type::Any)),
            Kind::Conditional(parts) => {
                self.condition(&mut parts.0)?;
                Ok(either(self.visit(&mut parts.1)?, self.visit(&mut parts.2)?))
            }
            Kind::Elvis(pair) => {
                let condition = self.condition(&mut pair.0)?;
                Ok(either(condition, self.visit(&mut pair.1)?))
            }
            Kind::List(items) => Ok(Type::list(self.all(items)?.into_iter())),
            Kind::Map(pairs) => self.map(pairs),
        }
    }

    fn pair(&mut self, pair: &mut (Expr, Expr)) -> Result<(Type, Type), Error> {
        Ok((self.visit(&mut pair.0)?, self.visit(&mut pair.1)?))
    }

    fn map(&mut self, pairs: &mut [(Expr, Expr)]) -> Checked {
        for pair in pairs {
            self.pair(pair)?;
        }
        Ok(Type::Map(Fields::ByName))
    }

    fn declaration(&mut self, slot: usize, pair: &mut (Expr, Expr)) -> Checked {
        let value = self.visit(&mut pair.0)?;
        if let Some(local) = self.locals.get_mut(slot) {
            *local = value;
        }
        self.visit(&mut pair.1)
    }

    fn call_value(&mut self, callee: &mut Expr, arguments: &mut [Expr]) -> Checked {
        let callee_type = self.visit(callee)?;
        self.all(arguments)?;
        if callee_type.is_any() {
            return Ok(Type::Any);
        }
        fail(callee.span, format!("{callee_type} is not callable"))
    }

    fn all(&mut self, exprs: &mut [Expr]) -> Result<Vec<Type>, Error> {
        exprs.iter_mut().map(|expr| self.visit(expr)).collect()
    }

    fn unary(&mut self, span: Span, operator: Unary, inner: &mut Expr) -> Checked {
        let inner = self.visit(inner)?;
        match operator {
            Unary::Not if inner.is_bool_or_any() => Ok(Type::Bool),
            Unary::Negate | Unary::Plus if inner.is_number() || inner.is_any() => Ok(inner),
            Unary::Not | Unary::Negate | Unary::Plus => {
                let symbol = match operator {
                    Unary::Not => "!",
                    Unary::Negate => "-",
                    Unary::Plus => "+",
                };
                let message = format!("invalid operation: {symbol} (mismatched type {inner})");
                fail(span, message)
            }
        }
    }

    fn comparisons(&mut self, first: &mut Expr, rest: &mut [(Binary, Expr)]) -> Checked {
        let mut left = self.visit(first)?;
        for (operator, expr) in rest {
            let right = self.visit(expr)?;
            binary(expr.span, *operator, left, right.clone())?;
            left = right;
        }
        Ok(Type::Bool)
    }

    fn logic(&mut self, span: Span, symbol: &str, operands: &mut [Expr]) -> Checked {
        let types = self.all(operands)?;
        for pair in types.windows(2) {
            if let [left, right] = pair
                && !(left.is_bool_or_any() && right.is_bool_or_any())
            {
                return mismatch(span, symbol, left, right);
            }
        }
        Ok(Type::Bool)
    }

    fn condition(&mut self, expr: &mut Expr) -> Checked {
        let condition = self.visit(expr)?;
        if condition.is_bool_or_any() {
            return Ok(condition);
        }
        let message = format!("non-bool expression (type {condition}) used as condition");
        fail(expr.span, message)
    }

    fn slice(&mut self, slice: &mut Slice) -> Checked {
        let object = self.visit(&mut slice.object)?;
        for bound in slice.from.iter_mut().chain(&mut slice.to) {
            let index = self.visit(bound)?;
            if !object.is_any() && !matches!(index, Type::Int | Type::Any) {
                return fail(bound.span, format!("non-integer slice index {index}"));
            }
        }
        if object.is_any() || object.is_list() || object == Type::String {
            return Ok(object);
        }
        fail(slice.object.span, format!("cannot slice {object}"))
    }

    fn each(&mut self, each: &mut Loop) -> Checked {
        let name = each.operation.name();
        let list = self.visit(&mut each.list)?;
        if !list.is_list() && !list.is_any() {
            let message = format!("builtin {name} takes only array (got {list})");
            return fail(each.list.span, message);
        }
        let mut answer = list.element();
        if let Some(predicate) = &mut each.predicate {
            self.items.push(list.element());
            let checked = self.visit(predicate);
            self.items.pop();
            answer = checked?;
            if answer == Type::Nil {
                let message = "predicate should has one input and one output param";
                return fail(predicate.span, message);
            }
            if each.operation.asks() && !answer.is_bool_or_any() {
                let message = format!("predicate should return boolean (got {answer})");
                return fail(predicate.span, message);
            }
        }
        if let Some(extra) = &mut each.extra {
            let order = self.visit(extra)?;
            let is_order = matches!(order, Type::String | Type::Any);
            if each.operation == Operation::SortBy && !is_order {
                let message = format!("sortBy order argument must be a string (got {order})");
                return fail(extra.span, message);
            }
        }
        Ok(match each.operation {
            Operation::All | Operation::None | Operation::Any | Operation::One => Type::Bool,
            Operation::Filter => Type::list_of(list.element()),
            Operation::Map => Type::list_of(answer),
            Operation::Count | Operation::FindIndex | Operation::FindLastIndex => Type::Int,
            Operation::Find | Operation::FindLast => list.element(),
            Operation::GroupBy => Type::Map(Fields::Groups),
            Operation::SortBy => list,
            Operation::Sum | Operation::Reduce => answer,
        })
    }
}

fn located(span: Span, message: impl Into<String>) -> Error {
    Error::at(span.0 as usize..span.1 as usize, message)
}

fn fail<T>(span: Span, message: impl Into<String>) -> Result<T, Error> {
    Err(located(span, message))
}

fn mismatch<T>(span: Span, symbol: &str, left: &Type, right: &Type) -> Result<T, Error> {
    let message = format!("invalid operation: {symbol} (mismatched types {left} and {right})");
    fail(span, message)
}

/// The type of `c ? a : b`.
fn either(then: Type, otherwise: Type) -> Type {
    match (&then, &otherwise) {
        (Type::Nil, _) => otherwise,
        (_, Type::Nil) => then,
        (Type::List(a, _), Type::List(b, _)) if then.is_assignable_to(&otherwise) => {
            if a == b {
                then
            } else {
                Type::list_of(Type::Any)
            }
        }
        _ if then.is_assignable_to(&otherwise) => then,
        _ => Type::Any,
    }
}

fn binary(span: Span, operator: Binary, left: Type, right: Type) -> Checked {
    let (l, r) = (&left, &right);
    let number = |t: &Type| t.is_number();
    let integer = |t: &Type| *t == Type::Int;
    let text = |t: &Type| *t == Type::String;
    let timely = |t: &Type| matches!(t, Type::Time | Type::Duration);
    let some_any = l.is_any() || r.is_any();
    let found = match operator {
        Binary::Equal | Binary::NotEqual | Binary::EqualExact | Binary::NotEqualExact => {
            l.is_comparable_to(r).then_some(Type::Bool)
        }
        Binary::Less | Binary::LessOrEqual | Binary::More | Binary::MoreOrEqual => {
            let ordered = |t: &Type| number(t) || text(t) || timely(t);
            let fits = l.both_may_be(r, number)
                || l.both_may_be(r, text)
                || (l == r || some_any) && l.both_may_be(r, ordered);
            fits.then_some(Type::Bool)
        }
        Binary::Add | Binary::Subtract | Binary::Multiply => arithmetic(operator, l, r),
        Binary::Divide | Binary::Power => l.both_may_be(r, number).then_some(Type::Float),
        Binary::Modulo => l.both_may_be(r, integer).then_some(Type::Int),
        Binary::Range => l
            .both_may_be(r, integer)
            .then_some(Type::list_of(Type::Int)),
        Binary::Matches => {
            let bytes = *l == Type::Bytes && text(r);
            (bytes || l.both_may_be(r, text)).then_some(Type::Bool)
        }
        Binary::Contains | Binary::StartsWith | Binary::EndsWith => {
            l.both_may_be(r, text).then_some(Type::Bool)
        }
        Binary::In => return membership(span, &left, &right),
        Binary::Coalesce => return Ok(coalesced(left, right)),
    };
    match found {
        Some(answer) => Ok(answer),
        None => mismatch(span, operator.symbol(), &left, &right),
    }
}

/// The type of `+`, `-` or `*`, if it has one.
fn arithmetic(operator: Binary, left: &Type, right: &Type) -> Option<Type> {
    use Type::{Any, Duration, Float, Int, String, Time};
    Some(match (left, right) {
        (Int, Int) => Int,
        (Int | Float, Int | Float) => Float,
        (String, String) if operator == Binary::Add => String,
        (Duration, Duration) => Duration,
        (Time, Duration) if operator != Binary::Multiply => Time,
        (Duration, Time) if operator == Binary::Add => Time,
        (Time, Time) if operator == Binary::Subtract => Duration,
        (Int | Float, Duration) | (Duration, Int | Float) if operator == Binary::Multiply => {
            Duration
        }
        (Any, other) | (other, Any) => match other {
            Any | Int | Float | Duration => Any,
            String if operator == Binary::Add => Any,
            Time if operator != Binary::Multiply => Any,
            _ => return None,
        },
        _ => return None,
    })
}

/// The type of `in`.
fn membership(span: Span, needle: &Type, haystack: &Type) -> Checked {
    let kind = match haystack {
        Type::Map(_) if needle.is_any() || needle.is_assignable_to(&haystack.key()) => {
            return Ok(Type::Bool);
        }
        Type::List(..) | Type::Bytes if needle.is_comparable_to(&haystack.element()) => {
            return Ok(Type::Bool);
        }
        Type::Any => return Ok(Type::Bool),
        Type::String if needle.is_any() => return Ok(Type::Bool),
        Type::Map(_) => format!("{} in map key", haystack.key()),
        Type::List(..) | Type::Bytes => format!("{} in array", haystack.element()),
        _ => return mismatch(span, "in", needle, haystack),
    };
    fail(span, format!("cannot use {needle} as type {kind}"))
}

fn coalesced(left: Type, right: Type) -> Type {
    match (&left, &right) {
        (Type::Nil, _) => right,
        (_, Type::Nil) => left,
        _ if right.is_assignable_to(&left) => left,
        _ => Type::Any,
    }
}

fn field(span: Span, object: &Type, name: &str) -> Checked {
    match object {
        Type::Any => Ok(Type::Any),
        Type::Map(_) => Ok(object.element()),
        Type::List(..) | Type::Bytes => fail(
            span,
            "array elements can only be selected using an integer (got string)",
        ),
        _ => fail(span, format!("type {object} has no field {name}")),
    }
}

fn element(span: Span, object: &Type, index: &Type) -> Checked {
    match object {
        Type::Any => Ok(Type::Any),
        Type::Map(_) if index.is_any() || index.is_assignable_to(&object.key()) => {
            Ok(object.element())
        }
        Type::Map(_) => fail(
            span,
            format!("cannot use {index} to get an element from {object}"),
        ),
        Type::List(..) | Type::Bytes if matches!(index, Type::Int | Type::Any) => {
            Ok(object.element())
        }
        Type::List(..) | Type::Bytes => {
            let message =
                format!("array elements can only be selected using an integer (got {index})");
            fail(span, message)
        }
        _ => fail(span, format!("type {object}[{index}] is undefined")),
    }
}

fn method(span: Span, object: &Type, name: &str) -> Checked {
    match object {
        Type::Any | Type::Map(_) => Ok(Type::Any),
        Type::Time | Type::Duration | Type::Month | Type::Weekday | Type::Zone => {
            super::functions::methods::type_of(object, name)
                .ok_or_else(|| located(span, format!("type {object} has no method {name}")))
        }
        _ => fail(span, format!("type {object} has no method {name}")),
    }
}
