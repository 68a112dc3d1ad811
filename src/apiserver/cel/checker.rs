//! Whether an expression makes sense for the types that its variables have.
//!
//! # Source
//! `checker/checker.go` of cel-go, whose messages these are.

use std::collections::HashMap;

use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, ListExpr, LiteralValue,
    SelectExpr, operators,
};

use super::functions;
use super::signatures::{self, Signature};
use super::types::Type;
use super::unify::{Known, more_general, numbered};

/// What is wrong with an expression, and where: the number of the part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    pub(super) part: u64,
    pub(super) text: String,
}

/// What an expression is found to be.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) kind: Type,
    /// The names of the variables that it reads.
    pub(super) reads: Vec<String>,
    /// The types of its parts, by their numbers.
    pub(super) types: HashMap<u64, Type>,
}

/// Checks an expression whose variables have these types.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn check(
    expression: &IdedExpr,
    variables: &[(&str, Type)],
) -> Result<Checked, Vec<Problem>> {
    let named = variables.iter();
    let mut checker = Checker {
        known: Known::default(),
        scopes: named
            .map(|(name, kind)| ((*name).to_owned(), kind.clone()))
            .collect(),
        outer: variables.len(),
        reads: Vec::new(),
        types: HashMap::new(),
        problems: Vec::new(),
    };
    let kind = checker.of(expression);
    if !checker.problems.is_empty() {
        return Err(checker.problems);
    }
    let known = checker.known;
    let types = checker.types.into_iter();
    Ok(Checked {
        kind: known.resolved(&kind, true),
        reads: checker.reads,
        types: types
            .map(|(part, kind)| (part, known.resolved(&kind, true)))
            .collect(),
    })
}

struct Checker {
    known: Known,
    /// Variables, the innermost last.
    scopes: Vec<(String, Type)>,
    /// How many of them come from outside.
    outer: usize,
    reads: Vec<String>,
    types: HashMap<u64, Type>,
    problems: Vec<Problem>,
}

impl Checker {
    fn refuse(&mut self, part: u64, text: String) -> Type {
        self.problems.push(Problem { part, text });
        Type::Error
    }

    fn undeclared(&mut self, part: u64, name: &str) -> Type {
        self.refuse(
            part,
            format!("undeclared reference to '{name}' (in container '')"),
        )
    }

    /// The type of an expression; what is wrong with it is noted.
    fn of(&mut self, expression: &IdedExpr) -> Type {
        let kind = self.found(expression);
        self.types.insert(expression.id, kind.clone());
        kind
    }

    fn found(&mut self, expression: &IdedExpr) -> Type {
        match &expression.expr {
            Expr::Literal(literal) => of_literal(literal),
            Expr::Ident(name) => self.of_name(expression.id, name),
            Expr::Select(select) => self.of_select(expression.id, select),
            Expr::Call(call) => self.of_call(expression.id, call),
            Expr::List(list) => self.of_list(list),
            Expr::Map(map) => self.of_map(&map.entries),
            Expr::Struct(made) => self.undeclared(expression.id, &made.type_name),
            Expr::Comprehension(comprehension) => self.of_comprehension(comprehension),
            Expr::Unspecified => Type::Error,
        }
    }

    fn of_name(&mut self, part: u64, name: &str) -> Type {
        let plain = name.strip_prefix('.').unwrap_or(name);
        let found = self.scopes.iter().rposition(|(known, _)| known == plain);
        if let Some(place) = found {
            if place < self.outer {
                self.reads.push(plain.to_owned());
            }
            return self.scopes[place].1.clone();
        }
        match type_named(plain) {
            Some(kind) => Type::Named(Some(kind.into())),
            None => self.undeclared(part, name),
        }
    }

    fn of_select(&mut self, part: u64, select: &SelectExpr) -> Type {
        if let (false, Some(prefix)) = (select.test, qualified(&select.operand))
            && let Some(kind) = type_named(&format!("{prefix}.{}", select.field))
        {
            return Type::Named(Some(kind.into()));
        }
        let field = self.of_field(part, &select.operand, &select.field, false);
        if select.test { Type::Bool } else { field }
    }

