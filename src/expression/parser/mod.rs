//! From text to tree, by precedence climbing.
//!
//! Names, functions and patterns are resolved here, so that evaluation never looks anything up.
//! `primary.rs` reads operands, `calls.rs` calls and predicates, `build.rs` makes nodes.

mod build;
mod calls;
mod primary;

pub(super) use build::pattern_message;

use super::syntax::{Access, Binary, Expr, Kind, LogicOperator, Operation};
use super::token::{self, Lexer, Token};
use super::{Error, Names};

/// Nodes that one text may have; expr-lang's limit.
const MAX_NODES: usize = 10_000;
/// Levels of brackets, operands and branches inside one another.
const MAX_NESTING: usize = 200;
/// Levels of the tree: more than of nesting, as `a + b + c` is one level for each `+`.
const MAX_DEPTH: u16 = 250;

/// A text that parsed.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) root: Expr,
    /// How many `let` variables live at the same time at most.
    pub(super) slots: usize,
    /// What is legal but hardly meant.
    pub(super) warnings: Vec<Error>,
}

pub(super) fn parse(source: &str, names: Names) -> Result<Tree, Error> {
    let mut lexer = Lexer::new(source);
    let current = lexer.next()?;
    let mut parser = Parser {
        source,
        lexer,
        current,
        last_end: 0,
        names,
        nodes: 0,
        nesting: 0,
        loops: Vec::new(),
        locals: Vec::new(),
        slots: 0,
        warnings: Vec::new(),
    };
    let root = parser.sequence()?;
    if parser.current.kind != token::Kind::End {
        return Err(parser.unexpected());
    }
    Ok(Tree {
        root,
        slots: parser.slots,
        warnings: parser.warnings,
    })
}

type Parsed = Result<Expr, Error>;

struct Parser<'s> {
    source: &'s str,
    lexer: Lexer<'s>,
    current: Token<'s>,
    /// Where the token before the current one ends.
    last_end: usize,
    names: Names,
    nodes: usize,
    nesting: usize,
    /// The loops whose predicate is being read, innermost last.
    loops: Vec<Operation>,
    /// The `let` variables in sight; the place is the slot.
    locals: Vec<&'s str>,
    slots: usize,
    warnings: Vec<Error>,
}

/// What stands between two operands.
#[derive(Clone, Copy)]
enum Infix {
    Pipe,
    Logic(LogicOperator),
    Binary(Binary),
}

/// An infix operator and how tightly it binds.
fn infix(token: Token<'_>) -> Option<(Infix, u16)> {
    if token.kind != token::Kind::Operator {
        return None;
    }
    let (binary, precedence) = match token.text {
        "|" => return Some((Infix::Pipe, 0)),
        "or" | "||" => return Some((Infix::Logic(LogicOperator::Or), 10)),
        "and" | "&&" => return Some((Infix::Logic(LogicOperator::And), 15)),
        "==" => (Binary::Equal, 20),
        "!=" => (Binary::NotEqual, 20),
        "<" => (Binary::Less, 20),
        ">" => (Binary::More, 20),
        "<=" => (Binary::LessOrEqual, 20),
        ">=" => (Binary::MoreOrEqual, 20),
        "in" => (Binary::In, 20),
        "matches" => (Binary::Matches, 20),
        "contains" => (Binary::Contains, 20),
        "startsWith" => (Binary::StartsWith, 20),
        "endsWith" => (Binary::EndsWith, 20),
        ".." => (Binary::Range, 25),
        "+" => (Binary::Add, 30),
        "-" => (Binary::Subtract, 30),
        "*" => (Binary::Multiply, 60),
        "/" => (Binary::Divide, 60),
        "%" => (Binary::Modulo, 60),
        "**" | "^" => (Binary::Power, 100),
        "??" => (Binary::Coalesce, 500),
        _ => return None,
    };
    Some((Infix::Binary(binary), precedence))
}

