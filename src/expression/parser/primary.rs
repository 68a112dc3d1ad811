//! Operands: literals, names, brackets, members.

use super::super::syntax::{Access, Expr, Kind, Loop, Operation, Slice, Unary};
use super::super::{Error, Names, Value, literal};
use super::{Parsed, Parser, access, token};

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Parsed {
        let token = self.current;
        let start = token.start;
        let unary = match token.text {
            _ if token.kind != token::Kind::Operator => None,
            "not" | "!" => Some((Unary::Not, 50)),
            "-" => Some((Unary::Negate, 90)),
            "+" => Some((Unary::Plus, 90)),
            _ => None,
        };
        if let Some((operator, binds)) = unary {
            self.advance()?;
            let inner = self.expression(binds)?;
            let node = self.unary(operator, inner, start)?;
            return self.postfix(node, start);
        }
        if token.is_bracket("(") {
            self.advance()?;
            let inner = self.sequence()?;
            self.expect_bracket(")")?;
            return self.postfix(inner, start);
        }
        if !self.loops.is_empty() && (token.is_operator("#") || token.is_operator(".")) {
            let node = self.pointer(start)?;
            return self.postfix(node, start);
        }
        if token.is_operator("::") {
            self.advance()?;
            let name = self.expect_identifier()?;
            let node = self.call(name, None)?;
            return self.postfix(node, start);
        }
        self.secondary(start)
    }

    /// `#`, `#index`, `#acc`, or the `#` that `.field` leaves out.
    fn pointer(&mut self, start: usize) -> Parsed {
        let mut name = "";
        if self.current.is_operator("#") {
            self.advance()?;
            if self.current.kind == token::Kind::Identifier {
                name = self.current.text;
                self.advance()?;
            }
        }
        let innermost = self.loops.last();
        let kind = match name {
            "" => Kind::Item,
            "index" if innermost.is_some_and(|operation| operation.knows_index()) => Kind::Index,
            "acc" if innermost == Some(&Operation::Reduce) => Kind::Accumulator,
            _ => {
                let message = format!("unknown pointer #{name}");
                return Err(Error::at(start..self.last_end, message));
            }
        };
        self.node(kind, start)
    }

    fn secondary(&mut self, start: usize) -> Parsed {
        let token = self.current;
        let in_token = |message: String| Error::at(token.span(), message);
        let node = match token.kind {
            token::Kind::Identifier => {
                self.advance()?;
                match token.text {
                    "true" => return self.constant(Value::Bool(true), start),
                    "false" => return self.constant(Value::Bool(false), start),
                    "nil" => return self.constant(Value::Nil, start),
                    _ if self.current.is_bracket("(") => self.call(token, None)?,
                    _ => self.name(token)?,
                }
            }
            token::Kind::Number => {
                self.advance()?;
                let value = literal::number(token.text).map_err(in_token)?;
                return self.constant(value, start);
            }
            token::Kind::String => {
                self.advance()?;
                let text = literal::string(token.text).map_err(in_token)?;
                self.constant(Value::String(text), start)?
            }
            token::Kind::Bytes => {
                self.advance()?;
                let bytes = literal::bytes(token.text).map_err(in_token)?;
                self.constant(Value::Bytes(bytes), start)?
            }
            token::Kind::Bracket if token.text == "[" => self.list(start)?,
            token::Kind::Bracket if token.text == "{" => self.map(start)?,
            token::Kind::Bracket | token::Kind::Operator | token::Kind::End => {
                return Err(self.unexpected());
            }
        };
        self.postfix(node, start)
    }

    pub(super) fn name(&mut self, name: token::Token<'_>) -> Parsed {
        let local = self.locals.iter().rposition(|local| *local == name.text);
        let kind = match (local, name.text) {
            (Some(slot), _) => Kind::Local(slot),
            (None, "$env") => Kind::Environment,
            (None, "result") if self.names == Names::Condition => Kind::Result,
            (None, text) => {
                let is_function = self.function(text).is_some() || Operation::named(text).is_some();
                let message = if is_function {
                    format!("{text} is a function: call it as {text}(...)")
                } else {
                    format!("unknown name {text}")
                };
                return Err(Error::at(name.span(), message));
            }
        };
        self.node(kind, name.start)
    }

    fn list(&mut self, start: usize) -> Parsed {
        self.expect_bracket("[")?;
        let mut items: Vec<Expr> = Vec::new();
        while !self.current.is_bracket("]") {
            if !items.is_empty() {
                self.expect_operator(",")?;
                if self.current.is_bracket("]") {
                    break;
                }
            }
            items.push(self.expression(0)?);
        }
        self.expect_bracket("]")?;
        let is_constant = |item: &Expr| matches!(*item.kind, Kind::Constant(_));
        if !items.iter().all(is_constant) {
            return self.node(Kind::List(items), start);
        }
        let depth = items.iter().map(|item| item.depth).max().unwrap_or(0);
        let values = items.into_iter().filter_map(|item| match *item.kind {
            Kind::Constant(value) => Some(value),
            _ => None,
        });
        let mut node = self.constant(Value::List(values.collect()), start)?;
        node.depth = depth + 1; // as a tree of nodes would have, so that values stay shallow
        Ok(node)
    }

    fn map(&mut self, start: usize) -> Parsed {
        self.expect_bracket("{")?;
        let mut pairs = Vec::new();
        while !self.current.is_bracket("}") {
            if !pairs.is_empty() {
                self.expect_operator(",")?;
                if self.current.is_bracket("}") {
                    break;
                }
            }
            let key = self.key()?;
            self.expect_operator(":")?;
            pairs.push((key, self.expression(0)?));
        }
        self.expect_bracket("}")?;
        self.node(Kind::Map(pairs), start)
    }

    fn key(&mut self) -> Parsed {
        let token = self.current;
        let text = match token.kind {
            token::Kind::Identifier | token::Kind::Number => token.text.to_owned(),
            token::Kind::String => {
                literal::string(token.text).map_err(|message| Error::at(token.span(), message))?
            }
            token::Kind::Bracket if token.text == "(" => return self.expression(0),
            _ => {
                let message = format!(
                    "a map key must be a quoted string, a number, a identifier, or an expression \
                     enclosed in parentheses (unexpected token {token})"
                );
                return Err(Error::at(token.span(), message));
            }
        };
        self.advance()?;
        self.constant(Value::String(text), token.start)
    }

    /// `.field`, `?.field`, `[index]`, `[from:to]`, `?.[index]`, `.method()`, repeated.
    pub(super) fn postfix(&mut self, mut node: Expr, start: usize) -> Parsed {
        loop {
            let optional = self.current.is_operator("?.");
            if optional || self.current.is_operator(".") {
                self.advance()?;
                node = if optional && self.current.is_bracket("[") {
                    self.element(node, Access::Optional, start)?
                } else {
                    self.member(node, access(optional), start)?
                };
            } else if self.current.is_bracket("[") {
                node = self.element(node, Access::Plain, start)?;
            } else {
                return Ok(node);
            }
        }
    }

    fn member(&mut self, object: Expr, access: Access, start: usize) -> Parsed {
        let name = self.current;
        let is_word = name
            .text
            .starts_with(|c: char| token::is_word(c) && !c.is_numeric());
        if !matches!(name.kind, token::Kind::Identifier | token::Kind::Operator) || !is_word {
            return Err(Error::at(
                name.span(),
                format!("expected name, found {name}"),
            ));
        }
        self.advance()?;
        let (object, in_chain) = match *object.kind {
            Kind::Chain(inner) => (inner, true),
            kind => (
                Expr {
                    kind: Box::new(kind),
                    ..object
                },
                access == Access::Optional,
            ),
        };
        let node = if self.current.is_bracket("(") {
            let arguments = self.arguments(None)?;
            let kind = Kind::Method(object, name.text.to_owned(), arguments, access);
            self.node(kind, start)?
        } else {
            self.field(object, name.text.to_owned(), access, start)?
        };
        if in_chain {
            self.node(Kind::Chain(node), start)
        } else {
            Ok(node)
        }
    }

    fn field(&mut self, object: Expr, name: String, access: Access, start: usize) -> Parsed {
        let kind = match &*object.kind {
            Kind::Environment if name == "result" && self.names == Names::Condition => Kind::Result,
            Kind::Environment if access == Access::Optional => Kind::Constant(Value::Nil),
            Kind::Environment => {
                let message = format!("unknown name {name}");
                return Err(Error::at(start..self.last_end, message));
            }
            _ => Kind::Field(object, name, access),
        };
        self.node(kind, start)
    }

    fn element(&mut self, object: Expr, access: Access, start: usize) -> Parsed {
        self.expect_bracket("[")?;
        let from = if self.current.is_operator(":") {
            None
        } else {
            Some(self.expression(0)?)
        };
        if self.current.is_operator(":") {
            self.advance()?;
            let to = if self.current.is_bracket("]") {
                None
            } else {
                Some(self.expression(0)?)
            };
            self.expect_bracket("]")?;
            let slice = Slice { object, from, to };
            return self.node(Kind::Slice(slice), start);
        }
        self.expect_bracket("]")?;
        let Some(index) = from else {
            return Err(self.unexpected());
        };
        let node = self.indexed(object, index, access, start)?;
        if access == Access::Optional {
            return self.node(Kind::Chain(node), start);
        }
        Ok(node)
    }

    /// `object[index]`, or what is shorter.
    fn indexed(&mut self, object: Expr, index: Expr, access: Access, start: usize) -> Parsed {
        match (*object.kind, &*index.kind) {
            (kind, Kind::Constant(Value::String(name))) => {
                let object = Expr {
                    kind: Box::new(kind),
                    ..object
                };
                self.field(object, name.clone(), access, start)
            }
            (Kind::Loop(each), Kind::Constant(Value::Int(place @ (0 | -1))))
                if each.operation == Operation::Filter && access == Access::Plain =>
            {
                let found = found_in(each, *place == 0, true);
                self.node(Kind::Loop(found), start)
            }
            (kind, _) => {
                let object = Expr {
                    kind: Box::new(kind),
                    ..object
                };
                self.node(Kind::Element((object, index), access), start)
            }
        }
    }
}

/// `filter(xs, p)[0]` stops at the first match: it is `find(xs, p)`.
pub(super) fn found_in(filter: Loop, first: bool, must_find: bool) -> Loop {
    Loop {
        operation: if first {
            Operation::Find
        } else {
            Operation::FindLast
        },
        must_find,
        ..filter
    }
}