    fn of_field(&mut self, part: u64, operand: &IdedExpr, name: &str, optional: bool) -> Type {
        let operand = self.of(operand);
        let operand = self.known.resolved(&operand, false);
        let (target, was_optional) = operand.unwrapped();
        let field = match target {
            Type::Map(_, values) => Type::clone(values),
            Type::Object(object) => match object.field(name) {
                Some(field) => field.clone(),
                None => self.refuse(part, format!("undefined field '{name}'")),
            },
            Type::Variable(_) => {
                self.known.fits(&Type::Dyn, target);
                Type::Dyn
            }
            open if open.is_open() => Type::Dyn,
            other => {
                let text = format!("type '{other}' does not support field selection");
                self.refuse(part, text);
                Type::Dyn
            }
        };
        if was_optional || optional {
            return Type::optional(field);
        }
        field
    }

    fn of_call(&mut self, part: u64, call: &CallExpr) -> Type {
        let name = call.func_name.as_str();
        if let (operators::OPT_SELECT, [operand, field]) = (name, call.args.as_slice())
            && let Expr::Literal(LiteralValue::String(field)) = &field.expr
        {
            return self.of_field(part, operand, field.inner(), true);
        }
        let mut arguments: Vec<Type> = call.args.iter().map(|argument| self.of(argument)).collect();
        let Some(target) = &call.target else {
            return match signatures::of(name) {
                Some(known) => self.of_overload(part, name, known, &arguments, false, call),
                None => self.undeclared(part, name),
            };
        };
        if let Some(prefix) = qualified(target) {
            let name = format!("{prefix}.{name}");
            if let Some(known) = signatures::of(&name) {
                return self.of_overload(part, &name, known, &arguments, false, call);
            }
        }
        arguments.insert(0, self.of(target));
        match signatures::of(name) {
            Some(known) => self.of_overload(part, name, known, &arguments, true, call),
            None => self.undeclared(part, name),
        }
    }

