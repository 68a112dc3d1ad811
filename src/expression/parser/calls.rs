//! Calls: functions, and builtins that take a predicate.

use super::super::functions::{self, Function};
use super::super::syntax::{Binary, Expr, Kind, Loop, Operation, Unary};
use super::super::{Error, Value};
use super::primary::found_in;
use super::{Parsed, Parser, token};

impl Parser<'_> {
    pub(super) fn function(&self, name: &str) -> Option<&'static Function> {
        functions::named(name).filter(|function| self.names.know(function))
    }

    /// The call of a name that has just been read; `piped` is what stood before a `|`.
    pub(super) fn call(&mut self, name: token::Token<'_>, piped: Option<Expr>) -> Parsed {
        let start = piped
            .as_ref()
            .map_or(name.start, |piped| piped.span().start);
        if let Some(operation) = Operation::named(name.text) {
            return self.each(operation, piped, start);
        }
        if let Some(function) = self.function(name.text) {
            let arguments = self.arguments(piped)?;
            return self.function_call(function, arguments, start);
        }
        let callee = self.name(name)?;
        let arguments = self.arguments(piped)?;
        self.node(Kind::CallValue(callee, arguments), start)
    }

    /// `(a, b)`, after the argument that was piped in.
    pub(super) fn arguments(&mut self, piped: Option<Expr>) -> Result<Vec<Expr>, Error> {
        self.expect_bracket("(")?;
        let mut arguments: Vec<Expr> = piped.into_iter().collect();
        let offset = arguments.len();
        while !self.current.is_bracket(")") {
            if arguments.len() > offset {
                self.expect_operator(",")?;
                if self.current.is_bracket(")") {
                    break;
                }
            }
            arguments.push(self.expression(0)?);
        }
        self.expect_bracket(")")?;
        Ok(arguments)
    }

    fn function_call(
        &mut self,
        function: &'static Function,
        mut arguments: Vec<Expr>,
        start: usize,
    ) -> Parsed {
        if let [argument] = arguments.as_mut_slice() {
            match (function.name, &mut *argument.kind) {
                ("isNaN" | "isInf", _) => make_floats(argument),
                ("len", Kind::Loop(each)) if each.operation == Operation::Filter => {
                    each.operation = Operation::Count;
                    return Ok(arguments.remove(0));
                }
                ("first" | "last", Kind::Loop(each)) if each.operation == Operation::Filter => {
                    let found = found_in(each.clone(), function.name == "first", false);
                    return self.node(Kind::Loop(found), start);
                }
                _ => {}
            }
        }
        let looks_at_all = matches!(function.name, "isNil" | "default");
        if looks_at_all
            && !arguments
                .first()
                .is_some_and(|first| matches!(*first.kind, Kind::Result))
        {
            self.warnings.push(Error::at(
                start..self.last_end,
                format!(
                    "{} always asks about the whole result, whatever its first argument is: \
                     for a part of it write `part == nil` or `part ?? value`",
                    function.name
                ),
            ));
        }
        self.node(Kind::Call(function, arguments), start)
    }

    /// `all(list, predicate)` and its like, from the opening bracket on.
    fn each(&mut self, operation: Operation, piped: Option<Expr>, start: usize) -> Parsed {
        self.expect_bracket("(")?;
        let is_piped = piped.is_some();
        let list = if let Some(list) = piped {
            list
        } else {
            self.check_argument_follows(operation)?;
            self.expression(0)?
        };
        let mut predicate = None;
        if !self.current.is_bracket(")") || !operation.predicate_is_optional() {
            self.check_argument_follows(operation)?;
            if !is_piped {
                self.expect_operator(",")?;
            }
            predicate = Some(self.predicate(operation)?);
        }
        let mut extra = None;
        if operation.takes_extra() && !self.current.is_bracket(")") {
            self.expect_operator(",")?;
            extra = Some(self.expression(0)?);
        }
        if self.current.is_operator(",") {
            self.advance()?;
        }
        self.expect_bracket(")")?;
        let each = Loop {
            operation,
            list,
            predicate,
            extra,
            limit: None,
            must_find: false,
        };
        self.node(Kind::Loop(each), start)
    }

    fn check_argument_follows(&self, operation: Operation) -> Result<(), Error> {
        if !self.current.is_bracket(")") {
            return Ok(());
        }
        let message = format!("not enough arguments to call {}", operation.name());
        Err(Error::at(self.current.span(), message))
    }

    fn predicate(&mut self, operation: Operation) -> Parsed {
        let braced = self.current.is_bracket("{");
        if braced {
            self.advance()?;
        }
        self.loops.push(operation);
        let predicate = if braced {
            self.sequence()
        } else {
            self.expression(0)
        };
        self.loops.pop();
        let predicate = predicate?;
        if braced {
            self.expect_bracket("}")?;
        } else if self.current.is_operator(";") {
            let message = "wrap predicate with brackets { and }";
            return Err(Error::at(self.current.span(), message));
        }
        Ok(predicate)
    }
}

/// Whole numbers written as the argument of a function of floats are floats.
fn make_floats(expr: &mut Expr) {
    match &mut *expr.kind {
        Kind::Constant(value) => {
            if let Value::Int(int) = value {
                *value = Value::Float(super::super::number::to_float(*int));
            }
        }
        Kind::Unary(Unary::Negate | Unary::Plus, inner) => make_floats(inner),
        Kind::Binary(Binary::Add | Binary::Subtract | Binary::Multiply, pair) => {
            make_floats(&mut pair.0);
            make_floats(&mut pair.1);
        }
        _ => {}
    }
}
