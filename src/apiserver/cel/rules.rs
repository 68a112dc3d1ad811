//! Evaluates the rules of a schema on an object.

use std::sync::Arc;

use cel::Context;
use cel::common::types::{CelBool, CelOptional, CelString};
use cel::common::value::Val;
use serde_json::Value;

use super::budget;
use super::former::Former;
use super::functions;
use super::program::Program;
use super::values;
use crate::apiserver::failure::{Cause, Verdict};
use crate::apiserver::schema::{Schema, Shape};
use crate::apiserver::shaping::Path;

/// The longest message that an expression may give.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// The rules of one part of a schema.
#[derive(Debug, Clone, Default)]
pub(in crate::apiserver) struct Rules(pub(super) Vec<Arc<Rule>>);

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) program: Program,
    pub(super) text: String,
    pub(super) message: Option<String>,
    pub(super) message_expression: Option<Program>,
    pub(super) reason: Reason,
    /// The field that the message is about, if not the value itself.
    pub(super) field_path: Option<String>,
    /// Whether the rule is also about values that were not there before.
    pub(super) optional_old: bool,
    pub(super) uses_old: bool,
}

/// What kind of problem a broken rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Invalid,
    Forbidden,
    Required,
    Duplicate,
}

impl Reason {
    pub(super) fn of(written: &str) -> Self {
        match written {
            "FieldValueForbidden" => Self::Forbidden,
            "FieldValueRequired" => Self::Required,
            "FieldValueDuplicate" => Self::Duplicate,
            _ => Self::Invalid,
        }
    }
}

impl Rule {
    /// The rule as messages name it.
    fn name(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.text)
    }
}

/// Evaluates all rules on an object that fits its schema, `before` being what it replaces.
///
/// # Source
/// `Validator.validate` of `apiextensions-apiserver/pkg/apiserver/schema/cel`.
pub(in crate::apiserver) fn check(
    schema: &Schema,
    object: &Value,
    before: Option<&Value>,
) -> Verdict {
    budget::refill();
    let mut walk = Walk {
        path: Path::root(),
        verdict: Verdict::default(),
        ended: false,
    };
    let at = At {
        value: object,
        old: before,
        former: Former::of(before),
        root: true,
    };
    walk.node(schema, at);
    walk.verdict
}

/// A value and what it was.
#[derive(Clone, Copy)]
struct At<'a> {
    value: &'a Value,
    /// The old value that transition rules compare with.
    old: Option<&'a Value>,
    /// The old value by which a problem is seen to be an old one.
    former: Former<'a>,
    /// Whether it has `apiVersion`, `kind` and `metadata`.
    root: bool,
}

struct Walk {
    path: Path,
    verdict: Verdict,
    /// No more rules are evaluated: they cost too much.
    ended: bool,
}