/// May follow `not`: `x not in y`.
fn can_be_negated(token: Token<'_>) -> bool {
    matches!(
        infix(token),
        Some((
            Infix::Binary(
                Binary::In
                    | Binary::Matches
                    | Binary::Contains
                    | Binary::StartsWith
                    | Binary::EndsWith
            ),
            _
        ))
    )
}

impl<'s> Parser<'s> {
    fn advance(&mut self) -> Result<(), Error> {
        self.last_end = self.current.span().end;
        self.current = self.lexer.next()?;
        Ok(())
    }

    fn unexpected(&self) -> Error {
        self.unexpected_token(self.current)
    }

    fn unexpected_token(&self, token: Token<'_>) -> Error {
        let mut span = token.span();
        if span.is_empty() {
            span = self.source.trim_end().len()..span.end.max(1);
        }
        Error::at(span, format!("unexpected token {token}"))
    }

    fn expect_operator(&mut self, text: &str) -> Result<(), Error> {
        if !self.current.is_operator(text) {
            return Err(self.unexpected());
        }
        self.advance()
    }

    fn expect_bracket(&mut self, text: &str) -> Result<(), Error> {
        if !self.current.is_bracket(text) {
            return Err(self.unexpected());
        }
        self.advance()
    }

    fn expect_identifier(&mut self) -> Result<Token<'s>, Error> {
        let token = self.current;
        if token.kind != token::Kind::Identifier {
            return Err(self.unexpected());
        }
        self.advance()?;
        Ok(token)
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.nesting >= MAX_NESTING {
            return Err(Error::at(
                self.current.span(),
                format!("expression is nested too deeply (more than {MAX_NESTING} levels)"),
            ));
        }
        self.nesting += 1;
        let read = read(self);
        self.nesting -= 1;
        read
    }

    /// `a; b; c`
    fn sequence(&mut self) -> Parsed {
        let start = self.current.start;
        let first = self.expression(0)?;
        if !self.current.is_operator(";") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.current.is_operator(";") {
            self.advance()?;
            if self.current.kind == token::Kind::End {
                break;
            }
            all.push(self.expression(0)?);
        }
        if all.len() == 1 {
            return Ok(all.remove(0));
        }
        self.node(Kind::Sequence(all), start)
    }

    /// An expression whose operators bind at least this tightly.
    fn expression(&mut self, precedence: u16) -> Parsed {
        self.nested(|parser| {
            if precedence == 0 && parser.current.is_operator("let") {
                parser.declaration()
            } else if precedence == 0 && parser.current.is_operator("if") {
                parser.conditional_if()
            } else {
                parser.operators(precedence)
            }
        })
    }

    fn operators(&mut self, precedence: u16) -> Parsed {
        let start = self.current.start;
        let mut left = self.primary()?;
        let mut after_coalesce = false;
        loop {
            let mut token = self.current;
            let negated = token.is_operator("not");
            if negated {
                token = { self.lexer }.next()?;
                if !can_be_negated(token) {
                    return Err(self.unexpected_token(token));
                }
            }
            let Some((infix, binds)) = infix(token).filter(|(_, binds)| *binds >= precedence)
            else {
                break;
            };
            if negated {
                self.advance()?;
            }
            self.advance()?;
            let is_coalesce = matches!(infix, Infix::Binary(Binary::Coalesce));
            if after_coalesce && !is_coalesce && !matches!(infix, Infix::Pipe) {
                return Err(mixed_with_coalesce(token));
            }
            left = self.operator(left, infix, binds, start)?;
            if negated {
                left = self.negation(left, start)?;
            }
            after_coalesce = is_coalesce;
        }
        if precedence == 0 {
            left = self.ternary(left, start)?;
        }
        Ok(left)
    }

    /// What follows an infix operator that has just been read.
    fn operator(&mut self, left: Expr, infix: Infix, binds: u16, start: usize) -> Parsed {
        match infix {
            Infix::Pipe => {
                let name = self.expect_identifier()?;
                self.call(name, Some(left))
            }
            Infix::Logic(operator) => {
                let right = self.expression(binds + 1)?;
                self.logic(operator, left, right, start)
            }
            Infix::Binary(operator) if operator.is_comparison() => {
                self.comparisons(operator, left, binds, start)
            }
            Infix::Binary(operator) => {
                let right_binds = binds + u16::from(operator != Binary::Power);
                let right = self.expression(right_binds)?;
                self.binary(operator, left, right, start)
            }
        }
    }

    /// `a < b`, or `a < b < c`.
    fn comparisons(&mut self, operator: Binary, left: Expr, binds: u16, start: usize) -> Parsed {
        let mut rest = vec![(operator, self.expression(binds + 1)?)];
        while let Some((Infix::Binary(next), _)) = infix(self.current)
            && next.is_comparison()
        {
            self.advance()?;
            rest.push((next, self.expression(binds + 1)?));
        }
        match <[_; 1]>::try_from(rest) {
            Ok([(operator, right)]) => self.comparison(operator, left, right, start),
            Err(rest) => self.node(Kind::Comparisons(left, rest), start),
        }
    }

    /// `c ? a : b` and `c ?: b`
    fn ternary(&mut self, mut condition: Expr, start: usize) -> Parsed {
        while self.current.is_operator("?") {
            self.advance()?;
            let kind = if self.current.is_operator(":") {
                self.advance()?;
                Kind::Elvis((condition, self.expression(0)?))
            } else {
                let then = self.expression(0)?;
                self.expect_operator(":")?;
                let otherwise = self.expression(0)?;
                Kind::Conditional((condition, then, otherwise))
            };
            condition = self.node(kind, start)?;
        }
        Ok(condition)
    }

    /// `if c { a } else { b }`
    fn conditional_if(&mut self) -> Parsed {
        let start = self.current.start;
        self.expect_operator("if")?;
        let condition = self.expression(0)?;
        let then = self.block()?;
        self.expect_operator("else")?;
        let otherwise = if self.current.is_operator("if") {
            self.nested(Self::conditional_if)?
        } else {
            self.block()?
        };
        self.node(Kind::Conditional((condition, then, otherwise)), start)
    }

    fn block(&mut self) -> Parsed {
        self.expect_bracket("{")?;
        let inside = self.sequence()?;
        self.expect_bracket("}")?;
        Ok(inside)
    }

    /// `let name = value; rest`
    fn declaration(&mut self) -> Parsed {
        let start = self.current.start;
        self.expect_operator("let")?;
        let name = self.expect_identifier()?;
        self.check_new_name(name)?;
        self.expect_operator("=")?;
        let value = self.expression(0)?;
        self.expect_operator(";")?;
        let slot = self.locals.len();
        self.locals.push(name.text);
        self.slots = self.slots.max(self.locals.len());
        let rest = self.sequence();
        self.locals.pop();
        self.node(Kind::Let(slot, (value, rest?)), start)
    }

    fn check_new_name(&self, name: Token<'_>) -> Result<(), Error> {
        let what = if name.text == "result" && self.names == Names::Condition {
            ""
        } else if self.function(name.text).is_some() || Operation::named(name.text).is_some() {
            "function "
        } else if self.locals.contains(&name.text) {
            "variable "
        } else {
            return Ok(());
        };
        let message = format!("cannot redeclare {what}{}", name.text);
        Err(Error::at(name.span(), message))
    }
}

fn mixed_with_coalesce(token: Token<'_>) -> Error {
    let message = format!(
        "Operator ({}) and coalesce expressions (??) cannot be mixed. \
         Wrap either by parentheses.",
        token.text
    );
    Error::at(token.span(), message)
}

/// The access that `.` and `?.` stand for.
fn access(optional: bool) -> Access {
    if optional {
        Access::Optional
    } else {
        Access::Plain
    }
}