    /// The result of the ways to call a function that fit the arguments.
    fn of_overload(
        &mut self,
        part: u64,
        name: &str,
        known: &[Signature],
        arguments: &[Type],
        member: bool,
        call: &CallExpr,
    ) -> Type {
        if matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR) {
            return self.of_connective(call, arguments);
        }
        let mut result: Option<Type> = None;
        for signature in known.iter().filter(|signature| signature.member == member) {
            let first = self.known.several(signature.variables);
            let wanted = signature.arguments.iter();
            let wanted: Vec<Type> = wanted.map(|kind| numbered(kind, first)).collect();
            if !self.known.all_fit(arguments, &wanted) {
                continue;
            }
            let found = self
                .known
                .resolved(&numbered(&signature.result, first), false);
            result = Some(match result {
                None => found,
                Some(before) if before == found || before == Type::Dyn => before,
                Some(_) => Type::Dyn,
            });
        }
        self.check_literals(name, call);
        result.unwrap_or_else(|| {
            let told = self.told(arguments, member);
            let text = format!("found no matching overload for '{name}' applied to '{told}'");
            self.refuse(part, text)
        })
    }

    fn of_connective(&mut self, call: &CallExpr, arguments: &[Type]) -> Type {
        for (argument, kind) in call.args.iter().zip(arguments) {
            self.assert(argument, kind, &Type::Bool);
        }
        Type::Bool
    }

    fn assert(&mut self, expression: &IdedExpr, kind: &Type, wanted: &Type) {
        if !self.known.fits(kind, wanted) {
            let (kind, wanted) = (
                self.known.resolved(kind, true),
                self.known.resolved(wanted, true),
            );
            self.refuse(
                expression.id,
                format!("expected type '{wanted}' but found '{kind}'"),
            );
        }
    }

    fn told(&self, arguments: &[Type], member: bool) -> String {
        let resolved = arguments.iter().map(|kind| self.known.resolved(kind, true));
        let mut told: Vec<String> = resolved.map(|kind| kind.to_string()).collect();
        if member {
            let target = told.remove(0);
            return format!("{target}.({})", told.join(", "));
        }
        format!("({})", told.join(", "))
    }

    /// Texts that stand in the rule are checked now, not when they are met.
    fn check_literals(&mut self, name: &str, call: &CallExpr) {
        let last = call.args.last();
        let Some((argument, Expr::Literal(LiteralValue::String(text)))) =
            last.map(|argument| (argument, &argument.expr))
        else {
            return;
        };
        if !functions::is_good_literal(name, text.inner()) {
            self.refuse(argument.id, format!("invalid {name} argument"));
        }
    }

    fn of_list(&mut self, list: &ListExpr) -> Type {
        let mut joined = None;
        for (index, element) in list.elements.iter().enumerate() {
            let mut kind = self.of(element);
            if list.optional_indices.contains(&index) {
                kind = self.held(element, &kind);
            }
            joined = Some(self.join(element, joined, kind));
        }
        let items = joined.unwrap_or_else(|| self.known.fresh());
        Type::list(items)
    }

    fn of_map(&mut self, entries: &[IdedEntryExpr]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                continue;
            };
            let key = self.of(&entry.key);
            keys = Some(self.join(&entry.key, keys, key));
            let mut value = self.of(&entry.value);
            if entry.optional {
                value = self.held(&entry.value, &value);
            }
            values = Some(self.join(&entry.value, values, value));
        }
        let keys = keys.unwrap_or_else(|| self.known.fresh());
        let values = values.unwrap_or_else(|| self.known.fresh());
        Type::map(keys, values)
    }

    /// What an optional element holds.
    fn held(&mut self, element: &IdedExpr, kind: &Type) -> Type {
        let resolved = self.known.resolved(kind, false);
        let (inner, is_optional) = resolved.unwrapped();
        if !is_optional && !resolved.is_open() {
            let text = format!("expected type 'optional_type({resolved})' but found '{resolved}'");
            self.refuse(element.id, text);
        }
        inner.clone()
    }

    /// The common type of the elements so far; in Kubernetes they must be of one.
    fn join(&mut self, element: &IdedExpr, before: Option<Type>, kind: Type) -> Type {
        let Some(before) = before else {
            return kind;
        };
        if self.known.fits(&before, &kind) {
            return more_general(&before, &kind);
        }
        self.assert(element, &kind, &before);
        Type::Error
    }

    fn of_comprehension(&mut self, comprehension: &ComprehensionExpr) -> Type {
        let range = self.of(&comprehension.iter_range);
        let result = self.of(&comprehension.accu_init);
        let range = self.known.resolved(&range, false);
        let item = match &range {
            Type::List(items) => Type::clone(items),
            Type::Map(keys, _) => Type::clone(keys),
            Type::Dyn | Type::Error | Type::Variable(_) => {
                self.known.fits(&Type::Dyn, &range);
                Type::Dyn
            }
            other => {
                let text = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be \
                     list, map, or dynamic)"
                );
                self.refuse(comprehension.iter_range.id, text)
            }
        };
        let depth = self.scopes.len();
        self.scopes
            .push((comprehension.accu_var.clone(), result.clone()));
        self.scopes.push((comprehension.iter_var.clone(), item));
        let condition = self.of(&comprehension.loop_cond);
        self.assert(&comprehension.loop_cond, &condition, &Type::Bool);
        let step = self.of(&comprehension.loop_step);
        self.assert(&comprehension.loop_step, &step, &result);
        self.scopes.truncate(depth + 1);
        let result = self.of(&comprehension.result);
        self.scopes.truncate(depth);
        self.known.resolved(&result, false)
    }
}

fn of_literal(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::String,
        LiteralValue::UInt(_) => Type::Uint,
    }
}

/// The type that stands under a name.
fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "string" => Type::String,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "null_type" => Type::Null,
        "type" => Type::Named(None),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        _ => return None,
    })
}

/// `a.b.c`, if the expression is no more than that.
fn qualified(expression: &IdedExpr) -> Option<String> {
    match &expression.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            let prefix = qualified(&select.operand)?;
            Some(format!("{prefix}.{}", select.field))
        }
        _ => None,
    }
}