impl Walk {
    fn node(&mut self, schema: &Schema, at: At<'_>) {
        if !schema.has_rules || at.value.is_null() || self.ended {
            return;
        }
        if !schema.rules.0.is_empty() {
            self.rules(schema, at);
        }
        match at.value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let (next, root) = match (schema.properties.get(name), &schema.additional) {
                        (Some(property), _) => (property, property.embedded),
                        (None, Some(additional)) => (additional, additional.embedded),
                        (None, None) => continue,
                    };
                    let former = at.former.value().and_then(|former| former.get(name));
                    let inner = At {
                        value,
                        old: at.old.and_then(|old| old.get(name)),
                        former: at.former.part(at.value, former),
                        root,
                    };
                    let length = if schema.properties.contains_key(name) {
                        self.path.enter_field(name)
                    } else {
                        self.path.enter_key(name)
                    };
                    self.node(next, inner);
                    self.path.leave(length);
                }
            }
            Value::Array(items) => {
                let Some(item_schema) = &schema.items else {
                    return;
                };
                for (index, value) in items.iter().enumerate() {
                    let former = schema.correlated(at.former.value(), value);
                    let inner = At {
                        value,
                        old: schema.correlated(at.old, value),
                        former: at.former.part(at.value, former),
                        root: item_schema.embedded,
                    };
                    let length = self.path.enter_index(index);
                    self.node(item_schema, inner);
                    self.path.leave(length);
                }
            }
            _ => {}
        }
    }

    /// Evaluates the rules of one value.
    fn rules(&mut self, schema: &Schema, at: At<'_>) {
        let old = at.old.filter(|old| !old.is_null());
        let mut context = Context::with_env(functions::environment().clone());
        context.add_variable_as_val("self", values::of(schema, at.value, at.root));
        let old_value = old.map(|old| values::of(schema, old, at.root));
        if let Some(old) = &old_value {
            context.add_variable_as_val("oldSelf", old.clone());
        }
        let optional = match old_value {
            Some(old) => CelOptional::of(old),
            None => CelOptional::none(),
        };
        for rule in &schema.rules.0 {
            if self.ended {
                return;
            }
            // What was not there before has not changed.
            if rule.uses_old && old.is_none() && !rule.optional_old {
                continue;
            }
            if rule.optional_old {
                let mut context = context.new_inner_scope();
                context.add_variable_as_val("oldSelf", optional.clone_as_boxed());
                self.rule(rule, schema, at, &context);
            } else {
                self.rule(rule, schema, at, &context);
            }
        }
    }

    fn rule(&mut self, rule: &Rule, schema: &Schema, at: At<'_>, context: &Context<'_, '_>) {
        let holds = rule.program.evaluate(context, |value| {
            value.downcast_ref::<CelBool>().is_some_and(|b| *b.inner())
        });
        let place = match (&rule.field_path, self.path.as_str()) {
            (None, here) => here.to_owned(),
            (Some(path), "") => path.clone(),
            (Some(path), here) => format!("{here}.{path}"),
        };
        let problem = match holds {
            Ok(true) => return,
            Ok(false) => {
                let message = message(rule, context);
                let cause = cause(rule, schema, at.value, place, &message);
                // What was wrong already may stay; the client is told.
                if rule.uses_old || !at.former.is_unchanged(at.value) {
                    self.verdict.causes.push(cause);
                } else {
                    let warning = format!("{}: {}", cause.field, cause.message);
                    self.verdict.warnings.push(warning);
                }
                return;
            }
            Err(problem) => problem,
        };
        let told = match problem.as_str() {
            budget::USED_UP => {
                self.ended = true;
                problem
            }
            "no such overload" => format!(
                "'no such overload': call arguments did not match a supported operator, function \
                 or macro signature for rule: {}",
                rule.name()
            ),
            _ => format!("{problem} evaluating rule: {}", rule.name()),
        };
        let kind = Value::from(type_name(schema));
        let cause = Cause::invalid(self.path.as_str(), &kind, &told);
        self.verdict.causes.push(cause);
    }
}

/// The type of a schema as it is written.
fn type_name(schema: &Schema) -> &'static str {
    match schema.shape {
        Shape::Object => "object",
        Shape::Array => "array",
        Shape::String => "string",
        Shape::Integer => "integer",
        Shape::Number => "number",
        Shape::Boolean => "boolean",
        Shape::Any | Shape::IntOrString | Shape::Quantity => "",
    }
}

/// What a broken rule says.
fn message(rule: &Rule, context: &Context<'_, '_>) -> String {
    let computed = rule.message_expression.as_ref().and_then(|expression| {
        let text = expression.evaluate(context, |value| {
            let text = value.downcast_ref::<CelString>();
            text.map(|text| text.inner().trim().to_owned())
        });
        // As in Kubernetes, a message that cannot be computed gives way to the other.
        text.ok().flatten()
    });
    let is_message =
        |text: &String| !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n');
    computed
        .filter(is_message)
        .unwrap_or_else(|| match &rule.message {
            Some(message) => message.clone(),
            None => format!("failed rule: {}", rule.text),
        })
}

fn cause(rule: &Rule, schema: &Schema, value: &Value, at: String, message: &str) -> Cause {
    let told = !matches!(schema.shape, Shape::Object | Shape::Array);
    match rule.reason {
        Reason::Forbidden => Cause::forbidden(at, message),
        Reason::Required => Cause::required(at, message),
        Reason::Duplicate if told => Cause::duplicate(at, value),
        Reason::Duplicate => Cause::duplicate_unnamed(at),
        Reason::Invalid if told => Cause::invalid(at, value, message),
        Reason::Invalid => Cause::invalid_unnamed(at, message),
    }
}
